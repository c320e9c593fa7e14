//! A column of a table that holds sequences: what they are, and how they become samples.

use super::cells::Cell;
use super::seen::{MOST_WHOLE, is_crowded};
use crate::error::{Error, Result};
use crate::repository::ReadSettings;
use crate::signature::{FIRST_TOKEN, SequenceElements, SequenceTransform, TokenSplit};
use crate::trainer::dataset::names::{Names, listed};
use crate::transform::{Sequence, hashed, is_spaceless, split};

/// The name that a column of sequences has where nobody says which it is.
const COLUMN: &str = "sequence";

/// Names that a column of texts has where nobody says which it is, the likeliest first.
const TEXT_COLUMNS: [&str; 12] = [
    "sequence", "text", "texts", "sentence", "content", "message", "review", "comment", "tweet", "document", "body",
    "question",
];

/// Steps that are kept if nobody says how many.
const DEFAULT_STEPS: usize = 256;

/// The same of the parts of a text that are hashed, of which a word has half a dozen.
const DEFAULT_HASHED: usize = 1024;

/// No more than so many are kept: what a recurrent layer has to remember for the way back grows with them.
const MOST_STEPS: usize = 8192;

/// Different tokens that there may be.
const MOST_TOKENS: usize = crate::layers::MOST_TOKENS - FIRST_TOKEN;

/// The place of the column that holds sequences, if one does: the one that was named, or where `may_guess` the one
/// that is called so. What takes texts gets a column that is called as texts are.
///
/// # Errors
/// [`Error::Config`] for a column that is not there, or that is to be learned or left out.
pub(super) fn column(
    columns: &[String],
    settings: &ReadSettings,
    [may_guess, takes_texts]: [bool; 2],
) -> Result<Option<usize>> {
    let refuse = |problem: String| Err(Error::Config { setting: "sequence".into(), problem });
    if settings.steps.is_some_and(|steps| !(1..=MOST_STEPS).contains(&steps)) {
        let problem = format!("must be from 1 to {MOST_STEPS}");
        return Err(Error::Config { setting: "steps".into(), problem });
    }
    if settings.vocabulary.is_some_and(|tokens| !(1..=MOST_TOKENS).contains(&tokens)) {
        let problem = format!("must be from 1 to {MOST_TOKENS}");
        return Err(Error::Config { setting: "vocabulary".into(), problem });
    }
    let Some(name) = &settings.sequence else {
        let is_free = |name: &String| settings.target.as_ref() != Some(name) && !settings.ignore.contains(name);
        if takes_texts || settings.tokens.is_some_and(TokenSplit::is_hashed) {
            let called = |text: &str| columns.iter().position(|name| name.eq_ignore_ascii_case(text) && is_free(name));
            let there = listed(columns);
            return TEXT_COLUMNS.into_iter().find_map(called).map_or_else(
                || {
                    refuse(format!(
                        "does not say which column holds the texts, as --sequence NAME does; there are: {there}"
                    ))
                },
                |place| Ok(Some(place)),
            );
        }
        return Ok(columns.iter().position(|name| may_guess && name == COLUMN && is_free(name)));
    };
    let Some(place) = columns.iter().position(|column| column == name) else {
        let there = listed(columns);
        return refuse(format!("there is no column {}; there are: {there}", crate::ids::quote(name)));
    };
    if settings.target.as_ref() == Some(name) || settings.ignore.contains(name) {
        return refuse("is the column that is to be learned, or one that is left out".into());
    }
    Ok(Some(place))
}

/// What a cell without a value may be.
const NO_VALUE: &str = "the cell is empty, null or a word such as NA";

/// The form of the sequences of a column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::trainer::dataset) struct SequenceLayout {
    pub(super) column: usize,
    kind: StepKind,
    /// The steps of a sample.
    pub(super) steps: usize,
}

