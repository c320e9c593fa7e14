//! Keeps versions loaded and answers with them: manager, catalog, compute pool, predictor,
//! probe.
//!
//! Every protocol calls the [`Predictor`]; none of them is known here.

mod admission;
mod batch;
mod cache;
mod catalog;
mod check;
mod context;
mod engines;
mod execute;
mod gather;
mod generator;
mod lane;
mod lanes;
mod load;
mod manager;
mod policy;
mod pool;
mod predictor;
mod probe;
mod reconstruction;
mod request;
mod rival;
mod servable;
mod sessions;
mod statistics;
mod tap;
mod triton;
mod tuner;
mod tuning;
mod tuning_store;
mod verify;
mod work;

pub use catalog::{Catalog, ModelEntry, State, VersionEntry};
pub use check::Checker;
pub use context::{Caller, DEFAULT_PRIORITY, Deadline, Protocol, RequestContext, RequestHints, TraceParent};
pub use engines::Candidates;
pub use generator::Generator;
pub use load::{LoadSettings, load};
pub use manager::{Manager, ManagerParts, Pointed};
pub use pool::Pool;
pub use predictor::{Inference, Predicted, Predictor, PredictorSettings};
pub use probe::run_probes;
pub use servable::{Input, LiveQuality, LossKind, Options, Prediction, Servable};
pub use statistics::{RunStatistics, Snapshot, Statistics, Timed};
pub use tap::{Finished, Observer};
pub use tuner::Tuner;
pub use tuning::{BatchCost, Tuning, TuningStage};
pub use tuning_store::TuningStore;
