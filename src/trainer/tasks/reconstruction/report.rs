//! The report of an autoencoder: `report.json` for machines, `report.md` for text, and `report.html` with
//! pictures of what it makes.

use serde::Serialize;

use super::evaluate::{Importance, Plans};
use super::pictures::{Shown, pictures};
use crate::error::Result;
use crate::report::{Document, Subject, headline, image, section};
use crate::stats::{LikelihoodEvaluation, ReferenceScores};
use crate::trainer::curves::training;
use crate::trainer::dataset::Dataset;
use crate::trainer::progress::EpochReport;
use crate::transform::Picture;

const DEFINITIONS: &str = include_str!("definitions.html");

/// The evaluation of an autoencoder with what it is of.
#[derive(Debug, Serialize)]
pub struct ReconstructionReport {
    /// The model and the data.
    #[serde(flatten)]
    pub subject: Subject,
    /// The figures.
    #[serde(flatten)]
    pub evaluation: LikelihoodEvaluation,
    /// The usual scores.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reference: Option<ReferenceScores>,
    /// The epochs of the training run, if the report belongs to one.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<EpochReport>,
    #[serde(skip)]
    shown: Vec<Shown>,
}

impl ReconstructionReport {
    /// Evaluates graphs on images; `reference` are the scores that are usual.
    ///
    /// # Errors
    /// As [`Plans::evaluate`].
    pub(super) fn new(
        subject: Subject,
        reference: Option<ReferenceScores>,
        plans: &Plans,
        data: &Dataset,
        importance: Importance,
    ) -> Result<Self> {
        let evaluation = plans.evaluate(data, importance)?;
        Ok(Self { subject, evaluation, reference, history: Vec::new(), shown: pictures(plans, data)? })
    }

    /// The figures as name and value, with what a likelihood is of in its name.
    pub fn figures(&self) -> Vec<(String, String)> {
        let evaluation = &self.evaluation;
        let nats = |value: f64| format!("{value:.2} nats");
        let binarised = format!("{} binarisation", evaluation.binarisation);
        let mut figures = vec![
            (format!("−ELBO, 1 draw, {binarised}"), nats(evaluation.negative_elbo)),
            ("  reconstruction".into(), nats(evaluation.reconstruction)),
            ("  divergence of the code".into(), nats(evaluation.divergence)),
        ];
        if let Some(estimate) = &evaluation.importance {
            figures.push((
                format!("−ln p, {} draws, {} images, {binarised}", estimate.draws, estimate.samples),
                format!("{:.2} ± {:.2} nats", estimate.negative_log_likelihood, estimate.standard_error),
            ));
        }
        figures
            .push(("active units of the code".into(), format!("{} of {}", evaluation.active_units, evaluation.latent)));
        figures.push(("mean score, grey images".into(), nats(evaluation.mean_score)));
        if let Some(reference) = &self.reference {
            let at = |part: usize| reference.quantiles.get(part).copied().unwrap_or(f64::NAN);
            figures.push((
                format!("scores of the {} {}", reference.samples, reference.data),
                format!("median {:.1}, 95 % below {:.1}, 99 % below {:.1} nats", at(50), at(95), at(99)),
            ));
        }
        figures
    }

    fn headline(&self) -> String {
        let evaluation = &self.evaluation;
        let mut tiles = vec![
            ("reconstruction, nats".to_owned(), format!("{:.2}", evaluation.reconstruction)),
            ("divergence of the code, nats".to_owned(), format!("{:.2}", evaluation.divergence)),
        ];
        if let Some(estimate) = &evaluation.importance {
            let name = format!("−ln p, nats: {} draws, {} images", estimate.draws, estimate.samples);
            tiles.push((name, format!("{:.2}", estimate.negative_log_likelihood)));
        }
        tiles.push(("active units".to_owned(), format!("{} of {}", evaluation.active_units, evaluation.latent)));
        tiles.push(("mean score of grey images, nats".to_owned(), format!("{:.2}", evaluation.mean_score)));
        if let Some(reference) = &self.reference {
            let quantile = |part: usize| reference.quantiles.get(part).map_or_else(String::new, |q| format!("{q:.1}"));
            tiles.push(("median score of held-out images".to_owned(), quantile(50)));
            tiles.push(("99 % of these score below".to_owned(), quantile(99)));
        }
        let name = "nats: −ELBO with one draw, pixels binarised dynamically";
        headline((&format!("{:.2}", evaluation.negative_elbo), name), "", &tiles)
    }

    /// The pictures, by title.
    pub(in crate::trainer) fn pictures(&self) -> impl Iterator<Item = (&'static str, &Picture)> {
        self.shown.iter().map(|shown| (shown.title, &shown.picture))
    }
}

impl Document for ReconstructionReport {
    fn markdown(&self) -> String {
        let row = |(name, value): (String, String)| format!("| {} | {value} |\n", name.trim());
        let figures: String = self.figures().into_iter().map(row).collect();
        let title = self.subject.title(self.evaluation.samples);
        format!("# {title}\n\n| figure | value |\n| --- | ---: |\n{figures}")
    }

    fn html(&self) -> Result<String> {
        let mut sections = vec![self.headline()];
        for Shown { title, lead, picture } in &self.shown {
            let sheet = format!("<div class=\"sheet\">{}</div>", image(&picture.png()?, title));
            sections.push(section(title, lead, &sheet));
        }
        sections.push(training(&self.history));
        sections.push(format!("<section>{DEFINITIONS}</section>"));
        Ok(self.subject.page(self.evaluation.samples, "", &sections))
    }
}
