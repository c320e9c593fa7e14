//! The data that a graph keeps in other files: found, and put into the graph.
//!
//! The location of external data is whatever the author of the file wrote: `../`, an absolute path, a link; ONNX
//! Runtime even knows one that means an address in memory. This module therefore reads the wire format itself, only
//! as far as it leads to tensors, takes nothing but plain names of files, and refuses what it does not understand. No
//! engine ever sees a location: it gets a graph that holds all of its data. Opens no file.

mod message;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use self::message::{DATA_LOCATION, EXTERNAL_DATA, Message, RAW_DATA};
use crate::error::{Error, Result};
use crate::ids::{printable, quote};
use crate::wire::{Broken, Fields, Value, fields, put_varint, varint_bytes};

/// The nesting limit of messages, which every protobuf reader has.
const MAX_DEPTH: usize = 100;

/// The most tensors that may lie in other files.
const MAX_TENSORS: usize = 100_000;

/// The files that a graph keeps data in, and where the graph has to change to hold the data itself.
#[derive(Debug)]
pub struct External {
    /// In the order of their places in the graph; what encloses others stands before them.
    changes: Vec<Change>,
}

#[derive(Debug)]
struct Change {
    place: Range<usize>,
    /// The number of the change that encloses it, counted from 1; 0 if none does.
    parent: usize,
    kind: ChangeKind,
}

#[derive(Debug)]
enum ChangeKind {
    /// The length of a message, which this number is now.
    Length(u64),
    /// A field that says where data are.
    Location,
    /// The end of a tensor, where its data go.
    Data(Reference),
}

/// A part of a file.
#[derive(Debug, Default)]
struct Reference {
    file: String,
    offset: u64,
    /// To the end of the file, if the graph does not say.
    length: Option<u64>,
}

/// A graph with room for the data of other files.
#[derive(Debug)]
pub struct Joined {
    onnx: Vec<u8>,
    parts: BTreeMap<String, Vec<Part>>,
}

/// The place in the graph of a part of a file.
#[derive(Debug)]
struct Part {
    offset: u64,
    place: Range<usize>,
}

impl External {
    /// Returns the data that a model keeps in other files; `None` if it holds all of its data.
    ///
    /// # Errors
    /// [`Error::Repository`] when the bytes are not an ONNX model, or when a location is not the plain name of a file.
    pub fn of(onnx: &[u8]) -> Result<Option<Self>> {
        let mut walk = Walk { onnx, changes: Vec::new(), tensors: 0 };
        if !walk.message(0..onnx.len(), Message::Model, 0, 0)? {
            return Err(unusable("it holds no graph: it is empty, truncated or not an ONNX model"));
        }
        Ok(if walk.changes.is_empty() { None } else { Some(Self { changes: walk.changes }) })
    }

    /// Returns the names of the files.
    pub fn files(&self) -> BTreeSet<&str> {
        self.references().map(|reference| reference.file.as_str()).collect()
    }

    fn references(&self) -> impl Iterator<Item = &Reference> {
        self.changes.iter().filter_map(|change| match &change.kind {
            ChangeKind::Data(reference) => Some(reference),
            ChangeKind::Length(_) | ChangeKind::Location => None,
        })
    }

    /// Makes the graph that holds its data itself, for [`Joined::fill`] to bring them. `bytes` has the size of each
    /// file; the result may have `limit` bytes.
    ///
    /// # Errors
    /// [`Error::Repository`] when a file ends before its data do, or when the result would be too large.
    pub fn join(&self, onnx: &[u8], bytes: &BTreeMap<String, u64>, limit: u64) -> Result<Joined> {
        let lengths = self.lengths(bytes)?;
        let data = lengths.iter().try_fold(0u64, |all, length| all.checked_add(*length));
        if data.and_then(|data| data.checked_add(onnx.len() as u64)).is_none_or(|all| all > limit) {
            let problem = "with the data in other files (external data) it is larger than the limit";
            return Err(unusable(format!("{problem} of {limit} bytes (max-model-bytes)")));
        }
        let growth = self.growth(&lengths);
        let grown = |length: usize, by: i64| usize::try_from(length as i64 + by).unwrap_or_default();
        let (mut out, mut parts) = (Vec::with_capacity(grown(onnx.len(), growth[0])), BTreeMap::new());
        let (mut copied, mut lengths) = (0, lengths.into_iter());
        for (change, by) in self.changes.iter().zip(&growth[1..]) {
            out.extend_from_slice(&onnx[copied..change.place.start]);
            copied = change.place.end;
            match &change.kind {
                ChangeKind::Length(now) => put_varint(&mut out, now.wrapping_add_signed(*by)),
                ChangeKind::Location => {}
                ChangeKind::Data(reference) => {
                    let length = lengths.next().unwrap_or_default();
                    put_varint(&mut out, RAW_DATA << 3 | 2);
                    put_varint(&mut out, length);
                    let place = out.len()..out.len() + length as usize;
                    out.resize(place.end, 0);
                    let of_file: &mut Vec<Part> = parts.entry(reference.file.clone()).or_default();
                    of_file.push(Part { offset: reference.offset, place });
                }
            }
        }
        out.extend_from_slice(&onnx[copied..]);
        Ok(Joined { onnx: out, parts })
    }

