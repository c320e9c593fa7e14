//! A parsed graph, from which plans are made: one for any sizes, or one for the sizes of a request.

use std::collections::HashSet;

use prost::Message as _;
use tract_onnx::data_resolver;
use tract_onnx::dim_expr::parse_onnx_dim;
use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::tensor_shape_proto::{Dimension, dimension};
use tract_onnx::pb::{GraphProto, ModelProto, TensorProto, ValueInfoProto, type_proto};
use tract_onnx::tensor::load_tensor;
use tract_onnx::tract_core::ops::konst::Const;
use tract_onnx::tract_hir::internal::*;

use super::shapes::{self, Names};
use crate::engine::dims::{Nameless, Symbols};
use crate::engine::seen::DeclaredOutput;
use crate::engine::{Bounds, OptionalInput, ml, passes};
use crate::signature::{BATCH, Dim, TensorSpec};

/// The first version of the format in which an initializer that is also an input may be replaced by a request.
const OPTIONAL_INPUTS: i64 = 4;

/// The most elements of a value that a plan is made for.
const MAX_ARGUMENT: usize = 1024;

/// The most elements of a default. More are weights, which some exporters list among the inputs.
const MAX_DEFAULT: i64 = 1 << 16;

/// A parsed graph. Its inputs are those that every request brings, then those that have a default.
#[derive(Debug)]
pub(super) struct Source {
    graph: InferenceModel,
    pub(super) names: Names,
    pub(super) symbols: Symbols,
    /// The inputs that every request brings.
    pub(super) inputs: Vec<TensorSpec>,
    /// The inputs that a request may leave out.
    pub(super) optional: Vec<Optional>,
    /// The inputs whose values a plan must know, by their places.
    arguments: Vec<usize>,
    pub(super) outputs: Vec<DeclaredOutput>,
    /// True if the file declares shapes between inputs and outputs.
    pub(super) has_inner: bool,
    /// The tensors that it may make from a request.
    pub(super) bounds: Bounds,
}

/// An input with a default.
#[derive(Debug)]
pub(super) struct Optional {
    pub(super) input: OptionalInput,
    constant: Arc<Tensor>,
}

/// The use of the shapes that a file declares between its inputs and outputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Inner {
    /// Derive all of them from the inputs.
    Derived,
    /// Believe them.
    Declared,
}

impl Source {
    /// Parses the bytes of a file where they are; the reader of tract would copy them first.
    pub(super) fn parse(onnx: &[u8], nameless: Nameless, inner: Inner, bounds: Bounds) -> TractResult<Self> {
        let mut proto = ModelProto::decode(onnx)?;
        if proto.opset_import.is_empty() {
            bail!("the file names no version of the operators it uses (opset_import); it may have been cut short");
        }
        passes::rewrite_file(&mut proto, bounds).map_err(TractError::msg)?;
        let has_optional = proto.ir_version >= OPTIONAL_INPUTS;
        let mut defaults = Vec::new();
        let Some(graph) = &mut proto.graph else { bail!("the file holds no graph") };
        if has_optional {
            defaults = take_defaults(graph);
        }
        let arguments = passes::arguments(graph);
        let constants: HashSet<&str> = graph.initializer.iter().map(|tensor| tensor.name.as_str()).collect();
        graph.input.retain(|input| !constants.contains(input.name.as_str()));
        let optional: HashSet<&str> = defaults.iter().map(|default| default.name.as_str()).collect();
        let is_required = |input: &ValueInfoProto| !optional.contains(input.name.as_str());
        graph.input.sort_by_key(|input| !is_required(input));
        let required = graph.input.iter().filter(|input| is_required(input)).count();
        let declared = graph.input.iter().map(Declared::of).collect::<TractResult<Vec<_>>>()?;
        let shapes: Vec<Vec<Dim>> =
            declared[..required].iter().map(|input| input.shape.clone().unwrap_or_default()).collect();
        let symbols = Symbols::of(&shapes, nameless);
        let outputs = graph.output.iter().map(declared_output).collect();
        let has_inner = !graph.value_info.is_empty();
        rename_inner(graph, &symbols, inner);
        let mut reader = passes::reader();
        ml::register(&mut reader.op_register);
        let mut graph = reader.model_for_proto_model(&proto)?;
        let names = shapes::names(&graph);
        // Declared output shapes may name dimensions differently; tract derives them from the inputs. An output may be
        // an input, so the inputs are described after that.
        for output in 0..graph.outputs.len() {
            graph.set_output_fact(output, InferenceFact::default())?;
        }
        let mut inputs = Vec::with_capacity(declared.len());
        for (index, (name, input)) in names.inputs.iter().zip(&declared).enumerate() {
            let shape = input.shape.as_deref().map(|dims| symbols.input(index, dims));
            graph.set_input_fact(index, fact(&graph.symbols, input.datum, shape.as_deref())?)?;
            inputs.push(shapes::input(name, input.datum, shape.unwrap_or_default())?);
        }
        let optional = inputs.split_off(required).into_iter().map(|spec| Optional::new(spec, &defaults));
        let optional = optional.collect::<TractResult<Vec<_>>>()?;
        let arguments = names.inputs.iter().enumerate().filter(|(_, name)| arguments.contains(*name));
        let arguments = arguments.map(|(place, _)| place).collect();
        Ok(Self { graph, names, symbols, inputs, optional, arguments, outputs, has_inner, bounds })
    }

