//! Small models and images for tests, made on the spot.

use std::io::Cursor;
use std::path::Path;
use std::sync::OnceLock;

use image::codecs::png::PngEncoder;
use image::{ExtendedColorType, ImageEncoder};
use prost::Message;
use tempfile::TempDir;
use tract_onnx::pb::tensor_shape_proto::{Dimension, dimension};
use tract_onnx::pb::{
    AttributeProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto, TensorShapeProto, TypeProto,
    ValueInfoProto, attribute_proto, type_proto,
};
use weir::trainer::{DataOptions, DataSource, Dataset};

use crate::support::bundled_data;

/// The bundled data, read once.
pub(crate) fn mnist() -> &'static DataSource {
    static DATA: OnceLock<DataSource> = OnceLock::new();
    DATA.get_or_init(|| DataSource::read(&bundled_data(), &DataOptions::default()).unwrap())
}

/// Printed letters, each of the size of a digit; see tests/conformance/letters.py.
#[expect(clippy::disallowed_methods, reason = "a file of this repository")]
pub(crate) fn letters() -> Vec<Vec<u8>> {
    let sheet = image::load_from_memory(include_bytes!("../fixtures/images/letters.png")).unwrap().to_luma8();
    const SIDE: usize = 28;
    let (columns, rows) = (sheet.width() as usize / SIDE, sheet.height() as usize / SIDE);
    let letter = |place: usize| {
        let (left, top) = (place % columns * SIDE, place / columns * SIDE);
        let pixel = |at: usize| sheet.get_pixel((left + at % SIDE) as u32, (top + at / SIDE) as u32).0[0];
        (0..SIDE * SIDE).map(pixel).collect()
    };
    (0..columns * rows).map(letter).collect()
}

/// Grey pixels as a PNG file.
pub(crate) fn png(width: u32, height: u32, pixels: &[u8]) -> Vec<u8> {
    let mut file = Cursor::new(Vec::new());
    PngEncoder::new(&mut file).write_image(pixels, width, height, ExtendedColorType::L8).unwrap();
    file.into_inner()
}

/// The pixels of one of the images of data in memory.
pub(crate) fn pixels(data: &Dataset, index: usize) -> &[u8] {
    match data.image(index).unwrap() {
        std::borrow::Cow::Borrowed(pixels) => pixels,
        std::borrow::Cow::Owned(_) => panic!("the data are in a file"),
    }
}

/// An image file of `tests/fixtures`.
pub(crate) fn image_file(name: &str) -> Vec<u8> {
    std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/images").join(name)).unwrap()
}

/// One of the test images as a PNG file; the first is a 7.
pub(crate) fn png_of_test_image(index: usize) -> Vec<u8> {
    png(28, 28, pixels(&mnist().test, index))
}

/// The first images of a data set, in the proportions they come in.
pub(crate) fn head(data: &Dataset, count: usize) -> Dataset {
    data.select(&(0..count).collect::<Vec<_>>())
}

/// Writes a data set as plain IDX files, as the trainer reads them.
pub(crate) fn write_idx(folder: &Path, prefix: &str, data: &Dataset) {
    let be = |number: usize| (number as u32).to_be_bytes();
    let pixels: Vec<u8> = (0..data.len()).flat_map(|index| data.image(index).unwrap().into_owned()).collect();
    let labels: Vec<u8> = data.labels().iter().map(|label| *label as u8).collect();
    let images = [&[0, 0, 8, 3][..], &be(data.len()), &be(data.height), &be(data.width), &pixels].concat();
    let labels = [&[0, 0, 8, 1][..], &be(data.len()), &labels].concat();
    std::fs::write(folder.join(format!("{prefix}-images-idx3-ubyte")), images).unwrap();
    std::fs::write(folder.join(format!("{prefix}-labels-idx1-ubyte")), labels).unwrap();
}

/// A small data folder: the first images of MNIST.
pub(crate) fn small_data(train: usize, test: usize) -> TempDir {
    let folder = TempDir::new().unwrap();
    write_idx(folder.path(), "train", &head(&mnist().train, train));
    write_idx(folder.path(), "t10k", &head(&mnist().test, test));
    folder
}

/// A repository with one bare model, version 1, without any file beside it.
pub(crate) fn bare_model(name: &str, onnx: &[u8]) -> TempDir {
    let root = TempDir::new().unwrap();
    add_bare_model(root.path(), name, 1, onnx);
    root
}

