//! The report on a version's traffic.

use serde::Serialize;
use utoipa::ToSchema;

use super::guarded::GuardReport;
use crate::metrics::{DriftFigures, StreamFigures};
use crate::repository::StreamDistribution;
use crate::stats::drift::{
    StreamStanding, benjamini_hochberg, deviation, jensen_shannon, kolmogorov_smirnov, places, visible_shift,
    wasserstein,
};

/// Of the streams named as moved, at most this share may be named by chance.
const FALSE_DISCOVERIES: f64 = 0.05;

/// The severity of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum DriftState {
    /// No change is certain.
    Quiet,
    /// A change is certain, without a sign of harm, or the dependence of samples is still learnt.
    Info,
    /// A change is certain, and inputs are unusual, or that cannot be told.
    Warning,
    /// A change is certain, and the accuracy has certainly fallen by more than two points.
    Critical,
}

impl DriftState {
    /// Returns the name, as answers have it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Quiet => "quiet",
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }
}

/// A version's traffic against its reference.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[schema(as = DriftFiguresOfVersion)]
pub struct DriftReport {
    /// The data that the reference comes from: `validation`, `test`, both, `data`, or `traffic`.
    pub source: String,
    /// Its samples.
    pub reference_samples: usize,
    /// The samples watched since the version loaded.
    pub samples: u64,
    /// The samples that came too fast to be looked at, since then: those that were are a random share.
    pub passed_over: u64,
    /// The samples that effects, the anomaly share and the estimate are of, at most: the last ones.
    pub window: usize,
    /// Windows in which the dependence of samples is still learnt; no stream is more than `info` before, unless the
    /// accuracy has fallen.
    pub learning_windows: usize,
    /// The autocorrelation time: so many neighbouring samples say as much as one independent sample.
    pub dependence: f64,
    /// A false alarm of any stream is expected at most once in so many independent samples.
    pub run_length: f64,
    /// The worst state of any stream.
    pub state: DriftState,
    /// The share of samples with a p-value of at most 0.01; about that share is usual.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub anomaly_share: Option<f64>,
    /// The accuracy that the margins of answers suggest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub estimate: Option<EstimateReport>,
    /// The autoencoder that looks at the inputs, if the settings of the model name one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub guard: Option<GuardReport>,
    /// The streams that are watched.
    pub streams: Vec<StreamReport>,
}

/// Accuracy estimated without labels.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[schema(as = EstimatedAccuracy)]
pub struct EstimateReport {
    /// The estimate.
    pub accuracy: f64,
    /// The lower end of its 95 % interval.
    pub low: f64,
    /// The upper end.
    pub high: f64,
    /// False if answers are distributed so differently from the reference's that the estimate means nothing.
    pub valid: bool,
    /// The accuracy on the reference.
    pub reference_accuracy: f64,
}

/// One stream.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[schema(as = DriftStream)]
pub struct StreamReport {
    /// Its name.
    #[schema(example = "margin")]
    pub stream: String,
    /// The severity of its change.
    pub state: DriftState,
    /// The certainty of a change since the version loaded: ln R / ln A, 1 and more alarms.
    pub evidence: f64,
    /// The size of the change in the last window.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub effect: Option<StreamEffect>,
    /// Set if this stream is among those that moved in the last window; at most 5 % of those are named by chance.
    pub moved: bool,
    /// The shift, in standard deviations of the reference, from which on a window alarms.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sees_from: Option<f64>,
    /// The edges between the bins of numbers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub edges: Option<Vec<f64>>,
    /// The reference's samples by bin.
    pub reference: Vec<u64>,
    /// The last window's samples by bin.
    pub window: Vec<u64>,
}

