//! The part of a release that an autoencoder adds, and the evaluation of a published one.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::evaluate::{Importance, Plans, output, run_with, scores};
use super::export::{Graphs, MEAN, NOISE, RECONSTRUCTION, SCORE, to_onnx};
use super::report::ReconstructionReport;
use super::{Autoencoder, parity};
use crate::engine::Plan;
use crate::error::{Error, Result};
use crate::report::Subject;
use crate::repository::{
    Companion, CompanionRole, Golden, GoldenAnswer, GoldenReconstruction, MODEL_FILE, Manifest, Quality,
    ReconstructionQuality, VersionFiles,
};
use crate::signature::{ImageTransform, OutputTransform};
use crate::stats::ReferenceScores;
use crate::trainer::dataset::Dataset;
use crate::trainer::examples::{example, servable_samples};
use crate::trainer::export::share_tensors;
use crate::trainer::prepared::PreparedData;
use crate::trainer::reference::{self, ReferenceData};
use crate::trainer::tasks::{Finished, TaskRelease, TaskReport};
use crate::transform::Picture;

/// The encoder, for those who want codes only. It reads its weights from the model's file, as the decoder does.
const ENCODER_FILE: &str = "encoder.onnx";
/// The decoder, which makes images of codes.
const DECODER_FILE: &str = "decoder.onnx";

/// Examples that every load checks.
const GOLDEN_SAMPLES: usize = 4;

/// Exports the networks, checks the graphs against them, and evaluates the graphs.
///
/// # Errors
/// [`Error::GateMissed`] when an exported graph is not what was trained.
pub(super) fn release(autoencoder: &Autoencoder, run: &Finished<'_>) -> Result<TaskRelease> {
    let Graphs { model, encoder, decoder } = to_onnx(autoencoder, run.model.as_str())?;
    let plans = Plans { model: Plan::load(&model)?, encoder: Plan::load(&encoder)?, decoder: Plan::load(&decoder)? };
    let PreparedData { train, validation, test, source, .. } = run.data;
    let parity = parity::check(autoencoder, &plans, train)?;
    let held_out = format!("validation images of {}", run.request.data_name());
    let scores = ReferenceScores::of(scores(&plans.model, validation)?, held_out);
    let subject = run.subject(&plans.model);
    let mut report = ReconstructionReport::new(subject, scores.clone(), &plans, test, Importance::default())?;
    report.history = run.history.to_vec();
    let companion = |role, plan: &Plan| Companion { role, signature: plan.signature().clone() };
    let output = OutputTransform::Reconstruction {
        reconstruction: RECONSTRUCTION.into(),
        code: MEAN.into(),
        score: SCORE.into(),
        noise: NOISE.into(),
    };
    Ok(TaskRelease {
        signature: plans.model.signature().clone(),
        labels: Vec::new(),
        networks: (autoencoder.encoder().architecture().clone(), Some(autoencoder.decoder().architecture().clone())),
        quality: Quality::Reconstruction(ReconstructionQuality { test: Some(report.evaluation.clone()), scores }),
        reference: reference::of_inputs(
            &ReferenceData::held_out(validation, test),
            &run.data.transform(output.clone()),
        )?,
        parity,
        golden: golden(&plans.model, test, source.image.as_ref())?,
        companions: vec![
            (
                ENCODER_FILE,
                companion(CompanionRole::Encoder, &plans.encoder),
                share_tensors(&encoder, MODEL_FILE, &model)?,
            ),
            (
                DECODER_FILE,
                companion(CompanionRole::Decoder, &plans.decoder),
                share_tensors(&decoder, MODEL_FILE, &model)?,
            ),
        ],
        report: TaskReport::Reconstruction(Box::new(report)),
        output,
        onnx: model,
    })
}

/// Returns the first test images with the model's answers.
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

/// Evaluates a published autoencoder on images.
///
/// # Errors
/// [`Error::Repository`] when the version cannot be used, [`Error::Data`] when the images do not fit it.
pub fn evaluate_autoencoder(
    folder: &Path,
    max_model_bytes: u64,
    (data, data_name): (&Dataset, String),
    importance: Importance,
) -> Result<(ReconstructionReport, Manifest)> {
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
    Ok((ReconstructionReport::new(subject, reference, &plans, data, importance)?, manifest))
}
