//! The life of alarms: raised, acknowledged, cleared. A plain state machine; time is an argument.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::error::{Error, Result};
use crate::ids::quote;

/// The cleared alarms that are kept.
pub(super) const RECENT: usize = 200;

/// What an alarm is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum AlarmKind {
    /// The traffic of a version differs from its reference, with a sign of harm.
    Drift,
    /// Labels say that a version is worse than on its test data.
    Accuracy,
    /// Labels say that sets of classes hold the right one less often than stated.
    Coverage,
    /// Nothing can be estimated of a version's accuracy any more.
    Estimate,
    /// Labels came, and come no more.
    Labels,
    /// Predictions and feedback cannot be kept.
    Store,
    /// Records of samples are dropped.
    Dropped,
}

impl AlarmKind {
    /// All kinds.
    pub const ALL: [Self; 7] =
        [Self::Drift, Self::Accuracy, Self::Coverage, Self::Estimate, Self::Labels, Self::Store, Self::Dropped];

    /// Returns the name, as answers and metrics have it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Drift => "drift",
            Self::Accuracy => "accuracy",
            Self::Coverage => "coverage",
            Self::Estimate => "estimate",
            Self::Labels => "labels",
            Self::Store => "store",
            Self::Dropped => "dropped",
        }
    }

    /// Returns true if its condition must hold for a while before it is raised. Evidence of drift has its own patience,
    /// and what is lost is lost at once.
    fn waits(self) -> bool {
        match self {
            Self::Accuracy | Self::Coverage | Self::Estimate => true,
            Self::Drift | Self::Labels | Self::Store | Self::Dropped => false,
        }
    }
}

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Good to know.
    Info,
    /// Somebody should look at it.
    Warning,
    /// Somebody should look at it now.
    Critical,
}

impl Severity {
    /// Returns the name, as answers have it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }
}

/// The stage of an alarm's life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum AlarmState {
    /// Nobody has said that they know.
    Raised,
    /// Somebody has.
    Acknowledged,
    /// The condition is gone.
    Cleared,
}

/// The person who knows of an alarm, and why it is let be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Acknowledgement {
    /// Who.
    pub who: String,
    /// Why it may go on.
    pub why: String,
    /// When, as RFC 3339.
    pub at: String,
}

/// One alarm.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Alarm {
    /// Its identifier.
    pub id: String,
    /// What it is about.
    pub kind: AlarmKind,
    /// The model, if it is about one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// The version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<u64>,
    /// The stage of its life.
    pub state: AlarmState,
    /// The worst so far.
    pub severity: Severity,
    /// What is wrong, in words and figures.
    pub summary: String,
    /// When it was raised, as RFC 3339.
    pub raised_at: String,
    /// When it was cleared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cleared_at: Option<String>,
    /// Who acknowledged it last. Becoming worse takes that back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acknowledged: Option<Acknowledgement>,
}

/// What tells alarms apart: there is one open alarm of each.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    pub(super) kind: AlarmKind,
    pub(super) subject: Option<(String, u64)>,
}

/// How a condition stands. One that is not mentioned is gone.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Standing {
    /// It holds.
    Holds(Severity, String),
    /// It cannot be told, or is between the level that raises and the one that clears: nothing changes.
    Undecided,
}

/// The moment of an update.
#[derive(Debug, Clone, Copy)]
pub(super) struct Now {
    /// For people.
    pub(super) wall: jiff::Timestamp,
    /// For waiting: it never goes back.
    pub(super) since_start: Duration,
}

/// What became of an alarm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Turn {
    /// It is new.
    Raised,
    /// It is worse than it was.
    Worse,
    /// Somebody knows.
    Acknowledged,
    /// It is over.
    Cleared,
}

#[derive(Debug)]
struct Open {
    alarm: Alarm,
    /// Since when the condition is gone.
    gone_since: Option<Duration>,
}

/// All alarms that are open, and the last that were.
#[derive(Debug, Default)]
pub(super) struct Book {
    open: BTreeMap<Key, Open>,
    /// Conditions that hold, but not for long enough.
    pending: BTreeMap<Key, Duration>,
    /// The newest last.
    recent: VecDeque<Alarm>,
}

impl Book {
    /// Takes up what was kept.
    pub(super) fn resume(alarms: Vec<Alarm>) -> Self {
        let mut book = Self::default();
        for alarm in alarms {
            if alarm.state == AlarmState::Cleared {
                book.recent.push_back(alarm);
            } else {
                let subject = alarm.model.clone().zip(alarm.version);
                book.open.insert(Key { kind: alarm.kind, subject }, Open { alarm, gone_since: None });
            }
        }
        book
    }

    /// Returns all of them: those that are open, and then the cleared ones, the newest first.
    pub(super) fn all(&self) -> impl Iterator<Item = &Alarm> {
        self.open.values().map(|open| &open.alarm).chain(self.recent.iter().rev())
    }

