//! Floats as text: the shortest one, as Triton and Weir write them, or the digits of TensorFlow Serving. Words stand
//! for what is not finite.

use std::io::Write as _;

use serde::Serialize;

/// Significant digits that suffice for most numbers.
const FEW: usize = 6;

/// The digits that floats are written with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::api) enum Digits {
    /// The fewest that give the number back.
    Fewest,
    /// TensorFlow Serving's: six significant ones if they give the number back, else as many as are sure to; whole
    /// numbers with `.0`.
    General,
}

/// A float that can be written.
pub(in crate::api) trait Decimal:
    Copy + PartialEq + std::fmt::LowerExp + std::str::FromStr + Serialize
{
    /// The significant digits that give back every number of this type.
    const ENOUGH: usize;
    /// Returns the word for what is not finite.
    fn word(self) -> Option<&'static str>;
}

impl Decimal for f32 {
    const ENOUGH: usize = 9;

    #[inline]
    fn word(self) -> Option<&'static str> {
        if self.is_finite() { None } else { f64::from(self).word() }
    }
}

impl Decimal for f64 {
    const ENOUGH: usize = 17;

    #[inline]
    fn word(self) -> Option<&'static str> {
        match self {
            finite if finite.is_finite() => None,
            nan if nan.is_nan() => Some("NaN"),
            negative if negative < 0.0 => Some("-Infinity"),
            _ => Some("Infinity"),
        }
    }
}

/// Appends a number.
#[inline]
pub(super) fn write_decimal<T: Decimal>(out: &mut Vec<u8>, number: T, digits: Digits) {
    match (number.word(), digits) {
        (Some(word), _) => out.extend_from_slice(word.as_bytes()),
        // Writing a finite number to memory cannot fail.
        (None, Digits::Fewest) => drop(serde_json::to_writer(out, &number)),
        (None, Digits::General) => write_general(out, number),
    }
}

fn write_general<T: Decimal>(out: &mut Vec<u8>, number: T) {
    let start = out.len();
    general(out, number, FEW);
    let gives_back = std::str::from_utf8(&out[start..]).ok().and_then(|text| text.parse::<T>().ok()) == Some(number);
    if !gives_back {
        out.truncate(start);
        general(out, number, T::ENOUGH);
    }
    if !out[start..].iter().any(|byte| matches!(byte, b'.' | b'e')) {
        out.extend_from_slice(b".0");
    }
}

