//! Receipts: an answer's record in the hands of the caller, signed, so that feedback needs no stored prediction.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::block::{self, Row};
use crate::error::{Error, Result};
use crate::files;
use crate::ids::hexadecimal;

/// The longest receipt: what any proxy lets through as one header.
const MAX_CHARS: usize = 4096;

/// The layout of a receipt.
const FORMAT: u8 = 1;

/// The bytes of the signature that are kept: as many as 2¹²⁸ guesses need.
const SIGNATURE: usize = 16;

/// The least characters of a key.
const MIN_KEY: usize = 32;

/// The most bytes of the key in the state folder.
const MAX_FILE_BYTES: u64 = 64 << 10;

/// The name of the key in the state folder.
const FILE: &str = "receipt.key";

/// What an answer was, as its caller brings it back.
#[derive(Debug, Clone, PartialEq)]
pub struct Receipt {
    /// The identifier that the response carried.
    pub request_id: String,
    /// The model.
    pub model: String,
    /// Its version.
    pub version: u64,
    /// The digest of all that decides what that answers.
    pub digest: [u8; 32],
    /// The samples.
    pub rows: Vec<Row>,
}

/// The keys that receipts are signed with.
#[derive(Clone)]
pub struct ReceiptKeys {
    /// The first signs, all of them verify.
    keys: Arc<OnceLock<Vec<Vec<u8>>>>,
    /// The folder whose key is read, or made, when it is first needed.
    folder: PathBuf,
    valid: Duration,
}

impl std::fmt::Debug for ReceiptKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("keys of receipts")
    }
}

impl ReceiptKeys {
    /// Reads keys from a file, one on each line; the first signs, all of them verify.
    ///
    /// # Errors
    /// [`Error::Config`] when the file cannot be read, has no key, or one that is too short.
    pub fn read(path: &Path, valid: Duration) -> Result<Self> {
        Ok(Self { keys: Arc::new(OnceLock::from(read(path)?)), folder: PathBuf::new(), valid })
    }

    /// Takes the key of a state folder, where one is made the first time it is needed. Where that cannot be kept, receipts
    /// hold as long as the process.
    pub fn of_folder(folder: &Path, valid: Duration) -> Self {
        Self { keys: Arc::default(), folder: folder.to_owned(), valid }
    }

    fn keys(&self) -> &[Vec<u8>] {
        self.keys.get_or_init(|| of_folder(&self.folder))
    }

    /// Signs a receipt of an answer that was given at a moment, in microseconds since 1970; `None` when it would be too
    /// long for a header.
    pub fn seal(&self, receipt: &Receipt, now: i64) -> Option<String> {
        let expires = now.saturating_add(i64::try_from(self.valid.as_micros()).unwrap_or(i64::MAX));
        let mut bytes = vec![FORMAT];
        bytes.extend_from_slice(&expires.to_le_bytes());
        for text in [&receipt.request_id, &receipt.model] {
            bytes.push(u8::try_from(text.len()).ok()?);
            bytes.extend_from_slice(text.as_bytes());
        }
        bytes.extend_from_slice(&receipt.version.to_le_bytes());
        bytes.extend_from_slice(&receipt.digest);
        receipt.rows.iter().for_each(|row| block::write(row, &mut bytes));
        let signature = signature(self.keys().first()?, &bytes)?.finalize().into_bytes();
        bytes.extend_from_slice(&signature[..SIGNATURE]);
        Some(URL_SAFE_NO_PAD.encode(bytes)).filter(|text| text.len() <= MAX_CHARS)
    }

