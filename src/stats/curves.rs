//! ROC and precision-recall curves of one class against the rest.

use serde::{Deserialize, Serialize};

/// The distance from the last point of a curve below which a point is left out. Areas are exact all the same.
const RESOLUTION: f64 = 1.0 / 250.0;
/// The growth of x from the last point at which a point is kept in any case: the ROC curve of a good
/// classifier is worth reading at very small x.
const GROWTH: f64 = 1.05;
/// Points are rounded to six decimals.
const DIGITS: f64 = 1e6;

/// A curve and the area under it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Curve {
    /// The area under the curve.
    pub area: f64,
    /// The points `[x, y]`, by falling threshold.
    pub points: Vec<[f64; 2]>,
}

/// The curves of one class against the rest.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClassCurves {
    /// True positive rate over false positive rate (Fawcett 2006, "An introduction to ROC analysis").
    /// Its area, by trapezoids, is the probability that a sample of the class scores higher than one of
    /// the rest; ties count half.
    pub roc: Curve,
    /// Precision over recall. Its area is the average precision Σ (Rₙ − Rₙ₋₁)·Pₙ, which does not
    /// interpolate (Davis and Goadrich 2006, "The Relationship Between Precision-Recall and ROC Curves").
    pub precision_recall: Curve,
}

/// Computes the curves of a class from the score and membership of every sample. Returns `None` unless
/// there are samples of the class and of the rest.
pub(super) fn curves(mut scored: Vec<(f32, bool)>) -> Option<ClassCurves> {
    let positives = scored.iter().filter(|(_, is)| *is).count();
    let negatives = scored.len() - positives;
    if positives == 0 || negatives == 0 {
        return None;
    }
    scored.sort_unstable_by(|a, b| b.0.total_cmp(&a.0));
    let (mut roc, mut precision_recall) = (Tracer::starting_at([0.0, 0.0]), Tracer::empty());
    let (mut hits, mut alarms) = (0usize, 0usize);
    for equal in scored.chunk_by(|a, b| a.0 == b.0) {
        let new_hits = equal.iter().filter(|(_, is)| *is).count();
        let new_alarms = equal.len() - new_hits;
        // Twice the trapezoid, in whole numbers, so that the sum is exact.
        roc.area += (new_alarms * (2 * hits + new_hits)) as f64;
        hits += new_hits;
        alarms += new_alarms;
        let (precision, recall) = (hits as f64 / (hits + alarms) as f64, hits as f64 / positives as f64);
        precision_recall.area += new_hits as f64 * precision;
        roc.go([alarms as f64 / negatives as f64, recall]);
        precision_recall.go([recall, precision]);
    }
    Some(ClassCurves {
        roc: roc.finish((2 * positives * negatives) as f64),
        precision_recall: precision_recall.finish(positives as f64),
    })
}

/// Collects the points of a curve that can be told apart.
struct Tracer {
    area: f64,
    points: Vec<[f64; 2]>,
    last: Option<[f64; 2]>,
}

impl Tracer {
    fn empty() -> Self {
        Self { area: 0.0, points: Vec::new(), last: None }
    }

    fn starting_at(point: [f64; 2]) -> Self {
        Self { points: vec![point], ..Self::empty() }
    }

    fn go(&mut self, to: [f64; 2]) {
        let moved = self.points.last().is_none_or(|from| {
            to[0] > from[0] * GROWTH || (to[0] - from[0]).abs() > RESOLUTION || (to[1] - from[1]).abs() > RESOLUTION
        });
        // The point before a move is kept as well, because the step begins there.
        if moved {
            let before = self.last.take();
            before.into_iter().chain([to]).for_each(|point| self.keep(point));
        } else {
            self.last = Some(to);
        }
    }

    /// Adds a point. If the last two points and this one are on a horizontal or vertical line, it replaces the
    /// last.
    fn keep(&mut self, to: [f64; 2]) {
        if let [.., a, b] = &mut self.points[..]
            && (0..2).any(|axis| a[axis] == b[axis] && b[axis] == to[axis])
        {
            *b = to;
        } else {
            self.points.push(to);
        }
    }

    fn finish(mut self, scale: f64) -> Curve {
        let last = self.last.take();
        last.into_iter().for_each(|point| self.keep(point));
        let round = |value: f64| (value * DIGITS).round() / DIGITS;
        Curve { area: self.area / scale, points: self.points.into_iter().map(|point| point.map(round)).collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Scores with membership, and the areas that they should have.
    type Example<'e> = (&'e [(f32, bool)], f64, f64);

    /// Expected values: scikit-learn's `roc_auc_score` and `average_precision_score`; the first row is
    /// the example of their documentation.
    #[test]
    fn areas_agree_with_scikit_learn() {
        let samples: [Example<'_>; 3] = [
            (&[(0.1, false), (0.4, false), (0.35, true), (0.8, true)], 0.75, 0.833_333_333_333_333_3),
            (
                &[(0.9, true), (0.9, false), (0.8, true), (0.7, false), (0.7, false), (0.6, true), (0.2, false)],
                0.625,
                0.5555555555555556,
            ),
            (&[(0.5, true), (0.5, false), (0.5, false)], 0.5, 0.3333333333333333),
        ];
        for (scored, roc, precision) in samples {
            let found = curves(scored.to_vec()).unwrap();
            assert!((found.roc.area - roc).abs() < 1e-12, "{found:?}");
            assert!((found.precision_recall.area - precision).abs() < 1e-12, "{found:?}");
        }
    }

    #[test]
    fn a_class_without_samples_or_without_others_has_no_curves() {
        assert_eq!(curves(vec![]), None);
        assert_eq!(curves(vec![(0.5, true)]), None);
        assert_eq!(curves(vec![(0.5, false)]), None);
    }

    #[test]
    fn a_curve_keeps_few_points_of_many_samples() {
        let scored = (0..100_000).map(|i| ((i * 7919 % 100_003) as f32, i % 3 == 0)).collect();
        let found = curves(scored).unwrap();
        assert!(found.roc.points.len() < 1500 && found.precision_recall.points.len() < 1500);
        assert_eq!(found.roc.points.last(), Some(&[1.0, 1.0]));
    }

    proptest! {
        #[test]
        fn the_roc_area_is_the_probability_of_the_right_order(scored in prop::collection::vec((0u8..20, any::<bool>()), 2..80)) {
            let scored: Vec<(f32, bool)> = scored.into_iter().map(|(score, is)| (f32::from(score) / 20.0, is)).collect();
            let of = |which: bool| scored.iter().filter(move |(_, is)| *is == which).map(|(score, _)| *score);
            let pairs: Vec<f64> = of(true)
                .flat_map(|high| of(false).map(move |low| if high > low { 1.0 } else if high == low { 0.5 } else { 0.0 }))
                .collect();
            let mut reversed = scored.clone();
            reversed.reverse();
            prop_assert_eq!(curves(scored.clone()), curves(reversed));
            match curves(scored) {
                None => prop_assert!(pairs.is_empty()),
                Some(found) => {
                    prop_assert!((found.roc.area - pairs.iter().sum::<f64>() / pairs.len() as f64).abs() < 1e-12);
                    prop_assert!((0.0..=1.0).contains(&found.precision_recall.area));
                    prop_assert!(found.roc.points.is_sorted_by(|a, b| a[0] <= b[0] && a[1] <= b[1]));
                }
            }
        }
    }
}
