//! Durations as people write them.

use std::time::Duration;

/// Parses `10s`, `500ms`, `250us` (or `µs`), `2m`, `1h`; a bare number is seconds.
///
/// # Errors
/// A message that says what was expected.
pub fn parse_span(text: &str) -> Result<Duration, String> {
    let refuse = || format!("expected a duration such as 10s, 500ms or 2m, got \"{text}\"");
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let seconds = match unit {
        "us" | "µs" | "μs" => 1e-6,
        "ms" => 1e-3,
        "s" | "" => 1.0,
        "m" | "min" => 60.0,
        "h" => 3600.0,
        _ => return Err(refuse()),
    };
    let number: f64 = number.parse().map_err(|_| refuse())?;
    Duration::try_from_secs_f64(number * seconds).map_err(|_| refuse())
}

#[cfg(test)]
mod tests {
    use super::parse_span;

    #[test]
    fn spans_are_read_as_people_write_them() {
        for (text, micros) in [
            ("10s", 10_000_000),
            ("500ms", 500_000),
            ("250us", 250),
            ("250µs", 250),
            ("2m", 120_000_000),
            ("1h", 3_600_000_000),
            ("1.5", 1_500_000),
            ("0", 0),
            ("0.5ms", 500),
        ] {
            assert_eq!(parse_span(text).unwrap().as_micros(), micros, "{text}");
        }
        for text in ["", "s", "-1s", "1d", "1 s", "1e3", "nan", "ten", "1..2s", "99999999999999999999999h"] {
            assert!(parse_span(text).is_err(), "{text}");
        }
    }
}
