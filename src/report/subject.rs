//! The head that all reports of a model share, and the files that they are written to.

use std::fs;
use std::path::Path;

use serde::Serialize;

use super::markup::escape;
use super::page::Page;
use crate::error::{Error, Result};
use crate::ids::Version;

/// The model that a report is about, and the data that it was tried on.
#[derive(Debug, Clone, Serialize)]
pub struct Subject {
    /// The model.
    pub model: String,
    /// Its version, unless it was not published yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<Version>,
    /// The name of the engine that ran it.
    pub engine: &'static str,
    /// The data in words, such as `test images of mnist`.
    pub data: String,
    /// The time of the report, RFC 3339 in UTC.
    pub created: String,
}

impl Subject {
    /// A model and the data that it is tried on now.
    pub fn new(model: impl Into<String>, version: Option<Version>, engine: &'static str, data: String) -> Self {
        let created = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        Self { model: model.into(), version, engine, data, created }
    }

    /// Returns the title of a report on so many samples: `mnist-mlp version 3 on the 10000 test images of mnist`.
    pub fn title(&self, samples: u64) -> String {
        let version = self.version.map_or_else(String::new, |version| format!(" version {version}"));
        format!("{}{version} on the {samples} {}", self.model, self.data)
    }

    /// Returns the page of a report on so many samples, which consists of these sections as HTML, with CSS of their own.
    pub fn page(&self, samples: u64, style: &str, sections: &[String]) -> String {
        let body = format!("{}\n{}", self.header(samples), sections.join("\n"));
        let footer = format!("Weir {} · {}", env!("CARGO_PKG_VERSION"), self.created);
        Page { title: &self.title(samples), style, body: &body, footer: &footer }.html()
    }

    fn header(&self, samples: u64) -> String {
        let version = self.version.map_or_else(String::new, |version| format!(" <small>version {version}</small>"));
        format!(
            "<header><p class=\"eyebrow\">Evaluation</p><h1>{}{version}</h1><p>{samples} {} · run in {} · {}</p></header>",
            escape(&self.model),
            escape(&self.data),
            self.engine,
            escape(self.created.split('T').next().unwrap_or_default())
        )
    }
}

/// A report in three forms: JSON for programs, Markdown for text, and one page of HTML for people.
pub trait Document: Serialize {
    /// Returns it as Markdown.
    fn markdown(&self) -> String;

    /// Returns it as one HTML page without scripts and without any other file.
    ///
    /// # Errors
    /// [`Error::Internal`] when a picture cannot be encoded.
    fn html(&self) -> Result<String>;

    /// Returns it as JSON, indented.
    ///
    /// # Errors
    /// [`Error::Internal`], which does not happen with finite numbers.
    fn json(&self) -> Result<String> {
        let text = serde_json::to_string_pretty(self)
            .map_err(|error| Error::internal("the report could not be written", error))?;
        Ok(format!("{text}\n"))
    }

    /// Writes `report.json`, `report.md` and `report.html` into a folder, which is made if need be.
    ///
    /// # Errors
    /// [`Error::Io`].
    fn write(&self, folder: &Path) -> Result<()> {
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
