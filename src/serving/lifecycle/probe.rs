//! The live probe: each version's labelled samples, replayed through the server's own path, give
//! the loss and accuracy that a client would see now.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::watch;

use crate::error::Result;
use crate::ids::{ModelRef, VersionSpec};
use crate::repository::Truth;
use crate::serving::context::{Caller, RequestContext};
use crate::serving::predictor::Predictor;
use crate::serving::servable::{LiveQuality, LossKind, Options, Prediction, Servable};
use crate::stats::Evaluator;

/// Probes run when nothing else waits.
const PROBE_PRIORITY: u8 = 9;

/// Replays every probe set as soon as all is loaded, then at each interval, and that of a version
/// that appears later when it does; until `stop` turns true.
pub async fn run_probes(predictor: Arc<Predictor>, interval: Duration, mut stop: watch::Receiver<bool>) {
    let mut published = predictor.published();
    tokio::select! {
        // The predictor outlives this task, so the wait ends with the value.
        _ = published.wait_for(|settled| *settled) => {}
        _ = stop.wait_for(|stop| *stop) => return,
    }
    let mut ticks = tokio::time::interval(interval);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        let all = tokio::select! {
            _ = ticks.tick() => true,
            _ = published.changed() => false,
            _ = stop.wait_for(|stop| *stop) => return,
        };
        let due =
            |servable: &Arc<Servable>| !servable.probe.samples.is_empty() && (all || servable.live_quality().is_none());
        let version = |servable: &Arc<Servable>| ModelRef {
            name: Some(servable.name.clone()),
            version: VersionSpec::Specific(servable.version),
        };
        let due: Vec<_> = predictor.catalog().servables().filter(|servable| due(servable)).map(version).collect();
        for version in due {
            // One that was unloaded meanwhile must not be held up by its probe.
            let Ok(servable) = predictor.resolve(&version) else { continue };
            tokio::select! {
                outcome = replay(&predictor, &servable) => record(&servable, outcome),
                _ = stop.wait_for(|stop| *stop) => return,
            }
        }
    }
}

/// Scores one version on its probe set; gives way to real requests when the server is at capacity.
async fn replay(predictor: &Predictor, servable: &Arc<Servable>) -> Result<LiveQuality> {
    let classes = servable.labels().len();
    let options = Options { top_k: classes, ..Options::default() };
    let mut evaluator = Evaluator::new(classes);
    let (mut sum, mut samples, mut loss_of) = (0.0, 0u64, LossKind::CrossEntropy);
    for (input, truth) in &servable.probe.samples {
        let context = RequestContext::internal(Caller::Probe, PROBE_PRIORITY);
        let predicted = predictor.predict(&context, servable.clone(), input.clone(), options).await?;
        let mut probabilities = vec![0.0; classes];
        for prediction in &predicted.predictions {
            match prediction {
                Prediction::Classified { classification, .. } => {
                    for scored in &classification.top_k {
                        probabilities[scored.class] = scored.confidence;
                    }
                }
                Prediction::Reconstructed { score, .. } => {
                    (sum, samples, loss_of) = (sum + score, samples + 1, LossKind::Score);
                }
                Prediction::Number { value } => {
                    if let Truth::Value(truth) = truth {
                        let error = value.to_f64() - truth;
                        (sum, samples, loss_of) = (sum + error * error, samples + 1, LossKind::SquaredError);
                    }
                }
                Prediction::Labelled { .. }
                | Prediction::Detected { .. }
                | Prediction::Segmented(_)
                | Prediction::Embedded { .. }
                | Prediction::Spans { .. }
                | Prediction::Painted(_)
                | Prediction::Raw { .. } => {}
            }
        }
        if let Truth::Class(label) = truth {
            evaluator.add(*label, &probabilities);
        }
        tokio::task::yield_now().await;
    }
    if samples > 0 {
        return Ok(LiveQuality { samples, loss: sum / samples as f64, loss_of, accuracy: None });
    }
    let summary = evaluator.summary();
    Ok(LiveQuality { samples: summary.samples, loss: summary.loss, loss_of, accuracy: Some(summary.accuracy) })
}

fn record(servable: &Servable, outcome: Result<LiveQuality>) {
    let (model, version) = (servable.name.as_str(), servable.version.0);
    match outcome {
        Ok(live) => {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            servable.probe.record(live);
            servable.metrics().record_probe(live.loss, live.accuracy, now.as_secs_f64());
            tracing::debug!(model, version, loss = live.loss, accuracy = live.accuracy, "probe replayed");
        }
        Err(error) => {
            tracing::warn!(model, version, error = %error, "probe not replayed in full; the last figures stand")
        }
    }
}
