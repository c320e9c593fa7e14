//! The files of a search in its run directory: `best.toml`, `trials.csv`, `trials.json` and `trials.svg`.

use super::{Objective, Outcome, Search, Trial, Tuned, best, given, request};
use crate::error::{Error, Result};
use crate::report::{Axis, Chart, Color, Figure, Stroke, span};
use crate::trainer::recipe::Override;

impl Search<'_> {
    /// Writes all of it anew.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub(super) fn report(&self, trials: &[Trial]) -> Result<Tuned> {
        let write = |name: &str, text: String| {
            let path = self.run.join(name);
            std::fs::write(&path, text).map_err(Error::io("write", path))
        };
        let tuned = Tuned { trials: trials.to_vec(), best: best(trials) };
        if let Some(best) = tuned.best {
            let changes: Vec<Override> =
                trials[best - 1].settings.iter().map(|(key, value)| given(key, value)).collect();
            write("best.toml", request(&self.base, &changes)?.to_toml()?)?;
        }
        let json = serde_json::to_string_pretty(&tuned)
            .map_err(|error| Error::internal("the trials could not be written", error))?;
        write("trials.json", format!("{json}\n"))?;
        write("trials.csv", self.csv(trials))?;
        write("trials.svg", self.svg(trials))?;
        Ok(tuned)
    }

    fn csv(&self, trials: &[Trial]) -> String {
        let keys: Vec<&str> = self.dimensions.iter().map(|dimension| dimension.key.as_str()).collect();
        let mut csv =
            format!("trial,outcome,objective,validation_loss,validation_accuracy,epochs,seconds,{}\n", keys.join(","));
        for trial in trials {
            let outcome = match trial.outcome {
                Outcome::Finished => "finished",
                Outcome::Stopped => "stopped",
                Outcome::Failed => "failed",
            };
            let objective = trial.objective.map_or_else(String::new, |objective| objective.to_string());
            let cell = |number: Option<f64>| number.map_or_else(String::new, |number| number.to_string());
            let [loss, accuracy] =
                [trial.validation.map(|score| score.loss), trial.validation.and_then(|score| score.accuracy)].map(cell);
            let values: Vec<String> = keys.iter().map(|key| trial.settings[*key].to_string()).collect();
            csv.push_str(&format!(
                "{},{outcome},{objective},{loss},{accuracy},{},{},{}\n",
                trial.trial,
                trial.epochs,
                trial.seconds,
                values.join(",")
            ));
        }
        csv
    }

    /// Draws every trial that gave a figure, and the best so far.
    fn svg(&self, trials: &[Trial]) -> String {
        let points = |outcome: Outcome| {
            let of = trials.iter().filter(move |trial| trial.outcome == outcome);
            of.filter_map(|trial| Some([trial.trial as f64, trial.objective?])).collect::<Vec<_>>()
        };
        let (stopped, finished) = (points(Outcome::Stopped), points(Outcome::Finished));
        let mut lowest = f64::INFINITY;
        let best: Vec<[f64; 2]> = finished
            .iter()
            .map(|[trial, objective]| {
                lowest = lowest.min(*objective);
                [*trial, lowest]
            })
            .collect();
        let name = match self.header.objective {
            Objective::Loss => "validation loss",
            Objective::Accuracy => "validation error",
        };
        let (low, high) = span(stopped.iter().chain(&finished).map(|point| point[1]), 0.05);
        let last = trials.len().max(2) as f64;
        let (x, y) = (Axis::counted("trial", 1.0, last), Axis::linear(name, low, high));
        let mut chart = Chart::sized(680.0, 380.0, x, y);
        chart.line(Color::Orange, Stroke::Solid, "best so far", best);
        chart.dots(Color::Soft, 4.0, stopped).dots(Color::Blue, 4.0, finished);
        chart.dot_key(Color::Soft, "stopped early").dot_key(Color::Blue, "trained to the end");
        chart.key(Color::Orange, Stroke::Solid, "best so far");
        let title = format!("{}{} by trial", name[..1].to_uppercase(), &name[1..]);
        Figure::new(&title, "").with("", chart.finish(&title)).svg()
    }
}
