//! tract, the built-in engine.
//!
//! The bytes are parsed from memory: a path would be mapped, and a mapped file that somebody
//! truncates kills the process. Without a path tract also refuses external data.

use std::collections::HashMap;
use std::io::Cursor;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use tract_onnx::prelude::*;
use tract_onnx::tract_hir::infer::Factoid;
use tract_onnx::tract_hir::internal::{DimLike, TDim};

use crate::error::{Error, Result};
use crate::signature::{DType, Dim, Signature, TensorSpec};
use crate::tensor::Tensor as WeirTensor;

/// The name of the batch dimension, whatever the file calls it.
const BATCH: &str = "N";

/// An optimised graph, shared by all threads.
#[derive(Debug)]
pub struct Plan {
    signature: Signature,
    /// Runs any number of samples.
    any_batch: Arc<TypedRunnableModel>,
    /// Runs one sample, 10 to 20 % faster than the symbolic plan does; absent if the graph's batch
    /// is not symbolic.
    single: Option<Arc<TypedRunnableModel>>,
}

impl Plan {
    /// Parses and optimises an ONNX file held in memory.
    ///
    /// # Errors
    /// [`Error::Repository`] when the file is no ONNX model, uses what the engine cannot run, or
    /// has anything but one 32-bit float input with a batch dimension and 32-bit float outputs.
    pub fn load(onnx: &[u8]) -> Result<Self> {
        contain("the model crashed the engine while loading", || Self::build(onnx))?
    }

    fn build(onnx: &[u8]) -> Result<Self> {
        let refuse = |error: TractError| unusable(&format!("{error:#}"));
        let mut graph = tract_onnx::onnx().model_for_read(&mut Cursor::new(onnx)).map_err(refuse)?;
        if graph.input_outlets().map_err(refuse)?.len() != 1 {
            return Err(unusable("it must have exactly one input"));
        }
        name_batch(&mut graph).map_err(refuse)?;
        let typed = graph.into_typed().map_err(refuse)?.into_decluttered().map_err(refuse)?;
        let signature = signature(&typed)?;
        let batch = match signature.inputs[0].shape.first() {
            Some(Dim::Symbol(name)) => Some(typed.symbols.sym(name)),
            _ => None,
        };
        let single = batch
            .map(|symbol| {
                let fixed = typed.set_symbols(&HashMap::from([(symbol, TDim::from(1))]))?;
                fixed.into_optimized()?.into_runnable()
            })
            .transpose()
            .map_err(refuse)?;
        let any_batch = typed.into_optimized().and_then(IntoRunnable::into_runnable).map_err(refuse)?;
        Ok(Self { signature, any_batch, single })
    }

    /// The inputs and outputs of the graph.
    pub fn signature(&self) -> &Signature {
        &self.signature
    }

    /// The samples that one run may take: `None` for any number, else exactly this many.
    pub fn fixed_batch(&self) -> Option<usize> {
        match self.signature.inputs[0].shape.first() {
            Some(Dim::Fixed(size)) => Some(*size),
            _ => None,
        }
    }

    /// Working memory for one thread.
    ///
    /// # Errors
    /// [`Error::Repository`] when the engine cannot set it up.
    pub fn session(&self) -> Result<Session> {
        let spawn = |plan: &Arc<TypedRunnableModel>| plan.spawn().map_err(|error| unusable(&format!("{error:#}")));
        Ok(Session { any_batch: spawn(&self.any_batch)?, single: self.single.as_ref().map(spawn).transpose()? })
    }
}

/// One thread's working memory for a [`Plan`].
#[derive(Debug)]
pub struct Session {
    any_batch: TypedSimpleState,
    single: Option<TypedSimpleState>,
}

impl Session {
    /// Runs the graph on a batch and returns its outputs in the graph's order.
    ///
    /// # Errors
    /// [`Error::Internal`] when the model fails or panics; after a panic the session must be
    /// dropped, its state is unknown.
    pub fn run(&mut self, input: &WeirTensor) -> Result<Vec<WeirTensor>> {
        contain("the model crashed", || self.execute(input))?
    }

    fn execute(&mut self, input: &WeirTensor) -> Result<Vec<WeirTensor>> {
        let failed = |error: TractError| Error::internal("the model failed", format!("{error:#}"));
        let state = match &mut self.single {
            Some(single) if input.rows() == 1 => single,
            _ => &mut self.any_batch,
        };
        let tensor = Tensor::from_shape(input.shape(), input.data()).map_err(failed)?;
        let outputs = state.run(tvec![tensor.into_tvalue()]).map_err(failed)?;
        outputs
            .iter()
            .map(|output| {
                let data =
                    output.try_as_plain_ram().and_then(|view| Ok(view.as_slice::<f32>()?.to_vec())).map_err(failed)?;
                WeirTensor::new(output.shape().to_vec(), data)
            })
            .collect()
    }
}

/// Gives the first dimension of the input a symbol of our own unless the file fixes it.
fn name_batch(graph: &mut InferenceModel) -> TractResult<()> {
    let mut fact = graph.input_fact(0)?.clone();
    let named = fact.shape.dim(0).and_then(|dim| dim.concretize());
    if named.as_ref().is_none_or(|dim| dim.to_i64().is_err()) {
        let symbol = graph.symbols.sym(BATCH);
        fact.shape.set_dim(0, symbol.to_dim());
        graph.set_input_fact(0, fact)?;
    }
    // Declared output shapes may spell the batch differently; they follow from the input.
    for output in 0..graph.outputs.len() {
        graph.set_output_fact(output, InferenceFact::default())?;
    }
    Ok(())
}

fn signature(model: &TypedModel) -> Result<Signature> {
    let spec = |outlet: &OutletId, kind: &str| {
        let fact = model.outlet_fact(*outlet).map_err(|error| unusable(&format!("{error:#}")))?;
        let name = model.outlet_label(*outlet).unwrap_or(&model.node(outlet.node).name).to_owned();
        if fact.datum_type != f32::datum_type() {
            return Err(unusable(&format!(
                "{kind} \"{name}\" is {:?}; only 32-bit floats are served",
                fact.datum_type
            )));
        }
        let dim = |dim: &TDim| dim.to_usize().map_or_else(|_| Dim::Symbol(dim.to_string()), Dim::Fixed);
        Ok(TensorSpec { name, dtype: DType::Float32, shape: fact.shape.iter().map(dim).collect() })
    };
    let inputs = model.inputs.iter().map(|outlet| spec(outlet, "input")).collect::<Result<Vec<_>>>()?;
    if inputs[0].shape.is_empty() {
        return Err(unusable("its input is a scalar; a batch dimension is needed"));
    }
    let outputs = model.outputs.iter().map(|outlet| spec(outlet, "output")).collect::<Result<_>>()?;
    Ok(Signature { inputs, outputs })
}

fn unusable(problem: &str) -> Error {
    Error::Repository { what: "model.onnx".into(), problem: problem.into() }
}

/// Keeps a panic of the engine from leaving it. tract panics on some files and inputs; its state is
/// dropped by the caller, so nothing half-changed is seen again.
fn contain<T>(message: &'static str, work: impl FnOnce() -> T) -> Result<T> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|panic| {
        let said =
            panic.downcast_ref::<String>().cloned().or_else(|| panic.downcast_ref::<&str>().map(|s| (*s).to_owned()));
        Error::internal(message, said.unwrap_or_else(|| "a panic without a message".into()))
    })
}
