//! Works out the shapes and costs of layers, one after the other.

use super::{Architecture, Bend, Encoding, LayerSpec};
use crate::error::{Error, Result};

/// The greatest number of channels, units or pixels.
const LARGEST: usize = 1 << 16;

/// The greatest number of tokens. Token ids enter a network as 32-bit floats, which are exact up to here.
pub const MOST_TOKENS: usize = 1 << 24;

/// One layer with its shapes and costs.
#[derive(Debug, Clone, PartialEq)]
pub struct PlannedLayer {
    /// The layer.
    pub spec: LayerSpec,
    /// The shape of a sample before the layer.
    pub input: Vec<usize>,
    /// The shape of a sample after the layer.
    pub output: Vec<usize>,
    /// The number of trainable parameters.
    pub parameters: usize,
    /// The multiply-adds for one sample.
    pub multiply_adds: usize,
}

impl LayerSpec {
    /// Returns the name of the layer in summaries.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Rescale { .. } => "rescale",
            Self::Flatten => "flatten",
            Self::Dense { .. } => "dense",
            Self::Relu => "relu",
            Self::Silu => "silu",
            Self::Dropout { .. } => "dropout",
            Self::Conv2d { .. } => "conv2d",
            Self::Series => "series",
            Self::Conv1d { .. } => "conv1d",
            Self::BatchNorm => "batch_norm",
            Self::GroupNorm { .. } => "group_norm",
            Self::MaxPool { .. } => "max_pool",
            Self::AveragePool { .. } => "average_pool",
            Self::GlobalAveragePool => "global_average_pool",
            Self::Add { .. } => "add",
            Self::Unflatten { .. } => "unflatten",
            Self::PixelShuffle { .. } => "pixel_shuffle",
            Self::Rows => "rows",
            Self::Lstm { .. } => "lstm",
            Self::Gru { .. } => "gru",
            Self::Encode { .. } => "encode",
            Self::Standardize { .. } => "standardize",
            Self::Embedding { .. } => "embedding",
            Self::EmbeddingBag { .. } => "embedding_bag",
            Self::Recall => "recall",
            Self::Destandardize { .. } => "destandardize",
        }
    }

    /// Returns true if the layer takes rows or sequences as they are sent, never the output of another layer. Such
    /// a layer is fitted to the data.
    pub fn is_first(&self) -> bool {
        matches!(
            self,
            Self::Encode { .. } | Self::Standardize { .. } | Self::Embedding { .. } | Self::EmbeddingBag { .. }
        )
    }

    /// Returns the shape and costs of the layer for an input of this shape; otherwise a message that says why the
    /// layer does not fit.
    fn on(&self, input: &[usize]) -> Fitted {
        let elements: usize = input.iter().product();
        match self {
            Self::Rescale { .. } => Cost::new(input, 0, elements),
            Self::Flatten => Cost::free(&[elements]),
            Self::Dense { units } => dense(input, *units),
            Self::Relu | Self::Silu => Cost::free(input),
            Self::Dropout { rate } if (0.0..1.0).contains(rate) => Cost::free(input),
            Self::Dropout { rate } => Err(format!("rate must be in [0, 1), got {rate}")),
            Self::Conv2d { channels, kernel, stride, padding, groups, bias } => {
                conv2d(input, [*channels, *kernel, *stride, *padding, *groups], *bias)
            }
            Self::Series => match *input {
                [steps, channels] => Cost::free(&[channels, 1, steps]),
                _ => Err(format!("takes steps and channels, got {input:?}; put rows or an embedding before it")),
            },
            Self::Conv1d { channels, kernel, stride, padding, bias } => {
                conv1d(input, [*channels, *kernel, *stride, *padding], *bias)
            }
            Self::BatchNorm => Cost::new(input, 2 * maps(input)?[0], elements),
            Self::GroupNorm { groups } => group_norm(input, *groups),
            Self::MaxPool { size, stride } | Self::AveragePool { size, stride } => {
                let [channels, height, width] = maps(input)?;
                let [height, width] = windows([height, width], *size, *stride)?;
                Cost::free(&[channels, height, width])
            }
            Self::GlobalAveragePool => Cost::free(&[maps(input)?[0]]),
            Self::Add { .. } => Cost::free(&maps(input)?),
            Self::Unflatten { channels, height, width } => unflatten(input, [*channels, *height, *width]),
            Self::PixelShuffle { factor } => pixel_shuffle(input, *factor),
            Self::Rows => match maps(input)? {
                [1, height, width] => Cost::free(&[height, width]),
                [channels, ..] => Err(format!("takes one channel, got {channels}")),
            },
            Self::Lstm { units, bidirectional, all_steps } => {
                recurrent(input, *units, [4, 1], [*bidirectional, *all_steps])
            }
            // The bias of the products with the state is separate in a GRU.
            Self::Gru { units, bidirectional, all_steps } => {
                recurrent(input, *units, [3, 2], [*bidirectional, *all_steps])
            }
            Self::Encode { columns } => encode(input, columns),
            Self::Standardize { mean, deviation } => standardize(input, mean, deviation),
            Self::Embedding { tokens, units } => embedding(input, *tokens, *units),
            Self::EmbeddingBag { tokens, units, .. } => {
                let Cost { parameters, .. } = embedding(input, *tokens, *units)?;
                Cost::new(&[*units], parameters, input.iter().product::<usize>() * units)
            }
            Self::Recall => Err("appends the encoded columns of a table, so the first layer must be an encode".into()),
            Self::Destandardize { mean, deviation } if mean.is_finite() && *deviation > 0.0 => {
                Cost::new(input, 0, elements)
            }
            Self::Destandardize { deviation, .. } => Err(format!("deviation must be above 0, got {deviation}")),
        }
    }
}

