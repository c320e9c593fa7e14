//! The architecture of a network as a list of layers. The trainable network, the ONNX graph, and the counts of
//! parameters and multiply-adds are all derived from this one description.

mod encoding;
mod plan;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

pub use encoding::{Bend, Encoding};
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
    /// `y = x·W + b`. `W` is `[inputs, units]`, initially Glorot uniform (Glorot and Bengio 2010), `b` zero.
    Dense {
        /// The number of outputs.
        units: usize,
    },
    /// `max(x, 0)`.
    Relu,
    /// `x · σ(x)`, a smooth activation: SiLU (Elfwing, Uchibe and Doya 2018) or swish (Ramachandran, Zoph and
    /// Le 2017).
    Silu,
    /// During training, zeroes each element with probability `rate` and scales the others by `1/(1-rate)`
    /// (Srivastava et al. 2014). Otherwise it does nothing, and it is not exported.
    Dropout {
        /// The probability, at least 0 and below 1.
        rate: f32,
    },
    /// A convolution of `[channels, height, width]` with square kernels. Weights are
    /// `[channels, inputs / groups, kernel, kernel]`, initially He uniform (He et al. 2015).
    Conv2d {
        /// The number of output channels.
        channels: usize,
        /// Height and width of the kernel.
        kernel: usize,
        /// Pixels from one window to the next.
        #[serde(default = "one")]
        stride: usize,
        /// Rows and columns of zeros on each side, fewer than those of the kernel.
        #[serde(default)]
        padding: usize,
        /// Groups of channels that are convolved separately; as many groups as inputs are a depthwise convolution.
        #[serde(default = "one")]
        groups: usize,
        /// True if a bias, initially zero, is added to each channel. It has no effect before a batch norm.
        #[serde(default = "yes")]
        bias: bool,
    },
    /// A sequence as one row of maps, a map for each channel: `[steps, channels]` → `[channels, 1, steps]`.
    Series,
    /// A convolution along a row of maps, `[channels, 1, steps]`. Weights are `[channels, inputs, 1, kernel]`, initially He
    /// uniform.
    Conv1d {
        /// The number of output channels.
        channels: usize,
        /// Steps of the kernel.
        kernel: usize,
        /// Steps from one window to the next.
        #[serde(default = "one")]
        stride: usize,
        /// Zeros on each side, fewer than the steps of the kernel.
        #[serde(default)]
        padding: usize,
        /// True if a bias, initially zero, is added to each channel. It has no effect before a batch norm.
        #[serde(default = "yes")]
        bias: bool,
    },
    /// Batch normalisation of each channel (Ioffe and Szegedy 2015): by the batch during training, otherwise by a
    /// running mean and variance. The export folds it into the convolution before it.
    BatchNorm,
    /// Group normalisation (Wu and He 2018): each sample by itself, over groups of consecutive channels, with a
    /// factor and an offset for each channel. It is the same during training and afterwards, for batches of any
    /// size.
    GroupNorm {
        /// The number of groups, which all have the same number of channels.
        groups: usize,
    },
    /// The maximum of each window of `size × size` pixels.
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
    /// Adds the output of the layer that is `back` layers before this one, which has the same shape: a residual
    /// connection (He et al. 2016).
    Add {
        /// 2 is the layer before the last one.
        back: usize,
    },
    /// `[channels·height·width]` → `[channels, height, width]`, the inverse of a flatten.
    Unflatten {
        /// The number of channels.
        channels: usize,
        /// Rows of pixels.
        height: usize,
        /// Pixels in a row.
        width: usize,
    },
    /// `[channels·factor², height, width]` → `[channels, height·factor, width·factor]`: consecutive channels become
    /// the pixels of a square, row by row. After a convolution this forms a sub-pixel convolution (Shi et al.
    /// 2016), which enlarges maps.
    PixelShuffle {
        /// Height and width of a square.
        factor: usize,
    },
    /// `[1, height, width]` → a sequence of `height` steps, each a row of pixels.
    Rows,
    /// `[steps, inputs]` → `[units]`: the state of an LSTM after the last step (Hochreiter and Schmidhuber 1997).
    /// Weights are initially uniform, the bias of the forget gates 1 (Jozefowicz et al. 2015).
    ///
    /// One that is bidirectional, or gives all steps, passes over the steps in front of which every number is 0, as those
    /// that pad a short sequence are.
    Lstm {
        /// The size of the state.
        units: usize,
        /// True if a second LSTM reads the sequence from its end (Schuster and Paliwal 1997): `[2·units]`, the states of
        /// each after its last step.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        bidirectional: bool,
        /// True if the states after all steps are given, `[steps, units]`, for a further recurrent layer.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        all_steps: bool,
    },
    /// `[steps, inputs]` → `[units]`: the state of a GRU after the last step (Cho et al. 2014). The reset gate is
    /// applied after the product. Its settings are those of an LSTM.
    Gru {
        /// The size of the state.
        units: usize,
        /// True if a second GRU reads the sequence from its end.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        bidirectional: bool,
        /// True if the states after all steps are given.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        all_steps: bool,
    },
    /// Encodes a row of a table as numbers for a network: those of the numeric columns in order, then one for each
    /// column that tells whether its number is missing, then the bent numbers, then moments, then categories, then
    /// texts, each by a trained table `[tokens, units]`.
    Encode {
        /// The encoding of each column.
        columns: Vec<Encoding>,
    },
    /// Standardises each channel of a sequence of numbers: `[steps, channels]` → `(x − mean) / deviation`. A missing
    /// number, NaN, becomes 0, the same as the mean; so does the padding of a short sequence.
    Standardize {
        /// The mean of each channel.
        mean: Vec<f32>,
        /// The standard deviation of each channel, above 0.
        deviation: Vec<f32>,
    },
    /// Replaces each token of a sequence by a row of a trained table (Bengio et al. 2003): `[steps]` →
    /// `[steps, units]`. The table is `[tokens, units]`, initially uniform within ±0.05, as in Keras. A number
    /// outside 0 to `tokens` − 1 is looked up as token 1, which stands for all unknown tokens.
    Embedding {
        /// The number of tokens; token 0 is padding, token 1 an unknown token.
        tokens: usize,
        /// The size of a row.
        units: usize,
    },
    /// Replaces the tokens of a sequence by the mean of their rows of a trained table, padding left out (Joulin et al.
    /// 2016, "Bag of Tricks for Efficient Text Classification"): `[steps]` → `[units]`. The table is that of an
    /// embedding.
    ///
    /// One that is weighted gives the sum of the rows, each times how rare its token is in the training data (Spärck Jones
    /// 1972), divided by the length of the vector of these weights; so the few words that tell are not drowned by the many
    /// that do not.
    EmbeddingBag {
        /// The number of tokens; token 0 is padding, token 1 an unknown token.
        tokens: usize,
        /// The size of a row.
        units: usize,
        /// True if tokens are weighted by their inverse document frequency; false in versions that do not say.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        weighted: bool,
    },
    /// Appends the encoded columns of a table to the output of the layers between: `[n]` → `[n + columns]`. The dense layer
    /// behind it has a linear path beside the deep one (Cheng et al. 2016, "Wide & Deep Learning").
    Recall,
    /// `y = x · deviation + mean`, the last layer of a network that is trained on standardised numbers. The loss
    /// is computed before it.
    Destandardize {
        /// The mean of the target.
        mean: f64,
        /// The standard deviation of the target, above 0.
        deviation: f64,
    },
}

impl LayerSpec {
    /// Returns an LSTM that reads forward and gives its last state.
    pub fn lstm(units: usize) -> Self {
        Self::Lstm { units, bidirectional: false, all_steps: false }
    }

    /// Returns a GRU that reads forward and gives its last state.
    pub fn gru(units: usize) -> Self {
        Self::Gru { units, bidirectional: false, all_steps: false }
    }

    /// Returns true if the layer passes over the zeros in front of a sequence.
    pub fn passes_over_padding(&self) -> bool {
        matches!(
            self,
            Self::Lstm { bidirectional, all_steps, .. } | Self::Gru { bidirectional, all_steps, .. }
                if *bidirectional || *all_steps
        )
    }
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
