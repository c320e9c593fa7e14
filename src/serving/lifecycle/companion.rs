//! Loads the graphs that lie beside `model.onnx`.

use super::graphs::{GraphFile, GraphLoader};
use crate::error::Result;
use crate::repository::triton::View;
use crate::repository::{CompanionFile, CompanionRole, Manifest};
use crate::serving::servable::{Generator, unusable};

/// The companions of a version.
pub(super) struct CompanionLoader<'a> {
    pub(super) graphs: &'a GraphLoader<'a>,
    pub(super) manifest: Option<&'a Manifest>,
    pub(super) files: &'a [CompanionFile],
}

impl CompanionLoader<'_> {
    /// Returns true if there is a decoder.
    pub(super) fn has_decoder(&self) -> bool {
        self.decoder().is_some()
    }

    /// Loads the decoder, if there is one. Its metrics appear under the name `<model>/decoder`, which no
    /// model can have.
    ///
    /// # Errors
    /// [`crate::error::Error::Repository`] when it is not what the manifest promises, or cannot be run.
    pub(super) fn generator(&self) -> Result<Option<Generator>> {
        let Some(file) = self.decoder() else { return Ok(None) };
        let manifest = self.manifest.and_then(|manifest| Some((manifest, manifest.transform.image.as_ref()?)));
        let Some((manifest, image)) = manifest else {
            return Err(unusable(format!("{} makes images, and the model takes none", file.name)));
        };
        let tried = self.graphs.candidates.plan(&file.onnx, &file.sha256)?;
        let signature = tried.plan.signature();
        if manifest.companions.get(&file.name).is_none_or(|promised| promised.signature != *signature) {
            return Err(unusable(format!("the graph of {} is not the manifest's: {signature:?}", file.name)));
        }
        let view = View::plain(signature);
        let graph = self.graphs.warm(tried, view, &file.sha256, true)?;
        let graph_file = GraphFile { name: &file.name, sha256: &file.sha256 };
        let series = format!("{}/decoder", self.graphs.found.name);
        let decoder = self.graphs.runner(graph, &graph_file, &series, 0)?;
        Generator::new(decoder, &file.name, image).map(Some)
    }

    fn decoder(&self) -> Option<&CompanionFile> {
        self.files.iter().find(|file| file.role == CompanionRole::Decoder)
    }
}
