//! One layer on feature maps, forward and backward on a block.

use super::Parameter;
use crate::layers::{LayerSpec, PlannedLayer};
use crate::simd::lanes;
use crate::trainer::kernels::{
    BlockMoments, Cell, Convolution, Directions, GroupNorm, Moments, Norm, PackedConvolution, PackedRecurrent, Pooling,
    Recurrent, RecurrentGradients, Shuffle, add_plane_sums, global_average, global_average_back, relu, relu_back,
    rescale, silu, silu_back,
};

/// A layer; `weight`, `scale` and the like are the places of its parameters in the network's list.
#[derive(Debug, Clone)]
pub(super) enum Layer {
    Rescale(f32),
    Relu,
    Silu,
    Dropout {
        /// Its number among the dropout layers.
        index: usize,
    },
    Convolution {
        shape: Convolution,
        weight: usize,
        bias: Option<usize>,
        /// Whether the Relu behind it is part of it.
        relu: bool,
    },
    Norm {
        shape: Norm,
        /// Its number among the batch normalisations.
        index: usize,
        scale: usize,
        offset: usize,
        relu: bool,
    },
    GroupNorm {
        shape: GroupNorm,
        /// The offset follows it.
        scale: usize,
        relu: bool,
    },
    MaxPool(Pooling),
    AveragePool(Pooling),
    GlobalAverage {
        pixels: usize,
    },
    Shuffle(Shuffle),
    /// Adds an earlier value to its input.
    Add {
        /// The place of that value among those of the block: that of the layer which takes it.
        source: usize,
        relu: bool,
    },
    /// Gives what all its steps keep; the state after the last of them is the next layer's.
    Recurrent {
        shape: Recurrent,
        /// The weights of the inputs, of the state, and the bias follow each other.
        weight: usize,
    },
    LastState(Recurrent),
    /// The same of several directions, or where the states after all steps are given.
    Directions {
        shape: Directions,
        /// The weights of the inputs, of the state, and the bias of each direction follow each other.
        weight: usize,
    },
    States(Directions),
    /// Steps of so many channels become maps, a row each.
    Series([usize; 2]),
    /// Planes in a row are flat as they are, and rows are steps.
    Flatten,
}

/// A block on its way back.
#[derive(Debug, Clone, Default)]
pub(super) struct WayBack {
    /// The gradient of what the next layer to pass gave.
    pub(super) upper: Vec<f32>,
    /// Room for the gradient of what it took.
    pub(super) back: Vec<f32>,
    pub(super) scratch: Vec<f32>,
    /// By layer: what further layers, which take the same value, say of its gradient; empty if there are none.
    pub(super) skipped: Vec<Vec<f32>>,
    /// Of each parameter, summed over the block's samples.
    pub(super) gradients: Vec<Vec<f32>>,
}

impl WayBack {
    /// Keeps the gradient of a sum for the value that was added, until the layer comes that takes it.
    pub(super) fn skip(&mut self, source: usize) {
        let kept = &mut self.skipped[source];
        if kept.is_empty() {
            kept.extend_from_slice(&self.upper);
        } else {
            kept.iter_mut().zip(&self.upper).for_each(|(kept, more)| *kept += more);
        }
    }

    /// Adds what was kept for the value that a layer takes.
    pub(super) fn join(&mut self, at: usize) {
        let kept = &mut self.skipped[at];
        if !kept.is_empty() {
            self.upper.iter_mut().zip(&*kept).for_each(|(upper, more)| *upper += more);
            kept.clear();
        }
    }
}

/// A layer's parameters as its kernels take them.
#[derive(Debug)]
pub(super) enum Packed {
    Nothing,
    Convolution(PackedConvolution),
    Recurrent(Box<PackedRecurrent>),
    /// By direction.
    Directions(Vec<PackedRecurrent>),
}

/// The number of channels, and height and width of each.
type Maps = (usize, [usize; 2]);

/// Returns the maps of a shape.
fn maps(shape: &[usize]) -> Maps {
    match *shape {
        [channels, height, width] => (channels, [height, width]),
        _ => (shape.iter().product(), [1, 1]),
    }
}

