//! A step against a server: generator threads out, one result in.

use std::cell::{Cell, RefCell};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::rc::Rc;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use tokio::task::LocalSet;

use super::arrivals::Arrivals;
use super::closed::{self, Lanes};
use super::open;
use super::plan::{Live, Load, StepPlan};
use super::report::Step;
use super::stop::Stop;
use super::tally::{Tally, Window};
use super::target::Target;
use crate::error::{Error, Result};

/// An open loop begins this long after its threads are started, so that none misses its first
/// arrivals.
const LEAD: Duration = Duration::from_millis(20);

/// Finds the address of a target by connecting to it once.
///
/// # Errors
/// [`Error::Io`] when its name is not known or nobody listens there.
pub fn locate(target: &Target, timeout: Duration) -> Result<SocketAddr> {
    let place = format!("{}:{}", target.host(), target.port());
    let addresses =
        (target.host(), target.port()).to_socket_addrs().map_err(Error::io("find the address of", &place))?;
    let mut refused = std::io::Error::other("the name has no address");
    for address in addresses {
        match TcpStream::connect_timeout(&address, timeout) {
            Ok(_) => return Ok(address),
            Err(error) => refused = error,
        }
    }
    let hint = format!("{refused}; is a server running there? `weir serve` starts one");
    Err(Error::io("connect to", &place)(std::io::Error::new(refused.kind(), hint)))
}

/// Runs one step and waits for the requests under way at its end, unless a person stops it.
///
/// # Errors
/// [`Error::Config`] when the plan is out of bounds, [`Error::Internal`] when threads or sockets
/// cannot be had. What the server does wrong is no error but counted.
pub fn run_step(
    target: &Arc<Target>,
    address: SocketAddr,
    plan: &StepPlan,
    stop: &Stop,
    live: &Arc<Live>,
) -> Result<Step> {
    plan.validate()?;
    let lead = if matches!(plan.load, Load::Open { .. }) { LEAD } else { Duration::ZERO };
    let start = Instant::now() + lead;
    let window_start = start + plan.warmup;
    let window = Window { start: window_start, end: plan.duration.map(|duration| window_start + duration) };
    let threads = plan.threads.min(plan.load.connections());
    let tally = thread::scope(|scope| {
        let spawn = |index: usize| {
            let share = Share { index, of: threads, start, window };
            thread::Builder::new()
                .name(format!("bench-{index}"))
                .spawn_scoped(scope, move || share.run(target.clone(), address, plan, stop, live.clone()))
                .map_err(|error| Error::internal("a generator thread could not be started", error))
        };
        let running = (0..threads).map(spawn).collect::<Result<Vec<_>>>()?;
        let mut sum = Tally::new(window)?;
        for thread in running {
            let died = |_| Error::internal("a generator thread failed", "it panicked");
            sum.merge(thread.join().map_err(died)??)?;
        }
        Ok::<_, Error>(sum)
    })?;
    let counted_out = plan.requests.is_some_and(|requests| tally.delay.len() >= requests);
    let end = match (window.end, tally.last) {
        _ if stop.is_asked() => Instant::now().min(window.end.unwrap_or_else(Instant::now)),
        (Some(end), Some(last)) if counted_out => end.min(last),
        (Some(end), _) => end,
        (None, last) => last.unwrap_or(window.start),
    };
    Step::new(plan.load, end.saturating_duration_since(window.start), tally)
}

/// The part of one thread.
#[derive(Debug, Clone, Copy)]
struct Share {
    index: usize,
    of: usize,
    start: Instant,
    window: Window,
}

impl Share {
    fn run(
        self,
        target: Arc<Target>,
        address: SocketAddr,
        plan: &StepPlan,
        stop: &Stop,
        live: Arc<Live>,
    ) -> Result<Tally> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .build()
            .map_err(|error| Error::internal("the generator's runtime could not be started", error))?;
        let connections = self.part(plan.load.connections() as u64) as usize;
        let requests = plan.requests.map_or(u64::MAX, |requests| self.part(requests));
        let lanes = Rc::new(Lanes {
            turn: Cell::new(self.index * target.variants() / self.of),
            target,
            address,
            timeout: plan.timeout,
            window: self.window,
            live,
            tally: RefCell::new(Tally::new(self.window)?),
            under_way: Cell::new(0),
            left: Cell::new(requests),
        });
        let local = LocalSet::new();
        let work = async {
            match plan.load {
                Load::Closed { .. } => tokio::select! {
                    biased;
                    () = stop.asked() => Ok(()),
                    ended = closed::run(&lanes, connections) => ended,
                },
                Load::Open { rate, arrivals, .. } => {
                    let arrivals = Arrivals::new(arrivals, rate, (self.index as u64, self.of as u64), plan.seed);
                    let arrivals = bounded(arrivals, plan, requests);
                    open::run(&lanes, connections, arrivals, self.start, stop).await
                }
            }
        };
        runtime.block_on(local.run_until(work))?;
        let under_way = lanes.under_way.get();
        // The connections go first: they share what is taken apart next.
        drop(local);
        let lanes = Rc::into_inner(lanes)
            .ok_or_else(|| Error::internal("a generator thread failed", "a connection outlived it"))?;
        let mut tally = lanes.tally.into_inner();
        tally.unfinished = under_way;
        Ok(tally)
    }

    /// This thread's part of a number that all threads have together.
    fn part(self, total: u64) -> u64 {
        let (index, of) = (self.index as u64, self.of as u64);
        total / of + u64::from(index < total % of)
    }
}

/// The schedule of a thread up to the end of the plan, or until this many requests are measured.
fn bounded(arrivals: Arrivals, plan: &StepPlan, requests: u64) -> Arrivals {
    let all = arrivals.until(plan.duration.map(|duration| plan.warmup + duration));
    if requests == u64::MAX {
        return all;
    }
    let warmup = all.clone().take_while(|offset| *offset < plan.warmup).count() as u64;
    all.at_most(warmup.saturating_add(requests))
}
