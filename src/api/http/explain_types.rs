//! The query and the answer of `/explain`.

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::error::{Error, Result};
use crate::serving::{Baseline, Explaining, Explanation, UnitKind};
use crate::stats::attribution::{Method, Score};
use crate::transform::PolarityChoice;

const MOST_SAMPLES: usize = 10_000;
const MOST_CELLS: usize = 32;

/// The query of `/explain`.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct ExplainQuery {
    /// `occlusion`: the fall of the answer when a part is hidden, in a picture the mean over the windows of 3 × 3 cells
    /// that hide it. `rise`: the mean answer with a part shown less that with it hidden, over random masks. `shap`:
    /// Shapley values, which add up to the difference between the answer and that for the baseline; exact up to 11
    /// parts. The last is the default, and the surest of those that ask about masks. `cam`: the exact class-activation map,
    /// of networks whose logits are a linear map of a global average pool; with the bias it adds up to the logit.
    #[param(inline)]
    method: Option<Method>,
    /// The values that stand for hidden parts. `auto` is zero for drawings, the mean of each channel for pictures and of each
    /// feature for sequences, a missing value for the rows of versions that were trained here, else zero.
    #[param(inline)]
    baseline: Option<Baseline>,
    /// The class to explain, by label or index; without it the most probable one.
    #[param(example = "7")]
    class: Option<String>,
    /// The masks that `rise` and `shap` draw; each is a run of the model.
    #[param(minimum = 10, maximum = 10000, default = 500)]
    samples: Option<usize>,
    /// The rows and columns of the grid over a picture: 14, of `shap` 7, of `cam` those of the maps, unless stated, and no
    /// more than pixels.
    #[param(minimum = 1, maximum = 32)]
    cells: Option<usize>,
    /// The seed of what is drawn.
    #[param(default = 0)]
    seed: Option<u64>,
    /// Try the explanation against ten random ones, which takes 330 more runs.
    #[param(default = true)]
    score: Option<bool>,
    /// The polarity of an image, as of `/predict`.
    #[param(inline)]
    polarity: Option<PolarityChoice>,
}

impl ExplainQuery {
    /// Returns the choices.
    ///
    /// # Errors
    /// [`Error::Malformed`] for a number out of range.
    pub(super) fn checked(self) -> Result<Explaining> {
        let within = |name: &str, stated: Option<usize>, least: usize, most: usize| match stated {
            Some(got) if !(least..=most).contains(&got) => {
                Err(Error::Malformed(format!("\"{name}\" must be from {least} to {most}, got {got}")))
            }
            stated => Ok(stated),
        };
        let usual = Explaining::default();
        Ok(Explaining {
            method: self.method.unwrap_or(usual.method),
            baseline: self.baseline.unwrap_or(usual.baseline),
            samples: within("samples", self.samples, 10, MOST_SAMPLES)?.unwrap_or(usual.samples),
            cells: within("cells", self.cells, 1, MOST_CELLS)?,
            class: self.class,
            seed: self.seed.unwrap_or(usual.seed),
            scored: self.score.unwrap_or(usual.scored),
            polarity: self.polarity.unwrap_or_default(),
        })
    }
}

/// The answer of `/explain`.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ExplainAnswer<'a> {
    /// The identifier of the request, as in the header `x-request-id`.
    pub(super) request_id: &'a str,
    /// The model that answered.
    pub(super) model: &'a str,
    /// Its version.
    pub(super) version: u64,
    /// The method.
    pub(super) method: Method,
    /// The values that stood for hidden parts.
    pub(super) baseline: Baseline,
    /// The class that is explained, of a classifier.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) class: Option<usize>,
    /// Its label.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) label: Option<&'a str>,
    /// The explained figure: the confidence of the class, the number, or the score of an autoencoder.
    pub(super) value: f64,
    /// The same for the baseline.
    pub(super) baseline_value: f64,
    /// The parts: `cells` of a picture as the model saw it, `columns`, `steps` or `elements`.
    pub(super) unit: &'static str,
    /// The rows and columns of cells, or the number of parts.
    #[schema(example = json!([14, 14]))]
    pub(super) shape: &'a [usize],
    /// The names of columns.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) names: Option<&'a [String]>,
    /// The credit of each part, row by row: above zero it speaks for the answer.
    pub(super) attributions: &'a [f64],
    /// Of `cam`: the logit of the class, before a softmax and a temperature, as the network gave it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) logit: Option<f64>,
    /// Of `cam`: the bias, which no part is credited with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) bias: Option<f64>,
    /// Of `shap`: how far the sum of all credits is from `value - baseline_value`. Of `cam`: how far that of all credits
    /// and the bias is from the logit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) completeness_error: Option<f64>,
    /// The answers of the model that it took.
    pub(super) evaluations: usize,
    /// The worth of the explanation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) score: Option<ExplanationScore>,
    /// The whole time in milliseconds.
    pub(super) total_ms: f64,
}

/// The worth of an explanation: its order of parts against ten random orders.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ExplanationScore {
    /// False if the explanation is no better than chance: do not trust it.
    better_than_random: bool,
    /// The share of random orders whose answer falls no faster as parts are hidden, and more slowly in at least one; 0.9
    /// and more is better than random.
    beats: f64,
    /// The mean answer as parts are hidden, the most important first; lower is better.
    deletion: f64,
    /// That of random orders.
    random_deletion: f64,
    /// The mean answer as parts are shown, the most important first; higher is better.
    insertion: f64,
    /// That of random orders.
    random_insertion: f64,
}

impl From<Score> for ExplanationScore {
    fn from(score: Score) -> Self {
        let better_than_random = score.is_better_than_random();
        let Score { deletion, random_deletion, insertion, random_insertion, beats } = score;
        Self { better_than_random, beats, deletion, random_deletion, insertion, random_insertion }
    }
}

impl<'a> ExplainAnswer<'a> {
    pub(super) fn new(request_id: &'a str, explanation: &'a Explanation, total_ms: f64) -> Self {
        let Explanation { value, baseline_value, attributions, evaluations, .. } = explanation;
        let (unit, names) = match &explanation.kind {
            UnitKind::Cells => ("cells", None),
            UnitKind::Columns(names) => ("columns", Some(names.as_slice())),
            UnitKind::Steps => ("steps", None),
            UnitKind::Elements => ("elements", None),
        };
        let total = match (explanation.method, explanation.logit) {
            (Method::Shap, _) => Some(value - baseline_value),
            (_, Some(logit)) => Some(logit.value - logit.bias),
            (_, None) => None,
        };
        Self {
            request_id,
            model: explanation.servable.name.as_str(),
            version: explanation.servable.version.0,
            method: explanation.method,
            baseline: explanation.baseline,
            class: explanation.class.as_ref().map(|class| class.index),
            label: explanation.class.as_ref().map(|class| class.label.as_str()),
            value: *value,
            baseline_value: *baseline_value,
            unit,
            shape: explanation.units.shape(),
            names,
            attributions,
            logit: explanation.logit.map(|logit| logit.value),
            bias: explanation.logit.map(|logit| logit.bias),
            completeness_error: total.map(|total| (attributions.iter().sum::<f64>() - total).abs()),
            evaluations: *evaluations,
            score: explanation.score.map(Into::into),
            total_ms,
        }
    }
}