/// Returns the place, in the description, of the layer that takes the value which a layer adds.
fn source(layer: &LayerSpec, at: usize) -> Result<Option<usize>, (usize, String)> {
    let LayerSpec::Add { back } = layer else { return Ok(None) };
    let source = (at + 1).checked_sub(*back);
    let problem = || format!("adds the output of a layer {back} layers back, which is not on feature maps");
    source.map(Some).ok_or_else(|| (at, problem()))
}

/// Makes the rows of a block of numbers its columns.
fn turned(input: &[f32], [rows, columns]: [usize; 2], output: &mut Vec<f32>) {
    let lanes = lanes();
    output.clear();
    for column in 0..columns {
        for row in 0..rows {
            output.extend_from_slice(&input[(row * columns + column) * lanes..][..lanes]);
        }
    }
}

impl Layer {
    /// The layers of a description, a Relu being part of what is before it where that can do it. The network has so
    /// many parameters `before` them.
    ///
    /// # Errors
    /// A message, with the place of a layer that adds what is not among these.
    pub(super) fn chain(planned: &[PlannedLayer], before: usize) -> Result<Vec<Self>, (usize, String)> {
        let mut layers: Vec<Self> = Vec::with_capacity(planned.len());
        let (mut parameters, mut norms, mut dropouts) = (before, 0, 0);
        let sources: Vec<Option<usize>> =
            planned.iter().enumerate().map(|(at, layer)| source(&layer.spec, at)).collect::<Result<_, _>>()?;
        // The place of the value that is there before each layer of the description.
        let mut places = Vec::with_capacity(planned.len() + 1);
        for (at, layer) in planned.iter().enumerate() {
            places.push(layers.len());
            let is_added_later = sources.contains(&Some(at));
            let sides @ ((inputs, from), (_, to)) = (maps(&layer.input), maps(&layer.output));
            let next = match layer.spec {
                LayerSpec::Rescale { scale } => Self::Rescale(scale),
                LayerSpec::Relu if !is_added_later && layers.last_mut().is_some_and(Self::absorb_relu) => continue,
                LayerSpec::Relu => Self::Relu,
                LayerSpec::Silu => Self::Silu,
                LayerSpec::Dropout { .. } => {
                    dropouts += 1;
                    Self::Dropout { index: dropouts - 1 }
                }
                LayerSpec::Conv2d { kernel, stride, padding, groups, bias, .. } => {
                    Self::convolution(sides, [[kernel; 2], [stride; 2], [padding; 2]], groups, (parameters, bias))
                }
                LayerSpec::Conv1d { kernel, stride, padding, bias, .. } => {
                    Self::convolution(sides, [[1, kernel], [1, stride], [0, padding]], 1, (parameters, bias))
                }
                LayerSpec::Series => Self::Series([layer.input[0], layer.input[1]]),
                LayerSpec::BatchNorm => {
                    norms += 1;
                    let shape = Norm { channels: inputs, pixels: from[0] * from[1] };
                    Self::Norm { shape, index: norms - 1, scale: parameters, offset: parameters + 1, relu: false }
                }
                LayerSpec::GroupNorm { groups } => {
                    let shape = GroupNorm { channels: inputs, pixels: from[0] * from[1], groups };
                    Self::GroupNorm { shape, scale: parameters, relu: false }
                }
                LayerSpec::MaxPool { size, stride } => Self::MaxPool(Pooling { size, stride, from, to }),
                LayerSpec::AveragePool { size, stride } => Self::AveragePool(Pooling { size, stride, from, to }),
                LayerSpec::GlobalAveragePool => Self::GlobalAverage { pixels: from[0] * from[1] },
                LayerSpec::PixelShuffle { factor } => Self::Shuffle(Shuffle { factor, from }),
                LayerSpec::Add { .. } => {
                    let source = sources[at].and_then(|source| places.get(source)).copied().unwrap_or_default();
                    Self::Add { source, relu: false }
                }
                LayerSpec::Flatten | LayerSpec::Unflatten { .. } | LayerSpec::Rows => Self::Flatten,
                // Never among ours, or done to samples before they are brought into blocks, and while they are.
                LayerSpec::Dense { .. } | LayerSpec::Encode { .. } | LayerSpec::Destandardize { .. } => Self::Flatten,
                LayerSpec::Recall | LayerSpec::EmbeddingBag { .. } => Self::Flatten,
                LayerSpec::Standardize { .. } | LayerSpec::Embedding { .. } => Self::Flatten,
                LayerSpec::Lstm { .. } | LayerSpec::Gru { .. } => Self::recurrent(layer, parameters),
            };
            parameters += next.parameters();
            let given = next.giver();
            layers.push(next);
            layers.extend(given);
        }
        Ok(layers)
    }

