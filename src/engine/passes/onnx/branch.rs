//! `If`, of which only the branch that is taken must fit.
//!
//! Exporters write a branch for each rank that a value may have. tract wants the results of both to have one shape, even
//! where the shapes of the inputs settle which one is taken.

use std::collections::{BTreeSet, HashMap};

use tract_onnx::model::{ParseResult, ParsingContext};
use tract_onnx::pb::NodeProto;
use tract_onnx::tract_core::ops::logic::IfThenElse;
use tract_onnx::tract_core::ops::source::TypedSource;
use tract_onnx::tract_hir::internal::*;

use super::build::attribute;

/// Reads an `If` for tract; returns it with the names of the values of the outer graph that its branches use.
pub(super) fn read(context: &ParsingContext<'_>, node: &NodeProto) -> TractResult<(Box<dyn InferenceOp>, Vec<String>)> {
    let graph = |name: &str| {
        let graph = attribute(node, name).and_then(|attribute| attribute.g.as_ref());
        context.parse_graph(graph.with_context(|| format!("an If has no {name}"))?)
    };
    let bodies = [graph("then_branch")?, graph("else_branch")?];
    let captured: BTreeSet<String> = bodies.iter().flat_map(|body| body.unresolved_inputs.iter().cloned()).collect();
    let captured: Vec<String> = captured.into_iter().collect();
    let outputs = bodies[0].model.outputs.len();
    ensure!(bodies[1].model.outputs.len() == outputs, "the branches of an If have different numbers of outputs");
    let branches = bodies.map(|ParseResult { model, unresolved_inputs, .. }| {
        // The condition is the first input.
        let place = |name: &String| captured.iter().position(|other| other == name).map_or(0, |place| place + 1);
        Branch { inputs: unresolved_inputs.iter().map(place).collect(), model }
    });
    Ok((Box::new(Choice { branches, outputs }), captured))
}

/// A graph inside a node, and the inputs of the node that it uses.
#[derive(Debug, Clone)]
struct Branch {
    model: InferenceModel,
    inputs: Vec<usize>,
}

/// Two branches: the first is taken if the condition holds.
#[derive(Debug, Clone)]
struct Choice {
    branches: [Branch; 2],
    outputs: usize,
}

impl PartialEq for Choice {
    fn eq(&self, _: &Self) -> bool {
        false
    }
}

impl Eq for Choice {}

impl Op for Choice {
    fn name(&self) -> StaticName {
        "If".into()
    }

    not_a_typed_op!();
}

impl EvalOp for Choice {
    op_out_of_plan!();

    fn eval(&self, _ctx: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let branch = self.taken(&inputs[0])?;
        branch.model.clone().into_runnable()?.run(branch.inputs.iter().map(|input| inputs[*input].clone()).collect())
    }
}

impl Choice {
    fn taken(&self, condition: &Tensor) -> TractResult<&Branch> {
        Ok(&self.branches[usize::from(!condition.cast_to_scalar::<bool>()?)])
    }
}

impl InferenceOp for Choice {
    fn infer_facts(
        &mut self,
        inputs: TVec<&InferenceFact>,
        outputs: TVec<&InferenceFact>,
        observed: TVec<&InferenceFact>,
    ) -> TractResult<(TVec<InferenceFact>, TVec<InferenceFact>, TVec<InferenceFact>)> {
        let mut results: TVec<InferenceFact> = outputs.into_iter().cloned().collect();
        let facts = |branch: &Branch| {
            let mut model = branch.model.clone();
            for (place, input) in branch.inputs.iter().enumerate() {
                model.set_input_fact(place, inputs[*input].clone())?;
            }
            model.analyse(false)?;
            let outputs = (0..self.outputs).map(|output| model.output_fact(output).cloned());
            outputs.collect::<TractResult<TVec<InferenceFact>>>()
        };
        match inputs[0].value.concretize() {
            Some(condition) => {
                for (result, fact) in results.iter_mut().zip(facts(self.taken(&condition)?)?) {
                    result.unify_with(&fact)?;
                }
            }
            // What both branches agree on holds whichever is taken.
            None => {
                if let [Ok(then), Ok(otherwise)] = self.branches.each_ref().map(facts) {
                    for ((result, then), otherwise) in results.iter_mut().zip(then).zip(otherwise) {
                        if then.datum_type == otherwise.datum_type {
                            result.datum_type.unify_with(&then.datum_type)?;
                        }
                        if then.shape == otherwise.shape {
                            result.shape.unify_with(&then.shape)?;
                        }
                    }
                }
            }
        }
        let inputs = inputs.into_iter().cloned().collect();
        Ok((inputs, results, observed.into_iter().cloned().collect()))
    }

    fn nboutputs(&self) -> TractResult<usize> {
        Ok(self.outputs)
    }

    fn to_typed(
        &self,
        _source: &InferenceModel,
        node: &InferenceNode,
        target: &mut TypedModel,
        mapping: &HashMap<OutletId, OutletId>,
    ) -> TractResult<TVec<OutletId>> {
        let inputs: TVec<OutletId> = node.inputs.iter().map(|input| mapping[input]).collect();
        if let Some(condition) = target.outlet_fact(inputs[0])?.konst.clone() {
            let branch = self.taken(&condition)?;
            let body = typed(branch, target, &inputs)?;
            return inline(&body, &node.name, branch, target, &inputs);
        }
        let [then, otherwise] = &self.branches;
        let (then_body, else_body) = (typed(then, target, &inputs)?, typed(otherwise, target, &inputs)?);
        let op = IfThenElse {
            then_body,
            then_input_mapping: then.inputs.clone(),
            else_body,
            else_input_mapping: otherwise.inputs.clone(),
        };
        target.wire_node(&node.name, op, &inputs)
    }

