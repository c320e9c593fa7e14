//! Elements of the type that the signature says, put into one buffer.

use bytes::Bytes;

use super::base64::decode_base64;
use super::cursor::Cursor;
use super::nested::Nested;
use super::number::Numeric;
use super::shape::Shape;
use crate::error::{Error, Result};
use crate::ids::printable;
use crate::signature::DType;
use crate::tensor::{Data, Element, each_data};

/// The key of bytes in base64.
pub(in crate::api) const BASE64_KEY: &str = "b64";

/// The objects and texts that may stand for an element; by default none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in crate::api) struct Accepts {
    /// `{"b64": "…"}` for the bytes of a string.
    pub(in crate::api) base64: bool,
    /// `{"b64": "…"}` for a whole file where numbers are expected; see [`Nested::take_files`].
    pub(in crate::api) files: bool,
    /// A string in base64 for such a file.
    pub(in crate::api) text_files: bool,
}

/// Values that come one at a time, all of the same shape, in one buffer.
#[derive(Debug)]
pub(in crate::api) struct Stack {
    shape: Shape,
    data: Data,
    /// Whole files in the place of elements.
    files: Vec<Bytes>,
    accepts: Accepts,
    /// More elements are refused.
    limit: usize,
    /// The number of values so far; `None` for one that stands for itself, without a list around it.
    count: Option<usize>,
}

impl Stack {
    /// Expects any number of values, which become a list.
    pub(in crate::api) fn list(dtype: DType, accepts: Accepts) -> Self {
        Self { shape: Shape::list(), count: Some(0), ..Self::single(dtype, accepts) }
    }

    /// Expects one value, which does not become a list of one.
    pub(in crate::api) fn single(dtype: DType, accepts: Accepts) -> Self {
        let data = Data::with_capacity(dtype, 0);
        Self { shape: Shape::default(), data, files: Vec::new(), accepts, limit: usize::MAX, count: None }
    }

    /// Expects one value of so many elements, however they are nested. `bytes` is an upper bound for its text.
    pub(in crate::api) fn flat(dtype: DType, accepts: Accepts, count: usize, bytes: usize) -> Self {
        // An element takes at least a byte, and a comma unless it is the last.
        let data = Data::with_capacity(dtype, count.min(bytes / 2 + 1));
        Self { shape: Shape::flat(), data, limit: count, ..Self::single(dtype, accepts) }
    }

    /// Reads the next value.
    pub(in crate::api) fn read(&mut self, cursor: &mut Cursor<'_>) -> Result<()> {
        let Self { shape, data, files, accepts, limit, count } = self;
        if let Some(count) = count {
            *count += 1;
        }
        let depth = usize::from(count.is_some());
        each_data!(&mut *data, elements => shape.read(cursor, depth, &mut |cursor| {
            if elements.len() == *limit {
                return Err(miscounted(*limit, "more"));
            }
            if let Some(element) = Readable::read(cursor, *accepts, files)? {
                elements.push(element);
            }
            Ok(())
        }))?;
        match files.is_empty() || data.is_empty() {
            true => Ok(()),
            false => Err(cursor.fault("elements and files stand side by side")),
        }
    }

    /// Returns what was read, in the shape that was found.
    pub(in crate::api) fn finish(self) -> Nested {
        Nested::new(self.shape.finish(self.count), self.data, self.files)
    }

    /// Returns the elements of a value that states their number beforehand.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] when there are fewer.
    pub(in crate::api) fn into_data(self) -> Result<Data> {
        match self.data.len() {
            count if count < self.limit => Err(miscounted(self.limit, &count.to_string())),
            _ => Ok(self.data),
        }
    }
}

/// Returns the error for a number of elements that the stated shape does not have.
pub(in crate::api) fn miscounted(expected: usize, got: &str) -> Error {
    Error::InvalidInput(format!("the shape has {expected} elements, the data {got}"))
}

