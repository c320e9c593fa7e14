//! What executes a graph. Knows tensors and signatures, nothing of transforms, files or protocols.
//!
//! A [`Plan`] is immutable and shared by all threads; each thread runs it through a [`Session`] of
//! its own, because the engine's working memory is per session and is worth keeping.

mod contain;
mod external;
mod measure;
mod onnxruntime;
mod passes;
mod tract;

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

pub use external::refuse_external_data;
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
    /// A shared library that is there or not.
    OnnxRuntime,
}

impl EngineKind {
    /// Its name in settings, logs, metrics and documents.
    pub fn name(self) -> &'static str {
        match self {
            Self::Tract => "tract",
            Self::OnnxRuntime => "onnxruntime",
        }
    }
}

/// The engines of this process.
#[derive(Debug, Clone, Default)]
pub struct Engines {
    onnxruntime: Option<PathBuf>,
}

impl Engines {
    /// The built-in engine, and ONNX Runtime from this library; without one, from the library that
    /// `ORT_DYLIB_PATH` names, or else from the one beside the program.
    pub fn new(onnxruntime: Option<PathBuf>) -> Self {
        Self { onnxruntime }
    }

    /// The version of ONNX Runtime, which is loaded if it was not yet.
    ///
    /// # Errors
    /// [`crate::error::Error::Config`] when it is not there or cannot be used; only this engine is
    /// missing then.
    pub fn onnxruntime(&self) -> Result<&'static str> {
        onnxruntime::version(self.onnxruntime.as_deref())
    }

    /// The library that was named for ONNX Runtime.
    pub fn onnxruntime_file(&self) -> Option<&Path> {
        self.onnxruntime.as_deref()
    }

    /// Parses and optimises an ONNX file held in memory.
    ///
    /// # Errors
    /// [`crate::error::Error::Repository`] when the file is no ONNX model, keeps data in other files
    /// or uses what the engine cannot run; [`crate::error::Error::Config`] when the engine is not there.
    pub fn load(&self, engine: EngineKind, onnx: &[u8]) -> Result<Plan> {
        external::refuse_external_data(onnx)?;
        match engine {
            EngineKind::Tract => tract::TractPlan::load(onnx).map(Plan::Tract),
            EngineKind::OnnxRuntime => {
                onnxruntime::OrtPlan::load(self.onnxruntime.as_deref(), onnx).map(Plan::OnnxRuntime)
            }
        }
    }
}

/// An optimised graph, shared by all threads.
#[derive(Debug)]
pub enum Plan {
    /// In the built-in engine.
    Tract(tract::TractPlan),
    /// In ONNX Runtime.
    OnnxRuntime(onnxruntime::OrtPlan),
}

impl Plan {
    /// Parses and optimises an ONNX file held in memory, in the built-in engine.
    ///
    /// # Errors
    /// As [`Engines::load`].
    pub fn load(onnx: &[u8]) -> Result<Self> {
        Engines::default().load(EngineKind::Tract, onnx)
    }

    /// What executes it.
    pub fn engine(&self) -> EngineKind {
        match self {
            Self::Tract(_) => EngineKind::Tract,
            Self::OnnxRuntime(_) => EngineKind::OnnxRuntime,
        }
    }

    /// The inputs and outputs of the graph.
    pub fn signature(&self) -> &Signature {
        match self {
            Self::Tract(plan) => plan.signature(),
            Self::OnnxRuntime(plan) => plan.signature(),
        }
    }

    /// Working memory for one thread.
    ///
    /// # Errors
    /// [`crate::error::Error::Repository`] when the engine cannot set it up.
    pub fn session(&self) -> Result<Session> {
        match self {
            Self::Tract(plan) => plan.session().map(|session| Session::Tract(Box::new(session))),
            Self::OnnxRuntime(plan) => plan.session().map(Session::OnnxRuntime),
        }
    }
}

/// One thread's working memory for a [`Plan`].
#[derive(Debug)]
pub enum Session {
    /// Of the built-in engine.
    Tract(Box<tract::TractSession>),
    /// Of ONNX Runtime.
    OnnxRuntime(onnxruntime::OrtSession),
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
            Self::OnnxRuntime(session) => session.run(inputs),
        }
    }
}
