//! Named recipes.

mod autoencoder;
mod residual;

use self::autoencoder::{decoder, encoder};
use self::residual::{photo_cnn, photo_tiny};
use super::augment::Augment;
use super::optimizer::Optimizer;
use super::regime::Regime;
use super::schedule::Schedule;
use crate::error::{Error, Result};
use crate::layers::{Architecture, LayerSpec};

/// A recipe: a network and how it is trained by default.
#[derive(Debug, Clone, Copy)]
pub struct Preset {
    /// Its name, and the name of the model it makes.
    pub name: &'static str,
    /// One sentence about it.
    pub description: &'static str,
    /// The network for samples of these sizes.
    pub architecture: fn(&Sizes) -> Architecture,
    /// The kind of network.
    pub family: Family,
    /// The data that it is made to learn from.
    pub learns: Learns,
    /// Passes over the training data.
    pub epochs: usize,
    /// Samples per step.
    pub batch_size: usize,
    /// Adam's learning rate.
    pub learning_rate: f64,
    /// The decay of weights beside the gradient; 0 has none.
    pub weight_decay: f64,
    /// Samples held out of the training data.
    pub validation: usize,
    /// Everything beyond plain training.
    pub regime: Regime,
}

/// The sizes that a network is made for.
#[derive(Debug, Clone, Copy)]
pub struct Sizes {
    /// Channels of an image; 1 for anything else.
    pub channels: usize,
    /// Rows of an image.
    pub height: usize,
    /// Pixels in a row.
    pub width: usize,
    /// The numbers that the network gives: one for each class.
    pub outputs: usize,
    /// Samples to learn from.
    pub samples: usize,
}

impl Sizes {
    /// Returns the shape of a sample.
    pub(super) fn input(&self) -> Vec<usize> {
        vec![self.channels, self.height, self.width]
    }
}

/// The data that a preset is made to learn from: the way in which pictures and texts are read unless a setting says another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Learns {
    /// Any data, as they are.
    Anything,
    /// Drawings like those of MNIST, which are made bright on dark and centred.
    Drawings,
    /// Photos, in their colours.
    Photos,
    /// Texts, as n-grams.
    Texts,
    /// What another network makes of the data.
    Features,
}

/// The networks of a preset.
#[derive(Debug, Clone, Copy)]
pub enum Family {
    /// One, which learns classes or numbers, as the data say.
    Network,
    /// An encoder, which is the preset's architecture, and a decoder.
    Autoencoder {
        /// The decoder for images of this size.
        decoder: fn(height: usize, width: usize) -> Architecture,
    },
}

impl Preset {
    /// Returns the optimiser: Adam, or AdamW if weights decay.
    pub fn optimizer(&self) -> Optimizer {
        match self.weight_decay {
            0.0 => Optimizer::adam(self.learning_rate),
            decay => Optimizer::adamw(self.learning_rate, decay),
        }
    }
}

const PLAIN: Regime = Regime::PLAIN;

/// Validation samples from which the best epoch is chosen by them.
const CHOOSING: usize = 30;

/// For networks that are to be as good as they can be: digits are drawn at a slant, a bit aside, or small.
const CAREFUL: Regime = Regime {
    keep_best: true,
    keep_best_from: CHOOSING,
    schedule: Schedule::Cosine { warmup: 0.2 },
    augment: Augment::moves(10.0, 2.0, 0.1),
    ..PLAIN
};

/// For photos: what they show is as likely the other way round, a bit aside, or partly hidden.
const PHOTOS: Regime = Regime {
    keep_best: true,
    keep_best_from: CHOOSING,
    schedule: Schedule::Cosine { warmup: 0.2 },
    label_smoothing: 0.05,
    augment: Augment { flip_probability: 0.5, ..Augment::moves(0.0, 1.0, 0.0) },
    ..PLAIN
};

/// For data of any size: an epoch is a hundred steps at least, and the epoch with the lowest loss on the validation data
/// is taken.
const DENSE: Regime = Regime {
    min_epoch_steps: 100,
    keep_best: true,
    keep_best_from: CHOOSING,
    schedule: Schedule::Cosine { warmup: 0.1 },
    ..PLAIN
};

/// The same for tables, of which small ones may be better told by a line.
const TABLES: Regime = Regime { prefer_linear: true, ..DENSE };

/// For few samples of which a step costs next to nothing: ten pictures a class get as many steps as hundreds.
const HEAD: Regime = Regime { min_epoch_steps: 20, ..DENSE };

