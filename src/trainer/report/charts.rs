//! The charts of the HTML report.

use super::Report;
use super::frame::{Frame, Scale, Tick, percent_ticks, ticks};
use super::words::{escape, percent};
use crate::stats::{ClassCurves, Curve, ReliabilityBin, wilson};
use crate::trainer::fit::EpochReport;

/// Classes whose curves are drawn in a colour of their own: the weakest.
const HIGHLIGHTED: usize = 3;
/// Above this many classes, cells of the confusion matrix are too small for numbers.
const MAX_NUMBERED: usize = 20;
/// A ROC curve of a class with a greater area says nothing on a linear scale.
const LOG_ABOVE_AREA: f64 = 0.98;
/// Where a logarithmic axis begins.
const LEAST_RATE: f64 = 1e-4;

/// The confusion matrix as a heat map. Right answers and mistakes have a scale each, since the
/// diagonal outweighs the rest by far; that of mistakes grows with the square root.
pub(super) fn confusion(report: &Report) -> String {
    let matrix = &report.full.evaluation.confusion;
    let classes = matrix.len();
    let numbered = classes <= MAX_NUMBERED;
    let cell = (520.0 / classes.max(1) as f64).clamp(2.5, 56.0);
    let margin = if numbered { 76.0 } else { 30.0 };
    let side = margin + cell * classes as f64 + 4.0;
    let mistakes =
        || matrix.iter().enumerate().flat_map(|(t, row)| row.iter().enumerate().filter(move |(p, _)| *p != t));
    let worst = mistakes().map(|(_, count)| *count).max().unwrap_or(0).max(1) as f64;
    let mut svg = format!(
        "<svg class=\"heat\" viewBox=\"0 0 {side:.1} {side:.1}\" role=\"img\" aria-label=\"confusion matrix\">\n"
    );
    let extent = cell * classes as f64;
    svg.push_str(&format!(
        r#"<rect class="empty" x="{margin}" y="{margin}" width="{extent:.1}" height="{extent:.1}" rx="4"/>"#
    ));
    for (truth, row) in matrix.iter().enumerate() {
        let total: u64 = row.iter().sum();
        for (predicted, count) in row.iter().enumerate().filter(|(_, count)| **count > 0) {
            let (x, y) = (margin + cell * predicted as f64, margin + cell * truth as f64);
            let share = *count as f64 / total.max(1) as f64;
            let right = truth == predicted;
            let strength = if right { 0.15 + 0.75 * share } else { 0.12 + 0.78 * (*count as f64 / worst).sqrt() };
            let title = format!(
                "{} of {total} of class {} taken for {} ({})",
                count,
                report.labels[truth],
                report.labels[predicted],
                percent(share)
            );
            svg.push_str(&format!(
                r#"<g><title>{}</title><rect class="{}" fill-opacity="{strength:.2}" x="{x:.1}" y="{y:.1}" width="{:.1}" height="{:.1}" rx="{}"/>"#,
                escape(&title),
                if right { "right" } else { "wrong" },
                cell - 1.0,
                cell - 1.0,
                if numbered { 3 } else { 0 }
            ));
            if numbered {
                svg.push_str(&format!(
                    r#"<text class="{}" x="{:.1}" y="{:.1}" text-anchor="middle">{count}</text>"#,
                    if right || strength > 0.78 { "count strong" } else { "count" },
                    x + cell / 2.0,
                    y + cell / 2.0 + 4.5
                ));
            }
            svg.push_str("</g>\n");
        }
        if numbered {
            let (middle, name) = (margin + cell * truth as f64 + cell / 2.0, escape(&short(&report.labels[truth])));
            svg.push_str(&format!(
                r#"<text class="tick" x="{:.1}" y="{:.1}" text-anchor="end">{name}</text><text class="tick" x="{middle:.1}" y="{:.1}" text-anchor="middle">{name}</text>"#,
                margin - 10.0,
                middle + 4.0,
                margin - 10.0
            ));
        }
    }
    let centre = margin + extent / 2.0;
    svg.push_str(&format!(
        r#"<text class="axis" x="{centre:.1}" y="16" text-anchor="middle">taken for</text><text class="axis" transform="translate(16 {centre:.1}) rotate(-90)" text-anchor="middle">is</text></svg>"#
    ));
    svg
}

/// A label that fits beside an axis.
fn short(label: &str) -> String {
    const FITS: usize = 8;
    if label.chars().count() <= FITS { label.to_owned() } else { label.chars().take(FITS - 1).chain(['…']).collect() }
}

