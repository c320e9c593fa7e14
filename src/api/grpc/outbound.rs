//! The body of a stream of answers: it ends at the deadline of the call and, where nothing would end it
//! otherwise, when the server closes; and it is counted when it has ended.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame};
use tokio::sync::oneshot;
use tonic::Status;

use super::counted::Counted;

/// Resolves when a stream must end, to its status.
pub(super) type End = Pin<Box<dyn Future<Output = Status> + Send>>;

/// A stream of answers.
pub(super) struct Outbound {
    body: tonic::body::Body,
    end: Option<End>,
    counted: Counted,
    /// Cuts off the body of the call, so that a client which goes on sending holds nothing.
    cut: Option<oneshot::Sender<()>>,
    has_ended: bool,
}

impl Outbound {
    pub(super) fn new(
        body: tonic::body::Body,
        end: Option<End>,
        counted: Counted,
        cut: Option<oneshot::Sender<()>>,
    ) -> Self {
        Self { body, end, counted, cut, has_ended: false }
    }

    /// Ends the stream with a status; whatever still makes answers is dropped.
    fn finish(&mut self, status: &Status) -> Result<Frame<Bytes>, Status> {
        self.has_ended = true;
        self.cut = None;
        self.body = tonic::body::Body::empty();
        self.counted.end(status.code() as i32);
        let mut trailers = HeaderMap::new();
        status.add_header(&mut trailers)?;
        Ok(Frame::trailers(trailers))
    }
}

impl fmt::Debug for Outbound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outbound").field("has_ended", &self.has_ended).finish_non_exhaustive()
    }
}

impl Body for Outbound {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = &mut *self;
        if this.has_ended {
            return Poll::Ready(None);
        }
        match Pin::new(&mut this.body).poll_frame(context) {
            Poll::Ready(Some(Ok(frame))) => {
                if let Some(trailers) = frame.trailers_ref() {
                    this.has_ended = true;
                    this.cut = None;
                    let code = Status::from_header_map(trailers).map_or(0, |status| status.code() as i32);
                    this.counted.end(code);
                }
                return Poll::Ready(Some(Ok(frame)));
            }
            Poll::Ready(end) => return Poll::Ready(end),
            Poll::Pending => {}
        }
        if let Some(end) = &mut this.end
            && let Poll::Ready(status) = end.as_mut().poll(context)
        {
            return Poll::Ready(Some(this.finish(&status)));
        }
        Poll::Pending
    }
}
