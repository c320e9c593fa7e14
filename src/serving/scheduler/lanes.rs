//! All lanes and their order: the decisions of the pool, without its threads.
//!
//! Compute time is shared by start-time fair queueing: a lane's clock advances by the time its runs
//! take, divided by its weight, and the lane whose clock is furthest behind runs next. A lane that
//! was idle starts at the present clock, so it cannot save up. Within a lane, jobs run by priority and then by the moment
//! at which their request came, so that what has begun goes before what has not.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
use std::time::{Duration, Instant};

use super::batch::{BatchPolicy, Candidate, Decision, form};

/// Identifies a lane for as long as the pool lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct LaneId(u64);

/// The rules by which a lane shares the pool with others.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct LanePolicy {
    /// The rules by which its jobs are put together.
    pub(crate) batch: BatchPolicy,
    /// Its share of compute time, relative to the other lanes.
    pub(crate) weight: f64,
    /// The most runs at the same time.
    pub(crate) concurrency: usize,
}

/// A job in a lane.
#[derive(Debug)]
pub(crate) struct Item<P> {
    pub(crate) id: u64,
    /// Lower runs earlier.
    pub(crate) priority: u8,
    pub(crate) rows: usize,
    /// Never joined with others.
    pub(crate) is_alone: bool,
    pub(crate) shape: Box<[usize]>,
    pub(crate) submitted: Instant,
    pub(crate) deadline: Instant,
    /// The time that its request will still take. It is not begun with less left.
    pub(crate) needs: Duration,
    pub(crate) payload: P,
}

impl<P> Item<P> {
    /// Returns true if it is not worth beginning any more.
    fn is_late(&self, now: Instant) -> bool {
        self.deadline <= now + self.needs
    }
}

#[derive(Debug)]
struct Lane<P> {
    policy: LanePolicy,
    queue: VecDeque<Item<P>>,
    /// Weighted seconds of compute time.
    clock: f64,
    /// The time that runs took lately, in seconds; charged before a run and corrected after it.
    estimate: f64,
    running: usize,
    is_removed: bool,
}

/// The next work of a thread.
#[derive(Debug)]
pub(crate) enum Next<P> {
    /// Run these, and report how long it took.
    Run(LaneId, Vec<Item<P>>),
    /// Ask again at this moment, or when a job arrives.
    WaitUntil(Instant),
    /// Nothing can run.
    Idle,
}

/// All lanes.
#[derive(Debug)]
pub(crate) struct Lanes<P> {
    lanes: BTreeMap<LaneId, Lane<P>>,
    next_lane: u64,
    next_item: u64,
    clock: f64,
}

impl<P> Default for Lanes<P> {
    fn default() -> Self {
        Self { lanes: BTreeMap::new(), next_lane: 0, next_item: 0, clock: 0.0 }
    }
}

impl<P> Lanes<P> {
    /// Adds a lane.
    pub(crate) fn add(&mut self, policy: LanePolicy) -> LaneId {
        let id = LaneId(self.next_lane);
        self.next_lane += 1;
        let clock = self.clock;
        self.lanes
            .insert(id, Lane { policy, queue: VecDeque::new(), clock, estimate: 0.0, running: 0, is_removed: false });
        id
    }

    /// Changes the rules of a lane.
    pub(crate) fn set_policy(&mut self, id: LaneId, policy: LanePolicy) {
        if let Some(lane) = self.lanes.get_mut(&id) {
            lane.policy = policy;
        }
    }

    /// Takes a lane away once nothing of it waits or runs.
    pub(crate) fn remove(&mut self, id: LaneId) {
        if let Some(lane) = self.lanes.get_mut(&id) {
            lane.is_removed = true;
            self.sweep(id);
        }
    }

    /// Queues a job behind those of its priority whose request came before, and returns its number, unless the lane is
    /// gone.
    pub(crate) fn push(&mut self, id: LaneId, make: impl FnOnce(u64) -> Item<P>) -> Option<u64> {
        let number = self.next_item;
        self.next_item += 1;
        let lane = self.lanes.get_mut(&id)?;
        if lane.queue.is_empty() && lane.running == 0 {
            lane.clock = lane.clock.max(self.clock);
        }
        let item = make(number);
        let turn = (item.priority, item.submitted);
        let behind = lane.queue.partition_point(|other| (other.priority, other.submitted) <= turn);
        lane.queue.insert(behind, item);
        Some(number)
    }

