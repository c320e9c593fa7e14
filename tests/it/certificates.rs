//! Authorities and certificates for tests of TLS, and clients that trust them.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DnType, IsCa, KeyIdMethod,
    KeyPair, RevokedCertParams, SanType, date_time_ymd,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// An authority that a test made.
pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate of an authority, and its key.
pub(crate) struct Issued {
    pub(crate) certificate: CertificateDer<'static>,
    key: Vec<u8>,
    serial: u64,
}

/// The serial number of the next certificate.
static SERIAL: AtomicU64 = AtomicU64::new(1);

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    pub(crate) fn pem(&self) -> String {
        pem("CERTIFICATE", self.0.der())
    }

    fn issue(&self, change: impl FnOnce(&mut CertificateParams)) -> Issued {
        let mut params = CertificateParams::new(vec!["localhost".into(), "127.0.0.1".into()]).unwrap();
        change(&mut params);
        let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
        params.serial_number = Some(serial.into());
        let key = KeyPair::generate().unwrap();
        Issued { certificate: params.signed_by(&key, &self.0).unwrap().der().clone(), key: key.serialize_der(), serial }
    }

    /// Returns the list of the certificates that this authority has revoked, which another should replace in this year.
    pub(crate) fn revoked(&self, certificates: &[&Issued], year: i32) -> String {
        let revoked = |issued: &&Issued| RevokedCertParams {
            serial_number: issued.serial.into(),
            revocation_time: date_time_ymd(2020, 1, 1),
            reason_code: None,
            invalidity_date: None,
        };
        let list = CertificateRevocationListParams {
            this_update: date_time_ymd(2020, 1, 1),
            next_update: date_time_ymd(year, 12, 31),
            crl_number: 1.into(),
            issuing_distribution_point: None,
            revoked_certs: certificates.iter().map(revoked).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        pem("X509 CRL", list.signed_by(&self.0).unwrap().der())
    }

    /// Returns a certificate for this machine that ends with this year.
    pub(crate) fn server(&self, year: i32) -> Issued {
        self.issue(|params| params.not_after = date_time_ymd(year, 12, 31))
    }

    /// Returns a certificate for a machine of another name.
    pub(crate) fn server_elsewhere(&self) -> Issued {
        self.issue(|params| {
            params.subject_alt_names = vec![SanType::DnsName("elsewhere.example".try_into().unwrap())];
            params.not_after = date_time_ymd(2090, 12, 31);
        })
    }

    /// Returns the certificate of a client with this URI, which ends with this year.
    pub(crate) fn client(&self, uri: &str, year: i32) -> Issued {
        self.issue(|params| {
            params.subject_alt_names = vec![SanType::URI(uri.try_into().unwrap())];
            params.not_after = date_time_ymd(year, 12, 31);
        })
    }

    /// Returns a client that trusts this authority, offers these protocols and shows a certificate if it has one.
    pub(crate) fn trusting(&self, protocols: &[&str], shown: Option<&Issued>) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(self.0.der().clone()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let builder = builder.with_root_certificates(roots);
        let mut config = match shown {
            None => builder.with_no_client_auth(),
            Some(Issued { certificate, key, .. }) => {
                let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.clone()));
                builder.with_client_auth_cert(vec![certificate.clone()], key).unwrap()
            }
        };
        config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        config
    }
}

impl Issued {
    /// Returns the settings of a server that shows this certificate.
    pub(crate) fn server(&self) -> ServerConfig {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.key.clone()));
        builder.with_no_client_auth().with_single_cert(vec![self.certificate.clone()], key).unwrap()
    }

    pub(crate) fn certificate_pem(&self) -> String {
        pem("CERTIFICATE", &self.certificate)
    }

    pub(crate) fn key_pem(&self) -> String {
        pem("PRIVATE KEY", &self.key)
    }

    /// Writes certificate and key into a folder, in the place of others, and returns the paths.
    pub(crate) fn write(&self, folder: &Path) -> (PathBuf, PathBuf) {
        let (certificate, key) = (folder.join("tls.crt"), folder.join("tls.key"));
        put(&key, &self.key_pem());
        put(&certificate, &self.certificate_pem());
        (certificate, key)
    }
}

/// Puts a text in the place of a file, whole.
pub(crate) fn put(path: &Path, text: &str) {
    let staged = path.with_extension("staged");
    std::fs::write(&staged, text).unwrap();
    std::fs::rename(&staged, path).unwrap();
}

fn pem(label: &str, der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let lines: Vec<&str> = text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

/// Connects with TLS.
pub(crate) async fn connect(addr: SocketAddr, config: ClientConfig) -> std::io::Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(addr).await?;
    TlsConnector::from(Arc::new(config)).connect("localhost".try_into().unwrap(), stream).await
}

/// Sends a request of HTTP/1.1 on a connection that stays open, and returns the head and the body of the answer.
pub(crate) async fn ask<S>(stream: &mut S, request: &str) -> std::io::Result<String>
where
    S: AsyncReadExt + AsyncWriteExt + Unpin,
{
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    loop {
        if stream.read_buf(&mut answer).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        let text = String::from_utf8_lossy(&answer);
        let length = |head: &str| {
            let line = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            line.and_then(|length| length.parse::<usize>().ok())
        };
        if let Some((head, body)) = text.split_once("\r\n\r\n")
            && length(head).is_none_or(|length| body.len() >= length)
        {
            return Ok(text.into_owned());
        }
    }
}

/// Returns a request of HTTP/1.1 without a body.
pub(crate) fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n")
}
