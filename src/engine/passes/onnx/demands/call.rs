//! A node with what is known of its inputs when its demand is judged.

use tract_onnx::pb::NodeProto;
use tract_onnx::prelude::Tensor;

use super::super::build::{attribute, integer_of};
use crate::engine::Bounds;
use crate::ids::{printable, quote};

/// An input: its shape, the bytes of an element, and its value where the demand is about it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Given<'a> {
    pub(super) shape: &'a [usize],
    pub(super) element_bytes: u64,
    pub(super) value: Option<&'a Tensor>,
}

/// A node and its inputs; `None` for one that it leaves out.
#[derive(Debug)]
pub(super) struct Call<'a> {
    pub(super) node: &'a NodeProto,
    pub(super) inputs: Vec<Option<Given<'a>>>,
    /// The tensors that it may make.
    pub(super) bounds: Bounds,
}

/// The outcome of a demand: the reason in words if it is not met.
pub(super) type Outcome = Result<(), String>;

impl Call<'_> {
    pub(super) fn shape(&self, at: usize) -> Option<&[usize]> {
        self.inputs.get(at).copied().flatten().map(|given| given.shape)
    }

    /// Returns the shapes of all inputs that are there.
    pub(super) fn shapes(&self) -> Vec<&[usize]> {
        self.inputs.iter().flatten().map(|given| given.shape).collect()
    }

    pub(super) fn value(&self, at: usize) -> Option<&Tensor> {
        self.inputs.get(at).copied().flatten()?.value
    }

    /// Returns the whole numbers of an input.
    pub(super) fn integers(&self, at: usize) -> Option<Vec<i64>> {
        let value = self.value(at)?.cast_to::<i64>().ok()?;
        Some(value.try_as_plain_ram().ok()?.as_slice::<i64>().ok()?.to_vec())
    }

    /// Returns the whole numbers that are an input from some version of the standard on, and an attribute before.
    pub(super) fn list(&self, at: usize, name: &str) -> Option<Vec<i64>> {
        self.integers(at).or_else(|| attribute(self.node, name).map(|attribute| attribute.ints.clone()))
    }

    pub(super) fn integer(&self, name: &str, default: i64) -> i64 {
        integer_of(self.node, name, default)
    }

    /// Returns an axis of a value of so many dimensions.
    ///
    /// # Errors
    /// The words for one that it does not have.
    pub(super) fn axis(&self, axis: i64, rank: usize) -> Result<usize, String> {
        let from_end = if axis < 0 { axis.saturating_add(rank as i64) } else { axis };
        usize::try_from(from_end)
            .ok()
            .filter(|axis| *axis < rank)
            .ok_or_else(|| self.says(&format!("axis {axis} is none of the {rank} dimensions of {}", self.name(0))))
    }

    /// Checks that the node may make a tensor of this shape, with the elements of one of its inputs.
    ///
    /// # Errors
    /// The words of the limit.
    pub(super) fn may_make(&self, shape: &[i64], of: usize) -> Outcome {
        let element_bytes = self.inputs.get(of).copied().flatten().map_or(1, |given| given.element_bytes);
        let sizes = shape.iter().map(|size| u64::try_from(*size).unwrap_or(0));
        self.bounds.check(sizes, element_bytes).map_err(|words| self.says(&words))
    }

    /// Returns the name of an input for a message.
    pub(super) fn name(&self, at: usize) -> String {
        self.node.input.get(at).map_or_else(String::new, |name| quote(name))
    }

    /// Returns a reason with the node before it.
    pub(super) fn says(&self, what: &str) -> String {
        let name = self.node.output.iter().find(|name| !name.is_empty()).map_or("", String::as_str);
        format!("node {} ({}): {what}", quote(name), printable(&self.node.op_type, 40))
    }
}

/// Returns an error with these words unless a condition holds.
pub(super) fn ensure(holds: bool, words: impl FnOnce() -> String) -> Outcome {
    if holds { Ok(()) } else { Err(words()) }
}
