//! The answer that a model's output is made into, as somebody writes it.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    DetectionAnswer, EmbeddingAnswer, OutputTransform, PaintedAnswer, ScoreAnswer, SegmentationAnswer, Signature,
    SpansAnswer, TensorSpec,
};

/// The threshold of a label where none is said.
const THRESHOLD: f32 = 0.5;

/// The table `[answer]` of `model.toml`. What is left out is found in the graph, and measured.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum AnswerSpec {
    /// One of several classes.
    Classes {
        /// The output that holds the scores of the classes.
        output: Option<String>,
        /// The meaning of the scores.
        scores: Option<Scores>,
    },
    /// Any number of labels at once.
    Labels {
        /// The output that holds the scores of the labels.
        output: Option<String>,
        /// The meaning of the scores.
        scores: Option<Scores>,
        /// The confidence from which a label is one of the answer's.
        threshold: Option<f32>,
        /// The same for each label, in place of one for all.
        #[serde(default)]
        thresholds: Vec<f32>,
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
}

/// The meaning of a classifier's scores.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Scores {
    /// Probabilities, which are answered as they are.
    #[default]
    Probabilities,
    /// Logits: a softmax makes probabilities of those of classes, a sigmoid of those of labels.
    Logits,
}

impl Scores {
    /// Returns true for the default, which is not written.
    pub(super) fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl AnswerSpec {
    /// Returns the meaning that is said of the scores.
    pub fn scores(&self) -> Option<Scores> {
        match self {
            Self::Classes { scores, .. } | Self::Labels { scores, .. } => *scores,
            Self::Detections(_)
            | Self::Segmentation(_)
            | Self::Embedding(_)
            | Self::Image(_)
            | Self::Spans(_)
            | Self::Score(_) => None,
        }
    }

    /// Returns the transform if the answer is not of scores of classes; it completes itself against the graph.
    pub fn seen(&self) -> Option<OutputTransform> {
        match self {
            Self::Classes { .. } | Self::Labels { .. } => None,
            Self::Detections(answer) => Some(OutputTransform::Detections(answer.clone())),
            Self::Segmentation(answer) => Some(OutputTransform::Segmentation(answer.clone())),
            Self::Embedding(answer) => Some(OutputTransform::Embedding(answer.clone())),
            Self::Image(answer) => Some(OutputTransform::Image(answer.clone())),
            Self::Spans(answer) => Some(OutputTransform::Spans(answer.clone())),
            Self::Score(answer) => Some(OutputTransform::Score(answer.clone())),
        }
    }

    /// Returns the place of the output that holds the scores of `labels` classes; of any number if that is 0.
    ///
    /// # Errors
    /// A message that names the outputs.
    pub fn output(&self, graph: &Signature, labels: usize) -> Result<usize, String> {
        let output = match self {
            Self::Classes { output, .. } | Self::Labels { output, .. } => output,
            _ => &None,
        };
        let all = || {
            let all: Vec<String> =
                graph.outputs.iter().map(|spec| format!("\"{}\" {}", spec.name, spec.shape_text())).collect();
            all.join(", ")
        };
        if let Some(name) = output {
            let place = graph.outputs.iter().position(|spec| spec.name == *name);
            return place.ok_or_else(|| format!("the graph has no output \"{name}\"; it has {}", all()));
        }
        let fits = |spec: &TensorSpec| scored_classes(spec).is_some_and(|classes| labels == 0 || labels == classes);
        let mut fitting = (0..graph.outputs.len()).filter(|place| fits(&graph.outputs[*place]));
        let wanted = if labels == 0 { "classes".to_owned() } else { format!("{labels} classes, as there are labels") };
        match (fitting.next(), fitting.next()) {
            (Some(place), None) => Ok(place),
            (Some(_), Some(_)) => Err(format!("output is missing: several outputs hold scores of {wanted}: {}", all())),
            (None, _) => Err(format!("no output holds scores of {wanted}; the graph has {}", all())),
        }
    }

    /// Returns the transform for an output of so many classes.
    ///
    /// # Errors
    /// A message that names the setting.
    pub fn resolve(self, output: &str, scores: Scores, classes: usize) -> Result<OutputTransform, String> {
        match self {
            Self::Classes { .. } => Ok(OutputTransform::Classification { probabilities: output.to_owned(), scores }),
            Self::Labels { threshold, thresholds, .. } => {
                if threshold.is_some() && !thresholds.is_empty() {
                    return Err("threshold and thresholds exclude each other".into());
                }
                if !thresholds.is_empty() && thresholds.len() != classes {
                    let count = thresholds.len();
                    return Err(format!("thresholds must be one for each of {classes} labels, they are {count}"));
                }
                let thresholds = match thresholds.is_empty() {
                    true => vec![threshold.unwrap_or(THRESHOLD); classes],
                    false => thresholds,
                };
                if let Some(bad) = thresholds.iter().find(|threshold| !(0.0..=1.0).contains(*threshold)) {
                    return Err(format!("a threshold must be from 0 to 1, it is {bad}"));
                }
                Ok(OutputTransform::Labels { output: output.to_owned(), scores, thresholds })
            }
            Self::Detections(answer) => Ok(OutputTransform::Detections(answer)),
            Self::Segmentation(answer) => Ok(OutputTransform::Segmentation(answer)),
            Self::Embedding(answer) => Ok(OutputTransform::Embedding(answer)),
            Self::Image(answer) => Ok(OutputTransform::Image(answer)),
            Self::Spans(answer) => Ok(OutputTransform::Spans(answer)),
            Self::Score(answer) => Ok(OutputTransform::Score(answer)),
        }
    }
}

/// Returns the number of classes if an output holds a score for each: floats of which one dimension alone, besides the
/// batch, is more than 1.
pub fn scored_classes(spec: &TensorSpec) -> Option<usize> {
    let is_float = matches!(spec.dtype, super::DType::Float32 | super::DType::Float16);
    let shape = spec.sample_shape().filter(|_| is_float)?;
    let classes = shape.iter().copied().filter(|size| *size != 1);
    let mut classes = classes.take(2);
    match (classes.next(), classes.next()) {
        (Some(count), None) if count > 0 => Some(count),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signature::{DType, Dim};

    fn output(name: &str, dtype: DType, dims: &[usize]) -> TensorSpec {
        let batch = std::iter::once(Dim::Symbol("N".into()));
        TensorSpec { name: name.into(), dtype, shape: batch.chain(dims.iter().copied().map(Dim::Fixed)).collect() }
    }

    #[test]
    fn the_output_with_scores_is_found_unless_there_are_two() {
        let answer: AnswerSpec = toml::from_str("kind = \"classes\"").unwrap();
        let graph = |outputs: &[TensorSpec]| Signature { inputs: vec![], outputs: outputs.to_vec() };
        let (scores, wide) = (output("y", DType::Float32, &[10, 1, 1]), output("f", DType::Float32, &[7, 7]));
        assert_eq!(answer.output(&graph(&[wide.clone(), scores.clone()]), 0), Ok(1));
        assert_eq!(answer.output(&graph(&[wide.clone(), scores.clone()]), 10), Ok(1));
        assert!(answer.output(&graph(std::slice::from_ref(&wide)), 0).unwrap_err().contains("\"f\" [N, 7, 7]"));
        let two = graph(&[scores, output("features", DType::Float16, &[512])]);
        assert!(answer.output(&two, 0).unwrap_err().contains("several"));
        assert_eq!(answer.output(&two, 512), Ok(1));
    }

    #[test]
    fn thresholds_are_one_for_all_or_one_for_each() {
        let resolve = |text: &str| toml::from_str::<AnswerSpec>(text).unwrap().resolve("y", Scores::Logits, 2);
        let thresholds = |text: &str| match resolve(text).unwrap() {
            OutputTransform::Labels { thresholds, .. } => thresholds,
            other => panic!("{other:?}"),
        };
        assert_eq!(thresholds("kind = \"labels\""), [0.5, 0.5]);
        assert_eq!(thresholds("kind = \"labels\"\nthreshold = 0.25"), [0.25, 0.25]);
        assert_eq!(thresholds("kind = \"labels\"\nthresholds = [0.5, 1.0]"), [0.5, 1.0]);
        for bad in ["threshold = 1.5", "thresholds = [0.5]", "threshold = 0.5\nthresholds = [0.5, 0.5]"] {
            assert!(resolve(&format!("kind = \"labels\"\n{bad}")).is_err(), "{bad}");
        }
    }
}
