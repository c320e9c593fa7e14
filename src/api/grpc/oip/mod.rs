//! The Open Inference Protocol over gRPC: messages in, calls to its core, messages out.

mod config;
mod request;
mod response;
mod settings;
mod stream;

use std::time::Instant;

use tonic::{Request, Response, Status, Streaming};

use super::call::Call;
use super::inbound::hold;
use super::pb::inference::grpc_inference_service_server::GrpcInferenceService;
use super::pb::inference::{
    CudaSharedMemoryRegisterRequest, CudaSharedMemoryRegisterResponse, CudaSharedMemoryStatusRequest,
    CudaSharedMemoryStatusResponse, CudaSharedMemoryUnregisterRequest, CudaSharedMemoryUnregisterResponse,
    LogSettingsRequest, LogSettingsResponse, ModelConfigRequest, ModelConfigResponse, ModelInferRequest,
    ModelInferResponse, ModelMetadataRequest, ModelMetadataResponse, ModelReadyRequest, ModelReadyResponse,
    ModelStatisticsRequest, ModelStatisticsResponse, RepositoryIndexRequest, RepositoryIndexResponse,
    RepositoryModelLoadRequest, RepositoryModelLoadResponse, RepositoryModelUnloadRequest,
    RepositoryModelUnloadResponse, ServerLiveRequest, ServerLiveResponse, ServerMetadataRequest,
    ServerMetadataResponse, ServerReadyRequest, ServerReadyResponse, SystemSharedMemoryRegisterRequest,
    SystemSharedMemoryRegisterResponse, SystemSharedMemoryStatusRequest, SystemSharedMemoryStatusResponse,
    SystemSharedMemoryUnregisterRequest, SystemSharedMemoryUnregisterResponse, TraceSettingRequest,
    TraceSettingResponse,
};
use crate::api::access::Action;
use crate::api::audit::Asked;
use crate::api::oip;
use crate::api::state::ApiState;
use crate::error::Kind;
use crate::ids::RequestId;
use crate::keys::Scope;
use crate::serving::{Protocol, RequestContext};

/// The service.
#[derive(Debug)]
pub(super) struct Inference(ApiState);

type Answer<T> = Result<Response<T>, Status>;

impl Inference {
    pub(super) fn new(state: ApiState) -> Self {
        Self(state)
    }
}

/// Answers one request for an inference, which has an identifier of its own in a stream.
async fn infer(
    state: &ApiState,
    call: &Call,
    id: &RequestId,
    message: ModelInferRequest,
) -> Result<ModelInferResponse, Status> {
    let held = hold(state, &message)?;
    let begun = Instant::now();
    call.caller().may_ask(&message.model_name, Scope::Predict)?;
    let servable = oip::resolve(state, &message.model_name, &message.model_version)?;
    let request = request::parse(message, call.deadline())?;
    if request.uses_shared_memory() {
        // It belongs to programs on this machine.
        state.access().permit(&call.caller(), Action::UseSharedMemory)?;
    }
    let context = RequestContext { request_id: id.clone(), ..call.context(Protocol::OipGrpc) };
    let response = oip::infer(state, context, &servable, request).await?;
    drop(held);
    state.traces().record(id, &response.servable, &response.stages, begun.elapsed());
    let encoding = Instant::now();
    let message = response::infer(&response);
    servable.encoded(encoding.elapsed());
    Ok(message)
}

#[tonic::async_trait]
impl GrpcInferenceService for Inference {
    type ModelStreamInferStream = stream::Answers;

    async fn server_live(&self, _: Request<ServerLiveRequest>) -> Answer<ServerLiveResponse> {
        Ok(Response::new(ServerLiveResponse { live: true }))
    }

    async fn server_ready(&self, _: Request<ServerReadyRequest>) -> Answer<ServerReadyResponse> {
        Ok(Response::new(ServerReadyResponse { ready: self.0.readiness().is_ok() }))
    }

    async fn model_ready(&self, request: Request<ModelReadyRequest>) -> Answer<ModelReadyResponse> {
        let (call, ModelReadyRequest { name, version }) = Call::split(request);
        call.caller().may_ask(&name, Scope::Read)?;
        let ready = match oip::resolve(&self.0, &name, &version) {
            Ok(_) => true,
            // As Triton has it, a model that is not there is one that is not ready.
            Err(error) if matches!(error.kind(), Kind::Unavailable | Kind::NotFound) => false,
            Err(error) => return Err(error.into()),
        };
        Ok(Response::new(ModelReadyResponse { ready }))
    }

    async fn server_metadata(&self, _: Request<ServerMetadataRequest>) -> Answer<ServerMetadataResponse> {
        let metadata = oip::server_metadata(&self.0);
        Ok(Response::new(ServerMetadataResponse {
            name: metadata.name.to_owned(),
            version: metadata.version.to_owned(),
            extensions: metadata.extensions.into_iter().map(str::to_owned).collect(),
        }))
    }

    async fn model_metadata(&self, request: Request<ModelMetadataRequest>) -> Answer<ModelMetadataResponse> {
        let (call, ModelMetadataRequest { name, version }) = Call::split(request);
        call.caller().may_ask(&name, Scope::Read)?;
        Ok(Response::new(response::metadata(oip::model_metadata(&self.0, &name, &version)?)))
    }

    async fn model_infer(&self, request: Request<ModelInferRequest>) -> Answer<ModelInferResponse> {
        let (call, message) = Call::split(request);
        infer(&self.0, &call, call.id(), message).await.map(Response::new)
    }

    async fn model_stream_infer(
        &self,
        request: Request<Streaming<ModelInferRequest>>,
    ) -> Answer<Self::ModelStreamInferStream> {
        let (call, requests) = Call::split(request);
        Ok(Response::new(stream::answer(self.0.clone(), call, requests)))
    }

