//! The reasons of engines in words that may leave the process, and the line between faults of an input and of a model.

use std::fmt;

use super::explain;
use crate::error::Error;
use crate::ids::quote;

/// The characters of a reason that are shown.
const MAX_CHARS: usize = 400;

/// Phrases of engines and their panics, in lower case, and the words for them. A panic speaks about the code of the
/// engine, not about the graph.
const WORDS: [(&str, &str); 19] = [
    ("index out of bounds", "an index lies outside its table"),
    ("out of range for slice", "an index lies outside its table"),
    ("out of range", "an index lies outside its table"),
    ("invalid gather", "an index lies outside its table"),
    ("index < dim", "an index lies outside its table"),
    ("|d| d >= 0", "a size becomes negative"),
    ("can not broadcast", "the shapes of two tensors do not fit together"),
    ("divide by zero", "an integer is divided by zero"),
    ("divisor of zero", "an integer is divided by zero"),
    ("subtract with overflow", "a size or a number becomes negative"),
    ("with overflow", "a size or a number becomes too large"),
    ("capacity overflow", "a size becomes too large"),
    ("clashing resolution", "dimensions that must be equal differ"),
    ("incompatibleshape", "the shapes of two tensors do not fit together"),
    ("not implemented", "the engine does not implement one of its operations"),
    ("not yet implemented", "the engine does not implement one of its operations"),
    ("option::unwrap()", "an expectation of the engine is not met"),
    ("result::unwrap()", "an expectation of the engine is not met"),
    ("assertion", "an expectation of the engine is not met"),
];

/// Phrases for faults of the values or sizes of an input, in lower case.
const OF_INPUT: [&str; 25] = [
    "an index lies outside",
    "out of data bounds",
    "out of bounds",
    "divided by zero",
    "division by zero",
    "modulo by zero",
    "becomes negative",
    "becomes too large",
    "must be equal differ",
    "do not fit together",
    "invalid argument",
    "invalid input",
    "invalid dimension",
    "mismatch",
    "incompatible",
    "to broadcast",
    "could not broadcast",
    "cannot be reshaped",
    "to reshape",
    "do not match",
    "same shape",
    "must match",
    "must be within",
    "out of range",
    "in training mode",
];

/// Phrases of an allocator without memory, in lower case.
const OF_MEMORY: [&str; 3] = ["allocate", "bad_alloc", "out of memory"];

/// Begins the words of our own operators in a graph when the sizes or values of an input are at fault. They end the
/// message, and are fit for an answer as they are.
pub(super) const REFUSES: &str = "weir refuses: ";

fn own_words(said: &str) -> Option<&str> {
    said.split_once(REFUSES).map(|(_, words)| words)
}

/// An index outside its table.
pub(super) struct IndexFault<'f> {
    /// The name of the tensor that holds it.
    pub(super) indices: &'f str,
    pub(super) index: i64,
    /// Its position among the indices, if it is known.
    pub(super) place: Option<Vec<usize>>,
    /// The name of the tensor that is looked up in.
    pub(super) table: &'f str,
    /// The axis of the table, if it is known.
    pub(super) axis: Option<i64>,
    /// The least and the largest index that it takes.
    pub(super) range: Option<(i64, i64)>,
}

impl fmt::Display for IndexFault<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "indices {}: value {}", quote(self.indices), self.index)?;
        if let Some(place) = &self.place {
            write!(f, " at {place:?}")?;
        }
        f.write_str(" is outside ")?;
        if let Some(axis) = self.axis {
            write!(f, "axis {axis} of ")?;
        }
        write!(f, "the table {}", quote(self.table))?;
        self.range.map_or(Ok(()), |(least, most)| write!(f, " ({least} to {most})"))
    }
}

/// Returns the position of an element by its number.
pub(super) fn place_in(mut element: usize, shape: &[usize]) -> Vec<usize> {
    let mut place = vec![0; shape.len()];
    for (at, size) in shape.iter().enumerate().rev() {
        place[at] = element % (*size).max(1);
        element /= (*size).max(1);
    }
    place
}

/// Returns the error of a run that failed, by what the engine or its panic said: of the input where the values or sizes
/// of the input are at fault, else of the model.
pub(super) fn running(said: &str) -> Error {
    running_with(said, false)
}

/// Returns the error of a run that failed, as [`running`] does; the engine may be sure that the input is at fault.
pub(super) fn running_with(said: &str, is_of_input: bool) -> Error {
    if let Some(words) = own_words(said) {
        return Error::InvalidInput(words.to_owned());
    }
    let reason = words(said);
    let lower = reason.to_lowercase();
    let has = |phrases: &[&str]| phrases.iter().any(|phrase| lower.contains(phrase));
    if (is_of_input || has(&OF_INPUT)) && !has(&OF_MEMORY) {
        return Error::InvalidInput(format!("the model does not take this input: {reason}"));
    }
    Error::internal("the model failed", reason)
}

