//! Files as people have them: read right, or with a message that is true. Each case is one that once was not.

use std::fmt::Write as _;
use std::io::Write as _;

use weir::repository::ReadSettings;
use weir::signature::Polarity;
use weir::trainer::{DataOptions, DataSource, Inspection, TaskOptions, TaskReport, inspect};

use super::data::Workshop;
use crate::fixtures::{head, mnist, png, write_idx};

fn looked(shop: &Workshop, name: &str, reading: ReadSettings) -> Result<Inspection, String> {
    let options = DataOptions { reading, ..DataOptions::default() };
    inspect(&shop.path(name), &options, 10).map_err(|error| error.to_string())
}

/// Writes a file and looks at it.
fn look(name: &str, content: impl AsRef<[u8]>) -> Result<Inspection, String> {
    let shop = Workshop::of("dense");
    shop.write(name, content);
    looked(&shop, name, ReadSettings::default())
}

/// Rows of two numbers and a class, with cells made from the index.
fn table(header: &str, rows: usize, row: impl Fn(usize) -> String) -> String {
    let rows: String = (0..rows).map(|index| row(index) + "\n").collect();
    if header.is_empty() { rows } else { format!("{header}\n{rows}") }
}

/// Two numbers without a pattern, to three digits.
fn noise(index: usize) -> [f64; 2] {
    let of = |prime: usize, start: usize| ((index * prime + start) % 1999) as f64 / 1000.0 - 1.0;
    [of(379, 7), of(733, 418)]
}

fn label(index: usize) -> &'static str {
    if index * 5 % 7 < 3 { "yes" } else { "no" }
}

fn plain(index: usize) -> String {
    let [a, b] = noise(index);
    format!("{a},{b},{}", label(index))
}

#[track_caller]
fn has_note(found: &Inspection, part: &str) {
    assert!(found.notes.iter().any(|note| note.contains(part)), "{part} in {:?}", found.notes);
}

fn names(found: &Inspection) -> Vec<&str> {
    found.columns.iter().map(|column| column.name.as_str()).collect()
}

fn samples(found: &Inspection) -> usize {
    found.parts.iter().map(|part| part.samples).sum()
}

#[test]
fn labels_stay_as_they_are_written() {
    let csv = |labels: [&'static str; 2]| {
        table("a,b,label", 60, move |index| {
            format!("{:?},{:?},{}", noise(index)[0], noise(index)[1], labels[index % 2])
        })
    };
    assert_eq!(look("a.csv", csv(["007", "07"])).unwrap().labels, ["007", "07"]);
    assert_eq!(look("a.csv", csv(["1e5", "100000"])).unwrap().labels, ["100000", "1e5"]);
    assert_eq!(look("a.csv", csv(["1.0", "0.0"])).unwrap().labels, ["0", "1"]);
}

#[test]
fn a_quote_that_is_never_closed_is_refused_by_its_row() {
    let csv = |bad: &str| {
        table("a,label,note", 60, |index| {
            format!("{},{},{}", noise(index)[0], label(index), if index == 40 { bad } else { "n" })
        })
    };
    let refused = look("a.csv", csv("\"n40")).unwrap_err();
    assert!(refused.contains("row 41: a quote is opened in line 42 or below and never closed"), "{refused}");
    assert_eq!(samples(&look("a.csv", csv("5\" pipe")).unwrap()), 60, "a quote inside a field is text");
    assert_eq!(samples(&look("a.csv", csv("\"two\nlines\"")).unwrap()), 60);
    let spanning =
        look("a.csv", csv("\"n40").replace(",yes,n\n", ",yes,\"n\"\n")).unwrap_or_else(|error| panic!("{error}"));
    assert!(
        spanning.faults.iter().any(|fault| fault.problem.contains("rows may be swallowed")),
        "{:?}",
        spanning.faults
    );
}

#[test]
fn rows_of_another_length_are_the_reason_and_not_an_empty_file() {
    let refused = look("a.csv", table("a,b,label", 60, |index| plain(index) + ",")).unwrap_err();
    assert!(refused.contains("row 1: has 4 fields, the header 3"), "{refused}");
}

