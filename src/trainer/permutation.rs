//! Permutation importance: which columns of a table does a model need? The values of one column at a time are shuffled among
//! the rows, and what that costs is its importance (Breiman 2001, "Random Forests"; Fisher, Rudin and Dominici 2019, "All Models
//! are Wrong, but Many are Useful").

use std::path::Path;

use rand::seq::SliceRandom;
use rayon::prelude::*;
use serde::Serialize;

use super::dataset::{Dataset, SampleKind, Targets};
use super::evaluate::{each_row_of, number_of};
use super::random::keyed_rng;
use super::reference::declared;
use crate::engine::Plan;
use crate::error::{Error, Result};
use crate::report::{Anchor, Axis, Chart, Color, Scale, Stroke, percent, section, significant};
use crate::repository::VersionFiles;
use crate::signature::{Column, OutputTransform, places};
use crate::stats::argmax;

/// Shuffles of each column, unless another number is asked for.
pub const IMPORTANCE_REPEATS: usize = 5;

/// Rows that are shuffled, at most.
const MOST_ROWS: usize = 5000;

/// Rows that the model is run on in all, at most, unless that leaves fewer than [`LEAST_ROWS`] to be shuffled.
const MOST_RUNS: usize = 2_000_000;

/// Rows that are shuffled if there are so many, whatever that takes.
const LEAST_ROWS: usize = 200;

/// The seed of the rows and of the shuffles, always the same so that versions are comparable.
const SEED: u64 = 0;

/// Columns that a page draws.
const DRAWN: usize = 20;

/// The importance of each column to a model.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PermutationImportance {
    /// The figure that is compared.
    pub figure: Compared,
    /// The figure on these rows as they are.
    pub baseline: f64,
    /// The number of rows.
    pub samples: usize,
    /// The number of shuffles of each column.
    pub repeats: usize,
    /// The columns, the most important first.
    pub columns: Vec<ColumnImportance>,
}

/// A figure that tells what a shuffle costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Compared {
    /// Of classes: importance is how far it falls.
    Accuracy,
    /// Of numbers: importance is how far it rises.
    RootMeanSquaredError,
}

/// The importance of a column.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ColumnImportance {
    /// Its name.
    pub column: String,
    /// By how much the figure is worse when the column is shuffled: the mean of all shuffles. Below 0 chance made it better.
    pub mean: f64,
    /// The standard deviation of the shuffles.
    pub deviation: f64,
}

/// Returns the importance of each column of a table to a published version.
///
/// # Errors
/// [`Error::Config`] for samples that are no rows of these columns, or no repeats; otherwise as for an evaluation.
pub fn permutation_importance(
    folder: &Path,
    max_model_bytes: u64,
    (data, columns): (&Dataset, &[Column]),
    repeats: usize,
) -> Result<PermutationImportance> {
    let refuse = |problem: &str| Error::Config { setting: "importance".into(), problem: problem.into() };
    if data.kind != SampleKind::Rows || columns.is_empty() || data.is_empty() {
        return Err(refuse("is that of the columns of a table, which the data are not"));
    }
    if repeats == 0 {
        return Err(refuse("must be at least 1 shuffle of each column"));
    }
    let files = VersionFiles::read(folder, max_model_bytes)?;
    let output = match declared(folder, files.manifest.as_ref())?.output {
        OutputTransform::Classification { probabilities, .. } => probabilities,
        OutputTransform::Regression { value } => value,
        _ => return Err(refuse("is told of models of classes and of numbers alone")),
    };
    let plan = Plan::load(&files.onnx)?;
    let rows = data.len().min(MOST_ROWS).min((MOST_RUNS / (columns.len() * repeats)).max(LEAST_ROWS));
    let data = &data.select(&data.sample(rows, SEED));
    let table = Table { plan: &plan, output: &output, data, elements: data.inputs(0..data.len())? };
    let (figure, baseline) = (table.compared(), table.judge(&table.elements)?);
    let places: Vec<_> = places(columns).collect();
    let importance = |(index, column): (usize, &Column)| {
        let mut losses = Vec::with_capacity(repeats);
        for repeat in 0..repeats {
            let shuffled = table.shuffled(places[index].clone(), (index as u64, repeat as u64));
            let judged = table.judge(&shuffled)?;
            losses.push(if figure == Compared::Accuracy { baseline - judged } else { judged - baseline });
        }
        let mean = losses.iter().sum::<f64>() / repeats as f64;
        let variance = losses.iter().map(|loss| (loss - mean).powi(2)).sum::<f64>() / repeats as f64;
        Ok(ColumnImportance { column: column.name.clone(), mean, deviation: variance.sqrt() })
    };
    let mut columns: Vec<ColumnImportance> = columns.par_iter().enumerate().map(importance).collect::<Result<_>>()?;
    columns.sort_by(|a, b| b.mean.total_cmp(&a.mean));
    Ok(PermutationImportance { figure, baseline, samples: data.len(), repeats, columns })
}

/// The rows that are shuffled, and the model that is asked about them.
struct Table<'a> {
    plan: &'a Plan,
    output: &'a str,
    data: &'a Dataset,
    elements: Vec<f32>,
}

