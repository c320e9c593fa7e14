//! The configuration that a load request may bring: a piece of Triton's `ModelConfig` in JSON. What has
//! a meaning here is obeyed; what says the same as the present configuration is fine; anything else is
//! refused by its name.

use serde_json::{Map, Value};

use super::config::model_config;
use crate::api::state::ApiState;
use crate::config::VersionPolicy;
use crate::error::{Error, Result};
use crate::ids::{ModelName, Version, quote, shortened};
use crate::repository::{Choice, Overrides};

/// Reads a configuration for a model.
///
/// # Errors
/// [`Error::Malformed`] for what is no configuration, [`Error::InvalidInput`] naming what is not
/// supported.
pub(super) fn overrides(state: &ApiState, model: &ModelName, json: &str) -> Result<Overrides> {
    let config: Map<String, Value> = serde_json::from_str(json).map_err(|error| {
        let problem = shortened(&error.to_string());
        Error::Malformed(format!("the parameter \"config\" is no JSON object: {problem}"))
    })?;
    let present = model_config(state, model.as_str(), "").ok();
    let present = present.and_then(|config| serde_json::to_value(config).ok()).unwrap_or_default();
    read(config, model, &present)
}

fn read(config: Map<String, Value>, model: &ModelName, present: &Value) -> Result<Overrides> {
    let mut overrides = Overrides::default();
    for (key, value) in config {
        let key = snake_case(&key);
        let is_present = present.get(&key) == Some(&value);
        match key.as_str() {
            _ if is_present => keep(&key, &mut overrides),
            "name" if value == model.as_str() || value == "" => {}
            "max_batch_size" => overrides.max_batch_size = Choice::Set(size(&value, &key)?.max(1)),
            "dynamic_batching" => dynamic_batching(object(value, &key)?, &mut overrides)?,
            "instance_group" => overrides.concurrency = Choice::Set(instances(value)?),
            "version_policy" => overrides.versions = Choice::Set(version_policy(object(value, &key)?)?),
            "response_cache" => overrides.cache = Choice::Set(response_cache(&object(value, &key)?)?),
            _ if is_neutral(&value) => {}
            _ => return Err(unsupported(&key)),
        }
    }
    Ok(overrides)
}

/// Keeps a setting whose value is the present one, whoever chose it before.
fn keep(key: &str, overrides: &mut Overrides) {
    match key {
        "max_batch_size" => overrides.max_batch_size = Choice::Kept,
        "dynamic_batching" => {
            overrides.preferred_batch_sizes = Choice::Kept;
            overrides.max_queue_delay_microseconds = Choice::Kept;
        }
        "instance_group" => overrides.concurrency = Choice::Kept,
        "response_cache" => overrides.cache = Choice::Kept,
        _ => {}
    }
}

fn response_cache(cache: &Map<String, Value>) -> Result<bool> {
    only(cache, "response_cache", &["enable"])?;
    match cache.get("enable") {
        None => Ok(false),
        Some(enable) => enable.as_bool().ok_or_else(|| misfit("response_cache.enable", "true or false")),
    }
}

fn dynamic_batching(batching: Map<String, Value>, overrides: &mut Overrides) -> Result<()> {
    for (key, value) in batching {
        match snake_case(&key).as_str() {
            "preferred_batch_size" => {
                let sizes = value.as_array().ok_or_else(|| misfit("preferred_batch_size", "a list of numbers"))?;
                let sizes =
                    sizes.iter().map(|size_of| size(size_of, "preferred_batch_size")).collect::<Result<Vec<_>>>()?;
                if sizes.contains(&0) {
                    return Err(misfit("preferred_batch_size", "a list of numbers of at least 1"));
                }
                overrides.preferred_batch_sizes = Choice::Set(sizes);
            }
            "max_queue_delay_microseconds" => {
                overrides.max_queue_delay_microseconds = Choice::Set(number(&value, "max_queue_delay_microseconds")?);
            }
            // What the present configuration says of them, which is no choice.
            "priority_levels" | "default_priority_level" => {}
            _ if is_neutral(&value) => {}
            key => return Err(unsupported(&format!("dynamic_batching.{key}"))),
        }
    }
    Ok(())
}

/// The instances of all groups.
fn instances(groups: Value) -> Result<usize> {
    let Value::Array(groups) = groups else { return Err(misfit("instance_group", "a list")) };
    let mut count = 0usize;
    for group in groups {
        let group = object(group, "instance_group")?;
        only(
            &group,
            "instance_group",
            &["name", "count", "kind", "passive", "gpus", "secondary_devices", "profile", "host_policy"],
        )?;
        if let Some(kind) = group.get("kind").filter(|kind| !matches!(kind.as_str(), Some("KIND_CPU" | "KIND_AUTO"))) {
            let got = quote(kind.as_str().unwrap_or_default());
            return Err(Error::InvalidInput(format!("instance_group.kind must be KIND_CPU or KIND_AUTO, got {got}")));
        }
        let own = group.get("count").map_or(Ok(1), |count| size(count, "instance_group.count"))?;
        count = count.saturating_add(own.max(1));
    }
    if count == 0 { Err(misfit("instance_group", "a list of at least one group")) } else { Ok(count) }
}

