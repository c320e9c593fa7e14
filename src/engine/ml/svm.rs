//! Support vector machines: SVMClassifier, SVMRegressor.

use tract_onnx::model::ParsingContext;
use tract_onnx::pb::NodeProto;
use tract_onnx::tract_hir::internal::*;

use super::labels::{Chosen, Labels, largest};
use super::linear::dot;
use super::operator::{Kind, Operator, node as operator_node, table};
use super::scores::{PostTransform, both, logistic};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum KernelKind {
    Linear,
    Poly,
    Rbf,
    Sigmoid,
}

/// The likeness of two samples.
#[derive(Debug, Clone, Copy)]
struct Kernel {
    kind: KernelKind,
    gamma: f32,
    offset: f32,
    degree: f32,
}

impl Kernel {
    fn read(node: &NodeProto) -> TractResult<Self> {
        let kind = match node.get_attr_opt::<&str>("kernel_type")?.unwrap_or("LINEAR") {
            "LINEAR" => KernelKind::Linear,
            "POLY" => KernelKind::Poly,
            "RBF" => KernelKind::Rbf,
            "SIGMOID" => KernelKind::Sigmoid,
            other => return node.bail(&format!("kernel_type is {}", crate::ids::quote(other))),
        };
        let parameters: Vec<f32> = node.get_attr_opt_vec("kernel_params")?.unwrap_or_default();
        let [gamma, offset, degree] = match parameters.as_slice() {
            [] => [0.0; 3],
            [gamma, offset, degree] => [*gamma, *offset, *degree],
            other => return node.bail(&format!("kernel_params has {} numbers, expected 3", other.len())),
        };
        Ok(Self { kind, gamma, offset, degree })
    }

    fn of(self, a: &[f32], b: &[f32]) -> f32 {
        match self.kind {
            KernelKind::Linear => dot(a, b),
            KernelKind::Poly => (self.gamma * dot(a, b) + self.offset).powf(self.degree),
            KernelKind::Rbf => {
                let distance: f32 = a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum();
                (-self.gamma * distance).exp()
            }
            KernelKind::Sigmoid => (self.gamma * dot(a, b) + self.offset).tanh(),
        }
    }
}

/// Rows of numbers of one length: support vectors, or the coefficients of a linear machine.
#[derive(Debug)]
struct Rows {
    numbers: Vec<f32>,
    columns: usize,
}

impl Rows {
    fn of(node: &NodeProto, numbers: Vec<f32>, count: usize) -> TractResult<Self> {
        node.expect(
            count > 0 && !numbers.is_empty() && numbers.len().is_multiple_of(count),
            "rows of numbers of one length",
        )?;
        Ok(Self { columns: numbers.len() / count, numbers })
    }

    fn iter(&self) -> impl Iterator<Item = &[f32]> {
        self.numbers.chunks_exact(self.columns)
    }

    /// Checks the columns of an input, and returns its samples.
    fn expect(&self, input: &Kind) -> TractResult<TDim> {
        input.expect_numbers()?;
        let (samples, columns) = input.table()?;
        if let Ok(columns) = columns.to_usize() {
            ensure!(columns == self.columns, "the input has {columns} columns, the support vectors {}", self.columns);
        }
        Ok(samples)
    }
}

/// Passes each sample of an input to `take`, in order. Returns their number.
fn each_sample(input: &Tensor, rows: &Rows, mut take: impl FnMut(&[f32])) -> TractResult<usize> {
    let (samples, columns) = table(input.shape())?;
    ensure!(columns == rows.columns, "the input has {columns} columns, the support vectors {}", rows.columns);
    let numbers = input.cast_to::<f32>()?;
    numbers.try_as_plain_ram()?.as_slice::<f32>()?.chunks_exact(columns).for_each(&mut take);
    Ok(samples)
}

