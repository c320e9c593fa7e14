//! Signatures of published versions, in the format of minisign: by whom a version was signed, and for which place.
//!
//! A signature covers the bytes of a *statement* ([`Statement`]), which has the SHA-256 of every file of the version, and
//! a trusted comment that names the model and the version. So neither a file nor the place can be exchanged: a signed
//! version that is copied to another name or number is not signed there. `minisign -V` verifies the same files.
//!
//! Signatures are of minisign's first form ("Ed"), Ed25519 over the bytes themselves, which *ring* can make and verify;
//! the later one ("ED") signs a BLAKE2b hash, for which there is no code here.

mod keys;

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

pub use self::keys::{PublicKey, SecretKey, TrustedKeys};

use crate::ids::{ModelName, Version, printable, quote};

/// The ending that minisign adds to the name of a file for that of its signature.
pub const SIGNATURE_SUFFIX: &str = ".minisig";
/// The largest file of a signature: minisign's comments have at most 9 KB.
pub const MAX_SIGNATURE_BYTES: u64 = 16 << 10;

/// The algorithm of signatures over the bytes themselves.
const PLAIN: [u8; 2] = *b"Ed";
/// The algorithm of signatures over a BLAKE2b hash of the bytes.
const HASHED: [u8; 2] = *b"ED";
const UNTRUSTED: &str = "untrusted comment: ";
const TRUSTED: &str = "trusted comment: ";
/// The first word of our trusted comments.
const OURS: &str = "weir";

/// The place for which a version is signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The model.
    pub model: ModelName,
    /// The version.
    pub version: Version,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.model, self.version)
    }
}

/// A file that has the hashes of all others of a version, and is what is signed.
#[derive(Debug, Clone, Copy)]
pub struct Statement<'a> {
    /// Its name.
    pub file: &'a str,
    /// Its content.
    pub bytes: &'a [u8],
}

/// The content of a signature that holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified<'a> {
    /// The key that made it.
    pub key: &'a PublicKey,
    /// The SHA-256 of the version's reference for drift, which comes after the statement; `None` if it has none.
    pub reference: Option<String>,
}

/// The identifier of a key, which a signature names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId([u8; 8]);

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // As minisign shows it: a number whose least byte comes first.
        self.0.iter().rev().try_for_each(|byte| write!(f, "{byte:02X}"))
    }
}

/// The reason why a signature does not count, in words for whoever runs the server.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Distrust(pub String);

/// A signature as its file has it.
struct Signature {
    key: KeyId,
    bytes: [u8; 64],
    comment: String,
    /// Over `bytes` and the comment.
    global: [u8; 64],
}

impl Signature {
    /// Reads the four lines of a file of a signature.
    fn parse(text: &[u8]) -> Result<Self, String> {
        let text = std::str::from_utf8(text).map_err(|_| "it is not text")?;
        let mut lines = text.lines();
        let mut line = |what: &str| lines.next().ok_or_else(|| format!("it ends before {what}"));
        if !line("its first line")?.starts_with(UNTRUSTED) {
            return Err(format!("its first line does not begin with {UNTRUSTED:?}"));
        }
        let packed =
            STANDARD.decode(line("the signature")?.trim_ascii_end()).map_err(|_| "its second line is not base64")?;
        let comment = line("the trusted comment")?;
        let comment =
            comment.strip_prefix(TRUSTED).ok_or_else(|| format!("its third line does not begin with {TRUSTED:?}"))?;
        let comment = comment.strip_suffix('\r').unwrap_or(comment).to_owned();
        let global = STANDARD.decode(line("the signature of the comment")?.trim_ascii_end()).ok();
        let global = global.and_then(|bytes| bytes.try_into().ok());
        let global = global.ok_or("its fourth line is not 64 bytes of base64")?;
        let (algorithm, key, bytes) = unpack(&packed).ok_or("its second line is not 74 bytes long")?;
        if algorithm == HASHED {
            return Err("it is of minisign's hashed form (ED), which is not read here; sign with `weir sign`, or with `minisign -S -l`".into());
        }
        if algorithm != PLAIN {
            return Err("it is of an algorithm that is not known here".into());
        }
        Ok(Self { key, bytes, comment, global })
    }
}

/// Takes apart what minisign packs: an algorithm, the identifier of a key, and bytes.
fn unpack<const LENGTH: usize>(packed: &[u8]) -> Option<([u8; 2], KeyId, [u8; LENGTH])> {
    let (algorithm, rest) = packed.split_first_chunk()?;
    let (id, bytes) = rest.split_first_chunk()?;
    Some((*algorithm, KeyId(*id), bytes.try_into().ok()?))
}