    as_op!();
}

/// Returns the graph of a branch for the inputs of its node.
fn typed(branch: &Branch, target: &TypedModel, inputs: &[OutletId]) -> TractResult<TypedModel> {
    let mut model = branch.model.clone();
    model.symbols = target.symbols.clone();
    for (place, input) in branch.inputs.iter().enumerate() {
        model.set_input_fact(place, target.outlet_fact(inputs[*input])?.into())?;
    }
    model.into_typed()
}

/// Writes the nodes of a branch into the graph around it.
fn inline(
    body: &TypedModel,
    name: &str,
    branch: &Branch,
    target: &mut TypedModel,
    inputs: &[OutletId],
) -> TractResult<TVec<OutletId>> {
    let mut wires: HashMap<OutletId, OutletId> =
        body.inputs.iter().zip(&branch.inputs).map(|(source, input)| (*source, inputs[*input])).collect();
    for id in body.eval_order()? {
        let node = body.node(id);
        if node.op_is::<TypedSource>() {
            continue;
        }
        let inner: TVec<OutletId> = node.inputs.iter().map(|input| wires[input]).collect();
        let written = target.wire_node(format!("{name}.{}", node.name), node.op.clone(), &inner)?;
        wires.extend(written.into_iter().enumerate().map(|(slot, wire)| (OutletId::new(id, slot), wire)));
    }
    Ok(body.outputs.iter().map(|output| wires[output]).collect())
}

#[cfg(test)]
mod tests {
    use tract_onnx::pb::{
        AttributeProto, GraphProto, ModelProto, TensorProto, ValueInfoProto, attribute_proto::AttributeType,
    };
    use tract_onnx::prelude::{Framework as _, InferenceFact, Tensor, tensor0};

    use super::super::build::integer;
    use super::super::check::{floats, model, node, run, typed_value, value};
    use super::*;

    fn integers(name: &str, dims: &[i64], values: &[i64]) -> TensorProto {
        TensorProto {
            name: name.into(),
            dims: dims.to_vec(),
            data_type: 7,
            int64_data: values.to_vec(),
            ..TensorProto::default()
        }
    }

    fn branch(name: &str, inner: NodeProto) -> AttributeProto {
        let output = vec![ValueInfoProto { name: inner.output[0].clone(), ..ValueInfoProto::default() }];
        let graph = GraphProto { node: vec![inner], output, ..GraphProto::default() };
        AttributeProto {
            name: name.into(),
            r#type: AttributeType::Graph.into(),
            g: Some(graph),
            ..AttributeProto::default()
        }
    }

    /// Drops the second dimension if it is one, as PyTorch's exporter writes `squeeze(1)`.
    fn squeeze(dims: &[i64]) -> ModelProto {
        let branches = vec![
            branch("then_branch", node("Squeeze", &["x", "axis"], &["then"], Vec::new())),
            branch("else_branch", node("Identity", &["x"], &["else"], Vec::new())),
        ];
        let nodes = vec![
            node("Shape", &["x"], &["shape"], Vec::new()),
            node("Gather", &["shape", "one"], &["size"], vec![integer("axis", 0)]),
            node("Equal", &["size", "one"], &["condition"], Vec::new()),
            node("If", &["condition"], &["y"], branches),
        ];
        let constants = vec![integers("axis", &[1], &[1]), integers("one", &[], &[1])];
        let mut model = model(14, nodes[3].clone(), vec![value("x", dims)], constants);
        model.graph.as_mut().unwrap().node = nodes;
        model
    }

    #[test]
    fn only_the_branch_that_is_taken_must_fit() {
        for (dims, shape, expected) in [
            (&[2, 1, 3][..], &[2, 1, 3][..], &[2, 3][..]),
            (&[2, 2, 3], &[2, 2, 3], &[2, 2, 3]),
            (&[-1, 1, 3], &[4, 1, 3], &[4, 3]),
        ] {
            let outputs = run(squeeze(dims), vec![Tensor::zero::<f32>(shape).unwrap()]);
            assert_eq!(outputs[0].shape(), expected);
        }
    }

    #[test]
    fn a_size_that_is_not_known_yet_takes_no_branch() {
        let mut model = squeeze(&[-1, -1, 3]);
        super::super::rewrite(&mut model, crate::engine::Bounds::default()).unwrap();
        let mut graph = super::super::reader().model_for_proto_model(&model).unwrap();
        graph.set_output_fact(0, InferenceFact::default()).unwrap();
        assert!(graph.into_typed().is_err());
    }

    #[test]
    fn a_condition_that_a_request_brings_chooses_at_each_run() {
        let branches = vec![
            branch("then_branch", node("Neg", &["x"], &["then"], Vec::new())),
            branch("else_branch", node("Abs", &["x"], &["else"], Vec::new())),
        ];
        let inputs = vec![typed_value("c", 9, &[]), value("x", &[-1])];
        let model = model(14, node("If", &["c"], &["y"], branches), inputs, Vec::new());
        for (condition, expected) in [(true, -3.0), (false, 3.0)] {
            let inputs = vec![tensor0(condition), tract_onnx::prelude::tensor1(&[3.0f32])];
            assert_eq!(floats(&run(model.clone(), inputs)[0]), [expected]);
        }
    }
}
