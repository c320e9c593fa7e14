//! Results as text for people.

use super::super::paint::{Paint, bar};
use super::super::progress::grouped;
use crate::bench::{EngineStep, Latencies, Load, Percentiles, Step, Verdict};

/// Rows of the text histogram and the columns of its longest bar.
const BINS: usize = 10;
const BAR_COLUMNS: f64 = 40.0;

/// Everything about one step against a server.
pub(super) fn step(step: &Step, paint: Paint) -> String {
    let mut text = String::new();
    let count = |count: u64| grouped(count as usize);
    let mut row = |name: &str, what: String| text.push_str(&format!("{name:<12} {what}\n"));
    row("requests", format!("{}  in {}", count(step.requests), seconds(step.seconds)));
    row("throughput", format!("{} requests/s", paint.bold(&rate(step.requests_per_second))));
    if step.good != step.requests || step.unsent > 0 {
        let share = step.good as f64 / (step.requests + step.unsent).max(1) as f64 * 100.0;
        let goodput = format!("{} good answers/s, {:.2} % of requests", rate(step.good_per_second), share);
        row("goodput", paint.red(&goodput));
    }
    row("statuses", counts(step.statuses.iter().map(|(status, count)| (status.as_str(), *count))));
    let errors = step.errors;
    let kinds = [
        ("connect", errors.connect),
        ("timeout", errors.timeout),
        ("reset", errors.reset),
        ("protocol", errors.protocol),
    ];
    if errors.total() > 0 {
        row("errors", paint.red(&counts(kinds.into_iter())));
    }
    row("bodies", format!("{} sent, {} received", bytes(step.body_bytes_sent), bytes(step.body_bytes_received)));
    if let Some(problem) = &step.first_problem {
        row("first error", paint.red(problem));
    }
    if let Some(note) = rate_note(step) {
        row("rate", paint.red(&note));
    }
    if let Some(delay) = step.send_delay_ms {
        row("send delay", format!("p50 {} ms, p99 {} ms (part of the latency)", ms(delay.p50), ms(delay.p99)));
    }
    if step.unfinished > 0 {
        row("unfinished", format!("{} requests were under way at the stop and are not counted", step.unfinished));
    }
    text.push('\n');
    text.push_str(&latencies(step.latency_ms.as_ref(), &step.latencies, paint));
    text
}

/// The percentiles and the histogram.
fn latencies(rows: Option<&Percentiles>, all: &Latencies, paint: Paint) -> String {
    let Some(rows) = rows else { return "no good answers, so no latencies\n".into() };
    let mut text = format!("{:<12}", "latency (ms)");
    for name in ["min", "mean", "p50", "p90", "p95", "p99", "p99.9", "max"] {
        text.push_str(&format!("{name:>9}"));
    }
    text.push_str(&format!("\n{:<12}", ""));
    for value in [rows.min, rows.mean, rows.p50, rows.p90, rows.p95, rows.p99, rows.p99_9, rows.max] {
        text.push_str(&paint.bold(&format!("{:>9}", ms(value))));
    }
    text.push_str("\n\n");
    text.push_str(&histogram(rows, all));
    text
}

/// Bars over bins whose edges have a constant ratio.
fn histogram(rows: &Percentiles, all: &Latencies) -> String {
    let bins = all.bins(BINS);
    let most = bins.iter().map(|bin| bin.count).max().unwrap_or(0).max(1) as f64;
    let mut text = String::new();
    for (index, bin) in bins.iter().enumerate() {
        let share = bin.count as f64 / all.len().max(1) as f64 * 100.0;
        let inside = |value: f64| (index == 0 || value > bin.from_ms) && value <= bin.to_ms * (1.0 + 1e-9);
        let marks: String = [("p50", rows.p50), ("p99", rows.p99)]
            .iter()
            .filter(|(_, value)| inside(*value))
            .map(|(name, _)| format!(" ← {name}"))
            .collect();
        let range = format!("{} – {}", ms(bin.from_ms), ms(bin.to_ms));
        let columns = bin.count as f64 / most * BAR_COLUMNS;
        let line = format!("{range:>21}  {:<40} {share:>5.1} %{marks}", bar(columns));
        text.push_str(&format!("{line}\n"));
    }
    text
}

/// The heading of the table of a sweep or a search.
pub(super) fn heading(load: &str, throughput: &str) -> String {
    format!(
        "{load:>11} {throughput:>12} {:>12} {:>9} {:>9} {:>9} {:>9} {:>9}\n",
        "good/s", "p50 ms", "p90 ms", "p99 ms", "max ms", "failed"
    )
}

/// One row of it.
pub(super) fn row(step: &Step, paint: Paint) -> String {
    let load = match step.load {
        Load::Closed { connections } => grouped(connections),
        Load::Open { rate: asked, .. } => rate(asked),
    };
    let picks = percentile_cells(step.latency_ms.as_ref());
    let failed = format!("{:>9}", grouped(step.failed() as usize));
    let failed = if step.failed() > 0 { paint.red(&failed) } else { failed };
    let late = if step.rate_kept == Some(false) { paint.red("  rate not kept") } else { String::new() };
    format!(
        "{load:>11} {:>12} {:>12} {picks} {failed}{}{late}\n",
        rate(step.requests_per_second),
        rate(step.good_per_second),
        mark(step.slo.as_ref(), paint)
    )
}