    /// Returns the length of the data of each tensor, all of which the files have.
    fn lengths(&self, bytes: &BTreeMap<String, u64>) -> Result<Vec<u64>> {
        let length = |reference: &Reference| {
            let Reference { file, offset, length } = reference;
            let has = bytes.get(file).copied().unwrap_or_default();
            let length = length.unwrap_or_else(|| has.saturating_sub(*offset));
            match offset.checked_add(length).filter(|end| *end <= has) {
                Some(_) => Ok(length),
                None => Err(Error::Repository {
                    what: printable(file, 80),
                    problem: format!(
                        "is too short: a tensor of the graph needs {length} bytes from byte {offset} on, the file has {has}"
                    ),
                }),
            }
        };
        self.references().map(length).collect()
    }

    /// Returns the growth of the whole graph, and then that of the content of each change.
    fn growth(&self, lengths: &[u64]) -> Vec<i64> {
        let mut growth = vec![0i64; self.changes.len() + 1];
        let mut lengths = lengths.iter().rev();
        for (index, change) in self.changes.iter().enumerate().rev() {
            let own = growth[index + 1];
            growth[change.parent] += match &change.kind {
                ChangeKind::Length(now) => {
                    own + varint_bytes(now.wrapping_add_signed(own)) as i64 - change.place.len() as i64
                }
                ChangeKind::Location => -(change.place.len() as i64),
                ChangeKind::Data(_) => {
                    let length = lengths.next().copied().unwrap_or_default();
                    (1 + varint_bytes(length)) as i64 + length as i64
                }
            };
        }
        growth
    }
}

impl Joined {
    /// Takes in bytes of a file, which begin at byte `at` of it.
    pub fn fill(&mut self, file: &str, at: u64, bytes: &[u8]) {
        let end = at + bytes.len() as u64;
        for Part { offset, place } in self.parts.get(file).into_iter().flatten() {
            let (from, to) = (at.max(*offset), end.min(offset + place.len() as u64));
            if from < to {
                let target = place.start + (from - offset) as usize;
                let source = (from - at) as usize..(to - at) as usize;
                self.onnx[target..target + source.len()].copy_from_slice(&bytes[source]);
            }
        }
    }

    /// Returns the graph.
    pub fn into_onnx(self) -> Vec<u8> {
        self.onnx
    }
}

/// A walk through a model to every tensor.
struct Walk<'o> {
    onnx: &'o [u8],
    changes: Vec<Change>,
    tensors: usize,
}

impl Walk<'_> {
    /// Walks one message; returns true if the message itself contains a graph.
    fn message(&mut self, place: Range<usize>, message: Message, parent: usize, depth: usize) -> Result<bool> {
        if depth > MAX_DEPTH {
            return Err(unusable(format!("its messages are nested more than {MAX_DEPTH} deep")));
        }
        if message == Message::Tensor {
            self.tensor(place, parent)?;
            return Ok(false);
        }
        let mut graph = false;
        for field in Fields::of(self.onnx, place) {
            let field = field?;
            if let (Some(inner), Value::Bytes { length, place, .. }) = (message.field(field.number), field.value) {
                graph |= inner == Message::Graph;
                let kind = ChangeKind::Length(place.len() as u64);
                self.changes.push(Change { place: length, parent, kind });
                let own = self.changes.len();
                self.message(place, inner, own, depth + 1)?;
                if self.changes.len() == own {
                    self.changes.pop();
                }
            }
        }
        Ok(graph)
    }

    fn tensor(&mut self, place: Range<usize>, parent: usize) -> Result<()> {
        let end = place.end;
        let (mut locations, mut reference, mut is_outside) = (Vec::new(), None, false);
        for field in Fields::of(self.onnx, place) {
            let field = field?;
            match (field.number, field.value) {
                (DATA_LOCATION, Value::Varint(location)) => is_outside = location != 0,
                (EXTERNAL_DATA, Value::Bytes { content, .. }) => {
                    entry(content, reference.get_or_insert_default())?;
                }
                (DATA_LOCATION | EXTERNAL_DATA, _) => return Err(Broken.into()),
                _ => continue,
            }
            locations.push(Change { place: field.place, parent, kind: ChangeKind::Location });
        }
        match reference {
            None if !is_outside => Ok(()),
            Some(reference) if is_outside && !reference.file.is_empty() => {
                self.tensors += 1;
                if self.tensors > MAX_TENSORS {
                    return Err(external(&format!("for more than {MAX_TENSORS} tensors")));
                }
                self.changes.extend(locations);
                self.changes.push(Change { place: end..end, parent, kind: ChangeKind::Data(reference) });
                Ok(())
            }
            _ => Err(external("and does not say where")),
        }
    }
}

