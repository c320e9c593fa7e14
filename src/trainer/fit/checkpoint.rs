//! Saving a run and going on with it: weights, what the optimiser remembers, averages and place in one safetensors
//! file.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use safetensors::tensor::{Dtype, TensorView};
use safetensors::{SafeTensors, serialize};

use super::state::{Cursor, FitState};
use crate::error::{Error, Result};
use crate::trainer::learner::Learner;
use crate::trainer::network::{Network, Parameter};
use crate::trainer::progress::Snapshot;

/// The metadata key of the place in the run, as TOML, which gives every number back to the last bit.
const PLACE: &str = "weir.place";

/// The same as JSON, in older files.
const CURSOR: &str = "weir.cursor";

/// Before the names of the best epoch's arrays.
const BEST: &str = "best.";

/// Before the names of the averaged arrays.
const AVERAGE: &str = "ema.";

/// A run's state on disk.
#[derive(Debug, Clone, Copy)]
pub struct Checkpoint;

impl Checkpoint {
    /// Writes the state; a reader sees the old file or the new one, never half of it.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn save<M: Learner>(state: &FitState<M>, path: &Path) -> Result<()> {
        let place = toml::to_string(&state.cursor)
            .map_err(|error| Error::internal("the checkpoint could not be written", error))?;
        let mut arrays: Vec<(String, &[usize], Vec<u8>)> = Vec::new();
        let mut add = |name: String, shape, values: &[f32]| {
            arrays.push((name, shape, values.iter().flat_map(|value| value.to_le_bytes()).collect()));
        };
        for (parameter, slots) in state.model.trained().into_iter().zip(&state.slots) {
            add(parameter.name.clone(), parameter.shape.as_slice(), &parameter.values);
            for (slot, values) in state.slot_names.iter().zip(slots) {
                add(format!("{}.{slot}", parameter.name), parameter.shape.as_slice(), values);
            }
        }
        for array in state.model.networks().into_iter().flat_map(Network::statistics) {
            add(array.name.clone(), &array.shape, &array.values);
        }
        for array in state.best.iter().flatten() {
            add(format!("{BEST}{}", array.name), &array.shape, &array.values);
        }
        for array in state.average.iter().flat_map(|average| &average.arrays) {
            add(format!("{AVERAGE}{}", array.name), &array.shape, &array.values);
        }
        let broken = |error| Error::internal("the checkpoint could not be written", error);
        let mut views = Vec::with_capacity(arrays.len());
        for (name, shape, bytes) in &arrays {
            views.push((name.clone(), TensorView::new(Dtype::F32, shape.to_vec(), bytes).map_err(broken)?));
        }
        let file = serialize(views, Some(HashMap::from([(PLACE.to_owned(), place)]))).map_err(broken)?;
        let partial = path.with_extension("partial");
        fs::write(&partial, file).map_err(Error::io("write", &partial))?;
        fs::File::open(&partial).and_then(|file| file.sync_all()).map_err(Error::io("flush", &partial))?;
        fs::rename(&partial, path).map_err(Error::io("replace", path))
    }

    /// Reads a state into one made for the same network.
    ///
    /// # Errors
    /// [`Error::Io`], or [`Error::Data`] when the file is damaged or of another network.
    pub fn load<M: Learner>(state: &mut FitState<M>, path: &Path) -> Result<()> {
        let file = fs::read(path).map_err(Error::io("read", path))?;
        let damaged = |problem: String| Error::Data { file: path.display().to_string(), problem };
        let tensors = SafeTensors::deserialize(&file).map_err(|error| damaged(error.to_string()))?;
        let (_, metadata) = SafeTensors::read_metadata(&file).map_err(|error| damaged(error.to_string()))?;
        let entry = |key: &str| metadata.metadata().as_ref().and_then(|entries| entries.get(key));
        let cursor: Cursor = match (entry(PLACE), entry(CURSOR)) {
            (Some(place), _) => toml::from_str(place).map_err(|error| damaged(error.to_string()))?,
            (None, Some(cursor)) => serde_json::from_str(cursor).map_err(|error| damaged(error.to_string()))?,
            (None, None) => return Err(damaged(format!("has no \"{PLACE}\" entry; it is not a Weir checkpoint"))),
        };
        let read = |name: String, into: &mut Vec<f32>| {
            let view = tensors.tensor(&name).map_err(|error| damaged(format!("{name}: {error}")))?;
            if view.dtype() != Dtype::F32 || view.data().len() != into.len() * 4 {
                return Err(damaged(format!(
                    "{name} is {:?} {:?}, expected {} 32-bit floats",
                    view.dtype(),
                    view.shape(),
                    into.len()
                )));
            }
            for (value, bytes) in into.iter_mut().zip(view.data().chunks_exact(4)) {
                *value = f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
            }
            Ok(())
        };
        let parameters = state.model.networks_mut().into_iter().flat_map(Network::parameters_mut);
        for (parameter, slots) in parameters.zip(&mut state.slots) {
            read(parameter.name.clone(), &mut parameter.values)?;
            for (slot, values) in state.slot_names.iter().zip(slots) {
                read(format!("{}.{slot}", parameter.name), values)?;
            }
        }
        for array in state.average.iter_mut().flat_map(|average| &mut average.arrays) {
            read(format!("{AVERAGE}{}", array.name), &mut array.values)?;
        }
        for array in state.model.networks_mut().into_iter().flat_map(Network::statistics_mut) {
            read(array.name.clone(), &mut array.values)?;
        }
        state.best = None;
        if cursor.best_epoch.is_some() {
            let mut best: Vec<Parameter> = state.model.all_arrays().into_iter().cloned().collect();
            for array in &mut best {
                read(format!("{BEST}{}", array.name), &mut array.values)?;
            }
            state.best = Some(best);
        }
        state.cursor = cursor;
        Ok(())
    }
}

impl<M: Learner> Snapshot for FitState<M> {
    fn save(&self, path: &Path) -> Result<()> {
        Checkpoint::save(self, path)
    }

    fn steps_done(&self) -> u64 {
        self.cursor.steps_done
    }
}
