//! Guards: the autoencoder that looks at the inputs of a model, and scores how unlikely they are.
//!
//! A guard never fails a prediction: whatever it cannot do is said in words.

use std::sync::Arc;
use std::time::Instant;

use super::context::{Caller, RequestContext};
use super::predictor::{Asked, Predictor};
use super::servable::{Input, Options, Part, Places, Prediction, Servable};
use crate::error::{Error, Result as Outcome};
use crate::ids::{ModelRef, VersionSpec};
use crate::repository::GuardReference;
use crate::signature::DType;
use crate::tensor::Tensor;

/// The priority of scores that nobody waits for: behind every request.
const LAST: u8 = 9;

/// An input of no more bytes is copied on the calling thread; it takes microseconds.
const INLINE_BYTES: usize = 64 << 10;

impl Predictor {
    /// Returns the scores of the guard of a version for the first of its graph's inputs, in nats, one for each of the first
    /// so many samples. What must be copied of more than a few is copied by the pool.
    ///
    /// # Errors
    /// The reason why there are none, for people.
    pub async fn guard(
        &self,
        context: &RequestContext,
        guarded: &Servable,
        inputs: Arc<Vec<Tensor>>,
        samples: usize,
    ) -> Result<Vec<f32>, String> {
        let Some(reference) = guarded.identity.guard() else { return Err(unprepared(guarded)) };
        let guard = self.guard_of(guarded, reference)?;
        let Places::Score(score) = guard.identity.places else { return Err(no_autoencoder(&guard)) };
        let shape = fitting(guarded, &guard, &inputs, samples)?;
        let failed = |error: Error| format!("{}: {}", named(&guard), error.without_path());
        let input = self.taken(context, &guard, inputs, shape).await.map_err(failed)?;
        let options = Options::default();
        // The request of a guard ends in an answer of its own; it may not wait for itself in one future.
        let asked = Box::pin(self.infer(context, &guard, Input::Tensors(vec![input]), options)).await;
        let outputs = asked.map_err(failed)?.outputs;
        let scores = outputs.get(score).and_then(|scores| scores.floats().ok()).unwrap_or_default();
        match scores.len() == samples && scores.iter().all(|score| score.is_finite()) {
            true => Ok(scores.to_vec()),
            false => Err(format!("{} gave no finite score for each sample", named(&guard))),
        }
    }

    /// Returns the scores of the guard for inputs that were answered already, behind everybody's requests.
    ///
    /// # Errors
    /// As [`Predictor::guard`].
    pub async fn guard_later(
        &self,
        guarded: &Servable,
        inputs: Arc<Vec<Tensor>>,
        samples: usize,
    ) -> Result<Vec<f32>, String> {
        self.guard(&RequestContext::internal(Caller::Guard, LAST), guarded, inputs, samples).await
    }

    /// Takes the first samples of an input that others may hold as well, in the shape that a guard takes.
    async fn taken(
        &self,
        context: &RequestContext,
        guard: &Arc<Servable>,
        inputs: Arc<Vec<Tensor>>,
        shape: Vec<usize>,
    ) -> Outcome<Tensor> {
        if shape.iter().product::<usize>() * size_of::<f32>() <= INLINE_BYTES {
            return take(inputs, shape);
        }
        let asked = Asked::new(context, guard, Part::Model)?;
        self.terms(asked, Instant::now()).offload(asked.runner, move || take(inputs, shape)).await
    }

    /// Adds to answers that say how unusual their inputs are what the guard has to say, asked in a context of its own.
    pub(super) async fn add_guard(
        &self,
        context: &RequestContext,
        guarded: &Servable,
        inputs: &Arc<Vec<Tensor>>,
        predictions: &mut [Prediction],
    ) {
        let samples = inputs.first().map_or(0, Tensor::rows);
        let scores = self.guard(context, guarded, inputs.clone(), samples).await;
        for (sample, prediction) in predictions.iter_mut().enumerate() {
            let Prediction::Classified { anomaly: Some(anomaly), .. } = prediction else { continue };
            match (&scores, guarded.identity.guard()) {
                (Ok(scores), Some(reference)) => {
                    if let Some(score) = scores.get(sample) {
                        anomaly.add(f64::from(*score), reference);
                    }
                }
                (Ok(_), None) => {}
                (Err(problem), _) => anomaly.guard_problem = Some(problem.clone()),
            }
        }
    }

