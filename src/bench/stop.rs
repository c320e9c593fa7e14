//! The request to end a run early.

use std::sync::Arc;

use tokio::sync::watch;

/// A handle that asks a run to end. Clones ask the same run.
#[derive(Debug, Clone)]
pub struct Stop(Arc<watch::Sender<bool>>);

impl Default for Stop {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(false)))
    }
}

impl Stop {
    /// Asks the run to end. Returns true the first time.
    pub fn ask(&self) -> bool {
        !self.0.send_replace(true)
    }

    /// Returns true if the run was asked to end.
    pub fn is_asked(&self) -> bool {
        *self.0.borrow()
    }

    /// Resolves when the run is asked to end.
    pub(super) async fn asked(&self) {
        // The sender lives as long as this, so the only way out is the one wanted.
        drop(self.0.subscribe().wait_for(|asked| *asked).await);
    }
}
