//! From labelled data to a published version: dataset → fit → export → parity → evaluation → publish.
//!
//! Knows nothing of serving; the two meet in the repository.

mod augment;
pub mod batches;
mod card;
mod checkpoint;
pub mod dataset;
mod evaluate;
mod export;
mod fit;
mod kernels;
mod network;
mod optimizer;
mod parity;
mod plots;
mod presets;
mod regime;
mod release;
mod report;
mod run_dir;
mod train;

pub use augment::Augment;
pub use checkpoint::Checkpoint;
pub use dataset::{Dataset, Mnist};
pub use evaluate::evaluate_version;
pub use export::to_onnx;
pub use fit::{EpochReport, FitSettings, FitState, StepReport, Watch, fit};
pub use network::Network;
pub use optimizer::AdamSettings;
pub use presets::{PRESETS, Preset, preset};
pub use regime::{Regime, Schedule};
pub use report::report_markdown;
pub use run_dir::RunDir;
pub use train::{TrainOutcome, TrainRequest, train};
