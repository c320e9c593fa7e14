//! The model card, for people who consider using a version (Mitchell et al. 2019, "Model Cards for Model
//! Reporting").

use crate::repository::Manifest;
use crate::signature::{
    Column, ColumnKind, ImageTransform, OutputTransform, Polarity, SequenceElements, SequenceTransform, TextTransform,
    TokenSplit,
};

/// Returns the card of a version, from its manifest and the report of its evaluation.
pub(super) fn markdown(manifest: &Manifest, report: &str) -> String {
    let rows: String = facts(manifest).iter().map(|(name, fact)| format!("| {name} | {fact} |\n")).collect();
    let mut parts =
        vec![format!("# {}\n\n{}.\n", manifest.model, manifest.description), format!("| | |\n| --- | --- |\n{rows}")];
    let transform = &manifest.transform;
    parts.extend(transform.image.as_ref().map(|image| match transform.output {
        OutputTransform::Reconstruction { .. } => reconstructed(image),
        OutputTransform::Classification { .. }
        | OutputTransform::Labels { .. }
        | OutputTransform::Regression { .. }
        | OutputTransform::Detections(_)
        | OutputTransform::Segmentation(_)
        | OutputTransform::Embedding(_)
        | OutputTransform::Image(_)
        | OutputTransform::Spans(_)
        | OutputTransform::Score(_)
        | OutputTransform::Raw => pictures(image, &manifest.labels),
    }));
    parts.extend(rows_of(&transform.columns));
    parts.extend(transform.sequence.as_ref().map(sequences));
    parts.extend(transform.text.as_ref().map(|text| texts(text, &manifest.labels)));
    parts.push(report.replacen("# ", "## ", 1));
    parts.join("\n")
}

/// Returns the names and values of the table at the top.
fn facts(manifest: &Manifest) -> Vec<(&'static str, String)> {
    let mut facts = vec![
        ("Made by", format!("Weir {} on {}", manifest.weir_version, manifest.created)),
        ("Parameters", count(manifest.parameters)),
        ("Multiply-adds per sample", count(manifest.multiply_adds)),
    ];
    if let Some(training) = &manifest.training {
        let steps = match training.epochs {
            0 => String::new(),
            epochs => {
                format!(", learning rate {}, batch {}, {epochs} epochs", training.learning_rate, training.batch_size)
            }
        };
        let recipe = format!(
            "preset `{}`, {}{steps}, seed {}, {:.1} s",
            training.preset, training.optimizer, training.seed, training.duration_seconds
        );
        facts.push(("Recipe", recipe));
        facts.extend(training.ended.as_ref().map(|ended| ("Training ended", ended.clone())));
    }
    if let Some(data) = &manifest.data {
        facts.push(("Data", format!(
            "{}: {} training, {} validation, {} test samples; the test samples were used once, for the figures below",
            data.name, data.training_samples, data.validation_samples, data.test_samples
        )));
    }
    if let Some(parity) = &manifest.parity {
        let of_scores = parity.max_relative_score_difference;
        let of_scores = of_scores.map_or_else(String::new, |part| format!(", of a score {part:.1e} of it"));
        let fact = format!(
            "largest logit difference {:.1e}{of_scores} over {} samples in {}",
            parity.max_abs_logit_difference, parity.samples, parity.engine
        );
        facts.push(("Parity with the trainer", fact));
    }
    if let Some(calibration) = &manifest.calibration {
        let [before, after] = calibration.expected_calibration_error;
        let fact = format!(
            "version {} with its logits divided by {:.4}, fitted on {} validation samples, whose calibration error went from {before:.4} to {after:.4}",
            calibration.from_version, calibration.temperature, calibration.samples
        );
        facts.push(("Calibration", fact));
    }
    facts
}

/// Describes the input of an autoencoder.
fn reconstructed(image: &ImageTransform) -> String {
    format!(
        "## Input and use\n\nOne drawing, brought to {} × {} grey pixels, 0 to 255, bright on dark. The answer is its \
         reconstruction, its code and a score in nats: how unlike the images it was trained on a picture is. `decoder.onnx` makes \
         new images of codes; it reads its weights from `model.onnx` of the same folder, as `encoder.onnx` does. The score knows of no meaning: simple pictures, an empty one above all, score low although they show \
         none of what it was trained on.\n",
        image.width(),
        image.height()
    )
}

