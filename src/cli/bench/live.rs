//! Progress while a step runs: a bar on a terminal, nothing elsewhere.

use std::io::IsTerminal;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam_channel::{RecvTimeoutError, Sender, bounded};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::super::progress::grouped;
use crate::bench::Live;

/// The bar moves this often.
const TICK: Duration = Duration::from_millis(100);

/// The expected length of a step.
#[derive(Debug, Clone)]
pub(super) struct Expected {
    pub(super) name: String,
    pub(super) warmup: Duration,
    pub(super) duration: Option<Duration>,
    pub(super) requests: Option<u64>,
}

/// A bar that moves until this is dropped.
#[derive(Debug)]
pub(super) struct Bar {
    done: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Bar {
    /// Shows a step on standard error, if that is a terminal.
    pub(super) fn show(expected: Expected, live: Arc<Live>, quiet: bool) -> Self {
        if quiet || !std::io::stderr().is_terminal() {
            return Self { done: None, thread: None };
        }
        let (done, ended) = bounded(0);
        let draw = move || {
            let (bar, begun) = (bar(&expected), Instant::now());
            let mut before = (begun, 0);
            while ended.recv_timeout(TICK) == Err(RecvTimeoutError::Timeout) {
                let (now, count) = (Instant::now(), live.done());
                let rate = (count - before.1) as f64 / (now - before.0).as_secs_f64();
                before = (now, count);
                update(&bar, &expected, now - begun, &live, rate);
            }
            bar.finish_and_clear();
        };
        // Without a thread there is no bar, and the run goes on.
        Self { done: Some(done), thread: thread::Builder::new().name("bench-bar".into()).spawn(draw).ok() }
    }
}

fn bar(expected: &Expected) -> ProgressBar {
    let length = match (expected.duration, expected.requests) {
        (Some(duration), None) => (expected.warmup + duration).as_millis() as u64,
        (_, requests) => requests.unwrap_or(1),
    };
    let bar = ProgressBar::with_draw_target(Some(length), ProgressDrawTarget::stderr());
    let template = "{prefix} {bar:30.cyan/dim} {percent:>3} %  {msg}";
    bar.set_style(
        ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("━━╌"),
    );
    bar.set_prefix(expected.name.clone());
    bar
}

fn update(bar: &ProgressBar, expected: &Expected, elapsed: Duration, live: &Live, rate: f64) {
    let position = if expected.requests.is_some() { live.done() } else { elapsed.as_millis() as u64 };
    bar.set_position(position.min(bar.length().unwrap_or(position)));
    let over = expected.duration.is_some_and(|duration| elapsed > expected.warmup + duration + 2 * TICK);
    let phase = match () {
        () if elapsed < expected.warmup => "warm-up  ",
        () if over => "waiting for the last answers  ",
        () => "",
    };
    let failed = match live.failed() {
        0 => String::new(),
        count => format!("  {} failed", grouped(count as usize)),
    };
    bar.set_message(format!("{phase}{}/s{failed}", grouped(rate as usize)));
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.done.take();
        if let Some(thread) = self.thread.take() {
            // If drawing failed there is nothing to clear.
            drop(thread.join());
        }
    }
}