    /// Returns the graph with known types and shapes: for any sizes, or for inputs of these shapes. Shapes of all
    /// optional inputs may follow those of the others; without them, their defaults are constants, as are the inputs
    /// whose `values` are given by their places. `any_batch` leaves the batch open.
    pub(super) fn typed(
        &self,
        shapes: Option<&[&[usize]]>,
        values: &[(usize, Arc<Tensor>)],
        any_batch: bool,
    ) -> TractResult<TypedModel> {
        let mut graph = self.graph.clone();
        let optional = shapes.map_or(0, |shapes| shapes.len().saturating_sub(self.inputs.len()));
        for (index, shape) in shapes.unwrap_or_default().iter().enumerate() {
            let mut fact = graph.input_fact(index)?.clone();
            match self.inputs.get(index) {
                Some(spec) => {
                    for (axis, (size, dim)) in shape.iter().zip(&spec.shape).enumerate() {
                        if !(any_batch && dim.is_batch()) {
                            fact.shape.set_dim(axis, size.to_dim());
                        }
                    }
                }
                None => fact.shape = shape.iter().map(|size| size.to_dim()).collect(),
            }
            graph.set_input_fact(index, fact)?;
        }
        let mut constants = values.to_vec();
        if optional == 0 {
            let defaults = self.optional.iter().enumerate();
            constants.extend(defaults.map(|(place, optional)| (self.inputs.len() + place, optional.constant.clone())));
        }
        for (place, constant) in &constants {
            let outlet = graph.inputs[*place];
            graph.nodes[outlet.node].op = Box::new(Const::new(constant.clone())?);
            graph.set_outlet_fact(outlet, TypedFact::try_from(constant.clone())?.into())?;
        }
        graph.inputs = except(&constants, graph.inputs).into_vec();
        passes::mend(graph.into_typed()?)?.into_decluttered()
    }

    /// Returns true if plans are made for values of some inputs.
    pub(super) fn has_arguments(&self) -> bool {
        !self.arguments.is_empty()
    }

    /// Returns the values that a plan must know, by the places of their inputs. A long one is data.
    pub(super) fn values(&self, inputs: &[TValue]) -> Vec<(usize, Arc<Tensor>)> {
        let is_short = |value: &TValue| value.len() <= MAX_ARGUMENT && value.datum_type() != String::datum_type();
        let value = |place: &usize| {
            let value = inputs.get(*place).filter(|value| is_short(value))?;
            Some((*place, value.clone().into_arc_tensor()))
        };
        self.arguments.iter().filter_map(value).collect()
    }

