//! Compiled trees against a plain walk from node to node.

use proptest::prelude::*;

use super::description::{Aggregate, Child, Rule, Test, Trees, Weight};
use super::forest::{Forest, Score};
use super::number::Number;

const COLUMNS: usize = 3;

/// The numbers of thresholds and samples: few, so that they are often equal, and all exact in 32 bits.
const NUMBERS: [f64; 12] = [
    f64::NEG_INFINITY,
    -2.0,
    -1.0,
    -f32::MIN_POSITIVE as f64,
    -0.0,
    0.0,
    f32::MIN_POSITIVE as f64,
    0.5,
    1.0,
    f32::MAX as f64,
    f64::INFINITY,
    f64::NAN,
];

/// A source of small numbers.
struct Noise(u64);

impl Noise {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % limit
    }

    fn number(&mut self) -> f64 {
        NUMBERS[self.below(NUMBERS.len())]
    }

    fn test(&mut self) -> Test {
        let number = self.number();
        match self.below(7) {
            0 => Test::AtMost(number),
            1 => Test::Below(number),
            2 => Test::AtLeast(number),
            3 => Test::Above(number),
            4 => Test::Equal(number),
            5 => Test::Unequal(number),
            _ => Test::OneOf((0..self.below(4)).map(|_| self.number()).filter(|member| !member.is_nan()).collect()),
        }
    }

    /// Appends a tree and returns its root.
    fn tree(&mut self, trees: &mut Trees, depth: usize, single: bool) -> Child {
        if depth == 0 || self.below(4) == 0 {
            let weights = if single { 1 } else { self.below(4) };
            for _ in 0..weights {
                let (target, weight) = (self.below(trees.targets), self.below(9) as f64 / 4.0 - 1.0);
                trees.weights.push(Weight { target, weight });
            }
            trees.ends.push(trees.weights.len());
            return Child::Leaf(trees.ends.len() - 1);
        }
        let (column, test, missing_is_yes) = (self.below(COLUMNS), self.test(), self.below(2) == 0);
        let yes = self.tree(trees, depth - 1, single);
        let no = self.tree(trees, depth - 1, single);
        trees.rules.push(Rule { column, test, yes, no, missing_is_yes });
        Child::Rule(trees.rules.len() - 1)
    }

    fn trees(&mut self) -> Trees {
        let aggregate = [Aggregate::Sum, Aggregate::Average, Aggregate::Min, Aggregate::Max][self.below(4)];
        let targets = 1 + self.below(3);
        let mut trees =
            Trees { roots: Vec::new(), rules: Vec::new(), ends: Vec::new(), weights: Vec::new(), targets, aggregate };
        let (single, depth) = (self.below(2) == 0, self.below(6));
        for _ in 0..1 + self.below(20) {
            let root = self.tree(&mut trees, depth, single);
            trees.roots.push(root);
        }
        trees
    }
}

/// Returns the leaf of a sample by the words of the standard.
fn leaf(trees: &Trees, mut place: Child, sample: &[f64]) -> usize {
    loop {
        let rule = match place {
            Child::Leaf(leaf) => return leaf,
            Child::Rule(rule) => &trees.rules[rule],
        };
        let x = sample[rule.column];
        let is_yes = match &rule.test {
            Test::AtMost(threshold) => x <= *threshold,
            Test::Below(threshold) => x < *threshold,
            Test::AtLeast(threshold) => x >= *threshold,
            Test::Above(threshold) => x > *threshold,
            Test::Equal(value) => x == *value,
            Test::Unequal(value) => x != *value,
            Test::OneOf(members) => members.contains(&x),
        };
        place = if is_yes || (rule.missing_is_yes && x.is_nan()) { rule.yes } else { rule.no };
    }
}

fn weights_of(trees: &Trees, leaf: usize) -> &[Weight] {
    let start = if leaf == 0 { 0 } else { trees.ends[leaf - 1] };
    &trees.weights[start..trees.ends[leaf]]
}

