//! A graph in memory and the ways to run it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use arc_swap::ArcSwap;

use super::company::Company;
use super::costs::Costs;
use super::sessions::Runtime;
use super::statistics::Statistics;
use crate::engine::{Brake, OptionalInput, Session};
use crate::error::{Error, Result};
use crate::ids::{ModelName, Version};
use crate::metrics::ServableMetrics;
use crate::repository::triton::View;
use crate::signature::{Batching, Dim, Signature, TensorSpec, shape_text};
use crate::tensor::Tensor;

/// A graph with its sessions. Jobs under way hold it, so its memory is freed when the last of them is done.
#[derive(Debug)]
pub(super) struct Graph {
    name: ModelName,
    version: Version,
    pub(super) view: View,
    pub(super) metrics: ServableMetrics,
    pub(super) statistics: Statistics,
    runtime: ArcSwap<Runtime>,
    /// Set if samples may share a run.
    shares_runs: AtomicBool,
    company: Company,
    pub(super) costs: Costs,
    /// Dimensions of inputs that share a symbol with an earlier one.
    shared: Vec<SharedDim>,
    /// The inputs that a request may leave out, all or none of which follow the others.
    pub(super) optional: Vec<OptionalInput>,
}

/// A dimension of an input that must be as large as another.
#[derive(Debug)]
struct SharedDim {
    symbol: String,
    input: usize,
    axis: usize,
    /// Input and axis of the other.
    first: (usize, usize),
}

impl Graph {
    /// A graph of this model and version, which its errors name.
    pub(super) fn new(
        (name, version): (ModelName, Version),
        view: View,
        metrics: ServableMetrics,
        runtime: Runtime,
        shares_runs: bool,
    ) -> Self {
        let (statistics, shared) = (Statistics::default(), shared_dims(&view.signature));
        let optional = runtime.plan().optional_inputs().to_vec();
        let (runtime, shares_runs) = (ArcSwap::from_pointee(runtime), shares_runs.into());
        let (company, costs) = (Company::default(), Costs::default());
        Self { name, version, view, metrics, statistics, runtime, shares_runs, company, costs, shared, optional }
    }

    /// Returns true if samples may share a run.
    pub(super) fn shares_runs(&self) -> bool {
        self.shares_runs.load(Ordering::Relaxed)
    }

    /// Changes whether samples may share a run. Once one was seen to have another answer in company, none may.
    pub(super) fn share_runs(&self, shares_runs: bool) {
        self.shares_runs.store(shares_runs && self.refuted().is_none(), Ordering::Relaxed);
    }

    /// Returns why samples may not share a run, if one was seen to have another answer in company.
    pub(super) fn refuted(&self) -> Option<&str> {
        self.company.refuted()
    }

    /// Returns true if a run of about so many samples was compared with some of them alone.
    pub(super) fn is_compared(&self, samples: usize) -> bool {
        self.company.is_compared(samples)
    }

    /// Returns true if the batch of the graph is 1, so that the samples of a request run one after the other. A tensor of
    /// a single element has no samples.
    pub(super) fn runs_one_by_one(&self) -> bool {
        let signature = &self.view.signature;
        self.view.batching == Batching::Fixed(1)
            && signature.inputs.iter().chain(&signature.outputs).all(|spec| spec.shape.len() > 1)
    }

    /// The plan and its sessions.
    pub(super) fn runtime(&self) -> Arc<Runtime> {
        self.runtime.load_full()
    }

    /// Returns true if the sizes of a request alone say how long it takes: it needs no plan of its own first, and its
    /// values decide about no loop and no size.
    pub(super) fn is_measurable(&self) -> bool {
        let runtime = self.runtime.load();
        runtime.plan().takes_any_shape() && !runtime.plan().depends_on_values()
    }

    /// Replaces the plan and its sessions; runs under way finish with those they have.
    pub(super) fn replace_runtime(&self, runtime: Runtime) {
        self.runtime.store(Arc::new(runtime));
    }

    /// Brings a client's tensors into the shapes of the graph, once they fit the signature.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] naming the input, what it expects and what it got.
    pub(super) fn prepare(&self, tensors: Vec<Tensor>) -> Result<Vec<Tensor>> {
        self.check(&tensors)?;
        self.adapt(tensors)
    }