#[test]
fn every_separator_is_found_and_a_decimal_comma_with_it() {
    for separator in [";", "\t", "|"] {
        let csv = table("a,b,label", 60, plain).replace(',', separator);
        let found = look("a.csv", csv).unwrap();
        has_note(&found, "cells are separated by");
        assert_eq!((names(&found), found.labels.len()), (vec!["a", "b"], 2));
        let comma = table("a;b;label", 60, |index| plain(index).replace(',', ";").replace('.', ","));
        let found = look("a.csv", comma.replace(';', separator)).unwrap();
        has_note(&found, "column a holds numbers with a decimal comma");
        let numbers = found.columns[0].numbers.unwrap();
        assert!(numbers.least >= -1.0 && numbers.greatest <= 1.0 && numbers.deviation > 0.3, "{numbers:?}");
    }
    let shop = Workshop::of("dense");
    shop.write("a.csv", "a.b.label\n1.2.x\n2.4.y\n3.3.x\n");
    let reading = ReadSettings { separator: Some('.'), ..ReadSettings::default() };
    assert_eq!(names(&looked(&shop, "a.csv", reading).unwrap()), ["a", "b"]);
}

#[test]
fn a_target_with_a_decimal_comma_is_a_number() {
    let csv = table("a,target", 300, |index| {
        format!("{},\"{}\"", noise(index)[0], format!("{:.2}", noise(index)[1] * 3.0).replace('.', ","))
    });
    let found = look("a.csv", csv).unwrap();
    assert!(found.labels.is_empty(), "{:?}", found.labels);
    has_note(&found, "column target holds numbers with a decimal comma");
    has_note(&found, "learning target from column a: a number");
}

#[test]
fn the_faults_that_leave_one_class_are_told() {
    for word in ["None", "inf"] {
        let csv = table("a,b,label", 60, |index| plain(index).replace("no", word));
        let refused = look("a.csv", csv).unwrap_err();
        assert!(
            refused.contains("one class only") && refused.contains("row ") && refused.contains("must be a class"),
            "{refused}"
        );
    }
}

#[test]
fn a_header_is_told_from_data_and_the_guess_is_said() {
    let numbers = |index: usize| format!("{},{},{}.0", noise(index)[0], noise(index)[1], index % 2);
    let found = look("a.csv", table("0,1,2", 60, numbers)).unwrap();
    has_note(&found, "counts the columns and is taken for the header");
    assert_eq!((samples(&found), found.labels.len()), (60, 2));
    let whole =
        |index: usize| (0..11).map(|column| (index * (column + 3) % 9).to_string()).collect::<Vec<_>>().join(",");
    let found = look("a.csv", table("0,1,2,3,4,5,6,7,8,9,10", 60, whole)).unwrap();
    assert!(samples(&found) == 60 && !found.labels.contains(&"10".to_owned()), "{:?}", found.labels);
    let found = look("a.csv", table("", 60, plain)).unwrap();
    has_note(&found, "there is no header");
    assert_eq!((samples(&found), names(&found)), (60, vec!["column0", "column1"]));
    let shop = Workshop::of("dense");
    shop.write("a.csv", table("", 60, plain));
    let reading = ReadSettings { header: Some(true), ..ReadSettings::default() };
    assert_eq!(samples(&looked(&shop, "a.csv", reading).unwrap()), 59);
}

#[test]
fn the_index_of_the_rows_is_left_out_with_a_word() {
    for name in ["", "Unnamed: 0", "id"] {
        let shop = Workshop::of("dense");
        shop.write("a.csv", table(&format!("{name},a,b,label"), 60, |index| format!("{index},{}", plain(index))));
        let found = looked(&shop, "a.csv", ReadSettings::default()).unwrap();
        has_note(&found, "is the index of the rows");
        assert_eq!(names(&found), ["a", "b"]);
        let kept = if name == "id" { "id" } else { "Unnamed: 0" };
        let reading = ReadSettings { keep: vec![kept.into()], ..ReadSettings::default() };
        assert_eq!(names(&looked(&shop, "a.csv", reading).unwrap()), [kept, "a", "b"]);
    }
    let shuffled = table(",a,b,label", 60, |index| format!("{},{}", index * 17 % 60, plain(index)));
    assert_eq!(names(&look("a.csv", shuffled).unwrap()), ["a", "b"]);
}

