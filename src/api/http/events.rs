//! `GET /events`: what happens, as server-sent events.

use std::convert::Infallible;
use std::time::Duration;

use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::response::Response;
use bytes::Bytes;
use futures_util::Stream;
use futures_util::stream::unfold;
use http::{HeaderMap, HeaderValue, header};
use serde::Deserialize;
use tokio::sync::watch;
use utoipa::IntoParams;

use crate::api::error::ApiError;
use crate::api::problem::Problem;
use crate::api::state::ApiState;
use crate::error::{Error, Result};
use crate::ids::{ModelName, quote, shortened};
use crate::monitoring::{Event, EventId, EventKind, Heard, Listener};

/// The longest silence: a comment tells proxies and clients that the stream is alive.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// The query of `/events`.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct EventQuery {
    /// Only those about this model.
    #[param(value_type = Option<String>)]
    model: Option<ModelName>,
    /// Only these kinds, separated by commas: `version`, `drift`, `quality`, `alarm`.
    #[param(example = "alarm,drift")]
    types: Option<String>,
}

/// The events that a client wants.
#[derive(Debug)]
struct Wanted {
    model: Option<ModelName>,
    kinds: Vec<EventKind>,
}

impl Wanted {
    fn new(query: EventQuery) -> Result<Self> {
        let kind = |name: &str| {
            EventKind::ALL.into_iter().find(|kind| kind.name() == name.trim()).ok_or_else(|| {
                let all = EventKind::ALL.map(EventKind::name).join(", ");
                Error::Malformed(format!("types: expected {all}, separated by commas, got {}", quote(name)))
            })
        };
        let kinds = query.types.map(|types| types.split(',').map(kind).collect::<Result<_>>()).transpose()?;
        Ok(Self { model: query.model, kinds: kinds.unwrap_or_else(|| EventKind::ALL.to_vec()) })
    }

    fn includes(&self, event: &Event) -> bool {
        let is_model = self.model.as_ref().is_none_or(|model| event.model.as_deref() == Some(model.as_str()));
        is_model && self.kinds.contains(&event.kind)
    }
}

/// Hear what happens
///
/// Server-sent events: `version` (another state of a version), `drift` (another state of a stream, or a tenth of
/// evidence), `quality` (labels changed live figures), `alarm`; each with one JSON object. `Last-Event-ID` resumes as
/// far as the last 1,000 events are remembered; `missed` says that some before the next are not. A client that does not
/// read 256 events gets `lagged`, and the stream ends, as it does when the server stops. A comment comes every 15
/// seconds.
#[utoipa::path(
    get, path = "/events", tag = "monitoring",
    params(EventQuery, ("last-event-id" = Option<String>, Header, description = "The id of the last event that was heard")),
    responses(
        (status = 200, description = "The stream", body = String, content_type = "text/event-stream"),
        (status = 400, description = "The query or Last-Event-ID cannot be read", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "64 clients listen already", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn listen(
    State(state): State<ApiState>,
    headers: HeaderMap,
    query: std::result::Result<Query<EventQuery>, QueryRejection>,
) -> std::result::Result<Response, ApiError> {
    let Query(query) = query.map_err(|rejection| {
        Error::Malformed(format!("the query cannot be read: {}", shortened(&rejection.body_text())))
    })?;
    let wanted = Wanted::new(query)?;
    let after = headers.get("last-event-id").filter(|id| !id.is_empty());
    let after = after.map(|id| id.to_str().unwrap_or_default().parse::<EventId>()).transpose()?;
    let listener = state.events().listen(after)?;
    // A connection that is quiet for too long is cut.
    let heartbeat = HEARTBEAT.min(state.settings().idle_timeout / 2);
    let pieces = stream(listener, wanted, heartbeat, state.health().closing());
    let mut response = Response::new(Body::from_stream(pieces));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // Proxies such as nginx would hold events back.
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    Ok(response)
}

struct Speaker {
    listener: Listener,
    wanted: Wanted,
    heartbeat: Duration,
    closing: watch::Receiver<bool>,
    /// The head has been sent.
    has_begun: bool,
    has_ended: bool,
}

fn stream(
    listener: Listener,
    wanted: Wanted,
    heartbeat: Duration,
    closing: watch::Receiver<bool>,
) -> impl Stream<Item = std::result::Result<Bytes, Infallible>> {
    let speaker = Speaker { listener, wanted, heartbeat, closing, has_begun: false, has_ended: false };
    unfold(speaker, |mut speaker| async move { speaker.next().await.map(|piece| (Ok(Bytes::from(piece)), speaker)) })
}

impl Speaker {
    /// Returns the next piece; `None` when the client has lagged or the server stops.
    async fn next(&mut self) -> Option<String> {
        if self.has_ended {
            return None;
        }
        if !std::mem::replace(&mut self.has_begun, true) {
            // Lets the client know at once that it is heard, and how long to wait before it comes back.
            return Some("retry: 3000\n\n".into());
        }
        let deadline = tokio::time::Instant::now() + self.heartbeat;
        loop {
            let heard = tokio::select! {
                biased;
                // A sender that is gone has closed.
                _ = self.closing.wait_for(|closing| *closing) => return None,
                heard = self.listener.next() => heard?,
                () = tokio::time::sleep_until(deadline) => return Some(": still here\n\n".into()),
            };
            match heard {
                Heard::Event(event) if self.wanted.includes(&event) => {
                    return Some(format!("id: {}\nevent: {}\ndata: {}\n\n", event.id, event.kind.name(), event.data));
                }
                Heard::Event(_) => {}
                Heard::Missed => return Some("event: missed\ndata: {}\n\n".into()),
                Heard::Lagged => {
                    self.has_ended = true;
                    return Some("event: lagged\ndata: {}\n\n".into());
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::sync::Arc;

    use futures_util::StreamExt;

    use super::*;
    use crate::monitoring::Events;

    #[tokio::test]
    async fn a_quiet_stream_has_a_heartbeat_and_ends_with_the_server() {
        let (closing, closed) = watch::channel(false);
        let events = Arc::new(Events::default());
        let wanted = Wanted::new(EventQuery { model: None, types: Some("drift, alarm".into()) }).unwrap();
        let short = Duration::from_millis(1);
        let mut pieces = pin!(stream(events.listen(None).unwrap(), wanted, short, closed));
        let mut next = async || pieces.next().await.map(|piece| String::from_utf8(piece.unwrap().to_vec()).unwrap());
        assert_eq!(next().await.unwrap(), "retry: 3000\n\n");
        assert_eq!(next().await.unwrap(), ": still here\n\n");
        events.publish(EventKind::Quality, None, &1);
        events.publish(EventKind::Alarm, None, &2);
        let alarm = next().await.unwrap();
        assert!(alarm.starts_with("id: ") && alarm.ends_with("-2\nevent: alarm\ndata: 2\n\n"), "{alarm}");
        (0..1000).for_each(|number| events.publish(EventKind::Drift, None, &number));
        assert_eq!(next().await.unwrap(), "event: lagged\ndata: {}\n\n");
        assert_eq!(next().await, None);
        let wanted = Wanted::new(EventQuery::default()).unwrap();
        let mut pieces = pin!(stream(events.listen(None).unwrap(), wanted, HEARTBEAT, closing.subscribe()));
        assert!(pieces.next().await.is_some());
        closing.send_replace(true);
        assert!(pieces.next().await.is_none());
    }
}
