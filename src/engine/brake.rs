//! Ends a run from another thread, where the engine can.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ort::session::RunOptions;

use crate::error::{Error, Result};

/// A brake for runs. Once pulled, no run under it begins, and one of ONNX Runtime that is under way ends before its
/// next node or its next round of a loop. The built-in engine finishes the run that it has begun.
#[derive(Debug, Default)]
pub struct Brake(Mutex<State>);

#[derive(Debug, Default)]
enum State {
    #[default]
    Free,
    /// A run of ONNX Runtime is under way.
    Running(Arc<Handle>),
    Pulled,
}

/// The handle of a run of ONNX Runtime.
pub(super) struct Handle(pub(super) RunOptions);

impl Handle {
    /// Makes a handle, which serves one run after the other until it has ended one.
    ///
    /// # Errors
    /// [`Error::Internal`] when the library makes none.
    pub(super) fn new() -> Result<Arc<Self>> {
        let made = RunOptions::new().map(|options| Arc::new(Self(options)));
        made.map_err(|error| Error::internal("the model failed", error.message().to_owned()))
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle").finish_non_exhaustive()
    }
}

impl Brake {
    /// Ends the run that is under way, and every later one.
    pub fn pull(&self) {
        if let State::Running(handle) = std::mem::replace(&mut *self.lock(), State::Pulled)
            && let Err(error) = handle.0.terminate()
        {
            tracing::warn!(error = error.message(), "ONNX Runtime does not end a run");
        }
    }

    /// Returns true once it was pulled.
    pub fn is_pulled(&self) -> bool {
        matches!(*self.lock(), State::Pulled)
    }

    /// Takes the run that is about to begin; false if it must not begin.
    pub(super) fn engage(&self, handle: &Arc<Handle>) -> bool {
        let mut state = self.lock();
        let is_free = !matches!(*state, State::Pulled);
        if is_free {
            *state = State::Running(handle.clone());
        }
        is_free
    }

    /// Lets go of the run that has ended. False if it was pulled meanwhile: the handle is used up then.
    pub(super) fn release(&self) -> bool {
        let mut state = self.lock();
        let is_free = !matches!(*state, State::Pulled);
        if is_free {
            *state = State::Free;
        }
        is_free
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Each change is one assignment.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
