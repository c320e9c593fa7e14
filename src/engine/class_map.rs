//! Finds in a graph what an exact class-activation map needs (Zhou et al., 2016): logits that are a linear map of a global
//! average pool. Cuts off what is behind them, so that a run gives the maps before the pool beside the logits.

use std::collections::BTreeMap;

use prost::Message as _;
use tract_onnx::pb::{AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, tensor_proto};

use super::surgery::{keep, untyped};

/// Operators that make probabilities or scores of logits, and those that change neither.
const SQUASHES: [&str; 3] = ["Softmax", "LogSoftmax", "Sigmoid"];
/// Operators that give the same numbers in another shape, and those that do nothing while a network serves.
const VIEWS: [&str; 6] = ["Flatten", "Reshape", "Squeeze", "Unsqueeze", "Identity", "Dropout"];

/// A graph that gives maps and logits, and the linear map from the means of the ones to the others.
#[derive(Debug, Clone, PartialEq)]
pub struct ClassMapGraph {
    /// The graph, with two outputs: the maps, and the logits.
    pub onnx: Vec<u8>,
    /// The linear map.
    pub head: LinearHead,
    /// True if the channels of the maps are their last dimension.
    pub is_channels_last: bool,
}

/// A linear map from the means of channels to logits.
#[derive(Debug, Clone, PartialEq)]
pub enum LinearHead {
    /// The logits are the means.
    Identity,
    /// The logits are weighted sums of the means.
    Weighted {
        /// The weights of each class, one class after the other.
        weights: Vec<f32>,
        /// The number that is added to each class.
        bias: Vec<f32>,
    },
}

impl LinearHead {
    /// Returns the weight of each of so many channels for a class, and what is added; `None` if the sizes do not fit.
    pub fn of_class(&self, class: usize, channels: usize) -> Option<(Vec<f32>, f32)> {
        match self {
            Self::Identity if class < channels => {
                Some(((0..channels).map(|channel| f32::from(u8::from(channel == class))).collect(), 0.0))
            }
            Self::Weighted { weights, bias } if weights.len() == channels * bias.len() => {
                Some((weights.get(class * channels..)?.get(..channels)?.to_vec(), *bias.get(class)?))
            }
            Self::Identity | Self::Weighted { .. } => None,
        }
    }
}

/// Cuts the graph of a file behind the logits that its output `scores` is made of.
///
/// # Errors
/// The reason in words why the logits are no linear map of a global average pool.
pub fn class_map_graph(onnx: &[u8], scores: &str) -> Result<ClassMapGraph, String> {
    let mut model = ModelProto::decode(onnx).map_err(|_| "the file is no ONNX graph".to_owned())?;
    let graph = model.graph.as_mut().ok_or("the file holds no graph")?;
    let found = Search::new(graph).run(scores)?;
    keep(graph, [found.maps.as_str(), &found.logits]);
    graph.output = [&found.maps, &found.logits].map(|name| untyped(name)).to_vec();
    Ok(ClassMapGraph { onnx: model.encode_to_vec(), head: found.head, is_channels_last: found.is_channels_last })
}

/// The end of a network, as a search found it.
struct Found {
    maps: String,
    logits: String,
    head: LinearHead,
    is_channels_last: bool,
}

/// A way back through a graph.
struct Search<'g> {
    makers: BTreeMap<&'g str, &'g NodeProto>,
    constants: BTreeMap<&'g str, &'g TensorProto>,
}

impl<'g> Search<'g> {
    fn new(graph: &'g GraphProto) -> Self {
        let makers = graph.node.iter().flat_map(|node| node.output.iter().map(move |output| (output.as_str(), node)));
        let of_nodes = graph.node.iter().filter(|node| node.op_type == "Constant");
        let of_nodes = of_nodes.filter_map(|node| Some((node.output.first()?.as_str(), tensor(node)?)));
        let constants = graph.initializer.iter().map(|constant| (constant.name.as_str(), constant)).chain(of_nodes);
        Self { makers: makers.collect(), constants: constants.collect() }
    }

