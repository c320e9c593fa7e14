//! Arguments that `weir train`, `weir lr-find` and `weir tune` share: a preset and changes to it.

use std::path::{Path, PathBuf};
use std::sync::Once;

use clap::Args;
use toml::{Table, Value};

use super::progress::note;
use super::reading::ReadingArgs;
use crate::bench::parse_span;
use crate::error::{Error, Result};
use crate::trainer::{Override, Schedule, TrainRequest, new_settings, preset, read_settings, resolve};

/// Arguments for the data and the run directories.
#[derive(Debug, Args)]
pub(super) struct PlaceArgs {
    /// Labelled samples: a folder of IDX files such as MNIST's, a folder of images by class, or a CSV, TSV, Parquet or
    /// JSON Lines file [default: data/mnist]
    #[arg(long, env = "WEIR_DATA", value_name = "PATH")]
    data: Option<PathBuf>,
    #[command(flatten)]
    reading: ReadingArgs,
    /// Folder for run directories; each run gets a new one
    #[arg(long, env = "WEIR_RUNS", value_name = "DIR", default_value = "runs")]
    pub(super) runs: PathBuf,
    /// Threads [default: the cores this process may use]
    #[arg(long, env = "WEIR_THREADS", value_name = "N")]
    threads: Option<usize>,
}

/// Arguments that change a preset. A flag overrides --set, --set overrides --config, --config overrides the preset.
#[derive(Debug, Args)]
#[command(next_help_heading = "Recipe")]
pub(super) struct RecipeArgs {
    /// Name of the run directory [default: the next number]
    #[arg(long)]
    pub(super) name: Option<String>,
    /// Settings from a TOML file, as --print-config prints them and args.toml in a run directory holds them
    #[arg(long, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
    /// Change any one setting, as optimizer.beta_2=0.99 or augment.elastic_alpha=34; may be repeated
    #[arg(long = "set", value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Passes over the training data
    #[arg(long, value_name = "N")]
    epochs: Option<usize>,
    /// Samples per step
    #[arg(long, value_name = "N")]
    batch_size: Option<usize>,
    /// Seed of everything random: weights, split, order, dropout [default: 0]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Training samples to hold out for validation, stratified by class
    #[arg(long, value_name = "N")]
    validation: Option<usize>,
    /// Train on this many of the remaining samples, stratified by class; 0 takes all
    #[arg(long, value_name = "N")]
    train_samples: Option<usize>,
    /// Optimizer: adam, adamw (with decoupled weight decay) or sgd (with Nesterov momentum; its learning rate is about
    /// thirty times adam's)
    #[arg(long, value_name = "KIND")]
    optimizer: Option<String>,
    /// Learning rate; weir lr-find suggests one
    #[arg(long, value_name = "RATE")]
    learning_rate: Option<f64>,
    /// Weight decay, for adamw and sgd
    #[arg(long, value_name = "PART")]
    weight_decay: Option<f64>,
    /// Learning-rate schedule: constant, step, exponential, cosine, one_cycle or plateau
    #[arg(long, value_name = "KIND", value_parser = Schedule::KINDS)]
    schedule: Option<String>,
    /// Clip the norm of the gradient to this; 1 suits recurrent networks
    #[arg(long, value_name = "NORM")]
    clip: Option<f64>,
    /// Evaluate and export an exponential moving average of the weights with this decay per step, as 0.999
    #[arg(long, value_name = "DECAY")]
    ema: Option<f64>,
    /// Stop after this many epochs without a lower validation loss, and keep the weights of the best epoch
    #[arg(long, value_name = "EPOCHS")]
    patience: Option<usize>,
    /// Stop after this time, as 90s or 10m, and publish the model as it is then. With this setting, the same seed may
    /// give another model
    #[arg(long, value_name = "TIME")]
    pub(super) time: Option<String>,
    /// Save the state every STEPS steps, in addition to the end of every epoch
    #[arg(long, value_name = "STEPS")]
    save_every: Option<usize>,
    /// Label smoothing: spread this share of each target over all classes, as 0.1
    #[arg(long, value_name = "PART")]
    label_smoothing: Option<f64>,
    /// Mixup: mix every sample with another, in shares drawn from Beta(ALPHA, ALPHA), as 0.2
    #[arg(long, value_name = "ALPHA")]
    mixup: Option<f64>,
    /// CutMix: replace a rectangle of every image by that of another, of a share drawn from Beta(ALPHA, ALPHA), as 1
    #[arg(long, value_name = "ALPHA")]
    cutmix: Option<f64>,
    /// Train N networks from different random numbers and average them in one graph: steadier, and N times the work
    #[arg(long, value_name = "N")]
    ensemble: Option<usize>,
    /// Class weights in the loss: none, balanced (every class has the same total), or a number for each class
    #[arg(long, value_name = "WEIGHTS")]
    class_weights: Option<String>,
    /// Randomly rotate training images by up to DEGREES, shift them by up to PIXELS and scale them by up to PART;
    /// "none" turns augmentation off. --set reaches further settings: augment.shear_degrees, elastic_alpha, and of photos
    /// augment.flip_probability, crop_area (random resized crops), jitter (colours), erase_probability
    #[arg(long, value_name = "DEGREES,PIXELS,PART", value_parser = augment)]
    augment: Option<Moves>,
}

