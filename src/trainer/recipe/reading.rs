//! How data are read, as settings: words, of which an empty one says nothing.

use serde::de::IntoDeserializer;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::ids::quote;
use crate::repository::{ReadSettings, parse_character, parse_size};
use crate::trainer::dataset::DataOptions;

/// The settings.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Reading {
    /// The format of the files.
    format: String,
    /// The column of a table that is to be learned.
    target: String,
    /// Auto, classification or regression.
    task: String,
    /// None, or height and width of the picture whose pixels the columns of a table are, as 28x28.
    #[serde(default)]
    picture: String,
    /// Auto, as_is, drawing or photo.
    #[serde(default)]
    transform: String,
    /// Auto, rgb or grey.
    #[serde(default)]
    colour: String,
    /// Stretch, crop or letterbox.
    #[serde(default)]
    image_fit: String,
    /// Full or scaled.
    #[serde(default)]
    image_decode: String,
    /// The character between cells.
    #[serde(default)]
    separator: String,
    /// The mark around cells.
    #[serde(default)]
    quote: String,
    /// A point or a comma.
    #[serde(default)]
    decimal: String,
    /// Yes or no.
    #[serde(default)]
    header: String,
    /// The encoding of text files.
    #[serde(default)]
    encoding: String,
    /// Further words for a missing value, with commas between.
    #[serde(default)]
    missing: String,
    /// Columns that are learned from although they seem to count the rows, with commas between.
    #[serde(default)]
    keep: String,
    /// Columns that are learned from as texts, with commas between.
    #[serde(default)]
    texts: String,
    /// Columns that are left out, with commas between.
    ignore: String,
    /// Height and width that pictures are brought to, as 28x28.
    image_size: String,
    /// The column that holds sequences.
    sequence: String,
    /// Steps of a sequence at the most; 0 says nothing.
    steps: usize,
    /// Tokens that are told apart at the most; 0 says nothing.
    vocabulary: usize,
    /// Words or characters.
    tokens: String,
    /// Bytes of samples that may lie in memory.
    memory: u64,
}

impl Reading {
    /// The options in words.
    pub(super) fn of(options: &DataOptions) -> Self {
        let ReadSettings {
            format,
            target,
            task,
            image_size,
            picture,
            transform,
            colour,
            image_fit,
            image_decode,
            separator,
            quote,
            decimal,
            header,
            encoding,
            missing,
            keep,
            texts,
            ignore,
            sequence,
            steps,
            vocabulary,
            tokens,
        } = &options.reading;
        let character = |character: &Option<char>| character.map(String::from).unwrap_or_default();
        Self {
            picture: picture.map_or_else(String::new, String::from),
            transform: word(transform),
            colour: word(colour),
            image_fit: image_fit.map_or_else(String::new, word),
            image_decode: image_decode.map_or_else(String::new, word),
            separator: character(separator),
            quote: character(quote),
            decimal: character(decimal),
            header: header.map_or("", |header| if header { "yes" } else { "no" }).to_owned(),
            encoding: encoding.clone().unwrap_or_default(),
            missing: missing.join(","),
            keep: keep.join(","),
            texts: texts.join(","),
            sequence: sequence.clone().unwrap_or_default(),
            steps: steps.unwrap_or(0),
            vocabulary: vocabulary.unwrap_or(0),
            tokens: tokens.map_or_else(String::new, word),
            format: format.map_or_else(String::new, word),
            target: target.clone().unwrap_or_default(),
            task: word(task),
            ignore: ignore.join(","),
            image_size: image_size.map_or_else(String::new, |[height, width]| format!("{height}x{width}")),
            memory: options.memory,
        }
    }

