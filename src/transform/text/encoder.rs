//! A tokenizer with the inputs that it fills.

use std::panic::{AssertUnwindSafe, catch_unwind};

use tokenizers::utils::padding::PaddingDirection;
use tokenizers::utils::truncation::{TruncationDirection, TruncationParams, truncate_encodings};
use tokenizers::{Encoding, PostProcessor, PostProcessorWrapper, Tokenizer};

use super::config::{LengthRule, TextConfig};
use super::{Text, TextFacts, TokenPlace};
use crate::error::{Error, Result};
use crate::signature::{DType, Signature, TextTransform};
use crate::telemetry::expecting_panics;
use crate::tensor::{Data, Tensor};

/// The longest text where nothing says it.
const DEFAULT_LENGTH: usize = 512;

/// The usual names of the token that pads.
const PADDING: [&str; 4] = ["[PAD]", "<pad>", "<|padding|>", "<|endoftext|>"];

/// The words for a text that makes the tokenizer panic.
const PANICKED: &str = "the tokenizer cannot bear it";

/// Texts that a tokenizer is tried with: letters, signs, digits, scripts, an emoji, a pair.
const TRIALS: [(&str, Option<&str>); 4] = [
    ("", None),
    ("Hello, world! 42", None),
    ("naïve ZÜRICH 東京 \u{1f600}\t", None),
    ("a question?", Some("An answer.")),
];

/// A tokenizer that was read and tried.
#[derive(Debug, Clone)]
pub struct TextEncoder {
    /// Gives the tokens of one text, without special ones.
    tokenizer: Tokenizer,
    /// Adds the special tokens, to texts that are cut already.
    post: Option<PostProcessorWrapper>,
    /// The length and the side of the file's own truncation.
    own: Option<(usize, TruncationDirection)>,
    vocabulary: usize,
    padding: Padding,
    /// Set once the graph is known.
    filled: Option<Filled>,
}

/// What is put beside short texts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Padding {
    id: u32,
    type_id: u32,
    is_left: bool,
}

/// The inputs of a graph in their order, and the terms on which they are filled.
#[derive(Debug, Clone)]
struct Filled {
    inputs: Vec<(Role, DType)>,
    /// The most tokens of a text or pair, its special ones included, and the side that is cut off.
    limit: (usize, TruncationDirection),
    multiple: usize,
    /// The number of tokens that the graph always takes.
    fixed: Option<usize>,
    /// True if the answer needs the places of tokens.
    needs_places: bool,
}

/// The part that an input plays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Ids,
    Mask,
    Types,
    Positions,
}

/// Texts as the inputs of a graph, with the facts about each.
#[derive(Debug)]
pub struct EncodedTexts {
    /// The inputs in the graph's order, `[texts, tokens]` each.
    pub tensors: Vec<Tensor>,
    /// The facts about each text.
    pub facts: Vec<TextFacts>,
}

impl TextEncoder {
    /// Reads a `tokenizer.json`, and tries it on a few texts.
    ///
    /// # Errors
    /// A sentence that says what is wrong with it.
    pub fn read(json: &[u8], config: &TextConfig) -> std::result::Result<Self, String> {
        let read = || Tokenizer::from_bytes(json);
        let mut tokenizer = caught(read).ok_or("it makes its reader panic")?.map_err(|error| shortened(&error))?;
        let padding = padding(&tokenizer, config);
        let own = tokenizer.get_truncation().map(|own| (own.max_length, own.direction));
        let own = own.filter(|(max_length, _)| *max_length > 0);
        tokenizer.with_padding(None);
        let post = tokenizer.get_post_processor().cloned();
        tokenizer.with_post_processor(None::<PostProcessorWrapper>);
        cut_beyond(&mut tokenizer, None)?;
        let vocabulary = tokenizer.get_vocab_size(true);
        if vocabulary == 0 {
            return Err("its vocabulary is empty".into());
        }
        let encoder = Self { tokenizer, post, own, vocabulary, padding, filled: None };
        encoder.try_out()?;
        Ok(encoder)
    }

