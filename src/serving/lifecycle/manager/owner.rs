//! The thread that decides: takes events in, asks the policy, has its actions executed, publishes.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender};

use super::ManagerParts;
use super::commands::{Command, Waiter};
use super::pulse::Pulse;
use super::record::{InFlight, Model, Record};
use super::worker::{Done, Job, Workers};
use crate::config::{Control, LifecycleConfig};
use crate::error::Result;
use crate::ids::{ModelName, Version};
use crate::metrics::{LoadOutcome, Metrics, ThreadName};
use crate::repository::{AliasStore, Looked, Problem, Source};
use crate::serving::catalog::Catalog;
use crate::serving::lifecycle::policy::{self, Action, Failure};
use crate::serving::lifecycle::tuner::Tuner;
use crate::serving::predictor::Predictor;
use crate::serving::servable::Servable;

/// The longest wait for an event after a turn that failed.
const FAULT_PAUSE: Duration = Duration::from_secs(1);

/// The time between two looks whether the last request of a version out of service is answered.
const DRAIN_CHECK: Duration = Duration::from_millis(2);

/// An event that the owner takes in.
#[derive(Debug)]
pub(super) enum Event {
    Looked(Looked),
    Loaded(Done),
    Command(Command),
    Stop,
    /// A fault of ours.
    #[cfg(test)]
    Fault,
}

#[derive(Debug)]
pub(super) struct Owner {
    pub(super) config: LifecycleConfig,
    pub(super) store: AliasStore,
    pub(super) source: Source,
    pub(super) models: BTreeMap<ModelName, Model>,
    pub(super) waiters: Vec<Waiter>,
    /// The number of the last question that a look has answered.
    pub(super) answered: u64,
    default_model: Option<ModelName>,
    workers: Workers,
    tuner: Option<Arc<Tuner>>,
    pub(super) metrics: Arc<Metrics>,
    predictor: Arc<Predictor>,
    pub(super) looked: bool,
    /// Set once a look could be used: a model that it did not name does not exist.
    pub(super) read: bool,
    settled: bool,
    pub(super) problems: Vec<Problem>,
    /// Loads that found no free worker.
    pub(super) backlog: usize,
    /// Set while the repository is refused, so that this is logged once.
    pub(super) refused: bool,
    /// The moment of the next look without a watch, because files are still changing.
    look_at: Option<Instant>,
    /// Set if something changed since the last catalog.
    dirty: bool,
    /// The turns that ended in a panic, since the last that did not.
    faults: u32,
    pulse: Arc<Pulse>,
    /// The aliases whose version cannot serve, with the reasons.
    broken: BTreeMap<String, String>,
}

impl Owner {
    pub(super) fn start(parts: ManagerParts, events: Sender<Event>, pulse: Arc<Pulse>) -> Result<Self> {
        let ManagerParts { config, storage, trust, default_model, load, metrics, predictor } = parts;
        let store = AliasStore::new(&storage, &config.state_dir);
        let tuner = load.tuner.clone();
        let loaded = events.clone();
        let deliver = move |done| loaded.send(Event::Loaded(done)).is_ok();
        let workers = Workers::start(config.load_threads.max(config.start_threads), &load, &metrics, &deliver)?;
        let interval = (config.control == Control::Poll).then_some(config.poll_interval);
        let deliver = move |looked| events.send(Event::Looked(looked)).is_ok();
        let source = Source::start(storage, store.clone(), trust, interval, deliver)?;
        Ok(Self {
            config,
            store,
            source,
            models: BTreeMap::new(),
            waiters: Vec::new(),
            answered: 0,
            default_model,
            workers,
            tuner,
            metrics,
            predictor,
            looked: false,
            read: false,
            settled: false,
            problems: Vec::new(),
            backlog: 0,
            refused: false,
            look_at: None,
            dirty: true,
            faults: 0,
            pulse,
            broken: BTreeMap::new(),
        })
    }

