//! The time that a caller gives a call: the header `grpc-timeout`.

use std::time::{Duration, Instant};

use http::HeaderMap;
use tonic::Status;

/// The moment by which a call must be answered, among the extensions of its request.
#[derive(Debug, Clone, Copy)]
pub(super) struct Deadline {
    at: Instant,
    limit: Duration,
}

impl Deadline {
    /// The deadline that the headers of a call state.
    ///
    /// # Errors
    /// [`tonic::Code::InvalidArgument`] when it cannot be read.
    pub(super) fn of(headers: &HeaderMap, now: Instant) -> Result<Option<Self>, Status> {
        let Some(text) = headers.get("grpc-timeout") else { return Ok(None) };
        let limit = text.to_str().ok().and_then(parse).ok_or_else(|| {
            Status::invalid_argument("\"grpc-timeout\" is not valid: expected up to 8 digits and one of H M S m u n")
        })?;
        // Too far away to be a moment is no deadline.
        Ok(now.checked_add(limit).map(|at| Self { at, limit }))
    }

    /// Returns the time that is left.
    pub(super) fn left(&self) -> Duration {
        self.at.saturating_duration_since(Instant::now())
    }

    /// Returns the moment.
    pub(super) fn at(&self) -> Instant {
        self.at
    }

    /// The status of a call that was not answered in time.
    pub(super) fn exceeded(&self) -> Status {
        Status::deadline_exceeded(format!("no answer within {} ms", self.limit.as_millis()))
    }
}

fn parse(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if !(1..=8).contains(&digits.len()) || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let number: u64 = digits.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(number * 3600)),
        "M" => Some(Duration::from_secs(number * 60)),
        "S" => Some(Duration::from_secs(number)),
        "m" => Some(Duration::from_millis(number)),
        "u" => Some(Duration::from_micros(number)),
        "n" => Some(Duration::from_nanos(number)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_are_read_as_the_protocol_writes_them() {
        for (text, duration) in [
            ("1H", Duration::from_secs(3600)),
            ("2M", Duration::from_secs(120)),
            ("99999999S", Duration::from_secs(99_999_999)),
            ("150m", Duration::from_millis(150)),
            ("0u", Duration::ZERO),
            ("7n", Duration::from_nanos(7)),
        ] {
            assert_eq!(parse(text), Some(duration), "{text}");
        }
        for bad in ["", "1", "m", "123456789m", "-1m", "1.5S", "1s", "1 m", "１m"] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }
}
