//! The tokens of protobuf's text format, each with its place in the file.

use std::fmt;

use crate::ids::quote;

/// A place in a file, counted from 1; columns count characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) line: u32,
    pub(super) column: u32,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}", self.line, self.column)
    }
}

/// An error message, beginning with the place of the error.
pub(super) type Parsed<T> = std::result::Result<T, String>;

/// A token.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Token {
    /// A name, or the name of an enumerator.
    Word(String),
    /// A whole number, without its sign.
    Integer(u64),
    /// Any other number, without its sign.
    Float(f64),
    /// The text between quotes.
    Text(String),
    /// A sign of punctuation.
    Mark(char),
    /// Nothing follows.
    End,
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Word(word) => write!(f, "{}", quote(word)),
            Self::Integer(number) => write!(f, "{number}"),
            Self::Float(number) => write!(f, "{number}"),
            Self::Text(text) => write!(f, "the string {}", quote(text)),
            Self::Mark(mark) => write!(f, "\"{mark}\""),
            Self::End => f.write_str("the end of the file"),
        }
    }
}

/// Reads tokens one after the other.
#[derive(Debug)]
pub(super) struct Lexer<'t> {
    rest: &'t str,
    place: Place,
}

impl<'t> Lexer<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        Self { rest: text, place: Place { line: 1, column: 1 } }
    }

    /// The next token and where it begins.
    pub(super) fn next(&mut self) -> Parsed<(Place, Token)> {
        self.skip_blank();
        let place = self.place;
        let token = match self.peek() {
            None => Token::End,
            Some(quote @ ('"' | '\'')) => Token::Text(self.text(quote)?),
            Some(first) if first.is_ascii_alphabetic() || first == '_' => {
                Token::Word(self.take_while(|next| next.is_ascii_alphanumeric() || next == '_').to_owned())
            }
            Some(first) if first.is_ascii_digit() || (first == '.' && self.digit_follows()) => self.number(place)?,
            Some(mark @ ('{' | '}' | '<' | '>' | '[' | ']' | ':' | ',' | ';' | '-' | '.' | '/')) => {
                self.advance();
                Token::Mark(mark)
            }
            Some(other) => return Err(format!("{place}: {} has no meaning here", quote(&other.to_string()))),
        };
        Ok((place, token))
    }

    fn peek(&self) -> Option<char> {
        self.rest.chars().next()
    }

    fn digit_follows(&self) -> bool {
        self.rest.chars().nth(1).is_some_and(|next| next.is_ascii_digit())
    }

    fn advance(&mut self) -> Option<char> {
        let next = self.peek()?;
        self.rest = &self.rest[next.len_utf8()..];
        match next {
            '\n' => self.place = Place { line: self.place.line.saturating_add(1), column: 1 },
            _ => self.place.column = self.place.column.saturating_add(1),
        }
        Some(next)
    }

    fn take_while(&mut self, belongs: impl Fn(char) -> bool) -> &'t str {
        let before = self.rest;
        while self.peek().is_some_and(&belongs) {
            self.advance();
        }
        &before[..before.len() - self.rest.len()]
    }

    fn skip_blank(&mut self) {
        loop {
            self.take_while(|next| matches!(next, ' ' | '\t' | '\r' | '\n' | '\u{b}' | '\u{c}' | '\u{feff}'));
            if self.peek() != Some('#') {
                return;
            }
            self.take_while(|next| next != '\n');
        }
    }

    /// A number: decimal, hexadecimal, octal, or with a fraction, an exponent or the suffix `f`.
    fn number(&mut self, place: Place) -> Parsed<Token> {
        let before = self.rest;
        loop {
            self.take_while(|next| next.is_ascii_alphanumeric() || matches!(next, '.' | '_'));
            let taken = &before[..before.len() - self.rest.len()];
            let is_signed_exponent =
                taken.ends_with(['e', 'E']) && !taken.starts_with("0x") && !taken.starts_with("0X");
            if !(is_signed_exponent && matches!(self.peek(), Some('+' | '-'))) {
                break;
            }
            self.advance();
        }
        let text = &before[..before.len() - self.rest.len()];
        number(text).ok_or_else(|| format!("{place}: {} is no number", quote(text)))
    }

    fn text(&mut self, quote: char) -> Parsed<String> {
        let begin = self.place;
        let mut bytes = Vec::new();
        self.advance();
        loop {
            let place = self.place;
            match self.advance() {
                Some(next) if next == quote => break,
                Some('\\') => self.escape(place, &mut bytes)?,
                None | Some('\n') => return Err(format!("{begin}: the string does not end on its line")),
                Some(next) => bytes.extend(next.encode_utf8(&mut [0; 4]).as_bytes()),
            }
        }
        String::from_utf8(bytes).map_err(|_| format!("{begin}: the string is not UTF-8"))
    }

    fn escape(&mut self, place: Place, bytes: &mut Vec<u8>) -> Parsed<()> {
        let refuse = |problem: &str| Err(format!("{place}: {problem}"));
        let next = self.advance();
        let plain = match next {
            Some('n') => b'\n',
            Some('r') => b'\r',
            Some('t') => b'\t',
            Some('a') => 7,
            Some('b') => 8,
            Some('f') => 12,
            Some('v') => 11,
            Some(mark @ ('\\' | '\'' | '"' | '?')) => mark as u8,
            Some(first @ '0'..='7') => {
                let rest = self.digits(8, 2);
                let digits: String = std::iter::once(first).chain(rest.chars()).collect();
                match u8::from_str_radix(&digits, 8) {
                    Ok(byte) => byte,
                    Err(_) => return refuse("an octal escape is at most \\377"),
                }
            }
            Some('x' | 'X') => match u8::from_str_radix(self.digits(16, 2), 16) {
                Ok(byte) => byte,
                Err(_) => return refuse("\\x needs one or two hexadecimal digits"),
            },
            Some(kind @ ('u' | 'U')) => {
                let count = if kind == 'u' { 4 } else { 8 };
                let digits = self.digits(16, count);
                let point = u32::from_str_radix(digits, 16).ok().filter(|_| digits.len() == count);
                let Some(point) = point.and_then(char::from_u32) else {
                    return refuse("\\u needs four and \\U eight hexadecimal digits of a character");
                };
                bytes.extend(point.encode_utf8(&mut [0; 4]).as_bytes());
                return Ok(());
            }
            _ => return refuse("a backslash begins no escape that is known"),
        };
        bytes.push(plain);
        Ok(())
    }

    fn digits(&mut self, radix: u32, most: usize) -> &'t str {
        let before = self.rest;
        for _ in 0..most {
            if !self.peek().is_some_and(|next| next.is_digit(radix)) {
                break;
            }
            self.advance();
        }
        &before[..before.len() - self.rest.len()]
    }
}

/// The number that a text is; one too large for 64 bits is a floating-point number, as in protobuf.
fn number(text: &str) -> Option<Token> {
    let is_digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if let Some(digits) = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        return u64::from_str_radix(digits, 16).ok().filter(|_| !digits.starts_with('+')).map(Token::Integer);
    }
    if is_digits(text) {
        let octal = text.len() > 1 && text.starts_with('0');
        return match u64::from_str_radix(text, if octal { 8 } else { 10 }) {
            Ok(number) => Some(Token::Integer(number)),
            Err(_) if octal => None,
            Err(_) => text.parse().ok().map(Token::Float),
        };
    }
    let float = text.strip_suffix(['f', 'F']).unwrap_or(text);
    let is_number = float.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b'e' | b'E' | b'+' | b'-'));
    float.parse().ok().filter(|_| is_number).map(Token::Float)
}