    pub(super) fn run(mut self, inbox: &Receiver<Event>) {
        loop {
            let event = match self.next_wake() {
                // After a fault, what is due waits a moment: it may be what failed.
                _ if self.faults > 0 => inbox.recv_timeout(FAULT_PAUSE).ok(),
                Some(at) => inbox.recv_deadline(at).ok(),
                None => inbox.recv().ok(),
            };
            if matches!(event, Some(Event::Stop)) {
                break;
            }
            self.pulse.begin();
            match catch_unwind(AssertUnwindSafe(|| self.turn(event))) {
                Ok(()) => self.faults = 0,
                Err(_) => self.recover(),
            }
            self.pulse.end();
        }
        for record in self.models.values_mut().flat_map(|model| model.versions.values_mut()) {
            if let Some(flight) = &record.loading {
                flight.cancelled.store(true, Ordering::Relaxed);
            }
        }
        // Both threads may be about to hand something over; nobody takes it any more.
        let drain = inbox.clone();
        let (closed, close) = crossbeam_channel::bounded::<()>(0);
        std::thread::scope(|scope| {
            scope.spawn(move || {
                loop {
                    crossbeam_channel::select! {
                        recv(drain) -> _ => {}
                        recv(close) -> _ => return,
                    }
                }
            });
            self.source.close();
            self.workers.close();
            drop(closed);
        });
    }

    /// Takes an event in, and does all that follows from it.
    fn turn(&mut self, event: Option<Event>) {
        self.dirty |= event.is_some();
        match event {
            Some(Event::Looked(looked)) => self.take_look(looked),
            Some(Event::Loaded(done)) => self.take_load(done),
            Some(Event::Command(command)) => self.take_command(command),
            Some(Event::Stop) | None => {}
            #[cfg(test)]
            Some(Event::Fault) => panic!("a fault"),
        }
        self.step();
    }

    /// Goes on after a panic, which has been logged: what serves and what was asked for stays, what was under way is
    /// given up and begun anew, and the repository is looked at again.
    fn recover(&mut self) {
        self.faults = self.faults.saturating_add(1);
        self.metrics.lifecycle.count_fault(ThreadName::Manager);
        tracing::error!(
            faults = self.faults,
            "the manager of versions failed; what serves goes on, and it begins anew"
        );
        for waiter in std::mem::take(&mut self.waiters) {
            waiter.give_up();
        }
        for record in self.models.values_mut().flat_map(|model| model.versions.values_mut()) {
            if let Some(flight) = record.loading.take() {
                flight.cancelled.store(true, Ordering::Relaxed);
            }
            record.failure = None;
        }
        self.dirty = true;
        self.source.again();
    }

    /// Decides, executes, publishes and answers, until nothing more follows.
    fn step(&mut self) {
        self.apply_loads();
        loop {
            let acted = self.act();
            if !self.settled {
                // Files that are still changing are waited for only while nothing else serves.
                let hopeful = self.records().any(Record::is_restless) && !self.serves();
                self.settled = self.looked && self.backlog == 0 && !self.is_loading() && !hopeful;
                self.dirty |= self.settled;
            }
            if self.dirty {
                self.publish();
                self.dirty = false;
            }
            let reaped = self.reap();
            self.dirty |= reaped;
            if !acted && !reaped {
                break;
            }
        }
        self.look_again();
        self.answer();
    }

    fn act(&mut self) -> bool {
        let now = Instant::now();
        let mut loads = Vec::new();
        let mut acted = false;
        for (name, model) in &mut self.models {
            model.aspire(&self.config.version_policy);
            for (version, action) in policy::decide(&model.views(), !model.present, now) {
                match action {
                    Action::Load => loads.push((name.clone(), version)),
                    other => {
                        execute(&self.metrics, name, model, version, other);
                        acted = true;
                    }
                }
            }
        }
        acted |= self.dispatch(loads);
        self.dirty |= acted;
        acted
    }

    /// Without a watch, files that are still changing are looked at again after the interval.
    fn look_again(&mut self) {
        if self.config.control == Control::Poll || !self.records().any(Record::is_restless) {
            self.look_at = None;
            return;
        }
        let now = Instant::now();
        if self.look_at.is_some_and(|at| at <= now) {
            self.source.again();
            self.look_at = None;
        }
        self.look_at.get_or_insert(now + self.config.poll_interval);
    }

