//! Inputs and outputs of a model: tensors by name, dtype and shape, and the transforms around them.
//!
//! These are the parts of `manifest.json` that both the trainer (which writes them) and the server
//! (which obeys them) must understand alike.

mod answer;
mod columns;
mod facts;
mod guess;
mod image;
mod preset;
mod resolve;
mod sequence;
mod spec;
mod task;
mod text;
mod text_answers;
mod vision;

use std::fmt;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

pub use answer::{AnswerSpec, Scores, scored_classes};
pub use columns::{Column, ColumnKind, DateOrder, MOST_WATCHED_COLUMNS, places, row_width};
pub use facts::{GraphFacts, Step};
pub use guess::{Guess, Line};
pub use image::{
    Colour, Decoding, DrawingTransform, Fit, ImageTransform, Interpolation, Layout, PictureFit, PictureTransform,
    Polarity,
};
pub use sequence::{
    COLUMN_BUCKETS, FIRST_TOKEN, GRAM_BUCKETS, PADDING, SequenceElements, SequenceTransform, TokenSplit, UNKNOWN,
};
pub use spec::{FitName, ImageSpec, Numbers, Preset};
pub use task::Task;
pub use text::{TextModelFacts, TextSpec, TextTransform, text_answer};
pub use text_answers::{Aggregation, ScoreAnswer, SpansAnswer};
pub use vision::{
    BoxForm, BoxUnit, DetectionAnswer, DetectionLayout, EmbeddingAnswer, MaskForm, MaskInterpolation, PaintedAnswer,
    Pool, ScoreKind, SegmentationAnswer, share,
};

/// The name of the batch dimension, whatever the file calls it.
pub const BATCH: &str = "N";

/// The element type of a tensor, by its NumPy name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum DType {
    /// Truth value.
    Bool,
    /// Unsigned, 8 bits.
    Uint8,
    /// Unsigned, 16 bits.
    Uint16,
    /// Unsigned, 32 bits.
    Uint32,
    /// Unsigned, 64 bits.
    Uint64,
    /// Signed, 8 bits.
    Int8,
    /// Signed, 16 bits.
    Int16,
    /// Signed, 32 bits.
    Int32,
    /// Signed, 64 bits.
    Int64,
    /// 16-bit IEEE 754.
    Float16,
    /// 16-bit brain floating point.
    Bfloat16,
    /// 32-bit IEEE 754.
    Float32,
    /// 64-bit IEEE 754.
    Float64,
    /// Text in UTF-8.
    String,
}

impl DType {
    /// The size of one element in bytes; `None` for strings.
    pub fn bytes(self) -> Option<usize> {
        match self {
            Self::Bool | Self::Uint8 | Self::Int8 => Some(1),
            Self::Uint16 | Self::Int16 | Self::Float16 | Self::Bfloat16 => Some(2),
            Self::Uint32 | Self::Int32 | Self::Float32 => Some(4),
            Self::Uint64 | Self::Int64 | Self::Float64 => Some(8),
            Self::String => None,
        }
    }

    /// Returns true for a floating-point type.
    pub fn is_float(self) -> bool {
        matches!(self, Self::Float16 | Self::Bfloat16 | Self::Float32 | Self::Float64)
    }

    fn name(self) -> &'static str {
        match self {
            Self::Bool => "bool",
            Self::Uint8 => "uint8",
            Self::Uint16 => "uint16",
            Self::Uint32 => "uint32",
            Self::Uint64 => "uint64",
            Self::Int8 => "int8",
            Self::Int16 => "int16",
            Self::Int32 => "int32",
            Self::Int64 => "int64",
            Self::Float16 => "float16",
            Self::Bfloat16 => "bfloat16",
            Self::Float32 => "float32",
            Self::Float64 => "float64",
            Self::String => "string",
        }
    }
}

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One dimension of a shape: a number, or a symbol such as `"N"` that each request may choose.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum Dim {
    /// Always this many.
    Fixed(usize),
    /// Any size that a request chooses.
    Symbol(String),
}

