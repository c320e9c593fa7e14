//! The bodies of `/predict`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, IntoResponses, ToSchema};

use crate::api::problem::Problem;
use crate::error::{Error, Result};
use crate::metrics::Stages;
use crate::serving::{Prediction, VisionOptions};
use crate::signature::{MaskForm, share};
use crate::transform::PolarityChoice;

/// The number of classes that are named unless the request states another.
pub(super) const DEFAULT_TOP_K: usize = 3;

/// The header that says how long the answer may take.
pub(super) const TIMEOUT_HEADER: &str = "x-timeout-ms";
/// The header that says which of those that wait run first.
pub(super) const PRIORITY_HEADER: &str = "x-priority";

/// The headers of `/predict`.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "describes the headers in the document; they are read one by one")]
pub(super) struct PredictHeaders {
    /// Milliseconds that the answer may take, if that is less than the server's own limit; after
    /// that it is 504, and what still waits is not run.
    #[param(rename = "x-timeout-ms", minimum = 1, required = false)]
    timeout_ms: Option<u64>,
    /// The place in the order in which waiting requests run: 1 is first, 9 is last.
    #[param(rename = "x-priority", minimum = 1, maximum = 9, default = 5, required = false)]
    priority: Option<u8>,
}

/// The query of `/predict`.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct PredictQuery {
    /// The number of classes to name for each sample, most probable first.
    #[param(minimum = 1, maximum = 1000, example = 3)]
    pub(super) top_k: Option<u16>,
    /// The polarity of the images. `auto` takes the border for the background, and what differs
    /// from it most for the drawing.
    #[param(inline)]
    pub(super) polarity: Option<PolarityChoice>,
    /// Say how unusual each input is. Needs a version with a reference and logits, as Weir's trainer makes.
    #[param(example = true)]
    pub(super) anomaly: Option<bool>,
    /// Give the set of classes that holds the right one with this probability, if the input is like those of the
    /// version's reference: 0.9, 0.95 or 0.99.
    #[param(exclusive_minimum = 0, exclusive_maximum = 1, example = 0.99)]
    pub(super) set_level: Option<f64>,
    /// Say whether to withhold the answer, so that at most this share of the answers given is wrong: 0.01, 0.005 or
    /// 0.001, as far as the version's reference allows it.
    #[param(exclusive_minimum = 0, exclusive_maximum = 1, example = 0.01)]
    pub(super) error_rate: Option<f64>,
    /// Of a detector: boxes of no more confidence are left out.
    #[param(minimum = 0, maximum = 1, example = 0.4)]
    pub(super) confidence: Option<f32>,
    /// Of a detector: of boxes of one class that overlap more than this, the most confident stays.
    #[param(minimum = 0, maximum = 1, example = 0.5)]
    pub(super) iou: Option<f32>,
    /// Of a detector: the most boxes for each picture.
    #[param(minimum = 1, example = 100)]
    pub(super) max_detections: Option<usize>,
    /// Of a segmenter: the form of the class map.
    #[param(inline)]
    pub(super) mask: Option<MaskForm>,
    /// Answer with a PNG file: the picture that was sent with boxes or mask drawn on it, or the picture that the model
    /// made. The same as a header `accept` that names `image/png` and no JSON.
    pub(super) draw: Option<bool>,
}

impl PredictQuery {
    /// Returns the choices about the answer of a vision model.
    ///
    /// # Errors
    /// [`Error::Malformed`] for a value that cannot be.
    pub(super) fn vision(&self) -> Result<VisionOptions> {
        let none = || (self.max_detections == Some(0)).then(|| "max_detections must be at least 1, got 0".to_owned());
        let problem = share("confidence", self.confidence).or_else(|| share("iou", self.iou)).or_else(none);
        if let Some(problem) = problem {
            return Err(Error::Malformed(problem));
        }
        Ok(VisionOptions {
            confidence: self.confidence,
            iou: self.iou,
            max_detections: self.max_detections,
            mask: self.mask,
            draws: self.draw == Some(true),
        })
    }
}

