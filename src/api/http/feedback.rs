//! `POST /feedback`: what was right. Answered only after it is committed.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use http::{StatusCode, header};

use super::feedback_types::{FeedbackAnswer, FeedbackBody, FeedbackCounts, FeedbackFailure, FeedbackOutcome};
use crate::api::access::{Action, Caller};
use crate::api::body::read_body;
use crate::api::error::ApiError;
use crate::api::json::Cursor;
use crate::api::state::{ApiState, Watch};
use crate::error::{Error, Result};
use crate::ids::shortened;
use crate::monitoring::known;
use crate::serving::Servable;
use crate::store::{Claim, Feedback, Verdict};

/// The most pieces in an array.
const MAX_PIECES: usize = 1000;

/// The pieces that are committed together.
const CHUNK: usize = 500;

const NDJSON: &str = "application/x-ndjson";

/// Say what was right
///
/// By the identifier that the answer carried. The figures of the version that answered change before this is
/// answered. The body is one object, an array of at most 1000, or with the content type `application/x-ndjson` one
/// object on each line; of many, each stands on its own.
#[utoipa::path(
    post, path = "/feedback", tag = "monitoring",
    request_body(description = "One piece of feedback, or many", content(
        (FeedbackBody = "application/json"), (String = "application/x-ndjson")
    )),
    responses(
        (status = 200, description = "What became of it; of many pieces the counts", body = FeedbackOutcome),
        (status = 202, description = "No such prediction has been seen yet; it is kept for a day", body = FeedbackAnswer),
        FeedbackFailure
    )
)]
pub(super) async fn send(
    caller: Caller,
    State(state): State<ApiState>,
    request: Request<Body>,
) -> std::result::Result<Response, ApiError> {
    state.access().permit(&caller, Action::SendFeedback)?;
    let watch = state.watch()?;
    let reader = Reader { state: &state, watch };
    let (head, body) = request.into_parts();
    let is_lines = head.headers.get(header::CONTENT_TYPE).is_some_and(|media| {
        media.as_bytes().split(|byte| *byte == b';').next().is_some_and(|media| media.trim_ascii() == NDJSON.as_bytes())
    });
    let body = read_body(&state, &head.headers, body).await?;
    // What was answered before this must be known before it is judged.
    watch.monitor.flush().await?;
    if is_lines {
        return Ok(Json(FeedbackOutcome::Many(of_lines(&reader, &body.bytes).await?)).into_response());
    }
    if Cursor::new(&body.bytes).peek() == Some(b'[') {
        return Ok(Json(FeedbackOutcome::Many(of_array(&reader, &body.bytes).await?)).into_response());
    }
    let piece = reader.read(&body.bytes)?;
    let verdict = watch.store.feedback(vec![piece]).await?.pop().ok_or(Error::Cancelled)?;
    let (answer, is_held) = FeedbackAnswer::of(verdict)?;
    let status = if is_held { StatusCode::ACCEPTED } else { StatusCode::OK };
    Ok((status, Json(FeedbackOutcome::One(answer))).into_response())
}

/// Reads feedback, receipts included.
struct Reader<'a> {
    state: &'a ApiState,
    watch: &'a Watch,
}

impl Reader<'_> {
    fn read(&self, piece: &[u8]) -> Result<Feedback> {
        self.parse(of_piece(piece)?)
    }

    fn parse(&self, piece: FeedbackBody) -> Result<Feedback> {
        piece.parse(|text| {
            let receipt = self.watch.receipts.open(text, jiff::Timestamp::now().as_microsecond())?;
            let catalog = self.state.predictor().catalog();
            let is_meant = |servable: &&Arc<Servable>| {
                servable.identity.digest == receipt.digest
                    && servable.name.as_str() == receipt.model
                    && servable.version.0 == receipt.version
            };
            let version = catalog.servables().find(is_meant).map(|servable| known(&servable.identity));
            Ok(Claim { receipt, version })
        })
    }
}

async fn of_lines(reader: &Reader<'_>, body: &[u8]) -> Result<FeedbackCounts> {
    let lines = body.split(|byte| *byte == b'\n').zip(1..).filter(|(line, _)| !line.trim_ascii().is_empty());
    let mut counts = FeedbackCounts::default();
    let mut are_readable = false;
    let mut chunk = Vec::with_capacity(CHUNK);
    let mut last = None;
    for (line, number) in lines {
        let piece = of_piece(line);
        are_readable |= piece.is_ok();
        if piece.is_err() {
            last = Some(line);
        }
        chunk.push((number, piece.and_then(|piece| reader.parse(piece))));
        if chunk.len() >= CHUNK {
            commit(reader.watch, std::mem::take(&mut chunk), &mut counts).await?;
        }
    }
    if let (false, Some(line)) = (are_readable, last) {
        return Err(of_piece(line).map_or_else(|error| error, |_| Error::Cancelled));
    }
    commit(reader.watch, chunk, &mut counts).await?;
    Ok(counts.sorted())
}

async fn of_array(reader: &Reader<'_>, body: &[u8]) -> Result<FeedbackCounts> {
    let mut pieces = Vec::new();
    let mut cursor = Cursor::new(body);
    cursor.list(|cursor| {
        if pieces.len() == MAX_PIECES {
            let got = format!("more pieces; {NDJSON} takes them");
            return Err(Error::TooLarge { what: "the array", limit: MAX_PIECES as u64, got });
        }
        cursor.peek();
        let begin = body.len() - cursor.rest();
        cursor.skip()?;
        pieces.push(&body[begin..body.len() - cursor.rest()]);
        Ok(())
    })?;
    cursor.end()?;
    let mut counts = FeedbackCounts::default();
    // All are read before the first wait: what borrows the body goes into no future.
    let pieces: Vec<(u64, Result<Feedback>)> = (1..).zip(pieces.into_iter().map(|piece| reader.read(piece))).collect();
    let mut pieces = pieces.into_iter();
    while pieces.len() > 0 {
        let chunk = pieces.by_ref().take(CHUNK).collect();
        commit(reader.watch, chunk, &mut counts).await?;
    }
    Ok(counts.sorted())
}

/// Commits pieces and counts what became of them.
async fn commit(watch: &Watch, pieces: Vec<(u64, Result<Feedback>)>, counts: &mut FeedbackCounts) -> Result<()> {
    let (mut numbers, mut good) = (Vec::with_capacity(pieces.len()), Vec::with_capacity(pieces.len()));
    for (number, piece) in pieces {
        match piece {
            Ok(piece) => {
                numbers.push(number);
                good.push(piece);
            }
            Err(error) => counts.count(number, Verdict::Rejected(error)),
        }
    }
    if !good.is_empty() {
        let verdicts = watch.store.feedback(good).await.map_err(|error| counts.interrupted_by(error))?;
        numbers.into_iter().zip(verdicts).for_each(|(number, verdict)| counts.count(number, verdict));
    }
    Ok(())
}

/// Reads a piece of feedback from its text, in which each field stands once.
fn of_piece(text: &[u8]) -> Result<FeedbackBody> {
    let begun = Cursor::new(text).begins_with(b'{', "an object with request_id and label, correct or value");
    begun.map_err(|error| Error::Malformed(error.to_string()))?;
    serde_json::from_slice(text).map_err(|error| {
        let problem = shortened(&error.to_string()).replace("expected u32", "expected a whole number from 0 on");
        Error::Malformed(format!("the feedback cannot be read: {problem}"))
    })
}