    /// The options that they say.
    ///
    /// # Errors
    /// [`Error::Config`] naming the setting that makes no sense.
    pub(super) fn options(&self) -> Result<DataOptions> {
        let said = |name: &String| (!name.is_empty()).then(|| name.clone());
        let number = |number: usize| (number > 0).then_some(number);
        let list = |words: &str| -> Vec<String> {
            words.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect()
        };
        let size = |text: &str| {
            parse_size(text).map_err(|problem| Error::Config { setting: "reading.image_size".into(), problem })
        };
        let image_size = if self.image_size.is_empty() { None } else { Some(size(&self.image_size)?) };
        let format = if self.format.is_empty() { None } else { Some(read("reading.format", &self.format)?) };
        let reading = ReadSettings {
            format,
            target: said(&self.target),
            task: read("reading.task", &self.task)?,
            image_size,
            picture: choice("reading.picture", &self.picture)?,
            transform: choice("reading.transform", &self.transform)?.unwrap_or_default(),
            colour: choice("reading.colour", &self.colour)?.unwrap_or_default(),
            image_fit: choice("reading.image_fit", &self.image_fit)?,
            image_decode: choice("reading.image_decode", &self.image_decode)?,
            separator: character("reading.separator", &self.separator)?,
            quote: character("reading.quote", &self.quote)?,
            decimal: character("reading.decimal", &self.decimal)?,
            header: yes_or_no("reading.header", &self.header)?,
            encoding: said(&self.encoding),
            missing: list(&self.missing),
            keep: list(&self.keep),
            texts: list(&self.texts),
            ignore: list(&self.ignore),
            sequence: said(&self.sequence),
            steps: number(self.steps),
            vocabulary: number(self.vocabulary),
            tokens: choice("reading.tokens", &self.tokens)?,
        };
        Ok(DataOptions { reading, memory: self.memory, ..DataOptions::default() })
    }
}

/// Returns the one character of a setting; `tab` is one, too.
fn character(setting: &str, text: &str) -> Result<Option<char>> {
    parse_character(text).map_err(|problem| Error::Config { setting: setting.into(), problem })
}

fn yes_or_no(setting: &str, text: &str) -> Result<Option<bool>> {
    match text {
        "" => Ok(None),
        "yes" => Ok(Some(true)),
        "no" => Ok(Some(false)),
        _ => Err(Error::Config { setting: setting.into(), problem: format!("must be yes or no, got {}", quote(text)) }),
    }
}

/// Returns the value that a word stands for; an empty one stands for none.
fn choice<T: for<'de> Deserialize<'de>>(setting: &str, word: &str) -> Result<Option<T>> {
    if word.is_empty() { Ok(None) } else { read(setting, word).map(Some) }
}

/// The word that a value is written as.
fn word(value: impl Serialize) -> String {
    serde_json::to_value(value).ok().and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
}

fn read<T: for<'de> Deserialize<'de>>(setting: &str, word: &str) -> Result<T> {
    T::deserialize(IntoDeserializer::<serde::de::value::Error>::into_deserializer(word))
        .map_err(|error| Error::Config { setting: setting.into(), problem: error.to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::repository::{ColourChoice, DataFormat, FitChoice, PictureChoice, PixelColumns, TaskChoice};
    use crate::signature::{Decoding, TokenSplit};

    #[test]
    fn options_come_back_from_their_words() {
        let reading = ReadSettings {
            format: Some(DataFormat::Csv),
            target: Some("price".into()),
            task: TaskChoice::Regression,
            image_size: Some([28, 32]),
            picture: Some(PixelColumns::Picture([12, 20])),
            transform: PictureChoice::Drawing,
            colour: ColourChoice::Grey,
            image_fit: Some(FitChoice::Letterbox),
            image_decode: Some(Decoding::Scaled),
            separator: Some('\t'),
            quote: Some('\''),
            decimal: Some(','),
            header: Some(false),
            encoding: Some("windows-1252".into()),
            missing: vec!["-9".into(), "n.a.".into()],
            keep: vec!["row".into()],
            texts: vec!["title".into()],
            ignore: vec!["id".into(), "name".into()],
            sequence: Some("text".into()),
            steps: Some(64),
            vocabulary: Some(500),
            tokens: Some(TokenSplit::Characters),
        };
        for options in [DataOptions { reading, memory: 5, ..DataOptions::default() }, DataOptions::default()] {
            assert_eq!(Reading::of(&options).options().unwrap(), options);
        }
        let refused = |change: fn(&mut Reading)| {
            let mut reading = Reading::of(&DataOptions::default());
            change(&mut reading);
            reading.options().unwrap_err().to_string()
        };
        assert!(refused(|reading| reading.format = "xls".into()).contains("parquet"));
        assert!(refused(|reading| reading.image_size = "28".into()).contains("28x28"));
        assert!(refused(|reading| reading.picture = "square".into()).contains("28x28"));
    }
}
