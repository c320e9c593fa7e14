//! The terms of a text as numbers of buckets: words, pairs of words and runs of characters inside words, each listed once
//! and more often the more frequent it is, as sub-linear term counts of TF-IDF have it. Training and serving use the same
//! buckets.

use super::hash::{Hash, Kind};
use super::tokens::{is_spaceless, split};
use crate::signature::TokenSplit;

/// The length of runs of characters, with the signs for the ends of a word.
const RUN: usize = 4;

/// Passes the buckets of a text's terms to `take`: runs of characters first, then pairs and words, so that of a text that
/// is cut in front the words remain. A term that is there n times is passed 1 + ⌊log2 n⌋ times. A character of a script
/// without spaces is a word.
pub(super) fn terms(text: &str, mut take: impl FnMut(usize)) {
    let words = Words::of(text);
    let mut buckets = Vec::with_capacity(2 * text.len());
    (0..words.ends.len()).for_each(|place| runs(words.framed(place), &mut buckets));
    let hashes: Vec<Hash> = (0..words.ends.len()).map(|place| Hash::new(Kind::Word).add(words.get(place))).collect();
    let pairs = hashes.iter().zip(hashes.iter().skip(1)).map(|(word, next)| word.pair(*next));
    buckets.extend(pairs.chain(hashes.iter().copied()).map(|hash| hash.bucket() as u32));
    for (bucket, count) in counted(&buckets) {
        (0..=count.ilog2()).for_each(|_| take(bucket as usize));
    }
}

/// Words in lower case, each as `<word>`, one behind the other.
#[derive(Default)]
struct Words {
    text: String,
    /// The end of each word with its signs.
    ends: Vec<usize>,
}

impl Words {
    fn of(text: &str) -> Self {
        let mut words = Self { text: String::with_capacity(2 * text.len()), ends: Vec::new() };
        split(text, TokenSplit::Words, |token| {
            if token.is_ascii() {
                return words.push(token);
            }
            let mut start = 0;
            for (at, character) in token.char_indices().filter(|(_, character)| is_spaceless(*character)) {
                let end = at + character.len_utf8();
                words.push(&token[start..at]);
                words.push(&token[at..end]);
                start = end;
            }
            words.push(&token[start..]);
        });
        words
    }

    /// Appends a word that is not empty.
    fn push(&mut self, word: &str) {
        if !word.is_empty() {
            self.text.push('<');
            self.text.push_str(word);
            self.text.push('>');
            self.ends.push(self.text.len());
        }
    }

    /// Returns a word with the signs for its ends.
    fn framed(&self, place: usize) -> &str {
        let start = place.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.text[start..self.ends[place]]
    }

    /// Returns the bytes of a word.
    fn get(&self, place: usize) -> &[u8] {
        let framed = self.framed(place).as_bytes();
        &framed[1..framed.len() - 1]
    }
}

/// Appends the buckets of a word's runs that are not all of it; a word has its signs around it.
fn runs(word: &str, to: &mut Vec<u32>) {
    if word.is_ascii() {
        if word.len() > RUN {
            to.extend(word.as_bytes().array_windows::<RUN>().map(ascii_run));
        }
        return;
    }
    let run = |part: &str| match part.as_bytes().as_array() {
        Some(bytes) if part.is_ascii() => ascii_run(bytes),
        _ => Hash::new(Kind::Run).add(part.as_bytes()).bucket() as u32,
    };
    let starts = || word.char_indices().map(|(at, _)| at);
    let ends = starts().chain([word.len()]).skip(RUN);
    if word.chars().nth(RUN).is_some() {
        to.extend(starts().zip(ends).map(|(start, end)| run(&word[start..end])));
    }
}

/// Returns the bucket of a run of characters of a byte each.
fn ascii_run(bytes: &[u8; RUN]) -> u32 {
    Hash::of_number(Kind::Run, u32::from_le_bytes(*bytes)).bucket() as u32
}

