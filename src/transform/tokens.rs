//! Splits text into tokens by a rule that is the same in training and serving.

use crate::signature::TokenSplit;

/// Passes the tokens of a text to `take`, in order. White space around the text is ignored.
pub fn split(text: &str, how: TokenSplit, mut take: impl FnMut(&str)) {
    let text = text.trim();
    match how {
        TokenSplit::Characters => {
            let mut bytes = [0; 4];
            text.chars().for_each(|character| take(character.encode_utf8(&mut bytes)));
        }
        TokenSplit::Words | TokenSplit::Grams | TokenSplit::Terms => words(text, &mut take),
    }
}

/// Splits into words and signs. A word is a run of letters and digits, with the apostrophes inside it, in
/// lower case; every other visible character is a token of its own.
fn words(text: &str, take: &mut impl FnMut(&str)) {
    let mut word = String::new();
    let mut rest = text;
    loop {
        // Most characters are letters and digits of ASCII, which are taken run by run.
        let run = rest.bytes().take_while(u8::is_ascii_alphanumeric).count();
        let start = word.len();
        word.push_str(&rest[..run]);
        word[start..].make_ascii_lowercase();
        let mut characters = rest[run..].chars();
        let Some(character) = characters.next() else { break };
        rest = characters.as_str();
        let is_inner = is_apostrophe(character) && !word.is_empty();
        if character.is_alphanumeric() || (is_inner && rest.starts_with(char::is_alphanumeric)) {
            // Both kinds of apostrophe become the same, so that both spellings are one word.
            match is_inner {
                true => word.push('\''),
                false => word.extend(character.to_lowercase()),
            }
            continue;
        }
        if !word.is_empty() {
            take(&word);
            word.clear();
        }
        if !character.is_whitespace() && !character.is_control() {
            let mut bytes = [0; 4];
            take(character.encode_utf8(&mut bytes));
        }
    }
    if !word.is_empty() {
        take(&word);
    }
}

/// Returns true for a character of a script that puts no spaces between words: Chinese, Japanese, Thai, Lao, Burmese,
/// Khmer.
pub fn is_spaceless(character: char) -> bool {
    matches!(character,
        '\u{e00}'..='\u{eff}' | '\u{1000}'..='\u{109f}' | '\u{1780}'..='\u{17ff}' | '\u{3040}'..='\u{30ff}'
        | '\u{3400}'..='\u{9fff}' | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{3ffff}')
}

fn is_apostrophe(character: char) -> bool {
    matches!(character, '\'' | '\u{2019}')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn tokens(text: &str, how: TokenSplit) -> Vec<String> {
        let mut tokens = Vec::new();
        split(text, how, |token| tokens.push(token.to_owned()));
        tokens
    }

    #[test]
    fn words_are_in_lower_case_and_signs_stand_alone() {
        for (text, expected) in [
            ("Don't PANIC!!", &["don't", "panic", "!", "!"][..]),
            ("don\u{2019}t", &["don't"]),
            ("'quoted' dogs'", &["'", "quoted", "'", "dogs", "'"]),
            ("£3.50 at 10:30", &["£", "3", ".", "50", "at", "10", ":", "30"]),
            ("Größe\tÜBER\u{0}\nalles", &["größe", "über", "alles"]),
            ("日本 \u{1f600}", &["日本", "\u{1f600}"]),
            (" \n", &[]),
        ] {
            assert_eq!(tokens(text, TokenSplit::Words), expected, "{text}");
        }
    }

    #[test]
    fn characters_are_as_they_are() {
        assert_eq!(tokens(" Ab c\n", TokenSplit::Characters), ["A", "b", " ", "c"]);
        assert_eq!(tokens("", TokenSplit::Characters), [""; 0]);
    }

    proptest! {
        #[test]
        fn every_visible_character_is_in_a_token_and_splitting_again_changes_nothing(text in "\\PC{0,40}") {
            let words = tokens(&text, TokenSplit::Words);
            prop_assert!(words.iter().all(|word| !word.is_empty() && !word.contains(char::is_whitespace)));
            let visible: String = text.chars().filter(|c| !c.is_whitespace()).flat_map(char::to_lowercase).collect();
            prop_assert_eq!(words.concat().to_lowercase().replace('\u{2019}', "'"), visible.to_lowercase().replace('\u{2019}', "'"));
            prop_assert_eq!(tokens(&text, TokenSplit::Characters).concat(), text.trim());
        }
    }
}
