//! From labels to what is true of a sample, and from that to the figures of its answer.

use super::block::{Kept, Row};
use super::feedback::{Content, Origin};
use super::promise::{Said, SettledAll, settled};
use super::version::{Answers, KnownVersion};
use crate::stats::{Inclusion, brier_nano, loss_nano, nano};

/// The number of steps in one unit of a regression's error.
pub(super) const ERROR_STEPS: f64 = (1u64 << 20) as f64;

/// The largest error in steps: a million units. Sums of millions of them stay within 64 bits.
const MAX_ERROR: f64 = (1u64 << 40) as f64;

/// What a label says, in the terms of the version that answered.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Truth {
    Class(u32),
    Correct(bool),
    Value(f64),
}

/// A label that counts: what it says, how far it is trusted, and its number.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Vote {
    pub(super) truth: Truth,
    pub(super) source: Origin,
    pub(super) seq: i64,
    pub(super) received: i64,
    /// The probability with which its sample was chosen to be labelled, if that is known.
    pub(super) inclusion: Option<Inclusion>,
}

/// The figures of one answer whose truth is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Figures {
    pub(super) truth: Option<i64>,
    pub(super) predicted: Option<i64>,
    pub(super) correct: Option<bool>,
    pub(super) confidence_nano: Option<i64>,
    pub(super) loss_nano: Option<i64>,
    pub(super) brier_nano: Option<i64>,
    /// Predicted less true, in steps.
    pub(super) error: Option<i64>,
    /// What was promised, and whether it was kept.
    pub(super) promises: SettledAll,
    /// The probability with which the sample was chosen to be labelled, if that is known.
    pub(super) inclusion: Option<Inclusion>,
}

/// Returns what a label says of an answer of a version; `None` for what is taken back.
///
/// # Errors
/// The reason why it does not fit, for the client.
pub(super) fn resolve(content: &Content, version: &KnownVersion, row: &Row) -> Result<Option<Truth>, String> {
    let needs =
        |what: &str| Err(format!("model \"{}\" version {} answers with {what}", version.model, version.version));
    let class = match content {
        Content::Retract => return Ok(None),
        Content::Correct(correct) => return Ok(Some(Truth::Correct(*correct))),
        Content::Value(value) => {
            return match version.answers {
                Answers::Numbers if value.is_finite() => Ok(Some(Truth::Value(*value))),
                Answers::Numbers => Err("the value must be finite".into()),
                Answers::Classes => needs("classes: send \"label\", not \"value\""),
                Answers::Others => needs("neither classes nor numbers: send \"correct\""),
            };
        }
        Content::Class(class) => *class,
        Content::Label(label) => version.class_named(label)?,
    };
    match version.answers {
        Answers::Classes => {}
        Answers::Numbers => return needs("numbers: send \"value\", not \"label\""),
        Answers::Others => return needs("neither classes nor numbers: send \"correct\""),
    }
    let Kept::Classified { classes, .. } = row.kept else { return Ok(Some(Truth::Class(class))) };
    if class >= classes {
        return Err(format!(
            "class {class} is out of range: model \"{}\" has the classes 0 to {}",
            version.model,
            classes.saturating_sub(1)
        ));
    }
    Ok(Some(Truth::Class(class)))
}

/// Returns the label that counts among those of a sample: of the most trusted ones that which most say, and of the
/// labels that say so the newest. `None` without labels, and where as many say something else.
///
/// A label says more than that an answer was right or wrong, and decides before it.
pub(super) fn decide(votes: &[Vote]) -> Option<Vote> {
    let most = votes.iter().map(|vote| vote.source).max()?;
    let trusted = || votes.iter().filter(|vote| vote.source == most);
    let says_more = |vote: &&Vote| !matches!(vote.truth, Truth::Correct(_));
    let has_labels = trusted().any(|vote| says_more(&vote));
    let voters: Vec<&Vote> = trusted().filter(|vote| !has_labels || says_more(vote)).collect();
    let count = |truth: Truth| voters.iter().filter(|vote| vote.truth == truth).count();
    let best = voters.iter().max_by_key(|vote| (count(vote.truth), vote.seq))?;
    let is_tied = voters.iter().any(|vote| vote.truth != best.truth && count(vote.truth) == count(best.truth));
    // However the sample came to be chosen, all its labels are of that one sample.
    let known = votes.iter().filter(|vote| vote.inclusion.is_some()).max_by_key(|vote| vote.seq);
    let inclusion = best.inclusion.or(known.and_then(|vote| vote.inclusion));
    (!is_tied).then_some(Vote { inclusion, ..**best })
}

