//! `weir evaluate` of an autoencoder: likelihoods instead of accuracies.

use std::io::IsTerminal;
use std::process::ExitCode;

use super::super::paint::Paint;
use super::table::heading;
use super::{ANY_SIZE, EvaluateArgs};
use crate::error::{Error, Result};
use crate::report::Document;
use crate::repository::{FoundVersion, Manifest};
use crate::stats::LikelihoodEvaluation;
use crate::trainer::{Dataset, Importance, ReconstructionReport, evaluate_autoencoder};

/// Kernels of another processor round differently; a mean over images moves by no more than this many nats.
const SAME: f64 = 0.01;

/// Evaluates a version and prints the figures.
///
/// # Errors
/// As [`evaluate_autoencoder`]; [`Error::Config`] when an accuracy is asked for.
pub(super) fn run(args: &EvaluateArgs, found: &FoundVersion, judged: (&Dataset, String)) -> Result<ExitCode> {
    if args.min_accuracy.is_some() {
        let problem = format!("{} is an autoencoder, which has no accuracy", found.name);
        return Err(Error::Config { setting: "min-accuracy".into(), problem });
    }
    let importance = Importance { draws: args.draws as usize, images: args.draw_images };
    let (report, manifest) = evaluate_autoencoder(found.files.folder(), ANY_SIZE, judged, importance)?;
    if let Some(folder) = &args.report {
        report.write(folder)?;
    }
    if args.json {
        super::super::print(&report.json()?)?;
    } else {
        let paint = Paint(std::io::stdout().is_terminal());
        let written = args.report.as_ref().map(|folder| format!("report: {}\n", folder.join("report.html").display()));
        let verdict = verdict(&manifest, &report.evaluation);
        super::super::print(&format!("{}\n{verdict}\n{}", table(&report, paint), written.unwrap_or_default()))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn table(report: &ReconstructionReport, paint: Paint) -> String {
    let mut text = heading(&report.subject, report.evaluation.samples, paint);
    for (name, value) in report.figures() {
        text.push_str(&format!("{name:<56} {value}\n"));
    }
    text
}

fn verdict(manifest: &Manifest, evaluation: &LikelihoodEvaluation) -> String {
    match manifest.reconstruction().and_then(|quality| quality.test.as_ref()) {
        Some(told) if told.samples != evaluation.samples => "The manifest's evaluation is of other data.".into(),
        Some(told) if (told.negative_elbo - evaluation.negative_elbo).abs() < SAME => {
            "The same −ELBO as in the manifest.".into()
        }
        Some(told) => format!(
            "The manifest says −ELBO {:.2} nats; this is another model, other data or another engine.",
            told.negative_elbo
        ),
        None => "There is no evaluation in the manifest to compare with.".into(),
    }
}
