//! The shop as a process, to be killed: `oncekey-servers DIRECTORY`. Says its address on a line of its own.

use std::sync::Arc;

use oncekey::Store;
use oncekey::http::IdempotencyLayer;
use oncekey_servers::{by_account, listen, router, serve};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let directory = std::env::args_os().nth(1).ok_or("the store's directory")?;
    let layer = IdempotencyLayer::draft(Store::open(directory)?, by_account()).build()?;
    let (listener, address) = listen().await;
    println!("{address}");
    serve(listener, router(Arc::default(), layer), std::future::pending()).await;
    Ok(())
}
