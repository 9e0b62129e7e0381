//! The store over etcd, one member, beside the same rows written into it by hand ([`super::over`]): transactions nested in
//! transactions of as many operations as a member takes, which are sent at once. The messages are etcd's, as far as they are
//! spoken here.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use oncekey::distributed::Etcd;
use prost::{Message, Oneof};
use tokio::runtime::Runtime;
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::{Channel, Endpoint};
use tonic_prost::ProstCodec;

use super::over::{InBatches, OneByOne, Ours, RECORD_BYTES, Rows, STARTED_BYTES, bytes};
use super::{connect, find, free_port};
use crate::form::Form;
use crate::handover::Record;
use crate::results::Results;

/// Transactions in one: etcd's own default of `--max-txn-ops` is 128, and what these have themselves counts.
const NESTED_MAX: usize = 126;
/// Of the records' lease; nothing of it ends while this runs.
const RETENTION_SECONDS: i64 = 24 * 60 * 60;

const TXN: &str = "/etcdserverpb.KV/Txn";
const GRANT: &str = "/etcdserverpb.Lease/LeaseGrant";

#[derive(Clone, PartialEq, Message)]
struct Txn {
    #[prost(message, repeated, tag = "1")]
    compare: Vec<Compare>,
    #[prost(message, repeated, tag = "2")]
    success: Vec<Operation>,
}

/// Whether the revision that a key was made in is so, or greater.
#[derive(Clone, PartialEq, Message)]
struct Compare {
    #[prost(int32, tag = "1")]
    greater: i32,
    #[prost(int32, tag = "2")]
    target: i32,
    #[prost(bytes = "vec", tag = "3")]
    key: Vec<u8>,
    #[prost(oneof = "Created", tags = "5")]
    created: Option<Created>,
}

#[derive(Clone, PartialEq, Oneof)]
enum Created {
    #[prost(int64, tag = "5")]
    At(i64),
}

#[derive(Clone, PartialEq, Message)]
struct Operation {
    #[prost(oneof = "Kind", tags = "2, 3, 4")]
    kind: Option<Kind>,
}

#[derive(Clone, PartialEq, Oneof)]
enum Kind {
    #[prost(message, tag = "2")]
    Put(Put),
    #[prost(message, tag = "3")]
    Delete(Delete),
    #[prost(message, tag = "4")]
    Txn(Txn),
}

#[derive(Clone, PartialEq, Message)]
struct Put {
    #[prost(bytes = "vec", tag = "1")]
    key: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
    #[prost(int64, tag = "3")]
    lease: i64,
}

