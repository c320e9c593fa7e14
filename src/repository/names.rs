//! The names of the files of a version; that of its manifest is beside the manifest's shape.

/// The graph.
pub const MODEL_FILE: &str = "model.onnx";
/// The tokenizer of a model that takes texts, as Hugging Face's library writes it.
pub const TOKENIZER_FILE: &str = "tokenizer.json";
/// The further words of that library on a model and its tokenizer, which are read where they are there.
pub const TOKENIZER_SIDE_FILES: [&str; 3] = ["config.json", "tokenizer_config.json", "special_tokens_map.json"];
/// The model card.
pub const CARD_FILE: &str = "card.md";
/// The labelled samples for the live probe.
pub const PROBE_FILE: &str = "probe.jsonl";
/// A reference for drift that was made after the version, which counts instead of its manifest's.
pub const REFERENCE_FILE: &str = "reference.json";