/// Returns true if the engine does not know an operation of the graph, whatever the sizes of its inputs.
pub(super) fn is_unknown_operation(said: &str) -> bool {
    said.contains("Unimplemented")
}

/// Returns what an engine or its panic said in words: on one line, without paths and places in the engine's code, the
/// middle cut out if it is long.
pub(super) fn words(said: &str) -> String {
    if let Some(words) = own_words(said) {
        return words.to_owned();
    }
    let (node, cause) = explain::cause(said);
    let reason = reason(cause, node.is_some());
    brief(&node.map_or_else(|| reason.clone(), |node| format!("{node}: {reason}")), MAX_CHARS)
}

/// Returns the words for a reason, which the built-in engine gave for a node of its own or any engine as it is.
fn reason(said: &str, is_of_node: bool) -> String {
    let mut plain = plain(said);
    if is_of_node {
        // What is left before the last reason is what the engine was doing.
        plain = plain.rsplit(": ").next().unwrap_or_default().to_owned();
    }
    let lower = said.to_lowercase();
    let known = WORDS.iter().find(|(phrase, _)| lower.contains(phrase)).map(|(_, words)| *words);
    let is_private = explain::is_private(&plain);
    match known.or_else(|| explain::reason(said)) {
        // The condition in an assertion is code.
        Some(words) if plain.is_empty() || lower.contains("assertion failed") || is_private => words.to_owned(),
        Some(words) => format!("{words} ({plain})"),
        None if plain.is_empty() => "it gives no reason".to_owned(),
        None if is_of_node && is_private => "the built-in engine cannot work out its types or shapes".to_owned(),
        None => plain,
    }
}

/// Returns a message on one line without paths, places in code and the names of functions that follow them.
fn plain(said: &str) -> String {
    let mut line = said.split_whitespace().collect::<Vec<_>>().join(" ");
    if let Some(rest) = line.strip_prefix("Non-zero status code returned while running ") {
        line = rest.replacen(" node. Name:'' Status Message:", ":", 1).replacen(" Status Message:", ":", 1);
    }
    // A failure inside a failure begins with the code of its status.
    while let Some((before, after)) = line.split_once("[ONNXRuntimeError] :") {
        let reason = after.splitn(3, " : ").nth(2).unwrap_or_default();
        line = format!("{before}{reason}");
    }
    while let Some((start, end)) = place_in_code(&line) {
        let rest = after_function(&line[end..]);
        line = format!("{}{rest}", &line[..start]);
    }
    let is_code = |word: &str| ["::<", "onnxruntime::", "std::"].iter().any(|start| word.starts_with(start));
    let is_shown = |word: &&str| !word.is_empty() && !is_path(word) && !word.contains("0x") && !is_code(word);
    let shown = line.split(' ').filter(is_shown).collect::<Vec<_>>().join(" ");
    if shown.ends_with(':') { format!("{shown} it gives no reason") } else { shown }
}

/// Returns true for the path of a file. Names of nodes may have slashes as well.
fn is_path(word: &str) -> bool {
    const ENDINGS: [&str; 7] = [".rs", ".cc", ".h", ".cpp", ".so", ".onnx", ".data"];
    const ROOTS: [&str; 8] = ["/root/", "/home/", "/tmp/", "/usr/", "/var/", "/opt/", "/build/", "/onnxruntime"];
    let has = |texts: &[&str]| texts.iter().any(|text| word.contains(text));
    word.contains(".rs:") || (word.matches('/').count() >= 2 && (has(&ENDINGS) || has(&ROOTS)))
}

/// Returns where the first "file:line" lies in a message, with what surrounds it up to the next blanks.
fn place_in_code(line: &str) -> Option<(usize, usize)> {
    let mut start = 0;
    for word in line.split(' ') {
        let is_place = [".cc:", ".h:", ".cpp:", ".hpp:"].iter().any(|ending| {
            let digits = word.split_once(ending).map(|(_, rest)| rest);
            digits.is_some_and(|digits| digits.starts_with(|c: char| c.is_ascii_digit()))
        });
        if is_place {
            return Some((start, start + word.len()));
        }
        start += word.len() + 1;
    }
    None
}

