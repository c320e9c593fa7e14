//! Rewrites graphs so that tract computes them rightly, and convolutional networks faster than alone.
//!
//! [`reader`] and [`rewrite_file`] replace what tract's reader of ONNX does not know or reads wrongly, [`mend`] the operations that
//! lose numbers, and [`speed_up`] what we compute faster.
//!
//! tract computes a convolution as one matrix product, for which it first copies columns out of the whole
//! batch; it pools one number at a time; and each activation is one more pass over memory. Between tract's
//! clean-up of a graph and its choice of kernels, these passes therefore replace convolutions, poolings and
//! their neighbours (float32, two spatial dimensions) by operations of our own. Such an operation takes one
//! sample at a time, computes blocks of output channels in registers, and applies bias, activation and
//! pooling while the numbers are in the cache. A sample of a batch then costs no more than a sample alone.
//! Norms are folded into weights, averages become depthwise convolutions, and the widening convolution
//! before a depthwise one is joined with it.
//!
//! Operations that are not covered stay with tract. Results differ by rounding only: property tests
//! compare every pass with the operations of tract.

mod average;
#[cfg(test)]
mod check;
mod conv_block;
mod conv_rows;
mod cost;
mod each_sample;
mod epilogue;
mod exact;
mod expand;
mod fold;
mod fuse;
mod graph;
mod grouped;
mod image;
mod max_pool;
mod onnx;
mod peak;
mod planes;
mod pointwise;
mod prefix;

pub(super) use each_sample::EachSampleState;
pub(super) use onnx::{arguments, reader, rewrite as rewrite_file};
pub(super) use peak::peak;
use tract_onnx::prelude::{TractResult, TypedModel, TypedOp};

/// Replaces the operations that are not exact. The graph need not be decluttered.
pub(super) fn mend(mut model: TypedModel) -> TractResult<TypedModel> {
    exact::rewrite(&mut model)?;
    Ok(model)
}

/// Replaces the operations that ours run faster. The graph must be decluttered; its batch may be symbolic
/// or fixed.
pub(super) fn speed_up(mut model: TypedModel) -> TractResult<TypedModel> {
    fold::rewrite(&mut model)?;
    fuse::rewrite(&mut model)?;
    prefix::rewrite(&mut model)?;
    Ok(model)
}

/// Returns true if an operation is one of those that [`speed_up`] puts in place of tract's.
pub(super) fn is_fast(op: &dyn TypedOp) -> bool {
    op.is::<conv_block::ConvBlock>()
        || op.is::<expand::Expand>()
        || op.is::<grouped::Grouped>()
        || op.is::<pointwise::Pointwise>()
        || op.is::<max_pool::FastMaxPool>()
        || op.is::<each_sample::EachSample>()
}