/// The output shape and the costs of a layer on a sample.
struct Cost {
    output: Vec<usize>,
    parameters: usize,
    multiply_adds: usize,
}

/// The costs of a layer, or a message that says why the layer does not fit its input.
type Fitted = std::result::Result<Cost, String>;

impl Cost {
    fn new(output: &[usize], parameters: usize, multiply_adds: usize) -> Fitted {
        Ok(Self { output: output.to_vec(), parameters, multiply_adds })
    }

    fn free(output: &[usize]) -> Fitted {
        Self::new(output, 0, 0)
    }
}

/// The channels, height and width of feature maps.
fn maps(input: &[usize]) -> std::result::Result<[usize; 3], String> {
    input.try_into().map_err(|_| format!("takes channels, height and width, got {input:?}"))
}

fn dense(input: &[usize], units: usize) -> Fitted {
    match *input {
        [inputs] if (1..=LARGEST).contains(&units) => Cost::new(&[units], (inputs + 1) * units, inputs * units),
        [_] => Err(format!("needs 1 to {LARGEST} units, got {units}")),
        _ => Err(format!("takes one dimension, got {input:?}; put a flatten before it")),
    }
}

fn conv2d(input: &[usize], [channels, kernel, stride, padding, groups]: [usize; 5], bias: bool) -> Fitted {
    let [inputs, height, width] = maps(input)?;
    if !(1..=LARGEST).contains(&channels) || groups == 0 || inputs % groups > 0 || channels % groups > 0 {
        return Err(format!("{inputs} channels cannot become {channels} in {groups} groups"));
    }
    if kernel > LARGEST || padding >= kernel {
        return Err(format!(
            "needs a kernel of at most {LARGEST} and less padding than it, got {kernel} and {padding}"
        ));
    }
    let [height, width] = windows([height + 2 * padding, width + 2 * padding], kernel, stride)?;
    let weights = channels * (inputs / groups) * kernel * kernel;
    Cost::new(&[channels, height, width], weights + if bias { channels } else { 0 }, weights * height * width)
}

