//! Runs a plan node by node and takes the time of each.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use tract_onnx::prelude::*;
use tract_onnx::tract_core::internal::{Cost, EvalContext, OpState};
use tract_onnx::tract_core::ops::source::TypedSource;
use tract_onnx::tract_core::plan::eval;

use crate::engine::contain::contain;
use crate::engine::passes::EachSampleState;
use crate::engine::profile::{Kernel, NodeTime, Profile};
use crate::engine::{ml, passes};

/// The operations of tract that are matrix products in assembly, and the packing of their inputs.
const PACKED: [&str; 4] = ["OptMatMul", "OptMatMulPack", "OptSimpleMatMulPack", "DirectSpatialConv"];

/// A node, by the node that runs its graph sample by sample and its own place.
type Key = (Option<usize>, usize);

/// The times of the nodes of one plan. When another plan runs, they begin anew.
#[derive(Debug, Default)]
pub struct NodeTimes {
    plan: Option<Arc<TypedRunnableModel>>,
    profile: Profile,
    places: HashMap<Key, usize>,
    /// The floating point operations of one call of each node.
    flops: Vec<u64>,
}

impl NodeTimes {
    /// Returns the times until now.
    pub fn profile(&self) -> &Profile {
        &self.profile
    }

    /// Runs a plan. A run that fails leaves times that mean nothing.
    pub(super) fn run(
        &mut self,
        plan: &Arc<TypedRunnableModel>,
        state: &mut TypedSimpleState,
        inputs: TVec<TValue>,
    ) -> TractResult<TVec<TValue>> {
        if !self.plan.as_ref().is_some_and(|known| Arc::ptr_eq(known, plan)) {
            *self = Self { plan: Some(plan.clone()), ..Self::default() };
        }
        let begun = Instant::now();
        let outputs = self.run_nodes(None, state, inputs)?;
        self.profile.elapsed += begun.elapsed();
        self.profile.runs += 1;
        Ok(outputs)
    }

    fn run_nodes(
        &mut self,
        outer: Option<usize>,
        state: &mut TypedSimpleState,
        inputs: TVec<TValue>,
    ) -> TractResult<TVec<TValue>> {
        state.run_plan_with_eval(inputs, |ctx, state, node, inputs| self.run_node(outer, ctx, state, node, inputs))
    }

    fn run_node(
        &mut self,
        outer: Option<usize>,
        ctx: &EvalContext<'_>,
        mut state: Option<&mut (dyn OpState + 'static)>,
        node: &TypedNode,
        inputs: TVec<TValue>,
    ) -> TractResult<TVec<TValue>> {
        if node.op_is::<TypedSource>() {
            return eval(ctx, state, node, inputs);
        }
        let place = self.place((outer, node.id), ctx, node, &inputs);
        let begun = Instant::now();
        let mut inside = Duration::ZERO;
        let each = state.as_deref_mut().and_then(|state| state.downcast_mut::<EachSampleState>());
        let outputs = match each {
            Some(each) => each.run(inputs, |state, inputs| {
                let begun = Instant::now();
                let outputs = self.run_nodes(Some(node.id), state, inputs);
                inside += begun.elapsed();
                outputs
            }),
            None => eval(ctx, state, node, inputs),
        }?;
        let elapsed = begun.elapsed().saturating_sub(inside);
        let time = &mut self.profile.nodes[place];
        time.elapsed += elapsed;
        time.calls += 1;
        time.flops += self.flops[place];
        time.shape = outputs.first().map(|output| output.shape().to_vec()).unwrap_or_default();
        Ok(outputs)
    }

    /// Returns the place of a node, which gets one at its first call.
    fn place(&mut self, key: Key, ctx: &EvalContext<'_>, node: &TypedNode, inputs: &[TValue]) -> usize {
        if let Some(place) = self.places.get(&key) {
            return *place;
        }
        let place = self.flops.len();
        self.places.insert(key, place);
        self.flops.push(flops(ctx, node, inputs));
        self.profile.nodes.push(NodeTime {
            name: node.name.clone(),
            kind: node.op.name().into_owned(),
            kernel: kernel(node),
            shape: Vec::new(),
            calls: 0,
            elapsed: Duration::ZERO,
            flops: 0,
        });
        place
    }
}

fn kernel(node: &TypedNode) -> Kernel {
    if passes::is_fast(&*node.op) || ml::is_operator(&*node.op) {
        Kernel::Weir
    } else if PACKED.contains(&&*node.op.name()) {
        Kernel::Packed
    } else {
        Kernel::Generic
    }
}

/// Returns the floating point operations of a call; 0 if tract does not know them.
fn flops(ctx: &EvalContext<'_>, node: &TypedNode, inputs: &[TValue]) -> u64 {
    let facts: TVec<TypedFact> = inputs.iter().map(|input| input.datum_type().fact(input.shape())).collect();
    let facts: TVec<&TypedFact> = facts.iter().collect();
    let Ok(Ok(costs)) = contain(|| node.op.cost(&facts)) else { return 0 };
    let each = |(cost, count): &(Cost, TDim)| {
        let each = match cost {
            Cost::FMA(_) => 2,
            Cost::Div(_) => 1,
            _ => return 0,
        };
        count.eval_to_i64(ctx.symbols).map_or(0, |count| u64::try_from(count).unwrap_or(0).saturating_mul(each))
    };
    costs.iter().map(each).sum()
}

#[cfg(test)]
mod tests {
    use tract_onnx::tract_core::ops::einsum::EinSum;

