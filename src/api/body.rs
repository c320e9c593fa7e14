//! Reading a request body whole, within limits of size, time, pieces and memory.
//!
//! tower-http's `RequestBodyLimitLayer` knows the size alone and boxes every body once more; the time of its
//! `RequestBodyTimeoutLayer` begins anew with each piece.

use std::sync::Arc;

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, header};
use http_body::Body as _;
use http_body_util::BodyExt;

use super::budget::{Held, MAX_PIECES};
use super::compression::Encoding;
use super::state::ApiState;
use crate::error::{Error, Result};
use crate::ids::quote;
use crate::serving::{Part, RequestContext, Servable};

/// A body in memory, with its share of the budget.
#[derive(Debug)]
pub(super) struct Buffered {
    pub(super) bytes: Bytes,
    _held: Held,
}

/// A body up to this size has mostly arrived with its head; reading it costs less than a new connection,
/// which is the price of leaving it unread.
const SMALL_BYTES: u64 = 64 * 1024;

/// Reads the body of a request to a model; a large one only while more may wait for the model.
///
/// # Errors
/// As [`read_body`]; [`Error::Overloaded`].
pub(super) async fn read_body_for(
    state: &ApiState,
    context: &RequestContext,
    servable: &Arc<Servable>,
    headers: &HeaderMap,
    body: Body,
) -> Result<Buffered> {
    read_body_for_part(state, context, servable, Part::Model, headers, body).await
}

/// As [`read_body_for`], of a request to another part than the model.
///
/// # Errors
/// As [`read_body_for`].
pub(super) async fn read_body_for_part(
    state: &ApiState,
    context: &RequestContext,
    servable: &Arc<Servable>,
    part: Part,
    headers: &HeaderMap,
    body: Body,
) -> Result<Buffered> {
    if body.size_hint().exact().is_none_or(|bytes| bytes > SMALL_BYTES) {
        state.predictor().has_room(context, servable, part)?;
    }
    read_body(state, headers, body).await
}

/// Reads a body, and unpacks it if it is packed; unpacked it may be as large as any other.
///
/// # Errors
/// [`Error::TooLarge`], [`Error::SlowClient`], [`Error::Overloaded`] when the bodies of all requests
/// together need too much memory, [`Error::UnsupportedMedia`] when it is neither plain nor gzip nor
/// deflate, [`Error::Unsupported`] when it was packed for the transfer alone, [`Error::Malformed`] when it breaks off
/// or is damaged.
pub(super) async fn read_body(state: &ApiState, headers: &HeaderMap, body: Body) -> Result<Buffered> {
    check_transfer_codings(headers)?;
    let Some(encoding) = Encoding::of_request(headers)? else { return read_as_sent(state, body).await };
    let packed = read_as_sent(state, body).await?;
    let limit = state.settings().max_body_bytes;
    let mut held = state.buffered().open();
    // What is short may become long.
    let unpacked = tokio::task::spawn_blocking(move || {
        let bytes = encoding.unpack(&packed.bytes, limit, &mut held)?;
        Ok(Buffered { bytes, _held: held })
    });
    unpacked.await.map_err(|error| Error::internal("a body could not be unpacked", error))?
}

/// Refuses transfer codings other than `chunked`, which hyper undoes: it hands over the packed bytes of the others.
fn check_transfer_codings(headers: &HeaderMap) -> Result<()> {
    for value in headers.get_all(header::TRANSFER_ENCODING) {
        let mut codings = value.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
        if let Some(other) = codings.find(|coding| !coding.is_empty() && !coding.eq_ignore_ascii_case(b"chunked")) {
            let other = quote(&String::from_utf8_lossy(other));
            return Err(Error::Unsupported(format!(
                "the transfer-encoding must be chunked and no other, got {other}; pack the body and say so in content-encoding"
            )));
        }
    }
    Ok(())
}

async fn read_as_sent(state: &ApiState, body: Body) -> Result<Buffered> {
    let limit = state.settings().max_body_bytes;
    let declared = body.size_hint().lower();
    if declared > limit as u64 {
        return Err(too_large(limit, &format!("{declared} bytes")));
    }
    // What will not fit is not read first.
    state.buffered().has_room(declared as usize)?;
    let timeout = state.settings().body_timeout;
    let held = state.buffered().open();
    match tokio::time::timeout(timeout, collect(body, limit, held)).await {
        Ok(read) => read,
        Err(_) => Err(Error::SlowClient { limit_seconds: timeout.as_secs_f64() }),
    }
}

async fn collect(mut body: Body, limit: usize, mut held: Held) -> Result<Buffered> {
    let mut first: Option<Bytes> = None;
    let mut joined = BytesMut::new();
    let mut length = 0usize;
    let mut pieces = 0;
    // The last piece of a body of known length says so itself. Asking once more would wait for nothing, and
    // set a timer for that.
    while !body.is_end_stream() {
        let Some(frame) = body.frame().await else { break };
        let frame = frame.map_err(|_| Error::Malformed("the request body breaks off before its end".into()))?;
        let Ok(data) = frame.into_data() else { continue };
        pieces += 1;
        if pieces > MAX_PIECES {
            return Err(Error::TooLarge { what: "the number of chunks", limit: MAX_PIECES as u64, got: "more".into() });
        }
        length += data.len();
        if length > limit {
            return Err(too_large(limit, "more"));
        }
        held.grow(data.len())?;
        // A body in one piece, the usual case, is passed on without a copy.
        match first.take() {
            None if joined.is_empty() => first = Some(data),
            None => joined.extend_from_slice(&data),
            Some(earlier) => {
                joined.extend_from_slice(&earlier);
                joined.extend_from_slice(&data);
            }
        }
    }
    Ok(Buffered { bytes: first.unwrap_or_else(|| joined.freeze()), _held: held })
}

fn too_large(limit: usize, got: &str) -> Error {
    Error::TooLarge { what: "the request body", limit: limit as u64, got: got.to_owned() }
}