/// Returns what follows the signature of a function and the condition that was false there.
fn after_function(text: &str) -> &str {
    let text = text.trim_start();
    let rest = match text.split_once('(') {
        Some((name, _)) if name.contains("::") || !name.contains(' ') => {
            let after = after_bracket(&text[name.len()..]).trim_start().trim_start_matches("const").trim_start();
            if after.starts_with('[') { after_bracket(after) } else { after }
        }
        _ => text.split_once(' ').map_or("", |(_, rest)| rest),
    };
    let rest = rest.trim_start();
    match rest.split_once(" was false. ") {
        Some((_, reason)) if !reason.is_empty() => reason,
        _ => rest,
    }
}

/// Returns what follows the bracket that the text begins with.
fn after_bracket(text: &str) -> &str {
    let mut depth = 0usize;
    for (index, character) in text.char_indices() {
        match character {
            '(' | '[' => depth += 1,
            ')' | ']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth == 0 {
            return &text[index + character.len_utf8()..];
        }
    }
    ""
}

/// Returns a text with its middle cut out if it is longer than `limit` characters.
fn brief(text: &str, limit: usize) -> String {
    let length = text.chars().count();
    if length <= limit {
        return text.to_owned();
    }
    let (head, tail) = (text.chars().take(limit / 2), text.chars().skip(length - limit / 2));
    head.chain(" … ".chars()).chain(tail).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Kind;

    const GATHER: &str = "Non-zero status code returned while running Gather node. Name:'' Status Message: indices element out \
         of data bounds, idx=5 must be within the inclusive range [-5,4]";
    const MUL: &str = "Non-zero status code returned while running Mul node. Name:'m' Status Message: \
         /onnxruntime_src/onnxruntime/core/providers/cpu/math/element_wise_ops.h:563 void \
         onnxruntime::BroadcastIterator::Init(ptrdiff_t, ptrdiff_t) axis == 1 || axis == largest was false. Attempting to \
         broadcast an axis by a dimension other than 1. 2 by 3\n";
    const MOD: &str = "Non-zero status code returned while running Mod node. Name:'' Status Message: \
         element_wise_ops.cc:2421 operator() Integer modulo by zero";
    const DIV: &str = "Non-zero status code returned while running Div node. Name:'' Status Message: \
         element_wise_ops.cc:703 Compute Integer division by zero";

    #[test]
    fn a_message_loses_paths_and_places_and_keeps_its_reason() {
        for (said, expected) in [
            (GATHER, "Gather: indices element out of data bounds, idx=5 must be within the inclusive range [-5,4]"),
            (MUL, "Mul node. Name:'m': Attempting to broadcast an axis by a dimension other than 1. 2 by 3"),
            (MOD, "Mod: Integer modulo by zero"),
            (DIV, "Div: Integer division by zero"),
            ("Load model from /tmp/a/b.onnx failed:\nno graph", "Load model from failed: no graph"),
            ("node /encoder/layer.0/Add: src/ops/add.rs:7 no", "node /encoder/layer.0/Add: no"),
            (
                "Non-zero status code returned while running ArgMin node. Name:'' Status Message: ",
                "ArgMin: it gives no reason",
            ),
            (
                "Non-zero status code returned while running Pad node. Name:'p' Status Message: [ONNXRuntimeError] : 1 : FAIL : \
                 tensor is too large",
                "Pad node. Name:'p': tensor is too large",
            ),
        ] {
            assert_eq!(plain(said), expected);
        }
        let long = words(&format!("head {} tail", "ä".repeat(2000)));
        assert!(long.starts_with("head") && long.ends_with("tail") && long.chars().count() <= MAX_CHARS + 3, "{long}");
    }

    #[test]
    fn an_element_has_its_place() {
        assert_eq!(place_in(5, &[2, 3]), [1, 2]);
        assert_eq!(place_in(0, &[]), [0usize; 0]);
    }

    #[test]
    fn what_the_values_of_an_input_cause_is_the_inputs_fault() {
        let dropout = "Evaluating #4 \"y\" Dropout: Dropout in training mode with a non-zero ratio is not supported";
        let division = "attempt to divide by zero";
        let bounds = "index out of bounds: the len is 10 but the index is 12";
        for said in
            [GATHER, MUL, MOD, DIV, dropout, division, bounds, "range end index 14 out of range for slice of length 10"]
        {
            let error = running(said);
            assert_eq!(error.kind(), Kind::InvalidInput, "{error}");
        }
        for said in ["called `Option::unwrap()` on a `None` value", "Failed to allocate memory for shape mismatch", ""]
        {
            let error = running(said);
            assert_eq!(error.kind(), Kind::Internal, "{error}");
        }
        assert!(running(bounds).to_string().contains("an index lies outside its table"));
        assert!(words("called `Option::unwrap()` on a `None` value").starts_with("an expectation of the engine"));
    }
}