    use super::*;

    /// Returns a product of each sample with weights, which runs sample by sample.
    fn product() -> Arc<TypedRunnableModel> {
        let mut model = TypedModel::default();
        let shape = [model.symbols.sym("N").to_dim(), 2.to_dim(), 3.to_dim()];
        let x = model.add_source("x", f32::fact(shape)).unwrap();
        let weights = model.add_const("w", Tensor::from_shape(&[3, 4], &[0.5f32; 12]).unwrap()).unwrap();
        let axes = "nik,ko->nio".parse().unwrap();
        let product = EinSum { axes, operating_dt: f32::datum_type(), q_params: None };
        let y = model.wire_node("product", product, &[x, weights]).unwrap();
        model.select_output_outlets(&y).unwrap();
        let model = passes::speed_up(model.into_decluttered().unwrap()).unwrap();
        model.into_optimized().unwrap().into_runnable().unwrap()
    }

    #[test]
    fn what_runs_sample_by_sample_is_seen_into() {
        let plan = product();
        let input: TVec<TValue> = tvec!(Tensor::from_shape(&[3, 2, 3], &[1f32; 18]).unwrap().into_tvalue());
        let mut times = NodeTimes::default();
        let mut state = plan.spawn().unwrap();
        for _ in 0..2 {
            let outputs = times.run(&plan, &mut state, input.clone()).unwrap();
            assert_eq!(outputs, plan.run(input.clone()).unwrap());
        }
        let profile = times.profile();
        let each = profile.nodes.iter().find(|node| node.kind == "EachSample").unwrap();
        assert_eq!((profile.runs, each.calls, &each.shape[..]), (2, 2, &[3, 2, 4][..]));
        let product = profile.nodes.iter().find(|node| node.flops > 0).unwrap();
        assert_eq!((product.calls, product.flops), (6, 6 * 2 * 2 * 3 * 4));
        let inside: Duration = profile.nodes.iter().map(|node| node.elapsed).sum();
        assert!(inside <= profile.elapsed, "no time is counted twice: {profile:?}");
    }

    #[test]
    fn another_plan_begins_anew() {
        let mut times = NodeTimes::default();
        for _ in 0..2 {
            let plan = product();
            let input = Tensor::zero::<f32>(&[1, 2, 3]).unwrap().into_tvalue();
            times.run(&plan, &mut plan.spawn().unwrap(), tvec!(input)).unwrap();
            assert_eq!(times.profile().runs, 1);
        }
    }
}