    /// Returns what is to be kept, in the order that [`Book::resume`] takes.
    pub(super) fn kept(&self) -> Vec<&Alarm> {
        self.recent.iter().chain(self.open.values().map(|open| &open.alarm)).collect()
    }

    /// Judges all conditions. `hold` is the time for which one must hold, or be gone, to count.
    pub(super) fn update(
        &mut self,
        standings: &BTreeMap<Key, Standing>,
        now: Now,
        hold: Duration,
    ) -> Vec<(Turn, Alarm)> {
        let mut turns = Vec::new();
        for (key, standing) in standings {
            let Standing::Holds(severity, summary) = standing else {
                self.pending.remove(key);
                if let Some(open) = self.open.get_mut(key) {
                    open.gone_since = None;
                }
                continue;
            };
            if let Some(open) = self.open.get_mut(key) {
                open.gone_since = None;
                summary.clone_into(&mut open.alarm.summary);
                if *severity > open.alarm.severity {
                    open.alarm.severity = *severity;
                    open.alarm.state = AlarmState::Raised;
                    turns.push((Turn::Worse, open.alarm.clone()));
                }
                continue;
            }
            let since = *self.pending.entry(key.clone()).or_insert(now.since_start);
            if !key.kind.waits() || now.since_start.saturating_sub(since) >= hold {
                self.pending.remove(key);
                let alarm = raised(key, *severity, summary, now);
                turns.push((Turn::Raised, alarm.clone()));
                self.open.insert(key.clone(), Open { alarm, gone_since: None });
            }
        }
        self.pending.retain(|key, _| standings.contains_key(key));
        self.clear(standings, now, hold, &mut turns);
        turns
    }

    fn clear(&mut self, standings: &BTreeMap<Key, Standing>, now: Now, hold: Duration, turns: &mut Vec<(Turn, Alarm)>) {
        let mut over = Vec::new();
        for (key, open) in self.open.iter_mut().filter(|(key, _)| !standings.contains_key(key)) {
            let since = *open.gone_since.get_or_insert(now.since_start);
            if now.since_start.saturating_sub(since) >= hold {
                over.push(key.clone());
            }
        }
        for key in over {
            let Some(Open { mut alarm, .. }) = self.open.remove(&key) else { continue };
            alarm.state = AlarmState::Cleared;
            alarm.cleared_at = Some(now.wall.to_string());
            turns.push((Turn::Cleared, alarm.clone()));
            self.recent.push_back(alarm);
        }
        while self.recent.len() > RECENT {
            self.recent.pop_front();
        }
    }

    /// Notes that somebody knows of an alarm. Doing it again replaces who and why.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Conflict`] when the alarm is cleared.
    pub(super) fn acknowledge(&mut self, id: &str, acknowledgement: Acknowledgement) -> Result<Alarm> {
        if let Some(open) = self.open.values_mut().find(|open| open.alarm.id == id) {
            open.alarm.state = AlarmState::Acknowledged;
            open.alarm.acknowledged = Some(acknowledgement);
            return Ok(open.alarm.clone());
        }
        match self.recent.iter().find(|alarm| alarm.id == id) {
            Some(alarm) => {
                let at = alarm.cleared_at.as_deref().unwrap_or("an earlier time");
                Err(Error::Conflict(format!("alarm {id} was cleared at {at}; only open alarms are acknowledged")))
            }
            None => Err(Error::NotFound(format!("there is no alarm {}; GET /alarms lists those there are", quote(id)))),
        }
    }

    /// Returns the number of open alarms of a kind in a state.
    pub(super) fn count(&self, kind: AlarmKind, state: AlarmState) -> usize {
        self.open.values().filter(|open| open.alarm.kind == kind && open.alarm.state == state).count()
    }

    /// Returns the keys of all open alarms.
    pub(super) fn keys(&self) -> Vec<Key> {
        self.open.keys().cloned().collect()
    }
}

