//! Goal: the same layer before a tonic server (contract 9): a call runs once, its status and metadata are replayed. Method: a real
//! server and tonic's own client.

use std::sync::Arc;

use oncekey::Store;
use oncekey::http::IdempotencyLayer;
use oncekey_servers::greeter::{Greeter, Greeting, Hello, SAY_HELLO};
use oncekey_servers::{Shop, by_account, listen};
use tonic::transport::{Channel, Endpoint, Server};
use tonic::{Code, Request, Response, Status};
use tonic_prost::ProstCodec;

struct Served {
    shop: Arc<Shop>,
    channel: Channel,
}

async fn served() -> Served {
    let shop = Arc::<Shop>::default();
    let layer = IdempotencyLayer::draft(Store::in_memory().unwrap(), by_account()).build().unwrap();
    let (listener, address) = listen().await;
    let incoming = tonic::transport::server::TcpIncoming::from(listener);
    let server = Server::builder().layer(layer).add_service(Greeter(Arc::clone(&shop)));
    tokio::spawn(server.serve_with_incoming(incoming));
    let channel = Endpoint::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap();
    Served { shop, channel }
}

impl Served {
    async fn hello(&self, key: Option<&str>, name: &str, code: Code) -> Result<Response<Greeting>, Status> {
        let mut request = Request::new(Hello { name: name.into(), code: code as i32 });
        request.metadata_mut().insert("x-account", "a".parse().unwrap());
        if let Some(key) = key {
            request.metadata_mut().insert("idempotency-key", key.parse().unwrap());
        }
        let mut client = tonic::client::Grpc::new(self.channel.clone());
        client.ready().await.unwrap();
        let codec: ProstCodec<Hello, Greeting> = ProstCodec::default();
        client.unary(request, SAY_HELLO.parse().unwrap(), codec).await
    }
}

#[tokio::test]
async fn a_call_runs_once_and_its_retry_gets_the_same_message() {
    let served = served().await;
    let first = served.hello(Some("k"), "ada", Code::Ok).await.unwrap();
    assert_eq!(first.metadata().get("x-request-id").unwrap(), "first");
    let again = served.hello(Some("\"k\""), "ada", Code::Ok).await.unwrap();
    assert_eq!(again.metadata().get("idempotency-replayed").unwrap(), "true");
    assert_eq!(again.get_ref(), &Greeting { text: "hello ada".into(), run: 1 });
    assert_eq!((again.into_inner(), served.shop.runs()), (first.into_inner(), 1));
}

#[tokio::test]
async fn a_status_that_would_come_again_is_kept_and_one_that_says_later_is_not_4_2() {
    let served = served().await;
    for code in (1..=16).map(Code::from_i32) {
        let key = format!("k{}", code as i32);
        let runs = served.shop.runs();
        let first = served.hello(Some(&key), "ada", code).await.unwrap_err();
        let again = served.hello(Some(&key), "ada", code).await.unwrap_err();
        assert_eq!((first.code(), again.code()), (code, code));
        let is_final = matches!(
            code,
            Code::InvalidArgument
                | Code::NotFound
                | Code::AlreadyExists
                | Code::FailedPrecondition
                | Code::OutOfRange
                | Code::Unimplemented
        );
        assert_eq!(served.shop.runs() - runs, if is_final { 1 } else { 2 }, "{code:?}");
        assert_eq!(first.message() == again.message(), is_final, "{code:?}");
    }
}

#[tokio::test]
async fn refusals_are_statuses_of_grpcs() {
    let served = served().await;
    served.hello(Some("k"), "ada", Code::Ok).await.unwrap();
    let cases = [
        (served.hello(None, "ada", Code::Ok).await, Code::InvalidArgument, "is required"),
        (served.hello(Some("k"), "bob", Code::Ok).await, Code::InvalidArgument, "used with another request"),
        (served.hello(Some(&"k".repeat(65)), "ada", Code::Ok).await, Code::InvalidArgument, "refused"),
    ];
    for (told, code, message) in cases {
        let status = told.unwrap_err();
        assert_eq!(status.code(), code, "{status}");
        assert!(status.message().contains(message), "{status}");
    }
    assert_eq!(served.shop.runs(), 1);
}
