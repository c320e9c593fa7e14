//! What the server observes of its predictions.

mod drift;
mod records;
