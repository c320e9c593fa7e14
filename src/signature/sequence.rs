//! The transform from a sequence to a model's input: numbers or tokens, step by step.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The token that stands in front of short sequences.
pub const PADDING: usize = 0;

/// The token that stands for all that are not in the vocabulary.
pub const UNKNOWN: usize = 1;

/// The token that the vocabulary's first text is.
pub const FIRST_TOKEN: usize = 2;

/// The number of buckets that the n-grams of texts are told apart by.
pub const GRAM_BUCKETS: usize = 1 << 16;

/// The same of a column of texts in a table, of which a number of [`GRAM_BUCKETS`] keeps its last bits.
pub const COLUMN_BUCKETS: usize = 1 << 13;

/// How a sequence becomes the input: of a longer one the last `steps` are taken, a shorter one is padded in
/// front, so that what a network has in mind after the last step is what was said last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SequenceTransform {
    /// The steps that the model takes.
    pub steps: usize,
    /// The kind of its steps.
    #[serde(flatten)]
    pub elements: SequenceElements,
}

/// The kind of the steps of a sequence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum SequenceElements {
    /// A number for each channel; NaN when it is missing, and in steps that pad.
    Numbers {
        /// The count of numbers in a step.
        channels: usize,
    },
    /// A token, by its number: 0 pads, 1 is one that is not in the vocabulary.
    Tokens {
        /// The rule that splits a text into tokens; absent if the model takes lists of tokens only.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        split: Option<TokenSplit>,
        /// The tokens from 2 on, the most frequent ones first.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        vocabulary: Vec<String>,
    },
}

/// The rule that splits a text into tokens.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ValueEnum, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum TokenSplit {
    /// Words of letters and digits, in lower case and with their inner apostrophes; any other visible character
    #[default]
    Words,
    /// Every character as it is
    Characters,
    /// Words, pairs of words and runs of 3 to 5 characters, each by a number that is computed from it, as often as it
    /// is there
    Grams,
    /// Words, pairs of words and runs of 4 characters by such numbers, each once and more often the more frequent it
    /// is; for the preset text
    Terms,
}

impl TokenSplit {
    /// Returns true if tokens are numbers that are computed from parts of a text, so that there is no vocabulary.
    pub fn is_hashed(self) -> bool {
        matches!(self, Self::Grams | Self::Terms)
    }
}

impl SequenceTransform {
    /// The shape of a sample: `[steps, channels]` of numbers, `[steps]` of tokens.
    pub fn shape(&self) -> Vec<usize> {
        match &self.elements {
            SequenceElements::Numbers { channels } => vec![self.steps, *channels],
            SequenceElements::Tokens { .. } => vec![self.steps],
        }
    }

    /// Numbers in a step.
    pub fn channels(&self) -> usize {
        match &self.elements {
            SequenceElements::Numbers { channels } => *channels,
            SequenceElements::Tokens { .. } => 1,
        }
    }

    /// The element that pads.
    pub fn padding(&self) -> f32 {
        match &self.elements {
            SequenceElements::Numbers { .. } => f32::NAN,
            SequenceElements::Tokens { .. } => PADDING as f32,
        }
    }

    /// The texts of the tokens, from the first that is no sign of ours; none of numbers.
    pub fn vocabulary(&self) -> &[String] {
        match &self.elements {
            SequenceElements::Numbers { .. } => &[],
            SequenceElements::Tokens { vocabulary, .. } => vocabulary,
        }
    }

    /// The same without the texts of tokens.
    pub fn without_vocabulary(&self) -> Self {
        let elements = match &self.elements {
            SequenceElements::Numbers { channels } => SequenceElements::Numbers { channels: *channels },
            SequenceElements::Tokens { split, .. } => {
                SequenceElements::Tokens { split: *split, vocabulary: Vec::new() }
            }
        };
        Self { steps: self.steps, elements }
    }

