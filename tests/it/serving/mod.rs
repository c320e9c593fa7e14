//! Scheduling, loading, swapping and stopping, seen from outside.

mod aliases;
mod batching;
mod check;
mod independence;
mod lifecycle;
mod mnist;
mod replicas;
mod scheduling;
mod swaps;
mod tap;
