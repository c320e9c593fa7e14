//! The charts of a classifier's report.

use super::ClassificationReport;
use crate::report::{Axis, Chart, Color, Scale, Stroke, Tick, percent, percent_ticks};
use crate::stats::{ClassCurves, Curve, ReliabilityBin, wilson};

/// The weakest classes, whose curves are drawn in a colour of their own.
const HIGHLIGHTED: [(Color, Stroke); 3] =
    [(Color::Orange, Stroke::Solid), (Color::Blue, Stroke::Dashed), (Color::Purple, Stroke::Dotted)];
/// A ROC curve of a class with a greater area says nothing on a linear scale.
const LOG_ABOVE_AREA: f64 = 0.98;
/// The beginning of a logarithmic axis of rates.
const LEAST_RATE: f64 = 1e-4;
/// The gap between bars.
const GAP: f64 = 3.0;

/// Draws the ROC curves of all classes.
pub(super) fn roc(report: &ClassificationReport) -> String {
    let at_edge = |curve: &Curve, low: f64| {
        curve.points.iter().filter(|point| point[0] <= low).map(|point| point[1]).fold(0.0, f64::max)
    };
    let logarithmic = report.full.mean_roc_area.is_some_and(|area| area > LOG_ABOVE_AREA);
    let low = if logarithmic { LEAST_RATE } else { 0.0 };
    let floor = floor_below(each(report, |class| &class.roc).map(|(_, curve)| at_edge(curve, low)));
    let name = "false positive rate";
    let x = match logarithmic {
        true => {
            let tick = |power: i32| (10f64.powi(power), format!("{} %", 10f64.powi(power + 2)));
            Axis::new(name, Scale::Log { low, high: 1.0 }, (-4..=0).map(tick).collect())
        }
        false => Axis::percent(name, 0.0, 1.0),
    };
    let mut chart = Chart::new(x, Axis::percent("true positive rate", floor, 1.0));
    if !logarithmic {
        chart.line(Color::Soft, Stroke::Guide, "chance", [[0.0, 0.0], [1.0, 1.0]]);
    }
    class_curves(report, chart, |class| &class.roc, "ROC curves of each class against the rest")
}

/// Draws the precision-recall curves of all classes.
pub(super) fn precision_recall(report: &ClassificationReport) -> String {
    // Where a curve is nearest to the corner that a perfect classifier reaches.
    let knee = |curve: &Curve| curve.points.iter().map(|point| point[0].min(point[1])).fold(0.0, f64::max);
    // The corner takes half of the width.
    let room = each(report, |class| &class.precision_recall).map(|(_, curve)| 1.0 - 2.0 * (1.0 - knee(curve)));
    let floor = floor_below(room);
    let chart = Chart::new(Axis::percent("recall", floor, 1.0), Axis::percent("precision", floor, 1.0));
    class_curves(
        report,
        chart,
        |class| &class.precision_recall,
        "precision-recall curves of each class against the rest",
    )
}

/// Returns the classes that have curves, each with one of them.
fn each(report: &ClassificationReport, of: fn(&ClassCurves) -> &Curve) -> impl Iterator<Item = (usize, &Curve)> {
    report.full.curves.iter().enumerate().filter_map(move |(class, curves)| Some((class, of(curves.as_ref()?))))
}

/// Returns the greatest round number below all values, where an axis can begin.
fn floor_below(values: impl Iterator<Item = f64>) -> f64 {
    let least = values.fold(1.0, f64::min);
    [0.9, 0.8, 0.6, 0.4, 0.2].into_iter().find(|floor| *floor <= least).unwrap_or(0.0)
}

/// Draws one curve of every class, the weakest ones on top and in colour.
fn class_curves(
    report: &ClassificationReport,
    mut chart: Chart,
    of: fn(&ClassCurves) -> &Curve,
    description: &str,
) -> String {
    let mut classes: Vec<(usize, &Curve)> = each(report, of).collect();
    classes.sort_by(|a, b| a.1.area.total_cmp(&b.1.area));
    for (rank, (class, curve)) in classes.iter().enumerate().rev() {
        let (color, stroke) = HIGHLIGHTED.get(rank).copied().unwrap_or((Color::Soft, Stroke::Faint));
        let title = format!("{} (area {:.4})", report.labels[*class], curve.area);
        chart.line(color, stroke, &title, curve.points.iter().copied());
    }
    for ((class, curve), (color, stroke)) in classes.iter().zip(HIGHLIGHTED) {
        let name = crate::ids::printable(&report.labels[*class], 18);
        chart.key(color, stroke, format!("{name} {:.4}", curve.area));
    }
    if classes.len() > HIGHLIGHTED.len() {
        chart.key(Color::Soft, Stroke::Faint, format!("{} others", classes.len() - HIGHLIGHTED.len()));
    }
    chart.finish(description).embedded()
}

/// Draws the share of right answers by confidence, with 95 % intervals.
pub(super) fn reliability(report: &ClassificationReport) -> String {
    let mut chart = Chart::new(Axis::percent("confidence", 0.0, 1.0), Axis::percent("right answers", 0.0, 1.0));
    for bin in report.full.reliability.iter().filter(|bin| bin.samples > 0) {
        let (x, title) = ([bin.lower, bin.upper], bin_title(bin));
        let interval = wilson((bin.accuracy * bin.samples as f64).round() as u64, bin.samples);
        let gap = if bin.accuracy < bin.confidence { Color::Orange } else { Color::Green };
        chart
            .bar(Color::Blue, [x, [0.0, bin.accuracy.min(bin.confidence)]], GAP, &title)
            .band(gap, [x, [bin.accuracy, bin.confidence]], GAP, &title)
            .whisker(bin.confidence, [interval.low, interval.high]);
    }
    chart.line(Color::Soft, Stroke::Guide, "confidence as it should be", [[0.0, 0.0], [1.0, 1.0]]);
    chart.area_key(Color::Orange, "overconfident").area_key(Color::Green, "underconfident");
    chart.finish("share of right answers by confidence").embedded()
}

fn bin_title(bin: &ReliabilityBin) -> String {
    format!("{} samples: mean confidence {}, {} right", bin.samples, percent(bin.confidence), percent(bin.accuracy))
}

/// Draws the number of answers by confidence, on a logarithmic scale.
pub(super) fn confidences(report: &ClassificationReport) -> String {
    const LEAST: f64 = 0.5;
    let most = report.full.reliability.iter().map(|bin| bin.samples).max().unwrap_or(0).max(10);
    let decades = (most as f64).log10().ceil() as i32;
    let ticks: Vec<Tick> = (0..=decades).map(|power| (10f64.powi(power), 10f64.powi(power).to_string())).collect();
    let y = Scale::Log { low: LEAST, high: 10f64.powi(decades) };
    let x = Scale::Linear { low: 0.0, high: 1.0 };
    let mut chart = Chart::new(
        Axis::new("confidence", x, percent_ticks(0.0, 1.0, 5)),
        Axis::new("samples (logarithmic)", y, ticks),
    );
    for bin in report.full.reliability.iter().filter(|bin| bin.samples > 0) {
        let place = [[bin.lower, bin.upper], [LEAST, bin.samples as f64]];
        chart.bar(Color::Blue, place, GAP, &bin_title(bin));
    }
    chart.finish("number of answers by confidence").embedded()
}
