//! Turns what tract says of its own parts into words about the graph.
//!
//! A message of tract is a chain: where it was ("Failed analyse for node #5 "y" Topk"), what it was doing ("Applying rule
//! inputs[1].rank == 0"), and why it stopped. The node and the reason are what a reader can act on; numbers of nodes, rules
//! and types of the engine's code are not.

/// The beginnings of the elements of a chain that name a node.
const PLACES: [&str; 4] = ["Failed analyse for node ", "Translating node ", "Evaluating ", "Building node "];

/// The beginnings of those that say nothing of the graph.
const STEPS: [&str; 12] = [
    "Infering facts",
    "Applying rule ",
    "Applying patch ",
    "Unifying ",
    "ToTypedTranslator",
    "Node (",
    "Eager ",
    "Wiring node ",
    "in output_facts ",
    "running pass ",
    "consistency check ",
    "while unifying ",
];

/// Phrases of tract's reasons, in lower case, and the words for them.
const REASONS: [(&str, &str); 15] = [
    ("impossible to unify", "the types or shapes of its inputs do not fit together"),
    ("inconsistent matmul", "the shapes of its inputs do not fit together"),
    ("undetermined symbol", "a size is not known before the run"),
    ("output mismatch after rewiring", "the shape of its output does not follow from the shapes of its inputs"),
    ("can not be typed", "the sizes of its outputs depend on values"),
    ("must be a const", "an input must be known before the run"),
    ("must be const", "an input must be known before the run"),
    ("to be a constant", "an input must be known before the run"),
    ("to be constant", "an input must be known before the run"),
    ("to be determined", "an input must be known before the run"),
    ("datum type error", "it does not take elements of this type here"),
    ("datumtype", "it does not take elements of this type here"),
    ("unsupported type", "it does not take elements of this type here"),
    ("wrong number of inputs", "it does not take this number of inputs"),
    ("wrong number of outputs", "it does not give this number of outputs"),
];

/// Marks of an engine's code, which no reader can use.
const PRIVATE: [&str; 22] = [
    "::", "`", "TDim", "Fact", "inputs[", "outputs[", "Some(", "None", ".rs", "Val(", "Sym(", "#", "Downcast",
    "Tensor ", "Op says", "unwrap", "shape_of", "adhoc", "unify", "konst", "outlet", "Plain",
];

/// Returns true for a text that is about the code of an engine.
pub(super) fn is_private(text: &str) -> bool {
    PRIVATE.iter().any(|mark| text.contains(mark))
}

/// Returns the node that a message of tract is about, in words, and the reason at the end of its chain. Any other message
/// is a reason as a whole.
pub(super) fn cause(said: &str) -> (Option<String>, &str) {
    let (mut subject, mut rest) = (None, said);
    loop {
        if let Some((node, after)) = PLACES.iter().find_map(|place| rest.strip_prefix(place)).and_then(place) {
            subject = Some(node);
            rest = after;
        } else if subject.is_some() && STEPS.iter().any(|step| rest.starts_with(step)) {
            rest = rest.split_once(": ").map_or("", |(_, after)| after);
        } else {
            return (subject, rest);
        }
        rest = rest.trim_start_matches([':', ' ']);
    }
}

/// Returns the words for a reason of tract's, if it is a known one.
pub(super) fn reason(said: &str) -> Option<&'static str> {
    let lower = said.to_lowercase();
    REASONS.iter().find(|(phrase, _)| lower.contains(phrase)).map(|(_, words)| *words)
}

/// Returns a node in words, and what follows it: it is `#5 "name" Operator` or `name (Operator)`.
fn place(text: &str) -> Option<(String, &str)> {
    if let Some(numbered) = text.strip_prefix('#') {
        let (_, named) = numbered.split_once(" \"")?;
        let (name, after) = named.split_once("\" ")?;
        let end = after.find([':', ' ']).unwrap_or(after.len());
        return Some((format!("node \"{name}\" ({})", &after[..end]), &after[end..]));
    }
    let (name, after) = text.split_once('(')?;
    let (operator, after) = after.split_once(')')?;
    let name = name.trim();
    let node = if name.is_empty() { format!("a node ({operator})") } else { format!("node \"{name}\" ({operator})") };
    Some((node, after))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chain_becomes_the_node_and_the_reason() {
        for (said, node, why) in [
            (
                "Failed analyse for node #33 \"steps\" Range: Infering facts: Applying rule inputs[1].rank == 0: Impossible to \
                 unify 1 with 0.",
                Some("node \"steps\" (Range)"),
                "Impossible to unify 1 with 0.",
            ),
            (
                "Translating node #5 \"y\" Compress ToTypedTranslator: Node #5 \"y\" Compress can not be typed",
                Some("node \"y\" (Compress)"),
                "Node #5 \"y\" Compress can not be typed",
            ),
            ("Building node (Pad): Unsupported mode wrap", Some("a node (Pad)"), "Unsupported mode wrap"),
            ("Integer division by zero", None, "Integer division by zero"),
            ("Node (n) Op (Tile) is wrong: no", None, "Node (n) Op (Tile) is wrong: no"),
        ] {
            assert_eq!(cause(said), (node.map(str::to_owned), why));
        }
        assert_eq!(reason("Undetermined symbol in expression: N"), Some("a size is not known before the run"));
    }
}