    /// A convolution from some maps to others, by kernel, stride and padding, whose parameters begin at a place.
    fn convolution(
        ((inputs, from), (outputs, to)): (Maps, Maps),
        [kernel, stride, padding]: [[usize; 2]; 3],
        groups: usize,
        (weight, has_bias): (usize, bool),
    ) -> Self {
        let shape = Convolution { inputs, outputs, from, to, kernel, stride, padding, groups };
        Self::Convolution { shape, weight, bias: has_bias.then_some(weight + 1), relu: false }
    }

    /// An LSTM or a GRU, whose parameters begin at a place.
    fn recurrent(layer: &PlannedLayer, weight: usize) -> Self {
        let (LayerSpec::Lstm { units, bidirectional: is_both, all_steps }
        | LayerSpec::Gru { units, bidirectional: is_both, all_steps }) = layer.spec
        else {
            return Self::Flatten;
        };
        let cell = if matches!(layer.spec, LayerSpec::Lstm { .. }) { Cell::Lstm } else { Cell::Gru };
        let shape = Recurrent { cell, steps: layer.input[0], inputs: layer.input[1], units };
        match is_both || all_steps {
            true => Self::Directions { shape: Directions { shape, is_both, all_steps }, weight },
            false => Self::Recurrent { shape, weight },
        }
    }

    /// Returns the layer that gives the states of this one, if it is a recurrent one.
    fn giver(&self) -> Option<Self> {
        if let Self::Directions { shape, .. } = self {
            return Some(Self::States(shape.clone()));
        }
        let Self::Recurrent { shape, .. } = self else { return None };
        Some(Self::LastState(shape.clone()))
    }

    /// Makes the Relu behind a layer part of it; false if the layer cannot do that, or has one.
    fn absorb_relu(&mut self) -> bool {
        match self {
            Self::Convolution { relu, .. }
            | Self::Norm { relu, .. }
            | Self::GroupNorm { relu, .. }
            | Self::Add { relu, .. } => !std::mem::replace(relu, true),
            Self::Rescale(_) | Self::Relu | Self::Silu | Self::Dropout { .. } | Self::MaxPool(_) => false,
            Self::AveragePool(_) | Self::GlobalAverage { .. } | Self::Shuffle(_) | Self::Recurrent { .. } => false,
            Self::LastState(_) | Self::Directions { .. } | Self::States(_) | Self::Series(_) | Self::Flatten => false,
        }
    }

    /// The number of its parameters.
    pub(super) fn parameters(&self) -> usize {
        match self {
            Self::Convolution { bias, .. } => 1 + usize::from(bias.is_some()),
            Self::Norm { .. } | Self::GroupNorm { .. } => 2,
            Self::Recurrent { .. } => 3,
            Self::Directions { shape, .. } => 3 * shape.count(),
            Self::Rescale(_) | Self::Relu | Self::Silu | Self::Dropout { .. } | Self::MaxPool(_) => 0,
            Self::AveragePool(_) | Self::GlobalAverage { .. } | Self::Shuffle(_) | Self::Add { .. } => 0,
            Self::LastState(_) | Self::States(_) | Self::Series(_) | Self::Flatten => 0,
        }
    }

