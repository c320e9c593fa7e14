//! The model repository: `models/<name>/<version>/{model.onnx, manifest.json, card.md, probe.jsonl}`.
//! Triton's repositories have the same layout, with `config.pbtxt` beside the versions.
//!
//! Where training and serving meet. A `model.onnx` alone is enough to be served; the files beside
//! it refine. Knows files and nothing of engines.

mod aliases;
mod fingerprint;
mod layout;
mod look;
mod manifest;
mod overrides;
mod publish;
mod reading;
mod serving_settings;
mod settings;
mod source;
pub mod triton;
mod version;

pub use aliases::{ALIASES_FILE, Alias, AliasStore, Aliases};
pub use fingerprint::{Fingerprint, Marks};
pub use layout::{FoundVersion, Problem, Scan, scan};
pub use look::{Found, FoundModel, Look};
pub use manifest::{
    CalibrationProvenance, ClassificationQuality, Companion, CompanionRole, DataProvenance, DriftReference, Example,
    FileEntry, Golden, GoldenAnswer, GoldenReconstruction, INTENSITIES, MANIFEST_FILE, MANIFEST_SCHEMA, Manifest,
    Parity, ProbeSample, Quality, ReconstructionQuality, RegressionQuality, TrainingProvenance, Truth,
};
pub use overrides::{Choice, Overrides};
pub use publish::{Publication, publish};
pub use reading::{DataFormat, ReadSettings, TaskChoice, parse_size};
pub use settings::{ModelSettings, SETTINGS_FILE, Versions};
pub use source::{Looked, Origin, Source};
pub use version::{CARD_FILE, CompanionFile, MODEL_FILE, PROBE_FILE, VersionFiles, sha256_hex, sha256_of_file};
