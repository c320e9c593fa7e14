//! Nested JSON lists → tensor, without a tree of values in between.

use std::fmt;

use half::{bf16, f16};
use serde::de::{DeserializeSeed, Deserializer, Error as _, SeqAccess, Visitor};

use crate::error::{Error, Result};
use crate::signature::{DType, Dim, shape_text};
use crate::tensor::{Data, Tensor};

/// Lists nested deeper than this are refused.
const MAX_DEPTH: usize = 8;

/// Elements in rectangular nested lists, read straight into one row-major buffer.
///
/// Ragged lists, mixed depths, elements of another type, and numbers that do not fit the type or are
/// not finite are refused while reading.
#[derive(Debug, Clone, PartialEq)]
pub struct Nested {
    shape: Vec<usize>,
    data: Data,
}

/// How [`Nested`] is read.
#[derive(Debug, Clone, Copy)]
pub struct NestedSeed {
    /// The type of the elements.
    pub dtype: DType,
    /// Whether a lone element without a list around it is welcome.
    pub scalar: bool,
}

impl<'de> DeserializeSeed<'de> for NestedSeed {
    type Value = Nested;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> std::result::Result<Nested, D::Error> {
        let data = Data::with_capacity(self.dtype, 0);
        let mut collected = Collected { sizes: Vec::new(), depth: None, scalar: self.scalar, data };
        Level { collected: &mut collected, depth: 0 }.deserialize(deserializer)?;
        let shape = collected.sizes.into_iter().map(|size| size.unwrap_or(0)).collect();
        Ok(Nested { shape, data: collected.data })
    }
}

struct Collected {
    /// The length of the lists at each depth, once one of them has ended.
    sizes: Vec<Option<usize>>,
    /// The depth at which there are elements.
    depth: Option<usize>,
    scalar: bool,
    data: Data,
}

struct Level<'a> {
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
    /// The buffer, if an element may stand here.
    fn element<E: serde::de::Error>(&mut self) -> std::result::Result<&mut Data, E> {
        if self.depth == 0 && !self.collected.scalar {
            return Err(E::custom("expected a list of instances, got a single value"));
        }
        let collected = &mut *self.collected;
        if *collected.depth.get_or_insert(self.depth) != self.depth || collected.sizes.len() > self.depth {
            return Err(E::custom("numbers and lists stand side by side"));
        }
        Ok(&mut collected.data)
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

    fn visit_f64<E: serde::de::Error>(mut self, number: f64) -> std::result::Result<(), E> {
        let data = self.element::<E>()?;
        let dtype = data.dtype();
        let misfit = || Err(E::custom(format_args!("the number {number} does not fit the type {dtype}")));
        match data {
            Data::Float32(elements) => {
                let narrow = number as f32;
                if !narrow.is_finite() {
                    return misfit();
                }
                elements.push(narrow);
            }
            Data::Float64(elements) if number.is_finite() => elements.push(number),
            Data::Float16(elements) if f16::from_f64(number).is_finite() => elements.push(f16::from_f64(number)),
            Data::Bfloat16(elements) if bf16::from_f64(number).is_finite() => elements.push(bf16::from_f64(number)),
            _ => return misfit(),
        }
        Ok(())
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
            _ => return Err(E::invalid_type(serde::de::Unexpected::Bool(value), &self)),
        }
        Ok(())
    }

    fn visit_str<E: serde::de::Error>(mut self, text: &str) -> std::result::Result<(), E> {
        match self.element::<E>()? {
            Data::String(elements) => elements.push(text.to_owned()),
            _ => return Err(E::invalid_type(serde::de::Unexpected::Str(text), &self)),
        }
        Ok(())
    }
}

impl Nested {
    /// A tensor of samples of the given dimensions, as many as there are. Each sample may be written
    /// in its shape or, if that is fixed, without its dimensions of 1, or flat.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] naming `what`, the expected and the given shape.
    pub fn into_samples(self, what: &str, sample: &[Dim]) -> Result<Tensor> {
        let Self { shape, data } = self;
        let (rows, given) = match shape.split_first() {
            Some((rows, given)) if *rows > 0 => (*rows, given),
            _ => return Err(Error::InvalidInput(format!("{what} is empty; expected at least one instance"))),
        };
        let sizes = shape_of(given, sample).ok_or_else(|| {
            Error::InvalidInput(format!("each of {what} must have the {}; got the shape {given:?}", expected(sample)))
        })?;
        Tensor::from_data(std::iter::once(rows).chain(sizes).collect(), data)
    }

    /// A tensor of the given dimensions, written in them or, if they are fixed, without those of 1,
    /// or flat.
    ///
    /// # Errors
    /// As [`Nested::into_samples`].
    pub fn into_whole(self, what: &str, dims: &[Dim]) -> Result<Tensor> {
        let Self { shape, data } = self;
        let sizes = shape_of(&shape, dims).ok_or_else(|| {
            Error::InvalidInput(format!("{what} must have the {}; got the shape {shape:?}", expected(dims)))
        })?;
        Tensor::from_data(sizes, data)
    }

    /// The only instance in a list of one.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] when there is another number of them.
    pub fn into_only(mut self, what: &str) -> Result<Self> {
        if self.shape.first() != Some(&1) {
            let count = self.shape.first().copied().unwrap_or(0);
            return Err(Error::InvalidInput(format!(
                "the model has no batch dimension, so {what} must be a list of exactly one, got {count}"
            )));
        }
        self.shape.remove(0);
        Ok(self)
    }
}

