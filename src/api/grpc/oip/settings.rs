//! Trace and log settings, parameters of loads, and regions, as messages.

use std::collections::BTreeMap;

use crate::api::access::Action;
use crate::api::grpc::call::Call;
use crate::api::grpc::pb::inference::model_repository_parameter::ParameterChoice;
use crate::api::grpc::pb::inference::system_shared_memory_status_response::RegionStatus;
use crate::api::grpc::pb::inference::{
    LogSettingsRequest, LogSettingsResponse, ModelRepositoryParameter, TraceSettingRequest, TraceSettingResponse,
    log_settings_request, log_settings_response, trace_setting_response,
};
use crate::api::oip::{self, Parameter};
use crate::api::state::ApiState;
use crate::error::{Error, Result};
use crate::ids::quote;

type LogRequestChoice = log_settings_request::setting_value::ParameterChoice;
type LogResponseChoice = log_settings_response::setting_value::ParameterChoice;

/// The parameters of a load or unload.
///
/// # Errors
/// [`Error::InvalidInput`] for files of a model, [`Error::Malformed`] for a parameter without a value.
pub(super) fn repository_parameters(
    parameters: BTreeMap<String, ModelRepositoryParameter>,
) -> Result<Vec<(String, Parameter)>> {
    let parameter = |(key, value): (String, ModelRepositoryParameter)| {
        let value = match value.parameter_choice {
            Some(ParameterChoice::BoolParam(value)) => Parameter::Bool(value),
            Some(ParameterChoice::Int64Param(number)) => Parameter::Int(number),
            Some(ParameterChoice::StringParam(text)) => Parameter::Text(text),
            Some(ParameterChoice::BytesParam(_)) => {
                let key = quote(&key);
                return Err(Error::InvalidInput(format!(
                    "the parameter {key} brings a file: models come from the repository"
                )));
            }
            None => return Err(Error::Malformed(format!("the parameter {} has no value", quote(&key)))),
        };
        Ok((key, value))
    };
    parameters.into_iter().map(parameter).collect()
}

/// The message of a registered region.
pub(super) fn region(region: oip::RegionStatus) -> RegionStatus {
    RegionStatus { name: region.name, key: region.key, offset: region.offset, byte_size: region.byte_size }
}

/// Shows the trace settings, and changes them before if there is something to change, which is for
/// administrators. A setting without values is taken back.
///
/// # Errors
/// As [`crate::api::traces::Traces::change`]; [`Error::Forbidden`]; for a model that is not there.
pub(super) fn trace(state: &ApiState, call: &Call, message: TraceSettingRequest) -> Result<TraceSettingResponse> {
    let model = match message.model_name.as_str() {
        "" => None,
        name => Some(oip::resolve(state, name, "")?.name.clone()),
    };
    let settings = if message.settings.is_empty() {
        state.traces().settings(model.as_ref())
    } else {
        state.access().permit(&call.caller(), Action::ChangeSettings)?;
        let change = message.settings.into_iter().map(|(key, setting)| {
            let values = setting.value;
            (key, (!values.is_empty()).then_some(values))
        });
        state.traces().change(model.as_ref(), change.collect())?
    };
    let one = |value: String| vec![value];
    let settings = [
        ("trace_level", settings.trace_level),
        ("trace_rate", one(settings.trace_rate)),
        ("trace_count", one(settings.trace_count)),
        ("log_frequency", one(settings.log_frequency)),
        ("trace_file", one(settings.trace_file)),
        ("trace_mode", one(settings.trace_mode.to_owned())),
    ];
    let setting = |(key, value): (&str, Vec<String>)| (key.to_owned(), trace_setting_response::SettingValue { value });
    Ok(TraceSettingResponse { settings: settings.into_iter().map(setting).collect() })
}

/// Shows what is logged, and changes it before if there is something to change, which is for
/// administrators.
///
/// # Errors
/// As [`oip::change_logging`]; [`Error::Forbidden`].
pub(super) fn logging(state: &ApiState, call: &Call, message: LogSettingsRequest) -> Result<LogSettingsResponse> {
    let settings = if message.settings.is_empty() {
        oip::logging_settings(state)
    } else {
        state.access().permit(&call.caller(), Action::ChangeSettings)?;
        let parameter = |(key, value): (String, log_settings_request::SettingValue)| {
            let value = match value.parameter_choice {
                Some(LogRequestChoice::BoolParam(value)) => Parameter::Bool(value),
                Some(LogRequestChoice::Uint32Param(number)) => Parameter::Uint(number.into()),
                Some(LogRequestChoice::StringParam(text)) => Parameter::Text(text),
                None => return Err(Error::Malformed(format!("the log setting {} has no value", quote(&key)))),
            };
            Ok((key, value))
        };
        oip::change_logging(state, message.settings.into_iter().map(parameter).collect::<Result<_>>()?)?
    };
    let settings = [
        ("log_file", LogResponseChoice::StringParam(settings.log_file.to_owned())),
        ("log_info", LogResponseChoice::BoolParam(settings.log_info)),
        ("log_warning", LogResponseChoice::BoolParam(settings.log_warning)),
        ("log_error", LogResponseChoice::BoolParam(settings.log_error)),
        ("log_verbose_level", LogResponseChoice::Uint32Param(settings.log_verbose_level)),
        ("log_format", LogResponseChoice::StringParam(settings.log_format.to_owned())),
    ];
    let setting = |(key, choice): (&str, LogResponseChoice)| {
        (key.to_owned(), log_settings_response::SettingValue { parameter_choice: Some(choice) })
    };
    Ok(LogSettingsResponse { settings: settings.into_iter().map(setting).collect() })
}
