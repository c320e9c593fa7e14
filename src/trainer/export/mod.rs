//! A trained network as an ONNX file (IR 8, opset 18): raw input, normalisation and softmax in the
//! graph, the batch a symbol. Batch normalisations become part of the convolutions before them.

mod columns;
mod graph;
mod recurrent;
mod sequences;
mod shared;

use std::collections::{BTreeMap, BTreeSet};

use tract_onnx::pb::{GraphProto, ModelProto, OperatorSetIdProto, StringStringEntryProto, ValueInfoProto};

use self::columns::is_wide;
pub(super) use self::graph::{FLOAT, Graph, float_value, integer, integers};
use self::graph::{double_value, float, text};
pub(super) use self::shared::share_tensors;
use super::kernels::NORM_EPSILON;
use super::network::{Network, Parameter};
use crate::error::Result;
use crate::layers::{LayerSpec, PlannedLayer};

/// The input: raw pixels.
pub(super) const INPUT: &str = "image";
/// The input of a network that takes rows of a table or sequences.
pub(super) const FEATURES: &str = "features";
/// The output before the softmax.
pub(super) const LOGITS: &str = "logits";
/// The output after it.
pub(super) const PROBABILITIES: &str = "probabilities";

/// The output of a regression before its scale is undone, as it was trained.
pub(super) const STANDARDIZED: &str = "standardized";
/// The output of a regression.
pub(super) const VALUE: &str = "value";

const IR_VERSION: i64 = 8;
const OPSET: i64 = 18;

/// The bytes of the ONNX file. The same network gives the same bytes.
///
/// # Errors
/// As [`crate::layers::Architecture::plan`].
pub fn to_onnx(network: &Network, name: &str) -> Result<Vec<u8>> {
    ensemble_to_onnx(std::slice::from_ref(network), name)
}

/// The bytes of the ONNX file of networks whose outputs are averaged before the last scale or softmax; there is at least
/// one.
///
/// # Errors
/// As [`crate::layers::Architecture::plan`].
pub(super) fn ensemble_to_onnx(networks: &[Network], name: &str) -> Result<Vec<u8>> {
    let network = &networks[0];
    let is_image = network.layers().first().is_none_or(|layer| !layer.spec.is_first());
    let input = if is_image { INPUT } else { FEATURES };
    let mut graph = Graph::default();
    let outputs = write_answer(&mut graph, networks, input)?;
    let inputs = vec![float_value(input, &network.architecture().input)];
    Ok(encode(graph, name, inputs, outputs))
}

/// Writes networks, whose outputs are averaged, from the value `input` to the answer of their task, and returns its
/// outputs: logits and probabilities of classes, or a number as it was trained and in its own unit.
///
/// # Errors
/// As [`crate::layers::Architecture::output`].
pub(super) fn write_answer(graph: &mut Graph, networks: &[Network], input: &str) -> Result<Vec<ValueInfoProto>> {
    let network = &networks[0];
    let scale = scale(network);
    let outputs = if scale.is_some() { [STANDARDIZED, VALUE] } else { [LOGITS, PROBABILITIES] };
    match networks {
        [alone] => write_network(graph, alone, input, outputs[0], ""),
        several => write_mean(graph, several, input, outputs[0]),
    }
    match scale {
        Some([mean, deviation]) => graph.destandardize([mean, deviation], STANDARDIZED, VALUE),
        None => graph.node("Softmax", &[LOGITS], PROBABILITIES, vec![integer("axis", 1)]),
    }
    let shape = network.architecture().output()?;
    let last = if scale.is_some_and(is_wide) { double_value } else { float_value };
    Ok(vec![float_value(outputs[0], &shape), last(outputs[1], &shape)])
}

/// Returns mean and deviation of the numbers that the network ends in, if it does.
fn scale(network: &Network) -> Option<[f64; 2]> {
    let LayerSpec::Destandardize { mean, deviation } = network.layers().last()?.spec else { return None };
    Some([mean, deviation])
}

