//! A server for a test, and requests to it.

use std::net::SocketAddr;
use std::sync::Arc;

use oncekey::Store;
use oncekey::http::{IdempotencyLayer, LayerBuilder};
use oncekey_servers::{Shop, by_account, listen, router, serve};
use reqwest::{Client, Method, RequestBuilder, Response};
use tokio::sync::oneshot;

pub(crate) struct Server<S = Store> {
    pub(crate) address: SocketAddr,
    pub(crate) shop: Arc<Shop>,
    pub(crate) store: S,
    pub(crate) layer: IdempotencyLayer,
    pub(crate) client: Client,
    stop: Option<oneshot::Sender<()>>,
}

/// A server whose layer is as the draft has it, but for what `settings` changes.
pub(crate) async fn draft(settings: impl FnOnce(LayerBuilder) -> LayerBuilder) -> Server {
    let store = Store::in_memory().unwrap();
    start(store.clone(), settings(IdempotencyLayer::draft(store, by_account()))).await
}

pub(crate) async fn start<S>(store: S, settings: LayerBuilder) -> Server<S> {
    let layer = settings.build().unwrap();
    let shop = Arc::<Shop>::default();
    let (listener, address) = listen().await;
    let (stop, stopped) = oneshot::channel::<()>();
    let router = router(Arc::clone(&shop), layer.clone());
    tokio::spawn(serve(listener, router, async {
        let _ = stopped.await;
    }));
    Server { address, shop, store, layer, client: client(), stop: Some(stop) }
}

impl<S> Server<S> {
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// A request of the account `a`.
    pub(crate) fn ask(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, self.url(path)).header("x-account", "a")
    }

    /// A POST of the account `a` with this key.
    pub(crate) fn post(&self, path: &str, key: &str) -> RequestBuilder {
        self.ask(Method::POST, path).header("idempotency-key", key)
    }

    /// A POST of an order with this key.
    pub(crate) async fn order(&self, key: &str, body: &'static str) -> Answer {
        let request = self.post("/orders", key).header("content-type", "application/json").body(body);
        answer(request).await
    }

    pub(crate) fn stop(&mut self) {
        drop(self.stop.take());
    }
}

/// All of an answer that a test looks at.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: reqwest::header::HeaderMap,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|own| own.to_str().unwrap())
    }

    pub(crate) fn is_replayed(&self) -> bool {
        self.header("idempotency-replayed") == Some("true")
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap()
    }

    /// The type of the problem that it is.
    #[track_caller]
    pub(crate) fn problem(&self) -> String {
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{self:?}");
        let problem = self.json();
        assert_eq!(problem["status"], self.status);
        assert!(problem["title"].is_string() && problem["detail"].is_string());
        problem["type"].as_str().unwrap().strip_prefix("urn:oncekey:problem:").unwrap().to_owned()
    }
}

pub(crate) async fn answer(request: RequestBuilder) -> Answer {
    read(request.send().await.unwrap()).await
}

pub(crate) async fn read(response: Response) -> Answer {
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    Answer { status, headers, body: response.text().await.unwrap() }
}

/// Waits until it is so; a minute at most, so that a test that fails ends.
#[track_caller]
pub(crate) fn until(mut is_so: impl FnMut() -> bool) -> impl Future<Output = ()> {
    let asked = std::panic::Location::caller();
    async move {
        let begun = std::time::Instant::now();
        while !is_so() {
            assert!(begun.elapsed().as_secs() < 60, "it never came to be: {asked}");
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
    }
}

fn client() -> Client {
    Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap()
}
