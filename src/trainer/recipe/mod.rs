//! A run's settings as TOML: a preset, what a file, `--set` and flags say over it, and back.
//!
//! What is resolved has every key, so that it gives the same run whatever the preset comes to be.

mod reading;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use toml::{Table, Value};

use super::fit::FitSettings;
use super::head::{BackboneChoice, Pool, Solver};
use super::optimizer::Optimizer;
use super::presets::{Learns, Preset, preset};
use super::request::{TaskOptions, TrainRequest};
use super::run_dir::{ARGUMENTS_FILE, RunDir};
use super::schedule::Schedule;
use super::weights::ClassWeights;
use crate::error::{Error, Result};
use crate::layers::LayerSpec;

/// Where runs publish if nothing says otherwise.
const MODELS: &str = "models";

/// Where features are kept if nothing says otherwise.
const FEATURES: &str = "runs/.features";

/// The setting that came with the terms of texts.
const PREFER_LINEAR: &str = "prefer_linear";
/// The way in which texts are split.
const TOKENS: &str = "reading.tokens";

/// The settings as they are written. Numbers of 0 mean off.
#[derive(Debug, Serialize, Deserialize)]
struct Recipe {
    preset: String,
    data: PathBuf,
    /// Samples held out of the training data.
    validation: usize,
    /// True if that is a tenth of the training data at most.
    validation_cap: bool,
    /// Samples left of the rest; 0 leaves all.
    train_samples: usize,
    /// The name to publish under; empty for the preset's.
    model: String,
    /// Networks that are trained and averaged.
    #[serde(default = "one")]
    ensemble: usize,
    /// None, balanced, or a number for each class with commas between.
    class_weights: String,
    models: PathBuf,
    publish: bool,
    tensorboard: bool,
    /// Layers instead of the preset's, but for the first and the last; none if empty.
    #[serde(default)]
    layers: Vec<LayerSpec>,
    /// The network that a head is put on: an ONNX file or the folder of a version; empty without one.
    #[serde(default)]
    backbone: PathBuf,
    /// The tensor of its features; empty for the penultimate one.
    #[serde(default)]
    backbone_at: String,
    /// Windows into which its maps are averaged as features: auto, none, or so many on a side.
    #[serde(default = "auto")]
    pool: String,
    /// The way in which the head's weights are found: auto, ridge or steps.
    #[serde(default = "auto")]
    solver: String,
    /// The folder in which features are kept.
    #[serde(default = "features")]
    feature_cache: PathBuf,
    /// The settings for reading the data.
    reading: reading::Reading,
    #[serde(flatten)]
    fit: FitSettings,
}

/// Returns the folder in which features are kept unless settings say another.
fn features() -> PathBuf {
    FEATURES.into()
}

/// Returns the word by which the program chooses.
fn auto() -> String {
    "auto".into()
}

/// One setting, as something besides the preset gives it.
#[derive(Debug, Clone)]
pub struct Override {
    /// The origin for messages: `--set`, `--epochs`.
    pub origin: String,
    /// The key with dots, as `optimizer.learning_rate`.
    pub key: String,
    /// Its value.
    pub value: Value,
}

/// The settings of one kind of optimiser or schedule, which go together.
struct Kinds {
    table: &'static str,
    kinds: Vec<Table>,
}

impl Override {
    /// Reads `key=value`; what is no TOML value is a string.
    ///
    /// # Errors
    /// [`Error::Config`] when there is no `=`.
    pub fn parse(origin: &str, text: &str) -> Result<Self> {
        let Some((key, value)) = text.split_once('=') else {
            let problem = format!("must be KEY=VALUE, as optimizer.learning_rate=1e-3, got \"{text}\"");
            return Err(Error::Config { setting: origin.into(), problem });
        };
        Ok(Self { origin: origin.into(), key: key.trim().into(), value: parse_value(value.trim()) })
    }
}

