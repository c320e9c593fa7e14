//! An operation that runs a part of the graph once for each sample of a batch.

use std::collections::HashMap;

use tract_onnx::tract_hir::internal::*;

/// Runs a plan for one sample on each sample of the inputs, and stacks the outputs.
#[derive(Debug, Clone)]
pub(super) struct EachSample {
    plan: Arc<TypedRunnableModel>,
    /// The facts of the outputs for any batch.
    outputs: TVec<TypedFact>,
}

impl EachSample {
    /// Creates the operation for `model`, whose inputs and outputs have `batch` as their first dimension and
    /// nowhere else.
    pub(super) fn new(model: &TypedModel, batch: &Symbol) -> TractResult<Self> {
        let outputs = model.output_outlets()?.iter().map(|outlet| {
            let fact = model.outlet_fact(*outlet)?;
            Ok(fact.datum_type.fact(fact.shape.clone()))
        });
        let outputs = outputs.collect::<TractResult<_>>()?;
        let single = model.set_symbols(&HashMap::from([(batch.clone(), TDim::from(1))]))?;
        Ok(Self { plan: single.into_optimized()?.into_runnable()?, outputs })
    }
}

impl PartialEq for EachSample {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.plan, &other.plan)
    }
}

impl Eq for EachSample {}

impl Op for EachSample {
    fn name(&self) -> StaticName {
        "EachSample".into()
    }

    op_as_typed_op!();
}

impl TypedOp for EachSample {
    fn output_facts(&self, _inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        Ok(self.outputs.clone())
    }

    as_op!();
}

impl EvalOp for EachSample {
    not_out_of_plan!();

    fn state(&self, _ctx: &EvalContext) -> TractResult<Option<Box<dyn OpState>>> {
        Ok(Some(Box::new(EachSampleState(self.plan.spawn()?))))
    }
}

#[derive(Debug, Clone)]
pub(in crate::engine) struct EachSampleState(TypedSimpleState);

impl EachSampleState {
    /// Runs every sample of the inputs by `run`, which runs the plan.
    pub(in crate::engine) fn run(
        &mut self,
        inputs: TVec<TValue>,
        mut run: impl FnMut(&mut TypedSimpleState, TVec<TValue>) -> TractResult<TVec<TValue>>,
    ) -> TractResult<TVec<TValue>> {
        let samples = inputs.first().map_or(0, |input| input.shape()[0]);
        ensure!(inputs.iter().all(|input| input.shape()[0] == samples), "the inputs differ in their batch");
        if samples == 1 {
            return run(&mut self.0, inputs);
        }
        let mut results: TVec<Tensor> = tvec!();
        for sample in 0..samples {
            let one = inputs.iter().map(|input| Ok(input.slice(0, sample, sample + 1)?.into_tvalue()));
            let outputs = run(&mut self.0, one.collect::<TractResult<_>>()?)?;
            for (slot, output) in outputs.iter().enumerate() {
                if sample == 0 {
                    let mut shape = output.shape().to_vec();
                    shape[0] = samples;
                    results.push(Tensor::zero_dt(output.datum_type(), &shape)?);
                }
                results[slot].assign_slice(sample..sample + 1, output, .., 0)?;
            }
        }
        Ok(results.into_iter().map(IntoTValue::into_tvalue).collect())
    }
}

impl OpState for EachSampleState {
    fn eval(&mut self, _ctx: &EvalContext, _op: &dyn Op, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        self.run(inputs, TypedSimpleState::run)
    }

    fn reset_lanes(&mut self, _lanes: &[LaneId]) -> TractResult<()> {
        bail!("this operation keeps no state by lane")
    }
}
