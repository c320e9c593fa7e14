//! The authorities that this program trusts where it is the client of a TLS connection. Certificates are always verified,
//! by name and time too.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, ConfigBuilder, RootCertStore, WantsVerifier};

use crate::error::{Error, Result};

/// The variable with the file of the authorities to trust, which OpenSSL and curl read as well.
pub const CA_FILE: &str = "SSL_CERT_FILE";

/// The files in which systems keep the authorities they trust: Debian and Alpine; Fedora and Red Hat; openSUSE; Red Hat's
/// newer place; macOS and the BSDs.
const SYSTEM_FILES: [&str; 5] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// The largest file that is read: the certificates of all public authorities have a quarter of that.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// The settings of a client that trusts some authorities and nobody else.
#[derive(Debug, Clone)]
pub struct Trust(Arc<ClientConfig>);

impl Trust {
    /// Trusts the authorities in a PEM file, which the setting of this name names.
    ///
    /// # Errors
    /// [`Error::Config`] when the file cannot be read, or holds anything else or nothing.
    pub fn of_file(setting: &str, path: &Path) -> Result<Self> {
        let refuse = |problem: String| Error::Config { setting: setting.into(), problem };
        let mut roots = RootCertStore::empty();
        for authority in certificates(path).map_err(refuse)? {
            roots.add(authority).map_err(|error| refuse(format!("the file cannot be used: {error}")))?;
        }
        Self::of_roots(roots)
    }

    /// Trusts the authorities in the file that `SSL_CERT_FILE` names, or else those that the system trusts. `setting` is
    /// the one that would name a file.
    ///
    /// # Errors
    /// [`Error::Config`] when there are none, or the named file cannot be used.
    pub fn of_system(setting: &str) -> Result<Self> {
        if let Some(path) = std::env::var_os(CA_FILE) {
            return Self::of_bundle(CA_FILE, &PathBuf::from(path));
        }
        Self::of_first(setting, &SYSTEM_FILES)
    }

    /// Trusts the authorities in a file of a system, which may hold some that are of no use here.
    fn of_bundle(setting: &str, path: &Path) -> Result<Self> {
        let refuse = |problem: String| Error::Config { setting: setting.into(), problem };
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(certificates(path).map_err(refuse)?);
        if roots.is_empty() {
            return Err(refuse("the file holds no certificate that can be used".into()));
        }
        Self::of_roots(roots)
    }

    fn of_first(setting: &str, files: &[&str]) -> Result<Self> {
        let found = files.iter().find_map(|file| certificates(Path::new(file)).ok());
        let found = found.ok_or_else(|| Error::Config {
            setting: setting.into(),
            problem: format!(
                "https:// needs authorities to trust, and this system has none where systems keep them: name a PEM file, \
                 here or by {CA_FILE}"
            ),
        })?;
        let mut roots = RootCertStore::empty();
        // Systems keep some that are of no use here.
        roots.add_parsable_certificates(found);
        Self::of_roots(roots)
    }

    fn of_roots(roots: RootCertStore) -> Result<Self> {
        Ok(Self(Arc::new(builder(provider())?.with_root_certificates(roots).with_no_client_auth())))
    }

    /// Returns the settings.
    pub fn config(&self) -> Arc<ClientConfig> {
        self.0.clone()
    }
}

/// Returns the cryptography of all connections.
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// Begins the settings of a client: TLS 1.2 and 1.3.
///
/// # Errors
/// [`Error::Internal`] when TLS cannot be set up.
pub fn builder(provider: Arc<CryptoProvider>) -> Result<ConfigBuilder<ClientConfig, WantsVerifier>> {
    ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::internal("TLS could not be set up", error))
}

/// Reads the certificates of a PEM file, at least one.
fn certificates(path: &Path) -> std::result::Result<Vec<CertificateDer<'static>>, String> {
    let unusable = |error: &dyn std::fmt::Display| format!("the file cannot be used: {error}");
    // Opening a pipe would wait for somebody who writes.
    if std::fs::metadata(path).map_err(|error| unusable(&error))?.is_file() {
        let file = std::fs::File::open(path).map_err(|error| unusable(&error))?;
        let mut bytes = Vec::new();
        file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes).map_err(|error| unusable(&error))?;
        if bytes.len() as u64 > MAX_FILE_BYTES {
            return Err(format!("expected certificates in PEM, at most {MAX_FILE_BYTES} bytes"));
        }
        let found = CertificateDer::pem_slice_iter(&bytes).collect::<std::result::Result<Vec<_>, _>>();
        let found = found.map_err(|error| unusable(&error))?;
        return if found.is_empty() { Err("expected certificates in PEM, got none".into()) } else { Ok(found) };
    }
    Err("expected a plain file".into())
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;

    use super::*;

    #[test]
    fn authorities_come_from_a_file_or_are_asked_for() {
        let folder = tempfile::TempDir::new().unwrap();
        let file = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        let key = rcgen::KeyPair::generate().unwrap();
        let params = rcgen::CertificateParams::new(vec!["ca".into()]).unwrap();
        let pem = |label: &str, bytes: &[u8]| {
            format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", STANDARD.encode(bytes))
        };
        let good = file("good.pem", &pem("CERTIFICATE", params.self_signed(&key).unwrap().der()));
        assert!(Trust::of_file("sink-ca", &good).is_ok());
        let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        for (path, hint) in [
            (folder.path().join("missing"), "cannot be used"),
            (folder.path().to_owned(), "plain file"),
            (file("empty.pem", ""), "got none"),
            (file("key.pem", &pem("PRIVATE KEY", &key.serialize_der())), "got none"),
            (file("broken.pem", broken), "cannot be used"),
        ] {
            let problem = Trust::of_file("sink-ca", &path).unwrap_err().to_string();
            assert!(problem.contains("sink-ca") && problem.contains(hint), "{problem}");
        }
        let bundle = |name: &str, text: String| Trust::of_bundle("SSL_CERT_FILE", &file(name, &text));
        let usable = std::fs::read_to_string(&good).unwrap();
        assert!(bundle("mixed.pem", format!("{broken}{usable}")).is_ok(), "what is of no use is passed over");
        assert!(bundle("useless.pem", broken.to_owned()).is_err());
        let found = |files: &[&str]| Trust::of_first("sink-ca", files);
        assert!(found(&["/nowhere", good.to_str().unwrap()]).is_ok());
        let problem = found(&["/nowhere"]).unwrap_err().to_string();
        assert!(problem.contains("SSL_CERT_FILE"), "{problem}");
    }
}