/// Reads a value as a person writes it, without quotes.
pub(super) fn parse_value(text: &str) -> Value {
    let parsed = toml::from_str::<Table>(&format!("value = {text}")).ok();
    parsed.and_then(|mut table| table.remove("value")).unwrap_or_else(|| Value::String(text.into()))
}

/// Reads a file of settings, also one that an older Weir wrote.
///
/// # Errors
/// [`Error::Config`] naming the file.
pub fn read_settings(path: &Path) -> Result<Table> {
    let refuse = |problem: String| Error::Config { setting: path.display().to_string(), problem };
    let text = std::fs::read_to_string(path).map_err(|error| refuse(error.to_string()))?;
    Ok(modern(toml::from_str(&text).map_err(|error| refuse(error.to_string()))?))
}

/// The request of a preset with the settings of a file over it and further ones over those, in their order.
///
/// A setting of one kind of optimiser or schedule counts only as long as nothing that goes before it chooses another
/// kind.
///
/// # Errors
/// [`Error::Config`] naming the setting, and for one that there is not, those there are.
pub fn resolve(preset: &'static Preset, file: Option<(&Path, Table)>, overrides: &[Override]) -> Result<TrainRequest> {
    let mut table = TrainRequest::of_preset(preset).to_table()?;
    let own = table.clone();
    let groups = Kinds::all()?;
    let mut given = Vec::new();
    if let Some((path, mut file)) = file {
        file.remove("preset");
        leaves(&path.display().to_string(), "", &file, &mut given);
    }
    let of_file = given.len();
    for Override { origin, key, value } in overrides {
        match value {
            Value::Table(value) => leaves(origin, key, value, &mut given),
            // A kind needs no more than its name: `--set schedule=cosine`.
            Value::String(_) if groups.iter().any(|group| group.table == key) => {
                given.push(Override { origin: origin.clone(), key: format!("{key}.kind"), value: value.clone() });
            }
            _ => given.push(Override { origin: origin.clone(), key: key.clone(), value: value.clone() }),
        }
    }
    // Who says how many samples are held out gets so many.
    let says = |key: &str| given.iter().any(|given| given.key == key);
    if says("validation") && !says("validation_cap") {
        table.insert("validation_cap".into(), Value::Boolean(false));
    }
    refuse_unknown(&table, &groups, &given)?;
    for group in &groups {
        group.choose(&mut table, &given)?;
    }
    for (index, given) in given.iter().enumerate() {
        let stale = index < of_file && groups.iter().any(|group| group.is_stale(&table, given));
        if !stale && !given.key.ends_with(".kind") {
            set(&mut table, &groups, given)?;
        }
    }
    let mut request = TrainRequest::of_table(table)?;
    if let Some(backbone) = &mut request.task.backbone
        && let Some(setting) = of_steps(&own, &given, of_file)?
    {
        decide(backbone, setting)?;
    }
    Ok(request)
}

/// The settings that a file has which the program wrote: the first ones that every version wrote.
const WRITTEN: [&str; 9] = [
    "preset",
    "data",
    "validation",
    "validation_cap",
    "train_samples",
    "class_weights",
    "models",
    "publish",
    "tensorboard",
];

/// The settings of a head alone.
const OF_HEADS: [&str; 4] = ["pool", "solver", "feature_cache", "backbone_at"];

/// Returns the settings that an older Weir did not know when it wrote a file, as `key = value` of today; none for a file that
/// names some settings alone. Those that say nothing, or that `overrides` gives, are left out.
///
/// # Errors
/// [`Error::Internal`] when the settings cannot be written as TOML.
pub fn new_settings(request: &TrainRequest, file: &Table, overrides: &[Override]) -> Result<Vec<String>> {
    if !WRITTEN.iter().all(|key| file.contains_key(*key)) {
        return Ok(Vec::new());
    }
    let (mut written, mut today) = (Vec::new(), Vec::new());
    leaves("", "", file, &mut written);
    leaves("", "", &request.to_table()?, &mut today);
    let is_given =
        |key: &str| overrides.iter().any(|given| given.key == key || key.starts_with(&format!("{}.", given.key)));
    let is_new = |setting: &&Override| {
        let key = setting.key.as_str();
        let is_idle = OF_HEADS.contains(&key) && request.task.backbone.is_none();
        !written.iter().any(|written| written.key == key) && !is_given(key) && !is_idle && says_something(setting)
    };
    let mut new: Vec<String> =
        today.iter().filter(is_new).map(|Override { key, value, .. }| format!("{key} = {value}")).collect();
    // It was there, and what it stands for where it says nothing is another thing since then.
    let says_how = today.iter().any(|setting| setting.key == TOKENS && says_something(setting));
    if request.preset.learns == Learns::Texts && !file.contains_key(PREFER_LINEAR) && !says_how {
        new.push(format!("{TOKENS} = \"terms\", which was \"grams\""));
    }
    Ok(new)
}

