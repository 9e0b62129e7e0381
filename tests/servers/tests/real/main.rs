//! Goal: contract 9 as a client meets it. Method: a real axum or tonic server on loopback, real clients (reqwest over HTTP/1 and
//! HTTP/2, curl, tonic), and handlers that count their runs.

mod bodies;
mod connections;
mod conventions;
mod draft;
mod grpc;
mod leaving;
mod sharing;
mod support;
mod trouble;
