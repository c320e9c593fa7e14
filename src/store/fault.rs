//! What the errors of a database mean.

use std::path::{Path, PathBuf};

use crate::error::Error;

/// A cause for the log.
type Cause = Box<dyn std::error::Error + Send + Sync>;

/// Why the database did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    /// The disk is full, or the file may not grow.
    #[error("the disk is full: {0}")]
    Full(Cause),
    /// Others use it for too long.
    #[error("it is in use: {0}")]
    Busy(Cause),
    /// The disk fails, or nothing may be written.
    #[error("it cannot be read or written: {0}")]
    Io(Cause),
    /// The file is damaged.
    #[error("it is damaged: {0}")]
    Corrupt(Cause),
    /// The server is not there.
    #[error("it cannot be reached: {0}")]
    Unreachable(Cause),
    /// It cannot be used at all.
    #[error("{0}")]
    Unusable(String),
}

pub(super) type Outcome<T> = Result<T, Fault>;

impl Fault {
    /// The name of the kind in metrics.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Full(_) => "full",
            Self::Busy(_) => "busy",
            Self::Corrupt(_) => "corrupt",
            Self::Io(_) => "io",
            Self::Unreachable(_) => "unreachable",
            Self::Unusable(_) => "unusable",
        }
    }

    /// Returns true if a new connection may help.
    pub(super) fn ends_connection(&self) -> bool {
        match self {
            Self::Io(_) | Self::Corrupt(_) | Self::Unreachable(_) | Self::Unusable(_) => true,
            Self::Full(_) | Self::Busy(_) => false,
        }
    }

    /// Returns the error for a client whose feedback was not kept.
    pub(super) fn for_client(&self) -> Error {
        let full = |cause: &str| Error::StorageFull { kept: 0, cause: cause.into() };
        let reason = match self {
            Self::Full(_) => return full("the server's disk is full; send it again later"),
            Self::Io(_) => return full("the server's disk fails; send it again later"),
            Self::Busy(_) => "others use it for too long",
            Self::Corrupt(_) => "it was damaged and begins anew",
            Self::Unreachable(_) => "it cannot be reached",
            Self::Unusable(_) => "it cannot be used; the server's log says why",
        };
        Error::NotReady { reason: format!("the store of predictions: {reason}; nothing was kept") }
    }
}

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Self {
        let code = error.sqlite_error().map(|failure| failure.extended_code & 0xff);
        match code {
            Some(13) => Self::Full(error.into()),
            Some(5 | 6) => Self::Busy(error.into()),
            Some(8 | 10 | 14) => Self::Io(error.into()),
            Some(11 | 26) => Self::Corrupt(error.into()),
            _ => Self::Unusable(error.to_string()),
        }
    }
}

impl From<postgres::Error> for Fault {
    fn from(error: postgres::Error) -> Self {
        let code = error.code().map(|code| code.code().to_owned());
        match code.as_deref() {
            Some("53100") => Self::Full(error.into()),
            // Connections end, the server goes away.
            Some(code) if code.starts_with("08") || code.starts_with("57") => Self::Unreachable(error.into()),
            // Deadlocks, too many connections, locks.
            Some(code) if code.starts_with("40") || code.starts_with("53") || code.starts_with("55") => {
                Self::Busy(error.into())
            }
            Some(_) => Self::Unusable(error.to_string()),
            None => Self::Unreachable(error.into()),
        }
    }
}

impl From<Error> for Fault {
    /// What was read makes no sense.
    fn from(error: Error) -> Self {
        Self::Corrupt(error.into())
    }
}

/// Renames a damaged database and what belongs to it, so that a new one can begin. What was set aside before stays.
pub(super) fn set_aside(path: &Path) {
    let time = jiff::Timestamp::now().as_second();
    let name = |tail: String| {
        let mut name = path.as_os_str().to_owned();
        name.push(tail);
        PathBuf::from(name)
    };
    let of_time = |time: i64| name(format!(".corrupt-{time}"));
    let time = (time..).find(|time| !of_time(*time).exists()).unwrap_or(time);
    for suffix in ["", "-wal", "-shm"] {
        let (from, to) = (name(suffix.to_owned()), name(format!(".corrupt-{time}{suffix}")));
        match std::fs::rename(&from, &to) {
            Ok(()) => tracing::error!(from = %from.display(), to = %to.display(), "the damaged store was set aside"),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => tracing::error!(path = %from.display(), %error, "the damaged store cannot be set aside"),
        }
    }
}
