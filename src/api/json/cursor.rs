//! A reader of JSON text that keeps no tree and whose recursion is bounded.

use std::borrow::Cow;
use std::fmt::Display;

use super::number::Number;
use crate::error::{Error, Result};
use crate::ids::quote;

/// The mark that some editors and libraries write before a text in UTF-8; it is no part of the JSON.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// The deepest nesting of a value that is passed over.
const MAX_DEPTH: usize = 128;

/// The deepest nesting of a list whose reading is put off.
const MAX_SPAN_DEPTH: usize = 32;

/// A place in a JSON text.
///
/// Syntax errors are [`Error::Malformed`], values of another kind than expected [`Error::InvalidInput`]; both name
/// the line and the column.
#[derive(Debug, Clone)]
pub(in crate::api) struct Cursor<'a> {
    json: &'a [u8],
    at: usize,
    words: bool,
}

impl<'a> Cursor<'a> {
    /// Starts at the beginning of a text of standard JSON, behind its byte order mark if it has one.
    pub(in crate::api) fn new(json: &'a [u8]) -> Self {
        Self { json: without_mark(json), at: 0, words: false }
    }

    /// Starts at the beginning of a text in which `NaN`, `Infinity` and `-Infinity` may stand for numbers. They are
    /// not in the standard, but Python writes them, and so do Triton and TensorFlow Serving.
    pub(in crate::api) fn with_words(json: &'a [u8]) -> Self {
        Self { words: true, ..Self::new(json) }
    }

    /// Returns the error for text here that is not JSON.
    #[cold]
    pub(in crate::api) fn refuse(&self, expected: &str) -> Error {
        let got = match self.json.get(self.at) {
            Some(byte) => format!("got '{}'", byte.escape_ascii()),
            None => "it ends".to_owned(),
        };
        Error::Malformed(format!("expected {expected}, {got}{}", self.place()))
    }

    /// Returns the error for a value here of another kind than expected, or for what is no value at all.
    #[cold]
    pub(in crate::api) fn mismatch(&self, expected: &str) -> Error {
        match described(&self.json[self.at.min(self.json.len())..]) {
            Some(got) => Error::InvalidInput(format!("expected {expected}, got {got}{}", self.place())),
            None => self.refuse(expected),
        }
    }

    /// Returns the error for a value before this place that cannot be taken.
    #[cold]
    pub(in crate::api) fn fault(&self, problem: impl Display) -> Error {
        Error::InvalidInput(format!("{problem}{}", self.place()))
    }

    fn place(&self) -> String {
        let before = &self.json[..self.at.min(self.json.len())];
        let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
        let column = 1 + before.iter().rev().take_while(|byte| **byte != b'\n').count();
        format!(" (line {line}, column {column} of the JSON)")
    }

    /// Returns the next byte that is not white space, without taking it.
    #[inline]
    pub(in crate::api) fn peek(&mut self) -> Option<u8> {
        while let Some(byte) = self.json.get(self.at) {
            if !matches!(byte, b' ' | b'\n' | b'\r' | b'\t') {
                return Some(*byte);
            }
            self.at += 1;
        }
        None
    }

    /// Takes the next byte if it is this one.
    #[inline]
    pub(in crate::api) fn take(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    fn word(&mut self, word: &str) -> bool {
        let found = self.json[self.at..].starts_with(word.as_bytes());
        self.at += if found { word.len() } else { 0 };
        found
    }

    /// Checks that nothing but white space is left.
    pub(in crate::api) fn end(&mut self) -> Result<()> {
        if self.peek().is_none() { Ok(()) } else { Err(self.refuse("the end")) }
    }

    /// Takes a `null`, if there is one.
    pub(in crate::api) fn null(&mut self) -> bool {
        self.peek() == Some(b'n') && self.word("null")
    }

    /// Reads `true` or `false`.
    pub(in crate::api) fn boolean(&mut self) -> Result<bool> {
        match self.peek() {
            Some(b't') if self.word("true") => Ok(true),
            Some(b'f') if self.word("false") => Ok(false),
            _ => Err(self.mismatch("true or false")),
        }
    }

    /// Reads a whole number from 0 that fits the type, or nothing at a `null`.
    pub(in crate::api) fn optional_whole<T: TryFrom<u64>>(&mut self, expected: &str) -> Result<Option<T>> {
        if self.null() {
            return Ok(None);
        }
        let whole = self.number()?.get::<u64>().and_then(|number| T::try_from(number).ok());
        whole.map(Some).ok_or_else(|| self.fault(format_args!("expected {expected}")))
    }

    /// Reads a string, or nothing at a `null`.
    pub(in crate::api) fn optional_string(&mut self) -> Result<Option<Cow<'a, str>>> {
        if self.null() { Ok(None) } else { self.string().map(Some) }
    }

