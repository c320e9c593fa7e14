//! tract, the built-in engine.
//!
//! Models are parsed from memory, never from a path: tract would map the file, and truncating a mapped
//! file kills the process. Without a path tract also refuses external data.

mod convert;
mod shapes;

use std::collections::HashMap;
use std::sync::Arc;

use prost::Message as _;
use tract_onnx::pb::ModelProto;
use tract_onnx::prelude::*;

use super::contain::{contain, unusable};
use super::{ml, passes};
use crate::error::{Error, Result};
use crate::signature::{Batching, Signature};
use crate::tensor::Tensor as WeirTensor;

/// An optimised graph, shared by all threads.
#[derive(Debug)]
pub struct TractPlan {
    signature: Signature,
    /// Runs batches of any size.
    any_batch: Arc<TypedRunnableModel>,
    /// Runs one sample, 10 to 20 % faster than the plan with a symbolic batch. Absent if the batch of
    /// the graph is not symbolic.
    single: Option<Arc<TypedRunnableModel>>,
}

impl TractPlan {
    pub(super) fn load(onnx: &[u8]) -> Result<Self> {
        contain("the model crashed the engine while loading", || Self::build(onnx))?
    }

    fn build(onnx: &[u8]) -> Result<Self> {
        let refuse = |error: TractError| unusable(format!("{error:#}"));
        let mut graph = parse(onnx)?;
        let batch = shapes::name_symbols(&mut graph).map_err(refuse)?;
        let names = shapes::names(&graph);
        let typed = graph.into_typed().and_then(passes::mend).map_err(refuse)?.into_decluttered().map_err(refuse)?;
        let signature = shapes::signature(&typed, names)?;
        let single = batch
            .filter(|_| signature.batching() == Batching::Any)
            .map(|symbol| optimise(typed.set_symbols(&HashMap::from([(symbol, TDim::from(1))]))?))
            .transpose()
            .map_err(refuse)?;
        let any_batch = optimise(typed).map_err(refuse)?;
        Ok(Self { signature, any_batch, single })
    }

    pub(super) fn signature(&self) -> &Signature {
        &self.signature
    }

    pub(super) fn session(&self) -> Result<TractSession> {
        let worker = |plan: &Arc<TypedRunnableModel>| Worker::new(plan.clone());
        Ok(TractSession { any_batch: worker(&self.any_batch)?, single: self.single.as_ref().map(worker).transpose()? })
    }
}

fn optimise(graph: TypedModel) -> TractResult<Arc<TypedRunnableModel>> {
    passes::speed_up(graph)?.into_optimized()?.into_runnable()
}

/// Parses the bytes where they are; the reader of tract would copy them first.
fn parse(onnx: &[u8]) -> Result<InferenceModel> {
    let mut proto = ModelProto::decode(onnx).map_err(|error| unusable(error.to_string()))?;
    passes::rewrite_file(&mut proto).map_err(unusable)?;
    let mut reader = passes::reader();
    ml::register(&mut reader.op_register);
    reader.model_for_proto_model(&proto).map_err(|error| unusable(format!("{error:#}")))
}

/// One thread's working memory for a [`TractPlan`].
#[derive(Debug)]
pub struct TractSession {
    any_batch: Worker,
    single: Option<Worker>,
}

/// One thread's working memory for one graph.
#[derive(Debug)]
struct Worker {
    plan: Arc<TypedRunnableModel>,
    state: TypedSimpleState,
    /// True if operations of the graph keep state from run to run. A loop over time steps keeps its
    /// batch size and its last states, which belong to another request.
    remembers: bool,
}

impl Worker {
    fn new(plan: Arc<TypedRunnableModel>) -> Result<Self> {
        let state = plan.spawn().map_err(|error| unusable(format!("{error:#}")))?;
        let remembers = state.op_states.iter().any(Option::is_some);
        Ok(Self { plan, state, remembers })
    }

    fn run(&mut self, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        if self.remembers {
            self.state = self.plan.spawn()?;
        }
        self.state.run(inputs)
    }
}

impl TractSession {
    pub(super) fn run(&mut self, inputs: &[WeirTensor]) -> Result<Vec<WeirTensor>> {
        contain("the model crashed", || self.execute(inputs))?
    }

    fn execute(&mut self, inputs: &[WeirTensor]) -> Result<Vec<WeirTensor>> {
        let failed = |error: TractError| Error::internal("the model failed", format!("{error:#}"));
        let worker = match &mut self.single {
            Some(single) if inputs.iter().all(|input| input.rows() == 1) => single,
            _ => &mut self.any_batch,
        };
        let inputs = inputs.iter().map(|input| convert::to_tract(input).map(IntoTValue::into_tvalue));
        let inputs = inputs.collect::<TractResult<TVec<_>>>().map_err(failed)?;
        let outputs = worker.run(inputs).map_err(failed)?;
        outputs.iter().map(|output| convert::from_tract(output)).collect::<TractResult<_>>().map_err(failed)
    }
}
