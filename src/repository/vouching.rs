//! The keys that must vouch for a version, and whether they do: the signature of its *statement*, which has the hashes of its files.
//!
//! The statement is the manifest, or of a version without one `SHA256SUMS`, in the format of coreutils. What stands beside
//! the versions of a model (`model.toml`, `config.pbtxt`, labels, aliases) is the operator's. A reference for drift may come
//! after the manifest: the signature has its hash beside.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use prometheus::IntCounter;

use super::digest::sha256_hex;
use super::manifest::MANIFEST_FILE;
use super::names::REFERENCE_FILE;
use super::storage::{Files, Mark};
use crate::config::Unsigned;
use crate::error::{Error, Result};
use crate::ids::{printable, quote};
use crate::signing::{
    Distrust, MAX_SIGNATURE_BYTES, Place, PublicKey, SIGNATURE_SUFFIX, Statement, TrustedKeys, Verified,
};

/// The file with the hashes of all files of a version without a manifest.
pub const SUMS_FILE: &str = "SHA256SUMS";

/// The largest statement that is read.
pub(super) const MAX_STATEMENT_BYTES: u64 = 64 << 20;

/// The keys that must vouch for versions, and what becomes of one that none of them has signed.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Trust {
    /// The keys.
    pub keys: TrustedKeys,
    /// The fate of a version that none of them has signed.
    pub unsigned: Unsigned,
}

/// The signer of a version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Signed {
    /// The holder of a trusted key.
    By(PublicKey),
    /// Nobody who is trusted; why, in words.
    Not(String),
}

impl Trust {
    /// Returns true if a version that was signed so may serve.
    pub fn admits(&self, signed: Option<&Signed>) -> bool {
        let is_trusted = matches!(signed, Some(Signed::By(key)) if self.keys.contains(key));
        is_trusted || self.unsigned != Unsigned::Refuse
    }

    /// Returns what the entry of a version that serves says of its signature, where that is wanted.
    pub fn mark(&self, signed: Option<&Signed>) -> Option<String> {
        match (self.unsigned, signed) {
            (Unsigned::Mark, Some(Signed::Not(problem))) => Some(format!("no trusted key vouches for it: {problem}")),
            _ => None,
        }
    }
}

/// A file of trusted keys, which is read again when it changes.
#[derive(Debug, Clone)]
pub struct TrustFile {
    path: PathBuf,
    seen: Option<Mark>,
    current: Arc<Trust>,
    has_failed: bool,
    failures: IntCounter,
}

impl TrustFile {
    /// Reads the file. `failures` counts later states of it that cannot be used.
    ///
    /// # Errors
    /// [`Error::Config`] when it cannot be used.
    pub fn open(path: &Path, unsigned: Unsigned, failures: IntCounter) -> Result<Self> {
        let seen = mark(path);
        let keys = TrustedKeys::read(path)?;
        tracing::info!(keys = keys.len(), ?unsigned, "versions are asked for the signatures of trusted keys");
        let current = Arc::new(Trust { keys, unsigned });
        Ok(Self { path: path.to_owned(), seen, current, has_failed: false, failures })
    }

    /// Returns the keys of the file, read again if it is another one now. One that cannot be read leaves them as they were.
    pub(super) fn look(&mut self) -> Arc<Trust> {
        let now = mark(&self.path);
        let is_new = now != self.seen;
        if !is_new && !self.has_failed {
            return self.current.clone();
        }
        self.seen = now;
        match TrustedKeys::read_again(&self.path) {
            Ok(keys) => {
                self.has_failed = false;
                tracing::info!(keys = keys.len(), "the file of trusted keys was read again");
                self.current = Arc::new(Trust { keys, unsigned: self.current.unsigned });
            }
            Err(error) => {
                self.has_failed = true;
                if is_new {
                    self.failures.inc();
                    tracing::error!(%error, "the file of trusted keys cannot be used; the keys stay as they were");
                }
            }
        }
        self.current.clone()
    }
}

fn mark(path: &Path) -> Option<Mark> {
    let name = path.file_name()?.to_str()?;
    Files::from(path.parent().unwrap_or(Path::new(""))).mark(name)
}

/// The hashes that `SHA256SUMS` gives, by file.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Sums(pub(super) BTreeMap<String, String>);

impl Sums {
    /// Reads the lines that `sha256sum` writes, of files in one folder.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self> {
        let refuse = |problem: String| Error::Repository { what: SUMS_FILE.into(), problem };
        let text = std::str::from_utf8(bytes).map_err(|_| refuse("is not text".into()))?;
        let mut sums = BTreeMap::new();
        for (index, line) in text.lines().enumerate() {
            let parts = line.split_once([' ']).and_then(|(hash, name)| Some((hash, name.strip_prefix([' ', '*'])?)));
            let is_hash = |hash: &str| hash.len() == 64 && hash.bytes().all(|byte| byte.is_ascii_hexdigit());
            let is_name = |name: &str| !name.is_empty() && !name.contains(['/', '\\']);
            let (hash, name) = parts.filter(|(hash, name)| is_hash(hash) && is_name(name)).ok_or_else(|| {
                refuse(format!(
                    "line {}: expected a SHA-256, two spaces, and the name of a file of this folder",
                    index + 1
                ))
            })?;
            if sums.insert(name.to_owned(), hash.to_ascii_lowercase()).is_some() {
                return Err(refuse(format!("line {}: the file {} is there twice", index + 1, quote(name))));
            }
        }
        Ok(Self(sums))
    }

    /// Returns true if a file is listed.
    pub(super) fn lists(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// Checks the hash of a file.
    pub(super) fn verify(&self, name: &str, found: &str) -> Result<()> {
        let shown = printable(name, 80);
        let expected = self.0.get(name).ok_or_else(|| Error::Repository {
            what: SUMS_FILE.into(),
            problem: format!("does not list {shown}, which the version would use"),
        })?;
        if expected != found {
            let problem =
                format!("has SHA-256 {found}, {SUMS_FILE} says {expected}; the copy is incomplete or was changed");
            return Err(Error::Incomplete { what: shown, problem });
        }
        Ok(())
    }
}

