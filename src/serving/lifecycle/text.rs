//! The texts that a version takes by its `tokenizer.json`: which inputs they fill, how long they may be, and whether
//! padding changes answers, by measurement.

use super::vision;
use super::warm::WarmGraph;
use crate::error::{Error, Result};
use crate::repository::{FoundVersion, SETTINGS_FILE, TOKENIZER_FILE, TokenizerFiles};
use crate::serving::servable::{TextAnswer, Texts};
use crate::signature::{
    AnswerSpec, GraphFacts, OutputTransform, Signature, TextModelFacts, TextSpec, TextTransform, Transform,
    scored_classes, text_answer,
};
use crate::tensor::Tensor;
use crate::transform::text::{
    LONGEST_TRIAL, LengthRule, Text, TextConfig, TextEncoder, greatest_length, longest_text, read_tokenizer,
};

/// The tokens that a text is padded by for the trial.
const TRIAL_PADDING: usize = 9;

/// The largest difference between outputs for a padded text and for the text alone, as part of the greatest element.
const TOLERANCE: f32 = 1e-3;

const TRIAL: &str = "A short text.";

/// A tokenizer as it was read, before the graph is known to be right for it.
pub(super) struct Reader {
    encoder: TextEncoder,
    config: TextConfig,
}

/// What a tokenizer beside a graph comes to.
pub(super) enum Found {
    /// The version takes texts.
    Texts(Box<Declared>),
    /// The version takes tensors: the graph takes no tokens, or something else is said of it.
    Nothing,
    /// The version takes tensors: texts were a guess that does not hold, for this reason.
    PassedOver(String),
}

/// The transform of texts of a version, its labels, and the reading of texts.
pub(super) struct Declared {
    pub(super) transform: Transform,
    pub(super) labels: Vec<String>,
    pub(super) texts: Texts,
}

impl Reader {
    /// Reads the tokenizer of a version.
    ///
    /// # Errors
    /// [`Error::Repository`] naming the file and saying what is wrong with it.
    pub(super) fn read(files: &TokenizerFiles) -> Result<Self> {
        let (encoder, config) = read_tokenizer(&files.json, files.side.each_ref().map(Option::as_deref))?;
        Ok(Self { encoder, config })
    }

    /// Returns the transform that the tokenizer, `model.toml` and the graph make up.
    ///
    /// # Errors
    /// [`Error::Repository`] naming the setting that does not fit the graph, or the failure of the model.
    fn declared(self, found: &FoundVersion, graph: &mut WarmGraph, facts: &GraphFacts) -> Result<Declared> {
        let settings = &found.settings;
        let said = settings.text.as_ref();
        let (length, rule) = longest_text(&self.encoder, &self.config, said, &graph.view.signature);
        let resolved = TextSpec::resolve(said, &graph.view.signature, length);
        let no_tokens = || at("text", "the graph takes no numbers of tokens");
        let text = resolved.map_err(|problem| at("text", &problem))?.ok_or_else(no_tokens)?;
        let mut labels = settings.class_labels(&found.model_files)?;
        if labels.is_empty() {
            labels = facts.class_names();
        }
        if labels.is_empty() {
            labels = self.config.model.labels.clone();
        }
        let mut transform = Transform {
            image: None,
            columns: Vec::new(),
            sequence: None,
            text: Some(text),
            output: OutputTransform::Raw,
        };
        let why = self.answer(settings.answer.clone(), &mut transform, &labels, graph, facts)?;
        let (texts, text) = self.texts(&transform, rule, &why, graph)?;
        Ok(Declared { transform: Transform { text: Some(text), ..transform }, labels, texts })
    }

    /// Returns the reading of texts by a transform that is complete, as that of a manifest.
    ///
    /// # Errors
    /// As [`Reader::declared`].
    pub(super) fn complete(self, transform: &Transform, graph: &mut WarmGraph) -> Result<Texts> {
        self.texts(transform, LengthRule::Said, "", graph).map(|(texts, _)| texts)
    }

