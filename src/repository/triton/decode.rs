//! Fields → a [`ModelConfig`], by the schema: what is refused, what is warned about, what is kept.

use std::collections::BTreeSet;

use serde_json::{Map, Number, Value as Json};

use super::config::ModelConfig;
use super::lexer::{Parsed, Place};
use super::schema::{FieldSpec, Kind, MODEL_CONFIG, Schema, Treatment};
use super::text::{Message, Value};
use crate::ids::quote;

/// Warnings that are listed; the rest is counted.
const MAX_WARNINGS: usize = 32;

/// A configuration, and what of the file has no effect.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Decoded {
    pub(super) config: ModelConfig,
    pub(super) warnings: Vec<String>,
}

/// Reads the text of a `config.pbtxt`.
///
/// # Errors
/// What is wrong or not supported, with its line and column.
pub(super) fn decode(text: &str) -> Parsed<Decoded> {
    let message = Message::parse(text)?;
    let mut decoder = Decoder::default();
    let fields = decoder.message(&message, &MODEL_CONFIG, "")?;
    let config = serde_json::from_value(Json::Object(fields)).map_err(|error| error.to_string())?;
    let mut warnings = decoder.warnings;
    if decoder.more > 0 {
        warnings.push(format!("and {} more", decoder.more));
    }
    Ok(Decoded { config, warnings })
}

#[derive(Default)]
struct Decoder {
    warned: BTreeSet<String>,
    warnings: Vec<String>,
    more: usize,
}

impl Decoder {
    fn message(&mut self, message: &Message, schema: &Schema, path: &str) -> Parsed<Map<String, Json>> {
        let mut object = Map::new();
        for field in &message.fields {
            let path = if path.is_empty() { field.name.clone() } else { format!("{path}.{}", field.name) };
            let Some(spec) = schema.fields.iter().find(|spec| spec.name == field.name) else {
                self.warn(&path, field.place, "is not known and has no effect");
                continue;
            };
            self.one_of(spec, schema, &object, field.place)?;
            if let Some(value) = self.field(spec, field.place, &field.value, &path)? {
                insert(&mut object, spec, value).map_err(|()| format!("{}: {path} is given twice", field.place))?;
            }
        }
        Ok(object)
    }

    fn one_of(&self, spec: &FieldSpec, schema: &Schema, object: &Map<String, Json>, place: Place) -> Parsed<()> {
        let is_rival = |other: &&&str| **other != spec.name && object.contains_key(**other);
        match schema.one_of.iter().find(is_rival).filter(|_| schema.one_of.contains(&spec.name)) {
            Some(other) => Err(format!("{place}: only one of {other} and {} can be set", spec.name)),
            None => Ok(()),
        }
    }

    /// The value of a field, unless it is warned about and not kept.
    fn field(&mut self, spec: &FieldSpec, place: Place, value: &Value, path: &str) -> Parsed<Option<Json>> {
        let json = match spec.kind {
            Kind::Anything => None,
            kind => Some(self.value(kind, place, value, path)?),
        };
        let is_default = match &json {
            Some(Json::Bool(is_set)) => !is_set,
            Some(Json::String(text)) => text.is_empty(),
            _ => false,
        };
        match spec.treatment {
            _ if is_default => {}
            Treatment::Obeyed(_) => {}
            Treatment::Warned(why) => self.warn(path, place, &format!("has no effect: {why}")),
            Treatment::Refused(why) => return Err(format!("{place}: {path} is not supported: {why}")),
        }
        Ok(json)
    }

    /// Each path is named once.
    fn warn(&mut self, path: &str, place: Place, what: &str) {
        if !self.warned.insert(path.to_owned()) {
            return;
        }
        if self.warnings.len() == MAX_WARNINGS {
            self.more += 1;
        } else {
            self.warnings.push(format!("{} (line {}) {what}", crate::ids::printable(path, 100), place.line));
        }
    }

