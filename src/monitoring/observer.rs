//! The observer behind the tap.

use tokio::sync::mpsc;

use super::kept::row;
use super::record::Record;
use crate::metrics::Outcome;
use crate::serving::{Finished, Observer};
use crate::store::{Receipt, ReceiptKeys};

/// Makes records of finished predictions and passes them on without waiting.
#[derive(Debug)]
pub(super) struct Recorder {
    pub(super) records: mpsc::Sender<Record>,
    /// The keys that receipts are signed with, if there are any.
    pub(super) receipts: Option<ReceiptKeys>,
}

impl Observer for Recorder {
    fn finished(&self, prediction: &Finished<'_>) {
        if !prediction.context.caller.is_client() || prediction.part != crate::serving::Part::Model {
            return;
        }
        let records = Record::of(prediction);
        match (&prediction.context.receipt, &self.receipts) {
            (Some(place), Some(keys)) if prediction.outcome == Outcome::Success => {
                let records: Vec<Record> = records.collect();
                if let Some(receipt) = receipt(prediction, &records, keys) {
                    // Of several answers under one request the first has a receipt.
                    place.set(receipt).ok();
                }
                self.pass_on(prediction, records.into_iter());
            }
            _ => self.pass_on(prediction, records),
        }
    }
}

impl Recorder {
    /// Passes the records of one request on; they are kept or dropped together.
    fn pass_on(&self, prediction: &Finished<'_>, records: impl ExactSizeIterator<Item = Record>) {
        let counters = &prediction.servable.metrics().records;
        let count = records.len();
        match self.records.try_reserve_many(count) {
            Ok(places) => {
                places.zip(records).for_each(|(place, record)| place.send(record));
                counters.observed.inc_by(count as u64);
            }
            Err(_) => counters.dropped.inc_by(count as u64),
        }
    }
}

fn receipt(prediction: &Finished<'_>, records: &[Record], keys: &ReceiptKeys) -> Option<String> {
    let identity = &prediction.servable.identity;
    let receipt = Receipt {
        request_id: prediction.context.request_id.as_str().to_owned(),
        model: identity.model.to_string(),
        version: identity.version.0,
        digest: identity.digest,
        rows: records.iter().map(row).collect(),
    };
    keys.seal(&receipt, records.first()?.at)
}