    /// Sets the answer that is said, or else chosen by the outputs; returns the reason. A choice that does not fit the
    /// graph leaves its outputs as they are.
    fn answer(
        &self,
        said: Option<AnswerSpec>,
        transform: &mut Transform,
        labels: &[String],
        graph: &mut WarmGraph,
        facts: &GraphFacts,
    ) -> Result<String> {
        let output = |answer: AnswerSpec, graph: &mut WarmGraph| match answer.seen() {
            Some(output) => Ok(output),
            None => vision::answered(answer, None, labels.len(), graph, facts),
        };
        if let Some(answer) = said {
            transform.output = output(answer, graph)?;
            return Ok("the answer is chosen by [answer] of model.toml".into());
        }
        let model = TextModelFacts { labels: labels.to_vec(), ..self.config.model.clone() };
        let Some((answer, why)) = text_answer(&graph.view.signature, &model) else {
            let unknown =
                "answers are the graph's outputs, as their names and shapes do not tell what they are; [answer] may";
            return Ok(unknown.into());
        };
        let tried = output(answer, graph).and_then(|output| {
            check_names(&output, labels, &graph.view.signature)?;
            let tried = Transform { output, ..transform.clone() };
            TextAnswer::of(&tried, &graph.view.signature, labels).map(|_| tried)
        });
        Ok(match tried {
            Ok(tried) => {
                *transform = tried;
                format!("the answer is chosen by {why}")
            }
            Err(error) => {
                format!(
                    "answers are the graph's outputs, as the guess of {why} does not hold ({error}); [answer] may say"
                )
            }
        })
    }

    /// Returns the encoder for a graph, tried on it, with what was found in words.
    fn texts(
        self,
        transform: &Transform,
        rule: LengthRule,
        why: &str,
        graph: &mut WarmGraph,
    ) -> Result<(Texts, TextTransform)> {
        let missing = || at("text", "is missing from the transform, and the version has a tokenizer.json");
        let mut text = transform.text.clone().ok_or_else(missing)?;
        let needs_places = TextAnswer::needs_places(&transform.output);
        let signature = graph.view.signature.clone();
        let Self { encoder, config } = self;
        let fill = |text: &TextTransform| {
            encoder.clone().fill(text, &signature, &config, needs_places).map_err(|problem| at("text", &problem))
        };
        let mut filled = fill(&text)?;
        let most = text.max_length.min(LONGEST_TRIAL);
        let mut length = format!("at most {} tokens, by {}", text.max_length, rule.words());
        if text.fixed_length(&signature).is_none() && most < text.max_length {
            length += &format!(" (tried up to {most})");
        }
        tried(&filled, 1, graph)?;
        let longest = greatest_length(most, |length| tried(&filled, length, graph).is_ok());
        if let Some(longest) = longest.filter(|longest| *longest < most) {
            if rule == LengthRule::Said {
                let problem = format!("max_length is {}, and the graph fails beyond {longest} tokens", text.max_length);
                return Err(at("text", &problem));
            }
            length = format!("at most {longest} tokens, as the graph fails on more (measured)");
            text.max_length = longest;
            filled = fill(&text)?;
        }
        let (pads, padding) = match text.fixed_length(&signature) {
            Some(fixed) => (true, format!("padded to {fixed}, the graph's length, which is not checked")),
            None => {
                let whole = TextTransform { pad_to_multiple_of: 1, ..text.clone() };
                let exact = fill(&whole)?;
                let runs_exact = tried(&exact, 1, graph).is_ok();
                let (pads, words) = padded(if runs_exact { &exact } else { &filled }, &text, graph);
                if !pads && runs_exact {
                    (text, filled) = (whole, exact);
                }
                (pads, words)
            }
        };
        let inputs: Vec<&str> = text.filled().collect();
        let why = if why.is_empty() { String::new() } else { format!("; {why}") };
        let said = format!("{} into {}; {length}; {padding}{why}", filled.words(), inputs.join(", "));
        tracing::info!(reading = said, "texts are read by the version's tokenizer.json");
        let mask = text.attention_mask.as_ref();
        let mask = mask.and_then(|name| signature.inputs.iter().position(|input| input.name == *name));
        Ok((Texts { encoder: filled, mask, pads, said }, text))
    }
}