/// Writes networks from the value `input` to the mean of their outputs.
fn write_mean(graph: &mut Graph, networks: &[Network], input: &str, output: &str) {
    let mut sum = String::new();
    for (index, network) in networks.iter().enumerate() {
        let prefix = format!("member_{}.", index + 1);
        let own = format!("{prefix}{output}");
        write_network(graph, network, input, &own, &prefix);
        sum = match index {
            0 => own,
            _ => {
                let next = format!("{prefix}sum");
                graph.node("Add", &[&sum, &own], &next, Vec::new());
                next
            }
        };
    }
    let share = format!("{output}.share");
    graph.constant(&share, &[], &[1.0 / networks.len() as f32]);
    graph.node("Mul", &[&sum, &share], output, Vec::new());
}

/// The file of a graph.
pub(super) fn encode(graph: Graph, name: &str, input: Vec<ValueInfoProto>, output: Vec<ValueInfoProto>) -> Vec<u8> {
    let proto = GraphProto {
        node: graph.nodes,
        initializer: graph.constants,
        name: name.to_owned(),
        input,
        output,
        ..GraphProto::default()
    };
    let model = ModelProto {
        ir_version: IR_VERSION,
        opset_import: vec![OperatorSetIdProto { domain: String::new(), version: OPSET }],
        producer_name: "weir".into(),
        producer_version: env!("CARGO_PKG_VERSION").into(),
        graph: Some(proto),
        metadata_props: vec![StringStringEntryProto { key: "model".into(), value: name.to_owned() }],
        ..ModelProto::default()
    };
    prost::Message::encode_to_vec(&model)
}

/// Writes the layers of a network from the value `input` to the value `output`, but for the scale of a regression; the
/// names of values between begin with `prefix`.
pub(super) fn write_network(graph: &mut Graph, network: &Network, input: &str, output: &str, prefix: &str) {
    let mut writer = Writer {
        graph,
        parameters: network.parameters(),
        statistics: network.statistics(),
        value: input.to_owned(),
        encoded: String::new(),
        scale: 1.0,
        is_blank: network.layers().iter().any(|layer| layer.spec.passes_over_padding()),
        sources: sources(network.layers()),
        values: BTreeMap::new(),
    };
    let layers: Vec<(usize, &PlannedLayer)> = network
        .layers()
        .iter()
        .enumerate()
        .filter(|(_, layer)| !matches!(layer.spec, LayerSpec::Dropout { .. } | LayerSpec::Destandardize { .. }))
        .collect();
    let mut rest = layers.as_slice();
    while let [(index, layer), after @ ..] = rest {
        let is_folded = matches!(layer.spec, LayerSpec::Conv2d { .. } | LayerSpec::Conv1d { .. })
            && !writer.sources.contains(index)
            && matches!(after, [(_, next), ..] if matches!(next.spec, LayerSpec::BatchNorm));
        rest = if is_folded { &after[1..] } else { after };
        let name = match rest {
            [] => output.to_owned(),
            _ => format!("{prefix}{}_{index}", layer.spec.name()),
        };
        writer.layer((*index, layer), is_folded, rest, &name);
        // A layer that was folded in has the same value.
        writer.values.insert(index + usize::from(is_folded), writer.value.clone());
    }
}

/// How a convolution passes over maps: numbers of the height and of the width.
struct Window {
    kernel: [usize; 2],
    stride: [usize; 2],
    padding: [usize; 2],
    groups: usize,
}

/// The graph so far, and what is left to write.
struct Writer<'a> {
    graph: &'a mut Graph,
    parameters: &'a [Parameter],
    statistics: &'a [Parameter],
    /// The name of the value that the next layer reads.
    value: String,
    /// The name of the value of the encoded columns of a table.
    encoded: String,
    /// A factor that the next layer's weights take in.
    scale: f32,
    /// True if padding is looked up as zeros.
    is_blank: bool,
    /// The layers whose outputs are added later.
    sources: BTreeSet<usize>,
    /// The names of the outputs of the layers so far.
    values: BTreeMap<usize, String>,
}

/// Returns the layers whose outputs others add; for dropout, which is not exported, what is before it.
fn sources(layers: &[PlannedLayer]) -> BTreeSet<usize> {
    let source = |(index, layer): (usize, &PlannedLayer)| {
        let LayerSpec::Add { back } = layer.spec else { return None };
        Some(exported(layers, index.saturating_sub(back)))
    };
    layers.iter().enumerate().filter_map(source).collect()
}

