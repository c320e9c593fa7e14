//! The metrics of a training run.

use prometheus::{Gauge, GaugeVec, IntCounter, IntGauge, Opts, Registry};

use super::{encode, register, register_error, register_process};
use crate::error::Result;

/// The metrics of one training run, in a separate registry.
#[derive(Debug)]
pub struct TrainingMetrics {
    registry: Registry,
    /// The epoch being trained, from 1.
    pub epoch: IntGauge,
    /// The completed optimiser steps.
    pub steps: IntCounter,
    /// The learning rate of the last step.
    pub learning_rate: Gauge,
    /// Samples trained on per second, over the current epoch.
    pub samples_per_second: Gauge,
    /// The mean loss of the current epoch so far.
    pub training_loss: Gauge,
    /// The accuracy of the current epoch so far, with dropout.
    pub training_accuracy: Gauge,
    /// The loss on the validation data after the last complete epoch.
    pub validation_loss: Gauge,
    /// The accuracy on the validation data after the last complete epoch.
    pub validation_accuracy: Gauge,
}

impl TrainingMetrics {
    /// Declares the metrics of a run of `model`.
    ///
    /// # Errors
    /// [`crate::error::Error::Internal`] when two families share a name, which tests rule out.
    pub fn new(model: &str) -> Result<Self> {
        let registry = Registry::new();
        let labelled =
            |name: &str, help: &str| register(&registry, GaugeVec::new(Opts::new(name, help), &["model", "source"]));
        let gauge = |name: &str, help: &str| {
            register(&registry, Gauge::with_opts(Opts::new(name, help).const_label("model", model)))
        };
        let loss = labelled(
            "weir_training_loss",
            "Mean cross-entropy in nats, or of numbers the squared error over their variance: of the current epoch so far (training), of the last whole epoch (validation).",
        )?;
        let accuracy = labelled(
            "weir_training_accuracy",
            "Share of right answers, 0 to 1, NaN when numbers are learned: of the current epoch so far (training), of the last whole epoch (validation).",
        )?;
        let bind = |family: &GaugeVec, source: &str| {
            family.get_metric_with_label_values(&[model, source]).map_err(register_error)
        };
        let metrics = Self {
            epoch: register(
                &registry,
                IntGauge::with_opts(
                    Opts::new("weir_training_epoch", "The epoch being trained, from 1.").const_label("model", model),
                ),
            )?,
            steps: register(
                &registry,
                IntCounter::with_opts(
                    Opts::new("weir_training_steps_total", "Completed optimiser steps.").const_label("model", model),
                ),
            )?,
            learning_rate: gauge("weir_training_learning_rate", "The learning rate of the last step.")?,
            samples_per_second: gauge(
                "weir_training_images_per_second",
                "Samples trained on per second, over the current epoch.",
            )?,
            training_loss: bind(&loss, "training")?,
            training_accuracy: bind(&accuracy, "training")?,
            validation_loss: bind(&loss, "validation")?,
            validation_accuracy: bind(&accuracy, "validation")?,
            registry,
        };
        register_process(&metrics.registry)?;
        Ok(metrics)
    }

    /// Encodes all metrics in the text exposition format 0.0.4.
    ///
    /// # Errors
    /// [`crate::error::Error::Internal`] when encoding fails.
    pub fn encode(&self) -> Result<Vec<u8>> {
        encode(&self.registry)
    }
}
