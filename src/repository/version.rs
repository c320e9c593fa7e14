//! The files of one version, read once into memory and checked against the manifest: the bytes that
//! were hashed are the bytes that run.

use super::digest::sha256_hex;
use super::graph::Graph;
use super::manifest::{CompanionRole, DriftReference, MANIFEST_FILE, Manifest, ProbeSample, Truth};
use super::names::{MODEL_FILE, PROBE_FILE, REFERENCE_FILE};
use super::said;
use super::storage::Files;
use crate::error::{Error, Result};
use crate::ids::{ModelName, printable, quote};
use crate::signature::Task;

/// A manifest or probe set larger than this is a mistake.
const MAX_SIDE_FILE_BYTES: u64 = 64 << 20;

/// The files of a version that serving needs, as bytes.
#[derive(Debug)]
pub struct VersionFiles {
    /// The graph, with all of its data.
    pub onnx: Vec<u8>,
    /// The SHA-256 in hexadecimal of what the graph was read from.
    pub onnx_sha256: String,
    /// The manifest, if there is one.
    pub manifest: Option<Manifest>,
    /// The reference that live traffic is compared with: that of `reference.json`, or else the manifest's.
    pub reference: Option<DriftReference>,
    /// The probe set; empty if there is none.
    pub probe: Vec<ProbeSample>,
    /// The graphs beside it.
    pub companions: Vec<CompanionFile>,
}

/// A graph beside `model.onnx`.
#[derive(Debug)]
pub struct CompanionFile {
    /// Its name.
    pub name: String,
    /// Its role.
    pub role: CompanionRole,
    /// Its bytes, with all of its data.
    pub onnx: Vec<u8>,
    /// The SHA-256 in hexadecimal of what it was read from.
    pub sha256: String,
}

impl VersionFiles {
    /// Reads the files of a version.
    ///
    /// # Errors
    /// The same as those of [`VersionFiles::read_named`].
    pub fn read(files: impl Into<Files>, max_model_bytes: u64) -> Result<Self> {
        Self::read_with(&files.into(), MODEL_FILE, max_model_bytes, |_| true)
    }

    /// Reads the files of a version whose graph is in the file `model_file`, for serving. All files are checked, but
    /// only the companions that a server runs are kept.
    ///
    /// # Errors
    /// [`Error::Incomplete`] when a file is missing, ends early or is not what the manifest's hash
    /// says; [`Error::Repository`] when it is too large, not a plain file, or not readable as what it
    /// should be; [`Error::Io`] when reading fails.
    pub fn read_named(files: &Files, model_file: &str, max_model_bytes: u64) -> Result<Self> {
        Self::read_with(files, model_file, max_model_bytes, |role| role == CompanionRole::Decoder)
    }

    fn read_with(
        files: &Files,
        model_file: &str,
        max_model_bytes: u64,
        is_kept: impl Fn(CompanionRole) -> bool,
    ) -> Result<Self> {
        let manifest =
            files.read(MANIFEST_FILE, MAX_SIDE_FILE_BYTES)?.map(|bytes| Manifest::parse(&bytes)).transpose()?;
        let vouched = |name: &str, sha256: &str| manifest.as_ref().map_or(Ok(()), |said| verify(said, name, sha256));
        let graph = Graph::read(files, model_file, max_model_bytes, None, vouched)?;
        let reference = files.read(REFERENCE_FILE, MAX_SIDE_FILE_BYTES)?.map(|bytes| parse_reference(&bytes));
        let reference = reference.transpose()?.or_else(|| manifest.as_ref().and_then(|said| said.reference.clone()));
        let Some(manifest) = manifest else {
            let Graph { onnx, sha256: onnx_sha256, .. } = graph;
            let (probe, companions) = (Vec::new(), Vec::new());
            return Ok(Self { onnx, onnx_sha256, manifest: None, reference, probe, companions });
        };
        let probe = match files.read(PROBE_FILE, MAX_SIDE_FILE_BYTES)? {
            Some(bytes) => {
                verify(&manifest, PROBE_FILE, &sha256_hex(&bytes))?;
                parse_probe(&bytes, &manifest)?
            }
            None if manifest.files.contains_key(PROBE_FILE) => return Err(incomplete(PROBE_FILE, "is missing")),
            None => Vec::new(),
        };
        let mut companions = Vec::with_capacity(manifest.companions.len());
        for (name, companion) in &manifest.companions {
            // The alphabet of model names has no separators, so a file named by it is in the folder.
            if name.parse::<ModelName>().is_err() {
                return Err(problem(MANIFEST_FILE, &format!("names a companion {}, which is no file", quote(name))));
            }
            let vouched = |name: &str, sha256: &str| verify(&manifest, name, sha256);
            let held = Some((model_file, &graph));
            let Graph { onnx, sha256, .. } = Graph::read(files, name, max_model_bytes, held, vouched)?;
            if is_kept(companion.role) {
                companions.push(CompanionFile { name: name.clone(), role: companion.role, onnx, sha256 });
            }
        }
        let Graph { onnx, sha256: onnx_sha256, .. } = graph;
        Ok(Self { onnx, onnx_sha256, manifest: Some(manifest), reference, probe, companions })
    }
}

fn verify(manifest: &Manifest, name: &str, found: &str) -> Result<()> {
    let shown = printable(name, 80);
    let entry = manifest.files.get(name).ok_or_else(|| problem(MANIFEST_FILE, &format!("does not list {shown}")))?;
    if entry.sha256 != found {
        let expected = printable(&entry.sha256, 80);
        let differs =
            format!("has SHA-256 {found}, the manifest says {expected}; the copy is incomplete or was changed");
        return Err(incomplete(&shown, &differs));
    }
    Ok(())
}

fn parse_reference(bytes: &[u8]) -> Result<DriftReference> {
    let reference: DriftReference = serde_json::from_slice(bytes).map_err(|error| match error.is_eof() {
        true => incomplete(REFERENCE_FILE, &said::of_json(&error)),
        false => problem(REFERENCE_FILE, &said::of_json(&error)),
    })?;
    reference.check(REFERENCE_FILE)?;
    Ok(reference)
}

fn parse_probe(bytes: &[u8], manifest: &Manifest) -> Result<Vec<ProbeSample>> {
    let text = std::str::from_utf8(bytes).map_err(|error| problem(PROBE_FILE, &error.to_string()))?;
    let parse = |(index, line): (usize, &str)| {
        let at = |what: String| problem(PROBE_FILE, &format!("line {}: {what}", index + 1));
        let sample: ProbeSample = serde_json::from_str(line).map_err(|error| at(said::of_json(&error)))?;
        match (manifest.transform.output.task(), sample.truth) {
            (_, Truth::Class(label)) if label >= manifest.labels.len() => {
                Err(at(format!("label {label} of {} classes", manifest.labels.len())))
            }
            (Task::Classification, Truth::Value(_) | Truth::Unknown) => Err(at("has no label".into())),
            (Task::Classification, Truth::Class(_)) | (Task::Regression | Task::Reconstruction | Task::Raw, _) => {
                Ok(sample)
            }
        }
    };
    text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()).map(parse).collect()
}

fn incomplete(file: &str, problem: &str) -> Error {
    Error::Incomplete { what: file.to_owned(), problem: problem.to_owned() }
}

fn problem(file: &str, problem: &str) -> Error {
    Error::Repository { what: file.to_owned(), problem: problem.to_owned() }
}
