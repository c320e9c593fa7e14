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
mod inspect;
mod kernels;
mod learner;
mod lesson;
mod lr_find;
mod network;
mod optimizer;
mod own;
mod parity;
mod presets;
mod recipe;
mod reference;
mod regime;
mod release;
mod report;
mod run_dir;
mod schedule;
mod sequential;
mod tabular;
mod train;
mod tune;
mod weights;

pub use augment::Augment;
pub use autoencoder::{Autoencoder, AutoencoderReport, Importance, evaluate_autoencoder, is_autoencoder};
pub use calibrate::{CalibrateOutcome, Calibrated, calibrate};
pub use checkpoint::Checkpoint;
pub use dataset::{DEFAULT_DATA_MEMORY, DataOptions, DataSource, Dataset, Fault, Faults, SampleKind, Split, Targets};
pub use evaluate::{Evaluated, EvaluatedNumbers, evaluate_numbers, evaluate_version, read_for};
pub use export::to_onnx;
pub use fit::{Ending, EpochReport, FitSettings, FitState, Snapshot, StepReport, Watch, fit};
pub use inspect::{
    ColumnFigures, Duplicate, Duplicates, Figures, Inspection, Lengths, Part, SequenceFigures, TokenFigures, inspect,
};
pub use learner::{Learner, Model, Score};
pub use lesson::{Lesson, TaskOptions};
pub use lr_find::{Sweep, SweepPlan, SweepPoint, lr_find};
pub use network::{Network, Parameter};
pub use optimizer::Optimizer;
pub use presets::{PRESETS, Preset, preset};
pub use recipe::{Override, read_settings, resolve};
pub use regime::Regime;
pub use report::{RegressionReport, Report, ShownMistake, confusions, label};
pub use run_dir::RunDir;
pub use schedule::Schedule;
pub use train::{Begin, TrainOutcome, TrainRequest, TrainedReport, rehearse, train};
pub use tune::{Dimension, Objective, Outcome, Sampler, Trial, TunePlan, TuneWatch, Tuned, resume_tune, tune};
pub use weights::ClassWeights;
