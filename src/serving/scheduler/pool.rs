//! The compute threads, shared by all lanes.
//!
//! [`super::lanes`] decides which lane runs next; these are the threads that run it. A thread whose run
//! does not come back is written off and replaced, so that a job that hangs keeps no other lane from
//! running; its own lane is still charged for the run. A run that nobody waits for any more, or that hangs, is ended
//! by its brake first, where the engine can do that.

use std::collections::BTreeMap;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::lanes::{Item, LaneId, LanePolicy, Lanes, Next};
use crate::engine::Brake;
use crate::error::{Error, Result};
use crate::metrics::PoolMetrics;

/// Work that a pool does.
pub(crate) trait Job: fmt::Debug + Send + Sized + 'static {
    /// Runs the jobs that were taken from a lane together; `begun` is the moment of that. The brake is pulled when the
    /// outcome is not wanted any more.
    fn run(batch: Vec<Item<Self>>, begun: Instant, brake: &Brake);
}

/// The time in which a run has to end after its brake was pulled for hanging.
const BRAKING: Duration = Duration::from_millis(200);

/// The compute threads and the lanes that they serve.
#[derive(Debug)]
pub(crate) struct Pool<J: Job> {
    shared: Arc<Shared<J>>,
    size: usize,
}

#[derive(Debug)]
struct Shared<J: Job> {
    state: Mutex<State<J>>,
    /// Something was queued, or the pool closes.
    work: Condvar,
    /// The pool closes. No run needs to say that it begins: the watchdog looks more often than any could hang.
    watch: Condvar,
    /// A thread ends.
    ended: Condvar,
    /// Jobs in all lanes, to be read without the lock.
    waiting: AtomicUsize,
    hang_after: Duration,
    metrics: PoolMetrics,
}

#[derive(Debug)]
struct State<J> {
    lanes: Lanes<J>,
    /// The runs under way, by thread.
    running: BTreeMap<u64, Running>,
    /// Threads that were written off; each ends when its run comes back.
    lost: Vec<u64>,
    threads: BTreeMap<u64, JoinHandle<()>>,
    /// Threads that have nothing left to do.
    done: Vec<u64>,
    watchdog: Option<JoinHandle<()>>,
    next_thread: u64,
    is_closed: bool,
}

/// A run under way.
#[derive(Debug)]
struct Running {
    begun: Instant,
    brake: Arc<Brake>,
    /// The numbers of the jobs whose outcome somebody waits for.
    wanted: Vec<u64>,
}

impl<J> State<J> {
    /// Takes in that nobody waits for a job that runs. Returns the brake of the run if that was its last one.
    fn abandon(&mut self, number: u64) -> Option<Arc<Brake>> {
        self.running.values_mut().find_map(|run| {
            let place = run.wanted.iter().position(|wanted| *wanted == number)?;
            run.wanted.swap_remove(place);
            run.wanted.is_empty().then(|| run.brake.clone())
        })
    }
}

impl<J> Default for State<J> {
    fn default() -> Self {
        Self {
            lanes: Lanes::default(),
            running: BTreeMap::new(),
            lost: Vec::new(),
            threads: BTreeMap::new(),
            done: Vec::new(),
            watchdog: None,
            next_thread: 0,
            is_closed: false,
        }
    }
}

impl<J: Job> Pool<J> {
    /// Starts `size` compute threads. A thread whose run takes longer than `hang_after` is replaced.
    ///
    /// # Errors
    /// [`Error::Internal`] when the system gives no thread.
    pub(crate) fn start(size: usize, hang_after: Duration, metrics: PoolMetrics) -> Result<Self> {
        let shared = Arc::new(Shared {
            state: Mutex::default(),
            work: Condvar::new(),
            watch: Condvar::new(),
            ended: Condvar::new(),
            waiting: AtomicUsize::new(0),
            hang_after,
            metrics,
        });
        let mut state = shared.lock();
        for _ in 0..size {
            shared.spawn_worker(&mut state)?;
        }
        let watched = shared.clone();
        let watchdog = std::thread::Builder::new().name("watchdog".into()).spawn(move || watched.watch());
        state.watchdog = Some(watchdog.map_err(no_thread)?);
        drop(state);
        Ok(Self { shared, size })
    }

