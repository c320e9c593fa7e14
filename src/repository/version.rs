//! The files of one version, read once into memory and checked against the manifest: the bytes that
//! were hashed are the bytes that run.

use super::digest::sha256_hex;
use super::graph::Graph;
use super::layout::FoundVersion;
use super::manifest::{CompanionRole, DriftReference, MANIFEST_FILE, Manifest, ProbeSample, Truth};
use super::names::{MODEL_FILE, PROBE_FILE, REFERENCE_FILE, TOKENIZER_FILE, TOKENIZER_SIDE_FILES};
use super::said;
use super::storage::Files;
use super::vouching::{Signed, Sums, Trust, judge};
use crate::error::{Error, Result};
use crate::ids::{ModelName, printable, quote};
use crate::signature::Task;
use crate::signing::Place;

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
    /// The tokenizer and the files that belong to it, if there is one.
    pub tokenizer: Option<TokenizerFiles>,
    /// The graphs beside it.
    pub companions: Vec<CompanionFile>,
    /// The signer; `None` if signatures were not looked at.
    pub signed: Option<Signed>,
}

/// The hashes that a version's files must have, if any are known.
#[derive(Clone, Copy)]
enum Listing<'a> {
    Manifest(&'a Manifest),
    Sums(&'a Sums),
    None,
}

impl Listing<'_> {
    /// Checks the hash of a file.
    fn verify(self, name: &str, sha256: &str) -> Result<()> {
        match self {
            Self::Manifest(manifest) => verify(manifest, name, sha256),
            Self::Sums(sums) => sums.verify(name, sha256),
            Self::None => Ok(()),
        }
    }

    /// Returns true if a file must be there.
    fn demands(self, name: &str) -> bool {
        match self {
            Self::Manifest(manifest) => manifest.files.contains_key(name),
            Self::Sums(sums) => sums.lists(name),
            Self::None => false,
        }
    }
}

/// A tokenizer and the files that belong to it.
#[derive(Debug)]
pub struct TokenizerFiles {
    /// `tokenizer.json`.
    pub json: Vec<u8>,
    /// The contents of [`TOKENIZER_SIDE_FILES`], of those that are there.
    pub side: [Option<Vec<u8>>; 3],
}

impl TokenizerFiles {
    /// Reads them from the files of a version: those that the manifest lists, checked by it, or all where there is none.
    ///
    /// # Errors
    /// As [`VersionFiles::read_named`]; [`Error::Incomplete`] for a file that is listed and missing.
    pub fn read(files: &Files, manifest: Option<&Manifest>) -> Result<Option<Self>> {
        Self::read_listed(files, manifest.map_or(Listing::None, Listing::Manifest))
    }

    fn read_listed(files: &Files, listing: Listing<'_>) -> Result<Option<Self>> {
        let read = |name: &str| -> Result<Option<Vec<u8>>> {
            // A file of this name that the manifest does not list is none of the version's.
            if matches!(listing, Listing::Manifest(_)) && !listing.demands(name) {
                return Ok(None);
            }
            let Some(bytes) = files.read(name, MAX_SIDE_FILE_BYTES)? else {
                return if listing.demands(name) { Err(incomplete(name, "is missing")) } else { Ok(None) };
            };
            listing.verify(name, &sha256_hex(&bytes))?;
            Ok(Some(bytes))
        };
        let Some(json) = read(TOKENIZER_FILE)? else { return Ok(None) };
        let [config, tokenizer_config, special_tokens] = TOKENIZER_SIDE_FILES.map(read);
        Ok(Some(Self { json, side: [config?, tokenizer_config?, special_tokens?] }))
    }

    /// Returns the files that are there, by name.
    pub fn named(&self) -> impl Iterator<Item = (&'static str, &[u8])> {
        let side = TOKENIZER_SIDE_FILES.into_iter().zip(&self.side);
        let side = side.filter_map(|(name, bytes)| Some((name, bytes.as_deref()?)));
        std::iter::once((TOKENIZER_FILE, self.json.as_slice())).chain(side)
    }