/// Returns true unless a setting is off, or what it has always been.
fn says_something(Override { key, value, .. }: &Override) -> bool {
    match value {
        Value::String(word) => !word.is_empty(),
        Value::Integer(1) => key != "ensemble",
        Value::Integer(number) => *number != 0,
        Value::Float(number) => *number != 0.0,
        Value::Boolean(is_on) => *is_on,
        Value::Array(list) => !list.is_empty(),
        Value::Datetime(_) | Value::Table(_) => true,
    }
}

/// Has texts split into grams, as they were where a run does not say how: `terms` came later.
fn take_grams(table: &mut toml::Table) {
    let reading = table.entry("reading").or_insert_with(|| Value::Table(toml::Table::new()));
    let Some(reading) = reading.as_table_mut() else { return };
    let says_how =
        |reading: &toml::Table| reading.get("tokens").and_then(Value::as_str).is_some_and(|how| !how.is_empty());
    if !says_how(reading) {
        reading.insert("tokens".into(), "grams".into());
    }
}

/// Returns the settings of a run or search that was begun, with those that an older Weir did not write as they were then,
/// whatever the preset says today.
///
/// # Errors
/// [`Error::Config`] when there is no such preset.
pub(super) fn as_they_were(mut table: Table) -> Result<Table> {
    table.entry("min_epoch_steps").or_insert(Value::Integer(0));
    table.entry("keep_best_from").or_insert(Value::Integer(0));
    if !table.contains_key(PREFER_LINEAR) {
        table.insert(PREFER_LINEAR.into(), Value::Boolean(false));
        let name = table.get("preset").and_then(Value::as_str).unwrap_or_default();
        if preset(name)?.learns == Learns::Texts {
            take_grams(&mut table);
        }
    }
    table.entry("pool").or_insert("none".into());
    table.entry("solver").or_insert("steps".into());
    Ok(table)
}

/// Returns the first setting of steps that somebody gave. A file that says a solver has every setting, as the program writes
/// them: of those only the ones count that are not the preset's `own`.
fn of_steps<'g>(own: &Table, given: &'g [Override], of_file: usize) -> Result<Option<&'g Override>> {
    let preset = own.get("preset").and_then(Value::as_str).unwrap_or_default();
    let names = Table::try_from(TrainRequest::of_preset(self::preset(preset)?).fit).map_err(unwritable)?;
    let mut leaves_of_preset = Vec::new();
    leaves("", "", own, &mut leaves_of_preset);
    let is_own =
        |given: &Override| leaves_of_preset.iter().any(|own| own.key == given.key && is_same(&own.value, &given.value));
    let is_whole = given[..of_file].iter().any(|given| given.key == "solver");
    let is_of_steps = |key: &str| {
        let name = key.split('.').next().unwrap_or(key);
        name != "seed" && names.contains_key(name)
    };
    let counts = |(index, given): &(usize, &Override)| {
        is_of_steps(&given.key) && !(*index < of_file && is_whole && is_own(given))
    };
    Ok(given.iter().enumerate().find(counts).map(|(_, given)| given))
}

/// Returns true if two values are the same; numbers as a network has them, of 32 bits.
fn is_same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Float(one), Value::Float(other)) => *one as f32 == *other as f32,
        _ => one == other,
    }
}

