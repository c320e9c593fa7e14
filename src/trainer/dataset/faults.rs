//! What is wrong with data: the first fault ends a training run, an inspection lists them.

use std::fmt::Display;

use serde::Serialize;

use crate::error::{Error, Result};

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// The file.
    pub file: String,
    /// The row of a table, from 1, the header not counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub row: Option<u64>,
    /// The problem.
    pub problem: String,
}

impl Fault {
    /// The fault as the reason why nothing can be done.
    pub(super) fn into_error(self) -> Error {
        let problem = match self.row {
            Some(row) => format!("row {row}: {}", self.problem),
            None => self.problem,
        };
        Error::Data { file: self.file, problem }
    }
}

/// Takes note of faults.
#[derive(Debug, Default)]
pub struct Faults {
    cap: Option<usize>,
    list: Vec<Fault>,
    first: Option<Fault>,
    count: u64,
}

impl Faults {
    /// Nothing may be wrong.
    pub fn none_allowed() -> Self {
        Self::default()
    }

    /// Anything may be wrong with single samples; `cap` faults are kept.
    pub fn listed(cap: usize) -> Self {
        Self { cap: Some(cap), ..Self::default() }
    }

    /// The first faults, in the order in which they were met.
    pub fn list(&self) -> &[Fault] {
        &self.list
    }

    /// Returns the total number.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Returns a problem with all data, and behind it the first fault and the number of faults, which may be its cause.
    pub(super) fn with_first(&self, problem: &str) -> String {
        let Some(Fault { file, row, problem: first }) = &self.first else { return problem.to_owned() };
        let row = row.map_or_else(String::new, |row| format!(" row {row}"));
        format!("{problem}; left out for their faults: {}, the first being {file}{row}: {first}", self.count)
    }

    /// Takes note of a fault of one sample, which is left out then.
    ///
    /// # Errors
    /// [`Error::Data`] with the fault, if none is allowed.
    pub(super) fn report(&mut self, file: &str, row: Option<u64>, problem: String) -> Result<()> {
        let fault = Fault { file: file.to_owned(), row, problem };
        let Some(cap) = self.cap else { return Err(fault.into_error()) };
        self.count += 1;
        self.first.get_or_insert_with(|| fault.clone());
        if self.list.len() < cap {
            self.list.push(fault);
        }
        Ok(())
    }
}

/// An error about a whole file or folder.
pub(super) fn unusable(file: impl Display, problem: impl Display) -> Error {
    Error::Data { file: file.to_string(), problem: problem.to_string() }
}
