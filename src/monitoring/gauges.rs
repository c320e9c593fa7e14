//! Keeps the gauges of live quality in line with the store, and tells those who listen of changes.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Serialize;
use tokio::sync::watch;

use super::events::{EventKind, Events};
use super::figures::FeedbackQuality;
use crate::error::Result;
use crate::ids::{ModelName, Version};
use crate::metrics::{PromiseFigures, PromiseGauges};
use crate::serving::{Identity, Predictor, Servable};
use crate::store::{QualityQuery, Store, Window};

/// The least time between two updates.
const PAUSE: Duration = Duration::from_millis(500);

/// The greatest: an hour leaves the window although nothing else happens, and versions come.
const PERIOD: Duration = Duration::from_secs(30);

/// The greatest where other servers write to the same store: nothing here tells that labels came to them.
const SHARED_PERIOD: Duration = Duration::from_secs(5);

/// The hours before this one whose predictions the gauges are about.
pub const GAUGE_HOURS: u32 = 24;

/// The figures behind the gauges: those of the last day, of versions that serve and have labels.
#[derive(Debug, Clone, Default)]
pub struct LiveFigures(Arc<Mutex<Known>>);

type Known = BTreeMap<(ModelName, Version), FeedbackQuality>;

impl LiveFigures {
    /// Returns the figures of a version.
    pub fn of(&self, identity: &Identity) -> Option<FeedbackQuality> {
        self.lock().get(&(identity.model.clone(), identity.version)).cloned()
    }

    /// Enters what is known of a version; returns true if that is news.
    fn set(&self, servable: &Servable, figures: Option<&FeedbackQuality>) -> bool {
        let key = (servable.name.clone(), servable.version);
        let mut known = self.lock();
        if known.get(&key) == figures {
            return false;
        }
        match figures {
            Some(figures) => drop(known.insert(key, figures.clone())),
            None => drop(known.remove(&key)),
        }
        true
    }

