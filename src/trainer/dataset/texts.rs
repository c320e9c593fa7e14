//! Texts as samples of a transformer, which a `tokenizer.json` splits into tokens.

use std::sync::Arc;

use rayon::prelude::*;

use super::faults::unusable;
use super::{DataSource, Dataset, SampleKind};
use crate::error::{Error, Result};
use crate::signature::FIRST_TOKEN;
use crate::tensor::Tensor;
use crate::transform::text::{Text, TextEncoder};

/// The texts of a data set, each once, and the tokenizer that makes tensors of them.
#[derive(Debug)]
pub(super) struct Texts {
    list: Vec<String>,
    /// By text: its tokens, or why it has none.
    lengths: Vec<std::result::Result<Length, String>>,
    encoder: Arc<TextEncoder>,
}

/// The length of a text in tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Length {
    tokens: usize,
    is_cut: bool,
}

impl Texts {
    fn new(list: Vec<String>, encoder: Arc<TextEncoder>) -> Self {
        let length = |text: &String| match encoder.encode(&[text.clone().into()]) {
            Ok(encoded) => {
                let facts = &encoded.facts[0];
                let tokens = facts.kept.iter().filter(|is_kept| **is_kept).count();
                Ok(Length { tokens, is_cut: facts.truncated })
            }
            Err(error) => Err(error.to_string()),
        };
        let lengths = list.par_iter().map(length).collect();
        Self { list, lengths, encoder }
    }

    fn length(&self, place: usize) -> Option<Length> {
        self.lengths[place].as_ref().ok().copied()
    }
}

impl Dataset {
    /// Returns true if the samples are texts for a tokenizer.
    pub(in crate::trainer) fn is_texts(&self) -> bool {
        self.kind == SampleKind::Texts
    }

    /// Returns the text of a sample; `None` of anything else.
    ///
    /// # Errors
    /// As [`Dataset::image`].
    pub(in crate::trainer) fn text(&self, index: usize) -> Result<Option<&str>> {
        let Some(texts) = &self.texts else { return Ok(None) };
        Ok(Some(texts.list[self.place(index)?].as_str()))
    }

    /// Returns the number of tokens of each text, 0 of anything else. Samples of one number run together without padding.
    ///
    /// # Errors
    /// As [`Dataset::image`].
    pub(in crate::trainer) fn tokens(&self) -> Result<Vec<usize>> {
        let Some(texts) = &self.texts else { return Ok(vec![0; self.len()]) };
        let tokens = |index| Ok(texts.length(self.place(index)?).map_or(0, |length| length.tokens));
        (0..self.len()).map(tokens).collect()
    }

    /// Returns samples as the inputs of a graph: of texts what its tokenizer makes of them, of anything else one tensor of
    /// samples of this shape.
    ///
    /// # Errors
    /// As [`Dataset::image`], and [`Error::Internal`] for samples that do not have the shape.
    pub(in crate::trainer) fn tensors(&self, samples: &[usize], shape: &[usize]) -> Result<Vec<Tensor>> {
        if let Some(texts) = &self.texts {
            let text = |sample: &usize| Ok(texts.list[self.place(*sample)?].clone().into());
            let texts_of: Vec<Text> = samples.iter().map(text).collect::<Result<_>>()?;
            return Ok(texts.encoder.encode(&texts_of)?.tensors);
        }
        let mut elements = Vec::with_capacity(samples.len() * self.image_len());
        samples.iter().try_for_each(|sample| self.append(*sample, &mut elements))?;
        let shape = std::iter::once(samples.len()).chain(shape.iter().copied()).collect();
        Ok(vec![Tensor::new(shape, elements)?])
    }

    /// Returns the place of a sample's text in the list of texts.
    fn place(&self, index: usize) -> Result<usize> {
        let mut element = Vec::with_capacity(1);
        self.append(index, &mut element)?;
        Ok((element[0] as usize).saturating_sub(FIRST_TOKEN))
    }

    fn with_texts(&self, texts: &Arc<Texts>) -> Result<Self> {
        let told = Self { kind: SampleKind::Texts, texts: Some(texts.clone()), ..self.clone() };
        for index in 0..told.len() {
            if let Err(problem) = &texts.lengths[told.place(index)?] {
                let (file, row) = told.origin(index);
                let row = row.map_or_else(String::new, |row| format!("row {row}: "));
                return Err(Error::Data { file: file.to_owned(), problem: format!("{row}{problem}") });
            }
        }
        Ok(told)
    }

    fn cut_texts(&self, texts: &Texts) -> Result<usize> {
        let is_cut = |index| Ok(texts.length(self.place(index)?).is_some_and(|length| length.is_cut));
        (0..self.len()).map(|index| is_cut(index).map(usize::from)).sum()
    }
}

impl DataSource {
    /// Makes texts that were read whole samples of a transformer, and says how many of them are too long for it.
    ///
    /// # Errors
    /// [`Error::Data`] for data that are no texts, and naming the row of a text that has no tokens.
    pub(in crate::trainer) fn tokenized(&mut self, encoder: Arc<TextEncoder>) -> Result<()> {
        let Some(whole) = self.sequence.take() else {
            return Err(unusable(
                "the data",
                "hold no texts, which the model takes: expected a table with a column of them",
            ));
        };
        let texts = Arc::new(Texts::new(whole.vocabulary().to_vec(), encoder));
        let (mut cut, mut all) = (0, 0);
        for part in [Some(&mut self.train), self.validation.as_mut(), Some(&mut self.test)].into_iter().flatten() {
            *part = part.with_texts(&texts)?;
            cut += part.cut_texts(&texts)?;
            all += part.len();
        }
        if cut > 0 {
            self.notes.push(format!(
                "{cut} of {all} texts have more tokens than the network takes, and are cut as they are when served"
            ));
        }
        Ok(())
    }
}
