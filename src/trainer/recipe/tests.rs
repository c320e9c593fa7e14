//! What goes before what, what is refused, and what an older Weir wrote.

use super::*;
use crate::trainer::augment::Augment;
use crate::trainer::presets::PRESETS;

fn sets(settings: &[&str]) -> Vec<Override> {
    settings.iter().map(|text| Override::parse("--set", text).unwrap()).collect()
}

fn resolved(name: &str, file: &str, settings: &[&str]) -> Result<TrainRequest> {
    let file = (!file.is_empty()).then(|| (Path::new("run.toml"), modern(toml::from_str(file).unwrap())));
    resolve(preset(name).unwrap(), file, &sets(settings))
}

fn refusal(name: &str, file: &str, settings: &[&str]) -> String {
    resolved(name, file, settings).unwrap_err().to_string()
}

#[test]
fn a_preset_written_out_and_read_again_is_itself_whatever_it_is_read_over() {
    for preset in PRESETS {
        let request = TrainRequest::of_preset(preset);
        let written = request.to_toml().unwrap();
        for base in PRESETS {
            let table: Table = toml::from_str(&written).unwrap();
            let again = resolve(base, Some((Path::new("run.toml"), table)), &[]).unwrap();
            assert_eq!(again.fit, request.fit, "{} over {}", preset.name, base.name);
            assert_eq!((again.validation, again.models), (request.validation, request.models.clone()));
        }
    }
}

#[test]
fn what_comes_later_goes_before() {
    let file = "epochs = 7\nbatch_size = 10\n[optimizer]\nlearning_rate = 1\n[augment]\nrotate_degrees = 3";
    let request = resolved("mnist-cnn", file, &["epochs=8", "epochs=9", "optimizer.learning_rate=0.5"]).unwrap();
    assert_eq!((request.fit.epochs, request.fit.batch_size), (9, 10));
    assert_eq!(request.fit.optimizer, Optimizer::adam(0.5));
    assert_eq!(request.fit.regime.augment, Augment::moves(3.0, 2.0, 0.1), "the rest is the preset's");
}

#[test]
fn another_kind_brings_its_defaults_and_leaves_the_settings_of_the_other_behind() {
    let file = "[schedule]\nkind = \"cosine\"\nwarmup = 0.3\n[optimizer]\nbeta_1 = 0.8";
    let request = resolved("mnist-mlp", file, &["schedule=one_cycle", "schedule.rise=0.3", "optimizer.kind=sgd"]);
    let request = request.unwrap();
    let Schedule::OneCycle { rise, start, .. } = request.fit.regime.schedule else { panic!("{request:?}") };
    assert_eq!((rise, start), (0.3, 0.1));
    assert_eq!(request.fit.optimizer, Optimizer::sgd(1e-3, 0.9), "the learning rate stays");
    let later = resolved("mnist-mlp", "", &["schedule.rise=0.2", "schedule.kind=one_cycle"]).unwrap();
    assert!(matches!(later.fit.regime.schedule, Schedule::OneCycle { rise: 0.2, .. }), "in any order");
}

#[test]
fn what_cannot_be_set_is_refused_with_what_can() {
    let unknown = refusal("mnist-mlp", "learning_rate = 3", &[]);
    for part in ["run.toml", "no setting learning_rate", "optimizer.learning_rate", "schedule.rise", "augment.scale"] {
        assert!(unknown.contains(part), "{unknown}");
    }
    for (setting, hint) in [
        ("nonsense=1", "no setting nonsense"),
        ("preset=mnist-cnn", "no setting preset"),
        ("optimizer=adamm", "adam, adamw, sgd"),
        ("schedule.kind=7", "one_cycle"),
        ("schedule.rise=0.2", "no setting of schedule.kind = \"constant\""),
        ("optimizer.weight_decay=0.1", "optimizer.kind = \"adam\""),
        ("epochs=1.5", "whole number"),
        ("epochs=-1", "whole number"),
        ("clip_norm=x", "must be a number, got \"x\""),
        ("keep_best=1", "true or false"),
        ("data=1", "a string"),
    ] {
        let refused = refusal("mnist-mlp", "", &[setting]);
        assert!(refused.contains(hint) && refused.contains("--set"), "{setting}: {refused}");
    }
    assert!(Override::parse("--set", "epochs").is_err());
}