impl SequenceLayout {
    /// Returns the sequences in a word.
    pub(super) fn plural(&self) -> &'static str {
        match self.kind {
            StepKind::Numbers { .. } | StepKind::Tokens { .. } => "sequences",
            StepKind::Texts => "texts",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum StepKind {
    Numbers {
        channels: usize,
    },
    Tokens {
        split: Option<TokenSplit>,
    },
    /// The whole text is one, for a tokenizer.
    Texts,
}

impl StepKind {
    /// Returns the expected content of a cell in words.
    fn words(self) -> String {
        match self {
            Self::Numbers { channels } => Sequence::Numbers { channels, elements: Vec::new() }.words(),
            Self::Tokens { split: None } => Sequence::Tokens(Vec::new()).words(),
            Self::Tokens { split: Some(_) } | Self::Texts => Sequence::Text(String::new()).words(),
        }
    }
}

/// What was seen of the column in the first pass. What its first sequence is, all others have to be.
#[derive(Debug)]
pub(super) struct SeenSequences {
    column: usize,
    /// The way to split texts, if somebody says it.
    said: Option<TokenSplit>,
    /// True if texts stay whole, for a tokenizer.
    is_whole: bool,
    most: usize,
    kind: Option<StepKind>,
    count: u64,
    /// The steps of the longest, and how many are cut: of texts in words, in characters, and hashed.
    longest: [usize; 3],
    cut: [u64; 3],
    /// Characters of scripts that put no spaces between words, and all visible characters.
    characters: [u64; 2],
    /// The least and the greatest number of each channel.
    spans: Vec<(f32, f32)>,
}

impl SeenSequences {
    pub(super) fn new(column: usize, settings: &ReadSettings, is_whole: bool) -> Self {
        let is_hashed = settings.tokens.is_some_and(TokenSplit::is_hashed);
        let most = settings.steps.unwrap_or(if is_hashed { DEFAULT_HASHED } else { DEFAULT_STEPS });
        let (longest, cut, characters) = ([0; 3], [0; 3], [0; 2]);
        let spans = Vec::new();
        Self { column, said: settings.tokens, is_whole, most, kind: None, count: 0, longest, cut, characters, spans }
    }

    /// Looks at the sequence of a row.
    pub(super) fn add_of(&mut self, cells: &[Cell<'_>]) {
        self.add(&cells[self.column]);
    }

    fn add(&mut self, cell: &Cell<'_>) {
        let Some((kind, steps)) = self.look(cell) else { return };
        if *self.kind.get_or_insert(kind) != kind {
            return;
        }
        self.count += 1;
        for ((steps, longest), cut) in steps.into_iter().zip(&mut self.longest).zip(&mut self.cut) {
            *cut += u64::from(steps > self.most);
            *longest = (*longest).max(steps);
        }
        if let Cell::List(list) = cell
            && let Ok(Sequence::Numbers { channels, elements }) = list.as_ref()
        {
            self.spans.resize(*channels, (f32::INFINITY, f32::NEG_INFINITY));
            for step in elements.chunks_exact(*channels) {
                for (number, (least, greatest)) in step.iter().zip(&mut self.spans) {
                    (*least, *greatest) = (least.min(*number), greatest.max(*number));
                }
            }
        }
        if let Cell::Text(text) = cell {
            self.characters[0] += text.chars().filter(|character| is_spaceless(*character)).count() as u64;
            self.characters[1] += text.chars().filter(|character| !character.is_whitespace()).count() as u64;
        }
    }

    fn look(&self, cell: &Cell<'_>) -> Option<(StepKind, [usize; 3])> {
        if self.is_whole {
            return cell.text().map(|_| (StepKind::Texts, [1; 3]));
        }
        Some(match cell {
            Cell::Text(text) => {
                let mut steps = [0; 3];
                match self.said.filter(|said| said.is_hashed()) {
                    Some(how) => hashed(text, how, |_| steps[2] += 1),
                    None => {
                        split(text, TokenSplit::Words, |_| steps[0] += 1);
                        split(text, TokenSplit::Characters, |_| steps[1] += 1);
                    }
                }
                (StepKind::Tokens { split: Some(TokenSplit::Words) }, steps)
            }
            Cell::List(list) => match list.as_ref().as_ref().ok()? {
                Sequence::Numbers { channels, elements } => {
                    (StepKind::Numbers { channels: *channels }, [elements.len() / channels; 3])
                }
                Sequence::Tokens(tokens) => (StepKind::Tokens { split: None }, [tokens.len(); 3]),
                Sequence::Text(_) => return None,
            },
            _ => return None,
        })
    }

    /// Returns the form of the column; `None` if it holds no sequences.
    pub(super) fn layout(&self, notes: &mut Vec<String>) -> Option<SequenceLayout> {
        let mut kind = self.kind?;
        let mut place = 0;
        if let StepKind::Tokens { split: Some(split) } = &mut kind {
            let is_spaceless = self.characters[0] * 2 > self.characters[1];
            *split = self.said.unwrap_or(if is_spaceless { TokenSplit::Characters } else { TokenSplit::Words });
            place = match split {
                TokenSplit::Words => 0,
                TokenSplit::Characters => 1,
                TokenSplit::Grams | TokenSplit::Terms => 2,
            };
            if is_spaceless && self.said.is_none() {
                notes.push(
                    "every character is a token, as most are of scripts without spaces between words; --tokens words splits \
                     at spaces and signs"
                        .into(),
                );
            }
        }
        if self.cut[place] > 0 {
            notes.push(format!(
                "{} of {} sequences are longer than {} steps, of which the last ones are kept; --steps keeps more",
                self.cut[place], self.count, self.most
            ));
        }
        notes.extend(self.spans.iter().enumerate().filter_map(|(channel, span)| crowd(channel, *span)));
        let steps = self.longest[place].min(self.most);
        (steps > 0).then_some(SequenceLayout { column: self.column, kind, steps })
    }
}

/// Returns a note on a channel whose numbers 32 bits, in which sequences are read, hardly tell apart.
fn crowd(channel: usize, (least, greatest): (f32, f32)) -> Option<String> {
    let (least, greatest) = (f64::from(least), f64::from(greatest));
    // What is one number after it was read may have been several.
    let is_one = least == greatest && least.abs() > MOST_WHOLE;
    (is_one || is_crowded((least, greatest))).then(|| {
        format!(
            "number {} of every step ({least} to {greatest}) is hardly told apart in 32 bits; subtract a number near all of \
             them before training and asking",
            channel + 1
        )
    })
}

/// Makes the elements of samples, with a number for every token that there is; which of them a model tells apart
/// is fitted on the training part later.
#[derive(Debug)]
pub(super) struct SequenceReader {
    kind: StepKind,
    transform: SequenceTransform,
    tokens: Names,
}

impl SequenceReader {
    pub(super) fn new(layout: &SequenceLayout) -> Self {
        let elements = match layout.kind {
            StepKind::Numbers { channels } => SequenceElements::Numbers { channels },
            StepKind::Tokens { split } => SequenceElements::Tokens { split, vocabulary: Vec::new() },
            StepKind::Texts => SequenceElements::Tokens { split: None, vocabulary: Vec::new() },
        };
        let transform = SequenceTransform { steps: layout.steps, elements };
        Self { kind: layout.kind, transform, tokens: Names::default() }
    }

    /// Steps, and numbers in each.
    pub(super) fn size(&self) -> [usize; 2] {
        [self.transform.steps, self.transform.channels()]
    }

    /// Appends the elements of a cell's sequence.
    ///
    /// # Errors
    /// The fault.
    pub(super) fn read(&mut self, name: &str, cell: &Cell<'_>, to: &mut Vec<f32>) -> std::result::Result<(), String> {
        let refuse = || {
            let words = self.kind.words();
            Err(match cell {
                // Of those that are there it may be the first.
                Cell::Missing => format!("column {name} must be {words}, got no value: {NO_VALUE}"),
                _ => format!("column {name} must be {words}, as the first one is, got {}", cell.words()),
            })
        };
        let mut ids = Vec::new();
        let tokens = &mut self.tokens;
        let mut add = |token: &str| ids.push((FIRST_TOKEN + tokens.code(token) as usize) as f32);
        match (self.kind, cell) {
            (StepKind::Texts, cell) => match cell.text() {
                Some(text) => add(&text),
                None => return refuse(),
            },
            (_, Cell::List(list)) if list.is_err() => {
                let problem = list.as_ref().as_ref().err().map_or("", String::as_str);
                return Err(format!("column {name}: {problem}"));
            }
            (StepKind::Tokens { split: Some(how) }, Cell::Text(text)) if how.is_hashed() => {
                hashed(text, how, |bucket| ids.push((FIRST_TOKEN + bucket) as f32));
            }
            (StepKind::Tokens { split: Some(how) }, Cell::Text(text)) => split(text, how, &mut add),
            (kind, Cell::List(list)) => match (kind, list.as_ref()) {
                (StepKind::Numbers { channels }, Ok(Sequence::Numbers { channels: given, elements }))
                    if channels == *given =>
                {
                    if elements.iter().all(|element| element.is_nan()) {
                        return Err(format!("column {name}: all of it is missing"));
                    }
                    self.transform.fit(elements, to);
                    return Ok(());
                }
                (StepKind::Tokens { split: None }, Ok(Sequence::Tokens(texts))) => {
                    texts.iter().for_each(|token| add(token));
                }
                _ => return refuse(),
            },
            _ => return refuse(),
        }
        if ids.is_empty() {
            return Err(format!("column {name}: it has no tokens"));
        }
        if self.tokens.len() > MOST_TOKENS {
            return Err(format!("column {name}: there are more than {MOST_TOKENS} different tokens"));
        }
        self.transform.fit(&ids, to);
        Ok(())
    }

    /// Returns the elements of the sequences, after all rows were read.
    pub(super) fn finish(self) -> SequenceTransform {
        let Self { mut transform, tokens, .. } = self;
        if let SequenceElements::Tokens { vocabulary, .. } = &mut transform.elements {
            tokens.list().clone_into(vocabulary);
        }
        transform
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use proptest::prelude::*;

    use super::*;
    use crate::transform::SequenceEncoder;

    fn numbers(channels: usize, elements: Vec<f32>) -> Cell<'static> {
        Cell::List(Cow::Owned(Ok(Sequence::Numbers { channels, elements })))
    }

    fn layout(cells: &[Cell<'_>], settings: &ReadSettings) -> Option<SequenceLayout> {
        let mut seen = SeenSequences::new(0, settings, false);
        cells.iter().for_each(|cell| seen.add(cell));
        seen.layout(&mut Vec::new())
    }

    #[test]
    fn the_first_sequence_says_what_all_must_be() {
        let settings = ReadSettings { steps: Some(3), ..ReadSettings::default() };
        let cells = [Cell::Missing, numbers(2, vec![1.0; 8]), Cell::Text("a b c d e"), numbers(1, vec![1.0])];
        let layout = layout(&cells, &settings).unwrap();
        assert_eq!((layout.kind, layout.steps), (StepKind::Numbers { channels: 2 }, 3));
        let mut reader = SequenceReader::new(&layout);
        let mut read = |cell: &Cell<'_>| reader.read("x", cell, &mut Vec::new());
        assert_eq!(read(&cells[1]), Ok(()));
        let expected = "column x must be a list of lists of 2 numbers, as the first one is, got ";
        assert_eq!(
            read(&cells[0]),
            Err(format!("column x must be a list of lists of 2 numbers, got no value: {NO_VALUE}"))
        );
        assert_eq!(read(&cells[2]), Err(format!("{expected}\"a b c d e\"")));
        assert_eq!(read(&cells[3]), Err(format!("{expected}a list of numbers")));
        assert!(read(&numbers(2, vec![f32::NAN; 4])).unwrap_err().contains("all of it is missing"));
        assert!(read(&Cell::List(Cow::Owned(Err("step 1: bad".into())))).unwrap_err().contains("column x: step 1"));
    }

    #[test]
    fn channels_far_from_zero_are_told_of() {
        let mut seen = SeenSequences::new(0, &ReadSettings::default(), false);
        seen.add(&numbers(3, vec![0.5, 1.7e9, 3.0, f32::NAN, 1.7e9, 3.0]));
        seen.add(&numbers(3, vec![2.5, 1.7e9 + 128.0, 3.0]));
        let mut notes = Vec::new();
        seen.layout(&mut notes).unwrap();
        assert!(
            notes.len() == 1 && notes[0].starts_with("number 2 of every step (1700000000 to 1700000128)"),
            "{notes:?}"
        );
    }

    #[test]
    fn texts_without_spaces_are_split_into_characters() {
        let split = |text: &str, tokens| {
            let settings = ReadSettings { tokens, ..ReadSettings::default() };
            let mut notes = Vec::new();
            let mut seen = SeenSequences::new(0, &settings, false);
            seen.add(&Cell::Text(text));
            let layout = seen.layout(&mut notes).unwrap();
            (layout.kind, layout.steps, notes.len())
        };
        let tokens = |split| StepKind::Tokens { split: Some(split) };
        assert_eq!(split("今天很好", None), (tokens(TokenSplit::Characters), 4, 1));
        assert_eq!(split("今天很好", Some(TokenSplit::Words)), (tokens(TokenSplit::Words), 1, 0));
        assert_eq!(split("a fine day 好", None), (tokens(TokenSplit::Words), 4, 0));
    }

    #[test]
    fn columns_that_cannot_be_are_refused() {
        let names = ["sequence", "label"].map(str::to_owned);
        let found = |settings: ReadSettings, guess| {
            column(&names, &settings, [guess, false]).map_err(|error| error.to_string())
        };
        let named = |name: &str| ReadSettings { sequence: Some(name.into()), ..ReadSettings::default() };
        assert_eq!(found(ReadSettings::default(), true), Ok(Some(0)));
        assert_eq!(found(ReadSettings::default(), false), Ok(None));
        assert_eq!(found(ReadSettings { target: Some("sequence".into()), ..ReadSettings::default() }, true), Ok(None));
        assert_eq!(found(named("label"), false), Ok(Some(1)));
        assert!(found(named("text"), true).unwrap_err().contains("there are: sequence, label"));
        assert!(found(ReadSettings { ignore: vec!["label".into()], ..named("label") }, true).is_err());
        for (setting, settings) in [
            ("steps", ReadSettings { steps: Some(0), ..ReadSettings::default() }),
            ("steps", ReadSettings { steps: Some(8193), ..ReadSettings::default() }),
            ("vocabulary", ReadSettings { vocabulary: Some(0), ..ReadSettings::default() }),
        ] {
            assert!(found(settings, true).unwrap_err().contains(setting));
        }
    }

    proptest! {
        /// What is trained on is what the server makes of the same text, token by token.
        #[test]
        fn a_text_is_read_as_it_will_be_served(texts in prop::collection::vec("[a-cA-C' .,é]{1,30}", 1..8), steps in 1usize..9, rule in 0usize..4) {
            let tokens = [TokenSplit::Characters, TokenSplit::Words, TokenSplit::Grams, TokenSplit::Terms][rule];
            let settings = ReadSettings { steps: Some(steps), tokens: Some(tokens), ..ReadSettings::default() };
            let cells: Vec<Cell<'_>> = texts.iter().map(|text| Cell::Text(text)).collect();
            let Some(layout) = layout(&cells, &settings) else { return Ok(()) };
            let mut reader = SequenceReader::new(&layout);
            let read: Vec<_> = cells.iter().map(|cell| {
                let mut elements = Vec::new();
                reader.read("x", cell, &mut elements).map(|()| elements)
            }).collect();
            let encoder = SequenceEncoder::new(&reader.finish());
            for (text, read) in texts.iter().zip(read) {
                let mut served = Vec::new();
                let answer = encoder.encode(&Sequence::Text(text.clone()), &mut served);
                prop_assert_eq!(answer.is_ok(), read.is_ok());
                if let Ok(read) = read {
                    prop_assert_eq!(read, served);
                }
            }
        }
    }
}
