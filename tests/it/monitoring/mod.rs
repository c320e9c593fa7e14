//! What the server observes of its predictions.

mod records;
