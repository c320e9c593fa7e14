//! Which service and method a path means: a closed set.

use crate::metrics::Protocol;

/// The number of messages each way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// One in, one out.
    Unary,
    /// One in, any number out.
    Watch,
    /// Any number in, any number out.
    Stream,
}

/// The service that a call is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Target {
    /// The Open Inference Protocol.
    Inference(Shape),
    /// TensorFlow Serving's predictions.
    Predictions,
    /// TensorFlow Serving's models.
    Models,
    /// Health checks.
    Health(Shape),
    /// Reflection.
    Reflection,
    /// Reflection in its first version, which many tools still ask for.
    ReflectionAlpha,
    /// No service of this server.
    Unknown,
}

impl Target {
    /// The target of a path, `/<service>/<method>`.
    pub(super) fn of(path: &str) -> Self {
        let (service, method) = path.strip_prefix('/').and_then(|path| path.split_once('/')).unwrap_or_default();
        let shape = |streamed: &str, shape| if method == streamed { shape } else { Shape::Unary };
        match service {
            "inference.GRPCInferenceService" => Self::Inference(shape("ModelStreamInfer", Shape::Stream)),
            "tensorflow.serving.PredictionService" => Self::Predictions,
            "tensorflow.serving.ModelService" => Self::Models,
            "grpc.health.v1.Health" => Self::Health(shape("Watch", Shape::Watch)),
            "grpc.reflection.v1.ServerReflection" => Self::Reflection,
            "grpc.reflection.v1alpha.ServerReflection" => Self::ReflectionAlpha,
            _ => Self::Unknown,
        }
    }

    pub(super) fn shape(self) -> Shape {
        match self {
            Self::Inference(shape) | Self::Health(shape) => shape,
            Self::Reflection | Self::ReflectionAlpha => Shape::Stream,
            Self::Predictions | Self::Models | Self::Unknown => Shape::Unary,
        }
    }

    /// Returns true if its streams would go on although the server closes.
    pub(super) fn is_endless(self) -> bool {
        matches!(self, Self::Health(Shape::Watch) | Self::Reflection | Self::ReflectionAlpha)
    }

    /// Returns the protocol that its calls are counted under.
    pub(super) fn protocol(self) -> Protocol {
        match self {
            Self::Inference(_) => Protocol::Oip,
            Self::Predictions | Self::Models => Protocol::TfServing,
            Self::Health(_) | Self::Reflection | Self::ReflectionAlpha | Self::Unknown => Protocol::Operations,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_told_apart() {
        assert_eq!(Target::of("/inference.GRPCInferenceService/ModelInfer"), Target::Inference(Shape::Unary));
        assert_eq!(Target::of("/inference.GRPCInferenceService/ModelStreamInfer").shape(), Shape::Stream);
        assert_eq!(Target::of("/grpc.health.v1.Health/Watch").shape(), Shape::Watch);
        for unknown in ["", "/", "/inference.GRPCInferenceService", "inference.GRPCInferenceService/ModelInfer", "/x/y"]
        {
            assert_eq!(Target::of(unknown), Target::Unknown, "{unknown}");
        }
    }
}
