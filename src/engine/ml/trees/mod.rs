//! Tree ensembles: TreeEnsembleClassifier, TreeEnsembleRegressor, TreeEnsemble.
//!
//! A [`description`] is read from the file and compiled into a [`forest`] for the precision of the input. The
//! [`outcome`] is what classifiers and regressors each make of the scores.

mod description;
mod forest;
mod number;
mod outcome;
mod read;
mod read_ensemble;
#[cfg(test)]
mod tests;

use tract_onnx::model::ParsingContext;
use tract_onnx::pb::NodeProto;
use tract_onnx::tract_hir::internal::*;

use self::description::{Aggregate, Trees};
use self::forest::{Forest, Score};
use self::number::Number;
use self::outcome::{Classes, Targets};
use super::labels::Labels;
use super::operator::{Kind, Operator, node as operator_node, table};
use super::scores::PostTransform;

type Parsed = TractResult<(Box<dyn InferenceOp>, Vec<String>)>;

/// What becomes of the scores.
#[derive(Debug)]
enum Outcome {
    Classes(Classes),
    /// As 32-bit floats, or as numbers of the input's type.
    Targets {
        targets: Targets,
        is_of_input: bool,
    },
}

/// Trees that are not compiled yet, because the type of the input is not known.
#[derive(Debug)]
struct Ensemble {
    name: &'static str,
    trees: Trees,
    outcome: Arc<Outcome>,
}

pub(super) fn classifier(ctx: &ParsingContext, node: &NodeProto) -> Parsed {
    let labels = Labels::read(node, "classlabels_int64s")?;
    let trees = read::trees(ctx, node, read::CLASSES, labels.len())?;
    let mut weighted: Vec<usize> = trees.weights.iter().map(|weight| weight.target).collect();
    weighted.sort_unstable();
    weighted.dedup();
    let classes = Classes {
        is_binary: labels.len() == 2 && weighted.len() == 1,
        is_positive: trees.weights.iter().all(|weight| weight.weight >= 0.0),
        labels,
        base_values: read::floats(ctx, node, "base_values")?,
        post_transform: PostTransform::read(node)?,
    };
    classes.expect_base_values()?;
    node.expect(trees.aggregate == Aggregate::Sum, "a classifier that sums")?;
    trees.in_order()?;
    let outcome = Arc::new(Outcome::Classes(classes));
    Ok(operator_node(Ensemble { name: "TreeEnsembleClassifier", trees, outcome }))
}

pub(super) fn regressor(ctx: &ParsingContext, node: &NodeProto) -> Parsed {
    let targets: usize = node.get_attr_opt("n_targets")?.unwrap_or(1);
    node.expect(targets > 0, "at least one target")?;
    let trees = read::trees(ctx, node, read::TARGETS, targets)?;
    let base_values = read::floats(ctx, node, "base_values")?;
    node.expect_attr("base_values", base_values.is_empty() || base_values.len() == targets, "one for each target")?;
    let targets = Targets { base_values, post_transform: PostTransform::read(node)? };
    trees.in_order()?;
    let outcome = Arc::new(Outcome::Targets { targets, is_of_input: false });
    Ok(operator_node(Ensemble { name: "TreeEnsembleRegressor", trees, outcome }))
}

pub(super) fn ensemble(ctx: &ParsingContext, node: &NodeProto) -> Parsed {
    let trees = read_ensemble::trees(ctx, node)?;
    let post_transform = PostTransform::numbered(node.get_attr_opt("post_transform")?.unwrap_or(0))?;
    trees.in_order()?;
    let targets = Targets { base_values: Vec::new(), post_transform };
    let outcome = Arc::new(Outcome::Targets { targets, is_of_input: true });
    Ok(operator_node(Ensemble { name: "TreeEnsemble", trees, outcome }))
}

/// Returns the outputs of an ensemble of so many targets.
fn outputs(outcome: &Outcome, targets: usize, input: &Kind) -> TractResult<TVec<Kind>> {
    input.expect_numbers()?;
    let (samples, _) = input.table()?;
    let scores = [samples.clone(), targets.to_dim()];
    Ok(match outcome {
        Outcome::Classes(classes) => {
            tvec!(Kind::new(classes.labels.datum(), [samples]), Kind::new(DatumType::F32, scores))
        }
        Outcome::Targets { is_of_input: false, .. } => tvec!(Kind::new(DatumType::F32, scores)),
        Outcome::Targets { is_of_input: true, .. } => {
            ensure!(input.datum.is_float(), "expected an input of floats, got {:?}", input.datum);
            tvec!(Kind::new(input.datum, scores))
        }
    })
}

