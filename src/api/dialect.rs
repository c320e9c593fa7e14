//! The wire formats that paths belong to, and how each says that something is wrong.

use http::{Method, StatusCode};
use serde::Serialize;
use serde_json::ser::PrettyFormatter;

use super::problem::Problem;
use crate::error::Kind;
use crate::metrics::Protocol;

/// The media type of a problem document.
pub(super) const PROBLEM_JSON: &str = "application/problem+json";
const JSON: &str = "application/json";

/// A family of paths with one shape of errors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dialect {
    /// Weir's own API: problem documents.
    Weir,
    /// The Open Inference Protocol, below `/v2`.
    Oip,
    /// TensorFlow Serving's and KServe's first protocol, below `/v1`.
    TfServing,
    /// TorchServe's inference API.
    TorchServe,
}

#[derive(Serialize)]
struct ErrorText<'a> {
    error: &'a str,
}

#[derive(Serialize)]
struct TorchServeError<'a> {
    code: u16,
    r#type: &'a str,
    message: &'a str,
}

impl Dialect {
    /// The dialect that a request belongs to by its method and its path, matched or not.
    pub(super) fn of(method: &Method, path: &str) -> Self {
        match path.split('/').nth(1) {
            Some("v2") => Self::Oip,
            Some("v1") => Self::TfServing,
            Some("predictions") if names_a_record(method, path) => Self::Weir,
            Some("predictions" | "explanations" | "ping") => Self::TorchServe,
            _ => Self::Weir,
        }
    }

    /// Returns the protocol that a request to a path is counted under; `is_routed` says that a route has
    /// the path.
    pub(super) fn protocol(method: &Method, path: &str, is_routed: bool) -> Protocol {
        let asks = path.starts_with("/predict") && !path.starts_with("/predictions");
        match Self::of(method, path) {
            _ if !is_routed => Protocol::Operations,
            Self::Weir if !(asks || path.starts_with("/models")) => Protocol::Operations,
            dialect => dialect.as_protocol(),
        }
    }

    /// Returns the protocol that requests in this dialect are counted under.
    pub(super) fn as_protocol(self) -> Protocol {
        match self {
            Self::Weir => Protocol::Weir,
            Self::Oip => Protocol::Oip,
            Self::TfServing => Protocol::TfServing,
            Self::TorchServe => Protocol::TorchServe,
        }
    }

