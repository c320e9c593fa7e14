//! The compute threads and the queues before them: admission, fair lanes, batches. Nothing here knows what
//! a job is.

mod admission;
mod batch;
mod lane;
mod lanes;
mod pool;

pub(crate) use admission::Permit;
pub(crate) use batch::BatchPolicy;
pub(crate) use lane::{Demand, Lane};
pub(crate) use lanes::{Item, LanePolicy};
pub(crate) use pool::{Job, Pool, Ticket};
