//! Running a graph: its sessions, inline and queued requests, the response cache, and what is measured.
//!
//! A [`Runner`] is everything that one graph needs to answer requests in tensors. It knows neither images nor
//! labels: those are the servable's.

mod cache;
mod company;
mod costs;
mod graph;
mod inline;
mod pool;
mod request;
mod runner;
mod sessions;
mod sharing;
mod statistics;
mod terms;
mod tuning;
mod work;

pub use pool::Pool;
pub use runner::Runner;
pub use sharing::Sharing;
pub use statistics::{RunStatistics, Snapshot, Statistics, Timed};
pub use tuning::{BatchCost, Tuning, TuningStage};

pub(crate) use cache::ResponseCache;
pub(crate) use costs::Load;
pub(crate) use request::Admitted;
pub(crate) use runner::{Executed, GraphSource, InlineMode, RunnerParts};
pub(crate) use sessions::Runtime;
pub(crate) use sharing::Declared;
pub(crate) use statistics::Success;
pub(crate) use terms::Terms;
pub(crate) use tuning::{BATCH_PROBE, Pinned};