/// Returns the score of each target, and whether any leaf had a weight for it.
fn plain(trees: &Trees, sample: &[f64]) -> Vec<(f64, bool)> {
    let leaves: Vec<usize> = trees.roots.iter().map(|root| leaf(trees, *root, sample)).collect();
    let weights = |target: usize| {
        leaves.iter().flat_map(|leaf| weights_of(trees, *leaf)).filter(move |weight| weight.target == target)
    };
    let score = |target: usize| {
        let numbers = weights(target).map(|weight| weight.weight);
        let score = match trees.aggregate {
            Aggregate::Sum | Aggregate::Average => numbers.sum(),
            Aggregate::Min => numbers.reduce(f64::min).unwrap_or_default(),
            Aggregate::Max => numbers.reduce(f64::max).unwrap_or_default(),
        };
        (score, weights(target).next().is_some())
    };
    (0..trees.targets).map(score).collect()
}

fn compare<T: Number>(trees: &Trees, samples: &[Vec<f64>]) {
    let numbers: Vec<Vec<T>> =
        samples.iter().map(|sample| sample.iter().map(|number| T::nearest(*number)).collect()).collect();
    let rows: Vec<&[T]> = numbers.iter().map(Vec::as_slice).collect();
    let mut index = 0;
    Forest::compile(trees).unwrap().score(&rows, |scores: &mut [Score<T>]| {
        let got: Vec<(f64, bool)> = scores.iter().map(|score| (score.value.to_f32().into(), score.is_seen)).collect();
        assert_eq!(got, plain(trees, &samples[index]), "sample {index}: {:?} of {trees:?}", samples[index]);
        index += 1;
    });
    assert_eq!(index, samples.len());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn compiled_trees_lead_where_plain_ones_lead(seed in any::<u64>(), count in prop_oneof![0usize..20, 60usize..150]) {
        let mut noise = Noise(seed);
        let trees = noise.trees();
        let samples: Vec<Vec<f64>> = (0..count).map(|_| (0..COLUMNS).map(|_| noise.number()).collect()).collect();
        compare::<f32>(&trees, &samples);
        compare::<f64>(&trees, &samples);
    }
}

#[test]
fn numbers_of_64_bits_are_not_rounded() {
    let rule = |test| Trees {
        roots: vec![Child::Rule(0)],
        rules: vec![Rule { column: 0, test, yes: Child::Leaf(0), no: Child::Leaf(1), missing_is_yes: false }],
        ends: vec![1, 2],
        weights: [1.0, 2.0].map(|weight| Weight { target: 0, weight }).to_vec(),
        targets: 1,
        aggregate: Aggregate::Sum,
    };
    let between = 1.0 - 1e-12;
    for test in [Test::AtMost(1.0), Test::Below(1.0), Test::AtLeast(1.0), Test::Above(1.0), Test::Equal(1.0)] {
        compare::<f64>(&rule(test), &[vec![between], vec![1.0], vec![2.0 - between]]);
    }
}

#[test]
fn trees_that_lead_in_circles_or_nowhere_are_refused() {
    let tree = |yes: Child| Trees {
        roots: vec![Child::Rule(0)],
        rules: vec![
            Rule { column: 0, test: Test::AtMost(0.0), yes: Child::Rule(1), no: Child::Leaf(0), missing_is_yes: false },
            Rule { column: 0, test: Test::AtMost(0.0), yes, no: Child::Leaf(0), missing_is_yes: false },
        ],
        ends: vec![1],
        weights: vec![Weight { target: 0, weight: 1.0 }],
        targets: 1,
        aggregate: Aggregate::Sum,
    };
    assert!(tree(Child::Leaf(0)).in_order().is_ok());
    for (yes, expected) in [
        (Child::Rule(0), "leads back"),
        (Child::Rule(1), "leads back"),
        (Child::Rule(7), "node 7"),
        (Child::Leaf(7), "leaf 7"),
    ] {
        let said = tree(yes).in_order().unwrap_err().to_string();
        assert!(said.contains(expected), "{said}");
    }
}
