//! The operators whose values say how large a tensor they make.

use tract_onnx::pb::NodeProto;

use super::checks::Checks;
use super::flow::{FLOAT, Flow, INT64, attribute, decided, subject};

/// A tensor that a node would make.
struct Made {
    /// The number of its elements.
    elements: String,
    element_type: Option<i32>,
    /// The input that waits for the check.
    input: usize,
}

/// Returns true if the values of an operator's inputs say how much it makes.
pub(super) fn is_limited(operator: &str) -> bool {
    matches!(
        operator,
        "ConstantOfShape"
            | "Range"
            | "Tile"
            | "Expand"
            | "OneHot"
            | "Pad"
            | "Resize"
            | "Upsample"
            | "HannWindow"
            | "HammingWindow"
            | "BlackmanWindow"
            | "MelWeightMatrix"
            | "DFT"
            | "STFT"
            | "AffineGrid"
            | "Col2Im"
            | "CenterCropPad"
            | "MaxUnpool"
            | "CropAndResize"
    )
}

/// Returns the bytes of an element of a type by its number in onnx.proto; 4 if it is not known.
pub(super) fn bytes_of(element_type: Option<i32>) -> f32 {
    match element_type {
        Some(2 | 3 | 9) => 1.0,
        Some(4 | 5 | 10 | 16) => 2.0,
        Some(7 | 11 | 13 | 14) => 8.0,
        // A text takes its place even when it is empty.
        Some(8) => 32.0,
        Some(15) => 16.0,
        _ => 4.0,
    }
}

/// Makes the check of a node, if a request decides how much it makes.
pub(super) fn check(checks: &mut Checks, node: &NodeProto, flow: &Flow) -> Vec<(usize, String)> {
    let Some(Made { elements, element_type, input }) = made(checks, node, flow) else { return Vec::new() };
    let limit = checks.tensor_bytes() as f32 / bytes_of(element_type);
    let holds = checks.less(&elements, limit + 1.0);
    let words = format!(
        "the request asks {} for a tensor of more than {} bytes (max-tensor-bytes)",
        subject(node),
        checks.tensor_bytes()
    );
    let name = &node.input[input];
    vec![(input, checks.refuse_unless(&holds, &words, name, flow.element_type(name)))]
}

fn made(checks: &mut Checks, node: &NodeProto, flow: &Flow) -> Option<Made> {
    let is_decided = |index| decided(node, flow, index).is_some();
    let element_type = node.input.first().and_then(|name| flow.element_type(name));
    let input = |index: usize| node.input.get(index).map_or("", String::as_str);
    let (elements, decides) = match node.op_type.as_str() {
        "ConstantOfShape" if is_decided(0) => {
            let value = attribute(node, "value").and_then(|value| value.t.as_ref());
            let element_type = Some(value.map_or(FLOAT, |value| value.data_type));
            return Some(Made { elements: product_of(checks, input(0)), element_type, input: 0 });
        }
        "OneHot" if is_decided(1) => {
            let (depth, size) = (checks.float(input(1)), checks.size(input(0)));
            let element_type = flow.element_type(input(2));
            return Some(Made { elements: checks.times(&depth, &size), element_type, input: 1 });
        }
        "Range" if (0..3).any(is_decided) => {
            let [start, limit, step] = [0, 1, 2].map(|index| checks.float(input(index)));
            let length = checks.op("Sub", &[&limit, &start], Vec::new());
            (checks.over(&length, &step), 1)
        }
        "Tile" if is_decided(1) => {
            let (repeats, size) = (product_of(checks, input(1)), checks.size(input(0)));
            (checks.times(&repeats, &size), 1)
        }
        "Expand" if is_decided(1) => (broadcast(checks, input(0), input(1)), 1),
        "Pad" if is_decided(1) || is_decided(3) => (padded(checks, input(0), input(1), input(3)), 1),
        "Resize" | "Upsample" => resized(checks, node, flow)?,
        "CenterCropPad" if is_decided(1) => {
            let sizes = checks.float(input(1));
            (scaled(checks, node, input(0), &sizes), 1)
        }
        _ => of_signal(checks, node, flow).or_else(|| of_image(checks, node, flow))?,
    };
    Some(Made { elements, element_type, input: decides })
}

/// Returns the elements that an operator on signals makes, and the input that waits for the check.
fn of_signal(checks: &mut Checks, node: &NodeProto, flow: &Flow) -> Option<(String, usize)> {
    let is_decided = |index| decided(node, flow, index).is_some();
    let input = |index: usize| node.input.get(index).map_or("", String::as_str);
    match node.op_type.as_str() {
        "HannWindow" | "HammingWindow" | "BlackmanWindow" if is_decided(0) => Some((checks.float(input(0)), 0)),
        "MelWeightMatrix" if is_decided(0) || is_decided(1) => {
            let (bins, length) = (checks.float(input(0)), checks.float(input(1)));
            Some((checks.times(&bins, &length), usize::from(!is_decided(0))))
        }
        "DFT" if is_decided(1) => {
            let (length, parts) = (checks.float(input(1)), checks.number(2.0));
            Some((checks.times(&length, &parts), 1))
        }
        "STFT" if is_decided(1) || is_decided(3) => {
            let (size, step, one) = (checks.size(input(0)), checks.float(input(1)), checks.number(1.0));
            // A step of 0 has a check of its own.
            let step = checks.op("Max", &[&step, &one], Vec::new());
            let frames = checks.over(&size, &step);
            let length = if input(3).is_empty() { checks.size(input(2)) } else { checks.float(input(3)) };
            Some((checks.times(&frames, &length), 0))
        }
        _ => None,
    }
}

