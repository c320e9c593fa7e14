//! The report of a model of numbers.

use std::fs;
use std::path::Path;

use serde::Serialize;

use super::Subject;
use super::frame::{Frame, Scale, ticks};
use super::html::training;
use super::words::escape;
use crate::engine::EngineKind;
use crate::error::{Error, Result};
use crate::ids::Version;
use crate::stats::{RegressionEvaluation, RegressionEvaluator};
use crate::trainer::fit::EpochReport;

const STYLE: &str = include_str!("style.css");

/// Predictions that a report lists: those that are furthest off.
const WORST: usize = 20;

/// Points of the chart; more would only be a cloud.
const POINTS: usize = 2000;

/// Bars of the histogram of errors.
const BARS: usize = 31;

/// The evaluation of a model of numbers with what it is of.
#[derive(Debug, Serialize)]
pub struct RegressionReport {
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
    pub evaluation: RegressionEvaluation,
    /// The predictions that are furthest off, the worst first.
    pub worst: Vec<ShownError>,
    /// The epochs of the training run, if the report belongs to one.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<EpochReport>,
    /// Truth and prediction of every sample.
    #[serde(skip)]
    pairs: Vec<[f64; 2]>,
}

/// A prediction that is far off.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ShownError {
    /// The place of the sample in its data set.
    pub index: usize,
    /// What is true.
    pub truth: f64,
    /// What was predicted.
    pub predicted: f64,
}

/// The figures of predictions beside the truth.
pub(in crate::trainer) fn evaluation(truths: &[f64], predictions: &[f64]) -> RegressionEvaluation {
    let mut evaluator = RegressionEvaluator::default();
    truths.iter().zip(predictions).for_each(|(truth, predicted)| evaluator.add(*truth, *predicted));
    evaluator.finish()
}

impl RegressionReport {
    /// Evaluates predictions, one for each truth.
    pub fn new(subject: Subject, truths: &[f64], predictions: &[f64]) -> Self {
        let Subject { model, version, engine, data, labels: _ } = subject;
        let pairs: Vec<[f64; 2]> =
            truths.iter().zip(predictions).map(|(truth, predicted)| [*truth, *predicted]).collect();
        let shown = |(index, [truth, predicted]): (usize, &[f64; 2])| ShownError {
            index,
            truth: *truth,
            predicted: *predicted,
        };
        let mut worst: Vec<ShownError> = pairs.iter().enumerate().map(shown).collect();
        let error = |shown: &ShownError| (shown.predicted - shown.truth).abs();
        worst.sort_by(|a, b| error(b).total_cmp(&error(a)).then(a.index.cmp(&b.index)));
        worst.truncate(WORST);
        Self {
            model,
            version,
            engine,
            data,
            created: jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
            evaluation: evaluation(truths, predictions),
            worst,
            history: Vec::new(),
            pairs,
        }
    }

    /// What was evaluated, on what.
    pub fn title(&self) -> String {
        let version = self.version.map_or_else(String::new, |version| format!(" version {version}"));
        format!("{}{version} on the {} {}", self.model, self.evaluation.samples, self.data)
    }

    /// The figures with their names.
    pub fn figures(&self) -> [(&'static str, String); 3] {
        let e = &self.evaluation;
        [
            ("mean absolute error", number(e.mean_absolute_error)),
            ("root mean squared error", number(e.root_mean_squared_error)),
            (
                "R², the share of the variance that is explained",
                e.r_squared.map_or_else(|| "–".into(), |r| format!("{r:.4}")),
            ),
        ]
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
        let figures: String = self.figures().iter().map(|(name, value)| format!("| {name} | {value} |\n")).collect();
        let row = |shown: &ShownError| {
            let ShownError { index, truth, predicted } = shown;
            format!("| {index} | {} | {} | {} |\n", number(*truth), number(*predicted), number(predicted - truth))
        };
        let rows: String = self.worst.iter().take(10).map(row).collect();
        format!(
            "# {}\n\n| figure | value |\n| --- | ---: |\n{figures}\n| furthest off: sample | truth | prediction | error |\n| ---: | ---: | ---: | ---: |\n{rows}",
            self.title()
        )
    }

    /// As one HTML page without scripts and without any other file.
    pub fn html(&self) -> String {
        let tile = |(name, value): &(&str, String)| format!("<tr><td>{}</td><td>{value}</td></tr>", escape(name));
        let tiles: String = self.figures().iter().map(tile).collect();
        let row = |shown: &ShownError| {
            let ShownError { index, truth, predicted } = shown;
            format!(
                "<tr><td>{index}</td><td>{}</td><td>{}</td><td>{}</td></tr>",
                number(*truth),
                number(*predicted),
                number(predicted - truth)
            )
        };
        let rows: String = self.worst.iter().map(row).collect();
        let trained = training(&self.history);
        format!(
            "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta http-equiv=\"content-security-policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; img-src data:\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>{title}</title>\n<style>\n{STYLE}</style>\n\
             </head>\n<body>\n<main>\n<header><p class=\"eyebrow\">Evaluation</p><h1>{model}</h1><p>{samples} {data} · run in {engine} · {created}</p></header>\n\
             <section><h2>Figures</h2><table><tbody>{tiles}</tbody></table></section>\n\
             <section><h2>Predictions beside the truth</h2>{scatter}</section>\n\
             <section><h2>Errors</h2>{errors}</section>\n\
             <section><h2>Furthest off</h2><table><thead><tr><th>sample</th><th>truth</th><th>prediction</th><th>error</th></tr></thead><tbody>{rows}</tbody></table></section>\n\
             {trained}\n<footer>Weir {weir} · {created}</footer>\n</main>\n</body>\n</html>\n",
            title = escape(&self.title()),
            model = escape(&self.model),
            samples = self.evaluation.samples,
            data = escape(&self.data),
            engine = self.engine.name(),
            created = escape(&self.created),
            scatter = self.scatter(),
            errors = self.errors(),
            weir = env!("CARGO_PKG_VERSION"),
        )
    }

    /// Writes `report.json`, `report.md` and `report.html` into a folder, which is made if need be.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn write(&self, folder: &Path) -> Result<()> {
        fs::create_dir_all(folder).map_err(Error::io("create", folder))?;
        for (name, text) in
            [("report.json", self.json()?), ("report.md", self.markdown()), ("report.html", self.html())]
        {
            let path = folder.join(name);
            fs::write(&path, text).map_err(Error::io("write", path))?;
        }
        Ok(())
    }

