//! What does whoever is on call see? A server whose store and layer are watched: Prometheus reads `/metrics`, spans go to the
//! terminal, and `dashboard.json` shows it all in Grafana.
//!
//! `cargo run --release --features tower,metrics,tracing --example observed`, and then what it says on the terminal.
//!
//! Law: nothing that is shown holds a byte of a request: a token is followed by its fingerprint, and numbers have no labels but the
//! server's own. The numbers are published when they are asked for, so a request pays nothing for them.

#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use oncekey::Store;
use oncekey::http::{IdempotencyLayer, Scope};
use oncekey::metrics::Publisher;
use tokio::net::TcpListener;

const ADDRESS: &str = "127.0.0.1:3031";

/// Bounds of all histograms of times, in seconds: those that the store measures by, from 8 microseconds to 17 seconds.
fn seconds() -> Vec<f64> {
    (3..=24).map(|power| f64::from(1 << power) * 1e-6).collect()
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    tracing_subscriber::fmt().with_max_level(tracing::Level::DEBUG).init();
    let directory = tempfile::tempdir()?;
    let store = Store::open(directory.path().join("tokens"))?;
    let listener = TcpListener::bind(ADDRESS).await?;
    say(listener.local_addr()?);
    let recorder = recorder()?;
    axum::serve(listener, router(&store, recorder)?)
        .with_graceful_shutdown(async {
            let _ = tokio::signal::ctrl_c().await;
        })
        .await?;
    Ok(store.close(Duration::from_secs(5))?)
}

fn say(address: SocketAddr) {
    println!("It listens at http://{address}. Try, twice each, and look at the spans here:");
    for (key, size) in [("k-1", 1), ("k-1", 2), ("k-2", 1)] {
        println!(
            "  curl -i -X POST -H 'Idempotency-Key: \"{key}\"' -d 'size={size}' http://{address}/orders"
        );
    }
    println!("and its numbers: curl http://{address}/metrics");
    println!(
        "examples/observed/dashboard.json is a dashboard for them: import it into Grafana, over Prometheus."
    );
}

/// The process's recorder. Its histograms have buckets, so that Prometheus can add those of several servers.
fn recorder() -> Result<PrometheusHandle, Box<dyn std::error::Error>> {
    let sizes: Vec<f64> = (0..=13).map(|power| f64::from(1 << power)).collect();
    let builder = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &seconds())?
        .set_buckets_for_metric(Matcher::Suffix("_per_commit".to_owned()), &sizes)?;
    Ok(builder.install_recorder()?)
}

/// The orders behind the layer, and beside them the numbers.
fn router(store: &Store, recorder: PrometheusHandle) -> Result<Router, oncekey::Error> {
    let layer = IdempotencyLayer::draft(store.clone(), Scope::single("shop")).build()?;
    let publisher = Publisher::new(store).label("store", "orders").layer(&layer);
    let numbers = Numbers { publisher: Arc::new(Mutex::new(publisher)), recorder };
    let orders = Router::new().route("/orders", post(order)).layer(layer);
    Ok(orders.merge(Router::new().route("/metrics", get(metrics)).with_state(numbers)))
}

#[derive(Clone)]
struct Numbers {
    publisher: Arc<Mutex<Publisher>>,
    recorder: PrometheusHandle,
}

async fn metrics(State(numbers): State<Numbers>) -> Response {
    let Ok(mut publisher) = numbers.publisher.lock() else {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    publisher.publish();
    numbers.recorder.render().into_response()
}

/// An order takes 20 milliseconds.
async fn order(body: String) -> String {
    tokio::time::sleep(Duration::from_millis(20)).await;
    tracing::info!(bytes = body.len(), "the order is made");
    format!("an order of {} bytes\n", body.len())
}
