//! From labelled data to a published version: dataset → fit → export → parity → evaluation → publish.
//!
//! Knows nothing of serving; the two meet in the repository.

mod answers;
mod augment;
pub mod batches;
mod calibrate;
mod card;
mod curves;
mod custom_network;
pub mod dataset;
mod evaluate;
mod events;
mod examples;
mod export;
mod fit;
mod head;
mod images;
mod inspect;
mod kernels;
mod learner;
mod linear_path;
mod lr_find;
mod members;
mod network;
mod optimizer;
mod parity;
mod permutation;
mod prepared;
mod presets;
mod progress;
mod random;
mod recipe;
mod reference;
mod regime;
mod release;
mod request;
mod ridge;
mod run_dir;
mod runs;
mod schedule;
mod sequential;
mod tabular;
mod tasks;
mod train;
mod tune;
mod weights;

pub use answers::{Answer, Answerer};
pub use augment::Augment;
pub use calibrate::{CalibrateOutcome, Calibrated, calibrate};
pub use dataset::{
    DEFAULT_DATA_MEMORY, DataOptions, DataSource, Dataset, Expected, Fault, FaultKind, Faults, PartChoice, SampleKind,
    Split, Targets,
};
pub use evaluate::{read_for, read_unlabelled, task_of};
pub use export::to_onnx;
pub use fit::{Checkpoint, Ending, FitSettings, FitState, fit};
pub use head::{BackboneChoice, Pool, Solver};
pub use inspect::{
    ColumnFigures, Duplicate, Duplicates, Figures, Inspection, Lengths, Part, PictureFigures, SequenceFigures,
    TokenFigures, inspect,
};
pub use learner::Learner;
pub use lr_find::{Sweep, SweepPlan, SweepPoint, lr_find};
pub use network::{Network, Parameter};
pub use optimizer::Optimizer;
pub use permutation::{ColumnImportance, Compared, IMPORTANCE_REPEATS, PermutationImportance, permutation_importance};
pub use prepared::PreparedData;
pub use presets::{Family, Learns, PRESETS, Preset, Sizes, preset};
pub use progress::{EpochReport, Score, Snapshot, StepReport, Watch};
pub use recipe::{Override, new_settings, read_settings, resolve};
pub use reference::{Guard, REFERENCE_SAMPLES, REFERENCE_SEED, ReferenceData, Taken, reference_of};
pub use regime::Regime;
pub use request::{TaskOptions, TrainRequest};
pub use run_dir::RunDir;
pub use runs::{
    BestFigures, EpochFigures, PublishedAs, RunDetail, RunKind, RunList, RunState, RunSummary, Runs, TrialFigures,
};
pub use schedule::Schedule;
pub use tasks::classification::{
    ClassificationReport, Classifier, Evaluated, ShownMistake, confusions, evaluate_version, label,
};
pub use tasks::reconstruction::{Autoencoder, Importance, ReconstructionReport, evaluate_autoencoder};
pub use tasks::regression::{EvaluatedNumbers, RegressionReport, Regressor, evaluate_numbers};
pub use tasks::{Model, TaskReport};
pub use train::{Begin, TrainOutcome, rehearse, train};
pub use tune::{Dimension, Objective, Outcome, Sampler, Trial, TunePlan, TuneWatch, Tuned, resume_tune, tune};
pub use weights::ClassWeights;
