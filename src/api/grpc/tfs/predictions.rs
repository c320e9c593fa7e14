//! `PredictionService`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use prost::Message;
use prost_types::Any;
use tonic::{Request, Response, Status};

use super::tensor::{self, Content};
use super::{answered_by, examples::examples, model_spec};
use crate::api::grpc::call::Call;
use crate::api::grpc::inbound::hold;
use crate::api::grpc::pb::tensorflow as tf;
use crate::api::grpc::pb::tensorflow::serving::prediction_service_server::PredictionService;
use crate::api::grpc::pb::tensorflow::serving::{
    Class, ClassificationRequest, ClassificationResponse, ClassificationResult, Classifications,
    GetModelMetadataRequest, GetModelMetadataResponse, InferenceResult, Input, MultiInferenceRequest,
    MultiInferenceResponse, PredictRequest, PredictResponse, Regression, RegressionRequest, RegressionResponse,
    RegressionResult, SignatureDefMap, inference_result,
};
use crate::api::oip::{SentTexts, is_texts, strings};
use crate::api::state::ApiState;
use crate::api::text_answer::tensor_of;
use crate::api::tfs::{
    SERVING_DEFAULT, TensorInfo, check_inputs, classes, classification_output, examples_into_input,
    examples_into_texts, regression_output, regressions, signature_def,
};
use crate::error::{Error, Result};
use crate::ids::quote;
use crate::keys::Scope;
use crate::serving::{Inference, Input as ModelInput, Options, Protocol, RequestContext, RequestHints, Servable};
use crate::signature::DType;
use crate::tensor::Tensor;

/// Tasks of one request.
const MAX_TASKS: usize = 16;

/// The service.
#[derive(Debug)]
pub(in crate::api::grpc) struct Predictions(ApiState);

type Answer<T> = std::result::Result<Response<T>, Status>;

/// Returns the version that a call asks for, if the caller may ask it with this scope.
fn resolve(state: &ApiState, call: &Call, spec: Option<tf::serving::ModelSpec>, scope: Scope) -> Result<Arc<Servable>> {
    let spec = model_spec(spec)?;
    call.caller().may_ask(&spec.name, scope)?;
    spec.resolve(state.predictor())
}

impl Predictions {
    pub(in crate::api::grpc) fn new(state: ApiState) -> Self {
        Self(state)
    }

    fn context(call: &Call) -> RequestContext {
        let timeout = call.deadline().map(|deadline| deadline.left());
        let hints = RequestHints { timeout, ..RequestHints::default() };
        call.context(Protocol::TfServingGrpc).with_hints(hints)
    }

    async fn run(&self, call: &Call, servable: &Arc<Servable>, input: ModelInput) -> Result<Inference> {
        let context = Self::context(call);
        self.0.predictor().infer(&context, servable, input, Options::default()).await
    }

    /// The input of a model that is asked with examples.
    fn examples(servable: &Servable, input: Option<Input>) -> Result<ModelInput> {
        let (examples, context) = examples(input)?;
        if servable.expects_texts()
            && let Some(texts) = examples_into_texts(&examples, &context)?
        {
            return Ok(texts);
        }
        examples_into_input(&servable.named_inputs(), servable.image_transform().is_some(), &examples, &context)
    }
}

#[tonic::async_trait]
impl PredictionService for Predictions {
    async fn predict(&self, request: Request<PredictRequest>) -> Answer<PredictResponse> {
        let (call, message) = Call::split(request);
        let held = hold(&self.0, &message)?;
        let servable = resolve(&self.0, &call, message.model_spec, Scope::Predict)?;
        let input = predict_input(&servable, message.inputs, self.0.settings().max_body_bytes)?;
        if let Some(name) = servable.told_as().filter(|name| is_told(name, &input, &message.output_filter)) {
            let context = Self::context(&call);
            let predicted = self.0.predictor().predict(&context, servable.clone(), input, Options::default()).await?;
            drop(held);
            let outputs = [(name.to_owned(), tensor::write(&tensor_of(&predicted.predictions)?))].into();
            return Ok(Response::new(PredictResponse { model_spec: answered_by(&servable), outputs }));
        }
        let wanted = wanted(&servable, &message.output_filter)?;
        let inference = self.run(&call, &servable, input).await?;
        drop(held);
        let encoding = Instant::now();
        let output =
            |index: usize| (servable.signature().outputs[index].name.clone(), tensor::write(&inference.outputs[index]));
        let outputs = wanted.into_iter().map(output).collect();
        let response = PredictResponse { model_spec: answered_by(&servable), outputs };
        servable.encoded(encoding.elapsed());
        Ok(Response::new(response))
    }

    async fn classify(&self, request: Request<ClassificationRequest>) -> Answer<ClassificationResponse> {
        let (call, message) = Call::split(request);
        let _held = hold(&self.0, &message)?;
        let servable = resolve(&self.0, &call, message.model_spec, Scope::Predict)?;
        classification_output(&servable)?;
        let input = Self::examples(&servable, message.input)?;
        let inference = self.run(&call, &servable, input).await?;
        let result = classified(&servable, &inference)?;
        Ok(Response::new(ClassificationResponse { model_spec: answered_by(&servable), result: Some(result) }))
    }

