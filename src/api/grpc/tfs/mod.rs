//! TensorFlow Serving's PredictionService over gRPC: messages in, calls to its core, messages out.

mod examples;
mod models;
mod predictions;
mod tensor;

use crate::api::tfs::{ModelSpec, SERVING_DEFAULT, Wanted, check_signature_name};
use crate::error::{Error, Result};
use crate::serving::Servable;

use super::pb::tensorflow::serving as message;
pub(super) use models::Models;
pub(super) use predictions::Predictions;

/// The model that a request names.
///
/// # Errors
/// [`Error::InvalidInput`] when it names none, a negative version, or a signature that is not there.
fn model_spec(spec: Option<message::ModelSpec>) -> Result<ModelSpec> {
    let spec = spec.ok_or_else(|| Error::InvalidInput("Missing ModelSpec".into()))?;
    check_signature_name(&spec.signature_name)?;
    let wanted = match spec.version_choice {
        None => Wanted::Latest,
        Some(message::model_spec::VersionChoice::VersionLabel(label)) => Wanted::Label(label),
        Some(message::model_spec::VersionChoice::Version(version)) => Wanted::Version(
            u64::try_from(version)
                .map_err(|_| Error::InvalidInput(format!("the version must not be negative, got {version}")))?,
        ),
    };
    Ok(ModelSpec { name: spec.name, wanted })
}

/// Names the version that answered.
fn answered_by(servable: &Servable) -> Option<message::ModelSpec> {
    let version = i64::try_from(servable.version.0).unwrap_or(i64::MAX);
    Some(message::ModelSpec {
        name: servable.name.to_string(),
        version_choice: Some(message::model_spec::VersionChoice::Version(version)),
        signature_name: SERVING_DEFAULT.to_owned(),
    })
}