    /// Returns the name and the operator of a node that tract does not know.
    pub(super) fn unknown_node(&self) -> Option<(&str, String)> {
        self.graph.nodes.iter().find_map(|node| {
            let op = node.op.name();
            let op = op.strip_prefix("Unimplemented(")?.trim_end_matches(')');
            Some((node.name.as_str(), op.to_owned()))
        })
    }

    /// Returns the symbol of the batch, if the inputs have a batch.
    pub(super) fn batch(&self) -> Option<Symbol> {
        self.symbols.has_batch().then(|| self.graph.symbols.sym(BATCH))
    }

    /// Returns the dimensions that a request may choose, apart from the batch, as pairs of input and axis.
    pub(super) fn open(&self) -> Vec<(usize, usize)> {
        let open = |(index, spec): (usize, &TensorSpec)| {
            let is_open = |(_, dim): &(usize, &Dim)| matches!(dim, Dim::Symbol(_)) && !dim.is_batch();
            let axes: Vec<usize> = spec.shape.iter().enumerate().filter(is_open).map(|(axis, _)| axis).collect();
            axes.into_iter().map(move |axis| (index, axis))
        };
        self.inputs.iter().enumerate().flat_map(open).collect()
    }
}

/// Returns those of `inputs` whose places have no value.
pub(super) fn except<T>(values: &[(usize, Arc<Tensor>)], inputs: impl IntoIterator<Item = T>) -> TVec<T> {
    let is_open = |place: usize| values.iter().all(|(constant, _)| *constant != place);
    inputs.into_iter().enumerate().filter(|(place, _)| is_open(*place)).map(|(_, input)| input).collect()
}

impl Optional {
    fn new(spec: TensorSpec, defaults: &[TensorProto]) -> TractResult<Self> {
        let default = defaults.iter().find(|default| default.name == spec.name).context("an input has no default")?;
        let constant = load_tensor(&*data_resolver::default(), default, None)?;
        let input = OptionalInput { spec, default: super::convert::from_tract(&constant)? };
        Ok(Self { input, constant: constant.into_arc_tensor() })
    }
}

/// Returns the inputs of a file that a request may leave out. Nothing else of the file is understood.
pub(super) fn optional_inputs(onnx: &[u8]) -> TractResult<Vec<OptionalInput>> {
    let mut proto = ModelProto::decode(onnx)?;
    let has_optional = proto.ir_version >= OPTIONAL_INPUTS;
    let Some(graph) = proto.graph.as_mut().filter(|_| has_optional) else { return Ok(Vec::new()) };
    let defaults = take_defaults(graph);
    let optional = |(index, value): (usize, &ValueInfoProto)| {
        let declared = Declared::of(value)?;
        let shape = Symbols::default().input(index, &declared.shape.unwrap_or_default());
        Optional::new(shapes::input(&value.name, declared.datum, shape)?, &defaults).map(|optional| optional.input)
    };
    let has_default = |(_, value): &(usize, &ValueInfoProto)| defaults.iter().any(|tensor| tensor.name == value.name);
    graph.input.iter().enumerate().filter(has_default).map(optional).collect()
}

/// Takes the initializers that are also inputs out of a graph.
fn take_defaults(graph: &mut GraphProto) -> Vec<TensorProto> {
    let inputs: HashSet<String> = graph.input.iter().map(|input| input.name.clone()).collect();
    let is_default = |tensor: &TensorProto| {
        let elements = tensor.dims.iter().try_fold(1i64, |all, dim| all.checked_mul(*dim));
        inputs.contains(&tensor.name) && elements.is_some_and(|elements| elements <= MAX_DEFAULT)
    };
    let (defaults, constants) = std::mem::take(&mut graph.initializer).into_iter().partition(is_default);
    graph.initializer = constants;
    defaults
}

/// A tensor as a file declares it.
struct Declared {
    datum: DatumType,
    shape: Option<Vec<Dim>>,
}

