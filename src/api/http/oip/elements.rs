//! The elements of a tensor in JSON, both ways, without a tree of values in between.
//!
//! Every number keeps its value: it is read in its own type from its text, and written as the shortest
//! text that reads as the same number. `NaN`, `Infinity` and `-Infinity` stand for themselves, as in
//! Triton and unlike the JSON standard, which has no numbers of this kind. A number that does not fit
//! its type is refused.

use std::io::Write as _;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use half::{bf16, f16};
use serde::Serialize;

use super::cursor::Cursor;
use crate::api::oip::Content;
use crate::error::{Error, Result};
use crate::ids::quote;
use crate::signature::DType;
use crate::tensor::Data;

/// Reads exactly `count` elements. In BYTES, strings are text or, where `base64`, files in base64.
pub(super) fn read(mut cursor: Cursor<'_>, dtype: DType, count: usize, base64: bool) -> Result<Content> {
    // An element takes at least a byte, and a comma if it is not the last.
    let capacity = count.min(cursor.rest() / 2 + 1);
    macro_rules! all {
        ($variant:ident, $read:expr) => {{
            let mut elements = Vec::with_capacity(capacity);
            let read = $read;
            cursor.elements(|cursor| {
                if elements.len() == count {
                    return Err(another_number(count, "more"));
                }
                elements.push(read(cursor)?);
                Ok(())
            })?;
            cursor.end()?;
            check(count, elements.len())?;
            Content::Elements(Data::$variant(elements))
        }};
    }
    Ok(match dtype {
        DType::Bool => all!(Bool, truth),
        DType::Uint8 => all!(Uint8, whole),
        DType::Uint16 => all!(Uint16, whole),
        DType::Uint32 => all!(Uint32, whole),
        DType::Uint64 => all!(Uint64, whole),
        DType::Int8 => all!(Int8, whole),
        DType::Int16 => all!(Int16, whole),
        DType::Int32 => all!(Int32, whole),
        DType::Int64 => all!(Int64, whole),
        DType::Float16 => all!(Float16, |cursor: &mut Cursor<'_>| half(cursor, f16::from_f64, f16::is_infinite)),
        DType::Bfloat16 => all!(Bfloat16, |cursor: &mut Cursor<'_>| half(cursor, bf16::from_f64, bf16::is_infinite)),
        DType::Float32 => all!(Float32, |cursor: &mut Cursor<'_>| float(cursor, f32::is_infinite)),
        DType::Float64 => all!(Float64, |cursor: &mut Cursor<'_>| float(cursor, f64::is_infinite)),
        DType::String => {
            let mut elements = Vec::with_capacity(capacity);
            cursor.elements(|cursor| {
                if elements.len() == count {
                    return Err(another_number(count, "more"));
                }
                let text = cursor.string()?;
                elements.push(if base64 { file(&text)? } else { Bytes::from(text.into_owned()) });
                Ok(())
            })?;
            cursor.end()?;
            check(count, elements.len())?;
            Content::Strings(elements)
        }
    })
}

fn check(count: usize, got: usize) -> Result<()> {
    if got == count { Ok(()) } else { Err(another_number(count, &got.to_string())) }
}

fn another_number(count: usize, got: &str) -> Error {
    Error::InvalidInput(format!("the shape has {count} elements, the data {got}"))
}

fn misfit(text: &str, expected: &str) -> Error {
    Error::InvalidInput(format!("the number {} is not {expected}", quote(text)))
}

/// `true` and `false`, or 1 and 0.
fn truth(cursor: &mut Cursor<'_>) -> Result<bool> {
    match cursor.peek() {
        Some(b'0' | b'1') => match cursor.number()? {
            "0" => Ok(false),
            "1" => Ok(true),
            other => Err(misfit(other, "true or false")),
        },
        _ => cursor.boolean(),
    }
}

fn whole<T: FromStr>(cursor: &mut Cursor<'_>) -> Result<T> {
    let text = cursor.number()?;
    text.parse().map_err(|_| misfit(text, "a whole number that fits the type"))
}

/// A float as its type reads it, which is exact; `Infinity` may be infinite, and digits may not.
fn float<T: FromStr + Copy>(cursor: &mut Cursor<'_>, is_infinite: impl Fn(T) -> bool) -> Result<T> {
    let text = cursor.number()?;
    let fits = |number: &T| !is_infinite(*number) || text.ends_with('y');
    text.parse().ok().filter(fits).ok_or_else(|| misfit(text, "one that fits the type"))
}

fn half<T: Copy>(cursor: &mut Cursor<'_>, narrow: impl Fn(f64) -> T, is_infinite: impl Fn(T) -> bool) -> Result<T> {
    let text = cursor.number()?;
    let number = text.parse().ok().map(narrow);
    let fits = |number: &T| !is_infinite(*number) || text.ends_with('y');
    number.filter(fits).ok_or_else(|| misfit(text, "one that fits the type"))
}

fn file(text: &str) -> Result<Bytes> {
    STANDARD.decode(text).map(Bytes::from).map_err(|error| {
        Error::Malformed(format!("an image in JSON must be in base64 with padding, and one is not: {error}"))
    })
}

/// Appends a flat list of the elements.
pub(super) fn write(data: &Data, out: &mut Vec<u8>) {
    match data {
        Data::Bool(elements) => list(elements, out, put),
        Data::Uint8(elements) => list(elements, out, put),
        Data::Uint16(elements) => list(elements, out, put),
        Data::Uint32(elements) => list(elements, out, put),
        Data::Uint64(elements) => list(elements, out, put),
        Data::Int8(elements) => list(elements, out, put),
        Data::Int16(elements) => list(elements, out, put),
        Data::Int32(elements) => list(elements, out, put),
        Data::Int64(elements) => list(elements, out, put),
        Data::Float16(elements) => list(elements, out, |element, out| put_f32(&element.to_f32(), out)),
        Data::Bfloat16(elements) => list(elements, out, |element, out| put_f32(&element.to_f32(), out)),
        Data::Float32(elements) => list(elements, out, put_f32),
        Data::Float64(elements) => list(elements, out, |element, out| match element {
            element if element.is_finite() => put(element, out),
            element => put_word(element.is_nan(), *element > 0.0, out),
        }),
        Data::String(elements) => list(elements, out, put),
    }
}

fn list<T>(elements: &[T], out: &mut Vec<u8>, put: impl Fn(&T, &mut Vec<u8>)) {
    out.push(b'[');
    for (index, element) in elements.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        put(element, out);
    }
    out.push(b']');
}

/// Appends a plain value as JSON.
pub(super) fn put<T: Serialize + ?Sized>(value: &T, out: &mut Vec<u8>) {
    // Neither the value nor the memory it is written to can refuse.
    drop(serde_json::to_writer(out, value));
}

fn put_f32(element: &f32, out: &mut Vec<u8>) {
    if element.is_finite() { put(element, out) } else { put_word(element.is_nan(), *element > 0.0, out) }
}

fn put_word(is_nan: bool, is_positive: bool, out: &mut Vec<u8>) {
    let word: &[u8] = match (is_nan, is_positive) {
        (true, _) => b"NaN",
        (false, true) => b"Infinity",
        (false, false) => b"-Infinity",
    };
    // Memory takes everything.
    drop(out.write_all(word));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read_as(dtype: DType, count: usize, json: &str) -> Result<Data> {
        match read(Cursor::new(json.as_bytes()), dtype, count, false)? {
            Content::Elements(data) => Ok(data),
            Content::Strings(texts) => {
                Ok(Data::String(texts.iter().map(|text| String::from_utf8(text.to_vec()).unwrap()).collect()))
            }
            Content::Region(_) => panic!("no region"),
        }
    }

    fn json(data: &Data) -> String {
        let mut out = Vec::new();
        write(data, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn every_type_takes_what_it_can_hold_and_nothing_else() {
        for (dtype, good, bad) in [
            (
                DType::Int64,
                &["9007199254740993", "-9223372036854775808"][..],
                &["1.5", "9223372036854775808", "true", "1e3", "NaN"][..],
            ),
            (DType::Uint64, &["18446744073709551615"], &["-1", "18446744073709551616"]),
            (DType::Uint8, &["0", "255"], &["256", "-1", "1.0", "\"1\""]),
            (DType::Int8, &["-128"], &["128"]),
            (DType::Bool, &["true", "false", "1", "0"], &["2", "\"true\"", "null", "1.0"]),
            (DType::String, &["\"a\"", "\"\\u00e9\""], &["1", "null"]),
            (DType::Float16, &["65504", "-0.5", "NaN", "-Infinity"], &["70000", "\"NaN\""]),
            (DType::Bfloat16, &["1e38", "Infinity"], &["1e39"]),
            (DType::Float32, &["3.4028235e38", "1e-50", "Infinity", "NaN"], &["1e39", "null", "inf"]),
            (DType::Float64, &["1e39"], &["1e400", "-1e400"]),
        ] {
            good.iter().for_each(|json| assert!(read_as(dtype, 1, &format!("[{json}]")).is_ok(), "{dtype} {json}"));
            bad.iter().for_each(|json| assert!(read_as(dtype, 1, &format!("[{json}]")).is_err(), "{dtype} {json}"));
        }
    }

    #[test]
    fn the_number_of_elements_is_that_of_the_shape() {
        for (count, json) in
            [(2, "[1]"), (2, "[1,2,3]"), (0, "[1]"), (usize::MAX, "[1]"), (1, "[]"), (3, "[[1,2],[3,4]]")]
        {
            let error = read_as(DType::Float32, count, json).unwrap_err().to_string();
            assert!(error.contains("the shape has"), "{count} {json}: {error}");
        }
        assert_eq!(read_as(DType::Float32, 4, "[[1,2],[3,4]]").unwrap().len(), 4);
        assert!(read_as(DType::Float32, 0, "[]").unwrap().is_empty());
    }

    #[test]
    fn what_is_no_number_is_written_as_a_word() {
        assert_eq!(
            json(&Data::Float32(vec![f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 0.1])),
            "[NaN,Infinity,-Infinity,0.1]"
        );
        assert_eq!(json(&Data::Float64(vec![f64::NEG_INFINITY, 1.0])), "[-Infinity,1.0]");
        assert_eq!(json(&Data::Bfloat16(vec![bf16::NAN])), "[NaN]");
        assert_eq!(json(&Data::String(vec!["a\"\n".into()])), r#"["a\"\n"]"#);
        assert_eq!(json(&Data::Bool(vec![])), "[]");
    }

    proptest! {
        #[test]
        fn numbers_keep_their_value_both_ways(bits in prop::collection::vec(any::<u64>(), 1..20)) {
            let half = |bits: &u64| f16::from_bits(*bits as u16);
            for data in [
                Data::Float32(bits.iter().map(|bits| f32::from_bits(*bits as u32)).collect()),
                Data::Float64(bits.iter().map(|bits| f64::from_bits(*bits)).collect()),
                Data::Float16(bits.iter().map(half).collect()),
                Data::Bfloat16(bits.iter().map(|bits| bf16::from_bits(*bits as u16)).collect()),
                Data::Int64(bits.iter().map(|bits| *bits as i64).collect()),
                Data::Uint64(bits.clone()),
                Data::Int8(bits.iter().map(|bits| *bits as i8).collect()),
            ] {
                let text = json(&data);
                let back = read_as(data.dtype(), data.len(), &text).unwrap();
                prop_assert_eq!(json(&back), text);
                if !data.has_non_finite() {
                    prop_assert_eq!(back, data);
                }
            }
        }
    }
}