impl Table<'_> {
    fn compared(&self) -> Compared {
        match self.data.targets() {
            Targets::Classes(_) => Compared::Accuracy,
            Targets::Values(_) => Compared::RootMeanSquaredError,
        }
    }

    /// Returns the elements of all rows, in which those at one place are shuffled among the rows.
    fn shuffled(&self, place: std::ops::Range<usize>, (column, repeat): (u64, u64)) -> Vec<f32> {
        let width = self.data.image_len();
        let mut order: Vec<usize> = (0..self.data.len()).collect();
        order.shuffle(&mut keyed_rng(SEED, "importance", column, repeat));
        let mut elements = self.elements.clone();
        for (row, other) in elements.chunks_exact_mut(width).zip(order) {
            row[place.clone()].copy_from_slice(&self.elements[other * width..][place.clone()]);
        }
        elements
    }

    /// Returns the figure of the model's answers to rows of these elements.
    fn judge(&self, elements: &[f32]) -> Result<f64> {
        let mut sum = 0.0;
        let targets = self.data.targets();
        each_row_of(self.plan, self.output, (elements, self.data.image_len()), |index, output, place| {
            sum += match targets {
                Targets::Classes(labels) => {
                    let row = output.float_rows()?.nth(place).unwrap_or_default();
                    f64::from(u8::from(argmax(row) == labels[index] as usize))
                }
                Targets::Values(values) => (number_of(output, place, self.output)? - values[index]).powi(2),
            };
            Ok(())
        })?;
        let mean = sum / self.data.len() as f64;
        Ok(if self.compared() == Compared::Accuracy { mean } else { mean.sqrt() })
    }
}

impl Compared {
    /// Returns what importance is, in words.
    pub fn words(self) -> &'static str {
        match self {
            Self::Accuracy => "fall of the accuracy",
            Self::RootMeanSquaredError => "rise of the root mean squared error",
        }
    }

    /// Returns an amount of it as a text.
    pub fn amount(self, amount: f64) -> String {
        match self {
            Self::Accuracy => percent(amount),
            Self::RootMeanSquaredError => significant(amount),
        }
    }
}

impl PermutationImportance {
    /// Returns what was done, in a sentence.
    pub fn lead(&self) -> String {
        format!(
            "The {} when the values of one column are shuffled among {} rows: the mean of {} shuffles and their standard \
             deviation. Columns that say the same share their importance, so that each of them may seem needless.",
            self.figure.words(),
            self.samples,
            self.repeats
        )
    }

    /// Returns it as a section of a page: a bar for each of the most important columns.
    pub(super) fn section(&self) -> String {
        let rest = self.columns.len().saturating_sub(DRAWN);
        let more = if rest == 0 { String::new() } else { format!("<p>{rest} others are in report.json.</p>") };
        section("Importance of the columns", &self.lead(), &format!("{}{more}", self.chart()))
    }

    fn chart(&self) -> String {
        let shown = &self.columns[..self.columns.len().min(DRAWN)];
        let ends = shown.iter().flat_map(|column| [column.mean - column.deviation, column.mean + column.deviation]);
        let (low, high) = ends.fold((0.0f64, 0.0f64), |(low, high), end| (low.min(end), high.max(end)));
        let high = if high > low { high } else { 1.0 };
        let rows = shown.len() as f64;
        let x = match self.figure {
            Compared::Accuracy => Axis::percent(self.figure.words(), low, high),
            Compared::RootMeanSquaredError => Axis::linear(self.figure.words(), low, high),
        };
        let y = Axis::new("", Scale::Linear { low: 0.0, high: rows }, Vec::new());
        let mut chart = Chart::sized(720.0, 60.0 + 34.0 * rows, x, y);
        for (place, ColumnImportance { column, mean, deviation }) in shown.iter().enumerate() {
            let base = rows - place as f64 - 1.0;
            let (from, to) = (mean.min(0.0), mean.max(0.0));
            let amount = format!("{} ± {}", self.figure.amount(*mean), self.figure.amount(*deviation));
            let color = if *mean > 0.0 { Color::Blue } else { Color::Orange };
            let label = format!("{}  {amount}", crate::ids::printable(column, 60));
            chart.bar(color, [[from, to], [base + 0.08, base + 0.46]], 0.0, &format!("{column}: {amount}"));
            chart.line(
                Color::Ink,
                Stroke::Solid,
                &amount,
                [mean - deviation, mean + deviation].map(|end| [end, base + 0.27]),
            );
            let corner = [chart.x(0.0) + 4.0, chart.y(base + 0.58)];
            chart.text(corner, Anchor::Start, Color::Ink, &label);
        }
        chart.finish("importance of the columns, the most important first").embedded()
    }

    /// Returns it as a table in Markdown.
    pub(super) fn markdown(&self) -> String {
        let row = |column: &ColumnImportance| {
            let name = column.column.replace('|', "\\|").replace(['\n', '\r'], " ");
            format!("| {name} | {} | {} |\n", self.figure.amount(column.mean), self.figure.amount(column.deviation))
        };
        let rows: String = self.columns.iter().map(row).collect();
        format!("{}\n\n| column | {} | ± |\n| --- | ---: | ---: |\n{rows}", self.lead(), self.figure.words())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn importance(columns: Vec<ColumnImportance>, figure: Compared) -> PermutationImportance {
        PermutationImportance { figure, baseline: 0.9, samples: 100, repeats: 5, columns }
    }

    #[test]
    fn any_importance_can_be_drawn() {
        let column = |column: &str, mean, deviation| ColumnImportance { column: column.into(), mean, deviation };
        let all = vec![column("a < b", 0.25, 0.01), column("c|d", 0.0, 0.0), column("noise", -0.01, 0.02)];
        let page = importance(all.clone(), Compared::Accuracy).section();
        assert_eq!(page.matches("<rect").count(), 3);
        assert!(page.contains("a &lt; b  25.00 % ± 1.00 %") && page.contains("share their importance"), "{page}");
        let text = importance(all, Compared::RootMeanSquaredError).markdown();
        assert!(text.contains("| c\\|d | 0 | 0 |"), "{text}");
        let many = (0..30).map(|index| column(&index.to_string(), 0.0, 0.0)).collect();
        let page = importance(many, Compared::Accuracy).section();
        assert!(page.contains("10 others") && !page.contains("NaN"), "{page}");
    }
}