/// The ROC curves of all classes and a legend.
pub(super) fn roc(report: &Report) -> String {
    let logarithmic = report.full.mean_roc_area.is_some_and(|area| area > LOG_ABOVE_AREA);
    let scale = |low: f64, high: f64| if logarithmic { Scale::Log { low, high } } else { Scale::Linear { low, high } };
    let (low, x_ticks) = if logarithmic {
        let tick = |power: i32| (10f64.powi(power), format!("{} %", 10f64.powi(power + 2)));
        (LEAST_RATE, (-4..=0).map(tick).collect())
    } else {
        (0.0, percent_ticks(0.0, 1.0, 5))
    };
    let at_edge =
        |curve: &Curve| curve.points.iter().filter(|point| point[0] <= low).map(|point| point[1]).fold(0.0, f64::max);
    let floor = floor_below(each(report, |class| &class.roc).map(|(_, curve)| at_edge(curve)));
    let mut frame = Frame::new(480.0, 340.0, scale(low, 1.0), Scale::Linear { low: floor, high: 1.0 });
    frame.grid(&x_ticks, &percent_ticks(floor, 1.0, 5), "false positive rate", "true positive rate");
    if !logarithmic {
        frame.line("chance", "chance", [[0.0, 0.0], [1.0, 1.0]]);
    }
    class_curves(report, frame, |class| &class.roc, "ROC curves of each class against the rest")
}

/// The precision-recall curves of all classes and a legend.
pub(super) fn precision_recall(report: &Report) -> String {
    // Where a curve is nearest to the corner that a perfect classifier reaches.
    let knee = |curve: &Curve| curve.points.iter().map(|point| point[0].min(point[1])).fold(0.0, f64::max);
    // The corner takes half of the width.
    let room = each(report, |class| &class.precision_recall).map(|(_, curve)| 1.0 - 2.0 * (1.0 - knee(curve)));
    let floor = floor_below(room);
    let scale = Scale::Linear { low: floor, high: 1.0 };
    let mut frame = Frame::new(480.0, 340.0, scale, scale);
    let ticks = percent_ticks(floor, 1.0, 5);
    frame.grid(&ticks, &ticks, "recall", "precision");
    class_curves(
        report,
        frame,
        |class| &class.precision_recall,
        "precision-recall curves of each class against the rest",
    )
}

/// The classes that have curves, with one of them.
fn each(report: &Report, of: fn(&ClassCurves) -> &Curve) -> impl Iterator<Item = (usize, &Curve)> {
    report.full.curves.iter().enumerate().filter_map(move |(class, curves)| Some((class, of(curves.as_ref()?))))
}

/// The greatest round number below all values, where an axis can begin.
fn floor_below(values: impl Iterator<Item = f64>) -> f64 {
    let least = values.fold(1.0, f64::min);
    [0.9, 0.8, 0.6, 0.4, 0.2].into_iter().find(|floor| *floor <= least).unwrap_or(0.0)
}

/// Draws one curve of every class, the weakest ones on top and in colour.
fn class_curves(report: &Report, mut frame: Frame, of: fn(&ClassCurves) -> &Curve, description: &str) -> String {
    let mut classes: Vec<(usize, &Curve)> = each(report, of).collect();
    classes.sort_by(|a, b| a.1.area.total_cmp(&b.1.area));
    let mut legend = String::new();
    for (rank, (class, curve)) in classes.iter().enumerate().rev() {
        let title = format!("{} (area {:.4})", report.labels[*class], curve.area);
        let class = if rank < HIGHLIGHTED { format!("curve c{rank}") } else { "curve".to_owned() };
        frame.line(&class, &title, curve.points.iter().copied());
    }
    for (rank, (class, curve)) in classes.iter().enumerate().take(HIGHLIGHTED) {
        let name = escape(&report.labels[*class]);
        legend.push_str(&format!("<li class=\"c{rank}\">{name} <b>{:.4}</b></li>", curve.area));
    }
    if classes.len() > HIGHLIGHTED {
        legend.push_str(&format!("<li class=\"others\">{} others</li>", classes.len() - HIGHLIGHTED));
    }
    format!("{}\n<ul class=\"legend\">{legend}</ul>", frame.finish(description))
}

