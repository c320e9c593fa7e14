//! `GET /models` and `GET /models/{model}`: what is loaded.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::{Path, State};
use serde::Serialize;
use utoipa::ToSchema;

use crate::api::error::ApiError;
use crate::api::problem::Problem;
use crate::api::state::ApiState;
use crate::engine::ShapePlanCounts;
use crate::ids::{ModelName, Version};
use crate::repository::{ClassificationQuality, Manifest, Quality, ReconstructionQuality, RegressionQuality, Signed};
use crate::serving::{Catalog, LiveQuality, ModelEntry, Servable, State as VersionState, Tuning, VersionEntry};
use crate::signature::{Signature, Transform};
use crate::stats::{Evaluation, LikelihoodEvaluation, ReferenceScores, Summary};

/// All models.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ModelList {
    /// The model that `/predict` asks, if there is one.
    default_model: Option<String>,
    /// By name.
    models: Vec<ModelInfo>,
}

/// One model.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ModelInfo {
    /// Its name.
    name: String,
    /// The version that answers when none is asked for: that of the alias `stable`, or else the newest
    /// available one.
    default_version: Option<u64>,
    /// The newest available version.
    latest_available: Option<u64>,
    /// The version that each alias points to.
    aliases: BTreeMap<String, u64>,
    /// The reason why it has no version; the fault of `model.toml`, `config.pbtxt` or `aliases.json`, of which what was
    /// last read stands; and what of `config.pbtxt` has no effect.
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
    /// Oldest first.
    versions: Vec<VersionInfo>,
}

/// One version.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct VersionInfo {
    /// Its number.
    version: u64,
    /// Where it is in its life.
    state: VersionState,
    /// Why it does not serve, or while it does, what is wrong with its files.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// Failed attempts to load what its folder holds now.
    #[serde(skip_serializing_if = "is_zero")]
    attempts: u32,
    /// Its details, exactly while it serves.
    #[serde(flatten)]
    serving: Option<ServingInfo>,
}

/// The details of a version.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ServingInfo {
    /// The signer, where the server has trusted keys.
    #[serde(skip_serializing_if = "Option::is_none")]
    signed: Option<SignedInfo>,
    /// The decision on requests sharing runs, and its reason.
    #[schema(example = "samples are independent, checked")]
    batching: String,
    /// The measurements on this machine, and the choices made by them.
    tuning: Tuning,
    /// Figures of the last replay of the probe set through the live path.
    #[serde(skip_serializing_if = "Option::is_none")]
    probe: Option<LiveQuality>,
    /// Inputs and outputs.
    signature: Signature,
    /// The names of classes that a file beside the versions or the graph itself gives, by output.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    output_labels: BTreeMap<String, Vec<String>>,
    /// The names of inputs that a request may leave out: initializers of the graph that are also inputs.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    optional_inputs: Vec<String>,
    /// The plans for the sizes of requests, where the built-in engine has such plans.
    #[serde(skip_serializing_if = "Option::is_none")]
    plans_by_shape: Option<ShapePlanCounts>,
    /// Lines for `model.toml` by which the version would take images: a guess by its graph, for which
    /// `weir models describe` gives the reasons.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    missing_settings: Vec<String>,
    /// The settings of `model.toml` as they were completed, for a version without a manifest.
    #[serde(skip_serializing_if = "Option::is_none")]
    declared: Option<Declared>,
    /// The reading of texts by the version's tokenizer: its kind, the inputs that it fills, the longest text, what padding
    /// does to answers, and what of that was measured.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(
        example = "WordPiece, 30522 tokens into input_ids, attention_mask; at most 512 tokens, by max_position_embeddings of config.json; padded to the longest of a request, which changes answers by … at most (measured); the answer is chosen by …"
    )]
    texts: Option<String>,
    /// The reading of a vision or text model's outputs, and what of that was guessed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "layout yolov8 (guessed from the shape [N, 84, 8400]) of \"output0\"")]
    answer: Option<String>,
    #[serde(flatten)]
    described: Option<Described>,
}

/// The signer of a version: a trusted key, or the reason why none vouches for it.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct SignedInfo {
    /// The name of the key.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "release 2026")]
    by: Option<String>,
    /// The identifier of the key.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "9B1F2B8C1D6E0A44")]
    key: Option<String>,
    /// The reason why no trusted key vouches for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
}

impl SignedInfo {
    fn of(signed: &Signed) -> Self {
        match signed {
            Signed::By(key) => Self { by: Some(key.name().to_owned()), key: Some(key.id().to_string()), problem: None },
            Signed::Not(problem) => Self { by: None, key: None, problem: Some(problem.clone()) },
        }
    }
}

/// The transforms that `model.toml` declares, with what the graph and its measurement added.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Declared {
    /// The transforms around the graph.
    transform: Transform,
    /// The names of the classes, of the settings or of the graph's metadata.
    labels: Vec<String>,
}

/// The model and version that a manifest was written for; others if the version was copied since.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ManifestOrigin {
    /// The model.
    model: String,
    /// The version.
    version: u64,
}

