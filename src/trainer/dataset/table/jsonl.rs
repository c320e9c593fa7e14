//! JSON Lines: an object on every line, whose keys are the columns.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::cells::{Cell, TakeRow};
use super::steps::read_sequence;
use crate::error::Result;
use crate::ids::quote;
use crate::trainer::dataset::faults::{Faults, unusable};
use crate::transform::Parsed;

/// Files with more different keys are refused: they are no columns.
const MAX_KEYS: usize = 10_000;

/// A file whose keys are known.
#[derive(Debug)]
pub(super) struct JsonLinesFile {
    path: PathBuf,
    pub(super) columns: Vec<String>,
}

impl JsonLinesFile {
    /// Reads the keys of all lines. What is wrong with a line is told when its cells are read.
    ///
    /// # Errors
    /// [`crate::error::Error::Data`] when there is no object, or there are too many different keys.
    pub(super) fn open(path: &Path) -> Result<Self> {
        let mut places = HashMap::new();
        let mut file = Self { path: path.into(), columns: Vec::new() };
        file.lines(|_, line| {
            let Ok(keys) = serde_json::from_slice::<HashMap<Cow<'_, str>, IgnoredAny>>(line) else { return Ok(()) };
            for key in keys.into_keys().filter(|key| !key.is_empty()) {
                let next = places.len();
                places.entry(key.into_owned()).or_insert(next);
            }
            let is_table = places.len() <= MAX_KEYS;
            is_table.then_some(()).ok_or_else(|| unusable(path.display(), "has a new key on nearly every line"))
        })?;
        if places.is_empty() {
            return Err(unusable(path.display(), "holds no JSON object with a key"));
        }
        file.columns = places.into_keys().collect();
        file.columns.sort_unstable();
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
            values.clear();
            values.resize_with(self.columns.len(), || JsonCell::Missing);
            let mut json = serde_json::Deserializer::from_slice(line);
            let row = LineSeed { places: &places, values: &mut values };
            if let Err(error) = row.deserialize(&mut json).and_then(|()| json.end()) {
                return faults.report(
                    &name,
                    Some(u64::from(number)),
                    format!("is no JSON object: {}", in_line(&error)),
                );
            }
            let cells: Vec<Cell<'_>> = values.iter().map(JsonCell::cell).collect();
            take(number, &cells, faults)
        })
    }

    /// Calls `take` with each line that is not blank.
    fn lines(&self, mut take: impl FnMut(u32, &[u8]) -> Result<()>) -> Result<()> {
        let broken = |error| unusable(self.path.display(), error);
        let mut reader = BufReader::with_capacity(1 << 18, File::open(&self.path).map_err(broken)?);
        let (mut line, mut number) = (Vec::new(), 0);
        while reader.read_until(b'\n', &mut line).map_err(broken)? > 0 {
            number += 1;
            let text = line.strip_prefix(b"\xef\xbb\xbf").filter(|_| number == 1).unwrap_or(&line).trim_ascii();
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
    fn cell(&self) -> Cell<'_> {
        match self {
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