/// How often answers are right, by how sure they are, with 95 % intervals.
pub(super) fn reliability(report: &Report) -> String {
    let unit = Scale::Linear { low: 0.0, high: 1.0 };
    let mut frame = Frame::new(480.0, 340.0, unit, unit);
    let ticks = percent_ticks(0.0, 1.0, 5);
    frame.grid(&ticks, &ticks, "confidence", "right answers");
    for bin in report.full.reliability.iter().filter(|bin| bin.samples > 0) {
        let interval = wilson((bin.accuracy * bin.samples as f64).round() as u64, bin.samples);
        let (left, right, middle) = (frame.x(bin.lower) + 1.5, frame.x(bin.upper) - 1.5, frame.x(bin.confidence));
        let (bottom, top, expected) = (frame.y(0.0), frame.y(bin.accuracy), frame.y(bin.confidence));
        let gap = if bin.accuracy < bin.confidence { "over" } else { "under" };
        frame.push(&format!(
            r#"<g><title>{}</title><rect class="bar" x="{left:.1}" y="{top:.1}" width="{:.1}" height="{:.1}" rx="2"/><rect class="gap {gap}" x="{left:.1}" y="{:.1}" width="{:.1}" height="{:.1}"/><line class="whisker" x1="{middle:.1}" x2="{middle:.1}" y1="{:.1}" y2="{:.1}"/></g>"#,
            bin_title(bin),
            right - left,
            (bottom - top).max(0.0),
            top.min(expected),
            right - left,
            (top - expected).abs(),
            frame.y(interval.low),
            frame.y(interval.high)
        ));
    }
    frame.line("chance", "confidence as it should be", [[0.0, 0.0], [1.0, 1.0]]);
    frame.finish("share of right answers by confidence")
}

fn bin_title(bin: &ReliabilityBin) -> String {
    format!("{} samples: {} sure on average, {} right", bin.samples, percent(bin.confidence), percent(bin.accuracy))
}

/// How many answers are how sure, on a logarithmic scale.
pub(super) fn confidences(report: &Report) -> String {
    let most = report.full.reliability.iter().map(|bin| bin.samples).max().unwrap_or(0).max(10);
    let top = 10f64.powi((most as f64).log10().ceil() as i32);
    let (x, y) = (Scale::Linear { low: 0.0, high: 1.0 }, Scale::Log { low: 0.5, high: top });
    let mut frame = Frame::new(480.0, 340.0, x, y);
    let decades =
        (0..=top.log10() as i32).map(|power| (10f64.powi(power), 10f64.powi(power).to_string())).collect::<Vec<Tick>>();
    frame.grid(&percent_ticks(0.0, 1.0, 5), &decades, "confidence", "samples (logarithmic)");
    for bin in report.full.reliability.iter().filter(|bin| bin.samples > 0) {
        let (left, right, top) = (frame.x(bin.lower) + 1.5, frame.x(bin.upper) - 1.5, frame.y(bin.samples as f64));
        frame.push(&format!(
            r#"<rect class="bar" x="{left:.1}" y="{top:.1}" width="{:.1}" height="{:.1}" rx="2"><title>{}</title></rect>"#,
            right - left,
            frame.y(0.5) - top,
            bin_title(bin)
        ));
    }
    frame.finish("how many answers are how sure")
}

/// Loss, and if there is one the accuracy, by epoch.
pub(super) fn epochs(history: &[EpochReport]) -> (String, Option<String>) {
    let chart = |name: &str, of: fn(&EpochReport) -> [Option<f64>; 2], percents: bool| {
        let [training, validation] = [0, 1].map(|which| -> Vec<[f64; 2]> {
            history.iter().filter_map(|epoch| Some([epoch.epoch as f64, of(epoch)[which]?])).collect()
        });
        let values = || training.iter().chain(&validation).map(|point| point[1]);
        let (low, high) = (values().fold(f64::INFINITY, f64::min), values().fold(f64::NEG_INFINITY, f64::max));
        let margin = ((high - low) * 0.06).max(1e-4);
        let (low, high) = (low - margin, high + margin);
        let last = history.last().map_or(2.0, |epoch| epoch.epoch as f64).max(2.0);
        let mut frame = Frame::new(480.0, 300.0, Scale::Linear { low: 1.0, high: last }, Scale::Linear { low, high });
        let whole: Vec<Tick> = ticks(1.0, last, 8)
            .into_iter()
            .filter(|(at, _)| at.fract() == 0.0)
            .map(|(at, _)| (at, format!("{at:.0}")))
            .collect();
        let y_ticks = if percents { percent_ticks(low, high, 5) } else { ticks(low, high, 5) };
        frame.grid(&whole, &y_ticks, "epoch", name);
        frame.line("curve training", "training", training);
        frame.line("curve validation", "validation", validation);
        frame.finish(&format!("{name} by epoch"))
    };
    let loss = format!("loss ({})", EpochReport::loss_unit(history));
    let has_accuracy = history.iter().any(|epoch| epoch.accuracy.is_some());
    let accuracy = || chart("accuracy", |e| [e.accuracy, e.validation.and_then(|v| v.accuracy)], true);
    (chart(&loss, |e| [Some(e.loss), e.validation.map(|v| v.loss)], false), has_accuracy.then(accuracy))
}
