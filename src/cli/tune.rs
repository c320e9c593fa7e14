//! `weir tune`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use clap::{Args, ValueEnum};

use super::progress::{TrainingProgress, accuracy};
use super::recipe::{PlaceArgs, RecipeArgs};
use crate::error::{Error, Result};
use crate::trainer::{Objective, Outcome, RunDir, Sampler, Trial, TunePlan, TuneWatch, Tuned, resume_tune, tune};

/// Searches for settings: trains a preset many times with others each time, and keeps the best on the validation
/// data. The test data have no part in it.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  weir tune mnist-mlp --trials 20 --search 'learning_rate=log(1e-4,1e-1)' --search 'batch_size=[32,64,128]'
  weir tune mnist-cnn --train-samples 1000 --search 'schedule.kind=[cosine,one_cycle]' --search 'mixup=uniform(0.05,1)'
  weir tune --resume runs/mnist-mlp/4 --trials 40
  weir train --config runs/mnist-mlp/4/best.toml

KEY is any setting that weir train --print-config shows: KEY=log(LOW,HIGH) on a logarithmic scale,
uniform(LOW,HIGH), int(LOW,HIGH), or a choice [A,B,…]. The run directory keeps a journal of the trials,
best.toml, trials.csv, trials.json and trials.svg. The same seed gives the same search. --resume continues a
search that was interrupted or killed, and repeats no finished trial.")]
pub(super) struct TuneArgs {
    /// The preset; weir train --list shows them
    #[arg(required_unless_present_any = ["config", "resume"])]
    preset: Option<String>,
    /// A setting and its range or choices; may be repeated
    #[arg(long, value_name = "KEY=VALUES", required_unless_present = "resume")]
    search: Vec<String>,
    /// Total number of trials [default: 20]
    #[arg(long, value_name = "N")]
    trials: Option<usize>,
    /// Sampler of the next trial: tpe models the better trials, random draws at random
    #[arg(long, value_enum, default_value_t = SamplerName::Tpe)]
    sampler: SamplerName,
    /// Figure of the validation data by which trials are compared
    #[arg(long, value_enum, default_value_t = ObjectiveName::Loss)]
    objective: ObjectiveName,
    /// Successive halving: at the first rung, and at each rung of FACTOR times the epochs, one trial in FACTOR
    /// continues; 0 lets all continue
    #[arg(long, value_name = "FACTOR", default_value_t = 3)]
    halving: usize,
    /// Epoch of the first rung
    #[arg(long, value_name = "EPOCH", default_value_t = 1)]
    first_rung: usize,
    /// Continue a search with its original arguments; --trials may ask for more
    #[arg(long, value_name = "RUN", conflicts_with_all = ["preset", "search", "RecipeArgs", "sampler", "objective", "halving", "first_rung"])]
    resume: Option<PathBuf>,
    /// Print all trials as JSON on standard output
    #[arg(long)]
    json: bool,
    /// No progress, only the result
    #[arg(long, short)]
    quiet: bool,
    #[command(flatten)]
    place: PlaceArgs,
    #[command(flatten)]
    recipe: RecipeArgs,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum SamplerName {
    Tpe,
    Random,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum ObjectiveName {
    Loss,
    Accuracy,
}

/// Number of trials in the table.
const SHOWN: usize = 10;

pub(super) fn run(args: &TuneArgs) -> Result<ExitCode> {
    args.place.start_threads()?;
    let mut watch =
        Show { progress: TrainingProgress::new(1, args.quiet), stop: super::stop_on_signal()?, trials: String::new() };
    let (folder, tuned) = match &args.resume {
        Some(folder) => {
            watch.trials = args.trials.map_or_else(String::new, |trials| format!("/{trials}"));
            (folder.clone(), resume_tune(folder, args.trials, &mut watch)?)
        }
        None => {
            let request = args.recipe.resolve(args.preset.as_deref(), &args.place, Vec::new())?.in_steps()?;
            let plan = TunePlan {
                trials: args.trials.unwrap_or(20),
                search: args.search.clone(),
                sampler: match args.sampler {
                    SamplerName::Tpe => Sampler::Tpe,
                    SamplerName::Random => Sampler::Random,
                },
                objective: match args.objective {
                    ObjectiveName::Loss => Objective::Loss,
                    ObjectiveName::Accuracy => Objective::Accuracy,
                },
                halving: args.halving,
                first_rung: args.first_rung,
                defaults_first: false,
            };
            plan.validate()?;
            let run = RunDir::create(&args.place.runs, request.preset.name, args.recipe.name.as_deref())?;
            watch.trials = format!("/{}", plan.trials);
            if request.task.backbone.is_some() {
                watch.progress.say("the head is trained in steps, whose settings are searched");
            }
            watch.progress.say(&format!("search {}, seed {}", run.path().display(), request.fit.seed));
            (run.path().to_owned(), tune(&request, &plan, &run, &mut watch)?)
        }
    };
    if args.json {
        let text =
            serde_json::to_string(&tuned).map_err(|error| Error::internal("the trials could not be written", error))?;
        super::print(&format!("{text}\n"))?;
    } else {
        super::print(&table(&tuned))?;
    }
    match tuned.best {
        Some(_) => watch.progress.say(&format!("best settings: {}", folder.join("best.toml").display())),
        None => watch.progress.say("no trial was trained to its end"),
    }
    Ok(ExitCode::SUCCESS)
}

/// Returns a table of the best trials, the best first.
fn table(tuned: &Tuned) -> String {
    let mut order: Vec<&Trial> = tuned.trials.iter().filter(|trial| trial.objective.is_some()).collect();
    let rank = |trial: &Trial| (trial.outcome != Outcome::Finished, trial.objective.unwrap_or(f64::INFINITY));
    order.sort_by(|a, b| rank(a).0.cmp(&rank(b).0).then(rank(a).1.total_cmp(&rank(b).1)));
    let mut text = format!("{:>5} {:>8} {:>9} {:>6}  settings\n", "trial", "loss", "accuracy", "epochs");
    for trial in order.into_iter().take(SHOWN) {
        let Some(validation) = trial.validation else { continue };
        text.push_str(&format!(
            "{:>5} {:>8.4} {:>9} {:>6}  {}\n",
            trial.trial,
            validation.loss,
            validation.accuracy.map_or_else(|| "–".into(), |share| format!("{:.2} %", share * 100.0)),
            trial.epochs,
            words(&trial.settings)
        ));
    }
    text
}

fn words(settings: &toml::Table) -> String {
    settings.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(" ")
}

struct Show {
    progress: TrainingProgress,
    stop: Arc<AtomicBool>,
    /// "/20", if the number of trials is known.
    trials: String,
}

impl TuneWatch for Show {
    fn goes_on(&mut self) -> bool {
        !self.stop.load(Ordering::Relaxed)
    }

    fn begins(&mut self, trial: usize, settings: &toml::Table) {
        self.progress.say(&format!("trial {trial}{}  {}", self.trials, words(settings)));
    }

    fn ended(&mut self, trial: &Trial, best: bool) {
        let how = match trial.outcome {
            Outcome::Finished if best => "finished, the best so far",
            Outcome::Finished => "finished",
            Outcome::Stopped => "stopped early",
            Outcome::Failed => "failed",
        };
        let figures = trial.validation.map_or_else(
            || trial.problem.clone().unwrap_or_default(),
            |v| format!("validation loss {:.4}{}", v.loss, accuracy(v.accuracy)),
        );
        self.progress.say(&format!("  {how} after {} epochs, {:.1} s: {figures}", trial.epochs, trial.seconds));
    }
}
