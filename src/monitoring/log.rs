//! The consumer that keeps records in the store.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::kept::{known, row};
use super::monitor::Consumer;
use super::record::Record;
use crate::store::{KeptShare, KnownVersion, Logged, Store};

/// The longest that samples wait, and the most that do: each transfer wakes the store, and each block takes many.
const PERIOD: Duration = Duration::from_millis(45);
const MOST: usize = 4096;

/// Passes every record to the store.
#[derive(Debug)]
pub struct Log {
    store: Arc<Store>,
    keep_share: KeptShare,
    /// The versions as the store knows them, by their serial number.
    versions: HashMap<u64, Arc<KnownVersion>>,
    /// The samples to be passed on, and when the last ones were.
    waiting: Vec<Logged>,
    passed: Instant,
}

impl Log {
    /// Makes a consumer that writes to a store, where the samples of a share of requests are kept.
    pub fn new(store: Arc<Store>, keep_share: KeptShare) -> Self {
        Self { store, keep_share, versions: HashMap::new(), waiting: Vec::new(), passed: Instant::now() }
    }

    fn logged(&mut self, record: &Record) -> Logged {
        let version = &record.version;
        let known = self.versions.entry(version.serial).or_insert_with(|| Arc::new(known(version))).clone();
        let is_kept = match &record.client {
            _ if self.keep_share == KeptShare::ALL => true,
            Some(client) => self.keep_share.keeps(client),
            None => self.keep_share.keeps(record.id.hyphenated().encode_lower(&mut [0; 36])),
        };
        Logged {
            version: known,
            client: record.client.clone(),
            row: row(record),
            is_kept,
            captured: record.captured.as_deref().cloned(),
        }
    }
}

impl Consumer for Log {
    fn consume(&mut self, records: &[Record]) {
        self.waiting.reserve(records.len());
        for record in records {
            let logged = self.logged(record);
            self.waiting.push(logged);
        }
        if self.waiting.len() >= MOST || self.passed.elapsed() >= PERIOD {
            self.settle();
        }
    }

    fn settle(&mut self) {
        self.passed = Instant::now();
        if !self.waiting.is_empty() {
            self.store.log(std::mem::take(&mut self.waiting));
        }
    }

    fn close(&mut self) {
        self.settle();
    }
}
