//! The transform from a text to the inputs of a transformer, and the answers that are for texts alone.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{AnswerSpec, DType, Dim, EmbeddingAnswer, Pool, ScoreAnswer, Scores, Signature, SpansAnswer, TensorSpec};

/// The most classes of a token; more are the words of a language model.
const MOST_TOKEN_CLASSES: usize = 1000;

/// The greatest multiple that texts are padded to.
const MOST_MULTIPLE: usize = 4096;

/// The most tokens that a graph of a fixed length may take.
const MOST_TOKENS: usize = 1 << 20;

/// The table `[text]` of `model.toml`. What is left out comes from the tokenizer, the configuration beside it, and the
/// graph.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TextSpec {
    /// The most tokens of a text, its special ones included.
    pub max_length: Option<usize>,
    /// The input that takes the numbers of the tokens.
    pub input_ids: Option<String>,
    /// The input that tells tokens (1) from padding (0).
    pub attention_mask: Option<String>,
    /// The input that tells a text (0) from its pair (1).
    pub token_type_ids: Option<String>,
    /// The input that takes the places of the tokens, from 0.
    pub position_ids: Option<String>,
    /// Padded lengths are multiples of this.
    pub pad_to_multiple_of: Option<usize>,
}

/// How a text becomes the inputs of a graph. The rest is in `tokenizer.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TextTransform {
    /// The most tokens of a text, its special ones included; what is behind them is cut off.
    pub max_length: usize,
    /// Texts are padded to the longest of a request, up to a multiple of this.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub pad_to_multiple_of: usize,
    /// The input that takes the numbers of the tokens.
    pub input_ids: String,
    /// The input that tells tokens (1) from padding (0).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attention_mask: Option<String>,
    /// The input that tells a text (0) from its pair (1).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_type_ids: Option<String>,
    /// The input that takes the places of the tokens, from 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub position_ids: Option<String>,
}

fn one() -> usize {
    1
}

fn is_one(number: &usize) -> bool {
    *number == 1
}

impl TextSpec {
    /// Returns the transform for a graph, with texts of at most `max_length` tokens unless another length is said; `None`
    /// if nothing is said and the graph takes no numbers of tokens.
    ///
    /// # Errors
    /// A message that names the input and what was expected.
    pub fn resolve(spec: Option<&Self>, graph: &Signature, max_length: usize) -> Result<Option<TextTransform>, String> {
        let said = spec.cloned().unwrap_or_default();
        let found = |said: &Option<String>, usual: &str| -> Result<Option<String>, String> {
            let has = |name: &str| graph.inputs.iter().any(|input| input.name == name);
            match said {
                Some(name) if has(name) => Ok(Some(name.clone())),
                Some(name) => Err(format!("the graph has no input \"{name}\"; it has: {}", names(graph))),
                None => Ok(has(usual).then(|| usual.to_owned())),
            }
        };
        let Some(input_ids) = found(&said.input_ids, "input_ids")? else {
            return match spec {
                None => Ok(None),
                Some(_) => {
                    Err(format!("input_ids is missing: the graph has no input of this name; it has: {}", names(graph)))
                }
            };
        };
        let transform = TextTransform {
            max_length: said.max_length.unwrap_or(max_length),
            pad_to_multiple_of: said.pad_to_multiple_of.unwrap_or(1),
            input_ids,
            attention_mask: found(&said.attention_mask, "attention_mask")?,
            token_type_ids: found(&said.token_type_ids, "token_type_ids")?,
            position_ids: found(&said.position_ids, "position_ids")?,
        };
        transform.check(graph).map(|()| Some(transform))
    }
}

impl TextTransform {
    /// Returns the names of the inputs that it fills.
    pub fn filled(&self) -> impl Iterator<Item = &str> {
        let rest = [&self.attention_mask, &self.token_type_ids, &self.position_ids];
        std::iter::once(self.input_ids.as_str()).chain(rest.into_iter().flatten().map(String::as_str))
    }

