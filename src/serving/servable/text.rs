//! The answers of text models: spans, scores and embeddings, of the tokens that are no padding.

use std::borrow::Cow;

use super::fit::{self, unusable};
use super::prediction::{Prediction, not_finite};
use super::vision::{floats, of_sample};
use crate::error::{Error, Result};
use crate::signature::{OutputTransform, ScoreKind, Signature, Transform};
use crate::tensor::{Real, Tensor};
use crate::transform::Squash;
use crate::transform::text::{Spanner, TextFacts};
use crate::transform::vision::{Embedder, Fault, GraphOutputs, SampleOutput};

/// Outputs of more elements than this are not looked through on a thread that answers connections.
const QUICK_ELEMENTS: usize = 1 << 15;

/// The reading of a graph's outputs as the answer of a text model.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum TextAnswer {
    /// Parts of the text, each with a label.
    Spans(Spanner),
    /// A number.
    Score(Scorer),
    /// A vector.
    Embedding(Embedder),
}

/// The reading of an output as a number for a text.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Scorer {
    output: usize,
    squash: Squash,
    said: String,
}

/// The outputs of a run, and the texts that it was asked about.
#[derive(Debug, Clone, Copy)]
pub(super) struct Read<'a> {
    pub(super) outputs: &'a [Tensor],
    /// True if the outputs are those of one sample, without a batch.
    pub(super) is_whole: bool,
    pub(super) samples: usize,
    /// The facts about each text; none of a request in tensors without a mask.
    pub(super) texts: &'a [TextFacts],
    pub(super) labels: &'a [String],
}

impl TextAnswer {
    /// Resolves a transform against a graph; `None` if its output is of another kind.
    ///
    /// # Errors
    /// [`Error::Repository`] saying what does not fit.
    pub(crate) fn of(transform: &Transform, graph: &Signature, labels: &[String]) -> Result<Option<Self>> {
        let resolved = match &transform.output {
            OutputTransform::Spans(answer) => Spanner::resolve(answer, graph, labels).map(Self::Spans),
            OutputTransform::Score(answer) => {
                Scorer::resolve(answer.output.as_deref(), answer.scores, graph).map(Self::Score)
            }
            OutputTransform::Embedding(answer) if transform.text.is_some() => {
                Embedder::resolve(answer, GraphOutputs::new(graph)).map(Self::Embedding)
            }
            _ => return Ok(None),
        };
        resolved.map(Some).map_err(|problem| unusable(format!("[answer]: {problem}")))
    }

    /// Returns the sentence that says what is read how.
    pub(crate) fn said(&self) -> &str {
        match self {
            Self::Spans(spanner) => spanner.said(),
            Self::Score(scorer) => &scorer.said,
            Self::Embedding(embedder) => embedder.said(),
        }
    }

