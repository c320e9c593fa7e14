//! Weir's signature as TensorFlow Serving's `SignatureDef`. Every model has exactly one,
//! `serving_default`.

use std::collections::BTreeMap;

use serde::{Serialize, Serializer};

use crate::error::{Error, Result};
use crate::ids::printable;
use crate::serving::NamedInputs;
use crate::signature::{DType, Dim, Signature, TensorSpec};

/// The name of the only signature; a request that names none means it.
pub(crate) const SERVING_DEFAULT: &str = "serving_default";

/// The method that the signature is made for.
pub(crate) const PREDICT_METHOD: &str = "tensorflow/serving/predict";

/// An element type of TensorFlow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct DataType {
    /// Its name, `DT_…`.
    pub(crate) name: &'static str,
    /// Its number in TensorFlow's `types.proto`.
    pub(crate) number: i32,
}

/// The inputs and outputs of a model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct SignatureDef {
    /// Its inputs, by name.
    pub(crate) inputs: BTreeMap<String, TensorInfo>,
    /// Its outputs, by name.
    pub(crate) outputs: BTreeMap<String, TensorInfo>,
    /// The method it is made for.
    pub(crate) method_name: &'static str,
}

/// One input or output.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct TensorInfo {
    /// Its element type.
    pub(crate) dtype: DataType,
    /// Its shape.
    pub(crate) tensor_shape: TensorShape,
    /// Its name in the graph: that of an output of an operation.
    pub(crate) name: String,
}

/// A shape of known rank.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct TensorShape {
    /// Its dimensions.
    pub(crate) dim: Vec<DimSize>,
    unknown_rank: bool,
}

/// One dimension.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct DimSize {
    /// Its size, -1 if each request may choose.
    #[serde(serialize_with = "as_text")]
    pub(crate) size: i64,
    name: &'static str,
}

impl DataType {
    /// The type that a type of ours is called there.
    pub(crate) fn of(dtype: DType) -> Self {
        let (name, number) = match dtype {
            DType::Float32 => ("DT_FLOAT", 1),
            DType::Float64 => ("DT_DOUBLE", 2),
            DType::Int32 => ("DT_INT32", 3),
            DType::Uint8 => ("DT_UINT8", 4),
            DType::Int16 => ("DT_INT16", 5),
            DType::Int8 => ("DT_INT8", 6),
            DType::String => ("DT_STRING", 7),
            DType::Int64 => ("DT_INT64", 9),
            DType::Bool => ("DT_BOOL", 10),
            DType::Bfloat16 => ("DT_BFLOAT16", 14),
            DType::Uint16 => ("DT_UINT16", 17),
            DType::Float16 => ("DT_HALF", 19),
            DType::Uint32 => ("DT_UINT32", 22),
            DType::Uint64 => ("DT_UINT64", 23),
        };
        Self { name, number }
    }
}

impl Serialize for DataType {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name)
    }
}

/// 64-bit integers are strings in the JSON of protocol buffers.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn as_text<S: Serializer>(size: &i64, serializer: S) -> std::result::Result<S::Ok, S::Error> {
    serializer.collect_str(size)
}

/// The only signature of a model.
pub(crate) fn signature_def(signature: &Signature) -> SignatureDef {
    let tensors = |specs: &[TensorSpec]| specs.iter().map(|spec| (spec.name.clone(), tensor_info(spec))).collect();
    SignatureDef {
        inputs: tensors(&signature.inputs),
        outputs: tensors(&signature.outputs),
        method_name: PREDICT_METHOD,
    }
}

fn tensor_info(spec: &TensorSpec) -> TensorInfo {
    let size = |dim: &Dim| match dim {
        Dim::Fixed(size) => i64::try_from(*size).unwrap_or(i64::MAX),
        Dim::Symbol(_) => -1,
    };
    let dim = spec.shape.iter().map(|dim| DimSize { size: size(dim), name: "" }).collect();
    TensorInfo {
        dtype: DataType::of(spec.dtype),
        tensor_shape: TensorShape { dim, unknown_rank: false },
        name: format!("{}:0", spec.name),
    }
}

/// Accepts the name of the only signature, and no name.
///
/// # Errors
/// [`Error::InvalidInput`].
pub(crate) fn check_signature_name(name: &str) -> Result<()> {
    if name.is_empty() || name == SERVING_DEFAULT {
        return Ok(());
    }
    Err(Error::InvalidInput(format!("Serving signature name: \"{}\" not found in signature def", printable(name, 64))))
}

/// Accepts the names of inputs that a request brings.
///
/// # Errors
/// [`Error::InvalidInput`] naming what is missing and what is too much.
pub(crate) fn check_inputs<'n>(names: &NamedInputs<'_>, sent: impl Iterator<Item = &'n str>) -> Result<()> {
    let sent: Vec<&str> = sent.collect();
    let list = |names: Vec<&str>| format!("{{{}}}", printable(&names.join(","), 200));
    let required = names.specs().iter().take(names.required()).map(|spec| spec.name.as_str());
    let missing: Vec<&str> = required.filter(|name| !sent.contains(name)).collect();
    let extra: Vec<&str> = sent.iter().copied().filter(|name| names.position(name).is_none()).collect();
    if missing.is_empty() && extra.is_empty() {
        return Ok(());
    }
    Err(Error::InvalidInput(format!(
        "input size does not match signature: {}!={}. Sent extra: {}. Missing but required: {}.",
        sent.len(),
        names.required(),
        list(extra),
        list(missing)
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signature(inputs: &[&str]) -> Signature {
        let spec = |name: &&str| TensorSpec {
            name: (*name).into(),
            dtype: DType::Float32,
            shape: vec![Dim::Symbol("N".into()), Dim::Fixed(2)],
        };
        Signature { inputs: inputs.iter().map(spec).collect(), outputs: vec![spec(&"y")] }
    }

    #[test]
    fn the_definition_is_written_as_protocol_buffers_are_in_json() {
        let json = serde_json::to_string(&signature_def(&signature(&["x"])).inputs).unwrap();
        let expected = r#"{"x":{"dtype":"DT_FLOAT","tensor_shape":{"dim":[{"size":"-1","name":""},{"size":"2","name":""}],"unknown_rank":false},"name":"x:0"}}"#;
        assert_eq!(json, expected);
    }

    #[test]
    fn there_is_one_signature_and_silence_means_it() {
        assert!(check_signature_name("").is_ok() && check_signature_name("serving_default").is_ok());
        let refused = check_signature_name("x\n").unwrap_err().to_string();
        assert_eq!(refused, "Serving signature name: \"x\\n\" not found in signature def");
    }

    #[test]
    fn inputs_are_neither_missing_nor_more() {
        let both = signature(&["a", "b"]);
        let names = NamedInputs::new(&both, 2, &[]);
        let check = |sent: &[&str]| check_inputs(&names, sent.iter().copied());
        assert!(check(&["b", "a"]).is_ok());
        let refused = check(&["a", "c"]).unwrap_err().to_string();
        assert!(refused.contains("2!=2. Sent extra: {c}. Missing but required: {b}."), "{refused}");
        for sent in [&["a"][..], &["a", "b", "c"], &[]] {
            assert!(check(sent).is_err(), "{sent:?}");
        }
    }
}
