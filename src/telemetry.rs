//! Logging: format, filters that change at run time, and the log line of a panic.

use std::cell::Cell;
use std::fmt;
use std::io::IsTerminal;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, PoisonError};

use tracing::subscriber::Interest;
use tracing::{Event, Level, Metadata, Subscriber, span};
use tracing_appender::non_blocking::{ErrorCounter, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::layer::{Context, Filter, Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Registry, fmt as lines, reload};

use crate::config::{LogConfig, LogFormat};
use crate::error::{Error, Result};

/// The levels that are logged. Each is switched separately.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogLevels {
    /// True if errors are logged.
    pub error: bool,
    /// True if warnings are logged.
    pub warning: bool,
    /// True if informational events are logged.
    pub info: bool,
    /// The verbosity beyond that: 1 adds debug events, 2 and more add trace events.
    pub verbose: u32,
}

impl LogLevels {
    fn of(filter: &EnvFilter) -> Self {
        let most = filter.max_level_hint().and_then(|hint| hint.into_level());
        let verbose = u32::from(most >= Some(Level::DEBUG)) + u32::from(most >= Some(Level::TRACE));
        let at_least = |level: Level| most >= Some(level);
        Self { error: at_least(Level::ERROR), warning: at_least(Level::WARN), info: at_least(Level::INFO), verbose }
    }

    fn allow(self, level: Level) -> bool {
        match level {
            Level::ERROR => self.error,
            Level::WARN => self.warning,
            Level::INFO => self.info,
            Level::DEBUG => self.verbose >= 1,
            Level::TRACE => self.verbose >= 2,
        }
    }

    /// Returns the most verbose level that is on.
    fn most(self) -> Option<Level> {
        let levels = [Level::TRACE, Level::DEBUG, Level::INFO, Level::WARN, Level::ERROR];
        levels.into_iter().find(|level| self.allow(*level))
    }
}

/// The filter of all lines: directives, and one switch per level.
struct LogFilter {
    directives: EnvFilter,
    levels: LogLevels,
}

impl LogFilter {
    /// Creates the filter of the start. The error says what is wrong with the directives.
    fn first(directives: &str) -> std::result::Result<Self, String> {
        let directives = EnvFilter::try_new(directives).map_err(|error| format!("{directives:?}: {error}"))?;
        let levels = LogLevels::of(&directives);
        Ok(Self { directives, levels })
    }

    /// Creates a filter with the directives of the start, except that our own lines have the given levels.
    fn changed(directives: &str, levels: LogLevels) -> std::result::Result<Self, String> {
        let own = levels.most().map_or("off".to_owned(), |level| level.to_string());
        let Self { directives, .. } = Self::first(&format!("{directives},{}={own}", env!("CARGO_PKG_NAME")))?;
        Ok(Self { directives, levels })
    }
}

impl<S: Subscriber> Filter<S> for LogFilter {
    fn enabled(&self, metadata: &Metadata<'_>, context: &Context<'_, S>) -> bool {
        self.levels.allow(*metadata.level()) && Filter::<S>::enabled(&self.directives, metadata, context)
    }

    fn callsite_enabled(&self, metadata: &'static Metadata<'static>) -> Interest {
        if !self.levels.allow(*metadata.level()) {
            return Interest::never();
        }
        Filter::<S>::callsite_enabled(&self.directives, metadata)
    }

    fn event_enabled(&self, event: &Event<'_>, context: &Context<'_, S>) -> bool {
        Filter::<S>::event_enabled(&self.directives, event, context)
    }

    fn max_level_hint(&self) -> Option<tracing::level_filters::LevelFilter> {
        self.directives.max_level_hint()
    }

    fn on_new_span(&self, attributes: &span::Attributes<'_>, id: &span::Id, context: Context<'_, S>) {
        Filter::<S>::on_new_span(&self.directives, attributes, id, context);
    }

    fn on_record(&self, id: &span::Id, values: &span::Record<'_>, context: Context<'_, S>) {
        Filter::<S>::on_record(&self.directives, id, values, context);
    }

