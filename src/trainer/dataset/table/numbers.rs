//! Numbers as people write them: with a decimal comma, with marks between thousands, of money or in percent.

use super::cells::{Cell, is_dash};

/// Signs and codes of money, before or behind an amount.
const MONEY: [&str; 12] = ["$", "€", "£", "¥", "₹", "US$", "USD", "EUR", "GBP", "CHF", "JPY", "kr"];

/// How the numbers of a column are written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Style {
    /// True if the decimal mark is a comma.
    pub(super) comma: bool,
    /// True if a text may be a number with marks: thousands, money, percent.
    pub(super) marked: bool,
    /// True if a dash stands for a missing number.
    pub(super) dashes: bool,
}

/// The number of a cell; NaN stands for a missing one.
pub(super) type Found = Option<f64>;

impl Style {
    /// Returns the number that a cell says: NaN of a missing one, `None` of what is no number.
    pub(super) fn number(self, cell: &Cell<'_>) -> Found {
        match cell {
            Cell::Missing => Some(f64::NAN),
            Cell::Text(text) if self != Self::default() => match () {
                () if self.dashes && is_dash(text) => Some(f64::NAN),
                () if self.comma || self.marked => written(text, self.comma).map(|(number, _)| number),
                () => cell.number(),
            },
            _ => cell.number(),
        }
    }
}

/// The marks around a number.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Marks {
    pub(super) money: bool,
    pub(super) percent: bool,
    pub(super) thousands: bool,
}

/// Returns the number that a text writes with a decimal comma or a decimal point, and its marks.
pub(super) fn written(text: &str, comma: bool) -> Option<(f64, Marks)> {
    if !text.bytes().any(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let mut marks = Marks::default();
    let (mut text, mut is_negative) = (text.trim(), false);
    if let Some(inner) = text.strip_prefix('(').and_then(|rest| rest.strip_suffix(')')) {
        // As accountants write a loss.
        (text, is_negative) = (inner.trim(), true);
    }
    if let Some(rest) = text.strip_suffix('%') {
        (text, marks.percent) = (rest.trim_end(), true);
    }
    let sign = |text: &mut &str| {
        let rest = text.strip_prefix(['-', '−']).or_else(|| text.strip_prefix('+'));
        let is_minus = text.starts_with(['-', '−']);
        *text = rest.unwrap_or(text);
        is_minus
    };
    is_negative ^= sign(&mut text);
    let without = MONEY.iter().find_map(|mark| text.strip_prefix(mark).or_else(|| text.strip_suffix(mark)));
    if let Some(rest) = without {
        (text, marks.money) = (rest.trim(), true);
        is_negative ^= sign(&mut text);
    }
    let (number, thousands) = plain(text, comma)?;
    marks.thousands = thousands;
    Some((if is_negative { -number } else { number }, marks))
}

/// Returns the number of digits with a decimal mark, and true if there are marks between thousands.
fn plain(text: &str, comma: bool) -> Option<(f64, bool)> {
    let (decimal, others): (char, &[char]) = if comma {
        (',', &['.', ' ', '\u{a0}', '\u{202f}', '\''])
    } else {
        ('.', &[',', ' ', '\u{a0}', '\u{202f}', '\''])
    };
    let (whole, fraction) = text.split_once(decimal).map_or((text, None), |(whole, rest)| (whole, Some(rest)));
    if !text.starts_with(|first: char| first.is_ascii_digit() || first == decimal) {
        return None;
    }
    if let Some(mark) = whole.chars().find(|character| others.contains(character)) {
        let mut groups = whole.split(mark);
        let first = groups.next().unwrap_or_default();
        let is_group = |group: &str| group.len() == 3 && group.bytes().all(|byte| byte.is_ascii_digit());
        let is_first = (1..=3).contains(&first.len()) && first.bytes().all(|byte| byte.is_ascii_digit());
        let is_fraction = fraction.is_none_or(|fraction| fraction.bytes().all(|byte| byte.is_ascii_digit()));
        if !is_first || !groups.all(is_group) || !is_fraction {
            return None;
        }
        let digits: String = whole.chars().filter(char::is_ascii_digit).collect();
        return format!("{digits}.{}", fraction.unwrap_or("0")).parse().ok().map(|number| (number, true));
    }
    let number = match fraction {
        Some(fraction) if comma => format!("{whole}.{fraction}").parse().ok()?,
        _ => text.parse().ok()?,
    };
    Some((number, false))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_people_write_them() {
        for (text, comma, expected) in [
            ("0,17", true, Some(0.17)),
            ("-1,03", true, Some(-1.03)),
            ("1.234.567,5", true, Some(1_234_567.5)),
            ("1 234,5", true, Some(1234.5)),
            ("1'234", true, Some(1234.0)),
            (",5", true, Some(0.5)),
            ("1,5e3", true, Some(1500.0)),
            ("0.17", true, None),
            ("0,17", false, None),
            ("1,234,567.5", false, Some(1_234_567.5)),
            ("1,23,4", false, None),
            ("0.17", false, Some(0.17)),
            ("$1,200", false, Some(1200.0)),
            ("-$5.50", false, Some(-5.5)),
            ("$-5.50", false, Some(-5.5)),
            ("(1,200.50)", false, Some(-1200.5)),
            ("12,50 €", true, Some(12.5)),
            ("EUR 12.50", false, Some(12.5)),
            ("15 %", false, Some(15.0)),
            ("−3%", false, Some(-3.0)),
            ("12kg", false, None),
            ("1-2", false, None),
            ("red", false, None),
            ("%", false, None),
            ("nan", false, None),
        ] {
            assert_eq!(written(text, comma).map(|(number, _)| number), expected, "{text}");
        }
        let marks = |text| written(text, false).unwrap().1;
        assert_eq!(marks("$1,000"), Marks { money: true, percent: false, thousands: true });
        assert_eq!(marks("7%"), Marks { money: false, percent: true, thousands: false });
    }

    #[test]
    fn a_dash_is_missing_where_the_style_says_so() {
        let style = Style { dashes: true, ..Style::default() };
        assert!(style.number(&Cell::Text("--")).unwrap().is_nan());
        assert_eq!(style.number(&Cell::Text("2.5")), Some(2.5));
        assert_eq!(Style::default().number(&Cell::Text("--")), None);
        assert_eq!(Style { comma: true, ..style }.number(&Cell::Text("2,5")), Some(2.5));
        assert_eq!(style.number(&Cell::Text("two")), None);
    }
}
