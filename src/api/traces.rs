//! The trace extension of the Open Inference Protocol: one request in every so many leaves a line in the log
//! with the time of each stage. The settings are the server's; a model may have its own.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use serde::Serialize;

use crate::error::{Error, Result};
use crate::ids::{ModelName, RequestId, quote};
use crate::metrics::Stages;
use crate::serving::Servable;

/// Changes of settings, by name; `None` takes a setting back.
pub(crate) type TraceChange = Vec<(String, Option<Vec<String>>)>;

const DEFAULT_RATE: u64 = 1000;

/// The settings in force, as the protocol writes them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct TraceSettings {
    /// `OFF` or `TIMESTAMPS`.
    pub(crate) trace_level: Vec<String>,
    /// One request of so many is traced.
    pub(crate) trace_rate: String,
    /// The number of further requests to trace; -1 for no end.
    pub(crate) trace_count: String,
    /// Of files, which there are none.
    pub(crate) log_frequency: String,
    /// Always empty: traces go into the log.
    pub(crate) trace_file: String,
    /// Always `triton`: the words are Triton's.
    pub(crate) trace_mode: &'static str,
}

/// The settings that somebody chose; the others are the server's, or the default.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Own {
    timestamps: Option<bool>,
    rate: Option<u64>,
    /// `u64::MAX` for no end.
    count: Option<u64>,
}

impl Own {
    fn over(self, lower: Self) -> Self {
        Self {
            timestamps: self.timestamps.or(lower.timestamps),
            rate: self.rate.or(lower.rate),
            count: self.count.or(lower.count),
        }
    }

    /// # Errors
    /// [`Error::InvalidInput`] for a setting that is not supported, [`Error::Malformed`] for a value that
    /// cannot be.
    fn set(&mut self, key: &str, values: Option<&[String]>) -> Result<()> {
        let refuse = |expected: &str| {
            let got = values.unwrap_or_default().join(",");
            Err(Error::Malformed(format!("the trace setting \"{key}\" must be {expected}, got {}", quote(&got))))
        };
        let unsupported = |why: &str| {
            let got = quote(&values.unwrap_or_default().join(","));
            Err(Error::InvalidInput(format!("the trace setting \"{key}\" cannot be {got}: {why}")))
        };
        let number = values.and_then(|values| if let [text] = values { text.parse::<u64>().ok() } else { None });
        match (key, values) {
            ("trace_level", None) => self.timestamps = None,
            ("trace_level", Some(levels)) => {
                let mut timestamps = false;
                for level in levels {
                    match level.as_str() {
                        "OFF" => {}
                        "TIMESTAMPS" => timestamps = true,
                        "TENSORS" => return unsupported("what clients send is not logged"),
                        _ => return refuse("a list of OFF or TIMESTAMPS"),
                    }
                }
                self.timestamps = Some(timestamps);
            }
            ("trace_rate", None) => self.rate = None,
            ("trace_rate", Some(_)) => match number {
                Some(rate) if rate > 0 => self.rate = Some(rate),
                _ => return refuse("a whole number of at least 1, as text"),
            },
            ("trace_count", None) => self.count = None,
            ("trace_count", Some([text])) if text == "-1" => self.count = Some(u64::MAX),
            ("trace_count", Some(_)) => match number {
                Some(count) => self.count = Some(count),
                _ => return refuse("a whole number, or -1 for no end, as text"),
            },
            ("log_frequency" | "trace_file" | "trace_mode", None) => {}
            ("log_frequency", Some([text])) if text == "0" => {}
            ("trace_file", Some([text])) if text.is_empty() => {}
            ("trace_mode", Some([text])) if text == "triton" => {}
            ("log_frequency" | "trace_file", Some(_)) => {
                return unsupported("traces go into the log and not into files");
            }
            ("trace_mode", Some(_)) => return unsupported("it can only be \"triton\""),
            _ => {
                let key = quote(key);
                return Err(Error::Malformed(format!(
                    "there is no trace setting {key}; there are trace_level, trace_rate, trace_count"
                )));
            }
        }
        Ok(())
    }
}

/// Chooses the requests to trace.
#[derive(Debug)]
struct Sampler {
    rate: u64,
    seen: AtomicU64,
    left: AtomicU64,
}

impl Sampler {
    /// `None` for settings by which nothing is traced.
    fn new(own: Own) -> Option<Self> {
        let left = AtomicU64::new(own.count.unwrap_or(u64::MAX));
        let rate = own.rate.unwrap_or(DEFAULT_RATE).max(1);
        own.timestamps.unwrap_or(false).then(|| Self { rate, seen: AtomicU64::new(0), left })
    }

    fn choose(&self) -> bool {
        if !self.seen.fetch_add(1, Ordering::Relaxed).is_multiple_of(self.rate) {
            return false;
        }
        let take = |left: u64| if left == u64::MAX { Some(left) } else { left.checked_sub(1) };
        self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok()
    }
}

/// The samplers in force.
#[derive(Debug, Default)]
struct Samplers {
    global: Option<Arc<Sampler>>,
    /// Of models with settings of their own.
    models: BTreeMap<ModelName, Option<Arc<Sampler>>>,
}

/// The trace settings of this server.
#[derive(Debug, Default)]
pub(crate) struct Traces {
    samplers: ArcSwap<Samplers>,
    own: Mutex<(Own, BTreeMap<ModelName, Own>)>,
}

