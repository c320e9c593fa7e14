//! Executes graphs. Knows tensors and signatures, but no transforms, files or protocols.
//!
//! A [`Plan`] is immutable and shared by all threads. Each thread runs it through a [`Session`] of
//! its own, which keeps the working memory of the engine from run to run.

mod attempts;
mod bounds;
mod brake;
mod class_map;
mod closeness;
mod contain;
mod containers;
mod dims;
mod example;
mod explain;
mod external;
mod facts;
mod faults;
mod growth;
mod guards;
mod independence;
mod look;
mod measure;
mod ml;
mod onnxruntime;
mod passes;
mod profile;
mod remedies;
mod seen;
mod surgery;
mod tract;
mod trial;

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

pub use bounds::Bounds;
pub use brake::Brake;
pub use class_map::{ClassMapGraph, LinearHead, class_map_graph};
pub use closeness::agrees_in_company;
pub use containers::{class_names, refuse_containers};
pub use example::{Example, ExampleInputs, Hints};
pub use external::refuse_external_data;
pub use facts::{declared_signature, graph_facts};
pub use independence::Independence;
pub use measure::{measure, zeros};
pub use profile::{Kernel, NodeTime, Profile};
pub use remedies::remedy;
pub use surgery::{keep, untyped, used_by};
pub use tract::NodeTimes;
pub use trial::Trial;

use crate::error::{Error, Result};
use crate::signature::{Signature, TensorSpec};
use crate::tensor::Tensor;

/// Measures the floating point operations per second that a small matrix product reaches on this thread.
///
/// # Errors
/// [`Error::Internal`] when the product fails.
pub fn peak_flops() -> Result<f64> {
    passes::peak().map_err(|error| Error::internal("the peak could not be measured", format!("{error:#}")))
}

/// A graph execution engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum EngineKind {
    /// tract, which is built in.
    Tract,
    /// ONNX Runtime, a shared library that may be absent.
    OnnxRuntime,
}

impl EngineKind {
    /// Returns the name used in settings, logs, metrics and documents.
    pub fn name(self) -> &'static str {
        match self {
            Self::Tract => "tract",
            Self::OnnxRuntime => "onnxruntime",
        }
    }
}

/// An input that a request may leave out: an initializer of the graph that is also an input.
#[derive(Debug, Clone, PartialEq)]
pub struct OptionalInput {
    /// Its name, type and shape.
    pub spec: TensorSpec,
    /// The value that it has when it is left out.
    pub default: Tensor,
}

/// The plans of a graph for the sizes that requests bring.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ShapePlanCounts {
    /// Set if a plan for any sizes runs what has no plan of its own.
    pub any_size: bool,
    /// Plans that are kept now.
    pub kept: usize,
    /// Runs whose plan was there.
    pub hits: u64,
    /// Plans that were made.
    pub made: u64,
    /// Runs that waited for their plan.
    pub waited: u64,
}

/// The engines of this process.
#[derive(Debug, Clone, Default)]
pub struct Engines {
    onnxruntime: Option<PathBuf>,
    bounds: Bounds,
}

impl Engines {
    /// Creates the set of engines. `onnxruntime` is the library of ONNX Runtime; without it, the
    /// library is the one that `ORT_DYLIB_PATH` names, or else the one beside the program.
    pub fn new(onnxruntime: Option<PathBuf>) -> Self {
        Self { onnxruntime, bounds: Bounds::default() }
    }

    /// Limits the tensors that graphs may make from a request.
    #[must_use]
    pub fn with_bounds(self, bounds: Bounds) -> Self {
        Self { bounds, ..self }
    }

    /// Returns the limits on the tensors that graphs may make from a request.
    pub fn bounds(&self) -> Bounds {
        self.bounds
    }

    /// Returns the version of ONNX Runtime, loading the library on the first call.
    ///
    /// # Errors
    /// [`crate::error::Error::Config`] when the library is absent or unusable. The built-in engine works
    /// all the same.
    pub fn onnxruntime(&self) -> Result<&'static str> {
        onnxruntime::version(self.onnxruntime.as_deref())
    }

    /// Returns true if there is a library of ONNX Runtime to load. It is not tried.
    pub fn finds_onnxruntime(&self) -> bool {
        onnxruntime::is_found(self.onnxruntime.as_deref())
    }

    /// Returns the library that was given for ONNX Runtime.
    pub fn onnxruntime_file(&self) -> Option<&Path> {
        self.onnxruntime.as_deref()
    }

    /// Parses and optimises an ONNX file held in memory.
    ///
    /// # Errors
    /// [`crate::error::Error::Repository`] when the bytes are not an ONNX model, when the model keeps data
    /// in other files or has an input or output that is no tensor, or when the engine cannot run it;
    /// [`crate::error::Error::Config`] when the engine is absent.
    pub fn load(&self, engine: EngineKind, onnx: &[u8]) -> Result<Plan> {
        external::refuse_external_data(onnx)?;
        let onnx = containers::unpack(onnx)?;
        match engine {
            EngineKind::Tract => tract::TractPlan::load(&onnx, self.bounds).map(Plan::Tract),
            EngineKind::OnnxRuntime => {
                onnxruntime::OrtPlan::load(self.onnxruntime.as_deref(), &onnx, self.bounds).map(Plan::OnnxRuntime)
            }
        }
    }
}

