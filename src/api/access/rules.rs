//! The needs of a request, by its method and path: the one table for HTTP and gRPC.
//!
//! It is read before a request is routed and before its body is. A path that it does not know needs the
//! strongest scope as soon as its method changes something, so that a new route is closed until it is listed.

use http::Method;

use crate::keys::Scope;

/// The needs of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::api) struct Rule<'a> {
    /// The scope; `None` for what everybody may, always.
    pub(super) scope: Option<Scope>,
    pub(super) model: Model<'a>,
}

/// The model that a request is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Model<'a> {
    /// The request is about no model, or none that its path names.
    None,
    /// The model that the path names.
    Named(&'a str),
    /// The model that the message names, which the service compares with the key.
    InMessage,
}

impl<'a> Rule<'a> {
    const OPEN: Self = Self { scope: None, model: Model::None };

    fn of(scope: Scope, model: Model<'a>) -> Self {
        Self { scope: Some(scope), model }
    }

    /// Returns what a request over HTTP needs. `is_preflight`: a browser asks which requests it may send.
    pub(in crate::api) fn http(method: &Method, path: &'a str, is_preflight: bool) -> Self {
        if is_preflight && *method == Method::OPTIONS {
            return Self::OPEN;
        }
        let reads = [Method::GET, Method::HEAD, Method::OPTIONS].contains(method);
        let opens = [Method::GET, Method::HEAD].contains(method);
        let mut segments = path.split('/').skip(1);
        let first = segments.next().unwrap_or_default();
        let second = segments.next();
        let third = segments.clone().next();
        let last = path.rsplit('/').next().unwrap_or_default();
        let named = second.filter(|name| !name.is_empty()).map_or(Model::None, Model::Named);
        match first {
            "livez" | "readyz" | "healthz" | "ping" if reads => Self::OPEN,
            // The page leaves out what a caller may not read, and its files are the same for everybody: a browser shows
            // no key when it opens a page.
            "" if path == "/" && opens => Self::OPEN,
            "console" if opens => Self::OPEN,
            "metrics" | "monitoring" => Self::of(Scope::Metrics, Model::None),
            "feedback" => Self::of(Scope::Feedback, Model::None),
            "predict" => Self::of(Scope::Predict, Model::None),
            "predictions" if *method == Method::POST || *method == Method::PUT => Self::of(Scope::Predict, named),
            // Captured inputs are data of clients.
            "predictions" if third == Some("input") && *method != Method::OPTIONS => {
                Self::of(Scope::Admin, Model::None)
            }
            // Settings of runs name the data of whoever trains here.
            "runs" => Self::of(Scope::Admin, Model::None),
            "models" if third == Some("labelling") => Self::of(Scope::Admin, named),
            // The records of predictions, but for the descriptions that TorchServe has there.
            "predictions" if *method != Method::OPTIONS => Self::of(Scope::Feedback, Model::None),
            "explanations" => Self::of(Scope::Predict, named),
            "models" => Self::of(asked(reads, last, &["predict", "explain", "generate", "compare"]), named),
            "v2" => match (second, segments.next()) {
                (Some("health"), _) if reads => Self::OPEN,
                (Some("models"), Some("stats")) if reads => Self::of(Scope::Read, Model::None),
                (Some("models"), Some(name)) => {
                    Self::of(asked(reads, last, &["infer", "generate", "generate_stream"]), Model::Named(name))
                }
                (Some("repository"), Some("index")) => Self::of(Scope::Read, Model::None),
                _ => Self::of(asked(reads, last, &[]), Model::None),
            },
            "v1" => {
                let (name, verb) = path.rsplit_once(':').unwrap_or((path, ""));
                let name = name.split('/').nth(3).unwrap_or_default();
                let model = if name.is_empty() { Model::None } else { Model::Named(name) };
                Self::of(asked(reads, verb, &["predict", "classify", "regress", "explain"]), model)
            }
            _ => Self::of(asked(reads, "", &[]), Model::None),
        }
    }