/// The value of --augment: three numbers, or none.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Moves(Option<[f64; 3]>);

fn augment(text: &str) -> std::result::Result<Moves, String> {
    if text == "none" {
        return Ok(Moves(None));
    }
    let numbers: Vec<f64> = text.split(',').map_while(|number| number.trim().parse().ok()).collect();
    match (numbers.as_slice(), text.split(',').count()) {
        (&[degrees, pixels, part], 3) => Ok(Moves(Some([degrees, pixels, part]))),
        _ => Err("must be three numbers, as 10,2,0.1, or none".into()),
    }
}

impl PlaceArgs {
    /// Starts the threads that training runs on.
    ///
    /// # Errors
    /// [`Error::Config`] when that many cannot be started.
    pub(super) fn start_threads(&self) -> Result<()> {
        let Some(threads) = self.threads else { return Ok(()) };
        rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build_global()
            .map_err(|error| Error::Config { setting: "threads".into(), problem: error.to_string() })
    }
}

impl RecipeArgs {
    /// Returns the request that the arguments amount to; `further` are settings of the command itself.
    ///
    /// # Errors
    /// [`Error::Config`] naming the setting that is wrong.
    pub(super) fn resolve(
        &self,
        name: Option<&str>,
        place: &PlaceArgs,
        further: Vec<Override>,
    ) -> Result<TrainRequest> {
        let file =
            self.config.as_ref().map(|path| read_settings(path).map(|table| (path.as_path(), table))).transpose()?;
        let of_file = file.as_ref().and_then(|(_, table)| table.get("preset")?.as_str());
        let preset = preset(name.or(of_file).unwrap_or_default())?;
        let mut overrides =
            self.set.iter().map(|text| Override::parse("--set", text)).collect::<Result<Vec<Override>>>()?;
        overrides.extend(self.flags()?);
        overrides.extend(place.data.as_ref().map(|data| path_setting("data", data)).transpose()?);
        overrides.extend(place.reading.settings());
        overrides.extend(further);
        let request = resolve(preset, file.clone(), &overrides)?;
        request.validate()?;
        if let Some((path, table)) = &file {
            tell_new(path, &new_settings(&request, table, &overrides)?);
        }
        Ok(request)
    }

    /// Returns the settings that were given by flags of their own.
    fn flags(&self) -> Result<Vec<Override>> {
        let mut flags = Vec::new();
        let mut add = |flag: &str, key: &str, value: Option<Value>| {
            flags.extend(value.map(|value| Override { origin: flag.into(), key: key.into(), value }));
        };
        let whole = |number: Option<usize>| number.and_then(|number| i64::try_from(number).ok()).map(Value::Integer);
        add("--epochs", "epochs", whole(self.epochs));
        add("--batch-size", "batch_size", whole(self.batch_size));
        add("--validation", "validation", whole(self.validation));
        add("--train-samples", "train_samples", whole(self.train_samples));
        add("--ensemble", "ensemble", whole(self.ensemble));
        add("--patience", "patience", whole(self.patience));
        add("--save-every", "save_every", whole(self.save_every));
        if let Some(seed) = self.seed {
            let problem = || format!("must be at most {}, got {seed}", i64::MAX);
            let seed = i64::try_from(seed).map_err(|_| Error::Config { setting: "seed".into(), problem: problem() })?;
            add("--seed", "seed", Some(Value::Integer(seed)));
        }
        add("--optimizer", "optimizer.kind", self.optimizer.clone().map(Value::String));
        add("--schedule", "schedule.kind", self.schedule.clone().map(Value::String));
        add("--learning-rate", "optimizer.learning_rate", self.learning_rate.map(Value::Float));
        add("--weight-decay", "optimizer.weight_decay", self.weight_decay.map(Value::Float));
        add("--clip", "clip_norm", self.clip.map(Value::Float));
        add("--ema", "ema_decay", self.ema.map(Value::Float));
        add("--class-weights", "class_weights", self.class_weights.clone().map(Value::String));
        add("--label-smoothing", "label_smoothing", self.label_smoothing.map(Value::Float));
        add("--mixup", "mixup", self.mixup.map(Value::Float));
        add("--cutmix", "cutmix", self.cutmix.map(Value::Float));
        if let Some(time) = &self.time {
            let time = parse_span(time).map_err(|problem| Error::Config { setting: "--time".into(), problem })?;
            add("--time", "time_seconds", Some(Value::Float(time.as_secs_f64())));
        }
        if let Some(Moves(moves)) = self.augment {
            let mut amounts: Vec<(&str, f64)> =
                ["rotate_degrees", "shift_pixels", "scale"].into_iter().zip(moves.unwrap_or_default()).collect();
            if moves.is_none() {
                let others =
                    ["shear_degrees", "elastic_alpha", "erase_probability", "flip_probability", "crop_area", "jitter"];
                amounts.extend(others.map(|name| (name, 0.0)));
            }
            let amounts: Table = amounts.into_iter().map(|(name, amount)| (name.into(), amount.into())).collect();
            add("--augment", "augment", Some(Value::Table(amounts)));
        }
        Ok(flags)
    }
}

