//! Samples that a version carries: golden examples, which every load checks, and the probe set for live figures.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::dataset::{Dataset, Targets};
use super::images::png;
use crate::engine::Plan;
use crate::error::{Error, Result};
use crate::repository::{Example, Golden, GoldenAnswer, ProbeSample, Truth};
use crate::signature::{ImageTransform, Polarity, Task};
use crate::tensor::Tensor;
use crate::transform::{Luma, PolarityChoice, prepare as prepare_image};

/// Test samples of a probe set, at most.
const PROBE_SAMPLES: usize = 250;

/// Golden examples, at most.
const GOLDEN_SAMPLES: usize = 8;

/// Returns golden examples of a graph: the first test samples with its output of this name.
///
/// # Errors
/// [`Error::Internal`] when the graph fails, and as [`Dataset::image`].
pub(super) fn golden(
    plan: &Plan,
    (output, answer): (&str, fn(&Tensor) -> Result<GoldenAnswer>),
    test: &Dataset,
    image: Option<&ImageTransform>,
) -> Result<Vec<Golden>> {
    let mut session = plan.session()?;
    let output = plan.signature().outputs.iter().position(|found| found.name == output).unwrap_or(0);
    let shape = plan.signature().inputs[0].sample_shape().unwrap_or_default();
    let golden = |index: usize| {
        let outputs = session.run(&test.tensors(&[index], &shape)?)?;
        Ok(Golden { input: example(test, index)?, answer: answer(&outputs[output])? })
    };
    servable_samples(test, image, GOLDEN_SAMPLES)?.into_iter().map(golden).collect()
}

/// Returns the probe set: samples with the truth about each, which an autoencoder needs not.
///
/// # Errors
/// [`Error::Internal`] when an image cannot be encoded, and as [`Dataset::image`].
pub(super) fn probe(test: &Dataset, image: Option<&ImageTransform>, seed: u64, task: Task) -> Result<String> {
    let mut lines = String::new();
    for index in test.sample(PROBE_SAMPLES, seed) {
        if !is_served_as_it_is(test, index, image)? {
            continue;
        }
        let truth = match (task, test.targets()) {
            (Task::Classification, Targets::Classes(labels)) => Truth::Class(labels[index] as usize),
            (Task::Regression, Targets::Values(values)) => Truth::Value(values[index]),
            (Task::Classification | Task::Regression | Task::Reconstruction | Task::Raw, _) => Truth::Unknown,
        };
        let sample = ProbeSample { input: example(test, index)?, truth };
        let line = serde_json::to_string(&sample)
            .map_err(|error| Error::internal("the probe set could not be written", error))?;
        lines.push_str(&line);
        lines.push('\n');
    }
    Ok(lines)
}

/// Returns the indices of the first `most` samples that come through serving unchanged.
///
/// # Errors
/// As [`Dataset::image`].
pub(super) fn servable_samples(test: &Dataset, image: Option<&ImageTransform>, most: usize) -> Result<Vec<usize>> {
    let mut found = Vec::with_capacity(most);
    for index in 0..test.len() {
        if found.len() == most {
            break;
        }
        if is_served_as_it_is(test, index, image)? {
            found.push(index);
        }
    }
    Ok(found)
}

/// Returns a sample as manifests and probe sets hold it.
///
/// # Errors
/// [`Error::Internal`] when the encoder of images fails, and as [`Dataset::inputs`].
pub(super) fn example(data: &Dataset, index: usize) -> Result<Example> {
    if data.is_images() {
        return Ok(Example::Image { png: STANDARD.encode(png(data, index)?) });
    }
    if let Some(text) = data.text(index)? {
        return Ok(Example::Text { text: text.to_owned() });
    }
    let values = data.inputs(index..index + 1)?;
    Ok(Example::Elements { values: values.into_iter().map(|value| (!value.is_nan()).then_some(value)).collect() })
}

/// Returns true if serving takes a sample as it is: by its border alone, a small drawing can seem to have the other
/// polarity than the large one it was made from.
fn is_served_as_it_is(data: &Dataset, index: usize, image: Option<&ImageTransform>) -> Result<bool> {
    let drawing = image.and_then(ImageTransform::drawing).filter(|drawing| drawing.polarity != Polarity::AsIs);
    let Some(image) = drawing else { return Ok(true) };
    let pixels = data.image(index)?.into_owned();
    let picture = Luma { width: image.width, height: image.height, pixels };
    Ok(!prepare_image(picture, image, PolarityChoice::Auto)?.inverted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signature::{DrawingTransform, Fit};

    #[test]
    fn samples_that_serving_would_invert_are_no_examples() {
        // Bright on dark, dark on bright, bright on dark: 4 × 4 pixels with a drawing of 4 in the middle.
        let drawn = |paper: u8, ink: u8| {
            (0..16).map(move |at| if [5, 6, 9, 10].contains(&at) { ink } else { paper }).collect::<Vec<u8>>()
        };
        let pixels = [drawn(0, 255), drawn(255, 0), drawn(0, 255)].concat();
        let data = Dataset::images(4, 4, pixels, vec![0, 1, 0], 2);
        let image = |polarity, fit| DrawingTransform { width: 4, height: 4, polarity, fit }.into();
        let found = |polarity, fit, most| servable_samples(&data, Some(&image(polarity, fit)), most).unwrap();
        assert_eq!(found(Polarity::LightOnDark, Fit::Stretch, 5), [0, 2]);
        assert_eq!(found(Polarity::LightOnDark, Fit::Stretch, 1), [0]);
        assert_eq!(found(Polarity::LightOnDark, Fit::CentreOfMass, 5), [0, 2]);
        assert_eq!(
            found(Polarity::AsIs, Fit::Stretch, 5),
            [0, 1, 2],
            "pictures that are no drawings are taken as they are"
        );
        assert_eq!(servable_samples(&data, None, 2).unwrap(), [0, 1]);
    }
}
