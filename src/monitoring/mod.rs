//! Observes every prediction, off the path of requests.
//!
//! [`Monitor::observer`] sits behind the tap: it makes a [`Record`] of fixed size for each sample and passes it to one
//! bounded queue without waiting; a full queue costs the record and never the answer. One thread takes the records out
//! and hands all of them to each [`Consumer`]: [`Log`] keeps them in the store, [`DriftWatch`] looks for changes.
//! Requests of the server itself (probes, warm-ups) leave no record. [`oversee`] makes alarms and events of what all of
//! them find.

mod alarms;
mod capture;
mod drift;
mod events;
mod figures;
mod gauges;
mod guard;
mod kept;
mod log;
mod monitor;
mod observer;
mod record;
mod sinks;
mod traces;

pub use alarms::{Acknowledgement, Alarm, AlarmKind, AlarmNews, AlarmState, Alarms, Overseen, Severity, Turn, oversee};
pub use capture::Capture;
pub use drift::{
    DriftReport, DriftReports, DriftState, DriftWatch, EstimateReport, GuardReport, StreamEffect, StreamReport,
};
pub use events::{Event, EventId, EventKind, Events, Heard, Listener, MAX_LISTENERS};
pub use figures::{
    AbstentionFigures, AccuracyFigures, AdjustedFigures, ErrorFigures, FeedbackQuality, LossFigures, SetFigures,
};
pub use gauges::{GAUGE_HOURS, LiveFigures, keep_gauges};
pub use guard::{GuardFindings, GuardObserver, Guards};
pub use kept::known;
pub use log::Log;
pub use monitor::{Consumer, Monitor};
pub use record::{Answer, MAX_PROBABILITIES, Record};
pub use sinks::{AlarmQueue, PredictionSender, PredictionSink, Webhook};
pub use traces::{Both, SpanPlace, TraceSender, Tracer};
