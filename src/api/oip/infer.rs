//! From a parsed request to an answer.

use std::sync::Arc;

use super::binary::write_elements;
use super::classification::{classify, rows_and_classes};
use super::request::{InferRequest, RequestedOutput, check_room, into_input};
use super::response::{InferOutput, InferResponse, Value};
use crate::api::shared_memory::RegionSlice;
use crate::api::state::ApiState;
use crate::api::text_answer::tensor_of;
use crate::error::{Error, Result};
use crate::ids::quote;
use crate::serving::{Input, Options, RequestContext, Servable};

/// Answers a request. Dropping the future cancels it.
///
/// # Errors
/// Whatever is wrong with the request, and as [`crate::serving::Predictor::infer`].
pub(crate) async fn infer(
    state: &ApiState,
    context: RequestContext,
    servable: &Arc<Servable>,
    request: InferRequest,
) -> Result<InferResponse> {
    let InferRequest { id, inputs, outputs, parameters } = request;
    let input = into_input(servable, inputs, state.regions())?;
    let context = context.with_hints(parameters.hints());
    if let Some(name) = servable.told_as().filter(|name| is_told(name, &input, &outputs)) {
        let predicted = state.predictor().predict(&context, servable.clone(), input, Options::default()).await?;
        let value = Value::Made(tensor_of(&predicted.predictions)?);
        let mut answer = InferOutput { index: 0, name: Some(name), value, region: None };
        if let Some(slice) = outputs.into_iter().find_map(|output| output.region) {
            leave(state, name, &mut answer, slice)?;
        }
        return Ok(InferResponse { servable: servable.clone(), id, outputs: vec![answer], stages: predicted.stages });
    }
    let wanted = wanted(servable, outputs)?;
    let inference = state.predictor().infer(&context, servable, input, Options::default()).await?;
    let mut answers = Vec::with_capacity(wanted.len());
    for (index, RequestedOutput { name, classification, region }) in wanted {
        let given = &inference.outputs[index];
        let value = match classification {
            None => Value::Given(inference.outputs.clone()),
            Some(count) => {
                let (_, classes) = rows_and_classes(given, servable.batching());
                let labels = servable.output_labels(index, classes);
                Value::Made(classify(given, servable.batching(), count, labels)?)
            }
        };
        let mut answer = InferOutput { index, name: None, value, region: None };
        if let Some(slice) = region {
            leave(state, &name, &mut answer, slice)?;
        }
        answers.push(answer);
    }
    Ok(InferResponse { servable: servable.clone(), id, outputs: answers, stages: inference.stages })
}

/// Returns true if the one answer to texts is asked for, by its name or by none.
fn is_told(name: &str, input: &Input, outputs: &[RequestedOutput]) -> bool {
    matches!(input, Input::Texts(_)) && outputs.len() <= 1 && outputs.iter().all(|output| output.name == name)
}

/// Leaves the bytes of an answer in shared memory.
fn leave(state: &ApiState, name: &str, answer: &mut InferOutput, mut slice: RegionSlice) -> Result<()> {
    check_room(name, answer.tensor().data(), &slice)?;
    let mut bytes = Vec::new();
    write_elements(answer.tensor().data(), &mut bytes);
    state.regions().write(&slice, &bytes)?;
    slice.byte_size = bytes.len();
    answer.region = Some(slice);
    Ok(())
}

/// The outputs to answer with, by their place in the signature.
fn wanted(servable: &Servable, requested: Vec<RequestedOutput>) -> Result<Vec<(usize, RequestedOutput)>> {
    let specs = &servable.signature().outputs;
    if requested.is_empty() {
        let every = |(index, spec): (usize, &crate::signature::TensorSpec)| {
            (index, RequestedOutput { name: spec.name.clone(), ..RequestedOutput::default() })
        };
        return Ok(specs.iter().enumerate().map(every).collect());
    }
    let mut wanted: Vec<(usize, RequestedOutput)> = Vec::with_capacity(requested.len().min(specs.len()));
    for output in requested {
        let name = quote(&output.name);
        let Some(index) = specs.iter().position(|spec| spec.name == output.name) else {
            let names: Vec<&str> = specs.iter().map(|spec| spec.name.as_str()).collect();
            let (model, names) = (&servable.name, names.join(", "));
            return Err(Error::InvalidInput(format!("model \"{model}\" has no output {name}; it has: {names}")));
        };
        if wanted.iter().any(|(other, _)| *other == index) {
            return Err(Error::InvalidInput(format!("the output {name} is asked for twice")));
        }
        wanted.push((index, output));
    }
    Ok(wanted)
}