/// What the recurrent networks for sequences have in common. Their gradients are cut, as products over many steps
/// can grow without bounds (Pascanu et al. 2013).
const RECURRENT: Preset = Preset {
    name: "",
    description: "",
    architecture: small_lstm,
    family: Family::Network,
    learns: Learns::Anything,
    epochs: 20,
    batch_size: 32,
    learning_rate: 3e-3,
    weight_decay: 0.0,
    validation: 1000,
    regime: Regime {
        min_epoch_steps: 50,
        keep_best: true,
        keep_best_from: CHOOSING,
        clip_norm: 1.0,
        schedule: Schedule::Cosine { warmup: 0.1 },
        ..PLAIN
    },
};

/// Every preset.
pub const PRESETS: &[Preset] = &[
    Preset {
        name: "mnist-mlp",
        description: "A dense network, 784-128-10 with dropout: the TensorFlow quickstart's recipe",
        architecture: mlp,
        family: Family::Network,
        learns: Learns::Drawings,
        epochs: 5,
        batch_size: 32,
        learning_rate: 1e-3,
        weight_decay: 0.0,
        validation: 1000,
        regime: PLAIN,
    },
    Preset {
        name: "dense",
        description: "A dense network of 128 and 64 units for tables and images of any size, classes or numbers",
        architecture: dense,
        family: Family::Network,
        learns: Learns::Anything,
        epochs: 30,
        batch_size: 32,
        learning_rate: 1e-3,
        weight_decay: 0.5,
        validation: 1000,
        regime: TABLES,
    },
    Preset {
        name: "cnn",
        description: "A small residual network for photos of 16 to 512 pixels, in colour or grey",
        architecture: photo_cnn,
        family: Family::Network,
        learns: Learns::Photos,
        epochs: 10,
        batch_size: 64,
        learning_rate: 4e-3,
        weight_decay: 0.0,
        validation: 2000,
        regime: PHOTOS,
    },
    Preset {
        name: "cnn-tiny",
        description: "The same with a sixth of the arithmetic",
        architecture: photo_tiny,
        family: Family::Network,
        learns: Learns::Photos,
        epochs: 10,
        batch_size: 64,
        learning_rate: 6e-3,
        weight_decay: 0.0,
        validation: 2000,
        regime: PHOTOS,
    },
    Preset {
        name: "head",
        description: "A dense layer on the features of a network that stays as it is (--backbone), for few pictures or texts",
        architecture: head,
        family: Family::Network,
        learns: Learns::Features,
        epochs: 50,
        batch_size: 32,
        learning_rate: 3e-3,
        weight_decay: 0.0,
        validation: 1000,
        regime: Regime { label_smoothing: 0.1, ..HEAD },
    },
    Preset {
        name: "text",
        description: "The sum of trained vectors of words, pairs of words and parts of words, weighted by how rare they are, for classes or numbers from texts",
        architecture: bag,
        family: Family::Network,
        learns: Learns::Texts,
        epochs: 10,
        batch_size: 32,
        learning_rate: 1e-2,
        weight_decay: 0.1,
        validation: 1000,
        regime: DENSE,
    },
    Preset {
        name: "lstm",
        description: "An LSTM of 64 units for sequences of numbers, tokens or text, and for images row by row",
        architecture: small_lstm,
        ..RECURRENT
    },
    Preset {
        name: "gru",
        description: "A GRU of 64 units for sequences of numbers, tokens or text, and for images row by row",
        architecture: small_gru,
        ..RECURRENT
    },
    Preset {
        name: "conv1d",
        description: "Three convolutions along the steps of sequences of numbers, tokens or text, and their mean",
        architecture: series,
        ..RECURRENT
    },
    Preset {
        name: "mnist-convnet",
        description: "Two convolutions with pooling and a dense layer, 32c3-pool-64c3-pool-128-10: a well-known example, to compare with",
        architecture: convnet,
        family: Family::Network,
        learns: Learns::Drawings,
        epochs: 5,
        batch_size: 128,
        learning_rate: 1e-3,
        weight_decay: 0.0,
        validation: 1000,
        regime: PLAIN,
    },
    Preset {
        name: "mnist-cnn",
        description: "Five convolutions with batch norm, on images turned, shifted and scaled: the most accurate one",
        architecture: cnn,
        family: Family::Network,
        learns: Learns::Drawings,
        epochs: 30,
        batch_size: 128,
        learning_rate: 8e-3,
        weight_decay: 0.0,
        validation: 2000,
        regime: CAREFUL,
    },
    Preset {
        name: "mnist-tiny",
        description: "The same with less than 8,000 parameters",
        architecture: tiny,
        family: Family::Network,
        learns: Learns::Drawings,
        epochs: 20,
        batch_size: 128,
        learning_rate: 1e-2,
        weight_decay: 0.0,
        validation: 2000,
        regime: CAREFUL,
    },
    Preset {
        name: "mnist-mobile",
        description: "Depthwise-separable convolutions, as MobileNet's: a fifth of the arithmetic of mnist-cnn",
        architecture: mobile,
        family: Family::Network,
        learns: Learns::Drawings,
        epochs: 20,
        batch_size: 128,
        learning_rate: 1e-2,
        weight_decay: 0.0,
        validation: 2000,
        regime: CAREFUL,
    },
    Preset {
        name: "mnist-groupnorm",
        description: "mnist-tiny with group norm, which does not mind small batches, and batches of 8",
        architecture: groupnorm,
        family: Family::Network,
        learns: Learns::Drawings,
        epochs: 10,
        batch_size: 8,
        learning_rate: 3e-3,
        weight_decay: 0.0,
        validation: 2000,
        regime: CAREFUL,
    },
    Preset {
        name: "mnist-lstm",
        description: "An LSTM of 128 units that reads an image row by row",
        architecture: lstm,
        family: Family::Network,
        learns: Learns::Drawings,
        epochs: 12,
        batch_size: 128,
        learning_rate: 3e-3,
        weight_decay: 0.0,
        validation: 2000,
        regime: Regime { augment: Augment::moves(8.0, 1.0, 0.05), ..CAREFUL },
    },
    Preset {
        name: "mnist-vae",
        description: "A variational autoencoder with codes of 40 numbers: makes images like those it learned, and says how unlike these one is",
        architecture: encoder,
        family: Family::Autoencoder { decoder },
        learns: Learns::Drawings,
        epochs: 10,
        batch_size: 64,
        learning_rate: 5e-3,
        weight_decay: 0.0,
        validation: 2000,
        regime: Regime { schedule: Schedule::Cosine { warmup: 0.1 }, ..PLAIN },
    },
];

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

