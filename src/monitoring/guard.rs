//! Asks the guards of versions about a share of what these are asked, behind all requests.
//!
//! The observer copies nothing: it shares the input of a request with the task behind it, if that is free. So no more than
//! two requests' inputs outlive their answers. What the task finds goes to the watch for drift.

use std::sync::{Arc, Weak};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};
use tokio::sync::{mpsc, watch};

use super::record::energies;
use crate::metrics::Outcome;
use crate::serving::{Finished, Identity, Observer, Part, Predictor, Servable};
use crate::tensor::Tensor;

/// The requests that may wait while the guard is asked about another: they should be of one moment, and their inputs take
/// memory.
const QUEUE: usize = 1;

/// The most samples of a request that are asked about: the first ones.
const MOST_SAMPLES: usize = 16;

/// The findings that may wait.
const FINDINGS: usize = 1024;

/// The scores of a guard for the samples of one request, or why there are none.
#[derive(Debug)]
pub(super) struct GuardFinding {
    /// The version that is guarded.
    pub(super) identity: Arc<Identity>,
    /// The energy of each answer, if it has one, and the score of its input.
    pub(super) outcome: Result<Vec<(Option<f32>, f32)>, String>,
}

/// The input of a request that was answered.
#[derive(Debug)]
struct Seen {
    guarded: Weak<Servable>,
    inputs: Arc<Vec<Tensor>>,
    /// One for each sample that is asked about.
    energies: Vec<Option<f32>>,
}

/// Passes inputs of versions that have a guard on.
#[derive(Debug)]
pub struct GuardObserver(mpsc::Sender<Seen>);

/// The task that asks guards, before it runs.
#[derive(Debug)]
pub struct Guards {
    seen: mpsc::Receiver<Seen>,
    findings: Sender<GuardFinding>,
    samples_per_second: f64,
}

/// Where the watch for drift hears of scores.
#[derive(Debug)]
pub struct GuardFindings(Receiver<GuardFinding>);

impl Guards {
    /// Makes the observer, the task that asks guards about at most so many samples a second, and the place of what it
    /// finds.
    pub fn new(samples_per_second: f64) -> (GuardObserver, Self, GuardFindings) {
        let (observer, seen) = mpsc::channel(QUEUE);
        let (findings, found) = bounded(FINDINGS);
        (GuardObserver(observer), Self { seen, findings, samples_per_second }, GuardFindings(found))
    }

    /// Asks until `closed` turns true.
    pub async fn run(&mut self, predictor: Arc<Predictor>, mut closed: watch::Receiver<bool>) {
        loop {
            let seen = tokio::select! {
                seen = self.seen.recv() => seen,
                _ = closed.wait_for(|closed| *closed) => None,
            };
            let Some(seen) = seen else { return };
            let Some(guarded) = seen.guarded.upgrade() else { continue };
            let samples = seen.energies.len();
            let scores = tokio::select! {
                scores = predictor.guard_later(&guarded, seen.inputs, samples) => scores,
                _ = closed.wait_for(|closed| *closed) => return,
            };
            let outcome = scores.map(|scores| seen.energies.into_iter().zip(scores).collect());
            let identity = guarded.identity.clone();
            // A version that is unloaded meanwhile must not wait for the pause.
            drop(guarded);
            // What is not heard is not watched; the next one is.
            drop(self.findings.try_send(GuardFinding { identity, outcome }));
            let pause = Duration::from_secs_f64(samples as f64 / self.samples_per_second);
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                _ = closed.wait_for(|closed| *closed) => return,
            }
        }
    }
}

impl Observer for GuardObserver {
    fn finished(&self, prediction: &Finished<'_>) {
        let identity = &prediction.servable.identity;
        let is_asked = prediction.context.caller.is_client()
            && prediction.part == Part::Model
            && prediction.outcome == Outcome::Success
            && identity.guard_model.is_some();
        let Some(inputs) = prediction.inputs.filter(|_| is_asked) else { return };
        let Ok(place) = self.0.try_reserve() else { return };
        let rows = inputs.first().map_or(0, Tensor::rows).min(MOST_SAMPLES);
        let energies: Vec<Option<f32>> = energies(prediction).take(rows).collect();
        if !energies.is_empty() {
            place.send(Seen { guarded: Arc::downgrade(prediction.servable), inputs: inputs.clone(), energies });
        }
    }
}

impl GuardFindings {
    /// Returns what has been found since it was last asked.
    pub(super) fn take(&self) -> impl Iterator<Item = GuardFinding> + '_ {
        self.0.try_iter()
    }
}