impl Dim {
    /// Returns true if each request may choose the size.
    pub fn is_open(&self) -> bool {
        matches!(self, Self::Symbol(_))
    }

    /// Returns true for the batch.
    pub fn is_batch(&self) -> bool {
        matches!(self, Self::Symbol(name) if name == BATCH)
    }
}

impl fmt::Display for Dim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fixed(size) => size.fmt(f),
            Self::Symbol(name) => name.fmt(f),
        }
    }
}

/// One input or output of a model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TensorSpec {
    /// Its name in the graph.
    pub name: String,
    /// Its element type.
    pub dtype: DType,
    /// Its dimensions; the first is the batch, if the model has one.
    pub shape: Vec<Dim>,
}

impl TensorSpec {
    /// The dimensions of one sample: all but the batch; `None` if one of them is not fixed.
    pub fn sample_shape(&self) -> Option<Vec<usize>> {
        self.sample_dims().iter().map(|dim| if let Dim::Fixed(size) = dim { Some(*size) } else { None }).collect()
    }

    /// The dimensions of one sample: all but the first.
    pub fn sample_dims(&self) -> &[Dim] {
        self.shape.get(1..).unwrap_or_default()
    }

    /// The shape in words: `[N, 28, 28]`.
    pub fn shape_text(&self) -> String {
        shape_text(&self.shape)
    }
}

/// A shape in words: `[N, 28, 28]`.
pub fn shape_text(dims: &[Dim]) -> String {
    let dims: Vec<String> = dims.iter().map(ToString::to_string).collect();
    format!("[{}]", dims.join(", "))
}

/// The number of samples in one run of a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Batching {
    /// Any number at once: the first dimension of every input and output is the batch.
    Any,
    /// Exactly this many at once.
    Fixed(usize),
    /// One at a time, and it is the whole of every input: there is no batch dimension.
    Whole,
}

/// The inputs and outputs of a model, in the graph's order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Signature {
    /// The inputs.
    pub inputs: Vec<TensorSpec>,
    /// The outputs.
    pub outputs: Vec<TensorSpec>,
}

impl Signature {
    /// Returns the number of samples in one run. A model without inputs has no samples.
    pub fn batching(&self) -> Batching {
        if self.inputs.is_empty() {
            return Batching::Whole;
        }
        let mut firsts = self.inputs.iter().chain(&self.outputs).map(|tensor| tensor.shape.first());
        let Some(Some(first)) = firsts.next() else { return Batching::Whole };
        match first {
            _ if !firsts.all(|other| other == Some(first)) => Batching::Whole,
            Dim::Fixed(size) if *size > 0 => Batching::Fixed(*size),
            symbol if symbol.is_batch() => Batching::Any,
            _ => Batching::Whole,
        }
    }

    /// Returns the place of the output that a distribution over classes is the softmax of, where the graph gives it: the
    /// one that Weir's trainer calls `logits`, of the same type and shape.
    pub fn logits_of(&self, probabilities: usize) -> Option<usize> {
        let wanted = self.outputs.get(probabilities)?;
        let is_before =
            |output: &TensorSpec| output.name == LOGITS && output.dtype == wanted.dtype && output.shape == wanted.shape;
        self.outputs.iter().position(is_before).filter(|place| *place != probabilities)
    }
}

/// The name that Weir's trainer gives the output before the softmax.
pub const LOGITS: &str = "logits";

/// The transforms around a model: bytes → tensor before it, tensor → answer after it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Transform {
    /// The transform from an image to the input; absent when the model takes no images.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<ImageTransform>,
    /// The columns of a table that make up the input, in its order; empty when the model takes no table.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub columns: Vec<Column>,
    /// The transform from a sequence to the input; absent when the model takes no sequences.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sequence: Option<SequenceTransform>,
    /// The transform from a text to the inputs of a transformer; absent when the version has no tokenizer for one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<TextTransform>,
    /// The transform from the output to an answer.
    pub output: OutputTransform,
}

