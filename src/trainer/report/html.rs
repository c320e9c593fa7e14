//! The report as one HTML page.

use super::words::{confusions, escape, percent};
use super::{Report, charts, gallery};
use crate::stats::ClassScores;
use crate::trainer::fit::EpochReport;

const STYLE: &str = include_str!("style.css");
const DEFINITIONS: &str = include_str!("definitions.html");

/// Confusions that are listed beside the matrix.
const CONFUSIONS: usize = 10;

/// The whole page. It may load nothing and run nothing, wherever it is opened.
pub(super) fn page(report: &Report) -> String {
    let parts = [
        header(report),
        headline(report),
        matrix(report),
        classes(report),
        thresholds(report),
        calibration(report),
        mistakes(report),
        training(&report.history),
        format!("<section>{DEFINITIONS}</section>"),
    ];
    document(&report.title(), &report.created, &parts)
}

/// A page of these parts in the style of all reports.
pub(in crate::trainer) fn document(title: &str, created: &str, parts: &[String]) -> String {
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"content-security-policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; img-src data:\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>{}</title>\n<style>\n{STYLE}</style>\n\
         </head>\n<body>\n<main>\n{}\n<footer>Weir {} · {}</footer>\n</main>\n</body>\n</html>\n",
        escape(title),
        parts.join("\n"),
        env!("CARGO_PKG_VERSION"),
        escape(created)
    )
}

fn header(report: &Report) -> String {
    let version = report.version.map_or_else(String::new, |version| format!(" <small>version {version}</small>"));
    format!(
        "<header><p class=\"eyebrow\">Evaluation</p><h1>{}{version}</h1><p>{} {} · run in {} · {}</p></header>",
        escape(&report.model),
        report.full.evaluation.summary.samples,
        escape(&report.data),
        report.engine.name(),
        escape(report.created.split('T').next().unwrap_or_default())
    )
}

fn headline(report: &Report) -> String {
    let full = &report.full;
    let summary = &full.evaluation.summary;
    let interval = full.accuracy_interval;
    // The bar shows the interval with as much room on both sides again.
    let room = (interval.high - interval.low).max(1e-6);
    let (low, high) = ((interval.low - room).max(0.0), (interval.high + room).min(1.0));
    let at = |share: f64| (share - low) / (high - low) * 100.0;
    let mut tiles: Vec<(String, String)> = vec![("balanced accuracy".into(), percent(full.balanced_accuracy))];
    tiles.extend(full.top_k.iter().take(3).map(|top| (format!("top-{} accuracy", top.k), percent(top.accuracy))));
    let number = |value: f64| format!("{value:.4}");
    tiles.push(("macro F1".into(), number(full.evaluation.macro_average.f1)));
    tiles.push(("log-loss, nats".into(), number(summary.loss)));
    tiles.push(("Brier score".into(), number(full.brier_score)));
    tiles.push(("calibration error".into(), number(full.evaluation.expected_calibration_error)));
    tiles.extend(full.mean_roc_area.map(|area| ("mean ROC area".into(), number(area))));
    tiles.extend(full.mean_precision_recall_area.map(|area| ("mean PR area".into(), number(area))));
    tiles.push(("Matthews correlation".into(), number(full.matthews_correlation)));
    tiles.push(("Cohen's κ".into(), number(full.cohen_kappa)));
    let tiles: String =
        tiles.iter().map(|(name, value)| format!("<div><b>{value}</b><span>{name}</span></div>")).collect();
    format!(
        "<section class=\"head\"><div class=\"hero\"><b>{}</b><span>accuracy, 95 % interval {} – {}</span>\
         <div class=\"interval\"><i></i><i class=\"range\" style=\"left:{:.1}%;right:{:.1}%\"></i><i class=\"dot\" style=\"left:{:.1}%\"></i></div>\
         <div class=\"ends\"><span>{}</span><span>{}</span></div></div><div class=\"tiles\">{tiles}</div></section>",
        percent(summary.accuracy),
        percent(interval.low),
        percent(interval.high),
        at(interval.low),
        100.0 - at(interval.high),
        at(summary.accuracy),
        percent(low),
        percent(high)
    )
}

fn matrix(report: &Report) -> String {
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
    format!(
        "<section><h2>What is taken for what</h2><p class=\"lead\">A row for each true class, a column for each answer. \
         Blue is right, orange is wrong; a pointer on a cell shows its share.</p><div class=\"matrix\"><div>{}</div>\
         <div><h3>Most frequent confusions</h3>{list}</div></div></section>",
        charts::confusion(report)
    )
}