    /// Checks that a value begins with this byte.
    pub(in crate::api) fn begins_with(&mut self, byte: u8, expected: &str) -> Result<()> {
        if self.peek() == Some(byte) { Ok(()) } else { Err(self.mismatch(expected)) }
    }

    /// Hands over each member of an object by its key.
    pub(in crate::api) fn object(&mut self, mut member: impl FnMut(&mut Self, &str) -> Result<()>) -> Result<()> {
        self.begins_with(b'{', "an object")?;
        self.at += 1;
        if self.take(b'}') {
            return Ok(());
        }
        loop {
            if self.peek() != Some(b'"') {
                return Err(self.refuse("a key"));
            }
            let key = self.string()?;
            if !self.take(b':') {
                return Err(self.refuse("':'"));
            }
            member(self, &key)?;
            if self.take(b'}') {
                return Ok(());
            }
            if !self.take(b',') {
                return Err(self.refuse("',' or '}'"));
            }
        }
    }

    /// Returns the first key of the object that begins here, without moving.
    pub(in crate::api) fn first_key(&self) -> Option<Cow<'a, str>> {
        let mut ahead = self.clone();
        if ahead.take(b'{') { ahead.string().ok() } else { None }
    }

    /// Hands over each element of a list.
    pub(in crate::api) fn list(&mut self, mut element: impl FnMut(&mut Self) -> Result<()>) -> Result<()> {
        self.begins_with(b'[', "a list")?;
        self.at += 1;
        if self.take(b']') {
            return Ok(());
        }
        loop {
            element(self)?;
            if !self.next_element()? {
                return Ok(());
            }
        }
    }

    /// Takes what stands behind an element of a list; returns whether another element follows.
    #[inline]
    pub(super) fn next_element(&mut self) -> Result<bool> {
        match self.peek() {
            Some(b',') => self.at += 1,
            Some(b']') => {
                self.at += 1;
                return Ok(false);
            }
            _ => return Err(self.refuse("',' or ']'")),
        }
        Ok(true)
    }

    /// Reads a string.
    pub(in crate::api) fn string(&mut self) -> Result<Cow<'a, str>> {
        self.begins_with(b'"', "a string")?;
        self.at += 1;
        let start = self.at;
        self.skip_plain();
        while let Some(byte) = self.json.get(self.at) {
            match byte {
                b'"' => {
                    let text = std::str::from_utf8(&self.json[start..self.at]);
                    self.at += 1;
                    return text.map(Cow::Borrowed).map_err(|_| self.refuse("text in UTF-8"));
                }
                b'\\' => return self.escaped(start),
                0..0x20 => return Err(self.refuse("no control character in a string")),
                _ => self.at += 1,
            }
        }
        Err(self.refuse("the end of the string"))
    }

    /// Passes over bytes of a string that need no look, sixteen at once.
    fn skip_plain(&mut self) {
        let is_special = |byte: &u8| *byte == b'"' || *byte == b'\\' || *byte < 0x20;
        for chunk in self.json[self.at..].as_chunks::<16>().0 {
            // No early exit, so that the comparison is one of vectors.
            if chunk.iter().fold(false, |found, byte| found | is_special(byte)) {
                return;
            }
            self.at += chunk.len();
        }
    }

    /// Reads a string with escapes, which serde_json knows how to undo.
    fn escaped(&mut self, start: usize) -> Result<Cow<'a, str>> {
        while let Some(byte) = self.json.get(self.at) {
            match byte {
                b'"' => {
                    self.at += 1;
                    let text = serde_json::from_slice::<String>(&self.json[start - 1..self.at]);
                    return text.map(Cow::Owned).map_err(|_| self.refuse("a string whose escapes are right"));
                }
                b'\\' => self.at += 2,
                _ => self.at += 1,
            }
        }
        self.at = self.json.len();
        Err(self.refuse("the end of the string"))
    }

    /// Reads a number, or a word for one where words are taken.
    #[inline]
    pub(in crate::api) fn number(&mut self) -> Result<Number<'a>> {
        self.peek();
        let rest = &self.json[self.at..];
        match Number::read(rest).or_else(|| if self.words { Number::word(rest) } else { None }) {
            Some(number) => {
                self.at += number.length();
                Ok(number)
            }
            // What begins as a number and is none is not JSON.
            None if matches!(rest.first(), Some(b'-' | b'0'..=b'9')) => Err(self.refuse("a number")),
            None => Err(self.mismatch("a number")),
        }
    }

    /// Passes over any value.
    pub(in crate::api) fn skip(&mut self) -> Result<()> {
        self.skip_at(0)
    }

    fn skip_at(&mut self, depth: usize) -> Result<()> {
        if depth > MAX_DEPTH {
            return Err(self.refuse(&format!("values nested no deeper than {MAX_DEPTH}")));
        }
        match self.peek() {
            Some(b'{') => self.object(|cursor, _| cursor.skip_at(depth + 1)),
            Some(b'[') => self.list(|cursor| cursor.skip_at(depth + 1)),
            Some(b'"') => self.string().map(drop),
            Some(b't' | b'f') => self.boolean().map(drop),
            Some(b'n') if self.null() => Ok(()),
            _ => self.number().map(drop),
        }
    }

    /// Passes over a value of lists and plain values and returns its text, to be read later. Only its brackets and
    /// strings are looked at.
    pub(in crate::api) fn span(&mut self) -> Result<Self> {
        self.peek();
        let Self { json, at: begin, words } = *self;
        let whole = |end: usize| Self { json: &json[..end], at: begin, words };
        let mut depth = 0usize;
        while let Some(byte) = self.json.get(self.at) {
            match byte {
                b'[' => depth += 1,
                b']' if depth > 0 => depth -= 1,
                b'"' => {
                    self.string()?;
                    if depth == 0 {
                        return Ok(whole(self.at));
                    }
                    continue;
                }
                b'{' => return Err(self.mismatch("elements")),
                b',' | b'}' | b']' if depth == 0 => return Ok(whole(self.at)),
                _ => {}
            }
            self.at += 1;
            if depth > MAX_SPAN_DEPTH {
                return Err(self.refuse(&format!("lists nested no deeper than {MAX_SPAN_DEPTH}")));
            }
            if depth == 0 && *byte == b']' {
                return Ok(whole(self.at));
            }
        }
        Err(self.refuse("the end of the list"))
    }

    /// Returns the number of bytes from here on, an upper bound for what can still be read.
    pub(in crate::api) fn rest(&self) -> usize {
        self.json.len() - self.at.min(self.json.len())
    }
}

