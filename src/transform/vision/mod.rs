//! Answers of vision models: boxes, class maps, vectors and pictures, made of a graph's outputs for one picture.
//!
//! Everything here is told in the pixels of the picture that was sent. Which output is what, is resolved once against
//! the graph, with a sentence for `GET /models/{model}` that says what was guessed.

mod detection;
mod detector;
mod drawing;
mod embedding;
mod files;
mod font;
mod heat;
mod layout;
mod outputs;
mod painted;
mod palette;
mod segmentation;
mod suppression;

pub use detection::Found;
pub use detector::{Detector, Thresholds};
pub use drawing::Frame;
pub use embedding::Embedder;
pub use heat::heat_map;
pub use outputs::{Fault, GraphOutputs, SampleOutput};
pub use painted::Painter;
pub use segmentation::{ClassMap, NO_CLASS, Segmenter};