pub(crate) fn add_bare_model(root: &Path, name: &str, version: u64, onnx: &[u8]) {
    let folder = root.join(name).join(version.to_string());
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("model.onnx"), onnx).unwrap();
}

const FLOAT: i32 = 1;
const INT64: i64 = 7;

/// A tensor at the edge of a graph: its name, its type's number in onnx.proto and its dimensions,
/// each a size, a symbol, or `?` if the file says nothing; no dimensions at all is no shape.
pub(crate) type Edge<'e> = (&'e str, i32, Option<&'e [&'e str]>);

/// A model of any graph.
pub(crate) fn model(
    inputs: &[Edge<'_>],
    outputs: &[Edge<'_>],
    nodes: Vec<NodeProto>,
    constants: Vec<TensorProto>,
    opset: i64,
) -> Vec<u8> {
    let graph = graph(inputs, outputs, nodes, constants);
    let opset_import = ["", "com.microsoft", "ai.onnx.ml"].iter().zip([opset, 1, 3]);
    let opset_import =
        opset_import.map(|(domain, version)| OperatorSetIdProto { domain: (*domain).into(), version }).collect();
    ModelProto { ir_version: 8, opset_import, graph: Some(graph), ..ModelProto::default() }.encode_to_vec()
}

pub(crate) fn graph(
    inputs: &[Edge<'_>],
    outputs: &[Edge<'_>],
    node: Vec<NodeProto>,
    initializer: Vec<TensorProto>,
) -> GraphProto {
    let dim = |dim: &&str| Dimension {
        value: match dim.parse() {
            Ok(size) => Some(dimension::Value::DimValue(size)),
            Err(_) if *dim == "?" => None,
            Err(_) => Some(dimension::Value::DimParam((*dim).into())),
        },
        ..Dimension::default()
    };
    let edge = |(name, elem_type, dims): &Edge<'_>| {
        let shape = dims.map(|dims| TensorShapeProto { dim: dims.iter().map(dim).collect() });
        let tensor = type_proto::Tensor { elem_type: *elem_type, shape };
        ValueInfoProto {
            name: (*name).into(),
            r#type: Some(TypeProto { value: Some(type_proto::Value::TensorType(tensor)), ..TypeProto::default() }),
            ..ValueInfoProto::default()
        }
    };
    GraphProto {
        name: "test".into(),
        node,
        initializer,
        input: inputs.iter().map(edge).collect(),
        output: outputs.iter().map(edge).collect(),
        ..GraphProto::default()
    }
}

/// A graph from `x: [N, sample…]` to `y`.
pub(crate) fn onnx(sample: &[i64], nodes: Vec<NodeProto>, constants: Vec<TensorProto>) -> Vec<u8> {
    let sample: Vec<String> = sample.iter().map(i64::to_string).collect();
    let dims: Vec<&str> = std::iter::once("N").chain(sample.iter().map(String::as_str)).collect();
    model(&[("x", FLOAT, Some(&dims))], &[("y", FLOAT, None)], nodes, constants, 18)
}

/// sum = a + b and difference = a - b of 64-bit integers `[N, 2]`.
pub(crate) fn sum_and_difference() -> Vec<u8> {
    let edge = |name| (name, INT64 as i32, Some(&["batch", "2"][..]));
    let outputs = [("sum", INT64 as i32, None), ("difference", INT64 as i32, None)];
    let nodes = vec![node("Add", &["a", "b"], "sum"), node("Sub", &["a", "b"], "difference")];
    model(&[edge("a"), edge("b")], &outputs, nodes, vec![], 18)
}

/// y = the sum of each row of `x: [N, L]`, whatever L is.
pub(crate) fn row_sums() -> Vec<u8> {
    let axes = TensorProto {
        name: "axes".into(),
        dims: vec![1],
        data_type: INT64 as i32,
        raw_data: 1i64.to_le_bytes().into(),
        ..TensorProto::default()
    };
    let nodes = vec![node("ReduceSum", &["x", "axes"], "y")];
    model(&[("x", FLOAT, Some(&["N", "L"]))], &[("y", FLOAT, None)], nodes, vec![axes], 18)
}

/// y = a + 1.25 b for each row of `x: [N, 2]`, as `[N, 1]` or `[N]`.
pub(crate) fn weighted_sums(flat: bool) -> Vec<u8> {
    let axes = TensorProto {
        name: "axes".into(),
        dims: vec![1],
        data_type: INT64 as i32,
        raw_data: 1i64.to_le_bytes().into(),
        ..TensorProto::default()
    };
    let weights = constant("w", &[2, 1], &[1.0, 1.25]);
    let nodes = match flat {
        true => vec![node("MatMul", &["x", "w"], "sum"), node("Squeeze", &["sum", "axes"], "y")],
        false => vec![node("MatMul", &["x", "w"], "y")],
    };
    onnx(&[2], nodes, if flat { vec![weights, axes] } else { vec![weights] })
}

/// y_bytes = x of strings `[N]`.
pub(crate) fn same_strings() -> Vec<u8> {
    const STRING: i32 = 8;
    let edge = |name| (name, STRING, Some(&["N"][..]));
    model(&[edge("x")], &[edge("y_bytes")], vec![node("Identity", &["x"], "y_bytes")], vec![], 18)
}

/// y = x + 1 of a lone number, without any dimension.
pub(crate) fn scalar_plus_one() -> Vec<u8> {
    let nodes = vec![node("Add", &["x", "one"], "y")];
    model(&[("x", FLOAT, Some(&[]))], &[("y", FLOAT, None)], nodes, vec![constant("one", &[], &[1.0])], 18)
}

pub(crate) fn node(op: &str, inputs: &[&str], output: &str) -> NodeProto {
    NodeProto {
        op_type: op.into(),
        name: format!("{op}_{output}"),
        input: inputs.iter().map(|&input| input.into()).collect(),
        output: vec![output.into()],
        ..NodeProto::default()
    }
}

fn cast(input: &str, output: &str, to: i64) -> NodeProto {
    let attribute = AttributeProto {
        name: "to".into(),
        r#type: attribute_proto::AttributeType::Int as i32,
        i: to,
        ..AttributeProto::default()
    };
    NodeProto { attribute: vec![attribute], ..node("Cast", &[input], output) }
}

pub(crate) fn constant(name: &str, dims: &[i64], values: &[f32]) -> TensorProto {
    TensorProto {
        name: name.into(),
        dims: dims.into(),
        data_type: FLOAT,
        raw_data: values.iter().flat_map(|value| value.to_le_bytes()).collect(),
        ..TensorProto::default()
    }
}

/// y = x / 2 + 2, TensorFlow Serving's example.
pub(crate) fn half_plus_two() -> Vec<u8> {
    let nodes = vec![node("Mul", &["x", "half"], "h"), node("Add", &["h", "two"], "y")];
    onnx(&[1], nodes, vec![constant("half", &[], &[0.5]), constant("two", &[], &[2.0])])
}

/// y = table[x] of four entries; the engine does not check the index.
pub(crate) fn panics_on_seven() -> Vec<u8> {
    let nodes = vec![cast("x", "i", INT64), node("Gather", &["table", "i"], "y")];
    onnx(&[1], nodes, vec![constant("table", &[4], &[0.0, 1.0, 2.0, 3.0])])
}

/// y = x / x: NaN for x = 0, which warm-up runs, so the input is moved by one.
pub(crate) fn nan_on_minus_one() -> Vec<u8> {
    let nodes = vec![node("Add", &["x", "one"], "a"), node("Div", &["a", "a"], "y")];
    onnx(&[1], nodes, vec![constant("one", &[], &[1.0])])
}

/// Some tens of milliseconds of matrix products for each sample.
pub(crate) fn slow() -> Vec<u8> {
    const SIDE: usize = 512;
    let matrix = vec![1e-3f32; SIDE * SIDE];
    let mut nodes = vec![node("Mul", &["x", "m"], "p0")];
    for index in 0..12 {
        nodes.push(node("MatMul", &[&format!("p{index}"), "m"], &format!("p{}", index + 1)));
    }
    nodes.push(node("ReduceMax", &["p12", "axes"], "y"));
    let axes = TensorProto {
        name: "axes".into(),
        dims: vec![2],
        data_type: INT64 as i32,
        raw_data: [1i64, 2].iter().flat_map(|axis| axis.to_le_bytes()).collect(),
        ..TensorProto::default()
    };
    onnx(&[1, 1], nodes, vec![constant("m", &[SIDE as i64, SIDE as i64], &matrix), axes])
}
