//! The bodies of `/feedback`.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use utoipa::{IntoResponses, ToSchema};

use crate::api::problem::Problem;
use crate::error::{Error, Result, kept_in_words};
use crate::ids::{ModelName, RequestId, hexadecimal, quote};
use crate::stats::Inclusion;
use crate::store::{Claim, Content, Feedback, Joined, Origin, Verdict};

/// The truth about one sample: exactly one of `label`, `correct`, `value` and `retract`.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct FeedbackBody {
    /// The identifier of the prediction: the header `x-request-id` of its answer, which is also in the body of `/predict`
    /// and in the `id` of the Open Inference Protocol.
    /// May be left out where there is a receipt.
    #[schema(example = "01998a5e-77a0-7ccc-8bd6-ca5d4b67dd36")]
    request_id: Option<String>,
    /// The header `x-weir-receipt` of the answer, which is given to requests with the header `x-weir-receipt: 1`. With it
    /// the label is taken although no record of the prediction is kept.
    receipt: Option<String>,
    /// The place of the sample in the request, from 0.
    #[serde(default)]
    item: u32,
    /// Its class: the index as a number, or the label as a string.
    label: Option<LabelBody>,
    /// True if the answer was right. Says less than a label: there is no loss without one.
    correct: Option<bool>,
    /// Its number, of a model of numbers.
    value: Option<f64>,
    /// Takes back what this source and annotator said of the sample.
    #[serde(default)]
    retract: bool,
    /// The trust that this deserves; where labels disagree, the more trusted ones decide. Default: user.
    #[serde(default)]
    source: Origin,
    /// Whose label it is, at most 128 bytes; kept as a hash. A newer label of the same source and annotator replaces the
    /// older one, those of several are counted against each other.
    #[serde(default)]
    annotator: String,
    /// When it was found out, RFC 3339. Where the same party says different things, the latest decides; without it, the
    /// last to arrive.
    #[schema(example = "2026-11-28T12:00:00Z")]
    labelled_at: Option<String>,
    /// The probability with which the sample was chosen to be labelled, above 0 and up to 1, as `GET /models/{model}/labelling`
    /// says. Labels that have one correct the accuracy for that choice.
    #[schema(example = 0.25)]
    inclusion: Option<f64>,
    /// The model that answered, where an identifier of your own was used with several.
    model: Option<String>,
}

/// A class.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(untagged, expecting = "label must be the index of a class or its label as a string")]
pub(super) enum LabelBody {
    /// By index.
    Index(u32),
    /// By label.
    Text(String),
}

/// The fate of a piece of feedback.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct FeedbackAnswer {
    /// `joined`: it counts. `duplicate`: it was said before. `superseded`: the same party has said something newer.
    /// `outvoted`: it is kept, and other labels decide. `retracted`: it is taken back. `held`: no such prediction has
    /// been seen yet.
    #[schema(example = "joined")]
    state: &'static str,
    /// The model that answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<String>,
    /// Its version.
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<u64>,
    /// Its answer: the label, or the number as text.
    #[serde(skip_serializing_if = "Option::is_none")]
    predicted: Option<String>,
    /// True if the answer was right, according to this feedback.
    #[serde(skip_serializing_if = "Option::is_none")]
    correct: Option<bool>,
    /// Of held feedback: how long it waits for its prediction, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    until: Option<String>,
}

/// The fate of one piece of feedback, or of many.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub(super) enum FeedbackOutcome {
    /// Of one.
    One(FeedbackAnswer),
    /// Of an array or of lines.
    Many(FeedbackCounts),
}

/// The fates of many pieces of feedback, counted.
#[derive(Debug, Default, Serialize, ToSchema)]
pub(super) struct FeedbackCounts {
    /// Pieces that count.
    joined: u64,
    /// Pieces that were said before.
    duplicate: u64,
    /// Pieces of parties that have said something newer.
    superseded: u64,
    /// Pieces that are kept while other labels decide.
    outvoted: u64,
    /// Samples of which something was taken back.
    retracted: u64,
    /// Pieces whose prediction has not been seen yet.
    held: u64,
    /// Pieces that cannot be used.
    rejected: u64,
    /// Why, for the first hundred of them.
    errors: Vec<FeedbackProblem>,
}

/// A piece of feedback that cannot be used.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct FeedbackProblem {
    /// The line, or the place in the array, from 1.
    line: u64,
    /// What is wrong with it.
    detail: String,
}

/// The most problems that are told.
const MAX_PROBLEMS: usize = 100;

/// The longest name of an annotator.
const MAX_ANNOTATOR: usize = 128;

