//! `weir lr-find`.

use std::process::ExitCode;

use clap::Args;

use super::progress::TrainingProgress;
use super::recipe::{PlaceArgs, RecipeArgs};
use crate::error::{Error, Result};
use crate::trainer::{RunDir, SweepPlan, lr_find};

/// Finds a learning rate by a range test: a short run in which it grows with every step, from --from to --to, until
/// the loss explodes. Reports the rate where the loss falls fastest, and the valley, half way down its longest fall:
/// try the valley first.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  weir lr-find mnist-mlp
  weir lr-find mnist-cnn --optimizer sgd --to 10 --steps 200

The run directory keeps lr_find.csv and lr_find.svg. The schedule is ignored. For a schedule that rises to the
learning rate, such as one_cycle, a few times the valley is worth a try.")]
pub(super) struct LrFindArgs {
    /// The preset; weir train --list shows them
    #[arg(required_unless_present = "config")]
    preset: Option<String>,
    /// Steps, at least 20
    #[arg(long, value_name = "N", default_value_t = 150)]
    steps: usize,
    /// The first learning rate
    #[arg(long, value_name = "RATE", default_value_t = 1e-6)]
    from: f64,
    /// The last learning rate
    #[arg(long, value_name = "RATE", default_value_t = 1.0)]
    to: f64,
    /// Print the suggestions and all points as JSON on standard output
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

pub(super) fn run(args: &LrFindArgs) -> Result<ExitCode> {
    args.place.start_threads()?;
    let request = args.recipe.resolve(args.preset.as_deref(), &args.place, Vec::new())?.in_steps()?;
    let plan = SweepPlan { steps: args.steps, from: args.from, to: args.to };
    plan.validate()?;
    let run = RunDir::create(&args.place.runs, request.preset.name, args.recipe.name.as_deref())?;
    let progress = TrainingProgress::new(1, args.quiet);
    progress.say(&format!("{}: {}", request.network(), request.description()));
    if request.task.backbone.is_some() {
        progress.say("the head is trained in steps, which have a learning rate");
    }
    let tenth = (args.steps / 10).max(1);
    let sweep = lr_find(&request, &plan, &run, &mut |step, point| {
        if step.is_multiple_of(tenth) {
            let (rate, loss) = (point.learning_rate, point.smoothed_loss);
            progress.say(&format!("step {step}/{}  learning rate {rate:.2e}  smoothed loss {loss:.4}", args.steps));
        }
    })?;
    if sweep.exploded {
        progress.say(&format!("the loss exploded after {} steps", sweep.points.len()));
    }
    progress.say(&format!("figure: {}", run.path().join("lr_find.svg").display()));
    if args.json {
        let text =
            serde_json::to_string(&sweep).map_err(|error| Error::internal("the sweep could not be written", error))?;
        super::print(&format!("{text}\n"))?;
    } else {
        let (valley, steepest) = (sweep.valley, sweep.steepest);
        super::print(&format!("valley    {valley:.2e}   --learning-rate {valley:.1e}\nsteepest  {steepest:.2e}\n"))?;
    }
    Ok(ExitCode::SUCCESS)
}