/// A machine for each pair of classes.
#[derive(Debug)]
struct Pairs {
    /// The support vectors of each class.
    per_class: Vec<usize>,
    /// For each class but one, a number for each support vector.
    coefficients: Vec<f32>,
    /// The numbers that turn the score of each pair into a probability; empty if it is not one.
    calibration: Vec<(f32, f32)>,
}

#[derive(Debug)]
enum Machine {
    Pairs(Pairs),
    /// A row of coefficients for each class.
    Linear {
        are_positive: bool,
    },
}

#[derive(Debug)]
struct SvmClassifier {
    labels: Labels,
    kernel: Kernel,
    rows: Rows,
    rho: Vec<f32>,
    machine: Machine,
    post_transform: PostTransform,
}

pub(super) fn classifier(_ctx: &ParsingContext, node: &NodeProto) -> TractResult<(Box<dyn InferenceOp>, Vec<String>)> {
    let labels = Labels::read(node, "classlabels_ints")?;
    let (classes, mut kernel) = (labels.len(), Kernel::read(node)?);
    let coefficients: Vec<f32> = node.get_attr_vec("coefficients")?;
    let rho: Vec<f32> = node.get_attr_vec("rho")?;
    let per_class: Vec<usize> = node.get_attr_opt_vec("vectors_per_class")?.unwrap_or_default();
    let vectors: usize = per_class.iter().sum();
    let (rows, machine) = if vectors > 0 {
        let pairs = classes * (classes - 1) / 2;
        let a: Vec<f32> = node.get_attr_opt_vec("prob_a")?.unwrap_or_default();
        let b: Vec<f32> = node.get_attr_opt_vec("prob_b")?.unwrap_or_default();
        node.expect(per_class.len() == classes, "vectors_per_class for each class")?;
        node.expect(
            coefficients.len() == (classes - 1) * vectors,
            "coefficients for each class but one and each vector",
        )?;
        node.expect(rho.len() == pairs, "a rho for each pair of classes")?;
        node.expect(
            a.len() == b.len() && (a.is_empty() || a.len() == pairs),
            "prob_a and prob_b for each pair of classes",
        )?;
        let rows = Rows::of(node, node.get_attr_vec("support_vectors")?, vectors)?;
        let calibration = a.into_iter().zip(b).collect();
        (rows, Machine::Pairs(Pairs { per_class, coefficients, calibration }))
    } else {
        node.expect(!rho.is_empty(), "a rho")?;
        kernel.kind = KernelKind::Linear;
        let are_positive = coefficients.iter().all(|coefficient| *coefficient >= 0.0);
        (Rows::of(node, coefficients, classes)?, Machine::Linear { are_positive })
    };
    let post_transform = PostTransform::read(node)?;
    Ok(operator_node(SvmClassifier { labels, kernel, rows, rho, machine, post_transform }))
}

impl SvmClassifier {
    /// Returns the number of scores in an answer.
    fn width(&self) -> usize {
        let classes = self.labels.len();
        match &self.machine {
            Machine::Pairs(pairs) if pairs.calibration.is_empty() && classes > 2 => classes * (classes - 1) / 2,
            Machine::Pairs(_) | Machine::Linear { .. } => classes,
        }
    }

    /// Writes the scores of a sample and chooses its class.
    fn answer(&self, sample: &[f32], scores: &mut [f32]) -> Chosen {
        match &self.machine {
            Machine::Pairs(pairs) => {
                let kernels: Vec<f32> = self.rows.iter().map(|vector| self.kernel.of(vector, sample)).collect();
                let (sums, votes) = self.duels(pairs, &kernels);
                match (sums.as_slice(), scores.len()) {
                    _ if !pairs.calibration.is_empty() => {
                        scores.copy_from_slice(&probabilities(self.labels.len(), &sums, &pairs.calibration));
                        self.post_transform.apply(scores);
                    }
                    ([sum], 2) => {
                        let is_share = self.post_transform != PostTransform::None;
                        scores.copy_from_slice(&both(*sum, is_share, self.post_transform));
                    }
                    _ => {
                        scores[..sums.len()].copy_from_slice(&sums);
                        self.post_transform.apply(scores);
                    }
                }
                Chosen::Class(largest(&votes))
            }
            Machine::Linear { are_positive } => {
                for (score, coefficients) in scores.iter_mut().zip(self.rows.iter()) {
                    *score = dot(coefficients, sample) + self.rho[0];
                }
                let best = largest(scores);
                let is_second = if *are_positive { scores[best] >= 0.5 } else { scores[best] > 0.0 };
                self.post_transform.apply(scores);
                Chosen::Class(if scores.len() == 2 && is_second { 1 } else { best })
            }
        }
    }

