//! A small HTTP client for the commands that talk to a running server. It shows the key that the environment
//! variable `WEIR_API_KEY` holds: an argument would be seen by everybody on the machine.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::error::{Error, Result};

/// The variable with the key of the server.
const API_KEY: &str = "WEIR_API_KEY";

/// The largest answer that is read.
const MAX_ANSWER: usize = 64 << 20;

/// Sends one request and returns the status and the body as JSON. `server`: `http://host:port`.
///
/// # Errors
/// [`Error::Config`] when the URL is not plain HTTP, or the server cannot be reached or understood.
pub(super) fn ask(
    server: &str,
    method: &str,
    path: &str,
    body: Option<&serde_json::Value>,
    timeout: Duration,
) -> Result<(u16, serde_json::Value)> {
    let refuse = |problem: String| Error::Config { setting: format!("server {server}"), problem };
    let authority = server.strip_prefix("http://").map(|rest| rest.trim_end_matches('/'));
    let authority = authority.filter(|authority| !authority.is_empty() && !authority.contains('/'));
    let authority = authority.ok_or_else(|| refuse("expected http://host:port".into()))?;
    let address = if authority.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok()) {
        authority.to_owned()
    } else {
        format!("{authority}:80")
    };
    let request = Request::builder().method(method).uri(path).header(header::HOST, authority);
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
        let stream = TcpStream::connect(&address).await.map_err(|error| error.to_string())?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|error| error.to_string())?;
        // It ends with the sender, or with the runtime at the latest.
        tokio::spawn(connection);
        let response = sender.send_request(request).await.map_err(|error| error.to_string())?;
        let status = response.status().as_u16();
        let body = Limited::new(response.into_body(), MAX_ANSWER).collect().await.map_err(|error| error.to_string())?;
        let json = serde_json::from_slice(&body.to_bytes()).map_err(|error| format!("the answer is not JSON: {error}"));
        json.map(|json| (status, json))
    };
    let done = runtime.block_on(async { tokio::time::timeout(timeout, exchange).await });
    match done {
        Ok(answer) => answer.map_err(refuse),
        Err(_) => Err(refuse(format!("no answer within {} s", timeout.as_secs_f64()))),
    }
}
