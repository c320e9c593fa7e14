//! Rewrites of a graph that make convolutional networks faster than tract makes them.
//!
//! Between tract's own clean-up and its choice of kernels, convolutions, max-poolings and what
//! stands around them become operations of our own; whatever is not covered stays tract's. Results
//! stay the same but for rounding.

#[cfg(test)]
mod check;
mod conv_block;
mod conv_rows;
mod each_sample;
mod epilogue;
mod fuse;
mod image;
mod max_pool;
mod pointwise;
mod prefix;

use tract_onnx::prelude::{TractResult, TypedModel};

/// Replaces what we run faster than tract does. Takes a decluttered graph, with a symbolic batch or
/// a fixed one.
///
/// # Errors
/// Whatever tract says of a rewritten graph that it does not accept; none is known.
pub(super) fn speed_up(mut model: TypedModel) -> TractResult<TypedModel> {
    fuse::rewrite(&mut model)?;
    prefix::rewrite(&mut model)?;
    Ok(model)
}
