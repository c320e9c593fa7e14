//! Deliveries that are tried again.

use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, HeaderValue};
use tokio::sync::watch;

use crate::metrics::SinkMetrics;
use crate::outbound::{Client, Destination};

/// The longest pause between two attempts.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// The time that an answer has once the server stops.
const LAST_ANSWER: Duration = Duration::from_secs(1);

/// How often a delivery is tried, and the pause after the first attempt, which doubles.
#[derive(Debug, Clone, Copy)]
pub(in crate::monitoring) struct Patience {
    pub(in crate::monitoring) attempts: u32,
    pub(in crate::monitoring) pause: Duration,
}

/// The way to one address.
#[derive(Debug)]
pub(in crate::monitoring) struct Delivery {
    /// The name for the log.
    what: &'static str,
    client: Client,
    patience: Patience,
    metrics: SinkMetrics,
    closed: watch::Receiver<bool>,
}

impl Delivery {
    pub(in crate::monitoring) fn new(
        what: &'static str,
        destination: Destination,
        patience: Patience,
        metrics: SinkMetrics,
        closed: watch::Receiver<bool>,
    ) -> Self {
        Self { what, client: Client::new(destination), patience, metrics, closed }
    }

    /// Posts a body that stands for so many events. It is tried again after failures that may pass; once the server
    /// stops, there are no more attempts.
    pub(in crate::monitoring) async fn deliver(
        &mut self,
        headers: &[(HeaderName, HeaderValue)],
        body: Bytes,
        events: u64,
    ) {
        let mut pause = self.patience.pause;
        for attempt in 1..=self.patience.attempts {
            let problem = match self.attempt(headers, body.clone()).await {
                Ok(200..300) => return self.metrics.sent(events),
                // Sending the same again gives the same.
                Ok(status @ (300..=407 | 409..=428 | 430..=499)) => {
                    tracing::warn!(sink = self.what, status, events, "a delivery was refused");
                    return self.metrics.failed(events);
                }
                Ok(status) => format!("status {status}"),
                Err(problem) => problem,
            };
            let is_over = attempt == self.patience.attempts || *self.closed.borrow();
            if is_over || self.wait(pause).await {
                tracing::warn!(sink = self.what, %problem, attempt, events, "a delivery failed");
                return self.metrics.failed(events);
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Posts the body once. When the server stops meanwhile, the answer has a second left.
    async fn attempt(
        &mut self,
        headers: &[(HeaderName, HeaderValue)],
        body: Bytes,
    ) -> std::result::Result<u16, String> {
        let mut post = pin!(self.client.post(headers, body));
        tokio::select! {
            done = &mut post => return done,
            _ = self.closed.wait_for(|closed| *closed) => {}
        }
        tokio::time::timeout(LAST_ANSWER, post).await.unwrap_or_else(|_| Err("the server stops".into()))
    }

    /// Waits; returns true if the server stopped meanwhile.
    async fn wait(&mut self, pause: Duration) -> bool {
        tokio::select! {
            () = tokio::time::sleep(pause) => false,
            _ = self.closed.wait_for(|closed| *closed) => true,
        }
    }
}
