//! Keeps versions loaded and answers with them.
//!
//! Four rooms, each of which imports only those before it: `scheduler` decides whose work runs next,
//! `execution` runs graphs, `servable` is a version as clients see it, `lifecycle` brings versions and takes
//! them away. Between the last two are the catalog of what is loaded and the [`Predictor`], which every
//! protocol calls; no protocol is known here. Behind the predictor, an [`Observer`] sees every finished
//! prediction.

mod catalog;
mod comparing;
mod context;
mod execution;
mod explaining;
mod guarding;
mod lifecycle;
mod predictor;
mod scheduler;
mod servable;
mod tap;

pub use catalog::{Catalog, ModelEntry, State, VersionEntry};
pub use comparing::{Agreement, Difference, RightBy};
pub use context::{Caller, DEFAULT_PRIORITY, Deadline, Protocol, RequestContext, RequestHints, TraceParent};
pub use execution::{
    BatchCost, Pool, RunStatistics, Runner, Sharing, Snapshot, Statistics, Timed, Tuning, TuningStage,
};
pub use explaining::{Baseline, Explained, Explaining, Explanation, Logit, UnitKind};
pub use lifecycle::{
    Candidates, Checker, LoadSettings, Manager, ManagerParts, Pointed, Tuner, TuningStore, load, rehearse, run_probes,
};
pub use predictor::{Inference, Predicted, Predictor, PredictorSettings};
pub use servable::{
    Anomaly, ClassArea, Detected, Doubts, Generator, Identity, Input, LiveQuality, LossKind, NamedInputs, Options,
    Painted, Part, Places, Prediction, Segmented, Servable, VisionOptions,
};
pub use tap::{Finished, Observer};