    /// Returns what a call of gRPC needs, by its path.
    pub(in crate::api) fn grpc(path: &str) -> Self {
        let (service, method) = path.strip_prefix('/').and_then(|path| path.split_once('/')).unwrap_or_default();
        match (service, method) {
            ("grpc.health.v1.Health", _) | ("inference.GRPCInferenceService", "ServerLive" | "ServerReady") => {
                Self::OPEN
            }
            ("inference.GRPCInferenceService", "ModelInfer" | "ModelStreamInfer")
            | ("tensorflow.serving.PredictionService", "Predict" | "Classify" | "Regress" | "MultiInference") => {
                Self::of(Scope::Predict, Model::InMessage)
            }
            ("inference.GRPCInferenceService", "ModelReady" | "ModelMetadata" | "ModelConfig")
            | ("tensorflow.serving.PredictionService", "GetModelMetadata")
            | ("tensorflow.serving.ModelService", "GetModelStatus") => Self::of(Scope::Read, Model::InMessage),
            ("inference.GRPCInferenceService", "ServerMetadata" | "ModelStatistics" | "RepositoryIndex")
            | ("grpc.reflection.v1.ServerReflection" | "grpc.reflection.v1alpha.ServerReflection", _) => {
                Self::of(Scope::Read, Model::None)
            }
            _ => Self::of(Scope::Admin, Model::None),
        }
    }
}