    fn value(&mut self, kind: Kind, place: Place, value: &Value, path: &str) -> Parsed<Json> {
        let integer = |range: std::ops::RangeInclusive<i128>| match value {
            Value::Integer(number) if range.contains(number) => {
                let number =
                    u64::try_from(*number).map(Number::from).or_else(|_| i64::try_from(*number).map(Number::from));
                number.map(Json::Number).map_err(|error| error.to_string())
            }
            _ => Err(wrong(&format!("a whole number from {} to {}", range.start(), range.end()), place, value, path)),
        };
        match (kind, value) {
            (Kind::Int32, _) => integer(i32::MIN.into()..=i32::MAX.into()),
            (Kind::Int64, _) => integer(i64::MIN.into()..=i64::MAX.into()),
            (Kind::Uint32, _) => integer(0..=u32::MAX.into()),
            (Kind::Uint64, _) => integer(0..=u64::MAX.into()),
            (Kind::Bool, Value::Word(word)) if ["true", "True", "t"].contains(&word.as_str()) => Ok(Json::Bool(true)),
            (Kind::Bool, Value::Word(word)) if ["false", "False", "f"].contains(&word.as_str()) => {
                Ok(Json::Bool(false))
            }
            (Kind::Bool, Value::Integer(bit @ (0 | 1))) => Ok(Json::Bool(*bit == 1)),
            (Kind::Text, Value::Text(text)) => Ok(Json::String(text.clone())),
            (Kind::Enum(names), Value::Word(word)) if names.contains(&word.as_str()) => Ok(Json::String(word.clone())),
            (Kind::Enum(names), Value::Integer(number)) if usize::try_from(*number).is_ok_and(|n| n < names.len()) => {
                Ok(Json::String(names[*number as usize].into()))
            }
            (Kind::Message(schema), Value::Message(message)) => self.message(message, schema, path).map(Json::Object),
            (Kind::Map(key, entry), Value::Message(message)) => self.entry(*key, *entry, message, place, path),
            (Kind::Bool, _) => Err(wrong("true or false", place, value, path)),
            (Kind::Text, _) => Err(wrong("a string in quotes", place, value, path)),
            (Kind::Enum(names), _) => Err(wrong(&format!("one of {}", names.join(", ")), place, value, path)),
            (Kind::Message(_) | Kind::Map(..), _) => Err(wrong("a message in { }", place, value, path)),
            (Kind::Anything, _) => Ok(Json::Null),
        }
    }

    /// An entry of a map: a message of a key and a value, each of which may be left out.
    fn entry(&mut self, key: Kind, kind: Kind, message: &Message, place: Place, path: &str) -> Parsed<Json> {
        let (mut name, mut value) = (String::new(), None);
        for field in &message.fields {
            match field.name.as_str() {
                "key" => {
                    name = match self.value(key, field.place, &field.value, path)? {
                        Json::String(text) => text,
                        other => other.to_string(),
                    }
                }
                "value" => value = Some(self.value(kind, field.place, &field.value, path)?),
                other => {
                    let (place, other) = (field.place, quote(other));
                    return Err(format!("{place}: {path} has entries of key and value, got {other}"));
                }
            }
        }
        let value = match (value, kind) {
            (Some(value), _) => value,
            (None, Kind::Message(_)) => Json::Object(Map::new()),
            (None, Kind::Text) => Json::String(String::new()),
            (None, _) => return Err(format!("{place}: {path} has an entry without a value")),
        };
        Ok(Json::Object(Map::from_iter([(name, value)])))
    }
}

/// Puts a value where it belongs; fails for a second value of a field that has one.
fn insert(object: &mut Map<String, Json>, spec: &FieldSpec, value: Json) -> Result<(), ()> {
    let held = object.get_mut(spec.name);
    match (spec.kind, value, held) {
        (Kind::Map(..), Json::Object(entry), Some(Json::Object(held))) => held.extend(entry),
        (Kind::Map(..), entry, _) => drop(object.insert(spec.name.into(), entry)),
        (_, value, Some(Json::Array(list))) if spec.many => list.push(value),
        (_, value, _) if spec.many => drop(object.insert(spec.name.into(), Json::Array(vec![value]))),
        (_, _, Some(_)) => return Err(()),
        (_, value, None) => drop(object.insert(spec.name.into(), value)),
    }
    Ok(())
}

fn wrong(expected: &str, place: Place, value: &Value, path: &str) -> String {
    let got = match value {
        Value::Integer(number) => number.to_string(),
        Value::Float(number) => number.to_string(),
        Value::Word(word) => quote(word),
        Value::Text(text) => format!("the string {}", quote(text)),
        Value::Message(_) => "a message".into(),
    };
    format!("{place}: {path} must be {expected}, got {got}")
}
