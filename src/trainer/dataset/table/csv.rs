//! Comma- or tab-separated values (RFC 4180), with or without a header.

use std::fs::File;
use std::path::{Path, PathBuf};

use csv::{ByteRecord, ReaderBuilder, Trim};

use super::cells::{Cell, TakeRow};
use crate::error::Result;
use crate::trainer::dataset::faults::{Faults, unusable};

/// A file of which the header was read.
#[derive(Debug)]
pub(super) struct CsvFile {
    path: PathBuf,
    delimiter: u8,
    pub(super) columns: Vec<String>,
    has_header: bool,
}

impl CsvFile {
    /// Reads the header. A first row of numbers alone is none: columns are then called `column0` and so on.
    ///
    /// # Errors
    /// [`crate::error::Error::Data`] when the file is empty or its header cannot be used.
    pub(super) fn open(path: &Path) -> Result<Self> {
        let is_tsv = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("tsv"));
        let mut file = Self {
            path: path.into(),
            delimiter: if is_tsv { b'\t' } else { b',' },
            columns: Vec::new(),
            has_header: true,
        };
        let mut first = ByteRecord::new();
        let broken = |problem: String| unusable(path.display(), problem);
        let found = file.reader(false)?.read_byte_record(&mut first).map_err(|error| broken(error.to_string()))?;
        if !found || first.iter().all(<[u8]>::is_empty) {
            return Err(broken("is empty".into()));
        }
        for field in &first {
            let name = std::str::from_utf8(field).map_err(|_| broken("has a header that is not UTF-8".into()))?;
            file.columns.push(name.trim_start_matches('\u{feff}').trim().to_owned());
        }
        if file.columns.iter().all(|name| name.parse::<f64>().is_ok()) {
            file.has_header = false;
            file.columns = (0..file.columns.len()).map(|index| format!("column{index}")).collect();
        }
        if let Some(index) = file.columns.iter().position(String::is_empty) {
            // As pandas writes its index.
            file.columns[index] = format!("column{index}");
        }
        let mut sorted = file.columns.clone();
        sorted.sort_unstable();
        match sorted.windows(2).find(|pair| pair[0] == pair[1]) {
            Some(pair) => Err(broken(format!("has two columns called {}", crate::ids::quote(&pair[0])))),
            None => Ok(file),
        }
    }

    fn reader(&self, has_header: bool) -> Result<csv::Reader<File>> {
        let open = ReaderBuilder::new()
            .delimiter(self.delimiter)
            .has_headers(has_header)
            .flexible(true)
            .trim(Trim::All)
            .buffer_capacity(1 << 18)
            .from_path(&self.path);
        open.map_err(|error| unusable(self.path.display(), error))
    }

    /// Calls `take` with each row that can be used, counted from 1.
    ///
    /// # Errors
    /// What `take` and `faults` return, and [`crate::error::Error::Data`] when the file cannot be read on.
    pub(super) fn each(&self, faults: &mut Faults, take: &mut TakeRow<'_>) -> Result<()> {
        let file = self.path.display().to_string();
        let mut reader = self.reader(self.has_header)?;
        let (mut record, mut row) = (ByteRecord::new(), 0u32);
        loop {
            let found = reader.read_byte_record(&mut record).map_err(|error| unusable(&file, error))?;
            if !found {
                return Ok(());
            }
            row += 1;
            if record.len() != self.columns.len() {
                let problem = format!("has {} fields, the header {}", record.len(), self.columns.len());
                faults.report(&file, Some(u64::from(row)), problem)?;
                continue;
            }
            let cell =
                |field| std::str::from_utf8(field).map_or(Cell::Broken("bytes that are not UTF-8"), Cell::of_text);
            let cells: Vec<Cell<'_>> = record.iter().map(cell).collect();
            take(row, &cells, faults)?;
        }
    }
}
