//! `grpc.health.v1`: the server as a whole under the empty name and the names of its services, and each
//! model under its own.

use std::pin::Pin;

use futures_util::Stream;
use futures_util::stream::unfold;
use tonic::{Request, Response, Status};

use super::pb::grpc::health::v1::health_check_response::ServingStatus;
use super::pb::grpc::health::v1::{HealthCheckRequest, HealthCheckResponse, health_server};
use crate::api::state::ApiState;
use crate::ids::{ModelName, quote};

/// The service.
#[derive(Debug)]
pub(super) struct Health(ApiState);

impl Health {
    pub(super) fn new(state: ApiState) -> Self {
        Self(state)
    }
}

/// Returns the present status of a service or model.
fn status_of(state: &ApiState, service: &str) -> ServingStatus {
    let catalog = state.predictor().catalog();
    let is_up = if service.is_empty() || super::is_service(service) {
        catalog.is_ready()
    } else {
        let model = service.parse::<ModelName>().ok().and_then(|name| catalog.models().get(&name));
        let Some(model) = model else {
            return if catalog.is_read() { ServingStatus::ServiceUnknown } else { ServingStatus::NotServing };
        };
        let version = model.default_version().and_then(|version| model.versions.get(&version));
        version.is_some_and(|version| version.servable.is_some())
    };
    if is_up && !state.health().is_draining() { ServingStatus::Serving } else { ServingStatus::NotServing }
}

fn response(status: ServingStatus) -> HealthCheckResponse {
    HealthCheckResponse { status: status.into() }
}

#[tonic::async_trait]
impl health_server::Health for Health {
    async fn check(&self, request: Request<HealthCheckRequest>) -> Result<Response<HealthCheckResponse>, Status> {
        let service = &request.get_ref().service;
        match status_of(&self.0, service) {
            ServingStatus::ServiceUnknown => {
                Err(Status::not_found(format!("no service or model is called {}", quote(service))))
            }
            status => Ok(Response::new(response(status))),
        }
    }

    type WatchStream = Pin<Box<dyn Stream<Item = Result<HealthCheckResponse, Status>> + Send>>;

    /// Sends the present status, and again whenever it changes. A name that is unknown may become known.
    async fn watch(&self, request: Request<HealthCheckRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let (state, service) = (self.0.clone(), request.into_inner().service);
        let (published, draining) = (state.predictor().published(), state.health().draining());
        let start = (state, service, published, draining, None);
        let changes = unfold(start, async |(state, service, mut published, mut draining, told)| {
            loop {
                published.mark_unchanged();
                draining.mark_unchanged();
                let now = status_of(&state, &service);
                if told != Some(now) {
                    return Some((Ok(response(now)), (state, service, published, draining, Some(now))));
                }
                // Both end only with the server.
                tokio::select! {
                    changed = published.changed() => changed.ok()?,
                    changed = draining.changed() => changed.ok()?,
                }
            }
        });
        Ok(Response::new(Box::pin(changes)))
    }
}
