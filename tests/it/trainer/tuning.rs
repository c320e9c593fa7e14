//! Looking for a step size and for settings.

use std::fs;
use std::path::Path;

use tempfile::TempDir;
use toml::Table;
use weir::error::{Error, Result};
use weir::trainer::{
    Objective, Outcome, RunDir, Sampler, TrainRequest, Trial, TunePlan, TuneWatch, Tuned, preset, resume_tune, tune,
};

use crate::cli::{output, text};
use crate::fixtures::{head, mnist, small_data, write_idx};

/// Stops within the trial of this number, after so many steps of it.
struct Until {
    trial: usize,
    steps: usize,
    now: usize,
    begun: Vec<usize>,
}

impl Until {
    fn the_end() -> Self {
        Self::trial(usize::MAX, 0)
    }

    fn trial(trial: usize, steps: usize) -> Self {
        Self { trial, steps, now: 0, begun: Vec::new() }
    }
}

impl TuneWatch for Until {
    fn goes_on(&mut self) -> bool {
        if self.now == self.trial {
            self.steps = self.steps.saturating_sub(1);
        }
        self.now != self.trial || self.steps > 0
    }

    fn begins(&mut self, trial: usize, _: &Table) {
        self.now = trial;
        self.begun.push(trial);
    }

    fn ended(&mut self, _: &Trial, _: bool) {}
}

fn request(data: &Path) -> TrainRequest {
    let mut request = TrainRequest::of_preset(preset("mnist-mlp").unwrap());
    request.data = data.to_owned();
    request.validation = 100;
    request.fit.epochs = 4;
    request
}

fn plan(sampler: Sampler) -> TunePlan {
    TunePlan {
        trials: 12,
        search: ["learning_rate=log(1e-5,1)", "batch_size=[16,32,64]", "schedule.kind=[constant,cosine]"]
            .map(str::to_owned)
            .to_vec(),
        sampler,
        objective: Objective::Loss,
        halving: 2,
        first_rung: 1,
        defaults_first: false,
    }
}

fn run(folder: &TempDir) -> RunDir {
    RunDir::create(folder.path(), "mnist-mlp", None).unwrap()
}

/// All of it but how long it took.
fn trials(tuned: &Tuned) -> Vec<Trial> {
    tuned.trials.iter().map(|trial| Trial { seconds: 0.0, ..trial.clone() }).collect()
}

fn interrupted(result: &Result<Tuned>) -> bool {
    matches!(result, Err(Error::Interrupted { command: "weir tune", .. }))
}

#[test]
fn a_search_that_dies_goes_on_without_repeating_a_trial_and_never_looks_at_the_test_data() {
    let (data, folder) = (small_data(500, 60), TempDir::new().unwrap());
    let plan = plan(Sampler::Tpe);
    let whole = tune(&request(data.path()), &plan, &run(&folder), &mut Until::the_end()).unwrap();
    assert_eq!(whole.trials.len(), 12);

    let other = small_data(500, 60);
    let reversed: Vec<usize> = (100..160).rev().collect();
    write_idx(other.path(), "t10k", &head(&mnist().test, 160).select(&reversed));
    let died = run(&folder);
    let stopped = tune(&request(other.path()), &plan, &died, &mut Until::trial(4, 2));
    assert!(interrupted(&stopped), "{stopped:?}");
    // A process that is killed may leave half a line.
    let journal = died.path().join("journal.jsonl");
    fs::write(&journal, [fs::read(&journal).unwrap(), b"{\"trial\":3,\"sett".to_vec()].concat()).unwrap();
    let mut watch = Until::trial(11, 1);
    assert!(interrupted(&resume_tune(died.path(), None, &mut watch)));
    assert_eq!(watch.begun, [4, 5, 6, 7, 8, 9, 10, 11]);
    let resumed = resume_tune(died.path(), None, &mut Until::the_end()).unwrap();
    assert_eq!(trials(&resumed), trials(&whole), "other test data and two deaths change nothing");

    let best = whole.best.map(|best| &whole.trials[best - 1]).unwrap();
    let finished = whole.trials.iter().filter(|trial| trial.outcome == Outcome::Finished);
    assert!(finished.clone().count() > 0 && finished.clone().all(|trial| trial.objective >= best.objective));
    assert!(whole.trials.iter().any(|trial| trial.outcome == Outcome::Stopped && trial.epochs < 4));
    for file in ["best.toml", "trials.csv", "trials.json", "trials.svg", "args.toml"] {
        assert!(died.path().join(file).metadata().unwrap().len() > 100, "{file}");
    }
    let settings: Table = toml::from_str(&fs::read_to_string(died.path().join("best.toml")).unwrap()).unwrap();
    assert_eq!(settings["optimizer"]["learning_rate"], best.settings["optimizer.learning_rate"]);
    assert_eq!(settings["batch_size"], best.settings["batch_size"]);

    let more = resume_tune(died.path(), Some(13), &mut Until::the_end()).unwrap();
    assert_eq!((more.trials.len(), &trials(&more)[..12]), (13, &trials(&whole)[..]));
}

