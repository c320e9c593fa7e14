//! What follows the scores of classes and targets: the transforms that a model names.

use tract_onnx::pb::NodeProto;
use tract_onnx::tract_hir::internal::*;

/// The transform of the scores of one sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PostTransform {
    None,
    Softmax,
    Logistic,
    SoftmaxZero,
    Probit,
}

impl PostTransform {
    /// Reads the attribute `post_transform`.
    ///
    /// # Errors
    /// An error that quotes a name that the standard does not know.
    pub(super) fn read(node: &NodeProto) -> TractResult<Self> {
        match node.get_attr_opt::<&str>("post_transform")?.unwrap_or("NONE") {
            "NONE" => Ok(Self::None),
            "SOFTMAX" => Ok(Self::Softmax),
            "LOGISTIC" => Ok(Self::Logistic),
            "SOFTMAX_ZERO" => Ok(Self::SoftmaxZero),
            "PROBIT" => Ok(Self::Probit),
            other => node.bail(&format!("post_transform is {}", crate::ids::quote(other))),
        }
    }

    /// Returns the transform with this number in `TreeEnsemble`.
    ///
    /// # Errors
    /// An error that tells the number when the standard does not know it.
    pub(super) fn numbered(number: i64) -> TractResult<Self> {
        Ok(match number {
            0 => Self::None,
            1 => Self::Softmax,
            2 => Self::Logistic,
            3 => Self::SoftmaxZero,
            4 => Self::Probit,
            other => bail!("post_transform is {other}, the standard knows 0 to 4"),
        })
    }

    /// Transforms the scores of one sample. A lone score is no distribution: only PROBIT changes it, as in ONNX
    /// Runtime.
    pub(super) fn apply(self, scores: &mut [f32]) {
        match self {
            _ if scores.len() < 2 && self != Self::Probit => (),
            Self::None => (),
            Self::Softmax => softmax(scores),
            Self::Logistic => scores.iter_mut().for_each(|score| *score = logistic(*score)),
            Self::SoftmaxZero => softmax_zero(scores),
            Self::Probit => scores.iter_mut().for_each(|score| *score = probit(*score)),
        }
    }
}

/// Returns the scores of both classes where a model scores only one. `is_share` says that the score is a
/// probability, whose complement is the score of the other class.
pub(super) fn both(score: f32, is_share: bool, post_transform: PostTransform) -> [f32; 2] {
    match post_transform {
        PostTransform::Probit => [probit(score), 0.0],
        PostTransform::Logistic => [logistic(-score), logistic(score)],
        PostTransform::None | PostTransform::Softmax | PostTransform::SoftmaxZero => {
            [if is_share { 1.0 - score } else { -score }, score]
        }
    }
}

pub(super) fn logistic(score: f32) -> f32 {
    let share = 1.0 / (1.0 + (-score.abs()).exp());
    if score < 0.0 { 1.0 - share } else { share }
}

/// Returns the quantile of the normal distribution, by Winitzki's approximation of the error function as
/// ONNX Runtime has it.
pub(super) fn probit(share: f32) -> f32 {
    let x = 2.0 * share - 1.0;
    let log = ((1.0 - x) * (1.0 + x)).ln();
    let half = 2.0 / (std::f32::consts::PI * 0.147) + 0.5 * log;
    let root = (-half + (half * half - log / 0.147).sqrt()).sqrt();
    std::f32::consts::SQRT_2 * if x < 0.0 { -root } else { root }
}

fn softmax(scores: &mut [f32]) {
    let largest = scores.iter().copied().fold(f32::MIN, f32::max);
    let mut sum = 0.0;
    for score in scores.iter_mut() {
        *score = (*score - largest).exp();
        sum += *score;
    }
    scores.iter_mut().for_each(|score| *score /= sum);
}

/// A softmax that leaves classes with a score of 0 out.
fn softmax_zero(scores: &mut [f32]) {
    const NOTHING: f32 = 1e-7;
    let largest = scores.iter().copied().fold(f32::MIN, f32::max);
    let mut sum = 0.0;
    for score in scores.iter_mut() {
        if score.abs() > NOTHING {
            *score = (*score - largest).exp();
            sum += *score;
        } else {
            *score *= (-largest).exp();
        }
    }
    scores.iter_mut().for_each(|score| *score /= sum);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn applied(transform: PostTransform, scores: &[f32]) -> Vec<f32> {
        let mut scores = scores.to_vec();
        transform.apply(&mut scores);
        scores
    }

    #[test]
    fn transforms_are_those_of_the_standard() {
        let near = |got: Vec<f32>, want: &[f32]| {
            assert!(got.iter().zip(want).all(|(got, want)| (got - want).abs() < 1e-3), "{got:?} is not {want:?}");
        };
        near(applied(PostTransform::None, &[3.0, -1.0]), &[3.0, -1.0]);
        near(applied(PostTransform::Logistic, &[3.0]), &[3.0]);
        near(applied(PostTransform::Softmax, &[1000.0, 1000.0]), &[0.5, 0.5]);
        near(applied(PostTransform::Logistic, &[0.0, 90.0, -90.0]), &[0.5, 1.0, 0.0]);
        near(applied(PostTransform::SoftmaxZero, &[0.0, 1.0, 1.0]), &[0.0, 0.5, 0.5]);
        near(applied(PostTransform::Probit, &[0.5, 0.975, 0.025]), &[0.0, 1.960, -1.960]);
    }

    #[test]
    fn one_score_becomes_two() {
        assert_eq!(both(0.25, true, PostTransform::None), [0.75, 0.25]);
        assert_eq!(both(2.0, false, PostTransform::None), [-2.0, 2.0]);
        let [no, yes] = both(2.0, false, PostTransform::Logistic);
        assert!((no + yes - 1.0).abs() < 1e-6 && yes > 0.88);
    }
}
