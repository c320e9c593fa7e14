//! TensorFlow's `Example` → the examples of the core.

use crate::api::grpc::pb::tensorflow::serving::{Input, input};
use crate::api::grpc::pb::tensorflow::{self, feature::Kind};
use crate::api::tfs::{Example, Feature};
use crate::error::{Error, Result};

/// The examples of a request, and what they share.
///
/// # Errors
/// [`Error::InvalidInput`] when there are none.
pub(super) fn examples(input: Option<Input>) -> Result<(Vec<Example>, Example)> {
    let (examples, context) = match input.and_then(|input| input.kind) {
        Some(input::Kind::ExampleList(list)) => (list.examples, None),
        Some(input::Kind::ExampleListWithContext(list)) => (list.examples, list.context),
        None => return Err(Error::InvalidInput("Input is empty.".into())),
    };
    let examples = examples.into_iter().map(example).collect();
    Ok((examples, context.map(example).unwrap_or_default()))
}

/// A feature of no kind is none.
fn example(example: tensorflow::Example) -> Example {
    let features = example.features.unwrap_or_default().feature;
    let feature = |(name, feature): (String, tensorflow::Feature)| {
        let feature = match feature.kind? {
            Kind::BytesList(list) => Feature::Bytes(list.value),
            Kind::FloatList(list) => Feature::Floats(list.value),
            Kind::Int64List(list) => Feature::Integers(list.value),
        };
        Some((name, feature))
    };
    features.into_iter().filter_map(feature).collect()
}
