//! Networks of one architecture that are trained side by side and whose outputs are averaged: an ensemble (Hansen and
//! Salamon 1990), or a single network.

use rayon::prelude::*;

use super::network::{Network, PassInput};
use crate::error::Result;
use crate::layers::Architecture;

/// The greatest number of members.
pub(super) const MOST_MEMBERS: usize = 64;

/// One network or several, whose output is the mean of theirs.
#[derive(Debug, Clone)]
pub(super) struct Members(Vec<Network>);

/// The loss of a batch: the sum over its samples, and how many samples are right.
pub(super) type BatchLoss = (f64, usize);

impl Members {
    /// Makes members with fresh parameters; each draws numbers of its own from the seed.
    ///
    /// # Errors
    /// As [`Architecture::plan`].
    pub(super) fn new(architecture: &Architecture, seed: u64, count: usize) -> Result<Self> {
        let prefix = |member: usize| if count > 1 { format!("member_{}.", member + 1) } else { String::new() };
        let member = |member: usize| Network::part(architecture, seed, member as u64, &prefix(member));
        Ok(Self((0..count.max(1)).map(member).collect::<Result<_>>()?))
    }

    /// Returns the members; there is at least one.
    pub(super) fn networks(&self) -> &[Network] {
        &self.0
    }

    pub(super) fn networks_mut(&mut self) -> &mut [Network] {
        &mut self.0
    }

    /// Returns the mean of the members' outputs before the last scale or softmax, row by row.
    ///
    /// # Errors
    /// As [`Network::logits`].
    pub(super) fn logits(&self, samples: &[f32]) -> Result<Vec<f32>> {
        mean_logits(&self.0, samples)
    }

    /// Runs every member forward and backward over the same samples; each has the dropout masks of its own layers.
    ///
    /// Returns the means of the members' losses and the gradients, member by member.
    ///
    /// # Errors
    /// As [`Network::pass_through`].
    pub(super) fn pass(
        &mut self,
        (values, rows): (Vec<f32>, usize),
        mut masks: Vec<Vec<f32>>,
        loss: impl Fn(&mut [f32]) -> BatchLoss + Sync,
    ) -> Result<(f64, f64, Vec<Vec<f32>>)> {
        let mut of_members = Vec::with_capacity(self.0.len());
        for network in &self.0 {
            let rest = masks.split_off(network.dropout().len().min(masks.len()));
            of_members.push(std::mem::replace(&mut masks, rest));
        }
        let pass = |(network, masks): (&mut Network, Vec<Vec<f32>>)| {
            let mut found = (0.0, 0);
            let input = PassInput { values: values.clone(), rows, masks };
            let gradients = network.pass_through(input, false, |outputs| {
                found = loss(outputs);
                Ok(())
            })?;
            Ok((found, gradients.parameters))
        };
        let passes: Vec<(BatchLoss, Vec<Vec<f32>>)> = match self.0.as_mut_slice() {
            [alone] => of_members.into_iter().map(|masks| pass((&mut *alone, masks))).collect::<Result<_>>()?,
            several => several.par_iter_mut().zip(of_members).map(pass).collect::<Result<_>>()?,
        };
        let count = passes.len() as f64;
        let (mut loss_sum, mut correct, mut gradients) = (0.0, 0.0, Vec::new());
        for ((loss, right), of_member) in passes {
            loss_sum += loss / count;
            correct += right as f64 / count;
            gradients.extend(of_member);
        }
        Ok((loss_sum, correct, gradients))
    }
}

/// Returns the mean of what networks give before the last scale or softmax.
///
/// # Errors
/// As [`Network::logits`].
pub(super) fn mean_logits(networks: &[Network], samples: &[f32]) -> Result<Vec<f32>> {
    let [first, others @ ..] = networks else { return Ok(Vec::new()) };
    let mut sum = first.logits(samples)?;
    for network in others {
        sum.iter_mut().zip(network.logits(samples)?).for_each(|(sum, logit)| *sum += logit);
    }
    if !others.is_empty() {
        let share = 1.0 / networks.len() as f32;
        sum.iter_mut().for_each(|logit| *logit *= share);
    }
    Ok(sum)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layers::LayerSpec;

    #[test]
    fn members_differ_and_their_mean_is_the_output() {
        let layers =
            vec![LayerSpec::Dense { units: 3 }, LayerSpec::Dropout { rate: 0.5 }, LayerSpec::Dense { units: 2 }];
        let architecture = Architecture { input: vec![2], layers };
        let mut members = Members::new(&architecture, 7, 3).unwrap();
        let samples = [1.0, 2.0, -1.0, 0.5];
        let single: Vec<Vec<f32>> =
            members.networks().iter().map(|network| network.logits(&samples).unwrap()).collect();
        assert_ne!(single[0], single[1]);
        let mean = members.logits(&samples).unwrap();
        for (at, mean) in mean.iter().enumerate() {
            let expected = single.iter().map(|logits| logits[at]).sum::<f32>() / 3.0;
            assert!((mean - expected).abs() < 1e-6);
        }
        let alone = Members::new(&architecture, 7, 1).unwrap();
        assert_eq!(alone.networks()[0].logits(&samples).unwrap(), single[0], "the first is the one without others");
        assert_eq!(alone.networks()[0].parameters()[0].name, "dense_1.weight");
        assert_eq!(members.networks()[2].parameters()[0].name, "member_3.dense_1.weight");

        // Masks that let nothing through: then only the last bias has a gradient, and that of each member its own.
        let masks = vec![vec![0.0; 6], vec![2.0; 6], vec![0.0; 6]];
        let (loss, correct, gradients) = members.pass((samples.to_vec(), 2), masks, |_| (3.0, 1)).unwrap();
        assert_eq!((loss, correct, gradients.len()), (3.0, 1.0, 12));
        assert!(gradients[2].iter().all(|gradient| *gradient == 0.0));
        assert!(gradients[6].iter().any(|gradient| *gradient != 0.0));
    }
}