    /// Returns the name of the answer among tensors.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Spans(_) => "spans",
            Self::Score(_) => "score",
            Self::Embedding(_) => "embedding",
        }
    }

    /// Returns true if the answer tells the places of tokens.
    pub(crate) fn needs_places(output: &OutputTransform) -> bool {
        matches!(output, OutputTransform::Spans(_))
    }

    /// Returns true if answers are made of outputs of so many elements in no time.
    pub(super) fn is_quick(&self, elements: usize) -> bool {
        elements <= QUICK_ELEMENTS
    }

    /// Returns the answers for all samples.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] when an output is not finite, or spans are wanted of a request in tensors;
    /// [`Error::Internal`] when the outputs are not as resolved.
    pub(super) fn answers(&self, read: Read<'_>) -> Result<Vec<Prediction>> {
        let elements: Vec<Cow<'_, [f32]>> = read.outputs.iter().map(|output| floats(output.data())).collect();
        let sample = |sample: usize| {
            let place = (!read.is_whole).then_some(sample);
            let outputs: Vec<SampleOutput<'_>> = read
                .outputs
                .iter()
                .zip(&elements)
                .map(|(output, elements)| of_sample(output, elements, place))
                .collect();
            self.answer(&outputs, read.texts.get(sample), read.labels).map_err(|fault| match fault {
                Failed::NothingKept => Error::InvalidInput(format!(
                    "row {sample}: attention_mask keeps no token, so there is no embedding"
                )),
                Failed::Fault(Fault::NotFinite) => not_finite(Some(sample)),
                Failed::Fault(Fault::Misfit(said)) => Error::internal("the outputs are not as expected", said),
                Failed::Tensors => Error::InvalidInput(
                    "spans are places in a text: send the text itself; /v2 gives the labels of tokens as they are"
                        .into(),
                ),
            })
        };
        (0..if read.is_whole { 1 } else { read.samples }).map(sample).collect()
    }

    fn answer(
        &self,
        outputs: &[SampleOutput<'_>],
        facts: Option<&TextFacts>,
        labels: &[String],
    ) -> std::result::Result<Prediction, Failed> {
        match self {
            Self::Spans(spanner) => {
                let facts = facts.filter(|facts| !facts.places.is_empty()).ok_or(Failed::Tensors)?;
                let spans = spanner.spans(outputs, facts, labels).map_err(Failed::Fault)?;
                Ok(Prediction::Spans { spans })
            }
            Self::Score(scorer) => {
                let score = outputs[scorer.output].data.first().copied();
                let score = score.ok_or_else(|| Failed::Fault(Fault::Misfit("the score is empty".into())))?;
                if !score.is_finite() {
                    return Err(Failed::Fault(Fault::NotFinite));
                }
                let value = scorer.squash.confidences(&[score]).first().copied().unwrap_or(score);
                Ok(Prediction::Number { value: Real::Single(value) })
            }
            Self::Embedding(embedder) => {
                let kept = facts.map(|facts| facts.kept.as_slice()).unwrap_or_default();
                if embedder.is_of_tokens() && !kept.is_empty() && !kept.contains(&true) {
                    return Err(Failed::NothingKept);
                }
                embedder
                    .embed_kept(outputs, kept)
                    .map(|embedding| Prediction::Embedded { embedding })
                    .map_err(Failed::Fault)
            }
        }
    }
}

/// A reason why there is no answer.
enum Failed {
    Fault(Fault),
    /// The answer needs the text, and the request brought tensors.
    Tensors,
    /// The mask of the request keeps no token.
    NothingKept,
}

impl Scorer {
    fn resolve(name: Option<&str>, scores: Option<ScoreKind>, graph: &Signature) -> std::result::Result<Self, String> {
        let squash = match scores {
            Some(ScoreKind::Sigmoid) => Squash::Sigmoid,
            Some(ScoreKind::Probabilities) | None => Squash::Nothing,
            Some(ScoreKind::Softmax) => {
                return Err("scores = \"softmax\" of one number is always 1; say \"sigmoid\"".into());
            }
        };
        let fits = |name: &str| fit::number(name, graph).is_ok();
        let names: Vec<&str> = graph.outputs.iter().map(|spec| spec.name.as_str()).collect();
        let chosen = match name {
            Some(name) => Some(name).filter(|name| fits(name)),
            None => names.iter().copied().find(|name| fits(name)),
        };
        let chosen = chosen.ok_or_else(|| {
            let all = graph.outputs.iter().map(|spec| format!("\"{}\" {}", spec.name, spec.shape_text()));
            format!("no output [texts, 1] of floats holds a score; there are: {}", all.collect::<Vec<_>>().join(", "))
        })?;
        let output = names.iter().position(|name| *name == chosen).unwrap_or_default();
        let how = if squash == Squash::Sigmoid { "the sigmoid of it is the answer" } else { "as it is" };
        Ok(Self { output, squash, said: format!("output \"{chosen}\" holds a number for each text or pair, {how}") })
    }
}

/// Returns facts about texts that were sent as tensors, by the mask among them.
pub(super) fn facts_of_mask(mask: &Tensor) -> Vec<TextFacts> {
    let width = mask.row_elements();
    let kept: Vec<bool> = floats(mask.data()).iter().map(|element| *element != 0.0).collect();
    let facts = |row: &[bool]| TextFacts { kept: row.to_vec(), ..TextFacts::default() };
    kept.chunks_exact(width.max(1)).map(facts).collect()
}
