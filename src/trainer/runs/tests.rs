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
    Runs::open(root.path().to_owned()).unwrap()
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
    let finished = runs(&root).list(9).runs.remove(0);
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
    let listed = runs(&root).list(100);
    assert_eq!(listed.runs.iter().map(|run| run.name.as_str()).collect::<Vec<_>>(), ["own/1"]);
    assert!(!listed.runs[0].has_report && listed.runs[0].best.is_none());
    for (preset, name) in [("linked", "1"), ("near", "1"), ("..", "far"), ("own", ".."), ("own", "1/2"), ("own", "2")] {
        assert!(matches!(runs(&root).show(preset, name), Err(Error::NotFound(_))), "{preset} {name}");
        assert!(matches!(runs(&root).report(preset, name), Err(Error::NotFound(_))), "{preset} {name}");
    }
    assert!(runs(&root).report("own", "1").is_err());
    let none = Runs::open(root.path().join("none")).unwrap().list(9);
    assert!(none.runs.is_empty() && none.problem.is_none() && none.folder.unwrap().ends_with("/none"));
}

#[test]
fn a_list_is_bounded_and_has_what_trains_first() {
    let root = TempDir::new().unwrap();
    let held = RunDir::create(root.path(), "a", None).unwrap();
    held.write("args.toml", ARGUMENTS).unwrap();
    (0..4).for_each(|_| run(&root, "b", &[("args.toml", ARGUMENTS)]));
    let listed = runs(&root).list(2);
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

#[test]
fn what_is_no_folder_is_refused_at_the_start_and_told_of_later() {
    let root = TempDir::new().unwrap();
    let (file, folder) = (root.path().join("file"), root.path().join("folder"));
    fs::write(&file, "").unwrap();
    for path in [file.clone(), file.join("below")] {
        let problem = Runs::open(path).unwrap_err().to_string();
        assert!(problem.starts_with("setting runs: ") && problem.contains("expected the folder"), "{problem}");
    }
    let made = RunDir::create(&folder, "a", None).unwrap();
    made.write("args.toml", ARGUMENTS).unwrap();
    let runs = Runs::open(folder.clone()).unwrap();
    assert_eq!(runs.list(9).runs.len(), 1);
    fs::rename(&folder, root.path().join("moved")).unwrap();
    let gone = runs.list(9);
    assert!(gone.runs.is_empty() && gone.problem.is_none());
    fs::write(&folder, "").unwrap();
    let replaced = runs.list(9);
    assert!(replaced.runs.is_empty() && replaced.problem.unwrap().contains("cannot be read"));
    for refused in [runs.show("a", "1").map(drop), runs.report("a", "1").map(drop)] {
        let refused = refused.unwrap_err();
        assert!(matches!(&refused, Error::NotFound(text) if text.contains("cannot be read")), "{refused}");
    }
}

/// Makes bare runs of two presets, whose dates are a second apart.
fn make_dated(root: &TempDir, count: usize) {
    for number in 1..=count {
        let path = root.path().join(if number.is_multiple_of(2) { "even" } else { "odd" }).join(number.to_string());
        fs::create_dir_all(&path).unwrap();
        fs::write(path.join("args.toml"), "").unwrap();
        let date = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000 + number as u64);
        fs::File::open(&path).unwrap().set_modified(date).unwrap();
    }
}

#[test]
fn of_very_many_runs_the_latest_are_listed_and_the_others_counted() {
    let root = TempDir::new().unwrap();
    make_dated(&root, MOST_OPENED + 50);
    let list = runs(&root).list(3);
    let names: Vec<&str> = list.runs.iter().map(|run| run.name.as_str()).collect();
    assert_eq!(names, ["even/2050", "odd/2049", "even/2048"]);
    assert_eq!((list.left_out, list.incomplete), (MOST_OPENED + 47, false));
}

#[test]
fn a_long_run_is_read_to_its_end() {
    let root = TempDir::new().unwrap();
    let lines: String = (1..=40_000).map(|number| epoch(number, 1.0 / number as f64, None)).collect();
    assert!(lines.len() as u64 > journal::MOST_BYTES);
    run(&root, "long", &[("args.toml", "epochs = 40000"), ("metrics.jsonl", &lines)]);
    let shown = runs(&root).show("long", "1").unwrap();
    let (first, last) = (shown.curves.first().unwrap(), shown.curves.last().unwrap());
    assert_eq!((first.epoch, last.epoch, shown.summary.epochs), (1, 40_000, 40_000));
    assert!(shown.summary.thinned && (1000..=MOST_POINTS + 1).contains(&shown.curves.len()), "{}", shown.curves.len());
    let distances = shown.curves.windows(2).map(|pair| pair[1].epoch - pair[0].epoch);
    assert!(distances.max().unwrap() <= 3 * shown.every, "all over the run: every {}", shown.every);
    assert_eq!(shown.summary.best.unwrap().epoch, Some(40_000));
    let listed = runs(&root).list(1).runs.remove(0);
    assert_eq!(listed, shown.summary);
    run(&root, "short", &[("args.toml", "epochs = 1"), ("metrics.jsonl", &epoch(1, 0.5, None))]);
    assert!(!runs(&root).show("short", "1").unwrap().summary.thinned);
}

#[test]
fn of_a_long_search_the_latest_trials_and_the_best_are_shown() {
    let root = TempDir::new().unwrap();
    let header = "{\"settings\":\"\",\"search\":[\"seed=1..9\"],\"trials\":20000,\"objective\":\"loss\"}\n";
    let note = "x".repeat(300);
    let trial = |number: usize| {
        let objective = if number == 2 { 0.1 } else { 0.5 };
        format!(
            "{{\"trial\":{number},\"settings\":{{\"note\":\"{note}\"}},\"outcome\":\"finished\",\"objective\":{objective},\
             \"epoch\":1,\"validation\":{{\"samples\":9,\"loss\":{objective}}},\"epochs\":1,\"seconds\":1.5}}\n"
        )
    };
    let journal: String = header.to_owned() + &(1..=20_000).map(trial).collect::<String>();
    run(&root, "dense", &[("args.toml", ARGUMENTS), ("journal.jsonl", &journal)]);
    let shown = runs(&root).show("dense", "1").unwrap();
    let summary = &shown.summary;
    assert_eq!((summary.trials, summary.state, summary.thinned), (Some(20_000), RunState::Finished, true));
    let numbers: Vec<usize> = shown.trials.iter().map(|trial| trial.trial).collect();
    assert_eq!((numbers.len(), numbers[0], numbers[MOST_TRIALS - 1]), (MOST_TRIALS, 2, 20_000));
    assert_eq!((shown.trials_left_out, summary.best.unwrap().trial), (19_000, Some(2)));
}
