//! Public keys of an issuer of tokens, as a JSON Web Key Set has them (RFC 7517), and what they verify.
//!
//! The cryptography is *ring*'s, which TLS has brought along: a JWT library would bring a second one, or a second way
//! to it.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents, UnparsedPublicKey,
};
use serde::Deserialize;
use serde_json::Value;

/// The most keys that are taken: issuers have two or three.
const MAX_KEYS: usize = 100;
/// The fewest bytes of an RSA modulus: 2048 bits.
const LEAST_MODULUS_BYTES: usize = 256;

/// An algorithm of signatures. There is none with a shared secret, and no "none".
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum Algorithm {
    /// RSA with PKCS #1 v1.5 and SHA-256.
    #[serde(rename = "RS256")]
    Rs256,
    /// ECDSA on P-256 with SHA-256.
    #[serde(rename = "ES256")]
    Es256,
    /// Ed25519.
    #[serde(rename = "EdDSA")]
    EdDsa,
}

impl Algorithm {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Rs256, Self::Es256, Self::EdDsa];

    /// Returns its name in the head of a token.
    pub fn name(self) -> &'static str {
        match self {
            Self::Rs256 => "RS256",
            Self::Es256 => "ES256",
            Self::EdDsa => "EdDSA",
        }
    }
}

/// The keys of an issuer.
#[derive(Debug, Default)]
pub struct KeySet(Vec<PublicKey>);

#[derive(Debug)]
struct PublicKey {
    id: Option<String>,
    material: Material,
}

#[derive(Debug)]
enum Material {
    Rsa {
        modulus: Vec<u8>,
        exponent: Vec<u8>,
    },
    /// An uncompressed point.
    P256(Vec<u8>),
    Ed25519(Vec<u8>),
}

/// The reason why no key verified a signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unverified {
    /// No key has this identifier, or is of this kind.
    NoKey,
    /// The signature is not that of the key.
    WrongSignature,
}

#[derive(Deserialize)]
struct Document {
    keys: Vec<Value>,
}

#[derive(Deserialize)]
struct Entry {
    kty: String,
    kid: Option<String>,
    #[serde(rename = "use")]
    usage: Option<String>,
    alg: Option<String>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

impl KeySet {
    /// Reads a document. Keys that are for something else, or of another kind, are passed over.
    ///
    /// # Errors
    /// In words, when it is no such document, or holds no key that can be used.
    pub fn parse(document: &[u8]) -> std::result::Result<Self, String> {
        let Document { keys } = serde_json::from_slice(document)
            .map_err(|error| format!("expected a JSON Web Key Set, {{\"keys\": […]}}: {error}"))?;
        if keys.len() > MAX_KEYS {
            return Err(format!("expected at most {MAX_KEYS} keys, got {}", keys.len()));
        }
        let usable: Vec<PublicKey> = keys.iter().filter_map(PublicKey::of).collect();
        if usable.is_empty() {
            let (names, got) = (Algorithm::ALL.map(Algorithm::name).join(", "), keys.len());
            return Err(format!("expected a public key for {names} (RSA from 2048 bits), got none among {got}"));
        }
        Ok(Self(usable))
    }

    /// Returns the number of keys.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns true if there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Verifies a signature with the key of this identifier, or without one with the only key of that kind.
    ///
    /// # Errors
    /// [`Unverified`].
    pub fn verify(
        &self,
        algorithm: Algorithm,
        id: Option<&str>,
        message: &[u8],
        signature: &[u8],
    ) -> std::result::Result<(), Unverified> {
        let mut fitting = self
            .0
            .iter()
            .filter(|key| key.material.algorithm() == algorithm && id.is_none_or(|id| key.id.as_deref() == Some(id)));
        let key = fitting.next().ok_or(Unverified::NoKey)?;
        if id.is_none() && fitting.next().is_some() {
            return Err(Unverified::NoKey);
        }
        if key.material.verifies(message, signature) { Ok(()) } else { Err(Unverified::WrongSignature) }
    }
}

impl PublicKey {
    fn of(value: &Value) -> Option<Self> {
        let entry = Entry::deserialize(value).ok()?;
        if entry.usage.as_deref().is_some_and(|usage| usage != "sig") {
            return None;
        }
        let bytes = |text: &Option<String>| URL_SAFE_NO_PAD.decode(text.as_deref()?).ok();
        let material = match (entry.kty.as_str(), entry.crv.as_deref()) {
            ("RSA", _) => {
                let without_zeros = |bytes: Vec<u8>| bytes.into_iter().skip_while(|byte| *byte == 0).collect();
                let modulus: Vec<u8> = without_zeros(bytes(&entry.n)?);
                (modulus.len() >= LEAST_MODULUS_BYTES).then_some(())?;
                Material::Rsa { modulus, exponent: without_zeros(bytes(&entry.e)?) }
            }
            ("EC", Some("P-256")) => {
                let (x, y) = (bytes(&entry.x)?, bytes(&entry.y)?);
                (x.len() == 32 && y.len() == 32).then_some(())?;
                Material::P256([&[4], x.as_slice(), &y].concat())
            }
            ("OKP", Some("Ed25519")) => Material::Ed25519(bytes(&entry.x).filter(|x| x.len() == 32)?),
            _ => return None,
        };
        let is_for = |name: &String| name == material.algorithm().name();
        entry.alg.as_ref().is_none_or(is_for).then_some(Self { id: entry.kid, material })
    }
}

impl Material {
    fn algorithm(&self) -> Algorithm {
        match self {
            Self::Rsa { .. } => Algorithm::Rs256,
            Self::P256(_) => Algorithm::Es256,
            Self::Ed25519(_) => Algorithm::EdDsa,
        }
    }

    fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        match self {
            Self::Rsa { modulus: n, exponent: e } => {
                RsaPublicKeyComponents { n, e }.verify(&RSA_PKCS1_2048_8192_SHA256, message, signature).is_ok()
            }
            Self::P256(point) => {
                UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(message, signature).is_ok()
            }
            Self::Ed25519(key) => UnparsedPublicKey::new(&ED25519, key).verify(message, signature).is_ok(),
        }
    }
}
