//! The one place where errors meet gRPC: status code, text, metadata, log.

use std::sync::Arc;

use tonic::metadata::MetadataValue;
use tonic::{Code, Status};

use crate::api::error::Wrong;
use crate::error::{Error, Kind};
use crate::ids::RequestId;
use crate::metrics::code_name;

/// Returns the status code for a kind of error, as in Triton and TensorFlow Serving.
fn code(kind: Kind) -> Code {
    match kind {
        Kind::Malformed | Kind::InvalidInput | Kind::UnsupportedMedia | Kind::TooLarge => Code::InvalidArgument,
        Kind::Gone | Kind::NotFound => Code::NotFound,
        Kind::Unsupported | Kind::WrongMethod => Code::Unimplemented,
        // Not RESOURCE_EXHAUSTED: the same call may succeed in a moment, and clients try again on this one.
        Kind::Overloaded | Kind::Unavailable => Code::Unavailable,
        Kind::DeadlineExceeded | Kind::SlowClient => Code::DeadlineExceeded,
        Kind::Cancelled => Code::Cancelled,
        Kind::Conflict => Code::FailedPrecondition,
        Kind::StorageFull | Kind::RateLimited => Code::ResourceExhausted,
        Kind::Unauthenticated => Code::Unauthenticated,
        Kind::Forbidden => Code::PermissionDenied,
        Kind::Internal => Code::Internal,
    }
}

/// The status that tells a caller of an error. The part for the log travels in the status's source.
impl From<Error> for Status {
    fn from(error: Error) -> Self {
        let wrong = Wrong::of(&error);
        let mut status = Self::new(code(wrong.kind), wrong.detail.clone());
        if let Some(seconds) = error.retry_after_seconds() {
            // The retries that are built into gRPC's clients wait for as long as this says.
            let milliseconds = MetadataValue::from(u64::from(seconds) * 1000);
            status.metadata_mut().insert("grpc-retry-pushback-ms", milliseconds);
        }
        status.set_source(Arc::new(wrong));
        status
    }
}

/// The status of a call that panicked.
pub(super) fn panicked() -> Status {
    Status::internal("internal error")
}

/// Refuses a message that is longer than a message may be.
pub(super) fn too_large_message(limit: usize, got: usize) -> Status {
    Status::resource_exhausted(format!("the message is too large: the limit is {limit} bytes, got {got}"))
}

/// Refuses a message whose size or number of pieces is not known but beyond a limit.
pub(super) fn too_large(what: &str, limit: usize) -> Status {
    Status::resource_exhausted(format!("{what} is too large: the limit is {limit}, got more"))
}

/// Logs a failed call once: failures of the server as errors, refusals as [`Wrong::log`] says.
pub(super) fn log(status: &Status, request_id: &RequestId) {
    let name = code_name(status.code() as i32);
    let source = std::error::Error::source(status);
    match source.and_then(|source| source.downcast_ref::<Wrong>()) {
        Some(wrong) => wrong.log(name, request_id),
        None => Wrong::foreign(status.code() == Code::Internal, status.message()).log(name, request_id),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn callers_read_what_is_theirs_and_nothing_else() {
        let status = Status::from(Error::InvalidInput("wrong shape".into()));
        assert_eq!((status.code(), status.message()), (Code::InvalidArgument, "wrong shape"));
        let io = std::io::Error::other("secret");
        let status = Status::from(Error::io("read", "/secret/path")(io));
        assert_eq!((status.code(), status.message()), (Code::Internal, "internal error"));
        let status = Status::from(Error::Overloaded { what: "queue", retry_after_seconds: 2 });
        assert_eq!(status.code(), Code::Unavailable);
        assert_eq!(status.metadata().get("grpc-retry-pushback-ms").unwrap(), "2000");
    }
}
