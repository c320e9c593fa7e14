//! Graphs whose requests bring sizes and axes as values.

use weir::error::Kind;
use weir::tensor::Tensor;

use super::shapes::{FLOAT, INT64, int, plans, with};
use crate::fixtures::{model, node};

#[test]
fn values_that_decide_about_shapes_come_with_requests() {
    let nodes = vec![
        node("Reshape", &["x", "shape"], "r"),
        with(node("ReduceSum", &["r", "axes"], "y"), &[int("keepdims", 0)]),
    ];
    let inputs =
        [("x", FLOAT, Some(&["6"][..])), ("shape", INT64, Some(&["2"][..])), ("axes", INT64, Some(&["1"][..]))];
    let onnx = model(&inputs, &[("y", FLOAT, Some(&["K"][..]))], nodes, Vec::new(), 13);
    for plan in plans(&onnx) {
        let mut session = plan.session().unwrap();
        let mut run = |shape: [i64; 2], axis: i64| {
            let x = Tensor::new(vec![6], (0u8..6).map(f32::from).collect()).unwrap();
            let shape = Tensor::new(vec![2], shape.to_vec()).unwrap();
            session.run(&[x, shape, Tensor::new(vec![1], vec![axis]).unwrap()])
        };
        for _ in 0..2 {
            for (shape, axis, expected) in [
                ([2, 3], 1, &[3.0, 12.0][..]),
                ([3, 2], 0, &[6.0, 9.0]),
                ([2, 3], 0, &[3.0, 5.0, 7.0]),
                ([-1, 2], 1, &[1.0, 5.0, 9.0]),
            ] {
                assert_eq!(run(shape, axis).unwrap()[0].floats().unwrap(), expected);
            }
            let error = run([4, 4], 0).unwrap_err();
            assert_eq!(error.kind(), Kind::InvalidInput, "{error}");
        }
    }
}
