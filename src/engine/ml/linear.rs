//! Linear models: LinearClassifier, LinearRegressor.

use tract_onnx::model::ParsingContext;
use tract_onnx::pb::NodeProto;
use tract_onnx::tract_hir::internal::*;

use super::labels::{Chosen, Labels, largest};
use super::operator::{Kind, Operator, node as operator_node, table};
use super::scores::{PostTransform, both};
use crate::simd::vectorized;

/// The sum of the products of two lists.
pub(super) fn dot(a: &[f32], b: &[f32]) -> f32 {
    const LANES: usize = 16;
    let (a, a_rest) = a.as_chunks::<LANES>();
    let (b, b_rest) = b.as_chunks::<LANES>();
    let mut sums = [0f32; LANES];
    vectorized(
        #[inline(always)]
        || {
            for (a, b) in a.iter().zip(b) {
                for ((sum, a), b) in sums.iter_mut().zip(a).zip(b) {
                    *sum += a * b;
                }
            }
        },
    );
    let rest = a_rest.iter().zip(b_rest).map(|(a, b)| a * b);
    sums.into_iter().chain(rest).sum()
}

/// One list of coefficients for each target.
#[derive(Debug)]
struct Coefficients {
    coefficients: Vec<f32>,
    /// One for each target, or none.
    intercepts: Vec<f32>,
    post_transform: PostTransform,
}

impl Coefficients {
    fn read(node: &NodeProto) -> TractResult<Self> {
        let coefficients: Vec<f32> = node.get_attr_vec("coefficients")?;
        node.expect(!coefficients.is_empty(), "coefficients")?;
        let intercepts = node.get_attr_opt_vec("intercepts")?.unwrap_or_default();
        Ok(Self { coefficients, intercepts, post_transform: PostTransform::read(node)? })
    }

    /// Checks that samples of so many columns have a score for each of `targets`.
    fn expect(&self, targets: usize, columns: usize) -> TractResult<()> {
        ensure!(
            self.coefficients.len() == targets * columns,
            "there are {} coefficients for {targets} targets and {columns} columns",
            self.coefficients.len()
        );
        Ok(())
    }

    /// Writes the scores of a sample, before the transform.
    fn score(&self, sample: &[f32], scores: &mut [f32]) {
        let coefficients = self.coefficients.chunks_exact(sample.len().max(1));
        for ((target, score), coefficients) in scores.iter_mut().enumerate().zip(coefficients) {
            *score = dot(coefficients, sample) + self.intercepts.get(target).copied().unwrap_or(0.0);
        }
    }
}

#[derive(Debug)]
struct LinearClassifier {
    labels: Labels,
    linear: Coefficients,
}

pub(super) fn classifier(_ctx: &ParsingContext, node: &NodeProto) -> TractResult<(Box<dyn InferenceOp>, Vec<String>)> {
    let (labels, linear) = (Labels::read(node, "classlabels_ints")?, Coefficients::read(node)?);
    let targets = linear.intercepts.len();
    node.expect(targets <= 1 || targets == labels.len(), "as many intercepts as classes")?;
    Ok(operator_node(LinearClassifier { labels, linear }))
}

impl LinearClassifier {
    /// Returns the number of scores that are computed: one for each class, or a single one for two classes.
    fn targets(&self, columns: Option<usize>) -> usize {
        match (self.linear.intercepts.len(), columns) {
            (0, Some(columns)) if self.linear.coefficients.len() == columns => 1,
            (0, _) => self.labels.len(),
            (targets, _) => targets,
        }
    }

    /// Returns the number of scores in an answer.
    fn width(&self, targets: usize) -> usize {
        if targets == 1 && self.labels.len() == 2 { 2 } else { targets }
    }

    fn choose(&self, scores: &[f32]) -> Chosen {
        match (scores, self.labels.len()) {
            ([score], 2) => Chosen::Class(usize::from(*score > 0.0)),
            ([score], _) => Chosen::Sign(*score > 0.0),
            (scores, _) => Chosen::Class(largest(scores)),
        }
    }
}

impl Operator for LinearClassifier {
    fn name(&self) -> &'static str {
        "LinearClassifier"
    }

    fn output_count(&self) -> usize {
        2
    }

    fn outputs(&self, inputs: &[Kind]) -> TractResult<TVec<Kind>> {
        inputs[0].expect_numbers()?;
        let (samples, columns) = inputs[0].table()?;
        let columns = columns.to_usize().ok();
        let targets = self.targets(columns);
        columns.map_or(Ok(()), |columns| self.linear.expect(targets, columns))?;
        let scores = [samples.clone(), self.width(targets).to_dim()];
        Ok(tvec!(Kind::new(self.labels.datum(), [samples]), Kind::new(DatumType::F32, scores)))
    }

    fn run(&self, inputs: &[TValue]) -> TractResult<TVec<TValue>> {
        let (samples, columns) = table(inputs[0].shape())?;
        let targets = self.targets(Some(columns));
        self.linear.expect(targets, columns)?;
        let width = self.width(targets);
        let numbers = inputs[0].cast_to::<f32>()?;
        let numbers = numbers.try_as_plain_ram()?.as_slice::<f32>()?;
        let mut scores = vec![0f32; samples * width];
        let mut chosen = Vec::with_capacity(samples);
        for (sample, scores) in numbers.chunks_exact(columns.max(1)).zip(scores.chunks_exact_mut(width)) {
            self.linear.score(sample, &mut scores[..targets]);
            chosen.push(self.choose(&scores[..targets]));
            if targets < width {
                scores.copy_from_slice(&both(scores[0], true, self.linear.post_transform));
            } else {
                self.linear.post_transform.apply(scores);
            }
        }
        let scores = Tensor::from_shape(&[samples, width], &scores)?;
        Ok(tvec!(self.labels.tensor(&chosen)?.into_tvalue(), scores.into_tvalue()))
    }
}

