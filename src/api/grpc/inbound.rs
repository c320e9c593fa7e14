//! The body of a call on its way in, within limits of size, time, pieces and the memory of all bodies
//! together. tonic would reserve whatever length a caller states, and inflate without a budget; so
//! lengths are seen here first, and compressed messages leave here inflated.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame};
use prost::Message;
use tokio::sync::oneshot;
use tokio::time::Sleep;
use tonic::Status;

use super::error::{too_large, too_large_message};
use super::inflate::{Compression, Inflating};
use crate::api::budget::{Held, MAX_PIECES};
use crate::api::state::ApiState;
use crate::error::Error;

/// The flag and the length before each message.
const HEADER_BYTES: usize = 5;

/// The limits of a body.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// The largest message.
    pub(super) message_bytes: usize,
    /// The time for a message, from its first byte or, if there is only one, from the head of the call.
    pub(super) timeout: Duration,
    /// Set for calls of exactly one message.
    pub(super) single: bool,
    /// The compression that messages may have.
    pub(super) compression: Option<Compression>,
}

/// A body within limits.
#[derive(Debug)]
pub(super) struct Inbound<B> {
    /// Gone once it was cut off.
    body: Option<B>,
    cut: Option<oneshot::Receiver<()>>,
    limits: Limits,
    /// The memory of the message under way.
    held: Held,
    header: Header,
    /// Bytes of the message under way that are still to come.
    missing: usize,
    pieces: usize,
    messages: usize,
    inflating: Option<Inflating>,
    patience: Option<Pin<Box<Sleep>>>,
}

/// The part of a header that has arrived.
#[derive(Debug, Default)]
struct Header {
    bytes: [u8; HEADER_BYTES],
    length: usize,
}

impl Header {
    /// Takes bytes away until it is complete; then gives its flag and length, and is empty again.
    fn take(&mut self, bytes: &mut Bytes) -> Option<(u8, usize)> {
        let part = bytes.split_to(bytes.len().min(HEADER_BYTES - self.length));
        self.bytes[self.length..self.length + part.len()].copy_from_slice(&part);
        self.length += part.len();
        if self.length < HEADER_BYTES {
            return None;
        }
        self.length = 0;
        let [flag, length @ ..] = self.bytes;
        Some((flag, u32::from_be_bytes(length) as usize))
    }
}

impl<B> Inbound<B> {
    /// A body that is cut off when the other half of `cut` is gone: that of a stream whose answers have
    /// ended, whoever still waits for more of it.
    pub(super) fn new(body: B, limits: Limits, held: Held, cut: Option<oneshot::Receiver<()>>) -> Self {
        let (body, header) = (Some(body), Header::default());
        let (inflating, patience) = (None, None);
        Self { body, cut, limits, held, header, missing: 0, pieces: 0, messages: 0, inflating, patience }
    }

    /// Returns true if a message has begun and not ended.
    fn is_amid(&self) -> bool {
        self.missing > 0 || self.header.length > 0
    }

    /// Looks at a piece; gives what tonic should read in its place.
    fn look(&mut self, piece: Bytes) -> Result<Bytes, Status> {
        self.pieces += 1;
        if self.pieces > MAX_PIECES {
            return Err(too_large("the number of pieces of a message", MAX_PIECES));
        }
        if !self.is_amid() {
            // tonic asks for more only when it has read the messages before.
            self.held.release();
        }
        let mut rest = piece.clone();
        let mut inflated = BytesMut::new();
        while !rest.is_empty() {
            if self.missing == 0 {
                let Some((flag, length)) = self.header.take(&mut rest) else { break };
                self.begin(flag, length)?;
            }
            let part = rest.split_to(rest.len().min(self.missing));
            self.missing -= part.len();
            if let Some(inflating) = &mut self.inflating {
                inflating.write(&part, &mut self.held)?;
            }
            if self.missing == 0 {
                self.pieces = 0;
                self.patience = None;
                if let Some(inflating) = self.inflating.take() {
                    inflating.finish(&mut inflated)?;
                }
            }
        }
        Ok(if self.limits.compression.is_some() { inflated.freeze() } else { piece })
    }

    fn begin(&mut self, flag: u8, length: usize) -> Result<(), Status> {
        self.messages += 1;
        if self.limits.single && self.messages > 1 {
            return Err(Status::invalid_argument("the call brings more than one message"));
        }
        match (flag, self.limits.compression) {
            (0, _) | (1, Some(_)) => {}
            (1, None) => {
                return Err(Status::invalid_argument(
                    "a message is compressed and \"grpc-encoding\" does not say how: expected gzip or deflate",
                ));
            }
            _ => return Err(Status::invalid_argument(format!("the flag of a message must be 0 or 1, got {flag}"))),
        }
        if length > self.limits.message_bytes {
            return Err(too_large_message(self.limits.message_bytes, length));
        }
        self.held.grow(length)?;
        self.missing = length;
        if let Some(compression) = self.limits.compression {
            self.inflating = Some(Inflating::new((flag == 1).then_some(compression), self.limits.message_bytes));
        }
        Ok(())
    }

    fn is_cut(&mut self, context: &mut Context<'_>) -> bool {
        self.cut.as_mut().is_some_and(|cut| Pin::new(cut).poll(context).is_ready())
    }

    /// Returns true once the client's time is up.
    fn is_late(&mut self, context: &mut Context<'_>) -> bool {
        if !self.is_amid() && !self.limits.single {
            return false;
        }
        let timeout = self.limits.timeout;
        let patience = self.patience.get_or_insert_with(|| Box::pin(tokio::time::sleep(timeout)));
        patience.as_mut().poll(context).is_ready()
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for Inbound<B> {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = &mut *self;
        let Some(body) = &mut this.body else { return Poll::Ready(None) };
        let frame = match Pin::new(body).poll_frame(context) {
            Poll::Ready(frame) => frame,
            Poll::Pending if this.is_cut(context) => {
                (this.body, this.cut) = (None, None);
                return Poll::Ready(None);
            }
            Poll::Pending if this.is_late(context) => {
                let limit_seconds = this.limits.timeout.as_secs_f64();
                return Poll::Ready(Some(Err(Error::SlowClient { limit_seconds }.into())));
            }
            Poll::Pending => return Poll::Pending,
        };
        Poll::Ready(match frame {
            Some(Ok(frame)) => Some(match frame.into_data() {
                Ok(piece) => this.look(piece).map(Frame::data),
                Err(trailers) => Ok(trailers),
            }),
            Some(Err(_)) => Some(Err(Status::invalid_argument("the call breaks off before its end"))),
            None if this.is_amid() => Some(Err(Status::invalid_argument("the call ends in the middle of a message"))),
            None if this.limits.single && this.messages == 0 => {
                Some(Err(Status::invalid_argument("the call brings no message")))
            }
            None => None,
        })
    }

    fn is_end_stream(&self) -> bool {
        // A call without a message must not look like an empty body, or it would not be refused here.
        self.body.as_ref().is_none_or(B::is_end_stream) && !(self.is_amid() || self.limits.single && self.messages == 0)
    }
}

/// The memory of a message for as long as it is worked on; tonic lets go of its body before that.
///
/// # Errors
/// [`tonic::Code::Unavailable`] when the messages of all calls together need too much.
pub(super) fn hold(state: &ApiState, message: &impl Message) -> Result<Held, Status> {
    let mut held = state.buffered().open();
    held.grow(message.encoded_len())?;
    Ok(held)
}
