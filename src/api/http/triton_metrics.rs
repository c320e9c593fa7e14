//! Triton's counters under their own names, for dashboards that were made for it: read off the
//! statistics of the versions that serve, when somebody asks.

use std::sync::Arc;

use crate::metrics::Outcome;
use crate::serving::{Catalog, Servable, Snapshot};

/// One version at the moment of the question.
struct Sample {
    labels: String,
    servable: Arc<Servable>,
    now: Snapshot,
}

/// A family: its name, type and meaning, and its value for one version.
type Family = (&'static str, &'static str, &'static str, fn(&Sample) -> u64);

const COUNTER: &str = "counter";

const FAMILIES: [Family; 13] = [
    ("nv_inference_request_success", COUNTER, "Requests answered.", |at| at.now.success.count),
    ("nv_inference_count", COUNTER, "Samples computed; those from the response cache are not.", |at| {
        at.now.inference_count
    }),
    ("nv_inference_exec_count", COUNTER, "Runs of the model.", |at| at.now.execution_count),
    ("nv_inference_request_duration_us", COUNTER, "Time of answered requests, in microseconds.", |at| {
        at.now.success.ns / 1000
    }),
    ("nv_inference_queue_duration_us", COUNTER, "Time waited for a compute thread, in microseconds.", |at| {
        at.now.queue.ns / 1000
    }),
    ("nv_inference_compute_input_duration_us", COUNTER, "Time from bytes to tensors, in microseconds.", |at| {
        at.now.compute_input.ns / 1000
    }),
    ("nv_inference_compute_infer_duration_us", COUNTER, "Time of the model itself, in microseconds.", |at| {
        at.now.compute_infer.ns / 1000
    }),
    ("nv_inference_compute_output_duration_us", COUNTER, "Time from tensors to answers, in microseconds.", |at| {
        at.now.compute_output.ns / 1000
    }),
    ("nv_inference_pending_request_count", "gauge", "Requests waiting for a compute thread.", |at| {
        // A gauge of whole numbers that is never below 0.
        at.servable.metrics().queue_depth.get() as u64
    }),
    ("nv_cache_num_hits_per_model", COUNTER, "Answers found in the response cache.", |at| at.now.cache_hit.count),
    ("nv_cache_num_misses_per_model", COUNTER, "Answers not found there.", |at| at.now.cache_miss.count),
    ("nv_cache_hit_duration_per_model", COUNTER, "Time of looking where it was found, in microseconds.", |at| {
        at.now.cache_hit.ns / 1000
    }),
    ("nv_cache_miss_duration_per_model", COUNTER, "Time of looking and keeping where not, in microseconds.", |at| {
        at.now.cache_miss.ns / 1000
    }),
];

/// Why requests failed, by Triton's reasons.
const REASONS: [(&str, &[Outcome]); 4] = [
    ("BACKEND", &[Outcome::Error]),
    ("CANCELED", &[Outcome::Cancelled]),
    ("OTHER", &[Outcome::InvalidInput]),
    ("REJECTED", &[Outcome::Overloaded, Outcome::DeadlineExceeded]),
];

/// Appends the exposition of all versions that serve.
pub(super) fn append(catalog: &Catalog, out: &mut Vec<u8>) {
    // Names are of an alphabet that needs no escapes.
    let sample = |servable: &Arc<Servable>| Sample {
        labels: format!("model=\"{}\",version=\"{}\"", servable.name, servable.version),
        servable: servable.clone(),
        now: servable.statistics().snapshot(),
    };
    let samples: Vec<Sample> = catalog.servables().map(sample).collect();
    let mut text = String::new();
    let mut line = |words: String| text.push_str(&words);
    for (name, kind, help, value) in FAMILIES {
        line(format!("# HELP {name} {help}\n# TYPE {name} {kind}\n"));
        for sample in &samples {
            line(format!("{name}{{{}}} {}\n", sample.labels, value(sample)));
        }
    }
    let failed = "nv_inference_request_failure";
    line(format!("# HELP {failed} Requests that were not answered, by reason.\n# TYPE {failed} counter\n"));
    for sample in &samples {
        for (reason, outcomes) in REASONS {
            let count: u64 = outcomes.iter().map(|outcome| sample.servable.metrics().counted(*outcome)).sum();
            let model = sample.labels.replacen(",version", &format!(",reason=\"{reason}\",version"), 1);
            line(format!("{failed}{{{model}}} {count}\n"));
        }
    }
    out.extend_from_slice(text.as_bytes());
}
