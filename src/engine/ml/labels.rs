//! The labels that a classifier answers with.

use tract_onnx::pb::NodeProto;
use tract_onnx::tract_hir::internal::*;

/// The labels of the classes: integers or texts.
#[derive(Debug)]
pub(super) enum Labels {
    Integers(Vec<i64>),
    Texts(Vec<String>),
}

impl Labels {
    /// Reads the labels of a classifier. `integers` is the name of the attribute with integers.
    ///
    /// # Errors
    /// An error that names the node when it has no labels.
    pub(super) fn read(node: &NodeProto, integers: &str) -> TractResult<Self> {
        let texts: Vec<String> = node.get_attr_opt_vec("classlabels_strings")?.unwrap_or_default();
        if !texts.is_empty() {
            return Ok(Self::Texts(texts));
        }
        let integers: Vec<i64> = node.get_attr_opt_vec(integers)?.unwrap_or_default();
        node.expect(!integers.is_empty(), "labels of classes")?;
        Ok(Self::Integers(integers))
    }

    pub(super) fn len(&self) -> usize {
        match self {
            Self::Integers(labels) => labels.len(),
            Self::Texts(labels) => labels.len(),
        }
    }

    pub(super) fn datum(&self) -> DatumType {
        match self {
            Self::Integers(_) => DatumType::I64,
            Self::Texts(_) => DatumType::String,
        }
    }

    /// Returns a list with the labels that were chosen.
    pub(super) fn tensor(&self, chosen: &[Chosen]) -> TractResult<Tensor> {
        Ok(match self {
            Self::Integers(labels) => {
                let label = |chosen: &Chosen| match chosen {
                    Chosen::Class(class) => labels[*class],
                    Chosen::Sign(is_positive) => i64::from(*is_positive),
                };
                tensor1(&chosen.iter().map(label).collect::<Vec<_>>())
            }
            Self::Texts(labels) => {
                let label = |chosen: &Chosen| match chosen {
                    Chosen::Class(class) => labels[*class].clone(),
                    Chosen::Sign(is_positive) => labels[usize::from(*is_positive).min(labels.len() - 1)].clone(),
                };
                tract_ndarray::Array1::from_iter(chosen.iter().map(label)).into_tensor()
            }
        })
    }
}

/// The answer of a classifier.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Chosen {
    /// The class in this place.
    Class(usize),
    /// The sign of the only score. As an integer it is 1 or 0 whatever the labels are, as in ONNX Runtime.
    Sign(bool),
}

/// Returns the place of the largest score, the first of equal ones.
pub(super) fn largest<T: PartialOrd + Copy>(scores: &[T]) -> usize {
    (1..scores.len()).fold(0, |best, class| if scores[class] > scores[best] { class } else { best })
}
