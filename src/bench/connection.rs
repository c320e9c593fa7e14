//! One keep-alive connection: a request in, an outcome out, within a time limit.
//!
//! The connection's own work (hyper's dispatcher) is polled by the task that waits for the answer,
//! so a request costs no switch between tasks.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::Sleep;

/// The reason that a request has no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Failure {
    /// No connection could be made.
    Connect,
    /// No whole answer came in time.
    Timeout,
    /// The server closed the connection before the answer was complete.
    Reset,
    /// The bytes that arrived are not HTTP.
    Protocol,
}

/// The end of a request.
#[derive(Debug)]
pub(super) enum Outcome {
    /// With an answer, read to its end.
    Answer {
        status: u16,
        /// Bytes of the body.
        received: u64,
        /// The beginning of the body, unless the status is 2xx.
        excerpt: Option<Bytes>,
    },
    /// Without.
    Failed(Failure, String),
}

type Body = Full<Bytes>;
type Driver = http1::Connection<TokioIo<TcpStream>, Body>;

/// A connection that opens itself when it is needed.
pub(super) struct Connection {
    address: SocketAddr,
    timeout: Duration,
    link: Option<Link>,
    /// Wakes at or before the time limit of the request under way. It is set anew only when it has
    /// gone off, not for each request.
    alarm: Pin<Box<Sleep>>,
    /// Connections opened so far.
    opened: u64,
}

struct Link {
    sender: http1::SendRequest<Body>,
    /// Gone once the connection is closed.
    driver: Option<Pin<Box<Driver>>>,
}

/// Why an exchange on a link did not give an answer.
enum Broken {
    /// The server had closed it before; the request may be sent on another.
    Unsent(Box<Request<Body>>),
    Lost(hyper::Error),
}

impl Connection {
    pub(super) fn new(address: SocketAddr, timeout: Duration) -> Self {
        Self { address, timeout, link: None, alarm: Box::pin(tokio::time::sleep(timeout)), opened: 0 }
    }

    pub(super) fn opened(&self) -> u64 {
        self.opened
    }

    /// Sends a request at `now` and reads the answer to its end. After a failure the next request
    /// opens a new connection.
    pub(super) async fn exchange(&mut self, request: Request<Body>, now: Instant) -> Outcome {
        let outcome = self.within(request, now + self.timeout).await;
        let outcome = outcome.unwrap_or_else(|| Outcome::Failed(Failure::Timeout, "no answer in time".into()));
        if matches!(outcome, Outcome::Failed(..)) {
            self.link = None;
        }
        outcome
    }

    /// `None` when the deadline passed first.
    async fn within(&mut self, request: Request<Body>, deadline: Instant) -> Option<Outcome> {
        let Self { address, link, alarm, opened, .. } = self;
        let mut work = pin!(attempt(*address, link, opened, request));
        poll_fn(|context| {
            if let Poll::Ready(outcome) = work.as_mut().poll(context) {
                return Poll::Ready(Some(outcome));
            }
            while alarm.as_mut().poll(context).is_ready() {
                if Instant::now() >= deadline {
                    return Poll::Ready(None);
                }
                alarm.as_mut().reset(deadline.into());
            }
            Poll::Pending
        })
        .await
    }
}

async fn attempt(
    address: SocketAddr,
    link: &mut Option<Link>,
    opened: &mut u64,
    mut request: Request<Body>,
) -> Outcome {
    loop {
        let (open, fresh) = match link {
            Some(open) => (open, false),
            None => match Link::open(address).await {
                Ok(open) => {
                    *opened += 1;
                    (link.insert(open), true)
                }
                Err(error) => return Outcome::Failed(Failure::Connect, error.to_string()),
            },
        };
        match open.exchange(request).await {
            Ok(outcome) => return outcome,
            Err(Broken::Unsent(unsent)) if !fresh => {
                request = *unsent;
                *link = None;
            }
            Err(Broken::Unsent(_)) => return Outcome::Failed(Failure::Reset, "closed as soon as opened".into()),
            Err(Broken::Lost(error)) => {
                let failure = if error.is_parse() { Failure::Protocol } else { Failure::Reset };
                return Outcome::Failed(failure, error.to_string());
            }
        }
    }
}

impl Link {
    async fn open(address: SocketAddr) -> std::io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let (sender, driver) = http1::handshake(TokioIo::new(stream)).await.map_err(std::io::Error::other)?;
        Ok(Self { sender, driver: Some(Box::pin(driver)) })
    }

    async fn exchange(&mut self, request: Request<Body>) -> Result<Outcome, Broken> {
        let Self { sender, driver } = self;
        let mut exchange = pin!(ask(sender, request));
        // The first pass makes the request, the second sends it; after that, what comes in wakes this.
        let mut passes = 2;
        poll_fn(|context| {
            for _ in 0..std::mem::replace(&mut passes, 1) {
                if driver.as_mut().is_some_and(|driver| driver.as_mut().poll(context).is_ready()) {
                    // A finished driver holds the other ends of what the exchange waits for.
                    *driver = None;
                }
                if let Poll::Ready(outcome) = exchange.as_mut().poll(context) {
                    return Poll::Ready(outcome);
                }
            }
            Poll::Pending
        })
        .await
    }
}

async fn ask(sender: &mut http1::SendRequest<Body>, request: Request<Body>) -> Result<Outcome, Broken> {
    if sender.ready().await.is_err() {
        return Err(Broken::Unsent(Box::new(request)));
    }
    let response = sender.try_send_request(request).await.map_err(|mut error| match error.take_message() {
        Some(request) => Broken::Unsent(Box::new(request)),
        None => Broken::Lost(error.into_error()),
    })?;
    let status = response.status().as_u16();
    let mut body = response.into_body();
    let (mut received, mut excerpt) = (0, None);
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame.map_err(Broken::Lost)?.into_data() {
            received += data.len() as u64;
            if excerpt.is_none() && !(200..300).contains(&status) {
                excerpt = Some(data);
            }
        }
    }
    Ok(Outcome::Answer { status, received, excerpt })
}
