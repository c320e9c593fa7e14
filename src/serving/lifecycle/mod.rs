//! The life of versions: found, checked, loaded, verified, measured, probed, unloaded.

mod agreement;
mod check;
mod class_maps;
mod companion;
mod comparison;
mod contract;
mod engines;
mod examples;
mod graphs;
mod load;
mod manager;
mod policy;
mod probe;
mod reference;
mod rehearsal;
mod text;
mod triton;
mod tuner;
mod tuning_store;
mod verify;
mod vision;
mod warm;

pub use check::Checker;
pub use engines::Candidates;
pub use graphs::LoadSettings;
pub use load::load;
pub use manager::{Manager, ManagerParts, Pointed};
pub use probe::run_probes;
pub use rehearsal::rehearse;
pub use tuner::Tuner;
pub use tuning_store::TuningStore;
