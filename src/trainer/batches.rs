//! Batches, prepared on another thread while the last one is trained on.
//!
//! Everything random is drawn from a generator keyed by (seed, purpose, epoch, step), so that a
//! batch is the same whichever thread makes it and whether or not the run was resumed before it.

use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::{Scope, ScopedJoinHandle};

use rand::seq::SliceRandom;
use rand::{Rng, RngExt};
use rand_chacha::ChaCha8Rng;

use super::augment::mixup::{self, add_target};
use super::augment::{Augment, Patch};
use super::dataset::Dataset;
use super::random::keyed_rng;
use crate::error::Result;
use crate::stats::standard_normal;

/// Batches that wait ready at the most.
const AHEAD: usize = 4;

/// The data of one training step.
#[derive(Debug, Default, PartialEq)]
pub struct Batch {
    /// Elements of all samples; pixels from 0 to 255.
    pub inputs: Vec<f32>,
    /// Their classes, of a sample mixed from two that of the greater part; empty when numbers are to be learned.
    pub labels: Vec<u32>,
    /// The probability that each sample should be given of each class, row by row; empty if that is all its
    /// label's.
    pub targets: Vec<f32>,
    /// The weight of each sample in the loss; empty when all weigh 1.
    pub weights: Vec<f32>,
    /// The numbers to be learned; empty when classes are.
    pub values: Vec<f32>,
    /// For each dropout layer: 0 or `1/(1-rate)` for each element of each sample.
    pub dropout: Vec<Vec<f32>>,
    /// Standard normal numbers for each sample, if they are wanted.
    pub noise: Vec<f32>,
}

impl Batch {
    /// Returns the number of samples.
    pub fn rows(&self) -> usize {
        self.labels.len().max(self.values.len())
    }
}

/// The rule by which batches are drawn.
#[derive(Debug, Clone)]
pub struct BatchPlan {
    /// The seed of the run.
    pub seed: u64,
    /// The epoch, from 0.
    pub epoch: usize,
    /// Samples per batch; the last one of an epoch may be smaller.
    pub batch_size: usize,
    /// The least number of steps in an epoch: fewer samples are passed through several times.
    pub min_steps: usize,
    /// Elements per sample and rate of each dropout layer.
    pub dropout: Vec<(usize, f32)>,
    /// The augmentation of images.
    pub augment: Augment,
    /// The α of the Beta distribution that samples are mixed by; 0 mixes none.
    pub mixup: f64,
    /// The α of the Beta distribution that rectangles are exchanged by; 0 exchanges none.
    pub cutmix: f64,
    /// The part of each target that is spread over all classes.
    pub label_smoothing: f32,
    /// Standard normal numbers for each sample of an autoencoder, whose pixels are then drawn 0 or 255.
    pub noise: Option<usize>,
}

impl BatchPlan {
    /// Steps that an epoch over `samples` takes.
    pub fn steps(&self, samples: usize) -> usize {
        (self.passes(samples) * samples).div_ceil(self.batch_size)
    }

    /// Returns how often an epoch visits each of `samples`.
    fn passes(&self, samples: usize) -> usize {
        (self.min_steps * self.batch_size).div_ceil(samples.max(1)).max(1)
    }

    /// The order in which this epoch visits the samples: pass by pass, each in an order of its own.
    pub fn order(&self, samples: usize) -> Vec<u32> {
        let mut order = Vec::with_capacity(self.passes(samples) * samples);
        for pass in 0..self.passes(samples) {
            let start = order.len();
            order.extend(0..samples as u32);
            order[start..].shuffle(&mut keyed_rng(self.seed, "shuffle", self.epoch as u64, pass as u64));
        }
        order
    }

    /// Returns the number of the pass that a place in the order belongs to, counted over all epochs: what is drawn for a
    /// sample is drawn anew in each.
    fn round(&self, samples: usize, place: usize) -> u64 {
        (self.epoch * self.passes(samples) + place / samples.max(1)) as u64
    }

