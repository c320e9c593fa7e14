//! Sequences in the steps and tokens of a model.

use std::collections::HashMap;

use super::Dataset;
use crate::error::{Error, Result};
use crate::ids::quote;
use crate::signature::{FIRST_TOKEN, PADDING, SequenceElements, SequenceTransform, UNKNOWN};

/// Tokens that are told apart if nobody says how many.
const DEFAULT_VOCABULARY: usize = 10_000;

/// What may be learned from a part of the data, whose elements are `of`: as many steps as its longest sequence has,
/// and its most frequent tokens, those that are as frequent by their text. If nobody says how many, those that are there
/// only once are left out.
///
/// # Errors
/// [`Error::Io`] when samples lie in a temporary file that cannot be read.
pub fn fitted(data: &Dataset, of: &SequenceTransform, vocabulary: Option<usize>) -> Result<SequenceTransform> {
    let (mut longest, mut counts) = (1, vec![0u64; of.tokens()]);
    let is_text = matches!(of.elements, SequenceElements::Tokens { .. });
    let mut elements = Vec::new();
    for index in 0..data.len() {
        elements.clear();
        data.append(index, &mut elements)?;
        let sequence = of.unpadded(&elements);
        longest = longest.max(sequence.len() / of.channels());
        if is_text {
            sequence.iter().for_each(|token| counts[*token as usize] += 1);
        }
    }
    let elements = match &of.elements {
        SequenceElements::Numbers { channels } => SequenceElements::Numbers { channels: *channels },
        SequenceElements::Tokens { split, vocabulary: all } => {
            let mut seen: Vec<(u64, &String)> =
                counts[FIRST_TOKEN..].iter().copied().zip(all).filter(|(count, _)| *count > 0).collect();
            seen.sort_unstable_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.cmp(b.1)));
            // Of what is there once nothing can be learned but that the unknown may stand anywhere.
            if vocabulary.is_none() && seen.first().is_some_and(|(count, _)| *count > 1) {
                seen.retain(|(count, _)| *count > 1);
            }
            let most = vocabulary.unwrap_or(DEFAULT_VOCABULARY);
            let vocabulary = seen.into_iter().take(most).map(|(_, token)| token.clone()).collect();
            SequenceElements::Tokens { split: *split, vocabulary }
        }
    };
    Ok(SequenceTransform { steps: longest, elements })
}

/// Returns a transform of the same steps without its vocabulary.
fn without_tokens(transform: &SequenceTransform) -> SequenceTransform {
    let elements = match &transform.elements {
        SequenceElements::Numbers { channels } => SequenceElements::Numbers { channels: *channels },
        SequenceElements::Tokens { split, .. } => SequenceElements::Tokens { split: *split, vocabulary: Vec::new() },
    };
    SequenceTransform { steps: transform.steps, elements }
}

/// Sequences of elements `from` as sequences of elements `to`: cut or padded to its steps, tokens that it does not have
/// unknown.
///
/// # Errors
/// [`Error::Data`] when these are sequences of something else.
pub fn refitted(data: &Dataset, from: &SequenceTransform, to: &SequenceTransform) -> Result<Dataset> {
    let misfit = |problem: String| Err(Error::Data { file: "the data".into(), problem });
    let codes: Option<Vec<f32>> = match (&from.elements, &to.elements) {
        (SequenceElements::Numbers { channels: given }, SequenceElements::Numbers { channels }) => {
            if given != channels {
                return misfit(format!("have {given} numbers in a step, the model takes {channels}"));
            }
            None
        }
        (SequenceElements::Tokens { split: a, .. }, SequenceElements::Tokens { split: b, .. })
            if [a, b].into_iter().flatten().any(|split| split.is_hashed()) =>
        {
            if a != b {
                return misfit("are split into tokens in another way than the model takes".into());
            }
            None
        }
        (SequenceElements::Tokens { split: Some(_), .. }, SequenceElements::Tokens { split: None, .. }) => {
            return misfit("hold texts, the model takes lists of tokens".into());
        }
        (SequenceElements::Tokens { vocabulary: from, .. }, SequenceElements::Tokens { vocabulary: to, .. }) => {
            let places: HashMap<&String, usize> = to.iter().enumerate().map(|(place, token)| (token, place)).collect();
            let code = |token| places.get(token).map_or(UNKNOWN, |place| FIRST_TOKEN + place) as f32;
            Some([PADDING as f32, UNKNOWN as f32].into_iter().chain(from.iter().map(code)).collect())
        }
        (SequenceElements::Numbers { .. }, _) => return misfit("hold numbers, the model takes tokens".into()),
        (SequenceElements::Tokens { vocabulary, .. }, _) => {
            let example = vocabulary.first().map_or_else(String::new, |token| format!(", as {}", quote(token)));
            return misfit(format!("hold tokens{example}, the model takes numbers"));
        }
    };
    let (from, to) = (without_tokens(from), without_tokens(to));
    Ok(data.changed([to.steps, to.channels()], move |before, after| {
        let sequence = from.unpadded(before);
        match &codes {
            None => to.fit(sequence, after),
            Some(codes) => {
                let sequence: Vec<f32> = sequence.iter().map(|token| codes[*token as usize]).collect();
                to.fit(&sequence, after);
            }
        }
    }))
}
