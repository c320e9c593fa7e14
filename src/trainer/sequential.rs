//! Networks for sequences: what comes before the recurrent layer is fitted on the training part.

use super::dataset::Dataset;
use super::tabular::Moments;
use crate::error::{Error, Result};
use crate::layers::{Architecture, LayerSpec};
use crate::signature::{SequenceElements, SequenceTransform, TokenSplit};

/// Numbers that a token becomes.
const EMBEDDING_UNITS: usize = 32;

/// Numbers that an n-gram of a text becomes.
const GRAM_UNITS: usize = 16;

/// What makes a recurrent layer's steps of sequences: each channel standardised, or a table of tokens; of n-grams their
/// mean.
///
/// # Errors
/// As [`Dataset::image`].
pub(super) fn front(data: &Dataset, transform: &SequenceTransform) -> Result<LayerSpec> {
    let channels = match transform.elements {
        SequenceElements::Numbers { channels } => channels,
        SequenceElements::Tokens { split: Some(TokenSplit::Grams), .. } => {
            return Ok(LayerSpec::EmbeddingBag { tokens: transform.tokens(), units: GRAM_UNITS });
        }
        SequenceElements::Tokens { .. } => {
            return Ok(LayerSpec::Embedding { tokens: transform.tokens(), units: EMBEDDING_UNITS });
        }
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

/// A recurrent network for images as one for sequences; of n-grams, which have no order, a network of dense layers.
///
/// # Errors
/// [`Error::Config`] when it has no recurrent layer where one is needed, or layers that need an image.
pub(super) fn on_sequence(
    preset: &str,
    architecture: Architecture,
    input: Vec<usize>,
    front: LayerSpec,
) -> Result<Architecture> {
    let is_about_images =
        |layer: &LayerSpec| matches!(layer, LayerSpec::Rescale { .. } | LayerSpec::Rows | LayerSpec::Flatten);
    let is_recurrent = |layer: &LayerSpec| matches!(layer, LayerSpec::Lstm { .. } | LayerSpec::Gru { .. });
    let fits = |layer: &LayerSpec| {
        matches!(layer, LayerSpec::Dense { .. } | LayerSpec::Relu | LayerSpec::Silu | LayerSpec::Dropout { .. })
            || is_about_images(layer)
            || is_recurrent(layer)
    };
    let is_bag = matches!(front, LayerSpec::EmbeddingBag { .. });
    if architecture.layers.iter().any(is_recurrent) == is_bag || !architecture.layers.iter().all(fits) {
        let problem = match is_bag {
            true => {
                format!("{preset} takes no n-grams of texts; weir train text does, and --tokens words gives it words")
            }
            false => {
                format!(
                    "{preset} takes no sequences, which the data are; weir train lstm and weir train gru do, and of texts \
                     weir train text"
                )
            }
        };
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