    fn adapt(&self, tensors: Vec<Tensor>) -> Result<Vec<Tensor>> {
        match &self.view.adapter {
            Some(adapter) => adapter.to_graph(tensors),
            None => Ok(tensors),
        }
    }

    /// Runs the graph on prepared tensors: whole, or sample by sample if its batch is 1. A request without samples is
    /// answered without a run if the shapes of the outputs are known. Only `counted` runs appear in the statistics.
    ///
    /// # Errors
    /// [`Error::InvalidInput`], [`Error::ModelFailed`], also when the brake was pulled.
    pub(super) fn infer(&self, tensors: &[Tensor], counted: bool, brake: &Brake) -> Result<Vec<Tensor>> {
        let rows = tensors.first().map_or(1, Tensor::rows);
        if rows == 0 && self.view.batching != Batching::Whole {
            return self.no_samples();
        }
        if rows == 1 || !self.runs_one_by_one() {
            return self.run(tensors, if self.shares_runs() { rows } else { 1 }, counted, brake);
        }
        let mut pieces = Vec::with_capacity(rows);
        for row in 0..rows {
            let sample: Vec<Tensor> = tensors.iter().map(|tensor| tensor.slice_rows(row..row + 1)).collect();
            pieces.push(self.run(&sample, 1, counted, brake)?);
        }
        let joined = |output: usize| Tensor::concat_rows(pieces.iter().map(move |piece| &piece[output]));
        (0..self.view.signature.outputs.len())
            .map(|output| joined(output).map_err(|error| self.failed(error)))
            .collect()
    }

