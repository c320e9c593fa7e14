//! From the labels of tokens to spans of a text.

use serde::Serialize;
use utoipa::ToSchema;

use super::{TextFacts, TokenPlace};
use crate::signature::{Aggregation, Dim, Signature, SpansAnswer, TensorSpec};
use crate::transform::Squash;
use crate::transform::vision::{Fault, SampleOutput};

/// The label of tokens outside of spans.
const OUTSIDE: &str = "O";

/// A part of a text with a label.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Span {
    /// The first character, counted from 0 in characters (Unicode scalar values) of the text.
    pub start: u32,
    /// The character behind the last one.
    pub end: u32,
    /// The label, without its `B-` or `I-`.
    pub label: String,
    /// The mean probability of the labels of its tokens, 0 to 1.
    pub score: f32,
}

/// The reading of an output as labels of tokens.
#[derive(Debug, Clone, PartialEq)]
pub struct Spanner {
    output: usize,
    aggregation: Aggregation,
    outside: String,
    said: String,
}

/// A token with its label.
struct Labelled<'a> {
    place: TokenPlace,
    label: &'a str,
    score: f32,
}

impl Spanner {
    /// Resolves an answer against the outputs of a graph, with the names of classes.
    ///
    /// # Errors
    /// A sentence that says what was found, and what to write.
    pub fn resolve(answer: &SpansAnswer, graph: &Signature, labels: &[String]) -> Result<Self, String> {
        let is_possible = |spec: &TensorSpec| spec.dtype.is_float() && spec.shape.len() == 3;
        let listed = || {
            let all = graph.outputs.iter().map(|spec| format!("\"{}\" {}", spec.name, spec.shape_text()));
            all.collect::<Vec<_>>().join(", ")
        };
        let output = match &answer.output {
            Some(name) => graph.outputs.iter().position(|spec| spec.name == *name),
            None => graph.outputs.iter().position(is_possible),
        };
        let missing =
            || format!("no output [texts, tokens, labels] of floats holds labels of tokens; there are: {}", listed());
        let output = output.filter(|output| is_possible(&graph.outputs[*output])).ok_or_else(missing)?;
        let spec = &graph.outputs[output];
        if let Some(Dim::Fixed(classes)) = spec.shape.last()
            && *classes != labels.len()
        {
            return Err(format!(
                "output \"{}\" has {classes} labels for each token, and {} are named; name them by labels, labels_file or id2label in config.json",
                spec.name,
                labels.len()
            ));
        }
        let outside = answer.outside.clone().unwrap_or_else(|| OUTSIDE.to_owned());
        let aggregation = answer.aggregation.unwrap_or_default();
        let way = match aggregation {
            Aggregation::Simple => "neighbours of one kind are a span",
            Aggregation::First => "neighbouring words of one kind are a span, a word has the label of its first token",
            Aggregation::None => "each token is a span",
        };
        let said = format!("output \"{}\" holds labels of tokens; {way}; \"{outside}\" is none", spec.name);
        Ok(Self { output, aggregation, outside, said })
    }

    /// Returns the sentence that says what is read how.
    pub fn said(&self) -> &str {
        &self.said
    }

