//! A body that was read, in part or to its end, and is given on.
//!
//! Law: whoever reads it gets every byte, every trailer and every error that the body it was made of had, in their order.

use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes, BytesMut};
use http::HeaderMap;
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::BodyExt;

/// The body of a request that the layer gives on to a handler, and of an answer that it gives back: what it has read of it,
/// and the rest as it comes.
pub struct Body<B: HttpBody> {
    read: VecDeque<Bytes>,
    rest: Rest<B>,
}

enum Rest<B: HttpBody> {
    /// Nothing was read, or not to its end.
    Unread(Pin<Box<B>>),
    /// It ended in an error.
    Broken(Option<Box<B::Error>>),
    /// It ended, with or without trailers.
    Whole(Option<Box<HeaderMap>>),
}

/// How reading a body to its end, or up to a limit, came out.
pub(super) enum Reading {
    Whole,
    /// It goes on beyond the limit.
    Beyond,
    Broken,
}

impl<B: HttpBody<Data = Bytes>> Body<B> {
    /// A body of which nothing was read.
    pub(super) fn unread(body: B) -> Self {
        Self { read: VecDeque::new(), rest: Rest::Unread(Box::pin(body)) }
    }

    /// A body that is all there.
    pub(super) fn whole(bytes: Bytes, trailers: Option<HeaderMap>) -> Self {
        let read = Some(bytes).filter(|own| !own.is_empty()).into_iter().collect();
        Self { read, rest: Rest::Whole(trailers.map(Box::new)) }
    }

    /// Reads on until the end, or until more than `limit` bytes are there.
    pub(super) async fn read(&mut self, limit: u64) -> Reading {
        let mut bytes = self.read.iter().map(|own| own.len() as u64).sum::<u64>();
        while let Rest::Unread(rest) = &mut self.rest {
            // What says of itself that it is longer is not read to its limit first.
            if bytes > limit || bytes.saturating_add(rest.size_hint().lower()) > limit {
                return Reading::Beyond;
            }
            match rest.frame().await {
                None => self.rest = Rest::Whole(None),
                Some(Err(error)) => self.rest = Rest::Broken(Some(Box::new(error))),
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => {
                        bytes = bytes.saturating_add(data.len() as u64);
                        self.read.extend(Some(data).filter(|own| !own.is_empty()));
                    }
                    Err(frame) => {
                        self.rest = Rest::Whole(frame.into_trailers().ok().map(Box::new));
                    }
                },
            }
        }
        match self.rest {
            _ if bytes > limit => Reading::Beyond,
            Rest::Broken(_) => Reading::Broken,
            _ => Reading::Whole,
        }
    }

    /// What was read of it, in one piece.
    pub(super) fn bytes(&mut self) -> Bytes {
        if self.read.len() > 1 {
            let mut all = BytesMut::with_capacity(self.read.iter().map(Bytes::len).sum());
            self.read.drain(..).for_each(|own| all.extend_from_slice(&own));
            self.read.push_back(all.freeze());
        }
        self.read.front().cloned().unwrap_or_default()
    }

    /// Its trailers, once it was read to its end.
    pub(super) fn trailers(&self) -> Option<&HeaderMap> {
        match &self.rest {
            Rest::Whole(trailers) => trailers.as_deref(),
            _ => None,
        }
    }
}

impl<B: HttpBody<Data = Bytes>> HttpBody for Body<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        if let Some(data) = self.read.pop_front() {
            return Poll::Ready(Some(Ok(Frame::data(data))));
        }
        match &mut self.rest {
            Rest::Unread(rest) => rest.as_mut().poll_frame(context),
            Rest::Broken(error) => Poll::Ready(error.take().map(|own| Err(*own))),
            Rest::Whole(trailers) => Poll::Ready(trailers.take().map(|own| Ok(Frame::trailers(*own)))),
        }
    }

    fn is_end_stream(&self) -> bool {
        let ends = match &self.rest {
            Rest::Unread(rest) => rest.is_end_stream(),
            Rest::Broken(error) => error.is_none(),
            Rest::Whole(trailers) => trailers.is_none(),
        };
        self.read.is_empty() && ends
    }

    fn size_hint(&self) -> SizeHint {
        let read = self.read.iter().map(|own| own.remaining() as u64).sum();
        let rest = match &self.rest {
            Rest::Unread(rest) => rest.size_hint(),
            // Nobody shall take what is there for all of it.
            Rest::Broken(_) => SizeHint::new(),
            Rest::Whole(_) => return SizeHint::with_exact(read),
        };
        let mut hint = SizeHint::new();
        if let Some(upper) = rest.upper() {
            hint.set_upper(upper.saturating_add(read));
        }
        hint.set_lower(rest.lower().saturating_add(read));
        hint
    }
}