fn conv1d(input: &[usize], [channels, kernel, stride, padding]: [usize; 4], bias: bool) -> Fitted {
    let [inputs, 1, steps] = maps(input)? else {
        return Err(format!("takes maps of one row, got {input:?}; put a series before it"));
    };
    if !(1..=LARGEST).contains(&channels) {
        return Err(format!("needs 1 to {LARGEST} channels, got {channels}"));
    }
    if kernel > LARGEST || padding >= kernel || stride == 0 || !(kernel..=LARGEST).contains(&(steps + 2 * padding)) {
        return Err(format!(
            "a window of {kernel} steps every {stride} does not fit {steps} steps and {padding} zeros on each side"
        ));
    }
    let steps = (steps + 2 * padding - kernel) / stride + 1;
    let weights = channels * inputs * kernel;
    Cost::new(&[channels, 1, steps], weights + if bias { channels } else { 0 }, weights * steps)
}

fn group_norm(input: &[usize], groups: usize) -> Fitted {
    let [channels, height, width] = maps(input)?;
    if groups == 0 || channels % groups > 0 {
        return Err(format!("{channels} channels cannot be divided into {groups} equal groups"));
    }
    if channels / groups * height * width < 2 {
        return Err("a group must have more than one number, because normalising a single one leaves 0".into());
    }
    Cost::new(input, 2 * channels, channels * height * width)
}

fn unflatten(input: &[usize], output: [usize; 3]) -> Fitted {
    let [channels, height, width] = output;
    let numbers = channels.checked_mul(height).and_then(|numbers| numbers.checked_mul(width));
    match (input, numbers) {
        (&[elements], Some(numbers)) if numbers == elements && elements > 0 => Cost::free(&output),
        _ => Err(format!("cannot make {channels} × {height} × {width} numbers of {input:?}")),
    }
}

fn pixel_shuffle(input: &[usize], factor: usize) -> Fitted {
    let [channels, height, width] = maps(input)?;
    match factor.checked_mul(factor).filter(|square| *square > 0 && channels % square == 0) {
        Some(square) => Cost::free(&[channels / square, height * factor, width * factor]),
        None => Err(format!("{channels} channels cannot be divided into squares of {factor} × {factor} pixels")),
    }
}

fn recurrent(
    input: &[usize],
    units: usize,
    [gates, biases]: [usize; 2],
    [bidirectional, all_steps]: [bool; 2],
) -> Fitted {
    let &[steps, inputs] = input else {
        return Err(format!("takes steps and inputs, got {input:?}; put rows or an embedding before it"));
    };
    if !(1..=LARGEST).contains(&units) {
        return Err(format!("needs 1 to {LARGEST} units, got {units}"));
    }
    let weights = (inputs + units) * units;
    let directions = if bidirectional { 2 } else { 1 };
    let output = if all_steps { vec![steps, directions * units] } else { vec![directions * units] };
    let parameters = directions * gates * (weights + biases * units);
    Cost::new(&output, parameters, directions * gates * weights * steps)
}

fn encode(input: &[usize], columns: &[Encoding]) -> Fitted {
    let elements = columns.iter().fold(0, |sum: usize, column| sum.saturating_add(column.elements()));
    if input != [elements] {
        return Err(format!("takes {elements} elements, got {input:?}"));
    }
    let is_possible = |column: &Encoding| match column {
        Encoding::Standard { mean, deviation, bent, .. } => {
            let is_bendable = |bend: &Bend| bend.median.is_finite() && bend.spread > 0.0;
            mean.is_finite() && *deviation > 0.0 && bent.as_ref().is_none_or(is_bendable)
        }
        Encoding::Moment { mean, deviation, periods } => {
            mean.is_finite() && *deviation > 0.0 && periods.iter().all(|period| *period > 0.0 && period.is_finite())
        }
        Encoding::OneHot { categories } => *categories <= LARGEST,
        Encoding::Bag { grams, tokens, units } => {
            *grams > 0 && (2..=MOST_TOKENS).contains(tokens) && (1..=LARGEST).contains(units)
        }
    };
    let width: usize = columns.iter().map(Encoding::width).fold(0, usize::saturating_add);
    if !columns.iter().all(is_possible) || !(1..=LARGEST).contains(&width) {
        return Err(format!("cannot make 1 to {LARGEST} numbers of {} columns", columns.len()));
    }
    let tables = columns.iter().filter_map(Encoding::table);
    let parameters = tables.map(|[tokens, units]| tokens * units).fold(0, usize::saturating_add);
    let sums = columns.iter().filter_map(|column| column.table().map(|[_, units]| column.elements() * units));
    Cost::new(&[width], parameters, sums.fold(width, usize::saturating_add))
}

