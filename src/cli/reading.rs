//! Arguments that say how data are read.

use clap::builder::RangedU64ValueParser;
use clap::{Args, ValueEnum};
use toml::Value;

use crate::repository::{
    ColourChoice, DataFormat, FitChoice, PictureChoice, PixelColumns, ReadSettings, TaskChoice, parse_character,
    parse_size,
};
use crate::signature::{Decoding, TokenSplit};
use crate::trainer::{DEFAULT_DATA_MEMORY, DataOptions, Override};

/// Arguments about the data; those not given are inferred from the data.
#[derive(Debug, Clone, Args)]
pub(super) struct ReadingArgs {
    /// Format of the files [default: inferred from the path]
    #[arg(long, value_name = "FORMAT", help_heading = "Data")]
    format: Option<DataFormat>,
    /// Column to predict [default: label, target or class, else the last column]
    #[arg(long, value_name = "COLUMN", help_heading = "Data")]
    target: Option<String>,
    /// Task to train for [default: auto]
    #[arg(long, value_name = "TASK", help_heading = "Data")]
    task: Option<TaskChoice>,
    /// Transform of pictures, in training as in serving: drawing exchanges black and white where a picture seems dark on
    /// bright; as-is makes grey pixels of any; photo keeps colours [default: drawing for the presets called mnist-…, photo
    /// for cnn and cnn-tiny and where --colour, --image-fit or --image-decode is given, as-is for all others]
    #[arg(long, value_name = "TRANSFORM", help_heading = "Data")]
    transform: Option<PictureChoice>,
    /// Colours of photos [default: auto]
    #[arg(long, visible_alias = "color", value_name = "COLOUR", help_heading = "Data")]
    colour: Option<ColourChoice>,
    /// How photos are brought to one size [default: stretch where all have the same aspect ratio, else crop]
    #[arg(long, value_name = "FIT", help_heading = "Data")]
    image_fit: Option<FitChoice>,
    /// The size at which photos in JPEG are decoded, in training as in serving [default: full]
    #[arg(long, value_name = "SIZE", help_heading = "Data")]
    image_decode: Option<Decoding>,
    /// Character between the cells of a CSV file: one character, or tab [default: , ; tab or |, whichever fits]
    #[arg(long, value_name = "CHARACTER", value_parser = separator, help_heading = "Data")]
    separator: Option<char>,
    /// Mark around the cells of a CSV file that hold separators or line ends [default: ", or ' where the file shows it]
    #[arg(long, value_name = "MARK", value_parser = separator, help_heading = "Data")]
    quote: Option<char>,
    /// Decimal mark of the numbers in a CSV file, . or , [default: found in each column]
    #[arg(long, value_name = "MARK", value_parser = decimal, help_heading = "Data")]
    decimal: Option<char>,
    /// Whether the first row of a CSV file holds the names of the columns [default: by how it differs from the others]
    #[arg(long, value_name = "yes|no", value_parser = yes_or_no, help_heading = "Data")]
    header: Option<bool>,
    /// Encoding of text files, as utf-16, latin1 or shift_jis [default: UTF-8, or UTF-16 where the file shows it]
    #[arg(long, value_name = "NAME", value_parser = encoding, help_heading = "Data")]
    encoding: Option<String>,
    /// Further words that stand for a missing value; those of pandas and ? do anyway
    #[arg(long, value_name = "WORD,…", value_delimiter = ',', allow_hyphen_values = true, help_heading = "Data")]
    missing: Vec<String>,
    /// Columns to learn from although they seem to be the index, which is left out
    #[arg(long, value_name = "COLUMN,…", value_delimiter = ',', help_heading = "Data")]
    keep: Vec<String>,
    /// Columns to learn from as texts, by their words and parts of words [default: those with more than 256 different texts
    /// that have words in common]
    #[arg(long, value_name = "COLUMN,…", value_delimiter = ',', help_heading = "Data")]
    texts: Vec<String>,
    /// Columns to leave out
    #[arg(long, value_name = "COLUMN,…", value_delimiter = ',', help_heading = "Data")]
    ignore: Vec<String>,
    /// The column that holds sequences, as text or lists; the others are left out [default: sequence, in JSON Lines and
    /// Parquet files]
    #[arg(long, value_name = "COLUMN", help_heading = "Data")]
    sequence: Option<String>,
    /// Longest sequence; of longer ones the last N steps are kept [default: 256]
    #[arg(long, value_name = "N", value_parser = at_least_one(), help_heading = "Data")]
    steps: Option<usize>,
    /// Largest vocabulary: the N most frequent tokens of the training data [default: 10000, without tokens that occur
    /// once]
    #[arg(long, value_name = "N", value_parser = at_least_one(), help_heading = "Data")]
    vocabulary: Option<usize>,
    /// Rule for splitting text into tokens [default: words, or characters where texts have no spaces, as Chinese]
    #[arg(long, value_name = "RULE", help_heading = "Data")]
    tokens: Option<TokenSplit>,
    /// Height and width that images are resized to, as 28x28 [default: the most common size; of photos at most 128 pixels
    /// on the shorter side]
    #[arg(long, value_name = "HxW", value_parser = parse_size, help_heading = "Data")]
    image_size: Option<[u32; 2]>,
    /// Height and width of the picture whose pixels the columns of a table are, row by row, as 28x28; none for no picture
    /// [default: a square of columns that are called as pixels are]
    #[arg(long, value_name = "HxW|none", help_heading = "Data")]
    picture: Option<PixelColumns>,
    /// Memory for samples: bytes, or as 512M, 2G; larger data sets are kept in a temporary file [default: 1G]
    #[arg(long, env = "WEIR_DATA_MEMORY", value_name = "BYTES", value_parser = bytes, help_heading = "Data")]
    data_memory: Option<u64>,
}