    fn on_enter(&self, id: &span::Id, context: Context<'_, S>) {
        Filter::<S>::on_enter(&self.directives, id, context);
    }

    fn on_exit(&self, id: &span::Id, context: Context<'_, S>) {
        Filter::<S>::on_exit(&self.directives, id, context);
    }

    fn on_close(&self, id: span::Id, context: Context<'_, S>) {
        Filter::<S>::on_close(&self.directives, id, context);
    }
}

type Apply = dyn Fn(LogFilter) -> std::result::Result<(), String> + Send + Sync;

/// Changes the levels that are logged while the process runs.
pub struct LogControl {
    /// The directives given at start.
    directives: String,
    levels: Mutex<LogLevels>,
    apply: Box<Apply>,
    dropped: Option<ErrorCounter>,
}

impl fmt::Debug for LogControl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogControl").field("levels", &self.levels).finish_non_exhaustive()
    }
}

impl LogControl {
    /// Creates a control without a log. It remembers the levels that are set, without effect.
    pub fn detached() -> Self {
        let levels = LogLevels { error: true, warning: true, info: true, verbose: 0 };
        Self { directives: "info".into(), levels: Mutex::new(levels), apply: Box::new(|_| Ok(())), dropped: None }
    }

    /// Returns the levels that are logged.
    pub fn levels(&self) -> LogLevels {
        *self.levels.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the lines that were dropped since the start, because whoever reads the log is too slow.
    pub fn dropped(&self) -> u64 {
        self.dropped.as_ref().map_or(0, |lines| lines.dropped_lines() as u64)
    }

    /// Changes the levels that are logged.
    ///
    /// # Errors
    /// [`Error::Internal`] when the filter cannot be replaced.
    pub fn set(&self, levels: LogLevels) -> Result<()> {
        let mut held = self.levels.lock().unwrap_or_else(PoisonError::into_inner);
        let changed = LogFilter::changed(&self.directives, levels).and_then(|filter| (self.apply)(filter));
        changed.map_err(|problem| Error::internal("the log could not be changed", problem))?;
        *held = levels;
        Ok(())
    }
}

thread_local!(static PANICS_ARE_EXPECTED: Cell<bool> = const { Cell::new(false) });

/// Runs work whose panics are caught and reported by the caller, so that they are no errors in the log.
pub fn expecting_panics<T>(work: impl FnOnce() -> T) -> T {
    let before = PANICS_ARE_EXPECTED.replace(true);
    let done = work();
    PANICS_ARE_EXPECTED.set(before);
    done
}

/// Keeps panics that are expected from being printed, in commands that write no log.
pub fn hush_expected_panics() {
    let print = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if !PANICS_ARE_EXPECTED.get() {
            print(panic);
        }
    }));
}

/// Runs work of a library that may panic on what it is given, and returns what a panic said. The caller drops the state that
/// the work used, so nothing half-changed is seen again.
///
/// # Errors
/// The message of the panic.
pub fn contain<T>(work: impl FnOnce() -> T) -> std::result::Result<T, String> {
    let caught = expecting_panics(|| catch_unwind(AssertUnwindSafe(work)));
    caught.map_err(|panic| {
        let said =
            panic.downcast_ref::<String>().cloned().or_else(|| panic.downcast_ref::<&str>().map(|s| (*s).to_owned()));
        said.unwrap_or_default()
    })
}

/// The lines that wait to be written, beyond which lines are dropped: a few megabytes.
const WAITING_LINES: usize = 8192;

/// The log's writing end. Dropped at the end of the process, it writes what waits, unless nobody reads it.
#[derive(Debug)]
pub struct LogEnd {
    _writer: WorkerGuard,
}

