//! One connection: HTTP/1.1 for the router, HTTP/2 for gRPC, or whichever the client begins with.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::Duration;

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use futures_util::FutureExt;
use http::{HeaderValue, Request, Response, Version, header};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulConnection, Watcher};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::Instant;
use tonic::Status;

use super::activity::{Activity, Quiet, Watch};
use super::grpc::Services;
use super::http::HttpApi;
use super::peer::{Link, Peer};
use super::proxy_protocol::read_source;
use super::stream::Stream;
use super::tls::{Offer, Secured, Tls};
use super::transport::Transport;
use crate::config::{HttpConfig, Network};

/// Header lines in one request; more are answered with 431.
const MAX_HEADERS: usize = 100;

/// Bytes of a request's head; more are answered with 431. A request line of 64 KiB still fits, so
/// that it gets its own answer, 414.
const MAX_HEAD_BYTES: usize = 80 * 1024;

/// Calls under way on one HTTP/2 connection; more wait at the client.
const MAX_STREAMS: u32 = 256;

/// Bytes of a head over HTTP/2.
const MAX_HTTP2_HEAD_BYTES: u32 = 16 * 1024;

/// Bytes that a client may send on one HTTP/2 stream, and on all of a connection, before they are read.
const STREAM_WINDOW_BYTES: u32 = 1 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 2 << 20;

/// A quiet HTTP/2 connection is asked this often whether it is still there, and has that long to answer.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(30);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(20);

/// The time for a TLS handshake, unless that for the head of a request is shorter.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// The time in which a connection that is to end may still begin a request: one that crosses the stop on its way.
const LAST_WORDS: Duration = Duration::from_millis(250);

/// The first bytes of every HTTP/2 connection (RFC 9113).
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Bytes that are read at once to see how a connection begins: a small request is whole with that.
const OPENING_BYTES: usize = 4096;

/// The answer to an HTTP/1.1 client on a port that speaks gRPC only.
const NOT_HTTP: &[u8] = b"HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain\r\ncontent-length: 47\r\nconnection: close\r\n\r\nthis port speaks gRPC; HTTP is on another port\n";

/// The answer to a client that speaks no TLS where there is nothing else.
const NOT_TLS: &[u8] = b"HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain\r\ncontent-length: 47\r\nconnection: close\r\n\r\nthis port speaks TLS; ask for https:// instead\n";

/// The answer to a client of gRPC on a port that speaks HTTP only.
const NO_GRPC: &str = "this port speaks HTTP; gRPC has a port of its own, or this one with --grpc same";

/// The protocols of a port.
#[derive(Debug, Clone)]
pub enum Wire {
    /// HTTP/1.1, and HTTP/2 for clients that begin with it.
    Http(HttpApi),
    /// gRPC over HTTP/2.
    Grpc(Services),
    /// Both.
    Both(HttpApi, Services),
}

impl Wire {
    fn offer(&self) -> Offer {
        match self {
            Self::Http(_) | Self::Both(..) => Offer::Http,
            Self::Grpc(_) => Offer::Grpc,
        }
    }
}

/// Serves connections; cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Connections {
    wire: Wire,
    tls: Option<Arc<Tls>>,
    builders: Arc<Builders>,
    /// The proxies that begin each connection with the PROXY protocol.
    proxies: Arc<[Network]>,
}

#[derive(Debug)]
struct Builders {
    http1: http1::Builder,
    http2: http2::Builder<TokioExecutor>,
    quiet: Quiet,
    /// The age at which a connection ends in order.
    age: Option<Duration>,
    /// A proxy was told of that does not speak the PROXY protocol.
    has_warned: AtomicBool,
}

type Ended = Result<(), Box<dyn std::error::Error + Send + Sync>>;

