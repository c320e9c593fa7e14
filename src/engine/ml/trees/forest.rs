//! Trees compiled for speed.
//!
//! Every test becomes a comparison "at most", so that a step is one comparison and one choice between two
//! places, without a branch that the processor could guess wrong. Steps of several samples, or of several
//! trees for one sample, are taken in turn: none of them waits for the memory of another.

use tract_onnx::tract_hir::internal::*;

use super::description::{Aggregate, Child, Rule, Test, Trees};
use super::number::Number;

/// The walks that are under way at once.
const LANES: usize = 8;

/// The samples that pass one tree before the next: their scores stay in the cache, and each tree is read once
/// for all of them.
const BLOCK: usize = 64;

/// The bit of a column that says that NaN is at most the threshold.
const NAN_IS_BELOW: u32 = 1 << 31;

/// A place of a walk: a node, or, if negative, a leaf whose bits are inverted.
type Place = i32;

#[derive(Debug, Clone, Copy)]
struct Node<T> {
    threshold: T,
    column: u32,
    /// Where to go above the threshold, and where at most at it.
    next: [Place; 2],
}

/// The score of a class or target.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Score<T> {
    pub(super) value: T,
    /// True if any leaf had a weight for it.
    pub(super) is_seen: bool,
}

impl<T: Number> Score<T> {
    /// Returns the value as 32-bit float; 0 if no leaf had a weight for it, whatever was added to it since.
    pub(super) fn shown(&self) -> f32 {
        if self.is_seen { self.value.to_f32() } else { 0.0 }
    }
}

#[derive(Debug)]
enum Leaves<T> {
    /// One weight for each leaf, with its target.
    Single(Vec<(u32, T)>),
    /// Any number of weights for each leaf.
    Several { ends: Vec<u32>, weights: Vec<(u32, T)> },
}

/// An ensemble ready to run.
#[derive(Debug)]
pub(super) struct Forest<T> {
    roots: Vec<Place>,
    nodes: Vec<Node<T>>,
    leaves: Leaves<T>,
    targets: usize,
    aggregate: Aggregate,
    /// True if NaN is at most the threshold of any node.
    minds_nan: bool,
}

impl<T: Number> Forest<T> {
    /// Compiles trees.
    ///
    /// # Errors
    /// As [`Trees::in_order`], or when there are more nodes than can be counted.
    pub(super) fn compile(trees: &Trees) -> TractResult<Self> {
        let order = trees.in_order()?;
        let count: usize = order.iter().map(|rule| nodes_of(&trees.rules[*rule].test)).sum();
        ensure!(count < i32::MAX as usize && trees.ends.len() < i32::MAX as usize, "the trees have too many nodes");
        let mut starts = vec![0 as Place; trees.rules.len()];
        let mut next = 0;
        for rule in &order {
            starts[*rule] = next;
            next += nodes_of(&trees.rules[*rule].test) as Place;
        }
        let place = |child: Child| match child {
            Child::Rule(rule) => starts[rule],
            Child::Leaf(leaf) => !(leaf as Place),
        };
        let mut nodes = Vec::with_capacity(count);
        for rule in &order {
            let rule = &trees.rules[*rule];
            push(&mut nodes, rule, place(rule.yes), place(rule.no));
        }
        let minds_nan = nodes.iter().any(|node: &Node<T>| node.column & NAN_IS_BELOW != 0);
        let roots = trees.roots.iter().map(|root| place(*root)).collect();
        let (targets, aggregate) = (trees.targets, trees.aggregate);
        Ok(Self { roots, nodes, leaves: Leaves::of(trees), targets, aggregate, minds_nan })
    }

    /// Returns the number of trees.
    pub(super) fn trees(&self) -> usize {
        self.roots.len()
    }

    /// Passes the scores of each sample to `take`, in order. The samples have all columns that the trees need.
    pub(super) fn score(&self, samples: &[&[T]], take: impl FnMut(&mut [Score<T>])) {
        if self.minds_nan { self.score_all::<true>(samples, take) } else { self.score_all::<false>(samples, take) }
    }

    fn score_all<const NAN: bool>(&self, samples: &[&[T]], mut take: impl FnMut(&mut [Score<T>])) {
        let mut scores = vec![Score::default(); self.targets * samples.len().min(BLOCK)];
        for block in samples.chunks(BLOCK) {
            let scores = &mut scores[..self.targets * block.len()];
            scores.fill(Score::default());
            let (groups, rest) = block.as_chunks::<LANES>();
            let (grouped, lone) = scores.split_at_mut(groups.len() * LANES * self.targets);
            for root in &self.roots {
                for (group, scores) in groups.iter().zip(grouped.chunks_exact_mut(LANES * self.targets)) {
                    let leaves = self.walk::<NAN>([*root; LANES], group);
                    for (leaf, scores) in leaves.into_iter().zip(scores.chunks_exact_mut(self.targets)) {
                        self.add(leaf, scores);
                    }
                }
            }
            for (sample, scores) in rest.iter().zip(lone.chunks_exact_mut(self.targets)) {
                self.score_one::<NAN>(sample, scores);
            }
            scores.chunks_exact_mut(self.targets).for_each(&mut take);
        }
    }

