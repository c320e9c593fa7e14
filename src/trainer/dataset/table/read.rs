//! The samples of a table: the second of two passes over it.

mod rows;

use std::collections::BTreeMap;
use std::path::Path;

use self::rows::Reader;
use super::files::open;
use super::infer::{Schema, schema};
use super::layout::{Kept, Layout, Reads};
use super::sequences::SequenceReader;
use crate::error::Result;
use crate::repository::{DataFormat, sha256_hex, sha256_of_file};
use crate::signature::{Column, ColumnKind, ImageTransform, SequenceTransform};
use crate::trainer::dataset::DataOptions;
use crate::trainer::dataset::collect::Parts;
use crate::trainer::dataset::faults::Faults;
use crate::trainer::dataset::names::Names;
use crate::trainer::dataset::picture::{Pictures, SeenPictures};

/// The result of reading.
#[derive(Debug)]
pub(in crate::trainer::dataset) struct Read {
    pub(in crate::trainer::dataset) parts: Parts,
    /// The transform from a picture to a sample; none of anything else.
    pub(in crate::trainer::dataset) image: Option<ImageTransform>,
    /// The columns of a table; none of pictures and sequences.
    pub(in crate::trainer::dataset) columns: Vec<Column>,
    /// The elements of sequences.
    pub(in crate::trainer::dataset) sequence: Option<SequenceTransform>,
    /// The name of the column to be learned.
    pub(in crate::trainer::dataset) target: Option<String>,
    pub(in crate::trainer::dataset) sha256: BTreeMap<String, String>,
    /// What the files of pictures are like.
    pub(in crate::trainer::dataset) seen: Option<SeenPictures>,
}

/// Reads tables of one format.
///
/// # Errors
/// [`crate::error::Error::Data`] naming file and row; [`crate::error::Error::Config`] for settings that name
/// columns which are not there.
pub(in crate::trainer::dataset) fn read(
    path: &Path,
    format: DataFormat,
    options: &DataOptions,
    faults: &mut Faults,
) -> Result<Read> {
    let files = open(path, format, &options.reading)?;
    let schema = schema(&files, options)?;
    let columns = files[0].table.columns();
    let mut reader = Reader::new(&schema, columns, options)?;
    let mut sha256 = BTreeMap::new();
    for file in &files {
        let name = file.path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
        sha256.insert(name, sha256_of_file(&file.path)?);
        let name = file.path.display().to_string();
        reader.collector.file(name.clone());
        file.table.each(faults, &mut |row, cells, faults| {
            if let Err(problem) = reader.row(file.split, row, cells)? {
                faults.report(&name, Some(u64::from(row)), problem)?;
            }
            Ok(())
        })?;
    }
    let mut notes = reader.notes();
    let Reader { mut collector, names, sequences, mut pictures, sums, .. } = reader;
    let target = schema.target.map(|(target, _)| columns[target].clone());
    let titles = target.as_ref().map(|target| files[0].table.class_names(target)).unwrap_or_default();
    pictures.as_mut().map(|pictures| pictures.settle(&mut collector)).transpose()?;
    let mut parts = collector.finish(&path.display().to_string(), options, &titles, faults)?;
    notes.extend(pictures.as_ref().and_then(Pictures::note));
    if !sums.is_empty() {
        sha256.insert("*".into(), sha256_hex(sums.as_bytes()));
    }
    let columns = columns_of(&schema, columns, &names, options);
    parts.notes.splice(0..0, schema.notes.into_iter().chain(notes));
    let sequence = sequences.map(SequenceReader::finish);
    let of_files = pictures.as_ref().filter(|_| matches!(schema.layout, Layout::Pictures { .. }));
    let seen = of_files.map(|pictures| pictures.seen(&schema.sizes));
    Ok(Read { parts, image: pictures.map(Pictures::transform), columns, sequence, target, sha256, seen })
}

/// Returns the columns of the samples: those of the model that they are for, or else what was met.
fn columns_of(schema: &Schema, columns: &[String], names: &[Names], options: &DataOptions) -> Vec<Column> {
    let Layout::Columns(kept) = &schema.layout else { return Vec::new() };
    if let Some(expected) = &options.expected {
        return expected.transform.columns.clone();
    }
    let kind = |reads: Reads, names: &Names| match reads {
        Reads::Numbers(_) => ColumnKind::Number,
        Reads::Shifted(_, origin) => ColumnKind::Shifted { origin },
        Reads::Moments(order, origin) => ColumnKind::Moment { order, origin },
        Reads::Categories => ColumnKind::Category { values: names.list().to_vec() },
        Reads::Texts(grams) => ColumnKind::Text { grams },
    };
    let column =
        |(kept, names): (&Kept, &Names)| Column { name: columns[kept.column].clone(), kind: kind(kept.reads, names) };
    kept.iter().zip(names).map(column).collect()
}
