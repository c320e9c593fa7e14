//! Keeps versions loaded and answers with them: manager, catalog, compute pool, predictor,
//! probe.
//!
//! Every protocol calls the [`Predictor`]; none of them is known here.

mod catalog;
mod execute;
mod gather;
mod load;
mod manager;
mod policy;
mod pool;
mod predictor;
mod probe;
mod servable;
mod sessions;

pub use catalog::{Catalog, ModelEntry, State, VersionEntry};
pub use load::{LoadSettings, load};
pub use manager::{Manager, ManagerParts, Pointed};
pub use pool::Pool;
pub use predictor::{Predicted, Predictor, PredictorSettings};
pub use probe::run_probes;
pub use servable::{Input, Options, Prediction, Servable};
