//! An evaluation as tables for a terminal.

use super::super::paint::{Paint, bar};
use super::super::progress::grouped;
use crate::report::{Subject, percent};
use crate::stats::ClassScores;
use crate::trainer::{ClassificationReport, PermutationImportance, confusions};

/// Confusions that are listed.
const CONFUSIONS: usize = 6;
/// Above this many classes, the confusion matrix does not fit.
const MAX_MATRIX: usize = 16;
/// Columns of a table whose importance is listed.
const IMPORTANT: usize = 12;
/// Columns of the longest bar.
const BAR_COLUMNS: f64 = 16.0;
/// The most characters of a label.
const LABEL_COLUMNS: usize = 18;

pub(super) fn evaluation(report: &ClassificationReport, paint: Paint) -> String {
    let confused = confused(report);
    let parts = [Some(headline(report, paint)), Some(classes(report, paint)), confused, matrix(report, paint)];
    parts.into_iter().flatten().collect::<Vec<_>>().join("\n")
}

/// Returns the model, its engine and the data that it was evaluated on.
pub(super) fn heading(subject: &Subject, samples: u64, paint: Paint) -> String {
    let Subject { model, version, engine, data, .. } = subject;
    let version = version.map_or_else(String::new, |version| format!(" version {version}"));
    format!("{}{version} in {engine}, {} {data}\n\n", paint.bold(model), grouped(samples as usize))
}

/// Returns the figures of the whole.
fn headline(report: &ClassificationReport, paint: Paint) -> String {
    let full = &report.full;
    let summary = &full.evaluation.summary;
    let mut text = heading(&report.subject, summary.samples, paint);
    let mut row = |name: &str, value: String| text.push_str(&format!("{name:<22} {value}\n"));
    let interval = full.accuracy_interval;
    let range = paint.dim(&format!("95 % interval {} – {}", percent(interval.low), percent(interval.high)));
    row("accuracy", format!("{}   {range}", paint.bold(&percent(summary.accuracy))));
    row("balanced accuracy", percent(full.balanced_accuracy));
    if !full.top_k.is_empty() {
        let tops: Vec<String> =
            full.top_k.iter().map(|top| format!("top-{} {}", top.k, percent(top.accuracy))).collect();
        row("in the first guesses", tops.join("   "));
    }
    row("log-loss", format!("{:.4} nats", summary.loss));
    row("Brier score", format!("{:.4}", full.brier_score));
    let (expected, maximum) = (full.evaluation.expected_calibration_error, full.maximum_calibration_error);
    row("calibration error", format!("{expected:.4} expected   {maximum:.4} at worst"));
    if let (Some(roc), Some(precision)) = (full.mean_roc_area, full.mean_precision_recall_area) {
        row("mean area", format!("{roc:.4} ROC   {precision:.4} precision-recall"));
    }
    row("beyond chance", format!("{:.4} Matthews   {:.4} Cohen's κ", full.matthews_correlation, full.cohen_kappa));
    text
}

/// A row for each class.
fn classes(report: &ClassificationReport, paint: Paint) -> String {
    let evaluation = &report.full.evaluation;
    let names: Vec<String> = report.labels.iter().map(|label| cut(label)).collect();
    let width = names.iter().map(|name| name.chars().count()).max().unwrap_or(0).max("weighted".len());
    let heading = format!(
        "{:<width$} {:>9} {:>9} {:>9} {:>9} {:>9} {:>9}  {}",
        "class", "precision", "recall", "F1", "ROC area", "PR area", "support", "missed"
    );
    let mut text = format!("{}\n", paint.dim(&heading));
    let missed = |class: &ClassScores| if class.support > 0 { 1.0 - class.scores.recall } else { 0.0 };
    let most = evaluation.classes.iter().map(missed).fold(1e-9, f64::max);
    for ((name, class), curves) in names.iter().zip(&evaluation.classes).zip(&report.full.curves) {
        let areas = curves.as_ref().map(|curves| [curves.roc.area, curves.precision_recall.area]);
        let areas = areas.map_or_else(|| ["–".into(), "–".into()], |areas| areas.map(|area| format!("{area:.4}")));
        text.push_str(&format!(
            "{name:<width$} {:>9.4} {:>9.4} {:>9.4} {:>9} {:>9} {:>9}  {} {:.1} %\n",
            class.scores.precision,
            class.scores.recall,
            class.scores.f1,
            areas[0],
            areas[1],
            grouped(class.support as usize),
            bar(missed(class) / most * BAR_COLUMNS),
            missed(class) * 100.0
        ));
    }
    for (name, scores) in [("macro", evaluation.macro_average), ("weighted", evaluation.weighted_average)] {
        let row = format!("{name:<width$} {:>9.4} {:>9.4} {:>9.4}", scores.precision, scores.recall, scores.f1);
        text.push_str(&format!("{}\n", paint.dim(&row)));
    }
    text
}