impl Connections {
    pub(super) fn new(wire: Wire, tls: Option<Arc<Tls>>, config: &HttpConfig, is_behind_proxies: bool) -> Self {
        let quiet = Quiet { head: config.header_timeout, idle: config.idle_timeout };
        let mut http1 = http1::Builder::new();
        // A connection is watched instead.
        http1.header_read_timeout(None).max_headers(MAX_HEADERS).max_buf_size(MAX_HEAD_BYTES);
        let mut http2 = http2::Builder::new(TokioExecutor::new());
        http2
            .timer(TokioTimer::new())
            .max_concurrent_streams(MAX_STREAMS)
            .max_header_list_size(MAX_HTTP2_HEAD_BYTES)
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .keep_alive_interval(KEEP_ALIVE_INTERVAL)
            .keep_alive_timeout(KEEP_ALIVE_TIMEOUT);
        let builders = Arc::new(Builders {
            http1,
            http2,
            quiet,
            age: config.max_connection_age,
            has_warned: AtomicBool::new(false),
        });
        let proxies = if config.proxy_protocol && is_behind_proxies { config.trusted_proxies.as_slice() } else { &[] };
        Self { wire, tls, builders, proxies: proxies.into() }
    }

    /// Serves one connection until it ends, or until all are to end and its last request is answered.
    ///
    /// # Errors
    /// Whatever ends it early.
    pub(super) async fn serve(
        self,
        mut stream: TcpStream,
        address: SocketAddr,
        watcher: Watcher,
        mut stop: watch::Receiver<bool>,
    ) -> Ended {
        let peer = tokio::select! {
            peer = self.peer(&mut stream, address) => peer?,
            () = silence(&mut stop) => return Ok(()),
        };
        let (mut stream, link) = match &self.tls {
            None => (Transport::Plain(stream), Link::plain(peer)),
            Some(tls) => match self.secure(tls, stream, &mut stop).await? {
                Some(Secured { stream, principal }) => {
                    (Transport::Tls(stream), Link { peer, is_secured: true, principal })
                }
                None => return Ok(()),
            },
        };
        let (accepted, quiet) = (Instant::now(), self.builders.quiet);
        let old = self.builders.age.map(|age| accepted + spread(age));
        let opening = tokio::select! {
            opening = tokio::time::timeout(quiet.head, read_opening(&mut stream)) => opening??,
            () = silence(&mut stop) => return Ok(()),
        };
        let is_http2 = opening.starts_with(PREFACE);
        if !is_http2 && matches!(self.wire, Wire::Grpc(_)) {
            if opening.first().is_some_and(u8::is_ascii_uppercase) {
                tokio::time::timeout(quiet.head, refuse(stream, NOT_HTTP)).await??;
            }
            return Ok(());
        }
        let activity = Activity::new();
        let stream = TokioIo::new(Stream::new(opening, stream, activity.clone()));
        match (is_http2, self.wire) {
            (false, Wire::Http(api) | Wire::Both(api, _)) => {
                let watch = Watch::new(activity.clone(), quiet, accepted);
                let service = service_fn(move |request| answer_in_turn(&api, link.clone(), &activity, old, request));
                until_quiet(self.builders.http1.serve_connection(stream, service), watch, watcher, stop).await?;
            }
            (_, Wire::Http(api)) => {
                let service = service_fn(move |request| over_http2(api.clone(), None, link.clone(), request));
                until_old(self.builders.http2.serve_connection(stream, service), watcher, old, stop).await?;
            }
            (_, Wire::Both(api, services)) => {
                let service =
                    service_fn(move |request| over_http2(api.clone(), Some(services.clone()), link.clone(), request));
                until_old(self.builders.http2.serve_connection(stream, service), watcher, old, stop).await?;
            }
            (_, Wire::Grpc(services)) => {
                let service = service_fn(move |request| call(services.clone(), link.clone(), request));
                until_old(self.builders.http2.serve_connection(stream, service), watcher, old, stop).await?;
            }
        }
        Ok(())
    }

