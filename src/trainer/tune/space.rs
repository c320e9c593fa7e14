//! The search space: settings with the values they may take.
//!
//! A sampler sees every dimension as a line: the logarithm for what grows by factors, the number of the choice for
//! choices. What a trial is given is rounded to four digits, so that it can be written down and read again as it was.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use toml::Value;

use crate::error::{Error, Result};
use crate::trainer::recipe::parse_value;

/// Settings that say what a trial is judged on, so that trials with different ones could not be compared.
const FIXED: [&str; 11] = [
    "data",
    "validation",
    "validation_cap",
    "train_samples",
    "class_weights",
    "seed",
    "model",
    "models",
    "publish",
    "tensorboard",
    "time_seconds",
];

/// Settings below this one, too: how the data are read.
const FIXED_TABLE: &str = "reading.";

/// Short names.
const ALIASES: [(&str, &str); 2] =
    [("learning_rate", "optimizer.learning_rate"), ("weight_decay", "optimizer.weight_decay")];

/// One setting and the values it may take.
#[derive(Debug, Clone, PartialEq)]
pub struct Dimension {
    /// The setting's dotted key.
    pub key: String,
    pub(super) domain: Domain,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Domain {
    /// Between two numbers above 0, evenly in their logarithms.
    Log(f64, f64),
    /// Between two numbers.
    Uniform(f64, f64),
    /// Whole numbers between two, both included.
    Whole(i64, i64),
    /// One of these.
    Choice(Vec<Value>),
}

impl Dimension {
    /// Reads `learning_rate=log(1e-4,1e-1)`, `mixup=uniform(0.05,1)`, `epochs=int(2,9)`, `batch_size=[32,64]` or
    /// `schedule.kind=[cosine,one_cycle]`.
    ///
    /// # Errors
    /// [`Error::Config`] with what was expected.
    pub fn parse(text: &str) -> Result<Self> {
        let refuse = |problem: String| Error::Config { setting: "--search".into(), problem };
        let form = "expected KEY=log(LOW,HIGH), KEY=uniform(LOW,HIGH), KEY=int(LOW,HIGH) or KEY=[VALUE,…]";
        let malformed = || refuse(format!("{form}, got \"{text}\""));
        let (key, domain) = text.split_once('=').ok_or_else(malformed)?;
        let (key, domain) = (key.trim(), domain.trim());
        let key = ALIASES.iter().find(|(short, _)| *short == key).map_or(key, |(_, long)| long);
        if FIXED.contains(&key) || key.starts_with(FIXED_TABLE) {
            return Err(refuse(format!("{key} is the same for all trials, or they could not be compared")));
        }
        let domain = if let Some(values) = domain.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            let values: Vec<Value> = values.split(',').map(|value| parse_value(value.trim())).collect();
            if values.len() < 2 {
                return Err(refuse(format!("{key} has nothing to choose from: {domain}")));
            }
            Domain::Choice(values)
        } else {
            let (kind, range) = domain.split_once('(').ok_or_else(malformed)?;
            let (low, high) = range.strip_suffix(')').and_then(|range| range.split_once(',')).ok_or_else(malformed)?;
            let number = |text: &str| text.trim().parse::<f64>().ok().filter(|number| number.is_finite());
            let (low, high) = number(low).zip(number(high)).ok_or_else(malformed)?;
            if low >= high || (kind.trim() == "log" && low <= 0.0) {
                let above = if kind.trim() == "log" { " and above 0" } else { "" };
                return Err(refuse(format!("{key}: the first number must be the lower one{above}, got {domain}")));
            }
            match kind.trim() {
                "log" => Domain::Log(low, high),
                "uniform" => Domain::Uniform(low, high),
                "int" => Domain::Whole(low.ceil() as i64, high.floor() as i64),
                _ => return Err(malformed()),
            }
        };
        Ok(Self { key: key.into(), domain })
    }

    /// The ends of its line.
    pub(super) fn line(&self) -> (f64, f64) {
        match &self.domain {
            Domain::Log(low, high) => (low.ln(), high.ln()),
            Domain::Uniform(low, high) => (*low, *high),
            Domain::Whole(low, high) => (*low as f64 - 0.5, *high as f64 + 0.5),
            Domain::Choice(values) => (0.0, values.len() as f64),
        }
    }

