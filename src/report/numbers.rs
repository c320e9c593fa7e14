//! Numbers as people read them, the same in tables, on axes and in pages.

/// Returns a share in per cent with two decimals: `0.974` as `97.40 %`.
pub fn percent(share: f64) -> String {
    format!("{:.2} %", share * 100.0)
}

/// Returns a number as short as three significant digits, or all of its nines, allow.
pub fn short(value: f64) -> String {
    let text = match value {
        1e6.. => return format!("{} M", short(value / 1e6)),
        1e4.. => return format!("{} k", short(value / 1e3)),
        99.0..100.0 => format!("{value:.6}"),
        100.0.. => format!("{value:.0}"),
        10.0.. => format!("{value:.1}"),
        1.0.. => format!("{value:.2}"),
        _ => format!("{value:.4}"),
    };
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

/// Returns a measured value with four significant digits, whatever its magnitude and sign.
pub fn significant(value: f64) -> String {
    match value.abs() {
        1e6.. => format!("{value:.4e}"),
        100.0.. => format!("{value:.1}"),
        1.0.. => format!("{value:.3}"),
        0.0 => "0".into(),
        small if small < 1e-3 => format!("{value:.3e}"),
        _ => format!("{value:.4}"),
    }
}

/// Returns a number to a hundredth of a distance, if four digits do not tell apart numbers that lie so far from each other.
pub fn resolved(value: f64, distance: f64) -> Option<String> {
    let is_hidden = distance > 0.0 && distance.is_finite() && distance < value.abs() * 1e-3;
    let decimals = (2.0 - distance.log10().floor()).clamp(0.0, 15.0);
    is_hidden.then(|| format!("{value:.*}", decimals as usize))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short_and_nines_are_kept() {
        for (value, text) in [
            (0.0, "0"),
            (0.05, "0.05"),
            (1.0, "1"),
            (2.5, "2.5"),
            (50.0, "50"),
            (99.9, "99.9"),
            (99.99, "99.99"),
            (250.0, "250"),
            (12_500.0, "12.5 k"),
            (2e6, "2 M"),
        ] {
            assert_eq!(short(value), text);
        }
        assert_eq!(percent(0.974), "97.40 %");
    }

    #[test]
    fn measured_values_have_four_digits() {
        let shown = [2.5, -123.456, 0.01234, 2e-5, 0.0, 3.2e7].map(significant);
        assert_eq!(shown, ["2.500", "-123.5", "0.0123", "2.000e-5", "0", "3.2000e7"]);
    }

    #[test]
    fn numbers_near_each_other_have_the_digits_that_tell_them_apart() {
        let shown = [(1e9 + 0.25, 1.5), (-5_800_123.4, 300.0), (12.0, 1.0), (0.0, 1.0), (3.0, 0.0)]
            .map(|(value, distance)| resolved(value, distance).unwrap_or_default());
        assert_eq!(shown, ["1000000000.25", "-5800123", "", "", ""]);
    }
}
