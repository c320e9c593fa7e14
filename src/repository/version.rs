//! The files of one version, read once into memory and checked against the manifest: the bytes that
//! were hashed are the bytes that run.

use std::fs::{self, File};
use std::io::Read;
use std::path::Path;

use sha2::{Digest, Sha256};

use super::manifest::{CompanionRole, MANIFEST_FILE, Manifest, ProbeSample, Truth};
use crate::error::{Error, Result};
use crate::ids::{ModelName, quote};
use crate::signature::Task;

/// The graph.
pub const MODEL_FILE: &str = "model.onnx";
/// The model card.
pub const CARD_FILE: &str = "card.md";
/// The labelled samples for the live probe.
pub const PROBE_FILE: &str = "probe.jsonl";

/// A manifest or probe set larger than this is a mistake.
const MAX_SIDE_FILE_BYTES: u64 = 64 << 20;

/// The files of a version that serving needs.
#[derive(Debug)]
pub struct VersionFiles {
    /// The graph.
    pub onnx: Vec<u8>,
    /// The SHA-256 of the graph in hexadecimal.
    pub onnx_sha256: String,
    /// The manifest, if there is one.
    pub manifest: Option<Manifest>,
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
    /// What it is there for.
    pub role: CompanionRole,
    /// Its bytes.
    pub onnx: Vec<u8>,
    /// The SHA-256 of its bytes in hexadecimal.
    pub sha256: String,
}

impl VersionFiles {
    /// Reads a version folder.
    ///
    /// # Errors
    /// As [`VersionFiles::read_named`].
    pub fn read(folder: &Path, max_model_bytes: u64) -> Result<Self> {
        Self::read_with(folder, MODEL_FILE, max_model_bytes, |_| true)
    }

    /// Reads a version folder whose graph is in the file `model_file`, for serving. All files are checked, but
    /// only the companions that a server runs are kept.
    ///
    /// # Errors
    /// [`Error::Incomplete`] when a file is missing, ends early or is not what the manifest's hash
    /// says; [`Error::Repository`] when it is too large, not a plain file, or not readable as what it
    /// should be; [`Error::Io`] when reading fails.
    pub fn read_named(folder: &Path, model_file: &str, max_model_bytes: u64) -> Result<Self> {
        Self::read_with(folder, model_file, max_model_bytes, |role| role == CompanionRole::Decoder)
    }

    fn read_with(
        folder: &Path,
        model_file: &str,
        max_model_bytes: u64,
        is_kept: impl Fn(CompanionRole) -> bool,
    ) -> Result<Self> {
        let onnx =
            read_file(folder, model_file, max_model_bytes)?.ok_or_else(|| incomplete(model_file, "is missing"))?;
        let onnx_sha256 = sha256_hex(&onnx);
        let manifest =
            read_file(folder, MANIFEST_FILE, MAX_SIDE_FILE_BYTES)?.map(|bytes| Manifest::parse(&bytes)).transpose()?;
        let Some(manifest) = manifest else {
            return Ok(Self { onnx, onnx_sha256, manifest: None, probe: Vec::new(), companions: Vec::new() });
        };
        verify(&manifest, model_file, &onnx_sha256)?;
        let probe = match read_file(folder, PROBE_FILE, MAX_SIDE_FILE_BYTES)? {
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
            let onnx = read_file(folder, name, max_model_bytes)?.ok_or_else(|| incomplete(name, "is missing"))?;
            let sha256 = sha256_hex(&onnx);
            verify(&manifest, name, &sha256)?;
            if is_kept(companion.role) {
                companions.push(CompanionFile { name: name.clone(), role: companion.role, onnx, sha256 });
            }
        }
        Ok(Self { onnx, onnx_sha256, manifest: Some(manifest), probe, companions })
    }
}

/// The SHA-256 of some bytes in hexadecimal.
pub fn sha256_hex(bytes: &[u8]) -> String {
    hexadecimal(&Sha256::digest(bytes))
}

/// The SHA-256 of a file of any size in hexadecimal.
///
/// # Errors
/// [`Error::Io`].
pub fn sha256_of_file(path: &Path) -> Result<String> {
    let mut file = fs::File::open(path).map_err(Error::io("open", path))?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        match std::io::Read::read(&mut file, &mut buffer).map_err(Error::io("read", path))? {
            0 => return Ok(hexadecimal(&hash.finalize())),
            count => hash.update(&buffer[..count]),
        }
    }
}

fn hexadecimal(digest: &[u8]) -> String {
    const DIGITS: [char; 16] = ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f'];
    digest.iter().flat_map(|byte| [byte >> 4, byte & 15]).map(|nibble| DIGITS[usize::from(nibble)]).collect()
}

/// The bytes of a plain file, or `None` if there is none.
pub(super) fn read_file(folder: &Path, name: &str, limit: u64) -> Result<Option<Vec<u8>>> {
    let path = folder.join(name);
    let kind = match fs::symlink_metadata(&path) {
        Ok(metadata) => metadata.file_type(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Error::io("read", path)(error)),
    };
    if !kind.is_file() {
        return Err(problem(name, "is a link, folder or special file, not a plain file"));
    }
    let file = File::open(&path).map_err(Error::io("open", &path))?;
    // With a byte to spare, in which the end of the file shows without growing.
    let expected = file.metadata().map_or(0, |metadata| metadata.len().min(limit)) + 1;
    let mut bytes = Vec::with_capacity(usize::try_from(expected).unwrap_or_default());
    file.take(limit + 1).read_to_end(&mut bytes).map_err(Error::io("read", &path))?;
    if bytes.len() as u64 > limit {
        return Err(problem(name, &format!("is larger than the limit of {limit} bytes")));
    }
    Ok(Some(bytes))
}

fn verify(manifest: &Manifest, name: &str, found: &str) -> Result<()> {
    let entry = manifest.files.get(name).ok_or_else(|| problem(MANIFEST_FILE, &format!("does not list {name}")))?;
    if entry.sha256 != found {
        let differs =
            format!("has SHA-256 {found}, the manifest says {}; the copy is incomplete or was changed", entry.sha256);
        return Err(incomplete(name, &differs));
    }
    Ok(())
}

fn parse_probe(bytes: &[u8], manifest: &Manifest) -> Result<Vec<ProbeSample>> {
    let text = std::str::from_utf8(bytes).map_err(|error| problem(PROBE_FILE, &error.to_string()))?;
    let parse = |(index, line): (usize, &str)| {
        let at = |what: String| problem(PROBE_FILE, &format!("line {}: {what}", index + 1));
        let sample: ProbeSample = serde_json::from_str(line).map_err(|error| at(error.to_string()))?;
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
