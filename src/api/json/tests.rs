//! Properties of reading nested lists, whatever their shape and type.

use half::{bf16, f16};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::stack::{Accepts, Stack};
use super::{Cursor, Nested};
use crate::signature::DType;
use crate::tensor::Data;

fn read(dtype: DType, json: &str) -> Nested {
    let (mut cursor, mut stack) = (Cursor::new(json.as_bytes()), Stack::single(dtype, Accepts::default()));
    stack.read(&mut cursor).unwrap();
    cursor.end().unwrap();
    stack.finish()
}

/// Returns lists of a shape, with the next elements in them.
fn lists(shape: &[usize], next: &mut impl FnMut() -> Value) -> Value {
    match shape.split_first() {
        None => next(),
        Some((count, inner)) => (0..*count).map(|_| lists(inner, next)).collect(),
    }
}

fn any_data(dtype: DType, bits: &[u64]) -> Data {
    let floats = || bits.iter().map(|bits| f32::from_bits(*bits as u32)).map(|f| if f.is_finite() { f } else { 0.5 });
    match dtype {
        DType::Bool => Data::Bool(bits.iter().map(|bits| bits % 2 == 1).collect()),
        DType::Uint8 => Data::Uint8(bits.iter().map(|bits| *bits as u8).collect()),
        DType::Uint16 => Data::Uint16(bits.iter().map(|bits| *bits as u16).collect()),
        DType::Uint32 => Data::Uint32(bits.iter().map(|bits| *bits as u32).collect()),
        DType::Uint64 => Data::Uint64(bits.to_vec()),
        DType::Int8 => Data::Int8(bits.iter().map(|bits| *bits as i8).collect()),
        DType::Int16 => Data::Int16(bits.iter().map(|bits| *bits as i16).collect()),
        DType::Int32 => Data::Int32(bits.iter().map(|bits| *bits as i32).collect()),
        DType::Int64 => Data::Int64(bits.iter().map(|bits| *bits as i64).collect()),
        DType::Float16 => Data::Float16(bits.iter().map(|bits| f16::from_f32((*bits % 60_000) as f32)).collect()),
        DType::Bfloat16 => Data::Bfloat16(bits.iter().map(|bits| bf16::from_f32(*bits as f32)).collect()),
        DType::Float32 => Data::Float32(floats().collect()),
        DType::Float64 => Data::Float64(floats().map(|float| f64::from(float) / 3.0).collect()),
        DType::String => Data::String(bits.iter().map(|bits| format!("{bits}\n\"é\"")).collect()),
    }
}

const DTYPES: [DType; 14] = [
    DType::Bool,
    DType::Uint8,
    DType::Uint16,
    DType::Uint32,
    DType::Uint64,
    DType::Int8,
    DType::Int16,
    DType::Int32,
    DType::Int64,
    DType::Float16,
    DType::Bfloat16,
    DType::Float32,
    DType::Float64,
    DType::String,
];

proptest! {
    /// The text of a tree of serde_json is read as the elements of the tree, whatever the white space.
    #[test]
    fn any_nested_list_is_read_as_a_tree_holds_it(
        dtype in prop::sample::select(&DTYPES[..]),
        shape in prop::collection::vec(0usize..5, 0..5),
        bits in prop::collection::vec(any::<u64>(), 256),
    ) {
        let count = shape.iter().product::<usize>();
        let data = any_data(dtype, &bits[..count]);
        let elements = json!(data);
        let mut elements = elements.as_array().unwrap().iter().cloned();
        let tree = lists(&shape, &mut || elements.next().unwrap());
        // Nothing is known of what is inside empty lists.
        let known = shape.iter().position(|size| *size == 0).map_or(shape.len(), |empty| empty + 1);
        let expected = Nested::new(shape[..known].to_vec(), data.clone(), Vec::new());
        let compact = tree.to_string();
        for json in [compact.clone(), serde_json::to_string_pretty(&tree).unwrap(), format!(" {compact}\r\n")] {
            prop_assert_eq!(&read(dtype, &json), &expected, "{}", json);
        }
        let mut flat = Stack::flat(dtype, Accepts::default(), count, compact.len());
        flat.read(&mut Cursor::new(compact.as_bytes())).unwrap();
        prop_assert_eq!(flat.into_data().unwrap(), data);
    }

    #[test]
    fn a_text_cut_anywhere_is_an_error(
        dtype in prop::sample::select(&DTYPES[..]),
        shape in prop::collection::vec(1usize..4, 1..4),
        bits in prop::collection::vec(any::<u64>(), 27),
    ) {
        let elements = json!(any_data(dtype, &bits));
        let mut elements = elements.as_array().unwrap().iter().cloned();
        let json = lists(&shape, &mut || elements.next().unwrap()).to_string();
        for end in 0..json.len() {
            let mut stack = Stack::single(dtype, Accepts { base64: true, ..Accepts::default() });
            let mut cursor = Cursor::with_words(&json.as_bytes()[..end]);
            prop_assert!(stack.read(&mut cursor).is_err(), "{}", &json[..end]);
        }
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..60), text in "[\\[\\]{}\",:0-9eNIb64\\\\ .-]{0,60}") {
        for json in [bytes.as_slice(), text.as_bytes()] {
            for dtype in DTYPES {
                let accepts = Accepts { base64: true, files: true, text_files: true };
                drop(Stack::single(dtype, accepts).read(&mut Cursor::with_words(json)));
                drop(Stack::flat(dtype, accepts, 3, json.len()).read(&mut Cursor::with_words(json)));
            }
            drop(Cursor::new(json).skip());
            drop(Cursor::new(json).span());
        }
    }
}
