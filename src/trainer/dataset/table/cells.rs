//! Cells, whatever the file.

use std::borrow::Cow;

use crate::error::Result;
use crate::trainer::dataset::faults::Faults;
use crate::transform::Parsed;

/// Takes rows, counted from 1, and their faults.
pub(super) type TakeRow<'t> = dyn FnMut(u32, &[Cell<'_>], &mut Faults) -> Result<()> + 't;

/// Texts for a missing value.
const MISSING: [&str; 9] = ["", "NA", "N/A", "NaN", "nan", "null", "NULL", "None", "?"];

/// One cell of a row.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Cell<'a> {
    /// Nothing.
    Missing,
    /// A number, not NaN.
    Number(f64),
    /// Text, which may be a number.
    Text(&'a str),
    /// The bytes of a file.
    Bytes(&'a [u8]),
    /// A list, or what is wrong with it.
    List(Cow<'a, Parsed>),
    /// A cell that cannot be used, and the reason.
    Broken(&'static str),
}

impl<'a> Cell<'a> {
    /// A cell of a text file.
    pub(super) fn of_text(text: &'a str) -> Self {
        let text = text.trim();
        if MISSING.contains(&text) { Self::Missing } else { Self::Text(text) }
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
            Self::Number(number) => Some(Cow::Owned(number.to_string())),
            Self::Text(text) => Some(Cow::Borrowed(text)),
            _ => None,
        }
    }

    /// Returns the kind of the cell in words.
    pub(super) fn words(&self) -> String {
        match self {
            Self::Missing => "nothing".into(),
            Self::Number(number) => number.to_string(),
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
        assert_eq!(Cell::of_text("  "), Cell::Missing);
        assert_eq!(Cell::of_text("NaN"), Cell::Missing);
        assert_eq!(Cell::of_number(f64::NAN), Cell::Missing);
        assert_eq!(Cell::of_text(" 4.5").number(), Some(4.5));
        assert_eq!(Cell::of_text("inf").number(), Some(f64::INFINITY));
        assert_eq!(Cell::of_text("red").number(), None);
        assert_eq!(Cell::of_number(3.0).text().as_deref(), Some("3"));
    }
}
