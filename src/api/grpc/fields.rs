//! Counts the fields of a message in its bytes. Two bytes can stand for an empty message that takes
//! hundreds in memory; so a message of 10 MB could take gigabytes if they were not counted first.

use std::any::TypeId;

use super::pb::inference::ModelInferRequest;
use super::pb::tensorflow::serving::{ClassificationRequest, MultiInferenceRequest, PredictRequest, RegressionRequest};

/// Fields of one message, with those of the messages in it.
pub(super) const MAX_FIELDS: usize = 131_072;

/// Which fields of a message are messages themselves whose fields count.
struct Nested(&'static [(u64, &'static Nested)]);

static LEAF: Nested = Nested(&[]);
static MAP: Nested = Nested(&[(2, &LEAF)]);
static INFER: Nested = Nested(&[(4, &MAP), (5, &INFER_INPUT), (6, &Nested(&[(2, &MAP)]))]);
static INFER_INPUT: Nested = Nested(&[(4, &MAP), (5, &LEAF)]);
static PREDICT: Nested = Nested(&[(1, &LEAF), (2, &Nested(&[(2, &TENSOR)]))]);
static TENSOR: Nested = Nested(&[(2, &Nested(&[(2, &LEAF)]))]);
static EXAMPLES: Nested = Nested(&[(1, &LEAF), (2, &INPUT)]);
static TASKS: Nested = Nested(&[(1, &Nested(&[(1, &LEAF)])), (2, &INPUT)]);
static INPUT: Nested = Nested(&[(1, &LIST), (2, &LIST)]);
static LIST: Nested = Nested(&[(1, &EXAMPLE), (2, &EXAMPLE)]);
static EXAMPLE: Nested = Nested(&[(1, &Nested(&[(1, &Nested(&[(2, &FEATURE)]))]))]);
static FEATURE: Nested = Nested(&[(1, &LEAF), (2, &LEAF), (3, &LEAF)]);

fn nested<M: 'static>() -> &'static Nested {
    let message = TypeId::of::<M>();
    if message == TypeId::of::<ModelInferRequest>() {
        &INFER
    } else if message == TypeId::of::<PredictRequest>() {
        &PREDICT
    } else if message == TypeId::of::<ClassificationRequest>() || message == TypeId::of::<RegressionRequest>() {
        &EXAMPLES
    } else if message == TypeId::of::<MultiInferenceRequest>() {
        &TASKS
    } else {
        &LEAF
    }
}

/// Returns true if a message has no more fields than it may. Of bytes that are no message, those count that
/// could be read; reading it all will fail.
pub(super) fn are_few<M: 'static>(bytes: &[u8]) -> bool {
    let mut left = MAX_FIELDS;
    count(bytes, nested::<M>(), &mut left).is_some()
}

/// Subtracts the fields from those that are left; `None` if there are more.
fn count(mut bytes: &[u8], nested: &Nested, left: &mut usize) -> Option<()> {
    while let Some(key) = varint(&mut bytes) {
        *left = left.checked_sub(1)?;
        let skipped = match key & 7 {
            0 => varint(&mut bytes).map(|_| ()),
            1 => bytes.split_off(..8).map(|_| ()),
            5 => bytes.split_off(..4).map(|_| ()),
            2 => match varint(&mut bytes).and_then(|length| bytes.split_off(..usize::try_from(length).ok()?)) {
                Some(inner) => {
                    if let Some((_, nested)) = nested.0.iter().find(|(field, _)| *field == key >> 3) {
                        count(inner, nested, left)?;
                    }
                    Some(())
                }
                None => None,
            },
            // Groups are obsolete; their fields count as if they were outside.
            _ => Some(()),
        };
        if skipped.is_none() {
            break;
        }
    }
    Some(())
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..70).step_by(7) {
        let byte = *bytes.split_off_first()?;
        number |= u64::from(byte & 0x7f).checked_shl(shift).unwrap_or(0);
        if byte < 0x80 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use prost::Message;

    use super::super::pb::inference::model_infer_request::InferInputTensor;
    use super::super::pb::inference::{InferTensorContents, ModelInferResponse};
    use super::super::pb::tensorflow::{self, TensorProto};
    use super::*;

    /// The fields that were counted.
    fn counted<M: 'static>(bytes: &[u8]) -> usize {
        let mut left = MAX_FIELDS;
        count(bytes, nested::<M>(), &mut left).map_or(usize::MAX, |()| MAX_FIELDS - left)
    }

    #[test]
    fn every_field_counts_that_takes_memory() {
        let contents = InferTensorContents { bytes_contents: vec![Default::default(); 7], ..Default::default() };
        let input = InferInputTensor { contents: Some(contents), ..Default::default() };
        let infer = ModelInferRequest { inputs: vec![input; 3], ..Default::default() };
        assert_eq!(counted::<ModelInferRequest>(&infer.encode_to_vec()), 3 * (1 + 1 + 7));
        // Elements that lie packed in one field are one, whatever their number.
        let contents = InferTensorContents { fp32_contents: vec![1.0; 1000], ..Default::default() };
        let input = InferInputTensor { contents: Some(contents), ..Default::default() };
        let infer = ModelInferRequest { inputs: vec![input], ..Default::default() };
        assert_eq!(counted::<ModelInferRequest>(&infer.encode_to_vec()), 3);
        let tensor = TensorProto { string_val: vec![Default::default(); 5], ..Default::default() };
        let predict = PredictRequest { inputs: [("x".to_owned(), tensor)].into(), ..Default::default() };
        assert_eq!(counted::<PredictRequest>(&predict.encode_to_vec()), 1 + 2 + 5);
    }

    #[test]
    fn examples_count_to_their_last_value() {
        let value = vec![Default::default(); 4];
        let kind = Some(tensorflow::feature::Kind::BytesList(tensorflow::BytesList { value }));
        let feature = [("f".to_owned(), tensorflow::Feature { kind })].into();
        let example = tensorflow::Example { features: Some(tensorflow::Features { feature }) };
        let list = tensorflow::serving::ExampleList { examples: vec![example; 2] };
        let input = tensorflow::serving::Input { kind: Some(tensorflow::serving::input::Kind::ExampleList(list)) };
        let request = ClassificationRequest { model_spec: None, input: Some(input) };
        assert_eq!(counted::<ClassificationRequest>(&request.encode_to_vec()), 1 + 1 + 2 * (1 + 1 + 1 + 2 + 1 + 4));
    }

    #[test]
    fn more_than_the_limit_is_refused() {
        // Empty messages of two bytes each.
        let inputs = |count: usize| [0x2a, 0].repeat(count);
        assert!(are_few::<ModelInferRequest>(&inputs(MAX_FIELDS)));
        assert!(!are_few::<ModelInferRequest>(&inputs(MAX_FIELDS + 1)));
        assert!(!are_few::<ModelInferResponse>(&inputs(MAX_FIELDS + 1)));
    }

    proptest! {
        #[test]
        fn no_bytes_are_too_strange_to_be_counted(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(are_few::<ModelInferRequest>(&bytes));
            prop_assert!(are_few::<MultiInferenceRequest>(&bytes));
        }
    }
}
