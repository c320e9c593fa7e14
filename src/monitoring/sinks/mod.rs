//! What is sent elsewhere by choice: alarms to a webhook, predictions as CloudEvents.
//!
//! Each sink has one bounded queue and one task with one connection. Nothing on the path of requests waits for it; what
//! finds its queue full is dropped and counted.

mod cloud_events;
mod delivery;
mod webhook;

pub use self::cloud_events::{PredictionSender, PredictionSink};
pub(super) use self::delivery::{Delivery, Patience};
pub use self::webhook::{AlarmQueue, Webhook};