impl Traces {
    /// The settings of a model, or of the server.
    pub(crate) fn settings(&self, model: Option<&ModelName>) -> TraceSettings {
        let own = self.own.lock().unwrap_or_else(PoisonError::into_inner);
        let effective = model.and_then(|model| own.1.get(model)).map_or(own.0, |model| model.over(own.0));
        let level = if effective.timestamps.unwrap_or(false) { "TIMESTAMPS" } else { "OFF" };
        TraceSettings {
            trace_level: vec![level.into()],
            trace_rate: effective.rate.unwrap_or(DEFAULT_RATE).to_string(),
            trace_count: match effective.count {
                None | Some(u64::MAX) => "-1".into(),
                Some(count) => count.to_string(),
            },
            log_frequency: "0".into(),
            trace_file: String::new(),
            trace_mode: "triton",
        }
    }

    /// Changes settings, all or none, and returns those in force. Counting begins anew.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] or [`Error::Malformed`] naming the setting.
    pub(crate) fn change(&self, model: Option<&ModelName>, change: TraceChange) -> Result<TraceSettings> {
        let mut own = self.own.lock().unwrap_or_else(PoisonError::into_inner);
        let mut changed = match model {
            Some(model) => own.1.get(model).copied().unwrap_or_default(),
            None => own.0,
        };
        for (key, values) in change {
            changed.set(&key, values.as_deref())?;
        }
        match model {
            Some(model) if changed == Own::default() => drop(own.1.remove(model)),
            Some(model) => drop(own.1.insert(model.clone(), changed)),
            None => own.0 = changed,
        }
        let sampler = |own: Own| Sampler::new(own).map(Arc::new);
        let models = own.1.iter().map(|(name, model)| (name.clone(), sampler(model.over(own.0)))).collect();
        self.samplers.store(Arc::new(Samplers { global: sampler(own.0), models }));
        drop(own);
        Ok(self.settings(model))
    }

    /// Leaves a line in the log, if this is a request to trace.
    pub(crate) fn record(&self, id: &RequestId, servable: &Servable, stages: &Stages, total: Duration) {
        let samplers = self.samplers.load();
        let own = if samplers.models.is_empty() { None } else { samplers.models.get(&servable.name) };
        let Some(sampler) = own.unwrap_or(&samplers.global) else { return };
        if !sampler.choose() {
            return;
        }
        let microseconds = |duration: Duration| u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        tracing::info!(
            request_id = id.as_str(),
            model = servable.name.as_str(),
            version = servable.version.0,
            compute_input_us = microseconds(stages.decode),
            queue_us = microseconds(stages.queue),
            compute_infer_us = microseconds(stages.infer),
            total_us = microseconds(total),
            "trace"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(settings: &[(&str, Option<&[&str]>)]) -> TraceChange {
        let owned = |values: &[&str]| values.iter().map(ToString::to_string).collect();
        settings.iter().map(|(key, values)| ((*key).to_owned(), values.map(owned))).collect()
    }

    #[test]
    fn a_model_has_the_server_s_settings_but_for_its_own() {
        let traces = Traces::default();
        let model: ModelName = "m".parse().unwrap();
        let level = Some(&["TIMESTAMPS"][..]);
        traces.change(None, change(&[("trace_level", level), ("trace_rate", Some(&["5"]))])).unwrap();
        let own = traces
            .change(Some(&model), change(&[("trace_rate", Some(&["2"])), ("trace_count", Some(&["7"]))]))
            .unwrap();
        assert_eq!(
            (own.trace_level[0].as_str(), own.trace_rate.as_str(), own.trace_count.as_str()),
            ("TIMESTAMPS", "2", "7")
        );
        assert_eq!(traces.settings(None).trace_rate, "5");
        let cleared = traces.change(Some(&model), change(&[("trace_rate", None), ("trace_count", None)])).unwrap();
        assert_eq!((cleared.trace_rate.as_str(), cleared.trace_count.as_str()), ("5", "-1"));
        assert!(traces.own.lock().unwrap().1.is_empty());
    }

    #[test]
    fn one_of_so_many_is_chosen_until_the_count_is_used_up() {
        let sampler = Sampler::new(Own { timestamps: Some(true), rate: Some(3), count: Some(2) }).unwrap();
        let chosen: Vec<bool> = (0..12).map(|_| sampler.choose()).collect();
        let expected = [true, false, false, true, false, false, false, false, false, false, false, false];
        assert_eq!(chosen, expected);
        assert!(Sampler::new(Own::default()).is_none());
    }

    #[test]
    fn what_is_not_supported_is_refused_and_changes_nothing() {
        let traces = Traces::default();
        for (key, value) in [
            ("trace_level", &["TENSORS"][..]),
            ("trace_level", &["ON"]),
            ("trace_rate", &["0"]),
            ("trace_rate", &["x"]),
            ("trace_rate", &["1", "2"]),
            ("trace_count", &["-2"]),
            ("trace_file", &["/tmp/x"]),
            ("log_frequency", &["5"]),
            ("trace_mode", &["opentelemetry"]),
            ("unknown", &["1"]),
        ] {
            let good = ("trace_level", Some(&["TIMESTAMPS"][..]));
            assert!(traces.change(None, change(&[good, (key, Some(value))])).is_err(), "{key}");
        }
        assert_eq!(traces.settings(None).trace_level, ["OFF"]);
    }
}
