//! A stream of inferences: several are under way at once, and the answers come in the order of the
//! requests.

use std::pin::Pin;
use std::sync::Arc;

use futures_util::stream::{Stream, StreamExt, unfold};
use tonic::{Status, Streaming};

use super::infer;
use crate::api::grpc::call::Call;
use crate::api::grpc::pb::inference::{ModelInferRequest, ModelInferResponse, ModelStreamInferResponse};
use crate::api::state::ApiState;
use crate::error::Error;

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
    let answers = requests.map(move |message| {
        let (state, call) = (state.clone(), call.clone());
        async move { one(&state, &call, message?).await }
    });
    Box::pin(answers.buffered(DEPTH))
}

async fn one(state: &ApiState, call: &Call, message: ModelInferRequest) -> Result<ModelStreamInferResponse, Status> {
    let id = message.id.clone();
    Ok(match infer(state, call, message).await {
        Ok(response) => ModelStreamInferResponse { error_message: String::new(), infer_response: Some(response) },
        // The answer says by its id what it is to.
        Err(status) => ModelStreamInferResponse {
            error_message: status.message().to_owned(),
            infer_response: Some(ModelInferResponse { id, ..ModelInferResponse::default() }),
        },
    })
}
