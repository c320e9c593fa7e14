//! Axes: a scale, its ticks and its name.

use super::numbers::short;

/// The rule by which a number becomes a length.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Scale {
    /// In proportion.
    Linear {
        /// The number at the beginning.
        low: f64,
        /// The number at the end.
        high: f64,
    },
    /// By the logarithm; numbers below `low` are drawn at `low`.
    Log {
        /// The number at the beginning, above 0.
        low: f64,
        /// The number at the end.
        high: f64,
    },
}

impl Scale {
    /// Returns the place of a number, 0 to 1 from `low` to `high`.
    pub(super) fn share(self, value: f64) -> f64 {
        match self {
            Self::Linear { low, high } => (value - low) / (high - low),
            Self::Log { low, high } => (value.max(low) / low).ln() / (high / low).ln(),
        }
    }
}

/// A tick: its number and its text.
pub type Tick = (f64, String);

/// One axis of a chart.
#[derive(Debug, Clone)]
pub struct Axis {
    pub(super) name: String,
    pub(super) scale: Scale,
    pub(super) ticks: Vec<Tick>,
}

impl Axis {
    /// An axis with ticks of one's own.
    pub fn new(name: &str, scale: Scale, ticks: Vec<Tick>) -> Self {
        Self { name: name.to_owned(), scale, ticks }
    }

    /// A linear axis with about five round ticks.
    pub fn linear(name: &str, low: f64, high: f64) -> Self {
        Self::new(name, Scale::Linear { low, high }, ticks(low, high, 5))
    }

    /// A linear axis of shares, whose ticks are in per cent.
    pub fn percent(name: &str, low: f64, high: f64) -> Self {
        Self::new(name, Scale::Linear { low, high }, percent_ticks(low, high, 5))
    }

    /// A linear axis of whole numbers, such as epochs.
    pub fn counted(name: &str, low: f64, high: f64) -> Self {
        let whole = ticks(low, high, 8).into_iter().filter(|(at, _)| at.fract() == 0.0);
        let whole = whole.map(|(at, _)| (at, format!("{at:.0}"))).collect();
        Self::new(name, Scale::Linear { low, high }, whole)
    }

    /// A linear axis from zero, whose large numbers are shortened.
    pub fn from_zero(name: &str, high: f64) -> Self {
        let ticks = ticks(0.0, high, 5).into_iter().map(|(at, _)| (at, short(at))).collect();
        Self::new(name, Scale::Linear { low: 0.0, high }, ticks)
    }

    /// A logarithmic axis around positive numbers, with some room on either side.
    pub fn logarithmic(name: &str, values: impl IntoIterator<Item = f64>) -> Self {
        let (low, high) = extent(values.into_iter().filter(|value| *value > 0.0)).unwrap_or((1.0, 1.0));
        let (low, high) = (low.log10() - 0.08, high.log10() + 0.12);
        Self::new(name, Scale::Log { low: 10f64.powf(low), high: 10f64.powf(high) }, decade_ticks(low, high))
    }
}

/// Returns the least and the greatest of the numbers that are finite, if there are any.
fn extent(values: impl IntoIterator<Item = f64>) -> Option<(f64, f64)> {
    let finite = values.into_iter().filter(|value| value.is_finite());
    finite.fold(None, |extent, value| match extent {
        None => Some((value, value)),
        Some((low, high)) => Some((value.min(low), value.max(high))),
    })
}

/// Returns the ends of a linear axis that shows these numbers: the least and the greatest with a margin of this share
/// of their distance. There is room between the ends even if the numbers are all alike, or none.
pub fn span(values: impl IntoIterator<Item = f64>, margin: f64) -> (f64, f64) {
    match extent(values) {
        Some((low, high)) if high > low => (low - (high - low) * margin, high + (high - low) * margin),
        Some((low, high)) => {
            let room = (low.abs() * 0.1).max(1e-3);
            (low - room, high + room)
        }
        None => (0.0, 1.0),
    }
}