impl Declared {
    fn of(value: &ValueInfoProto) -> TractResult<Self> {
        let Some(type_proto::Value::TensorType(tensor)) = value.r#type.as_ref().and_then(|of| of.value.as_ref()) else {
            bail!("\"{}\" is not a tensor", value.name)
        };
        let datum = DataType::try_from(tensor.elem_type).ok().and_then(|element| DatumType::try_from(element).ok());
        let unknown = || format!("\"{}\" is of the type {}, which tract does not know", value.name, tensor.elem_type);
        Ok(Self { datum: datum.with_context(unknown)?, shape: tensor.shape.as_ref().map(|_| dims(value)) })
    }
}

fn declared_output(value: &ValueInfoProto) -> DeclaredOutput {
    let declared = Declared::of(value).ok();
    let dtype = declared.as_ref().and_then(|output| super::convert::dtype(output.datum));
    DeclaredOutput { name: value.name.clone(), dtype, shape: declared.and_then(|output| output.shape) }
}

/// Returns the declared dimensions of a tensor; one without a name is the symbol "".
fn dims(value: &ValueInfoProto) -> Vec<Dim> {
    let Some(type_proto::Value::TensorType(tensor)) = value.r#type.as_ref().and_then(|of| of.value.as_ref()) else {
        return Vec::new();
    };
    let dim = |dim: &Dimension| match &dim.value {
        Some(dimension::Value::DimValue(size)) if *size >= 0 => {
            Dim::Fixed(usize::try_from(*size).unwrap_or(usize::MAX))
        }
        Some(dimension::Value::DimParam(name)) if name != "?" => Dim::Symbol(name.clone()),
        _ => Dim::Symbol(String::new()),
    };
    tensor.shape.iter().flat_map(|shape| &shape.dim).map(dim).collect()
}

fn rename(value: &mut ValueInfoProto, named: &[Dim]) {
    let Some(type_proto::Value::TensorType(tensor)) = value.r#type.as_mut().and_then(|of| of.value.as_mut()) else {
        return;
    };
    for (dim, named) in tensor.shape.iter_mut().flat_map(|shape| &mut shape.dim).zip(named) {
        if let Dim::Symbol(symbol) = named {
            dim.value = Some(dimension::Value::DimParam(symbol.clone()));
        }
    }
}

/// Brings what a graph and the graphs inside it declare into step with the symbols of the inputs, or drops it. Names
/// that are no symbols of inputs say nothing.
fn rename_inner(graph: &mut GraphProto, symbols: &Symbols, inner: Inner) {
    if inner == Inner::Derived {
        graph.value_info.clear();
    }
    let known = |dim: Dim| match dim {
        Dim::Symbol(name) => symbols.get(&name).map_or(Dim::Symbol("?".into()), |symbol| Dim::Symbol(symbol.into())),
        fixed @ Dim::Fixed(_) => fixed,
    };
    for value in graph.value_info.iter_mut().chain(&mut graph.output) {
        let named: Vec<Dim> = dims(value).into_iter().map(known).collect();
        rename(value, &named);
    }
    let nodes = graph.node.iter_mut().flat_map(|node| &mut node.attribute);
    for body in nodes.flat_map(|attribute| attribute.g.iter_mut().chain(&mut attribute.graphs)) {
        for input in &mut body.input {
            let named: Vec<Dim> = dims(input).into_iter().map(known).collect();
            rename(input, &named);
        }
        rename_inner(body, symbols, inner);
    }
}

/// Describes an input for tract.
fn fact(scope: &SymbolScope, datum: DatumType, shape: Option<&[Dim]>) -> TractResult<InferenceFact> {
    let fact = InferenceFact::default().with_datum_type(datum);
    let Some(shape) = shape else { return Ok(fact) };
    let dim = |dim: &Dim| match dim {
        Dim::Fixed(size) => size.to_dim(),
        Dim::Symbol(text) => parse_onnx_dim(scope, text).unwrap_or_else(|_| scope.sym(text).to_dim()),
    };
    Ok(fact.with_shape(shape.iter().map(dim).collect::<ShapeFactoid>()))
}