/// An optimised graph, shared by all threads.
#[derive(Debug)]
pub enum Plan {
    /// A plan of the built-in engine.
    Tract(tract::TractPlan),
    /// A plan of ONNX Runtime.
    OnnxRuntime(onnxruntime::OrtPlan),
}

impl Plan {
    /// Parses and optimises an ONNX file held in memory with the built-in engine.
    ///
    /// # Errors
    /// As [`Engines::load`].
    pub fn load(onnx: &[u8]) -> Result<Self> {
        Engines::default().load(EngineKind::Tract, onnx)
    }

    /// Returns the engine that executes the plan.
    pub fn engine(&self) -> EngineKind {
        match self {
            Self::Tract(_) => EngineKind::Tract,
            Self::OnnxRuntime(_) => EngineKind::OnnxRuntime,
        }
    }

    /// Returns the inputs and outputs of the graph.
    pub fn signature(&self) -> &Signature {
        match self {
            Self::Tract(plan) => plan.signature(),
            Self::OnnxRuntime(plan) => plan.signature(),
        }
    }

    /// Returns the inputs that a request may leave out. They follow those of the signature: a run gets none of them or
    /// all.
    pub fn optional_inputs(&self) -> &[OptionalInput] {
        match self {
            Self::Tract(plan) => plan.optional(),
            Self::OnnxRuntime(plan) => plan.optional(),
        }
    }

    /// Returns the state of the cache of plans for the sizes of requests, if the graph has one.
    pub fn shape_plans(&self) -> Option<ShapePlanCounts> {
        match self {
            Self::Tract(plan) => plan.shape_plans(),
            Self::OnnxRuntime(_) => None,
        }
    }

    /// Returns true if a request of sizes that never came before needs no plan first, which takes long.
    pub fn takes_any_shape(&self) -> bool {
        match self {
            Self::Tract(plan) => plan.takes_any_shape(),
            Self::OnnxRuntime(_) => true,
        }
    }

    /// Returns true if the values of a request, and not its sizes alone, decide how long it takes: what was measured says
    /// nothing about it then.
    pub fn depends_on_values(&self) -> bool {
        match self {
            Self::Tract(plan) => plan.depends_on_values(),
            Self::OnnxRuntime(plan) => plan.depends_on_values(),
        }
    }

    /// Returns true if a session takes microseconds to create, because it shares the weights of the plan. Then
    /// none needs to be created before it is used.
    pub fn has_cheap_sessions(&self) -> bool {
        match self {
            Self::Tract(_) => true,
            Self::OnnxRuntime(_) => false,
        }
    }

    /// Creates the working memory of one thread.
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
    /// A session of the built-in engine.
    Tract(Box<tract::TractSession>),
    /// A session of ONNX Runtime.
    OnnxRuntime(onnxruntime::OrtSession),
}

impl Session {
    /// Runs the graph. Inputs and outputs are in the order of the signature; optional inputs may follow the others.
    ///
    /// # Errors
    /// [`crate::error::Error::InvalidInput`] when the values or sizes of the inputs are at fault,
    /// [`crate::error::Error::Internal`] when the model fails or panics. After a panic the state of the
    /// session is unknown, so the session must be dropped.
    pub fn run(&mut self, inputs: &[Tensor]) -> Result<Vec<Tensor>> {
        self.run_under(&Brake::default(), inputs)
    }

    /// Runs the graph as [`Session::run`] does, and adds the time of each node to `times`.
    ///
    /// # Errors
    /// As [`Session::run`]; [`crate::error::Error::Config`] when it is not a session of the built-in engine.
    pub fn run_timed(&mut self, inputs: &[Tensor], times: &mut NodeTimes) -> Result<Vec<Tensor>> {
        match self {
            Self::Tract(session) => session.run_timed(inputs, times),
            Self::OnnxRuntime(_) => Err(Error::Config {
                setting: "--profile".into(),
                problem: "only the built-in engine (--engine tract) tells the time of each node".into(),
            }),
        }
    }

    /// Runs the graph as [`Session::run`] does, unless or until the brake is pulled.
    ///
    /// # Errors
    /// As [`Session::run`]; [`crate::error::Error::Cancelled`] when the brake was pulled.
    pub fn run_under(&mut self, brake: &Brake, inputs: &[Tensor]) -> Result<Vec<Tensor>> {
        match self {
            Self::Tract(_) if brake.is_pulled() => Err(Error::Cancelled),
            Self::Tract(session) => session.run(inputs),
            Self::OnnxRuntime(session) => session.run(brake, inputs),
        }
    }
}