#[derive(Clone, PartialEq, Message)]
struct Delete {
    #[prost(bytes = "vec", tag = "1")]
    key: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct Done {
    #[prost(bool, tag = "2")]
    succeeded: bool,
    #[prost(message, repeated, tag = "3")]
    parts: Vec<Part>,
}

#[derive(Clone, PartialEq, Message)]
struct Part {
    #[prost(message, optional, tag = "4")]
    txn: Option<Done>,
}

#[derive(Clone, PartialEq, Message)]
struct Grant {
    #[prost(int64, tag = "1")]
    seconds: i64,
}

#[derive(Clone, PartialEq, Message)]
struct Granted {
    #[prost(int64, tag = "2")]
    id: i64,
}

/// A connection of its own, and the lease that its records stand under.
struct Transactions {
    runtime: Runtime,
    channel: Channel,
    lease: i64,
}

async fn call<A, B>(channel: &Channel, path: &'static str, asked: A) -> B
where
    A: Message + 'static,
    B: Message + Default + 'static,
{
    let mut grpc = Grpc::new(channel.clone());
    grpc.ready().await.expect("the member works");
    let path = PathAndQuery::from_static(path);
    let answer = grpc.unary(tonic::Request::new(asked), path, ProstCodec::default()).await;
    answer.expect("the member works").into_inner()
}

fn key(kind: &str, record: &Record) -> Vec<u8> {
    format!("rows/{kind}/{}", record.token).into_bytes()
}

fn made(key: Vec<u8>, greater: bool) -> Compare {
    Compare { greater: i32::from(greater), target: 1, key, created: Some(Created::At(0)) }
}

fn put(key: Vec<u8>, value: Vec<u8>, lease: i64) -> Operation {
    Operation { kind: Some(Kind::Put(Put { key, value, lease })) }
}

impl Transactions {
    fn connect(address: &str) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.expect("a runtime");
        let (channel, lease) = runtime.block_on(async {
            let endpoint = Endpoint::from_shared(address.to_owned()).expect("an address");
            let channel = endpoint.connect().await.expect("the member works");
            let granted: Granted = call(&channel, GRANT, Grant { seconds: RETENTION_SECONDS }).await;
            (channel, granted.id)
        });
        Self { runtime, channel, lease }
    }

    /// Each in a transaction of its own, as many of them in one as are taken.
    fn write(&self, all: &[Txn]) {
        self.runtime.block_on(async {
            let parts: Vec<_> = all
                .chunks(NESTED_MAX)
                .map(|part| {
                    let success = part.iter().cloned().map(|own| Operation { kind: Some(Kind::Txn(own)) });
                    let asked = Txn { compare: Vec::new(), success: success.collect() };
                    let channel = self.channel.clone();
                    tokio::spawn(async move { call::<_, Done>(&channel, TXN, asked).await })
                })
                .collect();
            for part in parts {
                let done = part.await.expect("it ends");
                assert!(done.parts.iter().all(|own| own.txn.as_ref().is_some_and(|txn| txn.succeeded)));
            }
        });
    }
}

impl Rows for Transactions {
    fn claim(&mut self, records: &[Record]) {
        let claim = |own: &Record| Txn {
            compare: vec![made(key("claim", own), false), made(key("record", own), false)],
            success: vec![put(key("claim", own), bytes(own, STARTED_BYTES), 0)],
        };
        self.write(&records.iter().map(claim).collect::<Vec<_>>());
    }

    fn complete(&mut self, records: &[Record]) {
        let complete = |own: &Record| Txn {
            compare: vec![made(key("claim", own), true)],
            success: vec![
                Operation { kind: Some(Kind::Delete(Delete { key: key("claim", own) })) },
                put(key("record", own), bytes(own, RECORD_BYTES), self.lease),
            ],
        };
        self.write(&records.iter().map(complete).collect::<Vec<_>>());
    }
}

/// One member; stopped with it.
struct Member {
    child: Child,
    address: String,
}

impl Member {
    fn start(home: &Path) -> Result<Self, String> {
        let data: PathBuf = home.join("etcd");
        fs::create_dir(&data).map_err(|error| error.to_string())?;
        let [client, peer] = [free_port()?, free_port()?].map(|port| format!("http://127.0.0.1:{port}"));
        let mut command = Command::new(find("etcd", [])?);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.args(["--name", "one", "--data-dir"]).arg(&data);
        command.args(["--listen-client-urls", &client, "--advertise-client-urls", &client]);
        command.args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer]);
        command.arg("--initial-cluster").arg(format!("one={peer}"));
        let child = command.spawn().map_err(|error| error.to_string())?;
        let mut own = Self { child, address: client };
        let store = || oncekey::Store::builder().connect(Etcd::at([own.address.as_str()])?.prefix("first")?);
        connect(&mut own.child, store)?;
        Ok(own)
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        // What it holds is temporary, and there is nobody to tell.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) fn compare(form: Form, home: &Path, results: &mut Results) {
    let member = match Member::start(home) {
        Ok(member) => member,
        Err(why) => return eprintln!("\n!!! ETCD IS LEFT OUT: {why} !!!\n"),
    };
    let engine = Etcd::at([member.address.as_str()]).expect("it is an address");
    let store = oncekey::Store::builder().connect(engine).expect("the member works");
    let ours = Ours { store, name: "oncekey over etcd" };
    let rows = || Box::new(Transactions::connect(&member.address)) as Box<dyn Rows>;
    let (batches, singles) = (InBatches::start(rows), OneByOne::start(rows));
    let ids = ["etcd_512_vs_batches", "etcd_512_vs_singles", "etcd_1_latency"];
    super::over::compare(form, (&ours, &batches, &singles), ids, results);
}
