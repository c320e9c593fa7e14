//! Evidence that a stream has changed, with a stated rate of false alarms, however long it is watched.
//!
//! Each sample is given its rank among the reference and all samples before it, ties split at random. As long as
//! traffic is exchangeable with the reference these ranks are independent and uniform (Vovk, Nouretdinov and
//! Gammerman 2003), whatever the distribution is. Bets against that have no expected gain, and restarting them at
//! every sample gives a sum R that grows by 1 on average (Shiryaev and Roberts): by Doob's inequality
//! P(R reaches A within n samples) ≤ n/A.

use serde::{Deserialize, Serialize};

/// The order in which the bins of a stream are ranked means something, or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Bins {
    /// Of numbers, ascending.
    Ordered,
    /// Of classes: a change of one of them in the middle moves no rank far, so bets are also laid on shares of them.
    Classes,
}

/// The evidence of one stream. It holds all there is to know, so one that is stored goes on where it was.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    /// The reference and the samples seen, by bin.
    pool: Vec<u64>,
    total: u64,
    /// The state of the generator that splits ties.
    random: u64,
    jumpers: Vec<Jumper>,
    bettors: Vec<Bettor>,
}

/// The chances per sample that a jumper changes its mind.
const JUMPS: [f64; 3] = [0.001, 0.01, 0.1];

/// Samples after which a bettor has forgotten half.
const HALF_LIVES: [f64; 2] = [200.0, 2000.0];

/// Cells of the unit interval in which a bettor counts.
const CELLS: usize = 20;

/// A limit far beyond every threshold, so that the sum stays finite.
const MOST: f64 = 1e200;

impl Evidence {
    /// Starts from the counts of a reference.
    pub fn new(reference: &[u64], bins: Bins, seed: u64) -> Self {
        let jumpers = [false, true].into_iter().flat_map(|folded| JUMPS.map(|jump| Jumper::new(jump, folded)));
        let bettors = match bins {
            Bins::Ordered => Vec::new(),
            Bins::Classes => HALF_LIVES.map(Bettor::new).to_vec(),
        };
        let total = reference.iter().sum();
        Self { pool: reference.to_vec(), total, random: seed, jumpers: jumpers.collect(), bettors }
    }

    /// Returns true unless its parts contradict each other, as those of a damaged file may.
    pub(super) fn is_whole(&self, bins: usize) -> bool {
        let sum = self.pool.iter().try_fold(0u64, |sum, count| sum.checked_add(*count));
        self.pool.len() == bins
            && sum == Some(self.total)
            && !self.jumpers.is_empty()
            && self.bettors.iter().all(|bettor| bettor.cells.len() == CELLS)
    }

    /// Takes a sample by its bin; one outside the reference's bins is left out.
    pub fn observe(&mut self, bin: usize) {
        let Some(equal) = self.pool.get(bin).copied() else { return };
        let below: u64 = self.pool[..bin].iter().sum();
        let above = self.total - below - equal;
        let rank = (above as f64 + self.uniform() * (equal + 1) as f64) / (self.total + 1) as f64;
        self.pool[bin] += 1;
        self.total += 1;
        self.jumpers.iter_mut().for_each(|jumper| jumper.bet(rank));
        self.bettors.iter_mut().for_each(|bettor| bettor.bet(rank));
    }

    /// Returns ln R, at least 0.
    pub fn ln(&self) -> f64 {
        let sums = self.jumpers.iter().map(|jumper| jumper.sum).chain(self.bettors.iter().map(|bettor| bettor.sum));
        let mean = sums.sum::<f64>() / (self.jumpers.len() + self.bettors.len()) as f64;
        mean.max(1.0).ln()
    }

    /// Starts the bets anew, against the reference alone: samples of a change that is over are no yardstick.
    pub fn reset(&mut self, reference: &[u64]) {
        self.pool = reference.to_vec();
        self.total = reference.iter().sum();
        self.restart();
    }

    /// Starts the bets anew; what was seen stays in the pool.
    pub fn restart(&mut self) {
        self.jumpers.iter_mut().for_each(|jumper| *jumper = Jumper::new(jumper.jump, jumper.folded));
        self.bettors.iter_mut().for_each(|bettor| *bettor = Bettor::new(bettor.half_life));
    }

    /// Returns the next number of a generator (Steele, Lea and Flood 2014, "SplitMix"), uniform in [0, 1).
    fn uniform(&mut self) -> f64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.random ^ (self.random >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// Bets that ranks are high, low or neither, and changes its mind by chance (Vovk et al. 2021, "Retrain or not
/// retrain: conformal test martingales for change-point detection").
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Jumper {
    jump: f64,
    /// Set if it bets on how far ranks are from the middle, as they are when a stream spreads or shrinks.
    folded: bool,
    /// The part of the capital on low, either and high.
    parts: [f64; 3],
    sum: f64,
}

impl Jumper {
    fn new(jump: f64, folded: bool) -> Self {
        Self { jump, folded, parts: [1.0 / 3.0; 3], sum: 0.0 }
    }

    fn bet(&mut self, rank: f64) {
        let place = if self.folded { (2.0 * rank - 1.0).abs() } else { rank };
        for (part, side) in self.parts.iter_mut().zip([-1.0, 0.0, 1.0]) {
            *part = ((1.0 - self.jump) * *part + self.jump / 3.0) * (1.0 + side * (place - 0.5));
        }
        let gain: f64 = self.parts.iter().sum();
        self.parts.iter_mut().for_each(|part| *part /= gain);
        self.sum = ((self.sum + 1.0) * gain).min(MOST);
    }
}

/// Bets half its capital by the shares of late ranks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Bettor {
    half_life: f64,
    cells: Vec<f64>,
    sum: f64,
}

impl Bettor {
    fn new(half_life: f64) -> Self {
        // As if each cell had been seen twice, so that the first samples decide little.
        Self { half_life, cells: vec![2.0; CELLS], sum: 0.0 }
    }

    fn bet(&mut self, rank: f64) {
        let cell = ((rank * CELLS as f64) as usize).min(CELLS - 1);
        let density = CELLS as f64 * self.cells[cell] / self.cells.iter().sum::<f64>();
        self.sum = ((self.sum + 1.0) * (0.5 + 0.5 * density)).min(MOST);
        let kept = (-std::f64::consts::LN_2 / self.half_life).exp();
        self.cells.iter_mut().for_each(|cell| *cell *= kept);
        self.cells[cell] += 1.0;
    }
}
