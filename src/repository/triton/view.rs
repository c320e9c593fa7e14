//! A graph as clients see it: with the shapes of `config.pbtxt`, which may differ from the graph's.

use super::config::ModelConfig;
use super::refuse;
use crate::error::Result;
use crate::signature::{BATCH, Batching, DType, Dim, Signature, TensorSpec};
use crate::tensor::Tensor;

/// A graph as clients see it.
#[derive(Debug, Clone, PartialEq)]
pub struct View {
    /// The inputs in the graph's order, the outputs in the configuration's.
    pub signature: Signature,
    /// The way in which samples share a run.
    pub batching: Batching,
    /// The adapter between the shapes of clients and those of the graph; `None` where they are the same.
    pub adapter: Option<ShapeAdapter>,
}

/// The way between the tensors of clients and those of a graph.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShapeAdapter {
    /// By input: the shape that the graph takes, where it is another.
    inputs: Vec<Option<Vec<Dim>>>,
    /// By output: which of the graph's it is, and the shape that clients get, where it is another.
    outputs: Vec<(usize, Option<Vec<Dim>>)>,
}

impl ShapeAdapter {
    /// Brings inputs into the shapes of the graph.
    ///
    /// # Errors
    /// [`crate::error::Error::InvalidInput`] when the elements do not fill such a shape.
    pub fn to_graph(&self, tensors: Vec<Tensor>) -> Result<Vec<Tensor>> {
        let shapes = self.inputs.iter().map(Option::as_deref).chain(std::iter::repeat(None));
        tensors.into_iter().zip(shapes).map(|(tensor, shape)| reshaped(tensor, shape)).collect()
    }

    /// Picks the outputs that clients get and brings them into their shapes.
    ///
    /// # Errors
    /// [`crate::error::Error::InvalidInput`] when the elements do not fill such a shape.
    pub fn to_client(&self, tensors: Vec<Tensor>) -> Result<Vec<Tensor>> {
        let mut tensors: Vec<Option<Tensor>> = tensors.into_iter().map(Some).collect();
        let picked = self.outputs.iter().filter_map(|(index, shape)| {
            Some(reshaped(tensors.get_mut(*index).and_then(Option::take)?, shape.as_deref()))
        });
        picked.collect()
    }

    /// The output of the graph that an output of clients is.
    pub fn graph_output(&self, output: usize) -> usize {
        self.outputs.get(output).map_or(output, |(index, _)| *index)
    }

    /// The shape that the graph takes for an input, if it is another than that of clients.
    pub fn graph_input(&self, input: usize) -> Option<&[Dim]> {
        self.inputs.get(input)?.as_deref()
    }
}

/// The batch keeps its size, and one open dimension takes what is left.
fn reshaped(tensor: Tensor, shape: Option<&[Dim]>) -> Result<Tensor> {
    let Some(shape) = shape else { return Ok(tensor) };
    let rows = tensor.rows();
    let fixed = |dim: &Dim| match dim {
        Dim::Fixed(size) => Some(*size),
        dim if dim.is_batch() => Some(rows),
        Dim::Symbol(_) => None,
    };
    let known: usize = shape.iter().filter_map(fixed).fold(1, usize::saturating_mul);
    let open = tensor.data().len().checked_div(known).unwrap_or(0);
    let sizes = shape.iter().map(|dim| fixed(dim).unwrap_or(open)).collect();
    Tensor::from_data(sizes, tensor.into_data())
}

/// Checks that a shape can be brought into another: as many elements, and an open dimension in both or in
/// neither.
///
/// # Errors
/// What does not fit.
pub(super) fn check_reshape(dims: &[i64], shape: &[i64]) -> std::result::Result<(), String> {
    let open = |dims: &[i64]| dims.iter().filter(|dim| **dim == -1).count();
    let known = |dims: &[i64]| dims.iter().filter(|dim| **dim > 0).try_fold(1i64, |all, dim| all.checked_mul(*dim));
    if open(dims) > 1 || open(shape) > 1 {
        return Err(format!(
            "reshape between {dims:?} and {shape:?} is not supported: each may have one open dimension at the most"
        ));
    }
    if open(dims) != open(shape) || known(dims).is_none() || known(dims) != known(shape) {
        return Err(format!("reshape between {dims:?} and {shape:?} does not keep the number of elements"));
    }
    Ok(())
}

