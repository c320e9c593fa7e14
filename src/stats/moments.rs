//! Mean and deviation of the elements of one input.

/// The most elements that are looked at.
const MOST: usize = 4096;

/// Sums of their own, so that they run abreast.
const LANES: usize = 8;

/// Statistics of what a model sees of one sample.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Moments {
    /// The mean of the elements.
    pub mean: f32,
    /// Their standard deviation.
    pub deviation: f32,
}

impl Moments {
    /// Returns the moments of the finite ones among at most 4096 elements at equal distances; `None` if there are none.
    /// A reference and live traffic take the same ones, so they can be compared.
    pub fn of(elements: &[f32]) -> Option<Self> {
        let mut sums = Sums::default();
        match elements.len().div_ceil(MOST) {
            0 => return None,
            1 => {
                if let Some(moments) = Self::of_finite(elements) {
                    return Some(moments);
                }
                let whole = elements.chunks_exact(LANES);
                whole.remainder().iter().enumerate().for_each(|(lane, value)| sums.add(lane, *value));
                whole.for_each(|chunk| chunk.iter().enumerate().for_each(|(lane, value)| sums.add(lane, *value)));
            }
            step => {
                elements.iter().step_by(step).enumerate().for_each(|(index, value)| sums.add(index % LANES, *value))
            }
        }
        sums.finish()
    }

    /// Returns the same figures in half the time; `None` where not all elements are finite, which their sums show.
    fn of_finite(elements: &[f32]) -> Option<Self> {
        let (mut values, mut squares) = ([0f32; LANES], [0f32; LANES]);
        let whole = elements.chunks_exact(LANES);
        let rest = whole.remainder();
        values[..rest.len()].copy_from_slice(rest);
        squares.iter_mut().zip(&values).for_each(|(square, value)| *square = value * value);
        for chunk in whole {
            for ((value, square), element) in values.iter_mut().zip(&mut squares).zip(chunk) {
                *value += element;
                *square += element * element;
            }
        }
        let counts = std::array::from_fn(|lane| (elements.len() / LANES + usize::from(lane < rest.len())) as f32);
        let is_finite = values.iter().chain(&squares).all(|sum| sum.is_finite());
        is_finite.then(|| Sums { counts, values, squares }.finish()).flatten()
    }
}

#[derive(Default)]
struct Sums {
    counts: [f32; LANES],
    values: [f32; LANES],
    squares: [f32; LANES],
}

impl Sums {
    fn add(&mut self, lane: usize, value: f32) {
        let (finite, count) = if value.is_finite() { (value, 1.0) } else { (0.0, 0.0) };
        self.counts[lane] += count;
        self.values[lane] += finite;
        self.squares[lane] += finite * finite;
    }

    fn finish(&self) -> Option<Moments> {
        let total = |lanes: &[f32; LANES]| lanes.iter().map(|sum| f64::from(*sum)).sum::<f64>();
        let count = total(&self.counts);
        if count == 0.0 {
            return None;
        }
        let mean = total(&self.values) / count;
        let variance = (total(&self.squares) / count - mean * mean).max(0.0);
        Some(Moments { mean: mean as f32, deviation: variance.sqrt() as f32 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_inputs_are_sampled_and_missing_elements_left_out() {
        let close = |found: Option<Moments>, mean: f32, deviation: f32| {
            let found = found.unwrap();
            assert!((found.mean - mean).abs() < 0.01 && (found.deviation - deviation).abs() < 0.01, "{found:?}");
        };
        close(Moments::of(&[1.0, 3.0, 1.0, 3.0, 1.0, 3.0, 1.0, 3.0, 1.0, 3.0]), 2.0, 1.0);
        close(Moments::of(&[1.0, f32::NAN, 3.0, f32::INFINITY]), 2.0, 1.0);
        let large: Vec<f32> = (0..100_000).map(|index| (index % 2 * 2 + 1) as f32).collect();
        // Every 25th element: odd and even places alternate.
        close(Moments::of(&large), 2.0, 1.0);
        assert_eq!((Moments::of(&[]), Moments::of(&[f32::NAN])), (None, None));
        assert_eq!(Moments::of_finite(&[1.0, f32::NAN]), None);
    }

    #[test]
    fn the_short_way_gives_the_same_bits() {
        for length in [1, 7, 8, 9, 784, 4096] {
            let elements: Vec<f32> = (0..length).map(|index| (index * 37 % 101) as f32 / 7.0 - 3.0).collect();
            let mut sums = Sums::default();
            let whole = elements.chunks_exact(LANES);
            whole.remainder().iter().enumerate().for_each(|(lane, value)| sums.add(lane, *value));
            whole.for_each(|chunk| chunk.iter().enumerate().for_each(|(lane, value)| sums.add(lane, *value)));
            assert_eq!(Moments::of_finite(&elements), sums.finish(), "{length}");
        }
    }
}
