//! Weights that two graphs of a version have in common, kept once.

use prost::Message as _;
use tract_onnx::pb::tensor_proto::DataLocation;
use tract_onnx::pb::{ModelProto, StringStringEntryProto, TensorProto};

use crate::error::{Error, Result};

/// A tensor of fewer bytes stays where it is.
const MIN_BYTES: usize = 1024;

/// Returns the file of a graph whose large tensors are read from the file `name` with the content `whole` in the same
/// folder (ONNX's external data), as far as their bytes are found there. Others stay in the graph.
///
/// # Errors
/// [`Error::Internal`] when `part` is no ONNX model.
pub(in crate::trainer) fn share_tensors(part: &[u8], name: &str, whole: &[u8]) -> Result<Vec<u8>> {
    let mut model =
        ModelProto::decode(part).map_err(|error| Error::internal("a graph that was written cannot be read", error))?;
    for tensor in model.graph.iter_mut().flat_map(|graph| &mut graph.initializer) {
        if tensor.raw_data.len() < MIN_BYTES {
            continue;
        }
        if let Some(offset) = whole.windows(tensor.raw_data.len()).position(|bytes| bytes == tensor.raw_data) {
            refer(tensor, name, offset);
        }
    }
    Ok(model.encode_to_vec())
}

/// Replaces the bytes of a tensor by their place in a file.
fn refer(tensor: &mut TensorProto, file: &str, offset: usize) {
    let length = std::mem::take(&mut tensor.raw_data).len();
    let entry = |key: &str, value: String| StringStringEntryProto { key: key.into(), value };
    tensor.external_data =
        vec![entry("location", file.into()), entry("offset", offset.to_string()), entry("length", length.to_string())];
    tensor.data_location = Some(DataLocation::External as i32);
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use tract_onnx::pb::GraphProto;

    use super::*;
    use crate::external::External;

    fn file(tensors: &[(&str, Vec<u8>)]) -> Vec<u8> {
        let tensor = |(name, bytes): &(&str, Vec<u8>)| TensorProto {
            name: (*name).into(),
            raw_data: bytes.clone(),
            ..TensorProto::default()
        };
        let graph = GraphProto { initializer: tensors.iter().map(tensor).collect(), ..GraphProto::default() };
        ModelProto { ir_version: 8, graph: Some(graph), ..ModelProto::default() }.encode_to_vec()
    }

    #[test]
    fn only_large_tensors_that_are_there_are_read_from_the_other_file_and_come_back_whole() {
        let bytes =
            |seed: u32, length: u32| (0..length).map(|i| (i.wrapping_mul(seed) >> 7) as u8).collect::<Vec<u8>>();
        let (common, other, small) = (bytes(7919, 5000), bytes(104_729, 5000), bytes(31, 100));
        let whole = file(&[("x", other.clone()), ("y", common.clone()), ("z", small.clone())]);
        let alone = bytes(611_953, 2000);
        let part = file(&[("a", common), ("b", alone), ("c", small), ("d", other)]);
        let shared = share_tensors(&part, "model.onnx", &whole).unwrap();
        assert!(shared.len() < 2600, "{}", shared.len());
        let external = External::of(&shared).unwrap().unwrap();
        assert_eq!(external.files().into_iter().collect::<Vec<_>>(), ["model.onnx"]);
        let sizes = BTreeMap::from([("model.onnx".to_owned(), whole.len() as u64)]);
        let mut joined = external.join(&shared, &sizes, 1 << 20).unwrap();
        joined.fill("model.onnx", 0, &whole);
        let again = ModelProto::decode(joined.into_onnx().as_slice()).unwrap();
        assert_eq!(again, ModelProto::decode(part.as_slice()).unwrap());
    }

    #[test]
    fn noise_is_an_error() {
        assert!(share_tensors(&[0xff; 40], "model.onnx", &[]).is_err());
    }
}
