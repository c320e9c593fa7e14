//! Sequences as they are read: what is wrong is told by file and line, and what does not fit is cut or refused.

use serde_json::json;
use weir::error::Error;
use weir::repository::{ReadSettings, TaskChoice};
use weir::trainer::{DataOptions, DataSource, RunDir, TaskOptions, inspect, preset, train};

use super::data::{Quiet, Workshop};
use super::sequences::{manifest, reading, waves};

#[test]
fn what_is_wrong_is_told_by_file_and_line() {
    let good = waves(40);
    let lines: [(&str, &str); 9] = [
        ("{\"sequence\": [[1, 2]]", "row 41: is no JSON object: EOF"),
        ("[[1, 2]]", "row 41: is no JSON object: invalid type: sequence"),
        (
            r#"{"sequence": [[1, 2]], "label": "sine", "label": "sine"}"#,
            "row 41: is no JSON object: \"label\" is given twice",
        ),
        (
            r#"{"sequence": [[1, 2], [1]], "label": "sine"}"#,
            "row 41: column sequence: step 1: has 1 numbers, expected 2",
        ),
        (
            r#"{"sequence": [1, 2], "label": "sine"}"#,
            "row 41: column sequence must be a list of lists of 2 numbers, as the first one is, got a list of numbers",
        ),
        (r#"{"sequence": [], "label": "sine"}"#, "row 41: column sequence: it has no steps"),
        (r#"{"sequence": [[null, null]], "label": "sine"}"#, "row 41: column sequence: all of it is missing"),
        (r#"{"label": "sine"}"#, "row 41: column sequence must be a list"),
        (r#"{"sequence": [[1, 2]]}"#, "row 41: column label must be a class"),
    ];
    let shop = Workshop::of("lstm");
    for (line, expected) in lines {
        shop.write("waves.jsonl", format!("{good}{line}\n"));
        let (file, problem) = shop.refused("waves.jsonl");
        assert!(file.ends_with("waves.jsonl") && problem.contains(expected), "{line}: {file}: {problem}");
    }
    let all: String = lines.iter().map(|(line, _)| format!("\n{line}\n")).collect();
    shop.write("waves.jsonl", good + &all);
    let found = inspect(&shop.path("waves.jsonl"), &DataOptions::default(), 100).unwrap();
    assert_eq!((found.fault_count, found.faults[0].row, found.faults[8].row), (9, Some(42), Some(58)));
    assert_eq!((found.shape.as_slice(), found.parts[0].samples + found.parts[1].samples), (&[23, 2][..], 40));
    let figures = found.sequences.unwrap();
    assert_eq!((figures.lengths.least, figures.lengths.greatest, figures.channels.len()), (8, 23, 2));
    assert!(figures.channels[0].missing > 0 && figures.channels[1].missing == 0);
    assert_eq!(figures.channels[1].numbers.unwrap().least, 0.0);

    shop.write("waves.jsonl", b"\xff\n{}\n");
    assert!(shop.refused("waves.jsonl").1.contains("no JSON object with a key"));
    shop.write("waves.jsonl", "{\"a\": [1], \"label\": \"x\"}\n".repeat(5));
    assert!(shop.refused("waves.jsonl").1.contains("no column to learn from"));
}

#[test]
fn an_inspection_counts_tokens_that_a_model_would_not_know() {
    let shop = Workshop::of("lstm");
    shop.write("texts/train.csv", "text,label\nred red fox,a\nblue fox,b\nred hen,a\n");
    shop.write("texts/test.csv", "text,label\nred dog,a\nblue,b\n");
    let settings = ReadSettings { sequence: Some("text".into()), vocabulary: Some(3), ..ReadSettings::default() };
    let found = inspect(&shop.path("texts"), &DataOptions { reading: settings, ..DataOptions::default() }, 9).unwrap();
    let figures = found.sequences.unwrap();
    assert_eq!((figures.lengths.least, figures.lengths.median, figures.lengths.greatest), (1, 2, 3));
    let tokens = figures.tokens.unwrap();
    assert_eq!((tokens.different, tokens.vocabulary), (4, 3));
    let frequent: Vec<(&str, u64)> = tokens.frequent.iter().map(|(token, count)| (token.as_str(), *count)).collect();
    assert_eq!(frequent, [("red", 3), ("fox", 2), ("blue", 1)]);
    let shares: Vec<f64> = tokens.unknown.iter().map(|(_, share)| *share).collect();
    assert_eq!(shares, [1.0 / 7.0, 1.0 / 3.0]);
}

#[test]
fn sequences_are_cut_to_the_longest_of_the_training_part_or_as_one_says() {
    let shop = Workshop::of("lstm");
    let line = |length: usize, label: &str, split: &str| {
        json!({"sequence": (0..length).collect::<Vec<_>>(), "label": label, "split": split}).to_string() + "\n"
    };
    let lines = [(3, "a", "train"), (5, "b", "train"), (9, "a", "test"), (2, "b", "test"), (4, "a", "validation")];
    shop.write("cut.jsonl", lines.map(|(length, label, split)| line(length, label, split)).concat());
    let steps = |steps| {
        let settings = ReadSettings { steps, ..ReadSettings::default() };
        let (_, folder) = shop.train("cut.jsonl", 1, reading(settings)).unwrap().published.unwrap();
        manifest(&folder).transform.sequence.unwrap().steps
    };
    assert_eq!([steps(None), steps(Some(4)), steps(Some(100))], [5, 4, 5]);
    let settings = ReadSettings { steps: Some(4), ..ReadSettings::default() };
    let data = DataSource::read(&shop.path("cut.jsonl"), &DataOptions { reading: settings, ..DataOptions::default() });
    let data = data.unwrap();
    assert_eq!(data.test.inputs(0..1).unwrap(), [5.0, 6.0, 7.0, 8.0]);
    assert!(
        data.notes.iter().any(|note| note.contains("2 of 5 sequences are longer than 4 steps")),
        "{:?}",
        data.notes
    );
}

#[test]
fn presets_that_cannot_take_the_data_say_which_can() {
    let shop = Workshop::of("dense");
    shop.write("waves.jsonl", waves(60));
    let refused = |preset_name: &str, data: &str| {
        let mut request = shop.request(data, 1, TaskOptions::default());
        request.preset = preset(preset_name).unwrap();
        request.fit.regime = request.preset.regime;
        let run = RunDir::create(&shop.path("runs"), "any", None).unwrap();
        match train(&request, &run, false, &mut |_, _| {}, &mut Quiet).unwrap_err() {
            Error::Config { problem, .. } => problem,
            other => panic!("{other}"),
        }
    };
    assert!(refused("dense", "waves.jsonl").contains("weir train lstm, gru and conv1d do"));
    assert!(
        refused("mnist-cnn", "waves.jsonl").contains("mnist-cnn takes no sequences"),
        "and not that it moves images"
    );
    assert!(refused("mnist-lstm", "waves.jsonl").contains("give --augment none"));
    assert!(refused("mnist-vae", "waves.jsonl").contains("mnist-vae takes no sequences"));
    shop.write("table.csv", (0..60).map(|row| format!("{row},{}\n", row % 2)).collect::<String>());
    assert!(refused("gru", "table.csv").contains("weir train dense"));
    shop.write("text.csv", "text,label\nhello,a\n");
    let settings = ReadSettings { sequence: Some("txt".into()), task: TaskChoice::Auto, ..ReadSettings::default() };
    let options = DataOptions { reading: settings, ..DataOptions::default() };
    let refused = DataSource::read(&shop.path("text.csv"), &options).unwrap_err().to_string();
    assert!(refused.contains("there is no column \"txt\"; there are: text, label"), "{refused}");
}
