//! The units of an input: elements that are shown or hidden together.

/// The share of each unit that is shown: 1 is as it was, 0 is the baseline.
pub type Mask = Vec<f32>;

/// The units of one sample.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Units {
    /// The unit of each element.
    of: Vec<usize>,
    shape: Vec<usize>,
}

impl Units {
    /// Makes the cells of a grid over a picture. `pixel` tells the place of an element: row times width plus column.
    /// A grid has no more rows and columns than the picture.
    pub fn cells(
        elements: usize,
        [height, width]: [usize; 2],
        [rows, columns]: [usize; 2],
        pixel: impl Fn(usize) -> usize,
    ) -> Self {
        let (rows, columns) = (rows.clamp(1, height.max(1)), columns.clamp(1, width.max(1)));
        let cell = |element| {
            let (y, x) = (pixel(element) / width.max(1), pixel(element) % width.max(1));
            (y * rows / height.max(1)).min(rows - 1) * columns + x * columns / width.max(1)
        };
        Self { of: (0..elements).map(cell).collect(), shape: vec![rows, columns] }
    }

    /// Makes `count` units of as many elements each, one after the other; at most one for each element.
    pub fn line(elements: usize, count: usize) -> Self {
        let count = count.clamp(1, elements.max(1));
        Self { of: (0..elements).map(|element| element * count / elements.max(1)).collect(), shape: vec![count] }
    }

    /// Makes a unit of each group of so many elements, one after the other.
    pub fn groups(sizes: impl Iterator<Item = usize>) -> Self {
        let (mut of, mut count) = (Vec::new(), 0);
        for size in sizes {
            of.extend(std::iter::repeat_n(count, size));
            count += 1;
        }
        Self { of, shape: vec![count] }
    }

    /// Returns the number of units.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Returns true if there are no units.
    pub fn is_empty(&self) -> bool {
        self.of.is_empty()
    }

    /// Returns the rows and columns of a grid, or the number of units in a line.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Returns the unit of each element.
    pub fn of_elements(&self) -> &[usize] {
        &self.of
    }

    /// Returns the mask that shows all, or nothing.
    pub fn mask(&self, shown: bool) -> Mask {
        vec![f32::from(u8::from(shown)); self.len()]
    }

    /// Appends a sample of which a mask hides parts behind a baseline. What is shown or hidden as a whole is exact, also
    /// where the baseline is NaN.
    pub fn append(&self, sample: &[f32], baseline: &[f32], mask: &Mask, to: &mut Vec<f32>) {
        let shown = self.of.iter().map(|unit| mask[*unit]);
        to.extend(shown.zip(sample.iter().zip(baseline)).map(|(shown, (own, hidden))| match shown {
            1.0 => *own,
            0.0 => *hidden,
            share => share * own + (1.0 - share) * hidden,
        }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_cover_a_picture_of_any_layout() {
        // Two channels of 2 × 4 pixels, one after the other, and interleaved.
        let planes = Units::cells(16, [2, 4], [1, 2], |element| element % 8);
        let [left, right] = [[0, 0, 1, 1], [0, 0, 1, 1]];
        assert_eq!(planes.of, [left, right, left, right].concat());
        let mixed = Units::cells(16, [2, 4], [2, 2], |element| element / 2);
        assert_eq!(mixed.of, [0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3]);
        assert_eq!(Units::cells(6, [2, 3], [9, 9], |element| element).shape(), [2, 3]);
    }

    #[test]
    fn a_line_has_units_of_like_size_and_never_more_than_elements() {
        assert_eq!(Units::line(5, 2).of, [0, 0, 0, 1, 1]);
        assert_eq!(Units::line(3, 9).of, [0, 1, 2]);
    }

    #[test]
    fn what_is_shown_or_hidden_is_exact() {
        let units = Units::line(3, 3);
        let mut masked = Vec::new();
        units.append(&[1.0, 2.0, 3.0], &[f32::NAN, f32::NAN, 7.0], &vec![1.0, 0.0, 0.25], &mut masked);
        assert_eq!((masked[0], masked[1].is_nan(), masked[2]), (1.0, true, 6.0));
    }
}
