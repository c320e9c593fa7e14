//! `ModelService`.

use std::collections::BTreeSet;

use tonic::{Request, Response, Status};

use super::model_spec;
use crate::api::access::Action;
use crate::api::audit::{Asked, Change, recorded};
use crate::api::grpc::call::Call;
use crate::api::grpc::pb::tensorflow::serving::file_system_storage_path_source_config::servable_version_policy::PolicyChoice;
use crate::api::grpc::pb::tensorflow::serving::model_server_config::Config;
use crate::api::grpc::pb::tensorflow::serving::model_service_server::ModelService;
use crate::api::grpc::pb::tensorflow::serving::{
    GetModelStatusRequest, GetModelStatusResponse, ModelConfig, ModelServerConfig, ModelVersionStatus,
    ReloadConfigRequest, ReloadConfigResponse, StatusProto, model_version_status,
};
use crate::api::patience::patient;
use crate::api::state::ApiState;
use crate::api::tfs::version_statuses;
use crate::error::{Error, Result};
use crate::ids::{AliasName, ModelName, Version, quote};
use crate::keys::Scope;
use crate::serving::State;

/// Models that one configuration may name.
const MAX_MODELS: usize = 1024;

/// The service.
#[derive(Debug)]
pub(in crate::api::grpc) struct Models(ApiState);

type Answer<T> = std::result::Result<Response<T>, Status>;

/// A model of a configuration: its name, and where its aliases should point.
#[derive(Debug)]
struct Listed {
    name: ModelName,
    aliases: Vec<(AliasName, Version)>,
}

impl Models {
    pub(in crate::api::grpc) fn new(state: ApiState) -> Self {
        Self(state)
    }

    /// Loads what is listed, points aliases, and unloads what is not listed: in this order, and only as
    /// long as nothing fails.
    async fn reload(&self, call: &Call, listed: Vec<Listed>) -> Result<()> {
        let (state, manager) = (&self.0, self.0.manager());
        let asked = Asked::new(call.id().clone(), &call.caller());
        let change = |action, model: &ModelName, version, alias| Change {
            asked: asked.clone(),
            action,
            model: model.clone(),
            version,
            alias,
        };
        for Listed { name, .. } in &listed {
            let outcome = patient(manager.load(name.clone(), None)).await;
            recorded(state.audit(), change("load", name, None, None), outcome).await?;
        }
        for Listed { name, aliases } in &listed {
            for (alias, version) in aliases {
                // The protocol has no words to allow changes; the log says what they are.
                let outcome = manager.promote(name.clone(), alias.clone(), *version, None, true).await;
                recorded(state.audit(), change("promote", name, Some(*version), Some(alias.clone())), outcome).await?;
            }
        }
        let kept: BTreeSet<&ModelName> = listed.iter().map(|listed| &listed.name).collect();
        let loaded: BTreeSet<ModelName> =
            state.predictor().catalog().servables().map(|servable| servable.name.clone()).collect();
        for name in loaded.iter().filter(|name| !kept.contains(name)) {
            let outcome = patient(manager.unload(name.clone(), None)).await;
            recorded(state.audit(), change("unload", name, None, None), outcome).await?;
        }
        Ok(())
    }
}

#[tonic::async_trait]
impl ModelService for Models {
    async fn get_model_status(&self, request: Request<GetModelStatusRequest>) -> Answer<GetModelStatusResponse> {
        let (call, message) = Call::split(request);
        let spec = model_spec(message.model_spec)?;
        call.caller().may_ask(&spec.name, Scope::Read)?;
        let statuses = version_statuses(&self.0.predictor().catalog(), &spec)?;
        let status = |status: crate::api::tfs::VersionStatus| ModelVersionStatus {
            version: i64::try_from(status.version).unwrap_or(i64::MAX),
            state: state(status.state).into(),
            status: Some(StatusProto { error_code: status.code.number(), error_message: status.message }),
        };
        Ok(Response::new(GetModelStatusResponse { model_version_status: statuses.into_iter().map(status).collect() }))
    }

    async fn handle_reload_config_request(
        &self,
        request: Request<ReloadConfigRequest>,
    ) -> Answer<ReloadConfigResponse> {
        let (call, message) = Call::split(request);
        self.0.access().permit(&call.caller(), Action::ChangeModels)?;
        self.reload(&call, listed(message.config)?).await?;
        let status = Some(StatusProto { error_code: 0, error_message: String::new() });
        Ok(Response::new(ReloadConfigResponse { status, metric: Vec::new() }))
    }
}