impl Transform {
    /// The same without what may be long: the texts of tokens.
    pub fn without_vocabulary(&self) -> Self {
        let Self { image, columns, sequence, text, output } = self;
        let sequence = sequence.as_ref().map(SequenceTransform::without_vocabulary);
        let (image, text) = (image.clone(), text.clone());
        Self { image, columns: columns.clone(), sequence, text, output: output.clone() }
    }
}

/// The transform from the output to an answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum OutputTransform {
    /// A distribution over classes.
    Classification {
        /// The output that holds it: `[N, classes]`, each row summing to 1 or holding logits.
        probabilities: String,
        /// The meaning of its elements.
        #[serde(default, skip_serializing_if = "Scores::is_default")]
        scores: Scores,
    },
    /// Any number of labels at once.
    Labels {
        /// The output that holds their scores: `[N, labels]`.
        output: String,
        /// The meaning of its elements.
        #[serde(default, skip_serializing_if = "Scores::is_default")]
        scores: Scores,
        /// The confidence from which a label is one of the answer's, by label.
        thresholds: Vec<f32>,
    },
    /// An image made again of a code, as an autoencoder does.
    Reconstruction {
        /// The output that holds the image: `[N, …]`, intensities from 0 to 1.
        reconstruction: String,
        /// The output that holds the code: `[N, numbers]`.
        code: String,
        /// The output that says how unlikely the image is, in nats: `[N]`.
        score: String,
        /// The input, after the image, for what a code is drawn with: `[N, numbers]`; zeros if a request
        /// brings none.
        noise: String,
    },
    /// One number.
    Regression {
        /// The output that holds it: `[N, 1]`.
        value: String,
    },
    /// Boxes around things.
    Detections(DetectionAnswer),
    /// A class for each pixel.
    Segmentation(SegmentationAnswer),
    /// A vector.
    Embedding(EmbeddingAnswer),
    /// A picture.
    Image(PaintedAnswer),
    /// Parts of a text, each with a label.
    Spans(SpansAnswer),
    /// A number for a text or a pair of texts.
    Score(ScoreAnswer),
    /// The first output as it is.
    Raw,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(dims: &[&str]) -> TensorSpec {
        let dim = |dim: &&str| dim.parse().map_or_else(|_| Dim::Symbol((*dim).into()), Dim::Fixed);
        TensorSpec { name: "t".into(), dtype: DType::Float32, shape: dims.iter().map(dim).collect() }
    }

    #[test]
    fn a_batch_is_what_every_tensor_begins_with() {
        let batching = |inputs: &[&[&str]], outputs: &[&[&str]]| {
            let specs = |shapes: &[&[&str]]| shapes.iter().map(|dims| spec(dims)).collect();
            Signature { inputs: specs(inputs), outputs: specs(outputs) }.batching()
        };
        assert_eq!(batching(&[&["N", "4"]], &[&["N", "2"]]), Batching::Any);
        assert_eq!(batching(&[&["N", "4"], &["N"]], &[&["N"]]), Batching::Any);
        assert_eq!(batching(&[&["8", "4"]], &[&["8", "2"]]), Batching::Fixed(8));
        assert_eq!(batching(&[&["N", "4"]], &[&["2*N"]]), Batching::Whole);
        assert_eq!(batching(&[&["N", "4"], &[]], &[&["N"]]), Batching::Whole);
        assert_eq!(batching(&[&["seq"]], &[&["seq"]]), Batching::Whole);
        assert_eq!(batching(&[&["0", "4"]], &[&["0"]]), Batching::Whole);
        assert_eq!(batching(&[&[]], &[&[]]), Batching::Whole);
        assert_eq!(batching(&[], &[&["3"]]), Batching::Whole);
    }

    #[test]
    fn every_type_is_named_as_in_numpy() {
        let json = serde_json::to_string(&[DType::Float32, DType::Bfloat16, DType::Uint8, DType::String]).unwrap();
        assert_eq!(json, r#"["float32","bfloat16","uint8","string"]"#);
        assert_eq!(DType::Int64.to_string(), "int64");
    }
}
