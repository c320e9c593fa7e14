//! What the server itself writes: the audit trail, and a database of predictions, of what was right, and of the sums
//! that follow from both.
//!
//! [`Store`] owns the one thread that writes. It takes commands from one bounded queue, commits what it finds there
//! together, and answers only after the commit: what is acknowledged is on disk. The same SQL runs on SQLite, in a file
//! of the state folder, and on PostgreSQL, which several servers may share. Predictions are kept in blocks
//! ([`Row`]), because a row of a table for each would cost more than the prediction of a small model.

mod audit;
mod background;
mod block;
mod database;
mod erase;
mod fault;
mod feedback;
mod find;
mod input;
mod join;
mod labelling;
mod lock;
mod maintenance;
mod promise;
mod promised;
mod quality;
mod receipt;
mod retention;
mod sampling;
mod schema;
mod session;
mod settings;
mod state_file;
#[cfg(test)]
mod strain;
mod trail;
mod truth;
mod version;
mod writer;

pub use audit::{AuditEntry, AuditedAlarm};
pub use background::stand_back;
pub use block::{Kept, Row};
pub use erase::{Erased, KeptFeedback, KeptOutcome, KeptPrediction, PredictionQuery};
pub use feedback::{Claim, Content, Feedback, Joined, Origin, Verdict};
pub use input::{CapturedInput, Charge, InputBudget, InputLimits};
pub use labelling::{Labelling, LabellingQuery, ToLabel};
pub use maintenance::{Checkup, Maintenance, Part};
pub use promise::{Level, MAX_SET_CLASSES, Promise, PromiseSums, Promises, Term};
pub use quality::{Confusion, QualityQuery, Sums, VersionQuality, Window};
pub use receipt::{Receipt, ReceiptKeys};
pub use sampling::KeptShare;
pub use settings::{Logged, StoreSettings};
pub use state_file::StateFile;
pub use trail::Audit;
pub use version::{Answers, KnownVersion};
pub use writer::Store;
