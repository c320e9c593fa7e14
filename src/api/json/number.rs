//! The text of a number, and its value in each type.

use half::{bf16, f16};

/// Powers of ten that a 64-bit float holds exactly.
const EXACT_POWERS: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20,
    1e21, 1e22,
];

/// Whole numbers up to this one are exact in a 64-bit float.
const EXACT_WHOLE: u64 = 1 << 53;

/// More decimal digits may not fit 64 bits.
const MAX_DIGITS: usize = 19;

/// A number as it is written.
///
/// The digits are kept as a whole number and an exponent, so that most values need no second look at the text.
#[derive(Debug, Clone, Copy)]
pub(in crate::api) struct Number<'a> {
    text: &'a [u8],
    is_negative: bool,
    /// All digits without the point; only of meaning if `is_short`.
    digits: u64,
    /// The power of ten that the digits are multiplied by.
    exponent: i32,
    /// False when there are more digits than `digits` holds.
    is_short: bool,
    form: Form,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// No point and no exponent.
    Whole,
    Fraction,
    /// `NaN`, `Infinity` or `-Infinity`.
    Word,
}

/// A type that numbers are read into.
pub(in crate::api) trait Numeric: Sized {
    /// Returns the value of a number, if the type holds it. Floats are rounded to the nearest; they are infinite or
    /// NaN only if a word says so.
    fn of(number: &Number<'_>) -> Option<Self>;
}

impl<'a> Number<'a> {
    /// Reads the number that a text begins with: digits without a leading zero, a fraction and an exponent.
    #[inline]
    pub(super) fn read(json: &'a [u8]) -> Option<Self> {
        let is_negative = json.first() == Some(&b'-');
        let start = usize::from(is_negative);
        let (mut digits, mut at) = (0, start);
        at += add_digits(&json[at..], &mut digits);
        let mut count = at - start;
        if count == 0 || (count > 1 && json[start] == b'0') {
            return None;
        }
        let (mut form, mut exponent) = (Form::Whole, 0i32);
        if json.get(at) == Some(&b'.') {
            let fraction = add_digits(&json[at + 1..], &mut digits);
            if fraction == 0 {
                return None;
            }
            at += 1 + fraction;
            count += fraction;
            form = Form::Fraction;
            exponent = i32::try_from(fraction).map_or(i32::MIN, |fraction| -fraction);
        }
        if let Some(b'e' | b'E') = json.get(at) {
            let sign = json.get(at + 1).copied().filter(|sign| matches!(sign, b'+' | b'-'));
            at += 1 + usize::from(sign.is_some());
            let mut power = 0;
            let length = add_digits(&json[at..], &mut power);
            if length == 0 {
                return None;
            }
            at += length;
            form = Form::Fraction;
            let power = if length > 9 { i32::MAX } else { power as i32 };
            exponent = exponent.saturating_add(if sign == Some(b'-') { -power } else { power });
        }
        Some(Self { text: &json[..at], is_negative, digits, exponent, is_short: count <= MAX_DIGITS, form })
    }

    /// Reads the word for a number that a text begins with.
    pub(super) fn word(json: &'a [u8]) -> Option<Self> {
        let word = ["NaN", "Infinity", "-Infinity"].into_iter().find(|word| json.starts_with(word.as_bytes()))?;
        let text = &json[..word.len()];
        Some(Self { text, is_negative: false, digits: 0, exponent: 0, is_short: false, form: Form::Word })
    }

    pub(super) fn length(&self) -> usize {
        self.text.len()
    }

    /// Returns the number as it is written.
    pub(in crate::api) fn text(&self) -> &'a str {
        // Only ASCII was taken.
        std::str::from_utf8(self.text).unwrap_or_default()
    }

    /// Returns the value in a type that holds it.
    pub(in crate::api) fn get<T: Numeric>(&self) -> Option<T> {
        T::of(self)
    }

    /// Returns the nearest 64-bit float, infinite for numbers beyond its range.
    #[inline]
    pub(in crate::api) fn nearest(&self) -> f64 {
        self.exact().unwrap_or_else(|| self.text().parse().unwrap_or(f64::NAN))
    }

    /// Returns the nearest 64-bit float when one operation on exact operands makes it.
    #[inline]
    fn exact(&self) -> Option<f64> {
        if !self.is_short || self.digits > EXACT_WHOLE {
            return None;
        }
        let power = *EXACT_POWERS.get(self.exponent.unsigned_abs() as usize)?;
        let digits = self.digits as f64;
        let size = if self.exponent < 0 { digits / power } else { digits * power };
        Some(if self.is_negative { -size } else { size })
    }

    fn finite_or_word<T: Copy>(&self, value: T, is_finite: impl Fn(T) -> bool) -> Option<T> {
        (is_finite(value) || self.form == Form::Word).then_some(value)
    }
}

/// Appends the decimal digits at the front to a number, and returns how many there are. Beyond 64 bits the number is
/// of no meaning.
#[inline]
fn add_digits(json: &[u8], number: &mut u64) -> usize {
    let mut count = 0;
    while let Some(digit) = json.get(count).map(|byte| byte.wrapping_sub(b'0')).filter(|digit| *digit < 10) {
        *number = number.wrapping_mul(10).wrapping_add(u64::from(digit));
        count += 1;
    }
    count
}

