//! The model repository: `models/<name>/<version>/{model.onnx, manifest.json, card.md, probe.jsonl}`.
//! Triton's repositories have the same layout, with `config.pbtxt` beside the versions.
//!
//! Training and serving meet here. A `model.onnx` alone is enough to be served; the files beside it add to it. This
//! area knows files and nothing of engines.

mod aliases;
mod digest;
mod fingerprint;
mod graph;
mod layout;
mod look;
mod manifest;
mod names;
mod overrides;
mod publish;
mod reading;
mod said;
mod seal;
mod settings;
mod source;
mod storage;
mod tables;
pub mod triton;
mod version;
mod vouching;

pub use aliases::{ALIASES_FILE, Alias, AliasStore, Aliases};
pub use digest::{sha256_hex, sha256_of_file};
pub use fingerprint::{Fingerprint, Marks};
pub use graph::Graph;
pub use layout::{FoundVersion, Problem, Scan, scan};
pub use look::{Found, FoundModel, Look};
pub use manifest::{
    Abstention, CalibrationProvenance, ClassificationQuality, ColumnReference, Companion, CompanionRole, ConformalSet,
    DataProvenance, DriftReference, Example, FileEntry, Golden, GoldenAnswer, GoldenReconstruction, GuardReference,
    INTENSITIES, MANIFEST_FILE, MANIFEST_SCHEMA, Manifest, MarginReference, Parity, ProbeSample, Quality,
    ReconstructionQuality, RegressionQuality, Stream, StreamDistribution, TrainingProvenance, Truth,
};
pub use names::{CARD_FILE, MODEL_FILE, PROBE_FILE, REFERENCE_FILE, TOKENIZER_FILE, TOKENIZER_SIDE_FILES};
pub use overrides::{Choice, Overrides};
pub use publish::{Check, Publication, publish, publish_reference};
pub use reading::{
    ColourChoice, DataFormat, FitChoice, PictureChoice, PixelColumns, ReadSettings, TaskChoice, parse_character,
    parse_size,
};
pub use seal::{Sealed, check_seal, seal};
pub use settings::{ModelSettings, SETTINGS_FILE};
pub use source::{Looked, Origin, Source};
pub use storage::{Files, Storage};
pub use tables::Versions;
pub use version::{CompanionFile, TokenizerFiles, VersionFiles};
pub use vouching::{SUMS_FILE, Signed, Trust, TrustFile};
