//! From a parsed request to an answer.

use std::sync::Arc;

use super::binary::write_elements;
use super::classification::{classify, rows_and_classes};
use super::request::{InferRequest, RequestedOutput, check_room, into_input};
use super::response::{InferOutput, InferResponse, Value};
use crate::api::state::ApiState;
use crate::error::{Error, Result};
use crate::ids::quote;
use crate::serving::{Options, RequestContext, Servable};

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
    let wanted = wanted(servable, outputs)?;
    let input = into_input(servable, inputs, state.regions())?;
    let context = context.with_hints(parameters.hints());
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
        let mut answer = InferOutput { index, value, region: None };
        if let Some(mut slice) = region {
            check_room(&name, answer.tensor().data(), &slice)?;
            let mut bytes = Vec::new();
            write_elements(answer.tensor().data(), &mut bytes);
            state.regions().write(&slice, &bytes)?;
            slice.byte_size = bytes.len();
            answer.region = Some(slice);
        }
        answers.push(answer);
    }
    Ok(InferResponse { servable: servable.clone(), id, outputs: answers, stages: inference.stages })
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
