//! Labels, and the names of the columns that hold them.

use serde_json::{Map, Value, json};

use super::chosen::PREFIX;
use crate::ids::quote;

/// The labels of a file.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Labels {
    /// Bodies of `POST /feedback`, each with the number of its line or task.
    pub(super) pieces: Vec<(u64, Value)>,
    /// Inputs of an export that have no label yet.
    pub(super) unlabelled: u64,
}

/// The columns of a table of labels.
#[derive(Debug)]
pub(super) struct Columns {
    /// Set if the table is an export, of which only some columns are about labels.
    is_export: bool,
    /// Set if the column of an export that holds the truth has the longer name.
    has_own: bool,
}

impl Columns {
    /// Recognises a table by the names of its columns.
    ///
    /// # Errors
    /// Nothing in it says which predictions its labels are about.
    pub(super) fn of(names: &[&str]) -> Result<Self, String> {
        let has = |wanted: &str| names.contains(&wanted);
        let (is_export, has_own) = (has(&own("request_id")), TRUTHS[..2].iter().any(|name| has(name)));
        if !is_export && !has("request_id") && !has("receipt") {
            return Err(format!(
                "names no column request_id and no column receipt; its columns: {}",
                quote(&names.join(","))
            ));
        }
        Ok(Self { is_export, has_own })
    }

    /// Takes a cell, which is not empty, into the fields of a label.
    ///
    /// # Errors
    /// The column and the cell, which cannot be what the column holds.
    pub(super) fn read(&self, name: &str, cell: &str, fields: &mut Map<String, Value>) -> Result<(), String> {
        if self.is_of_the_input(name) {
            return Ok(());
        }
        let value = match name.strip_prefix(PREFIX).filter(|_| self.is_export).unwrap_or(name) {
            "item" => cell.parse::<u32>().map(Value::from).ok(),
            "value" | "inclusion" => cell.parse::<f64>().ok().map(Value::from),
            "correct" | "retract" => match cell {
                "true" | "1" => Some(json!(true)),
                "false" | "0" => Some(json!(false)),
                _ => None,
            },
            _ => Some(json!(cell)),
        };
        let value = value.ok_or_else(|| format!("{name} cannot be {}", quote(cell)))?;
        fields.insert(name.to_owned(), value);
        Ok(())
    }

    /// Returns true for a column of an export that says nothing about a label.
    pub(super) fn is_of_the_input(&self, name: &str) -> bool {
        let is_truth = TRUTHS.contains(&name) && self.has_own == name.starts_with(PREFIX);
        let is_own = ["weir_request_id", "weir_item", "weir_inclusion"].contains(&name);
        self.is_export && !is_truth && !is_own
    }
}

/// Returns the name of a column that is the export's own.
pub(super) fn own(name: &str) -> String {
    format!("{PREFIX}{name}")
}

/// The columns that may hold the truth, those with the longer name first: then the other one is the input's.
pub(super) const TRUTHS: [&str; 4] = ["weir_label", "weir_value", "label", "value"];

/// Returns the feedback in a row of an export; `None` where it is not labelled yet.
pub(super) fn of_export(row: &Map<String, Value>) -> Option<Value> {
    let said = |name: &&&str| row.get(**name).is_some_and(|value| !value.is_null() && *value != json!(""));
    let has_own = row.contains_key("weir_label") || row.contains_key("weir_value");
    let truth = TRUTHS.iter().filter(|name| !has_own || name.starts_with(PREFIX)).find(said)?;
    let mut piece = Map::new();
    for name in ["request_id", "item", "inclusion"] {
        row.get(&own(name)).into_iter().for_each(|value| drop(piece.insert(name.into(), value.clone())));
    }
    match annotated_number(&row[*truth]) {
        Some(number) => piece.insert("value".into(), number),
        None => piece.insert(truth.trim_start_matches(PREFIX).into(), row[*truth].clone()),
    };
    piece.insert("source".into(), json!("expert"));
    Some(Value::Object(piece))
}

/// Returns the number in a cell of a CSV file of Label Studio, which has the JSON of an annotation there.
fn annotated_number(cell: &Value) -> Option<Value> {
    let list: Value = serde_json::from_str(cell.as_str().filter(|text| text.starts_with("[{"))?).ok()?;
    list.get(0)?.get("number").filter(|number| number.is_number()).cloned()
}

impl Labels {
    /// Takes the row of a table.
    pub(super) fn take(&mut self, line: u64, columns: &Columns, piece: Map<String, Value>) {
        match columns.is_export {
            true => self.add(line, of_export(&piece)),
            false => self.pieces.push((line, Value::Object(piece))),
        }
    }

    /// Takes a line of an export; one that is not labelled yet is counted.
    pub(super) fn add(&mut self, line: u64, piece: Option<Value>) {
        match piece {
            Some(piece) => self.pieces.push((line, piece)),
            None => self.unlabelled += 1,
        }
    }
}
