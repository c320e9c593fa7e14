//! JSON Lines: an object on every line, whose keys are the columns.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::fmt;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::cells::{Cell, TakeRow};
use super::steps::read_sequence;
use super::text::open;
use crate::error::Result;
use crate::ids::quote;
use crate::repository::ReadSettings;
use crate::trainer::dataset::faults::{Faults, unusable};
use crate::transform::Parsed;

/// Files with more different keys are refused: they are no columns.
const MAX_KEYS: usize = 10_000;

/// A file whose keys are known.
#[derive(Debug)]
pub(super) struct JsonLinesFile {
    path: PathBuf,
    /// The keys in the order in which they are met.
    pub(super) columns: Vec<String>,
    encoding: Option<String>,
    missing: Vec<String>,
}

impl JsonLinesFile {
    /// Reads the keys of all lines. What is wrong with a line is told when its cells are read.
    ///
    /// # Errors
    /// [`crate::error::Error::Data`] when there is no object, or there are too many different keys.
    pub(super) fn open(path: &Path, settings: &ReadSettings) -> Result<Self> {
        let (encoding, missing) = (settings.encoding.clone(), settings.missing.clone());
        let mut file = Self { path: path.into(), columns: Vec::new(), encoding, missing };
        let (mut known, mut columns) = (HashSet::new(), Vec::new());
        file.lines(|_, line| {
            let mut keys = Vec::new();
            let read = |line: &[u8], keys: &mut Vec<String>| {
                serde_json::Deserializer::from_slice(line).deserialize_map(Keys(keys)).is_ok()
            };
            if !read(line, &mut keys) {
                keys.clear();
                if !with_null(line).is_some_and(|line| read(&line, &mut keys)) {
                    return Ok(());
                }
            }
            for key in keys.into_iter().filter(|key| !key.is_empty()) {
                if known.insert(key.clone()) {
                    columns.push(key);
                }
            }
            let is_table = columns.len() <= MAX_KEYS;
            is_table.then_some(()).ok_or_else(|| unusable(path.display(), "has a new key on nearly every line"))
        })?;
        if columns.is_empty() {
            return Err(unusable(path.display(), "holds no JSON object with a key"));
        }
        file.columns = columns;
        Ok(file)
    }

    /// Calls `take` with each line that can be used, counted from 1. A key that a line does not have is a missing
    /// value.
    ///
    /// # Errors
    /// What `take` and `faults` return, and [`crate::error::Error::Data`] when the file cannot be read on.
    pub(super) fn each(&self, faults: &mut Faults, take: &mut TakeRow<'_>) -> Result<()> {
        let name = self.path.display().to_string();
        let places: HashMap<&str, usize> =
            self.columns.iter().enumerate().map(|(place, name)| (name.as_str(), place)).collect();
        let mut values = Vec::new();
        self.lines(|number, line| {
            let mut read = |line: &[u8]| {
                values.clear();
                values.resize_with(self.columns.len(), || JsonCell::Missing);
                let mut json = serde_json::Deserializer::from_slice(line);
                let row = LineSeed { places: &places, values: &mut values };
                row.deserialize(&mut json).and_then(|()| json.end())
            };
            let is_read = read(line).or_else(|error| with_null(line).map_or(Err(error), |line| read(&line)));
            if let Err(error) = is_read {
                let problem = format!("is no JSON object: {}", in_line(&error));
                return faults.report(&name, Some(u64::from(number)), problem);
            }
            let cells: Vec<Cell<'_>> = values.iter().map(|value| value.cell(&self.missing)).collect();
            take(number, &cells, faults)
        })
    }

    /// Calls `take` with each line that is not blank.
    fn lines(&self, mut take: impl FnMut(u32, &[u8]) -> Result<()>) -> Result<()> {
        let broken = |error| unusable(self.path.display(), error);
        let mut reader = BufReader::with_capacity(1 << 18, open(&self.path, self.encoding.as_deref())?);
        let (mut line, mut number) = (Vec::new(), 0);
        while reader.read_until(b'\n', &mut line).map_err(broken)? > 0 {
            number += 1;
            let text = line.trim_ascii();
            if !text.is_empty() {
                take(number, text)?;
            }
            line.clear();
        }
        Ok(())
    }
}

/// What is wrong, and where in its line: every line is parsed alone, so it is always the first.
fn in_line(error: &serde_json::Error) -> String {
    error.to_string().replace(" at line 1 column ", " at character ")
}