    /// Returns the score of each pair of classes, and how many pairs each class wins.
    fn duels(&self, pairs: &Pairs, kernels: &[f32]) -> (Vec<f32>, Vec<usize>) {
        let classes = self.labels.len();
        let start = |class: usize| pairs.per_class[..class].iter().sum::<usize>();
        let starts: Vec<usize> = (0..=classes).map(start).collect();
        // Of the coefficients in this row, those of the vectors of this class.
        let sum = |row: usize, class: usize| {
            let vectors = starts[class]..starts[class + 1];
            let coefficients = &pairs.coefficients[row * kernels.len()..][vectors.clone()];
            coefficients.iter().zip(&kernels[vectors]).map(|(a, b)| f64::from(a * b)).sum::<f64>()
        };
        let (mut sums, mut votes) = (Vec::with_capacity(self.rho.len()), vec![0; classes]);
        for first in 0..classes {
            for second in first + 1..classes {
                let score = sum(second - 1, first) + sum(first, second) + f64::from(self.rho[sums.len()]);
                votes[if score > 0.0 { first } else { second }] += 1;
                sums.push(score as f32);
            }
        }
        (sums, votes)
    }
}

/// Returns the probability of each class by those of each pair: method 2 of Wu, Lin and Weng, "Probability
/// Estimates for Multi-class Classification by Pairwise Coupling" (2004), with the limits of LIBSVM.
fn probabilities(classes: usize, sums: &[f32], calibration: &[(f32, f32)]) -> Vec<f32> {
    const LEAST: f32 = 1e-7;
    const ROUNDS: usize = 100;
    let mut pairs = vec![0f32; classes * classes];
    let both = (0..classes).flat_map(|first| (first + 1..classes).map(move |second| (first, second)));
    for ((first, second), (sum, (a, b))) in both.zip(sums.iter().zip(calibration)) {
        let share = (1.0 - logistic(sum * a + b)).clamp(LEAST, 1.0 - LEAST);
        pairs[first * classes + second] = share;
        pairs[second * classes + first] = 1.0 - share;
    }
    let others = |class: usize| (0..classes).filter(move |other| *other != class);
    let mut q = vec![0f32; classes * classes];
    for class in 0..classes {
        for other in others(class) {
            let (against, of) = (pairs[other * classes + class], pairs[class * classes + other]);
            q[class * classes + class] += against * against;
            q[class * classes + other] = -against * of;
        }
    }
    let mut shares = vec![1.0 / classes as f32; classes];
    for _ in 0..ROUNDS {
        let mut products: Vec<f32> =
            q.chunks_exact(classes).map(|row| row.iter().zip(&shares).map(|(q, p)| q * p).sum()).collect();
        let mut whole: f32 = products.iter().zip(&shares).map(|(a, b)| a * b).sum();
        if products.iter().all(|product| (product - whole).abs() < 0.005 / classes as f32) {
            break;
        }
        for class in 0..classes {
            let row = &q[class * classes..(class + 1) * classes];
            let step = (whole - products[class]) / row[class];
            shares[class] += step;
            whole = (whole + step * (step * row[class] + 2.0 * products[class])) / (1.0 + step) / (1.0 + step);
            for ((product, share), q) in products.iter_mut().zip(&mut shares).zip(row) {
                *product = (*product + step * q) / (1.0 + step);
                *share /= 1.0 + step;
            }
        }
    }
    shares
}