/// The size of a change.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct StreamEffect {
    /// The population stability index less what chance gives; for numbers about the square of a shift in standard
    /// deviations.
    pub psi: f64,
    /// The lower end of its 95 % interval.
    pub low: f64,
    /// The upper end.
    pub high: f64,
    /// The chance of so large an index without a change.
    pub p_value: f64,
    /// The Jensen-Shannon distance, to base 2.
    pub jensen_shannon: f64,
    /// Of numbers: the largest difference of the cumulative shares at the edges.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kolmogorov_smirnov: Option<f64>,
    /// Of numbers: the Wasserstein distance between the bins, in standard deviations of the reference.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wasserstein: Option<f64>,
}

impl StreamReport {
    pub(super) fn new(
        reference: &StreamDistribution,
        standing: &StreamStanding,
        state: DriftState,
        dependence: f64,
    ) -> Self {
        let (before, now) = (&reference.counts, &standing.window);
        let of_numbers = reference.edges.as_ref().map(|edges| {
            let (places, before, now) = (places(edges), reference.valued(before), reference.valued(now));
            let spread = deviation(&places, before);
            let distance = wasserstein(&places, before, now);
            (kolmogorov_smirnov(before, now), if spread > 0.0 { distance / spread } else { 0.0 })
        });
        let effect = standing.effect.map(|effect| StreamEffect {
            psi: effect.psi,
            low: effect.interval.low,
            high: effect.interval.high,
            p_value: effect.p_value,
            jensen_shannon: jensen_shannon(before, now),
            kolmogorov_smirnov: of_numbers.map(|(distance, _)| distance),
            wasserstein: of_numbers.map(|(_, distance)| distance),
        });
        Self {
            stream: reference.name.clone(),
            state,
            evidence: standing.evidence,
            effect,
            moved: false,
            sees_from: Some(visible_shift(before, now.iter().sum(), dependence)).filter(|shift| shift.is_finite()),
            edges: reference.edges.clone(),
            reference: before.clone(),
            window: now.clone(),
        }
    }

    /// Marks the streams that moved in the last window.
    pub(super) fn name_moved(streams: &mut [Self]) {
        let p_value = |stream: &Self| stream.effect.as_ref().map_or(1.0, |effect| effect.p_value);
        let p_values: Vec<f64> = streams.iter().map(p_value).collect();
        for (stream, moved) in streams.iter_mut().zip(benjamini_hochberg(&p_values, FALSE_DISCOVERIES)) {
            stream.moved = moved;
        }
    }
}

impl DriftReport {
    /// Returns a report in which the stream `margin` has a state, and `class` is noticed.
    #[cfg(test)]
    pub(in crate::monitoring) fn example(samples: u64, state: DriftState, valid: Option<bool>) -> Self {
        let estimate = |valid| EstimateReport { accuracy: 0.9, low: 0.89, high: 0.91, valid, reference_accuracy: 0.97 };
        let stream = |name: &str, state| StreamReport {
            stream: name.into(),
            state,
            evidence: 1.0,
            effect: None,
            moved: true,
            sees_from: None,
            edges: None,
            reference: vec![1],
            window: vec![1],
        };
        Self {
            source: "test".into(),
            reference_samples: 5000,
            samples,
            passed_over: 0,
            window: 500,
            learning_windows: 0,
            dependence: 1.0,
            run_length: 1e9,
            state,
            anomaly_share: None,
            estimate: valid.map(estimate),
            guard: None,
            streams: vec![stream("margin", state), stream("class", DriftState::Info)],
        }
    }

    /// Returns the figures that metrics show.
    pub(super) fn figures(&self) -> DriftFigures {
        let stream = |stream: &StreamReport| StreamFigures {
            stream: stream.stream.clone(),
            effect: stream.effect.as_ref().map(|effect| effect.psi),
            evidence: stream.evidence,
            state: stream.state as u8,
        };
        let estimate = self.estimate.as_ref();
        DriftFigures {
            streams: self.streams.iter().map(stream).collect(),
            dependence: self.dependence,
            learning: self.learning_windows,
            anomaly_share: self.anomaly_share,
            estimate: estimate.map(|found| ([found.accuracy, found.low, found.high], found.valid)),
        }
    }
}
