//! Texts and pairs of texts, for models with a tokenizer.

use super::cursor::Cursor;
use crate::error::Result;
use crate::ids::quote;
use crate::transform::text::Text;

const EXPECTED: &str = "a text, a list of two texts, or {\"text\": \"…\", \"pair\": \"…\"}";

/// The names of a text and of the text that it is compared with.
pub(in crate::api) const TEXT_KEY: &str = "text";
pub(in crate::api) const PAIR_KEY: &str = "pair";

/// Texts that were read.
#[derive(Debug, Default, PartialEq, Eq)]
pub(in crate::api) struct Texts {
    /// The number of texts that were sent.
    pub(in crate::api) count: usize,
    /// Those that were kept.
    pub(in crate::api) kept: Vec<Text>,
}

/// Returns true if the next value can be a text or a pair and nothing else that models take.
pub(in crate::api) fn is_text(cursor: &Cursor<'_>) -> bool {
    let mut ahead = cursor.clone();
    match ahead.peek() {
        Some(b'"') => true,
        Some(b'{') => ahead.first_key().is_some_and(|key| key == TEXT_KEY || key == PAIR_KEY),
        Some(b'[') => ahead.take(b'[') && ahead.peek() == Some(b'"'),
        _ => false,
    }
}

/// Returns true if the next value is a list that begins with a text or a pair.
pub(in crate::api) fn is_list_of_texts(cursor: &Cursor<'_>) -> bool {
    let mut ahead = cursor.clone();
    ahead.take(b'[') && is_text(&ahead)
}

/// Reads a list of texts and pairs. More than `most` are counted and not kept.
pub(in crate::api) fn read_texts(cursor: &mut Cursor<'_>, most: usize) -> Result<Texts> {
    let mut texts = Texts::default();
    cursor.begins_with(b'[', "a list of texts")?;
    cursor.list(|cursor| {
        if texts.count < most {
            texts.kept.push(read_text(cursor)?);
        } else {
            cursor.skip()?;
        }
        texts.count += 1;
        Ok(())
    })?;
    Ok(texts)
}

/// Reads the columns `text` and `pair` of an object, each a list of texts or one.
pub(in crate::api) fn read_text_columns(cursor: &mut Cursor<'_>, most: usize) -> Result<Vec<Text>> {
    let (mut texts, mut pairs) = (None, None);
    cursor.object(|cursor, key| {
        let to = match key {
            TEXT_KEY => &mut texts,
            PAIR_KEY => &mut pairs,
            _ => return Err(cursor.fault(format_args!("there is no key {}; there are: text, pair", quote(key)))),
        };
        if to.is_some() {
            return Err(cursor.fault(format_args!("the key {} is given twice", quote(key))));
        }
        let mut column = Vec::new();
        if cursor.peek() == Some(b'[') {
            cursor.list(|cursor| match column.len() {
                count if count >= most => Err(cursor.fault(format_args!("there are more than {most} texts"))),
                _ => cursor.string().map(|text| column.push(text.into_owned())),
            })?;
        } else {
            column.push(cursor.string()?.into_owned());
        }
        *to = Some(column);
        Ok(())
    })?;
    paired(texts.unwrap_or_default(), pairs).map_err(|problem| cursor.fault(problem))
}

/// Puts texts and their pairs together.
///
/// # Errors
/// A sentence that says how many there are of each, if they differ.
pub(in crate::api) fn paired(texts: Vec<String>, pairs: Option<Vec<String>>) -> std::result::Result<Vec<Text>, String> {
    match pairs {
        None => Ok(texts.into_iter().map(Text::from).collect()),
        Some(pairs) if pairs.len() == texts.len() => {
            let both = texts.into_iter().zip(pairs);
            Ok(both.map(|(text, pair)| Text { text, pair: Some(pair) }).collect())
        }
        Some(pairs) => Err(format!("there are {} texts and {} pairs; each text has one", texts.len(), pairs.len())),
    }
}

/// Reads a text or a pair.
pub(in crate::api) fn read_text(cursor: &mut Cursor<'_>) -> Result<Text> {
    match cursor.peek() {
        Some(b'"') => cursor.string().map(|text| text.into_owned().into()),
        Some(b'[') => {
            let mut both = Vec::new();
            cursor.list(|cursor| {
                if both.len() == 2 {
                    return Err(cursor.fault("a pair is a list of two texts, and this one has more"));
                }
                cursor.string().map(|text| both.push(text.into_owned()))
            })?;
            match <[String; 2]>::try_from(both) {
                Ok([text, pair]) => Ok(Text { text, pair: Some(pair) }),
                Err(both) => {
                    Err(cursor.fault(format_args!("a pair is a list of two texts, and this one has {}", both.len())))
                }
            }
        }
        Some(b'{') => read_object(cursor),
        _ => Err(cursor.mismatch(EXPECTED)),
    }
}

fn read_object(cursor: &mut Cursor<'_>) -> Result<Text> {
    let (mut text, mut pair) = (None, None);
    cursor.object(|cursor, key| {
        let to = match key {
            TEXT_KEY => &mut text,
            PAIR_KEY => &mut pair,
            _ => return Err(cursor.fault(format_args!("there is no key {}; there are: text, pair", quote(key)))),
        };
        if to.is_some() {
            return Err(cursor.fault(format_args!("the key {} is given twice", quote(key))));
        }
        *to = Some(cursor.string()?.into_owned());
        Ok(())
    })?;
    match text {
        Some(text) => Ok(Text { text, pair }),
        None => Err(cursor.fault("the key \"text\" is missing")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> std::result::Result<Vec<(String, Option<String>)>, String> {
        let texts = read_texts(&mut Cursor::new(json.as_bytes()), 3).map_err(|error| error.to_string())?;
        Ok(texts.kept.into_iter().map(|text| (text.text, text.pair)).collect())
    }

    #[test]
    fn texts_and_pairs_come_in_three_forms() {
        let pair = |pair: &str| ("a".to_owned(), Some(pair.to_owned()));
        let found = read(r#"["a", ["a", "b"], {"pair": "c\n", "text": "a"}]"#).unwrap();
        assert_eq!(found, [("a".to_owned(), None), pair("b"), pair("c\n")]);
        for (json, expected) in [
            (r#"[["a"]]"#, "two texts, and this one has 1"),
            (r#"[["a", "b", "c"]]"#, "has more"),
            (r#"[{"pair": "b"}]"#, "\"text\" is missing"),
            (r#"[{"text": "a", "text": "b"}]"#, "given twice"),
            (r#"[{"text": "a", "other": "b"}]"#, "no key \"other\""),
            (r#"["a", 7]"#, "a text, a list of two texts"),
            (r#"[{"text": 7}]"#, "7"),
            (r#""a""#, "a list of texts"),
        ] {
            let refused = read(json).unwrap_err();
            assert!(refused.contains(expected), "{json}: {refused}");
        }
        let all = read_texts(&mut Cursor::new(br#"["a", "b", "c", "d", 7]"#), 3).unwrap();
        assert_eq!((all.count, all.kept.len()), (5, 3), "more than may be are counted and not kept");
    }

    #[test]
    fn a_text_is_told_from_tensors_by_its_first_bytes() {
        for (json, expected) in [
            (r#"["a"]"#, true),
            (r#"[["a", "b"]]"#, true),
            (r#"[{"text": "a"}]"#, true),
            ("[[1, 2]]", false),
            (r#"[{"input_ids": [1]}]"#, false),
            ("[]", false),
            ("7", false),
        ] {
            assert_eq!(is_list_of_texts(&Cursor::new(json.as_bytes())), expected, "{json}");
        }
    }
}
