//! The compute threads and the queues before them. Nothing here knows what a job is.

pub(crate) mod admission;
pub(crate) mod batch;
pub(crate) mod lane;
pub(crate) mod lanes;
pub(crate) mod pool;
