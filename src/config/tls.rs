//! Settings of TLS.

use std::path::PathBuf;

use clap::ValueEnum;
use serde::Deserialize;

/// Settings of TLS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsSettings {
    /// The origin of the server's certificate.
    pub source: CertificateSource,
    /// Clients show certificates too.
    pub clients: Option<ClientCertificates>,
}

/// The origin of the server's certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CertificateSource {
    /// PEM files, which may be one and the same.
    Files {
        /// The certificate, and then those that vouch for it.
        certificate: PathBuf,
        /// Its key.
        key: PathBuf,
    },
    /// One that is made at the start.
    SelfSigned,
}

/// The certificates of clients.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientCertificates {
    /// The PEM file of the authorities that vouch for clients.
    pub ca: PathBuf,
    /// The demand for them.
    pub auth: ClientAuth,
    /// The PEM file of the lists of certificates that were revoked, one of each authority that has one.
    pub crl: Option<PathBuf>,
}

/// The demand for certificates of clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ClientAuth {
    /// A client without one is refused.
    Required,
    /// A client may do without, but one that is shown must be good.
    Optional,
}
