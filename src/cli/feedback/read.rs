//! Labels in files: CSV, JSON Lines, Parquet, and what Label Studio exports.

use std::path::Path;

use serde_json::{Map, Value};

use super::labels::{Columns, Labels, of_export, own};
use super::{parquet, tasks};
use crate::error::{Error, Result};

/// Reads the labels of a file with the numbers of their lines.
///
/// # Errors
/// [`Error::Data`] naming the file and the line.
pub(super) fn read(path: &Path) -> Result<Labels> {
    let file = path.display().to_string();
    let bad = |problem: String| Error::Data { file: file.clone(), problem };
    let text = || std::fs::read_to_string(path).map_err(|error| bad(error.to_string()));
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("csv") => of_csv(&text()?).map_err(bad),
        Some("jsonl" | "ndjson") => of_lines(&text()?).map_err(bad),
        Some("parquet") => parquet::labels(path).map_err(bad),
        Some("json") => {
            let tasks: Vec<Value> = serde_json::from_str(&text()?)
                .map_err(|error| bad(format!("is no list of tasks, as Label Studio exports it: {error}")))?;
            let tasks::Annotated { pieces, unlabelled } = tasks::annotated(&tasks).map_err(bad)?;
            Ok(Labels { pieces, unlabelled })
        }
        _ => Err(bad("expected a file that ends in .csv, .jsonl, .parquet or .json".into())),
    }
}

fn of_lines(text: &str) -> std::result::Result<Labels, String> {
    let mut labels = Labels::default();
    for (line, number) in text.lines().zip(1..).filter(|(line, _)| !line.trim().is_empty()) {
        let piece: Value = serde_json::from_str(line).map_err(|error| format!("line {number} is no JSON: {error}"))?;
        match piece.as_object().filter(|line| line.contains_key(&own("request_id"))) {
            Some(line) => labels.add(number, of_export(line)),
            None => labels.pieces.push((number, piece)),
        }
    }
    Ok(labels)
}

fn of_csv(text: &str) -> std::result::Result<Labels, String> {
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(text.as_bytes());
    let names = reader.headers().map_err(|error| error.to_string())?.clone();
    let columns = Columns::of(&names.iter().collect::<Vec<_>>())?;
    let mut labels = Labels::default();
    for record in reader.records() {
        let record = record.map_err(|error| error.to_string())?;
        let line = record.position().map_or(0, |place| {
            // Of two characters that end a line the second one is read with the next record.
            let is_behind = text.as_bytes().get(place.byte() as usize) == Some(&b'\n');
            place.line() + u64::from(is_behind)
        });
        let mut piece = Map::new();
        for (name, cell) in names.iter().zip(&record).filter(|(_, cell)| !cell.is_empty()) {
            columns.read(name, cell, &mut piece).map_err(|problem| format!("line {line}: {problem}"))?;
        }
        labels.take(line, &columns, piece);
    }
    Ok(labels)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn cells_become_what_their_columns_hold() {
        let text = "request_id,item,label,value,correct,inclusion\na,0,7,,,0.5\nb,,,1.5,,\nc,,,,false,\n";
        let pieces = of_csv(text).unwrap().pieces;
        assert_eq!(pieces[0], (2, json!({"request_id": "a", "item": 0, "label": "7", "inclusion": 0.5})));
        assert_eq!(pieces[1].1, json!({"request_id": "b", "value": 1.5}));
        assert_eq!(pieces[2], (4, json!({"request_id": "c", "correct": false})));
        for (bad, hint) in [
            ("id,label\na,7\n", "no column request_id"),
            ("request_id,correct\na,maybe\n", "line 2: correct cannot be"),
            ("request_id,item\na,-1\n", "line 2: item"),
            ("request_id,item\r\na,0\r\na,-1\r\n", "line 3: item"),
            ("request_id,label\na\n", "line"),
        ] {
            let problem = of_csv(bad).unwrap_err();
            assert!(problem.contains(hint), "{problem}");
        }
    }

    #[test]
    fn of_an_export_only_what_is_labelled_is_said() {
        let head = "file,label,weir_request_id,weir_item,weir_predicted,weir_confidence,weir_selection,weir_inclusion";
        let text = format!("{head}\na.png,7,r,1,8,0.4,random,0.25\nb.png,,s,0,8,0.4,random,0.25\n");
        let expected = json!({"request_id": "r", "item": 1, "label": "7", "inclusion": 0.25, "source": "expert"});
        let labels = Labels { pieces: vec![(2, expected.clone())], unlabelled: 1 };
        assert_eq!(of_csv(&text).unwrap(), labels);
        // As Label Studio writes an annotated number.
        let text = "weir_item,weir_request_id,label\r\n0,r,\"[{\"\"number\"\":2.5}]\"\r\n";
        let number = json!({"request_id": "r", "item": 0, "value": 2.5, "source": "expert"});
        assert_eq!(of_csv(text).unwrap().pieces, [(2, number)]);
        let line =
            json!({"sequence": [1], "label": "7", "weir_request_id": "r", "weir_item": 1, "weir_inclusion": 0.25});
        let other = json!({"sequence": [1], "label": null, "weir_request_id": "s", "weir_item": 0});
        let labels = Labels { pieces: vec![(1, expected)], unlabelled: 1 };
        assert_eq!(of_lines(&format!("{line}\n{other}\n")).unwrap(), labels);
        // A column of the input may have any name but ours.
        let text = "item,label,value,weir_label,weir_request_id,weir_item\nchair,x,9,yes,r,0\nchair,x,9,,s,0\n";
        let labels = of_csv(text).unwrap();
        assert_eq!((labels.pieces.len(), labels.unlabelled), (1, 1));
        assert_eq!(labels.pieces[0].1, json!({"request_id": "r", "item": 0, "label": "yes", "source": "expert"}));
    }

    #[test]
    fn other_lines_are_taken_as_they_are() {
        let line = json!({"request_id": "a", "label": 7, "anything": 1});
        assert_eq!(of_lines(&line.to_string()).unwrap().pieces, [(1, line)]);
    }
}
