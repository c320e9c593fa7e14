//! Networks for the rows of a table: how columns are encoded is fitted on the training part.

use super::dataset::Dataset;
use crate::error::{Error, Result};
use crate::layers::{Architecture, Bend, Encoding, LayerSpec};
use crate::signature::{COLUMN_BUCKETS, Column, ColumnKind, DateOrder, FIRST_TOKEN, places};

/// Numbers of all columns together that are kept for their quartiles.
const MOST_KEPT: usize = 10_000_000;

/// Numbers of a column from which on its quartiles say something.
const LEAST_BENT: usize = 20;

/// Spreads from the median from which on a number is far outside; normal numbers reach 5 in a million.
const FAR: f64 = 8.0;

/// Numbers that an n-gram of a column of texts becomes.
const TEXT_UNITS: usize = 16;

/// The standard deviation of a normal distribution as a part of the distance of its quartiles.
const QUARTILES_TO_DEVIATION: f64 = 0.741_301_1;

/// Mean and standard deviation, kept by Welford's method (1962), which loses no digits to a large mean.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Moments {
    count: u64,
    mean: f64,
    variation: f64,
}

impl Moments {
    /// Adds one number.
    pub(super) fn add(&mut self, number: f64) {
        self.count += 1;
        let before = number - self.mean;
        self.mean += before / self.count as f64;
        self.variation += before * (number - self.mean);
    }

    /// Returns the count of numbers.
    pub(super) fn count(&self) -> u64 {
        self.count
    }

    /// The mean; 0 without numbers.
    pub(super) fn mean(&self) -> f64 {
        self.mean
    }

    /// Returns the standard deviation of all there is, not of a sample; 0 when the numbers do not differ in 32 bits.
    pub(super) fn spread(&self) -> f64 {
        let spread = (self.variation / self.count.max(1) as f64).sqrt();
        if spread > self.mean.abs() * 1e-7 { spread } else { 0.0 }
    }

    /// The standard deviation of all there is, not of a sample; 1 when the numbers do not differ in 32 bits, so that it
    /// can be divided by.
    pub(super) fn deviation(&self) -> f64 {
        self.deviation_above(1e-7)
    }

    /// Returns the standard deviation of all there is; 1 when the numbers do not differ in 64 bits.
    pub(super) fn wide_deviation(&self) -> f64 {
        self.deviation_above(1e-15)
    }

    /// Returns the standard deviation if it is above a share of the mean, below which there is rounding alone; 1 otherwise.
    fn deviation_above(&self, share: f64) -> f64 {
        let deviation = (self.variation / self.count.max(1) as f64).sqrt();
        if deviation > self.mean.abs() * share && deviation.is_normal() { deviation } else { 1.0 }
    }
}

/// Returns the encoding of each column, fitted to some rows.
///
/// # Errors
/// As [`Dataset::image`].
pub(super) fn encodings(data: &Dataset, columns: &[Column]) -> Result<Vec<Encoding>> {
    let mut moments = vec![(Moments::default(), false); columns.len()];
    let starts: Vec<usize> = places(columns).map(|place| place.start).collect();
    let (mut elements, mut row) = (Vec::new(), Vec::new());
    // Of very many rows every so many-th tells the quartiles well enough.
    let stride = (data.len() * columns.len()).div_ceil(MOST_KEPT).max(1);
    let most = data.len().div_ceil(stride);
    let mut kept: Vec<Vec<f32>> = columns.iter().map(|_| Vec::with_capacity(most)).collect();
    for index in 0..data.len() {
        elements.clear();
        row.clear();
        data.append(index, &mut elements)?;
        // Of a text the first element, which tells nothing.
        row.extend(starts.iter().map(|start| elements[*start]));
        if index.is_multiple_of(stride) {
            let numbers = row.iter().zip(&mut kept).filter(|(element, _)| !element.is_nan());
            numbers.for_each(|(element, kept)| kept.push(*element));
        }
        for (element, (moments, has_parts)) in row.iter().zip(&mut moments).filter(|(element, _)| !element.is_nan()) {
            moments.add(f64::from(*element));
            *has_parts |= element.fract() != 0.0;
        }
    }
    let encoding =
        |((column, (moments, has_times)), mut kept): ((&Column, (Moments, bool)), Vec<f32>)| match &column.kind {
            ColumnKind::Number | ColumnKind::Shifted { .. } => Encoding::Standard {
                mean: moments.mean() as f32,
                deviation: moments.deviation() as f32,
                tells_missing: moments.count() < data.len() as u64,
                bent: bend(&mut kept),
            },
            ColumnKind::Moment { order, .. } => Encoding::Moment {
                mean: moments.mean() as f32,
                deviation: moments.deviation() as f32,
                periods: periods(*order, moments.deviation(), has_times),
            },
            ColumnKind::Category { values } => Encoding::OneHot { categories: values.len() },
            ColumnKind::Text { grams } => {
                Encoding::Bag { grams: *grams, tokens: FIRST_TOKEN + COLUMN_BUCKETS, units: TEXT_UNITS }
            }
        };
    Ok(columns.iter().zip(moments).zip(kept).map(encoding).collect())
}