/// Checks that as many classes are named as an output has, unless none is.
fn check_names(output: &OutputTransform, labels: &[String], graph: &Signature) -> Result<()> {
    let (OutputTransform::Classification { probabilities: name, .. } | OutputTransform::Labels { output: name, .. }) =
        output
    else {
        return Ok(());
    };
    let classes = graph.outputs.iter().find(|spec| spec.name == *name).and_then(scored_classes);
    match classes.filter(|classes| !labels.is_empty() && *classes != labels.len()) {
        Some(classes) => {
            Err(at("answer", &format!("output \"{name}\" has {classes} classes, and {} are named", labels.len())))
        }
        None => Ok(()),
    }
}

/// Returns what the tokenizer of a version without a manifest comes to. Texts that `[text]` of `model.toml` says must work;
/// those that are guessed, by the files and by the names of inputs alone, may fail, and the version takes tensors.
///
/// # Errors
/// [`Error::Repository`] naming the file or the setting that does not fit the graph, or the failure of the model.
pub(super) fn declared(
    files: &TokenizerFiles,
    found: &FoundVersion,
    graph: &mut WarmGraph,
    facts: &GraphFacts,
) -> Result<Found> {
    let settings = &found.settings;
    let is_said = settings.text.is_some();
    if !is_said {
        if settings.transform.is_some() || settings.image.is_some() {
            return Ok(Found::Nothing);
        }
        match TextSpec::resolve(None, &graph.view.signature, 1) {
            Ok(None) => return Ok(Found::Nothing),
            Ok(Some(_)) => {}
            Err(problem) => return Ok(passed_over(&problem)),
        }
    }
    match Reader::read(files).and_then(|reader| reader.declared(found, graph, facts)) {
        Ok(declared) => Ok(Found::Texts(Box::new(declared))),
        // What [answer] says is no guess.
        Err(error) if is_said || settings.answer.is_some() => Err(error),
        Err(error) => Ok(passed_over(&error.to_string())),
    }
}

fn passed_over(problem: &str) -> Found {
    tracing::warn!(
        problem,
        "the tokenizer beside the graph is passed over; [text] of model.toml may say how to use it"
    );
    Found::PassedOver(format!(
        "none: its {TOKENIZER_FILE} is passed over, as {problem}; [text] of model.toml may say how to use it"
    ))
}

/// Returns the error of a version without a tokenizer whose settings speak of texts.
pub(super) fn no_tokenizer(found: &FoundVersion) -> Error {
    let (name, version) = (&found.name, found.version);
    at("text", &format!("needs the model's {TOKENIZER_FILE} in {name}/{version}, which has none"))
}

/// Returns the reason why a version takes no texts, if its graph takes numbers of tokens.
pub(super) fn missing(found: &FoundVersion, has_tokenizer: bool, graph: &Signature) -> Option<String> {
    let said = found.settings.text.as_ref();
    TextSpec::resolve(said, graph, 1).ok().flatten()?;
    let (name, version) = (&found.name, found.version);
    if has_tokenizer {
        return Some(format!("its manifest or {SETTINGS_FILE} declares another transform than its {TOKENIZER_FILE}"));
    }
    Some(format!(
        "its graph takes numbers of tokens, and there is no tokenizer beside it; put the model's {TOKENIZER_FILE} (and \
         config.json, if there is one) into {name}/{version}, or send the numbers as \"inputs\""
    ))
}

