//! Statistics of sequences: their lengths, and their numbers or tokens.

use serde::Serialize;

use super::{ColumnFigures, SHOWN_TEXTS, Seen};
use crate::error::Result;
use crate::signature::{FIRST_TOKEN, SequenceElements, SequenceTransform};
use crate::trainer::dataset::{Dataset, Split, fitted};

/// A data set of sequences.
#[derive(Debug, Serialize)]
pub struct SequenceFigures {
    /// Their lengths after cutting.
    pub lengths: Lengths,
    /// Of sequences of numbers: each channel. A step that pads is no missing value.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub channels: Vec<ColumnFigures>,
    /// Of sequences of tokens.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens: Option<TokenFigures>,
}

/// The steps of the sequences of all parts.
#[derive(Debug, Serialize)]
pub struct Lengths {
    /// Of the shortest.
    pub least: usize,
    /// The median.
    pub median: usize,
    /// Of the longest.
    pub greatest: usize,
}

impl Lengths {
    /// In words.
    pub fn words(&self) -> String {
        format!("{} to {} steps, median {}", self.least, self.greatest, self.median)
    }
}

/// The tokens of all parts.
#[derive(Debug, Serialize)]
pub struct TokenFigures {
    /// Different ones in the training part.
    pub different: usize,
    /// The number of tokens that are told apart.
    pub vocabulary: usize,
    /// The most frequent ones of the training part with their counts.
    pub frequent: Vec<(String, u64)>,
    /// By part the share of tokens that are unknown to a model of the training part.
    pub unknown: Vec<(Split, f64)>,
}

/// Looks through the sequences of all parts, the first of which is the one to train on.
pub(super) fn figures(
    parts: &[(Split, &Dataset)],
    transform: &SequenceTransform,
    most_tokens: Option<usize>,
) -> Result<SequenceFigures> {
    let mut lengths = Vec::new();
    let mut channels = match transform.elements {
        SequenceElements::Numbers { channels } => vec![Seen::default(); channels],
        SequenceElements::Tokens { .. } => Vec::new(),
    };
    // By part, how often each token occurs.
    let mut counts = vec![vec![0u64; transform.tokens()]; parts.len()];
    let mut elements = Vec::new();
    for ((_, part), counts) in parts.iter().zip(&mut counts) {
        for index in 0..part.len() {
            elements.clear();
            part.append(index, &mut elements)?;
            let sequence = transform.unpadded(&elements);
            lengths.push(sequence.len() / transform.channels());
            if channels.is_empty() {
                sequence.iter().for_each(|token| counts[*token as usize] += 1);
            }
            for step in sequence.chunks_exact(channels.len().max(1)) {
                for (number, seen) in step.iter().zip(&mut channels) {
                    match number.is_nan() {
                        true => seen.missing += 1,
                        false => seen.add(f64::from(*number)),
                    }
                }
            }
        }
    }
    lengths.sort_unstable();
    let lengths = Lengths {
        least: lengths.first().copied().unwrap_or(0),
        median: lengths.get(lengths.len() / 2).copied().unwrap_or(0),
        greatest: lengths.last().copied().unwrap_or(0),
    };
    let tokens = match channels.is_empty() {
        true => Some(tokens(parts, &counts, transform, most_tokens)?),
        false => None,
    };
    let channels = channels.iter().enumerate().map(|(channel, seen)| ColumnFigures {
        name: format!("channel {channel}"),
        missing: seen.missing,
        numbers: Some(seen.numbers()),
        categories: None,
        grams: None,
        frequent: Vec::new(),
    });
    Ok(SequenceFigures { lengths, channels: channels.collect(), tokens })
}

fn tokens(
    parts: &[(Split, &Dataset)],
    counts: &[Vec<u64>],
    transform: &SequenceTransform,
    most: Option<usize>,
) -> Result<TokenFigures> {
    let trained = fitted(parts[0].1, transform, most)?;
    let encoder = crate::transform::SequenceEncoder::new(&trained);
    let is_known: Vec<bool> = transform.vocabulary().iter().map(|token| encoder.knows(token)).collect();
    let share = |((split, _), counts): (&(Split, &Dataset), &Vec<u64>)| {
        let of = |wanted: bool| {
            let tokens = counts[FIRST_TOKEN..].iter().zip(&is_known);
            tokens.filter(|(_, is_known)| **is_known == wanted).map(|(count, _)| count).sum::<u64>() as f64
        };
        (*split, of(false) / (of(false) + of(true)).max(1.0))
    };
    let place = |token: &String| transform.vocabulary().iter().position(|other| other == token).unwrap_or(0);
    let frequent = trained.vocabulary().iter().take(SHOWN_TEXTS);
    Ok(TokenFigures {
        different: counts[0][FIRST_TOKEN..].iter().filter(|count| **count > 0).count(),
        vocabulary: trained.vocabulary().len(),
        frequent: frequent.map(|token| (token.clone(), counts[0][FIRST_TOKEN + place(token)])).collect(),
        unknown: parts.iter().zip(counts).map(share).collect(),
    })
}
