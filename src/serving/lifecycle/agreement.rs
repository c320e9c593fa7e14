//! Agreement of two engines about a graph: its signature, and its answers.

use crate::signature::{Dim, Signature, TensorSpec};
use crate::tensor::{Data, Tensor};

/// The largest difference between two engines, absolute and relative to the number: kernels round differently.
const TOLERANCE: f64 = 1e-3;

/// Returns the first difference of two signatures in words. The sizes that engines derive for outputs, and the symbols
/// that they call open ones, are not compared: only whether they are the batch.
pub(super) fn differ_in_signature(ours: &Signature, theirs: &Signature) -> Option<String> {
    let shape = TensorSpec::shape_text;
    let differ = |kind: &str, ours: &[TensorSpec], theirs: &[TensorSpec], same: &dyn Fn(&[Dim], &[Dim]) -> bool| {
        if ours.len() != theirs.len() {
            return Some(format!("one sees {} {kind}s, the other {}", ours.len(), theirs.len()));
        }
        let mut pairs = ours.iter().zip(theirs);
        let (ours, theirs) = pairs.find(|(ours, theirs)| {
            ours.name != theirs.name || ours.dtype != theirs.dtype || !same(&ours.shape, &theirs.shape)
        })?;
        Some(format!(
            "one sees {kind} \"{}\" as {} {}, the other \"{}\" as {} {}",
            ours.name,
            ours.dtype,
            shape(ours),
            theirs.name,
            theirs.dtype,
            shape(theirs)
        ))
    };
    let is_batch = |dims: &[Dim]| dims.first().is_some_and(Dim::is_batch);
    differ("input", &ours.inputs, &theirs.inputs, &|ours, theirs| ours == theirs).or_else(|| {
        let same = |ours: &[Dim], theirs: &[Dim]| ours.len() == theirs.len() && is_batch(ours) == is_batch(theirs);
        differ("output", &ours.outputs, &theirs.outputs, &same)
    })
}

/// Returns the first difference of two answers in words: which output, and by how much. `probabilities` is the output
/// whose largest element is the answer to clients.
pub(super) fn differ(
    outputs: &[TensorSpec],
    ours: &[Tensor],
    theirs: &[Tensor],
    probabilities: Option<usize>,
) -> Option<String> {
    if ours.len() != theirs.len() {
        return Some(format!("one gives {} outputs, the other {}", ours.len(), theirs.len()));
    }
    let name = |output: usize| outputs.get(output).map_or("", |spec| spec.name.as_str());
    let mut pairs = ours.iter().zip(theirs).enumerate();
    let found = pairs.find_map(|(output, (a, b))| Some(format!("output \"{}\" {}", name(output), differ_in(a, b)?)));
    found.or_else(|| {
        let output = probabilities?;
        let (a, b) = (classes(&ours[output]), classes(&theirs[output]));
        let row = a.iter().zip(&b).position(|(a, b)| a != b)?;
        let class = |best: Option<usize>| best.map_or("none".to_owned(), |class| class.to_string());
        let (a, b) = (class(a[row]), class(b[row]));
        Some(format!("output \"{}\" names class {a} and class {b} for the same sample", name(output)))
    })
}

/// Returns the class of each sample, if the output holds distributions.
fn classes(output: &Tensor) -> Vec<Option<usize>> {
    let best = |row: &[f32]| row.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1)).map(|(class, _)| class);
    output.float_rows().map(|rows| rows.map(best).collect()).unwrap_or_default()
}

fn differ_in(ours: &Tensor, theirs: &Tensor) -> Option<String> {
    if ours.dtype() != theirs.dtype() {
        return Some(format!("is of {} and of {}", ours.dtype(), theirs.dtype()));
    }
    if ours.shape() != theirs.shape() {
        return Some(format!("is of shape {:?} and of shape {:?}", ours.shape(), theirs.shape()));
    }
    match (ours.data(), theirs.data()) {
        (Data::Float32(a), Data::Float32(b)) => farthest(a.iter().zip(b).map(|(a, b)| ((*a).into(), (*b).into()))),
        (Data::Float64(a), Data::Float64(b)) => farthest(a.iter().zip(b).map(|(a, b)| (*a, *b))),
        (Data::Float16(a), Data::Float16(b)) => farthest(a.iter().zip(b).map(|(a, b)| ((*a).into(), (*b).into()))),
        (Data::Bfloat16(a), Data::Bfloat16(b)) => farthest(a.iter().zip(b).map(|(a, b)| ((*a).into(), (*b).into()))),
        (a, b) => (a != b).then(|| "holds other elements".to_owned()),
    }
}