    /// Returns the SHA-256 in hexadecimal over all of them.
    pub fn sha256(&self) -> String {
        let hashes: String = self.named().map(|(name, bytes)| format!("{name} {}\n", sha256_hex(bytes))).collect();
        sha256_hex(hashes.as_bytes())
    }
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
        Self::read_with(&files.into(), MODEL_FILE, max_model_bytes, None, |_| true)
    }

    /// Reads the files of a version whose graph is in the file `model_file`, for serving. All files are checked, but
    /// only the companions that a server runs are kept.
    ///
    /// # Errors
    /// [`Error::Incomplete`] when a file is missing, ends early or is not what the manifest's hash
    /// says; [`Error::Repository`] when it is too large, not a plain file, or not readable as what it
    /// should be; [`Error::Io`] when reading fails.
    pub fn read_named(files: &Files, model_file: &str, max_model_bytes: u64) -> Result<Self> {
        Self::read_with(files, model_file, max_model_bytes, None, |role| role == CompanionRole::Decoder)
    }

    /// Reads the files of a version as [`Self::read_named`] does, and asks the keys that must vouch for it before
    /// anything else of it is read.
    ///
    /// # Errors
    /// Those of [`Self::read_named`], and [`Error::Repository`] when nobody vouches for it.
    pub fn read_found(found: &FoundVersion, max_model_bytes: u64) -> Result<Self> {
        let place = found.place();
        let trust = found.trust.as_deref().map(|trust| (trust, &place));
        let is_kept = |role| role == CompanionRole::Decoder;
        Self::read_with(&found.files, found.model_file(), max_model_bytes, trust, is_kept)
    }

    fn read_with(
        files: &Files,
        model_file: &str,
        max_model_bytes: u64,
        trust: Option<(&Trust, &Place)>,
        is_kept: impl Fn(CompanionRole) -> bool,
    ) -> Result<Self> {
        let bytes = files.read(MANIFEST_FILE, MAX_SIDE_FILE_BYTES)?;
        let judgement = trust.map(|(trust, place)| judge(files, bytes.as_deref(), trust, place)).transpose()?;
        let found = files.read(REFERENCE_FILE, MAX_SIDE_FILE_BYTES)?;
        judgement.iter().try_for_each(|judged| judged.check_reference(found.as_deref()))?;
        let (signed, sums) = judgement.map_or((None, None), |judged| (Some(judged.signed), judged.sums));
        let manifest = bytes.map(|bytes| Manifest::parse(&bytes)).transpose()?;
        let listing = match (&manifest, &sums) {
            (Some(manifest), _) => Listing::Manifest(manifest),
            (None, Some(sums)) => Listing::Sums(sums),
            (None, None) => Listing::None,
        };
        let vouched = |name: &str, sha256: &str| listing.verify(name, sha256);
        let graph = Graph::read(files, model_file, max_model_bytes, None, vouched)?;
        let reference = found.map(|bytes| parse_reference(&bytes)).transpose()?;
        let reference = reference.or_else(|| manifest.as_ref().and_then(|said| said.reference.clone()));
        let Some(manifest) = manifest else {
            let Graph { onnx, sha256: onnx_sha256, .. } = graph;
            let (probe, companions) = (Vec::new(), Vec::new());
            let tokenizer = TokenizerFiles::read_listed(files, sums.as_ref().map_or(Listing::None, Listing::Sums))?;
            return Ok(Self { onnx, onnx_sha256, manifest: None, reference, probe, tokenizer, companions, signed });
        };
        let probe = match files.read(PROBE_FILE, MAX_SIDE_FILE_BYTES)? {
            Some(bytes) => {
                verify(&manifest, PROBE_FILE, &sha256_hex(&bytes))?;
                parse_probe(&bytes, &manifest)?
            }
            None if manifest.files.contains_key(PROBE_FILE) => return Err(incomplete(PROBE_FILE, "is missing")),
            None => Vec::new(),
        };
        let tokenizer = TokenizerFiles::read(files, Some(&manifest))?;
        if manifest.transform.text.is_some() && tokenizer.is_none() {
            return Err(incomplete(MANIFEST_FILE, &format!("takes texts and lists no {TOKENIZER_FILE}")));
        }
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
        Ok(Self { onnx, onnx_sha256, manifest: Some(manifest), reference, probe, tokenizer, companions, signed })
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