    async fn regress(&self, request: Request<RegressionRequest>) -> Answer<RegressionResponse> {
        let (call, message) = Call::split(request);
        let _held = hold(&self.0, &message)?;
        let servable = resolve(&self.0, &call, message.model_spec, Scope::Predict)?;
        regression_output(servable.signature())?;
        let input = Self::examples(&servable, message.input)?;
        let inference = self.run(&call, &servable, input).await?;
        let result = regressed(&servable, &inference)?;
        Ok(Response::new(RegressionResponse { model_spec: answered_by(&servable), result: Some(result) }))
    }

    /// Runs the model once and answers every task from that.
    async fn multi_inference(&self, request: Request<MultiInferenceRequest>) -> Answer<MultiInferenceResponse> {
        let (call, message) = Call::split(request);
        let _held = hold(&self.0, &message)?;
        let tasks = message.tasks.into_iter();
        let tasks: Vec<_> =
            tasks.map(|task| Ok((model_spec(task.model_spec)?, task.method_name))).collect::<Result<_>>()?;
        let Some((spec, _)) = tasks.first().filter(|_| tasks.len() <= MAX_TASKS) else {
            let got = tasks.len();
            return Err(Status::invalid_argument(format!("a request has 1 to {MAX_TASKS} tasks, got {got}")));
        };
        if tasks.iter().any(|(other, _)| other != spec) {
            return Err(Status::invalid_argument(
                "All ModelSpecs in a MultiInferenceRequest must access the same model.",
            ));
        }
        call.caller().may_ask(&spec.name, Scope::Predict)?;
        let servable = spec.resolve(self.0.predictor())?;
        for (_, method) in &tasks {
            match method.as_str() {
                CLASSIFY => drop(classification_output(&servable)?),
                REGRESS => drop(regression_output(servable.signature())?),
                other => {
                    let other = quote(other);
                    return Err(Status::unimplemented(format!("Unsupported signature method_name: {other}")));
                }
            }
        }
        let input = Self::examples(&servable, message.input)?;
        let inference = self.run(&call, &servable, input).await?;
        let result = |(_, method): &(_, String)| -> Result<InferenceResult> {
            let result = if method == CLASSIFY {
                inference_result::Result::ClassificationResult(classified(&servable, &inference)?)
            } else {
                inference_result::Result::RegressionResult(regressed(&servable, &inference)?)
            };
            Ok(InferenceResult { model_spec: answered_by(&servable), result: Some(result) })
        };
        let results = tasks.iter().map(result).collect::<Result<_>>()?;
        Ok(Response::new(MultiInferenceResponse { results }))
    }

    async fn get_model_metadata(&self, request: Request<GetModelMetadataRequest>) -> Answer<GetModelMetadataResponse> {
        const FIELD: &str = "signature_def";
        let (call, message) = Call::split(request);
        if message.metadata_field.is_empty() {
            return Err(Status::invalid_argument("GetModelMetadataRequest must specify at least one metadata_field"));
        }
        if let Some(other) = message.metadata_field.iter().find(|field| *field != FIELD) {
            let other = quote(other);
            return Err(Status::invalid_argument(format!("Metadata field {other} is not supported")));
        }
        let servable = resolve(&self.0, &call, message.model_spec, Scope::Read)?;
        let ours = signature_def(servable.signature());
        let tensors = |tensors: BTreeMap<String, TensorInfo>| {
            tensors.into_iter().map(|(name, info)| (name, tensor_info(info))).collect()
        };
        let signature = tf::SignatureDef {
            inputs: tensors(ours.inputs),
            outputs: tensors(ours.outputs),
            method_name: ours.method_name.to_owned(),
        };
        let map = SignatureDefMap { signature_def: [(SERVING_DEFAULT.to_owned(), signature)].into() };
        let any = Any {
            type_url: "type.googleapis.com/tensorflow.serving.SignatureDefMap".to_owned(),
            value: map.encode_to_vec(),
        };
        let metadata = [(FIELD.to_owned(), any)].into();
        let mut model_spec = answered_by(&servable);
        if let Some(spec) = &mut model_spec {
            spec.signature_name.clear();
        }
        Ok(Response::new(GetModelMetadataResponse { model_spec, metadata }))
    }
}

const CLASSIFY: &str = "tensorflow/serving/classify";
const REGRESS: &str = "tensorflow/serving/regress";

