//! The figure of a run as SVG: a distribution or throughput on the left, percentile curves on the right. Latencies
//! are on a logarithmic scale, and so is the distance of a percentile from 100 %.

use super::latencies::{Bin, CurvePoint, Percentiles};
use crate::report::{Anchor, Axis, Chart, Color, Drawing, Figure, SHADES, Scale, Stroke, Tick, short};

/// The size of either chart.
const WIDTH: f64 = 510.0;
const HEIGHT: f64 = 380.0;
/// More curves than this cannot be told apart; the first, the last and some between are drawn.
const MAX_CURVES: usize = SHADES as usize;
/// Labels of loads that would be nearer than this are left out.
const LABEL_WIDTH: f64 = 48.0;
const LABEL_HEIGHT: f64 = 16.0;

/// A run to draw.
#[derive(Debug)]
pub struct Plot {
    /// The title.
    pub title: String,
    /// The conditions that it was measured under.
    pub subtitle: String,
    /// The unit of [`PlotStep::throughput`], such as `requests/s`.
    pub throughput_unit: &'static str,
    /// The unit of [`PlotStep::load`], such as `connections`.
    pub load_name: &'static str,
    /// Limits of latency as (quantile, milliseconds).
    pub limits: Vec<(f64, f64)>,
    /// The steps.
    pub steps: Vec<PlotStep>,
}

/// A step to draw.
#[derive(Debug)]
pub struct PlotStep {
    /// Its load, such as `32`.
    pub load: String,
    /// Its throughput.
    pub throughput: f64,
    /// Its percentiles.
    pub percentiles: Percentiles,
    /// Its percentile curve.
    pub curve: Vec<CurvePoint>,
    /// Its distribution.
    pub bins: Vec<Bin>,
}

/// Draws a run as an SVG file.
pub fn plot(plot: &Plot) -> String {
    let figure = Figure::new(&plot.title, &plot.subtitle);
    match &plot.steps[..] {
        [] => figure
            .with("no answers", Chart::sized(WIDTH, HEIGHT, latencies([1.0]), Axis::percent("", 0.0, 1.0)).finish("")),
        [only] => figure.with("distribution", distribution(only)).with("percentiles", curves(plot)),
        _ => figure.with("throughput and latency", throughput(plot)).with("percentiles", curves(plot)),
    }
    .svg()
}

fn latencies(values: impl IntoIterator<Item = f64>) -> Axis {
    // A latency of zero, below the resolution of the clock, has no logarithm.
    Axis::logarithmic("latency (ms)", values.into_iter().map(|value| value.max(1e-6)))
}

/// Draws the frequency of each latency.
fn distribution(step: &PlotStep) -> Drawing {
    let total = step.bins.iter().map(|bin| bin.count).sum::<u64>().max(1) as f64;
    let share = |bin: &Bin| bin.count as f64 / total * 100.0;
    let tallest = step.bins.iter().map(share).fold(1.0, f64::max);
    let rows = step.percentiles;
    let y = Axis::from_zero("% of answers", tallest * 1.14);
    let mut chart = Chart::sized(WIDTH, HEIGHT, latencies([rows.min, rows.max]), y);
    for bin in step.bins.iter().filter(|bin| bin.count > 0) {
        let title = format!("{} to {} ms: {:.2} %", short(bin.from_ms), short(bin.to_ms), share(bin));
        chart.bar(Color::Blue, [[bin.from_ms, bin.to_ms], [0.0, share(bin)]], 0.0, &title);
    }
    for (name, value, color, height) in [("p50", rows.p50, Color::Ink, 1.12), ("p99", rows.p99, Color::Orange, 1.06)] {
        let top = tallest * height;
        chart.line(color, Stroke::Guide, name, [[value, 0.0], [value, top]]);
        // Beside its line, on the side where there is room.
        let (anchor, shift) = if chart.x(value) > WIDTH - 90.0 { (Anchor::End, -5.0) } else { (Anchor::Start, 5.0) };
        let place = [chart.x(value) + shift, chart.y(top) + 10.0];
        chart.text(place, anchor, color, &format!("{name} {}", short(value)));
    }
    chart.finish("distribution of latencies")
}

/// Draws latency over throughput: the price of more load.
fn throughput(plot: &Plot) -> Drawing {
    let values = plot.steps.iter().flat_map(|step| [step.percentiles.p50, step.percentiles.p99]);
    let most = plot.steps.iter().map(|step| step.throughput).fold(1e-9, f64::max);
    let x = Axis::from_zero(plot.throughput_unit, most * 1.08);
    let mut chart = Chart::sized(WIDTH, HEIGHT, x, latencies(values));
    let points = |of: fn(&Percentiles) -> f64| -> Vec<[f64; 2]> {
        plot.steps.iter().map(|step| [step.throughput, of(&step.percentiles)]).collect()
    };
    let (p50, p99) = (points(|rows| rows.p50), points(|rows| rows.p99));
    for (name, color, points) in [("p50", Color::Blue, &p50), ("p99", Color::Orange, &p99)] {
        chart.line(color, Stroke::Solid, name, points.iter().copied());
        chart.dots(color, 4.0, points.iter().copied()).key(color, Stroke::Solid, name);
    }
    let mut labelled: Vec<[f64; 2]> = Vec::new();
    for (step, [x, y]) in plot.steps.iter().zip(p99) {
        let place = [chart.x(x), chart.y(y) - 10.0];
        let near = |[x, y]: &[f64; 2]| (x - place[0]).abs() < LABEL_WIDTH && (y - place[1]).abs() < LABEL_HEIGHT;
        if !labelled.iter().any(near) {
            labelled.push(place);
            chart.text(place, Anchor::Middle, Color::Ink, &step.load);
        }
    }
    chart.finish("latency over throughput")
}