    /// Returns the other end of a connection; of one that a trusted proxy passes on, the client that it names.
    async fn peer(&self, stream: &mut TcpStream, address: SocketAddr) -> io::Result<Peer> {
        let peer = Peer::new(address);
        if !self.proxies.iter().any(|network| network.contains(peer.ip())) {
            return Ok(peer);
        }
        let source = tokio::time::timeout(self.builders.quiet.head, read_source(stream)).await?;
        let source = source.inspect_err(|error| self.warn_of_proxy(address, error))?;
        // Without an address it is the proxy's, and all the same none of this machine: nobody knows who has caused it.
        Ok(Peer::told(source.unwrap_or(address)))
    }

    /// Tells of the first proxy that does not speak the protocol that is expected of it; a setting is likely wrong.
    fn warn_of_proxy(&self, proxy: SocketAddr, error: &io::Error) {
        // Whoever connects and leaves only looks whether the port is open.
        if error.kind() == io::ErrorKind::InvalidData && !self.builders.has_warned.swap(true, Ordering::Relaxed) {
            tracing::warn!(%proxy, %error, "a trusted proxy was not served; later ones are told of at level debug");
        }
    }

    /// Shakes hands with a client within a time limit. `None` for one that left before, or if all connections are to end.
    async fn secure(
        &self,
        tls: &Tls,
        stream: TcpStream,
        stop: &mut watch::Receiver<bool>,
    ) -> io::Result<Option<Secured>> {
        let limit = HANDSHAKE_TIMEOUT.min(self.builders.quiet.head);
        // In a box, so that connections without TLS have no room for it.
        let secured = Box::pin(tokio::time::timeout(limit, secure(tls, stream, self.wire.offer())));
        let secured = tokio::select! {
            secured = secured => secured.map_err(io::Error::from).flatten(),
            () = silence(stop) => return Ok(None),
        };
        secured.inspect_err(|_| tls.count_failure())
    }
}

/// Resolves some time after all connections are to end: what was sent before is on its way until then.
async fn silence(stop: &mut watch::Receiver<bool>) {
    // A server that is gone ends its connections too.
    drop(stop.wait_for(|stop| *stop).await);
    tokio::time::sleep(LAST_WORDS).await;
}

/// Runs a connection of HTTP/1.1 until it ends or was quiet for too long. When all are to end, its next answer is its last
/// one; one that is asked nothing more ends a moment later. A shutdown waits for whoever holds a watcher.
async fn until_quiet<C: GracefulConnection>(
    connection: C,
    mut watch: Watch,
    held: Watcher,
    mut stop: watch::Receiver<bool>,
) -> Result<(), C::Error> {
    let mut connection = pin!(connection);
    let mut silence = pin!(silence(&mut stop).fuse());
    let mut is_silent = false;
    let ended = std::future::poll_fn(|context| {
        if !is_silent && silence.as_mut().poll(context).is_ready() {
            is_silent = true;
            connection.as_mut().graceful_shutdown();
        }
        match connection.as_mut().poll(context) {
            Poll::Pending => watch.poll(context).map(Ok),
            ended => ended,
        }
    })
    .await;
    drop(held);
    ended
}

