//! An input tensor of a request.

use bytes::Bytes;

use crate::api::shared_memory::RegionSlice;
use crate::signature::DType;
use crate::tensor::Data;

/// One input tensor.
#[derive(Debug)]
pub(crate) struct InferInput {
    /// Its name in the graph.
    pub(crate) name: String,
    /// The type of its elements.
    pub(crate) datatype: DType,
    /// Its dimensions.
    pub(crate) shape: Vec<usize>,
    /// Its elements.
    pub(crate) content: Content,
}

/// The elements of an input.
#[derive(Debug)]
pub(crate) enum Content {
    /// Numbers or truth values.
    Elements(Data),
    /// BYTES: text, or encoded images for a model that takes images.
    Strings(Vec<Bytes>),
    /// Bytes of either, in shared memory.
    Region(RegionSlice),
}
