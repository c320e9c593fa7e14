//! The keys of signatures: a secret one in PKCS #8, public ones in the lines of minisign.

use std::path::Path;

use ring::rand::{SecureRandom as _, SystemRandom};
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::pki_types::pem::PemObject as _;
use sha2::{Digest as _, Sha256};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::{KeyId, PLAIN, UNTRUSTED, pack, unpack};
use crate::error::{Error, Result};
use crate::ids::{printable, quote};

/// The bytes before the 32 of an Ed25519 key in PKCS #8 (RFC 8410).
const PKCS8_HEAD: [u8; 16] = [0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];
/// The largest file of keys that is read.
const MAX_FILE_BYTES: u64 = 1 << 20;
const MAX_NAME_CHARS: usize = 100;

/// A key that signs.
#[derive(Debug)]
pub struct SecretKey(Ed25519KeyPair);

impl SecretKey {
    /// Makes a key, and returns it with the text of its file: PKCS #8 in PEM, as OpenSSL has it.
    ///
    /// # Errors
    /// [`Error::Internal`] when the system gives no random bytes.
    pub fn generate() -> Result<(Self, String)> {
        let mut seed = [0; 32];
        let failed = |_| Error::internal("a key could not be made", "the system gives no random bytes");
        SystemRandom::new().fill(&mut seed).map_err(failed)?;
        let pair = Ed25519KeyPair::from_seed_unchecked(&seed)
            .map_err(|error| Error::internal("a key could not be made", error.to_string()))?;
        let der = STANDARD.encode([&PKCS8_HEAD[..], &seed].concat());
        Ok((Self(pair), format!("-----BEGIN PRIVATE KEY-----\n{der}\n-----END PRIVATE KEY-----\n")))
    }

    /// Reads the file of a key.
    ///
    /// # Errors
    /// [`Error::Config`] when it cannot be read or holds no key for Ed25519.
    pub fn read(path: &Path) -> Result<Self> {
        let refuse = |problem: String| Error::Config { setting: "key".into(), problem };
        let text = contents(path).map_err(refuse)?;
        // The parser's own words may quote the key.
        let der = PrivatePkcs8KeyDer::from_pem_slice(text.as_bytes()).ok();
        let pair = der.and_then(|der| Ed25519KeyPair::from_pkcs8_maybe_unchecked(der.secret_pkcs8_der()).ok());
        pair.map(Self).ok_or_else(|| {
            refuse(
                "expected an unencrypted private key for Ed25519 between BEGIN and END PRIVATE KEY, as `weir sign --new-key FILE` makes it".into(),
            )
        })
    }

    /// Returns its public part.
    pub fn public(&self) -> PublicKey {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(self.0.public_key().as_ref());
        let mut id = [0; 8];
        id.copy_from_slice(&Sha256::digest(bytes)[..8]);
        let id = KeyId(id);
        PublicKey { id, bytes, name: format!("weir public key {id}") }
    }

    pub(super) fn signature(&self, message: &[u8]) -> [u8; 64] {
        let mut bytes = [0; 64];
        bytes.copy_from_slice(self.0.sign(message).as_ref());
        bytes
    }
}

/// A key that verifies.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PublicKey {
    id: KeyId,
    bytes: [u8; 32],
    name: String,
}

impl PublicKey {
    /// Returns it with another name.
    ///
    /// # Errors
    /// [`Error::Config`] for a name that is no line of text.
    pub fn called(self, name: &str) -> Result<Self> {
        let chars = name.trim().chars().count();
        if chars == 0 || chars > MAX_NAME_CHARS || name.chars().any(char::is_control) {
            let problem = format!("expected 1 to {MAX_NAME_CHARS} printable characters, got {}", quote(name));
            return Err(Error::Config { setting: "name".into(), problem });
        }
        Ok(Self { name: name.trim().to_owned(), ..self })
    }

    /// Returns its identifier, which signatures name.
    pub fn id(&self) -> KeyId {
        self.id
    }

