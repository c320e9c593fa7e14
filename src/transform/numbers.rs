//! Nested JSON lists of numbers → tensor, without a tree of values in between.

use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error as _, SeqAccess, Visitor};

use crate::error::{Error, Result};
use crate::tensor::Tensor;

/// Lists nested deeper than this are refused.
const MAX_DEPTH: usize = 8;

/// Numbers in rectangular nested lists, read straight into one row-major buffer.
///
/// Ragged lists, mixed depths, anything but numbers, and numbers that do not fit a finite `f32` are
/// refused while reading.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Instances {
    shape: Vec<usize>,
    data: Vec<f32>,
}

impl<'de> Deserialize<'de> for Instances {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        let mut collected = Collected::default();
        Level { collected: &mut collected, depth: 0 }.deserialize(deserializer)?;
        let shape = collected.sizes.into_iter().map(|size| size.unwrap_or(0)).collect();
        Ok(Self { shape, data: collected.data })
    }
}

#[derive(Default)]
struct Collected {
    /// The length of the lists at each depth, once one of them has ended.
    sizes: Vec<Option<usize>>,
    number_depth: Option<usize>,
    data: Vec<f32>,
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

impl<'de> Visitor<'de> for Level<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.depth == 0 { "a list of instances" } else { "a number or a list of numbers" })
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> std::result::Result<(), A::Error> {
        let Self { collected, depth } = self;
        if depth >= MAX_DEPTH {
            return Err(A::Error::custom(format_args!("lists are nested deeper than {MAX_DEPTH}")));
        }
        if collected.number_depth.is_some_and(|numbers| numbers <= depth) {
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

    fn visit_f64<E: serde::de::Error>(self, number: f64) -> std::result::Result<(), E> {
        let Self { collected, depth } = self;
        if depth == 0 {
            return Err(E::custom("expected a list of instances, got a number"));
        }
        if *collected.number_depth.get_or_insert(depth) != depth || collected.sizes.len() > depth {
            return Err(E::custom("numbers and lists stand side by side"));
        }
        let narrow = number as f32;
        if !narrow.is_finite() {
            return Err(E::custom(format_args!("the number {number} does not fit a 32-bit float")));
        }
        collected.data.push(narrow);
        Ok(())
    }

    fn visit_u64<E: serde::de::Error>(self, number: u64) -> std::result::Result<(), E> {
        self.visit_f64(number as f64)
    }

    fn visit_i64<E: serde::de::Error>(self, number: i64) -> std::result::Result<(), E> {
        self.visit_f64(number as f64)
    }
}

/// Gives instances the shape `[N, sample…]`. Each instance may be written as the sample's shape, as
/// that shape without its dimensions of 1, or flat.
///
/// # Errors
/// [`Error::InvalidInput`] naming the expected and the given shape.
pub fn instances_to_tensor(instances: Instances, sample: &[usize]) -> Result<Tensor> {
    let Instances { shape, data } = instances;
    let squeezed: Vec<usize> = sample.iter().copied().filter(|size| *size != 1).collect();
    let flat: [usize; 1] = [sample.iter().product()];
    let (rows, given) = match shape.split_first() {
        Some((rows, given)) if *rows > 0 => (*rows, given),
        _ => return Err(Error::InvalidInput("\"instances\" is empty; expected at least one instance".into())),
    };
    if given != sample && given != squeezed && given != flat {
        return Err(Error::InvalidInput(format!(
            "each of \"instances\" must have the shape {sample:?} or be a flat list of {} numbers; got the shape {given:?}",
            flat[0]
        )));
    }
    let shape = std::iter::once(rows).chain(sample.iter().copied()).collect();
    Tensor::new(shape, data)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(json: &str) -> std::result::Result<Instances, String> {
        serde_json::from_str(json).map_err(|error| error.to_string())
    }

    #[test]
    fn rectangular_lists_become_one_buffer() {
        let instances = read("[[[1,2],[3,4]],[[5,6],[7.5,-8]]]").unwrap();
        assert_eq!(instances.shape, [2, 2, 2]);
        assert_eq!(instances.data, [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.5, -8.0]);
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
            let tensor = instances_to_tensor(read(json).unwrap(), &[1, 2, 2]).unwrap();
            assert_eq!((tensor.shape(), tensor.floats().unwrap()), (&[1, 1, 2, 2][..], &[1.0, 2.0, 3.0, 4.0][..]));
        }
        for json in ["[]", "[[]]", "[1,2,3,4]", "[[1,2,3]]", "[[[1,2,3,4]]]"] {
            let refused = instances_to_tensor(read(json).unwrap(), &[1, 2, 2]);
            assert!(matches!(refused, Err(Error::InvalidInput(_))), "{json}");
        }
    }

    proptest! {
        #[test]
        fn any_rectangle_round_trips(rows in prop::collection::vec(prop::collection::vec(-1e6f32..1e6, 3), 1..9)) {
            let instances = read(&serde_json::to_string(&rows).unwrap()).unwrap();
            prop_assert_eq!(&instances.shape, &[rows.len(), 3]);
            prop_assert_eq!(instances.data, rows.concat());
        }
    }
}
