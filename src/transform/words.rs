//! `NaN`, `Infinity` and `-Infinity` in JSON: not in the standard, but Python writes them, and the
//! servers whose protocols Weir speaks read and write them.

/// Each word, and the object of the same length that is handed on in its place.
const WORDS: [(&[u8], &[u8]); 3] = [(b"NaN", b"{ }"), (b"Infinity", b"{\"+\":0} "), (b"-Infinity", b"{\"-\":0}  ")];

/// Parses JSON in which these words may stand for numbers.
///
/// `parse` is given the text as it is, and `false`. Only if it refuses that, and the text has such
/// words, is it given a copy and `true`: there each word is an object, which
/// [`NestedSeed`](super::NestedSeed) reads if it accepts words. So plain JSON costs nothing more, and
/// an error names the same place in both.
///
/// # Errors
/// Those of `parse`.
pub fn with_words<T, E>(json: &[u8], mut parse: impl FnMut(&[u8], bool) -> Result<T, E>) -> Result<T, E> {
    let refused = match parse(json, false) {
        Ok(parsed) => return Ok(parsed),
        Err(refused) => refused,
    };
    match objects_for_words(json) {
        Some(copy) => parse(&copy, true),
        None => Err(refused),
    }
}

/// The number for which an object with this first key stands, in what [`with_words`] handed on.
pub fn word_number(key: Option<&str>) -> Option<f64> {
    match key {
        None => Some(f64::NAN),
        Some("+") => Some(f64::INFINITY),
        Some("-") => Some(f64::NEG_INFINITY),
        Some(_) => None,
    }
}

/// A copy with objects for words; `None` if there are none outside of strings.
fn objects_for_words(json: &[u8]) -> Option<Vec<u8>> {
    let mut copy: Option<Vec<u8>> = None;
    let mut at = 0;
    while at < json.len() {
        at += match json[at] {
            b'"' => string_bytes(&json[at..]),
            b'N' | b'I' | b'-' => match WORDS.iter().find(|(word, _)| json[at..].starts_with(word)) {
                Some((word, object)) => {
                    copy.get_or_insert_with(|| json.to_vec())[at..at + word.len()].copy_from_slice(object);
                    word.len()
                }
                None => 1,
            },
            _ => 1,
        };
    }
    copy
}

/// The length of the string at the front, with its quotes; all that is left if it does not end.
fn string_bytes(json: &[u8]) -> usize {
    let mut at = 1;
    while at < json.len() {
        match json[at] {
            b'"' => return at + 1,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    json.len()
}

#[cfg(test)]
mod tests {
    use serde::de::DeserializeSeed;

    use super::super::{Accepts, Nested, NestedSeed};
    use super::*;
    use crate::signature::{DType, Dim};

    fn read(dtype: DType, json: &str) -> Result<Nested, serde_json::Error> {
        with_words(json.as_bytes(), |json, words| {
            let accepts = Accepts { words, ..Accepts::default() };
            let mut reader = serde_json::Deserializer::from_slice(json);
            let nested = NestedSeed { dtype, scalar: false, accepts }.deserialize(&mut reader)?;
            reader.end().map(|()| nested)
        })
    }

    #[test]
    fn words_are_numbers_where_numbers_are() {
        let tensor = read(DType::Float32, "[[1,NaN,Infinity],[ -Infinity ,-2e1,0.5]]").unwrap();
        let tensor = tensor.into_samples("x", &[Dim::Fixed(3)]).unwrap();
        let floats = tensor.floats().unwrap();
        assert!(floats[1].is_nan());
        assert_eq!([floats[0], floats[2], floats[3], floats[4]], [1.0, f32::INFINITY, f32::NEG_INFINITY, -20.0]);
        let text = read(DType::String, r#"["NaN","-Infinity \\\" NaN"]"#).unwrap();
        assert_eq!(text, read(DType::String, r#"["NaN","-Infinity \\\" \u004eaN"]"#).unwrap());
    }

    #[test]
    fn words_are_numbers_nowhere_else() {
        for (dtype, bad) in [
            (DType::Int64, "[NaN]"),
            (DType::String, "[NaN]"),
            (DType::Bool, "[Infinity]"),
            (DType::Float32, "NaN"),
            (DType::Float32, "[nan]"),
            (DType::Float32, "[-NaN]"),
            (DType::Float32, "[NaNN]"),
            (DType::Float32, "[1NaN]"),
            (DType::Float32, "[--Infinity]"),
            (DType::Float32, "[+Infinity]"),
            (DType::Float32, "[Infinity1]"),
            (DType::Float32, "[Inf]"),
            (DType::Float32, "[NaN,1e39]"),
            (DType::Float32, "[NaN,[1]]"),
            (DType::Float32, "[NaN,\"NaN\"]"),
            (DType::Float32, "[{}]"),
            (DType::Float32, "[{\"+\":0}]"),
            (DType::Float32, "[\"NaN"),
            (DType::Float32, "[\"\\"),
        ] {
            assert!(read(dtype, bad).is_err(), "{dtype} {bad}");
        }
    }

    #[test]
    fn an_error_names_its_place_in_what_was_sent() {
        let error = read(DType::Float32, "[NaN,\n-Infinity, x]").unwrap_err();
        assert_eq!((error.line(), error.column()), (2, 12));
    }
}