    async fn model_config(&self, request: Request<ModelConfigRequest>) -> Answer<ModelConfigResponse> {
        let (call, ModelConfigRequest { name, version }) = Call::split(request);
        call.caller().may_ask(&name, Scope::Read)?;
        let config = config::config(oip::model_config(&self.0, &name, &version)?);
        Ok(Response::new(ModelConfigResponse { config: Some(config) }))
    }

    async fn model_statistics(&self, request: Request<ModelStatisticsRequest>) -> Answer<ModelStatisticsResponse> {
        let ModelStatisticsRequest { name, version } = request.into_inner();
        let statistics = oip::model_statistics(&self.0, &name, &version)?;
        let model_stats = statistics.into_iter().map(response::statistics).collect();
        Ok(Response::new(ModelStatisticsResponse { model_stats }))
    }

    async fn repository_index(&self, request: Request<RepositoryIndexRequest>) -> Answer<RepositoryIndexResponse> {
        let RepositoryIndexRequest { repository_name, ready } = request.into_inner();
        only_repository(&repository_name)?;
        let models = oip::repository_index(&self.0, ready).into_iter().map(response::index_entry).collect();
        Ok(Response::new(RepositoryIndexResponse { models }))
    }

    async fn repository_model_load(
        &self,
        request: Request<RepositoryModelLoadRequest>,
    ) -> Answer<RepositoryModelLoadResponse> {
        let (call, message) = Call::split(request);
        self.0.access().permit(&call.caller(), Action::ChangeModels)?;
        only_repository(&message.repository_name)?;
        let parameters = settings::repository_parameters(message.parameters)?;
        oip::load(&self.0, Asked::new(call.id().clone(), &call.caller()), &message.model_name, parameters).await?;
        Ok(Response::new(RepositoryModelLoadResponse {}))
    }

    async fn repository_model_unload(
        &self,
        request: Request<RepositoryModelUnloadRequest>,
    ) -> Answer<RepositoryModelUnloadResponse> {
        let (call, message) = Call::split(request);
        self.0.access().permit(&call.caller(), Action::ChangeModels)?;
        only_repository(&message.repository_name)?;
        let parameters = settings::repository_parameters(message.parameters)?;
        oip::unload(&self.0, Asked::new(call.id().clone(), &call.caller()), &message.model_name, parameters).await?;
        Ok(Response::new(RepositoryModelUnloadResponse {}))
    }

    async fn system_shared_memory_status(
        &self,
        request: Request<SystemSharedMemoryStatusRequest>,
    ) -> Answer<SystemSharedMemoryStatusResponse> {
        let (call, message) = Call::split(request);
        self.0.access().permit(&call.caller(), Action::UseSharedMemory)?;
        let regions = self.0.regions().status(named(&message.name))?;
        let regions = regions.into_iter().map(|region| (region.name.clone(), settings::region(region))).collect();
        Ok(Response::new(SystemSharedMemoryStatusResponse { regions }))
    }

    async fn system_shared_memory_register(
        &self,
        request: Request<SystemSharedMemoryRegisterRequest>,
    ) -> Answer<SystemSharedMemoryRegisterResponse> {
        let (call, message) = Call::split(request);
        self.0.access().permit(&call.caller(), Action::UseSharedMemory)?;
        self.0.regions().register(&message.name, &message.key, message.offset, message.byte_size)?;
        Ok(Response::new(SystemSharedMemoryRegisterResponse {}))
    }

    async fn system_shared_memory_unregister(
        &self,
        request: Request<SystemSharedMemoryUnregisterRequest>,
    ) -> Answer<SystemSharedMemoryUnregisterResponse> {
        let (call, message) = Call::split(request);
        self.0.access().permit(&call.caller(), Action::UseSharedMemory)?;
        self.0.regions().unregister(named(&message.name))?;
        Ok(Response::new(SystemSharedMemoryUnregisterResponse {}))
    }

    async fn cuda_shared_memory_status(
        &self,
        _: Request<CudaSharedMemoryStatusRequest>,
    ) -> Answer<CudaSharedMemoryStatusResponse> {
        Err(no_cuda())
    }

    async fn cuda_shared_memory_register(
        &self,
        _: Request<CudaSharedMemoryRegisterRequest>,
    ) -> Answer<CudaSharedMemoryRegisterResponse> {
        Err(no_cuda())
    }

    async fn cuda_shared_memory_unregister(
        &self,
        _: Request<CudaSharedMemoryUnregisterRequest>,
    ) -> Answer<CudaSharedMemoryUnregisterResponse> {
        Err(no_cuda())
    }

    async fn trace_setting(&self, request: Request<TraceSettingRequest>) -> Answer<TraceSettingResponse> {
        let (call, message) = Call::split(request);
        Ok(Response::new(settings::trace(&self.0, &call, message)?))
    }

    async fn log_settings(&self, request: Request<LogSettingsRequest>) -> Answer<LogSettingsResponse> {
        let (call, message) = Call::split(request);
        Ok(Response::new(settings::logging(&self.0, &call, message)?))
    }
}

/// There is one repository, and it has no name.
fn only_repository(name: &str) -> Result<(), Status> {
    if name.is_empty() {
        return Ok(());
    }
    Err(Status::unimplemented("there is one model repository, and it has no name: leave \"repository_name\" empty"))
}

/// No name means all.
fn named(name: &str) -> Option<&str> {
    (!name.is_empty()).then_some(name)
}

fn no_cuda() -> Status {
    Status::unimplemented(oip::cuda_is_absent().to_string())
}