    /// The batch of one step.
    ///
    /// # Errors
    /// As [`Dataset::image`].
    pub fn batch(&self, data: &Dataset, order: &[u32], step: usize) -> Result<Batch> {
        let chosen = &order[step * self.batch_size..order.len().min((step + 1) * self.batch_size)];
        let chosen: Vec<usize> = chosen.iter().map(|index| *index as usize).collect();
        let mut pixels = Vec::with_capacity(chosen.len() * data.image_len());
        let is_softened = self.mixup > 0.0 || self.cutmix > 0.0 || self.label_smoothing > 0.0;
        let soft = is_softened && !data.labels().is_empty();
        let mut targets = vec![0.0; if soft { chosen.len() * data.classes } else { 0 }];
        let round = |row: usize| self.round(data.len(), step * self.batch_size + row);
        for (row, &index) in chosen.iter().enumerate() {
            let round = round(row);
            self.append(data, (round, index), &mut pixels)?;
            let mut weight = 1.0;
            let partner = self.partner(data, (round, index));
            if let Some(Partner { index: partner, weight: first, patch }) = partner {
                weight = first;
                self.mix(data, (round, partner), (weight, patch), &mut pixels)?;
            }
            if soft {
                let targets = &mut targets[row * data.classes..][..data.classes];
                add_target(targets, data.labels()[index] as usize, weight, self.label_smoothing);
                if let Some(Partner { index: partner, weight, .. }) = partner {
                    add_target(targets, data.labels()[partner] as usize, 1.0 - weight, self.label_smoothing);
                }
            }
        }
        let mut noise = Vec::new();
        if let Some(count) = self.noise {
            for (row, image) in pixels.chunks_exact_mut(data.image_len()).enumerate() {
                let key = |purpose| keyed_rng(self.seed, purpose, round(row), chosen[row] as u64);
                binarise(image, &mut key("binarise"));
                standard_normal(&mut key("noise"), count, &mut noise);
            }
        }
        let mut rng = keyed_rng(self.seed, "dropout", self.epoch as u64, step as u64);
        let mask = |(elements, rate): &(usize, f32)| dropout_mask(&mut rng, elements * chosen.len(), *rate);
        let labels: Vec<u32> = match data.labels() {
            [] => Vec::new(),
            labels => chosen.iter().map(|&index| labels[index]).collect(),
        };
        let weights = match &data.class_weights[..] {
            [] => Vec::new(),
            weights => labels.iter().map(|&label| weights[label as usize]).collect(),
        };
        let values = match data.values() {
            [] => Vec::new(),
            values => chosen.iter().map(|&index| values[index] as f32).collect(),
        };
        Ok(Batch {
            inputs: pixels,
            labels,
            targets,
            weights,
            values,
            dropout: self.dropout.iter().map(mask).collect(),
            noise,
        })
    }

    /// Appends an image as this round shows it. Keyed by the image, so that it does not depend on the batch it
    /// is in.
    fn append(&self, data: &Dataset, (round, index): (u64, usize), pixels: &mut Vec<f32>) -> Result<()> {
        if self.augment.is_none() {
            return data.append(index, pixels);
        }
        let mut rng = keyed_rng(self.seed, "augment", round, index as u64);
        self.augment.append(&data.image(index)?, [data.channels, data.width], &mut rng, pixels);
        Ok(())
    }

    /// Returns the sample that this round mixes with this one, and how; keyed by the sample.
    fn partner(&self, data: &Dataset, (round, index): (u64, usize)) -> Option<Partner> {
        if self.mixup == 0.0 && self.cutmix == 0.0 {
            return None;
        }
        let mut rng = keyed_rng(self.seed, "mixup", round, index as u64);
        let partner = rng.random_range(0..data.len());
        let cuts = self.cutmix > 0.0 && (self.mixup == 0.0 || rng.random::<bool>());
        if !cuts {
            return Some(Partner { index: partner, weight: mixup::weight(&mut rng, self.mixup), patch: None });
        }
        let weight = mixup::weight(&mut rng, self.cutmix);
        let patch = Patch::drawn(&mut rng, [data.width, data.height], 1.0 - weight);
        Some(Partner { index: partner, weight: 1.0 - patch.share([data.width, data.height]), patch: Some(patch) })
    }

    /// Mixes the last image with another one, of which it keeps `weight`, or replaces a rectangle of it.
    fn mix(
        &self,
        data: &Dataset,
        partner: (u64, usize),
        (weight, patch): (f32, Option<Patch>),
        pixels: &mut Vec<f32>,
    ) -> Result<()> {
        let end = pixels.len();
        self.append(data, partner, pixels)?;
        let (first, second) = pixels.split_at_mut(end);
        let first = &mut first[end - data.image_len()..];
        match patch {
            None => {
                for (pixel, other) in first.iter_mut().zip(second) {
                    *pixel = weight * *pixel + (1.0 - weight) * *other;
                }
            }
            Some(patch) => patch.copy(second, first, [data.width, data.height]),
        }
        pixels.truncate(end);
        Ok(())
    }