    pub(super) fn serves(&self) -> bool {
        self.records().any(|record| record.serving.is_some())
    }

    /// Hands loads to free workers: models of which nothing serves first, what an alias points to
    /// before the rest of its model, and greater numbers before smaller ones. At start the largest models come
    /// first, so that no worker is left with one at the end.
    fn dispatch(&mut self, mut loads: Vec<(ModelName, Version)>) -> bool {
        let urgency = |(name, version): &(ModelName, Version)| {
            let model = self.models.get(name);
            let serves = model.is_some_and(|model| model.versions.values().any(|record| record.serving.is_some()));
            let aliased =
                model.is_some_and(|model| model.aliases.aliases.values().any(|alias| alias.version == *version));
            let sizes = |model: &Model| model.versions.values().filter_map(Record::model_bytes).max();
            let largest = if self.settled { None } else { model.and_then(sizes) };
            (serves, !aliased, Reverse(largest))
        };
        loads.sort_by_cached_key(urgency);
        // Until the versions of the start are loaded, there are no requests that loading could slow down.
        let most = if self.settled { self.config.load_threads } else { self.config.start_threads };
        self.backlog = 0;
        let mut dispatched = false;
        for (name, version) in loads {
            let record = self.models.get_mut(&name).and_then(|model| model.versions.get_mut(&version));
            let Some((record, found)) = record.and_then(|record| record.found.clone().map(|found| (record, found)))
            else {
                continue;
            };
            if self.workers.busy() >= most {
                self.backlog += 1;
                continue;
            }
            let cancelled = Arc::new(AtomicBool::new(false));
            record.loading = Some(InFlight { fingerprint: found.marks.fingerprint, cancelled: cancelled.clone() });
            self.workers.submit(Job { found, cancelled });
            dispatched = true;
        }
        dispatched
    }

    fn take_load(&mut self, Done { found, cancelled, outcome }: Done) {
        self.workers.free += 1;
        let (name, version) = (&found.folder.name, found.folder.version);
        let record = self.models.get_mut(name).and_then(|model| model.versions.get_mut(&version));
        let Some(record) = record else { return };
        let Some(flight) = record.loading.take_if(|flight| Arc::ptr_eq(&flight.cancelled, &cancelled)) else { return };
        let fingerprint = flight.fingerprint;
        let (model, number) = (name.as_str(), version.0);
        let outcome = match outcome {
            _ if flight.cancelled.load(Ordering::Relaxed) => LoadOutcome::Cancelled,
            None => LoadOutcome::Cancelled,
            Some(Ok(servable)) => {
                let tuning = servable.tuning();
                let (engine, batch_1_us) = (tuning.engine.name(), tuning.single().as_micros() as u64);
                tracing::info!(model, version = number, engine, batch_1_us, "available");
                record.failure = None;
                let servable: Arc<Servable> = Arc::from(servable);
                if let Some(tuner) = &self.tuner {
                    tuner.add(&servable);
                }
                let old = record.serving.replace((servable, fingerprint));
                record.draining.extend(old.map(|(servable, _)| servable));
                LoadOutcome::Success
            }
            Some(Err(error)) => {
                record.fail(fingerprint, &error, Instant::now());
                let attempts = record.failure.as_ref().map_or(0, |failure| failure.attempts);
                let cause = std::error::Error::source(&error).map(ToString::to_string);
                tracing::error!(model, version = number, attempts, error = %error, cause, "cannot be loaded");
                match Failure::of(&error) {
                    Failure::Incomplete => LoadOutcome::Incomplete,
                    Failure::Passing | Failure::Lasting => LoadOutcome::Error,
                }
            }
        };
        self.metrics.lifecycle.count_load(model, outcome);
    }

