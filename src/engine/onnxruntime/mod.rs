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

use std::borrow::Cow;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use ort::session::{Session, SessionInputValue};

use self::half::Halves;
use self::library::Library;
use super::brake::{Brake, Handle};
use super::contain::{loading, running};
use super::dims::{Nameless, Symbols};
use super::{OptionalInput, seen, tract};
use crate::error::{Error, Result};
use crate::signature::{Batching, Dim, Signature};
use crate::tensor::Tensor;

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
    optional: Vec<OptionalInput>,
    onnx: Vec<u8>,
    spare: Spare,
}

/// Sessions that no thread uses. They are kept because creating one takes as long as loading the model;
/// their number is limited by how many ever ran at once.
type Spare = Arc<Mutex<Vec<Inner>>>;

impl OrtPlan {
    pub(super) fn load(library: Option<&Path>, onnx: &[u8]) -> Result<Self> {
        let library = library::open(library)?;
        loading(|| Self::build(library, onnx))
    }

    fn build(library: &'static Library, onnx: &[u8]) -> Result<Self> {
        let mut inner = Inner::new(library, onnx)?;
        let signature = signature(&mut inner)?;
        let has_optional = !inner.session.overridable_initializers().is_empty();
        let optional = if has_optional { tract::optional_inputs(onnx)? } else { Vec::new() };
        let spare = Arc::new(Mutex::new(vec![inner]));
        Ok(Self { library, signature, optional, onnx: onnx.to_vec(), spare })
    }

    pub(super) fn signature(&self) -> &Signature {
        &self.signature
    }

    pub(super) fn optional(&self) -> &[OptionalInput] {
        &self.optional
    }

    pub(super) fn session(&self) -> Result<OrtSession> {
        let spare = self.spare.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut inner = match spare {
            Some(inner) => inner,
            None => loading(|| Inner::new(self.library, &self.onnx))?,
        };
        inner.optional = self.optional.iter().map(|input| input.spec.name.clone()).collect();
        Ok(OrtSession { inner: Some(inner), spare: self.spare.clone() })
    }
}

/// Derives the signature from the declarations of the file and the outputs of a run on guesses. If the
/// file leaves the batch open but the graph accepts only one sample, the batch is 1.
fn signature(session: &mut Inner) -> Result<Signature> {
    let (signature, is_guess) = named(session, Nameless::Batch)?;
    if is_guess && signature.batching() != Batching::Any {
        return named(session, Nameless::Independent).map(|(signature, _)| signature);
    }
    Ok(signature)
}

/// Returns the signature, and true if it is a guess that the first dimensions of the inputs are the batch.
fn named(session: &mut Inner, nameless: Nameless) -> Result<(Signature, bool)> {
    let mut inputs = shapes::inputs(session.session.inputs())?;
    let outputs = shapes::outputs(session.session.outputs())?;
    let dims: Vec<Vec<Dim>> = inputs.iter().map(|input| input.shape.clone()).collect();
    let symbols = Symbols::of(&dims, nameless);
    for (index, input) in inputs.iter_mut().enumerate() {
        input.shape = symbols.input(index, &dims[index]);
    }
    let (signature, _) =
        seen::signature(inputs, &outputs, &symbols, |inputs| session.execute(&Brake::default(), inputs));
    Ok((signature, symbols.is_ambiguous()))
}

/// One thread's session for an [`OrtPlan`]. Dropping it returns it to the spare sessions of the plan.
#[derive(Debug)]
pub struct OrtSession {
    /// Absent after a panic, which may have left it in an undefined state.
    inner: Option<Inner>,
    spare: Spare,
}

impl OrtSession {
    pub(super) fn run(&mut self, brake: &Brake, inputs: &[Tensor]) -> Result<Vec<Tensor>> {
        let gone = || Error::internal("the model crashed", "the session had crashed before");
        let mut inner = self.inner.take().ok_or_else(gone)?;
        running(|| {
            let outputs = inner.execute(brake, inputs);
            self.inner = Some(inner);
            outputs
        })
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
    /// By which a run is ended from another thread.
    handle: Arc<Handle>,
    /// The names of the inputs that may follow the others.
    optional: Vec<String>,
}

impl Inner {
    fn new(library: &'static Library, onnx: &[u8]) -> Result<Self> {
        Ok(Self {
            session: library.session(onnx)?,
            halves: Halves::new(library),
            handle: Handle::new()?,
            optional: Vec::new(),
        })
    }

    /// Runs the session, unless or until the brake is pulled.
    fn execute(&mut self, brake: &Brake, inputs: &[Tensor]) -> Result<Vec<Tensor>> {
        if !brake.engage(&self.handle) {
            return Err(Error::Cancelled);
        }
        let outputs = self.compute(inputs);
        if brake.release() {
            return outputs;
        }
        self.handle = Handle::new()?;
        Err(Error::Cancelled)
    }

    fn compute(&mut self, inputs: &[Tensor]) -> Result<Vec<Tensor>> {
        let (session, halves, options) = (&mut self.session, &mut self.halves, &self.handle.0);
        let expected = session.outputs().len();
        let required = session.inputs().len();
        let mut names: Vec<Cow<'_, str>> = Vec::new();
        if inputs.len() > required {
            names.extend(session.inputs().iter().map(|input| Cow::Owned(input.name().to_owned())));
            names.extend(self.optional.iter().map(|name| Cow::Borrowed(name.as_str())));
        }
        let inputs = inputs.iter().map(|input| convert::to_ort(input, halves)).collect::<Result<Vec<_>>>()?;
        let outputs = if names.is_empty() {
            session.run_with_options::<_, 0>(inputs.as_slice() as &[SessionInputValue<'_>], options)
        } else {
            session.run_with_options::<_, 0>(names.into_iter().zip(inputs).collect::<Vec<_>>(), options)
        };
        let outputs = outputs.map_err(values::failed)?;
        if outputs.len() != expected {
            return Err(Error::internal("the model failed", format!("{} of {expected} outputs", outputs.len())));
        }
        outputs.values().map(|output| convert::from_ort(&output, halves)).collect()
    }
}
