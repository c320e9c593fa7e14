//! An evaluation as Markdown: the figures, a row for each class, the confusion matrix.

use std::fmt::Write as _;

use super::ClassificationReport;
use crate::report::percent;
use crate::stats::{Curve, Scores};

pub(super) fn markdown(report: &ClassificationReport) -> String {
    let mut text = String::new();
    match write_report(&mut text, report) {
        Ok(()) => text,
        // Writing to a String cannot fail.
        Err(std::fmt::Error) => String::new(),
    }
}

fn write_report(text: &mut String, report: &ClassificationReport) -> std::fmt::Result {
    writeln!(text, "# {}\n", report.subject.title(report.samples()))?;
    writeln!(text, "| figure | value |\n| --- | ---: |")?;
    for (name, value) in figures(report) {
        writeln!(text, "| {name} | {value} |")?;
    }
    writeln!(
        text,
        "\n| class | precision | recall | F1 | ROC area | PR area | support |\n| --- | ---: | ---: | ---: | ---: | ---: | ---: |"
    )?;
    let evaluation = &report.full.evaluation;
    let row = |name: &str, s: &Scores, areas: [Option<f64>; 2], support: u64| {
        let [roc, precision] = areas.map(|area| area.map_or_else(|| "–".into(), |area| format!("{area:.4}")));
        format!("| {name} | {:.4} | {:.4} | {:.4} | {roc} | {precision} | {support} |", s.precision, s.recall, s.f1)
    };
    for ((name, class), curves) in report.labels.iter().zip(&evaluation.classes).zip(&report.full.curves) {
        let area = |of: fn(&crate::stats::ClassCurves) -> &Curve| curves.as_ref().map(|curves| of(curves).area);
        let areas = [area(|curves| &curves.roc), area(|curves| &curves.precision_recall)];
        writeln!(text, "{}", row(&cell(name), &class.scores, areas, class.support))?;
    }
    let samples = evaluation.summary.samples;
    let means = [report.full.mean_roc_area, report.full.mean_precision_recall_area];
    writeln!(text, "{}", row("**macro average**", &evaluation.macro_average, means, samples))?;
    writeln!(text, "{}\n", row("**weighted average**", &evaluation.weighted_average, [None; 2], samples))?;
    writeln!(text, "Confusion matrix: a row for each true class, a column for each predicted one.\n")?;
    let names: Vec<String> = report.labels.iter().map(|label| cell(label)).collect();
    writeln!(text, "| true \\ predicted | {} |", names.join(" | "))?;
    writeln!(text, "| --- |{}", " ---: |".repeat(names.len()))?;
    for (name, counts) in names.iter().zip(&evaluation.confusion) {
        let counts: Vec<String> = counts.iter().map(u64::to_string).collect();
        writeln!(text, "| {name} | {} |", counts.join(" | "))?;
    }
    if let Some(importance) = &report.importance {
        write!(text, "\n{}", importance.markdown())?;
    }
    Ok(())
}

/// The figures of the whole, as name and value.
fn figures(report: &ClassificationReport) -> Vec<(String, String)> {
    let full = &report.full;
    let summary = &full.evaluation.summary;
    let interval = full.accuracy_interval;
    let mut figures = vec![
        ("samples".to_owned(), summary.samples.to_string()),
        (
            "accuracy (95 % interval)".to_owned(),
            format!("{} ({} – {})", percent(summary.accuracy), percent(interval.low), percent(interval.high)),
        ),
        ("balanced accuracy".to_owned(), percent(full.balanced_accuracy)),
    ];
    figures.extend(full.top_k.iter().map(|top| (format!("top-{} accuracy", top.k), percent(top.accuracy))));
    let mut number = |name: &str, value: f64| figures.push((name.to_owned(), format!("{value:.4}")));
    number("log-loss (nats)", summary.loss);
    number("Brier score (0 to 2)", full.brier_score);
    number("expected calibration error", full.evaluation.expected_calibration_error);
    number("maximum calibration error", full.maximum_calibration_error);
    number("Matthews correlation", full.matthews_correlation);
    number("Cohen's κ", full.cohen_kappa);
    figures
}

/// A label that does not end a cell.
fn cell(label: &str) -> String {
    label.replace('|', "\\|").replace(['\n', '\r'], " ")
}