    /// Reads a receipt that one of the keys has signed.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] when it is none, or was signed with another key; [`Error::Gone`] when it has expired.
    pub fn open(&self, text: &str, now: i64) -> Result<Receipt> {
        let forged = || {
            Error::InvalidInput(
                "the receipt was not made by this server, nor by one with the same --receipt-key-file, or it was changed: \
                 expected the header x-weir-receipt of an answer, unaltered"
                    .into(),
            )
        };
        if text.len() > MAX_CHARS {
            let got = format!("{} characters", text.len());
            return Err(Error::TooLarge { what: "the receipt", limit: MAX_CHARS as u64, got });
        }
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| forged())?;
        let (body, found) = bytes.split_last_chunk::<SIGNATURE>().ok_or_else(forged)?;
        let is_signed = |key: &Vec<u8>| {
            signature(key, body).is_some_and(|signature| signature.verify_truncated_left(found).is_ok())
        };
        if !self.keys().iter().any(is_signed) {
            return Err(forged());
        }
        let (expires, receipt) = parse(body).ok_or_else(forged)?;
        if expires < now {
            let at = jiff::Timestamp::from_microsecond(expires).map(|at| at.to_string()).unwrap_or_default();
            return Err(Error::Gone(format!("the receipt has expired: it was good until {at}")));
        }
        Ok(receipt)
    }
}

/// Reads keys, one on each line.
fn read(path: &Path) -> Result<Vec<Vec<u8>>> {
    let bad = |problem: String| Error::Config { setting: "receipt-key-file".into(), problem };
    // Opening a pipe would wait for somebody who writes. A link is followed: secrets are mounted as such.
    if fs::metadata(path).is_ok_and(|metadata| !metadata.is_file()) {
        return Err(bad("expected a plain file".into()));
    }
    let text = fs::read_to_string(path).map_err(|error| bad(format!("{}: {error}", path.display())))?;
    keys_of(&text).map_err(|shortest| {
        bad(format!(
            "{}: expected a key of at least {MIN_KEY} characters on each line, got {shortest}; openssl rand -hex 32 makes one",
            path.display()
        ))
    })
}

/// Returns the keys in a text.
///
/// # Errors
/// The characters of the shortest, if that has too few, or 0 if there is none.
fn keys_of(text: &str) -> std::result::Result<Vec<Vec<u8>>, usize> {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let keys: Vec<Vec<u8>> = lines.map(|line| line.as_bytes().to_vec()).collect();
    let shortest = keys.iter().map(Vec::len).min().unwrap_or(0);
    if shortest < MIN_KEY { Err(shortest) } else { Ok(keys) }
}

/// Reads the key of a state folder; makes one if there is none.
fn of_folder(folder: &Path) -> Vec<Vec<u8>> {
    let path = folder.join(FILE);
    let kept = files::read(&path, MAX_FILE_BYTES).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    if let Some(keys) = kept.and_then(|text| keys_of(&text).ok()) {
        return keys;
    }
    let key = hexadecimal(&rand::random::<[u8; 32]>());
    if let Err(error) = write_secret(&path, &key) {
        tracing::warn!(path = %path.display(), %error, "the key of receipts cannot be kept: they hold until the server ends");
    }
    vec![key.into_bytes()]
}

fn signature(key: &[u8], bytes: &[u8]) -> Option<Hmac<Sha256>> {
    // Keys may have any length.
    let mut mac = Hmac::<Sha256>::new_from_slice(key).ok()?;
    mac.update(bytes);
    Some(mac)
}

/// Reads the moment at which a receipt expires and what it says.
fn parse(body: &[u8]) -> Option<(i64, Receipt)> {
    let (&FORMAT, rest) = body.split_first()? else { return None };
    let (expires, rest) = rest.split_first_chunk::<8>()?;
    let (request_id, rest) = text(rest)?;
    let (model, rest) = text(rest)?;
    let (version, rest) = rest.split_first_chunk::<8>()?;
    let (digest, rest) = rest.split_first_chunk::<32>()?;
    let rows = block::rows(rest)?;
    let version = u64::from_le_bytes(*version);
    Some((i64::from_le_bytes(*expires), Receipt { request_id, model, version, digest: *digest, rows }))
}

