//! `weir train auto`: tries the presets that fit the data, searches around the best one for a time, and publishes it.

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde::Serialize;

use super::progress::{TrainingProgress, accuracy};
use super::train::{Quietly, TrainArgs, conclude};
use crate::bench::parse_span;
use crate::error::{Error, Result};
use crate::trainer::{
    Objective, Outcome, Override, RunDir, Sampler, TaskReport, TrainOutcome, TrainRequest, Trial, TunePlan, TuneWatch,
    rehearse, resume_tune, train, tune,
};

/// The presets that are tried where they fit, and what is searched around the best of them.
const CONTENDERS: [(&str, &[&str]); 6] = [
    (
        "dense",
        &[
            "learning_rate=log(3e-4,1e-2)",
            "weight_decay=log(1e-2,0.99)",
            "batch_size=[16,32,64,128]",
            "ensemble=[1,2,4,8]",
        ],
    ),
    ("text", &["learning_rate=log(1e-3,2e-2)", "batch_size=[16,32,64]", "epochs=int(3,12)"]),
    ("gru", &["learning_rate=log(1e-3,1e-2)", "batch_size=[16,32,64]"]),
    ("lstm", &["learning_rate=log(1e-3,1e-2)", "batch_size=[16,32,64]"]),
    ("conv1d", &["learning_rate=log(1e-3,1e-2)", "batch_size=[16,32,64]"]),
    ("cnn", &["learning_rate=log(1e-3,1e-2)", "batch_size=[32,64,128]", "epochs=int(5,20)"]),
];

/// The time that a search takes if nobody says it.
const DEFAULT_TIME: Duration = Duration::from_secs(300);

/// The last run trains as long as the longest trial, and is checked and published.
const RESERVE: f64 = 1.3;

/// More trials than any time leaves room for.
const MOST_TRIALS: usize = 10_000;

/// A preset that fits the data.
struct Contender {
    name: &'static str,
    search: &'static [&'static str],
    request: TrainRequest,
    /// The directory of its search.
    run: RunDir,
}

/// A trial, as the leaderboard shows it.
#[derive(Debug, Serialize)]
struct Place {
    preset: &'static str,
    #[serde(flatten)]
    trial: Trial,
}

/// The result as JSON.
#[derive(Debug, Serialize)]
struct Shown<'a> {
    leaderboard: &'a [Place],
    best: &'a Place,
    version: Option<String>,
    /// Accuracy or R² on the test data.
    test: Option<f64>,
}