    /// Returns the spans of a text.
    ///
    /// # Errors
    /// [`Fault`] for NaN and infinities, and for an output that is not as said.
    pub fn spans(
        &self,
        outputs: &[SampleOutput<'_>],
        facts: &TextFacts,
        labels: &[String],
    ) -> Result<Vec<Span>, Fault> {
        let output = outputs[self.output];
        let [tokens, classes] = *output.shape else {
            return Err(Fault::Misfit(format!("the labels of tokens have the shape {:?}", output.shape)));
        };
        if tokens != facts.places.len() || classes != labels.len() || classes == 0 {
            let (places, labels) = (facts.places.len(), labels.len());
            return Err(Fault::Misfit(format!("{tokens} tokens of {classes} labels, expected {places} of {labels}")));
        }
        let mut found = Vec::new();
        for (row, place) in output.data.chunks_exact(classes).zip(&facts.places) {
            let Some(place) = *place else { continue };
            if row.iter().any(|logit| !logit.is_finite()) {
                return Err(Fault::NotFinite);
            }
            let shares = Squash::Softmax.confidences(row);
            let best = (0..classes).rev().max_by(|a, b| shares[*a].total_cmp(&shares[*b])).unwrap_or_default();
            found.push(Labelled { place, label: &labels[best], score: shares[best] });
        }
        Ok(match self.aggregation {
            Aggregation::None => self.alone(&found),
            Aggregation::Simple => self.joined(&found, labels),
            Aggregation::First => self.joined(&words(found), labels),
        })
    }

    fn alone(&self, found: &[Labelled<'_>]) -> Vec<Span> {
        let inside = found.iter().filter(|token| token.label != self.outside);
        let span = |token: &Labelled<'_>| Span {
            start: token.place.start,
            end: token.place.end,
            label: token.label.to_owned(),
            score: token.score,
        };
        inside.map(span).collect()
    }

    /// Joins neighbours of one kind, unless a label begins another span or the label before ended one.
    fn joined(&self, found: &[Labelled<'_>], labels: &[String]) -> Vec<Span> {
        let mut spans: Vec<Span> = Vec::new();
        let (mut scores, mut is_open) = (Vec::new(), false);
        for token in found {
            if token.label == self.outside {
                is_open = false;
                continue;
            }
            let (begins, ends, kind) = place_in_span(token.label, labels);
            match spans.last_mut().filter(|span| is_open && !begins && span.label == kind) {
                Some(span) => {
                    scores.push(token.score);
                    span.end = token.place.end;
                    span.score = scores.iter().sum::<f32>() / scores.len() as f32;
                }
                None => {
                    scores = vec![token.score];
                    let TokenPlace { start, end, .. } = token.place;
                    spans.push(Span { start, end, label: kind.to_owned(), score: token.score });
                }
            }
            is_open = !ends;
        }
        spans
    }
}

/// Returns whether a label begins a span, whether it ends one, and the kind of the span. Other letters than `B` and `I` are
/// such words only in a set of labels that has one of these for the same kind: `S-CORP` alone is a name.
fn place_in_span<'a>(label: &'a str, labels: &[String]) -> (bool, bool, &'a str) {
    let is_kind = |kind: &str| {
        let is_of_kind = |label: &String| matches!(label.split_once('-'), Some(("B" | "I", other)) if other == kind);
        labels.iter().any(is_of_kind)
    };
    match label.split_once('-') {
        Some(("B", kind)) => (true, false, kind),
        Some(("I", kind)) => (false, false, kind),
        Some(("S" | "U", kind)) if is_kind(kind) => (true, true, kind),
        Some(("E" | "L", kind)) if is_kind(kind) => (false, true, kind),
        _ => (false, false, label),
    }
}

/// Joins the tokens of each word, which gets the label and the score of its first one.
fn words(found: Vec<Labelled<'_>>) -> Vec<Labelled<'_>> {
    let mut words: Vec<Labelled<'_>> = Vec::with_capacity(found.len());
    for token in found {
        match words.last_mut().filter(|word| word.place.word.is_some() && word.place.word == token.place.word) {
            Some(word) => word.place.end = token.place.end,
            None => words.push(token),
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signature::DType;

    const LABELS: [&str; 4] = ["O", "B-PER", "I-PER", "I-LOC"];

    fn graph(classes: usize) -> Signature {
        let dim = |name: &str| Dim::Symbol(name.into());
        let shape = vec![dim("N"), dim("L"), Dim::Fixed(classes)];
        let logits = TensorSpec { name: "logits".into(), dtype: DType::Float32, shape };
        Signature { inputs: Vec::new(), outputs: vec![logits] }
    }

    fn labels() -> Vec<String> {
        LABELS.iter().map(|label| (*label).to_owned()).collect()
    }

    /// Returns the spans of tokens of these classes, of which each pair is a word, as `start..end label`.
    fn spans(aggregation: Aggregation, classes: &[Option<usize>]) -> Vec<String> {
        let answer = SpansAnswer { aggregation: Some(aggregation), ..SpansAnswer::default() };
        let spanner = Spanner::resolve(&answer, &graph(4), &labels()).unwrap();
        let place = |(at, class): (u32, &Option<usize>)| {
            class.map(|_| TokenPlace { start: 2 * at, end: 2 * at + 1, word: Some(at / 2) })
        };
        let facts = TextFacts {
            kept: vec![true; classes.len()],
            truncated: false,
            places: (0..).zip(classes).map(place).collect(),
        };
        let mut data = Vec::new();
        for class in classes {
            data.extend((0..4).map(|other| if Some(other) == *class { 10.0 } else { 0.0 }));
        }
        let output = SampleOutput { shape: &[classes.len(), 4], data: &data };
        let found = spanner.spans(&[output], &facts, &labels()).unwrap();
        assert!(found.iter().all(|span| span.score > 0.99));
        found.iter().map(|span| format!("{}..{} {}", span.start, span.end, span.label)).collect()
    }

    #[test]
    fn neighbours_of_one_kind_are_a_span_and_special_tokens_none() {
        let tokens = [None, Some(1), Some(2), Some(0), Some(1), Some(1), Some(3), None];
        assert_eq!(spans(Aggregation::Simple, &tokens), ["2..5 PER", "8..9 PER", "10..11 PER", "12..13 LOC"]);
        assert_eq!(spans(Aggregation::Simple, &[Some(2), Some(2), Some(0), Some(2)]), ["0..3 PER", "6..7 PER"]);
        let each = ["2..3 B-PER", "4..5 I-PER", "8..9 B-PER", "10..11 B-PER", "12..13 I-LOC"];
        assert_eq!(spans(Aggregation::None, &tokens), each);
        assert_eq!(spans(Aggregation::First, &[Some(1), Some(0), Some(2), Some(3)]), ["0..7 PER"]);
        assert_eq!(spans(Aggregation::Simple, &[Some(0), None]), [""; 0]);
    }

    #[test]
    fn letters_of_labels_are_places_in_a_span_only_beside_b_or_i() {
        let set = |labels: &[&str]| labels.iter().map(|label| (*label).to_owned()).collect::<Vec<_>>();
        let iobes = set(&["O", "B-PER", "I-PER", "E-PER", "S-PER"]);
        assert_eq!(place_in_span("S-PER", &iobes), (true, true, "PER"));
        assert_eq!(place_in_span("E-PER", &iobes), (false, true, "PER"));
        assert_eq!(place_in_span("I-PER", &iobes), (false, false, "PER"));
        assert_eq!(place_in_span("E-MAIL", &set(&["O", "E-MAIL"])), (false, false, "E-MAIL"));
        assert_eq!(place_in_span("B-LOC", &iobes), (true, false, "LOC"));
        let spanner = Spanner::resolve(&SpansAnswer::default(), &graph(5), &iobes).unwrap();
        let token =
            |at: u32, label| Labelled { place: TokenPlace { start: at, end: at + 1, word: None }, label, score: 1.0 };
        let found = spanner.joined(&[token(0, "B-PER"), token(1, "E-PER"), token(2, "I-PER")], &iobes);
        let places: Vec<_> = found.iter().map(|span| (span.start, span.end)).collect();
        assert_eq!(places, [(0, 2), (2, 3)], "what ends a span is closed");
    }

    #[test]
    fn outputs_that_are_no_labels_are_refused() {
        let resolve = |answer: &SpansAnswer, classes| Spanner::resolve(answer, &graph(classes), &labels());
        assert!(resolve(&SpansAnswer::default(), 5).unwrap_err().contains("5 labels for each token, and 4 are named"));
        let named = SpansAnswer { output: Some("y".into()), ..SpansAnswer::default() };
        assert!(resolve(&named, 4).unwrap_err().contains("\"logits\" [N, L, 4]"));
        let spanner = resolve(&SpansAnswer::default(), 4).unwrap();
        let facts =
            TextFacts { places: vec![Some(TokenPlace { start: 0, end: 1, word: None })], ..TextFacts::default() };
        let of = |shape: &[usize], data: &[f32]| spanner.spans(&[SampleOutput { shape, data }], &facts, &labels());
        assert_eq!(of(&[1, 4], &[0.0, f32::NAN, 0.0, 0.0]), Err(Fault::NotFinite));
        assert!(matches!(of(&[2, 4], &[0.0; 8]), Err(Fault::Misfit(_))));
    }
}