/// Draws percentile curves, with the limits of the service level.
fn curves(plot: &Plot) -> Drawing {
    let points = |step: &PlotStep| -> Vec<[f64; 2]> {
        // The smallest latency is infinitely rare; a line from it would say nothing.
        let drawn = &step.curve[step.curve.len().min(2).saturating_sub(1)..];
        drawn.iter().map(|point| [decades(point.quantile), point.ms]).collect()
    };
    let all: Vec<[f64; 2]> = plot.steps.iter().flat_map(points).collect();
    let last = all.iter().map(|point| point[0]).fold(1.0, f64::max);
    let largest = all.iter().map(|point| point[1]).fold(0.0, f64::max);
    // A limit far above everything would flatten the curves.
    let limits: Vec<(f64, f64)> = plot.limits.iter().copied().filter(|(_, limit)| *limit < largest * 10.0).collect();
    let values = all.iter().map(|point| point[1]).chain(limits.iter().map(|(_, limit)| *limit));
    let mut chart = Chart::sized(WIDTH, HEIGHT, quantiles(last * 1.04), latencies(values));
    let (many, drawn) = (plot.steps.len() > 1, chosen(plot.steps.len()));
    for (order, index) in drawn.iter().enumerate() {
        let step = &plot.steps[*index];
        let shade = order * (MAX_CURVES - 1) / (drawn.len().max(2) - 1);
        let color = if many { Color::Shade(shade as u8) } else { Color::Blue };
        let name = format!("{} {}", plot.load_name, step.load);
        chart.line(color, Stroke::Solid, &name, points(step));
        if many {
            chart.key(color, Stroke::Solid, name);
        }
    }
    for (quantile, limit) in limits {
        let end = decades(quantile).min(last);
        let name = format!("limit p{} {} ms", short(quantile * 100.0), short(limit));
        chart.line(Color::Red, Stroke::Guide, &name, [[0.0, limit], [end, limit]]);
        chart.dots(Color::Red, 4.0, [[end, limit]]);
        let place = [chart.x(0.0) + 6.0, chart.y(limit) - 6.0];
        chart.text(place, Anchor::Start, Color::Red, &name);
    }
    chart.finish("latency by percentile")
}

/// Returns the distance of a quantile from 1 in decades: 1 for 0.9, 2 for 0.99.
fn decades(quantile: f64) -> f64 {
    -(1.0 - quantile.min(1.0 - 1e-9)).log10()
}

/// An axis of quantiles up to this many decades.
fn quantiles(end: f64) -> Axis {
    let tick = |decade: u32| -> Tick {
        (f64::from(decade), format!("{} %", short((1.0 - 10f64.powi(-(decade as i32))) * 100.0)))
    };
    let scale = Scale::Linear { low: 0.0, high: end };
    Axis::new("share of answers that are not slower", scale, (0..=end as u32).map(tick).collect())
}

/// Returns the indices of the curves that are drawn, of so many.
fn chosen(count: usize) -> Vec<usize> {
    let drawn = count.min(MAX_CURVES);
    (0..drawn).map(|index| if drawn < 2 { 0 } else { index * (count - 1) / (drawn - 1) }).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::latencies::Latencies;
    use super::*;

    fn step(load: usize, micros: impl Iterator<Item = u64>) -> PlotStep {
        let mut latencies = Latencies::new().unwrap();
        micros.for_each(|value| latencies.record(Duration::from_micros(value)));
        PlotStep {
            load: load.to_string(),
            throughput: 100.0 * load as f64,
            percentiles: latencies.percentiles().unwrap(),
            curve: latencies.curve(),
            bins: latencies.bins(40),
        }
    }

    fn draw(steps: Vec<PlotStep>) -> String {
        let limits = vec![(0.99, 5.0), (1.0, 6.0), (0.5, 1e9)];
        let title = "a & b < c".to_owned();
        plot(&Plot {
            title,
            subtitle: String::new(),
            throughput_unit: "requests/s",
            load_name: "connections",
            limits,
            steps,
        })
    }

    #[test]
    fn any_number_of_steps_is_drawn_without_a_number_that_is_none() {
        for count in [0, 1, 2, 30] {
            let svg = draw((1..=count).map(|load| step(load, (0..2000).map(|n| n * load as u64 % 7001))).collect());
            assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"));
            assert!(!svg.contains("NaN") && !svg.contains("inf") && svg.contains("a &amp; b &lt; c"));
        }
        // One value, and the smallest one.
        for value in [0, 1, 3_600_000_000] {
            assert!(draw(vec![step(1, std::iter::once(value))]).contains("percentiles"));
        }
    }

    #[test]
    fn the_first_and_the_last_curve_are_always_drawn() {
        assert_eq!(chosen(1), [0]);
        assert_eq!(chosen(3), [0, 1, 2]);
        let many = chosen(100);
        assert_eq!((many.len(), many[0], many[MAX_CURVES - 1]), (MAX_CURVES, 0, 99));
    }
}
