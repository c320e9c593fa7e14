//! JSON as clients send and read it: one cursor, one reader of numbers, and what is built on them.
//!
//! Nothing here keeps a tree of values. The signature says which elements to expect, and they go from the text
//! straight into the buffer of a tensor. Which keys a body has is the business of each protocol.

mod base64;
mod cursor;
mod decimal;
mod inputs;
mod nested;
mod number;
mod rows;
mod sequences;
mod shape;
mod stack;
mod texts;
mod writer;

#[cfg(test)]
mod tests;

pub(super) use base64::decode_base64;
pub(super) use cursor::{Cursor, without_mark};
pub(super) use inputs::{Inputs, Instances, Layout, column, parse_error};
pub(super) use nested::Nested;
pub(super) use number::Number;
pub(super) use rows::{Rows, read_rows};
pub(super) use sequences::read_sequences;
pub(super) use shape::Shape;
pub(super) use stack::{Accepts, BASE64_KEY, Stack, base64_object, miscounted};
pub(super) use texts::{
    PAIR_KEY, TEXT_KEY, Texts, is_list_of_texts, is_text, paired, read_text, read_text_columns, read_texts,
};
pub(super) use writer::Writer;
