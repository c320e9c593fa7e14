//! The requests that a configuration names for warming up, as tensors.

use std::collections::BTreeMap;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::config::{ModelConfig, ModelInput, Warmup, WarmupData, WarmupInput};
use super::{WARMUP_FOLDER as FOLDER, refuse};
use crate::error::{Error, Result};
use crate::ids::quote;
use crate::repository::storage::Files;
use crate::signature::{DType, Dim, Signature, TensorSpec};
use crate::tensor::{Data, Tensor};

/// All the tensors of a model's requests together.
const MAX_BYTES: u64 = 256 << 20;

/// A request for warming up.
#[derive(Debug)]
pub struct WarmupRequest {
    /// For messages.
    pub name: String,
    /// The number of times that it is run.
    pub runs: u32,
    /// The inputs as clients would send them, in the signature's order.
    pub inputs: Vec<Tensor>,
}

/// Returns the requests that a configuration names.
///
/// # Errors
/// [`Error::Repository`] naming the request, the tensor, what is expected and what is there;
/// [`Error::Io`].
pub fn requests(config: &ModelConfig, model: &Files, signature: &Signature) -> Result<Vec<WarmupRequest>> {
    let mut left = MAX_BYTES;
    let request = |warmup: &Warmup| {
        let name = quote(&warmup.name);
        if let Some(unknown) =
            warmup.inputs.keys().find(|input| !signature.inputs.iter().any(|spec| spec.name == **input))
        {
            return Err(refuse(format!("model_warmup {name}: the model has no input {}", quote(unknown))));
        }
        let input = |spec: &TensorSpec| {
            let at = |problem: String| refuse(format!("model_warmup {name}: input \"{}\" {problem}", spec.name));
            let given = warmup.inputs.get(&spec.name).ok_or_else(|| at("is missing".into()))?;
            let batch = (config.max_batch_size > 0).then_some(warmup.batch_size as usize);
            let shape = shape(given, batch, spec).map_err(at)?;
            tensor(given, spec, shape, batch.unwrap_or(1), model, &mut left).map_err(|error| match error {
                Error::Repository { problem, .. } => at(problem),
                other => other,
            })
        };
        let inputs = signature.inputs.iter().map(input).collect::<Result<_>>()?;
        Ok(WarmupRequest { name: warmup.name.clone(), runs: warmup.count.max(1), inputs })
    };
    config.model_warmup.iter().map(request).collect()
}

impl ModelConfig {
    /// Returns the shapes of the inputs of the graph that the configuration tells: those of requests for warming up, and
    /// those that every request has.
    pub(in crate::repository) fn examples(&self) -> Vec<BTreeMap<String, Vec<i64>>> {
        let dims = |input: &ModelInput| input.reshape.as_ref().map_or(&input.dims, |reshape| &reshape.shape).clone();
        let of_graph = |name: &str| self.input.iter().find(|input| input.name == *name && input.reshape.is_some());
        let warmup = |(name, input): (&String, &WarmupInput)| {
            (name.clone(), of_graph(name).map_or_else(|| input.dims.clone(), dims))
        };
        let warmups = self.model_warmup.iter().map(|request| request.inputs.iter().map(warmup).collect());
        let every = self.input.iter().map(|input| (input.name.clone(), dims(input))).collect();
        warmups.chain(std::iter::once(every)).collect()
    }
}

/// The shape of a tensor, compared with the signature.
fn shape(given: &WarmupInput, batch: Option<usize>, spec: &TensorSpec) -> std::result::Result<Vec<usize>, String> {
    let dims = given.dims.iter().map(|dim| usize::try_from(*dim));
    let sizes = dims.collect::<std::result::Result<Vec<_>, _>>();
    let sizes = sizes.map_err(|_| format!("needs dims that are not open, got {:?}", given.dims))?;
    let shape: Vec<usize> = batch.into_iter().chain(sizes).collect();
    let fits = |(size, dim): (&usize, &Dim)| match dim {
        Dim::Fixed(expected) => size == expected,
        Dim::Symbol(_) => true,
    };
    if shape.len() != spec.shape.len() || !shape.iter().zip(&spec.shape).all(fits) {
        return Err(format!("is of shape {}, got {shape:?} with the batch", spec.shape_text()));
    }
    match given.data_type.dtype() {
        Some(dtype) if dtype == spec.dtype => Ok(shape),
        _ => Err(format!("is of {}, got {}", spec.dtype, given.data_type.name())),
    }
}