#[test]
fn dashes_and_words_for_missing_numbers_are_missing() {
    for dash in ["-", "--", "–", "#N/A", "<NA>", "-nan"] {
        let csv = table("a,b,label", 70, |index| match index % 7 {
            0 => format!("{dash},{},{}", noise(index)[1], label(index)),
            _ => plain(index),
        });
        let found = look("a.csv", csv).unwrap();
        assert_eq!((found.columns[0].missing, found.fault_count), (10, 0), "{dash}");
        assert!(found.columns[0].numbers.is_some(), "{dash}");
    }
    let shop = Workshop::of("dense");
    shop.write(
        "a.csv",
        table(
            "a,b,label",
            70,
            |index| if index % 3 == 0 { format!("none of it,0.5,{}", label(index)) } else { plain(index) },
        ),
    );
    has_note(&looked(&shop, "a.csv", ReadSettings::default()).unwrap(), "column a is read as texts");
    let reading = ReadSettings { missing: vec!["none of it".into()], ..ReadSettings::default() };
    let found = looked(&shop, "a.csv", reading).unwrap();
    assert_eq!((found.columns[0].missing, found.columns[0].numbers.is_some()), (24, true));
}

#[test]
fn money_percent_and_thousands_are_numbers_and_said_so() {
    let csv = table("price,share,label", 60, |index| {
        format!("\"${},{:03}\",{} %,{}", index % 9 + 1, index * 7 % 1000, index % 50, label(index))
    });
    let found = look("a.csv", csv).unwrap();
    has_note(&found, "column price holds amounts of money");
    has_note(&found, "column share holds per cent");
    assert!(found.columns[0].numbers.unwrap().least >= 1000.0);
    assert_eq!(found.columns[1].numbers.unwrap().greatest, 49.0);
}

#[test]
fn numbers_that_32_bits_do_not_tell_apart_are_told_of() {
    let csv = table("x,b,label", 60, |index| {
        format!("{},{},{}", 1_700_000_000 + index * 7 % 64, noise(index)[1], label(index))
    });
    let found = look("a.csv", csv).unwrap();
    has_note(&found, "column x: numbers of this size");
    let numbers = found.columns[0].numbers.unwrap();
    assert!(numbers.least == 1_700_000_000.0 && numbers.deviation > 10.0, "{numbers:?}");
    let csv = table("a,target", 60, |index| format!("{},{}", noise(index)[0], 1e9 + noise(index)[1]));
    has_note(&look("a.csv", csv).unwrap(), "column target: numbers of this size");
}

#[test]
fn packed_and_differently_encoded_files_are_read_alike() {
    let csv = table("größe,b,label", 60, |index| plain(index).replace("no", "né"));
    let expected = look("a.csv", &csv).unwrap();
    assert_eq!(expected.labels, ["né", "yes"]);
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(csv.as_bytes()).unwrap();
    let wide: Vec<u8> = format!("\u{feff}{csv}").encode_utf16().flat_map(u16::to_le_bytes).collect();
    let zstd = zstd::encode_all(csv.as_bytes(), 1).unwrap();
    for (name, bytes) in [("a.csv.gz", gzip.finish().unwrap()), ("a.csv.zst", zstd), ("a.csv", wide)] {
        let found = look(name, bytes).unwrap();
        assert_eq!((names(&found), &found.labels), (names(&expected), &expected.labels), "{name}");
    }
    let latin: Vec<u8> = csv.chars().map(|character| character as u8).collect();
    let shop = Workshop::of("dense");
    shop.write("a.csv", &latin);
    let refused = looked(&shop, "a.csv", ReadSettings::default()).unwrap_err();
    assert!(refused.contains("--encoding"), "{refused}");
    let reading = ReadSettings { encoding: Some("latin1".into()), ..ReadSettings::default() };
    assert_eq!(looked(&shop, "a.csv", reading).unwrap().labels, expected.labels);
}

#[test]
fn json_lines_keep_their_order_and_nan_is_missing() {
    let line = |index: usize| {
        let a = if index.is_multiple_of(5) { "NaN".to_owned() } else { noise(index)[0].to_string() };
        format!(
            "{{\"age\": {}, \"income\": {a}, \"bought\": \"{}\", \"city\": \"{}\"}}",
            index * 7 % 50,
            label(index),
            ["Rome", "Oslo NaN"][index % 2]
        )
    };
    let found = look("a.jsonl", table("", 60, line)).unwrap();
    assert_eq!((found.target.as_deref(), found.fault_count), (Some("city"), 0));
    assert_eq!((names(&found), &found.labels[0]), (vec!["age", "income", "bought"], &"Oslo NaN".to_owned()));
    assert_eq!(found.columns[1].missing, 12);
    let refused = look("a.jsonl", table("", 60, |index| line(index) + ",")).unwrap_err();
    assert!(refused.contains("row 1") && refused.contains("trailing"), "{refused}");
}

