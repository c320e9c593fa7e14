//! The terms on which a request runs.

use std::time::Instant;

use crate::serving::context::Deadline;

/// The terms on which a request runs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Terms {
    /// 1 to 9, of which lower runs earlier, or 0 for that of the model.
    pub(crate) priority: u8,
    /// The moment at which its wait began.
    pub(crate) submitted: Instant,
    /// The moment after which it is not run any more.
    pub(crate) deadline: Deadline,
    /// Set if the statistics count it.
    pub(crate) counted: bool,
    /// Set if its inputs are wanted back even when they had to be split, and so copied.
    pub(crate) keeps_inputs: bool,
}