fn tensor(
    given: &WarmupInput,
    spec: &TensorSpec,
    shape: Vec<usize>,
    samples: usize,
    model: &Files,
    left: &mut u64,
) -> Result<Tensor> {
    let element = spec.dtype.bytes().unwrap_or(size_of::<String>());
    let bytes = shape.iter().try_fold(element, |all, size| all.checked_mul(*size)).map(|bytes| bytes as u64);
    let Some(bytes) = bytes.filter(|bytes| *bytes <= *left) else {
        return Err(refuse(format!("is too large: all of model_warmup together may take {MAX_BYTES} bytes")));
    };
    *left -= bytes;
    match &given.data {
        Some(WarmupData::ZeroData(true)) => Tensor::zeros(spec.dtype, shape),
        Some(WarmupData::RandomData(true)) => {
            let count = shape.iter().product();
            Tensor::from_data(shape, random(spec.dtype, count))
        }
        Some(WarmupData::InputDataFile(file)) => {
            let one_sample = if samples == 0 { 0 } else { shape.iter().product::<usize>() / samples.max(1) };
            let data = read(file, spec.dtype, one_sample, model)?;
            let mut all = Data::with_capacity(spec.dtype, data.len() * samples);
            for _ in 0..samples {
                all.extend(&data);
            }
            Tensor::from_data(shape, all)
        }
        Some(WarmupData::ZeroData(false) | WarmupData::RandomData(false)) | None => {
            Err(refuse("needs zero_data, random_data or input_data_file".into()))
        }
    }
}

/// The same numbers each time, so that a load which fails does so again.
fn random(dtype: DType, count: usize) -> Data {
    let mut rng = ChaCha8Rng::seed_from_u64(count as u64);
    let mut data = Data::with_capacity(dtype, count);
    match &mut data {
        Data::Float32(elements) => elements.extend((0..count).map(|_| rng.random::<f32>())),
        Data::Float64(elements) => elements.extend((0..count).map(|_| rng.random::<f64>())),
        Data::Float16(elements) => elements.extend((0..count).map(|_| half::f16::from_f32(rng.random::<f32>()))),
        Data::Bfloat16(elements) => elements.extend((0..count).map(|_| half::bf16::from_f32(rng.random::<f32>()))),
        // Whole numbers are mostly indices, of which 0 and 1 exist everywhere.
        Data::Bool(elements) => elements.extend((0..count).map(|_| rng.random::<bool>())),
        Data::Uint8(elements) => elements.extend((0..count).map(|_| u8::from(rng.random::<bool>()))),
        Data::Uint16(elements) => elements.extend((0..count).map(|_| u16::from(rng.random::<bool>()))),
        Data::Uint32(elements) => elements.extend((0..count).map(|_| u32::from(rng.random::<bool>()))),
        Data::Uint64(elements) => elements.extend((0..count).map(|_| u64::from(rng.random::<bool>()))),
        Data::Int8(elements) => elements.extend((0..count).map(|_| i8::from(rng.random::<bool>()))),
        Data::Int16(elements) => elements.extend((0..count).map(|_| i16::from(rng.random::<bool>()))),
        Data::Int32(elements) => elements.extend((0..count).map(|_| i32::from(rng.random::<bool>()))),
        Data::Int64(elements) => elements.extend((0..count).map(|_| i64::from(rng.random::<bool>()))),
        Data::String(elements) => elements.resize(count, String::new()),
    }
    data
}

/// One sample from a file: little-endian numbers, or strings each behind its length in four bytes.
fn read(file: &str, dtype: DType, count: usize, model: &Files) -> Result<Data> {
    let what = || format!("{FOLDER}/{}", quote(file));
    let is_plain = !file.is_empty() && !file.starts_with('.') && !file.contains(['/', '\\', '\0']);
    if !is_plain {
        return Err(refuse(format!("needs the name of a file in the folder {FOLDER}, got {}", quote(file))));
    }
    let bytes = model.inside(FOLDER).read(file, MAX_BYTES)?;
    let bytes = bytes.ok_or_else(|| refuse(format!("needs {}, which is missing", what())))?;
    let data = match dtype.bytes() {
        Some(size) if count.checked_mul(size) != Some(bytes.len()) => {
            return Err(refuse(format!("needs {count} elements of {dtype}, {} holds {} bytes", what(), bytes.len())));
        }
        Some(_) => Data::from_le_bytes(dtype, &bytes),
        None => {
            let texts = strings(&bytes, count);
            let texts = texts.ok_or_else(|| refuse(format!("needs {count} strings, {} holds others", what())))?;
            Data::String(texts)
        }
    };
    Ok(data)
}

fn strings(mut bytes: &[u8], count: usize) -> Option<Vec<String>> {
    let mut texts = Vec::new();
    while let Some((length, rest)) = bytes.split_first_chunk::<4>() {
        let (text, rest) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
        texts.push(String::from_utf8(text.to_vec()).ok()?);
        bytes = rest;
    }
    (bytes.is_empty() && texts.len() == count).then_some(texts)
}
