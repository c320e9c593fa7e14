//! Parquet files: plain columns, and pictures as the datasets of Hugging Face keep them.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use parquet::basic::{Compression, GzipLevel, ZstdLevel};
use parquet::data_type::{ByteArray, ByteArrayType, DoubleType, Int64Type};
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;
use tempfile::TempDir;
use weir::error::Error;
use weir::trainer::{DataOptions, DataSource, inspect};

use crate::fixtures::{mnist, pixels, png};

/// A column of a file to write.
pub(crate) enum Cells {
    Whole(Vec<i64>),
    Number(Vec<f64>),
    Bytes(Vec<Vec<u8>>),
    Lists(Vec<Vec<f64>>),
}

/// Writes a file with these columns; `features` is what Hugging Face says of them.
pub(crate) fn write(path: &Path, compression: Compression, schema: &str, columns: &[Cells], features: &str) {
    let properties = WriterProperties::builder()
        .set_compression(compression)
        .set_key_value_metadata(Some(vec![KeyValue::new("huggingface".to_owned(), features.to_owned())]))
        .build();
    let schema = Arc::new(parse_message_type(schema).unwrap());
    let mut file = SerializedFileWriter::new(File::create(path).unwrap(), schema, Arc::new(properties)).unwrap();
    let mut group = file.next_row_group().unwrap();
    for cells in columns {
        let mut column = group.next_column().unwrap().unwrap();
        match cells {
            Cells::Whole(cells) => column.typed::<Int64Type>().write_batch(cells, None, None),
            Cells::Number(cells) => column.typed::<DoubleType>().write_batch(cells, None, None),
            Cells::Bytes(cells) => {
                let cells: Vec<ByteArray> = cells.iter().map(|cell| cell.clone().into()).collect();
                column.typed::<ByteArrayType>().write_batch(&cells, None, None)
            }
            Cells::Lists(cells) => {
                let numbers = cells.concat();
                // Every element is there; the first of each list begins a row.
                let depths = vec![2; numbers.len()];
                let places: Vec<i16> =
                    cells.iter().flat_map(|list| (0..list.len()).map(|at| i16::from(at > 0))).collect();
                column.typed::<DoubleType>().write_batch(&numbers, Some(&depths), Some(&places))
            }
        }
        .unwrap();
        column.close().unwrap();
    }
    group.close().unwrap();
    file.close().unwrap();
}

#[test]
fn pictures_of_hugging_face_are_read_with_the_names_of_their_classes() {
    const SCHEMA: &str = "message pictures { required group image { required binary bytes; required binary path (UTF8); } required int64 label; }";
    const FEATURES: &str = r#"{"info": {"features": {"label": {"names": ["zero", "one"], "_type": "ClassLabel"}}}}"#;
    let folder = TempDir::new().unwrap();
    std::fs::create_dir(folder.path().join("data")).unwrap();
    let test = &mnist().test;
    let of = |label: u32| (0..200).filter(move |index| test.labels()[*index] == label).take(8);
    let chosen: Vec<usize> = of(0).chain(of(1)).collect();
    let files = |range: &[usize]| {
        let bytes = range.iter().map(|index| png(28, 28, pixels(test, *index))).collect();
        let paths = range.iter().map(|index| format!("{index}.png").into_bytes()).collect();
        let labels = range.iter().map(|index| i64::from(test.labels()[*index])).collect();
        [Cells::Bytes(bytes), Cells::Bytes(paths), Cells::Whole(labels)]
    };
    write(
        &folder.path().join("data/train-00000-of-00001.parquet"),
        Compression::SNAPPY,
        SCHEMA,
        &files(&chosen),
        FEATURES,
    );
    write(
        &folder.path().join("data/test-00000-of-00001.parquet"),
        Compression::SNAPPY,
        SCHEMA,
        &files(&chosen[..3]),
        FEATURES,
    );
    let data = DataSource::read(folder.path(), &DataOptions::default()).unwrap();
    assert_eq!(data.labels, ["zero", "one"]);
    assert_eq!((data.train.len(), data.test.len(), data.train.width), (16, 3, 28));
    assert_eq!(data.train.inputs(0..1).unwrap(), test.inputs(chosen[0]..chosen[0] + 1).unwrap());

    let damaged = [Cells::Bytes(vec![b"no picture".to_vec()]), Cells::Bytes(vec![vec![]]), Cells::Whole(vec![0])];
    write(&folder.path().join("data/test-00000-of-00001.parquet"), Compression::SNAPPY, SCHEMA, &damaged, FEATURES);
    let failed = DataSource::read(folder.path(), &DataOptions::default()).unwrap_err();
    assert!(matches!(&failed, Error::Data { problem, .. } if problem.starts_with("row 1: column image")), "{failed}");
}

