//! The classification extension: in place of an output, the classes of each sample with the largest
//! elements, as `value:index` or `value:index:label`.

use std::cmp::Ordering;
use std::fmt::Display;

use crate::error::{Error, Result};
use crate::signature::Batching;
use crate::tensor::{Data, Tensor};

/// Classes that one answer may name. Each is a piece of text.
const MAX_CLASSES: usize = 100_000;

/// The `count` largest elements of each sample, or all if there are fewer; of equal ones the first.
///
/// # Errors
/// [`Error::InvalidInput`] for an output that is not of numbers, [`Error::TooLarge`].
pub(super) fn classify(output: &Tensor, batching: Batching, count: usize, labels: &[String]) -> Result<Tensor> {
    let (rows, classes) = rows_and_classes(output, batching);
    let count = count.min(classes);
    if rows.saturating_mul(count) > MAX_CLASSES {
        return Err(Error::TooLarge {
            what: "the number of classes in the answer",
            limit: MAX_CLASSES as u64,
            got: format!("{rows} samples of {count}"),
        });
    }
    let mut texts = Vec::with_capacity(rows * count);
    macro_rules! rank {
        ($elements:expr) => {
            for row in $elements.chunks_exact(classes.max(1)) {
                rank(row, count, labels, &mut texts);
            }
        };
    }
    match output.data() {
        Data::Uint8(elements) => rank!(elements),
        Data::Uint16(elements) => rank!(elements),
        Data::Uint32(elements) => rank!(elements),
        Data::Uint64(elements) => rank!(elements),
        Data::Int8(elements) => rank!(elements),
        Data::Int16(elements) => rank!(elements),
        Data::Int32(elements) => rank!(elements),
        Data::Int64(elements) => rank!(elements),
        Data::Float16(elements) => rank!(elements),
        Data::Bfloat16(elements) => rank!(elements),
        Data::Float32(elements) => rank!(elements),
        Data::Float64(elements) => rank!(elements),
        Data::Bool(_) | Data::String(_) => {
            return Err(Error::InvalidInput(format!(
                "classification needs an output of numbers, got {}",
                output.dtype()
            )));
        }
    }
    let shape = match batching {
        Batching::Whole => vec![count],
        Batching::Any | Batching::Fixed(_) => vec![rows, count],
    };
    Tensor::new(shape, texts)
}

/// Returns the number of samples in an output, and of the elements of each.
pub(super) fn rows_and_classes(output: &Tensor, batching: Batching) -> (usize, usize) {
    match batching {
        Batching::Whole => (1, output.data().len()),
        Batching::Any | Batching::Fixed(_) => (output.rows(), output.row_elements()),
    }
}

fn rank<T: PartialOrd + Display>(row: &[T], count: usize, labels: &[String], texts: &mut Vec<String>) {
    // What is not a number comes last, wherever the model put it.
    let is_number = |index: usize| row[index].partial_cmp(&row[index]).is_some();
    let largest_first = |a: &usize, b: &usize| {
        let by_value = row[*b].partial_cmp(&row[*a]).unwrap_or_else(|| is_number(*b).cmp(&is_number(*a)));
        if by_value == Ordering::Equal { a.cmp(b) } else { by_value }
    };
    let mut order: Vec<usize> = (0..row.len()).collect();
    if count < order.len() {
        order.select_nth_unstable_by(count, largest_first);
        order.truncate(count);
    }
    order.sort_unstable_by(largest_first);
    texts.extend(order.into_iter().map(|index| match labels.get(index).filter(|label| !label.is_empty()) {
        Some(label) => format!("{}:{index}:{label}", row[index]),
        None => format!("{}:{index}", row[index]),
    }));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(tensor: &Tensor) -> &[String] {
        let Data::String(texts) = tensor.data() else { panic!("{tensor:?}") };
        texts
    }

    #[test]
    fn the_largest_elements_are_named_with_their_labels() {
        let output = Tensor::new(vec![2, 3], vec![0.1f32, 0.9, 0.5, f32::NAN, 2.0, 2.0]).unwrap();
        let labels = ["a", "b", "c"].map(String::from);
        let two = classify(&output, Batching::Any, 2, &labels).unwrap();
        assert_eq!(
            (two.shape(), texts(&two)),
            (&[2, 2][..], &["0.9:1:b", "0.5:2:c", "2:1:b", "2:2:c"].map(String::from)[..])
        );
        let all = classify(&output, Batching::Any, 99, &[]).unwrap();
        assert_eq!((all.shape(), texts(&all)[5].as_str()), (&[2, 3][..], "NaN:0"));
        let short = classify(&output, Batching::Any, 3, &labels[..1]).unwrap();
        assert_eq!(texts(&short)[..3], ["0.9:1", "0.5:2", "0.1:0:a"].map(String::from));
        let whole = classify(&output, Batching::Whole, 1, &labels).unwrap();
        assert_eq!((whole.shape(), texts(&whole)), (&[1][..], &["2:4".to_owned()][..]));
        let integers = Tensor::new(vec![1, 2], vec![u64::MAX, 1]).unwrap();
        assert_eq!(texts(&classify(&integers, Batching::Any, 1, &[]).unwrap()), ["18446744073709551615:0"]);
    }

    #[test]
    fn what_has_no_order_or_is_too_much_is_refused() {
        let strings = Tensor::new(vec![1, 1], vec!["x".to_owned()]).unwrap();
        assert!(classify(&strings, Batching::Any, 1, &[]).is_err());
        let large = Tensor::new(vec![1000, 1000], vec![0u8; 1_000_000]).unwrap();
        assert!(classify(&large, Batching::Any, 1000, &[]).is_err());
        assert!(classify(&large, Batching::Any, 1, &[]).is_ok());
        let none = Tensor::new(vec![0, 3], Vec::<f32>::new()).unwrap();
        assert_eq!(classify(&none, Batching::Any, 2, &[]).unwrap().shape(), [0, 2]);
    }
}
