//! The answer to an inference: JSON, followed by the bytes of the outputs that were asked for in binary.

use crate::api::json::Writer;
use crate::api::oip::{InferResponse, byte_size, datatype, write_elements};

/// A written answer.
#[derive(Debug)]
pub(super) struct Written {
    pub(super) body: Vec<u8>,
    /// The number of its bytes that are JSON, if others follow.
    pub(super) json_bytes: Option<usize>,
}

/// Writes an answer; `is_binary` decides for each place in it whether that output goes in bytes.
pub(super) fn write_answer(response: &InferResponse, is_binary: impl Fn(usize) -> bool) -> Written {
    let mut json = Writer::compact();
    json.begin_object();
    if let Some(id) = &response.id {
        json.member("id", id);
    }
    json.member("model_name", response.servable.name.as_str());
    json.member("model_version", &response.servable.version.to_string());
    json.key("outputs");
    json.begin_list();
    let mut binary = Vec::new();
    for (place, output) in response.outputs.iter().enumerate() {
        let tensor = output.tensor();
        json.begin_object();
        json.member("name", response.name(output));
        json.member("datatype", datatype(tensor.dtype()));
        json.member("shape", tensor.shape());
        if let Some(slice) = &output.region {
            json.key("parameters");
            json.begin_object();
            json.member("shared_memory_region", &slice.region);
            if slice.offset > 0 {
                json.member("shared_memory_offset", &slice.offset);
            }
            json.member("shared_memory_byte_size", &slice.byte_size);
            json.end_object();
        } else if is_binary(place) {
            binary.push(tensor.data());
            json.key("parameters");
            json.begin_object();
            json.member("binary_data_size", &byte_size(tensor.data()));
            json.end_object();
        } else {
            json.key("data");
            json.flat(tensor.data());
        }
        json.end_object();
    }
    json.end_list();
    json.end_object();
    let mut body = json.finish();
    let json_bytes = (!binary.is_empty()).then_some(body.len());
    binary.into_iter().for_each(|data| write_elements(data, &mut body));
    Written { body, json_bytes }
}
