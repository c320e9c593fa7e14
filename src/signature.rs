//! What a model takes and gives: tensors by name, dtype and shape, and the transforms around them.
//!
//! These are the parts of `manifest.json` that both the trainer (which writes them) and the server
//! (which obeys them) must understand alike.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The element type of a tensor, by its NumPy name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum DType {
    /// 32-bit IEEE 754.
    Float32,
}

/// One dimension of a shape: a number, or a symbol such as `"N"` that each request may choose.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum Dim {
    /// Always this many.
    Fixed(usize),
    /// As many as the request brings.
    Symbol(String),
}

/// One input or output of a model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TensorSpec {
    /// Its name in the graph.
    pub name: String,
    /// Its element type.
    pub dtype: DType,
    /// Its dimensions; the first is the batch.
    pub shape: Vec<Dim>,
}

impl TensorSpec {
    /// The dimensions of one sample: all but the batch; `None` if one of them is not fixed.
    pub fn sample_shape(&self) -> Option<Vec<usize>> {
        let fixed = |dim: &Dim| match dim {
            Dim::Fixed(size) => Some(*size),
            Dim::Symbol(_) => None,
        };
        self.shape.iter().skip(1).map(fixed).collect()
    }
}

/// The inputs and outputs of a model, in the graph's order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Signature {
    /// What it takes.
    pub inputs: Vec<TensorSpec>,
    /// What it gives.
    pub outputs: Vec<TensorSpec>,
}

/// The transforms around a model: bytes → tensor before it, tensor → answer after it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Transform {
    /// How an image becomes the input; absent when the model takes no images.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<ImageTransform>,
    /// How the output becomes an answer.
    pub output: OutputTransform,
}

/// How an encoded image becomes the model's input: grey pixels from 0 to 255, row by row.
///
/// Scaling and normalisation beyond that are part of the graph.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ImageTransform {
    /// Width of the input in pixels.
    pub width: u32,
    /// Height of the input in pixels.
    pub height: u32,
    /// The polarity that the model was trained on.
    pub polarity: Polarity,
    /// How an image of another size is fitted.
    pub fit: Fit,
}

/// Which of the two is brighter: the drawing or its background.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Polarity {
    /// Bright strokes on a dark background, as in MNIST.
    LightOnDark,
    /// Dark strokes on a bright background, as ink on paper.
    DarkOnLight,
}

/// How an image of another size is brought to the model's size. An image that already has it is
/// never touched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Fit {
    /// Scale both axes, ignoring the aspect ratio.
    Stretch,
    /// As MNIST was made: remove the background, crop to the strokes, scale them into the inner
    /// 20/28 of the frame and put their centre of mass in its middle.
    CentreOfMass,
}

/// How the output becomes an answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum OutputTransform {
    /// A distribution over classes.
    Classification {
        /// The output that holds it: `[N, classes]`, each row summing to 1.
        probabilities: String,
    },
    /// The first output as it is.
    Raw,
}