/// Returns a text of JSON without the byte order mark before it.
pub(in crate::api) fn without_mark(json: &[u8]) -> &[u8] {
    json.strip_prefix(BYTE_ORDER_MARK).unwrap_or(json)
}

/// Returns a short description of the value that begins here; `None` for what is no value.
#[cold]
fn described(json: &[u8]) -> Option<String> {
    const LONG_ENOUGH: usize = 160;
    let json = &json[..json.len().min(LONG_ENOUGH)];
    match json.first()? {
        b'{' => Some("an object".into()),
        b'[' => Some("a list".into()),
        b'"' => {
            let text = json[1..].split(|byte| *byte == b'"').next().unwrap_or_default();
            Some(quote(&String::from_utf8_lossy(text)))
        }
        b'-' | b'0'..=b'9' => {
            let is_part = |byte: &&u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'+' | b'.');
            let number: Vec<u8> = json.iter().take_while(is_part).take(40).copied().collect();
            Some(String::from_utf8_lossy(&number).into_owned())
        }
        _ => ["true", "false", "null"].into_iter().find(|word| json.starts_with(word.as_bytes())).map(str::to_owned),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_byte_order_mark_is_passed_over_once() {
        let number = |json: &'static str| Cursor::new(json.as_bytes()).number().map(|number| number.text().to_owned());
        assert_eq!(number("\u{feff} 7").unwrap(), "7");
        assert!(number("\u{feff}\u{feff}7").is_err() && number(" \u{feff}7").is_err());
        assert!(number("\u{feff}\n x").unwrap_err().to_string().contains("line 2, column 2"));
    }

    #[test]
    fn an_error_quotes_the_beginning_of_a_value() {
        let long = format!("\"{}\"", "A".repeat(300_000));
        for (json, got) in [
            (long.as_str(), format!("got \"{}…\" (line 1", "A".repeat(40))),
            ("\"a\\\"b\"", "got \"a\\\\\" (line".into()),
            ("[1]", "got a list".into()),
            ("{}", "got an object".into()),
            ("null", "got null".into()),
        ] {
            let refused = Cursor::new(json.as_bytes()).number().unwrap_err().to_string();
            assert!(refused.contains(&got), "{refused}");
        }
        let refused = Cursor::new(b"-12.5,").boolean().unwrap_err().to_string();
        assert!(refused.starts_with("expected true or false, got -12.5 ("), "{refused}");
    }

    #[test]
    fn a_span_ends_where_its_value_does() {
        for (json, rest) in [("[1,[2]],3", 2), ("\"a]\\\"\" ,", 2), ("7}", 1), ("true]", 1), ("[\"]\"]}", 1)] {
            let mut cursor = Cursor::new(json.as_bytes());
            cursor.span().unwrap();
            assert_eq!(cursor.rest(), rest, "{json}");
        }
        for json in ["[1", "\"a", "[{}]", "{}"] {
            assert!(Cursor::new(json.as_bytes()).span().is_err(), "{json}");
        }
    }

    #[test]
    fn a_value_of_another_kind_is_no_syntax_error() {
        let read = |json: &'static str| Cursor::new(json.as_bytes()).number().unwrap_err();
        for json in ["\"1\"", "[1]", "{}", "null", "true"] {
            assert!(matches!(read(json), Error::InvalidInput(_)), "{json}");
        }
        for json in ["", "]", "x", "NaN", "-Infinity", "01", "1.", "-", ".5"] {
            assert!(matches!(read(json), Error::Malformed(_)), "{json}");
        }
    }

    #[test]
    fn whole_numbers_are_in_range_or_null() {
        let read = |json: &'static str| Cursor::new(json.as_bytes()).optional_whole::<u16>("it");
        assert_eq!((read("null").unwrap(), read("65535").unwrap()), (None, Some(65_535)));
        for bad in ["65536", "-1", "1.0", "1e2", "\"2\"", "true", "[2]", "99999999999999999999"] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn nesting_is_bounded() {
        let deep = "[".repeat(250_000);
        assert!(Cursor::new(deep.as_bytes()).span().is_err());
        assert!(Cursor::new(deep.as_bytes()).skip().is_err());
        assert!(Cursor::new("{\"a\":".repeat(250_000).as_bytes()).skip().is_err());
    }

    proptest! {
        #[test]
        fn whatever_serde_json_reads_is_passed_over(text in "[\\[\\]{}\",:0-9a-z\\\\ .-]{0,40}") {
            let mut cursor = Cursor::new(text.as_bytes());
            let skipped = cursor.skip().and_then(|()| cursor.end()).is_ok();
            // Whole numbers of any size are JSON; serde_json turns what is too large for a float away.
            if serde_json::from_str::<serde_json::Value>(&text).is_ok() {
                prop_assert!(skipped);
            }
        }

        #[test]
        fn strings_come_back(text in any::<String>()) {
            let json = serde_json::to_string(&text).unwrap();
            prop_assert_eq!(Cursor::new(json.as_bytes()).string().unwrap(), text);
        }
    }
}
