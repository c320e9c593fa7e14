//! The load workers: each takes a job, loads, and hands the outcome to the owner.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use crossbeam_channel::{Receiver, Sender, bounded};

use crate::error::{Error, Result};
use crate::metrics::Metrics;
use crate::repository::{Found, Marks};
use crate::serving::lifecycle::graphs::LoadSettings;
use crate::serving::lifecycle::load::load;
use crate::serving::servable::Servable;

/// One version to load.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) found: Found,
    pub(super) cancelled: Arc<AtomicBool>,
}

/// The outcome of a job.
#[derive(Debug)]
pub(super) struct Done {
    pub(super) found: Found,
    /// That of the job, by which it is known.
    pub(super) cancelled: Arc<AtomicBool>,
    /// `None` if it was no longer wanted.
    pub(super) outcome: Option<Result<Box<Servable>>>,
}

/// The workers.
#[derive(Debug)]
pub(super) struct Workers {
    jobs: Option<Sender<Job>>,
    threads: Vec<JoinHandle<()>>,
    pub(super) free: usize,
}

impl Workers {
    /// Starts `count` workers, which `deliver` the outcomes until that fails.
    ///
    /// # Errors
    /// [`Error::Internal`] when the system gives no thread.
    pub(super) fn start(
        count: usize,
        settings: &LoadSettings,
        metrics: &Arc<Metrics>,
        deliver: &(impl Fn(Done) -> bool + Clone + Send + 'static),
    ) -> Result<Self> {
        let (jobs, waiting) = bounded(count);
        let spawn = |index: usize| {
            let (waiting, deliver, metrics) = (waiting.clone(), deliver.clone(), metrics.clone());
            let settings = settings.clone();
            std::thread::Builder::new()
                .name(format!("load-{index}"))
                .spawn(move || work(&waiting, deliver, &settings, &metrics))
                .map_err(|error| Error::internal("a load thread could not be started", error))
        };
        let threads = (0..count).map(spawn).collect::<Result<_>>()?;
        Ok(Self { jobs: Some(jobs), threads, free: count })
    }

    /// Returns how many workers are loading.
    pub(super) fn busy(&self) -> usize {
        self.threads.len() - self.free
    }

    /// Hands a job to a free worker.
    pub(super) fn submit(&mut self, job: Job) {
        if let Some(jobs) = &self.jobs {
            self.free -= 1;
            // There is room for as many jobs as there are workers, and one is free.
            drop(jobs.try_send(job));
        }
    }

    /// Lets the workers finish what they have, and joins them.
    pub(super) fn close(mut self) {
        self.jobs = None;
        for thread in self.threads.drain(..) {
            drop(thread.join());
        }
    }
}

fn work(jobs: &Receiver<Job>, deliver: impl Fn(Done) -> bool, settings: &LoadSettings, metrics: &Arc<Metrics>) {
    for Job { found, cancelled } in jobs {
        let outcome = (!cancelled.load(Ordering::Relaxed)).then(|| load_unchanged(&found, settings, metrics));
        if !deliver(Done { found, cancelled, outcome }) {
            return;
        }
    }
}

/// Loads what the last look saw. Files that changed since then may have been read half old, half new.
fn load_unchanged(found: &Found, settings: &LoadSettings, metrics: &Arc<Metrics>) -> Result<Box<Servable>> {
    let work = || load(&found.folder, settings, metrics);
    let servable = catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| {
        Err(Error::Repository { what: "the version".into(), problem: "loading it panicked".into() })
    })?;
    let now = Marks::of(&found.folder);
    if now.fingerprint != found.marks.fingerprint {
        let problem = "changed while it was being read".into();
        return Err(Error::Incomplete { what: "the version".into(), problem });
    }
    Ok(Box::new(servable))
}
