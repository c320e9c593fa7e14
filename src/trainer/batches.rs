//! Batches, prepared on another thread while the last one is trained on.
//!
//! Everything random is drawn from a generator keyed by (seed, purpose, epoch, step), so that a
//! batch is the same whichever thread makes it and whether or not the run was resumed before it.

use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::{Scope, ScopedJoinHandle};

use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::augment::Augment;
use super::dataset::Dataset;

/// Batches that wait ready at the most.
const AHEAD: usize = 4;

/// A generator for one purpose at one place of a run.
pub fn keyed_rng(seed: u64, purpose: &str, epoch: u64, step: u64) -> ChaCha8Rng {
    let mut key = [0; 32];
    key[..8].copy_from_slice(&seed.to_le_bytes());
    for (slot, byte) in key[8..16].iter_mut().zip(purpose.bytes()) {
        *slot = byte;
    }
    key[16..24].copy_from_slice(&epoch.to_le_bytes());
    key[24..].copy_from_slice(&step.to_le_bytes());
    ChaCha8Rng::from_seed(key)
}

/// What one step trains on.
#[derive(Debug, PartialEq)]
pub struct Batch {
    /// Pixels of all samples, 0 to 255.
    pub pixels: Vec<f32>,
    /// Their classes.
    pub labels: Vec<u8>,
    /// For each dropout layer: 0 or `1/(1-rate)` for each element of each sample.
    pub dropout: Vec<Vec<f32>>,
}

/// How batches are drawn.
#[derive(Debug, Clone)]
pub struct BatchPlan {
    /// The seed of the run.
    pub seed: u64,
    /// The epoch, from 0.
    pub epoch: usize,
    /// Samples per batch; the last one of an epoch may be smaller.
    pub batch_size: usize,
    /// Elements per sample and rate of each dropout layer.
    pub dropout: Vec<(usize, f32)>,
    /// How images are moved, if they are.
    pub augment: Option<Augment>,
}

impl BatchPlan {
    /// Steps that an epoch over `samples` takes.
    pub fn steps(&self, samples: usize) -> usize {
        samples.div_ceil(self.batch_size)
    }

    /// The order in which this epoch visits the samples.
    pub fn order(&self, samples: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..samples).collect();
        order.shuffle(&mut keyed_rng(self.seed, "shuffle", self.epoch as u64, 0));
        order
    }

    /// The batch of one step.
    pub fn batch(&self, data: &Dataset, order: &[usize], step: usize) -> Batch {
        let chosen = &order[step * self.batch_size..order.len().min((step + 1) * self.batch_size)];
        let mut pixels = Vec::with_capacity(chosen.len() * data.image_len());
        for &index in chosen {
            let image = data.image(index);
            match &self.augment {
                // Keyed by the image, so that it does not depend on the batch it is in.
                Some(augment) => {
                    let mut rng = keyed_rng(self.seed, "augment", self.epoch as u64, index as u64);
                    augment.append(image, data.width, &mut rng, &mut pixels);
                }
                None => pixels.extend(image.iter().map(|pixel| f32::from(*pixel))),
            }
        }
        let mut rng = keyed_rng(self.seed, "dropout", self.epoch as u64, step as u64);
        let mask = |(elements, rate): &(usize, f32)| dropout_mask(&mut rng, elements * chosen.len(), *rate);
        Batch {
            pixels,
            labels: chosen.iter().map(|&index| data.labels[index]).collect(),
            dropout: self.dropout.iter().map(mask).collect(),
        }
    }

    /// Starts a thread that makes the batches from `first_step` on, in order. Dropping the receiver
    /// ends it.
    pub fn produce<'scope>(
        self,
        scope: &'scope Scope<'scope, '_>,
        data: &'scope Dataset,
        first_step: usize,
    ) -> (Receiver<Batch>, ScopedJoinHandle<'scope, ()>) {
        let (sender, receiver) = sync_channel(AHEAD);
        let producer = scope.spawn(move || {
            let order = self.order(data.len());
            for step in first_step..self.steps(data.len()) {
                if sender.send(self.batch(data, &order, step)).is_err() {
                    return;
                }
            }
        });
        (receiver, producer)
    }
}

fn dropout_mask(rng: &mut ChaCha8Rng, elements: usize, rate: f32) -> Vec<f32> {
    // An integer threshold: exact, and faster than drawing floats.
    let threshold = (f64::from(rate) * 4_294_967_296.0) as u64;
    let kept = 1.0 / (1.0 - rate);
    (0..elements).map(|_| if u64::from(rng.next_u32()) < threshold { 0.0 } else { kept }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data() -> Dataset {
        Dataset { width: 2, height: 1, pixels: (0..20).collect(), labels: (0..10).map(|i| i % 2).collect(), classes: 2 }
    }

    fn plan(epoch: usize) -> BatchPlan {
        BatchPlan { seed: 7, epoch, batch_size: 4, dropout: vec![(1000, 0.2)], augment: None }
    }

    #[test]
    fn an_epoch_visits_every_sample_once_in_its_own_order() {
        let (first, second) = (plan(0).order(100), plan(1).order(100));
        assert_ne!(first, second);
        for mut order in [first, second] {
            order.sort_unstable();
            assert_eq!(order, (0..100).collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_producer_that_starts_late_makes_the_same_batches() {
        let data = data();
        let order = plan(0).order(data.len());
        let expected: Vec<Batch> = (1..3).map(|step| plan(0).batch(&data, &order, step)).collect();
        let produced = std::thread::scope(|scope| plan(0).produce(scope, &data, 1).0.iter().collect::<Vec<_>>());
        assert_eq!(produced, expected);
        assert_eq!(produced[1].labels.len(), 2, "the last batch of an epoch holds what is left");
    }

    #[test]
    fn dropout_keeps_the_expected_sum() {
        let mask = dropout_mask(&mut keyed_rng(1, "dropout", 0, 0), 100_000, 0.2);
        let mean = mask.iter().map(|value| f64::from(*value)).sum::<f64>() / 1e5;
        assert!((mean - 1.0).abs() < 0.01, "{mean}");
        assert!(mask.iter().all(|value| *value == 0.0 || *value == 1.25));
    }
}
