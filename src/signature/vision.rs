//! The answers of vision models, as `[answer]` in `model.toml` or the output transform of a manifest declares them.
//!
//! Everything may be left out: names and layouts come from the graph then, thresholds from what the layout's authors
//! publish. What is guessed is told by `GET /models/{model}`.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Layout;

/// Boxes around things, each with a class.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DetectionAnswer {
    /// The layout of the outputs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub layout: Option<DetectionLayout>,
    /// Boxes of no more confidence are left out; 0 to 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confidence: Option<f32>,
    /// Of boxes of one class that overlap more than this (intersection over union), the most confident stays; 0 to 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub iou: Option<f32>,
    /// The most boxes for a picture.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_detections: Option<usize>,
    /// True if overlapping boxes are suppressed, where the graph has not done so itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suppress: Option<bool>,
    /// Suppress boxes by those of other classes, too.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub across_classes: bool,
    /// The four numbers of a box.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub box_form: Option<BoxForm>,
    /// The unit of these numbers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub box_unit: Option<BoxUnit>,
    /// The kind of the scores.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scores: Option<ScoreKind>,
    /// The class that the first label names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_label: Option<usize>,
    /// The output that holds the boxes, or everything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boxes_output: Option<String>,
    /// The output that holds the scores.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scores_output: Option<String>,
    /// The output that holds the classes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub classes_output: Option<String>,
    /// The output that says how many of the boxes count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count_output: Option<String>,
}

/// The layout of a detector's outputs for one picture, of N boxes and C classes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum DetectionLayout {
    /// `[N, 5 + C]`: box, objectness, a score for each class.
    #[serde(rename = "yolov5")]
    YoloV5,
    /// `[4 + C, N]`: box, a score for each class.
    #[serde(rename = "yolov8")]
    YoloV8,
    /// `[N, 6]`: box, score, class; nothing overlaps.
    #[serde(rename = "yolov10")]
    YoloV10,
    /// `[N, 4]` boxes and `[N, C]` scores, of which the first is the background's.
    Ssd,
    /// `detection_boxes`, `detection_scores`, `detection_classes` and `num_detections`.
    Tensorflow,
    /// `boxes` `[N, 4]`, `scores` `[N]` and `labels` `[N]`.
    Torchvision,
    /// `logits` `[N, C + 1]`, the last being "no object", and `pred_boxes` `[N, 4]`.
    Detr,
    /// `logits` `[N, C]` and `pred_boxes` `[N, 4]`.
    RtDetr,
}

impl DetectionLayout {
    /// Returns the name in `model.toml`.
    pub fn name(self) -> &'static str {
        match self {
            Self::YoloV5 => "yolov5",
            Self::YoloV8 => "yolov8",
            Self::YoloV10 => "yolov10",
            Self::Ssd => "ssd",
            Self::Tensorflow => "tensorflow",
            Self::Torchvision => "torchvision",
            Self::Detr => "detr",
            Self::RtDetr => "rt_detr",
        }
    }
}

/// The four numbers of a box.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum BoxForm {
    /// Left, top, right, bottom.
    Xyxy,
    /// Top, left, bottom, right.
    Yxyx,
    /// Centre, width, height.
    Cxcywh,
}

/// The unit of the numbers of a box.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum BoxUnit {
    /// Pixels of the model's input.
    Pixels,
    /// Shares of the input's width and height.
    Normalised,
}

/// The kind of a model's scores.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ScoreKind {
    /// Probabilities, as they are.
    Probabilities,
    /// Logits of classes that exclude each other.
    Softmax,
    /// Logits of each class by itself.
    Sigmoid,
}

/// A class for each pixel.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SegmentationAnswer {
    /// The output that holds the classes or their scores; the first that can be one where it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<String>,
    /// The order of the dimensions of scores.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub layout: Option<Layout>,
    /// The way to the picture's size.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interpolation: Option<MaskInterpolation>,
    /// Of a single score for each pixel, the probability from which on it is class 1; 0 to 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub threshold: Option<f32>,
    /// The kind of a single score for each pixel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scores: Option<ScoreKind>,
    /// The form of the class map in the answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mask: Option<MaskForm>,
}

/// The way from the size of a model's output to that of the picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum MaskInterpolation {
    /// The class of the nearest pixel.
    Nearest,
    /// Scores interpolated between pixels, and the class of the greatest.
    Bilinear,
}

/// The form of a class map in an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum MaskForm {
    /// A PNG file whose pixels are classes, with a palette to look at, in base64.
    #[default]
    Png,
    /// Classes and how many pixels they last, row by row.
    RunLengths,
}

/// A vector that describes a sample.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EmbeddingAnswer {
    /// The output that holds it; the first where it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<String>,
    /// Divide it by its Euclidean length.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub normalise: bool,
    /// The way from several vectors to one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool: Option<Pool>,
    /// The order of the dimensions of a map of features.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub layout: Option<Layout>,
}

/// The way from several vectors to one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Pool {
    /// Their mean.
    Mean,
    /// The first one, as a transformer's class token.
    First,
}

/// A picture made of a picture.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PaintedAnswer {
    /// The output that holds it; the first that can be one where it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<String>,
    /// The order of its dimensions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub layout: Option<Layout>,
    /// The values of black and white; 0 and 1 where they are left out, or 0 and 255 of whole numbers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub range: Option<[f32; 2]>,
    /// True if its channels are blue, green, red.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub bgr: bool,
}

impl DetectionAnswer {
    /// Returns the first value that cannot be, in words.
    pub fn problem(&self) -> Option<String> {
        share("confidence", self.confidence)
            .or_else(|| share("iou", self.iou))
            .or_else(|| (self.max_detections == Some(0)).then(|| "max_detections must be at least 1".into()))
    }
}

impl SegmentationAnswer {
    /// Returns the first value that cannot be, in words.
    pub fn problem(&self) -> Option<String> {
        share("threshold", self.threshold)
    }
}

impl PaintedAnswer {
    /// Returns the first value that cannot be, in words.
    pub fn problem(&self) -> Option<String> {
        let [black, white] = self.range?;
        let is_wrong = !(black.is_finite() && white.is_finite()) || black == white;
        is_wrong.then(|| format!("range must be two different numbers, got [{black}, {white}]"))
    }
}

/// Returns a fault unless a number lies between 0 and 1.
pub fn share(name: &str, value: Option<f32>) -> Option<String> {
    let value = value.filter(|value| !(0.0..=1.0).contains(value))?;
    Some(format!("{name} must be from 0 to 1, got {value}"))
}
