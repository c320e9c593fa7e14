//! What a client says about a prediction afterwards, and what becomes of it.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::receipt::Receipt;
use super::version::KnownVersion;
use crate::error::Error;
use crate::stats::Inclusion;

/// What was right about one sample.
#[derive(Debug, Clone, PartialEq)]
pub struct Feedback {
    /// The identifier that the response carried: the server's or the caller's own.
    pub request_id: String,
    /// The place of the sample in the request.
    pub item: u32,
    /// The model that answered, where an identifier of the caller's own may mean several.
    pub model: Option<String>,
    /// What is said.
    pub content: Content,
    /// How far it is to be trusted.
    pub source: Origin,
    /// Who says it; empty if that does not matter.
    pub annotator: String,
    /// When it was found out, in microseconds since 1970.
    pub labelled_at: Option<i64>,
    /// The probability with which the sample was chosen to be labelled, if that is known.
    pub inclusion: Option<Inclusion>,
    /// The answer that it is about, as a receipt has it, for where no record of it is kept.
    pub claim: Option<Box<Claim>>,
}

/// An answer as a receipt has it.
#[derive(Debug, Clone, PartialEq)]
pub struct Claim {
    /// The receipt.
    pub receipt: Receipt,
    /// The version, if it serves here.
    pub version: Option<KnownVersion>,
}

/// What is said of a sample.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Content {
    /// Its class, by index.
    Class(u32),
    /// Its class, by label.
    Label(String),
    /// The answer was correct, or was not.
    Correct(bool),
    /// Its number.
    Value(f64),
    /// What was said before is taken back.
    Retract,
}

/// How far a label is to be trusted, least first. Where labels disagree, the more trusted ones decide.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize, utoipa::ToSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// A rule or another model.
    Weak,
    /// Somebody who uses the answers.
    #[default]
    User,
    /// Somebody who knows.
    Expert,
    /// Beyond doubt.
    Gold,
}

impl Origin {
    pub(super) const ALL: [Self; 4] = [Self::Weak, Self::User, Self::Expert, Self::Gold];

    pub(super) fn code(self) -> i64 {
        self as i64
    }

    pub(super) fn of_code(code: i64) -> Self {
        usize::try_from(code).ok().and_then(|code| Self::ALL.get(code).copied()).unwrap_or_default()
    }
}

/// What became of a piece of feedback.
#[derive(Debug)]
pub enum Verdict {
    /// It counts.
    Joined(Joined),
    /// The same was said before, and still counts.
    Duplicate(Joined),
    /// The same party has said something newer, which counts.
    Superseded(Joined),
    /// It is kept, but other labels decide, or there is a tie.
    Outvoted(Joined),
    /// What the party said of this sample is taken back.
    Retracted(Joined),
    /// No such prediction has been seen yet; it is kept until this moment, in microseconds since 1970.
    Held(i64),
    /// It cannot be used, for this reason.
    Rejected(Error),
}

/// The prediction that feedback was joined to.
#[derive(Debug, Clone, PartialEq)]
pub struct Joined {
    /// The model that answered.
    pub model: String,
    /// Its version.
    pub version: u64,
    /// The answer as text: a label or a number.
    pub predicted: Option<String>,
    /// Set if the answer was right according to this feedback; `None` for numbers.
    pub correct: Option<bool>,
}

impl Feedback {
    /// Returns what tells this from any other feedback; sent again it is the same.
    pub(super) fn digest(&self) -> Vec<u8> {
        let content = serde_json::to_string(&self.content).unwrap_or_default();
        let mut hash = Sha256::new();
        let fields = [
            self.request_id.as_str(),
            &self.item.to_string(),
            &self.source.code().to_string(),
            &self.annotator,
            &content,
            &self.labelled_at.map(|at| at.to_string()).unwrap_or_default(),
        ];
        for field in fields {
            hash.update((field.len() as u64).to_le_bytes());
            hash.update(field);
        }
        hash.finalize()[..16].to_vec()
    }
}
