//! Tasks that go on as long as the server: after a panic they begin anew, and tell of it.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::task::JoinHandle;

use crate::metrics::{Metrics, ThreadName};

/// The time between a panic and the next attempt.
const PAUSE: Duration = Duration::from_secs(1);

/// Runs what `make` makes, and again after every panic, until it returns.
pub(super) fn lasting<F>(
    name: ThreadName,
    metrics: &Arc<Metrics>,
    make: impl Fn() -> F + Send + 'static,
) -> JoinHandle<()>
where
    F: Future<Output = ()> + Send + 'static,
{
    let metrics = metrics.clone();
    tokio::spawn(async move {
        while AssertUnwindSafe(make()).catch_unwind().await.is_err() {
            metrics.lifecycle.count_fault(name);
            tracing::error!(task = name.label(), "a task of the server failed; it begins anew");
            tokio::time::sleep(PAUSE).await;
        }
    })
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[tokio::test]
    async fn a_task_that_panics_begins_anew_and_is_counted() {
        let metrics = Arc::new(Metrics::new().unwrap());
        let runs = Arc::new(AtomicUsize::new(0));
        let counted = runs.clone();
        let task = lasting(ThreadName::Alarms, &metrics, move || {
            let run = counted.fetch_add(1, Ordering::Relaxed);
            async move { assert!(run >= 2, "a fault") }
        });
        task.await.unwrap();
        assert_eq!(runs.load(Ordering::Relaxed), 3);
        let text = String::from_utf8(metrics.encode().unwrap()).unwrap();
        assert!(text.contains("weir_thread_faults_total{thread=\"alarms\"} 2"), "{text}");
    }
}
