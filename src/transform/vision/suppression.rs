//! Non-maximum suppression: of boxes that overlap, the most confident stays.

use crate::transform::geometry::Rect;

/// The most boxes that are considered, the most confident first: as many as Ultralytics considers.
const MAX_CANDIDATES: usize = 30_000;

/// A box that a detector found, in pixels of its input.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Candidate {
    pub(super) rect: Rect,
    pub(super) class: usize,
    pub(super) confidence: f32,
}

/// The rule by which boxes go.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Rule {
    /// The overlap above which the less confident box goes; `None` if overlapping boxes stay.
    pub(super) iou: Option<f32>,
    /// True if a box may go for one of another class.
    pub(super) across_classes: bool,
    /// The most boxes that stay.
    pub(super) most: usize,
}

/// Returns the boxes that stay, most confident first. Of equal ones the earlier comes first.
pub(super) fn suppress(mut candidates: Vec<Candidate>, rule: Rule) -> Vec<Candidate> {
    candidates.sort_by(|a, b| b.confidence.total_cmp(&a.confidence));
    let Some(iou) = rule.iou.map(f64::from) else {
        candidates.truncate(rule.most);
        return candidates;
    };
    let mut kept: Vec<Candidate> = Vec::new();
    for candidate in candidates.into_iter().take(MAX_CANDIDATES) {
        if kept.len() == rule.most {
            break;
        }
        let goes_for = |other: &Candidate| {
            (rule.across_classes || other.class == candidate.class)
                && other.rect.intersection_over_union(&candidate.rect) > iou
        };
        if !kept.iter().any(goes_for) {
            kept.push(candidate);
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn candidate(left: f64, class: usize, confidence: f32) -> Candidate {
        Candidate { rect: Rect::new(left, 0.0, left + 10.0, 10.0), class, confidence }
    }

    #[test]
    fn the_most_confident_of_each_class_stays() {
        let found =
            vec![candidate(0.0, 0, 0.5), candidate(1.0, 0, 0.9), candidate(2.0, 1, 0.7), candidate(9.0, 0, 0.6)];
        let kept = |iou: Option<f32>, across_classes: bool, most: usize| {
            let kept = suppress(found.clone(), Rule { iou, across_classes, most });
            kept.iter().map(|kept| kept.confidence).collect::<Vec<f32>>()
        };
        assert_eq!(kept(Some(0.5), false, 9), [0.9, 0.7, 0.6]);
        assert_eq!(kept(Some(0.5), true, 9), [0.9, 0.6]);
        assert_eq!(kept(Some(0.05), false, 9), [0.9, 0.7]);
        assert_eq!(kept(None, false, 9), [0.9, 0.7, 0.6, 0.5]);
        assert_eq!(kept(None, false, 2), [0.9, 0.7]);
        assert_eq!(kept(Some(1.0), false, 3), [0.9, 0.7, 0.6]);
        // Exactly as much overlap as allowed is allowed.
        let halves = vec![
            Candidate { rect: Rect::new(0.0, 0.0, 2.0, 1.0), class: 0, confidence: 0.9 },
            Candidate { rect: Rect::new(0.0, 0.0, 1.0, 1.0), class: 0, confidence: 0.8 },
        ];
        assert_eq!(suppress(halves, Rule { iou: Some(0.5), across_classes: false, most: 9 }).len(), 2);
    }

    proptest! {
        #[test]
        fn what_stays_overlaps_little_and_what_goes_overlaps_much(
            boxes in prop::collection::vec((0.0f64..50.0, 0.0f64..50.0, 1.0f64..30.0, 0usize..3, 0.0f32..1.0), 0..40),
            iou in 0.1f32..0.9,
        ) {
            let all: Vec<Candidate> = boxes
                .iter()
                .map(|(x, y, side, class, confidence)| Candidate {
                    rect: Rect::centred(*x, *y, *side, *side),
                    class: *class,
                    confidence: *confidence,
                })
                .collect();
            let kept = suppress(all.clone(), Rule { iou: Some(iou), across_classes: false, most: usize::MAX });
            let overlaps = |a: &Candidate, b: &Candidate| {
                a.class == b.class && a.rect.intersection_over_union(&b.rect) > f64::from(iou)
            };
            for (index, one) in kept.iter().enumerate() {
                prop_assert!(kept[..index].iter().all(|other| !overlaps(one, other)));
            }
            for gone in all.iter().filter(|one| !kept.contains(one)) {
                prop_assert!(kept.iter().any(|better| overlaps(better, gone) && better.confidence >= gone.confidence));
            }
        }
    }
}
