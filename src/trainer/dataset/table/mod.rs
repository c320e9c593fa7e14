//! Tables: rows of cells under a header, of which one column is to be learned, from the others or from one that
//! holds sequences.
//!
//! They are read twice: once to find out what the columns are, and once to keep the samples. Neither
//! pass holds more than a row.

mod cells;
mod csv;
mod files;
mod infer;
mod jsonl;
mod parquet;
mod read;
mod recode;
mod sequences;
mod steps;

pub(super) use files::files;
pub(super) use infer::Layout;
pub(super) use read::{Read, read};
pub use recode::{recoded, seen_vocabulary};
