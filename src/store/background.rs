//! Threads that work off the path of requests.

/// The steps by which such a thread stands back: it then has about a third of the weight of one that answers, and lets it
/// go first when it wakes, but is not starved on a machine that is always busy.
const STEPS: i32 = 5;

/// Lets threads that answer requests go before this one, where both want the same core. Nothing to do where the system
/// does not let it.
pub fn stand_back() {
    if let Err(error) = rustix::process::nice(STEPS) {
        tracing::debug!(%error, "a thread in the background keeps its priority");
    }
}
