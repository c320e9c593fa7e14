//! TLS for the commands that talk to a server: whose certificates they take.

use std::path::Path;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};

use crate::error::{Error, Result};
use crate::trust::{CA_FILE, Trust, builder, provider};

/// Returns the TLS of a client that trusts the authorities in the file that the environment names, and nobody else.
///
/// # Errors
/// [`Error::Config`] when there is no such file, or it cannot be used.
pub(super) fn named_authorities() -> Result<Arc<ClientConfig>> {
    let path = std::env::var_os(CA_FILE).ok_or_else(|| Error::Config {
        setting: CA_FILE.into(),
        problem: "https:// needs the PEM file of the authorities to trust".into(),
    })?;
    Ok(Trust::of_file(CA_FILE, Path::new(&path))?.config())
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