/// The sizes that a given shape stands for.
fn shape_of(given: &[usize], dims: &[Dim]) -> Option<Vec<usize>> {
    let fits = |(size, dim): (&usize, &Dim)| if let Dim::Fixed(expected) = dim { size == expected } else { true };
    if given.len() == dims.len() && given.iter().zip(dims).all(fits) {
        return Some(given.to_vec());
    }
    let sizes = dims.iter().map(|dim| if let Dim::Fixed(size) = dim { Some(*size) } else { None });
    let sizes: Vec<usize> = sizes.collect::<Option<_>>()?;
    let is_squeezed = given.iter().eq(sizes.iter().filter(|size| **size != 1));
    (is_squeezed || given == [sizes.iter().product::<usize>()]).then_some(sizes)
}

fn expected(dims: &[Dim]) -> String {
    let fixed =
        dims.iter().try_fold(1, |product, dim| if let Dim::Fixed(size) = dim { Some(product * size) } else { None });
    match fixed {
        Some(count) => format!("shape {} or be a flat list of {count} numbers", shape_text(dims)),
        None => format!("shape {}", shape_text(dims)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read_as(dtype: DType, json: &str) -> std::result::Result<Nested, String> {
        let seed = NestedSeed { dtype, scalar: false };
        seed.deserialize(&mut serde_json::Deserializer::from_str(json)).map_err(|error| error.to_string())
    }

    fn read(json: &str) -> std::result::Result<Nested, String> {
        read_as(DType::Float32, json)
    }

    #[test]
    fn rectangular_lists_become_one_buffer() {
        let instances = read("[[[1,2],[3,4]],[[5,6],[7.5,-8]]]").unwrap();
        assert_eq!(instances.shape, [2, 2, 2]);
        assert_eq!(instances.data, Data::Float32(vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.5, -8.0]));
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
            "7",
            "\"x\"",
            "[[1e39]]",
            "[[1e400]]",
            "[[NaN]]",
            "[[[[[[[[[1]]]]]]]]]",
            "[[],[1]]",
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
        let deep = "[".repeat(250_000);
        assert!(read(&deep).is_err());
    }

    #[test]
    fn an_instance_may_be_shaped_squeezed_or_flat() {
        for json in ["[[[[1,2],[3,4]]]]", "[[[1,2],[3,4]]]", "[[1,2,3,4]]"] {
            let tensor = read(json).unwrap().into_samples("\"instances\"", &[1, 2, 2].map(Dim::Fixed)).unwrap();
            assert_eq!((tensor.shape(), tensor.floats().unwrap()), (&[1, 1, 2, 2][..], &[1.0, 2.0, 3.0, 4.0][..]));
        }
        for json in ["[]", "[[]]", "[1,2,3,4]", "[[1,2,3]]", "[[[1,2,3,4]]]"] {
            let refused = read(json).unwrap().into_samples("\"instances\"", &[1, 2, 2].map(Dim::Fixed));
            assert!(matches!(refused, Err(Error::InvalidInput(_))), "{json}");
        }
    }

    #[test]
    fn every_type_takes_what_it_can_hold_and_nothing_else() {
        let takes = |dtype, json: &str| read_as(dtype, &format!("[{json}]")).is_ok();
        for (dtype, good, bad) in [
            (DType::Int64, &["9007199254740993", "-1"][..], &["1.5", "9223372036854775808", "true", "\"1\""][..]),
            (DType::Uint8, &["0", "255"], &["256", "-1", "1.0"]),
            (DType::Uint64, &["18446744073709551615"], &["-1"]),
            (DType::Bool, &["true", "false"], &["1", "\"true\""]),
            (DType::String, &["\"a\"", "\"\\u00e9\""], &["1", "null"]),
            (DType::Float16, &["65504", "-0.5"], &["70000"]),
            (DType::Float64, &["1e39"], &["1e400"]),
            (DType::Bfloat16, &["1e38"], &["1e39"]),
        ] {
            good.iter().for_each(|json| assert!(takes(dtype, json), "{dtype} {json}"));
            bad.iter().for_each(|json| assert!(!takes(dtype, json), "{dtype} {json}"));
        }
    }

    #[test]
    fn open_dimensions_take_any_size_but_not_another_rank() {
        let dims = [Dim::Symbol("L".into()), Dim::Fixed(2)];
        let samples = |json: &str| read(json).unwrap().into_samples("x", &dims).map(|tensor| tensor.shape().to_vec());
        assert_eq!(samples("[[[1,2],[3,4],[5,6]]]").unwrap(), [1, 3, 2]);
        for bad in ["[[1,2]]", "[[[1],[2]]]", "[[[[1,2]]]]"] {
            assert!(samples(bad).is_err(), "{bad}");
        }
        assert!(read("[[1],[2]]").unwrap().into_only("x").is_err());
        assert_eq!(
            read("[[1,2]]").unwrap().into_only("x").unwrap().into_whole("x", &[Dim::Fixed(2)]).unwrap().shape(),
            [2]
        );
    }

    proptest! {
        #[test]
        fn any_rectangle_round_trips(rows in prop::collection::vec(prop::collection::vec(-1e6f32..1e6, 3), 1..9)) {
            let instances = read(&serde_json::to_string(&rows).unwrap()).unwrap();
            prop_assert_eq!(&instances.shape, &[rows.len(), 3]);
            prop_assert_eq!(instances.data, Data::Float32(rows.concat()));
        }
    }
}
