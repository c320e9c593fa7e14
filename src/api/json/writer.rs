//! Writes JSON straight into bytes: without white space, or with line breaks in the places where TensorFlow Serving
//! and TorchServe put them.

use std::ops::Range;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use half::{bf16, f16};
use serde::Serialize;

use super::decimal::{Decimal, Digits, write_decimal};
use super::stack::BASE64_KEY;
use crate::tensor::{Data, Tensor, each_data};

/// JSON as it is written. Calls must be balanced: what is begun is ended, and in an object each key is followed by one
/// value.
#[derive(Debug)]
pub(in crate::api) struct Writer {
    out: Vec<u8>,
    digits: Digits,
    /// The spaces that indent each level; `None` for JSON without white space.
    indent: Option<usize>,
    levels: Vec<Level>,
    /// Set while the elements of lists stay on one line.
    single_line: bool,
}

#[derive(Debug)]
struct Level {
    in_list: bool,
    values: usize,
}

impl Writer {
    /// Writes JSON without white space and the fewest digits.
    pub(in crate::api) fn compact() -> Self {
        Self {
            out: Vec::with_capacity(256),
            digits: Digits::Fewest,
            indent: None,
            levels: Vec::new(),
            single_line: false,
        }
    }

    /// Writes JSON on many lines with the digits of TensorFlow Serving. Each level is indented by so many spaces.
    pub(in crate::api) fn indented(spaces: usize) -> Self {
        Self { digits: Digits::General, indent: Some(spaces), ..Self::compact() }
    }

    /// Decides whether the elements of lists stay on one line from now on.
    pub(in crate::api) fn single_line(&mut self, single_line: bool) {
        self.single_line = single_line;
    }

    /// Returns what was written.
    pub(in crate::api) fn finish(self) -> Vec<u8> {
        self.out
    }

    /// Begins a list.
    pub(in crate::api) fn begin_list(&mut self) {
        self.place();
        self.out.push(b'[');
        self.levels.push(Level { in_list: true, values: 0 });
    }

    /// Ends a list.
    pub(in crate::api) fn end_list(&mut self) {
        let is_empty = self.levels.pop().is_none_or(|level| level.values == 0);
        if !is_empty && !self.single_line {
            self.new_line();
        }
        self.out.push(b']');
    }

    /// Begins an object.
    pub(in crate::api) fn begin_object(&mut self) {
        self.place();
        self.out.push(b'{');
        self.levels.push(Level { in_list: false, values: 0 });
    }

    /// Ends an object.
    pub(in crate::api) fn end_object(&mut self) {
        let is_empty = self.levels.pop().is_none_or(|level| level.values == 0);
        if !is_empty {
            self.new_line();
        }
        self.out.push(b'}');
    }

    /// Writes a key of an object; its value must follow.
    pub(in crate::api) fn key(&mut self, key: &str) {
        self.value(key);
    }

    /// Writes a string, a whole number, or whatever else serde_json writes without white space.
    pub(in crate::api) fn value<T: Serialize + ?Sized>(&mut self, value: &T) {
        self.place();
        // Neither such a value nor the memory it is written to can refuse.
        drop(serde_json::to_writer(&mut self.out, value));
    }

    /// Writes a key of an object and its value.
    pub(in crate::api) fn member<T: Serialize + ?Sized>(&mut self, key: &str, value: &T) {
        self.key(key);
        self.value(value);
    }

    /// Writes a float, or the word for what is not finite.
    pub(in crate::api) fn float<T: Decimal>(&mut self, number: T) {
        self.place();
        write_decimal(&mut self.out, number, self.digits);
    }

    /// Writes a flat list of elements.
    pub(in crate::api) fn flat(&mut self, data: &Data) {
        self.begin_list();
        self.run(data, false, 0..data.len());
        self.end_list();
    }

    /// Writes some of a tensor's elements as lists nested by its dimensions, beginning with the dimension at `depth`.
    /// Strings are written as bytes in base64 if `as_bytes`.
    pub(in crate::api) fn nested(&mut self, tensor: &Tensor, as_bytes: bool, depth: usize, range: Range<usize>) {
        let dims = tensor.shape().get(depth..).unwrap_or_default();
        if dims.is_empty() {
            return self.run(tensor.data(), as_bytes, range);
        }
        self.begin_list();
        if dims.len() == 1 {
            self.run(tensor.data(), as_bytes, range);
        } else {
            let width: usize = dims[1..].iter().product();
            for index in 0..dims[0] {
                let start = range.start + index * width;
                self.nested(tensor, as_bytes, depth + 1, start..start + width);
            }
        }
        self.end_list();
    }

