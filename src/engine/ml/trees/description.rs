//! A tree ensemble as its file describes it.

use tract_onnx::tract_hir::internal::*;

/// The place that a branch leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Child {
    Rule(usize),
    Leaf(usize),
}

/// The question of a node to the number in its column.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Test {
    AtMost(f64),
    Below(f64),
    AtLeast(f64),
    Above(f64),
    Equal(f64),
    Unequal(f64),
    OneOf(Vec<f64>),
}

/// A node that is no leaf.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Rule {
    pub(super) column: usize,
    pub(super) test: Test,
    pub(super) yes: Child,
    pub(super) no: Child,
    /// True if a missing number, which is NaN, is a yes whatever the test says of it.
    pub(super) missing_is_yes: bool,
}

/// What a leaf adds to a class or target.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Weight {
    pub(super) target: usize,
    pub(super) weight: f64,
}

/// How the weights of all trees become the score of a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Aggregate {
    Sum,
    Average,
    Min,
    Max,
}

/// An ensemble of trees.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Trees {
    pub(super) roots: Vec<Child>,
    pub(super) rules: Vec<Rule>,
    /// Of each leaf, the end of its weights; they begin at the end of those of the leaf before.
    pub(super) ends: Vec<usize>,
    pub(super) weights: Vec<Weight>,
    pub(super) targets: usize,
    pub(super) aggregate: Aggregate,
}

impl Trees {
    /// Returns the number of columns that the trees need at least.
    pub(super) fn columns(&self) -> usize {
        self.rules.iter().map(|rule| rule.column + 1).max().unwrap_or(0)
    }

    /// Returns the rules that a run can reach, each before its branches.
    ///
    /// # Errors
    /// An error when a branch leads back to where it came from, or to a place that is not there.
    pub(super) fn in_order(&self) -> TractResult<Vec<usize>> {
        #[derive(Clone, Copy, PartialEq)]
        enum State {
            New,
            Open,
            Done,
        }
        let mut states = vec![State::New; self.rules.len()];
        let mut order = Vec::with_capacity(self.rules.len());
        // A rule is on the stack once to be opened, with true, and once below its branches to be closed.
        let mut stack: Vec<(usize, bool)> = Vec::new();
        for root in &self.roots {
            stack.extend(self.rule(*root)?.map(|rule| (rule, true)));
            while let Some((rule, opens)) = stack.pop() {
                match (opens, states[rule]) {
                    (false, _) => states[rule] = State::Done,
                    (true, State::Done) => (),
                    (true, State::Open) => bail!("a branch of a tree leads back to node {rule}, which it comes from"),
                    (true, State::New) => {
                        states[rule] = State::Open;
                        order.push(rule);
                        stack.push((rule, false));
                        for child in [self.rules[rule].no, self.rules[rule].yes] {
                            stack.extend(self.rule(child)?.map(|rule| (rule, true)));
                        }
                    }
                }
            }
        }
        Ok(order)
    }

    /// Returns the rule that a place is; `None` for a leaf.
    fn rule(&self, child: Child) -> TractResult<Option<usize>> {
        match child {
            Child::Rule(rule) => {
                ensure!(rule < self.rules.len(), "a branch leads to node {rule} of {}", self.rules.len());
                Ok(Some(rule))
            }
            Child::Leaf(leaf) => {
                ensure!(leaf < self.ends.len(), "a branch leads to leaf {leaf} of {}", self.ends.len());
                Ok(None)
            }
        }
    }
}
