//! The parameters of a request.

use std::time::Duration;

use crate::error::{Error, Result};
use crate::ids::quote;
use crate::serving::{DEFAULT_PRIORITY, RequestHints};

/// The value of a parameter.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Parameter {
    /// A truth value.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A whole number that may be larger.
    Uint(u64),
    /// Any number.
    Double(f64),
    /// Text.
    Text(String),
}

impl Parameter {
    fn unsigned(&self, key: &str) -> Result<u64> {
        match self {
            Self::Uint(number) => Ok(*number),
            Self::Int(number) => u64::try_from(*number).map_err(|_| misfit(key, "a whole number of at least 0")),
            _ => Err(misfit(key, "a whole number of at least 0")),
        }
    }

    /// The value as a truth value.
    ///
    /// # Errors
    /// [`Error::Malformed`] naming the parameter.
    pub(crate) fn boolean(&self, key: &str) -> Result<bool> {
        if let Self::Bool(value) = self { Ok(*value) } else { Err(misfit(key, "true or false")) }
    }

    /// The value as a number of bytes, elements or classes.
    ///
    /// # Errors
    /// [`Error::Malformed`] naming the parameter.
    pub(crate) fn size(&self, key: &str) -> Result<usize> {
        usize::try_from(self.unsigned(key)?).map_err(|_| misfit(key, "a smaller number"))
    }

    /// The value as text.
    ///
    /// # Errors
    /// [`Error::Malformed`] naming the parameter.
    pub(crate) fn text(self, key: &str) -> Result<String> {
        if let Self::Text(text) = self { Ok(text) } else { Err(misfit(key, "a string")) }
    }

    /// Returns true for 0, false and no text, by which clients mean that it is not used.
    fn is_neutral(&self) -> bool {
        match self {
            Self::Bool(value) => !value,
            Self::Int(number) => *number == 0,
            Self::Uint(number) => *number == 0,
            Self::Double(number) => *number == 0.0,
            Self::Text(text) => text.is_empty(),
        }
    }
}

fn misfit(key: &str, expected: &str) -> Error {
    Error::Malformed(format!("the parameter \"{key}\" must be {expected}"))
}

/// The meaning of the parameters of a request.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct RequestParameters {
    priority: Option<u8>,
    timeout: Option<Duration>,
}

impl RequestParameters {
    /// Takes one parameter in. Those that mean nothing to us are passed over, as the protocol wants.
    ///
    /// # Errors
    /// [`Error::Malformed`] for a value that cannot be, [`Error::InvalidInput`] for sequences, which no
    /// model here has, and for the names that Triton keeps for itself.
    pub(crate) fn set(&mut self, key: &str, value: &Parameter) -> Result<()> {
        match key {
            "priority" => {
                self.priority = match value.unsigned(key)? {
                    0 => None,
                    priority @ 1..=9 => u8::try_from(priority).ok(),
                    other => {
                        return Err(Error::Malformed(format!(
                            "the parameter \"priority\" must be from 1 (first) to 9 (last), or 0 for the model's own; got {other}"
                        )));
                    }
                };
            }
            "timeout" => {
                self.timeout = match value.unsigned(key)? {
                    0 => None,
                    microseconds => Some(Duration::from_micros(microseconds)),
                };
            }
            "sequence_id" | "sequence_start" | "sequence_end" if !value.is_neutral() => {
                return Err(Error::InvalidInput(format!(
                    "the parameter \"{key}\" is not supported: no model here keeps the state of a sequence"
                )));
            }
            _ if key.starts_with("triton_") => {
                let key = quote(key);
                return Err(Error::Malformed(format!("the parameter {key} is reserved, as is every \"triton_…\"")));
            }
            _ => {}
        }
        Ok(())
    }

    /// Lets the answer take no longer than this, as a deadline of the carrying protocol says.
    pub(crate) fn limit(&mut self, timeout: Duration) {
        self.timeout = Some(self.timeout.map_or(timeout, |own| own.min(timeout)));
    }

    pub(super) fn hints(self) -> RequestHints {
        RequestHints { priority: self.priority.unwrap_or(DEFAULT_PRIORITY), timeout: self.timeout }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(key: &str, value: &Parameter) -> Result<RequestParameters> {
        let mut parameters = RequestParameters::default();
        parameters.set(key, value).map(|()| parameters)
    }

    #[test]
    fn priority_and_timeout_are_obeyed_in_any_integer_type() {
        for value in [Parameter::Int(1), Parameter::Uint(1)] {
            assert_eq!(set("priority", &value).unwrap().hints().priority, 1);
            assert_eq!(set("timeout", &value).unwrap().hints().timeout, Some(Duration::from_micros(1)));
        }
        let neutral = set("timeout", &Parameter::Uint(0)).unwrap().hints();
        assert_eq!((neutral.timeout, neutral.priority), (None, DEFAULT_PRIORITY));
        let mut limited = set("timeout", &Parameter::Uint(5)).unwrap();
        limited.limit(Duration::from_micros(9));
        assert_eq!(limited.hints().timeout, Some(Duration::from_micros(5)));
    }

    #[test]
    fn what_cannot_be_is_refused_and_what_is_unknown_is_not() {
        for (key, value) in [
            ("priority", Parameter::Uint(10)),
            ("priority", Parameter::Int(-1)),
            ("priority", Parameter::Text("1".into())),
            ("timeout", Parameter::Double(1.5)),
            ("sequence_id", Parameter::Uint(7)),
            ("sequence_id", Parameter::Text("a".into())),
            ("sequence_start", Parameter::Bool(true)),
            ("triton_anything", Parameter::Bool(false)),
        ] {
            assert!(set(key, &value).is_err(), "{key}");
        }
        for (key, value) in [
            ("sequence_id", Parameter::Uint(0)),
            ("sequence_end", Parameter::Bool(false)),
            ("my_own", Parameter::Double(1.0)),
        ] {
            assert!(set(key, &value).is_ok(), "{key}");
        }
    }
}
