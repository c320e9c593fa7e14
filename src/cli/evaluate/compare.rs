//! `weir evaluate --compare`.

use std::io::IsTerminal;
use std::process::ExitCode;

use serde::Serialize;

use super::super::paint::Paint;
use super::super::progress::grouped;
use super::super::target::Target;
use super::{ANY_SIZE, EvaluateArgs};
use crate::error::{Error, Result};
use crate::stats::{Comparison, McNemar, SIGNIFICANCE, TestMethod};
use crate::trainer::{DataSource, PartChoice, evaluate_version, label, read_for};

/// The output of `--json`.
#[derive(Debug, Serialize)]
struct Shown<'a> {
    /// The two, as `mnist-mlp/1`.
    models: [String; 2],
    /// The names of the classes.
    labels: &'a [String],
    /// The verdict in words.
    verdict: String,
    #[serde(flatten)]
    comparison: &'a Comparison,
}

pub(super) fn run(args: &EvaluateArgs, targets: &[Target]) -> Result<ExitCode> {
    let [first, second] = targets else {
        return Err(Error::Config { setting: "compare".into(), problem: "takes two models".into() });
    };
    let found = [first.find(&args.models)?, second.find(&args.models)?];
    let names = found.each_ref().map(|found| format!("{}/{}", found.name, found.version));
    // Each may have columns of its own; the samples and their classes are the same.
    let read = |index: usize| read_for(found[index].files.folder(), &args.data, args.reading.options());
    let data = [read(0)?, read(1)?];
    // What one of them was trained on, the other may not be judged by either.
    let holds_out = data.iter().any(|data| data.is_parted || data.is_trained_on);
    let split = args.split.or(holds_out.then_some(PartChoice::Test));
    let judge = |data: &DataSource| {
        let held_out = data.judged(split);
        if holds_out && args.split.is_none() { Ok((data.test.clone(), "test")) } else { held_out }
    };
    let tests: [_; 2] = [judge(&data[0])?.0, judge(&data[1])?.0];
    let test = &tests[0];
    let evaluate = |index: usize| evaluate_version(found[index].files.folder(), ANY_SIZE, &tests[index]);
    let (first, second) = (evaluate(0)?, evaluate(1)?);
    let comparison = Comparison::of(&first.predictions, &second.predictions);
    let labels: Vec<String> = (0..test.classes).map(|class| label(&first.labels, class)).collect();
    let verdict = verdict(&names, &comparison);
    if args.json {
        let shown = Shown { models: names, labels: &labels, verdict, comparison: &comparison };
        let json = serde_json::to_string_pretty(&shown)
            .map_err(|error| Error::internal("the comparison could not be written", error))?;
        super::super::print(&format!("{json}\n"))?;
    } else {
        let paint = Paint(std::io::stdout().is_terminal());
        super::super::print(&text(&names, &labels, &verdict, &comparison, paint))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The answer in one sentence: which is better, or that chance explains the difference.
fn verdict(names: &[String; 2], comparison: &Comparison) -> String {
    let McNemar { only_first, only_second, p_value, .. } = comparison.mcnemar;
    let accuracies = [comparison.first.accuracy, comparison.second.accuracy];
    let against = |a: usize, b: usize| {
        // As many decimals as tell them apart, so that it never says "97.6 % against 97.6 %".
        let decimals = (1..=4).find(|decimals| {
            let shown = |index: usize| format!("{:.decimals$}", accuracies[index] * 100.0);
            shown(a) != shown(b)
        });
        let decimals = decimals.unwrap_or(1);
        format!("{:.decimals$} % against {:.decimals$} %", accuracies[a] * 100.0, accuracies[b] * 100.0)
    };
    let p = p_text(p_value);
    if only_first + only_second == 0 {
        return format!("{} and {} are right and wrong on the same samples.", names[0], names[1]);
    }
    match comparison.mcnemar.is_significant() {
        true if only_second > only_first => format!("{} is better: {}, {p}.", names[1], against(1, 0)),
        true => format!("{} is better: {}, {p}.", names[0], against(0, 1)),
        false => format!("Neither is shown to be better: {}, {p}.", against(0, 1)),
    }
}

fn p_text(p: f64) -> String {
    match p {
        ..0.0001 => "p < 0.0001".into(),
        ..0.01 => format!("p = {p:.4}"),
        _ => format!("p = {p:.2}"),
    }
}

fn text(names: &[String; 2], labels: &[String], verdict: &str, comparison: &Comparison, paint: Paint) -> String {
    let mut text = format!("{}\n\n", paint.bold(verdict));
    let width = names.iter().map(|name| name.chars().count()).max().unwrap_or(0);
    for (name, summary) in names.iter().zip([comparison.first, comparison.second]) {
        text.push_str(&format!(
            "{name:<width$}  accuracy {:>7.2} %  log-loss {:.4}\n",
            summary.accuracy * 100.0,
            summary.loss
        ));
    }
    let (interval, test) = (comparison.difference_interval, comparison.mcnemar);
    let method = match test.method {
        TestMethod::ExactBinomial => "exact binomial",
        TestMethod::ChiSquareCorrected => "χ² with continuity correction",
    };
    text.push_str(&format!(
        "\ndifference     {:+.2} points, 95 % interval {:+.2} to {:+.2}\n",
        comparison.difference * 100.0,
        interval.low * 100.0,
        interval.high * 100.0
    ));
    text.push_str(&format!(
        "McNemar's test {}, {method}: only {} is right on {}, only {} on {} of {} samples\n",
        p_text(test.p_value),
        names[0],
        grouped(test.only_first as usize),
        names[1],
        grouped(test.only_second as usize),
        grouped(comparison.first.samples as usize)
    ));
    text.push_str(&format!("same answer    on {:.2} % of the samples\n\n", comparison.same_answer * 100.0));
    let names: Vec<String> = labels.iter().map(|label| crate::ids::printable(label, 18)).collect();
    let width = names.iter().map(|name| name.chars().count()).max().unwrap_or(0).max("class".len());
    let heading = format!("{:<width$} {:>9} {:>22} {:>8} {:>22} {:>8}", "class", "support", "recall", "", "F1", "p");
    text.push_str(&format!("{}\n", paint.dim(&heading)));
    for (name, class) in names.iter().zip(&comparison.classes) {
        let change = class.recall[1] - class.recall[0];
        let change_text = format!("{:>+8.2}", change * 100.0);
        let change_text = match class.p_value < SIGNIFICANCE {
            true if change < 0.0 => paint.red(&change_text),
            true => paint.green(&change_text),
            false => change_text,
        };
        text.push_str(&format!(
            "{name:<width$} {:>9} {:>9.2} % → {:>6.2} % {change_text} {:>11.4} → {:>8.4} {:>8.3}\n",
            grouped(class.support as usize),
            class.recall[0] * 100.0,
            class.recall[1] * 100.0,
            class.f1[0],
            class.f1[1],
            class.p_value
        ));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::Predictions;

    /// A classifier of two classes that is right on these of 1,000 samples.
    fn right_on(range: std::ops::Range<usize>) -> Predictions {
        let mut predictions = Predictions::new(2);
        (0..1000).for_each(|index| predictions.push(0, if range.contains(&index) { &[0.9, 0.1] } else { &[0.1, 0.9] }));
        predictions
    }

    #[test]
    fn the_verdict_names_the_better_one_only_if_chance_does_not_explain_it() {
        let names = ["m/1".to_owned(), "m/2".to_owned()];
        let say = |a, b| verdict(&names, &Comparison::of(&right_on(a), &right_on(b)));
        assert_eq!(say(0..976, 0..979), "Neither is shown to be better: 97.6 % against 97.9 %, p = 0.25.");
        assert_eq!(say(0..940, 0..980), "m/2 is better: 98.0 % against 94.0 %, p < 0.0001.");
        assert_eq!(say(0..980, 0..970), "m/1 is better: 98.0 % against 97.0 %, p = 0.0020.");
        assert_eq!(say(0..976, 0..976), "m/1 and m/2 are right and wrong on the same samples.");
        assert!(say(0..500, 500..1000).contains("50.0 % against 50.0 %, p = "), "{}", say(0..500, 500..1000));
    }
}