/// A tensor as the configuration describes it.
struct Described<'c> {
    kind: &'static str,
    name: &'c str,
    dtype: Option<DType>,
    dims: &'c [i64],
    reshape: Option<&'c [i64]>,
}

impl View {
    /// A graph as it is.
    pub fn plain(graph: &Signature) -> Self {
        Self { signature: graph.clone(), batching: graph.batching(), adapter: None }
    }

    /// A graph as a configuration shows it. The configuration may list inputs that a request may leave out, `optional`,
    /// as well.
    ///
    /// # Errors
    /// [`crate::error::Error::Repository`] naming the tensor that does not fit, expected and got.
    pub fn of(config: &ModelConfig, graph: &Signature, optional: &[TensorSpec]) -> Result<Self> {
        let batched = config.max_batch_size > 0;
        if batched {
            let tensors = graph.inputs.iter().map(|spec| ("input", spec));
            for (kind, spec) in tensors.chain(graph.outputs.iter().map(|spec| ("output", spec))) {
                if !matches!(spec.shape.first(), Some(Dim::Symbol(_))) {
                    return Err(refuse(format!(
                        "max_batch_size is {}, so every tensor must begin with a batch dimension of any size; {kind} \
                         \"{}\" of the graph has shape {}",
                        config.max_batch_size,
                        spec.name,
                        spec.shape_text()
                    )));
                }
            }
        }
        let inputs = config.input.iter().map(|input| Described {
            kind: "input",
            name: &input.name,
            dtype: input.data_type.dtype(),
            dims: &input.dims,
            reshape: input.reshape.as_ref().map(|reshape| reshape.shape.as_slice()),
        });
        let outputs = config.output.iter().map(|output| Described {
            kind: "output",
            name: &output.name,
            dtype: output.data_type.dtype(),
            dims: &output.dims,
            reshape: output.reshape.as_ref().map(|reshape| reshape.shape.as_slice()),
        });
        let (left_out, inputs): (Vec<_>, Vec<_>) =
            inputs.partition(|input| optional.iter().any(|spec| spec.name == input.name));
        left_out
            .iter()
            .filter(|_| !batched)
            .try_for_each(|input| input.see(&optional[find(input, optional)?], false).map(drop))?;
        let outputs: Vec<_> = outputs.collect();
        let (input_specs, input_shapes) = see_inputs(&inputs, &graph.inputs, batched)?;
        let (output_specs, output_shapes) = see_outputs(&outputs, &graph.outputs, batched)?;
        let is_reshaped =
            input_shapes.iter().any(Option::is_some) || output_shapes.iter().any(|(_, shape)| shape.is_some());
        let is_picked = !output_shapes.iter().map(|(index, _)| *index).eq(0..graph.outputs.len());
        let signature = Signature { inputs: input_specs, outputs: output_specs };
        let batching = match (batched, is_reshaped) {
            (true, _) => Batching::Any,
            // The first dimension of a shape that clients see need not be the graph's batch.
            (false, true) => Batching::Whole,
            (false, false) => signature.batching(),
        };
        let adapter =
            (is_reshaped || is_picked).then_some(ShapeAdapter { inputs: input_shapes, outputs: output_shapes });
        Ok(Self { signature, batching, adapter })
    }
}

type Inputs = (Vec<TensorSpec>, Vec<Option<Vec<Dim>>>);
type Outputs = (Vec<TensorSpec>, Vec<(usize, Option<Vec<Dim>>)>);

