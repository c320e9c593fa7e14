use std::fs;
use std::os::unix::fs::symlink;

use tempfile::TempDir;

use super::*;
use crate::trainer::run_dir::RunDir;

const ARGUMENTS: &str = "preset = \"mnist-mlp\"\nepochs = 3\n[optimizer]\nlearning_rate = 0.01\n";

fn epoch(number: usize, loss: f64, validation: Option<f64>) -> String {
    let score = validation.map_or("null".into(), |loss| format!("{{\"samples\":9,\"loss\":{loss},\"accuracy\":0.5}}"));
    format!(
        "{{\"epoch\":{number},\"loss\":{loss},\"accuracy\":0.25,\"validation\":{score},\"learning_rate\":0.01,\
         \"images_per_second\":1000.5,\"duration_seconds\":0.5}}\n"
    )
}

/// Makes a run with these files, and lets go of it.
fn run(root: &TempDir, preset: &str, files: &[(&str, &str)]) {
    let made = RunDir::create(root.path(), preset, None).unwrap();
    files.iter().for_each(|(name, text)| made.write(name, text).unwrap());
}

fn runs(root: &TempDir) -> Runs {
    Runs::new(root.path().to_owned())
}

#[test]
fn a_run_is_read_while_it_writes() {
    let root = TempDir::new().unwrap();
    let made = RunDir::create(root.path(), "mnist-mlp", None).unwrap();
    made.write("args.toml", ARGUMENTS).unwrap();
    let torn = &epoch(3, 0.1, Some(0.1))[..50];
    let lines = epoch(1, 0.9, Some(0.7)) + &epoch(2, 0.5, Some(0.8)) + torn;
    made.write("metrics.jsonl", &lines).unwrap();
    let shown = runs(&root).show("mnist-mlp", "1").unwrap();
    assert_eq!((shown.summary.state, shown.summary.kind), (RunState::Running, RunKind::Train));
    assert_eq!((shown.curves.len(), shown.every, shown.summary.planned_epochs), (2, 1, Some(3)));
    let best = shown.summary.best.unwrap();
    assert_eq!((best.epoch, best.loss, best.accuracy, best.validated), (Some(1), Some(0.7), Some(0.5), true));
    assert_eq!(shown.settings["optimizer.learning_rate"], 0.01);
    drop(made);
    let stopped = runs(&root).show("mnist-mlp", "1").unwrap().summary;
    assert_eq!(stopped.state, RunState::Stopped);
    fs::write(root.path().join("mnist-mlp/1/card.md"), "").unwrap();
    fs::write(root.path().join("mnist-mlp/1/published.json"), "{\"model\":\"m\",\"version\":4}").unwrap();
    fs::write(root.path().join("mnist-mlp/1/report.html"), "<p>").unwrap();
    let finished = runs(&root).list(9).unwrap().runs.remove(0);
    assert_eq!((finished.state, finished.has_report), (RunState::Finished, true));
    assert_eq!(finished.published, Some(PublishedAs { model: "m".into(), version: 4 }));
    assert_eq!(runs(&root).report("mnist-mlp", "1").unwrap(), b"<p>");
}