    fn score_one<const NAN: bool>(&self, sample: &[T], scores: &mut [Score<T>]) {
        let (groups, rest) = self.roots.as_chunks::<LANES>();
        for roots in groups {
            for leaf in self.walk::<NAN>(*roots, &[sample; LANES]) {
                self.add(leaf, scores);
            }
        }
        if let Some(first) = rest.first() {
            let mut roots = [*first; LANES];
            roots[..rest.len()].copy_from_slice(rest);
            for leaf in self.walk::<NAN>(roots, &[sample; LANES]).into_iter().take(rest.len()) {
                self.add(leaf, scores);
            }
        }
    }

    /// Walks from places to leaves, each walk through a sample of its own.
    #[inline(always)]
    fn walk<const NAN: bool>(&self, mut places: [Place; LANES], samples: &[&[T]; LANES]) -> [usize; LANES] {
        while places.iter().any(|place| *place >= 0) {
            for (place, sample) in places.iter_mut().zip(samples) {
                // A walk that has ended stays, beside a step from the first node that is thrown away.
                let next = self.nodes[(*place).max(0) as usize].step::<NAN>(sample);
                *place = if *place < 0 { *place } else { next };
            }
        }
        places.map(|place| !place as usize)
    }

    #[inline(always)]
    fn add(&self, leaf: usize, scores: &mut [Score<T>]) {
        match &self.leaves {
            Leaves::Single(weights) => self.add_one(weights[leaf], scores),
            Leaves::Several { ends, weights } => {
                let start = if leaf == 0 { 0 } else { ends[leaf - 1] };
                for weight in &weights[start as usize..ends[leaf] as usize] {
                    self.add_one(*weight, scores);
                }
            }
        }
    }

    #[inline(always)]
    fn add_one(&self, (target, weight): (u32, T), scores: &mut [Score<T>]) {
        let score = &mut scores[target as usize];
        let replaces = match self.aggregate {
            Aggregate::Sum | Aggregate::Average => {
                score.value += weight;
                false
            }
            Aggregate::Min => !score.is_seen || weight < score.value,
            Aggregate::Max => !score.is_seen || weight > score.value,
        };
        if replaces {
            score.value = weight;
        }
        score.is_seen = true;
    }
}

impl<T: Number> Node<T> {
    #[inline(always)]
    fn step<const NAN: bool>(&self, sample: &[T]) -> Place {
        let column = if NAN { self.column & !NAN_IS_BELOW } else { self.column };
        let number = sample[column as usize];
        let mut is_below = number <= self.threshold;
        if NAN {
            is_below |= number.is_nan() & (self.column & NAN_IS_BELOW != 0);
        }
        self.next[usize::from(is_below)]
    }
}

impl<T: Number> Leaves<T> {
    fn of(trees: &Trees) -> Self {
        let weights = trees.weights.iter().map(|weight| (weight.target as u32, T::nearest(weight.weight))).collect();
        if (0..trees.ends.len()).all(|leaf| trees.ends[leaf] == leaf + 1) {
            Self::Single(weights)
        } else {
            Self::Several { ends: trees.ends.iter().map(|end| *end as u32).collect(), weights }
        }
    }
}

/// Returns the number of nodes that a test becomes.
fn nodes_of(test: &Test) -> usize {
    match test {
        Test::AtMost(_) | Test::Below(_) | Test::AtLeast(_) | Test::Above(_) => 1,
        Test::Equal(_) | Test::Unequal(_) => 2,
        Test::OneOf(members) => (2 * members.len()).max(1),
    }
}

/// Appends the nodes of a rule.
fn push<T: Number>(nodes: &mut Vec<Node<T>>, rule: &Rule, yes: Place, no: Place) {
    let column = rule.column as u32;
    let node = |threshold: T, below: Place, above: Place, nan_is_below: bool| Node {
        threshold,
        column: if nan_is_below { column | NAN_IS_BELOW } else { column },
        next: [above, below],
    };
    let missing = rule.missing_is_yes;
    // Nothing is above NaN or at least NaN: the answer is no, which is what lies below infinity.
    let or_infinity = |threshold: T, of: T| if of.is_nan() { T::INFINITY } else { threshold };
    match &rule.test {
        Test::AtMost(threshold) => nodes.push(node(T::nearest(*threshold), yes, no, missing)),
        Test::Below(threshold) => nodes.push(node(T::nearest(*threshold).before(), yes, no, missing)),
        Test::Above(threshold) => {
            let threshold = T::nearest(*threshold);
            nodes.push(node(or_infinity(threshold, threshold), no, yes, !missing));
        }
        Test::AtLeast(threshold) => {
            let threshold = T::nearest(*threshold);
            nodes.push(node(or_infinity(threshold.before(), threshold), no, yes, !missing));
        }
        Test::Equal(value) => {
            let (value, second) = (T::nearest(*value), nodes.len() as Place + 1);
            nodes.extend([node(value, second, no, missing), node(value.before(), no, yes, false)]);
        }
        Test::Unequal(value) => {
            // NaN is unequal to everything.
            let (value, second) = (T::nearest(*value), nodes.len() as Place + 1);
            nodes.extend([node(value, second, yes, false), node(value.before(), yes, no, false)]);
        }
        Test::OneOf(members) if members.is_empty() => nodes.push(node(T::NAN, yes, no, missing)),
        Test::OneOf(members) => {
            for (index, member) in members.iter().enumerate() {
                let (value, second) = (T::nearest(*member), nodes.len() as Place + 1);
                let other = if index + 1 < members.len() { second + 1 } else { no };
                nodes.extend([node(value, second, other, missing), node(value.before(), other, yes, false)]);
            }
        }
    }
}
