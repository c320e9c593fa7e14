//! `weir models describe`: a graph's inputs and outputs, and a `model.toml` to start from.

use std::fs;
use std::path::Path;

use serde_json::json;

use crate::engine::{declared_signature, graph_facts};
use crate::error::{Error, Result};
use crate::ids::{printable, quote};
use crate::signature::{GraphFacts, Guess, Signature, TensorSpec};

/// Returns a `model.toml` for a graph, with what was found in the graph as comments; or the same as JSON.
///
/// # Errors
/// [`Error::Io`] when the file cannot be read, [`Error::Repository`] when it declares no inputs and outputs.
pub(super) fn describe(file: &Path, as_json: bool) -> Result<String> {
    let onnx = fs::read(file).map_err(Error::io("read", file))?;
    let (signature, facts) = (declared_signature(&onnx), graph_facts(&onnx));
    if signature.outputs.is_empty() {
        let problem = "declares no output that is a tensor; is it an ONNX file?".into();
        return Err(Error::Repository { what: file.display().to_string(), problem });
    }
    let guess = Guess::of(&signature, &facts);
    if as_json {
        let lines = guess.map(|guess| guess.short()).unwrap_or_default();
        let answer = json!({"signature": signature, "producer": facts.producer, "model_toml": lines});
        return Ok(format!("{answer:#}\n"));
    }
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let head = head(&name, &signature, &facts);
    Ok(match guess {
        Some(guess) => {
            format!("{head}# A guess, to be checked; put it beside the folder of the version.\n\n{}", guess.toml())
        }
        None => format!(
            "{head}# Nothing here looks like a picture: one input of [N, 1 or 3, height, width] does, or its channels last.\n"
        ),
    })
}

fn head(name: &str, signature: &Signature, facts: &GraphFacts) -> String {
    let mut head = format!("# {name}");
    if !facts.producer.is_empty() {
        head.push_str(&format!(", written by {}", printable(&facts.producer, 80)));
    }
    head.push('\n');
    let line = |kind: &str, spec: &TensorSpec| {
        format!("# {kind} {}: {} {}\n", quote(&spec.name), spec.dtype, spec.shape_text())
    };
    head.extend(signature.inputs.iter().map(|spec| line("input", spec)));
    head.extend(signature.outputs.iter().map(|spec| line("output", spec)));
    head
}
