//! A reader of JSON text that keeps no tree and does not recurse on behalf of the client.
//!
//! Beside standard JSON it takes the words `NaN`, `Infinity` and `-Infinity` where numbers stand, since
//! Triton and Python write them.

use std::borrow::Cow;

use crate::error::{Error, Result};

/// Values nested deeper than this are refused.
const MAX_DEPTH: usize = 32;

/// A place in a JSON text.
#[derive(Debug, Clone)]
pub(super) struct Cursor<'a> {
    json: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(json: &'a [u8]) -> Self {
        Self { json, at: 0 }
    }

    /// Says what is wrong here.
    pub(super) fn refuse(&self, expected: &str) -> Error {
        let got = match self.json.get(self.at) {
            Some(byte) => format!("got '{}'", byte.escape_ascii()),
            None => "it ends".to_owned(),
        };
        Error::Malformed(format!("the JSON cannot be read at byte {}: expected {expected}, {got}", self.at))
    }

    /// The next byte that is not white.
    pub(super) fn peek(&mut self) -> Option<u8> {
        while let Some(byte) = self.json.get(self.at) {
            if !matches!(byte, b' ' | b'\n' | b'\r' | b'\t') {
                return Some(*byte);
            }
            self.at += 1;
        }
        None
    }

    /// Takes the next byte if it is this one.
    pub(super) fn take(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, byte: u8, name: &str) -> Result<()> {
        if self.take(byte) { Ok(()) } else { Err(self.refuse(name)) }
    }

    fn word(&mut self, word: &str) -> bool {
        let found = self.json[self.at..].starts_with(word.as_bytes());
        self.at += if found { word.len() } else { 0 };
        found
    }

    /// Nothing but white space is left.
    pub(super) fn end(&mut self) -> Result<()> {
        if self.peek().is_none() { Ok(()) } else { Err(self.refuse("the end")) }
    }

    /// Takes a `null`, if there is one.
    pub(super) fn null(&mut self) -> bool {
        self.peek() == Some(b'n') && self.word("null")
    }

    /// A truth value.
    pub(super) fn boolean(&mut self) -> Result<bool> {
        match self.peek() {
            Some(b't') if self.word("true") => Ok(true),
            Some(b'f') if self.word("false") => Ok(false),
            _ => Err(self.refuse("true or false")),
        }
    }

    /// Hands each member of an object over by its key.
    pub(super) fn object(&mut self, mut member: impl FnMut(&mut Self, &str) -> Result<()>) -> Result<()> {
        self.expect(b'{', "an object")?;
        if self.take(b'}') {
            return Ok(());
        }
        loop {
            if self.peek() != Some(b'"') {
                return Err(self.refuse("a key"));
            }
            let key = self.string()?;
            self.expect(b':', "':'")?;
            member(self, &key)?;
            if self.take(b'}') {
                return Ok(());
            }
            self.expect(b',', "',' or '}'")?;
        }
    }

    /// Hands each element of a list over.
    pub(super) fn list(&mut self, mut element: impl FnMut(&mut Self) -> Result<()>) -> Result<()> {
        self.expect(b'[', "a list")?;
        if self.take(b']') {
            return Ok(());
        }
        loop {
            element(self)?;
            if self.take(b']') {
                return Ok(());
            }
            self.expect(b',', "',' or ']'")?;
        }
    }

    /// Hands each element of lists within lists over, in order; a lone element is a list of one.
    pub(super) fn elements(&mut self, mut element: impl FnMut(&mut Self) -> Result<()>) -> Result<()> {
        let mut depth = 0usize;
        loop {
            let mut is_empty = false;
            while !is_empty && self.take(b'[') {
                depth += 1;
                if depth > MAX_DEPTH {
                    return Err(self.refuse(&format!("lists nested no deeper than {MAX_DEPTH}")));
                }
                is_empty = self.take(b']');
            }
            if is_empty {
                depth -= 1;
            } else {
                element(self)?;
            }
            while depth > 0 && self.take(b']') {
                depth -= 1;
            }
            if depth == 0 {
                return Ok(());
            }
            self.expect(b',', "',' or ']'")?;
            if self.peek() == Some(b']') {
                return Err(self.refuse("an element"));
            }
        }
    }

    /// A string.
    pub(super) fn string(&mut self) -> Result<Cow<'a, str>> {
        self.expect(b'"', "a string")?;
        let start = self.at;
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

    /// A string with escapes, which serde_json knows how to undo.
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

    /// The text of a number, or one of the words for what is none.
    pub(super) fn number(&mut self) -> Result<&'a str> {
        self.peek();
        let start = self.at;
        let is_negative = self.json.get(self.at) == Some(&b'-');
        self.at += usize::from(is_negative);
        let is_word = self.word("Infinity") || (!is_negative && self.word("NaN"));
        if !is_word && !self.decimal() {
            self.at = start;
            return Err(self.refuse("a number"));
        }
        // Only ASCII was taken.
        std::str::from_utf8(&self.json[start..self.at]).map_err(|_| self.refuse("a number"))
    }

    /// Digits without a leading zero, a fraction and an exponent.
    fn decimal(&mut self) -> bool {
        let leading_zero = self.json.get(self.at) == Some(&b'0');
        let digits = self.digits();
        if digits == 0 || (leading_zero && digits > 1) {
            return false;
        }
        if self.json.get(self.at) == Some(&b'.') {
            self.at += 1;
            if self.digits() == 0 {
                return false;
            }
        }
        if matches!(self.json.get(self.at), Some(b'e' | b'E')) {
            self.at += 1;
            self.at += usize::from(matches!(self.json.get(self.at), Some(b'+' | b'-')));
            if self.digits() == 0 {
                return false;
            }
        }
        true
    }

    fn digits(&mut self) -> usize {
        let start = self.at;
        while self.json.get(self.at).is_some_and(u8::is_ascii_digit) {
            self.at += 1;
        }
        self.at - start
    }

    /// Passes over any value.
    pub(super) fn skip(&mut self) -> Result<()> {
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

    /// Passes over a value of lists and plain values and returns its text, to be read later; only its
    /// brackets and strings are looked at.
    pub(super) fn span(&mut self) -> Result<Cursor<'a>> {
        self.peek();
        let begin = self.at;
        let json = self.json;
        let whole = |end: usize| Self { json: &json[..end], at: begin };
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
                b'{' => return Err(self.refuse("elements")),
                b',' | b'}' | b']' if depth == 0 => return Ok(whole(self.at)),
                _ => {}
            }
            self.at += 1;
            if depth > MAX_DEPTH {
                return Err(self.refuse(&format!("lists nested no deeper than {MAX_DEPTH}")));
            }
            if depth == 0 && *byte == b']' {
                return Ok(whole(self.at));
            }
        }
        Err(self.refuse("the end of the list"))
    }

    /// The bytes from here on, an upper bound for what can still be read.
    pub(super) fn rest(&self) -> usize {
        self.json.len() - self.at.min(self.json.len())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn elements(json: &str) -> Result<Vec<String>> {
        let mut cursor = Cursor::new(json.as_bytes());
        let mut read = Vec::new();
        cursor.elements(|cursor| cursor.number().map(|text| read.push(text.to_owned())))?;
        cursor.end().map(|()| read)
    }

    #[test]
    fn lists_within_lists_are_flat() {
        for (json, expected) in [
            ("[1,[2.5,-3],[[4e1]] ]", &["1", "2.5", "-3", "4e1"][..]),
            ("7", &["7"]),
            ("[]", &[]),
            ("[[],[]]", &[]),
            (" [ [ ] , 1 ] ", &["1"]),
            ("[NaN,Infinity,-Infinity]", &["NaN", "Infinity", "-Infinity"]),
        ] {
            assert_eq!(elements(json).unwrap(), expected, "{json}");
        }
    }

    #[test]
    fn what_is_not_json_is_refused_with_its_place() {
        for json in [
            "", "[", "[1", "[1,", "[1,]", "[,1]", "[1 2]", "[[1]", "[1]]", "]", "[01]", "[+1]", "[.5]", "[1.]", "[1e]",
            "[-]", "[nan]", "[-NaN]", "[Inf]", "[null]", "[true]", "[\"1\"]", "[{}]", "[0x1]", "[1]x", "[[1,],2]",
        ] {
            let error = elements(json).unwrap_err().to_string();
            assert!(error.contains("at byte"), "{json}: {error}");
        }
        let deep = "[".repeat(250_000);
        assert!(elements(&deep).is_err());
        assert!(Cursor::new(deep.as_bytes()).span().is_err());
        assert!(Cursor::new(deep.as_bytes()).skip().is_err());
        assert!(Cursor::new("{\"a\":".repeat(250_000).as_bytes()).skip().is_err());
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
