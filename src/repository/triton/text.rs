//! Protobuf's text format: fields by name, not yet of any type.
//!
//! What the format allows is read: comments, nested messages in `{}` or `<>` with and without a colon,
//! lists, strings in pieces, and `,` or `;` between fields. Extensions and `Any` are refused; no
//! configuration of a model has them.

use std::fmt;

use super::lexer::{Lexer, Parsed, Place, Token};

/// Messages in messages that are followed.
const MAX_DEPTH: usize = 32;

/// Fields in the order of the file; those of a list are one each.
#[derive(Debug, Clone, Default)]
pub(super) struct Message {
    pub(super) fields: Vec<Field>,
}

/// A field.
#[derive(Debug, Clone)]
pub(super) struct Field {
    pub(super) name: String,
    pub(super) place: Place,
    pub(super) value: Value,
}

/// The content of a field.
#[derive(Debug, Clone)]
pub(super) enum Value {
    /// A whole number within 64 bits, signed or not.
    Integer(i128),
    /// Any other number.
    Float(f64),
    /// An enumerator, or `true` and its like.
    Word(String),
    /// A string.
    Text(String),
    /// Fields.
    Message(Message),
}

impl Message {
    /// Reads a text.
    ///
    /// # Errors
    /// What is wrong, with its line and column.
    pub(super) fn parse(text: &str) -> Parsed<Self> {
        let mut lexer = Lexer::new(text);
        let next = lexer.next()?;
        Parser { lexer, next, depth: 0 }.message(&Token::End)
    }
}

struct Parser<'t> {
    lexer: Lexer<'t>,
    next: (Place, Token),
    depth: usize,
}

impl Parser<'_> {
    fn take(&mut self) -> Parsed<(Place, Token)> {
        let next = self.lexer.next()?;
        Ok(std::mem::replace(&mut self.next, next))
    }

    fn take_mark(&mut self, mark: char) -> Parsed<bool> {
        let found = self.next.1 == Token::Mark(mark);
        if found {
            self.take()?;
        }
        Ok(found)
    }

    /// The fields up to a token, which is taken.
    fn message(&mut self, end: &Token) -> Parsed<Message> {
        let mut fields = Vec::new();
        loop {
            let (place, token) = self.take()?;
            match token {
                token if token == *end => return Ok(Message { fields }),
                Token::Word(name) => self.field(&name, place, &mut fields)?,
                Token::Mark('[') => return Err(format!("{place}: extensions are not supported")),
                other => return Err(format!("{place}: expected the name of a field or {end}, got {other}")),
            }
            if !self.take_mark(',')? {
                self.take_mark(';')?;
            }
        }
    }

    fn field(&mut self, name: &str, place: Place, fields: &mut Vec<Field>) -> Parsed<()> {
        let has_colon = self.take_mark(':')?;
        if !self.take_mark('[')? {
            let value = self.value(name, has_colon)?;
            fields.push(Field { name: name.to_owned(), place, value });
            return Ok(());
        }
        if self.take_mark(']')? {
            return Ok(());
        }
        loop {
            let place = self.next.0;
            let value = self.value(name, has_colon)?;
            fields.push(Field { name: name.to_owned(), place, value });
            let (place, token) = self.take()?;
            match token {
                Token::Mark(',') => {}
                Token::Mark(']') => return Ok(()),
                other => return Err(format!("{place}: expected \",\" or \"]\" in the list {name}, got {other}")),
            }
        }
    }

    fn value(&mut self, name: &str, has_colon: bool) -> Parsed<Value> {
        let (place, token) = self.take()?;
        let close = match token {
            Token::Mark('{') => Some('}'),
            Token::Mark('<') => Some('>'),
            _ => None,
        };
        if let Some(close) = close {
            if self.depth == MAX_DEPTH {
                return Err(format!("{place}: messages are nested more than {MAX_DEPTH} deep"));
            }
            self.depth += 1;
            let message = self.message(&Token::Mark(close))?;
            self.depth -= 1;
            return Ok(Value::Message(message));
        }
        if !has_colon {
            return Err(format!("{place}: expected \":\" or a message after {name}, got {token}"));
        }
        match token {
            Token::Integer(number) => Ok(Value::Integer(number.into())),
            Token::Float(number) => Ok(Value::Float(number)),
            Token::Word(word) => Ok(Value::Word(word)),
            Token::Mark('-') => self.negative(place),
            Token::Text(mut text) => {
                while let Token::Text(more) = &self.next.1 {
                    text.push_str(more);
                    self.take()?;
                }
                Ok(Value::Text(text))
            }
            other => Err(format!("{place}: expected a value of {name}, got {other}")),
        }
    }

    fn negative(&mut self, place: Place) -> Parsed<Value> {
        match self.take()?.1 {
            Token::Integer(number) => Ok(Value::Integer(-i128::from(number))),
            Token::Float(number) => Ok(Value::Float(-number)),
            Token::Word(word) if ["inf", "infinity"].contains(&word.to_ascii_lowercase().as_str()) => {
                Ok(Value::Float(f64::NEG_INFINITY))
            }
            Token::Word(word) if word.eq_ignore_ascii_case("nan") => Ok(Value::Float(f64::NAN)),
            other => Err(format!("{place}: expected a number after \"-\", got {other}")),
        }
    }
}

impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for field in &self.fields {
            write!(f, "{}", field.name)?;
            match &field.value {
                Value::Message(message) => writeln!(f, " {{\n{message}}}")?,
                Value::Integer(number) => writeln!(f, ": {number}")?,
                Value::Float(number) if number.is_nan() => writeln!(f, ": -nan")?,
                Value::Float(number) => writeln!(f, ": {number:?}")?,
                Value::Word(word) => writeln!(f, ": {word}")?,
                Value::Text(text) => writeln!(f, ": \"{}\"", escaped(text))?,
            }
        }
        Ok(())
    }
}

fn escaped(text: &str) -> String {
    let escape = |next: char| match next {
        '"' => "\\\"".to_owned(),
        '\\' => "\\\\".to_owned(),
        '\n' => "\\n".to_owned(),
        control if control.is_control() && control.is_ascii() => format!("\\{:03o}", control as u32),
        other => other.to_string(),
    };
    text.chars().map(escape).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn same(a: &Message, b: &Message) -> bool {
        let alike = |(a, b): (&Field, &Field)| {
            a.name == b.name
                && match (&a.value, &b.value) {
                    (Value::Integer(a), Value::Integer(b)) => a == b,
                    (Value::Float(a), Value::Float(b)) => a == b,
                    (Value::Word(a), Value::Word(b)) | (Value::Text(a), Value::Text(b)) => a == b,
                    (Value::Message(a), Value::Message(b)) => same(a, b),
                    _ => false,
                }
        };
        a.fields.len() == b.fields.len() && a.fields.iter().zip(&b.fields).all(alike)
    }

    fn shown(text: &str) -> String {
        let message = Message::parse(text).unwrap_or_else(|problem| panic!("{problem} in {text}"));
        message.to_string().split_whitespace().collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn all_that_the_format_allows_is_read() {
        for (text, expected) in [
            ("a: 1 # a comment\n# another\nb: 2", "a: 1 b: 2"),
            ("a{b:1}c:{d:2}e<f:3>", "a { b: 1 } c { d: 2 } e { f: 3 }"),
            ("a: [1, 2] b [ {c: 3}, <d: 4> ] e: []", "a: 1 a: 2 b { c: 3 } b { d: 4 }"),
            ("a: 1, b: 2; c: 3", "a: 1 b: 2 c: 3"),
            (r#"a: "one" 'two' "thr\x65e""#, r#"a: "onetwothree""#),
            (r#"a: "\n\t\\\"\101\u00e9\U0001F600""#, "a: \"\\n\\011\\\\\\\"Aé😀\""),
            ("a: 0x1F b: 017 c: -5 d: - 6 e: 18446744073709551615", "a: 31 b: 15 c: -5 d: -6 e: 18446744073709551615"),
            ("a: 1.5f b: 10F c: .5 d: 1e-3 e: -2.E2 f: 99999999999999999999", {
                "a: 1.5 b: 10.0 c: 0.5 d: 0.001 e: -200.0 f: 1e20"
            }),
            ("a: true b: TYPE_FP32 c: inf d: -Infinity", "a: true b: TYPE_FP32 c: inf d: -inf"),
            ("", ""),
        ] {
            assert_eq!(shown(text), expected, "{text}");
        }
    }

    #[test]
    fn what_is_wrong_is_named_with_its_place() {
        for (text, expected) in [
            ("a: 1\n  b 2", "line 2, column 5: expected \":\" or a message after b, got 2"),
            ("a {\n b: 1", "line 2, column 6: expected the name of a field or \"}\", got the end of the file"),
            ("a: \"x", "line 1, column 4: the string does not end"),
            ("a: \"x\ny\"", "does not end"),
            ("é: 1", "line 1, column 1: \"é\" has no meaning here"),
            ("a: [1 2]", "column 7: expected \",\" or \"]\""),
            ("a: 0x", "\"0x\" is no number"),
            ("a: 08", "\"08\" is no number"),
            ("a: 1.2.3", "\"1.2.3\" is no number"),
            ("a: 12abc", "\"12abc\" is no number"),
            ("a: \"\\q\"", "line 1, column 5: a backslash"),
            ("a: \"\\xff\"", "not UTF-8"),
            ("a: \"\\ud800\"", "hexadecimal digits of a character"),
            ("a: -x", "expected a number after"),
            ("[x.y]: 1", "extensions"),
            ("a: }", "expected a value of a, got \"}\""),
            ("a { b: 1 >", "expected the name of a field"),
            (": 1", "expected the name of a field"),
        ] {
            let problem = Message::parse(text).unwrap_err();
            assert!(problem.contains(expected), "{text:?}: {problem}");
        }
    }

    #[test]
    fn nesting_is_bounded() {
        let nested = |depth: usize| "a{".repeat(depth) + &"}".repeat(depth);
        assert!(Message::parse(&nested(MAX_DEPTH)).is_ok());
        assert!(Message::parse(&nested(MAX_DEPTH + 1)).unwrap_err().contains("more than 32"));
        assert!(Message::parse(&"a{".repeat(200_000)).unwrap_err().contains("more than 32"));
    }

    fn any_message() -> impl Strategy<Value = Message> {
        let place = Place { line: 1, column: 1 };
        let scalar = prop_oneof![
            (-i128::from(u64::MAX)..=i128::from(u64::MAX)).prop_map(Value::Integer),
            prop::num::f64::NORMAL.prop_map(Value::Float),
            "[A-Za-z_][A-Za-z0-9_]{0,9}".prop_map(Value::Word),
            any::<String>().prop_map(Value::Text),
        ];
        let fields = move |value: BoxedStrategy<Value>| {
            prop::collection::vec(("[a-z_][a-z0-9_]{0,9}", value), 0..6).prop_map(move |fields| Message {
                fields: fields.into_iter().map(|(name, value)| Field { name, place, value }).collect(),
            })
        };
        let value = scalar.prop_recursive(4, 24, 6, move |inner| fields(inner.boxed()).prop_map(Value::Message));
        fields(value.boxed())
    }

    proptest! {
        #[test]
        fn what_is_printed_is_read_again(message in any_message()) {
            let printed = message.to_string();
            let again = Message::parse(&printed);
            prop_assert!(again.as_ref().is_ok_and(|again| same(&message, again)), "{printed}\n{again:?}");
        }

        #[test]
        fn no_text_makes_the_parser_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), text in "[a-c0-9.xef:;,{}<>\\[\\]\"'\\\\#\n -]{0,60}") {
            drop(Message::parse(&String::from_utf8_lossy(&bytes)));
            drop(Message::parse(&text));
        }
    }
}