    /// Returns the number of threads that were started.
    pub(crate) fn size(&self) -> usize {
        self.size
    }

    /// Returns the number of threads that can compute now, without those written off.
    pub(crate) fn threads(&self) -> usize {
        let state = self.shared.lock();
        state.threads.len() - state.lost.len()
    }

    /// Returns true if no job waits.
    pub(crate) fn is_idle(&self) -> bool {
        self.shared.waiting.load(Ordering::Relaxed) == 0
    }

    pub(crate) fn add_lane(&self, policy: LanePolicy) -> LaneId {
        self.shared.lock().lanes.add(policy)
    }

    pub(crate) fn set_policy(&self, lane: LaneId, policy: LanePolicy) {
        self.shared.lock().lanes.set_policy(lane, policy);
        self.shared.work.notify_all();
    }

    pub(crate) fn remove_lane(&self, lane: LaneId) {
        self.shared.lock().lanes.remove(lane);
    }

    /// Queues a job; its place is given up when the ticket is dropped.
    ///
    /// # Errors
    /// [`Error::ShuttingDown`] after [`Pool::close`].
    pub(crate) fn submit(self: &Arc<Self>, lane: LaneId, make: impl FnOnce(u64) -> Item<J>) -> Result<Ticket<J>> {
        let mut state = self.shared.lock();
        if state.is_closed {
            return Err(Error::ShuttingDown);
        }
        let number = state.lanes.push(lane, make).ok_or(Error::ShuttingDown)?;
        self.shared.waiting.fetch_add(1, Ordering::Relaxed);
        drop(state);
        self.shared.work.notify_one();
        Ok(Ticket { pool: self.clone(), lane, number, is_answered: false })
    }

    /// Takes no more jobs, ends the runs under way, and joins the threads that end within this time. Returns false if some
    /// did not, which end with the process.
    pub(crate) fn close(&self, patience: Duration) -> bool {
        let deadline = Instant::now() + patience;
        let mut state = self.shared.lock();
        state.is_closed = true;
        let brakes: Vec<Arc<Brake>> = state.running.values().map(|run| run.brake.clone()).collect();
        let watchdog = state.watchdog.take();
        drop(state);
        brakes.iter().for_each(|brake| brake.pull());
        self.shared.work.notify_all();
        self.shared.watch.notify_all();
        let mut state = self.shared.lock();
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if state.done.len() + state.lost.len() >= state.threads.len() || left.is_zero() {
                break;
            }
            state = self
                .shared
                .ended
                .wait_timeout(state, left)
                .map_or_else(|poisoned| poisoned.into_inner().0, |(state, _)| state);
        }
        let State { threads, done, .. } = &mut *state;
        let ended: Vec<JoinHandle<()>> = done.drain(..).filter_map(|number| threads.remove(&number)).collect();
        let is_empty = threads.is_empty();
        drop(state);
        for handle in ended.into_iter().chain(watchdog) {
            // These threads contain every panic, so there is nothing to learn from joining them.
            drop(handle.join());
        }
        is_empty
    }
}

impl<J: Job> Drop for Pool<J> {
    fn drop(&mut self) {
        self.shared.lock().is_closed = true;
        self.shared.work.notify_all();
        self.shared.watch.notify_all();
    }
}

/// The place of a job in its lane.
#[derive(Debug)]
pub(crate) struct Ticket<J: Job> {
    pool: Arc<Pool<J>>,
    lane: LaneId,
    number: u64,
    is_answered: bool,
}

impl<J: Job> Ticket<J> {
    /// Marks the job as done, so that dropping the ticket need not withdraw it.
    pub(crate) fn answered(mut self) {
        self.is_answered = true;
    }
}

impl<J: Job> Drop for Ticket<J> {
    fn drop(&mut self) {
        if self.is_answered {
            return;
        }
        let mut state = self.pool.shared.lock();
        let withdrawn = state.lanes.withdraw(self.lane, self.number);
        let unwanted = if withdrawn.is_none() { state.abandon(self.number) } else { None };
        drop(state);
        if withdrawn.is_some() {
            self.pool.shared.waiting.fetch_sub(1, Ordering::Relaxed);
        }
        if let Some(brake) = unwanted {
            brake.pull();
        }
    }
}

