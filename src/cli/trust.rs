//! TLS for the commands that talk to a server: whose certificates they take.

use std::path::Path;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

use crate::error::{Error, Result};

/// The variable with the file of the authorities to trust, which OpenSSL and curl read as well.
pub(super) const CA_FILE: &str = "SSL_CERT_FILE";

/// Returns the TLS of a client that trusts the authorities in the file that the environment names, and nobody else.
///
/// # Errors
/// [`Error::Config`] when there is no such file, or it cannot be used.
pub(super) fn named_authorities() -> Result<ClientConfig> {
    let refuse = |problem: String| Error::Config { setting: CA_FILE.into(), problem };
    let path = std::env::var_os(CA_FILE);
    let path = path.ok_or_else(|| refuse("https:// needs the PEM file of the authorities to trust".into()))?;
    let mut roots = RootCertStore::empty();
    let unusable = |error: &dyn std::fmt::Display| refuse(format!("the file cannot be used: {error}"));
    for authority in CertificateDer::pem_file_iter(Path::new(&path)).map_err(|error| unusable(&error))? {
        let authority = authority.map_err(|error| unusable(&error))?;
        roots.add(authority).map_err(|error| unusable(&error))?;
    }
    if roots.is_empty() {
        return Err(refuse("expected certificates in PEM, got none".into()));
    }
    Ok(builder(provider())?.with_root_certificates(roots).with_no_client_auth())
}

/// Returns the TLS of a client that takes every certificate: for one that talks to its own machine and says nothing
/// secret.
///
/// # Errors
/// [`Error::Internal`] when TLS cannot be set up.
pub(super) fn anybody() -> Result<ClientConfig> {
    let provider = provider();
    let anybody = Arc::new(Anybody(provider.clone()));
    Ok(builder(provider)?.dangerous().with_custom_certificate_verifier(anybody).with_no_client_auth())
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn builder(provider: Arc<CryptoProvider>) -> Result<rustls::ConfigBuilder<ClientConfig, rustls::WantsVerifier>> {
    ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::internal("TLS could not be set up", error))
}

/// Takes every certificate, whose key must still have been used.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> std::result::Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