    /// Returns the number of tokens that a graph always takes; `None` if requests choose it.
    pub fn fixed_length(&self, graph: &Signature) -> Option<usize> {
        let input = graph.inputs.iter().find(|input| input.name == self.input_ids)?;
        input.shape.get(1).and_then(|dim| if let Dim::Fixed(size) = dim { Some(*size) } else { None })
    }

    /// Checks that it fills the inputs of a graph.
    ///
    /// # Errors
    /// A message that names the input or the setting.
    pub fn check(&self, graph: &Signature) -> Result<(), String> {
        if self.max_length == 0 || self.pad_to_multiple_of == 0 {
            return Err("max_length and pad_to_multiple_of must be at least 1".into());
        }
        if self.pad_to_multiple_of > MOST_MULTIPLE {
            let multiple = self.pad_to_multiple_of;
            return Err(format!("pad_to_multiple_of is {multiple}, and may be at most {MOST_MULTIPLE}"));
        }
        if let Some(fixed) = self.fixed_length(graph).filter(|fixed| *fixed > MOST_TOKENS) {
            return Err(format!("the graph takes {fixed} tokens, and at most {MOST_TOKENS} are served"));
        }
        if let Some(fixed) = self.fixed_length(graph).filter(|fixed| *fixed < self.max_length) {
            return Err(format!("max_length is {}, and the graph takes {fixed} tokens", self.max_length));
        }
        for input in &graph.inputs {
            if !self.filled().any(|name| name == input.name) {
                return Err(format!(
                    "the graph's input \"{}\" {} is none that a text fills; name the inputs by input_ids, attention_mask, token_type_ids and position_ids",
                    input.name,
                    input.shape_text()
                ));
            }
            let is_mask = Some(&input.name) == self.attention_mask.as_ref();
            let is_whole_number = matches!(input.dtype, DType::Int64 | DType::Int32);
            if input.shape.len() != 2 || !(is_whole_number || (is_mask && is_mask_type(input.dtype))) {
                let (name, dtype, shape) = (&input.name, input.dtype, input.shape_text());
                return Err(format!(
                    "the graph's input \"{name}\" is {dtype} {shape}; texts fill int64 or int32 [texts, tokens]"
                ));
            }
        }
        Ok(())
    }
}

fn is_mask_type(dtype: DType) -> bool {
    matches!(dtype, DType::Float32 | DType::Bool)
}

fn names(graph: &Signature) -> String {
    graph.inputs.iter().map(|input| input.name.as_str()).collect::<Vec<_>>().join(", ")
}

/// Knowledge of a text model beside its graph.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TextModelFacts {
    /// The class of the model in Hugging Face's library, as `BertForTokenClassification`.
    pub architecture: Option<String>,
    /// True if any number of labels are right at once.
    pub is_multi_label: bool,
    /// The names of the classes.
    pub labels: Vec<String>,
}