    /// Takes a waiting job out again.
    pub(crate) fn withdraw(&mut self, id: LaneId, number: u64) -> Option<Item<P>> {
        let lane = self.lanes.get_mut(&id)?;
        let place = lane.queue.iter().position(|item| item.id == number)?;
        let item = lane.queue.remove(place);
        self.sweep(id);
        item
    }

    /// Returns true if no lane holds a waiting job.
    pub(crate) fn is_empty(&self) -> bool {
        self.lanes.values().all(|lane| lane.queue.is_empty())
    }

    /// Chooses what to run. Jobs that cannot end by their deadline are moved to `dead`.
    pub(crate) fn next(&mut self, now: Instant, dead: &mut Vec<Item<P>>) -> Next<P> {
        let mut chosen: Option<(f64, LaneId, Range<usize>)> = None;
        let mut wake: Option<Instant> = None;
        for (id, lane) in &mut self.lanes {
            while let Some(place) = lane.queue.iter().position(|item| item.is_late(now)) {
                dead.extend(lane.queue.remove(place));
            }
            if lane.running >= lane.policy.concurrency
                || chosen.as_ref().is_some_and(|(clock, ..)| *clock <= lane.clock)
            {
                continue;
            }
            match lane.decide(now) {
                (first, Decision::Run(count)) => chosen = Some((lane.clock, *id, first..first + count)),
                (_, Decision::WaitUntil(time)) => wake = Some(wake.map_or(time, |other| other.min(time))),
                (_, Decision::Idle) => {}
            }
        }
        match (chosen, wake) {
            (Some((clock, id, places)), _) => {
                self.clock = self.clock.max(clock);
                self.lanes.get_mut(&id).map_or(Next::Idle, |lane| Next::Run(id, lane.begin(places)))
            }
            (None, Some(time)) => Next::WaitUntil(time),
            (None, None) => Next::Idle,
        }
    }

    /// Accounts for a run that has ended.
    pub(crate) fn finish(&mut self, id: LaneId, took: Duration) {
        const SMOOTHING: f64 = 0.2;
        if let Some(lane) = self.lanes.get_mut(&id) {
            let took = took.as_secs_f64();
            lane.clock += (took - lane.estimate) / lane.policy.weight;
            lane.estimate += SMOOTHING * (took - lane.estimate);
            lane.running -= 1;
            self.sweep(id);
        }
    }

    fn sweep(&mut self, id: LaneId) {
        let is_over = |lane: &Lane<P>| lane.is_removed && lane.queue.is_empty() && lane.running == 0;
        if self.lanes.get(&id).is_some_and(is_over) {
            self.lanes.remove(&id);
        }
    }
}

impl<P> Lane<P> {
    /// Returns the place of the job that runs next, and the decision on it and those behind it.
    fn decide(&self, now: Instant) -> (usize, Decision) {
        let alone = self.queue.iter().position(|item| item.is_alone);
        let joined = self.queue.iter().take(alone.unwrap_or(self.queue.len()));
        let candidates =
            joined.map(|item| Candidate { rows: item.rows, shape: &item.shape, submitted: item.submitted });
        match (form(candidates, &self.policy.batch, now), alone) {
            // While a batch waits for others, what is never joined may run, which may be what makes the others.
            (Decision::WaitUntil(_) | Decision::Idle, Some(place)) => (place, Decision::Run(1)),
            (decided, _) => (0, decided),
        }
    }

