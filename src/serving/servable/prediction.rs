//! The answer for one sample.

use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::ToSchema;

use crate::error::Error;
use crate::tensor::Data;
use crate::transform::Classification;

/// The answer for one sample.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[serde(untagged)]
pub enum Prediction {
    /// A model with a distribution over classes.
    Classified {
        #[serde(flatten)]
        classification: Classification,
        /// Of an image: whether black and white were exchanged to reach the model's polarity.
        #[serde(skip_serializing_if = "Option::is_none")]
        inverted: Option<bool>,
    },
    /// An autoencoder.
    Reconstructed {
        /// The image made again: a PNG file in base64.
        reconstruction: String,
        /// The mean of the image's code.
        latent: Vec<f32>,
        /// The unlikeliness of the image in nats: the greater, the less like those the model was trained on.
        score: f64,
        /// The share of the reference data that scored lower, 0 to 1; at 1 the image is less likely than all
        /// of them.
        #[serde(skip_serializing_if = "Option::is_none")]
        quantile: Option<f64>,
        /// Of an image: whether black and white were exchanged to reach the model's polarity.
        #[serde(skip_serializing_if = "Option::is_none")]
        inverted: Option<bool>,
    },
    /// A model of numbers.
    Number {
        /// The number.
        value: f32,
    },
    /// A model without output transform.
    Raw {
        /// The elements of each output, row by row.
        #[schema(value_type = BTreeMap<String, Vec<f64>>)]
        outputs: BTreeMap<String, Data>,
    },
}

/// Returns the error of a model whose output holds NaN or an infinity.
pub(super) fn not_finite() -> Error {
    Error::internal("the model's output is not a finite number", "NaN or infinity")
}