fn recall(input: &[usize], encoded: &[usize]) -> Fitted {
    match (input, encoded) {
        (&[units], &[columns]) => Cost::free(&[units + columns]),
        _ => Err(format!("takes one dimension, got {input:?}")),
    }
}

fn standardize(input: &[usize], mean: &[f32], deviation: &[f32]) -> Fitted {
    if !matches!(input, [_, channels] if *channels == mean.len() && *channels == deviation.len()) {
        return Err(format!("takes steps of {} channels, got {input:?}", mean.len()));
    }
    if !mean.iter().all(|mean| mean.is_finite()) || !deviation.iter().all(|deviation| *deviation > 0.0) {
        return Err("means must be finite and deviations above 0".into());
    }
    Cost::new(input, 0, input.iter().product())
}

fn embedding(input: &[usize], tokens: usize, units: usize) -> Fitted {
    let &[steps] = input else { return Err(format!("takes steps of one token each, got {input:?}")) };
    if !(2..=MOST_TOKENS).contains(&tokens) || !(1..=LARGEST).contains(&units) {
        return Err(format!("needs 2 to {MOST_TOKENS} tokens and 1 to {LARGEST} units, got {tokens} and {units}"));
    }
    Cost::new(&[steps, units], tokens * units, 0)
}

/// Checks that the output of the layer so many layers back has the shape that is added to.
fn check_added(back: usize, planned: &[PlannedLayer], shape: &[usize]) -> std::result::Result<(), String> {
    let source = planned.len().checked_sub(back).filter(|_| back >= 2);
    let Some(source) = source.and_then(|source| planned.get(source)) else {
        return Err(format!("back must be from 2 to {}, the layers before it, got {back}", planned.len()));
    };
    if source.output != shape {
        let name = source.spec.name();
        return Err(format!("cannot add {:?}, the output of {name} {back} layers back, to {shape:?}", source.output));
    }
    Ok(())
}

/// Returns how many windows of `size` pixels, `stride` apart, fit into each axis.
fn windows(axes: [usize; 2], size: usize, stride: usize) -> std::result::Result<[usize; 2], String> {
    if size == 0 || stride == 0 || axes.iter().any(|axis| *axis < size || *axis > LARGEST) {
        let [height, width] = axes;
        return Err(format!("a window of {size} pixels every {stride} does not fit {height} × {width} pixels"));
    }
    Ok(axes.map(|axis| (axis - size) / stride + 1))
}

