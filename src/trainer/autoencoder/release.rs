//! A finished fit of an autoencoder → a checked, evaluated version, ready to be published.

use std::collections::BTreeMap;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::evaluate::{Importance, Plans, output, run_with, scores};
use super::report::AutoencoderReport;
use super::{Autoencoder, parity};
use crate::engine::Plan;
use crate::error::{Error, Result};
use crate::ids::Version;
use crate::report::{Document, Subject};
use crate::repository::{
    CARD_FILE, Companion, CompanionRole, Golden, GoldenAnswer, GoldenReconstruction, MANIFEST_SCHEMA, MODEL_FILE,
    Manifest, PROBE_FILE, Publication, Quality, ReconstructionQuality, VersionFiles,
};
use crate::signature::{ImageTransform, OutputTransform, Transform};
use crate::stats::ReferenceScores;
use crate::trainer::card;
use crate::trainer::dataset::Dataset;
use crate::trainer::export::{Graphs, MEAN, NOISE, RECONSTRUCTION, SCORE, autoencoder_to_onnx};
use crate::trainer::fit::FitState;
use crate::trainer::lesson::Lesson;
use crate::trainer::reference;
use crate::trainer::release::{
    Release, data_provenance, ended, example, now, probe, servable_samples, training_provenance,
};
use crate::trainer::train::{TrainRequest, TrainedReport};
use crate::transform::Picture;

/// The encoder, for those who want codes only.
const ENCODER_FILE: &str = "encoder.onnx";
/// The decoder, which makes images of codes.
const DECODER_FILE: &str = "decoder.onnx";

/// Examples that every load checks.
const GOLDEN_SAMPLES: usize = 4;

/// Exports, checks parity, evaluates in the serving engine and writes the manifest.
///
/// # Errors
/// [`Error::GateMissed`] when an exported graph is not what was trained.
pub(in crate::trainer) fn prepare(
    request: &TrainRequest,
    state: &FitState<Autoencoder>,
    lesson: &Lesson,
) -> Result<Release> {
    let (preset, name) = (request.preset, request.model()?);
    let autoencoder = &state.network;
    let ended = ended(request, state);
    let Graphs { model, encoder, decoder } = autoencoder_to_onnx(autoencoder, name.as_str())?;
    let plans = Plans { model: Plan::load(&model)?, encoder: Plan::load(&encoder)?, decoder: Plan::load(&decoder)? };
    let parity = parity::check(autoencoder, &plans, &lesson.train)?;
    let (validation, test) = (&lesson.validation, &lesson.test);
    let held_out = format!("validation images of {}", request.data_name());
    let reference = ReferenceScores::of(scores(&plans.model, validation)?, held_out);
    let tested = format!("test images of {}", request.data_name());
    let subject = Subject::new(name.as_str(), None, plans.model.engine().name(), tested);
    let mut report = AutoencoderReport::new(subject, reference.clone(), &plans, test, Importance::default())?;
    report.history = state.history().to_vec();
    let companion = |role, plan: &Plan| Companion { role, signature: plan.signature().clone() };
    let (of_encoder, of_decoder) = (autoencoder.encoder().architecture(), autoencoder.decoder().architecture());
    let manifest = Manifest {
        manifest_schema: MANIFEST_SCHEMA,
        model: name,
        version: Version(0),
        description: preset.description.into(),
        created: now(),
        weir_version: env!("CARGO_PKG_VERSION").into(),
        signature: plans.model.signature().clone(),
        transform: Transform {
            image: lesson.source.image.clone(),
            columns: Vec::new(),
            sequence: None,
            output: OutputTransform::Reconstruction {
                reconstruction: RECONSTRUCTION.into(),
                code: MEAN.into(),
                score: SCORE.into(),
                noise: NOISE.into(),
            },
        },
        labels: Vec::new(),
        parameters: Some(of_encoder.parameters()? + of_decoder.parameters()?),
        multiply_adds: Some(of_encoder.multiply_adds()? + of_decoder.multiply_adds()?),
        architecture: Some(of_encoder.clone()),
        decoder: Some(of_decoder.clone()),
        metrics: Some(Quality::Reconstruction(ReconstructionQuality {
            test: Some(report.evaluation.clone()),
            scores: reference,
        })),
        data: Some(data_provenance(request, lesson)),
        training: Some(training_provenance(request, lesson, state.history(), ended.clone())),
        reference: Some(reference::of_inputs(validation, test)?),
        parity: Some(parity),
        calibration: None,
        golden: golden(&plans.model, test, lesson.source.image.as_ref())?,
        companions: BTreeMap::from([
            (ENCODER_FILE.to_owned(), companion(CompanionRole::Encoder, &plans.encoder)),
            (DECODER_FILE.to_owned(), companion(CompanionRole::Decoder, &plans.decoder)),
        ]),
        files: BTreeMap::new(),
    };
    let card = card::markdown(&manifest, &report.markdown());
    let probe = probe(test, manifest.transform.image.as_ref(), request.fit.seed, false)?;
    let files = vec![
        (MODEL_FILE, model),
        (ENCODER_FILE, encoder),
        (DECODER_FILE, decoder),
        (PROBE_FILE, probe.into_bytes()),
        (CARD_FILE, card.clone().into_bytes()),
    ];
    let report = TrainedReport::Autoencoder(Box::new(report));
    Ok(Release { publication: Publication { manifest, files }, report, card, ended })
}

