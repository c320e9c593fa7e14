//! The course of a training run: loss and accuracy by epoch, for every report and as a file of its own.

use super::progress::EpochReport;
use crate::report::{Axis, Chart, Color, Drawing, Figure, Stroke, columns, section, span};

/// Returns the section of a report that shows the epochs of a run; empty without any.
pub(super) fn training(history: &[EpochReport]) -> String {
    if history.is_empty() {
        return String::new();
    }
    let accuracy = accuracy(history).map(|chart| ("Accuracy", chart.embedded()));
    let charts = columns([("Loss", loss(history).embedded())].into_iter().chain(accuracy));
    section("Training", "After each epoch.", &charts)
}

/// Returns the curves of a run as an SVG file.
pub(super) fn curves(history: &[EpochReport]) -> String {
    let figure = Figure::new("", "").with("loss", loss(history));
    match accuracy(history) {
        Some(accuracy) => figure.with("accuracy", accuracy),
        None => figure,
    }
    .svg()
}

fn loss(history: &[EpochReport]) -> Drawing {
    let name = format!("loss ({})", EpochReport::loss_unit(history));
    let lines =
        [line(history, |epoch| Some(epoch.loss)), line(history, |epoch| epoch.validation.map(|score| score.loss))];
    let (low, high) = extent(&lines);
    chart(history, Axis::linear(&name, low, high), lines, "loss by epoch")
}

/// Returns none of a model that has no accuracy.
fn accuracy(history: &[EpochReport]) -> Option<Drawing> {
    let lines = [line(history, |epoch| epoch.accuracy), line(history, |epoch| epoch.validation?.accuracy)];
    let (low, high) = extent(&lines);
    let any = lines.iter().any(|line| !line.is_empty());
    any.then(|| chart(history, Axis::percent("accuracy", low, high), lines, "accuracy by epoch"))
}

fn line(history: &[EpochReport], of: fn(&EpochReport) -> Option<f64>) -> Vec<[f64; 2]> {
    history.iter().filter_map(|epoch| Some([epoch.epoch as f64, of(epoch)?])).collect()
}

fn extent(lines: &[Vec<[f64; 2]>; 2]) -> (f64, f64) {
    span(lines.iter().flatten().map(|point| point[1]), 0.06)
}

fn chart(history: &[EpochReport], y: Axis, [training, validation]: [Vec<[f64; 2]>; 2], description: &str) -> Drawing {
    let last = history.last().map_or(2.0, |epoch| epoch.epoch as f64).max(2.0);
    let mut chart = Chart::sized(480.0, 300.0, Axis::counted("epoch", 1.0, last), y);
    let series = [
        ("training (while learning)", Color::Blue, Stroke::Solid, training),
        ("validation", Color::Orange, Stroke::Dashed, validation),
    ];
    for (name, color, stroke, points) in series.into_iter().filter(|series| !series.3.is_empty()) {
        // A line needs two points to be seen.
        if points.len() == 1 {
            chart.dots(color, 3.5, points.iter().copied());
        }
        chart.line(color, stroke, name, points).key(color, stroke, name);
    }
    chart.finish(description)
}
