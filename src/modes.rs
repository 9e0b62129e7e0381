//! # Which mode do I need?
//!
//! A reservation is **volatile** unless you say otherwise: it lives in memory, and a crash in the middle of the operation
//! leaves a key that was never seen. A **durable** one is on disk before you get it, so that the same crash leaves a
//! key that is *interrupted*, and the next attempt knows it. A **transactional** completion is committed together with
//! the effect itself, in your own redb database (feature `redb-transactions`): there is no middle.
//!
//! | | volatile (default) | durable (`start_durably`) | transactional |
//! | --- | --- | --- | --- |
//! | `begin` of a new token | a lock and no disk | one record more, in the commit of everybody who asks at that time | as the other two |
//! | an acknowledged outcome | survives a kill and a power cut | the same | the same, as your own rows do |
//! | completing it | a record, in the commit of everybody who completes at that time | the same | a record in your own commit: about a quarter more time, for 1, 8 and 64 in one |
//! | who writes meanwhile | everybody | everybody | nobody else: redb has one writer |
//! | a crash in the middle | a retry runs afresh, as attempt 1 | a retry resumes as attempt n+1, or is refused until you resolve it | neither effect nor record is there: a retry runs for the first time |
//! | checkpoints | none | yes, as many as you write; the next attempt sees the last one | with a durable reservation, before the transaction |
//! | return early, `?`, drop | free at once | free as soon as the release is on disk; in flight until then | effect undone, free at once |
//! | a panic | free at once | interrupted | effect undone; free, or interrupted, as its reservation was begun |
//! | counts as | a live reservation | a live reservation, and its start as a kept record | as the other two |
//! | an operation may run twice | after a crash, after a lapsed lease | the same, but it is told so and where to go on | **never**: what is not recorded has left nothing |
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
//! ## Transactional
//!
//! The operation writes into tables of your own; the store lends the transaction, and its record goes into the same commit.
//! Dropped in the middle, or killed, neither is there. The rules are at `Transaction`; `examples/transfers` is killed again
//! and again and keeps its books.
//!
//! ```
//! # #[cfg(feature = "redb-transactions")]
//! # fn run() -> Result<(), Box<dyn std::error::Error>> {
//! use std::sync::Arc;
//! use oncekey::{Answer, Outcome, Parameters, Store, redb};
//!
//! const BALANCES: redb::TableDefinition<&str, u64> = redb::TableDefinition::new("balances");
//! # let directory = tempfile::tempdir()?;
//! # let path = directory.path().join("bank.redb");
//! let database = Arc::new(redb::Database::create(path)?);
//! let store = Store::builder().open_in(Arc::clone(&database), "oncekey")?;
//! let (key, parameters) = (store.key("account-1", "token-1")?, Parameters::query("Amount=40"));
//! let Answer::Fresh(reservation) = store.begin(&key, &parameters)? else { panic!("never seen") };
//! let transaction = store.transaction()?;
//! transaction.open_table(BALANCES)?.insert("account-1", 40)?;
//! transaction.complete(reservation, Outcome::new("paid"))?;
//! drop(transaction); // as a crash would
//!
//! let Answer::Fresh(reservation) = store.begin(&key, &parameters)? else { panic!("nothing was kept") };
//! let transaction = store.transaction()?;
//! transaction.open_table(BALANCES)?.insert("account-1", 40)?;
//! transaction.complete(reservation, Outcome::new("paid"))?;
//! transaction.commit()?;
//! assert!(matches!(store.begin(&key, &parameters)?, Answer::Replay(_)));
//! # Ok(())
//! # }
//! # #[cfg(feature = "redb-transactions")]
//! # run().expect("it runs");
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