/// A picture of a class: a bar across or down.
fn bar(across: bool, at: usize) -> Vec<u8> {
    let is_on = move |x: usize, y: usize| (if across { y } else { x }) == at % 6 + 1;
    png(8, 8, &(0..64).map(|pixel| if is_on(pixel % 8, pixel / 8) { 250 } else { 10 }).collect::<Vec<u8>>())
}

#[test]
fn folders_inside_classes_count_and_what_systems_leave_does_not() {
    let shop = Workshop::of("dense");
    for index in 0..40 {
        let inner = if index % 4 < 2 { "" } else { "more/of/" };
        let class = ["across", "train"][index % 2];
        shop.write(&format!("bars/{class}/{inner}{index}.png"), bar(index % 2 == 0, index));
    }
    shop.write("bars/across/Thumbs.db", b"\xd0\xcf\x11\xe0");
    shop.write("bars/train/.DS_Store", b"x");
    shop.write("bars/__MACOSX/across/x.txt", b"x");
    let found = looked(&shop, "bars", ReadSettings::default()).unwrap();
    assert_eq!(
        (samples(&found), found.fault_count, &found.labels),
        (40, 0, &vec!["across".to_owned(), "train".into()])
    );
    has_note(&found, "20 pictures lie in folders inside");
    has_note(&found, "no photo has colour");
}

#[test]
fn faults_of_a_kind_are_told_together() {
    let shop = Workshop::of("dense");
    let row = |index: usize| {
        let code = if index.is_multiple_of(2) { format!("t{index}") } else { index.to_string() };
        format!("{code},{},{}\n", index % 50, index % 2)
    };
    shop.write("codes.csv", format!("code,age,label\n{}", (0..400).map(row).collect::<String>()));
    let found = looked(&shop, "codes.csv", ReadSettings::default()).unwrap();
    let kind = &found.fault_kinds[0];
    assert_eq!((found.fault_kinds.len(), kind.count, kind.places.len()), (1, found.fault_count, 5), "{kind:?}");
    assert!(kind.count > 100 && kind.problem.contains("texts and numbers"), "{kind:?}");
    assert_eq!(found.faults.len(), 10, "as many as were asked for");
}

#[test]
fn a_table_of_picture_files_beside_them_is_a_set_of_pictures() {
    let shop = Workshop::of("dense");
    let mut csv = "file,label\n".to_owned();
    for index in 0..40 {
        let name = format!("{}/{index}.png", ["across", "down"][index % 2]);
        shop.write(&format!("bars/{name}"), bar(index % 2 == 0, index));
        writeln!(csv, "{name},{}", ["across", "down"][index % 2]).unwrap();
    }
    shop.write("bars/labels.csv", &csv);
    let found = looked(&shop, "bars", ReadSettings::default()).unwrap();
    assert_eq!((&found.shape[..], samples(&found)), (&[8, 8][..], 40));
    has_note(&found, "pictures are the files that column file names");
    shop.write("bars/labels.csv", csv.replace(".png", ".jpg"));
    let found = looked(&shop, "bars", ReadSettings::default()).unwrap();
    has_note(&found, "--format images reads these as pictures");
}

#[test]
fn day_and_night_are_not_made_the_same_by_a_guess() {
    let shop = Workshop::of("dense");
    for index in 0..40 {
        let (sky, ground) = if index % 2 == 0 { (230, 160) } else { (25, 95) };
        let pixels: Vec<u8> = (0..64).map(|pixel| if pixel < 40 { sky } else { ground } + index as u8 % 5).collect();
        shop.write(&format!("sky/{}/{index}.png", ["day", "night"][index % 2]), png(8, 8, &pixels));
    }
    let data = DataSource::read(&shop.path("sky"), &DataOptions::default()).unwrap();
    assert_eq!(data.image.as_ref().unwrap().drawing().unwrap().polarity, Polarity::AsIs);
    let mean = |index: usize| data.train.inputs(index..index + 1).unwrap().iter().sum::<f32>() / 64.0;
    let is_day = |index: usize| data.train.labels()[index] == 0;
    assert!((0..data.train.len()).all(|index| (mean(index) > 128.0) == is_day(index)));
    let outcome = shop.train("sky", 8, TaskOptions::default()).unwrap();
    assert!(outcome.published.is_some());
    let TaskReport::Classification(report) = &outcome.report else { panic!("classes are learned") };
    assert_eq!(report.full.evaluation.summary.accuracy, 1.0);
}