fn raised(key: &Key, severity: Severity, summary: &str, now: Now) -> Alarm {
    let (model, version) = key.subject.clone().unzip();
    Alarm {
        id: Uuid::now_v7().to_string(),
        kind: key.kind,
        model,
        version,
        state: AlarmState::Raised,
        severity,
        summary: summary.to_owned(),
        raised_at: now.wall.to_string(),
        cleared_at: None,
        acknowledged: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOLD: Duration = Duration::from_secs(60);

    fn key(kind: AlarmKind) -> Key {
        Key { kind, subject: Some(("m".into(), 1)) }
    }

    fn at(seconds: u64) -> Now {
        let wall = jiff::Timestamp::from_second(1_800_000_000 + seconds as i64).unwrap();
        Now { wall, since_start: Duration::from_secs(seconds) }
    }

    fn holds(kind: AlarmKind, severity: Severity) -> BTreeMap<Key, Standing> {
        [(key(kind), Standing::Holds(severity, "it is so".into()))].into()
    }

    fn turns(changes: &[(Turn, Alarm)]) -> Vec<Turn> {
        changes.iter().map(|(turn, _)| *turn).collect()
    }

    fn acknowledgement() -> Acknowledgement {
        Acknowledgement { who: "ann".into(), why: "known".into(), at: at(0).wall.to_string() }
    }

    #[test]
    fn a_condition_must_hold_and_be_gone_for_a_while() {
        let mut book = Book::default();
        let wrong = holds(AlarmKind::Accuracy, Severity::Critical);
        let none = BTreeMap::new();
        // Each line is a moment, what holds, and what happens.
        for (second, standings, expected) in [
            (0, &wrong, vec![]),
            (59, &wrong, vec![]),
            // Its time begins anew.
            (60, &none, vec![]),
            (61, &wrong, vec![]),
            (120, &wrong, vec![]),
            (121, &wrong, vec![Turn::Raised]),
            (122, &wrong, vec![]),
            (130, &none, vec![]),
            (150, &wrong, vec![]),
            (160, &none, vec![]),
            (219, &none, vec![]),
            (220, &none, vec![Turn::Cleared]),
            (221, &none, vec![]),
        ] {
            assert_eq!(turns(&book.update(standings, at(second), HOLD)), expected, "at {second}");
        }
        assert_eq!(book.all().count(), 1);
    }

    #[test]
    fn an_undecided_condition_neither_raises_nor_clears() {
        let mut book = Book::default();
        let undecided: BTreeMap<Key, Standing> = [(key(AlarmKind::Drift), Standing::Undecided)].into();
        assert_eq!(turns(&book.update(&undecided, at(0), HOLD)), []);
        assert_eq!(turns(&book.update(&holds(AlarmKind::Drift, Severity::Warning), at(1), HOLD)), [Turn::Raised]);
        assert_eq!(turns(&book.update(&BTreeMap::new(), at(2), HOLD)), []);
        assert_eq!(turns(&book.update(&undecided, at(30), HOLD)), []);
        assert_eq!(turns(&book.update(&BTreeMap::new(), at(62), HOLD)), []);
        assert_eq!(turns(&book.update(&undecided, at(1000), HOLD)), []);
        assert_eq!(turns(&book.update(&BTreeMap::new(), at(1001), HOLD)), []);
        assert_eq!(turns(&book.update(&BTreeMap::new(), at(1061), HOLD)), [Turn::Cleared]);
    }

    #[test]
    fn worse_takes_an_acknowledgement_back_and_better_does_not() {
        let mut book = Book::default();
        let changes = book.update(&holds(AlarmKind::Drift, Severity::Warning), at(0), HOLD);
        let id = changes[0].1.id.clone();
        assert_eq!(book.acknowledge(&id, acknowledgement()).unwrap().state, AlarmState::Acknowledged);
        assert_eq!(turns(&book.update(&holds(AlarmKind::Drift, Severity::Critical), at(1), HOLD)), [Turn::Worse]);
        assert_eq!(
            (book.count(AlarmKind::Drift, AlarmState::Raised), book.all().next().unwrap().id.clone()),
            (1, id.clone())
        );
        book.acknowledge(&id, acknowledgement()).unwrap();
        assert_eq!(turns(&book.update(&holds(AlarmKind::Drift, Severity::Info), at(2), HOLD)), []);
        let alarm = book.all().next().unwrap();
        assert_eq!((alarm.state, alarm.severity), (AlarmState::Acknowledged, Severity::Critical));
        book.update(&BTreeMap::new(), at(3), HOLD);
        book.update(&BTreeMap::new(), at(63), HOLD);
        assert!(matches!(book.acknowledge(&id, acknowledgement()), Err(Error::Conflict(_))));
        assert!(matches!(book.acknowledge("x", acknowledgement()), Err(Error::NotFound(_))));
        // The next is another.
        let changes = book.update(&holds(AlarmKind::Drift, Severity::Warning), at(64), HOLD);
        assert!(changes[0].1.id != id && changes[0].1.acknowledged.is_none());
    }

    #[test]
    fn what_is_kept_is_taken_up_and_bounded() {
        let mut book = Book::default();
        for round in 0..RECENT as u64 + 5 {
            book.update(&holds(AlarmKind::Store, Severity::Critical), at(2 * round), Duration::ZERO);
            book.update(&BTreeMap::new(), at(2 * round + 1), Duration::ZERO);
        }
        let changes = book.update(&holds(AlarmKind::Drift, Severity::Warning), at(9000), HOLD);
        book.acknowledge(&changes[0].1.id, acknowledgement()).unwrap();
        let text = serde_json::to_string(&book.kept()).unwrap();
        let mut again = Book::resume(serde_json::from_str(&text).unwrap());
        assert!(again.all().eq(book.all()));
        assert_eq!(again.all().count(), RECENT + 1);
        assert_eq!(turns(&again.update(&holds(AlarmKind::Drift, Severity::Warning), at(0), HOLD)), []);
        assert_eq!(again.count(AlarmKind::Drift, AlarmState::Acknowledged), 1);
    }
}