impl<J: Job> Shared<J> {
    fn lock(&self) -> MutexGuard<'_, State<J>> {
        // Nothing that can panic runs under the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn spawn_worker(self: &Arc<Self>, state: &mut State<J>) -> Result<()> {
        let number = state.next_thread;
        state.next_thread += 1;
        let shared = self.clone();
        let handle = std::thread::Builder::new()
            .name(format!("compute-{number}"))
            .spawn(move || shared.work(number))
            .map_err(no_thread)?;
        state.threads.insert(number, handle);
        self.metrics.threads.set((state.threads.len() - state.lost.len()) as f64);
        Ok(())
    }

    fn work(&self, number: u64) {
        let mut state = self.lock();
        loop {
            let mut dead = Vec::new();
            let next = state.lanes.next(Instant::now(), &mut dead);
            let taken = dead.len() + if let Next::Run(_, batch) = &next { batch.len() } else { 0 };
            self.waiting.fetch_sub(taken, Ordering::Relaxed);
            state = match next {
                Next::Run(lane, batch) => {
                    let (begun, brake) = (Instant::now(), Arc::<Brake>::default());
                    let wanted = batch.iter().map(|item| item.id).collect();
                    state.running.insert(number, Running { begun, brake: brake.clone(), wanted });
                    drop(state);
                    drop(dead);
                    // Whatever is not contained closer to its cause is contained here.
                    drop(catch_unwind(AssertUnwindSafe(|| J::run(batch, begun, &brake))));
                    let took = begun.elapsed();
                    let mut state = self.lock();
                    state.running.remove(&number);
                    state.lanes.finish(lane, took);
                    if let Some(place) = state.lost.iter().position(|lost| *lost == number) {
                        state.lost.swap_remove(place);
                        state.threads.remove(&number);
                        drop(state);
                        self.ended.notify_all();
                        // The lane has room for a run again.
                        self.work.notify_one();
                        return;
                    }
                    state
                }
                Next::WaitUntil(_) | Next::Idle if !dead.is_empty() => {
                    drop(state);
                    drop(dead);
                    self.lock()
                }
                Next::WaitUntil(time) => {
                    let wait = time.saturating_duration_since(Instant::now());
                    self.work
                        .wait_timeout(state, wait)
                        .map_or_else(|poisoned| poisoned.into_inner().0, |(state, _)| state)
                }
                Next::Idle if state.is_closed && state.lanes.is_empty() => {
                    state.done.push(number);
                    drop(state);
                    self.ended.notify_all();
                    return;
                }
                Next::Idle => self.work.wait(state).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }

    /// Ends runs that hang, and writes off the threads whose run does not end by that.
    fn watch(self: &Arc<Self>) {
        let mut state = self.lock();
        while !state.is_closed {
            let now = Instant::now();
            let mut next = now + self.hang_after;
            let State { running, lost, .. } = &mut *state;
            let mut hung = Vec::new();
            for (number, run) in running.iter().filter(|(number, _)| !lost.contains(number)) {
                let due = run.begun + self.hang_after;
                if due <= now {
                    run.brake.pull();
                }
                match due + BRAKING {
                    over if over <= now => hung.push(*number),
                    over => next = next.min(if due <= now { over } else { due }),
                }
            }
            lost.extend(&hung);
            for number in hung {
                self.metrics.hung.inc();
                tracing::error!(
                    thread = number,
                    after_s = self.hang_after.as_secs_f64(),
                    "a run hangs; its thread is replaced"
                );
                if let Err(error) = self.spawn_worker(&mut state) {
                    tracing::error!(error = %error, "the pool is one thread short");
                }
            }
            let wait = next.saturating_duration_since(Instant::now());
            state = self
                .watch
                .wait_timeout(state, wait)
                .map_or_else(|poisoned| poisoned.into_inner().0, |(state, _)| state);
        }
    }
}

fn no_thread(error: std::io::Error) -> Error {
    Error::internal("a thread could not be started", error)
}

#[cfg(test)]
#[path = "pool_tests.rs"]
mod tests;
