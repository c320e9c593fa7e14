//! Networks of the user's own: the layers between what the data bring and what is asked of them.

use crate::error::{Error, Result};
use crate::layers::{Architecture, LayerSpec};

/// Pixels from 0 to 255 become 0 to 1.
const PIXEL: f32 = 1.0 / 255.0;

/// The network with these layers for images of so many channels, rows and columns: pixels become 0 to 1 before them, unless they begin with a
/// rescale of their own; after them a dense layer gives the outputs, with a flatten before it if one is needed.
///
/// # Errors
/// [`Error::Config`] naming the layer that does not fit the one before it, or that is none to be chosen.
pub(super) fn around(body: &[LayerSpec], shape: [usize; 3], outputs: usize) -> Result<Architecture> {
    for (index, layer) in body.iter().enumerate() {
        if layer.is_first() || matches!(layer, LayerSpec::Recall | LayerSpec::Destandardize { .. }) {
            let setting = format!("layers[{index}] ({})", layer.name());
            return Err(Error::Config { setting, problem: "is fitted to the data and put in by itself".into() });
        }
    }
    let rescales = matches!(body.first(), Some(LayerSpec::Rescale { .. }));
    let front = (!rescales).then_some(LayerSpec::Rescale { scale: PIXEL });
    let input = shape.to_vec();
    // Planned without what was put before it, so that a complaint counts the layers as they were given.
    let shape = Architecture { input: input.clone(), layers: body.to_vec() }.output()?;
    let flatten = (shape.len() > 1).then_some(LayerSpec::Flatten);
    let head = flatten.into_iter().chain([LayerSpec::Dense { units: outputs }]);
    Ok(Architecture { input, layers: front.into_iter().chain(body.iter().cloned()).chain(head).collect() })
}

/// Returns the description of a custom network, a sentence without its end.
pub(super) fn description(body: &[LayerSpec]) -> String {
    let names: Vec<&str> = body.iter().map(LayerSpec::name).collect();
    format!("A network of {} layers of its trainer's own: {}", names.len(), names.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layers(toml: &str) -> Vec<LayerSpec> {
        let table: toml::Table = toml::from_str(toml).unwrap();
        table["layers"].clone().try_into().unwrap()
    }

    #[test]
    fn a_body_gets_a_front_and_a_head() {
        let body = layers("layers = [{layer = 'conv2d', channels = 4, kernel = 3}, {layer = 'relu'}]");
        let network = around(&body, [1, 8, 8], 3).unwrap();
        assert_eq!(network.output().unwrap(), [3]);
        let names: Vec<&str> = network.layers.iter().map(LayerSpec::name).collect();
        assert_eq!(names, ["rescale", "conv2d", "relu", "flatten", "dense"]);
        let own = layers("layers = [{layer = 'rescale', scale = 0.01}, {layer = 'rows'}, {layer = 'gru', units = 5}]");
        let network = around(&own, [1, 8, 8], 3).unwrap();
        assert_eq!(network.layers.len(), 4, "{network:?}");
        assert_eq!(description(&own), "A network of 3 layers of its trainer's own: rescale, rows, gru");
        assert_eq!(around(&[], [1, 8, 8], 3).unwrap().parameters().unwrap(), 65 * 3, "logistic regression");
    }

    #[test]
    fn what_does_not_fit_is_named_by_its_place() {
        let refused = |toml: &str| around(&layers(toml), [1, 8, 8], 3).unwrap_err().to_string();
        let dense = refused("layers = [{layer = 'relu'}, {layer = 'dense', units = 3}]");
        assert!(dense.contains("layers[1] (dense)") && dense.contains("flatten"), "{dense}");
        let embedding = refused("layers = [{layer = 'embedding', tokens = 9, units = 3}]");
        assert!(embedding.contains("layers[0] (embedding)") && embedding.contains("by itself"), "{embedding}");
        let fitted = refused("layers = [{layer = 'destandardize', mean = 0.0, deviation = 1.0}]");
        assert!(fitted.contains("layers[0] (destandardize)"), "{fitted}");
    }
}
