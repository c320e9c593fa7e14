//! Metadata of the server and its models.

use std::sync::Arc;

use serde::Serialize;

use super::datatype::datatype;
use crate::api::state::ApiState;
use crate::error::{Error, Result};
use crate::ids::{ModelName, ModelRef, VersionSpec};
use crate::serving::{Catalog, Servable};
use crate::signature::{Dim, TensorSpec};

/// The supported extensions, by the names that clients look for.
const EXTENSIONS: [&str; 11] = [
    "classification",
    "model_repository",
    "model_repository(unload_dependents)",
    "schedule_policy",
    "model_configuration",
    "system_shared_memory",
    "binary_tensor_data",
    "parameters",
    "statistics",
    "trace",
    "logging",
];

/// Metadata of the server.
#[derive(Debug, Serialize)]
pub(crate) struct ServerMetadata {
    /// Its name.
    pub(crate) name: &'static str,
    /// Its version.
    pub(crate) version: &'static str,
    /// The extensions of the protocol that it has.
    pub(crate) extensions: Vec<&'static str>,
}

/// Metadata of a model.
#[derive(Debug, Serialize)]
pub(crate) struct ModelMetadata {
    /// Its name.
    pub(crate) name: String,
    /// The versions that serve, or the one that was asked for.
    pub(crate) versions: Vec<String>,
    /// Framework and format.
    pub(crate) platform: &'static str,
    /// Its inputs.
    pub(crate) inputs: Vec<TensorMetadata>,
    /// Its outputs.
    pub(crate) outputs: Vec<TensorMetadata>,
}

/// Metadata of a tensor.
#[derive(Debug, Serialize)]
pub(crate) struct TensorMetadata {
    /// Its name.
    pub(crate) name: String,
    /// The type of its elements.
    pub(crate) datatype: &'static str,
    /// Its dimensions; -1 where the request chooses.
    pub(crate) shape: Vec<i64>,
}

/// Returns the metadata of the server. Shared memory is listed where it is switched on.
pub(crate) fn server_metadata(state: &ApiState) -> ServerMetadata {
    let is_there = |extension: &&str| *extension != "system_shared_memory" || state.regions().is_on();
    ServerMetadata {
        name: "weir",
        version: env!("CARGO_PKG_VERSION"),
        extensions: EXTENSIONS.into_iter().filter(is_there).collect(),
    }
}

/// The model and version that a client means; no version is the default one, and a version may be an
/// alias.
///
/// # Errors
/// [`crate::error::Error::InvalidName`].
pub(crate) fn target(name: &str, version: &str) -> Result<ModelRef> {
    let version = if version.is_empty() { VersionSpec::Latest } else { version.parse()? };
    Ok(ModelRef { name: Some(name.parse()?), version })
}

/// Returns the servable that a client means.
///
/// # Errors
/// As [`target`] and [`find`].
pub(crate) fn resolve(state: &ApiState, name: &str, version: &str) -> Result<Arc<Servable>> {
    find(&state.predictor().catalog(), &target(name, version)?).cloned()
}

/// Returns the servable that a client means in a catalog.
///
/// # Errors
/// As [`Catalog::resolve`]; but as in Triton, a model without an available version is not found, while a version that is
/// named and not available is that.
pub(super) fn find<'c>(catalog: &'c Catalog, target: &ModelRef) -> Result<&'c Arc<Servable>> {
    catalog.resolve(target).map_err(|error| match (&target.version, error) {
        (VersionSpec::Latest, error @ (Error::NotAvailable { .. } | Error::NoneAvailable { .. })) => {
            Error::NotFound(error.to_string())
        }
        (_, error) => error,
    })
}

/// Returns the metadata of a model.
///
/// # Errors
/// As [`resolve`].
pub(crate) fn model_metadata(state: &ApiState, name: &str, version: &str) -> Result<ModelMetadata> {
    let catalog: &Catalog = &state.predictor().catalog();
    let target = target(name, version)?;
    let servable = find(catalog, &target)?;
    let versions = match target.version {
        VersionSpec::Latest => ready_versions(catalog, &servable.name)?,
        VersionSpec::Specific(_) | VersionSpec::Alias(_) => vec![servable.version.to_string()],
    };
    Ok(ModelMetadata {
        name: servable.name.to_string(),
        versions,
        platform: "onnx_onnxv1",
        inputs: servable.signature().inputs.iter().map(tensor).collect(),
        outputs: servable.signature().outputs.iter().map(tensor).collect(),
    })
}

fn ready_versions(catalog: &Catalog, name: &ModelName) -> Result<Vec<String>> {
    let versions = &catalog.model(name)?.versions;
    Ok(versions.iter().filter(|(_, entry)| entry.servable.is_some()).map(|(version, _)| version.to_string()).collect())
}

fn tensor(spec: &TensorSpec) -> TensorMetadata {
    TensorMetadata { name: spec.name.clone(), datatype: datatype(spec.dtype), shape: dims(&spec.shape) }
}

/// Dimensions as numbers; -1 where the request chooses.
pub(super) fn dims(dims: &[Dim]) -> Vec<i64> {
    let dim = |dim: &Dim| match dim {
        Dim::Fixed(size) => i64::try_from(*size).unwrap_or(i64::MAX),
        Dim::Symbol(_) => -1,
    };
    dims.iter().map(dim).collect()
}