impl Operator for Ensemble {
    fn name(&self) -> &'static str {
        self.name
    }

    fn output_count(&self) -> usize {
        output_count(&self.outcome)
    }

    fn outputs(&self, inputs: &[Kind]) -> TractResult<TVec<Kind>> {
        outputs(&self.outcome, self.trees.targets, &inputs[0])
    }

    fn prepared(&self, inputs: &[Kind]) -> TractResult<Option<Arc<dyn Operator>>> {
        Ok(Some(match inputs[0].datum {
            DatumType::F64 => Arc::new(Compiled::<f64>::new(self)?),
            _ => Arc::new(Compiled::<f32>::new(self)?),
        }))
    }

    fn run(&self, _inputs: &[TValue]) -> TractResult<TVec<TValue>> {
        bail!("{} runs only after it was compiled", self.name)
    }
}

fn output_count(outcome: &Outcome) -> usize {
    match outcome {
        Outcome::Classes(_) => 2,
        Outcome::Targets { .. } => 1,
    }
}

/// Trees compiled for inputs of one precision.
#[derive(Debug)]
struct Compiled<T> {
    name: &'static str,
    forest: Forest<T>,
    targets: usize,
    columns: usize,
    aggregate: Aggregate,
    outcome: Arc<Outcome>,
}

impl<T: Number> Compiled<T> {
    fn new(Ensemble { name, trees, outcome }: &Ensemble) -> TractResult<Self> {
        let (targets, columns, aggregate) = (trees.targets, trees.columns(), trees.aggregate);
        Ok(Self { name, forest: Forest::compile(trees)?, targets, columns, aggregate, outcome: outcome.clone() })
    }

    fn score(&self, input: &Tensor, take: impl FnMut(&mut [Score<T>])) -> TractResult<usize> {
        let (samples, columns) = table(input.shape())?;
        self.expect_columns(columns)?;
        let numbers = input.cast_to::<T>()?;
        let numbers = numbers.try_as_plain_ram()?.as_slice::<T>()?;
        let rows: Vec<&[T]> = (0..samples).map(|sample| &numbers[sample * columns..(sample + 1) * columns]).collect();
        self.forest.score(&rows, take);
        Ok(samples)
    }

    fn expect_columns(&self, columns: usize) -> TractResult<()> {
        ensure!(columns >= self.columns, "the input has {columns} columns, the trees read {}", self.columns);
        Ok(())
    }
}

impl<T: Number> Operator for Compiled<T> {
    fn name(&self) -> &'static str {
        self.name
    }

    fn output_count(&self) -> usize {
        output_count(&self.outcome)
    }

    fn outputs(&self, inputs: &[Kind]) -> TractResult<TVec<Kind>> {
        let (_, columns) = inputs[0].table()?;
        columns.to_usize().map_or(Ok(()), |columns| self.expect_columns(columns))?;
        outputs(&self.outcome, self.targets, &inputs[0])
    }

    fn run(&self, inputs: &[TValue]) -> TractResult<TVec<TValue>> {
        let input = &inputs[0];
        let (count, width) = (table(input.shape())?.0, self.targets);
        match &*self.outcome {
            Outcome::Classes(classes) => {
                let (mut answer, mut chosen) = (vec![0f32; count * width], Vec::with_capacity(count));
                let mut answers = answer.chunks_exact_mut(width);
                let samples = self.score(input, |scores| {
                    chosen.extend(answers.next().map(|answer| classes.answer(scores, answer)));
                })?;
                let labels = classes.labels.tensor(&chosen)?;
                Ok(tvec!(labels.into_tvalue(), Tensor::from_shape(&[samples, width], &answer)?.into_tvalue()))
            }
            Outcome::Targets { targets, is_of_input } => {
                let trees = (self.aggregate == Aggregate::Average).then(|| self.forest.trees());
                let mut answer = vec![T::default(); count * width];
                let mut answers = answer.chunks_exact_mut(width);
                let samples = self.score(input, |scores| {
                    if let Some(answer) = answers.next() {
                        targets.answer(scores, trees, answer);
                    }
                })?;
                let answer = Tensor::from_shape(&[samples, width], &answer)?;
                let datum = if *is_of_input { input.datum_type() } else { DatumType::F32 };
                Ok(tvec!(answer.cast_to_dt(datum)?.into_owned().into_tvalue()))
            }
        }
    }
}
