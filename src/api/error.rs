//! The one place where errors meet HTTP: status, body by dialect, headers, log.

use std::error::Error as _;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};

use super::dialect::Dialect;
use super::problem::Problem;
use crate::error::{Error, Kind};

use crate::ids::{InvalidName, RequestId};

/// An error on its way to a client. The response gets its body where the request id is known.
#[derive(Debug)]
pub(super) struct ApiError(pub(super) Error);

impl From<Error> for ApiError {
    fn from(error: Error) -> Self {
        Self(error)
    }
}

impl From<InvalidName> for ApiError {
    fn from(error: InvalidName) -> Self {
        Self(error.into())
    }
}

/// A failure as the client and the log will see it. Until the request id is known it travels in the extensions
/// of a response without a body, or in the source of a gRPC status.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{detail}")]
pub(super) struct Wrong {
    pub(super) kind: Kind,
    /// The text for the client.
    pub(super) detail: String,
    /// The cause for the log, outermost first.
    cause: Option<String>,
}

impl Wrong {
    pub(super) fn of(error: &Error) -> Self {
        // Faults of the server are not for the client to read.
        let detail = match error {
            Error::Repository { .. }
            | Error::Incomplete { .. }
            | Error::Data { .. }
            | Error::Io { .. }
            | Error::Config { .. } => "internal error".to_owned(),
            shown => shown.to_string(),
        };
        Self { kind: error.kind(), detail, cause: causes(error) }
    }

    /// A failure that is no [`Error`].
    pub(super) fn foreign(is_ours_to_mend: bool, detail: &str) -> Self {
        let kind = if is_ours_to_mend { Kind::Internal } else { Kind::Malformed };
        Self { kind, detail: detail.to_owned(), cause: None }
    }

    /// Failures of ours are logged once. Refusals are the client's business and show in the metrics;
    /// logging each would hand a flood of them the disk.
    pub(super) fn log(&self, status: impl tracing::Value, request_id: &RequestId) {
        let request_id = request_id.as_str();
        match self.kind {
            Kind::Internal | Kind::DeadlineExceeded => {
                tracing::error!(request_id, status, detail = %self.detail, cause = self.cause.as_deref(), "request failed");
            }
            _ => tracing::debug!(request_id, status, detail = %self.detail, "request refused"),
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let Self(error) = self;
        let kind = error.kind();
        // The dialect of the path may have another status for it.
        let mut response = Dialect::Weir.status(kind).into_response();
        if let Some(seconds) = error.retry_after_seconds() {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if kind == Kind::Unavailable {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("5"));
        }
        response.extensions_mut().insert(Wrong::of(&error));
        response
    }
}

/// The response to a request whose handler panicked; [`finish`] gives it its body.
pub(super) fn internal() -> Response {
    StatusCode::INTERNAL_SERVER_ERROR.into_response()
}

fn causes(error: &Error) -> Option<String> {
    let mut texts = Vec::new();
    let mut cause = error.source();
    while let Some(error) = cause {
        texts.push(error.to_string());
        cause = error.source();
    }
    (!texts.is_empty()).then(|| texts.join(": "))
}

/// The kind's name in the problem's type, and its title.
fn describe(kind: Kind) -> (&'static str, &'static str) {
    match kind {
        Kind::NotFound => ("not_found", "Not found"),
        Kind::WrongMethod => ("method_not_allowed", "The path does not take this method"),
        Kind::Malformed => ("malformed", "The request cannot be read"),
        Kind::InvalidInput => ("invalid_input", "The input does not fit the model"),
        Kind::UnsupportedMedia => ("unsupported_media", "The content is of a type that is not accepted"),
        Kind::TooLarge => ("too_large", "A limit was exceeded"),
        Kind::SlowClient => ("slow_client", "The request did not arrive in time"),
        Kind::Overloaded => ("overloaded", "The server is at capacity"),
        Kind::RateLimited => ("rate_limited", "More requests than a caller may send"),
        Kind::Unavailable => ("unavailable", "Not available now"),
        Kind::DeadlineExceeded => ("deadline_exceeded", "No answer in time"),
        Kind::Cancelled => ("cancelled", "The request was cancelled"),
        Kind::Conflict => ("conflict", "The request conflicts with the present state"),
        Kind::Gone => ("gone", "No longer kept"),
        Kind::StorageFull => ("storage_full", "Nothing more can be kept"),
        Kind::Unauthenticated => ("unauthenticated", "A key is needed"),
        Kind::Forbidden => ("forbidden", "Not allowed"),
        Kind::Unsupported => ("unsupported", "Not supported"),
        Kind::Internal => ("internal", "Internal error"),
    }
}

/// Gives every failed response the body that its dialect has for errors: those of our errors, and those
/// of the router and layers, whose bodies would be plain text.
pub(super) fn finish(response: Response, dialect: Dialect, method_and_path: &str, request_id: &RequestId) -> Response {
    let status = response.status();
    if !(status.is_client_error() || status.is_server_error()) {
        return response;
    }
    let wrong = response.extensions().get::<Wrong>().cloned();
    let status = wrong.as_ref().map_or(status, |wrong| dialect.status(wrong.kind));
    let wrong = wrong.unwrap_or_else(|| foreign(status, method_and_path));
    wrong.log(status.as_u16(), request_id);
    let (name, title) = describe(wrong.kind);
    let problem = Problem {
        r#type: format!("about:blank#{name}"),
        title: title.to_owned(),
        status: status.as_u16(),
        detail: wrong.detail,
        request_id: request_id.as_str().to_owned(),
    };
    let (mut parts, _) = response.into_parts();
    let (body, media) = dialect.body(&problem);
    parts.status = status;
    parts.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(body.len()));
    parts.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media));
    if status == StatusCode::UNAUTHORIZED {
        parts.headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"weir\""));
    }
    Response::from_parts(parts, Body::from(body))
}

/// Explains a status that did not come from an [`Error`].
fn foreign(status: StatusCode, method_and_path: &str) -> Wrong {
    let (kind, detail) = match status {
        StatusCode::NOT_FOUND => {
            (Kind::NotFound, format!("there is nothing at {method_and_path}; / and /docs say what there is"))
        }
        StatusCode::METHOD_NOT_ALLOWED => (
            Kind::WrongMethod,
            format!("{method_and_path} is not allowed; the header Allow lists the methods that are"),
        ),
        StatusCode::PAYLOAD_TOO_LARGE => (Kind::TooLarge, "the request is too large".to_owned()),
        StatusCode::UNSUPPORTED_MEDIA_TYPE => (Kind::UnsupportedMedia, "the content type is not accepted".to_owned()),
        status if status.is_server_error() => (Kind::Internal, "internal error".to_owned()),
        _ => (Kind::Malformed, "the request cannot be read".to_owned()),
    };
    Wrong { kind, detail, cause: None }
}
