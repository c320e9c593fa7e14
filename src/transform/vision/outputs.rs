//! The outputs of a graph, as they are declared and as they come for one sample.

use crate::signature::{Batching, DType, Dim, Signature, TensorSpec};

/// An output for one sample.
#[derive(Debug, Clone, Copy)]
pub struct SampleOutput<'a> {
    /// Its dimensions, without the batch.
    pub shape: &'a [usize],
    /// Its elements, row by row.
    pub data: &'a [f32],
}

impl<'a> SampleOutput<'a> {
    /// Returns the dimensions if there are so many, once leading ones of 1 are left out.
    pub(super) fn dims<const RANK: usize>(&self) -> Option<[usize; RANK]> {
        let over = self.shape.len().checked_sub(RANK)?;
        let (leading, dims) = self.shape.split_at(over);
        leading.iter().all(|dim| *dim == 1).then(|| dims.try_into().ok()).flatten()
    }

    /// Returns the rows of a table with so many columns.
    pub(super) fn rows(&self, columns: usize) -> std::slice::ChunksExact<'a, f32> {
        self.data.chunks_exact(columns.max(1))
    }
}

/// A reason why no answer can be made of a graph's outputs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// An output holds NaN or an infinity where a number is needed.
    NotFinite,
    /// The outputs are not what `[answer]` says or what was guessed; the text says what to do.
    Misfit(String),
}

/// The declared outputs of a graph.
#[derive(Debug, Clone, Copy)]
pub struct GraphOutputs<'a> {
    signature: &'a Signature,
}

impl<'a> GraphOutputs<'a> {
    /// Wraps the outputs of a signature.
    pub fn new(signature: &'a Signature) -> Self {
        Self { signature }
    }

    pub(super) fn len(&self) -> usize {
        self.signature.outputs.len()
    }

    pub(super) fn spec(&self, output: usize) -> &'a TensorSpec {
        &self.signature.outputs[output]
    }

    /// Returns the place of the output of this name.
    ///
    /// # Errors
    /// A sentence that names the outputs there are.
    pub(super) fn named(&self, name: &str) -> Result<usize, String> {
        let place = self.signature.outputs.iter().position(|spec| spec.name == name);
        place.ok_or_else(|| format!("the graph has no output \"{name}\"; it has: {}", self.text()))
    }

    /// Returns the place of the first output whose name holds one of these words, in the order of the words.
    pub(super) fn like(&self, words: &[&str]) -> Option<usize> {
        let holds =
            |word: &str| self.signature.outputs.iter().position(|spec| spec.name.to_ascii_lowercase().contains(word));
        words.iter().find_map(|word| holds(word))
    }

    /// Returns the sizes of an output for one sample if there are so many dimensions; `None` for open ones.
    pub(super) fn dims<const RANK: usize>(&self, output: usize) -> Option<[Option<usize>; RANK]> {
        let spec = self.spec(output);
        // A graph without a batch may have one in some outputs alone.
        let (dims, may_be_batch) = match self.signature.batching() {
            Batching::Any | Batching::Fixed(_) => (spec.sample_dims(), false),
            Batching::Whole => (&spec.shape[..], true),
        };
        let over = dims.len().checked_sub(RANK)?;
        let (leading, dims) = dims.split_at(over);
        let is_one = |dim: &Dim| *dim == Dim::Fixed(1) || (may_be_batch && over == 1 && dim.is_open());
        let size = |dim: &Dim| if let Dim::Fixed(size) = dim { Some(*size) } else { None };
        let sizes: Vec<Option<usize>> = dims.iter().map(size).collect();
        leading.iter().all(is_one).then(|| sizes.try_into().ok()).flatten()
    }

    /// Returns the number of dimensions of an output for one sample.
    pub(super) fn rank(&self, output: usize) -> usize {
        let rank = self.spec(output).shape.len();
        match self.signature.batching() {
            Batching::Any | Batching::Fixed(_) => rank - 1,
            Batching::Whole => rank,
        }
    }

    pub(super) fn is_number(&self, output: usize) -> bool {
        !matches!(self.spec(output).dtype, DType::String | DType::Bool)
    }

    /// Returns names and shapes in words.
    pub(super) fn text(&self) -> String {
        let specs = self.signature.outputs.iter();
        specs.map(|spec| format!("\"{}\" {}", spec.name, spec.shape_text())).collect::<Vec<_>>().join(", ")
    }
}
