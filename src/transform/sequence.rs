//! Sequences: lists of numbers, lists of such lists, lists of texts, and texts. The same code builds those of
//! training data and of requests.

/// A sequence before it is encoded.
#[derive(Debug, Clone, PartialEq)]
pub enum Sequence {
    /// Steps of `channels` numbers each; NaN stands for a missing number.
    Numbers {
        /// The numbers of a step.
        channels: usize,
        /// The numbers of all steps.
        elements: Vec<f32>,
    },
    /// Tokens.
    Tokens(Vec<String>),
    /// A text that is not split into tokens yet.
    Text(String),
}

/// A sequence, or a message that says what is wrong with it.
pub type Parsed = std::result::Result<Sequence, String>;

impl Sequence {
    /// Describes the kind of sequence for a message.
    pub fn words(&self) -> String {
        match self {
            Self::Numbers { channels: 1, .. } => "a list of numbers".into(),
            Self::Numbers { channels, .. } => format!("a list of lists of {channels} numbers"),
            Self::Tokens(_) => "a list of texts".into(),
            Self::Text(_) => "a text".into(),
        }
    }
}

/// Builds a sequence step by step. The first step determines the kind of all others.
#[derive(Debug, Default)]
pub struct SequenceBuilder {
    count: usize,
    is_nested: bool,
    channels: usize,
    elements: Vec<f32>,
    texts: Vec<String>,
}

/// The result of adding a step; the error says what is wrong with it.
pub type StepResult = std::result::Result<(), String>;

impl SequenceBuilder {
    /// Adds a step of one number; `None` is a missing one.
    ///
    /// # Errors
    /// When the steps before it are of another kind, or the number does not fit a 32-bit float.
    pub fn number(&mut self, number: Option<f64>) -> StepResult {
        if self.count > 0 && (self.is_nested || !self.texts.is_empty()) {
            return self.refuse(if number.is_some() { "a number" } else { "null" });
        }
        let element = number.map_or(Ok(f32::NAN), single).map_err(|problem| self.at(&problem))?;
        self.channels = 1;
        self.elements.push(element);
        self.count += 1;
        Ok(())
    }

    /// Adds a step of one token.
    ///
    /// # Errors
    /// When the steps before it are of another kind.
    pub fn text(&mut self, text: &str) -> StepResult {
        if self.count > self.texts.len() {
            return self.refuse("a text");
        }
        self.texts.push(text.to_owned());
        self.count += 1;
        Ok(())
    }

    /// Adds a step of several numbers.
    ///
    /// # Errors
    /// When the steps before it are of another kind or length, or one of the numbers is an error.
    pub fn list(&mut self, numbers: &[std::result::Result<f32, String>]) -> StepResult {
        if self.count > 0 && !self.is_nested {
            return self.refuse("a list");
        }
        let expected = if self.count == 0 { numbers.len().max(1) } else { self.channels };
        if numbers.len() != expected {
            return Err(self.at(&format!("has {} numbers, expected {expected}", numbers.len())));
        }
        for number in numbers {
            self.elements.push(number.as_ref().map_err(|problem| self.at(problem)).copied()?);
        }
        (self.is_nested, self.channels) = (true, expected);
        self.count += 1;
        Ok(())
    }

    /// Returns the sequence.
    ///
    /// # Errors
    /// When it has no steps.
    pub fn finish(self) -> Parsed {
        match self.count {
            0 => Err("it has no steps".into()),
            _ if !self.texts.is_empty() => Ok(Sequence::Tokens(self.texts)),
            _ => Ok(Sequence::Numbers { channels: self.channels, elements: self.elements }),
        }
    }

    /// Describes a step of a kind that no sequence has.
    pub fn unexpected(&self, got: &str) -> String {
        self.at(&format!("expected a number, a list of numbers or a text, got {got}"))
    }

    fn refuse(&self, got: &str) -> StepResult {
        let before = match (self.is_nested, self.texts.is_empty()) {
            (true, _) => "lists of numbers",
            (false, true) => "numbers",
            (false, false) => "texts",
        };
        Err(format!("step {} is {got}, those before it are {before}", self.count))
    }

    fn at(&self, problem: &str) -> String {
        format!("step {}: {problem}", self.count)
    }
}

/// Returns a number as the element of a sequence or a row, which is a 32-bit float.
///
/// # Errors
/// When the number does not fit.
pub fn single(number: f64) -> std::result::Result<f32, String> {
    let single = number as f32;
    if single.is_finite() { Ok(single) } else { Err(format!("{number:e} does not fit a 32-bit float")) }
}
