//! One number of an output, as wide as the graph gives it.

use std::fmt;

use serde::Serialize;

/// A floating-point number of 32 or 64 bits. It is written in as few digits as tell it apart from its neighbours of the
/// same width.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Real {
    /// 32 bits.
    Single(f32),
    /// 64 bits.
    Double(f64),
}

impl Real {
    /// Returns the number in 64 bits.
    pub fn to_f64(self) -> f64 {
        match self {
            Self::Single(number) => f64::from(number),
            Self::Double(number) => number,
        }
    }

    /// Returns true unless it is NaN or infinite.
    pub fn is_finite(self) -> bool {
        self.to_f64().is_finite()
    }
}

impl From<f32> for Real {
    fn from(number: f32) -> Self {
        Self::Single(number)
    }
}

impl From<f64> for Real {
    fn from(number: f64) -> Self {
        Self::Double(number)
    }
}

impl fmt::Display for Real {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Single(number) => number.fmt(f),
            Self::Double(number) => number.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_has_the_digits_of_its_width() {
        let shown = |number: Real| (number.to_string(), serde_json::to_string(&number).unwrap());
        assert_eq!(shown(0.1f32.into()), ("0.1".into(), "0.1".into()));
        assert_eq!(shown(1_000_000_000.25.into()), ("1000000000.25".into(), "1000000000.25".into()));
        assert_eq!(shown(f32::NAN.into()).1, "null");
        assert!(!Real::from(f64::INFINITY).is_finite() && Real::from(1f32).to_f64() == 1.0);
    }
}
