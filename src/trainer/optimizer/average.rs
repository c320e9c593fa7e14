//! A moving average of a network's arrays (Polyak and Juditsky 1992, "Acceleration of Stochastic Approximation by
//! Averaging", with weights that fade): it does not follow the noise of single batches.

use rayon::prelude::*;

use super::CHUNK;
use crate::trainer::learner::Learner;
use crate::trainer::network::Parameter;

/// The average of everything a network is made of, the running statistics of its norms included.
#[derive(Debug, Clone)]
pub(in crate::trainer) struct Average {
    pub(in crate::trainer) arrays: Vec<Parameter>,
}

impl Average {
    /// Of a network before its first step.
    pub(in crate::trainer) fn of(network: &impl Learner) -> Self {
        Self { arrays: network.all_arrays().into_iter().cloned().collect() }
    }

    /// Takes in the network as it is after the step with this number, counted from 1. The average keeps
    /// `decay` of itself, or (1 + n) / (10 + n) if that is less, so that it forgets the beginning sooner.
    pub(in crate::trainer) fn add(&mut self, network: &impl Learner, decay: f64, step: u64) {
        let step = step as f64;
        let part = (1.0 - decay.min((1.0 + step) / (10.0 + step))) as f32;
        for (average, array) in self.arrays.iter_mut().zip(network.all_arrays()) {
            average.values.par_chunks_mut(CHUNK).zip(array.values.par_chunks(CHUNK)).for_each(|(average, values)| {
                crate::simd::vectorized(
                    #[inline(always)]
                    || {
                        for (average, value) in average.iter_mut().zip(values) {
                            *average += (*value - *average) * part;
                        }
                    },
                );
            });
        }
    }

    /// Exchanges the average with the network's own arrays.
    pub(in crate::trainer) fn swap(&mut self, network: &mut impl Learner) {
        for (average, array) in self.arrays.iter_mut().zip(network.all_arrays_mut()) {
            std::mem::swap(&mut average.values, &mut array.values);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layers::{Architecture, LayerSpec};
    use crate::trainer::tasks::classification::Classifier;

    #[test]
    fn an_average_follows_its_definition_and_comes_to_what_stays() {
        let architecture = Architecture { input: vec![3], layers: vec![LayerSpec::Dense { units: 2 }] };
        let mut model = Classifier::new(&architecture, 1).unwrap();
        let mut average = Average::of(&model);
        let mut expected = f64::from(model.network().parameters()[0].values[0]);
        model.networks_mut()[0].parameters_mut()[0].values.fill(2.0);
        for step in 1..200 {
            average.add(&model, 0.9, step);
            let decay = 0.9f64.min((1.0 + step as f64) / (10.0 + step as f64));
            expected = decay * expected + (1.0 - decay) * 2.0;
            assert!((f64::from(average.arrays[0].values[0]) - expected).abs() < 1e-5);
        }
        assert!((expected - 2.0).abs() < 1e-3);
        average.swap(&mut model);
        assert!(model.network().parameters()[0].values[0] != 2.0 && average.arrays[0].values[0] == 2.0);
    }
}