#[test]
fn settings_of_the_first_weir_are_read_as_they_were_meant() {
    let old = r#"
        preset = "mnist-cnn"
        data = "here"
        validation = 10
        tensorboard = true
        [fit]
        epochs = 2
        batch_size = 50
        seed = 3
        [fit.adam]
        learning_rate = 0.01
        beta_1 = 0.8
        beta_2 = 0.9
        epsilon = 1e-7
        [fit.regime]
        keep_best = true
        [fit.regime.schedule]
        kind = "cosine"
        warmup = 0.2
    "#;
    let request = resolved("mnist-cnn", old, &[]).unwrap();
    let optimizer = Optimizer::Adam { learning_rate: 0.01, beta_1: 0.8, beta_2: 0.9, epsilon: 1e-7 };
    assert_eq!((request.fit.optimizer, request.fit.seed, request.models.clone()), (optimizer, 3, None));
    let regime = request.fit.regime;
    assert_eq!((regime.schedule, regime.augment), (Schedule::Cosine { warmup: 0.2 }, Augment::NONE));
    assert!(regime.keep_best && request.tensorboard);
}

/// Who gives a setting of steps gets them, be it the preset's own value; a file as the program writes it gives none.
#[test]
fn a_setting_of_steps_that_was_given_decides_how_a_head_is_found() {
    let solver = |file: &str, settings: &[&str]| {
        let backbone = resolved("head", file, &[&["backbone=x.onnx"], settings].concat())?.task.backbone.unwrap();
        Ok::<_, Error>((backbone.solver, backbone.decided_by))
    };
    let own = preset("head").unwrap().epochs;
    let by = |setting: &str| (Solver::Steps, Some(setting.to_owned()));
    assert_eq!(solver("", &["seed=3", "train_samples=7"]).unwrap(), (Solver::Auto, None));
    assert_eq!(solver("", &[&format!("epochs={own}")]).unwrap(), by("epochs"));
    assert_eq!(solver("", &["optimizer.learning_rate=0.5"]).unwrap(), by("optimizer.learning_rate"));
    assert_eq!(solver("[schedule]\nkind = \"cosine\"", &[]).unwrap(), by("schedule.kind"));
    assert_eq!(solver("", &["solver=steps", "epochs=3"]).unwrap(), (Solver::Steps, None));
    for wrong in [&["solver=ridge", "epochs=3"][..], &["mixup=0.2", "solver=ridge"]] {
        let refused = solver("", wrong).unwrap_err().to_string();
        assert!(refused.contains("--set") && refused.contains("ridge takes none"), "{refused}");
    }
    let written = resolved("head", "", &["backbone=x.onnx"]).unwrap().to_toml().unwrap();
    assert_eq!(solver(&written, &[]).unwrap(), (Solver::Auto, None));
    assert_eq!(solver(&written, &["epochs=3"]).unwrap(), by("epochs"));
    assert_eq!(solver(&written, &["solver=ridge"]).unwrap(), (Solver::Ridge, None));
    let stepped = resolved("head", "", &["backbone=x.onnx", "epochs=3"]).unwrap().to_toml().unwrap();
    assert_eq!(solver(&stepped, &[]).unwrap(), (Solver::Steps, None), "the decision is written");
}

#[test]
fn a_search_and_a_range_test_take_steps_and_refuse_what_takes_none() {
    let request = |solver: &str| resolved("head", "", &["backbone=x.onnx", &format!("solver={solver}")]).unwrap();
    assert_eq!(request("auto").in_steps().unwrap().task.backbone.unwrap().solver, Solver::Steps);
    assert!(request("ridge").in_steps().unwrap_err().to_string().contains("takes no steps"));
    assert!(resolved("dense", "", &[]).unwrap().in_steps().is_ok());
}

