//! The n-grams of a text as numbers of buckets: words, pairs of words, and runs of characters inside words (Bojanowski
//! et al. 2017, "Enriching Word Vectors with Subword Information"). Training and serving use the same buckets.

use super::tokens::{is_spaceless, split};
use crate::signature::{GRAM_BUCKETS, TokenSplit};

/// The lengths of runs of characters, with the signs for the ends of a word.
const RUNS: std::ops::RangeInclusive<usize> = 3..=5;

/// What a gram is made of, which parts equal texts.
#[derive(Clone, Copy)]
enum Kind {
    Word = 1,
    Pair = 2,
    Run = 3,
}

/// Passes the buckets of a text's grams to `take`: runs of characters first, so that of a text that is cut in front the
/// words remain. A character of a script without spaces is a word.
pub fn grams(text: &str, mut take: impl FnMut(usize)) {
    let mut words: Vec<String> = Vec::new();
    split(text, TokenSplit::Words, |token| parted(token, &mut words));
    let mut letters = Vec::new();
    for word in words.iter().filter(|word| word.chars().nth(1).is_some()) {
        letters.clear();
        letters.push('<');
        letters.extend(word.chars());
        letters.push('>');
        for length in RUNS.filter(|length| *length < letters.len()) {
            for run in letters.windows(length) {
                take(bucket(Kind::Run, run.iter().copied()));
            }
        }
    }
    for (place, word) in words.iter().enumerate() {
        take(bucket(Kind::Word, word.chars()));
        if let Some(next) = words.get(place + 1) {
            take(bucket(Kind::Pair, word.chars().chain([' ']).chain(next.chars())));
        }
    }
}

/// Appends a token, each character of a script without spaces by itself.
fn parted(token: &str, words: &mut Vec<String>) {
    let mut word = String::new();
    for character in token.chars() {
        if is_spaceless(character) {
            words.extend((!word.is_empty()).then(|| std::mem::take(&mut word)));
            words.push(character.into());
        } else {
            word.push(character);
        }
    }
    words.extend((!word.is_empty()).then_some(word));
}

/// Returns the bucket of a gram by FNV-1a (Fowler, Noll and Vo), folded to as many bits as there are buckets.
fn bucket(kind: Kind, characters: impl Iterator<Item = char>) -> usize {
    let add = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    let mut hash = add(0xcbf2_9ce4_8422_2325, kind as u8);
    let mut bytes = [0; 4];
    for character in characters {
        hash = character.encode_utf8(&mut bytes).bytes().fold(hash, add);
    }
    (hash ^ (hash >> 32)) as usize % GRAM_BUCKETS
}

#[cfg(test)]
mod tests {
    use super::*;

    fn buckets(text: &str) -> Vec<usize> {
        let mut buckets = Vec::new();
        grams(text, |bucket| buckets.push(bucket));
        buckets
    }

    fn of(kind: Kind, text: &str) -> usize {
        bucket(kind, text.chars())
    }

    #[test]
    fn a_text_is_its_runs_words_and_pairs() {
        let expected = [
            of(Kind::Run, "<it"),
            of(Kind::Run, "it>"),
            of(Kind::Word, "it"),
            of(Kind::Pair, "it !"),
            of(Kind::Word, "!"),
        ];
        assert_eq!(buckets(" It! "), expected);
        assert_eq!(buckets("good").len(), 4 + 3 + 2 + 1);
        assert_eq!(buckets("a"), [of(Kind::Word, "a")]);
        assert_eq!(buckets(" \n"), [0; 0]);
        assert!(buckets("no good, no bad").iter().all(|bucket| *bucket < GRAM_BUCKETS));
        assert_ne!(buckets("bad not good"), buckets("good not bad"));
    }

    #[test]
    fn characters_of_scripts_without_spaces_are_words() {
        let expected = [of(Kind::Word, "很"), of(Kind::Pair, "很 好"), of(Kind::Word, "好")];
        assert_eq!(buckets("很好"), expected);
        assert!(buckets("買うiPad").contains(&of(Kind::Word, "ipad")));
    }

    #[test]
    fn buckets_are_those_that_published_models_were_trained_with() {
        assert_eq!([of(Kind::Word, "good"), of(Kind::Pair, "not good"), of(Kind::Run, "<go")], BUCKETS);
    }

    /// Changing one of these makes every model of texts answer wrongly.
    const BUCKETS: [usize; 3] = [28126, 10624, 60576];
}
