//! Keeps the gauges of live quality in line with the store.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::figures::FeedbackQuality;
use crate::error::Result;
use crate::serving::{Predictor, Servable};
use crate::store::{QualityQuery, Store, Window};

/// The least time between two updates.
const PAUSE: Duration = Duration::from_millis(500);

/// The greatest: an hour leaves the window although nothing else happens, and versions come.
const PERIOD: Duration = Duration::from_secs(30);

/// The hours before this one whose predictions the gauges are about.
pub const GAUGE_HOURS: u32 = 24;

/// Updates the gauges of every version that serves whenever labels came, until `stop` turns true.
pub async fn keep_gauges(predictor: Arc<Predictor>, store: Arc<Store>, mut stop: watch::Receiver<bool>) {
    let mut revision = store.revision();
    loop {
        let servables: Vec<Arc<Servable>> = predictor.catalog().servables().cloned().collect();
        for servable in servables {
            if let Err(error) = update(&servable, &store).await {
                // The store logs what is wrong with it.
                tracing::debug!(model = servable.name.as_str(), %error, "live quality is not known");
            }
        }
        let next = async {
            tokio::time::sleep(PAUSE).await;
            // A store that is gone changes no more.
            drop(tokio::time::timeout(PERIOD, revision.changed()).await);
        };
        tokio::select! {
            () = next => {}
            _ = stop.wait_for(|stop| *stop) => return,
        }
    }
}

async fn update(servable: &Servable, store: &Store) -> Result<()> {
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
    let figures = own.map(FeedbackQuality::of).filter(|figures| figures.samples > 0);
    servable.metrics().set_feedback(figures.map(|figures| crate::metrics::FeedbackGauges {
        samples: figures.samples,
        accuracy: figures.accuracy.map(|accuracy| [accuracy.value, accuracy.low, accuracy.high]),
        calibration_error: figures.accuracy.and_then(|accuracy| accuracy.expected_calibration_error),
        loss:
            figures.loss.map(|loss| loss.value).or(figures.errors.map(|errors| errors.root_mean_squared_error.powi(2))),
        coverage: figures.coverage,
    }));
    Ok(())
}
