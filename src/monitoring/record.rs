//! What is kept of one answered sample.

use std::sync::Arc;

use uuid::Uuid;

use crate::metrics::Outcome;
use crate::serving::{Finished, Identity, Places, Protocol};
use crate::stats::{Certainty, Moments};
use crate::store::CapturedInput;
use crate::tensor::{Real, Tensor};

/// The greatest number of classes whose probabilities a record keeps.
pub const MAX_PROBABILITIES: usize = 32;

/// One sample of a request: what was asked, and how that ended. A request that was not answered leaves one record.
#[derive(Debug, Clone)]
pub struct Record {
    /// The version that was asked.
    pub version: Arc<Identity>,
    /// The identifier of the request: the one that its response carries, unless that is the caller's own.
    pub id: Uuid,
    /// The identifier that the caller chose, if it did.
    pub client: Option<Arc<str>>,
    /// The place of the sample in the request.
    pub item: u32,
    /// When the request ended, in microseconds since 1970, UTC.
    pub at: i64,
    /// The time that the request took, in microseconds.
    pub total_us: u32,
    /// The protocol that it came by.
    pub protocol: Protocol,
    /// How it ended.
    pub outcome: Outcome,
    /// Set if the response cache had the answer.
    pub cached: bool,
    /// Of an image: whether black and white were exchanged.
    pub inverted: Option<bool>,
    /// The first input, where that is of 32-bit floats.
    pub input: Option<Moments>,
    /// The parts of the first input that mean something by themselves, of which drift is watched; they are not kept.
    pub parts: Option<Box<[f32]>>,
    /// The sample as it came, if it is to be kept.
    pub captured: Option<Box<CapturedInput>>,
    /// The answer.
    pub answer: Answer,
}

/// The part of an answer that figures are made of.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Answer {
    /// There is none, or it has no meaning that is declared.
    None,
    /// A distribution over classes.
    Classified {
        /// The most probable class; of equal ones the first.
        class: u32,
        /// Its probability.
        confidence: f32,
        /// The distance to the second class: of the logits where the graph gives them, else of the logarithms of the
        /// probabilities, which saturate where those round to 0.
        margin: f32,
        /// ln Σ exp(logit), where the graph gives logits.
        energy: Option<f32>,
        /// The number of classes.
        classes: u32,
        /// The probabilities of all classes, if they are no more than [`MAX_PROBABILITIES`].
        probabilities: [f32; MAX_PROBABILITIES],
    },
    /// A number.
    Value(Real),
    /// The score of an autoencoder, in nats.
    Score(f32),
}

// A queue of them is bounded in bytes only because they are.
const _: () = assert!(size_of::<Record>() <= 256);

impl Record {
    /// Returns the records of a finished request: one for each sample that was answered, or one for all.
    pub(super) fn of<'a>(finished: &'a Finished<'a>) -> impl ExactSizeIterator<Item = Self> + 'a {
        let answers = Answers::of(finished);
        let head = Self::head(finished);
        let first = finished.inputs.and_then(|inputs| inputs.first()).filter(|input| input.rows() == answers.count);
        let parts = &finished.servable.identity.parts;
        let mut head = Some(head);
        (0..answers.count).map(move |item| {
            // Most requests have one sample: nothing is copied for it.
            let own = if item + 1 < answers.count { head.clone() } else { head.take() };
            Self {
                item: item as u32,
                inverted: finished.images.get(item).and_then(|facts| facts.inverted),
                input: first.and_then(|input| Moments::of(row(input, item)?)),
                parts: first.and_then(|input| parts.take(row(input, item)?)),
                answer: answers.get(item),
                ..own.unwrap_or_else(|| Self::head(finished))
            }
        })
    }

    fn head(finished: &Finished<'_>) -> Self {
        let id = &finished.context.request_id;
        Self {
            version: finished.servable.identity.clone(),
            id: id.made().unwrap_or_else(Uuid::now_v7),
            client: id.made().is_none().then(|| id.shared()),
            item: 0,
            at: jiff::Timestamp::now().as_microsecond(),
            total_us: u32::try_from(finished.total.as_micros()).unwrap_or(u32::MAX),
            protocol: finished.context.protocol,
            outcome: finished.outcome,
            cached: finished.cached,
            inverted: None,
            input: None,
            parts: None,
            captured: None,
            answer: Answer::None,
        }
    }

