//! The elements of nested JSON lists, collected one by one into a typed buffer.

use std::borrow::Cow;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use half::{bf16, f16};
use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Unexpected, Visitor};

use super::numbers::Accepts;
use super::words::word_number;
use crate::signature::DType;
use crate::tensor::Data;

/// Lists nested deeper than this are refused.
const MAX_DEPTH: usize = 8;

/// The key of bytes in base64.
pub const BASE64_KEY: &str = "b64";

/// What was read so far.
#[derive(Debug)]
pub(super) struct Collected {
    /// The length of the lists at each depth, once one of them has ended.
    pub(super) sizes: Vec<Option<usize>>,
    /// The depth at which there are elements.
    depth: Option<usize>,
    scalar: bool,
    accepts: Accepts,
    pub(super) data: Data,
    /// Whole files in the place of elements.
    pub(super) files: Vec<Bytes>,
}

impl Collected {
    pub(super) fn new(dtype: DType, accepts: Accepts, scalar: bool) -> Self {
        let data = Data::with_capacity(dtype, 0);
        Self { sizes: Vec::new(), depth: None, scalar, accepts, data, files: Vec::new() }
    }

    /// Reads what stands at a depth: an element or a list.
    pub(super) fn level(&mut self, depth: usize) -> Level<'_> {
        Level { collected: self, depth }
    }
}

/// Reads an element, or a list of elements at the next depth.
#[derive(Debug)]
pub struct Level<'a> {
    collected: &'a mut Collected,
    depth: usize,
}

impl<'de> DeserializeSeed<'de> for Level<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> std::result::Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl Level<'_> {
    /// The key that begins an element which is written as an object, for [`Level::object`].
    pub fn is_element_key(key: Option<&str>, accepts: Accepts) -> bool {
        (key == Some(BASE64_KEY) && accepts.base64) || (word_number(key).is_some() && accepts.words)
    }

    /// Reads an element that is written as an object, whose first key was read already.
    ///
    /// # Errors
    /// When no such element may stand here, or it is not well formed.
    pub fn object<'de, A: MapAccess<'de>>(self, first: Option<&str>, mut map: A) -> std::result::Result<(), A::Error> {
        let accepts = self.collected.accepts;
        if first == Some(BASE64_KEY) && accepts.base64 {
            let bytes = map.next_value_seed(Base64)?;
            if map.next_key::<IgnoredAny>()?.is_some() {
                return Err(A::Error::custom("an object with \"b64\" has no other key"));
            }
            return self.bytes(bytes);
        }
        match word_number(first) {
            Some(number) if accepts.words => {
                if first.is_some() {
                    map.next_value::<IgnoredAny>()?;
                }
                self.float(number, true)
            }
            _ => Err(A::Error::invalid_type(Unexpected::Map, &self)),
        }
    }

    /// Whether an element may stand here.
    fn place<E: serde::de::Error>(&mut self) -> std::result::Result<&mut Collected, E> {
        if self.depth == 0 && !self.collected.scalar {
            return Err(E::custom("expected a list of instances, got a single value"));
        }
        let collected = &mut *self.collected;
        if *collected.depth.get_or_insert(self.depth) != self.depth || collected.sizes.len() > self.depth {
            return Err(E::custom("numbers and lists stand side by side"));
        }
        Ok(collected)
    }

    /// The buffer, if an element may stand here.
    fn element<E: serde::de::Error>(&mut self) -> std::result::Result<&mut Data, E> {
        let collected = self.place()?;
        if !collected.files.is_empty() {
            return Err(E::custom("elements and files stand side by side"));
        }
        Ok(&mut collected.data)
    }

    /// The bytes of a string, or a file.
    fn bytes<E: serde::de::Error>(mut self, bytes: Vec<u8>) -> std::result::Result<(), E> {
        let collected = self.place::<E>()?;
        let takes_files = collected.accepts.files || collected.accepts.text_files;
        match &mut collected.data {
            Data::String(texts) => {
                let text = String::from_utf8(bytes);
                texts.push(text.map_err(|_| E::custom("the bytes in \"b64\" are not text in UTF-8"))?);
            }
            data if takes_files && data.is_empty() => collected.files.push(bytes.into()),
            _ if takes_files => return Err(E::custom("elements and files stand side by side")),
            _ => return Err(E::custom("bytes in \"b64\" stand where a number is expected")),
        }
        Ok(())
    }

    fn float<E: serde::de::Error>(mut self, number: f64, is_word: bool) -> std::result::Result<(), E> {
        let data = self.element::<E>()?;
        let dtype = data.dtype();
        let misfit = || Err(E::custom(format_args!("the number {number} does not fit the type {dtype}")));
        match data {
            Data::Float32(elements) if is_word || (number as f32).is_finite() => elements.push(number as f32),
            Data::Float64(elements) if is_word || number.is_finite() => elements.push(number),
            Data::Float16(elements) if is_word || f16::from_f64(number).is_finite() => {
                elements.push(f16::from_f64(number));
            }
            Data::Bfloat16(elements) if is_word || bf16::from_f64(number).is_finite() => {
                elements.push(bf16::from_f64(number));
            }
            _ => return misfit(),
        }
        Ok(())
    }

    fn whole<E: serde::de::Error, N>(mut self, number: N) -> std::result::Result<(), E>
    where
        N: Copy + fmt::Display + TryInto<i8> + TryInto<i16> + TryInto<i32> + TryInto<i64>,
        N: TryInto<u8> + TryInto<u16> + TryInto<u32> + TryInto<u64>,
    {
        let data = self.element::<E>()?;
        let dtype = data.dtype();
        let fits = match data {
            Data::Uint8(elements) => number.try_into().map(|number| elements.push(number)).is_ok(),
            Data::Uint16(elements) => number.try_into().map(|number| elements.push(number)).is_ok(),
            Data::Uint32(elements) => number.try_into().map(|number| elements.push(number)).is_ok(),
            Data::Uint64(elements) => number.try_into().map(|number| elements.push(number)).is_ok(),
            Data::Int8(elements) => number.try_into().map(|number| elements.push(number)).is_ok(),
            Data::Int16(elements) => number.try_into().map(|number| elements.push(number)).is_ok(),
            Data::Int32(elements) => number.try_into().map(|number| elements.push(number)).is_ok(),
            Data::Int64(elements) => number.try_into().map(|number| elements.push(number)).is_ok(),
            _ => false,
        };
        if fits { Ok(()) } else { Err(E::custom(format_args!("the number {number} does not fit the type {dtype}"))) }
    }
}

