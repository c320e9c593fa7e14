//! From texts to the inputs of a transformer by Hugging Face's `tokenizer.json`, and from its outputs to spans.
//!
//! A tokenizer is a file from outside: whatever it does, a panic ends with the request or with the load.

mod config;
mod encoder;
mod length;
mod spans;

pub use config::{LengthRule, TextConfig};
pub use encoder::{EncodedTexts, TextEncoder};
pub use length::{LONGEST_TRIAL, greatest_length, longest_text};
pub use spans::{Span, Spanner};

use crate::error::{Error, Result};

/// Reads a `tokenizer.json`, and what the files beside it say: `config.json`, `tokenizer_config.json` and
/// `special_tokens_map.json`, of those that are there.
///
/// # Errors
/// [`Error::Repository`] naming the file and saying what is wrong with it.
pub fn read_tokenizer(json: &[u8], side: [Option<&[u8]>; 3]) -> Result<(TextEncoder, TextConfig)> {
    let refuse = |what: &str, problem: String| Error::Repository { what: what.into(), problem };
    let [config, tokenizer_config, special_tokens] = side;
    let config = TextConfig::read(config, tokenizer_config, special_tokens)
        .map_err(|problem| refuse("the tokenizer's files", problem))?;
    let encoder = TextEncoder::read(json, &config)
        .map_err(|problem| refuse("tokenizer.json", format!("cannot be used: {problem}")))?;
    Ok((encoder, config))
}

/// A text, or a pair of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text {
    /// The text.
    pub text: String,
    /// The text that it is compared with, if there is one.
    pub pair: Option<String>,
}

impl Text {
    /// Returns the bytes of both texts.
    pub fn bytes(&self) -> usize {
        self.text.len() + self.pair.as_ref().map_or(0, String::len)
    }
}

impl From<String> for Text {
    fn from(text: String) -> Self {
        Self { text, pair: None }
    }
}

/// The facts about a sent text that the answer to it needs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TextFacts {
    /// For each token of the padded row: true if it is none of the padding.
    pub kept: Vec<bool>,
    /// True if the text had more tokens than the model takes.
    pub truncated: bool,
    /// The place of each token in the text, where the answer needs it; padding and special tokens have none.
    pub places: Vec<Option<TokenPlace>>,
}

/// The place of a token in the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TokenPlace {
    /// The first character.
    pub start: u32,
    /// The character behind the last one.
    pub end: u32,
    /// The number of the word.
    pub word: Option<u32>,
}
