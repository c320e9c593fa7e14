//! Labelled images in memory, and how they are split.

mod idx;
mod mnist;

use rand::seq::SliceRandom;

pub use mnist::Mnist;

use crate::error::{Error, Result};
use crate::trainer::batches::keyed_rng;

/// Grey images of one size with their classes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dataset {
    /// Pixels in a row.
    pub width: usize,
    /// Rows of an image.
    pub height: usize,
    /// The pixels of all images, row by row, 0 to 255.
    pub pixels: Vec<u8>,
    /// The class of each image.
    pub labels: Vec<u8>,
    /// How many classes there are.
    pub classes: usize,
}

impl Dataset {
    /// How many images it holds.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// Pixels of one image.
    pub fn image_len(&self) -> usize {
        self.width * self.height
    }

    /// One image.
    ///
    /// # Panics
    /// When `index` is not below [`Dataset::len`].
    pub fn image(&self, index: usize) -> &[u8] {
        &self.pixels[index * self.image_len()..][..self.image_len()]
    }

    /// The images at these places, in this order.
    pub fn select(&self, indices: &[usize]) -> Self {
        let mut pixels = Vec::with_capacity(indices.len() * self.image_len());
        for &index in indices {
            pixels.extend_from_slice(self.image(index));
        }
        Self { pixels, labels: indices.iter().map(|&index| self.labels[index]).collect(), ..*self }
    }

    /// Splits off `count` images with every class represented in proportion; both parts keep the
    /// original order. The same seed gives the same split.
    ///
    /// # Errors
    /// [`Error::Config`] when `count` leaves nothing to train on.
    pub fn split_off(&self, count: usize, seed: u64) -> Result<(Self, Self)> {
        if count >= self.len() {
            let problem = format!("{count} of {} images would leave none to train on", self.len());
            return Err(Error::Config { setting: "validation".into(), problem });
        }
        let held_out = stratified(&self.labels, self.classes, count, seed);
        let mut is_held_out = vec![false; self.len()];
        held_out.iter().for_each(|&index| is_held_out[index] = true);
        let (out, rest): (Vec<usize>, Vec<usize>) = (0..self.len()).partition(|&index| is_held_out[index]);
        Ok((self.select(&rest), self.select(&out)))
    }

    /// The places of `count` images, every class in proportion, drawn by the seed; ascending.
    pub fn sample(&self, count: usize, seed: u64) -> Vec<usize> {
        let mut indices = stratified(&self.labels, self.classes, count.min(self.len()), seed);
        indices.sort_unstable();
        indices
    }
}

/// Draws `count` indices with each class in proportion, remainders going to the classes with the
/// largest fractions.
fn stratified(labels: &[u8], classes: usize, count: usize, seed: u64) -> Vec<usize> {
    let mut by_class = vec![Vec::new(); classes];
    for (index, &label) in labels.iter().enumerate() {
        by_class[usize::from(label)].push(index);
    }
    let share = |members: &Vec<usize>| members.len() as f64 * count as f64 / labels.len() as f64;
    let mut quota: Vec<usize> = by_class.iter().map(|members| share(members) as usize).collect();
    let mut by_fraction: Vec<usize> = (0..classes).collect();
    by_fraction.sort_by(|&a, &b| share(&by_class[b]).fract().total_cmp(&share(&by_class[a]).fract()));
    let missing = count - quota.iter().sum::<usize>();
    by_fraction.iter().take(missing).for_each(|&class| quota[class] += 1);
    let mut drawn = Vec::with_capacity(count);
    for (class, members) in by_class.iter_mut().enumerate() {
        let mut rng = keyed_rng(seed, "split", class as u64, 0);
        let (chosen, _) = members.partial_shuffle(&mut rng, quota[class]);
        drawn.extend_from_slice(chosen);
    }
    drawn
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn dataset(labels: Vec<u8>) -> Dataset {
        Dataset { width: 1, height: 1, pixels: (0..labels.len()).map(|i| i as u8).collect(), labels, classes: 3 }
    }

    #[test]
    fn a_split_that_leaves_nothing_is_refused() {
        assert!(dataset(vec![0, 1, 2]).split_off(3, 0).is_err());
    }

    proptest! {
        #[test]
        fn a_split_parts_the_data_and_keeps_the_proportions(labels in prop::collection::vec(0u8..3, 2..200), part in 0.0f64..0.9, seed: u64) {
            let all = dataset(labels);
            let count = (all.len() as f64 * part) as usize;
            let (rest, out) = all.split_off(count, seed).unwrap();
            prop_assert_eq!((rest.len(), out.len()), (all.len() - count, count));
            let mut joined = [rest.pixels.clone(), out.pixels.clone()].concat();
            joined.sort_unstable();
            let mut original = all.pixels.clone();
            original.sort_unstable();
            prop_assert_eq!(joined, original);
            for class in 0..3u8 {
                let of = |data: &Dataset| data.labels.iter().filter(|label| **label == class).count() as f64;
                prop_assert!((of(&out) - of(&all) * count as f64 / all.len() as f64).abs() <= 1.0);
            }
            prop_assert_eq!(all.split_off(count, seed).unwrap(), (rest, out));
        }
    }
}