/// The first test images with what the model makes of them.
fn golden(model: &Plan, test: &Dataset, image: Option<&ImageTransform>) -> Result<Vec<Golden>> {
    let mut session = model.session()?;
    let latent = model.signature().inputs.get(1).and_then(|input| input.sample_shape()).unwrap_or_default();
    let golden = |index: usize| {
        let pixels = test.inputs(index..index + 1)?;
        let outputs = run_with(model, &mut session, pixels, 1, Some(vec![0.0; latent.iter().product()]))?;
        let again = output(model, &outputs, RECONSTRUCTION)?;
        let reconstruction = GoldenReconstruction {
            image: STANDARD.encode(Picture::of_intensities(again, test.width, test.height).png()?),
            code: output(model, &outputs, MEAN)?.to_vec(),
            score: output(model, &outputs, SCORE)?.first().copied().map_or(f64::NAN, f64::from),
        };
        Ok(Golden { input: example(test, index)?, answer: GoldenAnswer::Reconstruction(reconstruction) })
    };
    servable_samples(test, image, GOLDEN_SAMPLES)?.into_iter().map(golden).collect()
}

/// Whether the version in this folder is an autoencoder, as its manifest says.
///
/// # Errors
/// [`Error::Repository`] when the version cannot be used.
pub fn is_autoencoder(folder: &Path, max_model_bytes: u64) -> Result<bool> {
    let manifest = VersionFiles::read(folder, max_model_bytes)?.manifest;
    Ok(manifest.is_some_and(|manifest| matches!(manifest.transform.output, OutputTransform::Reconstruction { .. })))
}

/// Evaluates a published autoencoder on images.
///
/// # Errors
/// [`Error::Repository`] when the version cannot be used, [`Error::Data`] when the images do not fit it.
pub fn evaluate_autoencoder(
    folder: &Path,
    max_model_bytes: u64,
    (data, data_name): (&Dataset, String),
    importance: Importance,
) -> Result<(AutoencoderReport, Manifest)> {
    let files = VersionFiles::read(folder, max_model_bytes)?;
    let unusable = |problem: String| Error::Repository { what: folder.display().to_string(), problem };
    let manifest = files.manifest.ok_or_else(|| unusable("has no manifest.json".into()))?.of_folder(folder)?;
    let companion = |role: CompanionRole| {
        let found = files.companions.iter().find(|companion| companion.role == role);
        let found = found.ok_or_else(|| unusable(format!("its manifest names no {role:?}").to_lowercase()))?;
        Plan::load(&found.onnx)
    };
    let plans = Plans {
        model: Plan::load(&files.onnx)?,
        encoder: companion(CompanionRole::Encoder)?,
        decoder: companion(CompanionRole::Decoder)?,
    };
    let engine = plans.model.engine().name();
    let subject = Subject::new(manifest.model.as_str(), Some(manifest.version), engine, data_name);
    let reference = manifest.reconstruction().and_then(|quality| quality.scores.clone());
    Ok((AutoencoderReport::new(subject, reference, &plans, data, importance)?, manifest))
}
