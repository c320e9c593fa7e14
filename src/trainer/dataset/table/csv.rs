//! Values separated by commas, semicolons, tabs or bars (RFC 4180 but for the separator), with or without a header.

use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::cells::{Cell, TakeRow};
use super::dialect::{Dialect, Said, quoting, separator_name};
use super::records::{Place, Record, each_record};
use super::text::{open, unpacked_name};
use crate::error::{Error, Result};
use crate::repository::ReadSettings;
use crate::trainer::dataset::faults::{Faults, unusable};

/// Bytes by which it is found out how a file is written.
const HEAD: u64 = 1 << 18;

/// Records of a file that are looked at again for their quotes, at most.
const MOST_CHECKS: usize = 20;

/// A file of which the header was read.
#[derive(Debug)]
pub(super) struct CsvFile {
    path: PathBuf,
    pub(super) columns: Vec<String>,
    /// Notes on what was found out.
    pub(super) notes: Vec<String>,
    separator: u8,
    quote: u8,
    /// Records before the first row of data.
    before: usize,
    encoding: Option<String>,
    missing: Vec<String>,
}

impl CsvFile {
    /// Finds out how the file is written, and reads its header. Without one, columns are called `column0` and so on.
    ///
    /// # Errors
    /// [`Error::Data`] when the file is empty or its header cannot be used, [`Error::Config`] for a separator that none
    /// can be.
    pub(super) fn open(path: &Path, settings: &ReadSettings) -> Result<Self> {
        let broken = |problem: String| unusable(path.display(), problem);
        let sign = |setting: &str, sign: Option<char>, other: Option<char>| {
            let is_possible = |sign: &char| sign.is_ascii() && !"\r\n".contains(*sign) && Some(*sign) != other;
            let refuse = |sign| Error::Config {
                setting: setting.into(),
                problem: format!(
                    "must be an ASCII character that is no line end and not what parts or quotes cells, got {sign:?}"
                ),
            };
            sign.map(|sign| Some(sign).filter(is_possible).map(|sign| sign as u8).ok_or_else(|| refuse(sign)))
                .transpose()
        };
        let said = Said {
            separator: sign("separator", settings.separator, settings.quote.or(Some('"')))?,
            quote: sign("quote", settings.quote, settings.separator)?,
            header: settings.header,
            is_tsv: unpacked_name(path).ends_with(".tsv"),
            missing: &settings.missing,
        };
        let mut head = Vec::new();
        let mut text = open(path, settings.encoding.as_deref())?;
        text.by_ref().take(HEAD).read_to_end(&mut head).map_err(|error| broken(error.to_string()))?;
        if head.len() as u64 == HEAD {
            let whole = head.iter().rposition(|byte| *byte == b'\n').unwrap_or(head.len());
            head.truncate(whole);
        }
        let found = Dialect::of(&head, said).ok_or_else(|| broken("is empty".into()))?;
        let columns = names(&found).map_err(broken)?;
        Ok(Self {
            path: path.into(),
            columns,
            notes: found.notes,
            separator: found.separator,
            quote: found.quote,
            before: found.before + usize::from(found.has_header),
            encoding: settings.encoding.clone(),
            missing: settings.missing.clone(),
        })
    }

    /// Calls `take` with each row that can be used, counted from 1.
    ///
    /// # Errors
    /// What `take` and `faults` return, and [`Error::Data`] when the file cannot be read on, or a quote is never closed.
    pub(super) fn each(&self, faults: &mut Faults, take: &mut TakeRow<'_>) -> Result<()> {
        let file = self.path.display().to_string();
        // The place of the last record: byte, line, row.
        let (mut last, mut row, mut before, mut checks) = ((0, 1, 0), 0u32, self.before, 0);
        let text = || open(&self.path, self.encoding.as_deref());
        let end = each_record((self.separator, self.quote), text, |record| {
            if before > 0 {
                before -= 1;
                return Ok(());
            }
            row += 1;
            let Place { byte, line, end_byte, end_line } = record.place;
            last = (byte, line, row);
            let lines = end_line.saturating_sub(line);
            if record.len() != self.columns.len() {
                return faults.report(&file, Some(u64::from(row)), self.misfit(record, lines));
            }
            if self.may_swallow(record, lines) && checks < MOST_CHECKS {
                checks += 1;
                self.report_swallowed(&file, last, end_byte, faults)?;
            }
            let cell = |text: Option<_>| match text {
                Some(text) => Cell::of_text(text, &self.missing),
                None => Cell::Broken("bytes that are not UTF-8; --encoding says what they are, as latin1"),
            };
            let cells: Vec<Cell<'_>> = record.texts().map(cell).collect();
            take(row, &cells, faults)
        })?;
        let end = end.map_err(|error| unusable(&file, reason(&error)))?;
        if end.quotes % 2 == 1 || end.line > last.1 + 1 {
            self.refuse_open_quote(last)?;
        }
        Ok(())
    }