    /// Runs the samples of several requests as one and gives each its own outputs.
    ///
    /// # Errors
    /// As [`Graph::infer`]; [`Error::Conflict`] when samples may not share a run any more.
    pub(super) fn infer_joined<'a>(
        &self,
        requests: impl Iterator<Item = &'a [Tensor]> + Clone,
        counted: bool,
        brake: &Brake,
    ) -> Result<Vec<Vec<Tensor>>> {
        if !self.shares_runs() {
            return Err(Error::Conflict("requests share no runs".into()));
        }
        let begun = Instant::now();
        let inputs = 0..requests.clone().next().map_or(0, <[Tensor]>::len);
        let join = |input: usize| Tensor::concat_rows(requests.clone().map(move |tensors| &tensors[input]));
        let joined = inputs.map(join).collect::<Result<Vec<_>>>()?;
        let joining = begun.elapsed();
        let outputs = self.infer(&joined, counted, brake)?;
        if !self.shares_runs() {
            return Err(Error::Conflict("samples have other answers in company".into()));
        }
        let computed = Instant::now();
        let mut start = 0;
        let parts = requests.map(|tensors| {
            let rows = start..start + tensors.first().map_or(0, Tensor::rows);
            start = rows.end;
            outputs.iter().map(|output| output.slice_rows(rows.clone())).collect()
        });
        let parts: Vec<Vec<Tensor>> = parts.collect();
        if counted {
            self.statistics.joined(joined.first().map_or(1, Tensor::rows), joining, computed.elapsed());
        }
        Ok(parts)
    }

    /// One run in this thread's session, and a check that no sample was lost in it.
    fn run(&self, tensors: &[Tensor], samples: usize, counted: bool, brake: &Brake) -> Result<Vec<Tensor>> {
        self.metrics.batch_size.observe(samples as f64);
        let start = Instant::now();
        let runtime = self.runtime.load();
        let is_watched = counted && samples > 1 && !self.brings_optional(tensors) && self.company.is_due(samples);
        let run = |session: &mut Session| {
            let outputs = session.run_under(brake, tensors)?;
            if is_watched && outputs.iter().all(|output| output.shape().first() == Some(&samples)) {
                self.watch(session, tensors, &outputs)?;
            }
            Ok(outputs)
        };
        let outputs = runtime.with(run).map_err(|error| self.failed(error))?;
        if self.shares_runs()
            && let Some(output) = outputs.iter().find(|output| output.shape().first() != Some(&samples))
        {
            let shapes = format!("{samples} samples went in, an output of shape {:?} came out", output.shape());
            return Err(self.failed(Error::internal("the model lost samples", shapes)));
        }
        if counted {
            self.statistics.ran(samples, start.elapsed());
        }
        match &self.view.adapter {
            Some(adapter) => adapter.to_client(outputs).map_err(|error| self.failed(error)),
            None => Ok(outputs),
        }
    }

    /// Compares a run with samples of it alone. When they disagree, samples share no runs any more.
    ///
    /// # Errors
    /// The failure of the model on a sample alone.
    fn watch(&self, session: &mut Session, tensors: &[Tensor], outputs: &[Tensor]) -> Result<()> {
        if self.company.compare(session, tensors, outputs)? {
            return Ok(());
        }
        self.share_runs(false);
        let (model, version, reason) = (self.name.as_str(), self.version.0, self.refuted());
        tracing::warn!(
            model,
            version,
            reason,
            "samples depend on each other, though a measurement did not show it; requests share no runs any more, and \
             answers to requests that did may have been wrong"
        );
        Ok(())
    }

    /// Returns true if a request brings inputs that others leave out, so that it shares no run with them.
    pub(super) fn brings_optional(&self, tensors: &[Tensor]) -> bool {
        tensors.len() > self.view.signature.inputs.len()
    }

    fn no_samples(&self) -> Result<Vec<Tensor>> {
        let empty = |output: &TensorSpec| {
            let shape = output.sample_shape().ok_or_else(|| {
                Error::InvalidInput("the request holds no sample, and the model's output shape depends on it".into())
            })?;
            Tensor::zeros(output.dtype, std::iter::once(0).chain(shape).collect())
        };
        self.view.signature.outputs.iter().map(empty).collect()
    }

    fn check(&self, tensors: &[Tensor]) -> Result<()> {
        let specs = &self.view.signature.inputs;
        if tensors.len() == specs.len() + self.optional.len() {
            let mut given = tensors[specs.len()..].iter().zip(&self.optional);
            given.try_for_each(|(tensor, optional)| check_one(tensor, &optional.spec, false))?;
        } else if tensors.len() != specs.len() {
            let names: Vec<&str> = specs.iter().map(|spec| spec.name.as_str()).collect();
            return Err(Error::InvalidInput(format!(
                "the model takes {} inputs ({}), got {}",
                specs.len(),
                names.join(", "),
                tensors.len()
            )));
        }
        let rows = tensors.first().map_or(1, Tensor::rows);
        let is_batched = self.view.batching == Batching::Any || self.runs_one_by_one();
        if !is_batched || rows > 0 {
            refuse_nothing(tensors, specs)?;
        }
        for (tensor, spec) in tensors.iter().zip(specs) {
            check_one(tensor, spec, is_batched)?;
            if is_batched && tensor.rows() != rows {
                return Err(Error::InvalidInput(format!(
                    "input \"{}\" holds {} samples, the first input {rows}",
                    spec.name,
                    tensor.rows()
                )));
            }
        }
        self.shared.iter().try_for_each(|shared| shared.check(tensors, specs))
    }

    /// Returns the sizes of the dimensions in which samples of this graph may differ.
    pub(super) fn open_shape(&self, tensors: &[Tensor]) -> Box<[usize]> {
        let inputs = tensors.iter().zip(&self.view.signature.inputs).enumerate();
        inputs.flat_map(|(index, (tensor, spec))| open_sizes(tensor, self.sample_dims(index, spec))).collect()
    }

    /// The dimensions of a sample of an input, in the graph's own shape.
    fn sample_dims<'a>(&'a self, index: usize, spec: &'a TensorSpec) -> &'a [Dim] {
        let of_graph = self.view.adapter.as_ref().and_then(|adapter| adapter.graph_input(index));
        match (of_graph, self.view.batching) {
            (Some(shape), Batching::Whole) => shape,
            (Some(shape), Batching::Any | Batching::Fixed(_)) => &shape[1..],
            (None, Batching::Whole) => &spec.shape,
            (None, Batching::Any | Batching::Fixed(_)) => spec.sample_dims(),
        }
    }

    /// Returns the error of a run that failed: as it is if the input is at fault.
    pub(super) fn failed(&self, error: Error) -> Error {
        let reason = match &error {
            Error::InvalidInput(_) => return error,
            // Whoever left or was answered meanwhile does not hear of it.
            Error::Cancelled => "the run took longer than a run may (hang-seconds) and was ended".to_owned(),
            Error::Internal { message: "the model failed", source } => source.to_string(),
            Error::Internal { message, source } => format!("{message}: {source}"),
            other => other.to_string(),
        };
        Error::ModelFailed { name: self.name.clone(), version: self.version, reason, source: Box::new(error) }
    }
}

