//! The longest length of texts, by what is said and by trial.

use super::config::{LengthRule, TextConfig};
use super::encoder::TextEncoder;
use crate::signature::{Signature, TextSpec};

/// The longest text that is tried.
pub const LONGEST_TRIAL: usize = 1024;

/// The longest text where nobody said a length in `model.toml`.
const LONGEST_GUESS: usize = 8192;

/// Returns the longest length of texts for a graph, and the rule that says so.
pub fn longest_text(
    encoder: &TextEncoder,
    config: &TextConfig,
    said: Option<&TextSpec>,
    graph: &Signature,
) -> (usize, LengthRule) {
    if let Some(length) = said.and_then(|said| said.max_length) {
        return (length, LengthRule::Said);
    }
    let (length, rule) = encoder.length(config);
    let transform = TextSpec::resolve(said, graph, 1).ok().flatten();
    match transform.and_then(|transform| transform.fixed_length(graph)) {
        Some(fixed) if fixed < length => (fixed, LengthRule::Graph),
        _ if length > LONGEST_GUESS => (LONGEST_GUESS, LengthRule::Clamped),
        _ => (length, rule),
    }
}

/// Returns the greatest length up to `most` that a graph runs on; `None` if it runs on none.
pub fn greatest_length(most: usize, mut runs: impl FnMut(usize) -> bool) -> Option<usize> {
    if runs(most) {
        return Some(most);
    }
    let (mut good, mut bad) = (0, most);
    while bad - good > 1 {
        let middle = usize::midpoint(good, bad);
        if runs(middle) {
            good = middle;
        } else {
            bad = middle;
        }
    }
    (good > 0).then_some(good)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_greatest_length_is_found_by_halves() {
        for greatest in [1, 2, 23, 511, 512] {
            assert_eq!(greatest_length(512, |length| length <= greatest), Some(greatest));
        }
        assert_eq!(greatest_length(512, |_| false), None);
    }
}