/// Tensors by name; or encoded images for a model that takes images, which has one input.
fn predict_input(
    servable: &Servable,
    inputs: BTreeMap<String, tf::TensorProto>,
    max_bytes: usize,
) -> Result<ModelInput> {
    let names = servable.named_inputs();
    if let Some(texts) = texts_of(servable, &inputs, max_bytes)? {
        return Ok(texts);
    }
    check_inputs(&names, inputs.keys().map(String::as_str))?;
    let takes_images = servable.image_transform().is_some();
    let mut tensors: Vec<Option<Tensor>> = names.specs().iter().map(|_| None).collect();
    let mut images = None;
    for (name, message) in inputs {
        let at_input = |error: Error| match error {
            Error::InvalidInput(problem) => Error::InvalidInput(format!("input {}: {problem}", quote(&name))),
            other => other,
        };
        let place = names.position(&name).ok_or_else(|| names.unknown(&name))?;
        match tensor::read(message, max_bytes).map_err(at_input)? {
            Content::Strings(shape, files) if takes_images && place == 0 => match shape.as_slice() {
                [_] | [_, 1] => images = Some(files),
                shape => {
                    return Err(at_input(Error::InvalidInput(format!(
                        "encoded images must be of shape [number of images], or that and 1; got {shape:?}"
                    ))));
                }
            },
            content => {
                let tensor = content.into_tensor().map_err(at_input)?;
                let expected = names.specs()[place].dtype;
                if tensor.dtype() != expected {
                    let (expected, got) = (number_name(expected), number_name(tensor.dtype()));
                    return Err(at_input(Error::InvalidInput(format!("the model expects {expected}, got {got}"))));
                }
                tensors[place] = Some(tensor);
            }
        }
    }
    match images {
        Some(images) => names.images_alone(images, &tensors),
        None => names.arranged(tensors).map(ModelInput::Tensors),
    }
}

/// Returns true if the one answer to texts is asked for, by its name or by none.
fn is_told(name: &str, input: &ModelInput, filter: &[String]) -> bool {
    matches!(input, ModelInput::Texts(_)) && filter.iter().all(|wanted| wanted == name)
}

/// Returns the texts of a request, if it brings nothing else.
fn texts_of(
    servable: &Servable,
    inputs: &BTreeMap<String, tf::TensorProto>,
    max_bytes: usize,
) -> Result<Option<ModelInput>> {
    let is_text = |(name, message): (&String, &tf::TensorProto)| {
        let is_string = message.dtype == crate::api::tfs::DataType::of(DType::String).number;
        is_string && is_texts(servable, name, DType::String)
    };
    if inputs.is_empty() || !inputs.iter().all(is_text) {
        return Ok(None);
    }
    let mut texts = SentTexts::default();
    for (name, message) in inputs {
        let at_input = |error: Error| match error {
            Error::InvalidInput(problem) => Error::InvalidInput(format!("input {}: {problem}", quote(name))),
            other => other,
        };
        if let Content::Strings(shape, elements) = tensor::read(message.clone(), max_bytes).map_err(at_input)? {
            texts.add(name, strings(&shape, &elements).map_err(at_input)?)?;
        }
    }
    texts.into_input()
}

fn number_name(dtype: DType) -> &'static str {
    crate::api::tfs::DataType::of(dtype).name
}

/// The outputs that are asked for, by their place in the signature; all for no filter.
fn wanted(servable: &Servable, filter: &[String]) -> Result<Vec<usize>> {
    let specs = &servable.signature().outputs;
    if filter.is_empty() {
        return Ok((0..specs.len()).collect());
    }
    let mut wanted = Vec::with_capacity(filter.len().min(specs.len()));
    for name in filter {
        let Some(index) = specs.iter().position(|spec| spec.name == *name) else {
            let names: Vec<&str> = specs.iter().map(|spec| spec.name.as_str()).collect();
            let (name, names) = (quote(name), names.join(","));
            return Err(Error::InvalidInput(format!(
                "output tensor alias not found in signature: {name} Outputs expected to be in the set {{{names}}}."
            )));
        };
        if wanted.contains(&index) {
            return Err(Error::InvalidInput(format!("duplicate output tensor alias: {}", quote(name))));
        }
        wanted.push(index);
    }
    Ok(wanted)
}

fn classified(servable: &Servable, inference: &Inference) -> Result<ClassificationResult> {
    let (output, squash) = classification_output(servable)?;
    let output = &inference.outputs[output];
    let class = |class: crate::api::tfs::Class<'_>| Class { label: class.label.into_owned(), score: class.score };
    let sample = |classes: Vec<_>| Classifications { classes: classes.into_iter().map(class).collect() };
    let classifications = classes(servable.labels(), output, squash)?.into_iter().map(sample).collect();
    Ok(ClassificationResult { classifications })
}

fn regressed(servable: &Servable, inference: &Inference) -> Result<RegressionResult> {
    let output = &inference.outputs[regression_output(servable.signature())?];
    let regressions = regressions(output)?.into_iter().map(|value| Regression { value }).collect();
    Ok(RegressionResult { regressions })
}

fn tensor_info(info: TensorInfo) -> tf::TensorInfo {
    let dim = |size: i64| tf::tensor_shape_proto::Dim { size, name: String::new() };
    let dim = info.tensor_shape.dim.iter().map(|own| dim(own.size)).collect();
    tf::TensorInfo {
        dtype: info.dtype.number,
        tensor_shape: Some(tf::TensorShapeProto { dim, unknown_rank: false }),
        encoding: Some(tf::tensor_info::Encoding::Name(info.name)),
    }
}