/// Describes the input of a model of images.
fn pictures(image: &ImageTransform, labels: &[String]) -> String {
    let (shown, kind) = match image {
        ImageTransform::Drawing(drawing) => {
            let (kind, polarity) = match drawing.polarity {
                Polarity::LightOnDark => ("drawing", ", bright strokes on a dark background"),
                Polarity::DarkOnLight => ("drawing", ", dark strokes on a bright background"),
                Polarity::AsIs => ("picture", ""),
            };
            (format!("{} × {} grey pixels, 0 to 255{polarity}", drawing.width, drawing.height), kind)
        }
        ImageTransform::Picture(_) => (image.text(), "picture"),
    };
    let (what, otherwise) = if labels.is_empty() {
        (format!("One {kind}"), "Anything else is given a number all the same.")
    } else {
        (
            format!("One {kind} of one of the classes ({})", labels.join(", ")),
            "Anything else, an empty picture for example, is given one of the classes all the same: the model cannot say \"none of these\".",
        )
    };
    format!(
        "## Input and use\n\n{what}, brought to {shown}. \
         Meant for {kind}s like those it was trained on. {otherwise}\n"
    )
}

/// Describes the columns of a model of table rows.
fn rows_of(columns: &[Column]) -> Option<String> {
    let row = |column: &Column| match &column.kind {
        ColumnKind::Number | ColumnKind::Shifted { .. } => format!("| {} | a number |\n", cell(&column.name)),
        ColumnKind::Moment { order, .. } => format!("| {} | {} |\n", cell(&column.name), order.words()),
        ColumnKind::Text { .. } => format!("| {} | a text |\n", cell(&column.name)),
        ColumnKind::Category { values } => {
            let values: Vec<String> = values.iter().map(|value| cell(value)).collect();
            format!("| {} | one of: {} |\n", cell(&column.name), values.join(", "))
        }
    };
    let rows: String = columns.iter().map(row).collect();
    (!columns.is_empty()).then(|| {
        format!(
            "## Input and use\n\nA row of these columns, by name or in this order; a missing value is null. Meant for rows like \
             those it was trained on.\n\n| column | values |\n| --- | --- |\n{rows}"
        )
    })
}

/// Describes the input of a model of sequences.
fn sequences(transform: &SequenceTransform) -> String {
    let what = match &transform.elements {
        SequenceElements::Numbers { channels: 1 } => "A list of numbers; a missing one is null".into(),
        SequenceElements::Numbers { channels } => {
            format!("A list of steps, each a list of {channels} numbers; a missing one is null")
        }
        SequenceElements::Tokens { split, vocabulary } => {
            let form = match split {
                Some(TokenSplit::Words) => {
                    "A text, which is split into words and signs, in lower case, or a list of these"
                }
                Some(TokenSplit::Grams | TokenSplit::Terms) => {
                    return "## Input and use\n\nA text, of which words, pairs of words and runs of characters are looked at, \
                            or a list of its words. Meant for texts like those it was trained on.\n"
                        .into();
                }
                Some(TokenSplit::Characters) => "A text, of which every character is a token, or a list of these",
                None => "A list of tokens",
            };
            format!("{form}. {} tokens are told apart, all others are one", vocabulary.len())
        }
    };
    format!(
        "## Input and use\n\n{what}. Of a sequence of more than {} steps the last ones are read. Meant for sequences like those it \
         was trained on.\n",
        transform.steps
    )
}

/// Describes the input of a head on a transformer.
fn texts(transform: &TextTransform, labels: &[String]) -> String {
    let (what, otherwise) = if labels.is_empty() {
        ("One text".to_owned(), "Anything else is given a number all the same.")
    } else {
        (
            format!("One text of one of the classes ({})", labels.join(", ")),
            "Anything else is given one of the classes all the same: the model cannot say \"none of these\".",
        )
    };
    format!(
        "## Input and use\n\n{what}, which `tokenizer.json` splits into tokens, of which at most {} are read. Meant for texts \
         like those it was trained on. {otherwise}\n",
        transform.max_length
    )
}

/// Returns the text for a cell of a table.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace(['\r', '\n'], " ")
}

fn count(number: Option<usize>) -> String {
    number.map_or_else(|| "unknown".into(), |number| number.to_string())
}
