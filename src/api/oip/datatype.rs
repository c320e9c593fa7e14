//! The names of element types.

use crate::error::{Error, Result};
use crate::ids::quote;
use crate::signature::DType;

const NAMES: [(DType, &str); 14] = [
    (DType::Bool, "BOOL"),
    (DType::Uint8, "UINT8"),
    (DType::Uint16, "UINT16"),
    (DType::Uint32, "UINT32"),
    (DType::Uint64, "UINT64"),
    (DType::Int8, "INT8"),
    (DType::Int16, "INT16"),
    (DType::Int32, "INT32"),
    (DType::Int64, "INT64"),
    (DType::Float16, "FP16"),
    (DType::Bfloat16, "BF16"),
    (DType::Float32, "FP32"),
    (DType::Float64, "FP64"),
    (DType::String, "BYTES"),
];

/// The protocol's name of a type.
pub(crate) fn datatype(dtype: DType) -> &'static str {
    NAMES.iter().find(|(other, _)| *other == dtype).map_or("", |(_, name)| name)
}

/// The type of a name.
///
/// # Errors
/// [`Error::Malformed`] listing the names there are.
pub(crate) fn parse_datatype(name: &str) -> Result<DType> {
    NAMES.iter().find(|(_, other)| *other == name).map(|(dtype, _)| *dtype).ok_or_else(|| {
        let names: Vec<&str> = NAMES.iter().map(|(_, name)| *name).collect();
        Error::Malformed(format!("the datatype must be one of {}, got {}", names.join(" "), quote(name)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_has_a_name_and_every_name_a_type() {
        for (dtype, name) in NAMES {
            assert_eq!((datatype(dtype), parse_datatype(name).unwrap()), (name, dtype));
            assert!(!name.is_empty());
        }
        for bad in ["", "fp32", "STRING", "FP8", "FP32 "] {
            assert!(parse_datatype(bad).unwrap_err().to_string().contains("BF16 FP32"), "{bad}");
        }
    }
}
