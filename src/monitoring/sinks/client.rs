//! A small HTTP client: one connection to one address, which is kept; every request within a time and a size.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use crate::config::Endpoint;

/// The time that one request may take, with its connection.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The longest answer; what it says does not matter.
const MAX_ANSWER: usize = 64 << 10;

/// The client of one address.
#[derive(Debug)]
pub(super) struct Client {
    endpoint: Endpoint,
    connection: Option<Connection>,
}

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
    pub(super) fn new(endpoint: Endpoint) -> Self {
        Self { endpoint, connection: None }
    }

    /// Posts a body and returns the status of the answer; in words what went wrong if there is none.
    pub(super) async fn post(
        &mut self,
        headers: &[(HeaderName, HeaderValue)],
        body: Bytes,
    ) -> std::result::Result<u16, String> {
        let exchange = self.exchange(headers, body);
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
        headers: &[(HeaderName, HeaderValue)],
        body: Bytes,
    ) -> std::result::Result<u16, String> {
        let is_usable = match &mut self.connection {
            Some(connection) => connection.sender.ready().await.is_ok(),
            None => false,
        };
        if !is_usable {
            self.connection = Some(self.connect().await?);
        }
        let Some(connection) = &mut self.connection else { return Err("there is no connection".into()) };
        let mut request = Request::post(self.endpoint.path.as_str())
            .header(header::HOST, self.endpoint.authority.as_str())
            .header(header::USER_AGENT, concat!("weir/", env!("CARGO_PKG_VERSION")));
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let request = request.body(Full::new(body)).map_err(|error| error.to_string())?;
        let response = connection.sender.send_request(request).await.map_err(|error| error.to_string())?;
        let status = response.status().as_u16();
        // A connection is used again only after its answer was read.
        if Limited::new(response.into_body(), MAX_ANSWER).collect().await.is_err() {
            self.connection = None;
        }
        Ok(status)
    }

    async fn connect(&self) -> std::result::Result<Connection, String> {
        let tcp = TcpStream::connect(&self.endpoint.address).await.map_err(|error| error.to_string())?;
        let (sender, connection) = handshake(TokioIo::new(tcp)).await.map_err(|error| error.to_string())?;
        // Its error is that of the request.
        let driver = tokio::spawn(async move { drop(connection.await) });
        Ok(Connection { sender, driver })
    }
}