/// The contents of the manifest.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Described {
    /// The model and version that it was made as; others than these if it was copied.
    origin: ManifestOrigin,
    /// One sentence.
    description: String,
    /// When it was made, RFC 3339.
    created: String,
    /// The transforms around the graph; of tokens without the vocabulary, which the manifest has.
    transform: Transform,
    /// By class.
    labels: Vec<String>,
    /// Trainable numbers.
    #[serde(skip_serializing_if = "Option::is_none")]
    parameters: Option<usize>,
    /// Quality by data set.
    metrics: ModelMetrics,
}

/// Quality by data set.
#[derive(Debug, Default, Serialize, ToSchema)]
struct ModelMetrics {
    /// On the training data, with dropout off.
    #[serde(skip_serializing_if = "Option::is_none")]
    training: Option<Summary>,
    /// On data held out of training, used for choices.
    #[serde(skip_serializing_if = "Option::is_none")]
    validation: Option<Summary>,
    /// On data never used for any choice.
    #[serde(skip_serializing_if = "Option::is_none")]
    test: Option<Evaluation>,
    /// Of an autoencoder, on data never used for any choice.
    #[serde(skip_serializing_if = "Option::is_none")]
    likelihood: Option<LikelihoodEvaluation>,
    /// The scores that an autoencoder gives to data held out of training: what is usual.
    #[serde(skip_serializing_if = "Option::is_none")]
    scores: Option<ReferenceScores>,
    /// Of a model of numbers, in their own unit.
    #[serde(skip_serializing_if = "Option::is_none")]
    regression: Option<RegressionQuality>,
}

impl ModelMetrics {
    fn of(manifest: &Manifest) -> Self {
        match manifest.metrics.clone() {
            Some(Quality::Classification(ClassificationQuality { training, validation, test })) => {
                Self { training, validation, test, ..Self::default() }
            }
            Some(Quality::Regression(regression)) => Self { regression: Some(regression), ..Self::default() },
            Some(Quality::Reconstruction(ReconstructionQuality { test, scores })) => {
                Self { likelihood: test, scores, ..Self::default() }
            }
            None => Self::default(),
        }
    }
}

/// List the models
#[utoipa::path(get, path = "/models", tag = "models", responses((status = 200, description = "All models and versions", body = ModelList)))]
pub(super) async fn list(State(state): State<ApiState>) -> Json<ModelList> {
    let catalog = state.predictor().catalog();
    Json(ModelList {
        default_model: catalog.default_model().map(ToString::to_string),
        models: catalog.models().iter().map(|(name, model)| info(name, model)).collect(),
    })
}

/// One model and its versions
#[utoipa::path(
    get, path = "/models/{model}", tag = "models",
    params(("model" = String, Path, description = "The name of the model", example = "mnist-mlp")),
    responses(
        (status = 200, description = "The model", body = ModelInfo),
        (status = 400, description = "Not a name", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "No such model", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The repository has not been read yet", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn show(
    State(state): State<ApiState>,
    Path(model): Path<String>,
) -> Result<Json<ModelInfo>, ApiError> {
    let name: ModelName = model.parse()?;
    let catalog: &Catalog = &state.predictor().catalog();
    Ok(Json(info(&name, catalog.model(&name)?)))
}

fn info(name: &ModelName, model: &ModelEntry) -> ModelInfo {
    ModelInfo {
        name: name.to_string(),
        default_version: model.default_version().map(|version| version.0),
        aliases: model.aliases.aliases.iter().map(|(name, alias)| (name.to_string(), alias.version.0)).collect(),
        problem: model.problem.clone(),
        latest_available: model.latest().map(|servable| servable.version.0),
        versions: model.versions.iter().map(|(version, entry)| version_info(*version, entry)).collect(),
    }
}

fn version_info(version: Version, entry: &VersionEntry) -> VersionInfo {
    VersionInfo {
        version: version.0,
        state: entry.state,
        reason: entry.reason.clone(),
        attempts: entry.attempts,
        serving: entry.servable.as_deref().map(serving_info),
    }
}

fn is_zero(attempts: &u32) -> bool {
    *attempts == 0
}

fn declared_by(servable: &Servable) -> Option<Declared> {
    let transform = servable.transform().filter(|_| servable.manifest.is_none())?;
    Some(Declared { transform: transform.without_vocabulary(), labels: servable.labels().to_vec() })
}

fn serving_info(servable: &Servable) -> ServingInfo {
    let described = |manifest: &Manifest| Described {
        origin: ManifestOrigin { model: manifest.model.to_string(), version: manifest.version.0 },
        description: manifest.description.clone(),
        created: manifest.created.clone(),
        transform: manifest.transform.without_vocabulary(),
        labels: manifest.labels.clone(),
        parameters: manifest.parameters,
        metrics: ModelMetrics::of(manifest),
    };
    let tuning = servable.tuning();
    ServingInfo {
        signed: servable.signed.as_ref().map(SignedInfo::of),
        batching: tuning.sharing.reason.clone(),
        tuning: Tuning::clone(&tuning),
        probe: servable.live_quality(),
        signature: servable.signature().clone(),
        output_labels: servable.labelled_outputs(),
        optional_inputs: servable.optional_inputs().iter().map(|optional| optional.spec.name.clone()).collect(),
        plans_by_shape: servable.shape_plans(),
        missing_settings: servable.missing_settings().to_vec(),
        declared: declared_by(servable),
        texts: servable.text_reading().map(str::to_owned),
        answer: servable.answer_text().map(str::to_owned),
        described: servable.manifest.as_ref().map(described),
    }
}
