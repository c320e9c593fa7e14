//! The maps behind the answer for a sample, and the credits of its parts by them.

use std::sync::Arc;

use super::{Logit, blocking};
use crate::error::{Error, Result};
use crate::serving::context::{Deadline, RequestContext};
use crate::serving::predictor::Predictor;
use crate::serving::servable::{ClassMap, Servable};
use crate::stats::attribution::{Units, spread};
use crate::tensor::Tensor;

/// The maps of a sample before the pool, and the logits that they make.
#[derive(Debug)]
pub(super) struct Activation {
    outputs: Arc<Vec<Tensor>>,
    /// Rows and columns of the maps.
    pub(super) size: [usize; 2],
}

impl Activation {
    /// Asks for the maps of a sample, behind the requests of others; the first time, what gives them is loaded.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] when the network has none, [`Error::DeadlineExceeded`], those of the engines.
    pub(super) async fn of(
        predictor: &Predictor,
        context: &RequestContext,
        deadline: Deadline,
        servable: &Arc<Servable>,
        (shape, sample): (&[usize], &[f32]),
    ) -> Result<Self> {
        let version = servable.clone();
        let load = blocking(move || version.mapper().map(drop));
        tokio::time::timeout_at(deadline.at.into(), load).await.map_err(|_| deadline.exceeded())???;
        let sample = Tensor::new(shape.to_vec(), sample.to_vec())?;
        let outputs = predictor.class_maps(context, servable, sample).await?;
        let size = servable.mapper()?.size(&outputs)?;
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
        let ClassMap { places, logit, bias } = servable.mapper()?.class_map(&self.outputs, class)?;
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
