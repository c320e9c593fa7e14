//! What training computes on feature maps and sequences, forward and backward.
//!
//! Samples lie abreast: a block holds as many samples as a vector has lanes, and each of its numbers
//! is a vector with one lane for each sample. So every layer, whatever its kernel, stride or number of
//! channels, is made of whole vectors, and nothing is copied into columns. Two kernels do nearly all
//! of the arithmetic: `product` (weights times positions) and `gradient` (positions times positions).
//! Each block is computed alike on any thread, and sums over blocks are taken in their order.

mod bernoulli;
mod block;
mod convolution;
mod directions;
mod elementwise;
mod gates;
mod gradient;
mod group_norm;
mod norm;
mod pooling;
mod product;
mod recurrent;
mod shuffle;

pub(super) use bernoulli::{bernoulli_back, bernoulli_log_likelihood};
pub(super) use block::{Block, pack, unpack};
pub(super) use convolution::{Convolution, PackedConvolution};
pub(super) use directions::Directions;
pub(super) use elementwise::{add_plane_sums, mask, relu, relu_back, rescale, silu, silu_back, sum};
pub(super) use group_norm::GroupNorm;
pub(super) use norm::{BlockMoments, EPSILON as NORM_EPSILON, Moments, Norm};
pub(super) use pooling::{Pooling, global_average, global_average_back};
pub(super) use recurrent::{Cell, PackedRecurrent, Recurrent, RecurrentGradients};
pub(super) use shuffle::Shuffle;