impl Operator for SvmClassifier {
    fn name(&self) -> &'static str {
        "SVMClassifier"
    }

    fn output_count(&self) -> usize {
        2
    }

    fn outputs(&self, inputs: &[Kind]) -> TractResult<TVec<Kind>> {
        let samples = self.rows.expect(&inputs[0])?;
        let scores = [samples.clone(), self.width().to_dim()];
        Ok(tvec!(Kind::new(self.labels.datum(), [samples]), Kind::new(DatumType::F32, scores)))
    }

    fn run(&self, inputs: &[TValue]) -> TractResult<TVec<TValue>> {
        let width = self.width();
        let (mut scores, mut chosen) = (Vec::new(), Vec::new());
        let samples = each_sample(&inputs[0], &self.rows, |sample| {
            let start = scores.len();
            scores.resize(start + width, 0.0);
            chosen.push(self.answer(sample, &mut scores[start..]));
        })?;
        let scores = Tensor::from_shape(&[samples, width], &scores)?;
        Ok(tvec!(self.labels.tensor(&chosen)?.into_tvalue(), scores.into_tvalue()))
    }
}

#[derive(Debug)]
struct SvmRegressor {
    kernel: Kernel,
    rows: Rows,
    /// One for each support vector; empty in a linear machine.
    coefficients: Vec<f32>,
    rho: f32,
    /// True if only the sign is answered, as 1 or -1.
    is_one_class: bool,
}

pub(super) fn regressor(_ctx: &ParsingContext, node: &NodeProto) -> TractResult<(Box<dyn InferenceOp>, Vec<String>)> {
    let vectors: usize = node.get_attr_opt("n_supports")?.unwrap_or(0);
    let coefficients: Vec<f32> = node.get_attr_vec("coefficients")?;
    let rho: Vec<f32> = node.get_attr_vec("rho")?;
    node.expect(!rho.is_empty(), "a rho")?;
    let mut kernel = Kernel::read(node)?;
    let (rows, coefficients) = if vectors > 0 {
        node.expect(coefficients.len() == vectors, "a coefficient for each support vector")?;
        (Rows::of(node, node.get_attr_vec("support_vectors")?, vectors)?, coefficients)
    } else {
        kernel.kind = KernelKind::Linear;
        (Rows::of(node, coefficients, 1)?, Vec::new())
    };
    let is_one_class = node.get_attr_opt::<i64>("one_class")?.unwrap_or(0) != 0;
    Ok(operator_node(SvmRegressor { kernel, rows, coefficients, rho: rho[0], is_one_class }))
}

impl Operator for SvmRegressor {
    fn name(&self) -> &'static str {
        "SVMRegressor"
    }

    fn outputs(&self, inputs: &[Kind]) -> TractResult<TVec<Kind>> {
        Ok(tvec!(Kind::new(DatumType::F32, [self.rows.expect(&inputs[0])?, 1.to_dim()])))
    }

    fn run(&self, inputs: &[TValue]) -> TractResult<TVec<TValue>> {
        let mut values = Vec::new();
        let samples = each_sample(&inputs[0], &self.rows, |sample| {
            let kernels: Vec<f32> = self.rows.iter().map(|vector| self.kernel.of(vector, sample)).collect();
            let sum = if self.coefficients.is_empty() { kernels[0] } else { dot(&self.coefficients, &kernels) };
            let value = sum + self.rho;
            values.push(match self.is_one_class {
                true if value > 0.0 => 1.0,
                true => -1.0,
                false => value,
            });
        })?;
        Ok(tvec!(Tensor::from_shape(&[samples, 1], &values)?.into_tvalue()))
    }
}
