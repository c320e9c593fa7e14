//! Transforms bytes into tensors before a model, and tensors into answers after it. Training and serving
//! use the same code.
//!
//! Knows neither HTTP nor engines.

mod background;
mod centre;
mod container;
mod elements;
mod encoder;
mod image;
mod luma;
mod numbers;
mod output;
mod picture;
mod sequence;
mod small_png;
mod tokens;
mod words;

pub use elements::{BASE64_KEY, Base64, Level};
pub use encoder::SequenceEncoder;
pub use image::{ImageLimits, PolarityChoice, Prepared, decode, pixels_at_most, prepare};
pub use luma::Luma;
pub use numbers::{Accepts, Nested, NestedSeed, Stack};
pub use output::{Classification, ScoredClass, classify};
pub use picture::Picture;
pub use sequence::{Parsed, Sequence, SequenceBuilder, SequenceSeed};
pub use tokens::split;
pub use words::{with_words, word_number};
