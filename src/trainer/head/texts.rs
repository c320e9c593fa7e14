//! Transformers of texts as backbones: the inputs that a tokenizer fills, and the way from tokens to features.

use std::path::Path;
use std::sync::Arc;

use super::Found;
use super::cut::{Cut, Pooling};
use crate::engine::{Plan, declared_signature};
use crate::repository::{ModelSettings, TokenizerFiles, sha256_hex};
use crate::signature::{
    AnswerSpec, EmbeddingAnswer, OutputTransform, Pool, Signature, TextModelFacts, TextSpec, TextTransform, Transform,
    text_answer,
};
use crate::tensor::Tensor;
use crate::transform::text::{
    LONGEST_TRIAL, LengthRule, Text, TextConfig, TextEncoder, greatest_length, longest_text, read_tokenizer,
};

/// The result of looking at a backbone; the error is the problem in words.
type Looked<T> = std::result::Result<T, String>;

/// A text that a cut graph is tried on.
const TRIAL: &str = "A short text.";

/// What is known of a transformer before its graph is looked at.
#[derive(Debug)]
pub(super) struct Said {
    files: TokenizerFiles,
    /// The transform, if a manifest says it.
    transform: Option<TextTransform>,
    /// What `model.toml` says of it.
    spec: Option<TextSpec>,
    /// The vector that the version answers with, if that is said.
    embedding: Option<EmbeddingAnswer>,
}

/// The texts that a backbone takes.
#[derive(Debug, Clone)]
pub(in crate::trainer) struct TextInput {
    /// Which inputs they fill, and how long they may be.
    pub(in crate::trainer) transform: TextTransform,
    /// The tokenizer, for the graph.
    pub(in crate::trainer) encoder: Arc<TextEncoder>,
    /// The files that the tokenizer is read from, by name.
    pub(in crate::trainer) files: Vec<(&'static str, Vec<u8>)>,
}

impl TextInput {
    /// Returns what features depend on beside the graph and the texts.
    pub(super) fn content(&self) -> Vec<u8> {
        let hashes: Vec<String> =
            self.files.iter().map(|(name, bytes)| format!("{name} {}", sha256_hex(bytes))).collect();
        format!("{}\n{:?}", hashes.join("\n"), self.transform).into_bytes()
    }
}

impl Said {
    /// Returns what a manifest says of texts; `None` if its version takes none.
    pub(super) fn by_manifest(transform: &Transform, files: Option<TokenizerFiles>) -> Option<Self> {
        let embedding =
            if let OutputTransform::Embedding(answer) = &transform.output { Some(answer.clone()) } else { None };
        Some(Self { transform: Some(transform.text.clone()?), files: files?, spec: None, embedding })
    }

    /// Returns what settings and the tokenizer beside a graph say of texts; `None` if the graph takes none, or something
    /// else is said of it.
    pub(super) fn by_settings(
        settings: Option<&ModelSettings>,
        files: Option<TokenizerFiles>,
        onnx: &[u8],
    ) -> Option<Self> {
        let spec = settings.and_then(|settings| settings.text.clone());
        let takes_tokens = || TextSpec::resolve(None, &declared_signature(onnx), 1).ok().flatten().is_some();
        let says_else = settings.is_some_and(|settings| settings.image.is_some() || settings.transform.is_some());
        if spec.is_none() && (says_else || !takes_tokens()) {
            return None;
        }
        let said = settings.and_then(|settings| settings.answer.as_ref());
        let embedding = if let Some(AnswerSpec::Embedding(answer)) = said { Some(answer.clone()) } else { None };
        Some(Self { files: files?, transform: None, spec, embedding })
    }

    /// Cuts a graph at its features and pools them: one vector of a text.
    pub(super) fn cut(self, onnx: &[u8], at: Option<&str>, notes: &mut Vec<String>) -> Looked<Found<TextInput>> {
        let (encoder, config) = read_tokenizer(&self.files.json, self.files.side.each_ref().map(Option::as_deref))
            .map_err(|error| error.to_string())?;
        let graph = declared_signature(onnx);
        let answer = self.embedding.clone().or_else(|| guessed(&graph, &config.model));
        let output = answer.as_ref().and_then(|answer| answer.output.clone().or_else(|| first_floats(&graph)));
        let cut = match (at, output) {
            (Some(at), _) => Cut::new(onnx, Some(at))?,
            (None, Some(output)) => Cut::new(onnx, Some(&output))?.because("the output that is the text's vector"),
            (None, None) => Cut::new(onnx, None)?,
        };
        let (transform, rule) = self.transform(&encoder, &config, &graph)?;
        let of_cut = declared_signature(&cut.onnx());
        let mut transform = left(transform, &of_cut)?;
        let is_left_padded = encoder.pads_left();
        let words = encoder.words();
        let fill = |transform: &TextTransform| encoder.clone().fill(transform, &of_cut, &config, false);
        let mut filled = fill(&transform)?;
        let plan = Plan::load(&cut.onnx()).map_err(|error| format!("cannot be run up to {}: {error}", cut.tensor))?;
        let rank = rank(&plan, &filled, &cut.tensor)?;
        if rule != LengthRule::Said {
            let most = transform.max_length.min(LONGEST_TRIAL);
            let longest = greatest_length(most, |length| run(&plan, &filled, 1, length).is_ok());
            if let Some(longest) = longest.filter(|longest| *longest < most) {
                transform.max_length = longest;
                filled = fill(&transform)?;
            }
        }
        let (pool, normalise) = match (&answer, at) {
            (Some(answer), None) => (answer.pool.unwrap_or(Pool::Mean), answer.normalise),
            (Some(EmbeddingAnswer { pool: Some(pool), .. }), Some(_)) => (*pool, false),
            _ => (Pool::Mean, false),
        };
        if rank == 3 && pool == Pool::First && is_left_padded {
            return Err(
                "pads texts in front, and takes the first token for the text; name another tensor by --at".into()
            );
        }
        notes.push(format!(
            "texts are read by its tokenizer.json: {words}; at most {} tokens, by {}",
            transform.max_length,
            if rule == LengthRule::Said { "the version" } else { rule.words() }
        ));
        let pooled = match (rank, pool) {
            (3, Pool::Mean) => ", of whose vectors of tokens the mean is taken",
            (3, Pool::First) => ", of whose vectors of tokens the first is taken",
            _ => "",
        };
        let scaled = if normalise { ", of length 1" } else { "" };
        notes.push(format!("features are tensor {}, {}{pooled}{scaled}; --at names another", cut.tensor, cut.why));
        let mask = transform.attention_mask.as_deref();
        let pooling = (rank == 3).then_some(Pooling { pool, mask, ids: &transform.input_ids });
        let cut = cut.of_texts(pooling, normalise);
        let files = self.files.named().map(|(name, bytes)| (name, bytes.to_vec())).collect();
        Ok(Found { cut, input: TextInput { transform, encoder: Arc::new(filled), files } })
    }

