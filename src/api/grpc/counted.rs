//! Counts each call by the way it ended, also when its future or stream is dropped half way.

use std::time::Instant;

use tonic::Code;

use crate::api::state::ApiState;
use crate::metrics::Protocol;

/// A call that is counted when this is dropped, as cancelled unless its outcome was set.
#[derive(Debug)]
pub(super) struct Counted {
    state: ApiState,
    protocol: Protocol,
    start: Instant,
    code: i32,
}

impl Counted {
    pub(super) fn new(state: ApiState, protocol: Protocol, start: Instant) -> Self {
        Self { state, protocol, start, code: Code::Cancelled as i32 }
    }

    /// Sets the outcome.
    pub(super) fn end(&mut self, code: i32) {
        self.code = code;
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.state.metrics().grpc.record(self.protocol, self.code, self.start.elapsed());
    }
}
