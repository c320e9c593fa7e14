//! Measurements of earlier processes, kept by model file, engine and kind of machine.
//!
//! Losing them costs a second of measuring, so nothing here fails: what cannot be read is measured
//! again, what cannot be written is not remembered.

use std::fs;
use std::path::PathBuf;

use super::check::REVISION;
use crate::config::cores;
use crate::engine::EngineKind;
use crate::files;
use crate::repository::sha256_hex;
use crate::serving::execution::BatchCost;

/// A larger file of measurements is a mistake.
const MAX_BYTES: u64 = 1 << 20;

/// A folder of measurements, or none.
#[derive(Debug, Clone)]
pub struct TuningStore {
    folder: Option<PathBuf>,
    machine: String,
}

impl TuningStore {
    /// Measurements in `folder`, which is made when there is something to keep.
    pub fn new(folder: Option<PathBuf>) -> Self {
        Self { folder, machine: machine(REVISION) }
    }

    /// The costs of a model file in an engine on this kind of machine, if they are known.
    pub(crate) fn recall(&self, onnx_sha256: &str, engine: EngineKind) -> Option<Vec<BatchCost>> {
        let bytes = files::read(&self.path(onnx_sha256, engine)?, MAX_BYTES).ok()?;
        let costs: Vec<BatchCost> = serde_json::from_slice(&bytes).ok()?;
        let is_sane = |cost: &BatchCost| cost.batch > 0 && cost.microseconds.is_finite() && cost.microseconds > 0.0;
        (costs.first().is_some_and(|cost| cost.batch == 1) && costs.iter().all(is_sane)).then_some(costs)
    }

    /// Keeps the costs of a model file.
    pub(crate) fn remember(&self, onnx_sha256: &str, engine: EngineKind, costs: &[BatchCost]) {
        let Some(path) = self.path(onnx_sha256, engine) else { return };
        let write = || files::replace(&path, &serde_json::to_vec(costs).ok()?).ok();
        if write().is_none() {
            tracing::debug!("measurements cannot be kept; they will be made again at the next start");
        }
    }

    /// Returns true if the engines were seen to disagree about a model file.
    pub(crate) fn disagree(&self, onnx_sha256: &str) -> bool {
        self.disagreement(onnx_sha256).is_some_and(|path| path.exists())
    }

    /// Keeps that the engines disagree about a model file.
    pub(crate) fn remember_disagreement(&self, onnx_sha256: &str) {
        let Some(path) = self.disagreement(onnx_sha256) else { return };
        if let Err(error) = files::replace(&path, &[]) {
            tracing::debug!(%error, "a disagreement of the engines cannot be kept; it will be seen again");
        }
    }

    /// Returns true if the engines were seen to agree about a model file, ONNX Runtime in this version.
    pub(crate) fn agree(&self, onnx_sha256: &str, runtime: &str) -> bool {
        self.agreement(onnx_sha256, runtime).is_some_and(|path| path.exists())
    }

    /// Keeps that the engines agree about a model file, ONNX Runtime in this version.
    pub(crate) fn remember_agreement(&self, onnx_sha256: &str, runtime: &str) {
        let Some(path) = self.agreement(onnx_sha256, runtime) else { return };
        if let Err(error) = files::replace(&path, &[]) {
            tracing::debug!(%error, "an agreement of the engines cannot be kept; they will be compared again");
        }
    }

    fn agreement(&self, onnx_sha256: &str, runtime: &str) -> Option<PathBuf> {
        Some(self.folder.as_ref()?.join(format!("{onnx_sha256}-agreement-{runtime}-{}", self.machine)))
    }

    fn disagreement(&self, onnx_sha256: &str) -> Option<PathBuf> {
        Some(self.folder.as_ref()?.join(format!("{onnx_sha256}-disagreement-{}", self.machine)))
    }

    fn path(&self, onnx_sha256: &str, engine: EngineKind) -> Option<PathBuf> {
        let name = format!("{onnx_sha256}-{}-{}.json", engine.name(), self.machine);
        Some(self.folder.as_ref()?.join(name))
    }
}

/// A short name for this kind of machine: the processor, the cores, and the Weir that measures, with this revision of its
/// kernels.
fn machine(revision: u32) -> String {
    let processor = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = processor.lines().find(|line| line.starts_with("model name")).unwrap_or("unknown");
    let cores = cores();
    let kind = format!("{model} {cores} {} {} {revision}", std::env::consts::ARCH, env!("CARGO_PKG_VERSION"));
    sha256_hex(kind.as_bytes())[..12].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn measurements_of_other_kernels_are_forgotten() {
        let folder = tempfile::TempDir::new().unwrap();
        let store = TuningStore::new(Some(folder.path().to_owned()));
        let other = TuningStore { machine: machine(REVISION - 1), ..store.clone() };
        other.remember("abc", EngineKind::Tract, &[BatchCost { batch: 1, microseconds: 6.5, elements: 4 }]);
        assert!(other.recall("abc", EngineKind::Tract).is_some());
        assert_eq!(store.recall("abc", EngineKind::Tract), None);
    }

    #[test]
    fn measurements_survive_and_damage_is_measured_again() {
        let folder = tempfile::TempDir::new().unwrap();
        let store = TuningStore::new(Some(folder.path().join("tuning")));
        let cost = |batch, microseconds| BatchCost { batch, microseconds, elements: batch * 4 };
        let costs = [cost(1, 6.5), cost(8, 29.0)];
        assert_eq!(store.recall("abc", EngineKind::Tract), None);
        store.remember("abc", EngineKind::Tract, &costs);
        assert_eq!(store.recall("abc", EngineKind::Tract).as_deref(), Some(&costs[..]));
        assert_eq!(store.recall("abd", EngineKind::Tract), None);
        for damage in ["", "[]", "[{\"batch\":0,\"microseconds\":1}]", "[{\"batch\":1,\"microseconds\":-1}]"] {
            fs::write(store.path("abc", EngineKind::Tract).unwrap(), damage).unwrap();
            assert_eq!(store.recall("abc", EngineKind::Tract), None, "{damage}");
        }
        assert!(!store.disagree("abc"));
        store.remember_disagreement("abc");
        assert!(store.disagree("abc") && !store.disagree("abd"));
        assert!(!store.agree("abd", "1.32"));
        store.remember_agreement("abd", "1.32");
        assert!(store.agree("abd", "1.32") && !store.agree("abd", "1.33") && !store.agree("abc", "1.32"));
        TuningStore::new(None).remember_disagreement("abc");
        TuningStore::new(None).remember("abc", EngineKind::Tract, &costs);
        TuningStore::new(Some("/proc/nowhere".into())).remember("abc", EngineKind::Tract, &costs);
    }
}
