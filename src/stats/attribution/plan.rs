//! The masks of a method, and what it makes of the answers.

use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::units::{Mask, Units};
use super::{rise, shap};

/// The way in which units are credited with an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = ExplanationMethod)]
pub enum Method {
    /// The fall of the answer when a unit is hidden; in a grid the mean over the windows that hide it (Zeiler and Fergus,
    /// 2014).
    Occlusion,
    /// The difference between the answers with a unit shown and hidden, on the average over random masks (Petsiuk et al.,
    /// 2018, less what is the same for all units).
    Rise,
    /// The Shapley values of the units, by weighted least squares over coalitions (Lundberg and Lee, 2017). They add up
    /// to the difference between the answer and that for the baseline.
    Shap,
    /// The exact class-activation map of a network whose logits are a linear map of a global average pool (Zhou et al.,
    /// 2016). With the bias, the credits add up to the logit.
    Cam,
}

/// The masks that a method asks about.
#[derive(Debug)]
pub struct Plan {
    method: Method,
    masks: Vec<Mask>,
    /// The weight of each mask.
    weights: Vec<f64>,
}

impl Plan {
    /// Makes a plan of about `samples` masks; of occlusion there is one for each unit, and Shapley values of few units
    /// are exact.
    pub fn new(method: Method, units: &Units, samples: usize, rng: &mut ChaCha8Rng) -> Self {
        let (masks, weights) = match method {
            Method::Occlusion => (windows(units), Vec::new()),
            Method::Rise => (rise::masks(units, samples, rng), Vec::new()),
            Method::Shap => shap::coalitions(units.len(), samples, rng),
            // It is computed from maps, and asks about no mask.
            Method::Cam => (Vec::new(), Vec::new()),
        };
        Self { method, masks, weights }
    }

    /// Returns the masks to ask about.
    pub fn masks(&self) -> &[Mask] {
        &self.masks
    }

    /// Returns the credit of each unit. `answers` are those for the masks, `whole` is that for the sample itself, `empty`
    /// that for the baseline.
    pub fn attributions(&self, answers: &[f64], whole: f64, empty: f64) -> Vec<f64> {
        match self.method {
            Method::Occlusion => falls(&self.masks, answers, whole),
            Method::Rise => rise::attributions(&self.masks, answers),
            Method::Shap => shap::attributions(&self.masks, &self.weights, answers, whole, empty),
            Method::Cam => Vec::new(),
        }
    }
}

/// Returns a mask for each unit that hides it; in a grid of at least three rows and columns also those around it, as a
/// single cell is often guessed from its neighbours.
fn windows(units: &Units) -> Vec<Mask> {
    let reach = usize::from(units.shape().len() == 2 && units.shape().iter().all(|size| *size >= 3));
    let columns = units.shape().last().copied().unwrap_or(1);
    let hide = |centre: usize| {
        let is_near = |unit: usize| {
            let apart = |a: usize, b: usize| a.abs_diff(b) <= reach;
            apart(unit / columns, centre / columns) && apart(unit % columns, centre % columns)
        };
        (0..units.len()).map(|unit| f32::from(u8::from(!is_near(unit)))).collect()
    };
    (0..units.len()).map(hide).collect()
}

/// Returns for each unit the mean fall of the answer over the masks that hide it.
fn falls(masks: &[Mask], answers: &[f64], whole: f64) -> Vec<f64> {
    let fall = |unit: usize| {
        let hidden = masks.iter().zip(answers).filter(|(mask, _)| mask[unit] == 0.0);
        let (sum, count) = hidden.fold((0.0, 0.0), |(sum, count), (_, answer)| (sum + whole - answer, count + 1.0));
        sum / f64::max(count, 1.0)
    };
    (0..masks.len()).map(fall).collect()
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    #[test]
    fn occlusion_hides_a_window_of_a_grid_and_a_unit_of_a_line() {
        let grid = Units::cells(16, [4, 4], [4, 4], |element| element);
        let plan = Plan::new(Method::Occlusion, &grid, 0, &mut ChaCha8Rng::seed_from_u64(1));
        let hidden = |mask: &Mask| mask.iter().filter(|shown| **shown == 0.0).count();
        assert_eq!(
            plan.masks().iter().map(hidden).collect::<Vec<_>>(),
            [4, 6, 6, 4, 6, 9, 9, 6, 6, 9, 9, 6, 4, 6, 6, 4]
        );
        let line = Plan::new(Method::Occlusion, &Units::line(3, 3), 0, &mut ChaCha8Rng::seed_from_u64(1));
        assert_eq!(line.masks(), [[0.0, 1.0, 1.0], [1.0, 0.0, 1.0], [1.0, 1.0, 0.0]]);
        assert_eq!(line.attributions(&[1.0, 4.0, 6.0], 5.0, 0.0), [4.0, 1.0, -1.0]);
    }

    #[test]
    fn every_method_finds_the_units_that_count() {
        let weights = [0.0, 3.0, 0.0, -2.0, 0.0, 0.0];
        let answer = |mask: &Mask| mask.iter().zip(weights).map(|(shown, weight)| f64::from(*shown) * weight).sum();
        for method in [Method::Occlusion, Method::Rise, Method::Shap] {
            let units = Units::line(6, 6);
            let plan = Plan::new(method, &units, 4000, &mut ChaCha8Rng::seed_from_u64(5));
            let answers: Vec<f64> = plan.masks().iter().map(answer).collect();
            let found = plan.attributions(&answers, 1.0, 0.0);
            let near = if method == Method::Rise { 0.2 } else { 1e-9 };
            assert!(
                found.iter().zip(weights).all(|(found, weight)| (found - weight).abs() < near),
                "{method:?} {found:?}"
            );
        }
    }
}
