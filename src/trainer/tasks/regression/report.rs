//! The report of a model that predicts numbers.

use serde::Serialize;

use super::evaluate::figures;
use crate::error::Result;
use crate::report::{
    Axis, Chart, Color, Document, Stroke, Subject, columns, escape, headline, resolved, section, significant, span,
};
use crate::stats::RegressionEvaluation;
use crate::trainer::curves::training;
use crate::trainer::permutation::PermutationImportance;
use crate::trainer::progress::EpochReport;

/// Predictions that a report lists: those that are furthest off.
const WORST: usize = 20;

/// Points of the chart; more would only be a cloud.
const POINTS: usize = 2000;

/// Bars of the histogram of errors.
const BARS: usize = 31;

/// The evaluation of a model that predicts numbers.
#[derive(Debug, Serialize)]
pub struct RegressionReport {
    /// The model and the data.
    #[serde(flatten)]
    pub subject: Subject,
    /// The figures.
    #[serde(flatten)]
    pub evaluation: RegressionEvaluation,
    /// The predictions that are furthest off, the worst first.
    pub worst: Vec<ShownError>,
    /// The importance of each column of a table, if it was measured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub importance: Option<PermutationImportance>,
    /// The epochs of the training run, if the report belongs to one.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<EpochReport>,
    /// The content of the charts.
    #[serde(skip)]
    drawn: Drawn,
}

/// The content of the charts of all truths and predictions.
#[derive(Debug)]
struct Drawn {
    /// The least and the greatest of both.
    bounds: [f64; 2],
    /// Some of the pairs.
    points: Vec<[f64; 2]>,
    /// The least and the greatest error.
    errors: [f64; 2],
    /// The samples by their error, from the least to the greatest.
    counts: [u32; BARS],
}

impl Drawn {
    fn new(truths: &[f64], predictions: &[f64]) -> Self {
        let pairs = truths.iter().zip(predictions);
        let (least, greatest) = span(truths.iter().chain(predictions).copied(), 0.0);
        let error = |(truth, predicted): (&f64, &f64)| predicted - truth;
        let (low, high) = span(pairs.clone().map(error), 0.0);
        let mut counts = [0u32; BARS];
        for error in pairs.clone().map(error) {
            let bar = ((error - low) / (high - low) * BARS as f64) as usize;
            counts[bar.min(BARS - 1)] += 1;
        }
        let every = pairs.len().div_ceil(POINTS).max(1);
        let points = pairs.step_by(every).map(|(truth, predicted)| [*truth, *predicted]).collect();
        Self { bounds: [least, greatest], points, errors: [low, high], counts }
    }
}

/// A prediction that is far off.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ShownError {
    /// The index of the sample in its data set.
    pub index: usize,
    /// The true value.
    pub truth: f64,
    /// The predicted value.
    pub predicted: f64,
}

impl RegressionReport {
    /// Evaluates predictions, one for each truth.
    pub fn new(subject: Subject, truths: &[f64], predictions: &[f64]) -> Self {
        let error = |shown: &ShownError| (shown.predicted - shown.truth).abs();
        let keep = |worst: &mut Vec<ShownError>| {
            worst.sort_by(|a, b| error(b).total_cmp(&error(a)).then(a.index.cmp(&b.index)));
            worst.truncate(WORST);
        };
        let mut worst: Vec<ShownError> = Vec::new();
        for (index, (truth, predicted)) in truths.iter().zip(predictions).enumerate() {
            worst.push(ShownError { index, truth: *truth, predicted: *predicted });
            // Of very many predictions, few are held.
            if worst.len() > 100 * WORST {
                keep(&mut worst);
            }
        }
        keep(&mut worst);
        let (evaluation, drawn) = (figures(truths, predictions), Drawn::new(truths, predictions));
        Self { subject, evaluation, worst, importance: None, history: Vec::new(), drawn }
    }