/// The judgement of trusted keys on a version.
#[derive(Debug)]
pub(super) struct Judgement {
    pub(super) signed: Signed,
    /// The hashes of a version without a manifest, if they are signed.
    pub(super) sums: Option<Sums>,
    /// The SHA-256 of the reference for drift that was signed with it.
    reference: Option<String>,
}

impl Judgement {
    /// Checks the reference for drift of a signed version, which comes after the manifest and so has a hash of its own.
    pub(super) fn check_reference(&self, reference: Option<&[u8]>) -> Result<()> {
        let found = reference.map(sha256_hex);
        let problem = match (&self.signed, &self.reference, &found) {
            (Signed::Not(_), ..) => return Ok(()),
            (Signed::By(_), expected, found) if expected == found => return Ok(()),
            (_, None, _) => "came after the signature; sign the version again with `weir sign`",
            (_, Some(_), None) => "is missing; it was there when the version was signed",
            (_, Some(_), Some(_)) => "is another one than was signed; sign the version again with `weir sign`",
        };
        Err(Error::Repository { what: REFERENCE_FILE.into(), problem: problem.into() })
    }
}

/// Asks trusted keys for a version. `manifest` has the bytes of its manifest, if it has one.
///
/// # Errors
/// [`Error::Repository`] with the reason when nobody vouches for it and it is refused for that.
pub(super) fn judge(files: &Files, manifest: Option<&[u8]>, trust: &Trust, place: &Place) -> Result<Judgement> {
    let sums = if manifest.is_none() { files.read(SUMS_FILE, MAX_STATEMENT_BYTES)? } else { None };
    let (file, bytes) = match manifest {
        Some(bytes) => (MANIFEST_FILE, Some(bytes)),
        None => (SUMS_FILE, sums.as_deref()),
    };
    match verdict(files, file, bytes, trust, place)? {
        Ok(Verified { key, reference }) => {
            let sums = sums.map(|bytes| Sums::parse(&bytes)).transpose()?;
            Ok(Judgement { signed: Signed::By(key.clone()), sums, reference })
        }
        Err(Distrust(problem)) if trust.unsigned == Unsigned::Refuse => {
            Err(Error::Repository { what: "signature".into(), problem })
        }
        Err(Distrust(problem)) => {
            if trust.unsigned == Unsigned::Mark {
                let (model, version) = (place.model.as_str(), place.version.0);
                tracing::warn!(model, version, problem, "no trusted key vouches for it");
            }
            Ok(Judgement { signed: Signed::Not(problem), sums: None, reference: None })
        }
    }
}

fn verdict<'t>(
    files: &Files,
    file: &str,
    bytes: Option<&[u8]>,
    trust: &'t Trust,
    place: &Place,
) -> Result<std::result::Result<Verified<'t>, Distrust>> {
    let hint = format!("`weir sign {place} --key FILE` signs it");
    let Some(bytes) = bytes else {
        return Ok(Err(Distrust(format!("it is not signed: it has neither {MANIFEST_FILE} nor {SUMS_FILE}; {hint}"))));
    };
    let name = format!("{file}{SIGNATURE_SUFFIX}");
    let Some(signature) = files.read(&name, MAX_SIGNATURE_BYTES)? else {
        return Ok(Err(Distrust(format!("it is not signed: {name} is missing; {hint}"))));
    };
    Ok(trust.keys.verify(Statement { file, bytes }, place, &signature))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_read_as_sha256sum_writes_them_and_nothing_else_is() {
        let hash = "0123456789abcdef".repeat(4);
        let sums =
            Sums::parse(format!("{hash}  model.onnx\n{} *two words.bin\n", hash.to_uppercase()).as_bytes()).unwrap();
        assert!(sums.lists("model.onnx") && sums.lists("two words.bin") && !sums.lists("other"));
        assert!(sums.verify("two words.bin", &hash).is_ok());
        assert!(matches!(sums.verify("model.onnx", "other"), Err(Error::Incomplete { .. })));
        assert!(matches!(sums.verify("other", &hash), Err(Error::Repository { .. })));
        for bad in [
            format!("{hash} model.onnx"),
            format!("{}  model.onnx", &hash[1..]),
            format!("{hash}  ../model.onnx"),
            format!("{hash}  "),
            format!("{hash}  a\n{hash}  a"),
            "\n".into(),
            format!("{}g  a", &hash[1..]),
        ] {
            assert!(Sums::parse(bad.as_bytes()).is_err(), "{bad:?}");
        }
    }
}