impl Architecture {
    /// Works out the shapes and costs of every layer.
    ///
    /// # Errors
    /// [`Error::Config`] when a layer does not fit the one before it or has an impossible setting.
    pub fn plan(&self) -> Result<Vec<PlannedLayer>> {
        let mut shape = self.input.clone();
        let mut planned: Vec<PlannedLayer> = Vec::with_capacity(self.layers.len());
        for (index, spec) in self.layers.iter().enumerate() {
            let refuse = |problem| Error::Config { setting: format!("layers[{index}] ({})", spec.name()), problem };
            if index > 0 && spec.is_first() {
                return Err(refuse("takes samples as they are sent, so it must be the first layer".into()));
            }
            if let LayerSpec::Add { back } = spec {
                check_added(*back, &planned, &shape).map_err(refuse)?;
            }
            let encoded = planned.first().filter(|first| matches!(first.spec, LayerSpec::Encode { .. }));
            let cost = match encoded {
                Some(first) if *spec == LayerSpec::Recall => recall(&shape, &first.output),
                Some(_) | None => spec.on(&shape),
            };
            let Cost { output, parameters, multiply_adds } = cost.map_err(refuse)?;
            planned.push(PlannedLayer {
                spec: spec.clone(),
                input: shape,
                output: output.clone(),
                parameters,
                multiply_adds,
            });
            shape = output;
        }
        Ok(planned)
    }

    /// Returns the shape of the output for one sample.
    ///
    /// # Errors
    /// As [`Architecture::plan`].
    pub fn output(&self) -> Result<Vec<usize>> {
        Ok(self.plan()?.last().map_or_else(|| self.input.clone(), |layer| layer.output.clone()))
    }

    /// Returns the number of trainable parameters.
    ///
    /// # Errors
    /// As [`Architecture::plan`].
    pub fn parameters(&self) -> Result<usize> {
        Ok(self.plan()?.iter().map(|layer| layer.parameters).sum())
    }

