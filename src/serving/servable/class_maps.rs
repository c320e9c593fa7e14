//! Class-activation maps of a version: a second graph, cut from the first when somebody asks for one, gives the maps
//! before the pool beside the logits.

use std::fmt;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use tokio::sync::Semaphore;

use crate::engine::LinearHead;
use crate::error::{Error, Result};
use crate::serving::execution::Runner;
use crate::stats::attribution::{Maps, class_map};
use crate::tensor::Tensor;

/// The difference between a logit and the sum of its map, by its size, above which the graph is not what it seemed.
const LARGEST_ERROR: f64 = 0.01;

/// The mapper of a version, or the reason why its network has none.
type Made = std::result::Result<Mapper, String>;

/// Makes the mapper for the scores in an output of the graph.
type Make = Box<dyn Fn(&str) -> Result<Made> + Send + Sync>;

/// The class-activation maps of a version, whose graph is loaded for the first request for one.
pub(crate) struct ClassMaps {
    made: OnceLock<Made>,
    /// The number of loads that failed, and the last reason.
    failed: Mutex<(u64, String)>,
    /// Whoever loads the graph holds this meanwhile.
    pub(crate) turn: Arc<Semaphore>,
    make: Make,
}

impl fmt::Debug for ClassMaps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClassMaps").field("made", &self.made).finish_non_exhaustive()
    }
}

impl ClassMaps {
    pub(crate) fn new(make: Make) -> Self {
        Self { made: OnceLock::new(), failed: Mutex::default(), turn: Arc::new(Semaphore::new(1)), make }
    }

    /// Returns true if the graph is loaded, or there is none.
    pub(crate) fn is_settled(&self) -> bool {
        self.made.get().is_some()
    }

    /// Loads the graph: to be called by the holder of the turn alone, on a thread that may block.
    ///
    /// # Errors
    /// Those of loading. They are forgotten: the next request loads again.
    pub(crate) fn load(&self, scores: &str) -> Result<()> {
        match (self.make)(scores) {
            Ok(made) => {
                // The turn is the caller's, so that nothing is there.
                drop(self.made.set(made));
                Ok(())
            }
            Err(error) => {
                let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
                *failed = (failed.0 + 1, error.without_path());
                Err(error)
            }
        }
    }

    /// Returns the number of loads that failed so far, and the reason of the last one.
    pub(crate) fn failures(&self) -> (u64, String) {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Returns the mapper, which must have been loaded.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] with the reason why the network has no exact map.
    pub(crate) fn mapper(&self) -> Result<&Mapper> {
        match self.made.get() {
            Some(Ok(mapper)) => Ok(mapper),
            Some(Err(why)) => Err(Error::InvalidInput(why.clone())),
            None => Err(Error::InvalidInput("its maps are not loaded".into())),
        }
    }

    /// Returns the mapper, if it is loaded.
    pub(crate) fn loaded(&self) -> Option<&Mapper> {
        self.made.get()?.as_ref().ok()
    }
}

/// A graph that gives maps and logits, and the linear map between them.
#[derive(Debug)]
pub(crate) struct Mapper {
    pub(crate) runner: Runner,
    pub(crate) head: LinearHead,
    pub(crate) is_channels_last: bool,
}

/// The share of each place of the maps in a logit.
#[derive(Debug, Clone)]
pub(crate) struct ClassMap {
    /// The places, row by row.
    pub(crate) places: Vec<f64>,
    /// The logit.
    pub(crate) logit: f64,
    /// The number that the sum of the places lacks to the logit.
    pub(crate) bias: f64,
}

impl Mapper {
    /// Returns rows and columns of the maps in these outputs.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] when they are no maps.
    pub(crate) fn size(&self, outputs: &[Tensor]) -> Result<[usize; 2]> {
        Ok(self.maps(outputs)?.size)
    }

    /// Returns the map of a class. Without one there must be a single logit.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] when there is no such logit, or the map does not add up to it.
    pub(crate) fn class_map(&self, outputs: &[Tensor], class: Option<usize>) -> Result<ClassMap> {
        let maps = self.maps(outputs)?;
        let logits = outputs.get(1).map(Tensor::floats).transpose()?.unwrap_or_default();
        let class = match (class, logits.len()) {
            (Some(class), _) => class,
            (None, 1) => 0,
            (None, count) => return Err(Error::InvalidInput(format!("there are {count} logits; name a class"))),
        };
        let weighted = self.head.of_class(class, maps.channels).zip(logits.get(class));
        let Some(((weights, bias), logit)) = weighted else {
            let (channels, count) = (maps.channels, logits.len());
            return Err(Error::InvalidInput(format!(
                "the network has {channels} maps and {count} logits, which its linear layer does not join; take method=occlusion"
            )));
        };
        let (places, logit, bias) = (class_map(maps, &weights), f64::from(*logit), f64::from(bias));
        let error = (places.iter().sum::<f64>() + bias - logit).abs();
        if error <= LARGEST_ERROR * logit.abs().max(1.0) {
            return Ok(ClassMap { places, logit, bias });
        }
        Err(Error::InvalidInput(format!(
            "the map of the class does not add up to its logit, {logit}: it is off by {error}; take method=occlusion"
        )))
    }

    fn maps<'o>(&self, outputs: &'o [Tensor]) -> Result<Maps<'o>> {
        let tensor = outputs.first().ok_or_else(|| Error::InvalidInput("the graph gave no maps".into()))?;
        let (channels, size) = match (tensor.shape(), self.is_channels_last) {
            ([1, channels, height, width], false) | ([1, height, width, channels], true) => {
                (*channels, [*height, *width])
            }
            ([1, channels, steps], false) | ([1, steps, channels], true) => (*channels, [1, *steps]),
            (shape, _) => {
                return Err(Error::InvalidInput(format!("what is pooled has the shape {shape:?}, and is no maps")));
            }
        };
        if channels * size[0] * size[1] == 0 {
            return Err(Error::InvalidInput("the maps are empty".into()));
        }
        Ok(Maps { values: tensor.floats()?, channels, size, is_channels_last: self.is_channels_last })
    }
}
