//! ONNX Runtime, the second engine: a shared library that may be absent.
//!
//! Models are loaded from memory: without a path there is no folder to read further files from, and
//! [`super::external`] has refused every model that needs one. A session of the library serves one
//! thread at a time, so each thread has its own, with its own copy of the weights.

mod convert;
mod half;
mod indices;
mod library;
mod shapes;
mod values;

use std::borrow::Cow;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use ort::session::{Session, SessionInputValue};

use self::half::Halves;
use self::indices::Lookups;
use self::library::Library;
use super::brake::{Brake, Handle};
use super::contain::{loading, running};
use super::dims::{Nameless, Symbols};
use super::{Bounds, OptionalInput, guards, seen, tract};
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
    /// With checks.
    onnx: Vec<u8>,
    /// True if an input without an element would end the process.
    needs_elements: bool,
    depends_on_values: bool,
    /// The tensors by the sizes of inputs, where a request chooses them and they are known.
    sizes: Option<Arc<tract::TensorSizes>>,
    lookups: Arc<Lookups>,
    spare: Spare,
}

/// The largest file whose tensors are looked up in the built-in engine, which holds its weights for that.
const MAX_LOOKED_UP: usize = 256 << 20;

/// Sessions that no thread uses. They are kept because creating one takes as long as loading the model;
/// their number is limited by how many ever ran at once.
type Spare = Arc<Mutex<Vec<Inner>>>;

impl OrtPlan {
    pub(super) fn load(library: Option<&Path>, onnx: &[u8], bounds: Bounds) -> Result<Self> {
        let library = library::open(library)?;
        loading(|| Self::build(library, onnx, bounds))
    }

    fn build(library: &'static Library, onnx: &[u8], bounds: Bounds) -> Result<Self> {
        let (mut inner, checked) = checked(library, onnx, bounds)?;
        let signature = signature(&mut inner)?;
        let has_optional = !inner.session.overridable_initializers().is_empty();
        let optional = if has_optional { tract::optional_inputs(onnx)? } else { Vec::new() };
        let spare = Arc::new(Mutex::new(vec![inner]));
        let is_open = signature.inputs.iter().any(|input| input.shape.iter().any(Dim::is_open));
        let sizes = (is_open && onnx.len() <= MAX_LOOKED_UP).then(|| tract::TensorSizes::of(onnx, bounds)).flatten();
        Ok(Self {
            library,
            signature,
            optional,
            onnx: checked.unwrap_or_else(|| onnx.to_vec()),
            needs_elements: guards::is_recurrent(onnx),
            depends_on_values: guards::depends_on_values(onnx)?,
            sizes: sizes.map(Arc::new),
            lookups: Arc::new(Lookups::of(onnx)),
            spare,
        })
    }

    /// Returns true if the values of a request, and not its sizes alone, decide how long it takes.
    pub(super) fn depends_on_values(&self) -> bool {
        self.depends_on_values
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
        inner.needs_elements = self.needs_elements;
        inner.lookups = self.lookups.clone();
        let (sizes, largest) = (self.sizes.clone(), Vec::new());
        Ok(OrtSession { inner: Some(inner), spare: self.spare.clone(), sizes, largest })
    }
}

/// Returns a session of a graph with checks, and the graph; `None` for a graph that has none.
fn checked(library: &'static Library, onnx: &[u8], bounds: Bounds) -> Result<(Inner, Option<Vec<u8>>)> {
    let Some(guarded) = guards::guard(onnx, bounds.tensor_bytes)? else {
        return Ok((Inner::new(library, onnx)?, None));
    };
    Inner::new(library, &guarded).map(|inner| (inner, Some(guarded))).or_else(|refused| {
        let inner = Inner::new(library, onnx)?;
        tracing::warn!(error = %refused, "ONNX Runtime takes a graph without checks of its values only; they are not checked");
        Ok((inner, None))
    })
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
    sizes: Option<Arc<tract::TensorSizes>>,
    /// Shapes of inputs that were found to be within the limits.
    largest: Vec<Vec<usize>>,
}

impl OrtSession {
    pub(super) fn run(&mut self, brake: &Brake, inputs: &[Tensor]) -> Result<Vec<Tensor>> {
        self.check(inputs)?;
        let gone = || Error::internal("the model crashed", "the session had crashed before");
        let mut inner = self.inner.take().ok_or_else(gone)?;
        running(|| {
            let outputs = inner.execute(brake, inputs);
            self.inner = Some(inner);
            outputs
        })
    }

