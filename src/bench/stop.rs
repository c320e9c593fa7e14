//! How a person ends a run early.

use std::sync::Arc;

use tokio::sync::watch;

/// Asks a run to end; clones ask the same run.
#[derive(Debug, Clone)]
pub struct Stop(Arc<watch::Sender<bool>>);

impl Default for Stop {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(false)))
    }
}

impl Stop {
    /// Asks; whether this was the first time.
    pub fn ask(&self) -> bool {
        !self.0.send_replace(true)
    }

    /// Whether somebody asked.
    pub fn is_asked(&self) -> bool {
        *self.0.borrow()
    }

    /// Resolves when somebody asks.
    pub(super) async fn asked(&self) {
        // The sender lives as long as this, so the only way out is the one wanted.
        drop(self.0.subscribe().wait_for(|asked| *asked).await);
    }
}