fn mlp(sizes: &Sizes) -> Architecture {
    Architecture {
        input: sizes.input(),
        layers: vec![
            LayerSpec::Rescale { scale: 1.0 / 255.0 },
            LayerSpec::Flatten,
            LayerSpec::Dense { units: 128 },
            LayerSpec::Relu,
            LayerSpec::Dropout { rate: 0.2 },
            LayerSpec::Dense { units: sizes.outputs },
        ],
    }
}

fn dense(sizes: &Sizes) -> Architecture {
    Architecture {
        input: sizes.input(),
        layers: vec![
            LayerSpec::Rescale { scale: 1.0 / 255.0 },
            LayerSpec::Flatten,
            LayerSpec::Dense { units: 128 },
            LayerSpec::Relu,
            LayerSpec::Dropout { rate: 0.2 },
            LayerSpec::Dense { units: 64 },
            LayerSpec::Relu,
            LayerSpec::Dense { units: sizes.outputs },
        ],
    }
}

fn head(sizes: &Sizes) -> Architecture {
    Architecture { input: sizes.input(), layers: vec![LayerSpec::Flatten, LayerSpec::Dense { units: sizes.outputs }] }
}

/// What is behind the sum of a text's vectors.
fn bag(sizes: &Sizes) -> Architecture {
    let head = LayerSpec::Dense { units: sizes.outputs };
    Architecture {
        input: sizes.input(),
        layers: vec![LayerSpec::Rescale { scale: 1.0 / 255.0 }, LayerSpec::Flatten, head],
    }
}

/// One layer of feature maps: a convolution with 3 × 3 kernels, as in VGG (Simonyan and Zisserman 2015), a norm
/// and Relu.
fn maps(channels: usize, norm: LayerSpec) -> [LayerSpec; 3] {
    let conv = LayerSpec::Conv2d { channels, kernel: 3, stride: 1, padding: 0, groups: 1, bias: false };
    [conv, norm, LayerSpec::Relu]
}

/// Two layers, pooling, two layers, pooling, one layer, and the mean of each map.
fn stacked(
    sizes: &Sizes,
    [first, second, third]: [usize; 3],
    norm: fn(channels: usize) -> LayerSpec,
    dropout: f32,
) -> Architecture {
    let mut layers = vec![LayerSpec::Rescale { scale: 1.0 / 255.0 }];
    for channels in [first, second] {
        layers.extend(maps(channels, norm(channels)));
        layers.extend(maps(channels, norm(channels)));
        layers.push(LayerSpec::MaxPool { size: 2, stride: 2 });
    }
    layers.extend(maps(third, norm(third)));
    layers.push(LayerSpec::GlobalAveragePool);
    if dropout > 0.0 {
        layers.push(LayerSpec::Dropout { rate: dropout });
    }
    layers.push(LayerSpec::Dense { units: sizes.outputs });
    Architecture { input: sizes.input(), layers }
}

