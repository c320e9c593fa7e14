//! The report of a classifier as one HTML page.

use super::words::confusions;
use super::{ClassificationReport, charts, gallery};
use crate::report::{columns, escape, headline, heat_map, percent, section};
use crate::stats::{ClassScores, ReliabilityBin, Scores};
use crate::trainer::curves::training;
use crate::trainer::permutation::PermutationImportance;

const STYLE: &str = include_str!("classification.css");
const DEFINITIONS: &str = include_str!("definitions.html");

/// Confusions that are listed beside the matrix.
const CONFUSIONS: usize = 10;

/// Returns the whole page.
pub(super) fn page(report: &ClassificationReport) -> String {
    let sections = [
        figures(report),
        matrix(report),
        classes(report),
        thresholds(report),
        calibration(report),
        report.importance.as_ref().map(PermutationImportance::section).unwrap_or_default(),
        mistakes(report),
        training(&report.history),
        format!("<section>{DEFINITIONS}</section>"),
    ];
    report.subject.page(report.samples(), STYLE, &sections)
}

fn figures(report: &ClassificationReport) -> String {
    let full = &report.full;
    let summary = &full.evaluation.summary;
    let interval = full.accuracy_interval;
    let mut tiles: Vec<(String, String)> = vec![("balanced accuracy".into(), percent(full.balanced_accuracy))];
    tiles.extend(full.top_k.iter().take(3).map(|top| (format!("top-{} accuracy", top.k), percent(top.accuracy))));
    let areas = [("mean ROC area", full.mean_roc_area), ("mean PR area", full.mean_precision_recall_area)];
    let numbers = [
        ("macro F1", Some(full.evaluation.macro_average.f1)),
        ("log-loss, nats", Some(summary.loss)),
        ("Brier score", Some(full.brier_score)),
        ("calibration error", Some(full.evaluation.expected_calibration_error)),
    ];
    let chance = [("Matthews correlation", Some(full.matthews_correlation)), ("Cohen's κ", Some(full.cohen_kappa))];
    let numbers = numbers.into_iter().chain(areas).chain(chance);
    tiles.extend(numbers.filter_map(|(name, value)| Some((name.to_owned(), format!("{:.4}", value?)))));
    let name = format!("accuracy, 95 % interval {} – {}", percent(interval.low), percent(interval.high));
    headline((&percent(summary.accuracy), &name), &interval_bar(report), &tiles)
}

/// Returns the accuracy and its interval as a bar, with as much room on both sides again.
fn interval_bar(report: &ClassificationReport) -> String {
    let interval = report.full.accuracy_interval;
    let room = (interval.high - interval.low).max(1e-6);
    let (low, high) = ((interval.low - room).max(0.0), (interval.high + room).min(1.0));
    let at = |share: f64| (share - low) / (high - low) * 100.0;
    format!(
        "<div class=\"interval\"><i></i><i class=\"range\" style=\"left:{:.1}%;right:{:.1}%\"></i><i class=\"point\" style=\"left:{:.1}%\"></i></div>\
         <div class=\"ends\"><span>{}</span><span>{}</span></div>",
        at(interval.low),
        100.0 - at(interval.high),
        at(report.full.evaluation.summary.accuracy),
        percent(low),
        percent(high)
    )
}

fn matrix(report: &ClassificationReport) -> String {
    let evaluation = &report.full.evaluation;
    let found = confusions(&evaluation.confusion, CONFUSIONS);
    let most = found.first().map_or(1, |confusion| confusion.2) as f64;
    let row = |(truth, predicted, count): &(usize, usize, u64)| {
        format!(
            "<li><span><b>{}</b> as <b>{}</b></span><i style=\"width:{:.0}%\"></i><span>{count}</span></li>",
            escape(&report.labels[*truth]),
            escape(&report.labels[*predicted]),
            *count as f64 / most * 100.0
        )
    };
    let list = match found.is_empty() {
        true => "<p>None: every answer is right.</p>".to_owned(),
        false => format!("<ol class=\"confusions\">{}</ol>", found.iter().map(row).collect::<String>()),
    };
    let map = heat_map(&report.labels, &evaluation.confusion).embedded();
    let content =
        format!("<div class=\"matrix\"><div>{map}</div><div><h3>Most frequent confusions</h3>{list}</div></div>");
    let lead = "A row for each true class, a column for each answer. Blue is right, orange is wrong. Point at a cell to see its share.";
    section("Confusion matrix", lead, &content)
}

