//! The commands of the admin API, and those who wait for an answer.

use tokio::sync::oneshot;

use super::Pointed;
use crate::error::Result;
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

impl Waiter {
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
