//! A temperature in an ONNX graph: the softmax that gives the probabilities takes its input divided
//! by a constant. The logits, if the graph gives them as well, stay as they are.

use prost::Message;
use tract_onnx::pb::{GraphProto, ModelProto, NodeProto, TensorProto, tensor_proto};

/// The constant, and the stem of the names of what is added.
const NAME: &str = "weir.temperature";
/// The value that the softmax takes.
const SCALED: &str = "weir.temperature.scaled";

/// The graph with a temperature; one that it has already is multiplied.
///
/// The error is the problem in words.
pub(super) fn with_temperature(onnx: &[u8], probabilities: &str, temperature: f32) -> Result<Vec<u8>, String> {
    let mut model = ModelProto::decode(onnx).map_err(|_| "is no ONNX file".to_owned())?;
    let graph = model.graph.as_mut().ok_or("holds no graph")?;
    let softmax = graph.node.iter().position(|node| node.output.iter().any(|output| output == probabilities));
    let softmax = softmax.filter(|&index| graph.node[index].op_type == "Softmax" && graph.node[index].input.len() == 1);
    let softmax = softmax.ok_or_else(|| {
        format!("its output \"{probabilities}\" is not that of a Softmax, so there is no place for a temperature")
    })?;
    if graph.node[softmax].input[0] == SCALED {
        multiply(graph, temperature)?;
    } else {
        insert(graph, softmax, temperature)?;
    }
    Ok(model.encode_to_vec())
}

fn insert(graph: &mut GraphProto, softmax: usize, temperature: f32) -> Result<(), String> {
    let taken = |name: &str| {
        graph.initializer.iter().any(|constant| constant.name == name)
            || graph.node.iter().any(|node| node.output.iter().any(|output| output == name))
    };
    if taken(NAME) || taken(SCALED) {
        return Err(format!("uses the name \"{NAME}\" for something else"));
    }
    let logits = std::mem::replace(&mut graph.node[softmax].input[0], SCALED.into());
    let divide = NodeProto {
        input: vec![logits, NAME.into()],
        output: vec![SCALED.into()],
        name: NAME.into(),
        op_type: "Div".into(),
        ..NodeProto::default()
    };
    graph.node.insert(softmax, divide);
    graph.initializer.push(TensorProto {
        data_type: tensor_proto::DataType::Float as i32,
        name: NAME.into(),
        raw_data: temperature.to_le_bytes().to_vec(),
        ..TensorProto::default()
    });
    Ok(())
}

fn multiply(graph: &mut GraphProto, temperature: f32) -> Result<(), String> {
    let constant = graph.initializer.iter_mut().find(|constant| constant.name == NAME);
    let bytes = constant.as_ref().and_then(|constant| <[u8; 4]>::try_from(constant.raw_data.as_slice()).ok());
    match (constant, bytes) {
        (Some(constant), Some(bytes)) => {
            constant.raw_data = (f32::from_le_bytes(bytes) * temperature).to_le_bytes().to_vec();
            Ok(())
        }
        _ => Err(format!("its constant \"{NAME}\" is not one number")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model(op: &str) -> Vec<u8> {
        let node = |op: &str, input: &str, output: &str| NodeProto {
            input: vec![input.into()],
            output: vec![output.into()],
            op_type: op.into(),
            ..NodeProto::default()
        };
        let graph =
            GraphProto { node: vec![node("Relu", "x", "logits"), node(op, "logits", "p")], ..GraphProto::default() };
        ModelProto { graph: Some(graph), ..ModelProto::default() }.encode_to_vec()
    }

    fn graph(onnx: &[u8]) -> GraphProto {
        ModelProto::decode(onnx).unwrap().graph.unwrap()
    }

    #[test]
    fn a_division_comes_before_the_softmax_and_a_second_temperature_multiplies_the_first() {
        let once = with_temperature(&model("Softmax"), "p", 2.0).unwrap();
        let ops: Vec<String> = graph(&once).node.iter().map(|node| node.op_type.clone()).collect();
        assert_eq!(ops, ["Relu", "Div", "Softmax"]);
        assert_eq!(graph(&once).node[1].input, ["logits", NAME]);
        let twice = graph(&with_temperature(&once, "p", 1.5).unwrap());
        assert_eq!((twice.node.len(), twice.initializer.len()), (3, 1));
        assert_eq!(twice.initializer[0].raw_data, 3f32.to_le_bytes());
    }

    #[test]
    fn a_graph_without_a_place_for_it_is_refused_in_words() {
        assert!(with_temperature(&model("Sigmoid"), "p", 2.0).unwrap_err().contains("not that of a Softmax"));
        assert!(with_temperature(&model("Softmax"), "q", 2.0).unwrap_err().contains("\"q\""));
        assert!(with_temperature(b"\xff\xff", "p", 2.0).unwrap_err().contains("no ONNX file"));
    }
}
