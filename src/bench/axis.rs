//! Axes with ticks where a person expects them, and numbers as short as they may be.

use plotters::coord::ranged1d::{DefaultFormatting, KeyPointHint};
use plotters::coord::types::RangedCoordf64;
use plotters::prelude::Ranged;

/// A linear axis with ticks where we want them.
pub(super) struct Axis {
    scale: RangedCoordf64,
    ticks: Vec<f64>,
}

impl Axis {
    pub(super) fn new(low: f64, high: f64, ticks: Vec<f64>) -> Self {
        Self { scale: (low..high).into(), ticks }
    }
}

impl Ranged for Axis {
    type FormatOption = DefaultFormatting;
    type ValueType = f64;

    fn range(&self) -> std::ops::Range<f64> {
        self.scale.range()
    }

    fn map(&self, value: &f64, limit: (i32, i32)) -> i32 {
        self.scale.map(value, limit)
    }

    fn key_points<Hint: KeyPointHint>(&self, hint: Hint) -> Vec<f64> {
        if hint.weight().allow_light_points() { Vec::new() } else { self.ticks.clone() }
    }
}

/// The logarithms of milliseconds, with ticks where a person expects them.
pub(super) fn milliseconds(values: &[f64]) -> Axis {
    let low = values.iter().copied().reduce(f64::min).unwrap_or(1.0).max(1e-6);
    let high = values.iter().copied().fold(low, f64::max);
    let (low, high) = (low.log10() - 0.08, high.log10() + 0.12);
    let steps: &[f64] = if high - low > 2.6 { &[1.0] } else { &[1.0, 2.0, 5.0] };
    let decades = low.floor() as i32..=high.ceil() as i32;
    let ticks = decades.flat_map(|decade| steps.iter().map(move |step| (step * 10f64.powi(decade)).log10()));
    Axis::new(low, high, ticks.filter(|tick| (low..=high).contains(tick)).collect())
}

/// From zero, with about five round ticks.
pub(super) fn linear(high: f64) -> Axis {
    let rough = high / 5.0;
    let decade = 10f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].map(|step| step * decade).into_iter().find(|step| *step >= rough);
    let step = step.unwrap_or(rough);
    let ticks = (0..).map(|index| f64::from(index) * step).take_while(|tick| *tick <= high).collect();
    Axis::new(0.0, high, ticks)
}

pub(super) fn tick(logarithm: &f64) -> String {
    short(10f64.powf(*logarithm))
}

pub(super) fn percent(decades: &f64) -> String {
    short((1.0 - 10f64.powf(-decades)) * 100.0) + " %"
}

/// A number as short as its three significant digits, or all of its nines, allow.
pub(super) fn short(value: f64) -> String {
    let text = match value {
        1e6.. => return format!("{} M", short(value / 1e6)),
        1e4.. => return format!("{} k", short(value / 1e3)),
        99.0..100.0 => format!("{value:.6}"),
        100.0.. => format!("{value:.0}"),
        10.0.. => format!("{value:.1}"),
        1.0.. => format!("{value:.2}"),
        _ => format!("{value:.4}"),
    };
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short_and_nines_are_kept() {
        for (value, text) in [
            (0.0, "0"),
            (0.05, "0.05"),
            (1.0, "1"),
            (2.5, "2.5"),
            (50.0, "50"),
            (99.9, "99.9"),
            (99.99, "99.99"),
            (250.0, "250"),
            (12_500.0, "12.5 k"),
            (2e6, "2 M"),
        ] {
            assert_eq!(short(value), text);
        }
    }

    #[test]
    fn ticks_are_round_and_within_the_axis() {
        let shown = |axis: Axis| axis.ticks.iter().map(tick).collect::<Vec<_>>();
        assert_eq!(shown(milliseconds(&[0.3, 8.0])), ["0.5", "1", "2", "5", "10"]);
        assert_eq!(shown(milliseconds(&[0.01, 90.0])), ["0.01", "0.1", "1", "10", "100"]);
        assert_eq!(linear(37_000.0).ticks, [0.0, 10_000.0, 20_000.0, 30_000.0]);
        assert!(milliseconds(&[]).range().start.is_finite());
    }
}