fn classes(report: &Report) -> String {
    let evaluation = &report.full.evaluation;
    let missed = |class: &ClassScores| if class.support > 0 { 1.0 - class.scores.recall } else { 0.0 };
    let answered = |class: usize| evaluation.confusion.iter().map(|row| row[class]).sum::<u64>();
    let alarms =
        |index: usize, class: &ClassScores| if answered(index) > 0 { 1.0 - class.scores.precision } else { 0.0 };
    let longest =
        evaluation.classes.iter().enumerate().flat_map(|(index, class)| [missed(class), alarms(index, class)]);
    let longest = longest.fold(1e-9, f64::max);
    let half = |share: f64| {
        let width = share / longest * 64.0;
        format!("<div class=\"half\"><i style=\"width:{width:.1}%\"></i>{}</div>", percent(share))
    };
    let row = |(index, class): (usize, &ClassScores)| {
        let areas = report.full.curves[index].as_ref().map(|curves| [curves.roc.area, curves.precision_recall.area]);
        let areas =
            areas.map_or_else(|| "<td>–</td><td>–</td>".into(), |[a, b]| format!("<td>{a:.4}</td><td>{b:.4}</td>"));
        format!(
            "<tr><td>{}</td><td class=\"missed\">{}</td><td class=\"alarms\">{}</td><td>{:.4}</td><td>{:.4}</td><td>{:.4}</td>{areas}<td>{}</td></tr>",
            escape(&report.labels[index]),
            half(missed(class)),
            half(alarms(index, class)),
            class.scores.precision,
            class.scores.recall,
            class.scores.f1,
            class.support
        )
    };
    let foot = |name: &str, scores: &crate::stats::Scores| {
        format!(
            "<tr><td>{name}</td><td></td><td></td><td>{:.4}</td><td>{:.4}</td><td>{:.4}</td><td></td><td></td><td></td></tr>",
            scores.precision, scores.recall, scores.f1
        )
    };
    format!(
        "<section><h2>Class by class</h2><p class=\"lead\">Missed is the share of a class that was taken for something else \
         (1 − recall); false alarms are the share of answers that were wrong (1 − precision).</p><div class=\"scroll\"><table>\
         <thead><tr><th>class</th><th class=\"missed\">missed</th><th class=\"alarms\">false alarms</th><th>precision</th><th>recall</th>\
         <th>F1</th><th>ROC area</th><th>PR area</th><th>support</th></tr></thead><tbody>{}</tbody><tfoot>{}{}{}</tfoot></table></div></section>",
        evaluation.classes.iter().enumerate().map(row).collect::<Vec<_>>().join("\n"),
        foot("macro", &evaluation.macro_average),
        foot("weighted", &evaluation.weighted_average),
        foot("micro", &report.full.micro_average)
    )
}

fn thresholds(report: &Report) -> String {
    if report.full.mean_roc_area.is_none() {
        return String::new();
    }
    format!(
        "<section><h2>At every threshold</h2><p class=\"lead\">Each class against the rest. The three weakest classes are \
         drawn in colour; a pointer on a line names its class. Axes begin where the curves do.</p>\
         <div class=\"two\"><div><h3>Receiver operating characteristic</h3>{}</div><div><h3>Precision and recall</h3>{}</div></div></section>",
        charts::roc(report),
        charts::precision_recall(report)
    )
}

fn calibration(report: &Report) -> String {
    let samples = report.full.evaluation.summary.samples.max(1) as f64;
    let sum = |of: fn(&crate::stats::ReliabilityBin) -> f64| {
        report.full.reliability.iter().map(|bin| of(bin) * bin.samples as f64).sum::<f64>() / samples
    };
    let (sure, right) = (sum(|bin| bin.confidence), sum(|bin| bin.accuracy));
    let verdict = match sure - right {
        gap if gap > 0.005 => format!("It is {} points too sure.", points(gap)),
        gap if gap < -0.005 => format!("It is {} points less sure than it could be.", points(-gap)),
        _ => "On the whole it is as sure as it is right.".into(),
    };
    format!(
        "<section><h2>Does it know how sure it is?</h2><p class=\"lead\">Answers are {} sure on average, and {} of them are right. \
         {verdict} Expected calibration error {:.4}, at worst {:.4}.</p><div class=\"two\"><div><h3>Reliability</h3>{}\
         <ul class=\"legend\"><li class=\"over\">too sure</li><li class=\"under\">too modest</li></ul></div>\
         <div><h3>How sure the answers are</h3>{}</div></div></section>",
        percent(sure),
        percent(right),
        report.full.evaluation.expected_calibration_error,
        report.full.maximum_calibration_error,
        charts::reliability(report),
        charts::confidences(report)
    )
}

fn points(share: f64) -> String {
    format!("{:.1}", share * 100.0)
}

fn mistakes(report: &Report) -> String {
    if report.mistakes.is_empty() {
        return String::new();
    }
    format!(
        "<section><h2>Worst mistakes</h2><p class=\"lead\">The images whose true class was given the least probability: \
         what it is, what it was taken for, and how sure that answer was.</p><div class=\"sheet\">{}</div></section>",
        gallery::contact_sheet(report)
    )
}

/// The curves of a training run; empty without one.
pub(in crate::trainer) fn training(history: &[EpochReport]) -> String {
    if history.is_empty() {
        return String::new();
    }
    let (loss, accuracy) = charts::epochs(history);
    let legend = "<ul class=\"legend\"><li class=\"training\">training, while it learned</li><li class=\"validation\">validation</li></ul>";
    let chart = |title: &str, chart: String| format!("<div><h3>{title}</h3>{chart}{legend}</div>");
    let accuracy = accuracy.map_or_else(String::new, |accuracy| chart("Accuracy", accuracy));
    format!(
        "<section><h2>How it was trained</h2><p class=\"lead\">After each epoch.</p><div class=\"two\">{}{accuracy}</div></section>",
        chart("Loss", loss)
    )
}
