//! Logs, and what becomes of a panic.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::config::{LogConfig, LogFormat};
use crate::error::{Error, Result};

/// Sends log lines to standard error, and panics to the log as one line without their payload.
///
/// # Errors
/// [`Error::Config`] when the filter does not parse or logging was set up before.
pub fn init(config: &LogConfig) -> Result<()> {
    let refuse = |problem: String| Error::Config { setting: "log".into(), problem };
    let filter = EnvFilter::try_new(&config.filter).map_err(|error| refuse(format!("{:?}: {error}", config.filter)))?;
    let terminal = std::io::stderr().is_terminal();
    let json = match config.format {
        LogFormat::Auto => !terminal,
        LogFormat::Text => false,
        LogFormat::Json => true,
    };
    // A reader that has gone away, or a full disk behind it, costs log lines and not the service.
    let builder = fmt()
        .log_internal_errors(false)
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(terminal && !json);
    let installed = if json {
        builder.json().flatten_event(true).with_current_span(false).with_span_list(false).finish().try_init()
    } else {
        builder.with_target(false).finish().try_init()
    };
    installed.map_err(|error| refuse(error.to_string()))?;
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        let thread = std::thread::current().name().unwrap_or("unnamed").to_owned();
        tracing::error!(place, thread, "panic");
    }));
    Ok(())
}
