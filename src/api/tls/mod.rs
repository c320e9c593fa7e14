//! TLS for the ports of a server: 1.2 and 1.3, by rustls. The certificate comes from files, which are read again
//! whenever they change, or is made at the start. A connection keeps what it began with.

mod certificate;
mod files;
mod self_signed;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use jiff::Timestamp;
use rustls::RootCertStore;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::CertificateRevocationListDer;
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, ServerConfig, VerifierBuilderError, WebPkiClientVerifier};
use rustls::version::{TLS12, TLS13};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use self::certificate::Validity;
use self::files::Identity;
use super::watched::{Watched, look_repeatedly};
use crate::config::{CertificateSource, ClientAuth, ClientCertificates, TlsSettings};
use crate::error::{Error, Result};
use crate::ids::hexadecimal;
use crate::metrics::TlsMetrics;

/// The protocols that a port offers inside TLS (ALPN).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Offer {
    /// HTTP/2 and HTTP/1.1.
    Http,
    /// HTTP/2 alone, for gRPC.
    Grpc,
}

/// The TLS of a server.
#[derive(Debug)]
pub struct Tls {
    source: Source,
    clients: Option<ClientCertificates>,
    current: ArcSwap<Configs>,
    watched: Watched,
    metrics: TlsMetrics,
}

/// The origin of the server's certificate.
#[derive(Debug)]
enum Source {
    Files { certificate: PathBuf, key: PathBuf },
    Made(Identity),
}

/// The configurations that new connections get.
#[derive(Debug)]
struct Configs {
    http: Arc<ServerConfig>,
    grpc: Arc<ServerConfig>,
    validity: Validity,
}

/// A connection whose handshake is done.
#[derive(Debug)]
pub(super) struct Secured {
    pub(super) stream: Box<TlsStream<TcpStream>>,
    /// The name in the client's certificate, if it showed one.
    pub(super) principal: Option<Arc<str>>,
}

impl Tls {
    /// Reads the files that the settings name, or makes a certificate.
    ///
    /// # Errors
    /// [`Error::Config`] naming the setting whose file cannot be used.
    pub fn open(settings: &TlsSettings, metrics: TlsMetrics) -> Result<Self> {
        let clients = settings.clients.clone();
        let source = match &settings.source {
            CertificateSource::Files { certificate, key } => {
                Source::Files { certificate: certificate.clone(), key: key.clone() }
            }
            CertificateSource::SelfSigned => Source::Made(self_signed::identity(Timestamp::now())?),
        };
        let watched = Watched::new(paths(&source, clients.as_ref()));
        let configs = Configs::load(&source, clients.as_ref())?;
        if let Source::Made(identity) = &source {
            let sha256 = hexadecimal(&identity.sha256());
            tracing::warn!(
                sha256,
                "TLS with a certificate that was made just now and that nobody signed: for a try only"
            );
        }
        configs.announce(&metrics, Timestamp::now());
        Ok(Self { source, clients, current: ArcSwap::from_pointee(configs), watched, metrics })
    }

    /// Reads the files again if one is another one now. Files that do not fit each other leave everything as it is.
    pub fn look(&self) {
        let read = || {
            let configs = Configs::load(&self.source, self.clients.as_ref())?;
            configs.announce(&self.metrics, Timestamp::now());
            self.current.store(Arc::new(configs));
            Ok::<(), Error>(())
        };
        if let Some(error) = self.watched.if_changed(read) {
            self.metrics.reload_failures.inc();
            tracing::error!(%error, "the files of TLS cannot be used; the certificate stays as it was");
        }
    }

    /// Looks at the files again and again until `closed` turns true.
    pub async fn keep(self: Arc<Self>, closed: watch::Receiver<bool>) {
        look_repeatedly(self, Self::look, closed).await;
    }

    /// Shakes hands with a client.
    ///
    /// # Errors
    /// The fault of the client, which has been told.
    pub(super) async fn accept(&self, stream: TcpStream, offer: Offer) -> std::io::Result<Secured> {
        let config = self.current.load().of(offer).clone();
        let stream = Box::new(TlsAcceptor::from(config).accept(stream).await?);
        let shown = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
        let principal = shown.and_then(certificate::principal).map(Arc::from);
        Ok(Secured { stream, principal })
    }

