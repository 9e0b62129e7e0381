//! # Which mode do I need?
//!
//! A reservation is **volatile** unless you say otherwise: it lives in memory, and a crash in the middle of the operation
//! leaves a key that was never seen. A **durable** one is on disk before you get it, so that the same crash leaves a
//! key that is *interrupted*, and the next attempt knows it.
//!
//! | | volatile (default) | durable (`start_durably`) | transactional |
//! | --- | --- | --- | --- |
//! | `begin` of a new token | a lock and no disk | one record more, in the commit of everybody who asks at that time | *to be described with the caller's own database* |
//! | an acknowledged outcome | survives a kill and a power cut | the same | |
//! | a crash in the middle | a retry runs afresh, as attempt 1 | a retry resumes as attempt n+1, or is refused until you resolve it | |
//! | checkpoints | none | yes, as many as you write; the next attempt sees the last one | |
//! | return early, `?`, drop | free at once | free as soon as the release is on disk; in flight until then | |
//! | a panic | free at once | interrupted | |
//! | counts as | a live reservation | a live reservation, and its start as a kept record | |
//! | an operation may run twice | after a crash, after a lapsed lease | the same, but it is told so and where to go on | |
//!
//! ## How to decide
//!
//! | your operation | take |
//! | --- | --- |
//! | changes nothing, or running it twice does no harm | volatile |
//! | finds its own earlier effect (it looks for the token in what it made) | volatile |
//! | calls another service that takes a token too | volatile, with a token made from the key for that call |
//! | has several steps, and repeating the first ones is costly or visible | durable, a checkpoint behind each step |
//! | can't be repeated and can't be looked up, so a person has to decide | durable, [`OnInterrupted::Refuse`], then [`Store::resolve`] |
//! | writes to your own redb database | transactional |
//!
//! Durable is not *exactly once*: nothing beside the effect can be. It turns "perhaps it ran, nobody knows" into "it ran
//! up to here, attempt 2 goes on".
//!
//! ## Volatile
//!
//! ```
//! use oncekey::{Answer, Outcome, Parameters, Store};
//!
//! # let directory = tempfile::tempdir().expect("a directory");
//! let store = Store::open(directory.path().join("store"))?;
//! let (key, parameters) = (store.key("account-1", "token-1")?, Parameters::query("Size=40"));
//! let Answer::Fresh(reservation) = store.begin(&key, &parameters)? else { panic!("never seen") };
//! drop(reservation); // as a crash would
//! let Answer::Fresh(reservation) = store.begin(&key, &parameters)? else { panic!("free at once") };
//! assert_eq!(reservation.attempt(), 1, "nothing was remembered");
//! # Ok::<(), oncekey::Error>(())
//! ```
//!
//! ## Durable, and resumed
//!
//! Here the store is closed while the operation runs; a kill or a power cut leaves the same.
//!
//! ```
//! use std::time::Duration;
//! use oncekey::{Answer, Known, Outcome, Parameters, Store};
//!
//! # let directory = tempfile::tempdir().expect("a directory");
//! # let path = directory.path().join("store");
//! let store = Store::open(&path)?;
//! let (key, parameters) = (store.key("account-1", "token-1")?, Parameters::query("Parcel=7"));
//! let Answer::Fresh(reservation) = store.request(&key, &parameters).start_durably().begin()? else {
//!     panic!("never seen")
//! };
//! reservation.checkpoint(b"charged: id 77")?;
//! store.close(Duration::ZERO)?; // in the middle of the operation
//! # drop(reservation);
//!
//! let store = Store::open(&path)?;
//! assert!(matches!(store.get(&key)?, Known::Interrupted { attempt: 1, .. }));
//! let Answer::Fresh(reservation) = store.begin(&key, &parameters)? else { panic!("resumed") };
//! assert!(reservation.is_resumed());
//! let noted = reservation.last_checkpoint().expect("written by attempt 1");
//! assert_eq!((reservation.attempt(), noted.bytes()), (2, &b"charged: id 77"[..]));
//! // It was charged, so go on behind that.
//! reservation.complete(Outcome::new("shipped"))?;
//! # Ok::<(), oncekey::Error>(())
//! ```
//!
//! ## Durable, and refused until somebody has looked
//!
//! ```
//! use std::time::Duration;
//! use oncekey::{Answer, OnInterrupted, Outcome, Parameters, Store};
//!
//! # let directory = tempfile::tempdir().expect("a directory");
//! # let path = directory.path().join("store");
//! let open = || Store::builder().start_durably(true).on_interrupted(OnInterrupted::Refuse).open(&path);
//! let store = open()?;
//! let (key, parameters) = (store.key("account-1", "token-1")?, Parameters::query("Transfer=9"));
//! let Answer::Fresh(reservation) = store.begin(&key, &parameters)? else { panic!("never seen") };
//! store.close(Duration::ZERO)?;
//! # drop(reservation);
//!
//! let store = open()?;
//! assert!(store.begin(&key, &parameters).unwrap_err().is_unknown_outcome());
//! for one in store.interrupted() {
//!     println!("since {:?}: attempt {}", one.as_ref().unwrap().since(), one?.attempt());
//! }
//! // The bank was asked, and says that it went through:
//! store.resolve(&key, Outcome::http(200, "transferred"))?;
//! let Answer::Replay(replay) = store.begin(&key, &parameters)? else { panic!("resolved") };
//! assert_eq!(replay.outcome().body(), b"transferred");
//! # Ok::<(), oncekey::Error>(())
//! ```
//!
//! ## What is good to know
//! - A checkpoint says what *was* done: write it behind a step. Between a step and its checkpoint a crash makes the step
//!   happen again; give each step a token of its own that is the same for every attempt. `examples/webhook_steps` does.
//! - An interrupted key is kept, whatever its retention, until it is resumed, resolved or forgotten. Look at
//!   [`Store::interrupted`] and [`Store::running`] now and then; [`Stats::interrupted`](crate::Stats::interrupted) counts them.
//! - Started operations are copied into each new segment file, with their checkpoints: keep those small.
//! - The last checkpoint of each live reservation is also in memory.
//! - In a store in memory nothing outlives the process; panics interrupt there too.
//!
//! [`OnInterrupted::Refuse`]: crate::OnInterrupted::Refuse
//! [`Store::resolve`]: crate::Store::resolve
//! [`Store::interrupted`]: crate::Store::interrupted
//! [`Store::running`]: crate::Store::running
