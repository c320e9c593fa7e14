//! The answer to an inference: JSON, and after it the bytes of the outputs that are wanted so.

use super::elements::{put, write};
use crate::api::oip::{InferResponse, byte_size, datatype, write_elements};

/// A written answer.
#[derive(Debug)]
pub(super) struct Written {
    pub(super) body: Vec<u8>,
    /// How many bytes of it are JSON, if others follow.
    pub(super) json_bytes: Option<usize>,
}

/// Writes an answer; `is_binary` says of each place in it whether that output goes in bytes.
pub(super) fn write_answer(response: &InferResponse, is_binary: impl Fn(usize) -> bool) -> Written {
    let mut body = Vec::with_capacity(256);
    body.push(b'{');
    if let Some(id) = &response.id {
        body.extend_from_slice(b"\"id\":");
        put(id, &mut body);
        body.push(b',');
    }
    body.extend_from_slice(b"\"model_name\":");
    put(response.servable.name.as_str(), &mut body);
    body.extend_from_slice(format!(",\"model_version\":\"{}\",\"outputs\":[", response.servable.version).as_bytes());
    let mut has_binary = false;
    for (place, output) in response.outputs.iter().enumerate() {
        if place > 0 {
            body.push(b',');
        }
        let tensor = output.tensor();
        body.extend_from_slice(b"{\"name\":");
        put(response.name(output), &mut body);
        body.extend_from_slice(format!(",\"datatype\":\"{}\",\"shape\":", datatype(tensor.dtype())).as_bytes());
        put(tensor.shape(), &mut body);
        if let Some(slice) = &output.region {
            body.extend_from_slice(b",\"parameters\":{\"shared_memory_region\":");
            put(&slice.region, &mut body);
            if slice.offset > 0 {
                body.extend_from_slice(format!(",\"shared_memory_offset\":{}", slice.offset).as_bytes());
            }
            body.extend_from_slice(format!(",\"shared_memory_byte_size\":{}}}}}", slice.byte_size).as_bytes());
        } else if is_binary(place) {
            has_binary = true;
            let size = byte_size(tensor.data());
            body.extend_from_slice(format!(",\"parameters\":{{\"binary_data_size\":{size}}}}}").as_bytes());
        } else {
            body.extend_from_slice(b",\"data\":");
            write(tensor.data(), &mut body);
            body.push(b'}');
        }
    }
    body.extend_from_slice(b"]}");
    let json_bytes = has_binary.then_some(body.len());
    for (place, output) in response.outputs.iter().enumerate() {
        if output.region.is_none() && is_binary(place) {
            write_elements(output.tensor().data(), &mut body);
        }
    }
    Written { body, json_bytes }
}