/// Appends C's `%.<digits>g`: scientific when the exponent is below -4 or not below the digits, without zeros at the
/// end of a fraction.
fn general<T: Decimal>(out: &mut Vec<u8>, number: T, digits: usize) {
    // `-d.ddde-ddd`; the longest is 17 digits, a point, two signs, an `e` and three more digits.
    let mut buffer = [0u8; 32];
    let mut rest = &mut buffer[..];
    // Writing into 32 bytes of room cannot fail.
    drop(write!(rest, "{number:.*e}", digits - 1));
    let length = 32 - rest.len();
    let text = &buffer[..length];
    let (mantissa, exponent) = match text.iter().position(|byte| *byte == b'e') {
        Some(at) => (&text[..at], &text[at + 1..]),
        None => (text, &b"0"[..]),
    };
    let exponent: i32 = std::str::from_utf8(exponent).ok().and_then(|text| text.parse().ok()).unwrap_or(0);
    let (sign, mantissa) = match mantissa.split_first() {
        Some((b'-', rest)) => (&b"-"[..], rest),
        _ => (&b""[..], mantissa),
    };
    out.extend_from_slice(sign);
    // The significant digits without the point, and without zeros at the end.
    let mut significant = [0u8; 20];
    let mut count = 0;
    for digit in mantissa.iter().filter(|byte| byte.is_ascii_digit()) {
        significant[count] = *digit;
        count += 1;
    }
    while count > 1 && significant[count - 1] == b'0' {
        count -= 1;
    }
    let significant = &significant[..count];
    if exponent < -4 || exponent >= digits as i32 {
        out.push(significant[0]);
        if count > 1 {
            out.push(b'.');
            out.extend_from_slice(&significant[1..]);
        }
        // Writing to memory cannot fail.
        drop(write!(out, "e{}{:02}", if exponent < 0 { '-' } else { '+' }, exponent.unsigned_abs()));
    } else if exponent < 0 {
        out.extend_from_slice(b"0.");
        out.resize(out.len() + exponent.unsigned_abs() as usize - 1, b'0');
        out.extend_from_slice(significant);
    } else {
        let whole = exponent.unsigned_abs() as usize + 1;
        out.extend_from_slice(&significant[..whole.min(count)]);
        out.resize(out.len() + whole.saturating_sub(count), b'0');
        if count > whole {
            out.push(b'.');
            out.extend_from_slice(&significant[whole..]);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text<T: Decimal>(number: T) -> String {
        let mut out = Vec::new();
        write_decimal(&mut out, number, Digits::General);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn numbers_are_written_as_tensorflow_serving_does() {
        for (number, expected) in [
            (0.0f32, "0.0"),
            (-0.0, "-0.0"),
            (3.0, "3.0"),
            (2.5, "2.5"),
            (-3.5, "-3.5"),
            (0.2, "0.2"),
            (1e-4, "0.0001"),
            (3e-5, "3e-05"),
            (100_000.0, "100000.0"),
            (9_000_000.0, "9e+06"),
            (1_234_567.0, "1234567.0"),
            (16_777_216.0, "16777216.0"),
            (123_456_789.0, "123456792.0"),
            (1e10, "1e+10"),
            (0.1 + 0.2, "0.3"),
            (1.0 / 3.0, "0.333333343"),
            (f32::MAX, "3.40282347e+38"),
            (f32::MIN_POSITIVE, "1.17549435e-38"),
            (1e-45, "1.4013e-45"),
            (f32::NAN, "NaN"),
            (f32::INFINITY, "Infinity"),
            (f32::NEG_INFINITY, "-Infinity"),
        ] {
            assert_eq!(text(number), expected);
        }
        for (number, expected) in [
            (0.1f64, "0.1"),
            (0.1 + 0.2, "0.30000000000000004"),
            (1e300, "1e+300"),
            (f64::MIN_POSITIVE, "2.2250738585072014e-308"),
            (-5e-324, "-4.94066e-324"),
            (123_456.7, "123456.7"),
            (f64::NAN, "NaN"),
        ] {
            assert_eq!(text(number), expected);
        }
    }

    #[test]
    fn the_fewest_digits_give_the_number_back() {
        let text = |number: f32| {
            let mut out = Vec::new();
            write_decimal(&mut out, number, Digits::Fewest);
            String::from_utf8(out).unwrap()
        };
        let texts = [0.1, 1.0, 1.0 / 3.0, 1e10, f32::NAN, f32::INFINITY, f32::NEG_INFINITY].map(text);
        assert_eq!(texts, ["0.1", "1.0", "0.33333334", "10000000000.0", "NaN", "Infinity", "-Infinity"]);
    }

    proptest! {
        #[test]
        fn every_float_comes_back(bits in any::<u32>()) {
            let number = f32::from_bits(bits);
            let written = text(number);
            if number.is_finite() {
                prop_assert_eq!(written.parse::<f32>().unwrap().to_bits(), bits, "{}", written);
                prop_assert!(written.contains(['.', 'e']));
            } else {
                prop_assert!(["NaN", "Infinity", "-Infinity"].contains(&written.as_str()));
            }
        }

        #[test]
        fn every_double_comes_back(bits in any::<u64>()) {
            let number = f64::from_bits(bits);
            if number.is_finite() {
                let written = text(number);
                prop_assert_eq!(written.parse::<f64>().unwrap().to_bits(), bits, "{}", written);
            }
        }

        /// Numbers that six digits give back are written with no more.
        #[test]
        fn six_digits_are_enough_where_they_are(digits in 1u32..1_000_000, exponent in -20i32..20) {
            let number: f32 = format!("{digits}e{exponent}").parse().unwrap();
            let written = text(number);
            let mantissa = written.split('e').next().unwrap_or_default();
            let significant = mantissa.trim_end_matches(".0").replace('.', "");
            let significant = significant.trim_start_matches('0').trim_end_matches('0');
            prop_assert!(significant.len() <= 6, "{number:e} as {written}");
        }
    }
}
