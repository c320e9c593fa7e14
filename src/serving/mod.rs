//! Keeps versions loaded and answers with them: catalog, compute pool, predictor, probe.
//!
//! Every protocol calls the [`Predictor`]; none of them is known here.

mod catalog;
mod check;
mod engines;
mod execute;
mod gather;
mod load;
mod pool;
mod predictor;
mod probe;
mod servable;
mod sessions;

pub use catalog::{Catalog, ModelEntry, State, VersionEntry};
pub use check::Checker;
pub use engines::Candidates;
pub use load::{LoadSettings, load, load_all};
pub use pool::Pool;
pub use predictor::{Predicted, Predictor, PredictorSettings};
pub use probe::run_probes;
pub use servable::{Input, Options, Prediction, Servable};
