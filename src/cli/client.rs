//! A small HTTP client for the commands that talk to a running server. It shows the key that the environment
//! variable `WEIR_API_KEY` holds: an argument would be seen by everybody on the machine. Over `https://` it trusts the
//! authorities in the file that `SSL_CERT_FILE` names.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::trust;
use crate::error::{Error, Result};

/// The variable with the key of the server.
const API_KEY: &str = "WEIR_API_KEY";

/// The largest answer that is read.
const MAX_ANSWER: usize = 64 << 20;

/// A server, as an argument names it: `http://host:port` or `https://host:port`.
#[derive(Debug, PartialEq, Eq)]
struct Place<'a> {
    authority: &'a str,
    host: &'a str,
    port: u16,
    is_secured: bool,
}

impl<'a> Place<'a> {
    fn parse(server: &'a str) -> Option<Self> {
        let (scheme, rest) = server.split_once("://")?;
        let is_secured = match scheme {
            "http" => false,
            "https" => true,
            _ => return None,
        };
        let authority = rest.trim_end_matches('/');
        let named = authority.rsplit_once(':').and_then(|(host, port)| Some((host, port.parse().ok()?)));
        let (host, port) = named.unwrap_or((authority, if is_secured { 443 } else { 80 }));
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        (!host.is_empty() && !authority.contains('/')).then_some(Self { authority, host, port, is_secured })
    }
}

/// Sends one request and returns the status and the body as JSON. `server`: `http://host:port` or `https://host:port`.
///
/// # Errors
/// [`Error::Config`] when the URL is no such, or the server cannot be reached, trusted or understood.
pub(super) fn ask(
    server: &str,
    method: &str,
    path: &str,
    body: Option<&serde_json::Value>,
    timeout: Duration,
) -> Result<(u16, serde_json::Value)> {
    let refuse = |problem: String| Error::Config { setting: format!("server {server}"), problem };
    let place = Place::parse(server).ok_or_else(|| refuse("expected http://host:port or https://host:port".into()))?;
    let authorities = place.is_secured.then(trust::named_authorities).transpose()?;
    let request = Request::builder().method(method).uri(path).header(header::HOST, place.authority);
    let request = request.header(header::CONTENT_TYPE, "application/json");
    let request = match std::env::var(API_KEY) {
        Ok(key) => request.header(header::AUTHORIZATION, format!("Bearer {key}")),
        Err(_) => request,
    };
    let bytes = body.map_or_else(Bytes::new, |body| body.to_string().into());
    let request = request.body(Full::new(bytes)).map_err(|error| refuse(error.to_string()))?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Error::internal("the runtime could not be started", error))?;
    let exchange = async {
        let stream = TcpStream::connect((place.host, place.port)).await.map_err(|error| error.to_string())?;
        match authorities {
            None => send(stream, request).await,
            Some(authorities) => {
                let host = ServerName::try_from(place.host.to_owned()).map_err(|error| error.to_string())?;
                let stream = TlsConnector::from(Arc::new(authorities)).connect(host, stream).await;
                send(stream.map_err(|error| error.to_string())?, request).await
            }
        }
    };
    let done = runtime.block_on(async { tokio::time::timeout(timeout, exchange).await });
    match done {
        Ok(answer) => answer.map_err(refuse),
        Err(_) => Err(refuse(format!("no answer within {} s", timeout.as_secs_f64()))),
    }
}

/// Sends a request over a connection, and reads the answer.
async fn send<S>(stream: S, request: Request<Full<Bytes>>) -> std::result::Result<(u16, serde_json::Value), String>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(|error| error.to_string())?;
    // It ends with the sender, or with the runtime at the latest.
    tokio::spawn(connection);
    let response = sender.send_request(request).await.map_err(|error| error.to_string())?;
    let status = response.status().as_u16();
    let body = Limited::new(response.into_body(), MAX_ANSWER).collect().await.map_err(|error| error.to_string())?;
    let json = serde_json::from_slice(&body.to_bytes()).map_err(|error| format!("the answer is not JSON: {error}"));
    json.map(|json| (status, json))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_a_scheme_a_host_and_perhaps_a_port() {
        let place = |text: &'static str| {
            Place::parse(text).map(|place| (place.authority, place.host, place.port, place.is_secured))
        };
        assert_eq!(place("http://localhost:8080/"), Some(("localhost:8080", "localhost", 8080, false)));
        assert_eq!(place("http://h"), Some(("h", "h", 80, false)));
        assert_eq!(place("https://h.example"), Some(("h.example", "h.example", 443, true)));
        assert_eq!(place("https://[::1]:8443"), Some(("[::1]:8443", "::1", 8443, true)));
        for wrong in ["localhost:8080", "ftp://h", "http://", "http://:80", "https://h/path", ""] {
            assert_eq!(place(wrong), None, "{wrong}");
        }
    }
}
