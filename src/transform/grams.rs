//! The n-grams of a text as numbers of buckets: words, pairs of words, and runs of characters inside words (Bojanowski
//! et al. 2017, "Enriching Word Vectors with Subword Information"). Training and serving use the same buckets.

use super::hash::{Hash, Kind};
use super::terms::terms;
use super::tokens::{is_spaceless, split};
use crate::signature::{COLUMN_BUCKETS, FIRST_TOKEN, PADDING, TokenSplit};

/// The lengths of runs of characters, with the signs for the ends of a word.
const RUNS: std::ops::RangeInclusive<usize> = 3..=5;

/// Writes the elements of a text in a column of a table: the numbers of its last n-grams, padded in front. A text without
/// any is as a missing one.
pub fn text_elements(text: &str, to: &mut [f32]) {
    let mut numbers = Vec::new();
    grams(text, |bucket| numbers.push((FIRST_TOKEN + bucket % COLUMN_BUCKETS) as f32));
    let kept = &numbers[numbers.len().saturating_sub(to.len())..];
    let (padding, rest) = to.split_at_mut(to.len() - kept.len());
    padding.fill(PADDING as f32);
    rest.copy_from_slice(kept);
}

/// Passes the words of a text to `take`, in lower case. A character of a script without spaces is a word.
pub fn words(text: &str, take: impl FnMut(&String)) {
    let mut words: Vec<String> = Vec::new();
    split(text, TokenSplit::Words, |token| parted(token, &mut words));
    words.iter().for_each(take);
}

/// Passes the buckets of a text to `take`, by a rule whose tokens are hashed.
pub fn hashed(text: &str, how: TokenSplit, take: impl FnMut(usize)) {
    match how {
        TokenSplit::Terms => terms(text, take),
        TokenSplit::Grams | TokenSplit::Words | TokenSplit::Characters => grams(text, take),
    }
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

/// Returns the bucket of a gram of these characters.
fn bucket(kind: Kind, characters: impl Iterator<Item = char>) -> usize {
    let mut bytes = [0; 4];
    let add = |hash: Hash, character: char| hash.add(character.encode_utf8(&mut bytes).as_bytes());
    characters.fold(Hash::new(kind), add).bucket()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signature::GRAM_BUCKETS;

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
    fn a_cell_holds_the_last_grams_behind_padding() {
        let of = |text: &str, width: usize| {
            let mut elements = vec![-7.0; width];
            text_elements(text, &mut elements);
            elements
        };
        let number = |kind, text| (FIRST_TOKEN + self::of(kind, text) % COLUMN_BUCKETS) as f32;
        let whole = [number(Kind::Run, "<it"), number(Kind::Run, "it>"), number(Kind::Word, "it")];
        assert_eq!(of("It", 3), whole);
        assert_eq!(of("It", 2), whole[1..]);
        assert_eq!(of("It", 5), [&[0.0, 0.0], &whole[..]].concat());
        assert_eq!(of(" ", 2), [0.0, 0.0]);
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
