//! Runs that are not wanted any more, that hang, and that do not end.

use crossbeam_channel::{Receiver, Sender, unbounded};

use super::super::batch::BatchPolicy;
use super::*;
use crate::metrics::Metrics;

const LONG: Duration = Duration::from_secs(3600);

/// A job that says when it begins and ends.
#[derive(Debug)]
struct Probe {
    says: Sender<&'static str>,
    until: Until,
}

/// The end of a job.
#[derive(Debug)]
enum Until {
    BrakeIsPulled,
    Sent(Receiver<()>),
}

impl Job for Probe {
    fn run(batch: Vec<Item<Self>>, _begun: Instant, brake: &Brake) {
        for item in &batch {
            item.payload.says.send("begins").unwrap();
        }
        for item in batch {
            match item.payload.until {
                Until::BrakeIsPulled => {
                    while !brake.is_pulled() {
                        std::thread::yield_now();
                    }
                }
                // The sender may be gone, which ends it as well.
                Until::Sent(end) => drop(end.recv()),
            }
            item.payload.says.send("ends").unwrap();
        }
    }
}

fn pool(hang_after: Duration) -> (Arc<Pool<Probe>>, PoolMetrics, LaneId) {
    let metrics = Metrics::new().unwrap().pool.clone();
    let pool = Arc::new(Pool::start(1, hang_after, metrics.clone()).unwrap());
    let lane = pool.add_lane(LanePolicy { batch: BatchPolicy::single(), weight: 1.0, concurrency: 4 });
    (pool, metrics, lane)
}

fn submit(pool: &Arc<Pool<Probe>>, lane: LaneId, until: Until) -> (Ticket<Probe>, Receiver<&'static str>) {
    let (says, said) = unbounded();
    let (submitted, shape, needs) = (Instant::now(), Box::default(), Duration::ZERO);
    let deadline = submitted + LONG;
    let payload = Probe { says, until };
    let item = |id| Item { id, priority: 5, rows: 1, is_alone: true, shape, submitted, deadline, needs, payload };
    (pool.submit(lane, item).unwrap(), said)
}

#[test]
fn a_run_that_nobody_waits_for_is_ended() {
    let (pool, _, lane) = pool(LONG);
    let (ticket, said) = submit(&pool, lane, Until::BrakeIsPulled);
    assert_eq!(said.recv(), Ok("begins"));
    drop(ticket);
    assert_eq!(said.recv(), Ok("ends"));
    let (ticket, said) = submit(&pool, lane, Until::Sent(crossbeam_channel::never()));
    assert_eq!(said.recv(), Ok("begins"), "the thread is free again");
    drop(ticket);
    assert!(!pool.close(Duration::ZERO), "it does not obey the brake");
}

#[test]
fn a_run_that_hangs_is_ended_and_one_that_does_not_end_costs_its_thread() {
    let (pool, metrics, lane) = pool(Duration::from_millis(20));
    let (_obeys, said) = submit(&pool, lane, Until::BrakeIsPulled);
    assert_eq!((said.recv(), said.recv()), (Ok("begins"), Ok("ends")));
    assert_eq!(metrics.hung.get(), 0);
    let (end, until) = unbounded();
    let (_hangs, said) = submit(&pool, lane, Until::Sent(until));
    let (_waits, next) = submit(&pool, lane, Until::BrakeIsPulled);
    assert_eq!((said.recv(), next.recv()), (Ok("begins"), Ok("begins")), "another thread runs the next");
    assert_eq!(metrics.hung.get(), 1);
    drop(end);
    assert_eq!(said.recv(), Ok("ends"));
    assert!(pool.close(LONG));
}

#[test]
fn closing_ends_what_runs() {
    let (pool, _, lane) = pool(LONG);
    let (_ticket, said) = submit(&pool, lane, Until::BrakeIsPulled);
    assert_eq!(said.recv(), Ok("begins"));
    assert!(pool.close(LONG));
    assert_eq!(said.recv(), Ok("ends"));
}
