//! Losses, which tract does not have.

use tract_onnx::pb::NodeProto;

use super::build::{Builder, input, integer, integer_of, output, text_of};

/// `NegativeLogLikelihoodLoss`: the log-probability at each label, weighted and negated.
pub(super) fn negative_log_likelihood(node: &NodeProto, to: &mut Builder) -> bool {
    let (Some(scores), Some(labels), Some(loss)) = (input(node, 0), input(node, 1), output(node, 0)) else {
        return false;
    };
    pick(node, scores, labels, loss, to);
    true
}

/// `SoftmaxCrossEntropyLoss`: the same, of scores that are no log-probabilities yet.
pub(super) fn cross_entropy(node: &NodeProto, to: &mut Builder) -> bool {
    let (Some(scores), Some(labels), Some(loss)) = (input(node, 0), input(node, 1), output(node, 0)) else {
        return false;
    };
    let logs = output(node, 1).map_or_else(|| to.fresh("LogSoftmax"), str::to_owned);
    to.op_to("LogSoftmax", &[scores], vec![integer("axis", 1)], &logs);
    pick(node, &logs, labels, loss, to);
    true
}

fn pick(node: &NodeProto, logs: &str, labels: &str, loss: &str, to: &mut Builder) {
    let mut classes = labels.to_owned();
    let mut ignored = None;
    if super::build::attribute(node, "ignore_index").is_some() {
        let index = to.integer_like(integer_of(node, "ignore_index", 0), labels);
        let zero = to.integer_like(0, labels);
        let mask = to.op("Equal", &[labels, &index], Vec::new());
        classes = to.op("Where", &[&mask, &zero, labels], Vec::new());
        ignored = Some(mask);
    }
    let column = to.reshape("Unsqueeze", &classes, 1);
    let picked = to.op("GatherElements", &[logs, &column], vec![integer("axis", 1)]);
    let picked = to.reshape("Squeeze", &picked, 1);
    let losses = to.op("Neg", &[&picked], Vec::new());
    let mut weights = input(node, 2).map(|weights| to.op("Gather", &[weights, &classes], vec![integer("axis", 0)]));
    if let Some(ignored) = ignored {
        let zero = to.number_like(0.0, logs);
        let counted = weights.take().unwrap_or_else(|| to.number_like(1.0, logs));
        weights = Some(to.op("Where", &[&ignored, &zero, &counted], Vec::new()));
    }
    let weighted =
        weights.as_ref().map_or_else(|| losses.clone(), |weights| to.op("Mul", &[&losses, weights], Vec::new()));
    let total = |value: &str, to: &mut Builder| to.reduce("ReduceSum", value, &[], false);
    match (text_of(node, "reduction", "mean"), weights) {
        ("none", _) => to.op_to("Identity", &[&weighted], Vec::new(), loss),
        ("sum", _) => to.op_to("ReduceSum", &[&weighted], vec![integer("keepdims", 0)], loss),
        (_, None) => to.op_to("ReduceMean", &[&weighted], vec![integer("keepdims", 0)], loss),
        (_, Some(weights)) => {
            let (sum, weight) = (total(&weighted, to), total(&weights, to));
            to.op_to("Div", &[&sum, &weight], Vec::new(), loss);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::build::text;
    use super::super::check::{assert_close, floats, model, node, run, typed_value, value};
    use super::*;

    /// The losses of two samples of three classes, written out.
    #[test]
    fn losses_are_weighted_picked_and_averaged() {
        let scores = [0.5f32, -1.0, 2.0, 0.0, 1.0, -0.5];
        let log = |row: &[f32], class: usize| row[class] - row.iter().map(|x| x.exp()).sum::<f32>().ln();
        let (first, second) = (-log(&scores[..3], 2), -log(&scores[3..], 0));
        let weights = [0.5f32, 1.0, 3.0];
        for (reduction, weighted, ignore, expected) in [
            ("none", false, None, vec![first, second]),
            ("sum", true, None, vec![first * 3.0 + second * 0.5]),
            ("mean", false, None, vec![f32::midpoint(first, second)]),
            ("mean", true, None, vec![(first * 3.0 + second * 0.5) / 3.5]),
            ("mean", false, Some(0), vec![first]),
            ("none", true, Some(2), vec![0.0, second * 0.5]),
        ] {
            let mut attributes = vec![text("reduction", reduction)];
            attributes.extend(ignore.map(|index| integer("ignore_index", index)));
            let mut inputs = vec![value("x", &[-1, 3]), typed_value("t", 7, &[-1])];
            let mut names = vec!["x", "t"];
            if weighted {
                inputs.push(value("w", &[3]));
                names.push("w");
            }
            let node = node("SoftmaxCrossEntropyLoss", &names, &["l", "p"], attributes);
            let mut given = vec![
                tract_onnx::prelude::Tensor::from_shape(&[2, 3], &scores).unwrap(),
                tract_onnx::prelude::tensor1(&[2i64, 0]),
            ];
            given.extend(weighted.then(|| tract_onnx::prelude::tensor1(&weights)));
            let outputs = run(model(13, node, inputs, Vec::new()), given);
            assert_close(&floats(&outputs[0]), &expected);
            assert_close(&floats(&outputs[1])[2..3], &[-first]);
        }
    }
}