/// Returns the elements that an operator on images makes, and the input that waits for the check.
fn of_image(checks: &mut Checks, node: &NodeProto, flow: &Flow) -> Option<(String, usize)> {
    let is_decided = |index| decided(node, flow, index).is_some();
    let input = |index: usize| node.input.get(index).map_or("", String::as_str);
    match node.op_type.as_str() {
        "AffineGrid" if is_decided(1) => {
            let (points, axes) = (product_of(checks, input(1)), checks.number(3.0));
            Some((checks.times(&points, &axes), 1))
        }
        "Col2Im" if is_decided(1) || is_decided(2) => {
            let (pixels, block) = (product_of(checks, input(1)), product_of(checks, input(2)));
            let (size, shape, axis) = (checks.size(input(0)), checks.shape(input(0)), checks.integer(2, INT64));
            let blocks = checks.op("Gather", &[&shape, &axis], Vec::new());
            let (all, blocks) = (checks.times(&size, &pixels), checks.times(&blocks, &block));
            Some((checks.over(&all, &blocks), if is_decided(1) { 1 } else { 2 }))
        }
        "MaxUnpool" if is_decided(2) => Some((product_of(checks, input(2)), 2)),
        "CropAndResize" if is_decided(3) => {
            let (pixels, regions) = (product_of(checks, input(3)), checks.size(input(1)));
            Some((checks.times(&pixels, &regions), 3))
        }
        _ => None,
    }
}

/// Returns the product of all numbers in a value, each without its sign: one below zero may ask for as much as one above.
fn product_of(checks: &mut Checks, value: &str) -> String {
    let numbers = checks.float(value);
    let numbers = checks.op("Abs", &[&numbers], Vec::new());
    checks.product(&numbers)
}

/// Returns the elements of a value that is broadcast to a shape.
fn broadcast(checks: &mut Checks, value: &str, shape: &str) -> String {
    let own = checks.op("Shape", &[value], Vec::new());
    let ranks = [checks.op("Size", &[&own], Vec::new()), checks.op("Size", &[shape], Vec::new())];
    let vector = checks.vector(&[1]);
    let mut filled = |sizes: &str, rank: &str, other: &str| {
        let missing = checks.op("Sub", &[other, rank], Vec::new());
        let missing = checks.float(&missing);
        let missing = checks.op("Relu", &[&missing], Vec::new());
        let missing = checks.cast(&missing, INT64);
        let missing = checks.op("Reshape", &[&missing, &vector], Vec::new());
        let zeros = checks.op("ConstantOfShape", &[&missing], Vec::new());
        let sizes = checks.float(sizes);
        let sizes = checks.op("Abs", &[&sizes], Vec::new());
        checks.op("Concat", &[&zeros, &sizes], vec![super::checks::integer("axis", 0)])
    };
    let (own, wanted) = (filled(&own, &ranks[0], &ranks[1]), filled(shape, &ranks[1], &ranks[0]));
    let sizes = checks.op("Max", &[&own, &wanted], Vec::new());
    checks.product(&sizes)
}

/// Returns the elements of a value whose axes, all or those that `axes` names, get more at both ends.
fn padded(checks: &mut Checks, value: &str, pads: &str, axes: &str) -> String {
    let old = axes_of(checks, value, axes);
    let (pads, rows) = (checks.float(pads), checks.vector(&[2, -1]));
    // What is added at one end may not hide behind what is taken off at the other.
    let pads = checks.op("Abs", &[&pads], Vec::new());
    let pads = checks.op("Reshape", &[&pads, &rows], Vec::new());
    let ones = checks.ones();
    let more = checks.op("MatMul", &[&ones, &pads], Vec::new());
    let new = checks.op("Add", &[&old, &more], Vec::new());
    let growth = checks.over(&new, &old);
    let (growth, size) = (checks.product(&growth), checks.size(value));
    checks.times(&growth, &size)
}

/// Returns the sizes of a value along all axes or those named, each at least 1.
fn axes_of(checks: &mut Checks, value: &str, axes: &str) -> String {
    let mut sizes = checks.shape(value);
    if !axes.is_empty() {
        sizes = checks.op("Gather", &[&sizes, axes], Vec::new());
    }
    let one = checks.number(1.0);
    checks.op("Max", &[&sizes, &one], Vec::new())
}

/// Returns the elements of a value that gets new sizes along the axes that its node names, or along all.
fn scaled(checks: &mut Checks, node: &NodeProto, value: &str, sizes: &str) -> String {
    let Some(axes) = attribute(node, "axes").filter(|axes| !axes.ints.is_empty()) else { return checks.product(sizes) };
    let axes = checks.vector(&axes.ints);
    let old = axes_of(checks, value, &axes);
    let growth = checks.over(sizes, &old);
    let (growth, size) = (checks.product(&growth), checks.size(value));
    checks.times(&growth, &size)
}

/// Returns the elements of an image of another size, and the input that says how large it gets.
fn resized(checks: &mut Checks, node: &NodeProto, flow: &Flow) -> Option<(String, usize)> {
    let scales = if checks.standard() < 11 { 1 } else { 2 };
    if decided(node, flow, 3).is_some() {
        let sizes = checks.float(&node.input[3]);
        return Some((scaled(checks, node, &node.input[0], &sizes), 3));
    }
    decided(node, flow, scales)?;
    let (growth, size) = (product_of(checks, &node.input[scales]), checks.size(&node.input[0]));
    Some((checks.times(&growth, &size), scales))
}
