//! Names of open dimensions, alike in every engine.
//!
//! A file names an open dimension by any text, or not at all. Engines and clients get symbols instead: the batch is
//! [`BATCH`], a name that is an identifier stays, as does a sum or product of such names, and a dimension without a
//! name gets a symbol of its own.

use std::collections::{BTreeMap, BTreeSet};

use crate::signature::{BATCH, Dim};

/// The meaning of open first dimensions of several inputs that have no name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Nameless {
    /// All of them are the batch.
    Batch,
    /// Each is a dimension of its own.
    Independent,
}

/// The symbols of a graph by the names in its file.
#[derive(Debug, Clone, Default)]
pub(super) struct Symbols {
    by_name: BTreeMap<String, String>,
    has_batch: bool,
    is_ambiguous: bool,
}

impl Symbols {
    /// Names the open dimensions of these inputs; one without a name is the symbol "".
    ///
    /// The first dimensions are the batch if all that are open have the same name. `nameless` decides about those
    /// without one if several are open.
    pub(super) fn of(inputs: &[Vec<Dim>], nameless: Nameless) -> Self {
        let firsts: Vec<&str> = inputs.iter().filter_map(|dims| dims.first().and_then(open)).collect();
        let named: BTreeSet<&str> = firsts.iter().copied().filter(|name| !name.is_empty()).collect();
        let is_ambiguous = firsts.len() > 1 && firsts.contains(&"");
        let has_batch = !firsts.is_empty() && named.len() <= 1 && (!is_ambiguous || nameless == Nameless::Batch);
        let mut symbols = Self { has_batch, is_ambiguous, by_name: BTreeMap::new() };
        if let Some(batch) = named.first().filter(|_| has_batch) {
            symbols.by_name.insert((*batch).to_owned(), BATCH.to_owned());
        }
        let names = || inputs.iter().flatten().filter_map(open).filter(|name| !name.is_empty());
        names().filter(|name| is_identifier(name)).for_each(|name| symbols.add(name));
        names().filter(|name| !is_identifier(name)).for_each(|name| match symbols.expression(name) {
            Some(expression) => drop(symbols.by_name.insert(name.to_owned(), expression)),
            None => symbols.add(name),
        });
        symbols
    }

    /// Returns true if it is a guess that the first dimensions are the batch: several are open, and not all have a name.
    pub(super) fn is_ambiguous(&self) -> bool {
        self.is_ambiguous
    }

    /// Returns true if the first dimension of the inputs is the batch.
    pub(super) fn has_batch(&self) -> bool {
        self.has_batch
    }

    /// Returns the symbol for a name in the file, if an input has such a dimension.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.by_name.get(name).map(String::as_str)
    }

    /// Returns the dimensions of an input by their symbols.
    pub(super) fn input(&self, input: usize, dims: &[Dim]) -> Vec<Dim> {
        let dim = |(axis, dim): (usize, &Dim)| match dim {
            Dim::Fixed(size) => Dim::Fixed(*size),
            Dim::Symbol(_) if axis == 0 && self.has_batch => Dim::Symbol(BATCH.to_owned()),
            Dim::Symbol(name) => Dim::Symbol(self.get(name).map_or_else(|| format!("d{input}_{axis}"), str::to_owned)),
        };
        dims.iter().enumerate().map(dim).collect()
    }

    /// Returns a sum or product of known names by their symbols; `None` if the text is none.
    fn expression(&self, text: &str) -> Option<String> {
        let is_operator = |c: char| "+-*() ".contains(c);
        if !text.contains(['+', '*', '-']) {
            return None;
        }
        let parts = text.split_inclusive(is_operator).map(|part| {
            let name = part.trim_end_matches(is_operator);
            let rest = &part[name.len()..];
            let is_number = name.chars().all(|c| c.is_ascii_digit());
            let symbol = if is_number { name } else { self.get(name).filter(|_| is_identifier(name))? };
            Some(format!("{symbol}{rest}"))
        });
        parts.collect()
    }

    fn add(&mut self, name: &str) {
        if self.by_name.contains_key(name) {
            return;
        }
        let fits = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let mut symbol: String = name.chars().map(|c| if fits(c) { c } else { '_' }).collect();
        if symbol.starts_with(|c: char| c.is_ascii_digit()) {
            symbol.insert(0, '_');
        }
        while symbol == BATCH || self.by_name.values().any(|other| *other == symbol) {
            symbol.push('_');
        }
        self.by_name.insert(name.to_owned(), symbol);
    }
}

fn is_identifier(name: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '_';
    name.chars().all(fits) && !name.starts_with(|c: char| c.is_ascii_digit())
}

/// Returns the declared name of an open dimension, which may be empty.
fn open(dim: &Dim) -> Option<&str> {
    match dim {
        Dim::Symbol(name) => Some(name),
        Dim::Fixed(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(inputs: &[&[&str]], nameless: Nameless) -> (bool, Vec<String>) {
        let dim = |dim: &&str| match dim.parse() {
            Ok(size) => Dim::Fixed(size),
            Err(_) => Dim::Symbol(dim.trim_matches('?').to_owned()),
        };
        let inputs: Vec<Vec<Dim>> = inputs.iter().map(|dims| dims.iter().map(dim).collect()).collect();
        let symbols = Symbols::of(&inputs, nameless);
        let texts =
            inputs.iter().enumerate().map(|(index, dims)| crate::signature::shape_text(&symbols.input(index, dims)));
        (symbols.has_batch(), texts.collect())
    }

    #[test]
    fn the_batch_is_what_all_open_first_dimensions_are() {
        use Nameless::{Batch, Independent};
        for (inputs, nameless, has_batch, expected) in [
            (&[&["n", "3"][..], &["n"]][..], Batch, true, &["[N, 3]", "[N]"][..]),
            (&[&["?", "3"]], Independent, true, &["[N, 3]"]),
            (&[&["?", "3"], &["?", "2"]], Batch, true, &["[N, 3]", "[N, 2]"]),
            (&[&["?", "3"], &["?", "2"]], Independent, false, &["[d0_0, 3]", "[d1_0, 2]"]),
            (&[&["n", "3"], &["?", "2"]], Independent, false, &["[n, 3]", "[d1_0, 2]"]),
            (&[&["a", "3"], &["b", "a"]], Batch, false, &["[a, 3]", "[b, a]"]),
            (&[&["n", "s"], &["5", "s"]], Batch, true, &["[N, s]", "[5, s]"]),
            (&[&["n", "s"], &["s", "n"]], Batch, false, &["[n, s]", "[s, n]"]),
        ] {
            assert_eq!(named(inputs, nameless), (has_batch, expected.iter().map(ToString::to_string).collect()));
        }
    }

    #[test]
    fn only_the_batch_has_the_symbol_of_the_batch_and_every_name_is_an_identifier() {
        let (_, shapes) = named(&[&["rows", "N", "2*rows", "2 rows", "?"]], Nameless::Batch);
        assert_eq!(shapes, ["[N, N_, 2*N, _2_rows, d0_4]"]);
        let (_, shapes) = named(&[&["b", "past"], &["b", "past + 1"], &["b", "past-key"]], Nameless::Batch);
        assert_eq!(shapes, ["[N, past]", "[N, past + 1]", "[N, past_key]"]);
        let (has_batch, shapes) = named(&[&["N", "3"], &["E", "2"]], Nameless::Batch);
        assert_eq!((has_batch, shapes), (false, vec!["[N_, 3]".into(), "[E, 2]".into()]));
    }
}