    /// Its parameters for the kernels; `backward` if the gradient of its input is wanted.
    pub(super) fn pack(&self, parameters: &[Parameter], backward: bool) -> Packed {
        match self {
            Self::Convolution { shape, weight, .. } => {
                Packed::Convolution(shape.pack(&parameters[*weight].values, backward))
            }
            Self::Recurrent { shape, weight } => {
                let [inputs, state, bias] = [0, 1, 2].map(|at| parameters[weight + at].values.as_slice());
                Packed::Recurrent(Box::new(shape.pack(inputs, state, bias, backward)))
            }
            Self::Directions { shape, weight } => {
                let pack = |direction: usize| {
                    let of = |at: usize| parameters[weight + 3 * direction + at].values.as_slice();
                    shape.shape.pack(of(0), of(1), of(2), backward)
                };
                Packed::Directions((0..shape.count()).map(pack).collect())
            }
            Self::Rescale(_) | Self::Relu | Self::Silu | Self::Dropout { .. } | Self::MaxPool(_) => Packed::Nothing,
            Self::AveragePool(_) | Self::GlobalAverage { .. } | Self::Shuffle(_) | Self::Add { .. } => Packed::Nothing,
            Self::Norm { .. } | Self::GroupNorm { .. } | Self::LastState(_) | Self::Flatten => Packed::Nothing,
            Self::Series(_) | Self::States(_) => Packed::Nothing,
        }
    }

    /// Its output, for layers to which a block is all there is.
    pub(super) fn forward(
        &self,
        parameters: &[Parameter],
        packed: &Packed,
        input: &[f32],
        scratch: &mut Vec<f32>,
        output: &mut Vec<f32>,
    ) {
        match (self, packed) {
            (Self::Convolution { shape, bias, relu, .. }, Packed::Convolution(packed)) => {
                let bias = bias.map(|bias| parameters[bias].values.as_slice());
                shape.forward(packed, (bias, *relu), input, scratch, output);
            }
            (Self::Recurrent { shape, .. }, Packed::Recurrent(packed)) => shape.forward(packed, input, scratch, output),
            (Self::LastState(shape), _) => shape.last_state(input, output),
            (Self::Directions { shape, .. }, Packed::Directions(packed)) => {
                shape.forward(packed, input, scratch, output);
            }
            (Self::States(shape), _) => shape.states(input, output),
            (Self::Series([steps, channels]), _) => turned(input, [*steps, *channels], output),
            (Self::Rescale(factor), _) => rescale(input, *factor, output),
            (Self::Relu, _) => relu(input, output),
            (Self::Silu, _) => silu(input, output),
            (Self::GroupNorm { shape, scale, relu }, _) => {
                let [gamma, beta] = [*scale, scale + 1].map(|at| parameters[at].values.as_slice());
                shape.forward((gamma, beta, *relu), input, output);
            }
            (Self::MaxPool(pooling), _) => pooling.max(input, output),
            (Self::AveragePool(pooling), _) => pooling.average(input, output),
            (Self::GlobalAverage { pixels }, _) => global_average(input, *pixels, output),
            (Self::Shuffle(shuffle), _) => shuffle.forward(input, output),
            // The network does batch norms, dropout and sums itself; what is left changes no number.
            (Self::Norm { .. } | Self::Dropout { .. } | Self::Add { .. } | Self::Flatten, _) => {
                input.clone_into(output)
            }
            // Each layer has its own parameters packed.
            (Self::Convolution { .. } | Self::Recurrent { .. } | Self::Directions { .. }, _) => {
                input.clone_into(output)
            }
        }
    }

    /// The moments of a batch normalisation's input.
    pub(super) fn moments(&self, input: &[f32], samples: usize) -> Option<BlockMoments> {
        let Self::Norm { shape, .. } = self else { return None };
        Some(shape.moments(input, samples))
    }

    /// A batch normalisation's output.
    pub(super) fn normalise(&self, parameters: &[Parameter], moments: &Moments, input: &[f32], output: &mut Vec<f32>) {
        if let Self::Norm { shape, scale, offset, relu, .. } = self {
            let affine = (parameters[*scale].values.as_slice(), parameters[*offset].values.as_slice(), *relu);
            shape.forward(moments, affine, input, output);
        }
    }

