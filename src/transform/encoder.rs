//! Turns sequences into the elements of a model's input.

use std::collections::HashMap;

use super::grams::hashed;
use super::sequence::Sequence;
use super::tokens::split;
use crate::signature::{FIRST_TOKEN, SequenceElements, SequenceTransform, TokenSplit, UNKNOWN};

/// A transform of sequences with its vocabulary indexed.
#[derive(Debug, Clone)]
pub struct SequenceEncoder {
    transform: SequenceTransform,
    /// The id of each token.
    tokens: HashMap<String, usize>,
}

impl SequenceEncoder {
    /// Indexes the vocabulary of a transform.
    pub fn new(transform: &SequenceTransform) -> Self {
        let mut tokens = HashMap::with_capacity(transform.vocabulary().len());
        for (place, token) in transform.vocabulary().iter().enumerate() {
            tokens.entry(token.clone()).or_insert(FIRST_TOKEN + place);
        }
        Self { transform: transform.clone(), tokens }
    }

    /// Returns the transform.
    pub fn transform(&self) -> &SequenceTransform {
        &self.transform
    }

    /// Appends the elements of a sequence. A longer one is cut to its last steps, a shorter one is padded in
    /// front. Tokens may be given as one text, as a list of texts or as a list of ids.
    ///
    /// # Errors
    /// A message that names what was expected and what was found.
    pub fn encode(&self, sequence: &Sequence, to: &mut Vec<f32>) -> std::result::Result<(), String> {
        let refuse = |expected: &str| Err(format!("expected {expected}, got {}", sequence.words()));
        match (&self.transform.elements, sequence) {
            (SequenceElements::Numbers { channels }, Sequence::Numbers { channels: given, elements }) => {
                if given != channels {
                    return refuse(&numbers(*channels));
                }
                self.transform.fit(elements, to);
            }
            (SequenceElements::Numbers { channels }, _) => return refuse(&numbers(*channels)),
            (SequenceElements::Tokens { split: Some(how), .. }, Sequence::Text(text)) if how.is_hashed() => {
                return self.hashed(*how, text, to);
            }
            (SequenceElements::Tokens { split: Some(how), .. }, Sequence::Tokens(texts)) if how.is_hashed() => {
                return self.hashed(*how, &texts.join(" "), to);
            }
            (SequenceElements::Tokens { split: Some(how), .. }, Sequence::Text(text)) => {
                let mut ids = Vec::new();
                split(text, *how, |token| ids.push(self.token(token)));
                if ids.is_empty() {
                    return Err("it has no tokens".into());
                }
                self.transform.fit(&ids, to);
            }
            (SequenceElements::Tokens { split: None, .. }, Sequence::Text(_)) => return refuse("a list of tokens"),
            (SequenceElements::Tokens { .. }, Sequence::Tokens(texts)) => {
                let ids: Vec<f32> = texts.iter().map(|token| self.token(token)).collect();
                self.transform.fit(&ids, to);
            }
            (SequenceElements::Tokens { .. }, Sequence::Numbers { channels: 1, elements }) => {
                let tokens = self.transform.tokens();
                let is_token = |id: &f32| id.fract() == 0.0 && (0.0..tokens as f32).contains(id);
                if let Some(step) = elements.iter().position(|id| !is_token(id)) {
                    let last = tokens - 1;
                    let got = if elements[step].is_nan() { "null".into() } else { elements[step].to_string() };
                    return Err(format!("step {step}: expected a token's number, 0 to {last}, got {got}"));
                }
                self.transform.fit(elements, to);
            }
            (SequenceElements::Tokens { .. }, Sequence::Numbers { .. }) => return refuse("tokens"),
        }
        Ok(())
    }

    fn hashed(&self, how: TokenSplit, text: &str, to: &mut Vec<f32>) -> std::result::Result<(), String> {
        let mut ids = Vec::new();
        hashed(text, how, |bucket| ids.push((FIRST_TOKEN + bucket) as f32));
        if ids.is_empty() {
            return Err("it has no tokens".into());
        }
        self.transform.fit(&ids, to);
        Ok(())
    }

