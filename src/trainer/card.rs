//! The model card: what a person should know before using a version (Mitchell et al. 2019, "Model
//! Cards for Model Reporting").

use crate::repository::Manifest;
use crate::signature::{OutputTransform, Polarity};

/// The card of a version, from its manifest and the report of its evaluation.
pub(super) fn markdown(manifest: &Manifest, report: &str) -> String {
    let mut parts = vec![format!("# {}\n\n{}.\n", manifest.model, manifest.description)];
    let mut facts = vec![
        ("Made by", format!("Weir {} on {}", manifest.weir_version, manifest.created)),
        ("Parameters", count(manifest.parameters)),
        ("Multiply-adds per sample", count(manifest.multiply_adds)),
    ];
    if let Some(training) = &manifest.training {
        facts.push((
            "Recipe",
            format!(
                "preset `{}`, {}, learning rate {}, batch {}, {} epochs, seed {}, {:.1} s",
                training.preset,
                training.optimizer,
                training.learning_rate,
                training.batch_size,
                training.epochs,
                training.seed,
                training.duration_seconds
            ),
        ));
    }
    if let Some(ended) = manifest.training.as_ref().and_then(|training| training.ended.as_ref()) {
        facts.push(("Training ended", ended.clone()));
    }
    if let Some(data) = &manifest.data {
        facts.push(("Data", format!(
            "{}: {} training, {} validation, {} test samples; the test samples were used once, for the figures below",
            data.name, data.training_samples, data.validation_samples, data.test_samples
        )));
    }
    if let Some(parity) = &manifest.parity {
        facts.push((
            "Parity with the trainer",
            format!(
                "largest logit difference {:.1e}{} over {} samples in {}",
                parity.max_abs_logit_difference,
                parity
                    .max_relative_score_difference
                    .map_or_else(String::new, |part| format!(", of a score {part:.1e} of it")),
                parity.samples,
                parity.engine
            ),
        ));
    }
    if let Some(calibration) = &manifest.calibration {
        let [before, after] = calibration.expected_calibration_error;
        facts.push((
            "Calibration",
            format!(
                "version {} with its logits divided by {:.4}, fitted on {} validation samples, whose calibration error went from {before:.4} to {after:.4}",
                calibration.from_version, calibration.temperature, calibration.samples
            ),
        ));
    }
    let rows: String = facts.iter().map(|(name, fact)| format!("| {name} | {fact} |\n")).collect();
    parts.push(format!("| | |\n| --- | --- |\n{rows}"));
    let is_autoencoder = matches!(manifest.transform.output, OutputTransform::Reconstruction { .. });
    if let Some(image) = manifest.transform.image.as_ref().filter(|_| is_autoencoder) {
        parts.push(format!(
            "## Input and use\n\nOne drawing, brought to {} × {} grey pixels, 0 to 255, bright on dark. The answer is its \
             reconstruction, its code and a score in nats: how unlike the images it was trained on a picture is. `decoder.onnx` makes \
             new images of codes. The score knows of no meaning: simple pictures, an empty one above all, score low although they show \
             none of what it was trained on.\n",
            image.width, image.height
        ));
    } else if let Some(image) = &manifest.transform.image {
        let polarity = match image.polarity {
            Polarity::LightOnDark => "bright strokes on a dark background",
            Polarity::DarkOnLight => "dark strokes on a bright background",
        };
        parts.push(format!(
            "## Input and use\n\nOne drawing of one of the classes ({}), brought to {} × {} grey pixels, 0 to 255, {polarity}. \
             Meant for drawings like those it was trained on. Anything else, an empty picture or a letter, is given one of the classes \
             all the same: the model cannot say \"none of these\".\n",
            manifest.labels.join(", "), image.width, image.height
        ));
    }
    parts.push(report.replacen("# ", "## ", 1));
    parts.join("\n")
}

fn count(number: Option<usize>) -> String {
    number.map_or_else(|| "unknown".into(), |number| number.to_string())
}