/// Returns the scale for numbers of which some lie far outside, by their quartiles; `None` if none do.
fn bend(numbers: &mut [f32]) -> Option<Bend> {
    if numbers.len() < LEAST_BENT {
        return None;
    }
    numbers.sort_unstable_by(f32::total_cmp);
    let at = |part: usize| f64::from(numbers[(numbers.len() - 1) * part / 4]);
    let (median, spread) = (at(2), (at(3) - at(1)) * QUARTILES_TO_DEVIATION);
    let farthest = (at(4) - median).max(median - at(0));
    let is_far = spread > median.abs() * 1e-6 && farthest > FAR * spread;
    (is_far && (spread as f32).is_normal()).then_some(Bend { median: median as f32, spread: spread as f32 })
}

/// Returns the periods in days in which dates and times come again: a year and a week of dates, if they are spread over a
/// good part of one, and a day of times.
fn periods(order: DateOrder, spread: f64, has_times: bool) -> Vec<f32> {
    if order == DateOrder::Time {
        return vec![1.0];
    }
    let of_dates = [(365.2425, 60.0), (7.0, 1.5)].into_iter().filter(|(_, least)| spread >= *least);
    of_dates.map(|(period, _)| period).chain(has_times.then_some(1.0)).collect()
}

/// The network with a linear path from the encoded columns of a table to its last layer.
pub(super) fn with_linear_path(mut architecture: Architecture) -> Architecture {
    let hidden = architecture.layers.iter().any(|layer| matches!(layer, LayerSpec::Relu | LayerSpec::Silu));
    if hidden && let [.., LayerSpec::Dense { .. }] = architecture.layers.as_slice() {
        architecture.layers.insert(architecture.layers.len() - 1, LayerSpec::Recall);
    }
    architecture
}

/// A network of dense layers for images as one for rows of a table.
///
/// # Errors
/// [`Error::Config`] when it has layers that need an image.
pub(super) fn on_table(preset: &str, architecture: Architecture, columns: Vec<Encoding>) -> Result<Architecture> {
    let is_about_images = |layer: &LayerSpec| matches!(layer, LayerSpec::Rescale { .. } | LayerSpec::Flatten);
    let is_dense = |layer: &LayerSpec| {
        matches!(layer, LayerSpec::Dense { .. } | LayerSpec::Relu | LayerSpec::Silu | LayerSpec::Dropout { .. })
            || is_about_images(layer)
    };
    if !architecture.layers.iter().all(is_dense) {
        let problem = format!("{preset} takes no tables, which the data are; weir train dense does");
        return Err(Error::Config { setting: "PRESET".into(), problem });
    }
    let input = vec![columns.iter().map(Encoding::elements).sum()];
    let rest = architecture.layers.into_iter().filter(|layer| !is_about_images(layer));
    Ok(Architecture { input, layers: std::iter::once(LayerSpec::Encode { columns }).chain(rest).collect() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_those_of_all_numbers_and_can_be_divided_by() {
        let mut moments = Moments::default();
        [1e9, 1e9 + 2.0, 1e9 + 4.0].into_iter().for_each(|number| moments.add(number));
        assert!((moments.mean() - (1e9 + 2.0)).abs() < 1e-6);
        assert_eq!(moments.deviation(), 1.0, "nothing that 32 bits could tell apart");
        assert!((moments.wide_deviation() - (8.0f64 / 3.0).sqrt()).abs() < 1e-6);
        let mut moments = Moments::default();
        [2.0, 4.0].into_iter().for_each(|number| moments.add(number));
        assert_eq!((moments.mean(), moments.deviation(), moments.count()), (3.0, 1.0, 2));
        assert_eq!(Moments::default().deviation(), 1.0);
    }

    #[test]
    fn columns_with_numbers_far_outside_are_bent() {
        let mut even: Vec<f32> = (0..=100).map(|number| number as f32).collect();
        assert_eq!(bend(&mut even.clone()), None);
        even.extend([1e6, f32::MAX]);
        let found = bend(&mut even).unwrap();
        assert_eq!(found.median, 51.0);
        assert!((found.spread - 37.8).abs() < 0.2, "{found:?}");
        assert!(found.of(f32::MAX).is_finite() && found.of(1e6) > 2.99 && found.of(f32::NAN) == 0.0);
        assert_eq!(bend(&mut [vec![0.0; 90], vec![7.0; 10]].concat()), None, "quartiles that are one tell no spread");
        assert_eq!(bend(&mut [0.0, 1.0, 2.0, 1e9]), None, "too few");
    }

    #[test]
    fn a_network_that_needs_images_takes_no_table() {
        let columns = vec![Encoding::OneHot { categories: 2 }];
        let network = |name: &str| {
            let sizes = super::super::presets::Sizes { channels: 1, height: 1, width: 2, outputs: 3, samples: 100 };
            (super::super::presets::preset(name).unwrap().architecture)(&sizes)
        };
        let dense = on_table("mnist-mlp", network("mnist-mlp"), columns.clone()).unwrap();
        assert_eq!((dense.input.as_slice(), dense.output().unwrap().as_slice()), (&[1][..], &[3][..]));
        let wide = with_linear_path(dense.clone());
        assert_eq!(wide.parameters().unwrap() - dense.parameters().unwrap(), 2 * 3, "two columns to three classes");
        let image = with_linear_path(network("mnist-mlp"));
        assert!(image.plan().unwrap_err().to_string().contains("recall"), "only encoded columns can be recalled");
        assert!(on_table("mnist-lstm", network("mnist-lstm"), columns).is_err());
    }
}