    fn begin(&mut self, places: Range<usize>) -> Vec<Item<P>> {
        self.running += 1;
        self.clock += self.estimate / self.policy.weight;
        self.queue.drain(places).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    struct Bench {
        lanes: Lanes<&'static str>,
        now: Instant,
    }

    impl Bench {
        fn new() -> Self {
            Self { lanes: Lanes::default(), now: Instant::now() }
        }

        fn lane(&mut self, weight: f64, concurrency: usize) -> LaneId {
            self.lanes.add(LanePolicy { batch: BatchPolicy::single(), weight, concurrency })
        }

        fn push(&mut self, lane: LaneId, priority: u8, payload: &'static str) -> u64 {
            let now = self.now;
            let item = |id| Item {
                id,
                priority,
                rows: 1,
                is_alone: false,
                shape: [].into(),
                submitted: now,
                deadline: now + MS * 100,
                needs: Duration::ZERO,
                payload,
            };
            self.lanes.push(lane, item).unwrap()
        }

        /// Queues a job of a request that came `ago`, which is joined with others unless it is `alone`.
        fn push_of(&mut self, lane: LaneId, ago: Duration, is_alone: bool, payload: &'static str) {
            let (submitted, deadline) = (self.now - ago, self.now + MS * 100);
            let (priority, rows, shape, needs) = (5, 1, [].into(), Duration::ZERO);
            let item = |id| Item { id, priority, rows, is_alone, shape, submitted, deadline, needs, payload };
            self.lanes.push(lane, item).unwrap();
        }

        fn run(&mut self) -> Option<(LaneId, &'static str)> {
            match self.lanes.next(self.now, &mut Vec::new()) {
                Next::Run(lane, batch) => Some((lane, batch[0].payload)),
                _ => None,
            }
        }
    }

    #[test]
    fn compute_time_is_shared_by_weight_whatever_a_run_costs() {
        let mut bench = Bench::new();
        let (cheap, dear) = (bench.lane(1.0, 8), bench.lane(3.0, 8));
        let mut spent = BTreeMap::from([(cheap, Duration::ZERO), (dear, Duration::ZERO)]);
        for _ in 0..2000 {
            bench.push(cheap, 5, "cheap");
            bench.push(dear, 5, "dear");
            let (lane, _) = bench.run().unwrap();
            let took = if lane == cheap { MS } else { MS * 7 };
            *spent.get_mut(&lane).unwrap() += took;
            bench.lanes.finish(lane, took);
        }
        let ratio = spent[&dear].as_secs_f64() / spent[&cheap].as_secs_f64();
        assert!((2.8..3.2).contains(&ratio), "{ratio}");
    }

    #[test]
    fn a_flooded_lane_does_not_keep_a_newcomer_waiting_and_idleness_saves_nothing_up() {
        let mut bench = Bench::new();
        let (flooded, idle) = (bench.lane(1.0, 8), bench.lane(1.0, 8));
        for _ in 0..50 {
            bench.push(flooded, 5, "flood");
            bench.push(flooded, 5, "flood");
            let (lane, _) = bench.run().unwrap();
            bench.lanes.finish(lane, MS * 10);
        }
        for _ in 0..4 {
            bench.push(idle, 5, "new");
        }
        let order: Vec<_> = (0..6)
            .map(|_| {
                let (lane, payload) = bench.run().unwrap();
                bench.lanes.finish(lane, MS * 10);
                payload
            })
            .collect();
        assert_eq!(order[..2].iter().filter(|payload| **payload == "new").count(), 1, "{order:?}");
        assert_eq!(order.iter().filter(|payload| **payload == "new").count(), 3, "{order:?}");
    }

    #[test]
    fn a_lane_never_runs_more_than_its_concurrency_and_others_go_on() {
        let mut bench = Bench::new();
        let (narrow, wide) = (bench.lane(1.0, 1), bench.lane(1.0, 8));
        for _ in 0..3 {
            bench.push(narrow, 5, "narrow");
        }
        assert_eq!(bench.run(), Some((narrow, "narrow")));
        assert_eq!(bench.run(), None);
        bench.push(wide, 5, "wide");
        assert_eq!(bench.run(), Some((wide, "wide")));
        bench.lanes.finish(narrow, MS);
        assert_eq!(bench.run(), Some((narrow, "narrow")));
    }

    #[test]
    fn urgent_requests_overtake_and_equals_keep_their_order() {
        let mut bench = Bench::new();
        let lane = bench.lane(1.0, 8);
        for (priority, payload) in [(5, "a"), (5, "b"), (1, "urgent"), (9, "late"), (1, "urgent too")] {
            bench.push(lane, priority, payload);
        }
        let order: Vec<_> = (0..5).map(|_| bench.run().unwrap().1).collect();
        assert_eq!(order, ["urgent", "urgent too", "a", "b", "late"]);
    }

    #[test]
    fn what_has_expired_is_never_run_and_what_is_withdrawn_is_gone() {
        let mut bench = Bench::new();
        let lane = bench.lane(1.0, 8);
        bench.push(lane, 5, "late");
        bench.now += MS * 60;
        let second = bench.push(lane, 5, "left");
        bench.push(lane, 5, "served");
        assert_eq!(bench.lanes.withdraw(lane, second).unwrap().payload, "left");
        assert!(bench.lanes.withdraw(lane, second).is_none());
        bench.now += MS * 50;
        let mut dead = Vec::new();
        let Next::Run(_, batch) = bench.lanes.next(bench.now, &mut dead) else { panic!() };
        assert_eq!((batch[0].payload, dead[0].payload), ("served", "late"));
        assert!(bench.lanes.is_empty());
    }

    #[test]
    fn work_that_has_begun_goes_before_work_that_has_not() {
        let mut bench = Bench::new();
        let lane = bench.lane(1.0, 1);
        for (ago, payload) in [(30, "decode a"), (20, "decode b"), (10, "decode c")] {
            bench.push_of(lane, MS * ago, true, payload);
        }
        let mut order = Vec::new();
        while let Some((_, payload)) = bench.run() {
            bench.lanes.finish(lane, MS);
            order.push(payload);
            match payload {
                "decode a" => bench.push_of(lane, MS * 30, false, "infer a"),
                "decode b" => bench.push_of(lane, MS * 20, false, "infer b"),
                _ => {}
            }
        }
        assert_eq!(order, ["decode a", "infer a", "decode b", "infer b", "decode c"]);
    }

    #[test]
    fn a_batch_that_waits_for_others_keeps_no_other_work_waiting() {
        let mut bench = Bench::new();
        let batch = BatchPolicy { max_samples: 4, max_delay: MS * 50, preferred: vec![] };
        let lane = bench.lanes.add(LanePolicy { batch, weight: 1.0, concurrency: 2 });
        bench.push_of(lane, MS * 2, false, "waits");
        bench.push_of(lane, MS, true, "decode");
        assert_eq!(bench.run(), Some((lane, "decode")));
        assert_eq!(bench.run(), None);
        bench.now += MS * 50;
        assert_eq!(bench.run(), Some((lane, "waits")));
    }

    #[test]
    fn what_cannot_end_in_time_is_not_begun() {
        let mut bench = Bench::new();
        let lane = bench.lane(1.0, 8);
        let (now, shape) = (bench.now, || [].into());
        for (needs, payload) in [(99, "in time"), (100, "too late"), (0, "quick")] {
            let (deadline, needs) = (now + MS * 100, MS * needs);
            let item = |id| Item {
                id,
                priority: 5,
                rows: 1,
                is_alone: true,
                shape: shape(),
                submitted: now,
                deadline,
                needs,
                payload,
            };
            bench.lanes.push(lane, item).unwrap();
        }
        let mut dead = Vec::new();
        let Next::Run(_, batch) = bench.lanes.next(bench.now, &mut dead) else { panic!() };
        assert_eq!((batch[0].payload, dead[0].payload, dead.len()), ("in time", "too late", 1));
    }

    #[test]
    fn a_removed_lane_ends_when_its_work_has() {
        let mut bench = Bench::new();
        let lane = bench.lane(1.0, 8);
        bench.push(lane, 5, "a");
        bench.lanes.remove(lane);
        assert_eq!(bench.run(), Some((lane, "a")));
        assert_eq!(bench.lanes.lanes.len(), 1);
        bench.lanes.finish(lane, MS);
        assert!(bench.lanes.lanes.is_empty());
        assert!(bench.lanes.push(lane, |_| unreachable!()).is_none());
    }
}