    /// Counts a handshake that came to nothing.
    pub(super) fn count_failure(&self) {
        self.metrics.handshake_failures.inc();
    }
}

impl Configs {
    fn load(source: &Source, clients: Option<&ClientCertificates>) -> Result<Self> {
        let identity = match source {
            Source::Files { certificate, key } => files::identity(certificate, key)?,
            Source::Made(identity) => identity.clone(),
        };
        let validity = identity.validity()?;
        let config = server_config(identity, clients.map(Clients::read).transpose()?)?;
        let with = |protocols: &[&[u8]]| {
            let mut config = config.clone();
            config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
            Arc::new(config)
        };
        Ok(Self { http: with(&[b"h2", b"http/1.1"]), grpc: with(&[b"h2"]), validity })
    }

    fn of(&self, offer: Offer) -> &Arc<ServerConfig> {
        match offer {
            Offer::Http => &self.http,
            Offer::Grpc => &self.grpc,
        }
    }

    /// Says what the certificate is worth at a moment.
    fn announce(&self, metrics: &TlsMetrics, now: Timestamp) {
        let Validity { from, until } = self.validity;
        metrics.expiry.set(until.as_second());
        if now > until {
            tracing::error!(%until, "the certificate has expired: clients will refuse it");
        } else if now < from {
            tracing::error!(%from, "the certificate is not valid yet: clients will refuse it");
        } else {
            tracing::info!(%until, "the certificate is in use");
        }
    }
}

/// The authorities that vouch for clients, and the certificates that they no longer vouch for.
struct Clients {
    roots: RootCertStore,
    revoked: Vec<CertificateRevocationListDer<'static>>,
    auth: ClientAuth,
}

impl Clients {
    fn read(settings: &ClientCertificates) -> Result<Self> {
        let revoked = settings.crl.as_deref().map(files::revoked).transpose()?.unwrap_or_default();
        let now = Timestamp::now();
        for next in revoked.iter().filter_map(certificate::next_update).filter(|next| *next < now) {
            tracing::warn!(%next, "a list of revoked certificates is out of date; it is used until another takes its place");
        }
        Ok(Self { roots: files::roots(&settings.ca)?, revoked, auth: settings.auth })
    }

    fn verifier(self, provider: Arc<CryptoProvider>) -> Result<Arc<dyn ClientCertVerifier>> {
        let builder =
            WebPkiClientVerifier::builder_with_provider(Arc::new(self.roots), provider).with_crls(self.revoked);
        let builder = match self.auth {
            ClientAuth::Required => builder,
            ClientAuth::Optional => builder.allow_unauthenticated(),
        };
        builder.build().map_err(|error| match error {
            VerifierBuilderError::InvalidCrl(_) => refuse(files::CLIENT_CRL, error.to_string()),
            other => refuse("tls-client-ca", other.to_string()),
        })
    }
}

fn server_config(identity: Identity, clients: Option<Clients>) -> Result<ServerConfig> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[&TLS13, &TLS12])
        .map_err(|error| Error::internal("TLS could not be set up", error))?;
    let asks_clients = clients.is_some();
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(clients) => builder.with_client_cert_verifier(clients.verifier(provider)?),
    };
    let Identity { chain, key } = identity;
    let mut config = builder.with_single_cert(chain, key).map_err(files::unfit)?;
    if asks_clients {
        // A session that goes on would not look at the client's certificate again.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
    }
    Ok(config)
}

fn paths<'a>(source: &'a Source, clients: Option<&'a ClientCertificates>) -> impl Iterator<Item = &'a Path> {
    let own = match source {
        Source::Files { certificate, key } => vec![certificate, key],
        Source::Made(_) => vec![],
    };
    let theirs = clients.into_iter().flat_map(|clients| [Some(&clients.ca), clients.crl.as_ref()]).flatten();
    own.into_iter().chain(theirs).map(PathBuf::as_path)
}

fn refuse(setting: &str, problem: String) -> Error {
    Error::Config { setting: setting.into(), problem }
}