/// Reads one of the pairs of key and value that say where the data of a tensor are.
fn entry(pair: &[u8], reference: &mut Reference) -> Result<()> {
    let (mut key, mut value) = ("", "");
    for field in fields(pair) {
        let field = field?;
        let Some(content) = field.content() else { continue };
        let text = std::str::from_utf8(content).map_err(|_| Broken)?;
        match field.number {
            1 => key = text,
            2 => value = text,
            _ => {}
        }
    }
    let number = || {
        let problem = || external(&format!("with {key} {}, which is no number of bytes", quote(value)));
        value.parse::<u64>().map_err(|_| problem())
    };
    match key {
        "location" => reference.file = plain_name(value)?,
        "offset" => reference.offset = number()?,
        "length" => reference.length = Some(number()?),
        _ => {}
    }
    Ok(())
}

/// Returns a location that is the name of a file in the graph's own folder.
fn plain_name(location: &str) -> Result<String> {
    let is_plain = !location.is_empty()
        && location.len() <= 255
        && !location.starts_with('.')
        && !location.contains(['/', '\\', ':', '\0']);
    match is_plain {
        true => Ok(location.to_owned()),
        false => Err(external(&format!(
            "in {}; only files beside the graph are read, by a name without a path",
            quote(location)
        ))),
    }
}

fn external(problem: &str) -> Error {
    let advice = "save the model with its data in the same folder, or in model.onnx itself";
    unusable(format!("it keeps data in other files (external data) {problem}: {advice}"))
}