impl FeedbackBody {
    /// Returns the feedback that the body means.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] saying which field is wrong; that of `open`, which reads receipts.
    pub(super) fn parse(self, open: impl FnOnce(&str) -> Result<Claim>) -> Result<Feedback> {
        let invalid = |text: String| Err(Error::InvalidInput(text));
        let claim = self.receipt.as_deref().map(open).transpose()?;
        let request_id = named(self.request_id, claim.as_ref())?;
        if let Some(model) = &self.model {
            model.parse::<ModelName>()?;
        }
        if self.annotator.len() > MAX_ANNOTATOR {
            return invalid(format!("annotator may have {MAX_ANNOTATOR} bytes, got {}", self.annotator.len()));
        }
        let said = [self.label.is_some(), self.correct.is_some(), self.value.is_some(), self.retract];
        let content = match (self.label, self.correct, self.value, self.retract) {
            (Some(LabelBody::Index(class)), None, None, false) => Content::Class(class),
            (Some(LabelBody::Text(label)), None, None, false) => Content::Label(label),
            (None, Some(correct), None, false) => Content::Correct(correct),
            (None, None, Some(value), false) => Content::Value(value),
            (None, None, None, true) => Content::Retract,
            _ => {
                let given = said.iter().filter(|said| **said).count();
                return invalid(format!("expected exactly one of label, correct, value and retract, got {given}"));
            }
        };
        let time = |text: String| match text.parse::<jiff::Timestamp>() {
            Ok(time) => Ok(time.as_microsecond()),
            Err(_) => Err(Error::InvalidInput(format!("labelled_at is no time of RFC 3339: {}", quote(&text)))),
        };
        Ok(Feedback {
            request_id,
            item: self.item,
            model: self.model,
            content,
            source: self.source,
            annotator: hashed(&self.annotator),
            labelled_at: self.labelled_at.map(time).transpose()?,
            inclusion: self.inclusion.map(inclusion).transpose()?,
            claim: claim.map(Box::new),
        })
    }
}

/// Returns the probability with which a sample was chosen.
fn inclusion(probability: f64) -> Result<Inclusion> {
    Inclusion::new(probability).ok_or_else(|| {
        Error::InvalidInput(format!("inclusion must be a probability above 0 and up to 1, got {probability}"))
    })
}

/// Returns the identifier of the prediction that is meant.
fn named(request_id: Option<String>, claim: Option<&Claim>) -> Result<String> {
    let invalid = |text: String| Err(Error::InvalidInput(text));
    match (request_id, claim.map(|claim| &claim.receipt.request_id)) {
        (Some(request_id), _) if RequestId::from_client(request_id.as_bytes()).is_none() => {
            invalid(format!("request_id is no identifier of a request: {}", quote(&request_id)))
        }
        (Some(request_id), Some(of_receipt)) if request_id != *of_receipt => invalid(format!(
            "request_id is {}, and the receipt is of another request, {}: send one of them",
            quote(&request_id),
            quote(of_receipt)
        )),
        (Some(request_id), _) => Ok(request_id),
        (None, Some(of_receipt)) => Ok(of_receipt.clone()),
        (None, None) => Err(Error::Malformed(
            "the feedback names no prediction: expected the field request_id, or a receipt".into(),
        )),
    }
}

/// Returns what stands for an annotator, whose name is not kept.
fn hashed(annotator: &str) -> String {
    if annotator.is_empty() {
        return String::new();
    }
    hexadecimal(&Sha256::digest(annotator)[..12])
}

impl FeedbackAnswer {
    /// Returns the answer to one piece, and true if it is only held.
    ///
    /// # Errors
    /// The reason why it cannot be used.
    pub(super) fn of(verdict: Verdict) -> Result<(Self, bool)> {
        let empty = Self { state: "held", model: None, version: None, predicted: None, correct: None, until: None };
        let known = |state, joined: Joined| Self {
            state,
            model: Some(joined.model),
            version: Some(joined.version),
            predicted: joined.predicted,
            correct: joined.correct,
            until: None,
        };
        Ok(match verdict {
            Verdict::Joined(joined) => (known("joined", joined), false),
            Verdict::Duplicate(joined) => (known("duplicate", joined), false),
            Verdict::Superseded(joined) => (known("superseded", joined), false),
            Verdict::Outvoted(joined) => (known("outvoted", joined), false),
            Verdict::Retracted(joined) => (known("retracted", joined), false),
            Verdict::Held(until) => {
                let until = jiff::Timestamp::from_microsecond(until).ok().map(|until| until.to_string());
                (Self { until, ..empty }, true)
            }
            Verdict::Rejected(error) => return Err(error),
        })
    }
}

