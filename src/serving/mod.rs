//! Keeps versions loaded and answers with them: manager, catalog, compute pool, predictor,
//! probe.
//!
//! Every protocol calls the [`Predictor`]; none of them is known here.

mod catalog;
mod context;
mod execution;
mod lifecycle;
mod predictor;
mod scheduler;
mod servable;
mod tap;

pub use catalog::{Catalog, ModelEntry, State, VersionEntry};
pub use context::{Caller, DEFAULT_PRIORITY, Deadline, Protocol, RequestContext, RequestHints, TraceParent};
pub use execution::statistics::{RunStatistics, Snapshot, Statistics, Timed};
pub use execution::tuning::{BatchCost, Tuning, TuningStage};
pub use lifecycle::check::Checker;
pub use lifecycle::engines::Candidates;
pub use lifecycle::load::{LoadSettings, load};
pub use lifecycle::manager::{Manager, ManagerParts, Pointed};
pub use lifecycle::probe::run_probes;
pub use lifecycle::tuner::Tuner;
pub use lifecycle::tuning_store::TuningStore;
pub use predictor::{Inference, Predicted, Predictor, PredictorSettings};
pub use scheduler::pool::Pool;
pub use servable::generator::Generator;
pub use servable::{Input, LiveQuality, LossKind, Options, Prediction, Servable};
pub use tap::{Finished, Observer};