fn unusable(problem: impl Into<String>) -> Error {
    Error::Repository { what: "model.onnx".into(), problem: problem.into() }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use prost::Message as _;
    use tract_onnx::pb::{
        AttributeProto, GraphProto, ModelProto, NodeProto, SparseTensorProto, StringStringEntryProto, TensorProto,
    };

    use super::*;

    fn model(graph: GraphProto) -> ModelProto {
        ModelProto { ir_version: 8, graph: Some(graph), ..ModelProto::default() }
    }

    fn said(bytes: &[u8]) -> String {
        match External::of(bytes) {
            Err(error) => error.to_string(),
            Ok(found) => found.map_or_else(String::new, |found| format!("{:?}", found.files())),
        }
    }

    fn located(pairs: &[(&str, &str)]) -> TensorProto {
        let entry = |(key, value): &(&str, &str)| StringStringEntryProto { key: (*key).into(), value: (*value).into() };
        TensorProto {
            dims: vec![2],
            external_data: pairs.iter().map(entry).collect(),
            data_location: Some(1),
            name: "w".into(),
            ..TensorProto::default()
        }
    }

    /// Returns one model for each place that can hold a tensor, holding this one.
    fn places(tensor: &TensorProto) -> Vec<ModelProto> {
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
            name: "g".into(),
            node: vec![NodeProto { attribute: vec![attribute], ..NodeProto::default() }],
            ..GraphProto::default()
        };
        let mut graphs: Vec<GraphProto> = attributes.into_iter().map(with_node).collect();
        graphs.push(inner);
        graphs.push(GraphProto { sparse_initializer: vec![sparse], ..GraphProto::default() });
        graphs.into_iter().map(model).collect()
    }

    #[test]
    fn data_are_put_in_wherever_a_tensor_can_be() {
        // Lengths around those at which the lengths of messages need another byte.
        for length in [0usize, 1, 100, 120, 127, 128, 16_383, 16_384, 70_000] {
            let file: Vec<u8> = (0..length + 7).map(|index| (index % 251) as u8).collect();
            let outside = located(&[("location", "data.bin"), ("offset", "5"), ("length", &length.to_string())]);
            let inside = TensorProto {
                external_data: Vec::new(),
                data_location: None,
                raw_data: file[5..5 + length].to_vec(),
                ..outside.clone()
            };
            for (model, expected) in places(&outside).into_iter().zip(places(&inside)) {
                let onnx = model.encode_to_vec();
                let found = External::of(&onnx).unwrap().unwrap();
                assert_eq!(found.files(), BTreeSet::from(["data.bin"]));
                let bytes = BTreeMap::from([("data.bin".to_owned(), file.len() as u64)]);
                let mut joined = found.join(&onnx, &bytes, 1 << 20).unwrap();
                for (index, chunk) in file.chunks(1000).enumerate() {
                    joined.fill("data.bin", index as u64 * 1000, chunk);
                }
                let onnx = joined.into_onnx();
                assert_eq!(ModelProto::decode(onnx.as_slice()).unwrap(), expected);
                assert!(External::of(&onnx).unwrap().is_none());
            }
        }
    }

    #[test]
    fn a_tensor_may_leave_out_its_length_and_share_its_data() {
        let rest = located(&[("location", "a"), ("offset", "2")]);
        let graph = GraphProto { initializer: vec![rest.clone(), rest], ..GraphProto::default() };
        let onnx = model(graph).encode_to_vec();
        let found = External::of(&onnx).unwrap().unwrap();
        let bytes = BTreeMap::from([("a".to_owned(), 6)]);
        let mut joined = found.join(&onnx, &bytes, 1000).unwrap();
        joined.fill("a", 0, &[9, 9, 1, 2, 3, 4]);
        let graph = ModelProto::decode(joined.into_onnx().as_slice()).unwrap().graph.unwrap();
        assert!(graph.initializer.iter().all(|tensor| tensor.raw_data == [1, 2, 3, 4]));
        let too_large = found.join(&onnx, &bytes, onnx.len() as u64 + 7).unwrap_err().to_string();
        assert!(too_large.contains("max-model-bytes"), "{too_large}");
    }

    #[test]
    fn locations_that_are_no_plain_names_are_refused() {
        for location in [
            "",
            ".",
            "..",
            "../weights.bin",
            "/etc/passwd",
            "sub/weights.bin",
            "sub/../../weights.bin",
            "..\\weights.bin",
            "C:weights.bin",
            "https://example.org/weights.bin",
            "weights\0.bin",
            ".hidden",
            "*/_ORT_MEM_ADDR_/*",
            &"x".repeat(256),
        ] {
            let said = said(&model_of(located(&[("location", location)])));
            assert!(said.contains("external data") && said.len() < 400, "{location:?}: {said}");
        }
        for (pairs, expected) in [
            (&[][..], "where"),
            (&[("offset", "1")][..], "where"),
            (&[("location", "a"), ("offset", "-1")][..], "offset"),
            (&[("location", "a"), ("length", "99999999999999999999")][..], "length"),
        ] {
            let said = said(&model_of(located(pairs)));
            assert!(said.contains(expected), "{pairs:?}: {said}");
        }
        let undecided = TensorProto { data_location: None, ..located(&[("location", "a")]) };
        assert!(said(&model_of(undecided)).contains("external data"));
        let inside = TensorProto { data_location: Some(0), raw_data: vec![13 << 3 | 2; 40], ..TensorProto::default() };
        assert_eq!(said(&model_of(inside)), "");
    }

    fn model_of(tensor: TensorProto) -> Vec<u8> {
        model(GraphProto { initializer: vec![tensor], ..GraphProto::default() }).encode_to_vec()
    }

    #[test]
    fn data_that_the_file_does_not_have_are_refused() {
        let top = u64::MAX.to_string();
        for (offset, length) in [("0", "11"), ("11", "0"), ("10", "1"), (&top, "2"), ("2", &top), (&top, &top)] {
            let onnx = model_of(located(&[("location", "a"), ("offset", offset), ("length", length)]));
            let found = External::of(&onnx).unwrap().unwrap();
            let error = found.join(&onnx, &BTreeMap::from([("a".to_owned(), 10)]), 1 << 40).unwrap_err();
            assert!(error.to_string().contains("too short"), "{error}");
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
        assert!(said(&model(graph).encode_to_vec()).contains("nested"));
    }

    proptest! {
        #[test]
        fn noise_is_refused_or_passed_and_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            drop(External::of(&bytes));
        }

        #[test]
        fn a_damaged_graph_is_refused_or_joined_and_never_panics(
            damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        ) {
            let mut onnx = model_of(located(&[("location", "a"), ("offset", "2"), ("length", "4")]));
            for (index, byte) in damage {
                let length = onnx.len();
                onnx[index.index(length)] = byte;
            }
            if let Ok(Some(found)) = External::of(&onnx) {
                let bytes = found.files().into_iter().map(|file| (file.to_owned(), 10)).collect();
                if let Ok(joined) = found.join(&onnx, &bytes, 1 << 20) {
                    prop_assert!(External::of(&joined.into_onnx()).unwrap().is_none());
                }
            }
        }
    }
}
