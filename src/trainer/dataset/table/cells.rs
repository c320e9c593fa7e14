//! Cells, whatever the file.

use std::borrow::Cow;

use crate::error::Result;
use crate::trainer::dataset::faults::Faults;
use crate::transform::Parsed;

/// Takes rows, counted from 1, and their faults.
pub(super) type TakeRow<'t> = dyn FnMut(u32, &[Cell<'_>], &mut Faults) -> Result<()> + 't;

/// Texts for a missing value: those of pandas, and a question mark.
const MISSING: [&str; 19] = [
    "?", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN", "<NA>", "N/A", "NA",
    "NULL", "NaN", "None", "n/a", "nan", "null",
];

/// The length of the longest of them.
const LONGEST_MISSING: usize = 8;

/// Signs that tables write for a missing number.
const DASHES: [&str; 7] = ["-", "--", "---", "–", "—", ".", "−"];

/// Returns true if a text says that there is no value.
fn is_missing(text: &str) -> bool {
    let may_be = match text.as_bytes() {
        [] => return true,
        // Numbers, of which there are many, are known by a byte or two.
        [b'1', _, mark, ..] | [b'-', b'1', _, mark, ..] => *mark == b'#',
        [b'-', next, ..] => next.eq_ignore_ascii_case(&b'n'),
        [first, ..] => matches!(first, b'#' | b'<' | b'N' | b'n' | b'?'),
    };
    may_be && text.len() <= LONGEST_MISSING && MISSING.contains(&text)
}

/// Returns true for a sign that stands for a missing number, and may be a text.
pub(super) fn is_dash(text: &str) -> bool {
    text.len() <= 3 && DASHES.contains(&text)
}

/// One cell of a row.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Cell<'a> {
    /// Nothing.
    Missing,
    /// A number, not NaN.
    Number(f64),
    /// Text, which may be a number.
    Text(&'a str),
    /// A date or time, in days since 1970.
    Days(f64),
    /// The bytes of a file.
    Bytes(&'a [u8]),
    /// A list, or what is wrong with it.
    List(Cow<'a, Parsed>),
    /// A cell that cannot be used, and the reason.
    Broken(&'static str),
}

impl<'a> Cell<'a> {
    /// A cell of a text file; `missing` are further words for a missing value.
    pub(super) fn of_text(text: &'a str, missing: &[String]) -> Self {
        let is_bare = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_graphic);
        let ends = [text.as_bytes().first(), text.as_bytes().last()];
        let text = if ends.into_iter().all(is_bare) { text } else { text.trim() };
        if is_missing(text) || missing.iter().any(|word| word == text) { Self::Missing } else { Self::Text(text) }
    }

    /// A number that may be missing.
    pub(super) fn of_number(number: f64) -> Self {
        if number.is_nan() { Self::Missing } else { Self::Number(number) }
    }

    /// The number, infinity included, that it is or says.
    pub(super) fn number(&self) -> Option<f64> {
        match self {
            Self::Number(number) => Some(*number),
            Self::Text(text) => text.parse().ok().filter(|number: &f64| !number.is_nan()),
            _ => None,
        }
    }

    /// The text that it is or would be written as.
    pub(super) fn text(&self) -> Option<Cow<'a, str>> {
        match self {
            Self::Number(number) | Self::Days(number) => Some(Cow::Owned(number.to_string())),
            Self::Text(text) => Some(Cow::Borrowed(text)),
            _ => None,
        }
    }

    /// Returns the kind of the cell in words.
    pub(super) fn words(&self) -> String {
        match self {
            Self::Missing => "nothing".into(),
            Self::Number(number) => number.to_string(),
            Self::Days(days) => format!("a date, {days} days after 1970"),
            Self::Text(text) => crate::ids::quote(text),
            Self::Bytes(bytes) => format!("{} bytes", bytes.len()),
            Self::List(list) => match list.as_ref() {
                Ok(list) => list.words(),
                Err(problem) => format!("a list of which {problem}"),
            },
            Self::Broken(why) => (*why).to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_says_nothing_is_missing_and_the_rest_is_number_or_text() {
        for text in ["  ", "NaN", "-1.#QNAN", " <NA>", "?", "#N/A N/A", "n/a", "-9", "n.a."] {
            assert_eq!(Cell::of_text(text, &["-9".to_owned(), "n.a.".to_owned()]), Cell::Missing, "{text}");
        }
        for text in ["-9", "1", "-", "N", "nope", "Nancy", "1.#INF"] {
            assert_eq!(Cell::of_text(text, &[]), Cell::Text(text));
        }
        assert_eq!(Cell::of_number(f64::NAN), Cell::Missing);
        assert_eq!(Cell::of_text(" 4.5", &[]).number(), Some(4.5));
        assert_eq!(Cell::of_text("inf", &[]).number(), Some(f64::INFINITY));
        assert_eq!(Cell::of_text("red", &[]).number(), None);
        assert_eq!(Cell::of_number(3.0).text().as_deref(), Some("3"));
    }
}
