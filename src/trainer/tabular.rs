//! Networks for the rows of a table: how columns are encoded is fitted on the training part.

use super::dataset::Dataset;
use crate::error::{Error, Result};
use crate::layers::{Architecture, Encoding, LayerSpec};
use crate::signature::{Column, ColumnKind, DateOrder};

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

    /// The standard deviation of all there is, not of a sample; 1 when the numbers do not differ, so that it
    /// can be divided by.
    pub(super) fn deviation(&self) -> f64 {
        let deviation = (self.variation / self.count.max(1) as f64).sqrt();
        // What is lost in 32 bits is no difference.
        if deviation > self.mean.abs() * 1e-7 && deviation.is_normal() { deviation } else { 1.0 }
    }
}

/// Returns the encoding of each column, fitted to some rows.
///
/// # Errors
/// As [`Dataset::image`].
pub(super) fn encodings(data: &Dataset, columns: &[Column]) -> Result<Vec<Encoding>> {
    let mut moments = vec![(Moments::default(), false); columns.len()];
    let mut row = Vec::new();
    for index in 0..data.len() {
        row.clear();
        data.append(index, &mut row)?;
        for (element, (moments, has_parts)) in row.iter().zip(&mut moments).filter(|(element, _)| !element.is_nan()) {
            moments.add(f64::from(*element));
            *has_parts |= element.fract() != 0.0;
        }
    }
    let encoding = |(column, (moments, has_times)): (&Column, (Moments, bool))| match &column.kind {
        ColumnKind::Number | ColumnKind::Shifted { .. } => Encoding::Standard {
            mean: moments.mean() as f32,
            deviation: moments.deviation() as f32,
            tells_missing: moments.count() < data.len() as u64,
        },
        ColumnKind::Moment { order, .. } => Encoding::Moment {
            mean: moments.mean() as f32,
            deviation: moments.deviation() as f32,
            periods: periods(*order, moments.deviation(), has_times),
        },
        ColumnKind::Category { values } => Encoding::OneHot { categories: values.len() },
    };
    Ok(columns.iter().zip(moments).map(encoding).collect())
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
    let input = vec![columns.len()];
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
        let mut moments = Moments::default();
        [2.0, 4.0].into_iter().for_each(|number| moments.add(number));
        assert_eq!((moments.mean(), moments.deviation(), moments.count()), (3.0, 1.0, 2));
        assert_eq!(Moments::default().deviation(), 1.0);
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
        assert!(on_table("mnist-lstm", network("mnist-lstm"), columns).is_err());
    }
}
