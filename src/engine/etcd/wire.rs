//! etcd's messages, as far as they are spoken here.
//!
//! Law: the tags are those of etcd's `rpc.proto` and `kv.proto`, which never change; whatever stands there and is not asked
//! for or looked at here is left out, as protobuf allows. They are written by hand, so that nobody who builds this crate
//! needs `protoc`. None of them can be printed: they hold keys and outcomes (contract 10.2).
//!
//! A request goes out as bytes that were encoded once: so it can be measured, and sent again, without encoding it anew.

use std::marker::PhantomData;

use prost::bytes::{BufMut, Bytes};
use prost::{Message, Oneof};
use tonic::Status;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};

/// A request, where it is sent and what answers it.
pub(super) trait Call: Message {
    type Answer: Message + Default + 'static;
    const PATH: &'static str;
}

macro_rules! calls {
    ($($request:ty => $answer:ty, $path:literal;)*) => {
        $(impl Call for $request {
            type Answer = $answer;
            const PATH: &'static str = $path;
        })*
    };
}

calls! {
    Range => RangeAnswer, "/etcdserverpb.KV/Range";
    Txn => TxnAnswer, "/etcdserverpb.KV/Txn";
    WatchRequest => WatchAnswer, "/etcdserverpb.Watch/Watch";
    Grant => Granted, "/etcdserverpb.Lease/LeaseGrant";
    Revoke => Nothing, "/etcdserverpb.Lease/LeaseRevoke";
    KeepAlive => KeptAlive, "/etcdserverpb.Lease/LeaseKeepAlive";
    Authenticate => Authenticated, "/etcdserverpb.Auth/Authenticate";
}

#[derive(Clone, PartialEq, Message)]
#[prost(skip_debug)]
pub(super) struct Header {
    #[prost(int64, tag = "3")]
    pub(super) revision: i64,
}

