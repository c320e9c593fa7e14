//! Doc comments say the contract first.

use super::source::sources;

/// Words that open a clause in which the contract comes last, or never.
const OPENINGS: [&str; 5] = ["What", "How", "Whether", "As", "Who"];
/// Doc comments that may open with one of them, in per cent.
const MOST_PERCENT: usize = 3;

/// Returns the first line of every doc comment.
fn openings(text: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut is_inside = false;
    for line in text.lines() {
        let comment = line.trim_start();
        let doc = comment.strip_prefix("///").or_else(|| comment.strip_prefix("//!")).map(str::trim);
        if let Some(first) = doc
            && !first.is_empty()
            && !is_inside
        {
            found.push(first);
        }
        is_inside = doc.is_some();
    }
    found
}

#[test]
fn doc_comments_say_the_contract_first() {
    let (mut count, mut bad) = (0, Vec::new());
    for source in sources().values() {
        for opening in openings(&source.text) {
            count += 1;
            if opening.split_whitespace().next().is_some_and(|word| OPENINGS.contains(&word)) {
                bad.push(format!("{}: {opening}", source.file.display()));
            }
        }
    }
    assert!(count > 1000, "the doc comments were found");
    assert!(
        bad.len() * 100 <= count * MOST_PERCENT,
        "{} of {count} doc comments open with a question word:\n{}",
        bad.len(),
        bad.join("\n")
    );
}
