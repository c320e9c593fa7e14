//! A small HTTP client, for what this server sends elsewhere and fetches: one connection to one address, which is kept;
//! every request within a time and a size.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Request, header};
use http_body_util::{BodyExt, Collected, Full, Limited};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;

use crate::config::Endpoint;
use crate::trust::Trust;

/// The time that one request may take, with its connection.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The longest answer that is read.
const MAX_ANSWER: usize = 64 << 10;

/// An address, and the authorities that vouch for it.
#[derive(Debug, Clone)]
pub(crate) struct Destination {
    pub(crate) endpoint: Endpoint,
    /// Needed behind `https`.
    pub(crate) trust: Option<Trust>,
}

/// The client of one address. It follows no redirects: the address is the operator's choice, not the receiver's.
#[derive(Debug)]
pub(crate) struct Client {
    destination: Destination,
    connection: Option<Connection>,
}

/// The status of an answer, and its body as far as it could be read.
type Answer = (u16, std::result::Result<Bytes, String>);

#[derive(Debug)]
struct Connection {
    sender: SendRequest<Full<Bytes>>,
    driver: JoinHandle<()>,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Client {
    pub(crate) fn new(destination: Destination) -> Self {
        Self { destination, connection: None }
    }

    /// Posts a body and returns the status of the answer; in words what went wrong if there is none.
    pub(crate) async fn post(
        &mut self,
        headers: &[(HeaderName, HeaderValue)],
        body: Bytes,
    ) -> std::result::Result<u16, String> {
        self.within_time(Method::POST, headers, body).await.map(|(status, _)| status)
    }

    /// Gets the address and returns the status and the body of the answer; in words what went wrong if there is none.
    pub(crate) async fn get(&mut self) -> std::result::Result<(u16, Bytes), String> {
        let (status, body) = self.within_time(Method::GET, &[], Bytes::new()).await?;
        body.map(|body| (status, body))
    }

    async fn within_time(
        &mut self,
        method: Method,
        headers: &[(HeaderName, HeaderValue)],
        body: Bytes,
    ) -> std::result::Result<Answer, String> {
        let exchange = self.exchange(method, headers, body);
        let done = match tokio::time::timeout(TIMEOUT, exchange).await {
            Ok(done) => done,
            Err(_) => Err(format!("no answer within {} s", TIMEOUT.as_secs())),
        };
        if done.is_err() {
            self.connection = None;
        }
        done
    }

    async fn exchange(
        &mut self,
        method: Method,
        headers: &[(HeaderName, HeaderValue)],
        body: Bytes,
    ) -> std::result::Result<Answer, String> {
        let is_usable = match &mut self.connection {
            Some(connection) => connection.sender.ready().await.is_ok(),
            None => false,
        };
        if !is_usable {
            self.connection = Some(self.connect().await?);
        }
        let Some(connection) = &mut self.connection else { return Err("there is no connection".into()) };
        let endpoint = &self.destination.endpoint;
        let mut request = Request::builder()
            .method(method)
            .uri(endpoint.path.as_str())
            .header(header::HOST, endpoint.authority.as_str())
            .header(header::USER_AGENT, concat!("weir/", env!("CARGO_PKG_VERSION")));
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let request = request.body(Full::new(body)).map_err(|error| error.to_string())?;
        let response = connection.sender.send_request(request).await.map_err(|error| error.to_string())?;
        let status = response.status().as_u16();
        // A connection is used again only after its answer was read.
        let body = Limited::new(response.into_body(), MAX_ANSWER).collect().await;
        if body.is_err() {
            self.connection = None;
        }
        Ok((status, body.map(Collected::to_bytes).map_err(|error| format!("the answer could not be read: {error}"))))
    }

    async fn connect(&self) -> std::result::Result<Connection, String> {
        let Destination { endpoint, trust } = &self.destination;
        let tcp = TcpStream::connect(&endpoint.address).await.map_err(|error| error.to_string())?;
        let Some(name) = &endpoint.secured else { return open(tcp).await };
        // Without authorities nobody is trusted.
        let trust = trust.as_ref().ok_or("no authority vouches for the receiver")?;
        let name = ServerName::try_from(name.clone()).map_err(|error| error.to_string())?;
        let tls = TlsConnector::from(trust.config()).connect(name, tcp).await;
        open(tls.map_err(|error| format!("TLS: {error}"))?).await
    }
}

/// Begins to speak HTTP over a stream.
async fn open<S>(stream: S) -> std::result::Result<Connection, String>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (sender, connection) = handshake(TokioIo::new(stream)).await.map_err(|error| error.to_string())?;
    // Its error is that of the request.
    let driver = tokio::spawn(async move { drop(connection.await) });
    Ok(Connection { sender, driver })
}