    pub(super) fn publish(&mut self) {
        // Of several, the first by name, so that every look comes to the same.
        let says_so = self.models.iter().find(|(_, model)| model.is_default() && !model.versions.is_empty());
        let mut catalog = Catalog::new(self.default_model.clone().or_else(|| says_so.map(|(name, _)| name.clone())));
        let is_shown = |model: &Model| !model.versions.is_empty() || model.without().is_some();
        for (name, model) in self.models.iter().filter(|(_, model)| is_shown(model)) {
            let entry = model.entry(self.config.alias_fallback);
            for (version, entry) in &entry.versions {
                self.metrics.lifecycle.set_state(name.as_str(), version.0, entry.state.number());
            }
            catalog.set(name.clone(), entry);
        }
        if self.config.control == Control::Explicit {
            catalog.ready_when_empty();
        }
        if self.read {
            catalog.mark_read();
        }
        if self.settled {
            catalog.settle();
            let broken: BTreeMap<String, String> = catalog.broken_aliases().collect();
            for (alias, problem) in broken.iter().filter(|(alias, _)| !self.broken.contains_key(*alias)) {
                tracing::error!(alias, problem, "an alias points to a version that cannot serve");
            }
            self.metrics.lifecycle.set_broken_aliases(broken.len());
            self.broken = broken;
        }
        self.predictor.publish(catalog);
    }

    /// Drops versions out of service whose last request is answered. It is done here so that no request pays
    /// for it.
    fn reap(&mut self) -> bool {
        let mut reaped = false;
        for (name, model) in &mut self.models {
            for (version, record) in &mut model.versions {
                let before = record.draining.len();
                record.draining.retain(|servable| Arc::strong_count(servable) > 1 || servable.is_running());
                reaped |= record.draining.len() < before;
                if record.draining.len() < before && record.serving.is_none() {
                    tracing::info!(model = name.as_str(), version = version.0, "unloaded");
                }
            }
        }
        let metrics = &self.metrics.lifecycle;
        self.models.retain(|name, model| {
            let stays = model.present || !model.versions.is_empty();
            if !stays {
                metrics.forget_model(name.as_str());
            }
            stays
        });
        reaped
    }

    fn is_loading(&self) -> bool {
        self.records().any(|record| record.loading.is_some())
    }

    fn records(&self) -> impl Iterator<Item = &Record> {
        self.models.values().flat_map(|model| model.versions.values())
    }

    /// Returns true if all that can be done now is done.
    pub(super) fn is_quiet(&self) -> bool {
        self.backlog == 0 && self.records().all(|record| record.loading.is_none() && record.draining.is_empty())
    }

    /// Returns the moment at which something is due without an event.
    fn next_wake(&self) -> Option<Instant> {
        let now = Instant::now();
        let drain = self.records().any(|record| !record.draining.is_empty()).then(|| now + DRAIN_CHECK);
        let retry = self
            .records()
            .filter(|record| record.aspired && record.loading.is_none())
            .filter_map(|record| record.failure.as_ref()?.again)
            // One whose time has come waits for a worker or for its files, which is an event.
            .filter(|again| *again > now)
            .min();
        drain.into_iter().chain(retry).chain(self.look_at).min()
    }
}

fn execute(metrics: &Metrics, name: &ModelName, model: &mut Model, version: Version, action: Action) {
    let Some(record) = model.versions.get_mut(&version) else { return };
    match (action, &record.loading) {
        (Action::Cancel, Some(flight)) => flight.cancelled.store(true, Ordering::Relaxed),
        (Action::Resume, Some(flight)) => flight.cancelled.store(false, Ordering::Relaxed),
        (Action::Unload, _) => {
            tracing::info!(model = name.as_str(), version = version.0, "unloading");
            record.draining.extend(record.serving.take().map(|(servable, _)| servable));
        }
        (Action::Forget, _) => {
            metrics.lifecycle.forget_version(name.as_str(), version.0);
            model.versions.remove(&version);
        }
        // Loads wait for a worker; one that has ended meanwhile is neither dropped nor resumed.
        (Action::Load, _) | (Action::Cancel | Action::Resume, None) => {}
    }
}
