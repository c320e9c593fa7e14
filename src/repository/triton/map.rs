//! A configuration → the tables of `model.toml`: what must hold, what is warned about, what it means.

use super::config::{DynamicBatching, InstanceKind, ModelConfig, TimeoutAction, VersionChoice};
use crate::config::{EngineChoice, VersionPolicy};
use crate::ids::{Version, quote};
use crate::repository::tables::{BatchingTable, CacheTable, EngineTable, SchedulingTable, Tables, Versions};

/// The number of priorities that requests can have.
pub(super) const MAX_PRIORITIES: u64 = 9;
/// The greatest number of runs of a warm-up request, and of such requests.
const MAX_WARMUP_RUNS: u32 = 1000;
const MAX_WARMUPS: usize = 100;

type Checked = Result<(), String>;

/// Checks that the values can be obeyed.
///
/// # Errors
/// Says what is wrong, what was expected and what was found.
pub(super) fn check(config: &ModelConfig, folder: &str) -> Checked {
    if !config.name.is_empty() && config.name != folder {
        return Err(format!("name must be that of the folder, {}, got {}", quote(folder), quote(&config.name)));
    }
    if !["", "onnxruntime_onnx"].contains(&config.platform.as_str()) {
        return Err(format!(
            "platform {} is not supported; Weir serves ONNX models (\"onnxruntime_onnx\")",
            quote(&config.platform)
        ));
    }
    if !["", "onnxruntime", "tract"].contains(&config.backend.as_str()) {
        return Err(format!(
            "backend {} is not supported; Weir serves ONNX models (\"onnxruntime\")",
            quote(&config.backend)
        ));
    }
    plain_name("default_model_filename", &config.default_model_filename)?;
    at_least_zero("max_batch_size", config.max_batch_size)?;
    versions(config)?;
    tensors(config)?;
    config.dynamic_batching.as_ref().map_or(Ok(()), |batching| dynamic_batching(batching, config.max_batch_size))?;
    config.instance_group.iter().try_for_each(|group| at_least_zero("instance_group.count", group.count))?;
    warmups(config)
}

fn at_least_zero(name: &str, value: i32) -> Checked {
    if value < 0 { Err(format!("{name} must be at least 0, got {value}")) } else { Ok(()) }
}

/// Checks that a name stays in its folder, because configurations come from elsewhere.
fn plain_name(field: &str, name: &str) -> Checked {
    let is_plain = !name.starts_with('.') && !name.contains(['/', '\\', '\0']) && name.len() <= 255;
    if is_plain { Ok(()) } else { Err(format!("{field} must be the name of a file, got {}", quote(name))) }
}

fn versions(config: &ModelConfig) -> Checked {
    match &config.version_policy {
        Some(VersionChoice::Latest { num_versions: 0 }) => {
            Err("version_policy.latest.num_versions must be at least 1, got 0".into())
        }
        Some(VersionChoice::Specific { versions }) if versions.is_empty() => {
            Err("version_policy.specific names no version".into())
        }
        Some(VersionChoice::Specific { versions }) => match versions.iter().find(|version| **version < 0) {
            Some(version) => Err(format!("version_policy.specific.versions must be at least 0, got {version}")),
            None => Ok(()),
        },
        Some(VersionChoice::Latest { .. } | VersionChoice::All {}) | None => Ok(()),
    }
}

fn tensors(config: &ModelConfig) -> Checked {
    let inputs = config.input.iter().map(|input| ("input", &input.name, input.data_type, &input.dims, &input.reshape));
    let outputs =
        config.output.iter().map(|output| ("output", &output.name, output.data_type, &output.dims, &output.reshape));
    let mut seen = std::collections::BTreeSet::new();
    for (kind, name, data_type, dims, reshape) in inputs.chain(outputs) {
        let tensor = format!("{kind} {}", quote(name));
        if name.is_empty() {
            return Err(format!("an {kind} has no name"));
        }
        if !seen.insert((kind, name)) {
            return Err(format!("{tensor} is listed twice"));
        }
        if data_type.dtype().is_none() {
            return Err(format!("{tensor} has no data_type"));
        }
        let shapes = std::iter::once(dims).chain(reshape.as_ref().map(|reshape| &reshape.shape));
        if let Some(dim) = shapes.flatten().find(|dim| **dim < -1 || **dim == 0) {
            return Err(format!("a dimension of {tensor} must be at least 1, or -1 for any size, got {dim}"));
        }
        if let Some(reshape) = reshape {
            super::view::check_reshape(dims, &reshape.shape).map_err(|problem| format!("{tensor}: {problem}"))?;
        }
    }
    config.output.iter().try_for_each(|output| plain_name("label_filename", &output.label_filename))
}

fn dynamic_batching(batching: &DynamicBatching, max_batch_size: i32) -> Checked {
    let field = |name: &str| format!("dynamic_batching.{name}");
    if let Some(size) = batching.preferred_batch_size.iter().find(|size| **size < 1) {
        return Err(format!("{} must be at least 1, got {size}", field("preferred_batch_size")));
    }
    if let Some(size) = batching.preferred_batch_size.iter().find(|size| **size > max_batch_size) {
        return Err(format!(
            "{} must be at most max_batch_size = {max_batch_size}, got {size}",
            field("preferred_batch_size")
        ));
    }
    let (levels, level) = (batching.priority_levels, batching.default_priority_level);
    if levels > MAX_PRIORITIES {
        return Err(format!("{} must be at most {MAX_PRIORITIES}, got {levels}", field("priority_levels")));
    }
    if (levels > 0 && level == 0) || level > levels {
        return Err(format!(
            "{} must be from 1 to priority_levels = {levels}, got {level}",
            field("default_priority_level")
        ));
    }
    Ok(())
}

