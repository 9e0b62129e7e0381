//! A layer for HTTP servers: axum, tonic, hyper and whatever else speaks `tower` (contract 9; feature `tower`).
//!
//! A request that names a token runs its handler once; a retry gets the first answer, byte for byte, marked
//! `Idempotency-Replayed: true`; the same token with another request is refused, and so is a request whose first one is still
//! being processed. A client that hangs up cancels nothing: the handler goes on in a task of its own, and its answer is kept.
//!
//! ```
//! use oncekey::Store;
//! use oncekey::http::{IdempotencyLayer, Scope};
//!
//! # #[derive(Clone)] struct Account(String);
//! let store = Store::in_memory()?;
//! // Whose tokens they are: who was authenticated by a layer outside of this one...
//! let scope = Scope::of_request(|head| head.extensions.get::<Account>().map(|own| own.0.clone()));
//! // ...or `Scope::single("shop")`, where there is one tenant.
//! let layer = IdempotencyLayer::draft(store, scope).wait(std::time::Duration::from_secs(5)).build()?;
//! # drop(layer);
//! # Ok::<(), oncekey::Error>(())
//! ```
//!
//! `Router::route_layer(layer)` of axum (`layer` would keep the answers of paths that do not exist too), `Server::builder().layer(layer)` of tonic, `ServiceBuilder::new().layer(layer)` of tower take
//! it. It belongs inside of authentication, compression and limits on time, and outside of what changes paths.
//!
//! # What it compares and keeps
//! Method, path, query, body and chosen headers are the request's parameters (contract 2): JSON and forms by what they mean.
//! Names that are new in each retry are left out by the store's own rules ([`crate::Builder::rules`]). Kept of an answer are
//! status, body, trailers and the allowed headers, where its status says that it would come again (contract 4.2).
//!
//! # What it does not do
//! It reads a request to its end before the handler is called, and an answer before the first byte of it is sent: streams have
//! to be left out ([`LayerBuilder::routes`]). It has no limit on how long a client may take for its body: that is the server's.
//! Two *runs* of one operation can overlap only where its process could not renew a lease in time (4.4).
//!
//! # Many processes
//! Give it a store over an engine (feature `distributed`; [`AnyStore`] is either), and a retry may come to any of them.
//!
//! | file | what stands there |
//! | --- | --- |
//! | `settings` | what a layer is told; conventions of families of APIs |
//! | `stores` | the store behind it: embedded, or over an engine |
//! | `service` | a request's walk |
//! | `identity` | whose it is, and its token |
//! | `asked` | its parameters |
//! | `running`, `drain` | the handler, and the end of all |
//! | `kept` | its answer as an outcome, and back |
//! | `refusal` | what is answered instead, row by row |
//! | `body`, `counts` | plain values |

mod asked;
mod body;
mod counts;
mod drain;
mod identity;
mod kept;
mod refusal;
mod running;
mod service;
mod settings;
mod stores;

pub use body::Body;
pub use counts::Counts;
pub use drain::Drain;
pub use identity::Scope;
pub use service::{Attempt, IdempotencyLayer, Idempotent};
pub use settings::{Keep, LargeAnswer, LayerBuilder};
pub use stores::AnyStore;
