//! The time of a model, told by its nodes.

use std::time::Duration;

use serde::Serialize;

/// The code that computes a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kernel {
    /// A fast operation of Weir's.
    Weir,
    /// A packed matrix product of tract's, which is in assembly.
    Packed,
    /// A general operation, for which there is no fast kernel.
    Generic,
}

impl Kernel {
    /// Returns its name in tables and documents.
    pub fn name(self) -> &'static str {
        match self {
            Self::Weir => "weir",
            Self::Packed => "packed",
            Self::Generic => "generic",
        }
    }
}

/// The time of one node in all runs.
#[derive(Debug, Clone, PartialEq)]
pub struct NodeTime {
    /// Its name in the graph.
    pub name: String,
    /// The name of its operation in the engine.
    pub kind: String,
    /// The code that computes it.
    pub kernel: Kernel,
    /// The shape of its first output.
    pub shape: Vec<usize>,
    /// The times that it was computed. A part of the graph that runs sample by sample is computed more often than the
    /// graph.
    pub calls: u64,
    /// The time of all calls.
    pub elapsed: Duration,
    /// The floating point operations of all calls; those inside loops are not counted.
    pub flops: u64,
}

/// The times of a model by its nodes, in the order in which they are computed.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Profile {
    /// The runs of the model.
    pub runs: u64,
    /// The time of all runs.
    pub elapsed: Duration,
    /// The nodes.
    pub nodes: Vec<NodeTime>,
}