    /// Returns true if a record has a field of several lines with a quote in it, as one has that is not closed where it
    /// should be.
    fn may_swallow(&self, record: &Record<'_>, lines: u64) -> bool {
        lines > 1 && record.fields().any(|field| field.contains(&b'\n') && field.contains(&self.quote))
    }

    /// Reports a record in whose field a quote is closed before the field ends: rows may be inside it.
    fn report_swallowed(
        &self,
        file: &str,
        (begin, line, row): (u64, u64, u32),
        end: u64,
        faults: &mut Faults,
    ) -> Result<()> {
        let broken = |error: io::Error| unusable(file, error);
        let mut text = open(&self.path, self.encoding.as_deref())?;
        io::copy(&mut text.by_ref().take(begin), &mut io::sink()).map_err(broken)?;
        let (_, is_misquoted) = quoting(text.take(end - begin), self.separator, self.quote).map_err(broken)?;
        if is_misquoted {
            let problem = format!(
                "a quote that is opened in line {line} or below ends lines later and inside a field; rows may be swallowed"
            );
            faults.report(file, Some(u64::from(row)), problem)?;
        }
        Ok(())
    }

    /// Returns what is wrong with a row of another length than the header.
    fn misfit(&self, record: &Record<'_>, lines: u64) -> String {
        let mut problem = format!("has {} fields, the header {}", record.len(), self.columns.len());
        if lines > 1 {
            problem.push_str(&format!("; it goes over {lines} lines, so a quote may be open"));
        } else if self.columns.len() == 1 || record.len() == 1 {
            problem.push_str(&format!("; fields end at {}, --separator says another", separator_name(self.separator)));
        }
        problem
    }

    /// Checks that the last record ends by itself and not with the file.
    ///
    /// # Errors
    /// [`Error::Data`] naming the row in which a quote is opened.
    fn refuse_open_quote(&self, (byte, line, row): (u64, u64, u32)) -> Result<()> {
        let broken = |error: io::Error| unusable(self.path.display(), error);
        let mut text = open(&self.path, self.encoding.as_deref())?;
        io::copy(&mut text.by_ref().take(byte), &mut io::sink()).map_err(broken)?;
        let (is_left_open, _) = quoting(text, self.separator, self.quote).map_err(broken)?;
        if is_left_open {
            let problem = format!("row {row}: a quote is opened in line {line} or below and never closed");
            return Err(unusable(self.path.display(), problem));
        }
        Ok(())
    }
}

/// Returns the names of the columns, as pandas would call those without one.
fn names(found: &Dialect) -> std::result::Result<Vec<String>, String> {
    if !found.has_header {
        return Ok((0..found.first.len()).map(|index| format!("column{index}")).collect());
    }
    let name = |(index, field): (usize, &[u8])| {
        let problem = "has a header that is not UTF-8; --encoding says what it is, as latin1";
        let name = std::str::from_utf8(field).map_err(|_| problem.to_owned())?.trim();
        Ok(if name.is_empty() { format!("Unnamed: {index}") } else { name.to_owned() })
    };
    let names: Vec<String> = found.first.iter().enumerate().map(name).collect::<std::result::Result<_, String>>()?;
    let mut sorted = names.clone();
    sorted.sort_unstable();
    match sorted.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => Err(format!("has two columns called {}", crate::ids::quote(&pair[0]))),
        None => Ok(names),
    }
}

/// Returns the reason why a file cannot be read on.
fn reason(error: &csv::Error) -> String {
    match error.kind() {
        csv::ErrorKind::Io(error) => error.to_string(),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quote_is_open_only_where_a_field_begins_with_it() {
        for (text, is_open) in [
            ("a,b\n", false),
            ("\"a\",b\n", false),
            ("a,\"b\n", true),
            ("5\" pipe,b\n", false),
            ("a,\"b\"\"\n", true),
            ("a,\"b\"\"\"\n", false),
            ("\"a\nb\",c", false),
            ("\"a\nb\",\"", true),
        ] {
            assert_eq!(quoting(text.as_bytes(), b',', b'"').unwrap().0, is_open, "{text}");
        }
        let goes_on = |text: &str| quoting(text.as_bytes(), b',', b'"').unwrap().1;
        assert!(goes_on("\"a\nb,\"c\"\n") && !goes_on("\"a\"\"\n\",c"));
        assert!(quoting(&b"a,'b"[..], b',', b'\'').unwrap().0);
    }
}