/// Returns the scope for a request that reads, or ends in one of the words for asking a model.
fn asked(reads: bool, word: &str, asking: &[&str]) -> Scope {
    match reads {
        true => Scope::Read,
        false if asking.contains(&word) => Scope::Predict,
        false => Scope::Admin,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule<'a>(method: &str, path: &'a str) -> Rule<'a> {
        Rule::http(&method.parse().unwrap(), path, false)
    }

    #[test]
    fn each_route_needs_what_the_table_says() {
        use Model::Named;
        let open = None;
        for (method, path, scope, model) in [
            ("GET", "/livez", open, Model::None),
            ("HEAD", "/readyz", open, Model::None),
            ("GET", "/ping", open, Model::None),
            ("GET", "/v2/health/ready", open, Model::None),
            ("GET", "/metrics", Some(Scope::Metrics), Model::None),
            ("GET", "/monitoring/prometheus/metrics", Some(Scope::Metrics), Model::None),
            ("POST", "/predict", Some(Scope::Predict), Model::None),
            ("POST", "/models/m/predict", Some(Scope::Predict), Named("m")),
            ("POST", "/models/m/versions/1/predict", Some(Scope::Predict), Named("m")),
            ("POST", "/models/m/generate", Some(Scope::Predict), Named("m")),
            ("POST", "/models/m/explain", Some(Scope::Predict), Named("m")),
            ("POST", "/models/m/versions/1/compare", Some(Scope::Predict), Named("m")),
            ("POST", "/models/m/promote", Some(Scope::Admin), Named("m")),
            ("POST", "/models/predict", Some(Scope::Predict), Named("predict")),
            ("DELETE", "/models/m/predict", Some(Scope::Predict), Named("m")),
            ("GET", "/models", Some(Scope::Read), Model::None),
            ("GET", "/models/m/quality", Some(Scope::Read), Named("m")),
            ("POST", "/feedback", Some(Scope::Feedback), Model::None),
            ("GET", "/predictions/id", Some(Scope::Feedback), Model::None),
            ("DELETE", "/predictions/id", Some(Scope::Feedback), Model::None),
            ("GET", "/predictions/id/input", Some(Scope::Admin), Model::None),
            ("GET", "/predictions/input", Some(Scope::Feedback), Model::None),
            ("GET", "/models/m/labelling", Some(Scope::Admin), Named("m")),
            ("GET", "/runs", Some(Scope::Admin), Model::None),
            ("GET", "/runs/mnist-mlp/1/report", Some(Scope::Admin), Model::None),
            ("GET", "/models/labelling", Some(Scope::Read), Named("labelling")),
            ("POST", "/predictions/m", Some(Scope::Predict), Named("m")),
            ("PUT", "/predictions/m/1.0", Some(Scope::Predict), Named("m")),
            ("OPTIONS", "/predictions/m", Some(Scope::Read), Model::None),
            ("POST", "/v2/models/m/infer", Some(Scope::Predict), Named("m")),
            ("POST", "/v2/models/m/versions/1/infer", Some(Scope::Predict), Named("m")),
            ("GET", "/v2/models/m/ready", Some(Scope::Read), Named("m")),
            ("GET", "/v2/models/stats", Some(Scope::Read), Model::None),
            ("POST", "/v2/models/m/trace/setting", Some(Scope::Admin), Named("m")),
            ("POST", "/v2/repository/index", Some(Scope::Read), Model::None),
            ("POST", "/v2/repository/models/m/load", Some(Scope::Admin), Model::None),
            ("POST", "/v2/logging", Some(Scope::Admin), Model::None),
            ("POST", "/v1/models/m:predict", Some(Scope::Predict), Named("m")),
            ("POST", "/v1/models/m/versions/1:classify", Some(Scope::Predict), Named("m")),
            ("POST", "/v1/models/m:explain", Some(Scope::Predict), Named("m")),
            ("POST", "/explanations/m", Some(Scope::Predict), Named("m")),
            ("GET", "/v1/models/m/metadata", Some(Scope::Read), Named("m")),
            ("POST", "/v1/models/m", Some(Scope::Admin), Named("m")),
            ("GET", "/", open, Model::None),
            ("OPTIONS", "/", Some(Scope::Read), Model::None),
            ("GET", "/console/main.js", open, Model::None),
            ("POST", "/console/main.js", Some(Scope::Admin), Model::None),
            ("GET", "/docs/", Some(Scope::Read), Model::None),
            ("POST", "/livez", Some(Scope::Admin), Model::None),
            ("PATCH", "/anything", Some(Scope::Admin), Model::None),
            ("GET", "", Some(Scope::Read), Model::None),
            ("POST", "//predict", Some(Scope::Admin), Model::None),
        ] {
            assert_eq!(rule(method, path), Rule { scope, model }, "{method} {path}");
        }
        let preflight = Rule::http(&Method::OPTIONS, "/v1/models/m:predict", true);
        assert_eq!(preflight, Rule::OPEN);
        assert_eq!(Rule::http(&Method::POST, "/models/m/load", true).scope, Some(Scope::Admin));
    }

    #[test]
    fn each_call_needs_what_the_table_says() {
        for (path, scope, model) in [
            ("/grpc.health.v1.Health/Watch", None, Model::None),
            ("/inference.GRPCInferenceService/ServerReady", None, Model::None),
            ("/inference.GRPCInferenceService/ModelInfer", Some(Scope::Predict), Model::InMessage),
            ("/inference.GRPCInferenceService/ModelConfig", Some(Scope::Read), Model::InMessage),
            ("/inference.GRPCInferenceService/RepositoryIndex", Some(Scope::Read), Model::None),
            ("/inference.GRPCInferenceService/RepositoryModelLoad", Some(Scope::Admin), Model::None),
            ("/inference.GRPCInferenceService/SystemSharedMemoryRegister", Some(Scope::Admin), Model::None),
            ("/tensorflow.serving.PredictionService/MultiInference", Some(Scope::Predict), Model::InMessage),
            ("/tensorflow.serving.ModelService/HandleReloadConfigRequest", Some(Scope::Admin), Model::None),
            ("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", Some(Scope::Read), Model::None),
            ("/unknown/Method", Some(Scope::Admin), Model::None),
            ("", Some(Scope::Admin), Model::None),
        ] {
            assert_eq!(Rule::grpc(path), Rule { scope, model }, "{path}");
        }
    }
}