/// Returns the outputs for the trial text, padded to `least` tokens, with the mask of the tokens that are no padding.
fn tried(encoder: &TextEncoder, least: usize, graph: &mut WarmGraph) -> Result<(Vec<Tensor>, Vec<bool>)> {
    let text = Text { text: TRIAL.into(), pair: None };
    let mut encoded = encoder.encode_at_least(&[text], least)?;
    let inputs = match &graph.view.adapter {
        Some(adapter) => adapter.to_graph(encoded.tensors)?,
        None => encoded.tensors,
    };
    let kept = encoded.facts.pop().map(|facts| facts.kept).unwrap_or_default();
    vision::run(graph, &inputs).map(|outputs| (outputs, kept))
}

/// Compares the outputs for a text with those for the same text padded. Returns true if they are the same, with what was
/// found in words.
fn padded(encoder: &TextEncoder, text: &TextTransform, graph: &mut WarmGraph) -> (bool, String) {
    let refuse = |why: &str| (false, format!("never padded, as {why}: texts of one request must be of one length"));
    let Ok((outputs, kept)) = tried(encoder, 1, graph) else { return refuse("the graph fails on a text (measured)") };
    let tokens = kept.len();
    // A graph need not run beyond the longest length; a text that has it already is padded all the same.
    let least = (tokens + TRIAL_PADDING).min(text.max_length);
    let least = if least > tokens { least } else { tokens + TRIAL_PADDING };
    let Ok((longer, kept_longer)) = tried(encoder, least, graph) else {
        return refuse("the graph fails on a padded text (measured)");
    };
    let pairs = outputs.iter().zip(&longer);
    let differences = pairs.map(|(alone, padded)| difference((alone, &kept), (padded, &kept_longer)));
    let difference = differences.fold(0.0, most);
    if difference.is_nan() || difference > TOLERANCE {
        return refuse(&format!("padding changes answers by {difference:.0e} of the greatest element (measured)"));
    }
    let words =
        format!("padded to the longest of a request, which changes answers by {difference:.0e} at most (measured)");
    (true, words)
}

/// Returns the greatest difference between an output for a text and for the same text padded further, each with its mask,
/// as part of its greatest element; of outputs with a row for each token, of those that are kept.
fn difference(alone: (&Tensor, &[bool]), padded: (&Tensor, &[bool])) -> f32 {
    let has_tokens = |(output, kept): (&Tensor, &[bool])| output.shape().get(1) == Some(&kept.len());
    let are_tokens = has_tokens(alone) && has_tokens(padded) && alone.1.len() != padded.1.len();
    let elements = |(output, kept): (&Tensor, &[bool])| -> Option<Vec<f32>> {
        let floats = output.to_floats().ok()?;
        let all = floats.floats().ok()?;
        if !are_tokens {
            return Some(all.to_vec());
        }
        let width = (all.len() / kept.len().max(1)).max(1);
        let rows = all.chunks_exact(width).zip(kept).filter(|(_, is_kept)| **is_kept);
        Some(rows.flat_map(|(row, _)| row).copied().collect())
    };
    let (Some(first), Some(second)) = (elements(alone), elements(padded)) else { return 0.0 };
    if first.len() != second.len() {
        return f32::INFINITY;
    }
    let greatest = first.iter().fold(0.0f32, |greatest, element| greatest.max(element.abs())).max(1e-6);
    first.iter().zip(&second).map(|(a, b)| (a - b).abs() / greatest).fold(0.0, most)
}

/// Returns the greater of two differences. NaN is no small difference.
fn most(one: f32, other: f32) -> f32 {
    if one.is_nan() || other.is_nan() { f32::NAN } else { one.max(other) }
}

fn at(table: &str, problem: &str) -> Error {
    Error::Repository { what: SETTINGS_FILE.into(), problem: format!("[{table}]: {problem}") }
}