/// Returns a line with `null` in the place of NaN, as Python writes a missing number; `None` if there is none of these
/// outside of texts.
fn with_null(line: &[u8]) -> Option<Vec<u8>> {
    const NAN: &[u8] = b"NaN";
    let (mut changed, mut is_text, mut at) = (Vec::with_capacity(line.len() + 16), false, 0);
    let mut is_found = false;
    while let Some(byte) = line.get(at) {
        let step = match byte {
            b'\\' if is_text => 2,
            b'"' => {
                is_text = !is_text;
                1
            }
            b'N' if !is_text && line[at..].starts_with(NAN) => {
                is_found = true;
                changed.extend_from_slice(b"null");
                at += NAN.len();
                continue;
            }
            _ => 1,
        };
        changed.extend_from_slice(&line[at..line.len().min(at + step)]);
        at += step;
    }
    is_found.then_some(changed)
}

/// Takes the keys of an object, in their order.
struct Keys<'k>(&'k mut Vec<String>);

impl<'de> Visitor<'de> for Keys<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<(), A::Error> {
        while let Some(key) = map.next_key::<Cow<'de, str>>()? {
            map.next_value::<IgnoredAny>()?;
            self.0.push(key.into_owned());
        }
        Ok(())
    }
}

/// A value of a line.
#[derive(Debug)]
enum JsonCell {
    Missing,
    Number(f64),
    Text(String),
    List(Parsed),
    Broken(&'static str),
}

impl JsonCell {
    fn cell(&self, missing: &[String]) -> Cell<'_> {
        match self {
            Self::Text(text) if missing.contains(text) => Cell::Missing,
            Self::Number(number) if missing.iter().any(|word| word.parse() == Ok(*number)) => Cell::Missing,
            Self::Missing => Cell::Missing,
            Self::Number(number) => Cell::of_number(*number),
            Self::Text(text) if text.trim().is_empty() => Cell::Missing,
            Self::Text(text) => Cell::Text(text),
            Self::List(list) => Cell::List(Cow::Borrowed(list)),
            Self::Broken(why) => Cell::Broken(why),
        }
    }
}

struct LineSeed<'a> {
    places: &'a HashMap<&'a str, usize>,
    values: &'a mut [JsonCell],
}

impl<'de> DeserializeSeed<'de> for LineSeed<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> std::result::Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for LineSeed<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<(), A::Error> {
        let mut is_given = vec![false; self.values.len()];
        while let Some(key) = map.next_key::<Cow<'de, str>>()? {
            let Some(&place) = self.places.get(key.as_ref()) else {
                map.next_value::<IgnoredAny>()?;
                continue;
            };
            if std::mem::replace(&mut is_given[place], true) {
                return Err(A::Error::custom(format_args!("{} is given twice", quote(&key))));
            }
            self.values[place] = map.next_value_seed(CellSeed)?;
        }
        Ok(())
    }
}

struct CellSeed;

impl<'de> DeserializeSeed<'de> for CellSeed {
    type Value = JsonCell;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> std::result::Result<JsonCell, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for CellSeed {
    type Value = JsonCell;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> std::result::Result<JsonCell, E> {
        Ok(JsonCell::Missing)
    }

    fn visit_bool<E>(self, value: bool) -> std::result::Result<JsonCell, E> {
        Ok(JsonCell::Text(value.to_string()))
    }

    fn visit_f64<E>(self, value: f64) -> std::result::Result<JsonCell, E> {
        Ok(JsonCell::Number(value))
    }

    fn visit_u64<E>(self, value: u64) -> std::result::Result<JsonCell, E> {
        Ok(JsonCell::Number(value as f64))
    }

    fn visit_i64<E>(self, value: i64) -> std::result::Result<JsonCell, E> {
        Ok(JsonCell::Number(value as f64))
    }

    fn visit_str<E>(self, value: &str) -> std::result::Result<JsonCell, E> {
        Ok(JsonCell::Text(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> std::result::Result<JsonCell, A::Error> {
        read_sequence(list).map(JsonCell::List)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<JsonCell, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(JsonCell::Broken("an object"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nan_is_null_outside_of_texts() {
        let changed = |line: &str| with_null(line.as_bytes()).map(|line| String::from_utf8(line).unwrap());
        assert_eq!(changed(r#"{"a": NaN, "b": [1, NaN]}"#).unwrap(), r#"{"a": null, "b": [1, null]}"#);
        assert_eq!(changed(r#"{"NaN \" NaN": 1}"#), None);
        assert_eq!(changed(r#"{"a": 1}"#), None);
    }
}