pub(super) fn run(args: &TrainArgs) -> Result<ExitCode> {
    let refuse = |setting: &str, problem: &str| Err(Error::Config { setting: setting.into(), problem: problem.into() });
    if args.print_config {
        return refuse("--print-config", "shows the settings of one preset, and auto chooses among several; name one");
    }
    args.place.start_threads()?;
    let time = args.recipe.time.as_deref().map(parse_span).transpose();
    let time = time.map_err(|problem| Error::Config { setting: "--time".into(), problem })?.unwrap_or(DEFAULT_TIME);
    let progress = TrainingProgress::new(1, args.quiet);
    let contenders = contenders(args, &progress)?;
    if args.dry_run {
        return Ok(ExitCode::SUCCESS);
    }
    let mut watch = Show {
        progress,
        stop: super::stop_on_signal()?,
        end: Instant::now() + time,
        longest: 0.0,
        preset: "",
        places: Vec::new(),
    };
    search(&contenders, &mut watch)?;
    let mut places = std::mem::take(&mut watch.places);
    let rank =
        |place: &Place| (place.trial.outcome != Outcome::Finished, place.trial.objective.unwrap_or(f64::INFINITY));
    places.sort_by(|a, b| rank(a).0.cmp(&rank(b).0).then(rank(a).1.total_cmp(&rank(b).1)));
    let best = places.first().filter(|place| place.trial.outcome == Outcome::Finished);
    let Some(best) = best else {
        watch.progress.say("no trial was trained to its end, so nothing is published; --time gives them longer");
        return Err(Error::Interrupted { run: args.place.runs.clone(), command: "weir train auto" });
    };
    let table = leaderboard(&places);
    if !args.json {
        super::print(&table)?;
    }
    let outcome = publish(args, best, &watch.progress)?;
    let text = serde_json::to_string(&Shown {
        leaderboard: &places,
        best,
        version: outcome.published.as_ref().map(|(version, _)| version.to_string()),
        test: figure(&outcome.report),
    });
    let text = text.map_err(|error| Error::internal("the leaderboard could not be written", error))?;
    for (name, content) in [("leaderboard.txt", &table), ("leaderboard.json", &text)] {
        let path = outcome.run.join(name);
        std::fs::write(&path, content).map_err(Error::io("write", path))?;
    }
    conclude(&outcome, &watch.progress, false)?;
    if args.json {
        super::print(&format!("{text}\n"))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Returns the presets that fit the data, each with a run directory.
///
/// # Errors
/// Why the first one does not fit, if none does.
fn contenders(args: &TrainArgs, progress: &TrainingProgress) -> Result<Vec<Contender>> {
    let (mut fitting, mut refusal) = (Vec::new(), None);
    for (name, search) in CONTENDERS {
        let mut notes = Vec::new();
        let fits = request(args, name, &[]).and_then(|request| {
            rehearse(&request, &mut |_, data| notes.clone_from(&data.source.notes))?;
            Ok(request)
        });
        match fits {
            Ok(request) => {
                if fitting.is_empty() {
                    notes.iter().for_each(|note| progress.say(note));
                }
                fitting.push((name, search, request));
            }
            Err(error) => refusal = Some(refusal.unwrap_or(error)),
        }
    }
    let names: Vec<&str> = fitting.iter().map(|(name, ..)| *name).collect();
    if let (true, Some(refusal)) = (fitting.is_empty(), refusal) {
        return Err(refusal);
    }
    progress.say(&format!("presets that fit the data: {}", names.join(", ")));
    let contender = |(name, search, request)| {
        let run = RunDir::create(&args.place.runs, "auto", None)?;
        Ok(Contender { name, search, request, run })
    };
    match args.dry_run {
        true => Ok(Vec::new()),
        false => fitting.into_iter().map(contender).collect(),
    }
}

/// Returns the request of a preset with the arguments and these settings.
fn request(args: &TrainArgs, preset: &str, settings: &[Override]) -> Result<TrainRequest> {
    let set = |key: &str, value: toml::Value| Override { origin: "auto".into(), key: key.into(), value };
    let mut further = vec![set("time_seconds", toml::Value::Float(0.0))];
    if args.model.is_none() {
        further.push(set("model", "auto".into()));
    }
    further.extend_from_slice(settings);
    args.request_of(Some(preset), further)
}

/// Trains every preset as it is, and then searches around the best one until the time is up.
fn search(contenders: &[Contender], watch: &mut Show) -> Result<()> {
    for Contender { name, search, request, run } in contenders {
        watch.preset = name;
        let plan = TunePlan {
            trials: 1,
            search: search.iter().map(|dimension| (*dimension).to_owned()).collect(),
            sampler: Sampler::Tpe,
            objective: Objective::Loss,
            halving: 0,
            first_rung: 1,
            defaults_first: true,
        };
        match tune(request, &plan, run, watch) {
            Ok(_) | Err(Error::Interrupted { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    let finished = watch.places.iter().filter(|place| place.trial.outcome == Outcome::Finished);
    let objective = |place: &&Place| place.trial.objective.unwrap_or(f64::INFINITY);
    let Some(best) = finished.min_by(|a, b| objective(a).total_cmp(&objective(b))).map(|place| place.preset) else {
        return Ok(());
    };
    let Some(contender) = contenders.iter().find(|contender| contender.name == best) else { return Ok(()) };
    watch.preset = contender.name;
    if !watch.goes_on() {
        return Ok(());
    }
    match resume_tune(contender.run.path(), Some(MOST_TRIALS), watch) {
        Ok(_) | Err(Error::Interrupted { .. }) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Trains with the settings of the best trial once more, now with a release at its end.
fn publish(args: &TrainArgs, best: &Place, progress: &TrainingProgress) -> Result<TrainOutcome> {
    let given = |(key, value): (&String, &toml::Value)| Override {
        origin: "auto".into(),
        key: key.clone(),
        value: value.clone(),
    };
    let settings: Vec<Override> = best.trial.settings.iter().map(given).collect();
    let request = request(args, best.preset, &settings)?;
    progress.say(&format!("training the best settings again, {} of trial {}", best.preset, best.trial.trial));
    let run = RunDir::create(&args.place.runs, "auto", args.recipe.name.as_deref())?;
    let mut watch = Quietly { model: request.model()? };
    train(&request, &run, false, &mut |_, _| {}, &mut watch)
}

fn figure(report: &TaskReport) -> Option<f64> {
    match report {
        TaskReport::Classification(report) => Some(report.full.evaluation.summary.accuracy),
        TaskReport::Regression(report) => report.evaluation.r_squared,
        TaskReport::Reconstruction(_) => None,
    }
}

/// Returns the trials as a table, the best first.
fn leaderboard(places: &[Place]) -> String {
    let mut text =
        format!("{:>4} {:<10} {:>8} {:>9} {:>8}  settings\n", "rank", "preset", "loss", "accuracy", "seconds");
    for (rank, Place { preset, trial }) in places.iter().enumerate() {
        let settings: Vec<String> = trial.settings.iter().map(|(key, value)| format!("{key}={value}")).collect();
        let share = trial.validation.and_then(|score| score.accuracy);
        text.push_str(&format!(
            "{:>4} {preset:<10} {:>8} {:>9} {:>8.1}  {}\n",
            rank + 1,
            trial.validation.map_or_else(|| "–".into(), |score| format!("{:.4}", score.loss)),
            share.map_or_else(|| "–".into(), |share| format!("{:.2} %", share * 100.0)),
            trial.seconds,
            settings.join(" ")
        ));
    }
    text
}

struct Show {
    progress: TrainingProgress,
    stop: Arc<AtomicBool>,
    end: Instant,
    /// Seconds of the longest trial that was trained to its end.
    longest: f64,
    /// The preset that is tried.
    preset: &'static str,
    places: Vec<Place>,
}

impl TuneWatch for Show {
    fn goes_on(&mut self) -> bool {
        let left = self.end.saturating_duration_since(Instant::now()).as_secs_f64();
        !self.stop.load(Ordering::Relaxed) && left > self.longest * RESERVE
    }

    fn begins(&mut self, trial: usize, _: &toml::Table) {
        self.progress.say(&format!("{} trial {trial}", self.preset));
    }

    fn ended(&mut self, trial: &Trial, _: bool) {
        self.longest = self.longest.max(trial.seconds);
        let figures = trial.validation.map_or_else(
            || trial.problem.clone().unwrap_or_default(),
            |score| format!("validation loss {:.4}{}", score.loss, accuracy(score.accuracy)),
        );
        self.progress.say(&format!("  {:.1} s: {figures}", trial.seconds));
        self.places.push(Place { preset: self.preset, trial: trial.clone() });
    }
}
