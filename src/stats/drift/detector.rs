//! Watches the streams of one model version: evidence and effect together, with dependence taken into account.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::dependence::{autocorrelation_time, median};
use super::effect::{Effect, LEAST_EFFECT, effect};
use super::evidence::{Bins, Evidence};

/// A stream's distribution before.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StreamReference {
    /// Samples by bin.
    pub counts: Vec<u64>,
    /// The meaning of the bins' order.
    pub bins: Bins,
    /// Set if the dependence of neighbours is measured on this stream.
    pub shows_dependence: bool,
}

/// The settings of a detector.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct DetectorSettings {
    /// Samples in the window of effects.
    pub window: usize,
    /// Windows in which the dependence of neighbours is learnt; no stream is alarmed before.
    pub learning_windows: usize,
    /// The number A of samples within which a false alarm of any stream has a probability of at most one: within n
    /// samples it is at most n/A.
    pub run_length: f64,
}

/// Blocks in a window, which slides by one of them.
const BLOCKS: usize = 10;

/// An alarm ends after this many windows with an index below [`CALM_EFFECT`].
const CALM_WINDOWS: u32 = 3;
const CALM_EFFECT: f64 = 0.025;

/// The windows whose dependence counts, and the newest ones left out, so that a change does not hide itself.
const REMEMBERED: usize = 20;
const LEFT_OUT: usize = 2;

/// Below this the samples of a window cannot be told from independent ones.
const INDEPENDENT: f64 = 1.1;

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Stream {
    reference: StreamReference,
    evidence: Evidence,
    /// The counts of each block of the window, the newest last.
    blocks: VecDeque<Vec<u64>>,
    /// The counts of the block that grows.
    growing: Vec<u64>,
    /// The bins of the samples since the last whole window, where dependence is measured.
    sequence: Vec<u16>,
    effect: Option<Effect>,
    is_alarmed: bool,
    calm_windows: u32,
}

/// The detector of the streams of one version. It holds all there is to know, so one that is stored goes on where it was.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Detector {
    settings: DetectorSettings,
    streams: Vec<Stream>,
    seen: u64,
    windows: usize,
    taus: VecDeque<f64>,
    tau: f64,
    until_next: usize,
}

/// One stream as it stands.
#[derive(Debug, Clone, PartialEq)]
pub struct StreamStanding {
    /// The change in the last window, once a block is whole.
    pub effect: Option<Effect>,
    /// ln R / ln A': 1 alarms. A' is the run length times the number of streams.
    pub evidence: f64,
    /// Set while evidence and effect are sure of a change, until it has been gone for some windows.
    pub is_alarmed: bool,
    /// Set while evidence and effect are sure of a change at this moment, also while dependence is learnt, when they may
    /// be wrong.
    pub is_changed: bool,
    /// The samples of the last window by bin, up to the last whole tenth of it.
    pub window: Vec<u64>,
}

/// A version's streams as they stand.
#[derive(Debug, Clone, PartialEq)]
pub struct Standing {
    /// The samples seen.
    pub seen: u64,
    /// The windows in which dependence is still to be learnt.
    pub learning: usize,
    /// The autocorrelation time of neighbouring samples.
    pub dependence: f64,
    /// The streams in the order in which they were given.
    pub streams: Vec<StreamStanding>,
}

impl Detector {
    /// Starts to watch; equal seeds and samples give equal figures.
    pub fn new(streams: Vec<StreamReference>, settings: DetectorSettings, seed: u64) -> Self {
        let settings = DetectorSettings { window: settings.window.max(BLOCKS), ..settings };
        let stream = |(index, reference): (u64, StreamReference)| Stream {
            evidence: Evidence::new(&reference.counts, reference.bins, seed ^ (index << 32)),
            blocks: VecDeque::new(),
            growing: vec![0; reference.counts.len()],
            sequence: Vec::new(),
            effect: None,
            is_alarmed: false,
            calm_windows: 0,
            reference,
        };
        let streams = (0..).zip(streams).map(stream).collect();
        Self { settings, streams, seen: 0, windows: 0, taus: VecDeque::new(), tau: 1.0, until_next: 0 }
    }

    /// Returns this detector, which was stored, if it watches the same streams in the same way as `fresh` and is whole.
    pub fn going_on_from(self, fresh: &Self) -> Option<Self> {
        let settings = DetectorSettings { run_length: fresh.settings.run_length, ..self.settings };
        let is_same = settings == fresh.settings
            && self.streams.len() == fresh.streams.len()
            && self.streams.iter().zip(&fresh.streams).all(|(kept, fresh)| kept.reference == fresh.reference);
        let is_whole = self.streams.iter().all(Stream::is_whole)
            && self.tau.is_finite()
            && self.taus.iter().all(|tau| tau.is_finite())
            && self.until_next <= self.stride();
        (is_same && is_whole).then_some(self)
    }

