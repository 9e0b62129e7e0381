//! A service of gRPC's, written as its generator would.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::task::{Context, Poll};

use http::{Request, Response};
use tonic::body::Body;
use tonic::server::{Grpc, NamedService, UnaryService};
use tonic::{Code, Status};
use tonic_prost::ProstCodec;

use crate::Shop;

/// Whom to greet, and how the call shall end: 0 for well.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Hello {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(int32, tag = "2")]
    pub code: i32,
}

/// A greeting, and the how manieth it is.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Greeting {
    #[prost(string, tag = "1")]
    pub text: String,
    #[prost(uint64, tag = "2")]
    pub run: u64,
}

/// The path of its one method.
pub const SAY_HELLO: &str = "/shop.Greeter/SayHello";

#[derive(Clone, Debug)]
pub struct Greeter(pub Arc<Shop>);

impl NamedService for Greeter {
    const NAME: &'static str = "shop.Greeter";
}

impl UnaryService<Hello> for Greeter {
    type Response = Greeting;
    type Future = Pin<Box<dyn Future<Output = Result<tonic::Response<Greeting>, Status>> + Send>>;

    fn call(&mut self, request: tonic::Request<Hello>) -> Self::Future {
        let run = self.0.runs.fetch_add(1, SeqCst) + 1;
        Box::pin(async move {
            let Hello { name, code } = request.into_inner();
            if code != 0 {
                return Err(Status::new(Code::from_i32(code), format!("run {run}")));
            }
            let mut response = tonic::Response::new(Greeting { text: format!("hello {name}"), run });
            response
                .metadata_mut()
                .insert("x-request-id", tonic::metadata::MetadataValue::from_static("first"));
            Ok(response)
        })
    }
}

impl tower::Service<Request<Body>> for Greeter {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let own = self.clone();
        Box::pin(async move {
            if request.uri().path() == SAY_HELLO {
                return Ok(Grpc::new(ProstCodec::default()).unary(own, request).await);
            }
            Ok(Status::unimplemented("no such method").into_http())
        })
    }
}
