//! Information about models: states, metadata, names.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::ser::{PrettyFormatter, Serializer};

use crate::api::state::ApiState;
use crate::api::tfs::{ModelSpec, SERVING_DEFAULT, SignatureDef, VersionStatus, signature_def, version_statuses};
use crate::error::{Error, Result};
use crate::serving::State;

/// The state of a model in the forms of TensorFlow Serving and of KServe.
#[derive(Serialize)]
struct ModelStatus<'a> {
    model_version_status: Vec<Status>,
    name: &'a str,
    ready: bool,
}

#[derive(Serialize)]
struct Status {
    version: String,
    state: State,
    status: StatusCode,
}

#[derive(Serialize)]
struct StatusCode {
    error_code: &'static str,
    error_message: String,
}

#[derive(Serialize)]
struct Metadata<'a> {
    model_spec: ServedSpec<'a>,
    metadata: Fields,
}

#[derive(Serialize)]
struct ServedSpec<'a> {
    name: &'a str,
    signature_name: &'static str,
    version: String,
}

#[derive(Serialize)]
struct Fields {
    signature_def: Definitions,
}

#[derive(Serialize)]
struct Definitions {
    signature_def: BTreeMap<&'static str, SignatureDef>,
}

#[derive(Serialize)]
struct Names<'a> {
    models: Vec<&'a str>,
}

/// The states of the versions of a model.
///
/// # Errors
/// As [`version_statuses`].
pub(super) fn status(state: &ApiState, spec: &ModelSpec) -> Result<Vec<u8>> {
    let statuses = version_statuses(&state.predictor().catalog(), spec)?;
    let model_version_status = statuses.into_iter().map(|status: VersionStatus| Status {
        version: status.version.to_string(),
        state: status.state,
        status: StatusCode { error_code: status.code.name(), error_message: status.message },
    });
    let ready = spec.resolve(state.predictor()).is_ok();
    written(&ModelStatus { model_version_status: model_version_status.collect(), name: &spec.name, ready }, b" ")
}

/// Returns the inputs and outputs of a version.
///
/// # Errors
/// As [`ModelSpec::resolve`].
pub(super) fn metadata(state: &ApiState, spec: &ModelSpec) -> Result<Vec<u8>> {
    let servable = spec.resolve(state.predictor())?;
    let definition = signature_def(servable.signature());
    let metadata = Metadata {
        model_spec: ServedSpec {
            name: servable.name.as_str(),
            signature_name: "",
            version: servable.version.to_string(),
        },
        metadata: Fields {
            signature_def: Definitions { signature_def: BTreeMap::from([(SERVING_DEFAULT, definition)]) },
        },
    };
    written(&metadata, b" ")
}

/// The names of all models, as KServe lists them.
///
/// # Errors
/// None that a client could cause.
pub(super) fn list(state: &ApiState) -> Result<Vec<u8>> {
    let catalog = state.predictor().catalog();
    let models = catalog.models().keys().map(crate::ids::ModelName::as_str).collect();
    written(&Names { models }, b"    ")
}

fn written(value: &impl Serialize, indent: &[u8]) -> Result<Vec<u8>> {
    let mut json = Vec::new();
    let mut serializer = Serializer::with_formatter(&mut json, PrettyFormatter::with_indent(indent));
    value.serialize(&mut serializer).map_err(|error| Error::internal("the answer could not be written", error))?;
    Ok(json)
}
