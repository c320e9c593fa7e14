//! What the files beside a tokenizer say: `config.json`, `tokenizer_config.json` and `special_tokens_map.json`.

use serde_json::Value;

use crate::signature::TextModelFacts;

/// A longer length is Hugging Face's word for none (1e30).
const LONGEST: u64 = 1 << 20;

/// The most names of classes.
const MAX_LABELS: usize = 100_000;

/// The content of the files, as far as it matters here.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TextConfig {
    /// What the answer depends on.
    pub model: TextModelFacts,
    /// The longest text, by the configuration of the tokenizer.
    pub model_max_length: Option<usize>,
    /// The longest text, by the positions of the model.
    pub positions: Option<usize>,
    /// The text of the token that pads.
    pub pad_token: Option<String>,
    /// The number of the token that pads.
    pub pad_id: Option<u32>,
    /// True if texts lose their beginning when they are too long.
    pub truncates_left: bool,
    /// True if padding is put in front.
    pub pads_left: bool,
}

/// The rule that a longest length comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LengthRule {
    /// `[text]` of `model.toml`.
    Said,
    /// The truncation of `tokenizer.json`.
    Truncation,
    /// `model_max_length` of `tokenizer_config.json`.
    TokenizerConfig,
    /// `max_position_embeddings` of `config.json`.
    Positions,
    /// The graph takes so many tokens.
    Graph,
    /// The files say more than is guessed.
    Clamped,
    /// Nothing says it.
    Default,
}

impl LengthRule {
    /// Returns the source in words.
    pub fn words(self) -> &'static str {
        match self {
            Self::Said => "max_length of [text]",
            Self::Truncation => "the truncation of tokenizer.json",
            Self::TokenizerConfig => "model_max_length of tokenizer_config.json",
            Self::Positions => "max_position_embeddings of config.json",
            Self::Graph => "the graph's shape",
            Self::Clamped => "the greatest guess, as the files say more; max_length of [text] may",
            Self::Default => "the default, as nothing says another",
        }
    }
}

impl TextConfig {
    /// Reads the files that are there.
    ///
    /// # Errors
    /// A sentence that names the file which is not JSON.
    pub fn read(
        config: Option<&[u8]>,
        tokenizer_config: Option<&[u8]>,
        special_tokens_map: Option<&[u8]>,
    ) -> Result<Self, String> {
        let model = parse("config.json", config)?;
        let tokenizer = parse("tokenizer_config.json", tokenizer_config)?;
        let specials = parse("special_tokens_map.json", special_tokens_map)?;
        let length = |value: &Value| value.as_f64().filter(|length| (1.0..=LONGEST as f64).contains(length));
        let number = |value: &Value, key: &str| length(&value[key]).map(|length| length as usize);
        let pad_id = model["pad_token_id"].as_u64().and_then(|id| u32::try_from(id).ok());
        let architecture = model["architectures"][0].as_str().map(str::to_owned);
        let is_left = |key: &str| tokenizer[key] == "left";
        Ok(Self {
            model: TextModelFacts {
                architecture,
                is_multi_label: model["problem_type"] == "multi_label_classification",
                labels: labels(&model["id2label"]).unwrap_or_default(),
            },
            model_max_length: number(&tokenizer, "model_max_length"),
            positions: number(&model, "max_position_embeddings").map(|positions| usable(&model, positions, pad_id)),
            pad_token: token(&tokenizer["pad_token"]).or_else(|| token(&specials["pad_token"])),
            pad_id,
            truncates_left: is_left("truncation_side"),
            pads_left: is_left("padding_side"),
        })
    }
}

/// Returns the positions that texts can use: RoBERTa and its kin count from behind the number of the padding.
fn usable(model: &Value, positions: usize, pad_id: Option<u32>) -> usize {
    let kind = model["model_type"].as_str().unwrap_or_default();
    let counts_from_padding = kind.contains("roberta") || matches!(kind, "camembert" | "longformer" | "mpnet");
    let lost = if counts_from_padding { pad_id.unwrap_or(1) as usize + 1 } else { 0 };
    positions.saturating_sub(lost).max(1)
}

fn parse(file: &str, bytes: Option<&[u8]>) -> Result<Value, String> {
    let Some(bytes) = bytes else { return Ok(Value::Null) };
    serde_json::from_slice(bytes)
        .map_err(|error| format!("{file} is not JSON at line {}, column {}", error.line(), error.column()))
}

/// Returns the text of a token that is written as one, or as an object with its content.
fn token(value: &Value) -> Option<String> {
    value.as_str().or_else(|| value["content"].as_str()).map(str::to_owned)
}

/// Returns the names of classes in their order; `None` unless there is one for each number from 0 on.
fn labels(by_id: &Value) -> Option<Vec<String>> {
    let by_id = by_id.as_object().filter(|by_id| by_id.len() <= MAX_LABELS)?;
    (0..by_id.len()).map(|id| by_id.get(&id.to_string())?.as_str().map(str::to_owned)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_matters_is_found_and_the_rest_passed_over() {
        let config = br#"{"architectures": ["BertForTokenClassification"], "id2label": {"1": "B-LOC", "0": "O"},
            "max_position_embeddings": 514, "model_type": "xlm-roberta", "pad_token_id": 1}"#;
        let tokenizer = br#"{"model_max_length": 1e30, "padding_side": "left", "pad_token": {"content": "<pad>"}}"#;
        let read = TextConfig::read(Some(config), Some(tokenizer), None).unwrap();
        assert_eq!(read.model.labels, ["O", "B-LOC"]);
        assert_eq!((read.positions, read.model_max_length), (Some(512), None), "RoBERTa counts from 2");
        assert_eq!((read.pad_token.as_deref(), read.pad_id, read.pads_left), (Some("<pad>"), Some(1), true));
        let plain = TextConfig::read(Some(br#"{"max_position_embeddings": 512, "model_type": "bert"}"#), None, None);
        assert_eq!(plain.unwrap().positions, Some(512));
        let gaps = TextConfig::read(Some(br#"{"id2label": {"0": "a", "2": "b"}}"#), None, None).unwrap();
        assert_eq!(gaps.model.labels, [""; 0]);
        let refused = TextConfig::read(None, Some(b"{"), None).unwrap_err();
        assert!(refused.contains("tokenizer_config.json is not JSON at line 1"), "{refused}");
        assert_eq!(TextConfig::read(None, None, Some(b"[]")).unwrap(), TextConfig::default());
    }
}
