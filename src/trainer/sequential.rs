//! Networks for sequences: what comes before the recurrent layer is fitted on the training part.

use super::dataset::Dataset;
use super::tabular::Moments;
use crate::error::{Error, Result};
use crate::layers::{Architecture, LayerSpec};
use crate::signature::{SequenceElements, SequenceTransform};

/// Numbers that a token becomes.
const EMBEDDING_UNITS: usize = 32;

/// What makes a recurrent layer's steps of sequences: each channel standardised, or a table of tokens.
///
/// # Errors
/// As [`Dataset::image`].
pub(super) fn front(data: &Dataset, transform: &SequenceTransform) -> Result<LayerSpec> {
    let SequenceElements::Numbers { channels } = transform.elements else {
        return Ok(LayerSpec::Embedding { tokens: transform.tokens(), units: EMBEDDING_UNITS });
    };
    let mut moments = vec![Moments::default(); channels];
    let mut elements = Vec::new();
    for index in 0..data.len() {
        elements.clear();
        data.append(index, &mut elements)?;
        for step in elements.chunks_exact(channels) {
            let numbers = step.iter().zip(&mut moments).filter(|(number, _)| !number.is_nan());
            numbers.for_each(|(number, moments)| moments.add(f64::from(*number)));
        }
    }
    Ok(LayerSpec::Standardize {
        mean: moments.iter().map(|moments| moments.mean() as f32).collect(),
        deviation: moments.iter().map(|moments| moments.deviation() as f32).collect(),
    })
}

/// A recurrent network for images as one for sequences.
///
/// # Errors
/// [`Error::Config`] when it has no recurrent layer, or layers that need an image.
pub(super) fn on_sequence(
    preset: &str,
    architecture: Architecture,
    input: Vec<usize>,
    front: LayerSpec,
) -> Result<Architecture> {
    let is_about_images = |layer: &LayerSpec| matches!(layer, LayerSpec::Rescale { .. } | LayerSpec::Rows);
    let is_recurrent = |layer: &LayerSpec| matches!(layer, LayerSpec::Lstm { .. } | LayerSpec::Gru { .. });
    let fits = |layer: &LayerSpec| {
        matches!(layer, LayerSpec::Dense { .. } | LayerSpec::Relu | LayerSpec::Silu | LayerSpec::Dropout { .. })
            || is_about_images(layer)
            || is_recurrent(layer)
    };
    if !architecture.layers.iter().any(is_recurrent) || !architecture.layers.iter().all(fits) {
        let problem = format!("{preset} takes no sequences, which the data are; weir train lstm and weir train gru do");
        return Err(Error::Config { setting: "PRESET".into(), problem });
    }
    let rest = architecture.layers.into_iter().filter(|layer| !is_about_images(layer));
    Ok(Architecture { input, layers: std::iter::once(front).chain(rest).collect() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trainer::presets::{PRESETS, Sizes};

    #[test]
    fn only_recurrent_networks_take_sequences() {
        for preset in PRESETS {
            let network =
                (preset.architecture)(&Sizes { channels: 1, height: 28, width: 28, outputs: 3, samples: 100 });
            let front = LayerSpec::Embedding { tokens: 50, units: 8 };
            let taken = on_sequence(preset.name, network, vec![12], front);
            match preset.name {
                "lstm" | "gru" | "mnist-lstm" => assert_eq!(taken.unwrap().output().unwrap(), [3]),
                name => {
                    let refused = taken.unwrap_err().to_string();
                    assert!(refused.contains(name) && refused.contains("weir train lstm"), "{refused}");
                }
            }
        }
    }
}