#[derive(Clone, PartialEq, Message)]
#[prost(skip_debug)]
pub(super) struct KeyValue {
    #[prost(bytes = "vec", tag = "1")]
    pub(super) key: Vec<u8>,
    #[prost(int64, tag = "3")]
    pub(super) modified: i64,
    #[prost(bytes = "vec", tag = "5")]
    pub(super) value: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
#[prost(skip_debug)]
pub(super) struct Range {
    #[prost(bytes = "vec", tag = "1")]
    pub(super) key: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    pub(super) end: Vec<u8>,
    #[prost(int64, tag = "3")]
    pub(super) limit: i64,
    #[prost(bool, tag = "8")]
    pub(super) keys_only: bool,
    #[prost(bool, tag = "9")]
    pub(super) count_only: bool,
}

#[derive(Clone, PartialEq, Message)]
#[prost(skip_debug)]
pub(super) struct RangeAnswer {
    #[prost(message, repeated, tag = "2")]
    pub(super) found: Vec<KeyValue>,
    #[prost(bool, tag = "3")]
    pub(super) more: bool,
    #[prost(int64, tag = "4")]
    pub(super) count: i64,
}

#[derive(Clone, PartialEq, Message)]
#[prost(skip_debug)]
pub(super) struct Put {
    #[prost(bytes = "vec", tag = "1")]
    pub(super) key: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    pub(super) value: Vec<u8>,
    #[prost(int64, tag = "3")]
    pub(super) lease: i64,
}

#[derive(Clone, PartialEq, Message)]
#[prost(skip_debug)]
pub(super) struct Delete {
    #[prost(bytes = "vec", tag = "1")]
    pub(super) key: Vec<u8>,
}

/// The answer to whatever nothing is told of.
#[derive(Clone, PartialEq, Message)]
#[prost(skip_debug)]
pub(super) struct Nothing {}

#[derive(Clone, PartialEq, Message)]
#[prost(skip_debug)]
pub(super) struct Operation {
    #[prost(oneof = "What", tags = "1, 2, 3, 4")]
    pub(super) what: Option<What>,
}

#[derive(Clone, PartialEq, Oneof)]
#[prost(skip_debug)]
pub(super) enum What {
    #[prost(message, tag = "1")]
    Range(Range),
    #[prost(message, tag = "2")]
    Put(Put),
    #[prost(message, tag = "3")]
    Delete(Delete),
    #[prost(message, tag = "4")]
    Txn(Txn),
}

#[derive(Clone, PartialEq, Message)]
#[prost(skip_debug)]
pub(super) struct OperationAnswer {
    #[prost(oneof = "Came", tags = "1, 2, 3, 4")]
    pub(super) came: Option<Came>,
}

#[derive(Clone, PartialEq, Oneof)]
#[prost(skip_debug)]
pub(super) enum Came {
    #[prost(message, tag = "1")]
    Range(RangeAnswer),
    #[prost(message, tag = "2")]
    Put(Nothing),
    #[prost(message, tag = "3")]
    Delete(Nothing),
    #[prost(message, tag = "4")]
    Txn(TxnAnswer),
}

#[derive(Clone, PartialEq, Message)]
#[prost(skip_debug)]
pub(super) struct Compare {
    /// 0: equal, 1: greater, 2: less.
    #[prost(int32, tag = "1")]
    pub(super) result: i32,
    /// 1: the revision it was made in, 2: the revision it was last changed in, 3: the value.
    #[prost(int32, tag = "2")]
    pub(super) target: i32,
    #[prost(bytes = "vec", tag = "3")]
    pub(super) key: Vec<u8>,
    #[prost(oneof = "With", tags = "5, 6, 7")]
    pub(super) with: Option<With>,
}

#[derive(Clone, PartialEq, Oneof)]
#[prost(skip_debug)]
pub(super) enum With {
    #[prost(int64, tag = "5")]
    Made(i64),
    #[prost(int64, tag = "6")]
    Modified(i64),
    #[prost(bytes, tag = "7")]
    Value(Vec<u8>),
}

/// If all of it holds, what succeeds it, else what is to be done where it does not; at one moment.
#[derive(Clone, PartialEq, Message)]
#[prost(skip_debug)]
pub(super) struct Txn {
    #[prost(message, repeated, tag = "1")]
    pub(super) compare: Vec<Compare>,
    #[prost(message, repeated, tag = "2")]
    pub(super) success: Vec<Operation>,
    #[prost(message, repeated, tag = "3")]
    pub(super) failure: Vec<Operation>,
}

#[derive(Clone, PartialEq, Message)]
#[prost(skip_debug)]
pub(super) struct TxnAnswer {
    #[prost(message, optional, tag = "1")]
    pub(super) header: Option<Header>,
    #[prost(bool, tag = "2")]
    pub(super) succeeded: bool,
    #[prost(message, repeated, tag = "3")]
    pub(super) answers: Vec<OperationAnswer>,
}

#[derive(Clone, PartialEq, Message)]
#[prost(skip_debug)]
pub(super) struct WatchRequest {
    #[prost(oneof = "Watching", tags = "1, 2")]
    pub(super) watching: Option<Watching>,
}

#[derive(Clone, PartialEq, Oneof)]
#[prost(skip_debug)]
pub(super) enum Watching {
    #[prost(message, tag = "1")]
    Begin(WatchBegin),
    #[prost(message, tag = "2")]
    End(WatchEnd),
}

#[derive(Clone, PartialEq, Message)]
#[prost(skip_debug)]
pub(super) struct WatchBegin {
    #[prost(bytes = "vec", tag = "1")]
    pub(super) key: Vec<u8>,
    #[prost(int64, tag = "3")]
    pub(super) from: i64,
    #[prost(int64, tag = "7")]
    pub(super) id: i64,
}

#[derive(Clone, PartialEq, Message)]
#[prost(skip_debug)]
pub(super) struct WatchEnd {
    #[prost(int64, tag = "1")]
    pub(super) id: i64,
}

#[derive(Clone, PartialEq, Message)]
#[prost(skip_debug)]
pub(super) struct WatchAnswer {
    #[prost(int64, tag = "2")]
    pub(super) id: i64,
    #[prost(bool, tag = "3")]
    pub(super) created: bool,
    #[prost(bool, tag = "4")]
    pub(super) canceled: bool,
    #[prost(message, repeated, tag = "11")]
    pub(super) events: Vec<Event>,
}

#[derive(Clone, PartialEq, Message)]
#[prost(skip_debug)]
pub(super) struct Event {
    /// 0: put, 1: deleted.
    #[prost(int32, tag = "1")]
    pub(super) kind: i32,
    #[prost(message, optional, tag = "2")]
    pub(super) entry: Option<KeyValue>,
}

#[derive(Clone, PartialEq, Message)]
#[prost(skip_debug)]
pub(super) struct Grant {
    /// Seconds.
    #[prost(int64, tag = "1")]
    pub(super) ttl: i64,
}

#[derive(Clone, PartialEq, Message)]
#[prost(skip_debug)]
pub(super) struct Granted {
    #[prost(int64, tag = "2")]
    pub(super) id: i64,
    #[prost(int64, tag = "3")]
    pub(super) ttl: i64,
}

#[derive(Clone, PartialEq, Message)]
#[prost(skip_debug)]
pub(super) struct Revoke {
    #[prost(int64, tag = "1")]
    pub(super) id: i64,
}

#[derive(Clone, PartialEq, Message)]
#[prost(skip_debug)]
pub(super) struct KeepAlive {
    #[prost(int64, tag = "1")]
    pub(super) id: i64,
}

#[derive(Clone, PartialEq, Message)]
#[prost(skip_debug)]
pub(super) struct KeptAlive {
    /// Seconds that are left; none: it has ended.
    #[prost(int64, tag = "3")]
    pub(super) ttl: i64,
}

#[derive(Clone, PartialEq, Message)]
#[prost(skip_debug)]
pub(super) struct Authenticate {
    #[prost(string, tag = "1")]
    pub(super) name: String,
    #[prost(string, tag = "2")]
    pub(super) password: String,
}

#[derive(Clone, PartialEq, Message)]
#[prost(skip_debug)]
pub(super) struct Authenticated {
    #[prost(string, tag = "2")]
    pub(super) token: String,
}

/// Sends bytes as they are, reads messages.
pub(super) struct Wire<A>(PhantomData<fn() -> A>);

impl<A> Wire<A> {
    pub(super) fn new() -> Self {
        Self(PhantomData)
    }
}

impl<A: Message + Default + 'static> Codec for Wire<A> {
    type Encode = Bytes;
    type Decode = A;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self::new()
    }

    fn decoder(&mut self) -> Self {
        Self::new()
    }
}

impl<A> Encoder for Wire<A> {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, to: &mut EncodeBuf<'_>) -> Result<(), Status> {
        to.put(item);
        Ok(())
    }
}

impl<A: Message + Default> Decoder for Wire<A> {
    type Item = A;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<A>, Status> {
        A::decode(from).map(Some).map_err(|_| Status::data_loss("no message of etcd"))
    }
}