    /// Returns the probabilities of all classes, if the record keeps them.
    pub fn probabilities(&self) -> Option<&[f32]> {
        match &self.answer {
            Answer::Classified { classes, probabilities, .. } => probabilities.get(..*classes as usize),
            Answer::None | Answer::Value(_) | Answer::Score(_) => None,
        }
    }
}

/// Returns the energy of each answer of a finished request, where the graph gives logits.
pub(super) fn energies<'a>(finished: &Finished<'a>) -> impl ExactSizeIterator<Item = Option<f32>> + 'a {
    let answers = Answers::of(finished);
    (0..answers.count).map(move |item| match answers.get(item) {
        Answer::Classified { energy, .. } => energy,
        Answer::None | Answer::Value(_) | Answer::Score(_) => None,
    })
}

/// The outputs of a request, by sample.
#[derive(Debug, Clone, Copy)]
struct Answers<'a> {
    count: usize,
    outputs: Option<&'a [Tensor]>,
    places: Places,
}

impl<'a> Answers<'a> {
    fn of(finished: &Finished<'a>) -> Self {
        let places = finished.servable.identity.places;
        let outputs =
            finished.outputs.map(|outputs| outputs.as_slice()).filter(|_| finished.outcome == Outcome::Success);
        let rows = |place: usize| outputs.and_then(|outputs| outputs.get(place)).map(Tensor::rows);
        let count = match places {
            Places::Classes { scores: place, .. } | Places::Number(place) | Places::Score(place) => rows(place),
            Places::Outputs => outputs.map(|_| finished.samples),
        };
        Self { count: count.unwrap_or(1).max(1), outputs, places }
    }

    fn get(self, item: usize) -> Answer {
        self.outputs.and_then(|outputs| answer(outputs, self.places, item)).unwrap_or(Answer::None)
    }
}

fn answer(outputs: &[Tensor], places: Places, item: usize) -> Option<Answer> {
    let of = |place: usize| row(outputs.get(place)?, item);
    match places {
        Places::Classes { scores, squash, logits } => classified(&squash.confidences(of(scores)?), logits.and_then(of)),
        Places::Number(place) => outputs.get(place)?.real(item).map(Answer::Value),
        Places::Score(place) => of(place)?.first().copied().map(Answer::Score),
        Places::Outputs => None,
    }
}

fn row(tensor: &Tensor, item: usize) -> Option<&[f32]> {
    let (width, floats) = (tensor.row_elements(), tensor.floats().ok()?);
    floats.get(item * width..(item + 1) * width)
}

fn classified(shares: &[f32], logits: Option<&[f32]>) -> Option<Answer> {
    let class = crate::stats::argmax(shares);
    let confidence = *shares.get(class)?;
    let mut probabilities = [0.0; MAX_PROBABILITIES];
    if let Some(kept) = probabilities.get_mut(..shares.len()) {
        kept.copy_from_slice(shares);
    }
    let certainty = logits.map_or_else(|| Certainty::of_probabilities(shares), Certainty::of_logits);
    Some(Answer::Classified {
        class: class as u32,
        confidence,
        margin: certainty.margin as f32,
        energy: certainty.energy.map(|energy| energy as f32),
        classes: shares.len() as u32,
        probabilities,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_distribution_gives_class_margin_and_energy() {
        let logits = [1.0f32, 4.0, 3.0];
        let sum: f32 = logits.iter().map(|logit| logit.exp()).sum();
        let shares = logits.map(|logit| logit.exp() / sum);
        let Some(Answer::Classified { class, confidence, margin, energy, classes, probabilities }) =
            classified(&shares, Some(&logits))
        else {
            panic!("a distribution");
        };
        assert_eq!((class, classes, margin), (1, 3, 1.0));
        assert_eq!((confidence, &probabilities[..3]), (shares[1], &shares[..]));
        assert!((energy.unwrap() - sum.ln()).abs() < 1e-6);
        let Some(Answer::Classified { margin, energy: None, .. }) = classified(&shares, None) else {
            panic!("no logits, no energy");
        };
        assert!((margin - 1.0).abs() < 1e-5);
        assert_eq!(classified(&[], None), None);
        let Some(Answer::Classified { margin: 0.0, .. }) = classified(&[1.0], None) else {
            panic!("one class has no rival");
        };
    }

    #[test]
    fn more_classes_than_are_kept_leave_their_number() {
        let shares = [1.0 / 40.0; 40];
        let Some(Answer::Classified { class: 0, classes: 40, probabilities, .. }) = classified(&shares, None) else {
            panic!("the first of equal ones");
        };
        assert_eq!(probabilities, [0.0; MAX_PROBABILITIES]);
    }
}
