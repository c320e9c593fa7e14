//! Loads the graph that gives the maps of a network, when somebody asks for them first.

use std::sync::Arc;

use super::graphs::{GraphFile, GraphLoader, LoadSettings};
use crate::engine::class_map_graph;
use crate::error::{Error, Result};
use crate::metrics::Metrics;
use crate::repository::triton::View;
use crate::repository::{FoundVersion, VersionFiles, sha256_hex};
use crate::serving::servable::{ClassMaps, Mapper};

/// Returns the maps of a version, whose graph has this hash.
pub(super) fn class_maps(
    found: &FoundVersion,
    settings: &LoadSettings,
    metrics: &Arc<Metrics>,
    sha256: &str,
) -> ClassMaps {
    let (found, metrics, sha256) = (found.clone(), metrics.clone(), sha256.to_owned());
    let settings = LoadSettings { tuner: None, ..settings.clone() };
    ClassMaps::new(Box::new(move |scores: &str| make(&found, &settings, &metrics, &sha256, scores)))
}

/// Reads the file again and cuts its graph. The metrics of the cut graph appear under the name `<model>/class-maps`, which
/// no model can have.
///
/// # Errors
/// [`Error::Conflict`] when the file has changed since the version was loaded; those of the engines.
fn make(
    found: &FoundVersion,
    settings: &LoadSettings,
    metrics: &Arc<Metrics>,
    sha256: &str,
    scores: &str,
) -> Result<std::result::Result<Mapper, String>> {
    let changed = || {
        let (model, version) = (&found.name, found.version);
        let problem = format!("the file of {model} version {version} has changed since it was loaded; load it again");
        Error::Conflict(problem)
    };
    let files = match VersionFiles::read_named(&found.files, found.model_file(), settings.max_model_bytes) {
        Err(Error::Incomplete { .. }) => return Err(changed()),
        files => files?,
    };
    if files.onnx_sha256 != sha256 {
        return Err(changed());
    }
    let cut = match class_map_graph(&files.onnx, scores) {
        Ok(cut) => cut,
        Err(why) => {
            let model = &found.name;
            return Ok(Err(format!(
                "model \"{model}\" has no exact class-activation map, as {why}; take method=occlusion, which asks nothing of a network"
            )));
        }
    };
    drop(files);
    let own = sha256_hex(&cut.onnx);
    let graphs = GraphLoader::new(found, settings, metrics);
    let tried = graphs.candidates.plan(&cut.onnx, &own)?;
    let view = View::plain(tried.plan.signature());
    let graph = graphs.warm(tried, view, &own, false)?;
    let file = GraphFile { name: found.model_file(), sha256: &own };
    let runner = graphs.runner(graph, &file, &format!("{}/class-maps", found.name), 0)?;
    Ok(Ok(Mapper { runner, head: cut.head, is_channels_last: cut.is_channels_last }))
}
