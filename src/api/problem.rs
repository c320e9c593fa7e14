//! Problem documents (RFC 9457): the errors of Weir's own API.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A problem document (RFC 9457).
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub(super) struct Problem {
    /// Identifies the kind of problem.
    #[schema(example = "about:blank#invalid_input")]
    pub r#type: String,
    /// The kind of problem in words.
    #[schema(example = "The input does not fit the model")]
    pub title: String,
    /// The HTTP status.
    #[schema(example = 422)]
    pub status: u16,
    /// The fault: what was expected, and what was met instead.
    pub detail: String,
    /// The identifier of the request, as in the header `x-request-id`.
    pub request_id: String,
}