    fn run(&self, scores: &'g str) -> Result<Found, String> {
        let logits = self.logits(scores);
        let (head, pooled) = self.head(self.behind_views(logits))?;
        let pool = self.makers.get(self.behind_views(pooled)).copied();
        let maps = pool.and_then(|pool| pool.input.first());
        let (Some(pool), Some(maps)) = (pool, maps) else {
            return Err(refused("nothing makes them from maps"));
        };
        let is_channels_last = match (pool.op_type.as_str(), self.sides(pool).as_deref()) {
            ("GlobalAveragePool", _) | ("ReduceMean", Some([2, 3] | [-2, -1] | [2])) => false,
            ("ReduceMean", Some([1, 2] | [-3, -2])) => true,
            (kind, _) => return Err(refused(&format!("before their linear layer stands a {kind}"))),
        };
        if !self.makers.contains_key(maps.as_str()) {
            return Err(refused("the pool takes the input itself"));
        }
        Ok(Found { maps: maps.clone(), logits: logits.to_owned(), head, is_channels_last })
    }

    /// Returns the logits that scores are made of: a softmax, and a temperature before it, are left out.
    fn logits(&self, scores: &'g str) -> &'g str {
        let mut tensor = scores;
        while let Some(node) = self.makers.get(tensor) {
            let is_scaled = || node.input.get(1).is_some_and(|factor| self.is_number(factor));
            tensor = match node.op_type.as_str() {
                kind if SQUASHES.contains(&kind) || kind == "Identity" => node.input[0].as_str(),
                "Mul" | "Div" if is_scaled() => node.input[0].as_str(),
                _ => break,
            };
        }
        tensor
    }

    /// Returns the linear map that makes a tensor, and what it is a map of.
    fn head(&self, tensor: &'g str) -> Result<(LinearHead, &'g str), String> {
        let Some(node) = self.makers.get(tensor) else { return Ok((LinearHead::Identity, tensor)) };
        match node.op_type.as_str() {
            "Gemm" => self.gemm(node),
            "MatMul" => self.product(node, None),
            "Add" => {
                let [a, b] = node.input.as_slice() else { return Err(refused("an Add has not two inputs")) };
                let (product, bias) = if self.constants.contains_key(a.as_str()) { (b, a) } else { (a, b) };
                let made = self.makers.get(self.behind_views(product)).filter(|made| made.op_type == "MatMul");
                let made = made.ok_or_else(|| refused("they are a sum of more than a product and a constant"))?;
                self.product(made, Some(bias))
            }
            "Conv" => self.pointwise(node),
            _ => Ok((LinearHead::Identity, tensor)),
        }
    }

    fn gemm(&self, node: &'g NodeProto) -> Result<(LinearHead, &'g str), String> {
        let [value, matrix, rest @ ..] = node.input.as_slice() else { return Err(refused("a Gemm lacks inputs")) };
        if integer(node, "transA") != 0 {
            return Err(refused("a Gemm takes its input turned"));
        }
        let (numbers, [rows, columns]) = self.matrix(matrix)?;
        let is_turned = integer(node, "transB") != 0;
        let [alpha, beta] = ["alpha", "beta"].map(|name| attribute(node, name).map_or(1.0, |number| number.f));
        let (classes, by_class) = match is_turned {
            true => (rows, numbers),
            false => (columns, turned(&numbers, [rows, columns])),
        };
        let bias = match rest.first().filter(|bias| !bias.is_empty()) {
            Some(bias) => self.bias(bias, classes)?,
            None => vec![0.0; classes],
        };
        let weights = by_class.iter().map(|weight| weight * alpha).collect();
        let bias = bias.iter().map(|number| number * beta).collect();
        Ok((LinearHead::Weighted { weights, bias }, value))
    }

    fn product(&self, node: &'g NodeProto, bias: Option<&str>) -> Result<(LinearHead, &'g str), String> {
        let [value, matrix] = node.input.as_slice() else { return Err(refused("a MatMul has not two inputs")) };
        let (numbers, [rows, columns]) = self.matrix(matrix)?;
        let bias = bias.map_or_else(|| Ok(vec![0.0; columns]), |bias| self.bias(bias, columns))?;
        Ok((LinearHead::Weighted { weights: turned(&numbers, [rows, columns]), bias }, value))
    }

    /// A convolution by windows of one pixel, of which the pool leaves one, is a product.
    fn pointwise(&self, node: &'g NodeProto) -> Result<(LinearHead, &'g str), String> {
        let [value, matrix, rest @ ..] = node.input.as_slice() else { return Err(refused("a Conv lacks inputs")) };
        let behind = self.makers.get(self.behind_views(value)).map(|node| node.op_type.as_str());
        if !matches!(behind, Some("GlobalAveragePool" | "ReduceMean")) || integer(node, "group") > 1 {
            return Err(refused("they are maps of a Conv"));
        }
        let constant = self.constant(matrix)?;
        let [classes, channels, sides @ ..] = constant.dims.as_slice() else {
            return Err(refused("the weights of a Conv have too few dimensions"));
        };
        if sides.iter().any(|side| *side != 1) {
            return Err(refused("a Conv behind the pool has windows of more than one pixel"));
        }
        let (weights, classes) = (floats(constant)?, *classes as usize);
        if weights.len() != classes * *channels as usize {
            return Err(refused("the weights of a Conv are not as many as their dimensions say"));
        }
        let bias = match rest.first().filter(|bias| !bias.is_empty()) {
            Some(bias) => self.bias(bias, classes)?,
            None => vec![0.0; classes],
        };
        Ok((LinearHead::Weighted { weights, bias }, value))
    }

    fn behind_views(&self, mut tensor: &'g str) -> &'g str {
        while let Some(node) = self.makers.get(tensor).filter(|node| VIEWS.contains(&node.op_type.as_str())) {
            let Some(input) = node.input.first() else { break };
            tensor = input;
        }
        tensor
    }

    /// Returns the axes of a mean, in order, as an attribute or a constant input says.
    fn sides(&self, node: &NodeProto) -> Option<Vec<i64>> {
        let said = attribute(node, "axes").map(|axes| axes.ints.clone());
        let mut axes = said.or_else(|| Some(whole_numbers(self.constants.get(node.input.get(1)?.as_str())?)))?;
        axes.sort_unstable();
        Some(axes)
    }

    fn constant(&self, name: &str) -> Result<&'g TensorProto, String> {
        let quoted = crate::ids::quote(name);
        let not_constant = || refused(&format!("the weights {quoted} of their linear layer are no constant"));
        self.constants.get(name).copied().ok_or_else(not_constant)
    }

    fn matrix(&self, name: &str) -> Result<(Vec<f32>, [usize; 2]), String> {
        let constant = self.constant(name)?;
        let numbers = floats(constant)?;
        match *constant.dims.as_slice() {
            [rows, columns] if rows > 0 && columns > 0 && (rows * columns) as usize == numbers.len() => {
                Ok((numbers, [rows as usize, columns as usize]))
            }
            _ => Err(refused("the weights of their linear layer are no matrix")),
        }
    }

    /// Returns what is added to each class.
    fn bias(&self, name: &str, classes: usize) -> Result<Vec<f32>, String> {
        match floats(self.constant(name)?)? {
            numbers if numbers.len() == classes => Ok(numbers),
            numbers if numbers.len() == 1 => Ok(vec![numbers[0]; classes]),
            numbers => Err(refused(&format!("to {classes} logits {} numbers are added", numbers.len()))),
        }
    }

    fn is_number(&self, name: &str) -> bool {
        let is_scale = |numbers: &[f32]| matches!(numbers, [number] if number.is_finite() && *number > 0.0);
        self.constants.get(name).is_some_and(|constant| floats(constant).is_ok_and(|numbers| is_scale(&numbers)))
    }
}

fn refused(why: &str) -> String {
    format!("its logits are no linear map of a global average pool: {why}")
}

fn attribute<'n>(node: &'n NodeProto, name: &str) -> Option<&'n AttributeProto> {
    node.attribute.iter().find(|attribute| attribute.name == name)
}