    fn retain(&self, servables: &[Arc<Servable>]) {
        let serves = |(name, version): &(ModelName, Version)| {
            servables.iter().any(|servable| servable.name == *name && servable.version == *version)
        };
        self.lock().retain(|key, _| serves(key));
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Live figures as an event has them.
#[derive(Debug, Serialize)]
struct QualityNews<'a> {
    model: &'a str,
    version: u64,
    hours: u32,
    samples: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    coverage: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    accuracy: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    low: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    high: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    loss: Option<f64>,
}

fn tell(events: &Events, servable: &Servable, figures: &FeedbackQuality) {
    let accuracy = figures.accuracy;
    let news = QualityNews {
        model: servable.name.as_str(),
        version: servable.version.0,
        hours: GAUGE_HOURS,
        samples: figures.samples,
        coverage: figures.coverage,
        accuracy: accuracy.map(|accuracy| accuracy.value),
        low: accuracy.map(|accuracy| accuracy.low),
        high: accuracy.map(|accuracy| accuracy.high),
        loss: figures.loss.map(|loss| loss.value),
    };
    events.publish(EventKind::Quality, Some(servable.name.as_str()), &news);
}

/// Updates gauges and figures of every version that serves whenever labels came, until `stop` turns true. Labels that
/// came to another server of the same store are seen within five seconds.
pub async fn keep_gauges(
    predictor: Arc<Predictor>,
    store: Arc<Store>,
    (figures, events): (LiveFigures, Arc<Events>),
    mut stop: watch::Receiver<bool>,
) {
    let mut revision = store.revision();
    let period = if store.is_shared() { SHARED_PERIOD } else { PERIOD };
    loop {
        let servables: Vec<Arc<Servable>> = predictor.catalog().servables().cloned().collect();
        for servable in &servables {
            match update(servable, &store).await {
                Ok(found) => {
                    let is_news = figures.set(servable, found.as_ref());
                    if let Some(found) = found.filter(|_| is_news) {
                        tell(&events, servable, &found);
                    }
                }
                // The store logs what is wrong with it.
                Err(error) => tracing::debug!(model = servable.name.as_str(), %error, "live quality is not known"),
            }
        }
        figures.retain(&servables);
        // A version that is unloaded meanwhile would stay in memory until the next look.
        drop(servables);
        let next = async {
            tokio::time::sleep(PAUSE).await;
            // A store that is gone changes no more.
            drop(tokio::time::timeout(period, revision.changed()).await);
        };
        tokio::select! {
            () = next => {}
            _ = stop.wait_for(|stop| *stop) => return,
        }
    }
}

/// Shows the figures of each class of which a label came; there are 32 at most.
fn set_classes(servable: &Servable, figures: Option<&FeedbackQuality>) {
    let classes = figures.and_then(|figures| figures.classes.as_deref()).unwrap_or_default();
    let labels = &servable.identity.labels;
    let names: Vec<String> =
        (0..classes.len()).map(|class| labels.get(class).cloned().unwrap_or_else(|| class.to_string())).collect();
    let known = names.iter().zip(classes).filter(|(_, class)| class.support > 0);
    let scores: Vec<_> = known.map(|(name, class)| (name.as_str(), class.scores)).collect();
    servable.metrics().set_classes(&scores);
}

/// Shows the figures of sets and of withheld answers. How large sets are, and how many answers are withheld, needs no
/// labels.
fn set_promises(servable: &Servable, figures: Option<&FeedbackQuality>) {
    let interval = |value: Option<f64>, low: Option<f64>, high: Option<f64>| Some([value?, low?, high?]);
    let sets = figures.map_or(&[][..], |figures| &figures.sets).iter().map(|set| PromiseGauges {
        level: set.level.to_string(),
        figures: PromiseFigures::Sets {
            target: set.level,
            coverage: interval(set.coverage, set.low, set.high),
            mean_size: Some(set.mean_size),
        },
    });
    let answers = figures.map_or(&[][..], |figures| &figures.abstentions).iter().map(|abstention| PromiseGauges {
        level: abstention.error_rate.to_string(),
        figures: PromiseFigures::Answers {
            withheld: Some(abstention.abstention_rate),
            accuracy: interval(abstention.accuracy, abstention.low, abstention.high),
        },
    });
    servable.metrics().set_promises(&sets.chain(answers).collect::<Vec<_>>());
}

/// Sets the gauges of a version and returns the figures behind them.
async fn update(servable: &Servable, store: &Store) -> Result<Option<FeedbackQuality>> {
    let query = QualityQuery {
        model: servable.name.to_string(),
        version: Some(servable.version.0),
        window: Window::Hours(GAUGE_HOURS),
        source: None,
        now: jiff::Timestamp::now().as_microsecond(),
    };
    let found = store.quality(query).await?;
    // Figures of other files under the same number are not those of this version.
    let own = found.iter().find(|quality| quality.version.digest == servable.identity.digest);
    let figures = own.map(FeedbackQuality::of);
    set_promises(servable, figures.as_ref());
    let figures = figures.filter(|figures| figures.samples > 0);
    set_classes(servable, figures.as_ref());
    servable.metrics().set_feedback(figures.as_ref().map(|figures| crate::metrics::FeedbackGauges {
        samples: figures.samples,
        accuracy: figures.accuracy.map(|accuracy| [accuracy.value, accuracy.low, accuracy.high]),
        calibration_error: figures.accuracy.and_then(|accuracy| accuracy.expected_calibration_error),
        loss:
            figures.loss.map(|loss| loss.value).or(figures.errors.map(|errors| errors.root_mean_squared_error.powi(2))),
        coverage: figures.coverage,
    }));
    servable.metrics().set_adjusted(figures.as_ref().and_then(|figures| figures.adjusted).map(|adjusted| {
        crate::metrics::AdjustedGauges {
            samples: adjusted.judged,
            accuracy: [adjusted.accuracy, adjusted.low, adjusted.high],
            loss: adjusted.loss,
        }
    }));
    Ok(figures)
}