    /// Returns the figures as (name, value).
    pub fn figures(&self) -> [(&'static str, String); 3] {
        let e = &self.evaluation;
        [
            ("mean absolute error", significant(e.mean_absolute_error)),
            ("root mean squared error", significant(e.root_mean_squared_error)),
            (
                "R², the share of the variance that is explained",
                e.r_squared.map_or_else(|| "–".into(), |r| format!("{r:.4}")),
            ),
        ]
    }

    /// Draws each prediction over its truth; on the line they would be right.
    fn scatter(&self) -> String {
        let [low, high] = self.drawn.bounds;
        let axis = |name: &str| Axis::linear(name, low, high);
        let mut chart = Chart::new(axis("truth"), axis("prediction"));
        chart.line(Color::Soft, Stroke::Guide, "prediction = truth", [[low, low], [high, high]]);
        chart.dots(Color::Blue, 2.5, self.drawn.points.iter().copied());
        chart.finish("predictions over the truth").embedded()
    }

    /// Draws the distribution of the errors.
    fn errors(&self) -> String {
        let Drawn { errors: [low, high], counts, .. } = &self.drawn;
        let (low, high) = (*low, *high);
        let most = f64::from(counts.iter().copied().max().unwrap_or(1).max(1));
        let x = Axis::linear("prediction − truth", low, high);
        let mut chart = Chart::new(x, Axis::from_zero("samples", most));
        let edge = |bar: usize| low + (high - low) * bar as f64 / BARS as f64;
        for (bar, count) in counts.iter().enumerate().filter(|(_, count)| **count > 0) {
            let place = [[edge(bar), edge(bar + 1)], [0.0, f64::from(*count)]];
            chart.bar(Color::Blue, place, 1.0, &count.to_string());
        }
        chart.finish("the distribution of the errors").embedded()
    }
}

impl Document for RegressionReport {
    fn markdown(&self) -> String {
        let figures: String = self.figures().iter().map(|(name, value)| format!("| {name} | {value} |\n")).collect();
        let row = |shown: &ShownError| format!("| {} |\n", shown.cells().join(" | "));
        let rows: String = self.worst.iter().take(10).map(row).collect();
        let importance = self.importance.as_ref().map(|importance| format!("\n{}", importance.markdown()));
        let importance = importance.unwrap_or_default();
        format!(
            "# {}\n\n| figure | value |\n| --- | ---: |\n{figures}\n| furthest off: sample | truth | prediction | error |\n| ---: | ---: | ---: | ---: |\n{rows}{importance}",
            self.subject.title(self.evaluation.samples)
        )
    }

    fn html(&self) -> Result<String> {
        let [(name, value), tiles @ ..] = self.figures();
        let tiles = tiles.map(|(name, value)| (name.to_owned(), value));
        let cell = |text: &String| format!("<td>{}</td>", escape(text));
        let row = |shown: &ShownError| format!("<tr>{}</tr>", shown.cells().iter().map(cell).collect::<String>());
        let rows: String = self.worst.iter().map(row).collect();
        let table = format!(
            "<table><thead><tr><th>sample</th><th>truth</th><th>prediction</th><th>error</th></tr></thead><tbody>{rows}</tbody></table>"
        );
        let charts = columns([("Beside the truth", self.scatter()), ("Errors", self.errors())]);
        let sections = [
            headline((&value, name), "", &tiles),
            section("Predictions", "", &charts),
            self.importance.as_ref().map(PermutationImportance::section).unwrap_or_default(),
            section("Furthest off", "", &table),
            training(&self.history),
        ];
        Ok(self.subject.page(self.evaluation.samples, "", &sections))
    }
}

impl ShownError {
    /// Returns its index, truth, prediction and error as texts.
    fn cells(&self) -> [String; 4] {
        let Self { index, truth, predicted } = self;
        let error = predicted - truth;
        let number = |value| resolved(value, error.abs()).unwrap_or_else(|| significant(value));
        [index.to_string(), number(*truth), number(*predicted), significant(error)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(pairs: &[(f64, f64)]) -> RegressionReport {
        let subject = Subject::new("price", None, "tract", "test rows of <houses>".into());
        let (truths, predictions): (Vec<f64>, Vec<f64>) = pairs.iter().copied().unzip();
        RegressionReport::new(subject, &truths, &predictions)
    }

    #[test]
    fn the_worst_predictions_come_first() {
        let report = report(&[(1.0, 1.5), (2.0, 9.0), (3.0, 3.0)]);
        assert_eq!(report.worst[0], ShownError { index: 1, truth: 2.0, predicted: 9.0 });
        assert_eq!(report.worst.len(), 3);
        let page = report.html().unwrap();
        assert_eq!(page.matches("<circle").count(), 3);
        assert!(page.contains("test rows of &lt;houses&gt;") && !page.contains("<script"));
        let json: serde_json::Value = serde_json::from_str(&report.json().unwrap()).unwrap();
        assert_eq!((json["samples"].as_u64(), json["worst"][0]["index"].as_u64()), (Some(3), Some(1)));
        assert!(report.markdown().contains("| mean absolute error | 2.500 |"));
    }

    #[test]
    fn nothing_and_all_the_same_can_be_drawn() {
        assert!(!report(&[]).html().unwrap().contains("NaN"));
        assert!(!report(&[(2.0, 2.0), (2.0, 2.0)]).html().unwrap().contains("NaN"));
    }
}
