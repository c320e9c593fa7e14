//! The commands of the admin API, and those who wait for an answer.

use tokio::sync::oneshot;

use super::Pointed;
use crate::error::{Error, Result};
use crate::ids::{AliasName, ModelName, Version};
use crate::repository::Overrides;

/// A command to the owner.
#[derive(Debug)]
pub(super) enum Command {
    Refresh {
        reply: oneshot::Sender<Result<()>>,
    },
    Promote {
        model: ModelName,
        alias: AliasName,
        version: Version,
        expected: Option<Version>,
        /// Also if callers would find it changed.
        allow_changes: bool,
        reply: oneshot::Sender<Result<Pointed>>,
    },
    Rollback {
        model: ModelName,
        alias: AliasName,
        reply: oneshot::Sender<Result<Pointed>>,
    },
    Load {
        model: ModelName,
        version: Option<Version>,
        overrides: Overrides,
        reply: oneshot::Sender<Result<Vec<Version>>>,
    },
    Unload {
        model: ModelName,
        version: Option<Version>,
        reply: oneshot::Sender<Result<Vec<Version>>>,
    },
}

/// A caller that waits for an answer.
#[derive(Debug)]
pub(super) enum Waiter {
    /// Until a look is done and all is quiet.
    Refresh { asked: u64, reply: oneshot::Sender<Result<()>> },
    /// Until a look is done, and then until the versions serve.
    Load {
        model: ModelName,
        version: Option<Version>,
        overrides: Overrides,
        asked: u64,
        applied: bool,
        reply: oneshot::Sender<Result<Vec<Version>>>,
    },
    /// Until the versions are out of service and their memory is free.
    Unload { model: ModelName, versions: Vec<Version>, reply: oneshot::Sender<Result<Vec<Version>>> },
}

/// Returns the error of a command that a fault of the manager has ended.
pub(super) fn given_up() -> Error {
    Error::NotReady {
        reason: "the manager of versions failed and begins anew; look at GET /models, then try again".into(),
    }
}

impl Waiter {
    /// Tells the caller that a fault has ended its wait.
    pub(super) fn give_up(self) {
        // A caller who has left needs no answer.
        match self {
            Self::Refresh { reply, .. } => drop(reply.send(Err(given_up()))),
            Self::Load { reply, .. } | Self::Unload { reply, .. } => drop(reply.send(Err(given_up()))),
        }
    }

    /// Returns the model whose folder it wants looked at.
    pub(super) fn model(&self) -> Option<&ModelName> {
        match self {
            Self::Load { model, .. } => Some(model),
            Self::Refresh { .. } | Self::Unload { .. } => None,
        }
    }

    pub(super) fn is_abandoned(&self) -> bool {
        match self {
            Self::Refresh { reply, .. } => reply.is_closed(),
            Self::Load { reply, .. } | Self::Unload { reply, .. } => reply.is_closed(),
        }
    }
}