/// Returns the layer whose output a layer's is in the graph: its own, but for dropout.
fn exported(layers: &[PlannedLayer], mut index: usize) -> usize {
    while index > 0 && matches!(layers[index].spec, LayerSpec::Dropout { .. }) {
        index -= 1;
    }
    index
}

impl<'a> Writer<'a> {
    /// Writes a convolution, with the batch normalisation after it if that is `folded`.
    fn convolution(&mut self, value: &str, window: &Window, (bias, folded): (bool, bool), output: &str) {
        let mut weight = self.scaled_weight();
        let mut bias = bias.then(|| self.parameter().clone());
        if folded {
            bias = Some(self.fold_norm(&mut weight, bias));
        }
        let mut inputs = vec![value, &weight.name];
        self.constant(&weight);
        if let Some(bias) = &bias {
            self.constant(bias);
            inputs.push(&bias.name);
        }
        let attributes = vec![
            integers("kernel_shape", &window.kernel),
            integers("strides", &window.stride),
            integers("pads", &[window.padding, window.padding].concat()),
            integer("group", window.groups as i64),
        ];
        self.graph.node("Conv", &inputs, output, attributes);
    }

    /// Writes a batch normalisation that no convolution can take in.
    fn batch_norm(&mut self, value: &str, output: &str) {
        let arrays = [self.parameter(), self.parameter(), self.statistic(), self.statistic()];
        let mut inputs = vec![value];
        for array in arrays {
            self.constant(array);
            inputs.push(&array.name);
        }
        self.graph.node("BatchNormalization", &inputs, output, vec![float("epsilon", NORM_EPSILON)]);
    }

    /// Writes a layer, with the batch normalisation after it if that is `folded`.
    fn layer(
        &mut self,
        (index, layer): (usize, &PlannedLayer),
        folded: bool,
        rest: &[(usize, &PlannedLayer)],
        output: &str,
    ) {
        let value = self.value.clone();
        match &layer.spec {
            LayerSpec::Rescale { scale } if is_before_weights(rest) && !self.sources.contains(&index) => {
                self.scale *= scale;
                return;
            }
            LayerSpec::Rescale { scale } => {
                let factor = format!("{output}.scale");
                self.graph.constant(&factor, &[], &[*scale]);
                self.graph.node("Mul", &[&value, &factor], output, Vec::new());
            }
            LayerSpec::Flatten => self.graph.node("Flatten", &[&value], output, vec![integer("axis", 1)]),
            LayerSpec::Dense { .. } => {
                let (weight, bias) = (self.scaled_weight(), self.parameter());
                self.constant(&weight);
                self.constant(bias);
                self.graph.node("Gemm", &[&value, &weight.name, &bias.name], output, Vec::new());
            }
            LayerSpec::Add { back } => self.add(&value, index.saturating_sub(*back), output),
            LayerSpec::Unflatten { .. } => self.reshape(&value, &layer.output, output),
            LayerSpec::PixelShuffle { factor } => self.pixel_shuffle(*factor, &value, output),
            LayerSpec::Relu => self.graph.node("Relu", &[&value], output, Vec::new()),
            LayerSpec::Silu => self.silu(&value, output),
            LayerSpec::Dropout { .. } | LayerSpec::Destandardize { .. } => return,
            LayerSpec::Conv2d { kernel, stride, padding, groups, bias, .. } => {
                let window =
                    Window { kernel: [*kernel; 2], stride: [*stride; 2], padding: [*padding; 2], groups: *groups };
                self.convolution(&value, &window, (*bias, folded), output);
            }
            LayerSpec::Conv1d { kernel, stride, padding, bias, .. } => {
                let window = Window { kernel: [1, *kernel], stride: [1, *stride], padding: [0, *padding], groups: 1 };
                self.convolution(&value, &window, (*bias, folded), output);
            }
            LayerSpec::Series => self.series(&value, output),
            LayerSpec::BatchNorm => self.batch_norm(&value, output),
            LayerSpec::GroupNorm { groups } => self.group_norm(&value, *groups, &layer.input, output),
            LayerSpec::MaxPool { size, stride } | LayerSpec::AveragePool { size, stride } => {
                let is_max = matches!(layer.spec, LayerSpec::MaxPool { .. });
                self.pool(if is_max { "MaxPool" } else { "AveragePool" }, (*size, *stride), &value, output);
            }
            LayerSpec::Rows => self.rows(&value, output),
            LayerSpec::Lstm { .. } | LayerSpec::Gru { .. } => self.recurrent(layer, &value, output),
            LayerSpec::Encode { columns } => self.encode(columns, &value, output),
            LayerSpec::Recall => self.recall(&value, output),
            LayerSpec::Standardize { mean, deviation } => self.standardize(mean, deviation, &value, output),
            LayerSpec::Embedding { tokens, .. } => self.embed(*tokens, &value, output),
            LayerSpec::EmbeddingBag { tokens, weighted: false, .. } => self.bag(*tokens, &value, output),
            LayerSpec::EmbeddingBag { tokens, weighted: true, .. } => self.weighted_bag(*tokens, &value, output),
            LayerSpec::GlobalAveragePool => self.global_average(&value, output),
        }
        output.clone_into(&mut self.value);
    }

