//! A server that takes payments, in the shape of Stripe's API, on axum behind the layer `oncekey::http`.
//!
//! Goal: whatever is lost, sent twice or killed, a customer pays once. `cargo run --example payments --features tower` starts it
//! on the loopback address, with its store on disk, and says what to try with `curl`. `tests/client` drives it with two client
//! libraries that make idempotency keys and retry by themselves, Stripe's own among them.
//!
//! Law, from the outside in: an account is known by its bearer token or refused (401), and its name is the scope; then the
//! layer runs each key once; then the handler calls the bank *under a token made from the key* ([`oncekey::Key::derive`]), so that a
//! run which was killed before its answer was kept, and runs again, is known to the bank. The layer alone can't promise that.
//!
//! | file | what stands there |
//! | --- | --- |
//! | `api` | routes, the layer's settings, who is asking: copy from it |
//! | `payment` | a payment and a customer, each made once: copy from it |
//! | `operator` | a backup while the server runs, and its counts |
//! | `bank`, `book`, `log` | somebody else's service, and what this one remembers |
//! | `stripe` | forms and errors as Stripe has them |
//! | `trouble` | answers that are lost and requests that are refused, for tests |
//!
//! **What it is not.** *Nobody is authenticated*: `sk_test_NAME` is taken for the account NAME; a real server looks the secret up,
//! and takes the account that it belongs to. Payments are confirmed at once. There is no TLS and no limit on how long a
//! client may take. A payment that is killed between bank and book, and that nobody retries, stands in the bank's books alone:
//! somebody has to compare them.

mod api;
mod bank;
mod book;
mod log;
mod operator;
mod payment;
mod stripe;
#[cfg(test)]
mod tests;
mod trouble;

use std::error::Error;
use std::future::IntoFuture;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;
use tokio::time::timeout;

const USAGE: &str = "usage: payments [--listen ADDRESS:PORT] [--store DIRECTORY] [--backups DIRECTORY]";
/// How long each step of the shutdown may take: connections, handlers, the store.
const STOP_TIME_MAX: Duration = Duration::from_secs(10);

struct Options {
    listen: String,
    store: PathBuf,
    /// Where the operator's backups go; without it there are none.
    backups: Option<PathBuf>,
}

impl Options {
    /// `None` if they are not what [`USAGE`] says.
    fn read(mut arguments: impl Iterator<Item = String>) -> Option<Self> {
        let mut own =
            Self { listen: "127.0.0.1:4242".to_owned(), store: "target/payments".into(), backups: None };
        while let Some(name) = arguments.next() {
            let value = arguments.next()?;
            match name.as_str() {
                "--listen" => own.listen = value,
                "--store" => own.store = value.into(),
                "--backups" => own.backups = Some(value.into()),
                _ => return None,
            }
        }
        Some(own)
    }
}

fn main() -> ExitCode {
    let Some(options) = Options::read(std::env::args().skip(1)) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    match run(options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("payments: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: Options) -> Result<(), Box<dyn Error>> {
    let trouble = trouble::Trouble::of_environment()?;
    let shop = payment::Shop::open(&options.store, trouble::bank_delay()?)?;
    let (store, layer) = (shop.store.clone(), api::layer(&shop.store)?);
    let operator = operator::Operator::new(options.backups, layer.clone());
    let key = operator.key().to_owned();
    let drain = layer.drain();
    let router = api::router(shop, layer, operator, trouble);
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(async {
        let listener = TcpListener::bind(&options.listen).await?;
        introduce(&listener.local_addr()?.to_string(), &key);
        let (mut interrupt, mut terminate) =
            (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        let (tell, told) = oneshot::channel::<()>();
        let server = axum::serve(listener, router).with_graceful_shutdown(async { drop(told.await) });
        let server = tokio::spawn(server.into_future());
        tokio::select! {
            _ = interrupt.recv() => (),
            _ = terminate.recv() => (),
        }
        // First nobody new, and the answers that connections wait for...
        drop(tell);
        if timeout(STOP_TIME_MAX, server).await.is_err() {
            eprintln!("payments: some connections did not end in time");
        }
        // ...then the handlers whose clients have hung up...
        if timeout(STOP_TIME_MAX, drain.finished()).await.is_err() {
            eprintln!("payments: {} handlers did not end in time", drain.running());
        }
        Ok::<_, std::io::Error>(())
    })?;
    // ...and then the store, when there is nobody left to complete anything.
    store.close(STOP_TIME_MAX)?;
    println!("stopped");
    Ok(())
}

/// Says where it is and what to try.
fn introduce(address: &str, operator: &str) {
    eprintln!("an example: nobody is authenticated, `sk_test_NAME` is taken for the account NAME");
    println!("listening on http://{address}");
    println!("operator {operator}");
    let pay = |account: &str, amount: u32| {
        format!(
            "  curl -i http://{address}/v1/payment_intents -H 'Authorization: Bearer sk_test_{account}' \
             -H 'Idempotency-Key: order-1' -d amount={amount} -d currency=eur"
        )
    };
    println!("\npay, and send the same again: the first answer comes back, marked Idempotent-Replayed");
    println!("{}", pay("ann", 1200));
    println!("another amount under the same key: refused, idempotency_error");
    println!("{}", pay("ann", 9900));
    println!("the same key of another account: another payment");
    println!("{}", pay("bob", 1200));
    println!("kill it and start it again, then send the first one again: still one charge");
    println!("  kill -9 {}", std::process::id());
    println!("  curl http://{address}/v1/charges -H 'Authorization: Bearer sk_test_ann'");
    println!("the operator's: what the layer answered how often, and a backup (with --backups DIRECTORY)");
    println!("  curl http://{address}/operator/counts -H 'Authorization: Bearer {operator}'");
    println!("  curl -X POST http://{address}/operator/backups -H 'Authorization: Bearer {operator}'");
}
