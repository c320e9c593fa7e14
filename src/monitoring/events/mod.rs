//! What happens on this server, for those who listen: a short memory of events, and a queue for each listener.
//!
//! Publishing never waits. A listener that does not keep up loses its place and is told so; it can come back with the
//! identifier of the last event that it saw, as long as that is remembered.

mod told;

use std::collections::VecDeque;
use std::fmt;
use std::str::FromStr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

pub(super) use self::told::{DriftTold, VersionsTold};
use crate::error::{Error, Result};

/// The events that are remembered for listeners that come back.
const REMEMBERED: usize = 1000;

/// The events that may wait for a listener.
const WAITING: usize = 256;

/// The most listeners at the same time.
pub const MAX_LISTENERS: usize = 64;

/// What an event is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum EventKind {
    /// A version has another state.
    Version,
    /// A stream of a version has another state, or its evidence moved by a tenth.
    Drift,
    /// Labels changed the live figures of a version.
    Quality,
    /// An alarm was raised, became worse, was acknowledged or cleared.
    Alarm,
}

impl EventKind {
    /// All kinds.
    pub const ALL: [Self; 4] = [Self::Version, Self::Drift, Self::Quality, Self::Alarm];

    /// Returns the name in a stream of events.
    pub fn name(self) -> &'static str {
        match self {
            Self::Version => "version",
            Self::Drift => "drift",
            Self::Quality => "quality",
            Self::Alarm => "alarm",
        }
    }
}

/// The place of an event: the start of the process that saw it, in milliseconds since 1970, and its number there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventId {
    epoch: u64,
    number: u64,
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.epoch, self.number)
    }
}

impl FromStr for EventId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let read = || {
            let (epoch, number) = text.split_once('-')?;
            Some(Self { epoch: epoch.parse().ok()?, number: number.parse().ok()? })
        };
        read().ok_or_else(|| Error::Malformed("Last-Event-ID: expected the id of an event of this server".into()))
    }
}

/// Something that happened.
#[derive(Debug)]
pub struct Event {
    /// Its place.
    pub id: EventId,
    /// What it is about.
    pub kind: EventKind,
    /// The model, if it is about one.
    pub model: Option<String>,
    /// A JSON object on one line.
    pub data: String,
}

#[derive(Debug)]
struct Memory {
    events: VecDeque<Arc<Event>>,
    /// The number of the next event.
    next: u64,
}

/// The events of this process.
#[derive(Debug)]
pub struct Events {
    epoch: u64,
    memory: Mutex<Memory>,
    sender: broadcast::Sender<Arc<Event>>,
    listeners: AtomicUsize,
}

impl Default for Events {
    fn default() -> Self {
        let epoch = u64::try_from(jiff::Timestamp::now().as_millisecond()).unwrap_or_default();
        let memory = Memory { events: VecDeque::new(), next: 1 };
        Self {
            epoch,
            memory: Mutex::new(memory),
            sender: broadcast::Sender::new(WAITING),
            listeners: AtomicUsize::new(0),
        }
    }
}

impl Events {
    /// Tells everybody who listens, now or later.
    pub fn publish(&self, kind: EventKind, model: Option<&str>, data: &impl Serialize) {
        // Payloads are plain structs, which always have a JSON form.
        let Ok(data) = serde_json::to_string(data) else { return };
        let mut memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        let id = EventId { epoch: self.epoch, number: memory.next };
        let event = Arc::new(Event { id, kind, model: model.map(str::to_owned), data });
        memory.next += 1;
        memory.events.push_back(event.clone());
        if memory.events.len() > REMEMBERED {
            memory.events.pop_front();
        }
        // Nobody may listen.
        self.sender.send(event).ok();
    }