/// Refuses 0, which a recipe takes for "not given".
fn at_least_one() -> RangedU64ValueParser<usize> {
    RangedU64ValueParser::new().range(1..)
}

impl ReadingArgs {
    /// Returns them as options of the reader.
    pub(super) fn options(&self) -> DataOptions {
        let reading = ReadSettings {
            format: self.format,
            target: self.target.clone(),
            task: self.task.unwrap_or_default(),
            image_size: self.image_size,
            picture: self.picture,
            transform: self.transform.unwrap_or_default(),
            colour: self.colour.unwrap_or_default(),
            image_fit: self.image_fit,
            image_decode: self.image_decode,
            separator: self.separator,
            quote: self.quote,
            decimal: self.decimal,
            header: self.header,
            encoding: self.encoding.clone(),
            missing: self.missing.clone(),
            keep: self.keep.clone(),
            texts: self.texts.clone(),
            ignore: self.ignore.clone(),
            sequence: self.sequence.clone(),
            steps: self.steps,
            vocabulary: self.vocabulary,
            tokens: self.tokens,
        };
        DataOptions { reading, memory: self.data_memory.unwrap_or(DEFAULT_DATA_MEMORY), ..DataOptions::default() }
    }

    /// Returns the given ones as settings of a recipe.
    pub(super) fn settings(&self) -> Vec<Override> {
        let mut settings = Vec::new();
        let mut add = |flag: &str, key: &str, value: Option<Value>| {
            let setting = |value| Override { origin: flag.into(), key: format!("reading.{key}"), value };
            settings.extend(value.map(setting));
        };
        add("--format", "format", self.format.as_ref().and_then(name));
        add("--target", "target", self.target.clone().map(Value::String));
        add("--task", "task", self.task.as_ref().and_then(name));
        let list = |words: &[String]| (!words.is_empty()).then(|| Value::String(words.join(",")));
        add("--transform", "transform", self.transform.map(|transform| word(&transform)));
        add("--colour", "colour", self.colour.as_ref().and_then(name));
        add("--image-fit", "image_fit", self.image_fit.as_ref().and_then(name));
        add("--image-decode", "image_decode", self.image_decode.as_ref().and_then(name));
        add("--separator", "separator", self.separator.map(|mark| Value::String(mark.into())));
        add("--quote", "quote", self.quote.map(|mark| Value::String(mark.into())));
        add("--decimal", "decimal", self.decimal.map(|mark| Value::String(mark.into())));
        add("--header", "header", self.header.map(|header| if header { "yes" } else { "no" }.into()));
        add("--encoding", "encoding", self.encoding.clone().map(Value::String));
        add("--missing", "missing", list(&self.missing));
        add("--keep", "keep", list(&self.keep));
        add("--texts", "texts", list(&self.texts));
        add("--ignore", "ignore", (!self.ignore.is_empty()).then(|| self.ignore.join(",").into()));
        add("--image-size", "image_size", self.image_size.map(|[height, width]| format!("{height}x{width}").into()));
        add("--picture", "picture", self.picture.map(|picture| String::from(picture).into()));
        let whole =
            |number: Option<usize>| number.map(|number| Value::Integer(i64::try_from(number).unwrap_or(i64::MAX)));
        add("--sequence", "sequence", self.sequence.clone().map(Value::String));
        add("--steps", "steps", whole(self.steps));
        add("--vocabulary", "vocabulary", whole(self.vocabulary));
        add("--tokens", "tokens", self.tokens.as_ref().and_then(name));
        let memory = self.data_memory.map(|bytes| Value::Integer(i64::try_from(bytes).unwrap_or(i64::MAX)));
        add("--data-memory", "memory", memory);
        settings
    }
}