/// Decides for steps, of which there is a setting, unless a solver was said.
fn decide(backbone: &mut BackboneChoice, Override { origin, key, .. }: &Override) -> Result<()> {
    match backbone.solver {
        Solver::Steps => Ok(()),
        Solver::Auto => {
            backbone.solver = Solver::Steps;
            backbone.decided_by = Some(key.clone());
            Ok(())
        }
        Solver::Ridge => {
            let problem =
                format!("{key} is a setting of steps, of which the solver ridge takes none; leave one of them out");
            Err(Error::Config { setting: origin.clone(), problem })
        }
    }
}

impl Kinds {
    /// Every kind of optimiser and schedule with its defaults.
    fn all() -> Result<[Self; 2]> {
        let optimizers = [Optimizer::adam(1e-3), Optimizer::adamw(1e-3, 1e-2), Optimizer::sgd(1e-3, 0.9)];
        let optimizers = optimizers.into_iter().map(|optimizer| Table::try_from(optimizer).map_err(unwritable));
        let schedules = Schedule::KINDS.into_iter().map(|kind| {
            let named = Table::from_iter([("kind".to_owned(), kind.into())]);
            let schedule: Schedule = named.try_into().map_err(unwritable)?;
            Table::try_from(schedule).map_err(unwritable)
        });
        Ok([
            Self { table: "optimizer", kinds: optimizers.collect::<Result<_>>()? },
            Self { table: "schedule", kinds: schedules.collect::<Result<_>>()? },
        ])
    }

    fn kind(table: &Table) -> &str {
        table.get("kind").and_then(Value::as_str).unwrap_or_default()
    }

    fn chosen<'t>(&self, table: &'t Table) -> &'t str {
        table.get(self.table).and_then(Value::as_table).map_or("", Self::kind)
    }

    /// Brings in the last kind that was given, with its defaults and the learning rate that was there.
    fn choose(&self, table: &mut Table, given: &[Override]) -> Result<()> {
        let key = format!("{}.kind", self.table);
        for Override { origin, value, .. } in given.iter().filter(|given| given.key == key) {
            let Some(kind) = self.kinds.iter().find(|kind| Some(Self::kind(kind)) == value.as_str()) else {
                let names: Vec<&str> = self.kinds.iter().map(Self::kind).collect();
                let problem = format!("{key} must be one of {}, got {value}", names.join(", "));
                return Err(Error::Config { setting: origin.clone(), problem });
            };
            let there = table.get(self.table).and_then(Value::as_table).cloned().unwrap_or_default();
            if Self::kind(&there) != Self::kind(kind) {
                let mut kind = kind.clone();
                if let Some(rate) = there.get("learning_rate") {
                    kind.insert("learning_rate".into(), rate.clone());
                }
                table.insert(self.table.into(), Value::Table(kind));
            }
        }
        Ok(())
    }

    /// Returns true if a setting belongs to the table, but to another kind than the one chosen.
    fn is_stale(&self, table: &Table, given: &Override) -> bool {
        let name = given.key.strip_prefix(self.table).and_then(|rest| rest.strip_prefix('.'));
        name.is_some_and(|name| !table[self.table].as_table().is_some_and(|there| there.contains_key(name)))
    }
}

/// The settings of a table with their dotted keys.
fn leaves(origin: &str, prefix: &str, table: &Table, into: &mut Vec<Override>) {
    for (name, value) in table {
        let key = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
        match value {
            Value::Table(table) => leaves(origin, &key, table, into),
            value => into.push(Override { origin: origin.into(), key, value: value.clone() }),
        }
    }
}

fn refuse_unknown(table: &Table, groups: &[Kinds], given: &[Override]) -> Result<()> {
    let mut all = Vec::new();
    leaves("", "", table, &mut all);
    for group in groups {
        group.kinds.iter().for_each(|kind| leaves("", group.table, kind, &mut all));
    }
    let mut known: BTreeSet<&str> = all.iter().map(|known| known.key.as_str()).collect();
    known.remove("preset");
    match given.iter().find(|given| !known.contains(given.key.as_str())) {
        None => Ok(()),
        Some(Override { origin, key, .. }) => {
            let known: Vec<&str> = known.into_iter().collect();
            let problem = format!("there is no setting {key}; there are: {}", known.join(", "));
            Err(Error::Config { setting: origin.clone(), problem })
        }
    }
}

