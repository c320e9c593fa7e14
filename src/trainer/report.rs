//! An evaluation as text that people read.

use std::fmt::Write as _;

use crate::stats::{Evaluation, Scores};

/// The evaluation as Markdown: the headline figures, a row for each class, the confusion matrix.
pub fn report_markdown(title: &str, labels: &[String], evaluation: &Evaluation) -> String {
    let mut text = String::new();
    match write_report(&mut text, title, labels, evaluation) {
        Ok(()) => text,
        // Writing to a String cannot fail.
        Err(std::fmt::Error) => String::new(),
    }
}

fn write_report(text: &mut String, title: &str, labels: &[String], evaluation: &Evaluation) -> std::fmt::Result {
    let summary = &evaluation.summary;
    writeln!(text, "# {title}\n")?;
    writeln!(
        text,
        "| samples | accuracy | log-loss (nats) | expected calibration error |\n| ---: | ---: | ---: | ---: |"
    )?;
    writeln!(
        text,
        "| {} | {:.2} % | {:.4} | {:.4} |\n",
        summary.samples,
        summary.accuracy * 100.0,
        summary.loss,
        evaluation.expected_calibration_error
    )?;
    writeln!(text, "| class | precision | recall | F1 | support |\n| --- | ---: | ---: | ---: | ---: |")?;
    let row = |name: &str, s: &Scores, support: u64| {
        format!("| {name} | {:.4} | {:.4} | {:.4} | {support} |", s.precision, s.recall, s.f1)
    };
    for (index, class) in evaluation.classes.iter().enumerate() {
        writeln!(text, "{}", row(&label(labels, index), &class.scores, class.support))?;
    }
    writeln!(text, "{}", row("**macro average**", &evaluation.macro_average, summary.samples))?;
    writeln!(text, "{}\n", row("**weighted average**", &evaluation.weighted_average, summary.samples))?;
    writeln!(text, "Confusion matrix: a row for each true class, a column for each predicted one.\n")?;
    let names: Vec<String> = (0..evaluation.classes.len()).map(|index| label(labels, index)).collect();
    writeln!(text, "| true \\ predicted | {} |", names.join(" | "))?;
    writeln!(text, "| --- |{}", " ---: |".repeat(names.len()))?;
    for (name, counts) in names.iter().zip(&evaluation.confusion) {
        let counts: Vec<String> = counts.iter().map(u64::to_string).collect();
        writeln!(text, "| {name} | {} |", counts.join(" | "))?;
    }
    Ok(())
}

fn label(labels: &[String], class: usize) -> String {
    labels.get(class).cloned().unwrap_or_else(|| class.to_string())
}
