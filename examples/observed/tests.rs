//! Goal: the dashboard fits the server. Method: a real server on loopback is asked by hand, and every name that a query of the
//! dashboard has is looked for in what `/metrics` says.

use std::collections::BTreeSet;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

async fn ask(address: std::net::SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut said = String::new();
    stream.read_to_string(&mut said).await.unwrap();
    said
}

/// Names of ours in a text.
fn names(text: &str) -> BTreeSet<&str> {
    text.split(|own: char| !own.is_ascii_alphanumeric() && own != '_')
        .filter(|own| own.starts_with("oncekey_"))
        .collect()
}

#[tokio::test]
async fn every_query_of_the_dashboard_finds_its_numbers() {
    let store = oncekey::Store::in_memory().unwrap();
    let router = super::router(&store, super::recorder().unwrap()).unwrap();
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    let order = "POST /orders HTTP/1.1\r\nhost: shop\r\nidempotency-key: k\r\ncontent-length: 2\r\nconnection: close\r\n\r\nhi";
    let (first, again) = (ask(address, order).await, ask(address, order).await);
    assert!(first.ends_with("an order of 2 bytes\n") && again.contains("idempotency-replayed: true"));

    let said = ask(address, "GET /metrics HTTP/1.1\r\nhost: shop\r\nconnection: close\r\n\r\n").await;
    assert!(said.contains("oncekey_http_replayed_total{store=\"orders\"} 1"), "{said}");
    let dashboard: serde_json::Value = serde_json::from_str(include_str!("dashboard.json")).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let queries = panels.iter().flat_map(|panel| panel["targets"].as_array().into_iter().flatten());
    let told = names(&said);
    let mut asked = 0;
    for name in queries.flat_map(|query| names(query["expr"].as_str().unwrap())) {
        assert!(told.contains(name), "the server tells nothing of {name}");
        asked += 1;
    }
    assert!(asked > 20, "{asked} names");
}