    /// Returns true if a token is in the vocabulary.
    pub fn knows(&self, token: &str) -> bool {
        self.tokens.contains_key(token)
    }

    fn token(&self, text: &str) -> f32 {
        self.tokens.get(text).copied().unwrap_or(UNKNOWN) as f32
    }
}

fn numbers(channels: usize) -> String {
    Sequence::Numbers { channels, elements: Vec::new() }.words()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoder(steps: usize, split: Option<TokenSplit>) -> SequenceEncoder {
        let vocabulary = vec!["the".to_owned(), "cat".to_owned()];
        SequenceEncoder::new(&SequenceTransform { steps, elements: SequenceElements::Tokens { split, vocabulary } })
    }

    fn encoded(encoder: &SequenceEncoder, sequence: &Sequence) -> std::result::Result<Vec<f32>, String> {
        let mut elements = Vec::new();
        encoder.encode(sequence, &mut elements).map(|()| elements)
    }

    #[test]
    fn tokens_come_as_text_as_texts_or_as_numbers() {
        let words = encoder(4, Some(TokenSplit::Words));
        let of = |texts: &[&str]| Sequence::Tokens(texts.iter().map(|text| (*text).to_owned()).collect());
        let ids = |ids: &[f32]| Sequence::Numbers { channels: 1, elements: ids.to_vec() };
        assert_eq!(encoded(&words, &Sequence::Text("The cat!".into())).unwrap(), [0.0, 2.0, 3.0, 1.0]);
        assert_eq!(encoded(&words, &of(&["The", "cat"])).unwrap(), [0.0, 0.0, 1.0, 3.0]);
        assert_eq!(encoded(&words, &ids(&[3.0, 2.0, 3.0, 1.0, 0.0])).unwrap(), [2.0, 3.0, 1.0, 0.0]);
        for (sequence, expected) in [
            (ids(&[1.0, 4.0]), "step 1: expected a token's number, 0 to 3, got 4"),
            (ids(&[0.5]), "step 0"),
            (ids(&[f32::NAN]), "got null"),
            (Sequence::Text(" \t".into()), "no tokens"),
            (Sequence::Numbers { channels: 2, elements: vec![1.0; 4] }, "expected tokens"),
        ] {
            assert!(encoded(&words, &sequence).unwrap_err().contains(expected), "{sequence:?}");
        }
        let given = encoder(4, None);
        assert!(encoded(&given, &Sequence::Text("the cat".into())).unwrap_err().contains("a list of tokens"));
    }

    #[test]
    fn the_grams_of_a_text_are_those_of_its_words() {
        let grams = encoder(6, Some(TokenSplit::Grams));
        let text = encoded(&grams, &Sequence::Text("is it".into())).unwrap();
        assert_eq!(text, encoded(&grams, &Sequence::Tokens(vec!["is".into(), "it".into()])).unwrap());
        assert!(text.iter().all(|id| *id >= 2.0) && text.len() == 6, "of 4 runs, 2 words and a pair the last 6");
        assert_eq!(encoded(&grams, &Sequence::Text("?".into())).unwrap()[..5], [0.0; 5]);
        assert!(encoded(&grams, &Sequence::Text(" ".into())).unwrap_err().contains("no tokens"));
    }

    #[test]
    fn numbers_need_the_channels_of_the_model() {
        let transform = SequenceTransform { steps: 3, elements: SequenceElements::Numbers { channels: 2 } };
        let encoder = SequenceEncoder::new(&transform);
        let elements = encoded(&encoder, &Sequence::Numbers { channels: 2, elements: vec![1.0, 2.0] }).unwrap();
        assert!(elements[..4].iter().all(|element| element.is_nan()) && elements[4..] == [1.0, 2.0]);
        let refused = encoded(&encoder, &Sequence::Numbers { channels: 1, elements: vec![1.0] }).unwrap_err();
        assert_eq!(refused, "expected a list of lists of 2 numbers, got a list of numbers");
        assert!(encoded(&encoder, &Sequence::Text("1 2".into())).unwrap_err().contains("got a text"));
    }
}