#[test]
fn a_search_has_its_trials_and_an_auto_run_its_leaderboard() {
    let root = TempDir::new().unwrap();
    let trial = |number: usize, outcome: &str, objective: f64| {
        format!(
            "{{\"trial\":{number},\"settings\":{{\"batch_size\":{}}},\"outcome\":\"{outcome}\",\"objective\":{objective},\
             \"epoch\":2,\"validation\":{{\"samples\":9,\"loss\":{objective}}},\"rungs\":[],\"epochs\":2,\"seconds\":1.5}}",
            number * 8
        )
    };
    let header = "{\"settings\":\"\",\"search\":[\"batch_size=[8,16,24]\"],\"trials\":3,\"sampler\":\"tpe\",\
                  \"objective\":\"loss\",\"halving\":0,\"first_rung\":1}";
    let three = [trial(1, "finished", 0.5), trial(2, "stopped", 0.1), trial(3, "finished", 0.4)];
    let journal = format!("{header}\n{}\n", three.join("\n"));
    run(&root, "dense", &[("args.toml", ARGUMENTS), ("journal.jsonl", &journal)]);
    let shown = runs(&root).show("dense", "1").unwrap();
    assert_eq!((shown.summary.kind, shown.summary.state), (RunKind::Tune, RunState::Finished));
    assert_eq!((shown.summary.trials, shown.search.as_slice()), (Some(3), &["batch_size=[8,16,24]".to_owned()][..]));
    assert_eq!(shown.summary.best.unwrap().trial, Some(3), "one that was stopped is not the best");
    assert_eq!(shown.trials[1].settings["batch_size"], 16);
    let board = format!(
        "{{\"leaderboard\":[{}],\"best\":null}}",
        three[2].replace("\"trial\"", "\"preset\":\"dense\",\"trial\"")
    );
    run(&root, "auto", &[("args.toml", ARGUMENTS), ("card.md", ""), ("leaderboard.json", &board)]);
    let shown = runs(&root).show("auto", "1").unwrap();
    assert_eq!((shown.summary.kind, shown.trials[0].preset.as_deref()), (RunKind::Auto, Some("dense")));
}

#[test]
fn what_is_no_run_is_not_listed_and_nothing_outside_is_reached() {
    let (root, outside) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    run(&outside, "far", &[("args.toml", ARGUMENTS), ("report.html", "secret")]);
    symlink(outside.path().join("far"), root.path().join("linked")).unwrap();
    fs::create_dir_all(root.path().join("near")).unwrap();
    symlink(outside.path().join("far/1"), root.path().join("near/1")).unwrap();
    fs::create_dir_all(root.path().join(".features/1")).unwrap();
    fs::create_dir_all(root.path().join("empty/1")).unwrap();
    fs::write(root.path().join("file"), "").unwrap();
    run(&root, "own", &[("args.toml", "nonsense = ["), ("metrics.jsonl", "\n{}\nnull\n[1]\n")]);
    symlink(outside.path().join("far/1/report.html"), root.path().join("own/1/report.html")).unwrap();
    let listed = runs(&root).list(100).unwrap();
    assert_eq!(listed.runs.iter().map(|run| run.name.as_str()).collect::<Vec<_>>(), ["own/1"]);
    assert!(!listed.runs[0].has_report && listed.runs[0].best.is_none());
    for (preset, name) in [("linked", "1"), ("near", "1"), ("..", "far"), ("own", ".."), ("own", "1/2"), ("own", "2")] {
        assert!(matches!(runs(&root).show(preset, name), Err(Error::NotFound(_))), "{preset} {name}");
        assert!(matches!(runs(&root).report(preset, name), Err(Error::NotFound(_))), "{preset} {name}");
    }
    assert!(runs(&root).report("own", "1").is_err());
    let none = Runs::new(root.path().join("none")).list(9).unwrap();
    assert!(none.runs.is_empty() && none.folder.unwrap().ends_with("/none"));
}

#[test]
fn a_list_is_bounded_and_has_what_trains_first() {
    let root = TempDir::new().unwrap();
    let held = RunDir::create(root.path(), "a", None).unwrap();
    held.write("args.toml", ARGUMENTS).unwrap();
    (0..4).for_each(|_| run(&root, "b", &[("args.toml", ARGUMENTS)]));
    let listed = runs(&root).list(2).unwrap();
    assert_eq!((listed.runs.len(), listed.left_out), (2, 3));
    assert_eq!((listed.runs[0].name.as_str(), listed.runs[0].state), ("a/1", RunState::Running));
}

#[test]
fn long_curves_are_thinned_out_and_keep_their_end() {
    let figures = |epoch| EpochFigures {
        epoch,
        loss: None,
        accuracy: None,
        validation_loss: None,
        validation_accuracy: None,
        learning_rate: None,
        samples_per_second: None,
        seconds: None,
    };
    for (epochs, expected) in [(0, 1), (1, 1), (2000, 1), (2001, 2), (9999, 5)] {
        let (kept, every) = thinned((1..=epochs).map(figures).collect());
        assert_eq!((every, kept.last().map(|last| last.epoch)), (expected, (epochs > 0).then_some(epochs)));
        assert!(kept.len() <= MOST_POINTS + 1);
    }
}
