//! Certificates and keys in PEM files.

use std::io::Read as _;
use std::path::Path;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};
use rustls::{CertificateError, InconsistentKeys, RootCertStore};
use sha2::{Digest as _, Sha256};

use super::certificate::{Validity, validity};
use crate::error::{Error, Result};

/// The largest file that is read: the certificates of all public authorities have a quarter of that.
const MAX_FILE_BYTES: u64 = 1 << 20;

const CERTIFICATE: &str = "tls-cert";
const KEY: &str = "tls-key";
const CLIENT_CA: &str = "tls-client-ca";
pub(super) const CLIENT_CRL: &str = "tls-client-crl";

/// A certificate, those that vouch for it, and its key.
#[derive(Debug)]
pub(super) struct Identity {
    pub(super) chain: Vec<CertificateDer<'static>>,
    pub(super) key: PrivateKeyDer<'static>,
}

impl Clone for Identity {
    fn clone(&self) -> Self {
        Self { chain: self.chain.clone(), key: self.key.clone_key() }
    }
}

impl Identity {
    /// Returns the time in which the certificate holds.
    ///
    /// # Errors
    /// [`Error::Config`] when it does not say.
    pub(super) fn validity(&self) -> Result<Validity> {
        let first = self.chain.first().and_then(|first| validity(first));
        first.ok_or_else(|| refuse(CERTIFICATE, "the certificate cannot be read".into()))
    }

    /// Returns the fingerprint of the certificate.
    pub(super) fn sha256(&self) -> [u8; 32] {
        Sha256::digest(self.chain.first().map(AsRef::as_ref).unwrap_or_default()).into()
    }
}

/// Reads a certificate with its chain, and its key. Both may be in one file.
///
/// # Errors
/// [`Error::Config`] naming the setting whose file cannot be used.
pub(super) fn identity(certificate: &Path, key: &Path) -> Result<Identity> {
    let chain = certificates(CERTIFICATE, certificate)?;
    // The parser's own words may quote the key.
    let key = PrivateKeyDer::from_pem_slice(&contents(KEY, key)?).map_err(|_| {
        refuse(KEY, "expected an unencrypted private key in PEM, such as one between BEGIN and END PRIVATE KEY".into())
    })?;
    Ok(Identity { chain, key })
}

/// Reads the authorities that vouch for clients.
///
/// # Errors
/// [`Error::Config`] when the file cannot be used.
pub(super) fn roots(path: &Path) -> Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    for (at, authority) in certificates(CLIENT_CA, path)?.into_iter().enumerate() {
        let unusable = |error| refuse(CLIENT_CA, format!("certificate {} of the file: {error}", at + 1));
        roots.add(authority).map_err(unusable)?;
    }
    Ok(roots)
}

/// Reads lists of revoked certificates.
///
/// # Errors
/// [`Error::Config`] when the file cannot be used.
pub(super) fn revoked(path: &Path) -> Result<Vec<CertificateRevocationListDer<'static>>> {
    let pem = contents(CLIENT_CRL, path)?;
    let all: std::result::Result<Vec<_>, _> = CertificateRevocationListDer::pem_slice_iter(&pem).collect();
    match all {
        Ok(all) if !all.is_empty() => Ok(all),
        _ => Err(refuse(
            CLIENT_CRL,
            "expected lists of revoked certificates in PEM, between BEGIN and END X509 CRL".into(),
        )),
    }
}

/// Returns what is wrong with a certificate and its key, of which each could be read.
pub(super) fn unfit(error: rustls::Error) -> Error {
    match error {
        rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
            refuse(KEY, "this is the key of another certificate; expected that of the first one in tls-cert".into())
        }
        rustls::Error::InvalidCertificate(CertificateError::Other(_)) => refuse(
            CERTIFICATE,
            "the certificate is of a kind that TLS here does not take; expected X.509 of version 3".into(),
        ),
        rustls::Error::InvalidCertificate(reason) => refuse(CERTIFICATE, format!("the certificate: {reason}")),
        other => refuse(KEY, other.to_string()),
    }
}

fn certificates(setting: &str, path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let pem = contents(setting, path)?;
    let all: std::result::Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    match all {
        Ok(all) if !all.is_empty() => Ok(all),
        _ => Err(refuse(setting, "expected certificates in PEM, between BEGIN and END CERTIFICATE".into())),
    }
}

fn contents(setting: &str, path: &Path) -> Result<Vec<u8>> {
    let unreadable = |error: std::io::Error| refuse(setting, format!("the file cannot be read: {error}"));
    // Asked before it is opened: opening a pipe waits for somebody who writes.
    if !std::fs::metadata(path).map_err(unreadable)?.is_file() {
        return Err(refuse(setting, "expected a plain file".into()));
    }
    let file = std::fs::File::open(path).map_err(unreadable)?;
    let mut bytes = Vec::new();
    file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(refuse(setting, format!("the file has more than {MAX_FILE_BYTES} bytes")));
    }
    Ok(bytes)
}

fn refuse(setting: &str, problem: String) -> Error {
    Error::Config { setting: setting.into(), problem }
}