/// The setting that is a word or a number.
const WORD_OR_NUMBER: &str = "pool";

/// Puts a value where the table has one of its type.
fn set(table: &mut Table, groups: &[Kinds], Override { origin, key, value }: &Override) -> Result<()> {
    let refuse = |problem: String| Err(Error::Config { setting: origin.clone(), problem });
    let (inner, name) = key.split_once('.').unwrap_or(("", key));
    let chosen = groups.iter().find(|group| group.table == inner).map(|group| group.chosen(table).to_owned());
    let place = if inner.is_empty() { Some(&mut *table) } else { table.get_mut(inner).and_then(Value::as_table_mut) };
    let Some(place) = place.filter(|place| place.contains_key(name)) else {
        let kind = chosen.unwrap_or_default();
        return refuse(format!("{key} is no setting of {inner}.kind = \"{kind}\"; choose another kind"));
    };
    let fits = match (&place[name], value) {
        (Value::Integer(_), Value::Integer(number)) => *number >= 0,
        (Value::Float(_), Value::Integer(_)) => true,
        (Value::String(_), Value::Integer(_)) => name == WORD_OR_NUMBER,
        (there, value) => there.same_type(value),
    };
    if !fits {
        let expected = match &place[name] {
            Value::Integer(_) => "a whole number of at least 0",
            Value::Float(_) => "a number",
            Value::Boolean(_) => "true or false",
            Value::Array(_) => "a list",
            _ => "a string",
        };
        return refuse(format!("{key} must be {expected}, got {value}"));
    }
    let value = match (&place[name], value) {
        (Value::Float(_), Value::Integer(number)) => Value::Float(*number as f64),
        (Value::String(_), Value::Integer(number)) => Value::String(number.to_string()),
        _ => value.clone(),
    };
    place.insert(name.to_owned(), value);
    Ok(())
}

/// Settings as they are written today, out of those of the first Weir, which kept them in tables of a table `fit`.
fn modern(mut old: Table) -> Table {
    let Some(Value::Table(mut fit)) = old.remove("fit") else { return old };
    let publishes = old.contains_key("models");
    let mut regime = match fit.remove("regime") {
        Some(Value::Table(regime)) => regime,
        _ => Table::new(),
    };
    // Then as now what was not written was off, whatever the preset says today.
    old.entry("publish").or_insert(Value::Boolean(publishes));
    old.entry("tensorboard").or_insert(Value::Boolean(false));
    regime.entry("keep_best").or_insert(Value::Boolean(false));
    regime.entry("schedule").or_insert_with(|| Table::from_iter([("kind".to_owned(), "constant".into())]).into());
    regime.entry("augment").or_insert_with(|| {
        let amounts = ["rotate_degrees", "shift_pixels", "scale"].map(|name| (name.to_owned(), Value::Float(0.0)));
        Table::from_iter(amounts).into()
    });
    if let Some(Value::Table(mut adam)) = fit.remove("adam") {
        adam.insert("kind".into(), "adam".into());
        fit.insert("optimizer".into(), adam.into());
    }
    old.extend(fit);
    old.extend(regime);
    old
}

fn one() -> usize {
    1
}

fn unwritable(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::internal("the settings could not be written", error)
}

impl TrainRequest {
    /// Returns the request of a preset on the bundled data, published into `models`.
    pub fn of_preset(preset: &'static Preset) -> Self {
        Self {
            preset,
            data: "data/mnist".into(),
            validation: preset.validation,
            train_samples: 0,
            task: TaskOptions { caps_validation: true, ensemble: 1, ..TaskOptions::default() },
            fit: FitSettings {
                epochs: preset.epochs,
                batch_size: preset.batch_size,
                seed: 0,
                optimizer: preset.optimizer(),
                regime: preset.regime,
            },
            models: Some(MODELS.into()),
            tensorboard: true,
        }
    }

