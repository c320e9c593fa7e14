//! A graph as engines take it: with the data that it keeps in other files of its folder put into it.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

use super::digest::sha256_hex;
use super::storage::{Files, Reach};
use crate::error::{Error, Result};
use crate::external::External;
use crate::ids::{hexadecimal, printable};

/// A graph that was read, with all of its data.
#[derive(Debug)]
pub struct Graph {
    /// Its bytes, the data of other files included.
    pub onnx: Vec<u8>,
    /// The SHA-256 in hexadecimal of what it was read from: of its file, or of the hashes of all of its files.
    pub sha256: String,
    /// True if its bytes are those of its file.
    is_file: bool,
}

impl Graph {
    /// Reads a graph and its data, which may have `limit` bytes together. Data in the file of `held`, a graph that was
    /// read before, are taken from there. `verify` gets the name and the hash of each file.
    ///
    /// # Errors
    /// [`Error::Incomplete`] when a file is missing or changes meanwhile; [`Error::Repository`] when it is not an ONNX
    /// model, names data elsewhere than in its own folder or beyond the end of a file, or is too large; [`Error::Io`];
    /// and those of `verify`.
    pub fn read(
        files: &Files,
        name: &str,
        limit: u64,
        held: Option<(&str, &Self)>,
        mut verify: impl FnMut(&str, &str) -> Result<()>,
    ) -> Result<Self> {
        let onnx = files.read_within(name, limit, Reach::Anywhere)?.ok_or_else(|| missing(name, "is missing"))?;
        let sha256 = sha256_hex(&onnx);
        verify(name, &sha256)?;
        let Some(external) = External::of(&onnx)? else { return Ok(Self { onnx, sha256, is_file: true }) };
        let held = |file: &str| held.filter(|(name, graph)| *name == file && graph.is_file).map(|(_, graph)| graph);
        let absent = |file: &str| missing(file, "is missing; the graph keeps data in it (external data)");
        let mut sizes = BTreeMap::new();
        for file in external.files() {
            let bytes = match held(file) {
                Some(graph) => graph.onnx.len() as u64,
                None => files.bytes(file)?.ok_or_else(|| absent(file))?,
            };
            sizes.insert(file.to_owned(), bytes);
        }
        let mut joined = external.join(&onnx, &sizes, limit)?;
        let mut all = Sha256::new_with_prefix(&sha256);
        for (file, size) in &sizes {
            if let Some(graph) = held(file) {
                joined.fill(file, 0, &graph.onnx);
                verify(file, &graph.sha256)?;
                all.update(&graph.sha256);
                continue;
            }
            let mut hash = Sha256::new();
            let read = files.pass(file, |at, bytes| {
                hash.update(bytes);
                joined.fill(file, at, bytes);
            })?;
            match read {
                None => return Err(absent(file)),
                Some(read) if read != *size => return Err(missing(file, "changed while it was read")),
                Some(_) => {}
            }
            let hash = hexadecimal(&hash.finalize());
            verify(file, &hash)?;
            all.update(&hash);
        }
        Ok(Self { onnx: joined.into_onnx(), sha256: hexadecimal(&all.finalize()), is_file: false })
    }
}

fn missing(file: &str, problem: &str) -> Error {
    Error::Incomplete { what: printable(file, 80), problem: problem.to_owned() }
}
