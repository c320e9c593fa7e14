//! Refuses a model that keeps data in other files, before an engine sees it.
//!
//! The location of external data is whatever the author of the file wrote: `../`, an absolute path, a
//! link; ONNX Runtime even knows one that means an address in memory. This module therefore reads the
//! wire format itself, only as far as it leads to tensors, and refuses what it does not understand.

use super::contain::unusable;
use crate::error::Result;

/// The nesting limit of messages, which every protobuf reader has.
const MAX_DEPTH: usize = 100;

/// The messages of ONNX that lead to a tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Message {
    Model,
    Training,
    Function,
    Graph,
    Node,
    Attribute,
    Sparse,
    Tensor,
}

impl Message {
    /// Returns the message that a field holds, by the field number in onnx.proto.
    fn field(self, number: u64) -> Option<Self> {
        match (self, number) {
            (Self::Model, 7) | (Self::Training, 1 | 2) | (Self::Attribute, 6 | 11) => Some(Self::Graph),
            (Self::Model, 20) => Some(Self::Training),
            (Self::Model, 25) => Some(Self::Function),
            (Self::Graph, 1) | (Self::Function, 7) => Some(Self::Node),
            (Self::Node, 5) | (Self::Function, 11) => Some(Self::Attribute),
            (Self::Graph, 15) | (Self::Attribute, 22 | 23) => Some(Self::Sparse),
            (Self::Graph, 5) | (Self::Attribute, 5 | 10) | (Self::Sparse, 1 | 2) => Some(Self::Tensor),
            _ => None,
        }
    }
}

/// The field numbers of `external_data` and `data_location` in a tensor.
const EXTERNAL_DATA: u64 = 13;
const DATA_LOCATION: u64 = 14;

/// Checks that a model holds all of its data in its own file.
///
/// # Errors
/// [`crate::error::Error::Repository`] when it does not, or when the bytes are not an ONNX model.
pub fn refuse_external_data(onnx: &[u8]) -> Result<()> {
    if walk(onnx, Message::Model, 0)? {
        Ok(())
    } else {
        Err(unusable("it holds no graph: it is empty, truncated or not an ONNX model"))
    }
}

/// Walks one message; returns true if the message itself contains a graph.
fn walk(mut bytes: &[u8], message: Message, depth: usize) -> Result<bool> {
    let mut graph = false;
    if depth > MAX_DEPTH {
        return Err(unusable(format!("its messages are nested more than {MAX_DEPTH} deep")));
    }
    while !bytes.is_empty() {
        let key = varint(&mut bytes)?;
        let (number, wire_type) = (key >> 3, key & 7);
        match wire_type {
            0 => {
                let value = varint(&mut bytes)?;
                if (message, number) == (Message::Tensor, DATA_LOCATION) && value != 0 {
                    return Err(external());
                }
            }
            1 => drop(take(&mut bytes, 8)?),
            2 => {
                let length = varint(&mut bytes)?;
                let content = take(&mut bytes, length)?;
                if (message, number) == (Message::Tensor, EXTERNAL_DATA) {
                    return Err(external());
                }
                if let Some(inner) = message.field(number) {
                    graph |= inner == Message::Graph;
                    walk(content, inner, depth + 1)?;
                }
            }
            5 => drop(take(&mut bytes, 4)?),
            _ => return Err(broken()),
        }
        if number == 0 {
            return Err(broken());
        }
    }
    Ok(graph)
}

fn varint(bytes: &mut &[u8]) -> Result<u64> {
    let mut value = 0u64;
    for shift in (0..70).step_by(7) {
        let byte = take(bytes, 1)?[0];
        value |= u64::from(byte & 0x7f).checked_shl(shift).unwrap_or(0);
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(broken())
}

fn take<'b>(bytes: &mut &'b [u8], length: u64) -> Result<&'b [u8]> {
    let length = usize::try_from(length).ok().filter(|length| *length <= bytes.len()).ok_or_else(broken)?;
    let (head, tail) = bytes.split_at(length);
    *bytes = tail;
    Ok(head)
}

fn external() -> crate::error::Error {
    unusable("it keeps data in other files (external data); save the model with all its data in model.onnx")
}

fn broken() -> crate::error::Error {
    unusable("it is truncated or not an ONNX model")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use prost::Message as _;
    use tract_onnx::pb::{
        AttributeProto, GraphProto, ModelProto, NodeProto, SparseTensorProto, StringStringEntryProto, TensorProto,
    };

    use super::*;

    fn model(graph: GraphProto) -> Vec<u8> {
        ModelProto { ir_version: 8, graph: Some(graph), ..ModelProto::default() }.encode_to_vec()
    }

    fn said(bytes: &[u8]) -> String {
        refuse_external_data(bytes).map_or_else(|error| error.to_string(), |()| String::new())
    }

    /// Returns one model for each place that can hold a tensor, holding this one.
    fn places(tensor: &TensorProto) -> Vec<Vec<u8>> {
        let one = || vec![tensor.clone()];
        let sparse = SparseTensorProto { values: Some(tensor.clone()), ..SparseTensorProto::default() };
        let inner = GraphProto { initializer: one(), ..GraphProto::default() };
        let attributes = [
            AttributeProto { t: Some(tensor.clone()), ..AttributeProto::default() },
            AttributeProto { tensors: one(), ..AttributeProto::default() },
            AttributeProto { g: Some(inner.clone()), ..AttributeProto::default() },
            AttributeProto { graphs: vec![inner.clone()], ..AttributeProto::default() },
        ];
        let with_node = |attribute: AttributeProto| GraphProto {
            node: vec![NodeProto { attribute: vec![attribute], ..NodeProto::default() }],
            ..GraphProto::default()
        };
        let mut graphs: Vec<GraphProto> = attributes.into_iter().map(with_node).collect();
        graphs.push(inner);
        graphs.push(GraphProto { sparse_initializer: vec![sparse], ..GraphProto::default() });
        graphs.into_iter().map(model).collect()
    }

    #[test]
    fn external_data_is_found_wherever_a_tensor_can_be() {
        let entry = StringStringEntryProto { key: "location".into(), value: "../weights.bin".into() };
        let located = TensorProto { data_location: Some(1), ..TensorProto::default() };
        let named = TensorProto { external_data: vec![entry], ..TensorProto::default() };
        for tensor in [located, named] {
            for bytes in places(&tensor) {
                assert!(said(&bytes).contains("external data"), "{tensor:?}");
            }
        }
        let inside = TensorProto { data_location: Some(0), raw_data: vec![13 << 3 | 2; 40], ..TensorProto::default() };
        for bytes in places(&inside) {
            assert_eq!(said(&bytes), "");
        }
    }

    #[test]
    fn nesting_ends_somewhere() {
        let mut graph = GraphProto::default();
        for _ in 0..60 {
            let attribute = AttributeProto { g: Some(graph), ..AttributeProto::default() };
            let node = NodeProto { attribute: vec![attribute], ..NodeProto::default() };
            graph = GraphProto { node: vec![node], ..GraphProto::default() };
        }
        assert!(said(&model(graph)).contains("nested"));
    }

    proptest! {
        #[test]
        fn noise_is_refused_or_passed_and_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            drop(refuse_external_data(&bytes));
        }
    }
}