impl<'de> Visitor<'de> for Level<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let element = match self.collected.data.dtype() {
            DType::Bool => "true or false",
            DType::String => "a string",
            _ => "a number",
        };
        match self.depth {
            0 => f.write_str("a list of instances"),
            _ => write!(f, "{element} or a list of such"),
        }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> std::result::Result<(), A::Error> {
        let Self { collected, depth } = self;
        if depth >= MAX_DEPTH {
            return Err(A::Error::custom(format_args!("lists are nested deeper than {MAX_DEPTH}")));
        }
        if collected.depth.is_some_and(|elements| elements <= depth) {
            return Err(A::Error::custom("numbers and lists stand side by side"));
        }
        if collected.sizes.len() == depth {
            collected.sizes.push(None);
        }
        let mut count = 0;
        while list.next_element_seed(Level { collected: &mut *collected, depth: depth + 1 })?.is_some() {
            count += 1;
        }
        match collected.sizes[depth] {
            Some(size) if size != count => {
                Err(A::Error::custom(format_args!("lists at depth {depth} differ in length: {size} and {count}")))
            }
            _ => {
                collected.sizes[depth] = Some(count);
                Ok(())
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<(), A::Error> {
        let first = map.next_key::<Cow<'de, str>>()?;
        self.object(first.as_deref(), map)
    }

    fn visit_f64<E: serde::de::Error>(self, number: f64) -> std::result::Result<(), E> {
        self.float(number, false)
    }

    fn visit_u64<E: serde::de::Error>(self, number: u64) -> std::result::Result<(), E> {
        if self.collected.data.dtype().is_float() { self.visit_f64(number as f64) } else { self.whole(number) }
    }

    fn visit_i64<E: serde::de::Error>(self, number: i64) -> std::result::Result<(), E> {
        if self.collected.data.dtype().is_float() { self.visit_f64(number as f64) } else { self.whole(number) }
    }

    fn visit_bool<E: serde::de::Error>(mut self, value: bool) -> std::result::Result<(), E> {
        match self.element::<E>()? {
            Data::Bool(elements) => elements.push(value),
            _ => return Err(E::invalid_type(Unexpected::Bool(value), &self)),
        }
        Ok(())
    }

    fn visit_str<E: serde::de::Error>(mut self, text: &str) -> std::result::Result<(), E> {
        if self.collected.accepts.text_files && self.collected.data.dtype() != DType::String {
            return Base64.visit_str(text).and_then(|file| self.bytes(file));
        }
        match self.element::<E>()? {
            Data::String(elements) => elements.push(text.to_owned()),
            _ => return Err(E::invalid_type(Unexpected::Str(text), &self)),
        }
        Ok(())
    }
}

/// Reads bytes in base64 (RFC 4648, section 4, with padding).
#[derive(Debug, Clone, Copy)]
pub struct Base64;

impl<'de> DeserializeSeed<'de> for Base64 {
    type Value = Vec<u8>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> std::result::Result<Vec<u8>, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Base64 {
    type Value = Vec<u8>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string in base64")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> std::result::Result<Vec<u8>, E> {
        STANDARD.decode(text).map_err(|error| E::custom(format_args!("not base64 with padding: {error}")))
    }
}
