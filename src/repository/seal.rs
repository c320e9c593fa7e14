//! Signs versions, and checks all files of a signed one.

use std::path::Path;

use jiff::Timestamp;

use super::digest::sha256_of_file;
use super::layout::FoundVersion;
use super::manifest::{MANIFEST_FILE, Manifest};
use super::names::REFERENCE_FILE;
use super::publish::put;
use super::storage::Files;
use super::vouching::{MAX_STATEMENT_BYTES, SUMS_FILE, Signed, Sums, Trust, judge};
use crate::config::Unsigned;
use crate::error::{Error, Result};
use crate::ids::{printable, quote};
use crate::signing::{PublicKey, SIGNATURE_SUFFIX, SecretKey, Statement, TrustedKeys};

/// The most files of a version that are signed.
const MAX_FILES: usize = 10_000;

/// A version that was signed or checked.
#[derive(Debug)]
pub struct Sealed {
    /// The file that is signed.
    pub statement: &'static str,
    /// The files whose hashes it has.
    pub covered: Vec<String>,
    /// Further files of the folder.
    pub outside: Vec<String>,
}

/// Signs the version in a folder `<model>/<version>`: its manifest, or without one `SHA256SUMS`, which is written. All
/// files are checked first.
///
/// # Errors
/// [`Error::InvalidName`] for a folder of another name; [`Error::Incomplete`] for a file that is not as the manifest says;
/// [`Error::Repository`]; [`Error::Io`].
pub fn seal(folder: &Path, key: &SecretKey, at: Timestamp) -> Result<Sealed> {
    let found = FoundVersion::in_folder(folder)?;
    let (sealed, bytes) = match found.files.read(MANIFEST_FILE, MAX_STATEMENT_BYTES)? {
        Some(bytes) => (check_listed(&found.files, &Manifest::parse(&bytes)?)?, bytes),
        None => write_sums(&found.files)?,
    };
    let file = sealed.statement;
    let reference = found.files.mark(REFERENCE_FILE).map(|_| hash(&found.files, REFERENCE_FILE)).transpose()?;
    let signature = key.sign(Statement { file, bytes: &bytes }, &found.place(), reference.as_deref(), at);
    put(folder, &format!("{file}{SIGNATURE_SUFFIX}"), signature.as_bytes())?;
    Ok(sealed)
}

/// Checks the signature of the version in a folder `<model>/<version>`, and every file that it covers, and returns whose
/// it is.
///
/// # Errors
/// Those of [`seal`], and [`Error::Repository`] when none of the keys vouches for it.
pub fn check_seal(folder: &Path, keys: &TrustedKeys) -> Result<(PublicKey, Sealed)> {
    let found = FoundVersion::in_folder(folder)?;
    let trust = Trust { keys: keys.clone(), unsigned: Unsigned::Refuse };
    let manifest = found.files.read(MANIFEST_FILE, MAX_STATEMENT_BYTES)?;
    let judgement = judge(&found.files, manifest.as_deref(), &trust, &found.place())?;
    judgement.check_reference(found.files.read(REFERENCE_FILE, MAX_STATEMENT_BYTES)?.as_deref())?;
    let key = match judgement.signed {
        Signed::By(key) => key,
        Signed::Not(problem) => return Err(Error::Repository { what: "signature".into(), problem }),
    };
    let sealed = match (manifest, judgement.sums) {
        (Some(bytes), _) => check_listed(&found.files, &Manifest::parse(&bytes)?)?,
        (None, Some(sums)) => {
            for name in sums.0.keys() {
                sums.verify(name, &hash(&found.files, name)?)?;
            }
            sealed(&found.files, SUMS_FILE, sums.0.into_keys().collect())
        }
        (None, None) => sealed(&found.files, SUMS_FILE, Vec::new()),
    };
    Ok((key, sealed))
}

/// Checks every file that a manifest lists.
fn check_listed(files: &Files, manifest: &Manifest) -> Result<Sealed> {
    for (name, entry) in &manifest.files {
        let found = hash(files, name)?;
        if found != entry.sha256 {
            let problem =
                format!("has SHA-256 {found}, the manifest says {}; it was changed", printable(&entry.sha256, 80));
            return Err(Error::Incomplete { what: printable(name, 80), problem });
        }
    }
    Ok(sealed(files, MANIFEST_FILE, manifest.files.keys().cloned().collect()))
}

/// Writes the hashes of all files of a folder, and returns them.
fn write_sums(files: &Files) -> Result<(Sealed, Vec<u8>)> {
    let listed = files.plain_files(MAX_FILES).ok_or_else(|| Error::Repository {
        what: "the version".into(),
        problem: format!("its folder cannot be listed, or has more than {MAX_FILES} files"),
    })?;
    let names: Vec<String> = listed.into_iter().map(|(name, _)| name).filter(|name| !is_seal(name)).collect();
    if !names.iter().any(|name| name.ends_with(".onnx")) {
        let problem = "there is no model.onnx in its folder, and no manifest.json: nothing to sign".to_owned();
        return Err(Error::Repository { what: "the version".into(), problem });
    }
    let line = |name: &String| Ok(format!("{}  {name}\n", hash(files, name)?));
    let text = names.iter().map(line).collect::<Result<String>>()?;
    // What a reader could not read must not be signed.
    Sums::parse(text.as_bytes())?;
    put(files.folder(), SUMS_FILE, text.as_bytes())?;
    Ok((sealed(files, SUMS_FILE, names), text.into_bytes()))
}

fn hash(files: &Files, name: &str) -> Result<String> {
    if name.contains('/') {
        let problem = format!("lists {}, which is no file of the folder", quote(name));
        return Err(Error::Repository { what: MANIFEST_FILE.into(), problem });
    }
    match files.mark(name) {
        Some(_) => sha256_of_file(&files.folder().join(name)),
        None => Err(Error::Incomplete { what: printable(name, 80), problem: "is missing".into() }),
    }
}

fn sealed(files: &Files, statement: &'static str, mut covered: Vec<String>) -> Sealed {
    let listed = files.plain_files(MAX_FILES).unwrap_or_default();
    if listed.iter().any(|(name, _)| name == REFERENCE_FILE) && !covered.iter().any(|name| name == REFERENCE_FILE) {
        covered.push(REFERENCE_FILE.to_owned());
    }
    let is_outside = |name: &String| !covered.contains(name) && name != MANIFEST_FILE && !is_seal(name);
    let outside = listed.into_iter().map(|(name, _)| name).filter(is_outside).collect();
    Sealed { statement, covered, outside }
}

/// Returns true for the files that signing itself makes.
fn is_seal(name: &str) -> bool {
    name == SUMS_FILE || name.strip_suffix(SIGNATURE_SUFFIX).is_some_and(|of| matches!(of, SUMS_FILE | MANIFEST_FILE))
}