#[test]
fn what_goes_wrong_in_a_trial_is_its_own_and_what_goes_wrong_before_is_said_at_once() {
    let (data, folder) = (small_data(300, 50), TempDir::new().unwrap());
    let with = |search: &[&str], trials| TunePlan {
        search: search.iter().map(|text| (*text).to_owned()).collect(),
        trials,
        objective: Objective::Accuracy,
        ..plan(Sampler::Random)
    };
    let absurd = with(&["learning_rate=[1e-3,1e30]"], 4);
    let tuned = tune(&request(data.path()), &absurd, &run(&folder), &mut Until::the_end()).unwrap();
    for trial in &tuned.trials {
        let absurd = trial.settings["optimizer.learning_rate"].as_float() == Some(1e30);
        assert_eq!(trial.outcome == Outcome::Failed, absurd, "{trial:?}");
        assert_eq!(trial.problem.is_some(), absurd);
    }
    for (search, hint) in [
        (&["nonsense=[1,2]"][..], "no setting nonsense"),
        (&["epochs=[1.5,2.5]"], "whole number"),
        (&["epochs=[1,2]", "epochs=int(1,9)"], "searched twice"),
        (&["data=[a,b]"], "same for all trials"),
        (&["schedule.rise=uniform(0.1,0.4)"], "schedule.kind = \"constant\""),
    ] {
        let refused = tune(&request(data.path()), &with(search, 3), &run(&folder), &mut Until::the_end()).unwrap_err();
        assert!(matches!(refused, Error::Config { .. }) && refused.to_string().contains(hint), "{refused}");
    }
}

#[test]
fn the_program_finds_a_step_size_and_settings() {
    let (data, work) = (small_data(800, 50), TempDir::new().unwrap());
    let (data, runs) = (data.path().display().to_string(), work.path().display().to_string());
    let common = ["mnist-mlp", "--data", &data, "--runs", &runs, "--validation", "100", "--quiet"];
    let found = output(&[&["lr-find"][..], &common, &["--json", "--to", "100"]].concat());
    assert!(found.status.success(), "{}", text(&found.stderr));
    let found: serde_json::Value = serde_json::from_slice(&found.stdout).unwrap();
    let (valley, steepest) = (found["valley"].as_f64().unwrap(), found["steepest"].as_f64().unwrap());
    assert!((1e-5..0.1).contains(&valley) && (1e-5..1.0).contains(&steepest), "{valley} {steepest}");
    assert!(found["exploded"].as_bool().unwrap() && found["points"].as_array().unwrap().len() < 150);
    let run = work.path().join("mnist-mlp/1");
    assert!(fs::read_to_string(run.join("lr_find.csv")).unwrap().starts_with("step,learning_rate,loss"));
    assert!(fs::read_to_string(run.join("lr_find.svg")).unwrap().contains("<svg"));

    let search = ["--trials", "3", "--epochs", "1", "--search", "learning_rate=log(1e-4,1e-2)"];
    let tuned = output(&[&["tune"][..], &common, &search].concat());
    assert!(tuned.status.success(), "{}", text(&tuned.stderr));
    assert!(text(&tuned.stdout).contains("optimizer.learning_rate="), "{}", text(&tuned.stdout));
    let best = work.path().join("mnist-mlp/2/best.toml").display().to_string();
    let printed = output(&["train", "--config", &best, "--print-config"]);
    assert!(text(&printed.stdout).contains("epochs = 1"), "{}", text(&printed.stderr));

    for (args, hint) in [
        (&["tune", "mnist-mlp"][..], "--search"),
        (&["tune", "--resume", "/nowhere"], "not the directory of a search"),
        (&["tune", "mnist-mlp", "--search", "epochs=3"], "KEY=log"),
        (&["lr-find", "mnist-mlp", "--steps", "3"], "at least 20"),
    ] {
        let refused = output(args);
        assert_eq!(refused.status.code(), Some(2), "{args:?}: {}", text(&refused.stderr));
        assert!(text(&refused.stderr).contains(hint), "{args:?}: {}", text(&refused.stderr));
    }
}
