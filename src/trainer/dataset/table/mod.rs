//! Tables: rows of cells under a header, of which one column is to be learned, from the others or from one that
//! holds sequences.
//!
//! They are read twice: once to find out what the columns are, and once to keep the samples. Neither
//! pass holds more than a few rows.

mod cells;
mod csv;
mod dialect;
mod familiar;
mod files;
mod infer;
mod jsonl;
mod layout;
mod look;
mod numbers;
mod parquet;
mod read;
mod recode;
mod records;
mod seen;
mod sequences;
mod steps;
mod text;

pub(super) use files::{files, format_of};
pub(super) use read::{Read, read};
pub use recode::{recoded, seen_vocabulary};
