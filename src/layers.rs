//! The architecture of a network as a list of layers: the one description from which the trainable
//! network, the ONNX graph, and the parameter and multiply-add counts all come.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::error::{Error, Result};

/// One layer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "layer", rename_all = "snake_case", deny_unknown_fields)]
pub enum LayerSpec {
    /// Multiplies every element; pixels become 0 to 1 with `scale = 1/255`.
    Rescale {
        /// The factor.
        scale: f32,
    },
    /// `[N, a, b, …]` → `[N, a·b·…]`.
    Flatten,
    /// `y = x·W + b`; `W` is `[inputs, units]`, Glorot uniform at first (Glorot and Bengio 2010), `b` zero.
    Dense {
        /// The number of outputs.
        units: usize,
    },
    /// `max(x, 0)`.
    Relu,
    /// While training, zeroes each element with probability `rate` and scales the rest by
    /// `1/(1-rate)` (Srivastava et al. 2014); elsewhere does nothing and is not exported.
    Dropout {
        /// The probability, at least 0 and below 1.
        rate: f32,
    },
}

/// A network from an input shape through a list of layers to logits.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Architecture {
    /// The shape of one sample, without the batch.
    pub input: Vec<usize>,
    /// The layers, first to last.
    pub layers: Vec<LayerSpec>,
}

/// One layer with its shapes and costs worked out.
#[derive(Debug, Clone, PartialEq)]
pub struct PlannedLayer {
    /// The layer.
    pub spec: LayerSpec,
    /// Shape of a sample going in.
    pub input: Vec<usize>,
    /// Shape of a sample coming out.
    pub output: Vec<usize>,
    /// Trainable numbers.
    pub parameters: usize,
    /// Multiply-adds for one sample.
    pub multiply_adds: usize,
}

impl LayerSpec {
    /// The layer's name in summaries.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Rescale { .. } => "rescale",
            Self::Flatten => "flatten",
            Self::Dense { .. } => "dense",
            Self::Relu => "relu",
            Self::Dropout { .. } => "dropout",
        }
    }
}

impl Architecture {
    /// Works out the shapes and costs of every layer.
    ///
    /// # Errors
    /// [`Error::Config`] when a layer does not fit the one before it or has an impossible setting.
    pub fn plan(&self) -> Result<Vec<PlannedLayer>> {
        let mut shape = self.input.clone();
        let mut planned = Vec::with_capacity(self.layers.len());
        for (index, spec) in self.layers.iter().enumerate() {
            let elements: usize = shape.iter().product();
            let refuse =
                |problem: String| Error::Config { setting: format!("layers[{index}] ({})", spec.name()), problem };
            let (output, parameters, multiply_adds) = match spec {
                LayerSpec::Rescale { .. } => (shape.clone(), 0, elements),
                LayerSpec::Flatten => (vec![elements], 0, 0),
                LayerSpec::Dense { units } => match shape.as_slice() {
                    [inputs] if *units > 0 => (vec![*units], (inputs + 1) * units, inputs * units),
                    [_] => return Err(refuse("needs at least 1 unit".into())),
                    other => {
                        return Err(refuse(format!("takes one dimension, got {other:?}; put a flatten before it")));
                    }
                },
                LayerSpec::Relu => (shape.clone(), 0, 0),
                LayerSpec::Dropout { rate } if (0.0..1.0).contains(rate) => (shape.clone(), 0, 0),
                LayerSpec::Dropout { rate } => return Err(refuse(format!("rate must be in [0, 1), got {rate}"))),
            };
            planned.push(PlannedLayer {
                spec: spec.clone(),
                input: shape,
                output: output.clone(),
                parameters,
                multiply_adds,
            });
            shape = output;
        }
        Ok(planned)
    }

    /// The shape of a sample's output.
    ///
    /// # Errors
    /// As [`Architecture::plan`].
    pub fn output(&self) -> Result<Vec<usize>> {
        Ok(self.plan()?.last().map_or_else(|| self.input.clone(), |layer| layer.output.clone()))
    }

    /// All trainable numbers.
    ///
    /// # Errors
    /// As [`Architecture::plan`].
    pub fn parameters(&self) -> Result<usize> {
        Ok(self.plan()?.iter().map(|layer| layer.parameters).sum())
    }

    /// Multiply-adds for one sample.
    ///
    /// # Errors
    /// As [`Architecture::plan`].
    pub fn multiply_adds(&self) -> Result<usize> {
        Ok(self.plan()?.iter().map(|layer| layer.multiply_adds).sum())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seed() -> Architecture {
        Architecture {
            input: vec![1, 28, 28],
            layers: vec![
                LayerSpec::Flatten,
                LayerSpec::Dense { units: 128 },
                LayerSpec::Relu,
                LayerSpec::Dropout { rate: 0.2 },
                LayerSpec::Dense { units: 10 },
            ],
        }
    }

    #[test]
    fn the_seed_network_has_the_parameters_that_keras_prints() {
        assert_eq!(seed().parameters().unwrap(), 101_770);
        assert_eq!(seed().multiply_adds().unwrap(), 784 * 128 + 128 * 10);
        assert_eq!(seed().output().unwrap(), [10]);
    }

    #[test]
    fn layers_that_do_not_fit_are_refused_by_position() {
        let mut missing_flatten = seed();
        missing_flatten.layers.remove(0);
        assert!(missing_flatten.plan().unwrap_err().to_string().contains("layers[0] (dense)"));
        for rate in [1.0, -0.1, f32::NAN] {
            let mut dropout = seed();
            dropout.layers[3] = LayerSpec::Dropout { rate };
            assert!(dropout.plan().is_err(), "{rate}");
        }
    }
}