fn state(state: State) -> model_version_status::State {
    match state {
        State::Start => model_version_status::State::Start,
        State::Loading => model_version_status::State::Loading,
        State::Available => model_version_status::State::Available,
        State::Unloading => model_version_status::State::Unloading,
        State::End => model_version_status::State::End,
    }
}

/// The models of a configuration. What of it cannot be obeyed is refused, not passed over.
fn listed(config: Option<ModelServerConfig>) -> Result<Vec<Listed>> {
    let configs = match config.and_then(|config| config.config) {
        Some(Config::ModelConfigList(list)) => list.config,
        Some(Config::CustomModelConfig(_)) => {
            return Err(Error::InvalidInput("custom_model_config is not supported: send a model_config_list".into()));
        }
        None => return Err(Error::InvalidInput("the request has no model_config_list".into())),
    };
    if configs.len() > MAX_MODELS {
        return Err(Error::InvalidInput(format!("a list has at most {MAX_MODELS} models, got {}", configs.len())));
    }
    let mut names = BTreeSet::new();
    configs
        .into_iter()
        .map(|config| {
            let listed = one(config)?;
            if !names.insert(listed.name.clone()) {
                return Err(Error::InvalidInput(format!("the model \"{}\" is listed twice", listed.name)));
            }
            Ok(listed)
        })
        .collect()
}

fn one(config: ModelConfig) -> Result<Listed> {
    let name: ModelName = config.name.parse()?;
    // A caller does not open folders; but a configuration for TensorFlow Serving has to name one.
    let folder = config.base_path.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
    if !folder.is_empty() && folder != name.as_str() {
        let base_path = quote(&config.base_path);
        return Err(Error::InvalidInput(format!(
            "the model \"{name}\" has the folder of its name in the server's repository; base_path {base_path} is another"
        )));
    }
    let policy = config.model_version_policy.and_then(|policy| policy.policy_choice);
    if let Some(PolicyChoice::Latest(_) | PolicyChoice::Specific(_)) = policy {
        return Err(Error::InvalidInput(format!(
            "the model_version_policy of \"{name}\" cannot be changed by request: model.toml and --version-policy say it"
        )));
    }
    if config.logging_config.is_some() {
        return Err(Error::InvalidInput(format!("the logging_config of \"{name}\" is not supported")));
    }
    let alias = |(label, version): (String, i64)| {
        let number = u64::try_from(version).ok().filter(|number| *number > 0);
        let number = number.ok_or_else(|| {
            Error::InvalidInput(format!("the version of the label {} must be positive, got {version}", quote(&label)))
        })?;
        Ok((label.parse()?, Version(number)))
    };
    Ok(Listed { name, aliases: config.version_labels.into_iter().map(alias).collect::<Result<_>>()? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::grpc::pb::tensorflow::serving::{LoggingConfig, ModelConfigList};

    fn config(change: impl FnOnce(&mut ModelConfig)) -> Result<Vec<Listed>> {
        let mut config = ModelConfig { name: "m".into(), base_path: "/models/m/".into(), ..ModelConfig::default() };
        change(&mut config);
        let list = ModelConfigList { config: vec![config] };
        listed(Some(ModelServerConfig { config: Some(Config::ModelConfigList(list)) }))
    }

    #[test]
    fn a_list_names_models_of_the_repository_and_their_labels() {
        let listed = config(|config| config.version_labels = [("stable".to_owned(), 3)].into()).unwrap();
        assert_eq!(listed[0].name.as_str(), "m");
        assert_eq!(listed[0].aliases[0].1, Version(3));
        assert!(config(|config| config.base_path.clear()).is_ok());
    }

    #[test]
    fn what_cannot_be_obeyed_is_refused() {
        assert!(config(|config| config.base_path = "/etc".into()).is_err());
        assert!(config(|config| config.name = "../m".into()).is_err());
        assert!(config(|config| config.version_labels = [("stable".to_owned(), 0)].into()).is_err());
        assert!(config(|config| config.version_labels = [("7".to_owned(), 1)].into()).is_err());
        assert!(config(|config| config.logging_config = Some(LoggingConfig::default())).is_err());
        assert!(listed(None).is_err());
    }
}