    /// Replaces the gradient of its output by that of its input, if it is wanted `further` back; adds
    /// those of its parameters.
    pub(super) fn backward(
        &self,
        (parameters, packed): (&[Parameter], &Packed),
        (input, output): (&[f32], &[f32]),
        way: &mut WayBack,
        further: bool,
    ) {
        let WayBack { upper, back, scratch, gradients, .. } = way;
        match (self, packed) {
            (Self::Convolution { shape, weight, bias, relu }, Packed::Convolution(packed)) => {
                if *relu {
                    relu_back(output, upper);
                }
                if let Some(bias) = bias {
                    add_plane_sums(upper, shape.to[0] * shape.to[1], &mut gradients[*bias]);
                }
                shape.add_weight_gradient(upper, input, scratch, &mut gradients[*weight]);
                if !further {
                    return;
                }
                shape.backward(packed, upper, scratch, back);
            }
            (Self::Recurrent { shape, weight }, Packed::Recurrent(packed)) => {
                let [inputs, state, bias] = &mut gradients[*weight..*weight + 3] else { return };
                let sums = RecurrentGradients { inputs, state, bias };
                shape.backward(packed, (input, output), upper, scratch, back, sums);
                if !further {
                    return;
                }
            }
            (Self::Directions { shape, weight }, Packed::Directions(packed)) => {
                let gradients = &mut gradients[*weight..weight + 3 * shape.count()];
                shape.backward(packed, (input, output), upper, scratch, back, gradients);
                if !further {
                    return;
                }
            }
            (Self::States(shape), _) => shape.states_back(input, upper, back),
            (Self::Rescale(factor), _) => rescale(upper, *factor, back),
            (Self::Relu, _) => return relu_back(output, upper),
            (Self::Silu, _) => return silu_back(input, upper),
            (Self::GroupNorm { shape, scale, relu }, _) => {
                if *relu {
                    relu_back(output, upper);
                }
                let [gamma, beta] = &mut gradients[*scale..scale + 2] else { return };
                return shape.backward(&parameters[*scale].values, input, upper, (gamma, beta));
            }
            (Self::MaxPool(pooling), _) => pooling.max_back(input, output, upper, back),
            (Self::AveragePool(pooling), _) => pooling.average_back(upper, back),
            (Self::GlobalAverage { pixels }, _) => global_average_back(upper, *pixels, back),
            (Self::Shuffle(shuffle), _) => shuffle.backward(upper, back),
            (Self::Series([steps, channels]), _) => turned(upper, [*channels, *steps], back),
            (Self::Add { relu: true, .. }, _) => return relu_back(output, upper),
            (Self::LastState(_) | Self::Norm { .. } | Self::Dropout { .. } | Self::Flatten, _)
            | (Self::Add { relu: false, .. }, _)
            | (Self::Convolution { .. } | Self::Recurrent { .. } | Self::Directions { .. }, _) => return,
        }
        std::mem::swap(upper, back);
    }

    /// A batch normalisation's sums over a block; passes the gradient of its Relu on the way.
    pub(super) fn norm_sums(
        &self,
        moments: &Moments,
        input: (&[f32], usize),
        output: &[f32],
        upper: &mut [f32],
    ) -> Vec<(f64, f64)> {
        let Self::Norm { shape, relu, .. } = self else { return Vec::new() };
        if *relu {
            relu_back(output, upper);
        }
        shape.sums(moments, input, upper)
    }

    /// The gradient of a batch normalisation's input, in place.
    pub(super) fn norm_back(
        &self,
        parameters: &[Parameter],
        moments: &Moments,
        sums: &[(f64, f64)],
        input: (&[f32], usize),
        upper: &mut [f32],
    ) {
        if let Self::Norm { shape, scale, .. } = self {
            shape.backward(moments, &parameters[*scale].values, sums, input, upper);
        }
    }
}