#[test]
fn plain_columns_are_numbers_and_categories_and_a_cut_file_is_refused() {
    const SCHEMA: &str = "message people { required double age; required binary color (UTF8); required double price; }";
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("people.parquet");
    let ages: Vec<f64> = (0..40).map(|row| if row == 7 { f64::NAN } else { f64::from(row) }).collect();
    let colors = (0..40).map(|row| ["red", "blue"][row % 2].as_bytes().to_vec()).collect();
    let prices = (0..40).map(|row| f64::from(row) + 0.5).collect();
    let columns = [Cells::Number(ages), Cells::Bytes(colors), Cells::Number(prices)];
    write(&path, Compression::UNCOMPRESSED, SCHEMA, &columns, "{}");
    let data = DataSource::read(&path, &DataOptions::default()).unwrap();
    let inputs =
        |data: &DataSource| data.train.inputs(0..36).unwrap().into_iter().map(f32::to_bits).collect::<Vec<_>>();
    // What pandas, DuckDB, Polars and others write unless told otherwise.
    for compression in
        [Compression::SNAPPY, Compression::GZIP(GzipLevel::default()), Compression::ZSTD(ZstdLevel::default())]
    {
        write(&path, compression, SCHEMA, &columns, "{}");
        let packed = DataSource::read(&path, &DataOptions::default()).unwrap();
        assert_eq!(inputs(&packed), inputs(&data), "{compression:?}");
    }
    assert_eq!((data.train.len(), data.test.len(), data.target.as_deref()), (36, 4, Some("price")));
    assert!(data.labels.is_empty() && data.columns[1].values() == ["red", "blue"]);
    let missing = |index: &usize| data.train.inputs(*index..index + 1).unwrap()[0].is_nan();
    let in_test = data.test.inputs(0..4).unwrap().iter().any(|element| element.is_nan());
    assert_eq!((0..36).filter(missing).count(), usize::from(!in_test));

    let whole = std::fs::read(&path).unwrap();
    for length in [0, 3, whole.len() / 2, whole.len() - 1] {
        std::fs::write(&path, &whole[..length]).unwrap();
        let failed = DataSource::read(&path, &DataOptions::default()).unwrap_err();
        assert!(matches!(&failed, Error::Data { file, .. } if file.ends_with("people.parquet")), "{failed}");
    }
}

#[test]
fn lists_are_sequences() {
    const SCHEMA: &str = "message waves { required group sequence (LIST) { repeated group list { optional double element; } } required binary label (UTF8); }";
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("waves.parquet");
    let lists: Vec<Vec<f64>> = (0..40).map(|row| (0..=row % 5).map(|step| f64::from(row + step)).collect()).collect();
    let labels = (0..40).map(|row| ["odd", "even"][row % 2].as_bytes().to_vec()).collect();
    write(&path, Compression::SNAPPY, SCHEMA, &[Cells::Lists(lists), Cells::Bytes(labels)], "{}");
    let data = DataSource::read(&path, &DataOptions::default()).unwrap();
    assert_eq!(data.sequence.unwrap().shape(), [5, 1]);
    assert_eq!((data.train.len() + data.test.len(), data.train.height), (40, 5));
    let (file, row) = data.train.origin(0);
    let (row, elements) = (row.unwrap() as usize - 1, data.train.inputs(0..1).unwrap());
    assert!(file.ends_with("waves.parquet") && elements[4] == (row + row % 5) as f32, "{elements:?}");
    assert_eq!(elements.iter().filter(|element| element.is_nan()).count(), 4 - row % 5);
}

#[test]
fn decimals_are_numbers_and_bytes_that_are_text_are_categories() {
    let look = |name: &str| {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tables").join(name);
        inspect(&path, &DataOptions::default(), 1).unwrap()
    };
    let found = look("decimal.parquet");
    let numbers = found.columns[0].numbers.unwrap();
    assert_eq!((found.columns[0].name.as_str(), numbers.least as f32, numbers.greatest), ("price", -2.4, 2.0));
    assert_eq!((found.labels.len(), found.fault_count), (2, 0));
    let found = look("decimal_target.parquet");
    let values = found.parts[0].values.unwrap();
    assert_eq!((found.target.as_deref(), values.least, values.greatest), (Some("target"), -2.4, 1.96));
    let found = look("binary_text.parquet");
    let frequent: Vec<&str> = found.columns[0].frequent.iter().map(|(text, _)| text.as_str()).collect();
    assert_eq!((found.columns.len(), frequent), (2, vec!["green", "red"]));
}

#[test]
fn a_file_on_which_the_library_panics_is_refused_by_row() {
    // Found by fuzzing: the dictionary of a column has no values where its header says there are some.
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tables/damaged.parquet");
    let refused = inspect(&path, &DataOptions::default(), 1);
    let Err(Error::Data { problem, .. }) = refused else { panic!("{refused:?}") };
    assert!(problem.starts_with("row 1: cannot be read: its parts contradict one another"), "{problem}");
}