    /// Takes the bin of each stream for one sample, `None` where it has no value.
    pub fn observe(&mut self, bins: &[Option<usize>]) {
        self.seen += 1;
        let is_taken = self.until_next == 0;
        self.until_next = if is_taken { self.stride() - 1 } else { self.until_next - 1 };
        for (stream, bin) in self.streams.iter_mut().zip(bins) {
            if let Some(bin) = bin {
                stream.observe(*bin, is_taken);
            }
        }
        let block = (self.settings.window / BLOCKS) as u64;
        if self.seen.is_multiple_of(block) {
            let is_window = self.seen.is_multiple_of(block * BLOCKS as u64);
            self.close_block(is_window);
        }
    }

    /// Sets the run length anew.
    pub fn set_run_length(&mut self, run_length: f64) {
        self.settings.run_length = run_length;
    }

    /// Returns the figures.
    pub fn standing(&self) -> Standing {
        let threshold = self.threshold();
        let standing = |stream: &Stream| StreamStanding {
            effect: stream.effect,
            evidence: stream.evidence.ln() / threshold,
            is_alarmed: stream.is_alarmed,
            is_changed: stream.is_changed(threshold),
            window: stream.window(),
        };
        Standing {
            seen: self.seen,
            learning: self.settings.learning_windows.saturating_sub(self.windows),
            dependence: self.tau,
            streams: self.streams.iter().map(standing).collect(),
        }
    }

    /// Returns ln A', the level of each stream that keeps the rate of false alarms of all together.
    fn threshold(&self) -> f64 {
        (self.settings.run_length * self.streams.len().max(1) as f64).max(2.0).ln()
    }

    /// Returns how many samples stand between two that evidence takes: they are then as good as independent.
    fn stride(&self) -> usize {
        if self.tau <= INDEPENDENT { 1 } else { (2.0 * self.tau).ceil() as usize }
    }

    fn close_block(&mut self, is_window: bool) {
        if is_window {
            self.learn_dependence();
        }
        let (threshold, tau) = (self.threshold(), self.tau);
        let is_learning = self.windows < self.settings.learning_windows;
        for stream in &mut self.streams {
            stream.close_block();
            stream.effect = effect(&stream.reference.counts, &stream.window(), tau);
            if !is_learning && stream.is_changed(threshold) {
                stream.is_alarmed = true;
            }
            if is_window {
                stream.calm_down();
            }
        }
    }

    /// Measures the dependence of the window that ended. Evidence that took more samples than are independent is void.
    fn learn_dependence(&mut self) {
        let measured = self.streams.iter_mut().filter(|stream| stream.reference.shows_dependence);
        let taus = measured.map(|stream| autocorrelation_time(&std::mem::take(&mut stream.sequence)));
        self.taus.push_back(taus.fold(1.0, f64::max));
        if self.taus.len() > REMEMBERED {
            self.taus.pop_front();
        }
        let before = self.stride();
        let known = self.taus.len().saturating_sub(LEFT_OUT);
        self.tau = median(self.taus.iter().take(known).copied());
        self.windows += 1;
        let is_taught = self.windows == self.settings.learning_windows;
        if is_taught || self.stride() >= 2 * before {
            self.streams.iter_mut().filter(|stream| !stream.is_alarmed).for_each(|stream| stream.evidence.restart());
        }
    }
}

impl Stream {
    /// Returns true unless its parts contradict each other, as those of a damaged file may.
    fn is_whole(&self) -> bool {
        let bins = self.reference.counts.len();
        self.growing.len() == bins
            && self.blocks.len() <= BLOCKS
            && self.blocks.iter().all(|block| block.len() == bins)
            && self.evidence.is_whole(bins)
    }

    fn observe(&mut self, bin: usize, is_taken: bool) {
        if is_taken {
            self.evidence.observe(bin);
        }
        if let Some(count) = self.growing.get_mut(bin) {
            *count += 1;
        }
        if self.reference.shows_dependence {
            self.sequence.push(bin as u16);
        }
    }

    fn window(&self) -> Vec<u64> {
        let mut sums = vec![0; self.reference.counts.len()];
        for block in &self.blocks {
            sums.iter_mut().zip(block).for_each(|(sum, count)| *sum += count);
        }
        sums
    }

    fn is_changed(&self, threshold: f64) -> bool {
        self.evidence.ln() >= threshold && self.effect.is_some_and(|effect| effect.interval.low > LEAST_EFFECT)
    }

    /// Counts whole windows without a change; after some of them an alarm ends.
    fn calm_down(&mut self) {
        let is_calm = self.effect.is_some_and(|effect| effect.psi < CALM_EFFECT);
        self.calm_windows = if is_calm { self.calm_windows + 1 } else { 0 };
        if self.is_alarmed && self.calm_windows >= CALM_WINDOWS {
            self.is_alarmed = false;
            self.evidence.reset(&self.reference.counts);
        }
    }

    /// Ends a block, and leaves out the oldest of a full window.
    fn close_block(&mut self) {
        let empty = vec![0; self.reference.counts.len()];
        self.blocks.push_back(std::mem::replace(&mut self.growing, empty));
        if self.blocks.len() > BLOCKS {
            self.blocks.pop_front();
        }
    }
}
