//! Transforms bytes into tensors before a model, and tensors into answers after it. Training and serving
//! use the same code.
//!
//! Knows neither wire formats nor engines.

mod alpha;
mod background;
mod centre;
mod container;
mod decode;
#[cfg(test)]
mod draft_tests;
mod elements;
mod encoder;
mod foreign;
mod frame;
mod geometry;
mod grams;
mod hash;
mod image;
mod jpeg;
mod luma;
mod moment;
mod output;
mod parts;
mod picture;
#[cfg(test)]
mod pillow_tests;
mod raster;
mod resample;
mod scaled;
mod sequence;
mod small_png;
mod terms;
pub mod text;
mod tiff_palette;
mod tokens;
pub mod vision;
mod webp_tables;

pub use container::{ACCEPTED, media_type};
pub use decode::{ImageLimits, decode, decode_picture, effort, pixels_at_most, size};
pub use elements::LevelTables;
pub use encoder::SequenceEncoder;
pub use foreign::foreign_kind;
pub use geometry::{Geometry, Rect};
pub use grams::{grams, hashed, text_elements, words};
pub use image::{ImageFacts, PolarityChoice, Prepared, append_grey_levels, append_image, append_levels, prepare};
pub use luma::Luma;
pub use moment::days;
pub use output::{Classification, ScoredClass, Squash, classify};
pub use parts::{ColumnPart, InputParts};
pub use picture::Picture;
pub use raster::Raster;
pub use sequence::{Parsed, Sequence, SequenceBuilder, StepResult, single};
pub use tokens::{is_spaceless, split};
