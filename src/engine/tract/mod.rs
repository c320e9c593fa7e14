//! tract, the built-in engine.
//!
//! Models are parsed from memory, never from a path: tract would map the file, and truncating a mapped
//! file kills the process. Without a path tract also refuses external data.

mod by_shape;
mod convert;
mod limits;
mod shapes;
mod source;
mod times;
mod worker;

use std::sync::Arc;

use tract_onnx::prelude::*;

use self::by_shape::{ShapePlans, ShapeSession};
use self::limits::Limits;
use self::source::{Inner, Source};
pub use self::times::NodeTimes;
use self::worker::{Base, BaseSession};
use super::contain::{contain, loading, running, unusable};
use super::dims::Nameless;
use super::measure::zeros;
use super::{Bounds, OptionalInput, ShapePlanCounts, faults, guards, seen};
use crate::error::{Error, Result};
use crate::signature::{Batching, Signature, TensorSpec};
use crate::tensor::Tensor as WeirTensor;

/// An optimised graph, shared by all threads.
#[derive(Debug)]
pub struct TractPlan {
    signature: Signature,
    optional: Vec<OptionalInput>,
    depends_on_values: bool,
    runs: Runs,
}

/// The plans of a graph.
#[derive(Debug)]
enum Runs {
    /// One for any number of samples.
    Base(Base, Arc<Limits>),
    /// One for any sizes, if there is one, and others for the sizes of requests.
    ByShape(Arc<ShapePlans>),
}

impl TractPlan {
    pub(super) fn load(onnx: &[u8], bounds: Bounds) -> Result<Self> {
        loading(|| {
            let (plan, is_guess) = Self::build(onnx, Nameless::Batch, bounds)?;
            if is_guess && plan.signature.batching() != Batching::Any {
                return Self::build(onnx, Nameless::Independent, bounds).map(|(plan, _)| plan);
            }
            Ok(plan)
        })
    }

    /// Returns the plan, and true if it is a guess that the first dimensions of the inputs are the batch.
    fn build(onnx: &[u8], nameless: Nameless, bounds: Bounds) -> Result<(Self, bool)> {
        let parse = |inner| Source::parse(onnx, nameless, inner, bounds).map_err(|error| refuse(&format!("{error:#}")));
        let mut source = parse(Inner::Derived)?;
        let mut graph = typed(&source);
        if graph.is_err() && source.has_inner {
            let believing = parse(Inner::Declared)?;
            let second = typed(&believing);
            if second.is_ok() {
                (source, graph) = (believing, second);
            }
        }
        let is_guess = source.symbols.is_ambiguous();
        let optional = source.optional.iter().map(|optional| optional.input.clone()).collect();
        let planned = graph.and_then(|graph| {
            let signature = Signature { inputs: source.inputs.clone(), outputs: outputs(&graph, &source)? };
            let batch = source.batch().filter(|_| signature.batching() == Batching::Any);
            Ok((signature, base(graph, batch, bounds)?))
        });
        let (signature, runs) = match planned {
            Ok((signature, base)) => (signature.clone(), Runs::of(source, base, &signature, onnx.len())),
            Err(said) => {
                if let Some((node, op)) = source.unknown_node() {
                    let problem = format!("node \"{node}\" ({op}): the built-in engine has no such operator");
                    return Err(unusable(problem));
                }
                let is_closed = !source.has_arguments()
                    && source.inputs.iter().all(|spec| spec.shape.iter().all(|dim| !dim.is_open()));
                if is_closed || faults::is_unknown_operation(&said) {
                    return Err(refuse(&said));
                }
                let plans = Arc::new(ShapePlans::new(source, None, onnx.len()));
                (tried(&plans).ok_or_else(|| refuse(&said))?, Runs::ByShape(plans))
            }
        };
        let depends_on_values = guards::depends_on_values(onnx)?;
        Ok((Self { signature, optional, depends_on_values, runs }, is_guess))
    }

    /// Returns true if the values of a request, and not its sizes alone, decide how long it takes.
    pub(super) fn depends_on_values(&self) -> bool {
        self.depends_on_values
    }

    pub(super) fn signature(&self) -> &Signature {
        &self.signature
    }

    pub(super) fn optional(&self) -> &[OptionalInput] {
        &self.optional
    }

    /// Returns the state of the cache of plans by shape, if the graph has one.
    pub(super) fn shape_plans(&self) -> Option<ShapePlanCounts> {
        match &self.runs {
            Runs::Base(..) => None,
            Runs::ByShape(plans) => Some(plans.counts()),
        }
    }

    /// Returns true if requests of a new shape need no plan first.
    pub(super) fn takes_any_shape(&self) -> bool {
        match &self.runs {
            Runs::Base(..) => true,
            Runs::ByShape(plans) => plans.has_base(),
        }
    }

    pub(super) fn session(&self) -> Result<TractSession> {
        match &self.runs {
            Runs::Base(base, limits) => base_session(base, limits.clone()),
            Runs::ByShape(plans) => plans.session().map(|plans| TractSession(Memory::ByShape(plans))),
        }
    }
}

impl Runs {
    /// Chooses the plans. A graph that leaves nothing open but the batch, and takes several samples, needs one for any
    /// number of samples only.
    fn of(source: Source, (base, limits): (Base, Limits), signature: &Signature, bytes: usize) -> Self {
        let is_closed = source.open().is_empty() && source.optional.is_empty() && !source.has_arguments();
        if is_closed && (!source.symbols.has_batch() || takes_several(&base, signature)) {
            return Self::Base(base, Arc::new(limits));
        }
        Self::ByShape(Arc::new(ShapePlans::new(source, Some((base, limits)), bytes)))
    }
}

