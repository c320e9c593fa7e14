//! The observer behind the tap.

use tokio::sync::mpsc;

use super::capture::Capture;
use super::kept::row;
use super::record::Record;
use crate::metrics::Outcome;
use crate::serving::{Finished, Identity, Observer};
use crate::store::{Receipt, ReceiptKeys};

/// Makes records of finished predictions and passes them on without waiting.
#[derive(Debug)]
pub(super) struct Recorder {
    pub(super) records: mpsc::Sender<Record>,
    /// The keys that receipts are signed with, if there are any.
    pub(super) receipts: Option<ReceiptKeys>,
    /// The choice of inputs to be kept, if any are.
    pub(super) capture: Option<Capture>,
}

impl Observer for Recorder {
    fn finished(&self, prediction: &Finished<'_>) {
        if !prediction.context.caller.is_client() || prediction.part != crate::serving::Part::Model {
            return;
        }
        let records = Record::of(prediction);
        let sealed = prediction.context.receipt.as_deref().zip(self.receipts.as_ref());
        let capture = self.capture_for(&prediction.servable.identity);
        if prediction.outcome != Outcome::Success || (sealed.is_none() && capture.is_none()) {
            return self.pass_on(prediction, records);
        }
        let mut records: Vec<Record> = records.collect();
        if let Some(receipt) = sealed.and_then(|(place, keys)| Some((place, receipt(prediction, &records, keys)?))) {
            // Of several answers under one request the first has a receipt.
            receipt.0.set(receipt.1).ok();
        }
        if let Some(capture) = capture {
            capture.add(prediction, &mut records);
        }
        self.pass_on(prediction, records.into_iter());
    }

    fn keeps_inputs(&self, version: &Identity) -> bool {
        self.capture_for(version).is_some()
    }
}

impl Recorder {
    /// Returns what chooses inputs of a version to be kept, if any may be.
    fn capture_for(&self, version: &Identity) -> Option<&Capture> {
        self.capture.as_ref().filter(|capture| capture.is_on_for(version))
    }

    /// Passes the records of one request on; they are kept or dropped together.
    fn pass_on(&self, prediction: &Finished<'_>, records: impl ExactSizeIterator<Item = Record>) {
        let counters = &prediction.servable.metrics().records;
        let count = records.len();
        match self.records.try_reserve_many(count) {
            Ok(places) => {
                places.zip(records).for_each(|(place, record)| place.send(record));
                counters.observed.inc_by(count as u64);
            }
            Err(_) => {
                counters.dropped.inc_by(count as u64);
                if let Some(capture) = self.capture_for(&prediction.servable.identity) {
                    capture.dropped(records.filter(|record| record.captured.is_some()).count() as u64);
                }
            }
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