fn see_inputs(described: &[Described<'_>], graph: &[TensorSpec], batched: bool) -> Result<Inputs> {
    if described.is_empty() {
        return Ok((graph.iter().map(|spec| named(spec, batched)).collect(), vec![None; graph.len()]));
    }
    described.iter().try_for_each(|tensor| find(tensor, graph).map(drop))?;
    let see = |spec: &TensorSpec| match described.iter().find(|tensor| tensor.name == spec.name) {
        Some(tensor) => tensor.see(spec, batched).map(|seen| (seen, tensor.graph_shape(spec, batched))),
        None => Err(refuse(format!("input \"{}\" of the graph is not listed", spec.name))),
    };
    Ok(graph.iter().map(see).collect::<Result<Vec<_>>>()?.into_iter().unzip())
}

fn see_outputs(described: &[Described<'_>], graph: &[TensorSpec], batched: bool) -> Result<Outputs> {
    if described.is_empty() {
        let specs = graph.iter().map(|spec| named(spec, batched)).collect();
        return Ok((specs, (0..graph.len()).map(|index| (index, None)).collect()));
    }
    let see = |tensor: &Described<'_>| {
        let index = find(tensor, graph)?;
        let seen = tensor.see(&graph[index], batched)?;
        let shape = tensor.reshape.map(|_| seen.shape.clone());
        Ok((seen, (index, shape)))
    };
    Ok(described.iter().map(see).collect::<Result<Vec<_>>>()?.into_iter().unzip())
}

/// A tensor of the graph whose first dimension is the batch, whatever the graph calls it.
fn named(spec: &TensorSpec, batched: bool) -> TensorSpec {
    let mut spec = spec.clone();
    if let Some(first) = spec.shape.first_mut().filter(|_| batched) {
        *first = Dim::Symbol(BATCH.into());
    }
    spec
}

fn find(tensor: &Described<'_>, graph: &[TensorSpec]) -> Result<usize> {
    graph.iter().position(|spec| spec.name == tensor.name).ok_or_else(|| {
        let names: Vec<String> = graph.iter().map(|spec| format!("\"{}\"", spec.name)).collect();
        refuse(format!(
            "the graph has no {} {}; it has {}",
            tensor.kind,
            crate::ids::quote(tensor.name),
            names.join(", ")
        ))
    })
}

impl Described<'_> {
    /// The dimensions on the side of the graph, the batch among them.
    fn expected(&self, batched: bool) -> Vec<i64> {
        let batch = if batched { &[-1][..] } else { &[] };
        [batch, self.reshape.unwrap_or(self.dims)].concat()
    }

    /// The shape that the graph takes, if it is another than that of clients.
    fn graph_shape(&self, spec: &TensorSpec, batched: bool) -> Option<Vec<Dim>> {
        self.reshape?;
        let dim = |(axis, (expected, dim)): (usize, (&i64, &Dim))| match (usize::try_from(*expected), dim) {
            (Ok(size), _) => Dim::Fixed(size),
            _ if batched && axis == 0 => Dim::Symbol(BATCH.into()),
            (_, Dim::Fixed(size)) => Dim::Fixed(*size),
            (_, Dim::Symbol(_)) => Dim::Symbol(format!("{}_{axis}", self.name)),
        };
        Some(self.expected(batched).iter().zip(&spec.shape).enumerate().map(dim).collect())
    }

    /// The tensor as clients see it.
    fn see(&self, spec: &TensorSpec, batched: bool) -> Result<TensorSpec> {
        let (kind, name) = (self.kind, &spec.name);
        if self.dtype != Some(spec.dtype) {
            let says = self.dtype.map_or("nothing", |dtype| super::config::DataType::from(dtype).name());
            let is = super::config::DataType::from(spec.dtype).name();
            return Err(refuse(format!("{kind} \"{name}\" is of {is} in the graph, the configuration says {says}")));
        }
        let expected = self.expected(batched);
        let fits = |(expected, dim): (&i64, &Dim)| match dim {
            Dim::Fixed(size) => *expected == -1 || usize::try_from(*expected) == Ok(*size),
            Dim::Symbol(_) => true,
        };
        if expected.len() != spec.shape.len() || !expected.iter().zip(&spec.shape).all(fits) {
            let why = match (batched, self.reshape) {
                (true, None) => " (the batch and dims)",
                (true, Some(_)) => " (the batch and reshape)",
                (false, None) => "",
                (false, Some(_)) => " (reshape)",
            };
            return Err(refuse(format!(
                "{kind} \"{name}\" has shape {} in the graph, the configuration says {expected:?}{why}",
                spec.shape_text()
            )));
        }
        let open = |(axis, dim): (usize, &i64)| match usize::try_from(*dim) {
            Ok(size) => Dim::Fixed(size),
            Err(_) if self.reshape.is_some() => Dim::Symbol(format!("{name}_{axis}")),
            Err(_) => {
                spec.shape.get(usize::from(batched) + axis).cloned().unwrap_or(Dim::Symbol(format!("{name}_{axis}")))
            }
        };
        let dims = self.dims.iter().enumerate().map(open);
        let batch = batched.then(|| Dim::Symbol(BATCH.into()));
        Ok(TensorSpec { name: name.clone(), dtype: spec.dtype, shape: batch.into_iter().chain(dims).collect() })
    }
}
