//! The API that the rules come from, as a small HTTP server: scaling groups that are created once for a client
//! token, however often the client has to ask.
//!
//! ```text
//! cargo run --release --example scaling_groups -- --listen 127.0.0.1:8080 --store /var/lib/groups
//! curl '127.0.0.1:8080/?Action=CreateScalingGroup&AccessKeyId=me&MinSize=1&MaxSize=2&ClientToken=t-1'
//! curl '127.0.0.1:8080/?Action=DescribeScalingGroups&AccessKeyId=me'
//! ```
//!
//! It answers the SDKs of Alibaba Cloud (`tests/client` drives it with two of them), whose rules the crate's contract
//! repeats. Read it from here down: `http` reads requests and bounds them, `call` makes one meaning of two signing
//! styles, `api` says what is done once and what is not, `groups` keeps the groups so that a crash between a group
//! and its recorded answer makes neither two groups nor none.
//!
//! **What it is not.** *Signatures are not verified*: whoever names an access key is taken for its owner. A real
//! service checks the signature first, and takes the account that the key belongs to as the scope, so that a rotated
//! key or a temporary one does not start a new set of tokens. Timestamps are not checked, regions are not told
//! apart, names need not be unique, and a request without a nonce is let through (so that `curl` will do).

mod answer;
mod api;
mod call;
mod groups;
mod http;

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

const USAGE: &str = "usage: scaling_groups --listen ADDRESS:PORT --store DIRECTORY";
/// How long the store waits for requests that still run when the server stops.
const CLOSE_TIME_MAX: Duration = Duration::from_secs(5);

fn main() -> ExitCode {
    let Some(options) = Options::read(std::env::args().skip(1)) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    match run(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("scaling_groups: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<(), Box<dyn Error>> {
    let api = Arc::new(api::Api::open(&options.store)?);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .max_blocking_threads(http::REQUESTS_MAX)
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind(&options.listen).await?;
        let (mut interrupt, mut terminate) =
            (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        eprintln!(
            "an example: signatures are not verified, whoever names an access key is taken for its owner"
        );
        println!("listening on http://{}", listener.local_addr()?);
        let stop = async {
            tokio::select! {
                _ = interrupt.recv() => (),
                _ = terminate.recv() => (),
            }
        };
        http::serve(listener, Arc::clone(&api), stop).await;
        Ok::<_, std::io::Error>(())
    })?;
    api.close(CLOSE_TIME_MAX)?;
    Ok(())
}

struct Options {
    listen: String,
    store: PathBuf,
}

impl Options {
    /// `None` if they are not what [`USAGE`] says.
    fn read(mut arguments: impl Iterator<Item = String>) -> Option<Self> {
        let (mut listen, mut store) = (None, None);
        while let Some(name) = arguments.next() {
            let value = arguments.next()?;
            match name.as_str() {
                "--listen" => listen = Some(value),
                "--store" => store = Some(value.into()),
                _ => return None,
            }
        }
        Some(Self { listen: listen?, store: store? })
    }
}
