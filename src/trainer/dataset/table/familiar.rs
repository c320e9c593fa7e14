//! Do the texts of a column have words in common, from which something can be learned, or are they keys?

use std::collections::HashMap;
use std::hash::{BuildHasher, Hasher, RandomState};

use crate::transform::words;

/// Texts that are looked at.
const MOST_ROWS: u64 = 20_000;

/// Words that are kept.
const MOST_WORDS: usize = 200_000;

/// Counts the texts of which a word, or all, was there before.
#[derive(Debug, Default)]
pub(super) struct Familiar {
    hasher: RandomState,
    /// By the hash of a word or text: in how many texts it was.
    seen: HashMap<u64, u32>,
    rows: u64,
    judged: u64,
    familiar: u64,
}

impl Familiar {
    /// Takes the first texts, which are all different and so tell nothing yet.
    pub(super) fn begin(&mut self, texts: &[String]) {
        for text in texts {
            self.look(text);
        }
    }

    /// Looks at the text of a row.
    pub(super) fn add(&mut self, text: &str) {
        if self.judged < MOST_ROWS && self.seen.len() < MOST_WORDS {
            self.judged += 1;
            self.familiar += u64::from(self.look(text));
        }
    }

    /// Returns true if the text, or a word of it that fewer than half of the texts have, was there before. Only words of
    /// letters count: parts of keys are alike by chance.
    fn look(&mut self, text: &str) -> bool {
        let Self { hasher, seen, rows, .. } = self;
        let mut met = |word: &str, kind: u8| {
            let mut hash = hasher.build_hasher();
            hash.write_u8(kind);
            hash.write(word.as_bytes());
            let count = seen.entry(hash.finish()).or_default();
            let is_known = *count > 0 && u64::from(*count) * 2 <= *rows;
            *count += 1;
            is_known
        };
        let mut is_familiar = met(text, 0);
        words(text, |word| {
            let is_word = word.chars().all(char::is_alphabetic) && word.len() > 1;
            is_familiar |= is_word && met(word, 1);
        });
        *rows += 1;
        is_familiar
    }

    /// Returns true if most of the texts are familiar.
    pub(super) fn is_telling(&self) -> bool {
        self.judged > 0 && self.familiar * 2 > self.judged
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_telling(text: impl Fn(u64) -> String) -> bool {
        let mut familiar = Familiar::default();
        familiar.begin(&(0..257).map(&text).collect::<Vec<_>>());
        (257..3000).for_each(|row| familiar.add(&text(row)));
        familiar.is_telling()
    }

    #[test]
    fn texts_with_common_words_are_told_from_keys() {
        let mixed = |row: u64| row.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        assert!(is_telling(|row| format!(
            "{} Miller, {} Street {row}",
            row % 90,
            ["Elm", "Oak", "High"][row as usize % 3]
        )));
        assert!(is_telling(|row| format!("city{}", row % 900)), "texts that come again");
        assert!(is_telling(|row| format!("{}很好", char::from_u32(0x4e00 + row as u32).unwrap())
            + ["人", "天", "山"][row as usize % 3]));
        assert!(!is_telling(|row| format!("ID-{row:06}")), "a word that all have tells nothing");
        assert!(
            !is_telling(|row| {
                let (a, b) = (mixed(row), mixed(row + 1_000_000));
                format!(
                    "{:08x}-{:04x}-4{:03x}-{:04x}-{:012x}",
                    a as u32,
                    (a >> 40) as u16,
                    (a >> 8) & 0xfff,
                    b as u16,
                    b >> 16
                )
            }),
            "universally unique identifiers"
        );
    }
}
