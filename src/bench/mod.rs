//! The load generator: puts a server, or the engine alone, under a known load and measures it.
//!
//! The cores are pure and know no clock: [`Arrivals`] is the schedule of requests, [`RateSearch`] chooses the next rate
//! to try, [`Slo`] judges a service level, [`Latencies`] gives percentiles. Around them, generator threads with one small
//! runtime each drive keep-alive connections in a closed or an open loop. Nothing here depends on the server's own code.

mod arrivals;
mod closed;
mod connection;
mod engine;
mod http;
mod latencies;
mod open;
mod pacer;
mod plan;
mod plot;
mod profile;
mod report;
mod search;
mod slo;
mod span;
mod stop;
mod tally;
mod target;

pub use arrivals::{Arrivals, Pattern};
pub use engine::{EngineModel, EnginePlan, MAX_BATCH, run_engine};
pub use http::{locate, run_step};
pub use latencies::{Bin, CurvePoint, Latencies, Percentiles, milliseconds};
pub use plan::{Live, Load, MAX_CONNECTIONS, MAX_DURATION, MAX_THREADS, StepPlan};
pub use plot::{Plot, PlotStep, plot};
pub use profile::{KindRow, NodeRow, Share, StepProfile};
pub use report::{EngineStep, EngineTarget, Errors, HttpTarget, REPORT_SCHEMA, Report, Step};
pub use search::{MAX_RATE, MIN_RATE, RateSearch};
pub use slo::{Slo, TermVerdict, Verdict};
pub use span::parse_span;
pub use stop::Stop;
pub use target::{BUNDLED_DIGIT, MAX_BODIES, Target, TargetOptions};