    /// Returns the number of choices, if it is one.
    pub(super) fn choices(&self) -> Option<usize> {
        match &self.domain {
            Domain::Choice(values) => Some(values.len()),
            _ => None,
        }
    }

    /// A place on its line, all as probable.
    pub(super) fn draw(&self, rng: &mut ChaCha8Rng) -> f64 {
        let (low, high) = self.line();
        rng.random_range(low..high)
    }

    /// The value at a place of its line.
    pub(super) fn value(&self, place: f64) -> Value {
        match &self.domain {
            Domain::Log(low, high) => Value::Float(rounded(place.exp()).clamp(*low, *high)),
            Domain::Uniform(low, high) => Value::Float(rounded(place).clamp(*low, *high)),
            Domain::Whole(low, high) => Value::Integer((place.round() as i64).clamp(*low, *high)),
            Domain::Choice(values) => values[(place.max(0.0) as usize).min(values.len() - 1)].clone(),
        }
    }

    /// The place of a value that [`value`](Self::value) gave.
    pub(super) fn place(&self, value: &Value) -> f64 {
        let number = || value.as_float().or_else(|| value.as_integer().map(|whole| whole as f64)).unwrap_or_default();
        match &self.domain {
            Domain::Log(..) => number().ln(),
            Domain::Uniform(..) | Domain::Whole(..) => number(),
            Domain::Choice(values) => values.iter().position(|choice| choice == value).unwrap_or(0) as f64 + 0.5,
        }
    }
}

/// To four digits.
fn rounded(number: f64) -> f64 {
    format!("{number:.3e}").parse().unwrap_or(number)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::trainer::random::keyed_rng;

    #[test]
    fn searches_are_read_as_people_write_them() {
        let parsed = |text: &str| Dimension::parse(text).map(|dimension| (dimension.key, dimension.domain));
        for (text, key, domain) in [
            ("learning_rate=log(1e-4,1e-1)", "optimizer.learning_rate", Domain::Log(1e-4, 1e-1)),
            ("mixup = uniform(0.05, 1)", "mixup", Domain::Uniform(0.05, 1.0)),
            ("epochs=int(2,9)", "epochs", Domain::Whole(2, 9)),
            ("batch_size=[32, 64]", "batch_size", Domain::Choice(vec![32.into(), 64.into()])),
            ("schedule.kind=[cosine,\"step\"]", "schedule.kind", Domain::Choice(vec!["cosine".into(), "step".into()])),
        ] {
            assert_eq!(parsed(text).unwrap(), (key.to_owned(), domain), "{text}");
        }
        for (text, hint) in [
            ("epochs", "expected KEY=log"),
            ("epochs=3", "expected KEY=log"),
            ("epochs=exp(1,2)", "expected KEY=log"),
            ("epochs=int(1)", "expected KEY=log"),
            ("epochs=int(5,1)", "lower one"),
            ("learning_rate=log(0,1)", "above 0"),
            ("batch_size=[3]", "nothing to choose"),
            ("seed=int(1,9)", "same for all trials"),
            ("validation=[1,2]", "same for all trials"),
            ("class_weights=[none,balanced]", "same for all trials"),
            ("reading.target=[a,b]", "same for all trials"),
        ] {
            let refused = Dimension::parse(text).unwrap_err().to_string();
            assert!(refused.contains(hint), "{text}: {refused}");
        }
    }

    proptest! {
        #[test]
        fn what_is_drawn_is_within_and_comes_back_from_its_value(index: u64, which in 0usize..4) {
            let text = ["a=log(1e-5,1)", "a=uniform(-3,7)", "a=int(-2,5)", "a=[x,2,true]"][which];
            let dimension = Dimension::parse(text).unwrap();
            let place = dimension.draw(&mut keyed_rng(1, "tune", 0, index));
            let (low, high) = dimension.line();
            prop_assert!((low..high).contains(&place));
            let value = dimension.value(place);
            prop_assert_eq!(dimension.value(dimension.place(&value)), value.clone());
            let written = serde_json::to_string(&value).unwrap();
            prop_assert_eq!(serde_json::from_str::<Value>(&written).unwrap(), value, "as a journal keeps it");
        }
    }
}