#[derive(Debug)]
struct LinearRegressor {
    targets: usize,
    linear: Coefficients,
}

pub(super) fn regressor(_ctx: &ParsingContext, node: &NodeProto) -> TractResult<(Box<dyn InferenceOp>, Vec<String>)> {
    let targets: usize = node.get_attr_opt("targets")?.unwrap_or(1);
    let linear = Coefficients::read(node)?;
    node.expect(targets > 0, "at least one target")?;
    node.expect(linear.intercepts.is_empty() || linear.intercepts.len() == targets, "as many intercepts as targets")?;
    Ok(operator_node(LinearRegressor { targets, linear }))
}

impl Operator for LinearRegressor {
    fn name(&self) -> &'static str {
        "LinearRegressor"
    }

    fn outputs(&self, inputs: &[Kind]) -> TractResult<TVec<Kind>> {
        inputs[0].expect_numbers()?;
        let (samples, columns) = inputs[0].table()?;
        columns.to_usize().map_or(Ok(()), |columns| self.linear.expect(self.targets, columns))?;
        Ok(tvec!(Kind::new(DatumType::F32, [samples, self.targets.to_dim()])))
    }

    fn run(&self, inputs: &[TValue]) -> TractResult<TVec<TValue>> {
        let (samples, columns) = table(inputs[0].shape())?;
        self.linear.expect(self.targets, columns)?;
        let numbers = inputs[0].cast_to::<f32>()?;
        let numbers = numbers.try_as_plain_ram()?.as_slice::<f32>()?;
        let mut scores = vec![0f32; samples * self.targets];
        for (sample, scores) in numbers.chunks_exact(columns.max(1)).zip(scores.chunks_exact_mut(self.targets)) {
            self.linear.score(sample, scores);
            self.linear.post_transform.apply(scores);
        }
        Ok(tvec!(Tensor::from_shape(&[samples, self.targets], &scores)?.into_tvalue()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn linear(coefficients: &[f32], intercepts: &[f32], post_transform: PostTransform) -> Coefficients {
        Coefficients { coefficients: coefficients.to_vec(), intercepts: intercepts.to_vec(), post_transform }
    }

    #[test]
    fn products_are_summed_whatever_the_length() {
        for length in [0usize, 1, 15, 16, 17, 100] {
            let numbers: Vec<f32> = (0..length).map(|number| number as f32).collect();
            assert_eq!(dot(&numbers, &numbers), (0..length).map(|number| (number * number) as f32).sum::<f32>());
        }
    }

    #[test]
    fn the_largest_score_chooses_the_class() {
        let labels = Labels::Texts(vec!["a".into(), "b".into(), "c".into()]);
        let linear = linear(&[1.0, 0.0, 0.0, 1.0, -1.0, -1.0], &[0.0, 0.0, 1.0], PostTransform::Softmax);
        let answer =
            LinearClassifier { labels, linear }.run(&[tensor2(&[[2f32, 1.0], [-1.0, -1.0]]).into_tvalue()]).unwrap();
        assert_eq!(*answer[0], tract_ndarray::arr1(&["a".to_owned(), "c".to_owned()]).into_tensor());
        let shares = answer[1].try_as_plain_ram().unwrap().as_slice::<f32>().unwrap();
        assert!((shares[..3].iter().sum::<f32>() - 1.0).abs() < 1e-6 && shares[0] > shares[1], "{shares:?}");
    }

    #[test]
    fn two_classes_may_share_a_score() {
        let labels = Labels::Integers(vec![3, 7]);
        let classifier = LinearClassifier { labels, linear: linear(&[1.0], &[0.25], PostTransform::None) };
        let answer = classifier.run(&[tensor2(&[[0.5f32], [-1.0]]).into_tvalue()]).unwrap();
        assert_eq!(*answer[0], tensor1(&[7i64, 3]));
        assert_eq!(*answer[1], tensor2(&[[0.25f32, 0.75], [1.75, -0.75]]));
    }

    #[test]
    fn coefficients_must_fit_the_columns() {
        let regressor = LinearRegressor { targets: 2, linear: linear(&[1.0, 2.0, 3.0, 4.0], &[], PostTransform::None) };
        assert_eq!(*regressor.run(&[tensor1(&[1i64, 1]).into_tvalue()]).unwrap()[0], tensor2(&[[3f32, 7.0]]));
        let kind = Kind::new(DatumType::F32, [1.to_dim(), 3.to_dim()]);
        assert!(regressor.outputs(&[kind]).unwrap_err().to_string().contains("3 columns"));
    }
}
