//! The report of an autoencoder: `report.json` for machines, `report.md` for text, and `report.html` with
//! pictures of what it makes.

use std::fs;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;

use super::evaluate::{Importance, Plans};
use super::pictures::{Shown, pictures};
use crate::engine::EngineKind;
use crate::error::{Error, Result};
use crate::ids::Version;
use crate::stats::{LikelihoodEvaluation, ReferenceScores};
use crate::trainer::dataset::Dataset;
use crate::trainer::fit::EpochReport;
use crate::trainer::report::{document, escape, training};
use crate::transform::Picture;

const DEFINITIONS: &str = include_str!("definitions.html");

/// How a contact sheet stands on the page.
const SHEET: &str = "width:100%;max-width:820px;image-rendering:pixelated;border-radius:8px;display:block";

/// The evaluation of an autoencoder with what it is of.
#[derive(Debug, Serialize)]
pub struct AutoencoderReport {
    /// The model.
    pub model: String,
    /// Its version, if it has one already.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<Version>,
    /// What ran it.
    pub engine: EngineKind,
    /// The data in words.
    pub data: String,
    /// When it was made, RFC 3339 in UTC.
    pub created: String,
    /// The figures.
    #[serde(flatten)]
    pub evaluation: LikelihoodEvaluation,
    /// What scores are usual.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reference: Option<ReferenceScores>,
    /// The epochs of the training run, if the report belongs to one.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<EpochReport>,
    #[serde(skip)]
    shown: Vec<Shown>,
}

/// What a report is of.
#[derive(Debug)]
pub(super) struct Subject {
    pub(super) model: String,
    pub(super) version: Option<Version>,
    /// The data in words.
    pub(super) data: String,
    pub(super) reference: Option<ReferenceScores>,
}

impl AutoencoderReport {
    /// Evaluates graphs on images.
    ///
    /// # Errors
    /// As [`Plans::evaluate`].
    pub(super) fn new(subject: Subject, plans: &Plans, data: &Dataset, importance: Importance) -> Result<Self> {
        let Subject { model, version, data: data_name, reference } = subject;
        Ok(Self {
            model,
            version,
            engine: plans.model.engine(),
            data: data_name,
            created: jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
            evaluation: plans.evaluate(data, importance)?,
            reference,
            history: Vec::new(),
            shown: pictures(plans, data)?,
        })
    }

    /// What was evaluated, on what.
    pub fn title(&self) -> String {
        let version = self.version.map_or_else(String::new, |version| format!(" version {version}"));
        format!("{}{version} on the {} {}", self.model, self.evaluation.samples, self.data)
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

    /// As JSON, indented.
    ///
    /// # Errors
    /// [`Error::Internal`], which does not happen with finite numbers.
    pub fn json(&self) -> Result<String> {
        let text = serde_json::to_string_pretty(self)
            .map_err(|error| Error::internal("the report could not be written", error))?;
        Ok(format!("{text}\n"))
    }

    /// As Markdown.
    pub fn markdown(&self) -> String {
        let mut text = format!("# {}\n\n| figure | value |\n| --- | ---: |\n", self.title());
        for (name, value) in self.figures() {
            text.push_str(&format!("| {} | {value} |\n", name.trim()));
        }
        text
    }

    /// As one HTML page without scripts and without any other file.
    ///
    /// # Errors
    /// [`Error::Internal`] when a picture cannot be encoded.
    pub fn html(&self) -> Result<String> {
        let version = self.version.map_or_else(String::new, |version| format!(" <small>version {version}</small>"));
        let header = format!(
            "<header><p class=\"eyebrow\">Evaluation</p><h1>{}{version}</h1><p>{} {} · run in {} · {}</p></header>",
            escape(&self.model),
            self.evaluation.samples,
            escape(&self.data),
            self.engine.name(),
            escape(self.created.split('T').next().unwrap_or_default())
        );
        let mut parts = vec![header, self.headline()];
        for Shown { title, lead, picture } in &self.shown {
            let png = STANDARD.encode(picture.png()?);
            parts.push(format!(
                "<section><h2>{title}</h2><p class=\"lead\">{lead}</p><img alt=\"{title}\" style=\"{SHEET}\" src=\"data:image/png;base64,{png}\"></section>"
            ));
        }
        parts.push(training(&self.history));
        parts.push(format!("<section>{DEFINITIONS}</section>"));
        Ok(document(&self.title(), &self.created, &parts))
    }

    fn headline(&self) -> String {
        let evaluation = &self.evaluation;
        let mut tiles = vec![
            (format!("{:.2}", evaluation.reconstruction), "reconstruction, nats".to_owned()),
            (format!("{:.2}", evaluation.divergence), "divergence of the code, nats".to_owned()),
        ];
        if let Some(estimate) = &evaluation.importance {
            let name = format!("−ln p, nats: {} draws, {} images", estimate.draws, estimate.samples);
            tiles.push((format!("{:.2}", estimate.negative_log_likelihood), name));
        }
        tiles.push((format!("{} of {}", evaluation.active_units, evaluation.latent), "active units".to_owned()));
        tiles.push((format!("{:.2}", evaluation.mean_score), "mean score of grey images, nats".to_owned()));
        if let Some(reference) = &self.reference {
            let tile = |part: usize| reference.quantiles.get(part).map_or_else(String::new, |q| format!("{q:.1}"));
            tiles.push((tile(50), "median score of held-out images".to_owned()));
            tiles.push((tile(99), "99 % of these score below".to_owned()));
        }
        let tiles: String =
            tiles.iter().map(|(value, name)| format!("<div><b>{value}</b><span>{name}</span></div>")).collect();
        format!(
            "<section class=\"head\"><div class=\"hero\"><b>{:.2}</b><span>nats: −ELBO with one draw, pixels binarised dynamically</span></div>\
             <div class=\"tiles\">{tiles}</div></section>",
            evaluation.negative_elbo
        )
    }

    /// The pictures, by title.
    pub(in crate::trainer) fn pictures(&self) -> impl Iterator<Item = (&'static str, &Picture)> {
        self.shown.iter().map(|shown| (shown.title, &shown.picture))
    }

    /// Writes `report.json`, `report.md` and `report.html` into a folder, which is made if need be.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn write(&self, folder: &Path) -> Result<()> {
        fs::create_dir_all(folder).map_err(Error::io("create", folder))?;
        for (name, text) in
            [("report.json", self.json()?), ("report.md", self.markdown()), ("report.html", self.html()?)]
        {
            let path = folder.join(name);
            fs::write(&path, text).map_err(Error::io("write", path))?;
        }
        Ok(())
    }
}
