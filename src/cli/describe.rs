//! `weir models describe`: a graph's inputs and outputs, the tokenizer beside it, and a `model.toml` to start from.

use std::fs;
use std::path::Path;

use serde_json::json;

use crate::engine::{declared_signature, graph_facts};
use crate::error::{Error, Result};
use crate::ids::{printable, quote};
use crate::repository::{Files, TOKENIZER_FILE, TokenizerFiles};
use crate::signature::{GraphFacts, Guess, Signature, TensorSpec, TextSpec, text_answer};
use crate::transform::text::read_tokenizer;

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
    let texts = texts(file, &signature)?;
    if as_json {
        let lines = guess.map(|guess| guess.short()).unwrap_or_default();
        let answer = json!({"signature": signature, "producer": facts.producer, "texts": texts, "model_toml": lines});
        return Ok(format!("{answer:#}\n"));
    }
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let head = head(&name, &signature, &facts);
    if !texts.is_empty() {
        let lines: String = texts.iter().map(|line| format!("# {line}\n")).collect();
        return Ok(format!("{head}{lines}"));
    }
    Ok(match guess {
        Some(guess) => {
            format!("{head}# A guess, to be checked; put it beside the folder of the version.\n\n{}", guess.toml())
        }
        None => format!(
            "{head}# Nothing here looks like a picture: one input of [N, 1 or 3, height, width] does, or its channels last.\n"
        ),
    })
}

/// Returns what there is to say about texts, in sentences; nothing of a graph that takes no numbers of tokens.
fn texts(file: &Path, signature: &Signature) -> Result<Vec<String>> {
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if TextSpec::resolve(None, signature, 1).ok().flatten().is_none() {
        return Ok(Vec::new());
    }
    let Some(files) = TokenizerFiles::read(&Files::from(folder), None)? else {
        return Ok(vec![format!(
            "It takes numbers of tokens. Put the model's {TOKENIZER_FILE} (and config.json, if there is one) beside it, and it takes texts."
        )]);
    };
    let (encoder, config) = read_tokenizer(&files.json, files.side.each_ref().map(Option::as_deref))?;
    let (length, rule) = encoder.length(&config);
    let mut lines = vec![format!("{TOKENIZER_FILE}: {}.", encoder.words())];
    let rest = "[text] max_length in model.toml says another length, and loading measures whether the graph bears it";
    lines.push(format!("Texts of at most {length} tokens, by {}; {rest}.", rule.words()));
    if !config.model.labels.is_empty() {
        lines.push(format!("config.json names {} labels.", config.model.labels.len()));
    }
    lines.push(match text_answer(signature, &config.model) {
        Some((_, why)) => format!("The answer: {why}. [answer] in model.toml says another."),
        None => "Names and shapes of the outputs do not tell the answer; say it in [answer] of model.toml.".into(),
    });
    Ok(lines)
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
