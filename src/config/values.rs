//! What numbers settings may have.

use std::time::Duration;

use crate::error::{Error, Result};

/// A number that is not 0.
///
/// # Errors
/// [`Error::Config`] naming the setting.
pub(super) fn at_least_one(setting: &str, value: usize) -> Result<usize> {
    if value == 0 { Err(refuse(setting, "must be at least 1, got 0".into())) } else { Ok(value) }
}

/// A time that is not 0.
///
/// # Errors
/// [`Error::Config`] naming the setting.
pub(super) fn seconds(setting: &str, value: f64) -> Result<Duration> {
    match zero_or_seconds(setting, value)? {
        Duration::ZERO => Err(refuse(setting, "must be more than 0".into())),
        duration => Ok(duration),
    }
}

/// A time of at most a day.
///
/// # Errors
/// [`Error::Config`] naming the setting.
pub(super) fn zero_or_seconds(setting: &str, value: f64) -> Result<Duration> {
    const DAY: f64 = 86_400.0;
    if !(0.0..=DAY).contains(&value) {
        return Err(refuse(setting, format!("must be a number of seconds from 0 to {DAY}, got {value}")));
    }
    Ok(Duration::from_secs_f64(value))
}

/// What is wrong with a setting.
pub(super) fn refuse(setting: &str, problem: String) -> Error {
    Error::Config { setting: setting.into(), problem }
}