/// An element of a tensor.
trait Readable: Sized {
    /// Reads an element, or a file into `files`.
    fn read(cursor: &mut Cursor<'_>, accepts: Accepts, files: &mut Vec<Bytes>) -> Result<Option<Self>>;
}

impl<T: Numeric + Element> Readable for T {
    #[inline]
    fn read(cursor: &mut Cursor<'_>, accepts: Accepts, files: &mut Vec<Bytes>) -> Result<Option<Self>> {
        match cursor.peek() {
            Some(b'"' | b'{') => file(cursor, accepts).map(|file| {
                files.push(file);
                None
            }),
            _ => {
                let number = cursor.number()?;
                number.get().map(Some).ok_or_else(|| {
                    let number = printable(number.text(), 40);
                    cursor.fault(format_args!("the number {number} does not fit the type {}", T::DTYPE))
                })
            }
        }
    }
}

/// Libraries of numbers write truth values as 1 and 0.
impl Readable for bool {
    fn read(cursor: &mut Cursor<'_>, _: Accepts, _: &mut Vec<Bytes>) -> Result<Option<Self>> {
        match cursor.peek() {
            Some(b'-' | b'0'..=b'9') => {
                let number = cursor.number()?;
                match number.get::<u8>() {
                    Some(number @ (0 | 1)) => Ok(Some(number == 1)),
                    _ => {
                        let got = printable(number.text(), 40);
                        Err(cursor.fault(format_args!("expected true or false, 1 or 0, got {got}")))
                    }
                }
            }
            _ => cursor.boolean().map(Some),
        }
    }
}

impl Readable for String {
    fn read(cursor: &mut Cursor<'_>, accepts: Accepts, _: &mut Vec<Bytes>) -> Result<Option<Self>> {
        if cursor.peek() != Some(b'{') || !accepts.base64 {
            return cursor.string().map(|text| Some(text.into_owned()));
        }
        let text = String::from_utf8(base64_object(cursor)?);
        text.map(Some).map_err(|_| cursor.fault("the bytes in \"b64\" are not text in UTF-8"))
    }
}

/// Reads a file where a number is expected.
#[cold]
fn file(cursor: &mut Cursor<'_>, accepts: Accepts) -> Result<Bytes> {
    let is_text = cursor.peek() == Some(b'"');
    let file = match is_text {
        true if accepts.text_files => base64(cursor)?,
        false if accepts.base64 && cursor.first_key().as_deref() == Some(BASE64_KEY) => base64_object(cursor)?,
        _ => return Err(cursor.mismatch("a number")),
    };
    match is_text || accepts.files {
        true => Ok(file.into()),
        false => Err(cursor.fault("bytes in \"b64\" stand where a number is expected")),
    }
}

/// Reads the bytes of `{"b64": "…"}`.
pub(in crate::api) fn base64_object(cursor: &mut Cursor<'_>) -> Result<Vec<u8>> {
    let mut bytes = None;
    cursor.object(|cursor, key| match (key, &bytes) {
        (BASE64_KEY, None) => base64(cursor).map(|read| bytes = Some(read)),
        _ => Err(cursor.fault("an object in the place of bytes has the key \"b64\" and no other")),
    })?;
    bytes.ok_or_else(|| cursor.fault("an object in the place of bytes has the key \"b64\""))
}

fn base64(cursor: &mut Cursor<'_>) -> Result<Vec<u8>> {
    cursor.begins_with(b'"', "a string in base64")?;
    let text = cursor.string()?;
    decode_base64(&text).map_err(|problem| cursor.fault(format_args!("not base64: {problem}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    const WORDS: bool = true;

    fn read_with(dtype: DType, accepts: Accepts, words: bool, json: &str) -> Result<Nested> {
        let mut cursor = if words { Cursor::with_words(json.as_bytes()) } else { Cursor::new(json.as_bytes()) };
        let mut stack = Stack::single(dtype, accepts);
        stack.read(&mut cursor)?;
        cursor.end().map(|()| stack.finish())
    }

    fn read_as(dtype: DType, json: &str) -> Result<Nested> {
        read_with(dtype, Accepts::default(), !WORDS, json)
    }

    fn nested<T: Element>(shape: &[usize], elements: Vec<T>) -> Nested {
        Nested::new(shape.to_vec(), T::data(elements), Vec::new())
    }

    #[test]
    fn what_is_not_a_rectangle_of_finite_numbers_is_refused() {
        for bad in [
            "[[1,2],[3]]",
            "[[1],2]",
            "[1,[2]]",
            "[[1,null]]",
            "[[\"1\"]]",
            "[[true]]",
            "[{\"a\":1}]",
            "\"x\"",
            "[[1e39]]",
            "[[1e400]]",
            "[[NaN]]",
            "[[[[[[[[[1]]]]]]]]]",
            "[[],[1]]",
            "[1]]",
        ] {
            assert!(read_as(DType::Float32, bad).is_err(), "{bad}");
        }
        assert_eq!(read_as(DType::Float32, "[[[[[[[[1]]]]]]]]").unwrap(), nested(&[1; 8], vec![1f32]));
        assert!(read_as(DType::Float32, &"[".repeat(250_000)).is_err());
    }

    #[test]
    fn every_type_takes_what_it_can_hold_and_nothing_else() {
        for (dtype, good, bad) in [
            (DType::Int64, &["9007199254740993", "-1"][..], &["1.5", "9223372036854775808", "true", "\"1\""][..]),
            (DType::Uint8, &["0", "255"], &["256", "-1", "1.0"]),
            (DType::Uint64, &["18446744073709551615"], &["-1"]),
            (DType::Bool, &["true", "false", "1", "0"], &["2", "-1", "1.0", "\"true\"", "null"]),
            (DType::String, &["\"a\"", "\"\\u00e9\""], &["1", "null"]),
            (DType::Float16, &["65504", "-0.5"], &["70000"]),
            (DType::Float64, &["1e39"], &["1e400"]),
            (DType::Bfloat16, &["1e38"], &["1e39"]),
        ] {
            let takes = |json: &&str| read_as(dtype, &format!("[{json}]")).is_ok();
            good.iter().for_each(|json| assert!(takes(json), "{dtype} {json}"));
            bad.iter().for_each(|json| assert!(!takes(json), "{dtype} {json}"));
        }
    }

    #[test]
    fn words_are_floats_where_they_are_taken_and_nowhere_else() {
        let read = |dtype, json: &str| read_with(dtype, Accepts::default(), WORDS, json);
        let read_floats = read(DType::Float32, "[[1,NaN,Infinity],[ -Infinity ,-2e1,0.5]]").unwrap();
        let tensor = read_floats.into_samples("x", &[crate::signature::Dim::Fixed(3)]).unwrap();
        let floats = tensor.floats().unwrap();
        assert!(floats[1].is_nan());
        assert_eq!([floats[0], floats[2], floats[3], floats[4]], [1.0, f32::INFINITY, f32::NEG_INFINITY, -20.0]);
        let text = read(DType::String, r#"["NaN","-Infinity \\\" NaN"]"#).unwrap();
        assert_eq!(text, nested(&[2], vec!["NaN".to_owned(), "-Infinity \\\" NaN".to_owned()]));
        for (dtype, bad) in [
            (DType::Int64, "[NaN]"),
            (DType::String, "[NaN]"),
            (DType::Bool, "[Infinity]"),
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
            (DType::Float32, "[\"NaN"),
            (DType::Float32, "[\"\\"),
        ] {
            assert!(read(dtype, bad).is_err(), "{dtype} {bad}");
        }
    }

    #[test]
    fn stacked_values_are_the_list_of_them() {
        let push = |stack: &mut Stack, json: &str| stack.read(&mut Cursor::new(json.as_bytes())).is_ok();
        let list = || Stack::list(DType::Float32, Accepts::default());
        let mut stack = list();
        assert!(push(&mut stack, "[[1,2],[3,4]]") && push(&mut stack, "[[5,6],[7,8]]"));
        assert_eq!(stack.finish(), read_as(DType::Float32, "[[[1,2],[3,4]],[[5,6],[7,8]]]").unwrap());
        let mut stack = list();
        assert!(push(&mut stack, "[1,2]") && !push(&mut stack, "[1,2,3]"));
        let mut stack = list();
        assert!(push(&mut stack, "1") && push(&mut stack, "2") && !push(&mut stack, "[3]"));
        assert_eq!(list().finish().shape(), [0]);
    }

    #[test]
    fn no_more_memory_is_reserved_than_a_text_can_fill() {
        for (count, bytes, reserved) in [(usize::MAX, 9, 5), (3, 1_000_000, 3)] {
            let stack = Stack::flat(DType::Float64, Accepts::default(), count, bytes);
            let Data::Float64(elements) = stack.data else { panic!("another type") };
            assert_eq!(elements.capacity(), reserved);
        }
    }

    #[test]
    fn bytes_in_base64_are_strings_or_files_where_they_are_welcome() {
        let strings = Accepts { base64: true, ..Accepts::default() };
        let all = Accepts { files: true, ..strings };
        let texts = Accepts { text_files: true, ..all };
        let read = |dtype, accepts, json: &str| read_with(dtype, accepts, !WORDS, json);
        let text = read(DType::String, strings, r#"[{"b64":"aGk="},"you"]"#).unwrap();
        assert_eq!(text, nested(&[2], vec!["hi".to_owned(), "you".to_owned()]));
        let expected = Some(vec![Bytes::from_static(b"\xff"), Bytes::new()]);
        assert_eq!(read(DType::Float32, all, r#"[{"b64":"/w=="},{"b64":""}]"#).unwrap().take_files(), expected);
        assert_eq!(read(DType::Float32, texts, r#"["/w==",{"b64":""}]"#).unwrap().take_files(), expected);
        assert_eq!(read(DType::Float32, all, "[1]").unwrap().take_files(), None);
        for (dtype, accepts, bad) in [
            (DType::String, Accepts::default(), r#"[{"b64":"aGk="}]"#),
            (DType::Float32, strings, r#"[{"b64":"aGk="}]"#),
            (DType::Float32, all, r#"["aGk="]"#),
            (DType::Int64, all, r#"[1,{"b64":"aGk="}]"#),
            (DType::Float32, all, r#"[{"b64":"aGk="},1]"#),
            (DType::Float32, all, r#"[[{"b64":"aGk="}],{"b64":"aGk="}]"#),
            (DType::String, strings, r#"[{"b64":"/w=="}]"#),
            (DType::String, strings, r#"[{"b64":"aGk=="}]"#),
            (DType::String, strings, r#"[{"b64":7}]"#),
            (DType::String, strings, r#"[{"b64":"aGk=","b64":"aGk="}]"#),
            (DType::String, strings, r#"[{"B64":"aGk="}]"#),
            (DType::String, strings, "[{}]"),
        ] {
            assert!(read(dtype, accepts, bad).is_err(), "{dtype} {bad}");
        }
    }
}
