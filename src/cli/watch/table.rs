//! Tables and lines of figures for people.

use super::figures::{Quality, Row};
use super::{Alarm, Look};
use crate::cli::paint::Paint;

/// The steps of a line of rates, from none to the most.
const STEPS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// The words for the states of drift, by number.
const DRIFT: [&str; 4] = ["quiet", "changed", "warning", "critical"];

/// Columns of the state of drift.
const DRIFT_WIDTH: usize = 20;

/// Columns of a model's name.
const NAME: usize = 24;

/// Returns the whole view: a row for each version, and the open alarms.
pub(super) fn view(look: &Look, paint: Paint) -> String {
    let head = format!(
        "{:<NAME$} {:>9} {:>9} {:>9} {:>9} {:>7}  {:<32} {:<10} {}",
        "model", "req/s", "failed/s", "p50", "p99", "waiting", "accuracy now", "loss", "drift"
    );
    let mut text = format!("{}\n", paint.bold(head.trim_end()));
    if look.rows.is_empty() {
        text += "no version serves yet\n";
    }
    for (row, rates) in look.rows.iter().zip(&look.rates) {
        let failed = format!("{:>9}", number(row.failures_per_second));
        let failed = if row.failures_per_second > 0.0 { paint.red(&failed) } else { failed };
        let loss = row.quality.as_ref().and_then(|quality| quality.loss).map_or_else(|| "-".into(), number);
        text += &format!(
            "{:<NAME$} {:>9} {failed} {:>9} {:>9} {:>7}  {:<32} {loss:<10} {}  {}\n",
            named(row),
            number(row.per_second),
            row.p50.map_or_else(|| "-".into(), seconds),
            row.p99.map_or_else(|| "-".into(), seconds),
            number(row.waiting),
            row.quality.as_ref().map_or_else(|| "-".into(), accuracy),
            drift(row, DRIFT_WIDTH, paint),
            paint.dim(&spark(rates)),
        );
    }
    for line in alarms(look, paint) {
        text += &format!("{line}\n");
    }
    text
}

/// Returns one line for each version, and one for each alarm, for those who keep them.
pub(super) fn lines(look: &Look, time: &str) -> String {
    let mut text = String::new();
    for row in &look.rows {
        let quality = row.quality.as_ref();
        let told = [
            row.p50.map(|p50| format!("p50 {}", seconds(p50))),
            row.p99.map(|p99| format!("p99 {}", seconds(p99))),
            quality
                .filter(|quality| quality.accuracy.is_some())
                .map(|quality| format!("accuracy {}", accuracy(quality))),
            quality.and_then(|quality| quality.loss).map(|loss| format!("loss {}", number(loss))),
            row.drift.as_ref().map(|_| format!("drift {}", drift(row, 0, Paint(false)))),
        ];
        let told: Vec<String> = told.into_iter().flatten().collect();
        text += &format!(
            "{time} {} {} req/s, {} failed/s, {} waiting{}{}\n",
            named(row),
            number(row.per_second),
            number(row.failures_per_second),
            number(row.waiting),
            if told.is_empty() { "" } else { ", " },
            told.join(", ")
        );
    }
    for line in alarms(look, Paint(false)) {
        text += &format!("{time} {line}\n");
    }
    text
}

fn named(row: &Row) -> String {
    let version = format!("@{}", row.version);
    let room = NAME.saturating_sub(version.len());
    let name: String = match row.model.chars().count() > room {
        true => row.model.chars().take(room.saturating_sub(1)).chain(['…']).collect(),
        false => row.model.clone(),
    };
    name + &version
}

/// Returns the accuracy with its interval, and where it is from.
fn accuracy(quality: &Quality) -> String {
    let Some(accuracy) = quality.accuracy else { return format!("({})", source(quality)) };
    let interval =
        quality.interval.map_or_else(String::new, |(low, high)| format!(" ({:.1}–{:.1})", low * 100.0, high * 100.0));
    format!("{:.1} %{interval} {}", accuracy * 100.0, source(quality))
}

fn source(quality: &Quality) -> String {
    match quality.samples.filter(|_| quality.source.starts_with("feedback")) {
        Some(samples) => format!("{} labels", number(samples)),
        None => quality.source.to_owned(),
    }
}

/// Returns the state of drift in at least so many columns.
fn drift(row: &Row, width: usize, paint: Paint) -> String {
    let Some((state, stream)) = &row.drift else { return format!("{:<width$}", "-") };
    let word = DRIFT[usize::from(*state).min(DRIFT.len() - 1)];
    match state {
        0 => format!("{word:<width$}"),
        1 => format!("{:<width$}", format!("{word}: {stream}")),
        _ => paint.red(&format!("{:<width$}", format!("{word}: {stream}"))),
    }
}

