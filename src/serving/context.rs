//! The identity and the limits of a request, whatever protocol it came by.

use std::net::IpAddr;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::error::Error;
use crate::ids::RequestId;

/// The protocol by which a request reached the predictor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// Weir's own HTTP API.
    Weir,
    /// The Open Inference Protocol over HTTP.
    Oip,
    /// The Open Inference Protocol over gRPC.
    OipGrpc,
    /// TensorFlow Serving's REST API.
    TfServing,
    /// TensorFlow Serving's gRPC services.
    TfServingGrpc,
    /// TorchServe's inference API.
    TorchServe,
    /// None: the server itself asks.
    Internal,
}

/// The party that asks for a prediction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Caller {
    /// A client, at this address if the connection has one.
    Client(Option<IpAddr>),
    /// The replay of a version's probe set.
    Probe,
    /// An explanation, which asks about masked inputs.
    Explanation,
    /// A guard that is asked about the input of another model.
    Guard,
    /// A version that is being loaded and is not served yet.
    WarmUp,
}

impl Caller {
    /// Returns true if the statistics that clients see count its requests.
    pub fn is_client(self) -> bool {
        match self {
            Self::Client(_) => true,
            Self::Probe | Self::Explanation | Self::Guard | Self::WarmUp => false,
        }
    }
}

/// The moment by which an answer is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deadline {
    /// The moment.
    pub at: Instant,
    /// The time that was allowed in all.
    pub limit: Duration,
}

impl Deadline {
    /// Returns the deadline this long after `now`; `None` when that is too far away to be a moment.
    pub fn after(now: Instant, limit: Duration) -> Option<Self> {
        now.checked_add(limit).map(|at| Self { at, limit })
    }

    /// Returns the error of a request that was not answered in time.
    pub(crate) fn exceeded(self) -> Error {
        Error::DeadlineExceeded { limit_ms: self.limit.as_millis() as u64 }
    }

    /// Returns the earlier of two deadlines.
    #[must_use]
    pub fn or_earlier(self, other: Option<Self>) -> Self {
        other.filter(|other| other.at < self.at).unwrap_or(self)
    }
}

/// The priority of a request that states none: the model's own.
pub const DEFAULT_PRIORITY: u8 = 0;

/// The scheduling that a request asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestHints {
    /// 1 to 9, of which lower runs earlier; [`DEFAULT_PRIORITY`] leaves it to the model's settings.
    pub priority: u8,
    /// The time that the answer may take, if that is less than the server's own limit.
    pub timeout: Option<Duration>,
}

impl Default for RequestHints {
    fn default() -> Self {
        Self { priority: DEFAULT_PRIORITY, timeout: None }
    }
}

/// A W3C trace context: the header `traceparent` of version 00.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceParent {
    /// The trace that the request belongs to.
    pub trace_id: u128,
    /// The span of the caller.
    pub parent_id: u64,
    /// Set if the caller records the trace.
    pub sampled: bool,
}

impl TraceParent {
    /// Reads the value of the header; `None` for anything that the specification tells receivers to ignore.
    pub fn parse(value: &[u8]) -> Option<Self> {
        const LENGTH: usize = 55;
        let text = std::str::from_utf8(value).ok()?;
        // Later versions may append fields.
        let is_known = text.len() == LENGTH || (text.len() > LENGTH && text.as_bytes()[LENGTH] == b'-');
        if !is_known || text.bytes().any(|byte| byte.is_ascii_uppercase() || byte == b'+') {
            return None;
        }
        let mut fields = text.get(..LENGTH)?.split('-');
        let mut field = |length: usize| fields.next().filter(|field| field.len() == length);
        let (version, trace_id, parent_id, flags) = (field(2)?, field(32)?, field(16)?, field(2)?);
        let version = u8::from_str_radix(version, 16).ok()?;
        if version == u8::MAX || (version == 0 && text.len() > LENGTH) {
            return None;
        }
        let trace_id = u128::from_str_radix(trace_id, 16).ok().filter(|id| *id != 0)?;
        let parent_id = u64::from_str_radix(parent_id, 16).ok().filter(|id| *id != 0)?;
        let sampled = u8::from_str_radix(flags, 16).ok()? & 1 == 1;
        Some(Self { trace_id, parent_id, sampled })
    }
}

/// Everything about a request but its input. Cloning it copies no text.
#[derive(Debug, Clone)]
pub struct RequestContext {
    /// The identifier that the response, the log and the prediction's record share.
    pub request_id: RequestId,
    /// The protocol it came by.
    pub protocol: Protocol,
    /// The party that asks.
    pub caller: Caller,
    /// The moment by which the caller wants its answer.
    pub deadline: Option<Deadline>,
    /// 1 to 9, of which lower runs earlier; [`DEFAULT_PRIORITY`] leaves it to the model's settings.
    pub priority: u8,
    /// The trace it belongs to.
    pub trace: Option<TraceParent>,
    /// A place for the receipt, if the caller asks for one; an observer of the answer may put it there.
    pub receipt: Option<Arc<OnceLock<String>>>,
    /// The rows or sequences of the request as they came, where an observer wants them.
    pub rows: Option<Arc<Vec<Bytes>>>,
}

impl RequestContext {
    /// Makes the context of a request without hints or trace.
    pub fn new(request_id: RequestId, protocol: Protocol, caller: Caller) -> Self {
        let (deadline, trace, receipt, rows) = (None, None, None, None);
        Self { request_id, protocol, caller, deadline, priority: DEFAULT_PRIORITY, trace, receipt, rows }
    }

    /// Makes the context of a request of the server itself.
    pub fn internal(caller: Caller, priority: u8) -> Self {
        Self { priority, ..Self::new(RequestId::generate(), Protocol::Internal, caller) }
    }

    /// Takes the caller's hints in; its time counts from now.
    #[must_use]
    pub fn with_hints(mut self, hints: RequestHints) -> Self {
        self.priority = hints.priority;
        self.deadline = hints.timeout.and_then(|timeout| Deadline::after(Instant::now(), timeout));
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_parent_is_read_as_the_specification_says() {
        let example = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let parsed = TraceParent::parse(example.as_bytes()).unwrap();
        assert_eq!(parsed.trace_id, 0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736);
        assert_eq!((parsed.parent_id, parsed.sampled), (0x00f0_67aa_0ba9_02b7, true));
        let later = example.replacen("00", "cc", 1) + "-what-the-future-will-be-like";
        assert_eq!(TraceParent::parse(later.as_bytes()), Some(parsed));
        for bad in [
            "",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0g",
            "00-+bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-é4bf92f3577b34da6a3ce929d0e0e47-00f067aa0ba902b7-01",
        ] {
            assert_eq!(TraceParent::parse(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn the_earlier_deadline_counts() {
        let now = Instant::now();
        let after = |ms| Deadline::after(now, Duration::from_millis(ms)).unwrap();
        assert_eq!(after(9).or_earlier(Some(after(5))), after(5));
        assert_eq!(after(5).or_earlier(Some(after(9))), after(5));
        assert_eq!(after(5).or_earlier(None), after(5));
        assert_eq!(Deadline::after(now, Duration::MAX), None);
    }
}