/// Runs a connection of HTTP/2 until it ends. Once it is old, or all are to end, it takes no more calls and finishes those
/// under way. A shutdown waits for whoever holds a watcher.
async fn until_old<C: GracefulConnection>(
    connection: C,
    held: Watcher,
    old: Option<Instant>,
    mut stop: watch::Receiver<bool>,
) -> Result<(), C::Error> {
    let mut connection = pin!(connection);
    let aged = async {
        match old {
            Some(old) => tokio::time::sleep_until(old).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        ended = &mut connection => return ended,
        () = aged => {}
        _ = stop.wait_for(|stop| *stop) => {}
    }
    connection.as_mut().graceful_shutdown();
    let ended = connection.await;
    drop(held);
    ended
}

/// Returns an age that is up to a tenth more or less: connections that were made together do not end together.
fn spread(age: Duration) -> Duration {
    age.mul_f64(rand::random_range(0.9..=1.1))
}

/// Answers a request of HTTP/1.1, during which its connection is not quiet. Once the connection is old, and from SIGTERM
/// on, the answer is its last one and says so.
fn answer_in_turn(
    api: &HttpApi,
    link: Link,
    activity: &Arc<Activity>,
    old: Option<Instant>,
    request: Request<Incoming>,
) -> impl Future<Output = Result<Response<Body>, Infallible>> + use<> {
    let (turn, api) = (activity.turn(), api.clone());
    async move {
        let mut answer = api.clone().answer(request.map(Body::new), Some(link)).await;
        if api.is_draining() || old.is_some_and(|old| Instant::now() >= old) {
            // The client's next request goes over a new connection, which a balancer may give to another server.
            answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        drop(turn);
        Ok(answer)
    }
}

async fn answer(api: HttpApi, link: Link, request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
    Ok(api.answer(request.map(Body::new), Some(link)).await)
}

async fn call(
    services: Services,
    link: Link,
    request: Request<Incoming>,
) -> Result<Response<tonic::body::Body>, Infallible> {
    Ok(services.answer(request, Some(link)).await)
}

/// Over HTTP/2 the content type says whether gRPC is meant.
async fn over_http2(
    api: HttpApi,
    services: Option<Services>,
    link: Link,
    mut request: Request<Incoming>,
) -> Result<Response<Body>, Infallible> {
    if is_grpc(&request) {
        return match services {
            Some(services) => call(services, link, request).await.map(|response| response.map(Body::new)),
            None => Ok(Status::unimplemented(NO_GRPC).into_http()),
        };
    }
    // HTTP/2 has the authority in the place of a Host header, which the guard of the admin API reads.
    if let (Version::HTTP_2, Some(authority)) = (request.version(), request.uri().authority())
        && let Ok(host) = authority.as_str().parse()
    {
        request.headers_mut().entry(header::HOST).or_insert(host);
    }
    answer(api, link, request).await
}

fn is_grpc<B>(request: &Request<B>) -> bool {
    let content_type = request.headers().get(header::CONTENT_TYPE);
    content_type.is_some_and(|content_type| content_type.as_bytes().starts_with(b"application/grpc"))
}

/// Returns the first bytes of a connection, enough to tell whether they are those of HTTP/2.
async fn read_opening(stream: &mut Transport) -> io::Result<Bytes> {
    let mut opening = BytesMut::with_capacity(OPENING_BYTES);
    while opening.len() < PREFACE.len() && PREFACE.starts_with(&opening) {
        if stream.read_buf(&mut opening).await? == 0 {
            break;
        }
    }
    Ok(opening.freeze())
}

/// Shakes hands with a client, and tells one that begins with HTTP to speak TLS. `None` for one that left before.
async fn secure(tls: &Tls, mut stream: TcpStream, offer: Offer) -> io::Result<Option<Secured>> {
    let mut first = [0];
    if stream.peek(&mut first).await? == 0 {
        return Ok(None);
    }
    if first[0].is_ascii_uppercase() {
        refuse(&mut stream, NOT_TLS).await?;
        return Err(io::Error::new(io::ErrorKind::InvalidData, "the client speaks no TLS"));
    }
    tls.accept(stream, offer).await.map(Some)
}

/// Tells an HTTP/1.1 client that this port speaks something else. Its request is read to the end: a connection that is
/// closed over unread bytes takes the answer with it.
async fn refuse(mut stream: impl AsyncRead + AsyncWrite + Unpin, answer: &[u8]) -> io::Result<()> {
    stream.write_all(answer).await?;
    stream.shutdown().await?;
    tokio::io::copy(&mut stream.take(MAX_HEAD_BYTES as u64), &mut tokio::io::sink()).await?;
    Ok(())
}
