//! From labelled data to a published version: dataset → fit → export → parity → evaluation → publish.
//!
//! Knows nothing of serving; the two meet in the repository.

mod augment;
mod autoencoder;
pub mod batches;
mod calibrate;
mod card;
mod checkpoint;
pub mod dataset;
mod evaluate;
mod events;
mod export;
mod fit;
mod images;
mod kernels;
mod learner;
mod lr_find;
mod network;
mod optimizer;
mod parity;
mod plots;
mod presets;
mod recipe;
mod reference;
mod regime;
mod release;
mod report;
mod run_dir;
mod schedule;
mod train;
mod tune;

pub use augment::Augment;
pub use autoencoder::{Autoencoder, AutoencoderReport, Importance, evaluate_autoencoder, is_autoencoder};
pub use calibrate::{CalibrateOutcome, Calibrated, calibrate};
pub use checkpoint::Checkpoint;
pub use dataset::{Dataset, Mnist};
pub use evaluate::{Evaluated, evaluate_version};
pub use export::to_onnx;
pub use fit::{Ending, EpochReport, FitSettings, FitState, Snapshot, StepReport, Watch, fit};
pub use learner::{Learner, Model};
pub use lr_find::{Sweep, SweepPlan, SweepPoint, lr_find};
pub use network::{Network, Parameter};
pub use optimizer::Optimizer;
pub use presets::{PRESETS, Preset, preset};
pub use recipe::{Override, read_settings, resolve};
pub use regime::Regime;
pub use report::{Report, ShownMistake, Subject, confusions, label, percent};
pub use run_dir::RunDir;
pub use schedule::Schedule;
pub use train::{Begin, TrainOutcome, TrainRequest, TrainedReport, rehearse, train};
pub use tune::{Dimension, Objective, Outcome, Sampler, Trial, TunePlan, TuneWatch, Tuned, resume_tune, tune};