    /// The status for a kind of error.
    pub(super) fn status(self, kind: Kind) -> StatusCode {
        match (self, kind) {
            (Self::Oip | Self::TfServing | Self::TorchServe, Kind::InvalidInput) => StatusCode::BAD_REQUEST,
            // It has no status for a file of another kind.
            (Self::TfServing, Kind::UnsupportedMedia) => StatusCode::BAD_REQUEST,
            // Triton knows neither of them.
            (Self::Oip, Kind::Conflict | Kind::Cancelled) => StatusCode::BAD_REQUEST,
            (_, Kind::NotFound) => StatusCode::NOT_FOUND,
            (_, Kind::WrongMethod) => StatusCode::METHOD_NOT_ALLOWED,
            (_, Kind::Malformed) => StatusCode::BAD_REQUEST,
            (_, Kind::InvalidInput) => StatusCode::UNPROCESSABLE_ENTITY,
            (_, Kind::UnsupportedMedia) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            (_, Kind::TooLarge) => StatusCode::PAYLOAD_TOO_LARGE,
            (_, Kind::SlowClient) => StatusCode::REQUEST_TIMEOUT,
            (_, Kind::Overloaded | Kind::Unavailable) => StatusCode::SERVICE_UNAVAILABLE,
            (_, Kind::RateLimited) => StatusCode::TOO_MANY_REQUESTS,
            (_, Kind::DeadlineExceeded) => StatusCode::GATEWAY_TIMEOUT,
            // Nobody reads this answer; nginx's code keeps it apart in the metrics.
            (_, Kind::Cancelled) => StatusCode::from_u16(499).unwrap_or(StatusCode::BAD_REQUEST),
            (_, Kind::Conflict) => StatusCode::CONFLICT,
            (_, Kind::Gone) => StatusCode::GONE,
            (_, Kind::StorageFull) => StatusCode::INSUFFICIENT_STORAGE,
            (_, Kind::Unauthenticated) => StatusCode::UNAUTHORIZED,
            (_, Kind::Forbidden) => StatusCode::FORBIDDEN,
            (_, Kind::Unsupported) => StatusCode::NOT_IMPLEMENTED,
            (_, Kind::Internal) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// The body of a failed response and its media type.
    pub(super) fn body(self, problem: &Problem) -> (Vec<u8>, &'static str) {
        let text = problem.detail.as_str();
        let (json, media) = match self {
            Self::Weir => (serde_json::to_vec(problem), PROBLEM_JSON),
            Self::Oip => (serde_json::to_vec(&ErrorText { error: text }), JSON),
            Self::TfServing => (with_indent(b"    ", &ErrorText { error: text }), JSON),
            Self::TorchServe => {
                let r#type = torchserve_type(problem.status);
                (serde_json::to_vec_pretty(&TorchServeError { code: problem.status, r#type, message: text }), JSON)
            }
        };
        // Strings and a number cannot fail to be written.
        (json.unwrap_or_default(), media)
    }
}

/// Returns true if a request is about what is kept of a prediction: its path is otherwise one of TorchServe's.
fn names_a_record(method: &Method, path: &str) -> bool {
    let mut rest = path.split('/').skip(2);
    let is_one = rest.next().is_some() && matches!((rest.next(), rest.next()), (None | Some("input"), None));
    is_one && [Method::GET, Method::HEAD, Method::DELETE].contains(method)
}

fn with_indent(indent: &[u8], value: &impl Serialize) -> serde_json::Result<Vec<u8>> {
    let mut json = Vec::new();
    let formatter = PrettyFormatter::with_indent(indent);
    value.serialize(&mut serde_json::Serializer::with_formatter(&mut json, formatter))?;
    Ok(json)
}

/// The exception that TorchServe's frontend would name.
fn torchserve_type(status: u16) -> &'static str {
    match status {
        404 => "ModelNotFoundException",
        405 => "MethodNotAllowedException",
        409 => "ConflictStatusException",
        501 => "NotImplementedException",
        503 => "ServiceUnavailableException",
        400..=499 => "BadRequestException",
        _ => "InternalServerException",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_segment_of_a_path_says_its_dialect() {
        for (path, dialect) in [
            ("/predictions/id", Dialect::Weir),
            ("/predictions/id/input", Dialect::Weir),
            ("/predictions/m/1", Dialect::TorchServe),
            ("/predictions", Dialect::TorchServe),
        ] {
            assert_eq!(Dialect::of(&Method::DELETE, path), dialect, "{path}");
        }
        for (path, dialect) in [
            ("/v2", Dialect::Oip),
            ("/v2/models/m/infer", Dialect::Oip),
            ("/v1/models/m:predict", Dialect::TfServing),
            ("/predictions/m", Dialect::TorchServe),
            ("/ping", Dialect::TorchServe),
            ("/predict", Dialect::Weir),
            ("/v22", Dialect::Weir),
            ("/", Dialect::Weir),
            ("", Dialect::Weir),
        ] {
            assert_eq!(Dialect::of(&Method::POST, path), dialect, "{path}");
        }
    }

    #[test]
    fn each_dialect_says_errors_in_its_own_shape() {
        let problem = Problem {
            r#type: "about:blank#not_found".into(),
            title: "Not found".into(),
            status: 404,
            detail: "no \"m\"".into(),
            request_id: "r".into(),
        };
        let text = |dialect: Dialect| String::from_utf8(dialect.body(&problem).0).unwrap();
        assert_eq!(text(Dialect::Oip), r#"{"error":"no \"m\""}"#);
        assert_eq!(text(Dialect::TfServing), "{\n    \"error\": \"no \\\"m\\\"\"\n}");
        assert!(text(Dialect::TorchServe).contains("\"code\": 404") && text(Dialect::Weir).contains("request_id"));
    }
}