impl SharedDim {
    fn check(&self, tensors: &[Tensor], specs: &[TensorSpec]) -> Result<()> {
        let Self { symbol, input, axis, first: (other, other_axis) } = self;
        let (size, expected) = (tensors[*input].shape()[*axis], tensors[*other].shape()[*other_axis]);
        if size == expected {
            return Ok(());
        }
        let (name, other) = (&specs[*input].name, &specs[*other].name);
        let shape = shape_text(&specs[*input].shape);
        Err(Error::InvalidInput(format!(
            "input \"{name}\" is of shape {shape}, got {:?}: dimension {axis} ({symbol}) must be {expected}, as dimension \
             {other_axis} of input \"{other}\" is",
            tensors[*input].shape()
        )))
    }
}

/// Returns the dimensions of inputs that share a symbol with an earlier one, apart from the batch.
fn shared_dims(signature: &Signature) -> Vec<SharedDim> {
    let mut firsts: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    let mut shared = Vec::new();
    let is_batched = signature.batching() == Batching::Any;
    for (input, spec) in signature.inputs.iter().enumerate() {
        for (axis, dim) in spec.shape.iter().enumerate().skip(usize::from(is_batched)) {
            let Dim::Symbol(symbol) = dim else { continue };
            match firsts.get(symbol.as_str()) {
                Some(&first) => shared.push(SharedDim { symbol: symbol.clone(), input, axis, first }),
                None => drop(firsts.insert(symbol, (input, axis))),
            }
        }
    }
    shared
}

fn open_sizes<'a>(tensor: &'a Tensor, dims: &'a [Dim]) -> impl Iterator<Item = usize> + 'a {
    let sizes = &tensor.shape()[tensor.shape().len() - dims.len()..];
    sizes.iter().zip(dims).filter(|(_, dim)| matches!(dim, Dim::Symbol(_))).map(|(size, _)| *size)
}

/// Refuses inputs none of which holds an element, unless the graph says so of its sizes: engines divide by such sizes, and
/// ONNX Runtime can end the process. One empty input beside others is a past that is yet to come.
fn refuse_nothing(tensors: &[Tensor], specs: &[TensorSpec]) -> Result<()> {
    let empty = |(tensor, spec): (&Tensor, &TensorSpec)| {
        tensor.shape().iter().zip(&spec.shape).any(|(size, dim)| *size == 0 && matches!(dim, Dim::Symbol(_)))
    };
    let mut inputs = tensors.iter().zip(specs);
    let Some((tensor, spec)) = inputs.next() else { return Ok(()) };
    if empty((tensor, spec)) && inputs.all(empty) {
        let (name, shape) = (&spec.name, shape_text(&spec.shape));
        return Err(Error::InvalidInput(format!(
            "input \"{name}\" holds no element: its shape is {:?}; each open dimension of {shape} must be at least 1",
            tensor.shape()
        )));
    }
    Ok(())
}

fn check_one(tensor: &Tensor, spec: &TensorSpec, is_batched: bool) -> Result<()> {
    if tensor.dtype() != spec.dtype {
        let (expected, got) = (spec.dtype, tensor.dtype());
        return Err(Error::InvalidInput(format!("input \"{}\" is of {expected}, got {got}", spec.name)));
    }
    let is_fit = |(size, dim): (&usize, &Dim)| match dim {
        Dim::Fixed(expected) => size == expected,
        Dim::Symbol(_) => true,
    };
    let fits = tensor.shape().len() == spec.shape.len()
        && tensor.shape().iter().zip(&spec.shape).skip(usize::from(is_batched)).all(is_fit);
    if fits {
        return Ok(());
    }
    let (name, shape) = (&spec.name, shape_text(&spec.shape));
    Err(Error::InvalidInput(format!("input \"{name}\" is of shape {shape}, got {:?}", tensor.shape())))
}