/// The heading of the table of batches.
pub(super) fn engine_heading() -> String {
    format!(
        "{:>7} {:>12} {:>12} {:>9} {:>9} {:>9} {:>9} {:>14}\n",
        "batch", "samples/s", "runs/s", "p50 ms", "p90 ms", "p99 ms", "max ms", "µs for a sample"
    )
}

/// One row of it.
pub(super) fn engine_row(step: &EngineStep, paint: Paint) -> String {
    let picks = percentile_cells(step.latency_ms.as_ref());
    let each = step.latency_ms.map_or(0.0, |rows| rows.p50 * 1e3 / step.batch as f64);
    format!(
        "{:>7} {} {:>12} {picks} {:>14}{}\n",
        step.batch,
        paint.bold(&format!("{:>12}", rate(step.samples_per_second))),
        rate(step.runs_per_second),
        ms(each),
        mark(step.slo.as_ref(), paint)
    )
}

fn percentile_cells(rows: Option<&Percentiles>) -> String {
    let Some(rows) = rows else { return format!("{:>9} {:>9} {:>9} {:>9}", "-", "-", "-", "-") };
    format!("{:>9} {:>9} {:>9} {:>9}", ms(rows.p50), ms(rows.p90), ms(rows.p99), ms(rows.max))
}

fn mark(verdict: Option<&Verdict>, paint: Paint) -> String {
    match verdict {
        Some(verdict) if verdict.met => format!("  {}", paint.green("met")),
        Some(_) => format!("  {}", paint.red("missed")),
        None => String::new(),
    }
}

/// A verdict, a line for each term.
pub(super) fn verdict(verdict: &Verdict, paint: Paint) -> String {
    let mut text = String::new();
    for term in &verdict.terms {
        let measured = match term.measured {
            Some(value) => format!("{} {}", ms(value), term.unit),
            None => "too many requests failed".into(),
        };
        let met = if term.met { paint.green("met") } else { paint.red("missed") };
        text.push_str(&format!("{:<12} {} {met}: {measured}\n", "slo", term.term));
    }
    text
}

/// Why an open loop did not do what it was asked to.
fn rate_note(step: &Step) -> Option<String> {
    let Load::Open { rate: asked, connections, .. } = step.load else { return None };
    (step.rate_kept == Some(false)).then(|| {
        format!(
            "{} requests/s could NOT be kept: {} never sent, up to {} waiting for one of {connections} connections",
            rate(asked),
            grouped(step.unsent as usize),
            grouped(step.backlog_max as usize)
        )
    })
}

fn counts<'a>(pairs: impl Iterator<Item = (&'a str, u64)>) -> String {
    let some: Vec<_> = pairs
        .filter(|(_, count)| *count > 0)
        .map(|(name, count)| format!("{name}: {}", grouped(count as usize)))
        .collect();
    if some.is_empty() { "none".into() } else { some.join(", ") }
}

/// A number of three significant digits.
pub(super) fn ms(value: f64) -> String {
    match value {
        1000.0.. => grouped(value.round() as usize),
        100.0.. => format!("{value:.0}"),
        10.0.. => format!("{value:.1}"),
        1.0.. => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

/// A rate; its fraction matters only when it is small.
pub(super) fn rate(value: f64) -> String {
    if value < 100.0 { format!("{value:.1}") } else { grouped(value.round() as usize) }
}

fn seconds(value: f64) -> String {
    match value {
        10.0.. => format!("{value:.1} s"),
        1.0.. => format!("{value:.2} s"),
        _ => format!("{} ms", ms(value * 1e3)),
    }
}

fn bytes(count: u64) -> String {
    let count = count as f64;
    match count {
        1e9.. => format!("{:.2} GB", count / 1e9),
        1e6.. => format!("{:.1} MB", count / 1e6),
        1e3.. => format!("{:.1} kB", count / 1e3),
        _ => format!("{count} B"),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn numbers_are_readable() {
        for (value, text) in [(0.0, "0.000"), (0.7344, "0.734"), (1.824, "1.82"), (99.94, "99.9"), (1234.5, "1,235")] {
            assert_eq!(ms(value), text);
        }
        assert_eq!((rate(3.25), rate(37_120.4)), ("3.2".to_owned(), "37,120".to_owned()));
        assert_eq!((bytes(12), bytes(77_912_345)), ("12 B".to_owned(), "77.9 MB".to_owned()));
    }

    #[test]
    fn bars_are_in_proportion_and_few_is_not_none() {
        assert_eq!(bar(0.0), "");
        assert_eq!(bar(0.01), "▏");
        assert_eq!(bar(2.5), "██▌");
        assert_eq!(bar(BAR_COLUMNS).chars().count(), 40);
    }

    #[test]
    fn the_histogram_holds_all_and_marks_the_percentiles() {
        let mut latencies = Latencies::new().unwrap();
        (1..=1000).for_each(|value| latencies.record(Duration::from_micros(value)));
        let text = histogram(&latencies.percentiles().unwrap(), &latencies);
        assert_eq!(text.lines().count(), BINS);
        assert_eq!((text.matches("p50").count(), text.matches("p99").count()), (1, 1));
    }
}