/// Sets up logging to standard error, by a thread of its own: nobody else waits for a reader. A panic becomes one log
/// line without its payload.
///
/// # Errors
/// [`Error::Config`] when the filter is not valid or logging is already set up.
pub fn init(config: &LogConfig) -> Result<(LogControl, LogEnd)> {
    let refuse = |problem: String| Error::Config { setting: "log".into(), problem };
    let filter = LogFilter::first(&config.filter).map_err(refuse)?;
    let levels = filter.levels;
    let terminal = std::io::stderr().is_terminal();
    let json = match config.format {
        LogFormat::Auto => !terminal,
        LogFormat::Text => false,
        LogFormat::Json => true,
    };
    let (filter, handle) = reload::Layer::<LogFilter, Registry>::new(filter);
    // If the reader is gone or slow, or its disk is full, log lines are lost, but the service goes on.
    let (writer, guard) =
        NonBlockingBuilder::default().buffered_lines_limit(WAITING_LINES).thread_name("log").finish(std::io::stderr());
    let dropped = writer.error_counter();
    let layer = lines::layer().log_internal_errors(false).with_writer(writer).with_ansi(terminal && !json);
    let installed = if json {
        let layer = layer.json().flatten_event(true).with_current_span(false).with_span_list(false);
        Registry::default().with(layer.with_filter(filter)).try_init()
    } else {
        Registry::default().with(layer.with_target(false).with_filter(filter)).try_init()
    };
    installed.map_err(|error| refuse(error.to_string()))?;
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        let thread = std::thread::current().name().unwrap_or("unnamed").to_owned();
        if PANICS_ARE_EXPECTED.get() {
            tracing::debug!(place, thread, "a panic in a library");
        } else {
            tracing::error!(place, thread, "panic");
        }
    }));
    let control = LogControl {
        directives: config.filter.clone(),
        levels: Mutex::new(levels),
        apply: Box::new(move |filter| handle.reload(filter).map_err(|error| error.to_string())),
        dropped: Some(dropped),
    };
    Ok((control, LogEnd { _writer: guard }))
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::Arc;

    use super::*;

    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn each_level_is_switched_by_itself_while_it_runs() {
        let sink = Sink::default();
        let (filter, handle) = reload::Layer::<LogFilter, Registry>::new(LogFilter::first("info").unwrap());
        let writer = sink.clone();
        let layer = lines::layer().with_ansi(false).with_writer(move || writer.clone()).with_filter(filter);
        let control = LogControl {
            directives: "info".into(),
            levels: Mutex::new(LogFilter::first("info").unwrap().levels),
            apply: Box::new(move |filter| handle.reload(filter).map_err(|error| error.to_string())),
            dropped: None,
        };
        tracing::subscriber::with_default(Registry::default().with(layer), || {
            let logged = || {
                tracing::error!("an error");
                tracing::warn!("a warning");
                tracing::info!("an event");
                tracing::debug!("a detail");
                let text = String::from_utf8(std::mem::take(&mut *sink.0.lock().unwrap())).unwrap();
                ["an error", "a warning", "an event", "a detail"].map(|line| text.contains(line))
            };
            let start = LogLevels { error: true, warning: true, info: true, verbose: 0 };
            assert_eq!((control.levels(), logged()), (start, [true, true, true, false]));
            control.set(LogLevels { verbose: 1, ..start }).unwrap();
            assert_eq!(logged(), [true, true, true, true]);
            control.set(LogLevels { warning: false, ..start }).unwrap();
            assert_eq!(logged(), [true, false, true, false]);
            control.set(LogLevels { error: false, warning: false, info: false, verbose: 0 }).unwrap();
            assert_eq!(logged(), [false; 4]);
            control.set(start).unwrap();
            assert_eq!(logged(), [true, true, true, false]);
        });
    }

    #[test]
    fn the_levels_at_the_start_are_those_of_the_setting() {
        let levels = |text: &str| LogFilter::first(text).unwrap().levels;
        assert_eq!(levels("warn"), LogLevels { error: true, warning: true, info: false, verbose: 0 });
        assert_eq!(levels("weir=debug,hyper=off").verbose, 1);
        assert_eq!(levels("trace").verbose, 2);
        assert!(!levels("off").error);
        assert!(LogFilter::first("weir=loud").is_err());
    }
}