impl FeedbackCounts {
    /// Counts a piece that stood on this line.
    pub(super) fn count(&mut self, line: u64, verdict: Verdict) {
        match verdict {
            Verdict::Joined(_) => self.joined += 1,
            Verdict::Duplicate(_) => self.duplicate += 1,
            Verdict::Superseded(_) => self.superseded += 1,
            Verdict::Outvoted(_) => self.outvoted += 1,
            Verdict::Retracted(_) => self.retracted += 1,
            Verdict::Held(_) => self.held += 1,
            Verdict::Rejected(error) => {
                self.rejected += 1;
                if self.errors.len() < MAX_PROBLEMS {
                    self.errors.push(FeedbackProblem { line, detail: error.to_string() });
                }
            }
        }
    }

    /// Returns the error of a body of which nothing more can be taken: the store says that nothing was kept, which is not so
    /// where earlier pieces were.
    pub(super) fn interrupted_by(&self, error: Error) -> Error {
        let kept = self.joined + self.duplicate + self.superseded + self.outvoted + self.retracted + self.held;
        if kept == 0 {
            return error;
        }
        match error {
            Error::StorageFull { cause, .. } => Error::StorageFull { kept, cause },
            Error::NotReady { reason } => {
                let cause = reason.trim_end_matches("; nothing was kept");
                Error::NotReady { reason: format!("{cause}; {}; send all of it again later", kept_in_words(kept)) }
            }
            other => other,
        }
    }

    /// Puts the problems in the order of their lines.
    pub(super) fn sorted(mut self) -> Self {
        self.errors.sort_by_key(|problem| problem.line);
        self
    }
}

/// The ways in which feedback can fail.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "describes the failures in the document; they are made from errors")]
pub(super) enum FeedbackFailure {
    #[response(status = 400, description = "The request cannot be read", content_type = "application/problem+json")]
    Malformed(#[to_schema] Problem),
    #[response(
        status = 403,
        description = "Not allowed to this caller by the setting --feedback, or --monitoring is off",
        content_type = "application/problem+json"
    )]
    Forbidden(#[to_schema] Problem),
    #[response(status = 404, description = "Nothing to take back", content_type = "application/problem+json")]
    NotFound(#[to_schema] Problem),
    #[response(
        status = 408,
        description = "The body did not arrive in time",
        content_type = "application/problem+json"
    )]
    SlowClient(#[to_schema] Problem),
    #[response(
        status = 409,
        description = "The identifier was used for several models and the body names none",
        content_type = "application/problem+json"
    )]
    Conflict(#[to_schema] Problem),
    #[response(
        status = 410,
        description = "The prediction is no longer kept",
        content_type = "application/problem+json"
    )]
    Gone(#[to_schema] Problem),
    #[response(status = 413, description = "A limit was exceeded", content_type = "application/problem+json")]
    TooLarge(#[to_schema] Problem),
    #[response(
        status = 415,
        description = "The body is packed in a way that is not known",
        content_type = "application/problem+json"
    )]
    UnsupportedMedia(#[to_schema] Problem),
    #[response(
        status = 422,
        description = "It does not fit the prediction: unknown label, item out of range, no answer",
        content_type = "application/problem+json"
    )]
    Invalid(#[to_schema] Problem),
    #[response(
        status = 503,
        description = "The store cannot be used now; nothing was kept, or of many pieces only so many as the detail says",
        content_type = "application/problem+json"
    )]
    Unavailable(#[to_schema] Problem),
    #[response(
        status = 507,
        description = "The disk is full; nothing was kept, or of many pieces only so many as the detail says",
        content_type = "application/problem+json"
    )]
    Full(#[to_schema] Problem),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_kept_of_a_long_body_is_said() {
        let full = || Error::StorageFull { kept: 0, cause: "the disk is full".into() };
        let busy =
            || Error::NotReady { reason: "the store of predictions: it cannot be reached; nothing was kept".into() };
        let mut counts = FeedbackCounts::default();
        counts.count(1, Verdict::Rejected(Error::Cancelled));
        assert!(matches!(counts.interrupted_by(full()), Error::StorageFull { kept: 0, .. }), "nothing was kept");
        (2..=501).for_each(|line| counts.count(line, Verdict::Held(0)));
        let said = counts.interrupted_by(full()).to_string();
        assert!(said.contains("500 pieces") && said.contains("the disk is full"), "{said}");
        assert!(!said.contains("nothing was kept"), "{said}");
        assert!(
            matches!(counts.interrupted_by(full()), Error::StorageFull { kept: 500, .. }),
            "the answer is still 507"
        );
        let said = counts.interrupted_by(busy()).to_string();
        assert!(said.contains("500 pieces") && said.contains("it cannot be reached"), "{said}");
        assert!(!said.contains("nothing was kept"), "{said}");
    }
}
