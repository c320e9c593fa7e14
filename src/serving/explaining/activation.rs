//! The maps behind the answer for a sample, and the credits of its parts by them.

use std::sync::{Arc, LazyLock};

use tokio::sync::{AcquireError, Semaphore};

use super::Logit;
use crate::config::cores;
use crate::error::{Error, Result};
use crate::serving::context::{Deadline, RequestContext};
use crate::serving::predictor::Predictor;
use crate::serving::servable::{ClassMap, ClassMaps, Servable};
use crate::stats::attribution::{Units, spread};
use crate::tensor::Tensor;

/// One load for each core at a time, of different versions: each takes memory, and others need the threads that may block.
static LOADS: LazyLock<Semaphore> = LazyLock::new(|| Semaphore::new(cores()));

/// Has the graph for the maps of a version loaded, unless it is. That takes as long as a load of the version and needs none of
/// the places of explanations. Requests wait for one load together and share its failure; it goes on if they leave.
///
/// # Errors
/// [`Error::InvalidInput`] for answers that have no maps; [`Error::DeadlineExceeded`]; those of loading, which are
/// [`Error::NotReady`] for all but the request that began it.
pub(super) async fn prepare(servable: &Arc<Servable>, deadline: Deadline) -> Result<()> {
    if servable.class_maps.is_settled() {
        return Ok(());
    }
    let scores = servable.mapped_output()?;
    let load = load_once(&servable.class_maps, scores, servable.clone());
    tokio::time::timeout_at(deadline.at.into(), load).await.map_err(|_| deadline.exceeded())?
}

/// Loads the graph, or waits for who does; `kept` stays until it is loaded.
async fn load_once(maps: &Arc<ClassMaps>, scores: String, kept: impl Send + 'static) -> Result<()> {
    let ended = |closed: AcquireError| Error::internal("explanations have ended", closed);
    let (before, _) = maps.failures();
    let turn = maps.turn.clone().acquire_owned().await.map_err(ended)?;
    let (failures, reason) = maps.failures();
    if failures > before {
        return Err(Error::NotReady {
            reason: format!("the graph for class-activation maps cannot be loaded: {reason}"),
        });
    }
    if maps.is_settled() {
        return Ok(());
    }
    let place = LOADS.acquire().await.map_err(ended)?;
    let maps = maps.clone();
    let load = move || {
        let done = maps.load(&scores);
        drop((turn, place, kept));
        done
    };
    let done = tokio::task::spawn_blocking(load).await;
    done.unwrap_or_else(|panicked| Err(Error::internal("a load of class-activation maps broke off", panicked)))
}

/// The maps of a sample before the pool, and the logits that they make.
#[derive(Debug)]
pub(super) struct Activation {
    outputs: Arc<Vec<Tensor>>,
    /// Rows and columns of the maps.
    pub(super) size: [usize; 2],
}

impl Activation {
    /// Asks for the maps of a sample, behind the requests of others; what gives them has been [prepared](prepare).
    ///
    /// # Errors
    /// [`Error::InvalidInput`] when the network has none, [`Error::DeadlineExceeded`], those of the engines.
    pub(super) async fn of(
        predictor: &Predictor,
        context: &RequestContext,
        servable: &Arc<Servable>,
        (shape, sample): (&[usize], &[f32]),
    ) -> Result<Self> {
        // The reason why there is none is better than that there is none.
        servable.class_maps.mapper()?;
        let sample = Tensor::new(shape.to_vec(), sample.to_vec())?;
        let outputs = predictor.class_maps(context, servable, sample).await?;
        let size = servable.class_maps.mapper()?.size(&outputs)?;
        Ok(Self { outputs, size })
    }

    /// Returns the credit of each unit, and the logit that the credits and the bias add up to.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] when the units do not lie as the maps do, or the map does not add up.
    pub(super) fn credits(
        &self,
        servable: &Servable,
        class: Option<usize>,
        units: &Units,
    ) -> Result<(Vec<f64>, Logit)> {
        let ClassMap { places, logit, bias } = servable.class_maps.mapper()?.class_map(&self.outputs, class)?;
        let credits = match (units.shape(), self.size) {
            ([rows, columns], size) => spread(&places, size, [*rows, *columns]),
            // A sequence: maps of one row, or of one column.
            ([steps], [1, length] | [length, 1]) if servable.sequences().is_some() => {
                spread(&places, [1, length], [1, *steps])
            }
            _ => {
                return Err(Error::InvalidInput(
                    "class-activation maps are of pictures and sequences; take method=occlusion".into(),
                ));
            }
        };
        Ok((credits, Logit { value: logit, bias }))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc::{Sender, channel};

    use futures_util::future::{join, join_all};

    use super::super::{PLACES, TURNS};
    use super::*;

    /// Maps whose loads end when they are told how, and the number of loads.
    fn gated() -> (Arc<ClassMaps>, Sender<Result<()>>, Arc<AtomicUsize>) {
        let (gate, told) = channel::<Result<()>>();
        let told = std::sync::Mutex::new(told);
        let loads = Arc::new(AtomicUsize::new(0));
        let count = loads.clone();
        let make = move |_: &str| {
            count.fetch_add(1, Ordering::SeqCst);
            told.lock().unwrap().recv().unwrap().map(|()| Err("no maps".to_owned()))
        };
        (Arc::new(ClassMaps::new(Box::new(make))), gate, loads)
    }

    #[tokio::test]
    async fn many_first_requests_load_once_and_share_a_failure() {
        let (maps, gate, loads) = gated();
        // The gate opens after all of them have asked.
        let all = async |told: Result<()>| {
            let asked = join_all((0..20).map(|_| load_once(&maps, "scores".into(), ())));
            join(asked, async { gate.send(told).unwrap() }).await.0
        };
        let failed = all(Err(Error::Conflict("another file".into()))).await;
        assert_eq!(loads.load(Ordering::SeqCst), 1, "nobody tries again what has just failed");
        assert!(matches!(&failed[0], Err(Error::Conflict(_))), "{:?}", failed[0]);
        let told = |one: &Result<()>| matches!(one, Err(Error::NotReady { reason }) if reason.contains("another file"));
        assert!(failed[1..].iter().all(told), "{failed:?}");
        let loaded = all(Ok(())).await;
        assert!(loaded.iter().all(Result::is_ok) && maps.is_settled(), "a failure is forgotten");
        assert_eq!(loads.load(Ordering::SeqCst), 2);
    }

    #[tokio::test]
    async fn a_load_needs_no_place_of_explanations_and_goes_on_without_who_asked() {
        let (maps, gate, loads) = gated();
        let turns = TURNS.acquire_many(cores() as u32).await.unwrap();
        let places = PLACES.acquire_many(cores() as u32).await.unwrap();
        let mut first = Box::pin(load_once(&maps, "scores".into(), ()));
        tokio::select! {
            biased;
            _ = &mut first => panic!("nobody told it how to end"),
            () = std::future::ready(()) => {}
        }
        drop(first);
        gate.send(Ok(())).unwrap();
        load_once(&maps, "scores".into(), ()).await.unwrap();
        assert!(maps.is_settled());
        assert_eq!(loads.load(Ordering::SeqCst), 1);
        drop((turns, places));
    }
}
