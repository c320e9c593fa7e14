use tract_onnx::pb::attribute_proto::AttributeType;

use super::*;

fn node(kind: &str, inputs: &[&str], output: &str) -> NodeProto {
    NodeProto {
        op_type: kind.to_owned(),
        input: inputs.iter().map(|input| (*input).to_owned()).collect(),
        output: vec![output.to_owned()],
        ..NodeProto::default()
    }
}

fn with(mut node: NodeProto, name: &str, ints: &[i64], i: i64) -> NodeProto {
    let kind = if ints.is_empty() { AttributeType::Int } else { AttributeType::Ints };
    node.attribute.push(AttributeProto {
        name: name.to_owned(),
        r#type: kind as i32,
        ints: ints.to_vec(),
        i,
        ..AttributeProto::default()
    });
    node
}

fn constant(name: &str, dims: &[i64], numbers: &[f32]) -> TensorProto {
    TensorProto {
        name: name.to_owned(),
        dims: dims.to_vec(),
        data_type: tensor_proto::DataType::Float as i32,
        float_data: numbers.to_vec(),
        ..TensorProto::default()
    }
}

/// A graph of a convolution, these nodes, and these constants beside the filters.
fn model(nodes: &[NodeProto], constants: &[TensorProto]) -> Vec<u8> {
    let mut all = vec![node("Conv", &["x", "filters"], "maps")];
    all.extend_from_slice(nodes);
    let mut initializer = vec![constant("filters", &[2, 1, 1, 1], &[1.0, 2.0])];
    initializer.extend_from_slice(constants);
    let graph = GraphProto {
        output: vec![untyped("scores")],
        node: all,
        initializer,
        input: vec![untyped("x")],
        ..GraphProto::default()
    };
    ModelProto { graph: Some(graph), ..ModelProto::default() }.encode_to_vec()
}

/// Three classes of two channels: the weights of class k are 10 k + 1 and 10 k + 2.
const BY_CLASS: [f32; 6] = [1.0, 2.0, 11.0, 12.0, 21.0, 22.0];
const BY_CHANNEL: [f32; 6] = [1.0, 11.0, 21.0, 2.0, 12.0, 22.0];

fn heads() -> Vec<(&'static str, Vec<u8>)> {
    let bias = constant("b", &[3], &[0.5, 0.25, 0.125]);
    let row = constant("b", &[1, 3], &[0.5, 0.25, 0.125]);
    let by_channel = constant("w", &[2, 3], &BY_CHANNEL);
    let pooled = || node("GlobalAveragePool", &["maps"], "pooled");
    let flat = || node("Flatten", &["pooled"], "flat");
    let scores = |logits: &str| node("Softmax", &[logits], "scores");
    let temperature = constant("t", &[], &[2.0]);
    vec![
        (
            "Gemm",
            model(
                &[pooled(), flat(), node("Gemm", &["flat", "w", "b"], "l"), scores("l")],
                &[by_channel.clone(), bias.clone()],
            ),
        ),
        (
            "Gemm, turned, with a temperature",
            model(
                &[
                    pooled(),
                    flat(),
                    with(node("Gemm", &["flat", "w", "b"], "l"), "transB", &[], 1),
                    node("Div", &["l", "t"], "cooled"),
                    scores("cooled"),
                ],
                &[constant("w", &[3, 2], &BY_CLASS), bias.clone(), temperature],
            ),
        ),
        (
            "MatMul and Add",
            model(
                &[
                    with(node("ReduceMean", &["maps"], "pooled"), "axes", &[2, 3], 0),
                    node("Dropout", &["pooled"], "flat"),
                    node("MatMul", &["flat", "w"], "product"),
                    node("Add", &["b", "product"], "scores"),
                ],
                &[by_channel.clone(), row],
            ),
        ),
        (
            "Conv of one pixel",
            model(
                &[pooled(), node("Conv", &["pooled", "w", "b"], "l4"), node("Flatten", &["l4"], "scores")],
                &[constant("w", &[3, 2, 1, 1], &BY_CLASS), bias],
            ),
        ),
    ]
}

#[test]
fn linear_heads_are_found_however_they_are_written() {
    for (what, onnx) in heads() {
        let found = class_map_graph(&onnx, "scores").unwrap_or_else(|error| panic!("{what}: {error}"));
        let cut = ModelProto::decode(found.onnx.as_slice()).unwrap().graph.unwrap();
        assert_eq!(cut.output.len(), 2, "{what}");
        assert_eq!(cut.output[0].name, "maps", "{what}");
        assert!(!cut.node.iter().any(|node| SQUASHES.contains(&node.op_type.as_str())), "{what}");
        for class in 0..3 {
            let (weights, bias) = found.head.of_class(class, 2).unwrap();
            let first = 10.0 * class as f32 + 1.0;
            assert_eq!((weights, bias), (vec![first, first + 1.0], [0.5, 0.25, 0.125][class]), "{what}");
        }
        assert_eq!((found.head.of_class(3, 2), found.head.of_class(0, 3)), (None, None), "{what}");
        assert!(!found.is_channels_last, "{what}");
    }
}

#[test]
fn a_pool_may_be_the_last_layer_and_channels_may_come_last() {
    let pooled = with(node("ReduceMean", &["maps"], "pooled"), "axes", &[1, 2], 0);
    let found = class_map_graph(&model(&[pooled, node("Softmax", &["pooled"], "scores")], &[]), "scores").unwrap();
    assert!(found.is_channels_last && found.head == LinearHead::Identity);
    assert_eq!(found.head.of_class(1, 2), Some((vec![0.0, 1.0], 0.0)));
}

#[test]
fn other_networks_are_refused_with_the_reason() {
    let dense = |input: &str, output: &str| node("Gemm", &[input, "w"], output);
    let weights = constant("w", &[2, 2], &[1.0; 4]);
    let pooled = || node("GlobalAveragePool", &["maps"], "pooled");
    for (nodes, reason) in [
        (vec![node("Flatten", &["maps"], "flat"), dense("flat", "scores")], "stands a Conv"),
        (vec![pooled(), node("Relu", &["pooled"], "r"), dense("r", "scores")], "stands a Relu"),
        (vec![pooled(), dense("pooled", "a"), dense("a", "scores")], "stands a Gemm"),
        (vec![node("GlobalMaxPool", &["maps"], "pooled"), dense("pooled", "scores")], "stands a GlobalMaxPool"),
        (vec![node("ReduceMean", &["maps"], "pooled"), dense("pooled", "scores")], "stands a ReduceMean"),
        (vec![pooled(), node("MatMul", &["pooled", "maps"], "scores")], "are no constant"),
        (vec![pooled(), node("Add", &["pooled", "pooled"], "scores")], "a sum of more than"),
        (vec![node("GlobalAveragePool", &["x"], "pooled"), dense("pooled", "scores")], "takes the input itself"),
    ] {
        let error = class_map_graph(&model(&nodes, std::slice::from_ref(&weights)), "scores").unwrap_err();
        assert!(error.contains(reason) && error.contains("global average pool"), "{reason}: {error}");
    }
    assert!(class_map_graph(b"nonsense", "scores").is_err());
    assert!(class_map_graph(&model(&[pooled()], &[]), "none").is_err());
}
