//! Nested JSON lists → tensor, without a tree of values in between.

use bytes::Bytes;
use serde::de::{DeserializeSeed, Deserializer};

use super::elements::{Collected, Level};
use crate::error::{Error, Result};
use crate::signature::{DType, Dim, shape_text};
use crate::tensor::{Data, Tensor};

/// Elements in rectangular nested lists, read straight into one row-major buffer.
///
/// Ragged lists, mixed depths, elements of another type, and numbers that do not fit the type are
/// refused while reading.
#[derive(Debug, Clone, PartialEq)]
pub struct Nested {
    shape: Vec<usize>,
    data: Data,
    files: Vec<Bytes>,
}

/// How [`Nested`] is read.
#[derive(Debug, Clone, Copy)]
pub struct NestedSeed {
    /// The type of the elements.
    pub dtype: DType,
    /// Whether a lone element without a list around it is welcome.
    pub scalar: bool,
    /// What may stand for an element beyond what JSON has.
    pub accepts: Accepts,
}

/// What may stand for an element beyond what JSON has; by default nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Accepts {
    /// The words for NaN and the infinities, as [`with_words`](super::with_words) hands them on.
    pub words: bool,
    /// `{"b64": "…"}` for the bytes of a string.
    pub base64: bool,
    /// `{"b64": "…"}` for a whole file where numbers are expected; see [`Nested::take_files`].
    pub files: bool,
    /// A string in base64 for such a file.
    pub text_files: bool,
}

impl<'de> DeserializeSeed<'de> for NestedSeed {
    type Value = Nested;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> std::result::Result<Nested, D::Error> {
        let mut collected = Collected::new(self.dtype, self.accepts, self.scalar);
        collected.level(0).deserialize(deserializer)?;
        Ok(collected.into())
    }
}

/// Instances that come one at a time, all of the same shape, put into one buffer.
#[derive(Debug)]
pub struct Stack {
    collected: Collected,
    /// How many came; `None` for one that stands for itself, without a list around it.
    count: Option<usize>,
}

impl Stack {
    /// No instance yet, of elements of a type.
    pub fn new(dtype: DType, accepts: Accepts) -> Self {
        let mut collected = Collected::new(dtype, accepts, true);
        collected.sizes.push(None);
        Self { collected, count: Some(0) }
    }

    /// Waits for one value, which is not made a list of one.
    pub fn single(dtype: DType, accepts: Accepts) -> Self {
        Self { collected: Collected::new(dtype, accepts, true), count: None }
    }

    /// Reads the next instance.
    pub fn instance(&mut self) -> Level<'_> {
        if let Some(count) = &mut self.count {
            *count += 1;
        }
        self.collected.level(usize::from(self.count.is_some()))
    }

    /// What came, as a list of all instances.
    pub fn finish(mut self) -> Nested {
        if self.count.is_some() {
            self.collected.sizes[0] = self.count;
        }
        self.collected.into()
    }
}

impl From<Collected> for Nested {
    fn from(collected: Collected) -> Self {
        let shape = collected.sizes.into_iter().map(|size| size.unwrap_or(0)).collect();
        Self { shape, data: collected.data, files: collected.files }
    }
}

impl Nested {
    /// Takes out the files, in their order; `None` if elements were sent.
    pub fn take_files(&mut self) -> Option<Vec<Bytes>> {
        (!self.files.is_empty()).then(|| std::mem::take(&mut self.files))
    }

    /// The length of the lists at each depth.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Whether this is one sample of the given dimensions, as [`Nested::into_samples`] takes it.
    pub fn is_sample(&self, dims: &[Dim]) -> bool {
        shape_of(&self.shape, dims).is_some()
    }

    /// A list of this alone.
    pub fn alone(mut self) -> Self {
        self.shape.insert(0, 1);
        self
    }

    /// A tensor of samples of the given dimensions, as many as there are. Each sample may be written
    /// in its shape or, if that is fixed, without its dimensions of 1, or flat.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] naming `what`, the expected and the given shape.
    pub fn into_samples(self, what: &str, sample: &[Dim]) -> Result<Tensor> {
        let Self { shape, data, .. } = self;
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
        let Self { shape, data, .. } = self;
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
        let seed = NestedSeed { dtype, scalar: false, accepts: Accepts::default() };
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

    #[test]
    fn stacked_instances_are_the_list_of_them() {
        let mut stack = Stack::new(DType::Float32, Accepts::default());
        for instance in ["[[1,2],[3,4]]", "[[5,6],[7,8]]"] {
            stack.instance().deserialize(&mut serde_json::Deserializer::from_str(instance)).unwrap();
        }
        assert_eq!(stack.finish(), read("[[[1,2],[3,4]],[[5,6],[7,8]]]").unwrap());
        let mut stack = Stack::new(DType::Float32, Accepts::default());
        let mut push = |json: &str| stack.instance().deserialize(&mut serde_json::Deserializer::from_str(json)).is_ok();
        assert!(push("[1,2]") && !push("[1,2,3]"));
        let mut stack = Stack::new(DType::Float32, Accepts::default());
        let mut push = |json: &str| stack.instance().deserialize(&mut serde_json::Deserializer::from_str(json)).is_ok();
        assert!(push("1") && push("2") && !push("[3]"));
        assert_eq!(Stack::new(DType::Int8, Accepts::default()).finish().shape(), [0]);
    }

    #[test]
    fn bytes_in_base64_are_strings_or_files_where_they_are_welcome() {
        let read = |dtype, accepts, json: &str| {
            NestedSeed { dtype, scalar: false, accepts }.deserialize(&mut serde_json::Deserializer::from_str(json))
        };
        let (strings, all) = (
            Accepts { base64: true, ..Accepts::default() },
            Accepts { base64: true, files: true, ..Accepts::default() },
        );
        let text = read(DType::String, strings, r#"[{"b64":"aGk="},"you"]"#).unwrap();
        assert_eq!(text.data, Data::String(vec!["hi".into(), "you".into()]));
        let mut files = read(DType::Float32, all, r#"[{"b64":"/w=="},{"b64":""}]"#).unwrap();
        assert_eq!(files.take_files(), Some(vec![Bytes::from_static(b"\xff"), Bytes::new()]));
        assert_eq!(read(DType::Float32, all, "[1]").unwrap().take_files(), None);
        for (dtype, accepts, bad) in [
            (DType::String, Accepts::default(), r#"[{"b64":"aGk="}]"#),
            (DType::Float32, strings, r#"[{"b64":"aGk="}]"#),
            (DType::Int64, all, r#"[1,{"b64":"aGk="}]"#),
            (DType::Float32, all, r#"[{"b64":"aGk="},1]"#),
            (DType::Float32, all, r#"[[{"b64":"aGk="}],{"b64":"aGk="}]"#),
            (DType::String, strings, r#"[{"b64":"/w=="}]"#),
            (DType::String, strings, r#"[{"b64":"aGk"}]"#),
            (DType::String, strings, r#"[{"b64":7}]"#),
            (DType::String, strings, r#"[{"b64":"aGk=","b64":"aGk="}]"#),
            (DType::String, strings, r#"[{"B64":"aGk="}]"#),
            (DType::String, strings, "[{}]"),
        ] {
            assert!(read(dtype, accepts, bad).is_err(), "{dtype} {bad}");
        }
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