/// Says once which settings of today an older Weir did not write into a file.
fn tell_new(path: &Path, new: &[String]) {
    static TOLD: Once = Once::new();
    if !new.is_empty() {
        let shown = path.display();
        let what = format!(
            "{shown} was written by an older Weir, which did not have these settings; they are as they are today: {}; --set changes \
             one",
            new.join(", ")
        );
        TOLD.call_once(|| note(&what));
    }
}

/// Returns a path as a setting.
///
/// # Errors
/// [`Error::Config`] when it is not UTF-8, which TOML is.
pub(super) fn path_setting(key: &str, path: &std::path::Path) -> Result<Override> {
    let text = path.to_str().ok_or_else(|| Error::Config {
        setting: key.into(),
        problem: format!("must be a path in UTF-8, got {}", path.display()),
    })?;
    Ok(Override { origin: format!("--{key}"), key: key.into(), value: text.into() })
}

#[cfg(test)]
mod tests {
    use clap::{Args, FromArgMatches};

    use super::*;
    use crate::trainer::{Augment, Optimizer};

    fn parse(arguments: &[&str]) -> std::result::Result<TrainRequest, String> {
        let command = RecipeArgs::augment_args(PlaceArgs::augment_args(clap::Command::new("train")));
        let matches = command.try_get_matches_from([&["train"], arguments].concat()).map_err(|e| e.to_string())?;
        let recipe = RecipeArgs::from_arg_matches(&matches).map_err(|e| e.to_string())?;
        let place = PlaceArgs::from_arg_matches(&matches).map_err(|e| e.to_string())?;
        recipe.resolve(Some("mnist-cnn"), &place, Vec::new()).map_err(|e| e.to_string())
    }

    #[test]
    fn moves_are_three_numbers_or_none() {
        let moves = |arguments: &[&str]| parse(arguments).map(|request| request.fit.regime.augment);
        assert_eq!(moves(&[]), Ok(Augment::moves(10.0, 2.0, 0.1)), "the preset's");
        assert_eq!(moves(&["--augment", "none"]), Ok(Augment::NONE));
        assert_eq!(moves(&["--augment", "5, 1,0"]), Ok(Augment::moves(5.0, 1.0, 0.0)));
        let sheared = Augment { shear_degrees: 9.0, ..Augment::moves(5.0, 1.0, 0.0) };
        assert_eq!(moves(&["--set", "augment.shear_degrees=9", "--augment", "5,1,0"]), Ok(sheared));
        for wrong in ["", "10", "10,2", "10,2,0.1,3", "10,2,x", "x,10,2,0.1", "10,2,1"] {
            assert!(moves(&["--augment", wrong]).is_err(), "{wrong}");
        }
    }

    #[test]
    fn flags_go_before_settings() {
        let arguments =
            ["--set", "optimizer.kind=adamw", "--optimizer", "sgd", "--learning-rate", "0.1", "--time", "2m"];
        let request = parse(&arguments).unwrap();
        assert_eq!(request.fit.optimizer, Optimizer::sgd(0.1, 0.9));
        assert_eq!(request.fit.regime.time_seconds, 120.0);
        let request = parse(&["--optimizer", "adamw", "--weight-decay", "0.05", "--set", "epochs=3", "--epochs", "4"]);
        let request = request.unwrap();
        assert_eq!((request.fit.optimizer, request.fit.epochs), (Optimizer::adamw(8e-3, 0.05), 4));
        for (wrong, hint) in [
            (&["--weight-decay", "0.1"][..], "optimizer.kind = \"adam\""),
            (&["--schedule", "triangle"], "one_cycle"),
            (&["--time", "soon"], "expected a duration"),
            (&["--patience", "3", "--validation", "0"], "needs validation samples"),
            (&["--mixup", "7"], "mixup must be"),
            (&["--learning-rate", "nan"], "learning-rate"),
        ] {
            let refused = parse(wrong).unwrap_err();
            assert!(refused.contains(hint), "{wrong:?}: {refused}");
        }
    }
}