    /// Returns its name: the comment above it in its file.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns it as minisign writes it, as one word.
    pub fn line(&self) -> String {
        pack(self.id, &self.bytes)
    }

    /// Returns the content of its file.
    pub fn text(&self) -> String {
        format!("{UNTRUSTED}{}\n{}\n", self.name, self.line())
    }

    pub(super) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&ED25519, &self.bytes).verify(message, signature).is_ok()
    }
}

/// The keys whose signatures count.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct TrustedKeys(Vec<PublicKey>);

impl TrustedKeys {
    /// Reads a file of public keys.
    ///
    /// # Errors
    /// [`Error::Config`] when it cannot be read, has no key, or a line of it is none.
    pub fn read(path: &Path) -> Result<Self> {
        contents(path).and_then(|text| Self::parse(&text)).map_err(refuse)
    }

    /// Reads a file that was read before. One without keys in which a line begins with `#` trusts nobody; an empty one may
    /// be about to be written.
    ///
    /// # Errors
    /// As [`TrustedKeys::read`].
    pub fn read_again(path: &Path) -> Result<Self> {
        let says_nobody = |text: &str| {
            let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty()).peekable();
            lines.peek().is_some() && lines.all(|line| line.starts_with('#'))
        };
        let parsed =
            contents(path).and_then(|text| if says_nobody(&text) { Ok(Self::default()) } else { Self::parse(&text) });
        parsed.map_err(refuse)
    }

    /// Reads public keys as minisign writes them, one below the other; the comment above a key is its name. Empty lines
    /// and those that begin with `#` say nothing.
    ///
    /// # Errors
    /// In words, naming the line that is no key; for two of one identifier; for none.
    pub fn parse(text: &str) -> std::result::Result<Self, String> {
        let mut keys: Vec<PublicKey> = Vec::new();
        let mut name = None;
        for (index, line) in text.lines().enumerate() {
            let line = line.trim();
            if let Some(comment) = line.strip_prefix(UNTRUSTED.trim_end()) {
                name = Some(printable(comment.trim(), MAX_NAME_CHARS)).filter(|name| !name.is_empty());
                continue;
            }
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let unpacked = STANDARD.decode(line).ok().and_then(|packed| unpack(&packed));
            let key = unpacked.filter(|(algorithm, ..)| *algorithm == PLAIN).ok_or_else(|| {
                let at = index + 1;
                format!("line {at}: expected a public key of minisign, which begins with RW and has 56 characters, or a comment")
            })?;
            let (_, id, bytes) = key;
            if keys.iter().any(|known| known.id == id) {
                return Err(format!("line {}: the key {id} is there twice", index + 1));
            }
            keys.push(PublicKey { id, bytes, name: name.take().unwrap_or_else(|| format!("key {id}")) });
        }
        if keys.is_empty() {
            return Err("expected at least one public key, as `weir sign --new-key FILE` writes it to FILE.pub".into());
        }
        Ok(Self(keys))
    }

    /// Returns the key of this identifier.
    pub fn find(&self, id: KeyId) -> Option<&PublicKey> {
        self.0.iter().find(|key| key.id == id)
    }

    /// Returns true if this very key is among them.
    pub fn contains(&self, key: &PublicKey) -> bool {
        self.find(key.id).is_some_and(|known| known.bytes == key.bytes)
    }

    /// Returns the number of keys.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns true if there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

fn contents(path: &Path) -> std::result::Result<String, String> {
    let unreadable = |error: std::io::Error| format!("the file {} cannot be read: {error}", path.display());
    let metadata = std::fs::metadata(path).map_err(unreadable)?;
    if !metadata.is_file() || metadata.len() > MAX_FILE_BYTES {
        return Err(format!("expected {} to be a plain file of at most {MAX_FILE_BYTES} bytes", path.display()));
    }
    std::fs::read_to_string(path).map_err(unreadable)
}

fn refuse(problem: String) -> Error {
    Error::Config { setting: "trusted-keys".into(), problem }
}
