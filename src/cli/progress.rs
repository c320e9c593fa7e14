//! Progress of long work: a bar on a terminal, plain lines elsewhere.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::error::Error;
use crate::trainer::{EpochReport, Network, PreparedData, Regime, StepReport};

/// Plain output says something at least this often.
const PLAIN_INTERVAL: Duration = Duration::from_secs(10);

/// Steps between two updates of the bar.
const BAR_STEPS: usize = 25;

/// Prints an error as one line on standard error, red on a terminal. A run that was asked to stop has not failed.
pub(super) fn error_line(error: &Error) {
    match error {
        // With standard error closed there is no way left to say anything.
        Error::Interrupted { .. } => drop(writeln!(std::io::stderr(), "{error}")),
        failure => complaint(&failure.to_string()),
    }
}

/// Prints a problem that is no [`enum@Error`] as one line on standard error.
pub(super) fn complaint(what: &str) {
    let mut err = std::io::stderr().lock();
    let (red, plain) = if std::io::stderr().is_terminal() { ("\x1b[1;31m", "\x1b[0m") } else { ("", "") };
    // With standard error closed there is no way left to say anything.
    drop(writeln!(err, "{red}error:{plain} {what}"));
}

/// Prints what was found out about the data as one line on standard error.
pub(super) fn note(what: &str) {
    // With standard error closed there is no way left to say anything.
    drop(writeln!(std::io::stderr().lock(), "note: {what}"));
}

/// Returns the accuracy in words; empty without one.
pub(super) fn accuracy(share: Option<f64>) -> String {
    share.map_or_else(String::new, |share| format!(" accuracy {:.2} %", share * 100.0))
}

/// Parameters from which on a network is called large, in all and for each sample.
const LARGE: usize = 1_000_000;
const LARGE_FOR_A_SAMPLE: usize = 1_000;

/// Shows a training run on standard error.
#[derive(Debug)]
pub(super) struct TrainingProgress {
    epochs: usize,
    quiet: bool,
    bar: Option<ProgressBar>,
    spoken: Instant,
}

impl TrainingProgress {
    pub(super) fn new(epochs: usize, quiet: bool) -> Self {
        Self { epochs, quiet, bar: None, spoken: Instant::now() }
    }

    /// Shows the network before the first step: layers, shapes, parameters, multiply-adds.
    pub(super) fn summary(&self, networks: &[&Network], data: &PreparedData, regime: &Regime) {
        data.source.notes.iter().for_each(|note| self.say(note));
        let mut parameters = 0;
        let mut multiply_adds = 0;
        self.say(&format!("{:<20} {:>16} {:>12} {:>14}", "layer", "output", "parameters", "multiply-adds"));
        for layer in networks.iter().flat_map(|network| network.layers()) {
            parameters += layer.parameters;
            multiply_adds += layer.multiply_adds;
            let output = format!("{:?}", layer.output);
            self.say(&format!(
                "{:<20} {output:>16} {:>12} {:>14}",
                layer.spec.name(),
                grouped(layer.parameters),
                grouped(layer.multiply_adds)
            ));
        }
        self.say(&format!("{:<20} {:>16} {:>12} {:>14}", "total", "", grouped(parameters), grouped(multiply_adds)));
        let what = data.train.kind.plural();
        let [training, validation] = [&data.train, &data.validation].map(|part| grouped(part.len()));
        self.say(&format!("training on {training} {what}, {validation} held out for validation"));
        if !data.is_solved() && regime.has_too_few(data.validation.len()) {
            self.say(&format!(
                "{validation} samples are too few to choose an epoch by: the last one is taken, unless keep_best_from, which \
                 is {}, is set to less",
                regime.keep_best_from
            ));
        }
        if parameters > LARGE && parameters > LARGE_FOR_A_SAMPLE * data.train.len() {
            let smaller = if data.train.is_images() { "; --image-size HxW makes pictures smaller" } else { "" };
            self.say(&format!(
                "warning: {} parameters for {training} {what}: the network can learn these by heart{smaller}",
                grouped(parameters)
            ));
        }
    }

    pub(super) fn step(&mut self, report: &StepReport) {
        if self.quiet {
            return;
        }
        let accuracy = accuracy(report.accuracy);
        let bar = self.bar.get_or_insert_with(|| bar(report, self.epochs));
        let last = report.step == report.steps;
        if !bar.is_hidden() {
            if report.step.is_multiple_of(BAR_STEPS) || last {
                bar.set_position(report.step as u64);
                bar.set_message(format!(
                    "loss {:.4}{}  {} samples/s",
                    report.loss,
                    accuracy,
                    grouped(report.samples_per_second as usize)
                ));
            }
        } else if self.spoken.elapsed() >= PLAIN_INTERVAL && !last {
            self.spoken = Instant::now();
            self.say(&format!(
                "epoch {}/{}  {:.0} %  loss {:.4}{}  {} samples/s",
                report.epoch,
                self.epochs,
                100.0 * report.step as f64 / report.steps as f64,
                report.loss,
                accuracy,
                grouped(report.samples_per_second as usize)
            ));
        }
    }

    pub(super) fn epoch(&mut self, report: &EpochReport) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
        let validation = report.validation.map_or_else(String::new, |score| {
            format!("  validation loss {:.4}{}", score.loss, accuracy(score.accuracy))
        });
        self.say(&format!(
            "epoch {}/{}  loss {:.4}{}{validation}  {} samples/s  {:.1} s",
            report.epoch,
            self.epochs,
            report.loss,
            accuracy(report.accuracy),
            grouped(report.samples_per_second as usize),
            report.duration_seconds
        ));
        self.spoken = Instant::now();
    }

    pub(super) fn say(&self, line: &str) {
        if !self.quiet {
            // Progress is for whoever watches; if nobody can, training goes on.
            drop(writeln!(std::io::stderr().lock(), "{line}"));
        }
    }
}

fn bar(report: &StepReport, epochs: usize) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(report.steps as u64), ProgressDrawTarget::stderr());
    let template = "{prefix} {bar:30.cyan/dim} {percent:>3} %  {msg}  ETA {eta}";
    bar.set_style(
        ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("━━╌"),
    );
    bar.set_prefix(format!("epoch {}/{epochs}", report.epoch));
    bar
}

/// 101770 → 101,770
pub(super) fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::grouped;

    #[test]
    fn digits_are_grouped_in_threes() {
        for (number, text) in [(0, "0"), (999, "999"), (1000, "1,000"), (101_770, "101,770"), (1_000_000, "1,000,000")]
        {
            assert_eq!(grouped(number), text);
        }
    }
}