    /// Begins to listen: to what follows `after` as far as that is remembered, or to what comes from now on.
    ///
    /// # Errors
    /// [`Error::Overloaded`] when [`MAX_LISTENERS`] listen already.
    pub fn listen(self: &Arc<Self>, after: Option<EventId>) -> Result<Listener> {
        let more = |count: usize| (count < MAX_LISTENERS).then_some(count + 1);
        if self.listeners.fetch_update(Ordering::AcqRel, Ordering::Acquire, more).is_err() {
            return Err(Error::Overloaded { what: "listeners to events", retry_after_seconds: 10 });
        }
        // Under the lock nothing is published between the two.
        let memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        let receiver = self.sender.subscribe();
        let (missed, backlog) = match after {
            None => (false, VecDeque::new()),
            Some(id) if id.epoch == self.epoch && id.number < memory.next => {
                let oldest = memory.events.front().map_or(memory.next, |event| event.id.number);
                let backlog = memory.events.iter().filter(|event| event.id.number > id.number).cloned().collect();
                (id.number + 1 < oldest, backlog)
            }
            // Of an earlier life of the server: what happened until it ended is not known.
            Some(_) => (true, memory.events.clone()),
        };
        drop(memory);
        Ok(Listener { events: self.clone(), receiver, backlog, missed })
    }
}

/// What a listener hears.
#[derive(Debug)]
pub enum Heard {
    /// Something happened.
    Event(Arc<Event>),
    /// Events before the next one are no longer known.
    Missed,
    /// The listener did not keep up; nothing follows.
    Lagged,
}

/// One who listens; its place is free again when it is dropped.
#[derive(Debug)]
pub struct Listener {
    events: Arc<Events>,
    receiver: broadcast::Receiver<Arc<Event>>,
    backlog: VecDeque<Arc<Event>>,
    missed: bool,
}

impl Listener {
    /// Waits for the next event; `None` when none follows. May be cancelled.
    pub async fn next(&mut self) -> Option<Heard> {
        if std::mem::take(&mut self.missed) {
            return Some(Heard::Missed);
        }
        if let Some(event) = self.backlog.pop_front() {
            return Some(Heard::Event(event));
        }
        match self.receiver.recv().await {
            Ok(event) => Some(Heard::Event(event)),
            Err(RecvError::Lagged(_)) => Some(Heard::Lagged),
            Err(RecvError::Closed) => None,
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.events.listeners.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn publish(events: &Events, numbers: std::ops::Range<u64>) {
        numbers.for_each(|number| events.publish(EventKind::Drift, Some("m"), &number));
    }

    async fn data(listener: &mut Listener) -> String {
        match listener.next().await.unwrap() {
            Heard::Event(event) => event.data.clone(),
            other => format!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn a_listener_that_comes_back_hears_what_it_missed() {
        let events = Arc::new(Events::default());
        publish(&events, 0..3);
        let mut first = events.listen(None).unwrap();
        publish(&events, 3..5);
        assert_eq!(data(&mut first).await, "3");
        let id = |number| EventId { epoch: events.epoch, number };
        let mut back = events.listen(Some(id(2))).unwrap();
        assert_eq!([data(&mut back).await, data(&mut back).await, data(&mut back).await], ["2", "3", "4"]);
        publish(&events, 5..6);
        assert_eq!(data(&mut back).await, "5");
        // Of another process, and of the future.
        for unknown in [EventId { epoch: 1, number: 9 }, id(100)] {
            let mut other = events.listen(Some(unknown)).unwrap();
            assert_eq!([data(&mut other).await, data(&mut other).await], ["Missed", "0"]);
        }
        publish(&events, 6..2000);
        let mut late = events.listen(Some(id(6))).unwrap();
        assert_eq!([data(&mut late).await, data(&mut late).await], ["Missed", "1000"]);
        let mut in_time = events.listen(Some(id(1000))).unwrap();
        assert_eq!(data(&mut in_time).await, "1000");
    }

    #[tokio::test]
    async fn a_slow_listener_is_told_and_places_are_bounded() {
        let events = Arc::new(Events::default());
        let mut slow = events.listen(None).unwrap();
        publish(&events, 0..WAITING as u64 + 1);
        assert_eq!(data(&mut slow).await, "Lagged");
        let others: Vec<Listener> = (1..MAX_LISTENERS).map(|_| events.listen(None).unwrap()).collect();
        assert!(matches!(events.listen(None), Err(Error::Overloaded { .. })));
        drop(others);
        assert!(events.listen(None).is_ok());
    }

    #[test]
    fn identifiers_are_read_as_they_are_written() {
        let id = EventId { epoch: 17, number: 3 };
        assert_eq!(id.to_string().parse::<EventId>().unwrap(), id);
        for bad in ["", "-", "3", "a-1", "1-a", "1-2-3", "18446744073709551616-1"] {
            assert!(matches!(bad.parse::<EventId>(), Err(Error::Malformed(_))), "{bad}");
        }
    }
}