fn classes(report: &ClassificationReport) -> String {
    let evaluation = &report.full.evaluation;
    let longest =
        evaluation.classes.iter().enumerate().map(|(index, class)| missed(class).max(false_alarms(report, index)));
    let longest = longest.fold(1e-9, f64::max);
    let rows: Vec<String> = (0..evaluation.classes.len()).map(|index| class_row(report, index, longest)).collect();
    let average = |name: &str, scores: &Scores| {
        format!(
            "<tr><td>{name}</td><td></td><td></td><td>{:.4}</td><td>{:.4}</td><td>{:.4}</td><td></td><td></td><td></td></tr>",
            scores.precision, scores.recall, scores.f1
        )
    };
    let table = format!(
        "<div class=\"scroll\"><table>\
         <thead><tr><th>class</th><th class=\"missed\">missed</th><th class=\"alarms\">false alarms</th><th>precision</th><th>recall</th>\
         <th>F1</th><th>ROC area</th><th>PR area</th><th>support</th></tr></thead><tbody>{}</tbody><tfoot>{}{}{}</tfoot></table></div>",
        rows.join("\n"),
        average("macro", &evaluation.macro_average),
        average("weighted", &evaluation.weighted_average),
        average("micro", &report.full.micro_average)
    );
    let lead = "Missed is the share of a class that was taken for another (1 − recall); false alarms are the share of its answers that were wrong (1 − precision).";
    section("Class by class", lead, &table)
}

/// Returns the share of a class that was taken for another.
fn missed(class: &ClassScores) -> f64 {
    if class.support > 0 { 1.0 - class.scores.recall } else { 0.0 }
}

/// Returns the share of the answers that named this class and were wrong.
fn false_alarms(report: &ClassificationReport, class: usize) -> f64 {
    let evaluation = &report.full.evaluation;
    let answered = evaluation.confusion.iter().any(|row| row[class] > 0);
    if answered { 1.0 - evaluation.classes[class].scores.precision } else { 0.0 }
}

/// Returns the row of a class; the longest bar of all rows stands for the share `longest`.
fn class_row(report: &ClassificationReport, index: usize, longest: f64) -> String {
    let class = &report.full.evaluation.classes[index];
    let half = |share: f64| {
        let width = share / longest * 64.0;
        format!("<div class=\"half\"><i style=\"width:{width:.1}%\"></i>{}</div>", percent(share))
    };
    let areas = report.full.curves[index].as_ref().map(|curves| [curves.roc.area, curves.precision_recall.area]);
    let areas = areas.map_or_else(|| ["–".into(), "–".into()], |areas| areas.map(|area| format!("{area:.4}")));
    format!(
        "<tr><td>{}</td><td class=\"missed\">{}</td><td class=\"alarms\">{}</td><td>{:.4}</td><td>{:.4}</td><td>{:.4}</td><td>{}</td><td>{}</td><td>{}</td></tr>",
        escape(&report.labels[index]),
        half(missed(class)),
        half(false_alarms(report, index)),
        class.scores.precision,
        class.scores.recall,
        class.scores.f1,
        areas[0],
        areas[1],
        class.support
    )
}

fn thresholds(report: &ClassificationReport) -> String {
    if report.full.mean_roc_area.is_none() {
        return String::new();
    }
    let lead = "Each class against the rest. The three weakest classes are drawn in colour; point at a line to see its class. The axes begin where the curves do.";
    let charts = columns([
        ("Receiver operating characteristic", charts::roc(report)),
        ("Precision and recall", charts::precision_recall(report)),
    ]);
    section("At every threshold", lead, &charts)
}

fn calibration(report: &ClassificationReport) -> String {
    let samples = report.samples().max(1) as f64;
    let mean = |of: fn(&ReliabilityBin) -> f64| {
        report.full.reliability.iter().map(|bin| of(bin) * bin.samples as f64).sum::<f64>() / samples
    };
    let (confidence, accuracy) = (mean(|bin| bin.confidence), mean(|bin| bin.accuracy));
    let verdict = match confidence - accuracy {
        gap if gap > 0.005 => format!("The model is overconfident by {:.1} points.", gap * 100.0),
        gap if gap < -0.005 => format!("The model is underconfident by {:.1} points.", -gap * 100.0),
        _ => "On the whole, the confidences are right.".into(),
    };
    let lead = format!(
        "The mean confidence is {}, and {} of the answers are right. {verdict} Expected calibration error {:.4}, maximum {:.4}.",
        percent(confidence),
        percent(accuracy),
        report.full.evaluation.expected_calibration_error,
        report.full.maximum_calibration_error
    );
    let charts = columns([("Reliability", charts::reliability(report)), ("Confidences", charts::confidences(report))]);
    section("Calibration", &lead, &charts)
}

fn mistakes(report: &ClassificationReport) -> String {
    if report.mistakes.is_empty() {
        return String::new();
    }
    let lead = "The samples whose true class was given the least probability: the true class, the answer, and the confidence of that answer.";
    section("Worst mistakes", lead, &format!("<div class=\"gallery\">{}</div>", gallery::gallery(report)))
}