/// Returns a line for each open alarm, or one that says why there are none to show.
fn alarms(look: &Look, paint: Paint) -> Vec<String> {
    let open = look.alarms.iter().flatten().map(|alarm| alarmed(alarm, paint));
    open.chain(look.alarms_problem.iter().map(|problem| paint.dim(&format!("alarms: {problem}")))).collect()
}

fn alarmed(alarm: &Alarm, paint: Paint) -> String {
    let about = alarm.model.as_ref().map_or_else(String::new, |model| format!("{model}: "));
    let known = if alarm.state == "acknowledged" { " (acknowledged)" } else { "" };
    let text = format!("alarm{known}: {about}{}", alarm.summary);
    if known.is_empty() { paint.red(&text) } else { text }
}

/// Returns the rates of the last looks as a line of steps, relative to the highest.
fn spark(rates: &[f64]) -> String {
    let most = rates.iter().copied().fold(0.0, f64::max);
    let step = |rate: &f64| match most > 0.0 {
        true => STEPS[((rate / most * 7.0).round() as usize).min(7)],
        false => STEPS[0],
    };
    rates.iter().map(step).collect()
}

/// Returns a number in at most seven characters up to a million.
fn number(value: f64) -> String {
    match value.abs() {
        0.0 => "0".into(),
        100.0.. => format!("{value:.0}"),
        10.0.. => format!("{value:.1}"),
        1.0.. => format!("{value:.2}").trim_end_matches('0').trim_end_matches('.').to_owned(),
        0.001.. => format!("{value:.3}").trim_end_matches('0').trim_end_matches('.').to_owned(),
        _ => format!("{value:.1e}"),
    }
}

/// Returns a time with the unit that fits it.
fn seconds(value: f64) -> String {
    match value {
        1.0.. => format!("{value:.2} s"),
        0.001.. => format!("{:.1} ms", value * 1e3),
        _ => format!("{:.0} µs", value * 1e6),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look() -> Look {
        let row = Row {
            model: "a-model-with-a-name-that-is-too-long".into(),
            version: 12,
            per_second: 1234.4,
            failures_per_second: 0.5,
            p50: Some(0.000_25),
            p99: Some(0.0123),
            waiting: 0.0,
            quality: Some(Quality {
                source: "feedback",
                accuracy: Some(0.9725),
                interval: Some((0.9651, 0.978)),
                loss: Some(0.0934),
                samples: Some(1204.0),
            }),
            drift: Some((2, "margin".into())),
        };
        let idle = Row {
            model: "b".into(),
            per_second: 0.0,
            failures_per_second: 0.0,
            p50: None,
            p99: None,
            quality: None,
            drift: None,
            ..row.clone()
        };
        let alarm = Alarm { model: Some("b".into()), state: "raised".into(), summary: "it drifts".into() };
        let rates = vec![vec![0.0, 617.0, 1234.0], vec![0.0]];
        Look { rows: vec![row, idle], rates, alarms: Some(vec![alarm]), alarms_problem: None }
    }

    #[test]
    fn a_view_has_a_row_for_each_version_in_columns_that_stand_below_each_other() {
        let text = view(&look(), Paint(false));
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 4, "{text}");
        assert!(
            lines[1].starts_with("a-model-with-a-name-…@12      1234       0.5    250 µs   12.3 ms       0"),
            "{text}"
        );
        assert!(lines[1].contains("97.2 % (96.5–97.8) 1204 labels   0.093      warning: margin       ▁▅█"), "{text}");
        assert!(lines[2].starts_with("b@12"), "{text}");
        assert_eq!(lines[3], "alarm: b: it drifts");
        assert!(!text.contains('\x1b'));
        assert!(view(&look(), Paint(true)).contains("\x1b[1;31mwarning: margin     \x1b[0m"));
        let column = |line: &str, of: &str| line.chars().count() - line.split_once(of).unwrap().1.chars().count();
        assert_eq!(column(lines[0], "accuracy now") - 12, column(lines[1], "97.2 %") - 6, "{text}");
    }

    #[test]
    fn lines_say_only_what_is_known() {
        let text = lines(&look(), "T");
        let told: Vec<&str> = text.lines().collect();
        assert_eq!(
            told[0],
            "T a-model-with-a-name-…@12 1234 req/s, 0.5 failed/s, 0 waiting, p50 250 µs, p99 12.3 ms, accuracy 97.2 % \
             (96.5–97.8) 1204 labels, loss 0.093, drift warning: margin"
        );
        assert_eq!(told[1], "T b@12 0 req/s, 0 failed/s, 0 waiting");
        assert_eq!(told[2], "T alarm: b: it drifts");
        let hidden = Look { alarms: None, alarms_problem: Some("not shown to this caller (403)".into()), ..look() };
        assert!(lines(&hidden, "T").ends_with("\nT alarms: not shown to this caller (403)\n"));
        assert!(view(&hidden, Paint(false)).ends_with("\nalarms: not shown to this caller (403)\n"));
    }
}
