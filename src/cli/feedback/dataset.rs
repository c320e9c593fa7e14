//! The part of an export that is labelled, as data to train on.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use super::chosen::{LINES, PREFIX, TABLE};
use super::labels::{TRUTHS, own};
use crate::error::{Error, Result};

/// The name of the data in the folder, without its ending.
const DATA: &str = "train";

/// Labels by request and item.
type ByItem = HashMap<(String, u64), Value>;

/// Writes the labelled inputs of an export's folder as data for `weir train`, without the export's own columns; returns
/// the file and how many they are.
///
/// # Errors
/// [`Error::Data`] when the folder holds no export; [`Error::Io`].
pub(super) fn write(folder: &Path, pieces: &[(u64, Value)]) -> Result<(PathBuf, usize)> {
    let labels = by_item(pieces);
    let (table, lines) = (folder.join(TABLE), folder.join(LINES));
    if table.is_file() {
        let (text, count) = of_table(&table, &labels)?;
        let path = folder.join(DATA).with_extension("csv");
        return fs::write(&path, text).map_err(Error::io("write", &path)).map(|()| (path, count));
    }
    if !lines.is_file() {
        let problem = format!("holds neither {TABLE} nor {LINES}: expected the folder of weir feedback export");
        return Err(Error::Data { file: folder.display().to_string(), problem });
    }
    let (text, count) = of_lines(&lines, &labels)?;
    let path = folder.join(DATA).with_extension("jsonl");
    fs::write(&path, text).map_err(Error::io("write", &path)).map(|()| (path, count))
}

/// Of several labels of an input the last one counts, unless an earlier one is gold.
fn by_item(pieces: &[(u64, Value)]) -> ByItem {
    let mut labels: HashMap<(String, u64), (bool, Value)> = HashMap::new();
    for (_, piece) in pieces {
        let Some(said) = piece.get("label").or_else(|| piece.get("value")) else { continue };
        let place = (piece["request_id"].as_str().unwrap_or_default().to_owned(), piece["item"].as_u64().unwrap_or(0));
        let is_gold = piece["source"] == json!("gold");
        if labels.get(&place).is_none_or(|(was_gold, _)| is_gold || !was_gold) {
            labels.insert(place, (is_gold, said.clone()));
        }
    }
    labels.into_iter().map(|(place, (_, said))| (place, said)).collect()
}

fn bad(path: &Path, problem: &dyn std::fmt::Display) -> Error {
    Error::Data { file: path.display().to_string(), problem: problem.to_string() }
}

/// Returns the name of the column with the truth.
fn truth(has: impl Fn(&str) -> bool) -> Option<&'static str> {
    TRUTHS.into_iter().find(|name| has(name))
}

fn of_table(path: &Path, labels: &ByItem) -> Result<(Vec<u8>, usize)> {
    let mut reader = csv::Reader::from_path(path).map_err(|error| bad(path, &error))?;
    let names = reader.headers().map_err(|error| bad(path, &error))?.clone();
    let place = |name: &str| names.iter().position(|column| column == name);
    let target = truth(|name| place(name).is_some()).and_then(place);
    let (Some(request), Some(item), Some(target)) = (place(&own("request_id")), place(&own("item")), target) else {
        return Err(bad(path, &"is no table of weir feedback export"));
    };
    let kept: Vec<usize> =
        (0..names.len()).filter(|column| *column == target || !names[*column].starts_with(PREFIX)).collect();
    let failed = |error: csv::Error| Error::internal("the table cannot be written", error);
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(kept.iter().map(|column| &names[*column])).map_err(failed)?;
    let mut count = 0;
    for record in reader.records() {
        let record = record.map_err(|error| bad(path, &error))?;
        let cell = |column: usize| record.get(column).unwrap_or_default();
        let asked = (cell(request).to_owned(), cell(item).parse().unwrap_or(0));
        let Some(said) = labels.get(&asked) else { continue };
        let said = said.as_str().map_or_else(|| said.to_string(), str::to_owned);
        let cells = kept.iter().map(|column| if *column == target { said.as_str() } else { cell(*column) });
        writer.write_record(cells).map_err(failed)?;
        count += 1;
    }
    let text =
        writer.into_inner().map_err(|error| Error::internal("the table cannot be written", error.into_error()))?;
    Ok((text, count))
}

fn of_lines(path: &Path, labels: &ByItem) -> Result<(String, usize)> {
    let text = fs::read_to_string(path).map_err(|error| bad(path, &error))?;
    let (mut out, mut count) = (String::new(), 0);
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        let mut row: Map<String, Value> = serde_json::from_str(line).map_err(|error| bad(path, &error))?;
        let request = row.get(&own("request_id")).and_then(Value::as_str).unwrap_or_default().to_owned();
        let item = row.get(&own("item")).and_then(Value::as_u64).unwrap_or(0);
        let target = truth(|name| row.contains_key(name)).unwrap_or("label");
        let Some(said) = labels.get(&(request, item)) else { continue };
        row.retain(|name, _| name == target || !name.starts_with(PREFIX));
        row.insert(target.to_owned(), said.clone());
        out.push_str(&Value::Object(row).to_string());
        out.push('\n');
        count += 1;
    }
    Ok((out, count))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn label(id: &str, label: &str, source: &str) -> (u64, Value) {
        (1, json!({"request_id": id, "item": 0, "label": label, "source": source}))
    }

    #[test]
    fn only_what_is_labelled_is_written_and_without_our_columns() {
        let folder = tempfile::TempDir::new().unwrap();
        let text = "file,label,weir_request_id,weir_item\na.png,,r,0\nb.png,,s,0\nc.png,,t,1\n";
        fs::write(folder.path().join(TABLE), text).unwrap();
        let labels =
            [label("s", "8", "expert"), label("r", "7", "gold"), label("r", "1", "expert"), label("t", "3", "expert")];
        let (path, count) = write(folder.path(), &labels).unwrap();
        assert_eq!((fs::read_to_string(path).unwrap().as_str(), count), ("file,label\na.png,7\nb.png,8\n", 2));
    }

    #[test]
    fn lines_keep_their_form() {
        let folder = tempfile::TempDir::new().unwrap();
        let line = json!({"sequence": "hello", "label": null, "weir_request_id": "r", "weir_item": 0});
        fs::write(folder.path().join(LINES), format!("{line}\n")).unwrap();
        let (path, count) = write(folder.path(), &[label("r", "yes", "expert")]).unwrap();
        let text = fs::read_to_string(path).unwrap();
        let expected = json!({"sequence": "hello", "label": "yes"});
        assert_eq!((serde_json::from_str::<Value>(&text).unwrap(), count), (expected, 1));
        let empty = tempfile::TempDir::new().unwrap();
        assert!(write(empty.path(), &[]).unwrap_err().to_string().contains("weir feedback export"));
    }
}