/// Returns the figures of an answer.
pub(super) fn score(row: &Row, truth: Truth) -> Figures {
    let mut figures = Figures { promises: promises(row, truth), ..Figures::default() };
    match (&row.kept, truth) {
        (Kept::Classified { class, confidence, probabilities, .. }, truth) => {
            figures.predicted = Some(i64::from(*class));
            figures.confidence_nano = Some(nano(f64::from(*confidence)));
            match truth {
                Truth::Class(truth) => {
                    figures.truth = Some(i64::from(truth));
                    figures.correct = Some(truth == *class);
                    if let Some(probability) = probabilities.get(truth as usize) {
                        figures.loss_nano = Some(loss_nano(*probability));
                        figures.brier_nano = Some(brier_nano(probabilities, truth as usize));
                    }
                }
                Truth::Correct(correct) => figures.correct = Some(correct),
                Truth::Value(_) => {}
            }
        }
        (Kept::Value(predicted), Truth::Value(truth)) => {
            let steps = (predicted.to_f64() - truth) * ERROR_STEPS;
            figures.error = Some(steps.round().clamp(-MAX_ERROR, MAX_ERROR) as i64);
        }
        (_, Truth::Correct(correct)) => figures.correct = Some(correct),
        (Kept::Value(_) | Kept::Score(_) | Kept::Nothing, Truth::Class(_) | Truth::Value(_)) => {}
    }
    figures
}

/// Returns what was promised of an answer, and whether it was kept.
fn promises(row: &Row, truth: Truth) -> SettledAll {
    let said = match truth {
        Truth::Class(class) => Said::Class(class),
        Truth::Correct(correct) => Said::Correct(correct),
        Truth::Value(_) => return SettledAll::default(),
    };
    match row.kept {
        Kept::Classified { class, .. } => settled(&row.promises, class, said),
        Kept::Value(_) | Kept::Score(_) | Kept::Nothing => SettledAll::default(),
    }
}

/// Returns the answer as text.
pub(super) fn predicted(row: &Row, version: &KnownVersion) -> Option<String> {
    match row.kept {
        Kept::Classified { class, .. } => {
            Some(version.labels.get(class as usize).cloned().unwrap_or_else(|| class.to_string()))
        }
        Kept::Value(value) => Some(value.to_string()),
        Kept::Score(value) => Some(value.to_string()),
        Kept::Nothing => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vote(seq: i64, source: Origin, class: u32) -> Vote {
        Vote { truth: Truth::Class(class), source, seq, received: seq, inclusion: None }
    }

    #[test]
    fn the_most_trusted_decide_then_the_majority_and_a_tie_counts_for_nothing() {
        use Origin::{Expert, Gold, User, Weak};
        for (votes, decided) in [
            (vec![], None),
            (vec![vote(1, User, 3)], Some(3)),
            (vec![vote(1, Gold, 4), vote(2, User, 3), vote(3, User, 3)], Some(4)),
            (vec![vote(1, User, 3), vote(2, User, 3), vote(3, User, 5), vote(4, Weak, 5)], Some(3)),
            (vec![vote(1, Expert, 3), vote(2, Expert, 5)], None),
        ] {
            let found = decide(&votes).map(|vote| vote.truth);
            assert_eq!(found, decided.map(Truth::Class), "{votes:?}");
        }
        let correct = Vote { truth: Truth::Correct(true), ..vote(2, User, 0) };
        assert_eq!(decide(&[vote(1, User, 3), correct, correct]).unwrap().truth, Truth::Class(3));
        assert_eq!(decide(&[correct]).unwrap().truth, Truth::Correct(true));
    }

    #[test]
    fn figures_follow_from_the_kept_answer() {
        let kept = Kept::Classified {
            class: 1,
            confidence: 0.75,
            margin: 1.0,
            energy: None,
            classes: 2,
            probabilities: vec![0.25, 0.75],
        };
        let row = Row::new(uuid::Uuid::nil(), 0, 0, kept);
        let wrong = score(&row, Truth::Class(0));
        assert_eq!((wrong.correct, wrong.loss_nano), (Some(false), Some(nano(-(0.25f64.ln())))));
        assert_eq!(wrong.brier_nano, Some(nano(0.75 * 0.75 * 2.0)));
        let right = score(&row, Truth::Correct(true));
        assert_eq!((right.correct, right.loss_nano, right.truth), (Some(true), None, None));
        let number = Row::new(uuid::Uuid::nil(), 0, 0, Kept::Value(2.5f32.into()));
        assert_eq!(score(&number, Truth::Value(3.0)).error, Some(-(1 << 19)));
        assert_eq!(score(&number, Truth::Value(1e300)).error, Some(-(1 << 40)));
    }
}