/// Returns each bucket once, in the order in which they come first, with how often it is there.
fn counted(buckets: &[u32]) -> Vec<(u32, u32)> {
    let mut counts: Vec<(u32, u32)> = Vec::with_capacity(buckets.len());
    // By bucket, and from there on the next free one, the place in the list, counted from 1.
    let size = (2 * buckets.len()).next_power_of_two();
    let mut places = vec![0u32; size];
    for bucket in buckets {
        let mut at = *bucket as usize & (size - 1);
        loop {
            match places[at] {
                0 => {
                    counts.push((*bucket, 1));
                    places[at] = counts.len() as u32;
                    break;
                }
                place if counts[place as usize - 1].0 == *bucket => {
                    counts[place as usize - 1].1 += 1;
                    break;
                }
                _ => at = (at + 1) & (size - 1),
            }
        }
    }
    counts
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::super::grams::words;
    use super::*;
    use crate::signature::GRAM_BUCKETS;

    fn buckets(text: &str) -> Vec<usize> {
        let mut buckets = Vec::new();
        terms(text, |bucket| buckets.push(bucket));
        buckets
    }

    fn of(kind: Kind, text: &str) -> usize {
        let word = |text: &str| Hash::new(Kind::Word).add(text.as_bytes());
        match (kind, text.split_once(' '), <&[u8; RUN]>::try_from(text.as_bytes())) {
            (Kind::Pair, Some((word_of, next)), _) => word(word_of).pair(word(next)).bucket(),
            (Kind::Run, _, Ok(bytes)) if text.is_ascii() => ascii_run(bytes) as usize,
            _ => Hash::new(kind).add(text.as_bytes()).bucket(),
        }
    }

    #[test]
    fn a_text_is_its_runs_pairs_and_words() {
        let expected = [
            of(Kind::Run, "<goo"),
            of(Kind::Run, "good"),
            of(Kind::Run, "ood>"),
            of(Kind::Pair, "good it"),
            of(Kind::Pair, "it !"),
            of(Kind::Word, "good"),
            of(Kind::Word, "it"),
            of(Kind::Word, "!"),
        ];
        assert_eq!(buckets(" GOOD it!\n"), expected);
        assert_eq!(buckets("é").len() + buckets("né").len(), 2, "runs that are the whole word tell nothing more");
        assert_eq!(buckets("née"), [of(Kind::Run, "<née"), of(Kind::Run, "née>"), of(Kind::Word, "née")]);
        assert_eq!(buckets(" \n"), [0; 0]);
        assert_ne!(buckets("bad not good"), buckets("good not bad"));
    }

    #[test]
    fn frequent_terms_come_more_often_but_not_as_often_as_they_are_there() {
        let [a, pair] = [of(Kind::Word, "a"), of(Kind::Pair, "a a")];
        assert_eq!(buckets("a a a"), [pair, pair, a, a]);
        let count = |times: usize| buckets(&"a ".repeat(times)).iter().filter(|bucket| **bucket == a).count();
        assert_eq!([1, 2, 3, 4, 7, 8, 1000].map(count), [1, 2, 2, 3, 3, 4, 10]);
    }

    #[test]
    fn characters_of_scripts_without_spaces_are_words() {
        assert_eq!(buckets("很好"), [of(Kind::Pair, "很 好"), of(Kind::Word, "很"), of(Kind::Word, "好")]);
        assert!(buckets("買うiPad").contains(&of(Kind::Word, "ipad")));
        assert!(buckets("iPadを").contains(&of(Kind::Pair, "ipad を")));
    }

    #[test]
    fn buckets_are_those_that_published_models_were_trained_with() {
        assert_eq!(buckets("good!"), TERMS);
    }

    /// Changing one of these makes every model of texts answer wrongly.
    const TERMS: [usize; 6] = [24705, 29662, 22793, 31323, 28126, 23312];

    proptest! {
        /// The slow way.
        #[test]
        fn terms_are_the_parts_of_a_text_counted(text in "[a-dA-C'é好 .]{0,60}") {
            let mut all: Vec<String> = Vec::new();
            words(&text, |word| all.push(word.clone()));
            let mut expected: BTreeMap<usize, u32> = BTreeMap::new();
            let mut count = |kind, part: &str| *expected.entry(of(kind, part)).or_default() += 1;
            for (place, word) in all.iter().enumerate() {
                count(Kind::Word, word);
                if let Some(next) = all.get(place + 1) {
                    count(Kind::Pair, &format!("{word} {next}"));
                }
                let framed: Vec<char> = format!("<{word}>").chars().collect();
                if framed.len() > RUN {
                    framed.windows(RUN).for_each(|run| count(Kind::Run, &run.iter().collect::<String>()));
                }
            }
            let mut found: BTreeMap<usize, u32> = BTreeMap::new();
            buckets(&text).into_iter().for_each(|bucket| *found.entry(bucket).or_default() += 1);
            prop_assert!(found.keys().all(|bucket| *bucket < GRAM_BUCKETS));
            let expected: BTreeMap<usize, u32> =
                expected.into_iter().map(|(bucket, count)| (bucket, 1 + count.ilog2())).collect();
            prop_assert_eq!(found, expected);
        }
    }
}
