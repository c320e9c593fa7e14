//! The accept loop. Unlike `axum::serve` it has a timer, so that a client cannot take for ever over
//! the head of a request, a cap on connections, and a deadline for the drain.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use futures_util::FutureExt;
use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use prometheus::Gauge;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tower::ServiceExt;

use super::connection::{Connections, Wire};
use super::tls::Tls;
use crate::config::HttpConfig;
use crate::metrics::GaugeGuard;

/// The pause after accepting failed, as it does when file descriptors run out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// The most connections that are accepted after accepting was to end: as many as the system's backlog may hold.
const LAST_ACCEPTED: usize = 4096;

/// The outcome of a shutdown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shutdown {
    /// Every accepted request was answered.
    Clean,
    /// The drain deadline passed with requests still under way.
    Forced,
}

/// A port of a server.
#[derive(Debug)]
pub struct Port {
    /// The source of connections.
    pub listener: TcpListener,
    /// The protocols that are spoken.
    pub wire: Wire,
    /// The TLS around them; `None` for plain connections.
    pub tls: Option<Arc<Tls>>,
    /// The most connections at the same time; more wait in the system's backlog.
    pub max_connections: usize,
    /// Set if trusted proxies may begin connections with the PROXY protocol, as the settings say.
    pub is_behind_proxies: bool,
    /// The number of open connections.
    pub open: Gauge,
}

/// Accepts connections until `stop` turns true, and those that the system has let in by then; lets those under way finish,
/// at the longest for the drain time.
pub async fn serve(port: Port, config: &HttpConfig, mut stop: watch::Receiver<bool>) -> Shutdown {
    let Port { listener, wire, tls, max_connections, is_behind_proxies, open } = port;
    let permits = Arc::new(Semaphore::new(max_connections));
    let graceful = GracefulShutdown::new();
    let connections = Connections::new(wire, tls, config, is_behind_proxies);
    let mut last = None;
    loop {
        let accepted = match &mut last {
            None => tokio::select! {
                accepted = accept(&listener, &permits) => accepted,
                _ = stop.wait_for(|stop| *stop) => {
                    last = Some(LAST_ACCEPTED);
                    continue;
                }
            },
            // Whoever the system has let in already may have sent a request.
            Some(0) => break,
            Some(left) => {
                *left -= 1;
                match accept(&listener, &permits).now_or_never() {
                    Some(accepted) => accepted,
                    None => break,
                }
            }
        };
        let (stream, peer, permit) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(error = %error, "cannot accept a connection");
                if last.is_none() {
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
                continue;
            }
        };
        // Small answers must not wait for more to send; a socket that refuses is about to fail anyway.
        drop(stream.set_nodelay(true));
        let connection = connections.clone().serve(stream, peer, graceful.watcher(), stop.clone());
        let open = GaugeGuard::hold(&open);
        tokio::spawn(async move {
            // What goes wrong with one connection is its client's doing and has been answered.
            if let Err(error) = connection.await {
                tracing::debug!(error = %error, "connection ended early");
            }
            drop((open, permit));
        });
    }
    drop(listener);
    let under_way = graceful.count();
    tracing::info!(connections = under_way, "draining");
    match tokio::time::timeout(config.drain, graceful.shutdown()).await {
        Ok(()) => Shutdown::Clean,
        Err(_) => Shutdown::Forced,
    }
}

/// The next connection, as soon as there is room for one.
async fn accept(
    listener: &TcpListener,
    permits: &Arc<Semaphore>,
) -> io::Result<(TcpStream, SocketAddr, tokio::sync::OwnedSemaphorePermit)> {
    let permit = permits.clone().acquire_owned().await.map_err(io::Error::other)?;
    let (stream, peer) = listener.accept().await?;
    Ok((stream, peer, permit))
}

/// Serves a router on every connection, without limits of its own, until the task is dropped: for
/// the metrics page of a training run.
pub async fn serve_page(listener: TcpListener, router: Router) {
    while let Ok((stream, _)) = listener.accept().await {
        let router = router.clone();
        let service = service_fn(move |request: Request<Incoming>| router.clone().oneshot(request.map(Body::new)));
        tokio::spawn(async move {
            let served =
                http1::Builder::new().timer(TokioTimer::new()).serve_connection(TokioIo::new(stream), service).await;
            if let Err(error) = served {
                tracing::debug!(error = %error, "connection ended early");
            }
        });
    }
}