/// Returns about `count` round ticks from `low` to `high`, with as many decimals as they need.
pub fn ticks(low: f64, high: f64, count: usize) -> Vec<Tick> {
    let raw = (high - low) / count.max(1) as f64;
    if raw.is_nan() || raw <= 0.0 || !raw.is_finite() {
        return Vec::new();
    }
    let power = 10f64.powf(raw.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].map(|nice| nice * power).into_iter().find(|step| *step >= raw).unwrap_or(raw);
    let decimals = (-step.log10().floor()).max(0.0) as usize;
    let first = (low / step - 1e-9).ceil() as i64;
    let last = (high / step + 1e-9).floor() as i64;
    (first..=last).map(|index| index as f64 * step).map(|value| (value, format!("{value:.decimals$}"))).collect()
}

/// Returns ticks of shares, in per cent.
pub fn percent_ticks(low: f64, high: f64, count: usize) -> Vec<Tick> {
    ticks(low * 100.0, high * 100.0, count)
        .into_iter()
        .map(|(value, text)| (value / 100.0, format!("{text} %")))
        .collect()
}

/// Returns the ticks of a logarithmic axis between two powers of ten: at 1, 2 and 5 of each decade, or at the decades
/// alone if there are many.
pub fn decade_ticks(low: f64, high: f64) -> Vec<Tick> {
    let steps: &[f64] = if high - low > 2.6 { &[1.0] } else { &[1.0, 2.0, 5.0] };
    let decades = low.floor() as i32..=high.ceil() as i32;
    let values = decades.flat_map(|decade| steps.iter().map(move |step| step * 10f64.powi(decade)));
    values.filter(|value| (low..=high).contains(&value.log10())).map(|value| (value, short_power(value))).collect()
}

/// Returns a number of a logarithmic axis; very small ones as a power of ten.
fn short_power(value: f64) -> String {
    if value < 1e-3 { format!("{value:.0e}") } else { short(value) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(ticks: &[Tick]) -> Vec<&str> {
        ticks.iter().map(|tick| tick.1.as_str()).collect()
    }

    #[test]
    fn ticks_are_round_and_within_the_axis() {
        assert_eq!(texts(&ticks(0.0, 1.0, 5)), ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]);
        assert_eq!(texts(&ticks(0.9, 1.0, 5)), ["0.90", "0.92", "0.94", "0.96", "0.98", "1.00"]);
        assert_eq!(texts(&ticks(1.0, 12.0, 5)), ["5", "10"]);
        for (low, high) in [(1.0, 1.0), (f64::NAN, 1.0), (0.0, f64::INFINITY)] {
            assert!(ticks(low, high, 5).is_empty());
        }
        assert_eq!(texts(&Axis::logarithmic("ms", [0.3, 8.0]).ticks), ["0.5", "1", "2", "5", "10"]);
        assert_eq!(texts(&Axis::logarithmic("ms", [0.01, 90.0]).ticks), ["0.01", "0.1", "1", "10", "100"]);
        assert_eq!(texts(&Axis::logarithmic("rate", [1e-6, 1e-2]).ticks)[..2], ["1e-6", "1e-5"]);
        assert_eq!(texts(&Axis::from_zero("requests/s", 37_000.0).ticks), ["0", "10 k", "20 k", "30 k"]);
    }

    #[test]
    fn every_axis_has_room() {
        for axis in [Axis::logarithmic("", []), Axis::logarithmic("", [0.0, 5.0, f64::NAN])] {
            assert!(axis.scale.share(5.0).is_finite());
        }
        assert_eq!(span([1.0, 3.0, f64::NAN], 0.5), (0.0, 4.0));
        assert_eq!(span([], 0.5), (0.0, 1.0));
        let (low, high) = span([2.0, 2.0], 0.05);
        assert!(low < 2.0 && high > 2.0);
    }

    #[test]
    fn a_logarithmic_scale_draws_zero_at_its_lower_end() {
        let scale = Scale::Log { low: 1e-4, high: 1.0 };
        assert_eq!((scale.share(0.0), scale.share(1e-4)), (0.0, 0.0));
        assert!((scale.share(1e-2) - 0.5).abs() < 1e-9);
    }
}