fn version_policy(policy: Map<String, Value>) -> Result<VersionPolicy> {
    let misfit = || misfit("version_policy", "one of latest, all and specific");
    let mut choices = policy.into_iter();
    let (Some((choice, value)), None) = (choices.next(), choices.next()) else { return Err(misfit()) };
    let value = object(value, "version_policy")?;
    let get = |key: &str| value.iter().find(|(name, _)| snake_case(name) == key).map(|(_, value)| value);
    match choice.as_str() {
        "all" => Ok(VersionPolicy::All),
        "latest" => {
            let count = get("num_versions").map_or(Ok(1), |count| size(count, "num_versions"))?;
            Ok(VersionPolicy::Latest(count.max(1)))
        }
        "specific" => {
            let versions =
                get("versions").and_then(Value::as_array).filter(|list| !list.is_empty()).ok_or_else(misfit)?;
            let version = |value: &Value| match number(value, "version_policy.specific.versions")? {
                0 => Err(misfit()),
                version => Ok(Version(version)),
            };
            versions.iter().map(version).collect::<Result<_>>().map(VersionPolicy::Specific)
        }
        _ => Err(misfit()),
    }
}

/// A name as protobuf's JSON may also write it, in lowerCamelCase.
fn snake_case(name: &str) -> String {
    let mut snake = String::with_capacity(name.len() + 4);
    for letter in name.chars() {
        if letter.is_ascii_uppercase() {
            snake.push('_');
        }
        snake.push(letter.to_ascii_lowercase());
    }
    snake
}

/// Returns true for a value that means the same as its absence.
fn is_neutral(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(value) => !value,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(object) => object.is_empty(),
    }
}

fn object(value: Value, key: &str) -> Result<Map<String, Value>> {
    if let Value::Object(object) = value { Ok(object) } else { Err(misfit(key, "an object")) }
}

/// A whole number, also as text, as protobuf's JSON writes those of 64 bits.
fn number(value: &Value, key: &str) -> Result<u64> {
    let number = value.as_u64().or_else(|| value.as_str()?.parse().ok());
    number.ok_or_else(|| misfit(key, "a whole number of at least 0"))
}

fn size(value: &Value, key: &str) -> Result<usize> {
    let number = u32::try_from(number(value, key)?).map_err(|_| misfit(key, "a smaller number"))?;
    Ok(number as usize)
}

fn only(object: &Map<String, Value>, key: &str, known: &[&str]) -> Result<()> {
    match object.keys().find(|name| !known.contains(&snake_case(name).as_str())) {
        Some(name) => Err(unsupported(&format!("{key}.{name}"))),
        None => Ok(()),
    }
}

fn misfit(key: &str, expected: &str) -> Error {
    Error::Malformed(format!("{} in the configuration must be {expected}", quote(key)))
}

fn unsupported(key: &str) -> Error {
    Error::InvalidInput(format!(
        "{} in the configuration is not supported for a load; max_batch_size, dynamic_batching, instance_group, version_policy and response_cache are",
        quote(key)
    ))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read_json(config: Value) -> Result<Overrides> {
        let Value::Object(config) = config else { panic!("no object") };
        read(
            config,
            &"m".parse().unwrap(),
            &json!({"platform": "onnxruntime_onnx", "input": [{"name": "x"}], "max_batch_size": 16}),
        )
    }

    #[test]
    fn what_has_a_meaning_is_obeyed() {
        let overrides = read_json(json!({
            "name": "m", "platform": "onnxruntime_onnx", "input": [{"name": "x"}], "metric_tags": {},
            "maxBatchSize": 8,
            "dynamic_batching": {"preferred_batch_size": [4, 8], "maxQueueDelayMicroseconds": "100", "preserve_ordering": false},
            "instance_group": [{"count": 2, "kind": "KIND_CPU"}, {}],
            "version_policy": {"specific": {"versions": ["3", 1]}},
            "response_cache": {"enable": true},
        }));
        let overrides = overrides.unwrap();
        assert_eq!((overrides.max_batch_size, overrides.concurrency), (Choice::Set(8), Choice::Set(3)));
        assert_eq!(overrides.preferred_batch_sizes.get(), Some(&vec![4, 8]));
        assert_eq!((overrides.max_queue_delay_microseconds, overrides.cache), (Choice::Set(100), Choice::Set(true)));
        assert_eq!(overrides.versions.get().unwrap().to_string(), "specific:1,3");
        let kept = read_json(json!({"max_batch_size": 16})).unwrap();
        assert_eq!((kept.max_batch_size, kept.concurrency), (Choice::Kept, Choice::Own));
        assert_eq!(read_json(json!({})).unwrap(), Overrides::default());
    }

    #[test]
    fn anything_else_is_refused_by_its_name() {
        for (config, named) in [
            (json!({"name": "other"}), "name"),
            (json!({"platform": "tensorrt_plan"}), "platform"),
            (json!({"sequence_batching": {"x": 1}}), "sequence_batching"),
            (json!({"max_batch_size": -1}), "max_batch_size"),
            (json!({"max_batch_size": u64::MAX}), "max_batch_size"),
            (json!({"dynamic_batching": 1}), "dynamic_batching"),
            (json!({"dynamic_batching": {"preserve_ordering": true}}), "preserve_ordering"),
            (json!({"dynamic_batching": {"preferred_batch_size": [0]}}), "preferred_batch_size"),
            (json!({"instance_group": [{"kind": "KIND_GPU"}]}), "KIND_GPU"),
            (json!({"instance_group": [{"rate_limiter": {}}]}), "rate_limiter"),
            (json!({"instance_group": []}), "instance_group"),
            (json!({"version_policy": {"newest": {}}}), "version_policy"),
            (json!({"version_policy": {"specific": {"versions": [0]}}}), "version_policy"),
            (json!({"response_cache": {"enable": 1}}), "response_cache"),
        ] {
            let error = read_json(config.clone()).unwrap_err().to_string();
            assert!(error.contains(named), "{config}: {error}");
        }
    }
}
