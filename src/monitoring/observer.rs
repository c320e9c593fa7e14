//! The observer behind the tap.

use tokio::sync::mpsc;

use super::record::Record;
use crate::serving::{Finished, Observer};

/// Makes records of finished predictions and passes them on without waiting.
#[derive(Debug)]
pub(super) struct Recorder(pub(super) mpsc::Sender<Record>);

impl Observer for Recorder {
    fn finished(&self, prediction: &Finished<'_>) {
        if !prediction.context.caller.is_client() || prediction.part != crate::serving::Part::Model {
            return;
        }
        let counters = &prediction.servable.metrics().records;
        let records = Record::of(prediction);
        let count = records.len();
        // One request's records are kept or dropped together.
        match self.0.try_reserve_many(count) {
            Ok(places) => {
                places.zip(records).for_each(|(place, record)| place.send(record));
                counters.observed.inc_by(count as u64);
            }
            Err(_) => counters.dropped.inc_by(count as u64),
        }
    }
}