fn integer(node: &NodeProto, name: &str) -> i64 {
    attribute(node, name).map_or(0, |attribute| attribute.i)
}

/// Returns the tensor of a node that holds one.
fn tensor(node: &NodeProto) -> Option<&TensorProto> {
    node.attribute.iter().find_map(|attribute| attribute.t.as_ref())
}

fn floats(constant: &TensorProto) -> Result<Vec<f32>, String> {
    if constant.data_type != tensor_proto::DataType::Float as i32 {
        return Err(refused("the weights of their linear layer are no 32-bit floats"));
    }
    if !constant.float_data.is_empty() {
        return Ok(constant.float_data.clone());
    }
    let (numbers, _) = constant.raw_data.as_chunks::<4>();
    Ok(numbers.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect())
}

fn whole_numbers(constant: &TensorProto) -> Vec<i64> {
    if !constant.int64_data.is_empty() {
        return constant.int64_data.clone();
    }
    let (numbers, _) = constant.raw_data.as_chunks::<8>();
    numbers.iter().map(|bytes| i64::from_le_bytes(*bytes)).collect()
}

/// Returns a matrix with rows for columns.
fn turned(numbers: &[f32], [rows, columns]: [usize; 2]) -> Vec<f32> {
    (0..columns).flat_map(|column| (0..rows).map(move |row| numbers[row * columns + column])).collect()
}

#[cfg(test)]
mod tests;
