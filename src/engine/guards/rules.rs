//! The operators that do not bear every value, and what each bears.

use tract_onnx::pb::{NodeProto, ValueInfoProto, type_proto};

use super::checks::Checks;
use super::flow::{BOOL, Flow, INT32, INT64, attribute, decided, subject};
use super::limits;

/// Layers that end the process when their input is empty.
pub(super) const RECURRENT: [&str; 3] = ["LSTM", "GRU", "RNN"];

/// The points of one region that are interpolated at the most: 2048 × 2048 pixels.
const REGION_POINTS: f32 = 4_194_304.0;

/// The size of a value in the growth of a loop: each takes a place of its own, however small it is.
const SMALLEST_VALUE: f32 = 64.0;

/// Returns true if nodes of this operator may need a check.
pub(super) fn may_need_check(operator: &str) -> bool {
    RECURRENT.contains(&operator)
        || matches!(operator, "Div" | "RoiAlign" | "STFT" | "Loop" | "TopK" | "SequenceInsert")
        || limits::is_limited(operator)
}

/// Makes the checks of a node. Returns the inputs that the node has to read instead of its own.
pub(super) fn check(checks: &mut Checks, node: &NodeProto, flow: &Flow) -> Vec<(usize, String)> {
    if !matches!(node.domain.as_str(), "" | "ai.onnx" | "com.microsoft") {
        return Vec::new();
    }
    match node.op_type.as_str() {
        "LSTM" | "GRU" | "RNN" => recurrent(checks, node, flow),
        "Div" => division(checks, node, flow),
        "RoiAlign" => regions(checks, node, flow),
        "STFT" => frames(checks, node, flow),
        "TopK" => count(checks, node, flow),
        "SequenceInsert" => insertion(checks, node, flow),
        _ => limits::check(checks, node, flow),
    }
}

/// A layer needs an element in its input, and lengths from 1 to its number of steps: in some versions of the library a
/// length of 0 reads before the first step.
fn recurrent(checks: &mut Checks, node: &NodeProto, flow: &Flow) -> Vec<(usize, String)> {
    let (Some(input), mut changed) = (node.input.first(), Vec::new()) else { return Vec::new() };
    if let Some(lengths) = decided(node, flow, 4) {
        let is_batch_first = attribute(node, "layout").is_some_and(|layout| layout.i == 1);
        let axis = checks.integer(i64::from(is_batch_first), INT64);
        let shape = checks.op("Shape", &[input], Vec::new());
        let steps = checks.op("Gather", &[&shape, &axis], Vec::new());
        let (steps, numbers) = (checks.float(&steps), checks.float(lengths));
        let is_step = checks.greater(&numbers, 0.5);
        let is_over = checks.op("Greater", &[&numbers, &steps], Vec::new());
        let is_within = checks.op("Not", &[&is_over], Vec::new());
        let holds = checks.op("And", &[&is_step, &is_within], Vec::new());
        let words = format!("each of the sequence_lens of {} must be from 1 to the number of steps", subject(node));
        changed.push((4, checks.refuse_unless(&holds, &words, lengths, Some(INT32))));
    }
    if flow.decides_size(input) {
        let size = checks.size(input);
        let holds = checks.greater(&size, 0.5);
        let words = format!("the input of {} holds no element", subject(node));
        changed.push((0, checks.refuse_unless(&holds, &words, input, None)));
    }
    changed
}

/// The quotient of the least integer and −1 is none of its type, and dividing ends the process.
fn division(checks: &mut Checks, node: &NodeProto, flow: &Flow) -> Vec<(usize, String)> {
    let [a, b] = node.input.as_slice() else { return Vec::new() };
    let of = flow.element_type(a).or(flow.element_type(b));
    let least = match of {
        Some(INT32) => i64::from(i32::MIN),
        Some(INT64) => i64::MIN,
        _ => return Vec::new(),
    };
    if !flow.may_be_minus_one(b) || !(flow.decides_value(a) || flow.decides_value(b)) {
        return Vec::new();
    }
    let element_type = of.unwrap_or(INT64);
    let (least, one) = (checks.integer(least, element_type), checks.integer(-1, element_type));
    let is_least = checks.op("Equal", &[a, &least], Vec::new());
    let is_one = checks.op("Equal", &[b, &one], Vec::new());
    let overflows = checks.op("And", &[&is_least, &is_one], Vec::new());
    let holds = checks.op("Not", &[&overflows], Vec::new());
    let words = format!("{} divides the least integer of its type by -1", subject(node));
    vec![(1, checks.refuse_unless(&holds, &words, b, of))]
}