    fn pool(&mut self, operator: &str, (size, stride): (usize, usize), value: &str, output: &str) {
        let attributes = vec![integers("kernel_shape", &[size; 2]), integers("strides", &[stride; 2])];
        self.graph.node(operator, &[value], output, attributes);
    }

    fn pixel_shuffle(&mut self, factor: usize, value: &str, output: &str) {
        let attributes = vec![integer("blocksize", factor as i64), text("mode", "CRD")];
        self.graph.node("DepthToSpace", &[value], output, attributes);
    }

    fn global_average(&mut self, value: &str, output: &str) {
        let pooled = format!("{output}.maps");
        self.graph.node("GlobalAveragePool", &[value], &pooled, Vec::new());
        self.graph.node("Flatten", &[&pooled], output, vec![integer("axis", 1)]);
    }

    /// Adds the output of a layer before; what was checked when the network was made is there.
    fn add(&mut self, value: &str, source: usize, output: &str) {
        let other = self.values.range(..=source).next_back().map_or(value, |(_, name)| name.as_str());
        self.graph.node("Add", &[value, other], output, Vec::new());
    }

    /// `[N, steps, channels]` → `[N, channels, 1, steps]`.
    fn series(&mut self, value: &str, output: &str) {
        let [turned, axes] = ["turned", "axes"].map(|part| format!("{output}.{part}"));
        self.graph.node("Transpose", &[value], &turned, vec![integers("perm", &[0, 2, 1])]);
        self.graph.integers_constant(&axes, &[2]);
        self.graph.node("Unsqueeze", &[&turned, &axes], output, Vec::new());
    }

    fn rows(&mut self, value: &str, output: &str) {
        let axes = format!("{output}.axes");
        self.graph.integers_constant(&axes, &[1]);
        self.graph.node("Squeeze", &[value, &axes], output, Vec::new());
    }

    fn silu(&mut self, value: &str, output: &str) {
        let share = format!("{output}.share");
        self.graph.node("Sigmoid", &[value], &share, Vec::new());
        self.graph.node("Mul", &[value, &share], output, Vec::new());
    }

    /// The encoded columns of a table behind a value.
    fn recall(&mut self, value: &str, output: &str) {
        let encoded = self.encoded.clone();
        self.graph.node("Concat", &[value, &encoded], output, vec![integer("axis", 1)]);
    }

