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

/// The places of a kind of faults that are named.
const MOST_PLACES: usize = 5;
/// The kinds of faults that are told apart.
const MOST_KINDS: usize = 50;

/// Faults whose problems differ in nothing but what was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FaultKind {
    /// The problem of the first one.
    pub problem: String,
    /// The number of them.
    pub count: u64,
    /// The first places: file and row.
    pub places: Vec<(String, Option<u64>)>,
}

/// Takes note of faults.
#[derive(Debug, Default)]
pub struct Faults {
    cap: Option<usize>,
    list: Vec<Fault>,
    kinds: Vec<FaultKind>,
    /// By kind: its problem without what was found.
    keys: Vec<String>,
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

    /// Returns the kinds of faults, in the order in which they were met; those beyond the first fifty are not among them.
    pub fn kinds(&self) -> &[FaultKind] {
        &self.kinds
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
        self.sort_in(&fault);
        if self.list.len() < cap {
            self.list.push(fault);
        }
        Ok(())
    }
}

impl Faults {
    /// Counts a fault under its kind.
    fn sort_in(&mut self, Fault { file, row, problem }: &Fault) {
        let key = key_of(problem);
        let place = self.keys.iter().position(|known| *known == key).unwrap_or(self.keys.len());
        if place == MOST_KINDS {
            return;
        }
        if place == self.kinds.len() {
            self.keys.push(key);
            self.kinds.push(FaultKind { problem: problem.clone(), count: 0, places: Vec::new() });
        }
        let kind = &mut self.kinds[place];
        kind.count += 1;
        if kind.places.len() < MOST_PLACES {
            kind.places.push((file.clone(), *row));
        }
    }
}

/// Returns a problem without what was found: what stands in quotes, and behind the word "got".
fn key_of(problem: &str) -> String {
    let expected = problem.split_once(", got ").map_or(problem, |(expected, _)| expected);
    // Every second part stands in quotes.
    expected.split('"').step_by(2).collect::<Vec<_>>().join("\"")
}

/// An error about a whole file or folder.
pub(super) fn unusable(file: impl Display, problem: impl Display) -> Error {
    Error::Data { file: file.to_string(), problem: problem.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_of_a_kind_are_counted_together_with_their_first_places() {
        let mut faults = Faults::listed(3);
        for row in 1..=100 {
            faults.report("a.csv", Some(row), format!("column x1 must be a number, got \"{row}a\"")).unwrap();
            faults.report("a.csv", Some(row), format!("class \"{row}\" is not among those")).unwrap();
        }
        faults.report("b.csv", Some(1), "column x2 must be a number, got nothing".into()).unwrap();
        let kinds: Vec<(&str, u64)> = faults.kinds().iter().map(|kind| (kind.problem.as_str(), kind.count)).collect();
        assert_eq!(
            kinds,
            [
                ("column x1 must be a number, got \"1a\"", 100),
                ("class \"1\" is not among those", 100),
                ("column x2 must be a number, got nothing", 1)
            ]
        );
        let rows: Vec<_> = faults.kinds()[0].places.iter().map(|(_, row)| row.unwrap()).collect();
        assert_eq!((rows, faults.list().len(), faults.count()), (vec![1, 2, 3, 4, 5], 3, 201));
        (0..1000).for_each(|kind| faults.report("a", None, format!("problem {kind}")).unwrap());
        assert_eq!((faults.kinds().len(), faults.count()), (MOST_KINDS, 1201));
    }
}
