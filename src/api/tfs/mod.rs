//! TensorFlow Serving's view of models, whatever carries it: REST and gRPC both parse into these types,
//! call these functions and write what comes back. Errors are worded as TensorFlow Serving words them.

mod examples;
mod model_spec;
mod results;
mod signature;
mod status;

pub(crate) use examples::{Example, Feature, examples_into_input, examples_into_texts};
pub(crate) use model_spec::{ModelSpec, Wanted};
pub(crate) use results::{Class, classes, classification_output, regression_output, regressions};
pub(crate) use signature::{DataType, TensorInfo, check_inputs};
pub(crate) use signature::{PREDICT_METHOD, SERVING_DEFAULT, SignatureDef, check_signature_name, signature_def};
pub(crate) use status::{VersionStatus, version_statuses};