    /// Finds the guard that the reference was made with.
    fn guard_of(&self, guarded: &Servable, reference: &GuardReference) -> Result<Arc<Servable>, String> {
        let Some(name) = &guarded.identity.guard_model else { return Err(unprepared(guarded)) };
        if *name != reference.model {
            return Err(format!(
                "the guard is \"{name}\", and the reference was made with \"{}\": run {}",
                reference.model,
                command(guarded)
            ));
        }
        let target = ModelRef { name: Some(name.clone()), version: VersionSpec::Specific(reference.version) };
        let guard = self.resolve(&target).map_err(|error| format!("the guard cannot be asked: {error}"))?;
        if *guard.identity.graph_sha256 != *reference.sha256 {
            return Err(format!(
                "{} has other files than the reference was made with: run {}",
                named(&guard),
                command(guarded)
            ));
        }
        Ok(guard)
    }
}

/// Takes the first samples of the first input: as it is where nobody else holds it and it has no more, and a copy otherwise.
fn take(inputs: Arc<Vec<Tensor>>, shape: Vec<usize>) -> Outcome<Tensor> {
    let samples = shape.first().copied().unwrap_or_default();
    let none = || Error::InvalidInput("the request has no input".into());
    let data = match Arc::try_unwrap(inputs) {
        Ok(own) => {
            let input = own.into_iter().next().ok_or_else(none)?;
            if input.rows() == samples { input } else { input.slice_rows(0..samples) }
        }
        Err(shared) => shared.first().ok_or_else(none)?.slice_rows(0..samples),
    }
    .into_data();
    Tensor::from_data(shape, data)
}

/// Returns the shape in which a guard takes samples of a version's input.
fn fitting(guarded: &Servable, guard: &Servable, inputs: &[Tensor], samples: usize) -> Result<Vec<usize>, String> {
    let input = inputs.first().ok_or("the request has no input")?;
    let spec = guard.signature().inputs.first().ok_or_else(|| no_autoencoder(guard))?;
    if guarded.image_transform() != guard.image_transform() {
        return Err(format!("{} sees pictures in another way than {}", named(guard), named(guarded)));
    }
    let sample = spec.sample_shape().unwrap_or_default();
    let elements: usize = sample.iter().product();
    if input.dtype() != DType::Float32 || spec.dtype != DType::Float32 || input.row_elements() != elements {
        return Err(format!(
            "{} takes {} {} for each sample, and the input of {} has {} {}",
            named(guard),
            elements,
            spec.dtype,
            named(guarded),
            input.row_elements(),
            input.dtype()
        ));
    }
    Ok(std::iter::once(samples.min(input.rows())).chain(sample).collect())
}

fn named(servable: &Servable) -> String {
    format!("model \"{}\" version {}", servable.name, servable.version)
}

fn command(guarded: &Servable) -> String {
    let guard = guarded.identity.guard_model.as_ref().map(ToString::to_string).unwrap_or_default();
    format!("weir drift --reference DATA --guard {guard} {}/{}", guarded.name, guarded.version)
}

fn unprepared(guarded: &Servable) -> String {
    format!("the reference of {} knows no scores of its guard: run {}", named(guarded), command(guarded))
}

fn no_autoencoder(guard: &Servable) -> String {
    format!("{} is no autoencoder, which a guard must be", named(guard))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_others_hold_is_copied_and_only_as_much_as_is_asked_about() {
        let input = || Tensor::new(vec![3, 2], vec![0f32, 1.0, 2.0, 3.0, 4.0, 5.0]).unwrap();
        let place = |input: &Tensor| input.floats().unwrap().as_ptr();
        let (own, shared) = (input(), Arc::new(vec![input()]));
        let before = place(&own);
        let taken = take(Arc::new(vec![own]), vec![3, 1, 2]).unwrap();
        assert_eq!((taken.shape(), place(&taken)), ([3, 1, 2].as_slice(), before));
        let taken = take(shared.clone(), vec![3, 2]).unwrap();
        assert_eq!(taken, shared[0]);
        for inputs in [shared.clone(), Arc::new(vec![input()])] {
            assert_eq!(take(inputs, vec![2, 2]).unwrap().floats().unwrap(), [0.0, 1.0, 2.0, 3.0]);
        }
        assert!(take(Arc::new(Vec::new()), vec![1, 2]).is_err());
    }
}