    fn run(&mut self, data: &Data, as_bytes: bool, range: Range<usize>) {
        match data {
            Data::String(texts) if as_bytes => texts[range].iter().for_each(|text| self.bytes(text)),
            data => each_data!(data, elements => self.elements(&elements[range])),
        }
    }

    /// Writes bytes as an object with their base64.
    fn bytes(&mut self, text: &str) {
        self.begin_object();
        self.member(BASE64_KEY, &STANDARD.encode(text));
        self.end_object();
    }

    fn elements<T: Writable>(&mut self, elements: &[T]) {
        let Some((first, rest)) = elements.split_first() else { return };
        self.place();
        first.write(&mut self.out, self.digits);
        for element in rest {
            // What stands between elements is always the same without white space.
            if self.indent.is_none() {
                self.out.push(b',')
            } else {
                self.place()
            }
            element.write(&mut self.out, self.digits);
        }
    }

    /// Writes what stands before a value or key: a comma or colon, and a line of its own if it gets one.
    #[inline]
    fn place(&mut self) {
        let Some(level) = self.levels.last_mut() else { return };
        let before = level.values;
        level.values += 1;
        let follows_key = !level.in_list && before % 2 == 1;
        let stays = level.in_list && self.single_line;
        if follows_key {
            self.out.push(b':');
        } else if before > 0 {
            self.out.push(b',');
        }
        match self.indent {
            None => {}
            Some(_) if follows_key || (stays && before > 0) => self.out.push(b' '),
            Some(_) if stays => {}
            Some(_) => self.new_line(),
        }
    }

    fn new_line(&mut self) {
        if let Some(spaces) = self.indent {
            self.out.push(b'\n');
            self.out.resize(self.out.len() + self.levels.len() * spaces, b' ');
        }
    }
}

/// An element of a tensor.
trait Writable {
    fn write(&self, out: &mut Vec<u8>, digits: Digits);
}

macro_rules! plain {
    ($($ty:ty),*) => {
        $(impl Writable for $ty {
            fn write(&self, out: &mut Vec<u8>, _: Digits) {
                // Neither such a value nor the memory it is written to can refuse.
                drop(serde_json::to_writer(out, self));
            }
        })*
    };
}

plain!(bool, u8, u16, u32, u64, i8, i16, i32, i64, String);

macro_rules! float {
    ($($ty:ty: $widen:expr),*) => {
        $(impl Writable for $ty {
            fn write(&self, out: &mut Vec<u8>, digits: Digits) {
                write_decimal(out, $widen(*self), digits);
            }
        })*
    };
}

float!(f16: f16::to_f32, bf16: bf16::to_f32, f32: f32::from, f64: f64::from);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_stands_between_values_in_compact_json() {
        let mut json = Writer::compact();
        json.begin_object();
        json.member("a", &[1, 2]);
        json.key("b");
        json.flat(&Data::Float32(vec![0.5, f32::NAN]));
        json.key("c");
        json.nested(&Tensor::new(vec![2, 1], vec!["x".to_owned(), "y".to_owned()]).unwrap(), true, 0, 0..2);
        json.key("d");
        json.nested(&Tensor::new(vec![], vec![7u8]).unwrap(), false, 0, 0..1);
        json.key("e");
        json.flat(&Data::Bool(vec![]));
        json.end_object();
        let text = String::from_utf8(json.finish()).unwrap();
        assert_eq!(text, r#"{"a":[1,2],"b":[0.5,NaN],"c":[[{"b64":"eA=="}],[{"b64":"eQ=="}]],"d":7,"e":[]}"#);
    }

    #[test]
    fn lists_are_written_on_one_line_or_on_many() {
        let mut json = Writer::indented(4);
        json.begin_object();
        json.key("predictions");
        json.begin_list();
        json.single_line(true);
        for row in [[1, 2], [3, 4]] {
            json.begin_list();
            row.into_iter().for_each(|number| json.value(&number));
            json.end_list();
        }
        json.single_line(false);
        json.end_list();
        json.key("a\"b");
        json.begin_list();
        json.value(&true);
        json.value("é");
        json.begin_list();
        json.end_list();
        json.begin_object();
        json.end_object();
        json.end_list();
        json.end_object();
        let text = String::from_utf8(json.finish()).unwrap();
        assert_eq!(
            text,
            "{\n    \"predictions\": [[1, 2], [3, 4]\n    ],\n    \"a\\\"b\": [\n        true,\n        \"é\",\n        [],\n        {}\n    ]\n}"
        );
    }
}