/// Packs an algorithm, the identifier of a key, and bytes as minisign does.
fn pack(id: KeyId, bytes: &[u8]) -> String {
    STANDARD.encode([&PLAIN[..], &id.0, bytes].concat())
}

/// Returns the trusted comment of a statement that is signed for a place.
fn comment(statement: Statement<'_>, place: &Place, reference: Option<&str>, at: jiff::Timestamp) -> String {
    let (file, seconds) = (statement.file, at.strftime("%Y-%m-%dT%H:%M:%SZ"));
    let reference = reference.map_or_else(String::new, |sha256| format!(" reference={sha256}"));
    format!("{OURS} model={} version={} file={file}{reference} signed={seconds}", place.model, place.version)
}

/// Returns the value of a word `name=value` in a trusted comment; `None` if there is not exactly one.
fn word<'a>(comment: &'a str, name: &str) -> Option<&'a str> {
    let mut values = comment.split(' ').filter_map(|word| word.strip_prefix(name)?.strip_prefix('='));
    values.next().filter(|_| values.next().is_none())
}

/// Checks that a trusted comment, which was verified, is about this statement in this place.
fn check_place(comment: &str, statement: Statement<'_>, place: &Place) -> Result<(), Distrust> {
    let said = [word(comment, "model"), word(comment, "version"), word(comment, "file")];
    let (true, [Some(model), Some(version), Some(file)]) = (comment.split(' ').next() == Some(OURS), said) else {
        return Err(Distrust(format!(
            "its signature does not say for which model and version it is: expected a trusted comment such as \"{OURS} model={} version={} file={}\", got {}",
            place.model,
            place.version,
            statement.file,
            quote(comment)
        )));
    };
    if file != statement.file {
        let (own, file) = (statement.file, printable(file, 80));
        return Err(Distrust(format!("its signature is that of a file {file}, not of {own}")));
    }
    if model != place.model.as_str() || version != place.version.to_string() {
        let (model, version) = (printable(model, 80), printable(version, 20));
        return Err(Distrust(format!(
            "it is signed as {model}@{version} and lies in the place of {place}; a copy needs a signature of its own: \
             `weir sign {place} --key FILE`"
        )));
    }
    Ok(())
}

impl TrustedKeys {
    /// Returns what the signature of a statement says of a place, with the key that made it.
    ///
    /// # Errors
    /// [`Distrust`], when the signature cannot be read, is by another key, or is of other bytes or another place.
    pub fn verify(&self, statement: Statement<'_>, place: &Place, signature: &[u8]) -> Result<Verified<'_>, Distrust> {
        let file = statement.file;
        let read = Signature::parse(signature);
        let read = read.map_err(|why| Distrust(format!("{file}{SIGNATURE_SUFFIX} is no signature: {why}")))?;
        let key = self.find(read.key).ok_or_else(|| {
            Distrust(format!("it is signed by the key {}, which is not among the trusted ones", read.key))
        })?;
        if !key.verifies(statement.bytes, &read.bytes) {
            return Err(Distrust(format!(
                "{file} is not what the key {} ({}) signed: one of {file} and its signature was changed",
                quote(key.name()),
                key.id()
            )));
        }
        if !key.verifies(&[&read.bytes[..], read.comment.as_bytes()].concat(), &read.global) {
            return Err(Distrust(format!("the trusted comment of {file}{SIGNATURE_SUFFIX} was changed")));
        }
        check_place(&read.comment, statement, place)?;
        Ok(Verified { key, reference: word(&read.comment, "reference").map(str::to_owned) })
    }
}

impl SecretKey {
    /// Returns the content of the file of a signature. `reference` is the SHA-256 of the reference for drift, if there is one.
    pub fn sign(
        &self,
        statement: Statement<'_>,
        place: &Place,
        reference: Option<&str>,
        at: jiff::Timestamp,
    ) -> String {
        let comment = comment(statement, place, reference, at);
        let signature = self.signature(statement.bytes);
        let global = self.signature(&[&signature[..], comment.as_bytes()].concat());
        let public = self.public();
        let (packed, global) = (pack(public.id(), &signature), STANDARD.encode(global));
        format!(
            "{UNTRUSTED}signature of {} by weir {}\n{packed}\n{TRUSTED}{comment}\n{global}\n",
            statement.file,
            public.id()
        )
    }
}

#[cfg(test)]
#[path = "signing/tests.rs"]
mod tests;
