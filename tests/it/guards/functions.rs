//! Functions that a reader can hold in mind.

use super::source::{Source, Token, sources};

/// Lines from `fn` to the closing brace that a function should have at most.
const LONG: usize = 60;
/// Functions longer than that in the whole program.
const LONG_FUNCTIONS: usize = 5;
/// Lines that no function may exceed.
const LONGEST: usize = 90;

/// Returns the name and the number of lines of every function with a body.
fn functions(source: &Source) -> Vec<(String, usize)> {
    let tokens = source.tokens();
    let begins = tokens.windows(2).enumerate().filter(|(_, pair)| pair[0].text == "fn" && pair[1].text != "(");
    let function = |(at, pair): (usize, &[Token<'_>])| {
        let end = body_end(&tokens[at..])?;
        let lines = source.line_of(tokens[at + end].at) - source.line_of(pair[0].at) + 1;
        Some((pair[1].text.to_owned(), lines))
    };
    begins.filter_map(function).collect()
}

/// Returns the place of a function's closing brace; `None` if it has no body.
fn body_end(tokens: &[Token<'_>]) -> Option<usize> {
    let mut depth = 0;
    for (at, token) in tokens.iter().enumerate() {
        match token.text {
            "(" | "[" | "{" => depth += 1,
            ")" | "]" => depth -= 1,
            "}" => {
                depth -= 1;
                if depth == 0 {
                    return Some(at);
                }
            }
            ";" if depth == 0 => return None,
            _ => {}
        }
    }
    None
}

#[test]
fn functions_are_short() {
    let mut long = Vec::new();
    let mut count = 0;
    for (module, source) in sources() {
        let functions = functions(&source);
        count += functions.len();
        long.extend(
            functions.into_iter().filter(|(_, lines)| *lines > LONG).map(|(name, lines)| (lines, module.clone(), name)),
        );
    }
    assert!(count > 1000, "the functions were found");
    long.sort();
    assert!(long.len() <= LONG_FUNCTIONS, "{} functions have more than {LONG} lines: {long:#?}", long.len());
    let longest: Vec<_> = long.iter().filter(|(lines, ..)| *lines > LONGEST).collect();
    assert!(longest.is_empty(), "more than {LONGEST} lines: {longest:?}");
}

#[test]
fn the_length_of_a_function_is_that_of_its_body() {
    let code =
        "trait T { fn none(&self) -> [u8; 4]; }\nfn one() {}\nfn three(f: fn(u8) -> u8) -> X {\n  { }\n}\n".to_owned();
    let found = functions(&Source { file: "x.rs".into(), text: String::new(), code });
    assert_eq!(found, [("one".into(), 1), ("three".into(), 3)]);
}
