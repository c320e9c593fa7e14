//! ONNX Runtime, the second engine: a shared library that may be absent.
//!
//! Models are loaded from memory: without a path there is no folder to read further files from, and
//! [`super::external`] has refused every model that needs one. A session of the library serves one
//! thread at a time, so each thread has its own, with its own copy of the weights.

mod convert;
mod half;
mod library;
mod shapes;
mod values;

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use ort::session::{Session, SessionInputValue};

use self::half::Halves;
use self::library::Library;
use super::contain::{contain, unusable};
use super::example::{Hints, guesses, leaves_a_choice};
use crate::error::{Error, Result};
use crate::signature::{Dim, Signature, TensorSpec};
use crate::tensor::Tensor;

/// The batch of the run that reveals the shapes of the outputs. No other dimension is likely to have
/// this size.
const PROBE: usize = 3;

/// Returns the version of the library, loading it on the first call.
pub(super) fn version(library: Option<&Path>) -> Result<&'static str> {
    library::open(library).map(|library| library.version.as_str())
}

/// Returns true if a library is found, without loading it.
pub(super) fn is_found(library: Option<&Path>) -> bool {
    library::find(library).is_ok()
}

/// A graph, and the bytes from which its sessions are created.
#[derive(Debug)]
pub struct OrtPlan {
    library: &'static Library,
    signature: Signature,
    onnx: Vec<u8>,
    spare: Spare,
}

/// Sessions that no thread uses. They are kept because creating one takes as long as loading the model;
/// their number is limited by how many ever ran at once.
type Spare = Arc<Mutex<Vec<Inner>>>;

impl OrtPlan {
    pub(super) fn load(library: Option<&Path>, onnx: &[u8]) -> Result<Self> {
        let library = library::open(library)?;
        contain("the model crashed the engine while loading", || Self::build(library, onnx))?
    }

    fn build(library: &'static Library, onnx: &[u8]) -> Result<Self> {
        let mut inner = Inner::new(library, onnx)?;
        let signature = signature(&mut inner)?;
        Ok(Self { library, signature, onnx: onnx.to_vec(), spare: Arc::new(Mutex::new(vec![inner])) })
    }

    pub(super) fn signature(&self) -> &Signature {
        &self.signature
    }

    pub(super) fn session(&self) -> Result<OrtSession> {
        let spare = self.spare.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let inner = match spare {
            Some(inner) => inner,
            None => contain("the model crashed the engine while loading", || Inner::new(self.library, &self.onnx))??,
        };
        Ok(OrtSession { inner: Some(inner), spare: self.spare.clone() })
    }
}

/// Derives the signature from the declarations of the file and the outputs of a run on example inputs; from the
/// declarations alone if no example fits. If the file leaves the batch open but the graph accepts only one sample,
/// the batch is 1.
fn signature(session: &mut Inner) -> Result<Signature> {
    let (mut inputs, batch) = shapes::inputs(session.session.inputs())?;
    let batch = batch.map(str::to_owned);
    let mut batch = batch.as_deref().map(|name| (name, PROBE));
    let mut seen = run_on_examples(session, &inputs, batch.map_or(1, |(_, samples)| samples));
    if batch.is_some() && seen.is_err() {
        let mut single = inputs.clone();
        for dim in single.iter_mut().filter_map(|input| input.shape.first_mut()).filter(|dim| dim.is_batch()) {
            *dim = Dim::Fixed(1);
        }
        seen = run_on_examples(session, &single, 1);
        if seen.is_ok() {
            (inputs, batch) = (single, None);
        }
    }
    let outputs = match seen {
        Ok(seen) => shapes::outputs(session.session.outputs(), &seen, batch)?,
        Err(error) if leaves_a_choice(&inputs) => {
            tracing::debug!(%error, "no example input fits; the outputs are taken as declared");
            shapes::declared_outputs(session.session.outputs(), batch.map(|(name, _)| name))?
        }
        Err(error) => return Err(refused(error)),
    };
    Ok(Signature { inputs, outputs })
}

/// Returns the shapes of the outputs of a run on the first example that fits.
///
/// # Errors
/// The failure on the first example, if none fits.
fn run_on_examples(session: &mut Inner, inputs: &[TensorSpec], samples: usize) -> Result<Vec<Vec<usize>>> {
    let mut failure = None;
    for example in guesses(inputs, &Hints::default(), samples) {
        match example.inputs(inputs, None).and_then(|tensors| session.execute(&tensors)) {
            Ok(outputs) => return Ok(outputs.iter().map(|output| output.shape().to_vec()).collect()),
            Err(error) => failure = failure.or(Some(error)),
        }
    }
    Err(failure.unwrap_or_else(|| Error::internal("the model failed", "its inputs are too large")))
}

fn refused(error: Error) -> Error {
    match error {
        Error::Internal { source, .. } => {
            unusable(format!("it fails on example inputs: {}", values::brief(&source.to_string())))
        }
        other => other,
    }
}

/// One thread's session for an [`OrtPlan`]. Dropping it returns it to the spare sessions of the plan.
#[derive(Debug)]
pub struct OrtSession {
    /// Absent after a panic, which may have left it in an undefined state.
    inner: Option<Inner>,
    spare: Spare,
}

impl OrtSession {
    pub(super) fn run(&mut self, inputs: &[Tensor]) -> Result<Vec<Tensor>> {
        let gone = || Error::internal("the model crashed", "the session had crashed before");
        let mut inner = self.inner.take().ok_or_else(gone)?;
        let outputs = contain("the model crashed", || inner.execute(inputs))?;
        self.inner = Some(inner);
        outputs
    }
}

impl Drop for OrtSession {
    fn drop(&mut self) {
        let mut spare = self.spare.lock().unwrap_or_else(PoisonError::into_inner);
        spare.extend(self.inner.take());
    }
}

/// A session of the library, and its conversions of half-precision tensors.
#[derive(Debug)]
struct Inner {
    session: Session,
    halves: Halves,
}

impl Inner {
    fn new(library: &'static Library, onnx: &[u8]) -> Result<Self> {
        Ok(Self { session: library.session(onnx)?, halves: Halves::new(library) })
    }

    fn execute(&mut self, inputs: &[Tensor]) -> Result<Vec<Tensor>> {
        let (session, halves) = (&mut self.session, &mut self.halves);
        let expected = session.outputs().len();
        let inputs = inputs.iter().map(|input| convert::to_ort(input, halves)).collect::<Result<Vec<_>>>()?;
        let outputs = session.run::<0>(inputs.as_slice() as &[SessionInputValue<'_>]).map_err(values::failed)?;
        if outputs.len() != expected {
            return Err(Error::internal("the model failed", format!("{} of {expected} outputs", outputs.len())));
        }
        outputs.values().map(|output| convert::from_ort(&output, halves)).collect()
    }
}