/// The JSON body of `/predict`: one of `images`, `instances` and `inputs`.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "describes the body in the document; it is read by `predict_body`")]
pub(super) struct PredictBody {
    /// PNG, JPEG, WebP, GIF, BMP or TIFF files in base64 (RFC 4648): in the standard or the url-safe alphabet, with or without
    /// padding, on one line or on several, as they are or in `data:` URLs.
    images: Option<Vec<String>>,
    /// Elements in the model's own input shape, one instance for each sample; a sample may be nested
    /// as the signature says, without its dimensions of 1, or flat. Of a model of several inputs: objects that name
    /// each of them. Of a model that takes rows of a table:
    /// objects by column name, or lists in the order of the columns; null is a missing value, and so is a category
    /// that the model does not know (see `strict`). Of a model that takes
    /// sequences: lists of numbers or of lists of numbers, null being a missing one; or of tokens: a text, a list of
    /// tokens as texts, or of their numbers. Longer ones are cut at their beginning, shorter ones padded there.
    #[schema(value_type = Option<Vec<serde_json::Value>>, example = json!([[0.0, 255.0]]))]
    instances: Option<Vec<serde_json::Value>>,
    /// One text, of a model with a tokenizer. Several are `instances`: texts, lists of a text and its pair, or objects
    /// with `text` and `pair`.
    text: Option<String>,
    /// The text that `text` is compared with, of a model of pairs.
    pair: Option<String>,
    /// All inputs of the model by name, each with all its samples: for models of several inputs.
    #[schema(value_type = Option<BTreeMap<String, serde_json::Value>>)]
    inputs: Option<BTreeMap<String, serde_json::Value>>,
    /// The same as the query parameter, which it overrides.
    #[schema(minimum = 1, maximum = 1000)]
    top_k: Option<u16>,
    /// The same as the query parameter, which it overrides.
    #[schema(inline)]
    polarity: Option<PolarityChoice>,
    /// The same as the header `x-timeout-ms`, which it overrides.
    #[schema(minimum = 1)]
    timeout_ms: Option<u64>,
    /// The same as the header `x-priority`, which it overrides.
    #[schema(minimum = 1, maximum = 9)]
    priority: Option<u64>,
    /// True refuses rows with a category that the model does not know; otherwise such a one counts as missing, as it does
    /// in an evaluation.
    strict: Option<bool>,
}

/// The form body of `/predict`: each file part is one image, whatever its name; parts that are no file are passed over.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes the form in the document; the form is read part by part")]
pub(super) struct PredictForm {
    /// PNG, JPEG, WebP, GIF, BMP or TIFF files.
    #[schema(value_type = Vec<String>, format = Binary)]
    image: Vec<u8>,
}

/// The answer of `/predict`.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct PredictAnswer<'a> {
    /// The identifier of the request, as in the header `x-request-id`.
    pub(super) request_id: &'a str,
    /// The model that answered.
    pub(super) model: &'a str,
    /// The version that answered.
    pub(super) version: u64,
    /// One for each sample, in order.
    pub(super) predictions: &'a [Prediction],
    /// The places of the samples whose text had more tokens than the model takes, and was cut.
    #[serde(skip_serializing_if = "<[usize]>::is_empty")]
    pub(super) truncated: &'a [usize],
    /// Where the time went.
    pub(super) timings_ms: Timings,
}

/// Where the time of a request went, in milliseconds.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
pub(super) struct Timings {
    /// Bytes to tensor.
    decode: f64,
    /// Waiting for a compute thread.
    queue: f64,
    /// The model itself.
    infer: f64,
    /// From the head of the request to the answer, reading the body included.
    total: f64,
}

impl Timings {
    pub(super) fn new(stages: Stages, total: std::time::Duration) -> Self {
        // Microseconds are as fine as the clock is worth reading.
        let milliseconds = |duration: std::time::Duration| duration.as_micros() as f64 / 1e3;
        Self {
            decode: milliseconds(stages.decode),
            queue: milliseconds(stages.queue),
            infer: milliseconds(stages.infer),
            total: milliseconds(total),
        }
    }
}

/// The ways in which `/predict` can fail.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "describes the failures in the document; they are made from errors")]
pub(super) enum PredictFailure {
    #[response(status = 400, description = "The request cannot be read", content_type = "application/problem+json")]
    Malformed(#[to_schema] Problem),
    #[response(status = 404, description = "No such model or version", content_type = "application/problem+json")]
    NotFound(#[to_schema] Problem),
    #[response(
        status = 408,
        description = "The body did not arrive in time",
        content_type = "application/problem+json"
    )]
    SlowClient(#[to_schema] Problem),
    #[response(status = 413, description = "A limit was exceeded", content_type = "application/problem+json")]
    TooLarge(#[to_schema] Problem),
    #[response(
        status = 415,
        description = "Neither an image of an accepted format nor JSON, or a model that takes no images",
        content_type = "application/problem+json"
    )]
    UnsupportedMedia(#[to_schema] Problem),
    #[response(
        status = 422,
        description = "The input does not fit the model, or an image is damaged",
        content_type = "application/problem+json"
    )]
    InvalidInput(#[to_schema] Problem),
    #[response(status = 500, description = "The model failed", content_type = "application/problem+json")]
    Internal(#[to_schema] Problem),
    #[response(
        status = 503,
        description = "At capacity, loading or shutting down; see Retry-After",
        content_type = "application/problem+json"
    )]
    Overloaded(#[to_schema] Problem),
    #[response(status = 504, description = "No answer in time", content_type = "application/problem+json")]
    DeadlineExceeded(#[to_schema] Problem),
}

/// The bytes of a file.
#[derive(ToSchema)]
#[schema(value_type = String, format = Binary)]
#[expect(dead_code, reason = "describes a body in the document")]
pub(super) struct Binary(Vec<u8>);
