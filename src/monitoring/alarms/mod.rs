//! Alarms: what is wrong with the answers or with watching them, who knows of it, and when it was over.
//!
//! A task judges all conditions every second. The open alarms and the last that were cleared are kept in
//! `alarms.json` of the state folder: they are those of this server and its share of the traffic.

mod book;
mod conditions;
mod task;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Serialize;

pub use self::book::{Acknowledgement, Alarm, AlarmKind, AlarmState, Severity, Turn};
use self::book::{Book, Key, Now, Standing};
pub use self::task::{Overseen, oversee};
use super::events::{EventKind, Events};
use super::sinks::AlarmQueue;
use crate::error::Result;
use crate::metrics::AlarmMetrics;
use crate::store::StateFile;

/// The name of the file in the state folder.
const FILE: &str = "alarms.json";

/// What an event or a webhook says of an alarm.
#[derive(Debug, Clone, Serialize)]
pub struct AlarmNews {
    /// What became of it.
    pub turn: Turn,
    /// The alarm as it is now.
    #[serde(flatten)]
    pub alarm: Alarm,
}

/// The alarms of this server.
#[derive(Debug)]
pub struct Alarms {
    book: Mutex<Book>,
    file: StateFile,
    metrics: AlarmMetrics,
    events: Arc<Events>,
    /// The way to the webhook.
    webhook: Option<AlarmQueue>,
}

impl Alarms {
    /// Takes up the alarms that were kept in the state folder.
    pub fn open(folder: &Path, metrics: AlarmMetrics, events: Arc<Events>, webhook: Option<AlarmQueue>) -> Self {
        let file = StateFile::new(folder, FILE);
        let book = Book::resume(file.read().unwrap_or_default());
        let alarms = Self { book: Mutex::new(book), file, metrics, events, webhook };
        alarms.show(&alarms.lock());
        alarms
    }

    /// Returns the alarms that `wanted` chooses: open ones first, then cleared ones, the newest first.
    pub fn list(&self, wanted: impl Fn(&Alarm) -> bool) -> Vec<Alarm> {
        self.lock().all().filter(|alarm| wanted(alarm)).cloned().collect()
    }

    /// Notes that somebody knows of an alarm; returns once that is on disk. Blocks on the disk.
    ///
    /// # Errors
    /// [`Error::NotFound`](crate::error::Error::NotFound) for an unknown alarm,
    /// [`Error::Conflict`](crate::error::Error::Conflict) for a cleared one,
    /// [`Error::Io`](crate::error::Error::Io) when it cannot be kept: it holds until the server stops.
    pub fn acknowledge(&self, id: &str, who: String, why: String) -> Result<Alarm> {
        let at = jiff::Timestamp::now().to_string();
        let mut book = self.lock();
        let alarm = book.acknowledge(id, Acknowledgement { who, why, at })?;
        self.tell(&[(Turn::Acknowledged, alarm.clone())]);
        self.show(&book);
        self.file.write(&book.kept())?;
        Ok(alarm)
    }

    fn update(&self, standings: &BTreeMap<Key, Standing>, now: Now, hold: Duration) {
        let mut book = self.lock();
        let turns = book.update(standings, now, hold);
        if turns.is_empty() {
            return;
        }
        for (turn, alarm) in &turns {
            let (id, kind, summary) = (&alarm.id, alarm.kind.name(), alarm.summary.as_str());
            let (model, version) = (alarm.model.as_deref(), alarm.version);
            match turn {
                Turn::Cleared => tracing::info!(%id, kind, model, version, "an alarm is over"),
                Turn::Acknowledged => tracing::info!(%id, kind, model, version, "an alarm is acknowledged"),
                Turn::Raised | Turn::Worse => {
                    tracing::warn!(%id, kind, severity = alarm.severity.name(), model, version, summary, "alarm")
                }
            }
        }
        self.tell(&turns);
        self.show(&book);
        if let Err(error) = self.file.write(&book.kept()) {
            tracing::error!(%error, "alarms cannot be kept; they are forgotten at the next start");
        }
    }

    fn tell(&self, turns: &[(Turn, Alarm)]) {
        for (turn, alarm) in turns {
            let news = AlarmNews { turn: *turn, alarm: alarm.clone() };
            if let Some(webhook) = &self.webhook {
                webhook.put(serde_json::to_vec(&news).unwrap_or_default());
            }
            self.events.publish(EventKind::Alarm, alarm.model.as_deref(), &news);
        }
    }

    fn show(&self, book: &Book) {
        for kind in AlarmKind::ALL {
            for (name, state) in [("raised", AlarmState::Raised), ("acknowledged", AlarmState::Acknowledged)] {
                self.metrics.set(kind.name(), name, book.count(kind, state));
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
