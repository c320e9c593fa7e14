//! A stream of inferences: several are under way at once, and the answers come in the order of the
//! requests.

use std::pin::Pin;
use std::sync::Arc;

use futures_util::stream::{Stream, StreamExt, unfold};
use tonic::{Status, Streaming};

use super::infer;
use crate::api::grpc::call::Call;
use crate::api::grpc::pb::inference::infer_parameter::ParameterChoice;
use crate::api::grpc::pb::inference::{
    InferParameter, ModelInferRequest, ModelInferResponse, ModelStreamInferResponse,
};
use crate::api::state::ApiState;
use crate::error::Error;
use crate::ids::RequestId;

/// The parameter of an answer that holds the identifier of its request.
const REQUEST_ID: &str = "request_id";

/// Requests of one stream that are under way at once.
const DEPTH: usize = 16;

pub(super) type Answers = Pin<Box<dyn Stream<Item = Result<ModelStreamInferResponse, Status>> + Send>>;

/// Answers the requests of a stream; one that is refused is answered with its error, and the stream
/// goes on. What was read when the server closes is answered, and then the stream ends.
pub(super) fn answer(state: ApiState, call: Call, requests: Streaming<ModelInferRequest>) -> Answers {
    let call = Arc::new(call);
    let closing = state.health().closing();
    let requests = unfold(Some((requests, closing)), async |source| {
        let (mut requests, mut closing) = source?;
        let next = tokio::select! {
            next = requests.message() => next,
            // It fails when the server is gone, which is an end as well.
            _ = closing.wait_for(|closing| *closing) => return Some((Err(Error::ShuttingDown.into()), None)),
        };
        match next {
            Ok(message) => Some((Ok(message?), Some((requests, closing)))),
            Err(status) => Some((Err(status), None)),
        }
    });
    let answers = requests.enumerate().map(move |(index, message)| {
        let (state, call) = (state.clone(), call.clone());
        async move { one(&state, &call, &call.id().part(index as u64 + 1), message?).await }
    });
    Box::pin(answers.buffered(DEPTH))
}

/// Answers one message. Its identifier is among the answer's parameters, and in the place of the client's own if that
/// gave none.
async fn one(
    state: &ApiState,
    call: &Call,
    id: &RequestId,
    message: ModelInferRequest,
) -> Result<ModelStreamInferResponse, Status> {
    let own = message.id.clone();
    let (mut response, error_message) = match infer(state, call, id, message).await {
        Ok(response) => (response, String::new()),
        // The answer says by its identifiers what it is to.
        Err(status) => (ModelInferResponse { id: own, ..ModelInferResponse::default() }, status.message().to_owned()),
    };
    if response.id.is_empty() {
        id.as_str().clone_into(&mut response.id);
    }
    let value = InferParameter { parameter_choice: Some(ParameterChoice::StringParam(id.as_str().to_owned())) };
    response.parameters.insert(REQUEST_ID.to_owned(), value);
    Ok(ModelStreamInferResponse { error_message, infer_response: Some(response) })
}