fn takes_several(base: &Base, signature: &Signature) -> bool {
    const SEVERAL: usize = 2;
    let run = || {
        let mut session = base_session(base, Arc::default())?;
        session.run(&zeros(signature, SEVERAL)?)
    };
    run().is_ok()
}

fn base_session(base: &Base, limits: Arc<Limits>) -> Result<TractSession> {
    let session = base.session().map_err(|error| refuse(&format!("{error:#}")))?;
    Ok(TractSession(Memory::Base { session, limits, samples: 0 }))
}

fn refuse(said: &str) -> Error {
    unusable(faults::words(said))
}

/// Returns the graph with shapes for any sizes.
///
/// # Errors
/// What tract or its panic said.
fn typed(source: &Source) -> std::result::Result<TypedModel, String> {
    contain(|| source.typed(None, &[], true)).and_then(|graph| graph.map_err(|error| format!("{error:#}")))
}

fn outputs(graph: &TypedModel, source: &Source) -> std::result::Result<Vec<TensorSpec>, String> {
    shapes::outputs(graph, &source.names).map_err(|error| match error {
        Error::Repository { problem, .. } => problem,
        other => other.to_string(),
    })
}

fn base(graph: TypedModel, batch: Option<Symbol>, bounds: Bounds) -> std::result::Result<(Base, Limits), String> {
    let make = || Ok((Limits::of(&graph, bounds)?, Base::new(graph, batch)?));
    let made: TractResult<_> = contain(make)?;
    made.map(|(limits, base)| (base, limits)).map_err(|error| format!("{error:#}"))
}

/// Returns the signature of a graph without a plan for any sizes, by runs on guesses; `None` if no guess leads to a
/// plan.
fn tried(plans: &Arc<ShapePlans>) -> Option<Signature> {
    let source = plans.source();
    let mut session = TractSession(Memory::ByShape(plans.session().ok()?));
    let run = |inputs: &[WeirTensor]| session.run(inputs);
    let (signature, has_run) = seen::signature(source.inputs.clone(), &source.outputs, &source.symbols, run);
    (has_run || plans.has_planned() || source.has_arguments()).then_some(signature)
}

/// The tensors of a graph by the sizes of its inputs, for an engine that does not know them before it makes them.
#[derive(Debug)]
pub(super) struct TensorSizes(Limits);

impl TensorSizes {
    /// Returns the tensors of a graph; `None` if the built-in engine does not understand it.
    pub(super) fn of(onnx: &[u8], bounds: Bounds) -> Option<Self> {
        let read = || {
            let source = Source::parse(onnx, Nameless::Independent, Inner::Derived, bounds)?;
            Limits::of(&source.typed(None, &[], true)?, bounds)
        };
        match contain(read) {
            Ok(Ok(limits)) => Some(Self(limits)),
            Ok(Err(_)) | Err(_) => None,
        }
    }

    /// Checks that inputs of these shapes ask for no tensor that is too large.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] naming the node, the shape and the limit.
    pub(super) fn check(&self, shapes: &[&[usize]]) -> Result<()> {
        self.0.check_tensors(shapes).map_err(Error::InvalidInput)
    }
}

/// Returns the inputs of a file that a request may leave out.
///
/// # Errors
/// [`Error::Repository`] when the file cannot be read.
pub(super) fn optional_inputs(onnx: &[u8]) -> Result<Vec<OptionalInput>> {
    source::optional_inputs(onnx).map_err(|error| refuse(&format!("{error:#}")))
}

/// One thread's working memory for a [`TractPlan`].
#[derive(Debug)]
pub struct TractSession(Memory);

/// The working memory for the plans of a graph.
#[derive(Debug)]
enum Memory {
    /// A session, and the largest number of samples that was found to be within the limits.
    Base {
        session: BaseSession,
        limits: Arc<Limits>,
        samples: usize,
    },
    ByShape(ShapeSession),
}

impl TractSession {
    pub(super) fn run(&mut self, inputs: &[WeirTensor]) -> Result<Vec<WeirTensor>> {
        running(|| self.execute(inputs, None))
    }

    /// Runs the graph and adds the time of each node to `times`.
    pub(super) fn run_timed(&mut self, inputs: &[WeirTensor], times: &mut NodeTimes) -> Result<Vec<WeirTensor>> {
        running(|| self.execute(inputs, Some(times)))
    }

    fn execute(&mut self, inputs: &[WeirTensor], times: Option<&mut NodeTimes>) -> Result<Vec<WeirTensor>> {
        let failed = |error: TractError| faults::running(&format!("{error:#}"));
        let shapes: TVec<&[usize]> = inputs.iter().map(WeirTensor::shape).collect();
        let inputs = inputs.iter().map(|input| convert::to_tract(input).map(IntoTValue::into_tvalue));
        let inputs = inputs.collect::<TractResult<TVec<_>>>().map_err(failed)?;
        let outputs = match &mut self.0 {
            Memory::Base { session, limits, samples } => {
                let has = shapes.iter().filter_map(|shape| shape.first()).max().copied().unwrap_or(1);
                if has > *samples {
                    limits.check(&shapes).map_err(Error::InvalidInput)?;
                    *samples = has;
                }
                session.run(inputs, &shapes, times).map_err(|said| faults::running(&said))?
            }
            Memory::ByShape(plans) => plans.run(inputs, &shapes, times)?,
        };
        outputs.iter().map(|output| convert::from_tract(output)).collect::<TractResult<_>>().map_err(failed)
    }
}