impl Numeric for f64 {
    #[inline]
    fn of(number: &Number<'_>) -> Option<Self> {
        number.finite_or_word(number.nearest(), f64::is_finite)
    }
}

impl Numeric for f32 {
    #[inline]
    fn of(number: &Number<'_>) -> Option<Self> {
        // Rounding twice is wrong only where the first result lies halfway between two 32-bit floats.
        const HALFWAY: u64 = 1 << 28;
        if let Some(exact) = number.exact()
            && exact.to_bits() & (2 * HALFWAY - 1) != HALFWAY
        {
            return Some(exact as f32);
        }
        number.finite_or_word(number.text().parse().ok()?, f32::is_finite)
    }
}

impl Numeric for f16 {
    fn of(number: &Number<'_>) -> Option<Self> {
        number.finite_or_word(f16::from_f64(number.nearest()), f16::is_finite)
    }
}

impl Numeric for bf16 {
    fn of(number: &Number<'_>) -> Option<Self> {
        number.finite_or_word(bf16::from_f64(number.nearest()), bf16::is_finite)
    }
}

macro_rules! whole {
    ($($ty:ty),*) => {
        $(impl Numeric for $ty {
            #[inline]
            fn of(number: &Number<'_>) -> Option<Self> {
                match (number.form, number.is_short) {
                    (Form::Whole, true) if number.is_negative => (-i128::from(number.digits)).try_into().ok(),
                    (Form::Whole, true) => number.digits.try_into().ok(),
                    (Form::Whole, false) => number.text().parse().ok(),
                    (Form::Fraction | Form::Word, _) => None,
                }
            }
        })*
    };
}

whole!(u8, u16, u32, u64, i8, i16, i32, i64);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(json: &str) -> Number<'_> {
        let number = Number::read(json.as_bytes()).unwrap();
        assert_eq!(number.length(), json.len(), "{json}");
        number
    }

    #[test]
    fn integers_are_whole_and_exact() {
        assert_eq!(read("18446744073709551615").get(), Some(u64::MAX));
        assert_eq!(read("-9223372036854775808").get(), Some(i64::MIN));
        assert_eq!(read("9007199254740993").get(), Some(9_007_199_254_740_993i64));
        assert_eq!((read("-128").get(), read("-0").get()), (Some(-128i8), Some(0u8)));
        for bad in ["256", "-1", "1.0", "1e0", "18446744073709551616"] {
            assert_eq!(read(bad).get::<u8>(), None, "{bad}");
        }
    }

    #[test]
    fn floats_are_finite_unless_a_word_says_otherwise() {
        assert_eq!((read("1e39").get::<f32>(), read("1e39").get::<f64>()), (None, Some(1e39)));
        assert_eq!((read("3.4028236e38").get::<f32>(), read("3.4028234e38").get()), (None, Some(f32::MAX)));
        assert_eq!((read("1e400").get::<f64>(), read("-1e999999999999").get::<f64>()), (None, None));
        assert_eq!((read("70000").get::<f16>(), read("65504").get()), (None, Some(f16::MAX)));
        assert_eq!((read("1e-400").get(), read("0e99").get()), (Some(0f32), Some(0f64)));
        assert!(read("-0").get::<f32>().is_some_and(|zero| zero == 0.0 && zero.is_sign_negative()));
        let word = |text: &'static str| Number::word(text.as_bytes()).unwrap();
        assert!(word("NaN,").get::<bf16>().is_some_and(bf16::is_nan));
        assert_eq!((word("-Infinity").get(), word("Infinity").get()), (Some(f32::NEG_INFINITY), Some(f16::INFINITY)));
        assert_eq!(word("NaN").get::<i32>(), None);
    }

    proptest! {
        /// Whatever way its text takes, a float is the one that the standard library reads.
        #[test]
        fn floats_are_correctly_rounded(whole in 0u64.., shift in 0usize..25, power in -60i32..60, minus in any::<bool>()) {
            let digits = whole.to_string();
            let (head, tail) = digits.split_at(digits.len().saturating_sub(shift).max(1));
            let point = if tail.is_empty() { "" } else { "." };
            let sign = if minus { "-" } else { "" };
            for text in [format!("{sign}{head}{point}{tail}"), format!("{sign}{head}{point}{tail}e{power}")] {
                let number = read(&text);
                let (single, double) = (text.parse::<f32>().unwrap(), text.parse::<f64>().unwrap());
                prop_assert_eq!(number.get::<f32>(), Some(single).filter(|single| single.is_finite()), "{}", &text);
                prop_assert_eq!(number.nearest().to_bits(), double.to_bits(), "{}", &text);
            }
        }

        /// Numbers next to the middle between two 32-bit floats, where rounding twice goes wrong.
        #[test]
        fn halves_are_rounded_once(bits in 0x2000_0000u32..0x6000_0000, places in 1usize..20) {
            let middle = (f64::from(f32::from_bits(bits)) + f64::from(f32::from_bits(bits + 1))) / 2.0;
            for text in [format!("{middle:.places$}"), format!("{middle:.places$e}"), middle.to_string()] {
                prop_assert_eq!(read(&text).get::<f32>(), text.parse::<f32>().ok(), "{}", &text);
            }
        }
    }
}
