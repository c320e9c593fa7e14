//! The architecture of a network as a list of layers: the one description from which the trainable
//! network, the ONNX graph, and the parameter and multiply-add counts all come.

mod encoding;
mod plan;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

pub use encoding::Encoding;
pub use plan::{MOST_TOKENS, PlannedLayer};

/// One layer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "layer", rename_all = "snake_case", deny_unknown_fields)]
pub enum LayerSpec {
    /// Multiplies every element; pixels become 0 to 1 with `scale = 1/255`.
    Rescale {
        /// The factor.
        scale: f32,
    },
    /// `[N, a, b, …]` → `[N, a·b·…]`.
    Flatten,
    /// `y = x·W + b`; `W` is `[inputs, units]`, Glorot uniform at first (Glorot and Bengio 2010), `b` zero.
    Dense {
        /// The number of outputs.
        units: usize,
    },
    /// `max(x, 0)`.
    Relu,
    /// `x · σ(x)`, which is smooth: called SiLU (Elfwing, Uchibe and Doya 2018) or swish (Ramachandran, Zoph and
    /// Le 2017).
    Silu,
    /// While training, zeroes each element with probability `rate` and scales the rest by
    /// `1/(1-rate)` (Srivastava et al. 2014); elsewhere does nothing and is not exported.
    Dropout {
        /// The probability, at least 0 and below 1.
        rate: f32,
    },
    /// A convolution of `[channels, height, width]` with square kernels. Weights are
    /// `[channels, inputs / groups, kernel, kernel]`, He uniform at first (He et al. 2015).
    Conv2d {
        /// The number of output channels.
        channels: usize,
        /// Height and width of the kernel.
        kernel: usize,
        /// Pixels from one window to the next.
        #[serde(default = "one")]
        stride: usize,
        /// Rows and columns of zeros on each side; fewer than the kernel has.
        #[serde(default)]
        padding: usize,
        /// Groups of channels that do not see each other; as many as there are inputs is a depthwise convolution.
        #[serde(default = "one")]
        groups: usize,
        /// Whether a number is added to each channel, zero at first; needless before a batch norm.
        #[serde(default = "yes")]
        bias: bool,
    },
    /// Batch normalisation of each channel (Ioffe and Szegedy 2015): by the batch while training, else by
    /// a running mean and variance; part of the convolution before it when exported.
    BatchNorm,
    /// Group normalisation (Wu and He 2018): each sample by itself, over groups of channels that follow each
    /// other, with a factor and an offset for each channel. The same while training and after it, for batches
    /// of any size.
    GroupNorm {
        /// Groups, of which each has as many channels as the others.
        groups: usize,
    },
    /// The greatest of each window of `size × size` pixels.
    MaxPool {
        /// Height and width of a window.
        size: usize,
        /// Pixels from one window to the next.
        stride: usize,
    },
    /// The mean of each window of `size × size` pixels.
    AveragePool {
        /// Height and width of a window.
        size: usize,
        /// Pixels from one window to the next.
        stride: usize,
    },
    /// `[channels, height, width]` → `[channels]`, the mean of each.
    GlobalAveragePool,
    /// `[channels·height·width]` → `[channels, height, width]`, what a flatten takes apart.
    Unflatten {
        /// The channels.
        channels: usize,
        /// Rows of pixels.
        height: usize,
        /// Pixels of a row.
        width: usize,
    },
    /// `[channels·factor², height, width]` → `[channels, height·factor, width·factor]`: channels that follow each
    /// other become the pixels of a square, row by row. With a convolution before it that is a sub-pixel
    /// convolution (Shi et al. 2016), which makes maps larger.
    PixelShuffle {
        /// Height and width of a square.
        factor: usize,
    },
    /// `[1, height, width]` → a sequence of `height` steps, each a row of pixels.
    Rows,
    /// `[steps, inputs]` → `[units]`: the state of an LSTM after the last step (Hochreiter and Schmidhuber 1997).
    /// Weights are uniform at first, the bias of the forget gates 1 (Jozefowicz et al. 2015).
    Lstm {
        /// The size of the state.
        units: usize,
    },
    /// `[steps, inputs]` → `[units]`: the state of a GRU after the last step (Cho et al. 2014), with the reset
    /// gate after the product.
    Gru {
        /// The size of the state.
        units: usize,
    },
    /// A row of a table → numbers that a network can take: those of its numeric columns in their order,
    /// then one for each column that tells whether its number is missing, then those of its categories.
    Encode {
        /// How each column is encoded.
        columns: Vec<Encoding>,
    },
    /// A sequence of numbers → the same, each channel standardised: `[steps, channels]` → `(x − mean) / deviation`;
    /// a missing number, NaN, becomes 0, as if it were the mean. So does what pads a short sequence.
    Standardize {
        /// The mean of each channel.
        mean: Vec<f32>,
        /// Its standard deviation, above 0.
        deviation: Vec<f32>,
    },
    /// A sequence of tokens → a row of a trained table for each (Bengio et al. 2003): `[steps]` → `[steps, units]`.
    /// The table is `[tokens, units]`, uniform within ±0.05 at first, as in Keras. What is no number from 0 to
    /// below `tokens` is looked up as token 1, which stands for all that are not known.
    Embedding {
        /// How many tokens there are; 0 pads, 1 is an unknown one.
        tokens: usize,
        /// The numbers of a row.
        units: usize,
    },
    /// `y = x · deviation + mean`, last in a network that is trained on standardised numbers: training and
    /// its loss end before it.
    Destandardize {
        /// The mean of what is to be learned.
        mean: f32,
        /// Its standard deviation.
        deviation: f32,
    },
}

fn one() -> usize {
    1
}

fn yes() -> bool {
    true
}

/// A network from an input shape through a list of layers to logits.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Architecture {
    /// The shape of one sample, without the batch.
    pub input: Vec<usize>,
    /// The layers, first to last.
    pub layers: Vec<LayerSpec>,
}
