//! Drift, by version and stream.

use prometheus::{GaugeVec, Opts, Registry};

use super::register;
use crate::error::Result;

const MODEL: [&str; 2] = ["model", "version"];
const STREAM: [&str; 3] = ["model", "version", "stream"];

/// The families of drift.
#[derive(Debug, Clone)]
pub struct DriftFamilies {
    effect: GaugeVec,
    evidence: GaugeVec,
    state: GaugeVec,
    dependence: GaugeVec,
    learning: GaugeVec,
    anomaly_share: GaugeVec,
    estimate_valid: GaugeVec,
    estimate_low: GaugeVec,
    estimate_high: GaugeVec,
    accuracy: GaugeVec,
}

/// The figures of one stream.
#[derive(Debug, Clone, PartialEq)]
pub struct StreamFigures {
    /// The stream.
    pub stream: String,
    /// The size of the change; `None` before a block of samples is whole.
    pub effect: Option<f64>,
    /// The certainty of it; 1 and more alarms.
    pub evidence: f64,
    /// 0 quiet, 1 noticed, 2 warning, 3 critical.
    pub state: u8,
}

/// The figures of one version.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct DriftFigures {
    /// By stream.
    pub streams: Vec<StreamFigures>,
    /// The autocorrelation time of neighbouring samples.
    pub dependence: f64,
    /// The windows in which that is still learnt.
    pub learning: usize,
    /// The share of unusual inputs, if they can be told.
    pub anomaly_share: Option<f64>,
    /// Estimated accuracy, the ends of its interval, and whether it holds.
    pub estimate: Option<([f64; 3], bool)>,
}

/// The series of one version, which go when this is dropped.
#[derive(Debug)]
pub struct DriftMetrics {
    families: DriftFamilies,
    model: String,
    version: String,
    streams: Vec<String>,
}

impl DriftFamilies {
    /// Declares the families; `accuracy` is that of all sources.
    pub(super) fn register(registry: &Registry, accuracy: GaugeVec) -> Result<Self> {
        let gauge =
            |name: &str, help: &str, labels: &[&str]| register(registry, GaugeVec::new(Opts::new(name, help), labels));
        Ok(Self {
            effect: gauge(
                "weir_drift_effect",
                "Population stability index of the last window against the reference, less what chance gives.",
                &STREAM,
            )?,
            evidence: gauge(
                "weir_drift_evidence",
                "Evidence of a change since the version loaded, as a part of what alarms: 1 and more is certain at the \
                 stated rate of false alarms.",
                &STREAM,
            )?,
            state: gauge(
                "weir_drift_state",
                "0 quiet, 1 changed without a sign of harm or while learning, 2 warning, 3 critical.",
                &STREAM,
            )?,
            dependence: gauge(
                "weir_drift_dependence",
                "Autocorrelation time: so many neighbouring samples say as much as one independent sample.",
                &MODEL,
            )?,
            learning: gauge(
                "weir_drift_learning_windows",
                "Windows in which the dependence of samples is still learnt; no stream alarms before.",
                &MODEL,
            )?,
            anomaly_share: gauge(
                "weir_anomaly_share",
                "Share of the last window's samples that are less usual than all but 1 % of the reference's.",
                &MODEL,
            )?,
            estimate_valid: gauge(
                "weir_model_estimate_valid",
                "1 while the estimated accuracy holds: answers are distributed nearly as in the reference.",
                &MODEL,
            )?,
            estimate_low: gauge(
                "weir_model_estimated_accuracy_low",
                "The lower end of the 95 % interval of the estimated accuracy.",
                &MODEL,
            )?,
            estimate_high: gauge(
                "weir_model_estimated_accuracy_high",
                "The upper end of the 95 % interval of the estimated accuracy.",
                &MODEL,
            )?,
            accuracy,
        })
    }

    /// Binds the series of a version.
    pub fn bind(&self, model: &str, version: &str, streams: Vec<String>) -> DriftMetrics {
        DriftMetrics { families: self.clone(), model: model.to_owned(), version: version.to_owned(), streams }
    }
}

/// The source of accuracy that is estimated.
pub(super) const ESTIMATED: &str = "estimated";

impl DriftMetrics {
    /// Shows the figures.
    pub fn set(&self, figures: &DriftFigures) {
        let (f, model) = (&self.families, [self.model.as_str(), self.version.as_str()]);
        for figures in &figures.streams {
            let labels = [model[0], model[1], figures.stream.as_str()];
            show(&f.evidence, &labels, Some(figures.evidence));
            show(&f.effect, &labels, figures.effect);
            show(&f.state, &labels, Some(f64::from(figures.state)));
        }
        show(&f.dependence, &model, Some(figures.dependence));
        show(&f.learning, &model, Some(figures.learning as f64));
        show(&f.anomaly_share, &model, figures.anomaly_share);
        let figure = |place: usize| figures.estimate.map(|(figures, _)| figures[place]);
        show(&f.accuracy, &[model[0], model[1], ESTIMATED], figure(0));
        show(&f.estimate_low, &model, figure(1));
        show(&f.estimate_high, &model, figure(2));
        show(&f.estimate_valid, &model, figures.estimate.map(|(_, valid)| f64::from(u8::from(valid))));
    }
}

/// Sets a series; what is not known has none.
fn show(family: &GaugeVec, labels: &[&str], value: Option<f64>) {
    match value {
        Some(value) => {
            // A wrong number of labels would be a mistake in this file, which tests rule out.
            if let Ok(gauge) = family.get_metric_with_label_values(labels) {
                gauge.set(value);
            }
        }
        // It may not have been there.
        None => drop(family.remove_label_values(labels)),
    }
}

impl Drop for DriftMetrics {
    fn drop(&mut self) {
        let (f, model) = (&self.families, [self.model.as_str(), self.version.as_str()]);
        for stream in &self.streams {
            for family in [&f.effect, &f.evidence, &f.state] {
                show(family, &[model[0], model[1], stream.as_str()], None);
            }
        }
        let of_version =
            [&f.dependence, &f.learning, &f.anomaly_share, &f.estimate_valid, &f.estimate_low, &f.estimate_high];
        for family in of_version {
            show(family, &model, None);
        }
        show(&f.accuracy, &[model[0], model[1], ESTIMATED], None);
    }
}