#[test]
fn drawings_dark_on_bright_are_seen_by_training_as_by_serving() {
    let shop = Workshop::of("dense");
    let test = head(&mnist().test, 60);
    let dark: Vec<u8> = test.inputs(0..60).unwrap().iter().map(|pixel| 255 - *pixel as u8).collect();
    let classes = test.labels().iter().map(|label| label % 2).collect();
    let dark = weir::trainer::Dataset::images(28, 28, dark, classes, 2);
    std::fs::create_dir(shop.path("dark")).unwrap();
    write_idx(&shop.path("dark"), "train", &dark);
    write_idx(&shop.path("dark"), "t10k", &dark);
    let mut csv =
        "label,".to_owned() + &(0..784).map(|pixel| format!("pixel{pixel}")).collect::<Vec<_>>().join(",") + "\n";
    for index in 0..60 {
        let row: Vec<String> = dark.inputs(index..index + 1).unwrap().iter().map(f32::to_string).collect();
        writeln!(csv, "{},{}", dark.labels()[index], row.join(",")).unwrap();
    }
    shop.write("dark.csv", csv);
    for data in ["dark", "dark.csv"] {
        // The staged version is loaded as a server does, with its golden examples, before it is published.
        let outcome = shop.train(data, 1, TaskOptions::default()).unwrap();
        assert!(outcome.published.is_some(), "{data}");
        let mut drawing = TaskOptions::default();
        drawing.data.reading.transform = weir::repository::PictureChoice::Drawing;
        shop.train(data, 1, drawing.clone()).unwrap();
        let source = DataSource::read(&shop.path(data), &drawing.data).unwrap();
        assert!(
            source.notes.iter().any(|note| note.contains("black and white were exchanged in")),
            "{:?}",
            source.notes
        );
        assert!(source.train.inputs(0..1).unwrap()[0] == 0.0, "the border is dark");
    }
}

#[test]
fn chinese_texts_are_split_into_characters() {
    let signs = ["今", "天", "很", "好", "在", "我"];
    let text = |index: usize| (0..9).map(|place| signs[(index * 5 + place * place) % 6]).collect::<String>();
    let shop = Workshop::of("lstm");
    shop.write("a.csv", table("text,label", 60, |index| format!("{},{}", text(index), label(index))));
    let reading = ReadSettings { sequence: Some("text".into()), ..ReadSettings::default() };
    let found = looked(&shop, "a.csv", reading).unwrap();
    has_note(&found, "every character is a token");
    assert_eq!(found.sequences.unwrap().tokens.unwrap().different, 6);
}

#[test]
fn lines_before_the_table_and_several_parts_of_one_are_read() {
    let found = look("a.csv", format!("Survey of 2024\nby hand\n{}", table("a,b,label", 60, plain))).unwrap();
    has_note(&found, "2 lines before it are left out");
    assert_eq!(samples(&found), 60);
    let shop = Workshop::of("dense");
    for part in 0..3 {
        shop.write(&format!("spark/part-0000{part}-abc.csv"), table("a,b,label", 20, |index| plain(part * 20 + index)));
    }
    shop.write("spark/_SUCCESS", "");
    assert_eq!(samples(&looked(&shop, "spark", ReadSettings::default()).unwrap()), 60);
}

#[test]
fn what_is_learned_is_said() {
    let csv = table("survived,class,age", 60, |index| {
        format!("{},{},{}", index % 2, ["First", "Second"][index % 2], index * 7 % 50)
    });
    let found = look("a.csv", csv).unwrap();
    has_note(&found, "learning class from 2 columns: one of 2 classes");
    let many = table("a,code", 300, |index| format!("{},c{}", noise(index)[0], index % 100));
    has_note(&look("a.csv", many).unwrap(), "one of 100 classes");
    let whole =
        table("x1,x2,x3,x4,label", 60, |index| format!("1,{},3,{},{}", index * 7 % 200, index % 7, label(index)));
    let found = look("a.csv", whole).unwrap();
    assert!(
        found.columns.iter().all(|column| column.numbers.is_some()) && found.columns.len() == 4,
        "a table, no picture"
    );
}