#[test]
fn an_interrupted_run_of_an_older_weir_goes_on_in_steps_and_without_windows() {
    let folder = tempfile::TempDir::new().unwrap();
    let written = resolved("head", "", &["backbone=x.onnx"]).unwrap().to_toml().unwrap();
    let old: Vec<&str> =
        written.lines().filter(|line| !line.starts_with("pool =") && !line.starts_with("solver =")).collect();
    assert_eq!(old.len() + 2, written.lines().count());
    let run = RunDir::create(folder.path(), "head", None).unwrap();
    run.write(ARGUMENTS_FILE, &old.join("\n")).unwrap();
    let backbone = TrainRequest::of_run(&run).unwrap().task.backbone.unwrap();
    assert_eq!((backbone.pool, backbone.solver), (Pool::None, Solver::Steps));
}

#[test]
fn texts_of_older_runs_are_split_into_grams() {
    let how = |said: &str| {
        let mut table: toml::Table = said.parse().unwrap();
        take_grams(&mut table);
        table["reading"]["tokens"].as_str().unwrap().to_owned()
    };
    for silent in ["", "[reading]\n", "[reading]\ntokens = \"\"\n"] {
        assert_eq!(how(silent), "grams", "{silent:?}");
    }
    assert_eq!(how("[reading]\ntokens = \"words\"\n"), "words");
}

#[test]
fn what_was_begun_by_an_older_weir_goes_on_as_it_was() {
    for name in ["dense", "text", "mnist-cnn", "head"] {
        let written: Table = toml::from_str(&resolved(name, "", &[]).unwrap().to_toml().unwrap()).unwrap();
        assert_eq!(as_they_were(written.clone()).unwrap(), written, "{name}: today's stay");
        let mut older = written;
        older.retain(|key, _| !["prefer_linear", "min_epoch_steps", "keep_best_from", "pool", "solver"].contains(&key));
        let older = as_they_were(older).unwrap();
        assert_eq!((&older["keep_best_from"], &older["min_epoch_steps"]), (&0.into(), &0.into()), "{name}");
        assert_eq!((&older["prefer_linear"], &older["solver"]), (&false.into(), &"steps".into()), "{name}");
        let tokens = older["reading"]["tokens"].as_str().unwrap();
        assert_eq!(tokens, if name == "text" { "grams" } else { "" });
    }
}

#[test]
fn a_file_of_an_older_weir_is_known_by_the_settings_that_it_lacks() {
    let new = |name: &str, file: &str, settings: &[&str]| {
        let (table, overrides): (Table, _) = (toml::from_str(file).unwrap(), sets(settings));
        let file = Some((Path::new("run.toml"), table.clone()));
        let request = resolve(preset(name).unwrap(), file, &overrides).unwrap();
        new_settings(&request, &table, &overrides).unwrap()
    };
    let older = |name: &str| {
        let written = resolved(name, "", &[]).unwrap().to_toml().unwrap();
        assert!(new(name, &written, &[]).is_empty(), "{name}: today's");
        let is_old = |line: &&str| {
            !["prefer_linear", "min_epoch_steps", "solver", "picture", "ensemble"]
                .iter()
                .any(|new| line.starts_with(new))
        };
        written.lines().filter(is_old).map(|line| line.to_owned() + "\n").collect::<String>()
    };
    let steps = resolved("dense", "", &[]).unwrap().fit.regime.min_epoch_steps;
    let told = [format!("min_epoch_steps = {steps}"), "prefer_linear = true".into()];
    assert_eq!(new("dense", &older("dense"), &[]), told, "those that say nothing are as they were");
    assert_eq!(new("dense", &older("dense"), &["prefer_linear=false"]), told[..1], "who says it knows it");
    let of_texts = new("text", &older("text"), &[]);
    assert!(of_texts.iter().any(|new| new == "reading.tokens = \"terms\", which was \"grams\""), "{of_texts:?}");
    let said = new("text", &older("text"), &["reading.tokens=grams"]);
    assert!(!said.iter().any(|new| new.starts_with("reading.tokens")), "{said:?}");
    assert!(new("dense", "epochs = 3\n[optimizer]\nlearning_rate = 0.1", &[]).is_empty(), "a file of some settings");
}