    /// Starts a thread that makes the batches from `first_step` on, in order. Dropping the receiver
    /// ends it.
    pub fn produce<'scope>(
        self,
        scope: &'scope Scope<'scope, '_>,
        data: &'scope Dataset,
        first_step: usize,
    ) -> (Receiver<Result<Batch>>, ScopedJoinHandle<'scope, ()>) {
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

/// A sample that is mixed into another one.
#[derive(Debug, Clone, Copy)]
struct Partner {
    index: usize,
    /// The part of the other one that stays.
    weight: f32,
    /// The rectangle that it replaces; none if all of both is mixed.
    patch: Option<Patch>,
}

/// Draws each pixel of an image: 255 with the probability that its grey value is of 255, else 0. So a grey
/// pixel is a probability, and an image is another one whenever it is drawn.
pub(super) fn binarise(image: &mut [f32], rng: &mut ChaCha8Rng) {
    for pixel in image {
        let share = f64::from(rng.next_u32()) * (255.0 / 4_294_967_296.0);
        *pixel = if share < f64::from(*pixel) { 255.0 } else { 0.0 };
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
        Dataset::images(2, 1, (0..20).collect(), (0..10).map(|i| i % 2).collect(), 2)
    }

    fn plan(epoch: usize) -> BatchPlan {
        BatchPlan {
            seed: 7,
            epoch,
            batch_size: 4,
            min_steps: 0,
            dropout: vec![(1000, 0.2)],
            augment: Augment::NONE,
            mixup: 0.0,
            cutmix: 0.0,
            label_smoothing: 0.0,
            noise: None,
        }
    }

    #[test]
    fn samples_are_mixed_and_smoothed_alike_in_any_batch() {
        let data = data();
        let soft = BatchPlan { augment: Augment::moves(90.0, 1.0, 0.1), mixup: 0.5, label_smoothing: 0.1, ..plan(3) };
        let order: Vec<u32> = (0..10).collect();
        let alone = BatchPlan { batch_size: 1, ..soft.clone() };
        let batch = soft.batch(&data, &order, 1).unwrap();
        assert_eq!((batch.inputs.len(), batch.targets.len()), (8, 8));
        for row in 0..4 {
            let single = alone.batch(&data, &order, 4 + row).unwrap();
            assert_eq!(single.inputs, batch.inputs[row * 2..][..2]);
            assert_eq!(single.targets, batch.targets[row * 2..][..2]);
            let (sum, label) = (single.targets.iter().sum::<f32>(), single.labels[0] as usize);
            assert!((sum - 1.0).abs() < 1e-6 && single.targets[label] >= 0.5, "{:?}", single.targets);
        }
        assert_ne!(BatchPlan { epoch: 4, ..soft }.batch(&data, &order, 1).unwrap().targets, batch.targets);
        assert!(plan(3).batch(&data, &order, 1).unwrap().targets.is_empty());
    }

    #[test]
    fn mixing_keeps_to_the_two_images() {
        let data = data();
        let mixed = BatchPlan { mixup: 1.0, batch_size: 10, ..plan(0) };
        let order: Vec<u32> = (0..10).collect();
        let batch = mixed.batch(&data, &order, 0).unwrap();
        for index in order.into_iter().map(|index| index as usize) {
            let Partner { index: partner, weight, .. } = mixed.partner(&data, (0, index)).unwrap();
            for at in 0..2 {
                let [one, other] = [index, partner].map(|index| f32::from(data.image(index).unwrap()[at]));
                let expected = weight * one + (1.0 - weight) * other;
                assert!((batch.inputs[index * 2 + at] - expected).abs() < 1e-5);
            }
        }
    }

    #[test]
    fn a_rectangle_is_replaced_and_the_target_with_it() {
        let pixels: Vec<u8> = (0..10u8).flat_map(|index| [index * 20; 3 * 8 * 6]).collect();
        let data = Dataset::pictures([3, 6, 8], pixels, (0..10).collect(), 10);
        let cut = BatchPlan { cutmix: 1.0, batch_size: 10, ..plan(0) };
        let batch = cut.batch(&data, &(0..10).collect::<Vec<u32>>(), 0).unwrap();
        let mut replaced = 0;
        for index in 0..10 {
            let partner = cut.partner(&data, (0, index)).unwrap();
            let image = &batch.inputs[index * 144..][..144];
            let kept = image.iter().filter(|level| **level == index as f32 * 20.0).count();
            assert!(image.iter().all(|level| [index, partner.index].contains(&(*level as usize / 20))));
            if partner.index != index {
                assert!((kept as f32 / 144.0 - partner.weight).abs() < 1e-6, "{kept} {}", partner.weight);
                assert!((batch.targets[index * 10 + index] - partner.weight).abs() < 1e-6);
                replaced += usize::from(kept < 144);
            }
        }
        assert!(replaced >= 5, "{replaced}");
        let both = BatchPlan { mixup: 0.5, ..cut };
        let patches = (0..10).filter(|index| both.partner(&data, (0, *index)).unwrap().patch.is_some()).count();
        assert!((1..10).contains(&patches), "{patches}");
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
    fn few_samples_are_passed_through_until_there_are_enough_steps() {
        let data = data();
        let long = BatchPlan { min_steps: 6, augment: Augment::moves(90.0, 1.0, 0.1), ..plan(1) };
        let order = long.order(10);
        assert_eq!((long.steps(10), order.len(), long.steps(1000)), (8, 30, 250));
        let counts = |order: &[u32]| (0..10).map(|index| order.iter().filter(|at| **at == index).count()).collect();
        for pass in order.chunks(10) {
            let counts: Vec<usize> = counts(pass);
            assert_eq!(counts, [1; 10]);
        }
        assert_ne!(order[..10], order[10..20], "each pass has an order of its own");
        assert_eq!(plan(1).order(10), order[..10], "the first is that of a plain epoch");
        let shown = |epoch: usize, place: usize| {
            let plan = BatchPlan { batch_size: 1, min_steps: 24, epoch, ..long.clone() };
            plan.batch(&data, &[3; 30], place).unwrap().inputs
        };
        assert_eq!(shown(1, 3), shown(1, 7));
        assert!((1..3).any(|pass| shown(1, 10 * pass) != shown(1, 0)), "what is drawn is drawn anew in each pass");
        assert_eq!(long.batch(&data, &order, 7).unwrap().labels.len(), 2, "the last batch holds what is left");
    }

    #[test]
    fn a_producer_that_starts_late_makes_the_same_batches() {
        let data = data();
        let order = plan(0).order(data.len());
        let expected: Vec<Batch> = (1..3).map(|step| plan(0).batch(&data, &order, step).unwrap()).collect();
        let produced = std::thread::scope(|scope| {
            plan(0).produce(scope, &data, 1).0.iter().map(Result::unwrap).collect::<Vec<_>>()
        });
        assert_eq!(produced, expected);
        assert_eq!(produced[1].labels.len(), 2, "the last batch of an epoch holds what is left");
    }

    #[test]
    fn pixels_are_drawn_in_proportion_and_alike_in_any_batch() {
        let mut image = vec![51.0; 100_000];
        image[0] = 255.0;
        image[1] = 0.0;
        binarise(&mut image, &mut keyed_rng(1, "binarise", 0, 0));
        assert_eq!((image[0], image[1]), (255.0, 0.0));
        let share = image.iter().filter(|pixel| **pixel == 255.0).count() as f64 / 1e5;
        assert!((share - 0.2).abs() < 0.005, "{share}");

        let grey = Dataset::images(40, 1, vec![100; 400], vec![0; 10], 1);
        let plan = |batch_size| BatchPlan { batch_size, noise: Some(3), ..plan(0) };
        let order = plan(1).order(10);
        let (whole, alone) = (plan(10).batch(&grey, &order, 0).unwrap(), plan(1).batch(&grey, &order, 6).unwrap());
        assert_eq!((&whole.inputs[240..280], &whole.noise[18..21]), (&alone.inputs[..], &alone.noise[..]));
        assert_ne!(whole.inputs[..40], whole.inputs[40..80]);
    }

    #[test]
    fn dropout_keeps_the_expected_sum() {
        let mask = dropout_mask(&mut keyed_rng(1, "dropout", 0, 0), 100_000, 0.2);
        let mean = mask.iter().map(|value| f64::from(*value)).sum::<f64>() / 1e5;
        assert!((mean - 1.0).abs() < 0.01, "{mean}");
        assert!(mask.iter().all(|value| *value == 0.0 || *value == 1.25));
    }
}