    /// Each group as one channel of an instance normalisation, then a factor and an offset for each channel. The
    /// operator that ONNX has for all of it means one thing before its opset 21 and another from then on.
    fn group_norm(&mut self, value: &str, groups: usize, sample: &[usize], output: &str) {
        let (scale, offset) = (self.parameter(), self.parameter());
        let [grouped, ones, zeros, normalised, split, maps, scaled] =
            ["grouped", "ones", "zeros", "normalised", "split", "maps", "scaled"]
                .map(|part| format!("{output}.{part}"));
        // The batch is as it is, the numbers of a group are what is left.
        self.graph.integers_constant(&split, &[0, groups as i64, -1]);
        self.graph.node("Reshape", &[value, &split], &grouped, Vec::new());
        self.graph.constant(&ones, &[groups], &vec![1.0; groups]);
        self.graph.constant(&zeros, &[groups], &vec![0.0; groups]);
        let epsilon = vec![float("epsilon", NORM_EPSILON)];
        self.graph.node("InstanceNormalization", &[&grouped, &ones, &zeros], &normalised, epsilon);
        self.reshape(&normalised, sample, &maps);
        for array in [scale, offset] {
            let mut by_channel = array.clone();
            by_channel.shape.resize(sample.len(), 1);
            self.constant(&by_channel);
        }
        self.graph.node("Mul", &[&maps, &scale.name], &scaled, Vec::new());
        self.graph.node("Add", &[&scaled, &offset.name], output, Vec::new());
    }

    /// Samples in another shape.
    fn reshape(&mut self, value: &str, sample: &[usize], output: &str) {
        // The batch is what is left.
        let sizes: Vec<i64> = std::iter::once(-1).chain(sample.iter().map(|&size| size as i64)).collect();
        let shape = format!("{output}.shape");
        self.graph.integers_constant(&shape, &sizes);
        self.graph.node("Reshape", &[value, &shape], output, Vec::new());
    }

    fn constant(&mut self, array: &Parameter) {
        self.graph.constant(&array.name, &array.shape, &array.values);
    }

    fn parameter(&mut self) -> &'a Parameter {
        next(&mut self.parameters)
    }

    fn statistic(&mut self) -> &'a Parameter {
        next(&mut self.statistics)
    }

    /// The next parameter times the scale before it.
    fn scaled_weight(&mut self) -> Parameter {
        let mut weight = self.parameter().clone();
        let scale = std::mem::replace(&mut self.scale, 1.0);
        weight.values.iter_mut().for_each(|value| *value *= scale);
        weight
    }

    /// Takes the next batch normalisation into a convolution's weights; returns the bias that comes of it.
    fn fold_norm(&mut self, weight: &mut Parameter, bias: Option<Parameter>) -> Parameter {
        let (scale, offset) = (self.parameter(), self.parameter());
        let (mean, variance) = (self.statistic(), self.statistic());
        let channels = scale.values.len();
        let taps = weight.values.len() / channels;
        let mut folded = Parameter {
            name: weight.name.replace(".weight", ".bias"),
            shape: vec![channels],
            values: bias.map_or_else(|| vec![0.0; channels], |bias| bias.values),
        };
        for (channel, bias) in folded.values.iter_mut().enumerate() {
            let deviation = (f64::from(variance.values[channel]) + f64::from(NORM_EPSILON)).sqrt();
            let factor = f64::from(scale.values[channel]) / deviation;
            let centred = f64::from(*bias) - f64::from(mean.values[channel]);
            *bias = (centred * factor + f64::from(offset.values[channel])) as f32;
            for value in &mut weight.values[channel * taps..][..taps] {
                *value = (f64::from(*value) * factor) as f32;
            }
        }
        folded
    }
}

/// The first of the list, which is taken off it. A network has as many arrays as its layers say.
fn next<'a>(list: &mut &'a [Parameter]) -> &'a Parameter {
    let (first, rest) = list.split_at(1);
    *list = rest;
    &first[0]
}

/// Whether a layer with weights is next but for layers that a scale passes through: then the scale can
/// be folded into them, which saves a pass over the input at every inference.
fn is_before_weights(rest: &[(usize, &PlannedLayer)]) -> bool {
    let next =
        rest.iter().find(|(_, layer)| !matches!(layer.spec, LayerSpec::Flatten | LayerSpec::Rows | LayerSpec::Series));
    next.is_some_and(|(_, layer)| {
        matches!(
            layer.spec,
            LayerSpec::Dense { .. }
                | LayerSpec::Conv2d { .. }
                | LayerSpec::Conv1d { .. }
                | LayerSpec::Lstm { .. }
                | LayerSpec::Gru { .. }
        )
    })
}
