//! Poolings that tract does not have.

use tract_onnx::pb::NodeProto;

use super::build::{Builder, attribute, input, integer, integer_of, output};

/// `LpPool`: the root of the sum of powers in each window. The sum is an average that counts the padding, times the
/// size of the window. Where the size of the output is rounded up, the last windows reach beyond the padding.
pub(super) fn lp_pool(node: &NodeProto, to: &mut Builder) -> bool {
    let (Some(value), Some(result), Some(kernel)) = (input(node, 0), output(node, 0), attribute(node, "kernel_shape"))
    else {
        return false;
    };
    if integer_of(node, "ceil_mode", 0) != 0 {
        return false;
    }
    let size: i64 = kernel.ints.iter().product();
    let p = integer_of(node, "p", 2) as f32;
    let magnitudes = to.op("Abs", &[value], Vec::new());
    let exponent = to.number_like(p, value);
    let powers = to.op("Pow", &[&magnitudes, &exponent], Vec::new());
    let mut attributes: Vec<_> = node.attribute.iter().filter(|attribute| attribute.name != "p").cloned().collect();
    attributes.push(integer("count_include_pad", 1));
    let means = to.op("AveragePool", &[&powers], attributes);
    let size = to.number_like(size as f32, value);
    let sums = to.op("Mul", &[&means, &size], Vec::new());
    let root = to.number_like(p.recip(), value);
    to.op_to("Pow", &[&sums, &root], Vec::new(), result);
    true
}

#[cfg(test)]
mod tests {
    use super::super::build::integers_attribute;
    use super::super::check::{assert_close, floats, model, node, run, value};
    use super::*;

    #[test]
    fn a_pooling_is_the_root_of_a_sum_of_powers() {
        let attributes =
            vec![integers_attribute("kernel_shape", &[2]), integers_attribute("pads", &[1, 0]), integer("p", 2)];
        let model = model(18, node("LpPool", &["x"], &["y"], attributes), vec![value("x", &[1, 1, 3])], Vec::new());
        let x = tract_onnx::prelude::Tensor::from_shape(&[1, 1, 3], &[3.0f32, -4.0, 12.0]).unwrap();
        assert_close(&floats(&run(model, vec![x])[0]), &[3.0, 5.0, 160f32.sqrt()]);
    }
}