    /// Returns the number of tokens that the model tells apart, padding and the unknown one included.
    pub fn tokens(&self) -> usize {
        match &self.elements {
            SequenceElements::Tokens { split: Some(split), .. } if split.is_hashed() => FIRST_TOKEN + GRAM_BUCKETS,
            SequenceElements::Numbers { .. } | SequenceElements::Tokens { .. } => FIRST_TOKEN + self.vocabulary().len(),
        }
    }

    /// Appends the elements of a sequence, its last steps or padded in front.
    pub fn fit(&self, elements: &[f32], to: &mut Vec<f32>) {
        let most = self.steps * self.channels();
        let kept = &elements[elements.len().saturating_sub(most)..];
        to.extend(std::iter::repeat_n(self.padding(), most - kept.len()));
        to.extend_from_slice(kept);
    }

    /// The elements from the first step on that does not pad.
    pub fn unpadded<'e>(&self, elements: &'e [f32]) -> &'e [f32] {
        let is_padding = |element: &f32| match &self.elements {
            SequenceElements::Numbers { .. } => element.is_nan(),
            SequenceElements::Tokens { .. } => *element == PADDING as f32,
        };
        let steps = elements.chunks_exact(self.channels().max(1));
        let padded = steps.take_while(|step| step.iter().all(is_padding)).count();
        &elements[padded * self.channels()..]
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn it_is_written_flat_and_refuses_nothing_that_it_wrote() {
        let words = SequenceElements::Tokens { split: Some(TokenSplit::Words), vocabulary: vec!["a".into()] };
        let of = |split| SequenceElements::Tokens { split: Some(split), vocabulary: Vec::new() };
        for (elements, json) in [
            (SequenceElements::Numbers { channels: 3 }, r#"{"steps":5,"kind":"numbers","channels":3}"#),
            (words, r#"{"steps":5,"kind":"tokens","split":"words","vocabulary":["a"]}"#),
            (SequenceElements::Tokens { split: None, vocabulary: Vec::new() }, r#"{"steps":5,"kind":"tokens"}"#),
            (of(TokenSplit::Grams), r#"{"steps":5,"kind":"tokens","split":"grams"}"#),
            (of(TokenSplit::Terms), r#"{"steps":5,"kind":"tokens","split":"terms"}"#),
        ] {
            let transform = SequenceTransform { steps: 5, elements };
            assert_eq!(serde_json::to_string(&transform).unwrap(), json);
            assert_eq!(serde_json::from_str::<SequenceTransform>(json).unwrap(), transform);
        }
    }

    proptest! {
        #[test]
        fn the_last_steps_are_kept_and_short_sequences_begin_with_padding(
            elements in prop::collection::vec(-9f32..9.0, 2..40), steps in 1usize..12, channels in 1usize..3,
        ) {
            let elements = &elements[..elements.len() / channels * channels];
            let transform = SequenceTransform { steps, elements: SequenceElements::Numbers { channels } };
            let mut fitted = Vec::new();
            transform.fit(elements, &mut fitted);
            prop_assert_eq!(fitted.len(), steps * channels);
            let kept = elements.len().min(steps * channels);
            prop_assert_eq!(&fitted[fitted.len() - kept..], &elements[elements.len() - kept..]);
            prop_assert!(fitted[..fitted.len() - kept].iter().all(|element| element.is_nan()));
            prop_assert_eq!(transform.unpadded(&fitted), &elements[elements.len() - kept..]);
        }

        #[test]
        fn cutting_twice_is_cutting_once(ids in prop::collection::vec(1u32..9, 1..40), first in 1usize..20, second in 1usize..20) {
            let elements: Vec<f32> = ids.iter().map(|id| *id as f32).collect();
            let of = |steps| SequenceTransform { steps, elements: SequenceElements::Tokens { split: None, vocabulary: Vec::new() } };
            let (first, second) = (of(first.max(second)), of(first.min(second)));
            let (mut once, mut before, mut twice) = (Vec::new(), Vec::new(), Vec::new());
            second.fit(&elements, &mut once);
            first.fit(&elements, &mut before);
            second.fit(first.unpadded(&before), &mut twice);
            prop_assert_eq!(once, twice);
        }
    }
}
