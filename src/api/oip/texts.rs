//! Texts in place of numbers of tokens: BYTES under the name `text`, and `pair` for what they are compared with, or BYTES
//! under the name of the model's first input.

use bytes::Bytes;

use super::input::{Content, InferInput};
use crate::api::json::{PAIR_KEY, TEXT_KEY, paired};
use crate::error::{Error, Result};
use crate::ids::quote;
use crate::serving::{Input, Servable};
use crate::signature::DType;

/// The texts of a request, in the order of its samples.
#[derive(Debug, Default)]
pub(crate) struct SentTexts {
    texts: Option<Vec<String>>,
    pairs: Option<Vec<String>>,
}

/// Returns true if an input is texts for a model that takes or would take them.
pub(crate) fn is_texts(servable: &Servable, name: &str, datatype: DType) -> bool {
    let is_tokens = || servable.token_input().is_some_and(|input| input == name);
    servable.expects_texts() && datatype == DType::String && (name == TEXT_KEY || name == PAIR_KEY || is_tokens())
}

/// Returns strings of a tensor as texts: `[texts]`, or that and 1.
///
/// # Errors
/// [`Error::InvalidInput`] for another shape, and for what is not UTF-8.
pub(crate) fn strings(shape: &[usize], elements: &[Bytes]) -> Result<Vec<String>> {
    if !matches!(shape, [_] | [_, 1]) {
        return Err(Error::InvalidInput(format!(
            "texts must be of shape [number of texts], or that and 1; got {shape:?}"
        )));
    }
    let text = |(index, bytes): (usize, &Bytes)| {
        let text = std::str::from_utf8(bytes).map(str::to_owned);
        text.map_err(|_| Error::InvalidInput(format!("element {index} must be text in UTF-8")))
    };
    elements.iter().enumerate().map(text).collect()
}

impl SentTexts {
    /// Takes an input, which was read.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] when it is given twice, or is no list of texts.
    pub(super) fn take(&mut self, input: &InferInput) -> Result<()> {
        let Content::Strings(elements) = &input.content else {
            return Err(Error::InvalidInput("expected BYTES".into()));
        };
        self.add(&input.name, strings(&input.shape, elements)?)
    }

    /// Takes the texts of a name.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] when they are given twice.
    pub(crate) fn add(&mut self, name: &str, texts: Vec<String>) -> Result<()> {
        let to = if name == PAIR_KEY { &mut self.pairs } else { &mut self.texts };
        match to.replace(texts) {
            None => Ok(()),
            Some(_) => Err(Error::InvalidInput(format!("the texts {} are given twice", quote(name)))),
        }
    }

    /// Returns the texts as an input; `None` if there are none.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] when the pairs are not as many as the texts.
    pub(crate) fn into_input(self) -> Result<Option<Input>> {
        match (self.texts, self.pairs) {
            (None, None) => Ok(None),
            (texts, pairs) => paired(texts.unwrap_or_default(), pairs)
                .map(|texts| Some(Input::Texts(texts)))
                .map_err(Error::InvalidInput),
        }
    }
}
