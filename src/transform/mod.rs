//! Transforms bytes into tensors before a model, and tensors into answers after it. Training and serving
//! use the same code.
//!
//! Knows neither wire formats nor engines.

mod alpha;
mod background;
mod centre;
mod container;
mod encoder;
mod foreign;
mod geometry;
mod image;
mod jpeg;
mod luma;
mod output;
mod parts;
mod picture;
mod sequence;
mod small_png;
mod tokens;

pub use container::{ACCEPTED, media_type};
pub use encoder::SequenceEncoder;
pub use foreign::foreign_kind;
pub use geometry::{Geometry, Rect};
pub use image::{ImageLimits, PolarityChoice, Prepared, decode, pixels_at_most, prepare, size};
pub use luma::Luma;
pub use output::{Classification, ScoredClass, classify};
pub use parts::InputParts;
pub use picture::Picture;
pub use sequence::{Parsed, Sequence, SequenceBuilder, StepResult, single};
pub use tokens::split;
