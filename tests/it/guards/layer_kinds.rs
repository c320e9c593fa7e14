//! Matches on the kinds of layers name every kind: a new layer must not pass silently as an identity.

use super::source::{Source, Token, sources};

/// The enums of layer kinds; in the file of the second it is called `Self` as well.
const KINDS: [&str; 2] = ["LayerSpec", "Layer"];
const FILE_OF_LAYER: &str = "trainer::network::layer";

#[test]
fn matches_on_layer_kinds_are_exhaustive() {
    let mut wild = Vec::new();
    for (module, source) in sources() {
        let names: Vec<&str> = KINDS.into_iter().chain((module == FILE_OF_LAYER).then_some("Self")).collect();
        wild.extend(wildcards(&source, &names).into_iter().map(|line| format!("{}:{line}", source.file.display())));
    }
    assert!(wild.is_empty(), "`_ =>` in a match on layer kinds: {wild:?}");
}

/// Returns the lines of wildcard arms in matches whose patterns name a variant of one of the enums.
fn wildcards(source: &Source, names: &[&str]) -> Vec<usize> {
    let tokens = source.tokens();
    let mut lines = Vec::new();
    for (at, token) in tokens.iter().enumerate() {
        if token.text != "match" {
            continue;
        }
        let patterns = patterns(&tokens[at + 1..]);
        let names_kind = |pattern: &&[Token<'_>]| {
            pattern.windows(2).any(|pair| names.contains(&pair[0].text) && pair[1].text == "::")
        };
        if patterns.iter().any(names_kind) {
            let wild = patterns.iter().filter(|pattern| matches!(pattern, [only] if only.text == "_"));
            lines.extend(wild.map(|pattern| source.line_of(pattern[0].at)));
        }
    }
    lines
}

/// Returns the patterns of the arms of a `match`, whose tokens after that word are given.
fn patterns<'t, 's>(tokens: &'t [Token<'s>]) -> Vec<&'t [Token<'s>]> {
    let mut at = end_of_group(tokens, 0, &["{"]);
    let mut patterns = Vec::new();
    while tokens.get(at).is_some_and(|token| token.text != "}") {
        let arrow = end_of_group(tokens, at, &["="]);
        if tokens.get(arrow).is_none_or(|token| token.text != ">") {
            // An `=` of a guard, as in `==` or `<=`.
            at = arrow;
            continue;
        }
        patterns.push(&tokens[at..arrow - 1]);
        at = match tokens.get(arrow + 1) {
            Some(open) if open.text == "{" => end_of_group(tokens, arrow + 2, &["}"]),
            _ => end_of_group(tokens, arrow + 1, &[",", "}"]),
        };
        let is_end = tokens.get(at - 1).is_some_and(|token| token.text == "}")
            && tokens.get(arrow + 1).is_some_and(|open| open.text != "{");
        if is_end {
            break;
        }
        if tokens.get(at).is_some_and(|token| token.text == ",") {
            at += 1;
        }
    }
    patterns
}

/// Returns the place behind the first of some tokens that is in no brackets opened at or after `at`.
fn end_of_group(tokens: &[Token<'_>], at: usize, ends: &[&str]) -> usize {
    let mut depth = 0;
    for (place, token) in tokens.iter().enumerate().skip(at) {
        if depth == 0 && ends.contains(&token.text) {
            return place + 1;
        }
        match token.text {
            "(" | "[" | "{" => depth += 1,
            ")" | "]" | "}" => depth -= 1,
            _ => {}
        }
    }
    tokens.len()
}

#[test]
fn wildcards_are_found_where_kinds_are_matched_and_nowhere_else() {
    let code = "fn f() { match layer { Layer::A { x } if x == 1 => g(x, |y| y), (Layer::B, _) => { 1 } _ => 2, } }\n\
                fn g() { match text { _ => Layer::A } }\n\
                fn h() { match layer {\n Layer::A => match text { _ => 0 },\n _ => 1 } }"
        .to_owned();
    let source = Source { file: "x.rs".into(), text: String::new(), code };
    assert_eq!(wildcards(&source, &KINDS), [1, 5]);
}