/// Without a fixed number of points in a region, each of its pixels is one.
fn regions(checks: &mut Checks, node: &NodeProto, flow: &Flow) -> Vec<(usize, String)> {
    let Some(regions) = decided(node, flow, 1) else { return Vec::new() };
    let number = |name: &str| attribute(node, name).map(|attribute| attribute.i);
    if number("sampling_ratio").is_some_and(|ratio| ratio > 0) {
        return Vec::new();
    }
    let scale = attribute(node, "spatial_scale").map_or(1.0, |scale| scale.f);
    let edges = checks.float(regions);
    let mut edge = |index: i64| {
        let index = checks.integer(index, INT64);
        checks.op("Gather", &[&edges, &index], vec![super::checks::integer("axis", 1)])
    };
    let [left, top, right, bottom] = [edge(0), edge(1), edge(2), edge(3)];
    let mut extent = |from: &str, to: &str, bins: &str| {
        let (scale, bins) = (checks.number(scale), checks.number(number(bins).unwrap_or(1) as f32));
        let difference = checks.op("Sub", &[to, from], Vec::new());
        let pixels = checks.times(&difference, &scale);
        let pixels = checks.op("Abs", &[&pixels], Vec::new());
        checks.op("Add", &[&pixels, &bins], Vec::new())
    };
    let (width, height) = (extent(&left, &right, "output_width"), extent(&top, &bottom, "output_height"));
    let points = checks.times(&width, &height);
    let holds = checks.less(&points, REGION_POINTS);
    let words = format!("a region for {} has more than {REGION_POINTS} pixels", subject(node));
    vec![(1, checks.refuse_unless(&holds, &words, regions, flow.element_type(regions)))]
}

/// A transform in frames divides by its step.
fn frames(checks: &mut Checks, node: &NodeProto, flow: &Flow) -> Vec<(usize, String)> {
    let Some(step) = decided(node, flow, 1) else { return limits::check(checks, node, flow) };
    let number = checks.float(step);
    let holds = checks.greater(&number, 0.5);
    let words = format!("the frame_step of {} must be at least 1", subject(node));
    let step = checks.refuse_unless(&holds, &words, step, flow.element_type(step));
    let mut changed = limits::check(checks, node, flow);
    changed.push((1, step));
    changed
}

/// The library takes the lower 32 bits of a count.
fn count(checks: &mut Checks, node: &NodeProto, flow: &Flow) -> Vec<(usize, String)> {
    let Some(count) = decided(node, flow, 1) else { return Vec::new() };
    let number = checks.float(count);
    let holds = checks.less(&number, i32::MAX as f32);
    let words = format!("the k of {} is more than there are elements", subject(node));
    vec![(1, checks.refuse_unless(&holds, &words, count, Some(INT64)))]
}

/// A sequence that grows in a loop has no size to look at. What is put into it has, and each of its elements is taken for
/// as large.
fn insertion(checks: &mut Checks, node: &NodeProto, flow: &Flow) -> Vec<(usize, String)> {
    let [sequence, tensor, ..] = node.input.as_slice() else { return Vec::new() };
    if !flow.decides_size(sequence) {
        return Vec::new();
    }
    let element_type = flow.element_type(tensor);
    let (size, smallest) = (checks.size(tensor), checks.number(SMALLEST_VALUE));
    let size = checks.op("Add", &[&size, &smallest], Vec::new());
    let length = checks.op("SequenceLength", &[sequence], Vec::new());
    let (length, bytes) = (checks.float(&length), checks.number(limits::bytes_of(element_type)));
    let (elements, limit) = (checks.times(&size, &length), checks.tensor_bytes());
    let total = checks.times(&elements, &bytes);
    let holds = checks.less(&total, limit as f32);
    let words = format!("the sequence that {} makes grows beyond {limit} bytes (max-tensor-bytes)", subject(node));
    vec![(1, checks.refuse_unless(&holds, &words, tensor, element_type))]
}

/// Checks what a round of a loop adds: the values that it carries, and those that it collects round by round. Returns the
/// name of the condition that the body has to give instead of its own.
pub(super) fn growth(
    checks: &mut Checks,
    inputs: &[ValueInfoProto],
    outputs: &[ValueInfoProto],
    carried: usize,
    subject: &str,
) -> Option<String> {
    let (round, condition) = (inputs.first()?, outputs.first()?);
    let mut sum: Option<String> = None;
    for (index, output) in outputs.iter().enumerate().skip(1) {
        let kind = output.r#type.as_ref().and_then(|kind| kind.value.as_ref());
        // Sequences have no size; what is put into them is checked.
        let Some(type_proto::Value::TensorType(tensor)) = kind else { continue };
        let size = checks.size(&output.name);
        let smallest = checks.number(SMALLEST_VALUE);
        let mut size = checks.op("Add", &[&size, &smallest], Vec::new());
        if index > carried {
            let (before, one) = (checks.float(&round.name), checks.number(1.0));
            let rounds = checks.op("Add", &[&before, &one], Vec::new());
            size = checks.times(&size, &rounds);
        }
        let bytes = checks.number(limits::bytes_of(Some(tensor.elem_type)));
        size = checks.times(&size, &bytes);
        sum = Some(match sum {
            Some(sum) => checks.op("Add", &[&sum, &size], Vec::new()),
            None => size,
        });
    }
    let holds = checks.less(&sum?, checks.tensor_bytes() as f32);
    let words = format!("the values of {subject} grow beyond {} bytes (max-tensor-bytes)", checks.tensor_bytes());
    Some(checks.refuse_unless(&holds, &words, &condition.name, Some(BOOL)))
}
