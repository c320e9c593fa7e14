//! Named recipes.

use crate::error::{Error, Result};
use crate::layers::{Architecture, LayerSpec};

/// A recipe: a network and how it is trained by default.
#[derive(Debug, Clone, Copy)]
pub struct Preset {
    /// Its name, and the name of the model it makes.
    pub name: &'static str,
    /// One sentence about it.
    pub description: &'static str,
    /// The network for images of this size and number of classes.
    pub architecture: fn(height: usize, width: usize, classes: usize) -> Architecture,
    /// Passes over the training data.
    pub epochs: usize,
    /// Samples per step.
    pub batch_size: usize,
    /// Adam's step size.
    pub learning_rate: f64,
    /// Samples held out of the training data.
    pub validation: usize,
}

/// Every preset.
pub const PRESETS: &[Preset] = &[Preset {
    name: "mnist-mlp",
    description: "A dense network, 784-128-10 with dropout: the TensorFlow quickstart's recipe",
    architecture: mlp,
    epochs: 5,
    batch_size: 32,
    learning_rate: 1e-3,
    validation: 1000,
}];

/// The preset of this name.
///
/// # Errors
/// [`Error::Config`] listing the presets there are.
pub fn preset(name: &str) -> Result<&'static Preset> {
    PRESETS.iter().find(|preset| preset.name == name).ok_or_else(|| {
        let names = PRESETS.iter().map(|preset| preset.name).collect::<Vec<_>>().join(", ");
        Error::Config {
            setting: "PRESET".into(),
            problem: format!("no preset is called {}; there are: {names}", crate::ids::quote(name)),
        }
    })
}

fn mlp(height: usize, width: usize, classes: usize) -> Architecture {
    Architecture {
        input: vec![1, height, width],
        layers: vec![
            LayerSpec::Rescale { scale: 1.0 / 255.0 },
            LayerSpec::Flatten,
            LayerSpec::Dense { units: 128 },
            LayerSpec::Relu,
            LayerSpec::Dropout { rate: 0.2 },
            LayerSpec::Dense { units: classes },
        ],
    }
}