fn text(bytes: &[u8]) -> Option<(String, &[u8])> {
    let (length, rest) = bytes.split_first()?;
    let (text, rest) = rest.split_at_checked(usize::from(*length))?;
    Some((String::from_utf8(text.to_vec()).ok()?, rest))
}

/// Writes a file that only its owner may read.
fn write_secret(path: &Path, text: &str) -> std::io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt;
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let mut file = files::open_own(path, fs::File::options().create(true).truncate(true).write(true).mode(0o600))?;
    file.write_all(text.as_bytes())?;
    file.write_all(b"\n")?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;
    use crate::store::Kept;

    const DAY: Duration = Duration::from_secs(86_400);
    const NOW: i64 = 1_800_000_000_000_000;

    fn keys(lines: &[&str]) -> ReceiptKeys {
        let keys: Vec<Vec<u8>> = lines.iter().map(|line| line.as_bytes().to_vec()).collect();
        ReceiptKeys { keys: Arc::new(OnceLock::from(keys)), folder: PathBuf::new(), valid: DAY }
    }

    fn receipt(samples: u32) -> Receipt {
        let kept = Kept::Classified {
            class: 7,
            confidence: 0.5,
            margin: 1.25,
            energy: Some(3.5),
            classes: 10,
            probabilities: vec![0.1; 10],
        };
        let rows = (0..samples).map(|item| Row::new(Uuid::from_u128(5), item, NOW, kept.clone())).collect();
        Receipt { request_id: "order-17".into(), model: "mnist-mlp".into(), version: 3, digest: [9; 32], rows }
    }

    #[test]
    fn what_was_sealed_is_opened_by_any_key_until_it_expires() {
        let (old, both) = (keys(&["old"]), keys(&["new", "old"]));
        let text = old.seal(&receipt(2), NOW).unwrap();
        assert_eq!(both.open(&text, NOW).unwrap(), receipt(2));
        assert!(matches!(keys(&["new"]).open(&text, NOW), Err(Error::InvalidInput(_))));
        let day = DAY.as_micros() as i64;
        assert!(old.open(&text, NOW + day).is_ok());
        assert!(matches!(old.open(&text, NOW + day + 1), Err(Error::Gone(text)) if text.contains("expired")));
        assert!(old.seal(&receipt(1), NOW).unwrap().len() < 400);
        assert_eq!(old.seal(&receipt(100), NOW), None, "no header is that long");
        assert!(matches!(old.open(&"A".repeat(5000), NOW), Err(Error::TooLarge { .. })));
    }

    #[test]
    fn a_folder_keeps_its_key_and_a_short_key_is_refused() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::TempDir::new().unwrap();
        let text = ReceiptKeys::of_folder(folder.path(), DAY).seal(&receipt(1), NOW).unwrap();
        assert!(ReceiptKeys::of_folder(folder.path(), DAY).open(&text, NOW).is_ok());
        let path = folder.path().join(FILE);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        for text in ["", "short\n", "0123456789abcdef0123456789abcdef\nshort"] {
            fs::write(&path, text).unwrap();
            let problem = ReceiptKeys::read(&path, DAY).unwrap_err().to_string();
            assert!(problem.contains("at least 32 characters"), "{problem}");
        }
    }

    proptest! {
        #[test]
        fn a_flipped_bit_is_seen_and_noise_is_no_panic(bit in 0usize..1000, noise in "[A-Za-z0-9_-]{0,300}") {
            let keys = keys(&["a key"]);
            let mut bytes = URL_SAFE_NO_PAD.decode(keys.seal(&receipt(1), NOW).unwrap()).unwrap();
            let bit = bit % (bytes.len() * 8);
            bytes[bit / 8] ^= 1 << (bit % 8);
            let is_refused = |text: &str| matches!(keys.open(text, NOW), Err(Error::InvalidInput(_)));
            prop_assert!(is_refused(&URL_SAFE_NO_PAD.encode(bytes)));
            prop_assert!(is_refused(&noise));
        }
    }
}