/// Chooses the answer of a text model by its outputs; returns it with the reason. `None` if they could be anything.
pub fn text_answer(graph: &Signature, facts: &TextModelFacts) -> Option<(AnswerSpec, String)> {
    let is = |part: &str| facts.architecture.as_deref().is_some_and(|name| name.contains(part));
    // The ends of an answer in a text are no classes.
    let is_end = |output: &TensorSpec| ["start_", "end_"].iter().any(|end| output.name.to_lowercase().starts_with(end));
    let floats = || graph.outputs.iter().filter(|output| output.dtype.is_float() && !is_end(output));
    let named = |words: &[&str], rank: usize| {
        let is_called = |output: &&TensorSpec| words.iter().any(|word| output.name.to_lowercase().contains(word));
        floats().find(|output| output.shape.len() == rank && is_called(output))
    };
    let because =
        |output: &TensorSpec, what: &str| format!("{what} (output \"{}\" {})", output.name, output.shape_text());
    let embedding = |output: &TensorSpec, pool| {
        AnswerSpec::Embedding(EmbeddingAnswer { output: Some(output.name.clone()), pool, ..EmbeddingAnswer::default() })
    };
    if let Some(output) = named(&["sentence_embedding", "text_embeds"], 2) {
        return Some((embedding(output, None), because(output, "an embedding of the text, by its name")));
    }
    let width = |output: &TensorSpec| if let Some(Dim::Fixed(size)) = output.shape.last() { Some(*size) } else { None };
    let of_tokens = named(&["logits"], 3)
        .filter(|output| width(output).is_some_and(|size| size <= MOST_TOKEN_CLASSES && size == facts.labels.len()));
    if let Some(output) = of_tokens {
        let answer = SpansAnswer { output: Some(output.name.clone()), ..SpansAnswer::default() };
        return Some((AnswerSpec::Spans(answer), because(output, "labels of tokens, by name and shape")));
    }
    let is_classifier = |output: &&TensorSpec| {
        let is_named =
            ["logits", "scores", "probabilities"].iter().any(|word| output.name.to_lowercase().contains(word));
        let has_labels = !facts.labels.is_empty() && width(output) == Some(facts.labels.len());
        output.shape.len() == 2 && (is_named || has_labels || is("ForSequenceClassification"))
    };
    if let Some(output) = floats().find(is_classifier) {
        let name = Some(output.name.clone());
        let scores = output.name.to_lowercase().contains("logits").then_some(Scores::Logits);
        return Some(match width(output) {
            Some(1) => {
                let answer = AnswerSpec::Score(ScoreAnswer { output: name, scores: None });
                (answer, because(output, "one number for a text or pair, by its shape"))
            }
            _ if facts.is_multi_label => {
                let answer = AnswerSpec::Labels { output: name, scores, threshold: None, thresholds: Vec::new() };
                (answer, because(output, "labels, by problem_type in config.json"))
            }
            _ => (AnswerSpec::Classes { output: name, scores }, because(output, "classes, by name and shape")),
        });
    }
    if let Some(output) = named(&["last_hidden_state", "token_embeddings", "hidden"], 3) {
        let why = because(output, "vectors of tokens, by name and shape, of which the mean is the embedding");
        return Some((embedding(output, Some(Pool::Mean)), why));
    }
    let output = named(&["pooler_output", "embedding"], 2)?;
    Some((embedding(output, None), because(output, "an embedding of the text, by its name")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(name: &str, dtype: DType, dims: &[&str]) -> TensorSpec {
        let dim = |dim: &&str| dim.parse().map_or_else(|_| Dim::Symbol((*dim).into()), Dim::Fixed);
        TensorSpec { name: name.into(), dtype, shape: dims.iter().map(dim).collect() }
    }

    fn graph(outputs: &[(&str, &[&str])]) -> Signature {
        let inputs = ["input_ids", "attention_mask"].map(|name| spec(name, DType::Int64, &["N", "L"])).to_vec();
        Signature { inputs, outputs: outputs.iter().map(|(name, dims)| spec(name, DType::Float32, dims)).collect() }
    }

    #[test]
    fn inputs_are_found_by_their_names_and_others_are_named() {
        let usual = graph(&[]);
        let found = TextSpec::resolve(None, &usual, 9).unwrap().unwrap();
        assert_eq!(found.filled().collect::<Vec<_>>(), ["input_ids", "attention_mask"]);
        assert_eq!((found.max_length, found.fixed_length(&usual)), (9, None));
        let mut odd = usual.clone();
        odd.inputs[0].name = "tokens".into();
        assert_eq!(TextSpec::resolve(None, &odd, 9), Ok(None));
        let spec = |text: &str| toml::from_str::<TextSpec>(text).unwrap();
        let said = spec("input_ids = \"tokens\"\nmax_length = 5\npad_to_multiple_of = 4");
        let found = TextSpec::resolve(Some(&said), &odd, 9).unwrap().unwrap();
        assert_eq!((found.max_length, found.pad_to_multiple_of, found.input_ids.as_str()), (5, 4, "tokens"));
        let mut beside = usual.clone();
        beside.inputs.push(super::TensorSpec { name: "mood".into(), ..usual.inputs[0].clone() });
        let mut short = usual.clone();
        short.inputs[0].shape[1] = Dim::Fixed(4);
        for (text, graph, expected) in [
            ("", &odd, "input_ids is missing"),
            ("attention_mask = \"m\"", &usual, "no input \"m\"; it has: input_ids, attention_mask"),
            ("", &beside, "\"mood\" [N, L] is none that a text fills"),
            ("", &short, "max_length is 9, and the graph takes 4 tokens"),
            ("max_length = 0", &usual, "at least 1"),
            ("pad_to_multiple_of = 5000", &usual, "at most 4096"),
        ] {
            let refused = TextSpec::resolve(Some(&spec(text)), graph, 9).unwrap_err();
            assert!(refused.contains(expected), "{text}: {refused}");
        }
    }

    #[test]
    fn the_answer_is_chosen_by_names_and_shapes_of_outputs() {
        let facts = |architecture: &str, labels: usize| TextModelFacts {
            architecture: Some(architecture.into()),
            labels: (0..labels).map(|label| label.to_string()).collect(),
            ..TextModelFacts::default()
        };
        let chosen = |outputs: &[(&str, &[&str])], facts: &TextModelFacts| {
            text_answer(&graph(outputs), facts).map(|(answer, _)| match answer {
                AnswerSpec::Classes { .. } => "classes",
                AnswerSpec::Labels { .. } => "labels",
                AnswerSpec::Spans(_) => "spans",
                AnswerSpec::Score(_) => "score",
                AnswerSpec::Embedding(EmbeddingAnswer { pool: Some(_), .. }) => "pooled",
                AnswerSpec::Embedding(_) => "embedding",
                _ => "other",
            })
        };
        let none = TextModelFacts::default();
        for (outputs, expected) in [
            (&[("last_hidden_state", &["N", "L", "384"][..]), ("pooler_output", &["N", "384"])][..], Some("pooled")),
            (&[("token_embeddings", &["N", "L", "8"]), ("sentence_embedding", &["N", "8"])], Some("embedding")),
            (&[("logits", &["N", "3"])], Some("classes")),
            (&[("logits", &["N", "1"])], Some("score")),
            (&[("logits", &["N", "L", "9"])], None),
            (&[("start_logits", &["N", "L"]), ("end_logits", &["N", "L"])], None),
            (&[("logits", &["N", "L", "30522"])], None),
            (&[("out", &["N", "7"])], None),
        ] {
            assert_eq!(chosen(outputs, &none), expected, "{outputs:?}");
        }
        assert_eq!(chosen(&[("out", &["N", "7"])], &facts("X", 7)), Some("classes"));
        assert_eq!(chosen(&[("logits", &["N", "L", "9"])], &facts("X", 9)), Some("spans"));
        assert_eq!(chosen(&[("logits", &["N", "L", "9"])], &facts("X", 8)), None, "another number of labels");
        let (logits, _) = text_answer(&graph(&[("logits", &["N", "3"])]), &none).unwrap();
        assert!(matches!(logits, AnswerSpec::Classes { scores: Some(Scores::Logits), .. }), "by its name");
        let (out, _) = text_answer(&graph(&[("out", &["N", "7"])]), &facts("X", 7)).unwrap();
        assert!(matches!(out, AnswerSpec::Classes { scores: None, .. }), "measured");
        assert_eq!(chosen(&[("out", &["N", "1"])], &facts("BertForSequenceClassification", 0)), Some("score"));
        let many = TextModelFacts { is_multi_label: true, ..facts("X", 7) };
        assert_eq!(chosen(&[("out", &["N", "7"])], &many), Some("labels"));
    }
}
