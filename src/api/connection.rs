//! One connection: HTTP/1.1 for the router, HTTP/2 for gRPC, or whichever the client begins with.

use std::convert::Infallible;
use std::io::{self, Cursor};
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use http::{Request, Response, Version, header};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::graceful::Watcher;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;

use super::grpc::Services;
use super::http::HttpApi;
use super::peer::Peer;
use crate::config::HttpConfig;

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

/// The first bytes of every HTTP/2 connection (RFC 9113).
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The answer to an HTTP/1.1 client on a port that speaks gRPC only.
const NOT_HTTP: &[u8] = b"HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain\r\ncontent-length: 47\r\nconnection: close\r\n\r\nthis port speaks gRPC; HTTP is on another port\n";

/// The protocols of a port.
#[derive(Debug, Clone)]
pub enum Wire {
    /// HTTP/1.1.
    Http(HttpApi),
    /// gRPC over HTTP/2 without TLS.
    Grpc(Services),
    /// Both, and HTTP over HTTP/2 as well.
    Both(HttpApi, Services),
}

/// Serves connections; cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Connections {
    wire: Wire,
    builders: Arc<Builders>,
}

#[derive(Debug)]
struct Builders {
    http1: http1::Builder,
    http2: http2::Builder<TokioExecutor>,
    opening: Duration,
}

impl Connections {
    pub(super) fn new(wire: Wire, config: &HttpConfig) -> Self {
        let mut http1 = http1::Builder::new();
        http1
            .timer(TokioTimer::new())
            .header_read_timeout(config.header_timeout)
            .max_headers(MAX_HEADERS)
            .max_buf_size(MAX_HEAD_BYTES);
        let mut http2 = http2::Builder::new(TokioExecutor::new());
        http2
            .timer(TokioTimer::new())
            .max_concurrent_streams(MAX_STREAMS)
            .max_header_list_size(MAX_HTTP2_HEAD_BYTES)
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .keep_alive_interval(KEEP_ALIVE_INTERVAL)
            .keep_alive_timeout(KEEP_ALIVE_TIMEOUT);
        Self { wire, builders: Arc::new(Builders { http1, http2, opening: config.header_timeout }) }
    }

    /// Serves one connection until it ends, or until all are to end and its last request is answered.
    ///
    /// # Errors
    /// Whatever ends it early.
    pub(super) async fn serve(
        self,
        mut stream: TcpStream,
        peer: Peer,
        watcher: Watcher,
        mut stop: watch::Receiver<bool>,
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        if let Wire::Http(api) = &self.wire {
            let connection = self.builders.http1.serve_connection(TokioIo::new(stream), http1_service(api, peer));
            return Ok(watcher.watch(connection).await?);
        }
        let opening = tokio::select! {
            opening = tokio::time::timeout(self.builders.opening, read_opening(&mut stream)) => opening??,
            _ = stop.wait_for(|stop| *stop) => return Ok(()),
        };
        let is_http2 = opening == PREFACE;
        if !is_http2 && matches!(self.wire, Wire::Grpc(_)) {
            if opening.first().is_some_and(u8::is_ascii_uppercase) {
                tokio::time::timeout(self.builders.opening, refuse_http1(stream)).await??;
            }
            return Ok(());
        }
        let stream = TokioIo::new(unread(opening, stream));
        match (is_http2, self.wire) {
            (false, Wire::Both(api, _)) => {
                watcher.watch(self.builders.http1.serve_connection(stream, http1_service(&api, peer))).await?;
            }
            (_, Wire::Both(api, services)) => {
                let service = service_fn(move |request| either(api.clone(), services.clone(), peer, request));
                watcher.watch(self.builders.http2.serve_connection(stream, service)).await?;
            }
            (_, Wire::Grpc(services)) => {
                let service = service_fn(move |request| call(services.clone(), peer, request));
                watcher.watch(self.builders.http2.serve_connection(stream, service)).await?;
            }
            (_, Wire::Http(_)) => {}
        }
        Ok(())
    }
}

/// HTTP/1.1 for one connection.
fn http1_service(
    api: &HttpApi,
    peer: Peer,
) -> impl hyper::service::Service<Request<Incoming>, Response = Response<Body>, Error = Infallible, Future: Send> + use<>
{
    let api = api.clone();
    service_fn(move |request| answer(api.clone(), peer, request))
}

async fn answer(api: HttpApi, peer: Peer, request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
    Ok(api.answer(request.map(Body::new), Some(peer)).await)
}

async fn call(
    services: Services,
    peer: Peer,
    request: Request<Incoming>,
) -> Result<Response<tonic::body::Body>, Infallible> {
    Ok(services.answer(request, Some(peer)).await)
}

/// Over HTTP/2 the content type says which of the two is meant.
async fn either(
    api: HttpApi,
    services: Services,
    peer: Peer,
    mut request: Request<Incoming>,
) -> Result<Response<Body>, Infallible> {
    if is_grpc(&request) {
        return call(services, peer, request).await.map(|response| response.map(Body::new));
    }
    // HTTP/2 has the authority in the place of a Host header, which the guard of the admin API reads.
    if let (Version::HTTP_2, Some(authority)) = (request.version(), request.uri().authority())
        && let Ok(host) = authority.as_str().parse()
    {
        request.headers_mut().entry(header::HOST).or_insert(host);
    }
    answer(api, peer, request).await
}

fn is_grpc<B>(request: &Request<B>) -> bool {
    let content_type = request.headers().get(header::CONTENT_TYPE);
    content_type.is_some_and(|content_type| content_type.as_bytes().starts_with(b"application/grpc"))
}

/// The first bytes of a connection, as far as they are those of HTTP/2.
async fn read_opening(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut opening = [0; PREFACE.len()];
    let mut length = 0;
    while length < opening.len() && opening[..length] == PREFACE[..length] {
        match stream.read(&mut opening[length..]).await? {
            0 => break,
            read => length += read,
        }
    }
    Ok(opening[..length].to_vec())
}

/// Tells an HTTP/1.1 client that this port speaks gRPC. Its request is read to the end: a connection that is
/// closed over unread bytes takes the answer with it.
async fn refuse_http1(mut stream: TcpStream) -> io::Result<()> {
    stream.write_all(NOT_HTTP).await?;
    stream.shutdown().await?;
    tokio::io::copy(&mut stream.take(MAX_HEAD_BYTES as u64), &mut tokio::io::sink()).await?;
    Ok(())
}

/// A stream whose first bytes are read once more.
fn unread(opening: Vec<u8>, stream: TcpStream) -> impl AsyncRead + AsyncWrite + Unpin + Send {
    let (read, write) = stream.into_split();
    tokio::io::join(Cursor::new(opening).chain(read), write)
}