fn cnn(sizes: &Sizes) -> Architecture {
    stacked(sizes, [16, 32, 64], |_| LayerSpec::BatchNorm, 0.2)
}

fn tiny(sizes: &Sizes) -> Architecture {
    stacked(sizes, [8, 16, 24], |_| LayerSpec::BatchNorm, 0.0)
}

fn groupnorm(sizes: &Sizes) -> Architecture {
    stacked(sizes, [8, 16, 24], |channels| LayerSpec::GroupNorm { groups: channels / 4 }, 0.0)
}

/// A convolution that is parted in two (Howard et al. 2017, "MobileNets"): 3 × 3 kernels for each channel by
/// itself, then sums over the channels, each with batch norm and Relu.
fn separable(inputs: usize, channels: usize, stride: usize) -> [LayerSpec; 6] {
    let conv = |channels, kernel, stride, padding, groups| LayerSpec::Conv2d {
        channels,
        kernel,
        stride,
        padding,
        groups,
        bias: false,
    };
    let [by_channel, over_channels] = [conv(inputs, 3, stride, 1, inputs), conv(channels, 1, 1, 0, 1)];
    let (norm, relu) = (LayerSpec::BatchNorm, LayerSpec::Relu);
    [by_channel, norm.clone(), relu.clone(), over_channels, norm, relu]
}

fn mobile(sizes: &Sizes) -> Architecture {
    let first = LayerSpec::Conv2d { channels: 16, kernel: 3, stride: 2, padding: 1, groups: 1, bias: false };
    let mut layers = vec![LayerSpec::Rescale { scale: 1.0 / 255.0 }, first, LayerSpec::BatchNorm, LayerSpec::Relu];
    for (inputs, channels, stride) in [(16, 32, 1), (32, 64, 2), (64, 64, 1)] {
        layers.extend(separable(inputs, channels, stride));
    }
    layers.extend([LayerSpec::GlobalAveragePool, LayerSpec::Dense { units: sizes.outputs }]);
    Architecture { input: sizes.input(), layers }
}

/// A recurrent layer over the rows of an image, and a dense one; with dropout between them, if there is any.
fn row_by_row(sizes: &Sizes, cell: LayerSpec, dropout: f32) -> Architecture {
    let mut layers = vec![LayerSpec::Rescale { scale: 1.0 / 255.0 }, LayerSpec::Rows, cell];
    if dropout > 0.0 {
        layers.push(LayerSpec::Dropout { rate: dropout });
    }
    layers.push(LayerSpec::Dense { units: sizes.outputs });
    Architecture { input: sizes.input(), layers }
}

fn lstm(sizes: &Sizes) -> Architecture {
    row_by_row(sizes, LayerSpec::lstm(128), 0.0)
}

fn small_lstm(sizes: &Sizes) -> Architecture {
    row_by_row(sizes, LayerSpec::lstm(64), 0.2)
}

/// Wang, Yan and Oates 2017, "Time series classification from scratch with deep neural networks", half as wide.
fn series(sizes: &Sizes) -> Architecture {
    let conv = |channels, kernel| {
        let conv = LayerSpec::Conv1d { channels, kernel, stride: 1, padding: kernel / 2, bias: false };
        [conv, LayerSpec::BatchNorm, LayerSpec::Relu]
    };
    let mut layers = vec![LayerSpec::Rescale { scale: 1.0 / 255.0 }, LayerSpec::Rows, LayerSpec::Series];
    layers.extend([conv(64, 7), conv(128, 5), conv(64, 3)].into_iter().flatten());
    layers.extend([LayerSpec::GlobalAveragePool, LayerSpec::Dense { units: sizes.outputs }]);
    Architecture { input: sizes.input(), layers }
}

fn small_gru(sizes: &Sizes) -> Architecture {
    row_by_row(sizes, LayerSpec::gru(64), 0.2)
}

fn convnet(sizes: &Sizes) -> Architecture {
    let conv = |channels| LayerSpec::Conv2d { channels, kernel: 3, stride: 1, padding: 0, groups: 1, bias: true };
    let pool = LayerSpec::MaxPool { size: 2, stride: 2 };
    Architecture {
        input: sizes.input(),
        layers: vec![
            LayerSpec::Rescale { scale: 1.0 / 255.0 },
            conv(32),
            LayerSpec::Relu,
            pool.clone(),
            conv(64),
            LayerSpec::Relu,
            pool,
            LayerSpec::Flatten,
            LayerSpec::Dense { units: 128 },
            LayerSpec::Relu,
            LayerSpec::Dense { units: sizes.outputs },
        ],
    }
}
