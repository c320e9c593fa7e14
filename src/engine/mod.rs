//! What executes a graph. Knows tensors and signatures, nothing of transforms, files or protocols.
//!
//! A [`Plan`] is immutable and shared by all threads; each thread runs it through a [`Session`] of
//! its own, because the engine's working memory is per session and is worth keeping.

mod contain;
mod measure;
mod tract;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

pub use measure::{measure, zeros};

use crate::error::Result;
use crate::signature::Signature;
use crate::tensor::Tensor;

/// What can execute a graph.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum EngineKind {
    /// Built in.
    Tract,
}

impl EngineKind {
    /// Its name in settings, logs, metrics and documents.
    pub fn name(self) -> &'static str {
        match self {
            Self::Tract => "tract",
        }
    }
}

/// An optimised graph, shared by all threads.
#[derive(Debug)]
pub enum Plan {
    /// In the built-in engine.
    Tract(tract::TractPlan),
}

impl Plan {
    /// Parses and optimises an ONNX file held in memory, in the built-in engine.
    ///
    /// # Errors
    /// As [`Plan::load_in`].
    pub fn load(onnx: &[u8]) -> Result<Self> {
        Self::load_in(EngineKind::Tract, onnx)
    }

    /// Parses and optimises an ONNX file held in memory.
    ///
    /// # Errors
    /// [`crate::error::Error::Repository`] when the file is no ONNX model or uses what the engine cannot run.
    pub fn load_in(engine: EngineKind, onnx: &[u8]) -> Result<Self> {
        match engine {
            EngineKind::Tract => tract::TractPlan::load(onnx).map(Self::Tract),
        }
    }

    /// What executes it.
    pub fn engine(&self) -> EngineKind {
        match self {
            Self::Tract(_) => EngineKind::Tract,
        }
    }

    /// The inputs and outputs of the graph.
    pub fn signature(&self) -> &Signature {
        match self {
            Self::Tract(plan) => plan.signature(),
        }
    }

    /// Working memory for one thread.
    ///
    /// # Errors
    /// [`crate::error::Error::Repository`] when the engine cannot set it up.
    pub fn session(&self) -> Result<Session> {
        match self {
            Self::Tract(plan) => plan.session().map(Session::Tract),
        }
    }
}

/// One thread's working memory for a [`Plan`].
#[derive(Debug)]
pub enum Session {
    /// Of the built-in engine.
    Tract(tract::TractSession),
}

impl Session {
    /// Runs the graph on its inputs, in the signature's order, and returns its outputs in theirs.
    ///
    /// # Errors
    /// [`crate::error::Error::Internal`] when the model fails or panics; after a panic the session must be
    /// dropped, its state is unknown.
    pub fn run(&mut self, inputs: &[Tensor]) -> Result<Vec<Tensor>> {
        match self {
            Self::Tract(session) => session.run(inputs),
        }
    }
}