    /// The request that an interrupted run was given.
    ///
    /// # Errors
    /// [`Error::Config`] when the directory or its arguments cannot be used.
    pub fn of_run(run: &RunDir) -> Result<Self> {
        let path = run.path().join(ARGUMENTS_FILE);
        let table = as_they_were(read_settings(&path)?)?;
        let name = table.get("preset").and_then(toml::Value::as_str).unwrap_or_default().to_owned();
        resolve(preset(&name)?, Some((&path, table)), &[])
    }

    fn recipe(&self) -> Recipe {
        Recipe {
            preset: self.preset.name.into(),
            data: self.data.clone(),
            validation: self.validation,
            validation_cap: self.task.caps_validation,
            train_samples: self.train_samples,
            model: self.task.model.as_ref().map_or_else(String::new, ToString::to_string),
            ensemble: self.task.ensemble.max(1),
            class_weights: self.task.class_weights.to_string(),
            layers: self.task.layers.clone(),
            backbone: self.task.backbone.as_ref().map_or_else(PathBuf::new, |backbone| backbone.path.clone()),
            backbone_at: self.task.backbone.as_ref().and_then(|backbone| backbone.at.clone()).unwrap_or_default(),
            pool: self.task.backbone.as_ref().map_or_else(auto, |backbone| backbone.pool.to_string()),
            solver: self.task.backbone.as_ref().map_or_else(auto, |backbone| backbone.solver.to_string()),
            feature_cache: self.task.backbone.as_ref().map_or_else(features, |backbone| backbone.cache.clone()),
            reading: reading::Reading::of(&self.task.data),
            models: self.models.clone().unwrap_or_else(|| MODELS.into()),
            publish: self.models.is_some(),
            tensorboard: self.tensorboard,
            fit: self.fit.clone(),
        }
    }

    fn to_table(&self) -> Result<Table> {
        Table::try_from(self.recipe()).map_err(unwritable)
    }

    fn of_table(table: Table) -> Result<Self> {
        let recipe: Recipe = table.try_into().map_err(|error: toml::de::Error| Error::Config {
            setting: "settings".into(),
            problem: error.to_string(),
        })?;
        let refuse = |setting: &str| {
            let setting = setting.to_owned();
            move |problem| Error::Config { setting, problem }
        };
        let class_weights = recipe.class_weights.parse::<ClassWeights>().map_err(refuse("class_weights"))?;
        let pool = recipe.pool.parse::<Pool>().map_err(refuse("pool"))?;
        let solver = recipe.solver.parse::<Solver>().map_err(refuse("solver"))?;
        let task = TaskOptions {
            model: if recipe.model.is_empty() { None } else { Some(recipe.model.parse()?) },
            caps_validation: recipe.validation_cap,
            class_weights,
            layers: recipe.layers,
            ensemble: recipe.ensemble,
            data: recipe.reading.options()?,
            backbone: (!recipe.backbone.as_os_str().is_empty()).then(|| BackboneChoice {
                path: recipe.backbone.clone(),
                at: Some(recipe.backbone_at.clone()).filter(|at| !at.is_empty()),
                pool,
                solver,
                decided_by: None,
                cache: recipe.feature_cache.clone(),
            }),
        };
        Ok(Self {
            preset: preset(&recipe.preset)?,
            data: recipe.data,
            validation: recipe.validation,
            train_samples: recipe.train_samples,
            fit: recipe.fit,
            task,
            models: recipe.publish.then_some(recipe.models),
            tensorboard: recipe.tensorboard,
        })
    }

    /// Every setting, as a file that `--config` reads.
    ///
    /// # Errors
    /// [`Error::Internal`] when a path or number cannot be written as TOML.
    pub fn to_toml(&self) -> Result<String> {
        toml::to_string_pretty(&self.recipe()).map_err(unwritable)
    }
}