    /// Returns the transform that is said, or else found as a server finds it, and the rule for its length.
    fn transform(
        &self,
        encoder: &TextEncoder,
        config: &TextConfig,
        graph: &Signature,
    ) -> Looked<(TextTransform, LengthRule)> {
        if let Some(transform) = &self.transform {
            return Ok((transform.clone(), LengthRule::Said));
        }
        let (length, rule) = longest_text(encoder, config, self.spec.as_ref(), graph);
        let transform = TextSpec::resolve(self.spec.as_ref(), graph, length)?;
        Ok((transform.ok_or("takes no numbers of tokens")?, rule))
    }
}

/// Returns the tokenizer beside a file, or in the folder above, where exports of Hugging Face have it.
pub(super) fn tokenizer_near(file: &Path) -> crate::error::Result<Option<TokenizerFiles>> {
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    for folder in [Some(folder), folder.parent()].into_iter().flatten() {
        if let Some(files) = TokenizerFiles::read(&folder.into(), None)? {
            return Ok(Some(files));
        }
    }
    Ok(None)
}

/// Returns the vector that a graph seems to answer a text with.
fn guessed(graph: &Signature, facts: &TextModelFacts) -> Option<EmbeddingAnswer> {
    if let Some((AnswerSpec::Embedding(answer), _)) = text_answer(graph, facts) { Some(answer) } else { None }
}

fn first_floats(graph: &Signature) -> Option<String> {
    graph.outputs.iter().find(|output| output.dtype.is_float()).map(|output| output.name.clone())
}

/// Returns the transform without the inputs that a cut graph does not have.
fn left(mut transform: TextTransform, graph: &Signature) -> Looked<TextTransform> {
    let is_there = |name: &String| graph.inputs.iter().any(|input| input.name == *name);
    if !is_there(&transform.input_ids) {
        return Err("does not need the tokens of a text for these features; name another tensor by --at".into());
    }
    for input in [&mut transform.attention_mask, &mut transform.token_type_ids, &mut transform.position_ids] {
        *input = input.take().filter(is_there);
    }
    transform.check(graph)?;
    Ok(transform)
}

/// Runs a graph on so many copies of a text, padded to a length.
fn run(plan: &Plan, encoder: &TextEncoder, count: usize, least: usize) -> crate::error::Result<Tensor> {
    let texts = vec![Text::from(TRIAL.to_owned()); count];
    let outputs = plan.session()?.run(&encoder.encode_at_least(&texts, least)?.tensors)?;
    let none = || crate::error::Error::internal("a graph gave no output", "features");
    outputs.into_iter().next().ok_or_else(none)
}

/// Returns the number of dimensions of a graph's features: 2, or 3 with one for tokens. A graph that gives a text something
/// else in company is refused.
fn rank(plan: &Plan, encoder: &TextEncoder, tensor: &str) -> Looked<usize> {
    let runs = [1, 2].map(|count| run(plan, encoder, count, 1));
    let [Ok(alone), Ok(together)] = &runs else {
        let why = runs.iter().find_map(|run| run.as_ref().err()).map(ToString::to_string).unwrap_or_default();
        return Err(format!("does not run for 1 and for 2 texts up to {tensor} ({why}); export it with an open batch"));
    };
    let (Ok(of_one), Ok(of_both)) = (alone.to_floats(), together.to_floats()) else {
        return Err(format!("gives no floats at {tensor}"));
    };
    let (Ok(one), Ok(both)) = (of_one.floats(), of_both.floats()) else {
        return Err(format!("gives no floats at {tensor}"));
    };
    let same = both.len() == 2 * one.len()
        && both[one.len()..].iter().zip(one).all(|(a, b)| (a - b).abs() <= 1e-3 * (1.0 + b.abs()));
    match alone.shape() {
        _ if !same => Err(format!("gives a text other features in company, at {tensor}")),
        [1, _] => Ok(2),
        [1, _, _] => Ok(3),
        shape => Err(format!(
            "gives the shape {shape:?} at {tensor}; features are a vector, or one for each token: name another tensor by --at"
        )),
    }
}
