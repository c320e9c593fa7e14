//! Advice to the owner of a graph that an engine refuses.

/// Phrases of engines' refusals, in lower case, and what to do.
const REMEDIES: [(&str, &str); 13] = [
    (
        "could not find an implementation",
        "convert the graph to a later version of the standard (onnx.version_converter), or cast to float32 around that node",
    ),
    (
        "is not a registered function",
        "export the graph for inference, without that operator or with one of the standard",
    ),
    ("failed to construct locale", "install that locale on the machine of the server"),
    ("layout == 1", "export that layer with layout = 0"),
    ("must be a const", "make that input of the node an initializer of the graph"),
    ("blocked quantization", "quantize the graph by tensor or by axis"),
    ("bfloat16", "convert the graph to float32 or float16"),
    ("of the type 16", "convert the graph to float32 or float16"),
    ("depend on values", "export the graph so that sizes follow from the shapes of its inputs"),
    ("training_mode", "export the graph for inference"),
    ("training mode", "export the graph for inference"),
    ("unsupported mode wrap", "export the graph with another mode of that node"),
    ("randomuniformlike", "export the graph without random numbers"),
];

/// Returns what the owner of a graph can do about a refusal, as a sentence that follows it; empty where nothing is known.
pub fn remedy(problem: &str) -> String {
    let problem = problem.to_lowercase();
    let known = REMEDIES.iter().find(|(phrase, _)| problem.contains(phrase));
    known.map_or_else(String::new, |(_, advice)| format!(". To do: {advice}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn advice_fits_the_refusal() {
        for (problem, advice) in [
            ("Could not find an implementation for AveragePool(1) node with name ''", "later version"),
            ("Fatal error: ai.onnx.preview.training:Adagrad(-1) is not a registered function/op", "for inference"),
            (
                "node \"y\" (QuantizeLinear): an input must be known before the run (y_scale must be a const)",
                "initializer",
            ),
            ("\"input\" is of the type 16, which tract does not know", "float16"),
        ] {
            assert!(remedy(problem).contains(advice), "{problem}: {}", remedy(problem));
        }
        assert_eq!(remedy("a node (Foo): the types or shapes of its inputs do not fit together"), "");
    }
}