    /// Each prediction over its truth; on the line they would be right.
    fn scatter(&self) -> String {
        let (low, high) = range(self.pairs.iter().flatten().copied());
        let scale = Scale::Linear { low, high };
        let mut frame = Frame::new(560.0, 460.0, scale, scale);
        let axis = ticks(low, high, 6);
        frame.grid(&axis, &axis, "truth", "prediction");
        frame.line("ideal", "prediction = truth", [[low, low], [high, high]]);
        let every = self.pairs.len().div_ceil(POINTS).max(1);
        for [truth, predicted] in self.pairs.iter().step_by(every) {
            let (x, y) = (frame.x(*truth), frame.y(*predicted));
            frame
                .push(&format!(r#"<circle cx="{x:.1}" cy="{y:.1}" r="2.5" fill="currentColor" fill-opacity="0.45"/>"#));
        }
        frame.finish("predictions over the truth")
    }

    /// How often which error occurs.
    fn errors(&self) -> String {
        let errors: Vec<f64> = self.pairs.iter().map(|[truth, predicted]| predicted - truth).collect();
        let (low, high) = range(errors.iter().copied());
        let mut counts = [0u32; BARS];
        for error in &errors {
            let bar = ((error - low) / (high - low) * BARS as f64) as usize;
            counts[bar.min(BARS - 1)] += 1;
        }
        let most = f64::from(counts.iter().copied().max().unwrap_or(1).max(1));
        let mut frame = Frame::new(560.0, 260.0, Scale::Linear { low, high }, Scale::Linear { low: 0.0, high: most });
        frame.grid(&ticks(low, high, 6), &ticks(0.0, most, 4), "prediction − truth", "samples");
        for (bar, count) in counts.iter().enumerate().filter(|(_, count)| **count > 0) {
            let at = |edge: usize| low + (high - low) * edge as f64 / BARS as f64;
            let (left, right) = (frame.x(at(bar)), frame.x(at(bar + 1)));
            let (top, bottom) = (frame.y(f64::from(*count)), frame.y(0.0));
            frame.push(&format!(
                r#"<rect x="{left:.1}" y="{top:.1}" width="{:.1}" height="{:.1}" fill="currentColor" fill-opacity="0.6"><title>{count}</title></rect>"#,
                (right - left - 1.0).max(0.5),
                bottom - top
            ));
        }
        frame.finish("the distribution of the errors")
    }
}

/// The least and the greatest, a little apart if they are the same.
fn range(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let (low, high) =
        values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)));
    match high - low {
        difference if difference > 0.0 => (low, high),
        _ if low.is_finite() => (low - 1.0, high + 1.0),
        _ => (0.0, 1.0),
    }
}

/// A number with as many digits as say something.
fn number(value: f64) -> String {
    match value.abs() {
        1e6.. => format!("{value:.4e}"),
        100.0.. => format!("{value:.1}"),
        1.0.. => format!("{value:.3}"),
        0.0 => "0".into(),
        small if small < 1e-3 => format!("{value:.3e}"),
        _ => format!("{value:.4}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(pairs: &[(f64, f64)]) -> RegressionReport {
        let subject = Subject {
            model: "price".into(),
            version: None,
            engine: EngineKind::Tract,
            data: "test rows of <houses>".into(),
            labels: Vec::new(),
        };
        let (truths, predictions): (Vec<f64>, Vec<f64>) = pairs.iter().copied().unzip();
        RegressionReport::new(subject, &truths, &predictions)
    }

    #[test]
    fn the_worst_predictions_come_first() {
        let report = report(&[(1.0, 1.5), (2.0, 9.0), (3.0, 3.0)]);
        assert_eq!(report.worst[0], ShownError { index: 1, truth: 2.0, predicted: 9.0 });
        assert_eq!(report.worst.len(), 3);
        let page = report.html();
        assert_eq!(page.matches("<circle").count(), 3);
        assert!(page.contains("test rows of &lt;houses&gt;") && !page.contains("<script"));
        let json: serde_json::Value = serde_json::from_str(&report.json().unwrap()).unwrap();
        assert_eq!((json["samples"].as_u64(), json["worst"][0]["index"].as_u64()), (Some(3), Some(1)));
        assert!(report.markdown().contains("| mean absolute error | 2.500 |"));
    }

    #[test]
    fn nothing_and_all_the_same_can_be_drawn() {
        assert!(!report(&[]).html().contains("NaN"));
        assert!(!report(&[(2.0, 2.0), (2.0, 2.0)]).html().contains("NaN"));
    }
}