fn warmups(config: &ModelConfig) -> Checked {
    if config.model_warmup.len() > MAX_WARMUPS {
        return Err(format!("model_warmup may hold {MAX_WARMUPS} requests, got {}", config.model_warmup.len()));
    }
    for warmup in &config.model_warmup {
        let name = quote(&warmup.name);
        if warmup.count > MAX_WARMUP_RUNS {
            return Err(format!("model_warmup {name}: count must be at most {MAX_WARMUP_RUNS}, got {}", warmup.count));
        }
        if i64::from(warmup.batch_size) > i64::from(config.max_batch_size) {
            return Err(format!(
                "model_warmup {name}: batch_size must be at most max_batch_size = {}, got {}",
                config.max_batch_size, warmup.batch_size
            ));
        }
        if warmup.batch_size == 0 && config.max_batch_size > 0 {
            return Err(format!("model_warmup {name}: batch_size must be at least 1, got 0"));
        }
    }
    Ok(())
}

/// Returns warnings of values that have no effect, beside those of fields that never have one.
pub(super) fn warnings(config: &ModelConfig) -> Vec<String> {
    let mut warnings = Vec::new();
    if config.instance_group.iter().any(|group| group.kind == InstanceKind::KindGpu) {
        warnings.push("instance_group.kind KIND_GPU has no effect: the model runs on the CPU".into());
    }
    let policy = config.dynamic_batching.as_ref().and_then(|batching| batching.default_queue_policy.as_ref());
    if policy.is_some_and(|policy| policy.timeout_action == TimeoutAction::Delay) {
        warnings.push(
            "dynamic_batching.default_queue_policy.timeout_action DELAY has no effect, and neither has the timeout: \
             a request is never moved behind others"
                .into(),
        );
    }
    let is_batched = config.max_batch_size > 0 || (config.input.is_empty() && config.output.is_empty());
    if config.dynamic_batching.is_some() && !is_batched {
        warnings.push("dynamic_batching has no effect on how requests are put together: max_batch_size is 0".into());
    }
    let names: Vec<String> = config.parameters.keys().take(20).map(|name| quote(name)).collect();
    if !names.is_empty() {
        let reason = "an engine's threads and memory are the server's";
        warnings.push(format!("parameters {} have no effect: {reason}", names.join(", ")));
    }
    warnings
}

/// Returns the tables of `model.toml` that say the same.
pub(super) fn tables(config: &ModelConfig) -> Tables {
    let dynamic = config.dynamic_batching.as_ref();
    let policy = dynamic.and_then(|batching| batching.default_queue_policy.as_ref());
    let timeout = policy
        .filter(|policy| policy.timeout_action == TimeoutAction::Reject)
        .map(|policy| policy.default_timeout_microseconds)
        .filter(|timeout| *timeout > 0);
    let counts = config.instance_group.iter().filter(|group| !group.passive).map(|group| group.count.max(1) as usize);
    let concurrency: usize = counts.sum();
    let scheduling = SchedulingTable {
        concurrency: (concurrency > 0).then_some(concurrency),
        queue_capacity: policy.map(|policy| policy.max_queue_size as usize).filter(|size| *size > 0),
        default_priority: dynamic
            .and_then(|batching| u8::try_from(batching.default_priority_level).ok())
            .filter(|level| *level > 0),
        timeout_microseconds: timeout,
        ..SchedulingTable::default()
    };
    Tables {
        versions: Some(Versions { policy: version_policy(config.version_policy.as_ref()) }),
        engine: (config.backend == "tract")
            .then_some(EngineTable { kind: Some(EngineChoice::Tract), ..EngineTable::default() }),
        batching: batching(config),
        scheduling: (scheduling != SchedulingTable::default()).then_some(scheduling),
        cache: config.response_cache.as_ref().map(|cache| match cache.enable {
            true => CacheTable::switched_on(),
            false => CacheTable::none(),
        }),
    }
}

/// Triton serves the latest version of a model that says nothing.
fn version_policy(choice: Option<&VersionChoice>) -> VersionPolicy {
    match choice {
        None => VersionPolicy::Latest(1),
        Some(VersionChoice::Latest { num_versions }) => VersionPolicy::Latest(*num_versions as usize),
        Some(VersionChoice::All {}) => VersionPolicy::All,
        Some(VersionChoice::Specific { versions }) => {
            VersionPolicy::Specific(versions.iter().map(|version| Version(version.unsigned_abs())).collect())
        }
    }
}

/// Requests share runs if the configuration says so. One that says nothing of batches and tensors
/// leaves that to be measured, as Triton completes it by itself.
fn batching(config: &ModelConfig) -> Option<BatchingTable> {
    let dynamic = config.dynamic_batching.as_ref();
    let says_nothing = config.max_batch_size == 0 && config.input.is_empty() && config.output.is_empty();
    if says_nothing && dynamic.is_none() {
        return None;
    }
    Some(BatchingTable {
        max_batch_size: usize::try_from(config.max_batch_size).ok().filter(|size| *size > 0),
        max_queue_delay_microseconds: dynamic.map(|batching| batching.max_queue_delay_microseconds),
        preferred_batch_sizes: dynamic
            .map(|batching| batching.preferred_batch_size.iter().map(|size| size.unsigned_abs() as usize).collect())
            .unwrap_or_default(),
        across_requests: Some(dynamic.is_some() && (config.max_batch_size > 0 || says_nothing)),
    })
}
