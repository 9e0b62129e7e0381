//! What does the layer cost before a handler that does nothing? Beside the bare handler, and beside the crate `idempotent` with
//! its store in memory, for which the thinnest middleware stands here that its README describes: it has no layer of its own.
//!
//! `cargo run --release` in this folder, `-- --quick` for a shorter one. Each round measures all sides one after the other, in
//! turn, and the figures are medians of rounds: microseconds a request in process (the router called, no socket), and thousands of
//! requests per second over loopback from 64 connections. The ratio beside each is to the bare handler of the same round.

mod sides;
mod wire;

use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use http::Request;
use http_body_util::BodyExt;
use tokio::runtime::Runtime;
use tower::ServiceExt;

use sides::{Asked, Side};

const CONNECTIONS: usize = 64;

fn main() {
    let quick = std::env::args().any(|own| own == "--quick");
    let (rounds, calls, time) =
        if quick { (3, 500, Duration::from_millis(150)) } else { (9, 5000, Duration::from_secs(1)) };
    let runtime = Runtime::new().expect("a runtime");
    let directory = tempfile::tempdir().expect("a directory");
    let sides = runtime.block_on(async { sides::all(directory.path()) });
    let (mut inside, mut outside) = (vec![Vec::new(); sides.len()], vec![Vec::new(); sides.len()]);
    for round in 0..rounds {
        for at in (0..sides.len()).map(|at| (at + round) % sides.len()) {
            let side = &sides[at];
            inside[at].push(runtime.block_on(in_process(side, calls)));
            outside[at].push(runtime.block_on(wire::per_second(side, CONNECTIONS, time)) / 1000.0);
        }
        eprintln!("round {} of {rounds}", round + 1);
    }
    println!(
        "{:48}{:>14}{:>12}{:>22}{:>12}",
        "", "µs, in process", "/ bare", "thousand/s, loopback", "/ bare"
    );
    for (at, side) in sides.iter().enumerate() {
        let beside =
            |own: &[Vec<f64>]| median(own[at].iter().zip(&own[0]).map(|(own, bare)| own / bare).collect());
        println!(
            "{:48}{:>14.2}{:>12.2}{:>22.1}{:>12.2}",
            side.name,
            median(inside[at].clone()),
            beside(&inside),
            median(outside[at].clone()),
            beside(&outside),
        );
    }
}

/// Microseconds a request that the router is called with, one after the other.
async fn in_process(side: &Side, calls: usize) -> f64 {
    let start = Instant::now();
    for _ in 0..calls {
        let response = call(side.router.clone(), side.request()).await;
        assert_eq!(response, sides::ANSWER.len());
    }
    start.elapsed().as_secs_f64() * 1e6 / calls as f64
}

async fn call(router: Router, request: Request<Body>) -> usize {
    let response = router.oneshot(request).await.expect("it never fails");
    assert_eq!(response.status(), 200);
    response.into_body().collect().await.expect("a body").to_bytes().len()
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_unstable_by(f64::total_cmp);
    figures[figures.len() / 2]
}

impl Side {
    fn request(&self) -> Request<Body> {
        let key = match self.asked {
            Asked::Anew => self.next_key(),
            Asked::Again => "the-same-key".to_owned(),
        };
        let request = Request::post("/orders").header("content-type", "application/json");
        request.header("idempotency-key", key).body(Body::from(sides::BODY)).expect("a sound request")
    }
}