/// A row for each of the most important columns of a table; nothing if it was not asked for.
pub(super) fn importance(importance: Option<&PermutationImportance>, paint: Paint) -> String {
    let Some(importance) = importance else { return String::new() };
    let shown = &importance.columns[..importance.columns.len().min(IMPORTANT)];
    let names: Vec<String> = shown.iter().map(|column| cut(&column.column)).collect();
    let width = names.iter().map(|name| name.chars().count()).max().unwrap_or(0).max("column".len());
    let most = shown.first().map(|column| column.mean).filter(|mean| *mean > 0.0).unwrap_or(1.0);
    let heading = format!("{:<width$} {:>11} {:>11}  {}", "column", "shuffled", "±", importance.figure.words());
    let mut text = format!("\n{}\n", paint.dim(&heading));
    for (name, column) in names.iter().zip(shown) {
        let [mean, deviation] = [column.mean, column.deviation].map(|amount| importance.figure.amount(amount));
        let bar = bar((column.mean / most).max(0.0) * BAR_COLUMNS);
        text.push_str(&format!("{name:<width$} {mean:>11} {deviation:>11}  {bar}\n"));
    }
    let rest = importance.columns.len() - shown.len();
    if rest > 0 {
        text.push_str(&paint.dim(&format!("and {rest} more, which --json tells\n")));
    }
    text
}

/// The most frequent confusions on a line; nothing if there are none.
fn confused(report: &ClassificationReport) -> Option<String> {
    let found = confusions(&report.full.evaluation.confusion, CONFUSIONS);
    let name = |class: usize| cut(&report.labels[class]);
    let each: Vec<String> = found
        .iter()
        .map(|(truth, predicted, count)| format!("{} as {} ({count})", name(*truth), name(*predicted)))
        .collect();
    (!each.is_empty()).then(|| format!("most confused: {}\n", each.join(", ")))
}

/// The confusion matrix, with a dot for nothing.
fn matrix(report: &ClassificationReport, paint: Paint) -> Option<String> {
    let matrix = &report.full.evaluation.confusion;
    if matrix.len() > MAX_MATRIX {
        return None;
    }
    let names: Vec<String> = report.labels.iter().map(|label| cut(label)).collect();
    let widest = matrix.iter().flatten().max().map_or(1, |count| count.to_string().len());
    let side = names.iter().map(|name| name.chars().count()).max().unwrap_or(1);
    let (first, width) = (side.max("true".len()), side.max(widest) + 1);
    let heading: String = names.iter().map(|name| format!("{name:>width$}")).collect();
    let mut text = format!("{}\n", paint.dim(&format!("{:<first$} {heading}  predicted", "true")));
    for (truth, row) in matrix.iter().enumerate() {
        let cell = |(predicted, count): (usize, &u64)| match count {
            0 => paint.dim(&format!("{:>width$}", "·")),
            _ if truth == predicted => paint.bold(&format!("{count:>width$}")),
            _ => format!("{count:>width$}"),
        };
        let cells: String = row.iter().enumerate().map(cell).collect();
        text.push_str(&format!("{:<first$} {cells}\n", names[truth]));
    }
    Some(text)
}

/// A label that leaves room for the columns.
fn cut(label: &str) -> String {
    crate::ids::printable(label, LABEL_COLUMNS)
}
