//! The elements of a tensor in JSON. Every number keeps its value: it is read in its own type from its text, and
//! written as the shortest text that reads as the same number. `NaN`, `Infinity` and `-Infinity` stand for themselves,
//! as in Triton. A number that does not fit its type is refused.

use bytes::Bytes;

use crate::api::json::{Accepts, Cursor, Shape, Stack, decode_base64, miscounted};
use crate::api::oip::Content;
use crate::error::Result;
use crate::ids::quote;
use crate::signature::DType;

/// Reads exactly `count` elements, however they are nested. In BYTES, strings are text or, where `base64`, files in
/// base64.
pub(super) fn read(mut cursor: Cursor<'_>, dtype: DType, count: usize, base64: bool) -> Result<Content> {
    let content = if dtype == DType::String {
        Content::Strings(read_strings(&mut cursor, count, base64)?)
    } else {
        let mut stack = Stack::flat(dtype, Accepts::default(), count, cursor.rest());
        stack.read(&mut cursor)?;
        Content::Elements(stack.into_data()?)
    };
    cursor.end().map(|()| content)
}

fn read_strings(cursor: &mut Cursor<'_>, count: usize, base64: bool) -> Result<Vec<Bytes>> {
    let mut strings = Vec::new();
    Shape::flat().read(cursor, 0, &mut |cursor| {
        if strings.len() == count {
            return Err(miscounted(count, "more"));
        }
        let text = cursor.string()?;
        strings.push(if base64 { file(cursor, &text)? } else { Bytes::from(text.into_owned()) });
        Ok(())
    })?;
    if strings.len() == count { Ok(strings) } else { Err(miscounted(count, &strings.len().to_string())) }
}

fn file(cursor: &Cursor<'_>, text: &str) -> Result<Bytes> {
    decode_base64(text).map(Bytes::from).map_err(|problem| {
        cursor.fault(format_args!("an image in JSON must be in base64; got {}: {problem}", quote(text)))
    })
}

#[cfg(test)]
mod tests {
    use half::{bf16, f16};
    use proptest::prelude::*;

    use super::*;
    use crate::api::json::Writer;
    use crate::tensor::Data;

    fn read_as(dtype: DType, count: usize, json: &str) -> Result<Data> {
        match read(Cursor::with_words(json.as_bytes()), dtype, count, false)? {
            Content::Elements(data) => Ok(data),
            Content::Strings(texts) => {
                Ok(Data::String(texts.iter().map(|text| String::from_utf8(text.to_vec()).unwrap()).collect()))
            }
            Content::Region(_) => panic!("no region"),
        }
    }

    fn json(data: &Data) -> String {
        let mut json = Writer::compact();
        json.flat(data);
        String::from_utf8(json.finish()).unwrap()
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