    /// Returns the multiply-adds for one sample.
    ///
    /// # Errors
    /// As [`Architecture::plan`].
    pub fn multiply_adds(&self) -> Result<usize> {
        Ok(self.plan()?.iter().map(|layer| layer.multiply_adds).sum())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seed() -> Architecture {
        Architecture {
            input: vec![1, 28, 28],
            layers: vec![
                LayerSpec::Flatten,
                LayerSpec::Dense { units: 128 },
                LayerSpec::Relu,
                LayerSpec::Dropout { rate: 0.2 },
                LayerSpec::Dense { units: 10 },
            ],
        }
    }

    #[test]
    fn the_seed_network_has_the_parameters_that_keras_prints() {
        assert_eq!(seed().parameters().unwrap(), 101_770);
        assert_eq!(seed().multiply_adds().unwrap(), 784 * 128 + 128 * 10);
        assert_eq!(seed().output().unwrap(), [10]);
    }

    #[test]
    fn a_convolutional_network_has_the_parameters_that_keras_prints() {
        let conv =
            |channels, groups| LayerSpec::Conv2d { channels, kernel: 3, stride: 1, padding: 0, groups, bias: true };
        let pool = LayerSpec::MaxPool { size: 2, stride: 2 };
        let layers = vec![conv(32, 1), pool.clone(), conv(64, 1), LayerSpec::BatchNorm, pool, conv(64, 64)];
        let network = Architecture { input: vec![1, 28, 28], layers };
        let planned = network.plan().unwrap();
        let parameters: Vec<usize> = planned.iter().map(|layer| layer.parameters).collect();
        assert_eq!(parameters, [320, 0, 18_496, 128, 0, 640]);
        let outputs: Vec<&[usize]> = planned.iter().map(|layer| layer.output.as_slice()).collect();
        let expected: [&[usize]; 6] =
            [&[32, 26, 26], &[32, 13, 13], &[64, 11, 11], &[64, 11, 11], &[64, 5, 5], &[64, 3, 3]];
        assert_eq!(outputs, expected);
        assert_eq!(planned[2].multiply_adds, 64 * 32 * 9 * 121);
    }

    #[test]
    fn recurrent_layers_have_the_parameters_that_keras_prints() {
        for (layer, parameters) in [(LayerSpec::lstm(128), 80_384), (LayerSpec::gru(128), 60_672)] {
            let network = Architecture { input: vec![1, 28, 28], layers: vec![LayerSpec::Rows, layer.clone()] };
            assert_eq!(network.parameters().unwrap(), parameters);
            assert_eq!(network.output().unwrap(), [128]);
            assert!(Architecture { input: vec![1, 28, 28], layers: vec![layer] }.plan().is_err());
        }
        assert!(Architecture { input: vec![3, 28, 28], layers: vec![LayerSpec::Rows] }.plan().is_err());
    }

    #[test]
    fn directions_and_steps_are_in_the_shapes_of_recurrent_layers() {
        let network = |layers: &[LayerSpec]| {
            let layers = std::iter::once(LayerSpec::Rows).chain(layers.iter().cloned()).collect();
            let network = Architecture { input: vec![1, 28, 28], layers };
            (network.output().unwrap(), network.parameters().unwrap())
        };
        let lstm = |bidirectional, all_steps| LayerSpec::Lstm { units: 128, bidirectional, all_steps };
        assert_eq!(network(&[lstm(true, false)]), (vec![256], 2 * 80_384));
        assert_eq!(network(&[lstm(false, true)]), (vec![28, 128], 80_384));
        let second = 4 * (256 + 128 + 1) * 128;
        assert_eq!(network(&[lstm(true, true), LayerSpec::lstm(128)]), (vec![128], 2 * 80_384 + second));
    }

    #[test]
    fn layers_that_read_sequences_come_first_and_fit_them() {
        let network = |input: &[usize], layers: &[LayerSpec]| {
            let network = Architecture { input: input.to_vec(), layers: layers.to_vec() };
            network.plan().map(|plan| plan.last().map(|layer| (layer.output.clone(), layer.parameters)).unwrap())
        };
        let embedding = |tokens, units| LayerSpec::Embedding { tokens, units };
        let standardize = |mean: &[f32], deviation: &[f32]| LayerSpec::Standardize {
            mean: mean.to_vec(),
            deviation: deviation.to_vec(),
        };
        assert_eq!(network(&[7], &[embedding(100, 32)]).unwrap(), (vec![7, 32], 3200));
        assert_eq!(network(&[7, 2], &[standardize(&[0.0, 1.0], &[1.0, 2.0])]).unwrap(), (vec![7, 2], 0));
        let lstm = LayerSpec::lstm(8);
        assert_eq!(network(&[7], &[embedding(100, 32), lstm.clone()]).unwrap().0, [8]);
        for (input, layers, hint) in [
            (&[7, 1][..], &[embedding(100, 32)][..], "takes steps of one token"),
            (&[7], &[embedding(1, 32)], "needs 2 to"),
            (&[7], &[embedding(100, 0)], "1 to 65536 units"),
            (&[7, 2], &[standardize(&[0.0], &[1.0])], "steps of 1 channels"),
            (&[7, 1], &[standardize(&[0.0], &[0.0])], "deviations above 0"),
            (&[7, 1], &[standardize(&[f32::NAN], &[1.0])], "means must be finite"),
            (&[7], &[LayerSpec::Relu, embedding(100, 32)], "must be the first"),
            (&[7], std::slice::from_ref(&lstm), "an embedding before it"),
        ] {
            let refused = network(input, layers).unwrap_err().to_string();
            assert!(refused.contains(hint), "{input:?}: {refused}");
        }
    }

    #[test]
    fn windows_that_do_not_fit_are_refused() {
        let conv = |channels, kernel, stride, padding, groups| LayerSpec::Conv2d {
            channels,
            kernel,
            stride,
            padding,
            groups,
            bias: true,
        };
        let impossible = [
            conv(8, 29, 1, 0, 1),
            conv(8, 3, 0, 0, 1),
            conv(8, 3, 1, 3, 1),
            conv(8, 0, 1, 0, 1),
            conv(8, 3, 1, 0, 2),
            conv(0, 3, 1, 0, 1),
            conv(8, 3, 1, 0, 0),
            conv(usize::MAX, 3, 1, 0, 1),
            LayerSpec::MaxPool { size: 29, stride: 1 },
            LayerSpec::AveragePool { size: 2, stride: 0 },
        ];
        for layer in impossible {
            let network = Architecture { input: vec![1, 28, 28], layers: vec![layer.clone()] };
            assert!(network.plan().unwrap_err().to_string().contains("layers[0]"), "{layer:?}");
        }
        let flat = Architecture { input: vec![784], layers: vec![LayerSpec::BatchNorm] };
        assert!(flat.plan().is_err());
    }

    #[test]
    fn channels_must_divide_into_groups_and_squares() {
        let plan = |input: &[usize], layer| {
            let network = Architecture { input: input.to_vec(), layers: vec![layer] };
            network.plan().map(|plan| (plan[0].output.clone(), plan[0].parameters)).map_err(|error| error.to_string())
        };
        let grouped = |groups| LayerSpec::GroupNorm { groups };
        let shuffled = |factor| LayerSpec::PixelShuffle { factor };
        let unflattened = |channels, height, width| LayerSpec::Unflatten { channels, height, width };
        assert_eq!(plan(&[6, 4, 5], grouped(3)), Ok((vec![6, 4, 5], 12)));
        assert_eq!(plan(&[12, 4, 5], shuffled(2)), Ok((vec![3, 8, 10], 0)));
        assert_eq!(plan(&[60], unflattened(3, 4, 5)), Ok((vec![3, 4, 5], 0)));
        for (input, layer, hint) in [
            (&[6, 4, 5][..], grouped(4), "6 channels cannot be divided into 4 equal groups"),
            (&[6, 4, 5], grouped(0), "into 0 equal groups"),
            (&[6, 1, 1], grouped(6), "more than one number"),
            (&[120], grouped(1), "takes channels"),
            (&[6, 4, 5], shuffled(2), "6 channels cannot be divided into squares of 2 × 2"),
            (&[6, 4, 5], shuffled(0), "squares of 0"),
            (&[6, 4, 5], shuffled(usize::MAX), "squares of"),
            (&[61], unflattened(3, 4, 5), "3 × 4 × 5 numbers of [61]"),
            (&[3, 20], unflattened(3, 4, 5), "of [3, 20]"),
            (&[0], unflattened(usize::MAX, 2, 0), "numbers of [0]"),
        ] {
            let refused = plan(input, layer.clone()).unwrap_err();
            assert!(refused.contains(hint), "{layer:?} on {input:?}: {refused}");
        }
    }

    #[test]
    fn what_is_added_is_there_and_has_the_same_shape() {
        let conv = |channels| LayerSpec::Conv2d { channels, kernel: 3, stride: 1, padding: 1, groups: 1, bias: false };
        let network = |back, channels| Architecture {
            input: vec![3, 8, 8],
            layers: vec![conv(4), LayerSpec::Relu, conv(channels), LayerSpec::Add { back }],
        };
        assert_eq!(network(2, 4).output().unwrap(), [4, 8, 8]);
        assert_eq!(network(3, 4).plan().unwrap()[3].parameters, 0);
        for (back, channels, hint) in [
            (0, 4, "from 2 to 3"),
            (1, 4, "from 2 to 3"),
            (4, 4, "from 2 to 3"),
            (2, 5, "cannot add [4, 8, 8], the output of relu 2 layers back, to [5, 8, 8]"),
        ] {
            let refused = network(back, channels).plan().unwrap_err().to_string();
            assert!(refused.contains("layers[3] (add)") && refused.contains(hint), "{refused}");
        }
    }

    #[test]
    fn layers_that_do_not_fit_are_refused_by_position() {
        let mut missing_flatten = seed();
        missing_flatten.layers.remove(0);
        assert!(missing_flatten.plan().unwrap_err().to_string().contains("layers[0] (dense)"));
        for rate in [1.0, -0.1, f32::NAN] {
            let mut dropout = seed();
            dropout.layers[3] = LayerSpec::Dropout { rate };
            assert!(dropout.plan().is_err(), "{rate}");
        }
    }
}