/// Returns the numbers that differ most, if any differ by more than rounding does.
fn farthest(pairs: impl Iterator<Item = (f64, f64)>) -> Option<String> {
    let is_close =
        |a: f64, b: f64| a == b || (a.is_nan() && b.is_nan()) || (a - b).abs() <= TOLERANCE * (1.0 + a.abs());
    // A number beside none is farther than any two numbers.
    let distance = |a: f64, b: f64| if (a - b).is_nan() { f64::INFINITY } else { (a - b).abs() };
    let far = pairs.enumerate().filter(|(_, (a, b))| !is_close(*a, *b));
    let (index, (a, b)) = far.max_by(|(_, a), (_, b)| distance(a.0, a.1).total_cmp(&distance(b.0, b.1)))?;
    Some(format!("differs by {:.4} in element {index}: {} and {}", distance(a, b), a as f32, b as f32))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signature::DType;

    fn spec(name: &str, dims: &[&str]) -> TensorSpec {
        let dim = |dim: &&str| dim.parse().map_or_else(|_| Dim::Symbol((*dim).into()), Dim::Fixed);
        TensorSpec { name: name.into(), dtype: DType::Float32, shape: dims.iter().map(dim).collect() }
    }

    #[test]
    fn engines_agree_when_every_output_is_close_and_no_answer_differs() {
        let row = |numbers: &[f32]| vec![Tensor::new(vec![1, numbers.len()], numbers.to_vec()).unwrap()];
        let outputs = [spec("y", &["N", "2"])];
        let differ = |ours: &[Tensor], theirs: &[Tensor], classes| differ(&outputs, ours, theirs, classes);
        assert_eq!(differ(&row(&[0.1, 0.9]), &row(&[0.1004, 0.8996]), Some(0)), None);
        let far = differ(&row(&[0.1, 0.9]), &row(&[0.25, 0.5]), Some(0)).unwrap();
        assert!(far.starts_with("output \"y\" differs by 0.4") && far.contains("element 1"), "{far}");
        let classes = differ(&row(&[0.4999, 0.5001]), &row(&[0.5001, 0.4999]), Some(0)).unwrap();
        assert!(classes.contains("names class 1 and class 0"), "{classes}");
        assert_eq!(differ(&row(&[0.4999, 0.5001]), &row(&[0.5001, 0.4999]), None), None);
        assert!(differ(&row(&[0.1, 0.9]), &row(&[0.1]), None).unwrap().contains("of shape [1, 2] and of shape [1, 1]"));
        assert!(differ(&row(&[0.1]), &[Tensor::new(vec![1, 1], vec![0i64]).unwrap()], None).unwrap().contains("int64"));
        assert!(differ(&row(&[f32::NAN]), &row(&[0.1]), None).unwrap().contains("by inf"));
        assert_eq!(differ(&row(&[f32::NAN, f32::INFINITY]), &row(&[f32::NAN, f32::INFINITY]), None), None);
    }

    #[test]
    fn symbols_and_sizes_of_outputs_are_no_difference_but_the_batch_is() {
        let signature = |input: &[&str], output: &[&str]| Signature {
            inputs: vec![spec("x", input)],
            outputs: vec![spec("y", output)],
        };
        let ours = signature(&["N", "L"], &["N", "2*L"]);
        assert_eq!(differ_in_signature(&ours, &signature(&["N", "L"], &["N", "o0_1"])), None);
        assert_eq!(differ_in_signature(&ours, &signature(&["N", "L"], &["N", "6"])), None);
        for other in [
            signature(&["N", "K"], &["N", "2*L"]),
            signature(&["N", "L"], &["M", "2*L"]),
            signature(&["N", "L"], &["N"]),
        ] {
            assert!(differ_in_signature(&ours, &other).is_some());
        }
    }
}
