//! A small HTTP client for the commands that talk to a running server. It shows the key that the environment
//! variable `WEIR_API_KEY` holds: an argument would be seen by everybody on the machine. Over `https://` it trusts the
//! authorities in the file that `SSL_CERT_FILE` names.

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
    let body = body.map_or_else(Bytes::new, |body| body.to_string().into());
    let (status, bytes) =
        send(server, path, Sent { method, content_type: "application/json", accept: None, body }, timeout)?;
    let unread = |error| Error::Config {
        setting: format!("server {server}"),
        problem: format!("the answer is not JSON: {error}"),
    };
    serde_json::from_slice(&bytes).map(|json| (status, json)).map_err(unread)
}

/// Asks for something and returns the status and the body.
///
/// # Errors
/// As [`ask`].
pub(super) fn fetch(server: &str, path: &str, timeout: Duration) -> Result<(u16, Bytes)> {
    let sent = Sent { method: "GET", content_type: "application/json", accept: None, body: Bytes::new() };
    send(server, path, sent, timeout)
}

/// Returns the error for an answer that is no success, with the reason that the server gave.
pub(super) fn refused(status: u16, answer: &serde_json::Value) -> Error {
    let detail = answer["detail"].as_str().unwrap_or("the answer says no more");
    Error::Conflict(format!("the server answered {status}: {detail}"))
}

/// Returns a text as the value of a query.
pub(super) fn encoded(text: &str) -> String {
    let one = |byte: u8| match byte {
        b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' | b'-' | b'.' | b':' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(one).collect()
}

/// A request, besides its path.
#[derive(Debug)]
pub(super) struct Sent<'a> {
    pub(super) method: &'a str,
    pub(super) content_type: &'static str,
    /// The form of the answer; without it the server chooses.
    pub(super) accept: Option<&'static str>,
    pub(super) body: Bytes,
}

/// Sends one request and returns the status and the body.
///
/// # Errors
/// Those of [`ask`].
pub(super) fn send(server: &str, path: &str, sent: Sent<'_>, timeout: Duration) -> Result<(u16, Bytes)> {
    let refuse = |problem: String| Error::Config { setting: format!("server {server}"), problem };
    let place = Place::parse(server).ok_or_else(|| refuse("expected http://host:port or https://host:port".into()))?;
    let authorities = place.is_secured.then(trust::named_authorities).transpose()?;
    let request = Request::builder().method(sent.method).uri(path).header(header::HOST, place.authority);
    let request = request.header(header::CONTENT_TYPE, sent.content_type);
    let request = match sent.accept {
        Some(form) => request.header(header::ACCEPT, form),
        None => request,
    };
    let request = match std::env::var(API_KEY) {
        Ok(key) => request.header(header::AUTHORIZATION, format!("Bearer {key}")),
        Err(_) => request,
    };
    let request = request.body(Full::new(sent.body)).map_err(|error| refuse(error.to_string()))?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Error::internal("the runtime could not be started", error))?;
    let exchange = async {
        let stream = TcpStream::connect((place.host, place.port)).await.map_err(|error| error.to_string())?;
        match authorities {
            None => answer(stream, request).await,
            Some(authorities) => {
                let host = ServerName::try_from(place.host.to_owned()).map_err(|error| error.to_string())?;
                let stream = TlsConnector::from(authorities).connect(host, stream).await;
                answer(stream.map_err(|error| error.to_string())?, request).await
            }
        }
    };
    let done = runtime.block_on(async { tokio::time::timeout(timeout, exchange).await });
    match done {
        Ok(answered) => answered.map_err(refuse),
        Err(_) => Err(refuse(format!("no answer within {} s", timeout.as_secs_f64()))),
    }
}

/// Sends a request over a connection, and reads the answer.
async fn answer<S>(stream: S, request: Request<Full<Bytes>>) -> std::result::Result<(u16, Bytes), String>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(|error| error.to_string())?;
    // It ends with the sender, or with the runtime at the latest.
    tokio::spawn(connection);
    let response = sender.send_request(request).await.map_err(|error| error.to_string())?;
    let status = response.status().as_u16();
    let body = Limited::new(response.into_body(), MAX_ANSWER).collect().await.map_err(|error| error.to_string())?;
    Ok((status, body.to_bytes()))
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