    /// Splits a few texts. A vocabulary may lack letters; one that fits no text at all is refused, and so is what panics.
    fn try_out(&self) -> std::result::Result<(), String> {
        type Tried = std::result::Result<usize, (&'static str, String)>;
        let trial = |(text, pair): (&'static str, Option<&str>)| -> Tried {
            let trial = Text { text: text.into(), pair: pair.map(str::to_owned) };
            self.encoding(&trial, true).map(|(encoding, _)| encoding.len()).map_err(|problem| (text, problem))
        };
        let tried: Vec<Tried> = TRIALS.into_iter().map(trial).collect();
        let panicked = |tried: &&Tried| matches!(tried, Err((_, problem)) if problem == PANICKED);
        let refuse = |(text, problem): &(&str, String)| Err(format!("it fails on the text {text:?}: {problem}"));
        if let Some(Err(failed)) = tried.iter().find(panicked) {
            return refuse(failed);
        }
        match tried.iter().find(|tried| tried.is_err()) {
            Some(Err(failed)) if !tried.iter().any(|tried| matches!(tried, Ok(tokens) if *tokens > 0)) => {
                refuse(failed)
            }
            _ if tried.iter().all(|tried| matches!(tried, Ok(0))) => Err("it finds no token in any text".into()),
            _ => Ok(()),
        }
    }

    /// Returns the number of tokens that a text may have, and the rule that says so.
    pub fn length(&self, config: &TextConfig) -> (usize, LengthRule) {
        let own = self.own.map(|(max_length, _)| max_length);
        let rules = [
            (own, LengthRule::Truncation),
            (config.positions, LengthRule::Positions),
            (config.model_max_length, LengthRule::TokenizerConfig),
        ];
        let stated = rules.into_iter().find_map(|(length, rule)| Some((length?, rule)));
        let (length, rule) = stated.unwrap_or((DEFAULT_LENGTH, LengthRule::Default));
        match config.positions {
            Some(positions) if positions < length => (positions, LengthRule::Positions),
            _ => (length, rule),
        }
    }

    /// Returns the encoder that fills the inputs of a graph by a transform.
    ///
    /// # Errors
    /// A sentence that names the setting or the input that does not fit.
    pub fn fill(
        mut self,
        transform: &TextTransform,
        graph: &Signature,
        config: &TextConfig,
        needs_places: bool,
    ) -> std::result::Result<Self, String> {
        transform.check(graph)?;
        let direction = match self.own {
            Some((_, direction)) => direction,
            None if config.truncates_left => TruncationDirection::Left,
            None => TruncationDirection::Right,
        };
        let specials = |pair: Option<&str>| {
            let text = Text { text: String::new(), pair: pair.map(str::to_owned) };
            let added = self.added(pair.is_some());
            self.encoding(&text, false).map(|(encoding, _)| encoding.len().max(added))
        };
        let specials = specials(None)?.max(specials(Some(""))?);
        let max_length = transform.max_length;
        if max_length <= specials {
            return Err(format!(
                "max_length is {max_length}, and the tokenizer adds {specials} special tokens to a pair"
            ));
        }
        // One token more tells that there are more.
        cut_beyond(&mut self.tokenizer, Some((max_length.saturating_add(1), direction)))?;
        let role = |name: &str| match name {
            _ if name == transform.input_ids => Role::Ids,
            _ if Some(name) == transform.attention_mask.as_deref() => Role::Mask,
            _ if Some(name) == transform.token_type_ids.as_deref() => Role::Types,
            _ => Role::Positions,
        };
        let inputs = graph.inputs.iter().map(|input| (role(&input.name), input.dtype)).collect();
        let (multiple, fixed) = (transform.pad_to_multiple_of, transform.fixed_length(graph));
        self.filled = Some(Filled { inputs, limit: (max_length, direction), multiple, fixed, needs_places });
        Ok(self)
    }

    /// Returns true if padding is put in front of texts.
    pub fn pads_left(&self) -> bool {
        self.padding.is_left
    }

    /// Returns the kind and the size of the vocabulary in words.
    pub fn words(&self) -> String {
        use tokenizers::models::ModelWrapper;
        let kind = match self.tokenizer.get_model() {
            ModelWrapper::BPE(_) => "BPE",
            ModelWrapper::WordPiece(_) => "WordPiece",
            ModelWrapper::WordLevel(_) => "WordLevel",
            ModelWrapper::Unigram(_) => "Unigram",
        };
        format!("{kind}, {} tokens", self.vocabulary)
    }

    /// Returns texts as the inputs of the graph, padded to the longest of them.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] for a text that cannot be split into tokens.
    pub fn encode(&self, texts: &[Text]) -> Result<EncodedTexts> {
        self.encode_at_least(texts, 1)
    }

    /// Returns texts as the inputs of the graph, padded to the longest of them and to `least` tokens.
    ///
    /// # Errors
    /// As [`TextEncoder::encode`].
    pub fn encode_at_least(&self, texts: &[Text], least: usize) -> Result<EncodedTexts> {
        let none = || Error::internal("texts cannot be read", "an encoder without a graph");
        let filled = self.filled.as_ref().ok_or_else(none)?;
        let mut encodings = Vec::with_capacity(texts.len());
        for (index, text) in texts.iter().enumerate() {
            let at = if texts.len() == 1 { "the text".to_owned() } else { format!("text {index}") };
            let (encoding, is_cut) = self
                .encoding(text, filled.needs_places)
                .map_err(|problem| Error::InvalidInput(format!("{at} cannot be split into tokens: {problem}")))?;
            if encoding.is_empty() {
                return Err(Error::InvalidInput(format!("{at} has no tokens")));
            }
            encodings.push((encoding, is_cut));
        }
        let longest = encodings.iter().map(|(encoding, _)| encoding.len()).fold(least, usize::max);
        let rounded = longest.next_multiple_of(filled.multiple).min(filled.limit.0).max(longest);
        let length = filled.fixed.unwrap_or(rounded);
        let tensor = |(role, dtype): &(Role, DType)| {
            let mut row = Vec::with_capacity(texts.len() * length);
            encodings.iter().for_each(|(encoding, _)| self.append(encoding, *role, length, &mut row));
            Tensor::from_data(vec![texts.len(), length], elements(*dtype, &row))
        };
        let tensors = filled.inputs.iter().map(tensor).collect::<Result<_>>()?;
        let facts = encodings.iter().map(|(encoding, is_cut)| TextFacts {
            truncated: *is_cut,
            ..self.facts(encoding, length, filled.needs_places)
        });
        Ok(EncodedTexts { tensors, facts: facts.collect() })
    }

    /// Returns the tokens of a text, cut to the longest length, and true if it was cut.
    ///
    /// The crate keeps what it cuts off, and joins each such part of a text with each of its pair: so each text is split by
    /// itself, what is cut off is dropped, and only then do the two become one.
    fn encoding(&self, text: &Text, needs_places: bool) -> std::result::Result<(Encoding, bool), String> {
        let limit = self.filled.as_ref().map(|filled| filled.limit);
        let bare = |text: &str| {
            let split = match needs_places {
                true => self.tokenizer.encode_char_offsets(text, false),
                false => self.tokenizer.encode_fast(text, false),
            };
            split.map(without_overflow)
        };
        let encode = || {
            let (mut one, mut other) = (bare(&text.text)?, text.pair.as_deref().map(bare).transpose()?);
            let mut is_cut = false;
            if let Some((max_length, direction)) = limit {
                let max_length = max_length.saturating_sub(self.added(other.is_some()));
                is_cut = one.len() + other.as_ref().map_or(0, Encoding::len) > max_length;
                let parameters = TruncationParams { max_length, direction, ..TruncationParams::default() };
                (one, other) = truncate_encodings(one, other, &parameters)?;
            }
            let joined = self.joined(without_overflow(one), other.map(without_overflow))?;
            Ok::<_, tokenizers::Error>((joined, is_cut))
        };
        let (encoding, is_cut) = caught(encode).ok_or(PANICKED)?.map_err(|error| shortened(&error))?;
        match limit {
            Some((max_length, _)) if encoding.len() > max_length => {
                Err(format!("the tokenizer makes {} tokens of it after it was cut to {max_length}", encoding.len()))
            }
            _ => Ok((encoding, is_cut)),
        }
    }

    /// Returns the number of special tokens that are added to a text or a pair.
    fn added(&self, is_pair: bool) -> usize {
        self.post.as_ref().map_or(0, |post| post.added_tokens(is_pair))
    }

    /// Returns a text and its pair as one, with the special tokens.
    fn joined(&self, one: Encoding, other: Option<Encoding>) -> tokenizers::Result<Encoding> {
        if let Some(post) = &self.post {
            return post.process(one, other, true);
        }
        let Some(mut other) = other else { return Ok(one) };
        other.set_type_ids(vec![1; other.len()]);
        let joined = <dyn PostProcessor>::default_process(vec![one, other], true)?;
        Ok(joined.into_iter().next().unwrap_or_default())
    }

    /// Appends the numbers of a text for an input, padded to a length.
    fn append(&self, encoding: &Encoding, role: Role, length: usize, row: &mut Vec<i64>) {
        let (count, Padding { id, type_id, is_left }) = (encoding.len(), self.padding);
        let padding = std::iter::repeat_n(
            match role {
                Role::Ids => i64::from(id),
                Role::Types => i64::from(type_id),
                Role::Mask | Role::Positions => 0,
            },
            length.saturating_sub(count),
        );
        if is_left {
            row.extend(padding.clone());
        }
        match role {
            Role::Ids => row.extend(encoding.get_ids().iter().map(|id| i64::from(*id))),
            Role::Types => row.extend(encoding.get_type_ids().iter().map(|id| i64::from(*id))),
            Role::Mask => row.extend(std::iter::repeat_n(1, count)),
            Role::Positions => row.extend(0..count as i64),
        }
        if !is_left {
            row.extend(padding);
        }
    }

    fn facts(&self, encoding: &Encoding, length: usize, needs_places: bool) -> TextFacts {
        let count = encoding.len();
        let before = if self.padding.is_left { length.saturating_sub(count) } else { 0 };
        let kept = (0..length).map(|token| (before..before + count).contains(&token)).collect();
        if !needs_places {
            return TextFacts { kept, ..TextFacts::default() };
        }
        let sequences = encoding.get_sequence_ids();
        let (offsets, specials) = (encoding.get_offsets(), encoding.get_special_tokens_mask());
        let place = |token: usize| {
            let token = token.checked_sub(before).filter(|token| *token < count)?;
            let (start, end) = offsets[token];
            let is_text = specials[token] == 0 && sequences[token] == Some(0) && start < end;
            let bound = |place: usize| u32::try_from(place).ok();
            let word = encoding.get_word_ids()[token];
            is_text.then(|| Some(TokenPlace { start: bound(start)?, end: bound(end)?, word })).flatten()
        };
        TextFacts { kept, truncated: false, places: (0..length).map(place).collect() }
    }
}

/// Makes a tokenizer stop once it has so many tokens of a text.
fn cut_beyond(
    tokenizer: &mut Tokenizer,
    limit: Option<(usize, TruncationDirection)>,
) -> std::result::Result<(), String> {
    let parameters =
        |(max_length, direction)| TruncationParams { max_length, direction, ..TruncationParams::default() };
    let set = || tokenizer.with_truncation(limit.map(parameters)).map(drop);
    caught(set).ok_or(PANICKED)?.map_err(|error| shortened(&error))
}

fn without_overflow(mut encoding: Encoding) -> Encoding {
    drop(encoding.take_overflowing());
    encoding
}

/// Returns what pads: by the tokenizer, or else by the files beside it, or else a token of a usual name.
fn padding(tokenizer: &Tokenizer, config: &TextConfig) -> Padding {
    if let Some(own) = tokenizer.get_padding() {
        let is_left = matches!(own.direction, PaddingDirection::Left);
        return Padding { id: own.pad_id, type_id: own.pad_type_id, is_left };
    }
    let named = config.pad_token.as_deref().and_then(|token| tokenizer.token_to_id(token));
    let usual = || PADDING.iter().find_map(|token| tokenizer.token_to_id(token));
    let id = named.or(config.pad_id).or_else(usual).unwrap_or(0);
    Padding { id, type_id: 0, is_left: config.pads_left }
}

fn elements(dtype: DType, row: &[i64]) -> Data {
    match dtype {
        DType::Int32 => Data::Int32(row.iter().map(|number| i32::try_from(*number).unwrap_or(i32::MAX)).collect()),
        DType::Float32 => Data::Float32(row.iter().map(|number| *number as f32).collect()),
        DType::Bool => Data::Bool(row.iter().map(|number| *number != 0).collect()),
        _ => Data::Int64(row.to_vec()),
    }
}

/// Runs code of the tokenizer's crate; `None` if it panics.
fn caught<T>(work: impl FnOnce() -> T) -> Option<T> {
    expecting_panics(|| catch_unwind(AssertUnwindSafe(work))).ok()
}

fn shortened(error: &impl ToString) -> String {
    crate::ids::shortened(&error.to_string())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;
    use crate::signature::{Dim, TensorSpec, TextSpec};

    const FIXTURES: [(&str, &[u8]); 3] = [
        ("wordpiece", include_bytes!("../../../tests/fixtures/texts/wordpiece.json")),
        ("bpe", include_bytes!("../../../tests/fixtures/texts/bpe.json")),
        ("unigram", include_bytes!("../../../tests/fixtures/texts/unigram.json")),
    ];

    fn graph(names: &[&str], length: &Dim) -> Signature {
        let batch = Dim::Symbol("N".into());
        let spec = |name: &&str| TensorSpec {
            name: (*name).into(),
            dtype: DType::Int64,
            shape: vec![batch.clone(), length.clone()],
        };
        Signature { inputs: names.iter().map(spec).collect(), outputs: Vec::new() }
    }

    fn open() -> Signature {
        let names = ["token_type_ids", "input_ids", "attention_mask", "position_ids"];
        graph(&names, &Dim::Symbol("L".into()))
    }

    fn encoder(json: &[u8], graph: &Signature, text: &str, config: &TextConfig) -> TextEncoder {
        let said: TextSpec = toml::from_str(text).unwrap();
        let transform = TextSpec::resolve(Some(&said), graph, 24).unwrap().unwrap();
        TextEncoder::read(json, config).unwrap().fill(&transform, graph, config, true).unwrap()
    }

    fn texts(expected: &Value) -> Vec<(Text, &Value)> {
        let all = expected.as_array().unwrap();
        all.iter().map(|one| (Text { text: string(&one["text"]).unwrap(), pair: string(&one["pair"]) }, one)).collect()
    }

    fn string(value: &Value) -> Option<String> {
        value.as_str().map(str::to_owned)
    }

    fn whole(tensor: &Tensor) -> &[i64] {
        let Data::Int64(numbers) = tensor.data() else { panic!("{tensor:?}") };
        numbers
    }

    #[test]
    fn tokens_are_those_of_the_python_package() {
        let expected: Value =
            serde_json::from_slice(include_bytes!("../../../tests/fixtures/texts/expected.json")).unwrap();
        for (name, json) in FIXTURES {
            let encoder = encoder(json, &open(), "", &TextConfig::default());
            for (text, expected) in texts(&expected[name]) {
                let encoded = encoder.encode(std::slice::from_ref(&text)).unwrap();
                let numbers = |key: &str| -> Vec<i64> { serde_json::from_value(expected[key].clone()).unwrap() };
                assert_eq!(whole(&encoded.tensors[1]), numbers("ids"), "{name} {text:?}");
                assert_eq!(whole(&encoded.tensors[0]), numbers("types"), "{name} {text:?}");
                assert_eq!(expected["truncated"], encoded.facts[0].truncated, "{name} {text:?}");
                let offsets: Vec<(u32, u32)> = serde_json::from_value(expected["offsets"].clone()).unwrap();
                for (place, offset) in encoded.facts[0].places.iter().zip(offsets) {
                    assert!(place.is_none_or(|place| (place.start, place.end) == offset), "{name} {text:?}");
                }
            }
        }
    }

    #[test]
    fn short_texts_are_padded_on_the_side_and_to_the_length_that_are_said() {
        let both = ["river", "the water rises"].map(|text| Text::from(text.to_owned()));
        let right = encoder(FIXTURES[0].1, &open(), "", &TextConfig::default());
        let alone = right.encode(&both[..1]).unwrap();
        let count = alone.facts[0].kept.len();
        let encoded = right.encode(&both).unwrap();
        let length = encoded.tensors[0].shape()[1];
        assert!(length > count);
        let (ids, mask, places) = (&encoded.tensors[1], &encoded.tensors[2], &encoded.tensors[3]);
        assert_eq!(whole(ids)[..count], *whole(&alone.tensors[1]));
        assert!(whole(ids)[count..length].iter().all(|id| *id == 0), "[PAD]");
        assert_eq!(whole(mask)[..length].iter().sum::<i64>(), count as i64);
        assert_eq!(whole(places)[count - 1..=count], [count as i64 - 1, 0]);
        let kept = |encoded: &EncodedTexts| encoded.facts[0].kept.iter().filter(|kept| **kept).count();
        assert_eq!(
            (kept(&encoded), encoded.facts[0].places[0], encoded.facts[1].kept[length - 1]),
            (count, None, true)
        );
        let config = TextConfig { pads_left: true, pad_token: Some("[UNK]".into()), ..TextConfig::default() };
        let left = encoder(FIXTURES[0].1, &open(), "pad_to_multiple_of = 8", &config);
        let encoded = left.encode(&both).unwrap();
        assert_eq!(encoded.tensors[0].shape(), [2, length.next_multiple_of(8)]);
        assert_eq!(whole(&encoded.tensors[1])[0], 1, "[UNK] is the padding here");
        assert!(!encoded.facts[0].kept[0] && encoded.facts[0].places[length.next_multiple_of(8) - 2].is_some());
        let fixed = graph(&["input_ids"], &Dim::Fixed(24));
        let fixed = encoder(FIXTURES[0].1, &fixed, "", &TextConfig::default());
        assert_eq!(fixed.encode(&both[..1]).unwrap().tensors[0].shape(), [1, 24]);
    }

    #[test]
    fn the_longest_length_comes_from_the_surest_source() {
        let plain = TextEncoder::read(FIXTURES[0].1, &TextConfig::default()).unwrap();
        assert_eq!(plain.length(&TextConfig::default()), (512, LengthRule::Default));
        let config = |positions, model_max_length| TextConfig { positions, model_max_length, ..TextConfig::default() };
        assert_eq!(plain.length(&config(Some(40), Some(64))), (40, LengthRule::Positions));
        assert_eq!(plain.length(&config(None, Some(64))), (64, LengthRule::TokenizerConfig));
        let mut json: Value = serde_json::from_slice(FIXTURES[0].1).unwrap();
        json["truncation"] =
            serde_json::json!({"direction": "Left", "max_length": 8, "strategy": "LongestFirst", "stride": 0});
        let json = serde_json::to_vec(&json).unwrap();
        let own = TextEncoder::read(&json, &TextConfig::default()).unwrap();
        assert_eq!(own.length(&config(Some(40), None)), (8, LengthRule::Truncation));
        assert_eq!(own.length(&config(Some(4), None)), (4, LengthRule::Positions), "the graph has no more");
        let left = encoder(&json, &open(), "max_length = 5", &TextConfig::default());
        let right = encoder(FIXTURES[0].1, &open(), "max_length = 5", &TextConfig::default());
        let text = Text::from("river water dam flow it".to_owned());
        let ids =
            |encoder: &TextEncoder| whole(&encoder.encode(std::slice::from_ref(&text)).unwrap().tensors[1]).to_vec();
        assert!(ids(&left) != ids(&right) && ids(&left).len() == 5, "the beginning is cut by the file's own side");
    }

    #[test]
    fn long_pairs_are_cut_without_joining_what_is_cut_off() {
        let encoder = encoder(FIXTURES[0].1, &open(), "", &TextConfig::default());
        // Each joined part of one with each of the other would be 10^8 tokens.
        let long = "water river ".repeat(40_000);
        let pair = Text { text: long.clone(), pair: Some(long) };
        let encoded = encoder.encode(&[pair]).unwrap();
        assert_eq!((encoded.tensors[1].shape(), encoded.facts[0].truncated), (&[1, 24][..], true));
        assert!(whole(&encoded.tensors[0]).contains(&1), "the pair is there too");
    }

    #[test]
    fn a_cut_is_told_without_special_tokens_too() {
        let mut json: Value = serde_json::from_slice(FIXTURES[0].1).unwrap();
        json["post_processor"] = Value::Null;
        let bare = encoder(&serde_json::to_vec(&json).unwrap(), &open(), "max_length = 3", &TextConfig::default());
        let cut = |text: &str, pair: Option<&str>| {
            let text = Text { text: text.into(), pair: pair.map(str::to_owned) };
            let encoded = bare.encode(&[text]).unwrap();
            (whole(&encoded.tensors[0]).to_vec(), encoded.facts[0].truncated)
        };
        assert_eq!(cut("river water dam", None), (vec![0, 0, 0], false));
        assert_eq!(cut("river water dam the", None), (vec![0, 0, 0], true));
        assert_eq!(cut("river", Some("water dam")), (vec![0, 1, 1], false));
        assert!(cut("river water", Some("water dam")).1);
    }

    #[test]
    fn padding_is_no_longer_than_the_longest_text() {
        let encoder = encoder(FIXTURES[0].1, &open(), "pad_to_multiple_of = 4096", &TextConfig::default());
        assert_eq!(encoder.encode(&[Text::from("river".to_owned())]).unwrap().tensors[0].shape(), [1, 24]);
    }

    #[test]
    fn what_is_no_tokenizer_is_refused_in_words() {
        for (json, expected) in [
            (&b"{"[..], "EOF"),
            (b"[1, 2]", ""),
            (br#"{"version": "1.0", "model": {"type": "WordPiece", "unk_token": "?", "vocab": {}}}"#, ""),
            (br#"{"model": {"type": "None"}}"#, ""),
        ] {
            let refused = TextEncoder::read(json, &TextConfig::default()).unwrap_err();
            assert!(refused.contains(expected) && refused.len() < 400, "{refused}");
        }
        let deep = format!("{{\"normalizer\": {}", "{\"type\":\"Sequence\",\"normalizers\":[".repeat(100_000));
        assert!(TextEncoder::read(deep.as_bytes(), &TextConfig::default()).is_err());
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]
        #[test]
        fn mutated_files_are_refused_or_read_and_never_panic(
            kind in 0usize..3, cuts in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6), text in "\\PC{0,30}",
        ) {
            let mut json = FIXTURES[kind].1.to_vec();
            for (at, byte) in cuts {
                let at = at.index(json.len());
                match byte % 4 {
                    0 => json[at] = byte,
                    1 => json[at] = b"0123456789\"[]{},:"[usize::from(byte) % 17],
                    // Something always stays.
                    2 if json.len() > 1 => drop(json.remove(at)),
                    _ => json.truncate(at.max(1)),
                }
            }
            let Ok(encoder) = TextEncoder::read(&json, &TextConfig::default()) else { return Ok(()) };
            let transform = TextSpec::resolve(None, &open(), 24).unwrap().unwrap();
            if let Ok(encoder) = encoder.fill(&transform, &open(), &TextConfig::default(), true) {
                // A text may be refused; what is read fits.
                if let Ok(encoded) = encoder.encode(&[Text::from(text)]) {
                    prop_assert!(encoded.tensors.iter().all(|tensor| tensor.shape()[1] <= 24));
                }
            }
        }
    }
}