impl<B: HttpBody> fmt::Debug for Body<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Body")
            .field("read", &self.read.iter().map(Bytes::len).sum::<usize>())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use http::header::{ETAG, HeaderValue};

    use super::*;
    use crate::sync::block_on;

    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    enum Piece {
        Data(&'static str),
        Trailers,
        Error,
    }
    use Piece::{Data, Error, Trailers};

    /// These pieces, one after the other.
    struct Script(VecDeque<Piece>);

    impl HttpBody for Script {
        type Data = Bytes;
        type Error = &'static str;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, &'static str>>> {
            Poll::Ready(self.0.pop_front().map(|piece| match piece {
                Data(text) => Ok(Frame::data(text.into())),
                Trailers => Ok(Frame::trailers(trailers())),
                Error => Err("broken"),
            }))
        }

        fn is_end_stream(&self) -> bool {
            self.0.is_empty()
        }
    }

    fn trailers() -> HeaderMap {
        HeaderMap::from_iter([(ETAG, HeaderValue::from_static("end"))])
    }

    fn body(pieces: &[Piece]) -> Body<Script> {
        Body::unread(Script(pieces.iter().copied().collect()))
    }

    /// Everything that whoever reads it gets.
    fn read_on(mut body: Body<Script>) -> (String, Option<&'static str>, bool) {
        let (mut text, mut error, mut has_trailers) = (String::new(), None, false);
        while let Some(frame) = block_on(body.frame()) {
            match frame.map(Frame::into_data) {
                Ok(Ok(data)) => text.push_str(std::str::from_utf8(&data).unwrap()),
                Ok(Err(frame)) => has_trailers = frame.into_trailers().is_ok_and(|own| own == trailers()),
                Err(told) => error = Some(told),
            }
        }
        assert!(body.is_end_stream());
        (text, error, has_trailers)
    }

    #[test]
    fn whatever_was_read_of_it_all_of_it_is_given_on() {
        let scripts: [&[Piece]; 6] = [
            &[],
            &[Data("ab"), Data(""), Data("cd")],
            &[Data("ab"), Trailers],
            &[Trailers],
            &[Data("ab"), Data("cd"), Error],
            &[Error],
        ];
        for script in scripts {
            for limit in [0, 1, 2, 3, 4, 5] {
                let mut own = body(script);
                let text: String =
                    script.iter().map(|piece| if let Data(text) = piece { *text } else { "" }).collect();
                let is_broken = script.contains(&Error);
                let reading = block_on(own.read(limit));
                let is_large = text.len() as u64 > limit;
                assert_eq!(matches!(reading, Reading::Beyond), is_large, "{script:?} {limit}");
                assert_eq!(matches!(reading, Reading::Broken), is_broken && !is_large, "{script:?} {limit}");
                assert_eq!(own.trailers().is_some(), script.contains(&Trailers) && !is_large);
                assert!(text.as_bytes().starts_with(&own.bytes()));
                let expected = (text, is_broken.then_some("broken"), script.contains(&Trailers));
                assert_eq!(read_on(own), expected, "{script:?} {limit}");
            }
        }
    }

    #[test]
    fn only_one_that_is_whole_says_how_long_it_is() {
        let hint = |script: &[Piece]| {
            let mut own = body(script);
            let _ = block_on(own.read(2));
            (own.size_hint().lower(), own.size_hint().exact())
        };
        assert_eq!(hint(&[Data("ab")]), (2, Some(2)));
        assert_eq!(hint(&[Data("abc"), Data("d")]), (3, None), "there is more");
        assert_eq!(hint(&[Data("ab"), Error]), (2, None), "nobody shall take it for all");
    }

    #[test]
    fn one_that_says_it_is_longer_is_not_read_10_4() {
        let mut own = Body::unread(http_body_util::Full::new(Bytes::from_static(b"abc")));
        assert!(matches!(block_on(own.read(2)), Reading::Beyond));
        assert!(own.bytes().is_empty());
        assert!(matches!(block_on(own.read(3)), Reading::Whole));
        assert_eq!(own.bytes(), "abc");
    }
}