    /// Checks the tensors that inputs ask for, unless larger inputs were seen to be within the limits.
    fn check(&mut self, inputs: &[Tensor]) -> Result<()> {
        let Some(sizes) = &self.sizes else { return Ok(()) };
        let fits = |input: &Tensor, seen: &Vec<usize>| {
            input.shape().len() == seen.len() && input.shape().iter().zip(seen).all(|(size, seen)| size <= seen)
        };
        let is_known = self.largest.len() == inputs.len()
            && inputs.iter().zip(&self.largest).all(|(input, seen)| fits(input, seen));
        if !is_known {
            let shapes: Vec<&[usize]> = inputs.iter().map(Tensor::shape).collect();
            sizes.check(&shapes)?;
            self.largest = shapes.into_iter().map(<[usize]>::to_vec).collect();
        }
        Ok(())
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
    needs_elements: bool,
    lookups: Arc<Lookups>,
}

impl Inner {
    fn new(library: &'static Library, onnx: &[u8]) -> Result<Self> {
        Ok(Self {
            session: library.session(onnx)?,
            halves: Halves::new(library),
            handle: Handle::new()?,
            optional: Vec::new(),
            needs_elements: false,
            lookups: Arc::default(),
        })
    }

    /// Runs the session, unless or until the brake is pulled.
    fn execute(&mut self, brake: &Brake, inputs: &[Tensor]) -> Result<Vec<Tensor>> {
        if !brake.engage(&self.handle) {
            return Err(Error::Cancelled);
        }
        let outputs = self.compute(inputs).map_err(|failure| self.in_words(failure, inputs));
        if brake.release() {
            return outputs;
        }
        self.handle = Handle::new()?;
        Err(Error::Cancelled)
    }

    fn compute(&mut self, inputs: &[Tensor]) -> std::result::Result<Vec<Tensor>, Failure> {
        let (session, halves, options) = (&mut self.session, &mut self.halves, &self.handle.0);
        let expected = session.outputs().len();
        let required = session.inputs().len();
        if self.needs_elements
            && let Some(empty) = inputs.iter().position(|input| input.data().is_empty())
        {
            let name = session.inputs().get(empty).map_or("", |input| input.name());
            return Err(Error::InvalidInput(format!(
                "input \"{name}\" holds no element: its shape is {:?}; a recurrent layer needs at least one",
                inputs[empty].shape()
            ))
            .into());
        }
        let mut names: Vec<Cow<'_, str>> = Vec::new();
        if inputs.len() > required {
            names.extend(session.inputs().iter().map(|input| Cow::Owned(input.name().to_owned())));
            names.extend(self.optional.iter().map(|name| Cow::Borrowed(name.as_str())));
        }
        let given = inputs.iter().map(|input| convert::to_ort(input, halves)).collect::<Result<Vec<_>>>()?;
        let outputs = if names.is_empty() {
            session.run_with_options::<_, 0>(given.as_slice() as &[SessionInputValue<'_>], options)
        } else {
            session.run_with_options::<_, 0>(names.into_iter().zip(given).collect::<Vec<_>>(), options)
        };
        let outputs = outputs.map_err(Failure::Library)?;
        if outputs.len() != expected {
            return Err(Error::internal("the model failed", format!("{} of {expected} outputs", outputs.len())).into());
        }
        Ok(outputs.values().map(|output| convert::from_ort(&output, halves)).collect::<Result<_>>()?)
    }
    /// The failure of a run on these inputs, in words.
    fn in_words(&self, failure: Failure, inputs: &[Tensor]) -> Error {
        let error = match failure {
            Failure::Ours(error) => return error,
            Failure::Library(error) => error,
        };
        let required = self.session.inputs().iter().map(|input| input.name());
        let names = required.chain(self.optional.iter().map(String::as_str));
        let named: Vec<(&str, &Tensor)> = names.zip(inputs).collect();
        match self.lookups.words(error.message(), &named) {
            Some(words) => Error::InvalidInput(words),
            None => values::failed(error),
        }
    }
}

/// The reason why a run failed.
enum Failure {
    Ours(Error),
    Library(ort::Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Ours(error)
    }
}