/// Returns the name of a value, which is the same in settings and flags.
fn name(value: &impl ValueEnum) -> Option<Value> {
    value.to_possible_value().map(|value| value.get_name().into())
}

/// Returns the name of a transform as settings write it.
fn word(transform: &PictureChoice) -> Value {
    match transform {
        PictureChoice::Auto => "auto",
        PictureChoice::AsIs => "as_is",
        PictureChoice::Drawing => "drawing",
        PictureChoice::Photo => "photo",
    }
    .into()
}

fn separator(text: &str) -> std::result::Result<char, String> {
    parse_character(text)?.ok_or_else(|| "expected one character, as ; or tab".into())
}

fn decimal(text: &str) -> std::result::Result<char, String> {
    match text {
        "." => Ok('.'),
        "," => Ok(','),
        _ => Err("expected . or ,".into()),
    }
}

fn yes_or_no(text: &str) -> std::result::Result<bool, String> {
    match text {
        "yes" => Ok(true),
        "no" => Ok(false),
        _ => Err("expected yes or no".into()),
    }
}

fn encoding(text: &str) -> std::result::Result<String, String> {
    let known = encoding_rs::Encoding::for_label(text.as_bytes()).is_some();
    known
        .then(|| text.to_owned())
        .ok_or_else(|| "expected the name of an encoding, as utf-16le, latin1 or shift_jis".into())
}

fn bytes(text: &str) -> std::result::Result<u64, String> {
    let (number, shift) = match text.to_ascii_uppercase().chars().last() {
        Some('K') => (&text[..text.len() - 1], 10),
        Some('M') => (&text[..text.len() - 1], 20),
        Some('G') => (&text[..text.len() - 1], 30),
        _ => (text, 0),
    };
    let bytes = number.parse::<u64>().ok().and_then(|number| number.checked_mul(1 << shift));
    bytes.ok_or_else(|| "expected a number of bytes, as 1048576, 512M or 2G".into())
}

#[cfg(test)]
mod tests {
    use clap::FromArgMatches;

    use super::*;

    #[test]
    fn what_is_given_goes_before_a_file_even_if_it_is_the_default() {
        let settings = |arguments: &[&str]| {
            let command = ReadingArgs::augment_args(clap::Command::new("train"));
            let matches = command.try_get_matches_from([&["train"], arguments].concat()).unwrap();
            let settings = ReadingArgs::from_arg_matches(&matches).unwrap().settings();
            settings.into_iter().map(|given| (given.key, given.value.to_string())).collect::<Vec<_>>()
        };
        assert_eq!(settings(&[]), []);
        let given = settings(&["--tokens", "words", "--steps", "64"]);
        assert_eq!(
            given,
            [("steps", "64"), ("tokens", "\"words\"")].map(|(key, value)| (format!("reading.{key}"), value.into()))
        );
        for flag in ["--steps", "--vocabulary"] {
            let command = ReadingArgs::augment_args(clap::Command::new("read"));
            assert!(command.try_get_matches_from(["read", flag, "0"]).is_err(), "{flag}");
        }
        let given = settings(&["--task", "auto", "--data-memory", "1G", "--image-size", "4x5", "--ignore", "a,b"]);
        let expected =
            [("task", "\"auto\""), ("ignore", "\"a,b\""), ("image_size", "\"4x5\""), ("memory", "1073741824")];
        assert_eq!(given, expected.map(|(key, value)| (format!("reading.{key}"), value.to_owned())));
    }

    #[test]
    fn sizes_are_two_numbers_and_bytes_have_units() {
        assert_eq!(parse_size("28x32"), Ok([28, 32]));
        assert!(parse_size("28").is_err() && parse_size("ax3").is_err());
        assert_eq!((bytes("0"), bytes("512m"), bytes("2G")), (Ok(0), Ok(512 << 20), Ok(2 << 30)));
        assert!(bytes("").is_err() && bytes("G").is_err() && bytes("99999999999G").is_err());
    }
}
