//! Answers that are for texts alone, as `[answer]` of `model.toml` and a manifest say them.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::ScoreKind;

/// Parts of a text, each with a label.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SpansAnswer {
    /// The output that holds the logits of the labels for each token; the first that can be one where it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<String>,
    /// The way from tokens to spans; `simple` where it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub aggregation: Option<Aggregation>,
    /// The label of tokens that belong to no span; `O` where it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outside: Option<String>,
}

/// The way from the labels of tokens to spans.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Aggregation {
    /// Neighbours of one kind are a span; a label that begins with `B-` begins another one.
    #[default]
    Simple,
    /// As `simple`, of whole words, each with the label of its first token.
    First,
    /// Each token is a span, with its label as it is.
    None,
}

/// A number for a text or a pair of texts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ScoreAnswer {
    /// The output that holds it; the first that can be one where it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<String>,
    /// The kind of the number: `sigmoid` makes a probability of it; it stays as it is where this is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scores: Option<ScoreKind>,
}
