//! Networks for sequences: what comes before the recurrent layer is fitted on the training part.

use super::dataset::Dataset;
use super::tabular::Moments;
use crate::error::{Error, Result};
use crate::layers::{Architecture, LayerSpec};
use crate::signature::{SequenceElements, SequenceTransform, TokenSplit};

/// Numbers that a token becomes.
const EMBEDDING_UNITS: usize = 32;

/// Numbers that an n-gram or term of a text becomes.
const GRAM_UNITS: usize = 16;

/// What makes a recurrent layer's steps of sequences: each channel standardised, or a table of tokens; of n-grams their
/// mean, of terms their weighted sum.
///
/// # Errors
/// As [`Dataset::image`].
pub(super) fn front(data: &Dataset, transform: &SequenceTransform) -> Result<LayerSpec> {
    let channels = match transform.elements {
        SequenceElements::Numbers { channels } => channels,
        SequenceElements::Tokens { split: Some(how @ (TokenSplit::Grams | TokenSplit::Terms)), .. } => {
            let weighted = how == TokenSplit::Terms;
            return Ok(LayerSpec::EmbeddingBag { tokens: transform.tokens(), units: GRAM_UNITS, weighted });
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

/// Returns how rare each token is in a part of the data, its inverse document frequency: `ln((1 + n) / (1 + d)) + 1` of a
/// token that d of n sequences have; 1 or more, and 1 of one that all have.
///
/// # Errors
/// As [`Dataset::image`].
pub(super) fn rarities(data: &Dataset, tokens: usize) -> Result<Vec<f32>> {
    let mut sequences = vec![0u32; tokens];
    // By token the last sequence that was counted, from 1.
    let mut counted = vec![0usize; tokens];
    let mut elements = Vec::new();
    for index in 0..data.len() {
        elements.clear();
        data.append(index, &mut elements)?;
        for token in elements.iter().map(|element| *element as usize).filter(|token| *token < tokens) {
            if std::mem::replace(&mut counted[token], index + 1) <= index {
                sequences[token] += 1;
            }
        }
    }
    let all = 1.0 + data.len() as f64;
    Ok(sequences.iter().map(|count| ((all / (1.0 + f64::from(*count))).ln() + 1.0) as f32).collect())
}

/// A network for the rows of images, recurrent or of convolutions, as one for sequences; of n-grams, which have no order, a network of dense layers.
///
/// # Errors
/// [`Error::Config`] when it has no layer that takes steps where one is needed, or layers that need an image.
pub(super) fn on_sequence(
    preset: &str,
    architecture: Architecture,
    input: Vec<usize>,
    front: LayerSpec,
) -> Result<Architecture> {
    let is_about_images =
        |layer: &LayerSpec| matches!(layer, LayerSpec::Rescale { .. } | LayerSpec::Rows | LayerSpec::Flatten);
    let takes_steps =
        |layer: &LayerSpec| matches!(layer, LayerSpec::Lstm { .. } | LayerSpec::Gru { .. } | LayerSpec::Series);
    let is_on_series = |layer: &LayerSpec| {
        matches!(
            layer,
            LayerSpec::Conv1d { .. }
                | LayerSpec::BatchNorm
                | LayerSpec::GroupNorm { .. }
                | LayerSpec::Add { .. }
                | LayerSpec::GlobalAveragePool
        )
    };
    let fits = |layer: &LayerSpec| {
        matches!(layer, LayerSpec::Dense { .. } | LayerSpec::Relu | LayerSpec::Silu | LayerSpec::Dropout { .. })
            || is_about_images(layer)
            || takes_steps(layer)
            || is_on_series(layer)
    };
    let is_bag = matches!(front, LayerSpec::EmbeddingBag { .. });
    if architecture.layers.iter().any(takes_steps) == is_bag || !architecture.layers.iter().all(fits) {
        let problem = match is_bag {
            true => {
                format!("{preset} takes no n-grams of texts; weir train text does, and --tokens words gives it words")
            }
            false => {
                format!(
                    "{preset} takes no sequences, which the data are; weir train lstm, gru and conv1d do, and of texts \
                     weir train text"
                )
            }
        };
        return Err(Error::Config { setting: "PRESET".into(), problem });
    }
    let mut layers = vec![front];
    for layer in architecture.layers {
        // Steps that a layer gives are flat before a dense one.
        let is_behind_steps = layer == LayerSpec::Flatten && layers.iter().any(takes_steps);
        if is_behind_steps || !is_about_images(&layer) {
            layers.push(layer);
        }
    }
    Ok(Architecture { input, layers })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trainer::presets::{PRESETS, Sizes};

    #[test]
    fn a_token_is_the_rarer_the_fewer_sequences_have_it() {
        let rows: Vec<f32> = [[0.0, 2.0, 2.0], [2.0, 3.0, 2.0], [0.0, 0.0, 2.0]].concat();
        let data = Dataset::images(1, 1, vec![0; 3], vec![0, 1, 0], 2).with_features(3, &rows);
        let found = rarities(&data, 5).unwrap();
        assert_eq!(found[2], 1.0, "one that all have");
        assert!((f64::from(found[3]) - (2.0f64.ln() + 1.0)).abs() < 1e-6, "{found:?}");
        assert!((f64::from(found[4]) - (4.0f64.ln() + 1.0)).abs() < 1e-6, "{found:?}");
    }

    #[test]
    fn only_networks_of_steps_take_sequences() {
        for preset in PRESETS {
            let network =
                (preset.architecture)(&Sizes { channels: 1, height: 28, width: 28, outputs: 3, samples: 100 });
            let front = LayerSpec::Embedding { tokens: 50, units: 8 };
            let taken = on_sequence(preset.name, network, vec![12], front);
            match preset.name {
                "lstm" | "gru" | "conv1d" | "mnist-lstm" => assert_eq!(taken.unwrap().output().unwrap(), [3]),
                name => {
                    let refused = taken.unwrap_err().to_string();
                    assert!(refused.contains(name) && refused.contains("weir train lstm"), "{refused}");
                }
            }
        }
    }
}
