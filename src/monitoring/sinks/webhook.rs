//! Alarms for one URL, signed.

use bytes::Bytes;
use hmac::{Hmac, KeyInit, Mac};
use http::{HeaderName, HeaderValue, header};
use sha2::Sha256;
use tokio::sync::{mpsc, watch};
use uuid::Uuid;

use super::delivery::{Delivery, Patience};
use crate::config::WebhookSettings;
use crate::ids::hexadecimal;
use crate::metrics::SinkMetrics;
use crate::outbound::Destination;
use crate::trust::Trust;

/// The alarms that may wait.
const QUEUE: usize = 256;

const ATTEMPTS: u32 = 8;

const SIGNATURE: HeaderName = HeaderName::from_static("x-weir-signature");
const TIMESTAMP: HeaderName = HeaderName::from_static("x-weir-timestamp");
const DELIVERY: HeaderName = HeaderName::from_static("x-weir-delivery");

/// Where alarms are put for the webhook.
#[derive(Debug, Clone)]
pub struct AlarmQueue {
    sender: mpsc::Sender<Vec<u8>>,
    metrics: SinkMetrics,
}

impl AlarmQueue {
    /// Passes an alarm, as JSON, on without waiting; a full queue costs the alarm, which is counted.
    pub(in crate::monitoring) fn put(&self, alarm: Vec<u8>) {
        if self.sender.try_send(alarm).is_err() {
            self.metrics.dropped(1);
        }
    }
}

/// The sender of alarms, before it runs.
#[derive(Debug)]
pub struct Webhook {
    settings: WebhookSettings,
    trust: Option<Trust>,
    metrics: SinkMetrics,
    alarms: mpsc::Receiver<Vec<u8>>,
}

impl Webhook {
    /// Makes the sender, and the queue before it. Behind `https` the receiver must be vouched for by `trust`.
    pub fn new(settings: WebhookSettings, trust: Option<Trust>, metrics: SinkMetrics) -> (AlarmQueue, Self) {
        let (sender, alarms) = mpsc::channel(QUEUE);
        (AlarmQueue { sender, metrics: metrics.clone() }, Self { settings, trust, metrics, alarms })
    }

    /// Sends alarms one after the other until `closed` turns true; what waits then is tried once more.
    pub async fn run(mut self, mut closed: watch::Receiver<bool>) {
        let patience = Patience { attempts: ATTEMPTS, pause: self.settings.retry_after };
        let endpoint = self.settings.endpoint.clone();
        let destination = Destination { endpoint, trust: self.trust.clone() };
        let mut delivery = Delivery::new("webhook", destination, patience, self.metrics.clone(), closed.clone());
        loop {
            let alarm = tokio::select! {
                biased;
                alarm = self.alarms.recv() => alarm,
                _ = closed.wait_for(|closed| *closed) => None,
            };
            let Some(body) = alarm else { return };
            let seconds = jiff::Timestamp::now().as_second();
            let headers = headers(self.settings.key.as_deref(), seconds, &body);
            delivery.deliver(&headers, Bytes::from(body), 1).await;
        }
    }
}

/// The headers of a delivery. The signature is HMAC-SHA256 over the time, a full stop and the body.
fn headers(key: Option<&str>, seconds: i64, body: &[u8]) -> Vec<(HeaderName, HeaderValue)> {
    let value = |text: &str| HeaderValue::from_str(text).unwrap_or_else(|_| HeaderValue::from_static(""));
    let mut headers = vec![
        (header::CONTENT_TYPE, HeaderValue::from_static("application/json")),
        (DELIVERY, value(&Uuid::now_v7().to_string())),
        (TIMESTAMP, HeaderValue::from(seconds)),
    ];
    if let Some(signature) = key.and_then(|key| signature(key.as_bytes(), seconds, body)) {
        headers.push((SIGNATURE, value(&format!("sha256={signature}"))));
    }
    headers
}

/// Returns the signature in hexadecimal digits.
fn signature(key: &[u8], seconds: i64, body: &[u8]) -> Option<String> {
    // A key of any length is taken.
    let mut mac = Hmac::<Sha256>::new_from_slice(key).ok()?;
    mac.update(format!("{seconds}.").as_bytes());
    mac.update(body);
    Some(hexadecimal(&mac.finalize().into_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signature_is_that_of_other_implementations() {
        // printf '1700000000.{"a":1}' | openssl dgst -sha256 -hmac secret
        let expected = "49f24e537407743fa4a0242bb63b94b9a47ee99cbbe071ccd8a22550ae411686";
        assert_eq!(signature(b"secret", 1_700_000_000, b"{\"a\":1}").unwrap(), expected);
        assert_eq!(headers(None, 1, b"{}").len(), 3);
    }
}
