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
