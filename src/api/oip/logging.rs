//! The logging extension: what is logged, changed while the server runs.

use serde::Serialize;

use super::parameters::Parameter;
use crate::api::state::ApiState;
use crate::error::{Error, Result};
use crate::ids::quote;
use crate::telemetry::LogLevels;

/// The one format of times there is.
const FORMAT: &str = "ISO8601";

/// The settings of the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct LogSettings {
    /// Always empty: the log goes to standard error.
    pub(crate) log_file: &'static str,
    /// Set if informative lines are logged.
    pub(crate) log_info: bool,
    /// Set if warnings are logged.
    pub(crate) log_warning: bool,
    /// Set if errors are logged.
    pub(crate) log_error: bool,
    /// 1 and more for debugging, 2 and more for everything.
    pub(crate) log_verbose_level: u32,
    /// The format of times.
    pub(crate) log_format: &'static str,
}

/// Returns the settings in force.
pub(crate) fn logging_settings(state: &ApiState) -> LogSettings {
    shown(state.log().levels())
}

fn shown(levels: LogLevels) -> LogSettings {
    LogSettings {
        log_file: "",
        log_info: levels.info,
        log_warning: levels.warning,
        log_error: levels.error,
        log_verbose_level: levels.verbose,
        log_format: FORMAT,
    }
}

/// Changes what is logged, all of it or nothing.
///
/// # Errors
/// [`Error::Malformed`] for a value that cannot be or a setting that there is not, [`Error::InvalidInput`]
/// for one that is not supported.
pub(crate) fn change_logging(state: &ApiState, change: Vec<(String, Parameter)>) -> Result<LogSettings> {
    let mut levels = state.log().levels();
    for (key, value) in change {
        match key.as_str() {
            "log_info" => levels.info = value.boolean(&key)?,
            "log_warning" => levels.warning = value.boolean(&key)?,
            "log_error" => levels.error = value.boolean(&key)?,
            "log_verbose_level" => levels.verbose = u32::try_from(value.size(&key)?).unwrap_or(u32::MAX),
            "log_file" if value == Parameter::Text(String::new()) => {}
            "log_file" => {
                return Err(Error::InvalidInput("the log goes to standard error and not to a \"log_file\"".into()));
            }
            "log_format" if value == Parameter::Text(FORMAT.into()) => {}
            "log_format" => return Err(Error::InvalidInput(format!("the \"log_format\" can only be {FORMAT}"))),
            _ => {
                let key = quote(&key);
                return Err(Error::Malformed(format!(
                    "there is no log setting {key}; there are log_info, log_warning, log_error, log_verbose_level"
                )));
            }
        }
    }
    state.log().set(levels)?;
    Ok(shown(levels))
}
