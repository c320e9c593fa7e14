//! The files of a table: which there are, what each is for, and their rows.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

use super::cells::TakeRow;
use super::csv::CsvFile;
use super::jsonl::JsonLinesFile;
use super::parquet::ParquetFile;
use super::text::unpacked_name;
use crate::error::Result;
use crate::repository::{DataFormat, ReadSettings};
use crate::trainer::dataset::collect::Split;
use crate::trainer::dataset::faults::{Faults, unusable};

/// A file of which the header was read.
#[derive(Debug)]
pub(super) enum Table {
    Csv(CsvFile),
    Parquet(ParquetFile),
    JsonLines(JsonLinesFile),
}

impl Table {
    pub(super) fn columns(&self) -> &[String] {
        match self {
            Self::Csv(file) => &file.columns,
            Self::Parquet(file) => &file.columns,
            Self::JsonLines(file) => &file.columns,
        }
    }

    /// Calls `take` with each row that can be used, counted from 1.
    ///
    /// # Errors
    /// What `take` and `faults` return, and [`crate::error::Error::Data`] when the file cannot be read on.
    pub(super) fn each(&self, faults: &mut Faults, take: &mut TakeRow<'_>) -> Result<()> {
        match self {
            Self::Csv(file) => file.each(faults, take),
            Self::Parquet(file) => file.each(faults, take),
            Self::JsonLines(file) => file.each(faults, take),
        }
    }

    /// Returns notes on what was found out about the file.
    pub(super) fn notes(&self) -> &[String] {
        match self {
            Self::Csv(file) => &file.notes,
            Self::Parquet(_) | Self::JsonLines(_) => &[],
        }
    }

    pub(super) fn class_names(&self, column: &str) -> Vec<String> {
        match self {
            Self::Csv(_) | Self::JsonLines(_) => Vec::new(),
            Self::Parquet(file) => file.class_names(column),
        }
    }
}

/// One file of a table, and what its rows are for unless a column says so.
#[derive(Debug)]
pub(super) struct TableFile {
    pub(super) path: PathBuf,
    pub(super) table: Table,
    pub(super) split: Split,
}

/// Returns the format of a table by its name: `.csv`, `.jsonl` and so on, packed (`.csv.gz`, `.jsonl.zst`) or not.
pub(in crate::trainer::dataset) fn format_of(path: &Path) -> Option<DataFormat> {
    let name = unpacked_name(path);
    if name.starts_with(['.', '_']) {
        return None;
    }
    match name.rsplit_once('.')?.1 {
        "csv" | "tsv" => Some(DataFormat::Csv),
        "parquet" => Some(DataFormat::Parquet),
        "jsonl" | "ndjson" => Some(DataFormat::Jsonl),
        _ => None,
    }
}

/// The tables in a folder or its folder `data`, or the one that is the path itself, sorted.
pub(in crate::trainer::dataset) fn files(path: &Path, format: DataFormat) -> Vec<PathBuf> {
    let is_table = |path: &Path| format_of(path) == Some(format);
    if path.is_file() {
        return vec![path.to_owned()];
    }
    for folder in [path.to_owned(), path.join("data")] {
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        let mut found: Vec<PathBuf> = entries.map(|entry| entry.path()).filter(|path| is_table(path)).collect();
        if !found.is_empty() {
            found.sort_unstable();
            return found;
        }
    }
    Vec::new()
}

/// Opens all files and says what each is for: by the first word of its name if there are several. The files `part-…`
/// of a folder, as Spark writes them, are one table.
pub(super) fn open(path: &Path, format: DataFormat, settings: &ReadSettings) -> Result<Vec<TableFile>> {
    let paths = files(path, format);
    if paths.is_empty() {
        return Err(unusable(path.display(), "holds no table of this format"));
    }
    let stem = |path: &Path| path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    let is_alone = paths.len() == 1 || paths.iter().all(|path| stem(path).starts_with("part-"));
    let open = |path: PathBuf| {
        let split = Split::named(stem(&path).split(['-', '_', '.']).next().unwrap_or_default());
        let split = if is_alone { Some(Split::Train) } else { split };
        let split = split.ok_or_else(|| {
            unusable(
                path.display(),
                "lies beside other tables, but its name does not begin with train, validation or test",
            )
        })?;
        let table = match format {
            DataFormat::Parquet => Table::Parquet(ParquetFile::open(&path, settings)?),
            DataFormat::Jsonl => Table::JsonLines(JsonLinesFile::open(&path, settings)?),
            DataFormat::Csv | DataFormat::Idx | DataFormat::Images => Table::Csv(CsvFile::open(&path, settings)?),
        };
        Ok(TableFile { path, table, split })
    };
    let mut files = paths.into_iter().map(open).collect::<Result<Vec<_>>>()?;
    // Training files first: what they hold is numbered first.
    files.sort_by_key(|file| file.split);
    share_keys(&mut files);
    for other in &files[1..] {
        let (first, columns) = (files[0].table.columns(), other.table.columns());
        if first != columns {
            let differing = first
                .iter()
                .find(|name| !columns.contains(name))
                .or_else(|| columns.iter().find(|name| !first.contains(name)));
            let differing =
                differing.map_or_else(|| "their order".into(), |name| format!("column {}", crate::ids::quote(name)));
            let problem = format!("has other columns than {}: {differing}", files[0].path.display());
            return Err(unusable(other.path.display(), problem));
        }
    }
    Ok(files)
}

/// Files of objects have the keys of all of them: what is in one only is missing in the others.
fn share_keys(files: &mut [TableFile]) {
    let mut all: Vec<String> = Vec::new();
    let mut known = HashSet::new();
    for name in files.iter().flat_map(|file| file.table.columns()) {
        if known.insert(name.clone()) {
            all.push(name.clone());
        }
    }
    for file in files {
        if let Table::JsonLines(file) = &mut file.table {
            file.columns.clone_from(&all);
        }
    }
}
