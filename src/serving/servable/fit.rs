//! Checks that transforms fit a graph.

use crate::error::{Error, Result};
use crate::signature::{
    Batching, DType, Dim, ImageTransform, OutputTransform, Signature, TensorSpec, Transform, row_width, scored_classes,
};

/// Returns the error of a version that cannot be served.
pub(crate) fn unusable(problem: String) -> Error {
    Error::Repository { what: "the version".into(), problem }
}

/// Checks that what a transform makes of a request fills the inputs of a graph.
///
/// # Errors
/// [`Error::Repository`] saying what does not fit.
pub(super) fn inputs(transform: &Transform, graph: &Signature) -> Result<()> {
    if let Some(image) = &transform.image {
        // An autoencoder takes noise besides.
        let inputs = if matches!(transform.output, OutputTransform::Reconstruction { .. }) { 2 } else { 1 };
        if !is_filled_by_images(graph, inputs, image) {
            return Err(do_not_fill(&format!("images of {}", image.text()), graph));
        }
    }
    if let Some(sequence) = &transform.sequence {
        let expected = sequence.shape();
        let is_filled = |shape: &[usize]| !expected.contains(&0) && shape == expected;
        if !first_is_filled(graph, 1, is_filled) {
            return Err(do_not_fill(&format!("sequences of {expected:?}"), graph));
        }
    }
    if let Some(text) = &transform.text {
        text.check(graph).map_err(|problem| unusable(format!("[text]: {problem}")))?;
    }
    let (columns, elements) = (transform.columns.len(), row_width(&transform.columns));
    if columns > 0 && !first_is_filled(graph, 1, |shape| shape == [elements]) {
        let what = if columns == elements { String::new() } else { format!(" of {elements} elements") };
        return Err(do_not_fill(&format!("{columns} columns{what}"), graph));
    }
    Ok(())
}

/// Returns true if a graph takes this many inputs, and such images in the first. Without a batch, as graphs are that
/// pick out objects themselves, it takes one at a time.
fn is_filled_by_images(graph: &Signature, inputs: usize, image: &ImageTransform) -> bool {
    let takes_one = |input: &TensorSpec| match (image, graph.batching(), input.shape.first()) {
        (_, Batching::Any | Batching::Fixed(_), _) => true,
        (ImageTransform::Picture(_), Batching::Whole, Some(first)) => first.is_open() || *first == Dim::Fixed(1),
        (_, Batching::Whole, _) => false,
    };
    graph.inputs.len() == inputs && graph.inputs.first().is_some_and(|input| image.fills(input) && takes_one(input))
}

/// Returns true if a graph takes this many inputs, and samples of a fitting shape in the first.
fn first_is_filled(graph: &Signature, inputs: usize, fits: impl Fn(&[usize]) -> bool) -> bool {
    let sample = graph.inputs.first().filter(|input| input.dtype == DType::Float32).and_then(TensorSpec::sample_shape);
    graph.batching() != Batching::Whole && graph.inputs.len() == inputs && sample.is_some_and(|shape| fits(&shape))
}

fn do_not_fill(what: &str, graph: &Signature) -> Error {
    let inputs: Vec<String> = graph.inputs.iter().map(TensorSpec::shape_text).collect();
    unusable(format!("{what} do not fill the inputs {}", inputs.join(", ")))
}

/// Returns the place of the output of this name, which holds a distribution over the classes.
///
/// # Errors
/// [`Error::Repository`] when there is none.
pub(super) fn distribution(name: &str, labels: &[String], graph: &Signature) -> Result<usize> {
    let index = place(name, graph)?;
    let output = &graph.outputs[index];
    let classes = scored_classes(output).filter(|_| graph.batching() != Batching::Whole);
    if classes.is_some_and(|classes| labels.is_empty() || labels.len() == classes) {
        return Ok(index);
    }
    let (labels, shape) = (labels.len(), output.shape_text());
    Err(unusable(format!("{labels} labels for output \"{name}\" of shape {shape}")))
}

/// Returns the place of the output of this name, which holds one number for each sample.
///
/// # Errors
/// [`Error::Repository`] when there is none.
pub(super) fn number(name: &str, graph: &Signature) -> Result<usize> {
    let index = place(name, graph)?;
    let output = &graph.outputs[index];
    let is_one = output.sample_shape().is_some_and(|shape| shape.iter().product::<usize>() == 1);
    if !is_one || ![DType::Float32, DType::Float64].contains(&output.dtype) || graph.batching() == Batching::Whole {
        return Err(unusable(format!("output \"{name}\" of shape {} is not one number", output.shape_text())));
    }
    Ok(index)
}

fn place(name: &str, graph: &Signature) -> Result<usize> {
    let index = graph.outputs.iter().position(|output| output.name == name);
    index.ok_or_else(|| unusable(format!("the graph has no output \"{name}\"")))
}
