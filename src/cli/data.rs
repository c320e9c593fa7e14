//! `weir data`.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::paint::{Paint, bar};
use super::progress::grouped;
use super::reading::ReadingArgs;
use crate::error::{Error, Result};
use crate::report::resolved;
use crate::trainer::{ColumnFigures, Duplicate, FaultKind, Figures, Inspection, Part, PictureFigures, Split, inspect};

/// Exit code of an inspection that found unusable data.
const UNUSABLE: u8 = 3;

/// Classes that are shown one by one.
const SHOWN_CLASSES: usize = 24;

/// The columns of the longest bar.
const BAR_COLUMNS: f64 = 32.0;

/// Looks at data before anything is trained on them.
#[derive(Debug, Args)]
pub(super) struct DataArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Say what there is in a data set, and all that is wrong with it
    #[command(after_help = "Examples:
  weir data inspect data/mnist
  weir data inspect people.csv --target income --json
  weir data inspect messages.csv --sequence text
  weir data inspect photos/ --transform photo --sheet sheet.png

Exit codes: 0 all of it can be used, 2 wrong usage, 3 some of it cannot be used.")]
    Inspect(InspectArgs),
}

#[derive(Debug, Args)]
struct InspectArgs {
    /// A folder of IDX files as MNIST's, of pictures by class, or a CSV, TSV, Parquet or JSON Lines file
    #[arg(value_name = "PATH")]
    path: PathBuf,
    #[command(flatten)]
    reading: ReadingArgs,
    /// Faults of single files and rows that --json lists one by one; all are counted, and told by their kinds
    #[arg(long, value_name = "N", default_value_t = 100)]
    max_faults: usize,
    /// Draw some pictures of each class into this PNG file, a class in a row
    #[arg(long, value_name = "FILE.png")]
    sheet: Option<PathBuf>,
    /// Print JSON instead of tables
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &DataArgs) -> Result<ExitCode> {
    let Command::Inspect(args) = &args.command;
    let found = inspect(&args.path, &args.reading.options(), args.max_faults)?;
    if let Some(file) = &args.sheet {
        let sheet = found.contact_sheet.as_ref().ok_or_else(|| Error::Config {
            setting: "--sheet".into(),
            problem: "draws pictures, which the data are not".into(),
        })?;
        std::fs::write(file, sheet).map_err(Error::io("write", file))?;
    }
    if args.json {
        let json = serde_json::to_string_pretty(&found)
            .map_err(|error| Error::internal("the inspection could not be written", error))?;
        super::print(&format!("{json}\n"))?;
    } else {
        let paint = Paint(std::io::stdout().is_terminal());
        super::print(&text(&args.path.display().to_string(), &found, paint))?;
    }
    Ok(if found.fault_count > 0 { ExitCode::from(UNUSABLE) } else { ExitCode::SUCCESS })
}

fn text(path: &str, found: &Inspection, paint: Paint) -> String {
    let mut text = format!("{}\n\n", paint.bold(path));
    let mut row = |name: &str, what: String| text.push_str(&format!("{name:<12} {what}\n"));
    row("format", format!("{:?}", found.format).to_lowercase());
    match (&found.sequences, &found.shape[..]) {
        (Some(sequences), shape) => {
            let what = match shape {
                [_, 1] => "sequences of a number a step".into(),
                [_, channels] => format!("sequences of {channels} numbers a step"),
                _ => "sequences of tokens".into(),
            };
            row("samples", what);
            row("lengths", sequences.lengths.words());
        }
        (None, [height, width]) if found.pixels.is_some() => {
            row("samples", format!("pictures of {height} × {width} grey pixels"));
        }
        (None, [height, width, _]) => row("samples", format!("pictures of {height} × {width} pixels in colour")),
        (None, [1]) => row("samples", "rows of 1 column".into()),
        (None, shape) => row("samples", format!("rows of {} columns", shape[0])),
    }
    if let Some(tokens) = found.sequences.as_ref().and_then(|sequences| sequences.tokens.as_ref()) {
        let different = grouped(tokens.different);
        row(
            "tokens",
            format!("{different} in the training part, of which {} are told apart", grouped(tokens.vocabulary)),
        );
        row("frequent", counted(&tokens.frequent).join(", "));
        let unknown = |(split, share): &(_, f64)| format!("{:.2} % of {}", share * 100.0, Split::name(*split));
        row("unknown", tokens.unknown.iter().map(unknown).collect::<Vec<_>>().join(", "));
    }
    let what = match found.labels.len() {
        0 => "a number".into(),
        classes => format!("one of {classes} classes"),
    };
    row(
        "to learn",
        match &found.target {
            Some(target) => format!("{target}, {what}"),
            None => what,
        },
    );
    pictures(found).into_iter().for_each(|(name, what)| row(name, what));
    if let Some(pixels) = &found.pixels {
        row("pixels", figures(pixels));
    }
    found.notes.iter().for_each(|note| row("note", paint.dim(note)));
    text.push('\n');
    text.push_str(&parts(found, paint));
    let channels = found.sequences.as_ref().map_or(&[][..], |sequences| &sequences.channels);
    for columns in [&found.columns[..], channels] {
        if !columns.is_empty() {
            text.push_str(&self::columns(columns, paint));
        }
    }
    text.push_str(&duplicates(found, paint));
    text.push_str(&faults(found, paint));
    text
}

/// Rows about the files of pictures.
fn pictures(found: &Inspection) -> Vec<(&'static str, String)> {
    let Some(pictures) = &found.pictures else { return Vec::new() };
    let sizes = (!pictures.sizes.is_empty()).then(|| ("sizes", sizes(pictures)));
    let all = grouped(pictures.pictures as usize);
    let colour = pictures.coloured.map(|count| ("colour", format!("in {} of {all}", grouped(count as usize))));
    sizes.into_iter().chain(colour).collect()
}

/// The most frequent heights and widths with their counts.
fn sizes(pictures: &PictureFigures) -> String {
    let size = |([height, width], count): &([u32; 2], u64)| format!("{height}x{width} {}", grouped(*count as usize));
    let shown: Vec<String> = pictures.sizes.iter().map(size).collect();
    let more = pictures.different_sizes - shown.len();
    format!("{}{}", shown.join(", "), if more > 0 { format!(" and {more} more") } else { String::new() })
}

/// A row for each class, a column for each part.
fn parts(found: &Inspection, paint: Paint) -> String {
    let width = found.labels.iter().map(|label| label.chars().count()).max().unwrap_or(0).clamp(12, 28);
    let mut text = format!("{:<width$}", if found.labels.is_empty() { "part" } else { "class" });
    if found.labels.is_empty() {
        text.push_str(&format!(" {:>12}  to learn\n", "samples"));
        for Part { split, samples, values, .. } in &found.parts {
            let values = values.as_ref().map(figures).unwrap_or_default();
            text.push_str(&format!("{:<width$} {:>12}  {values}\n", split.name(), grouped(*samples)));
        }
        return text + "\n";
    }
    found.parts.iter().for_each(|part| text.push_str(&format!(" {:>12}", part.split.name())));
    text.push('\n');
    let trained = &found.parts[0].classes;
    let most = trained.iter().copied().max().unwrap_or(1).max(1) as f64;
    for (class, label) in found.labels.iter().enumerate().take(SHOWN_CLASSES) {
        let label: String = label.chars().take(width).collect();
        text.push_str(&format!("{label:<width$}"));
        for part in &found.parts {
            let count = format!("{:>12}", grouped(part.classes[class] as usize));
            text.push_str(&format!(" {}", if part.classes[class] == 0 { paint.red(&count) } else { count }));
        }
        let bar = bar(trained[class] as f64 / most * BAR_COLUMNS);
        text.push_str(&format!("  {}\n", paint.green(&bar)));
    }
    if found.labels.len() > SHOWN_CLASSES {
        text.push_str(
            &paint.dim(&format!("and {} more classes; --json has all\n", found.labels.len() - SHOWN_CLASSES)),
        );
    }
    text.push_str(&format!("{:<width$}", "all"));
    for part in &found.parts {
        text.push_str(&format!(" {}", paint.bold(&format!("{:>12}", grouped(part.samples)))));
    }
    text + "\n\n"
}

fn columns(columns: &[ColumnFigures], paint: Paint) -> String {
    let width = columns.iter().map(|column| column.name.chars().count()).max().unwrap_or(0).clamp(12, 28);
    let mut text = format!("{:<width$} {:>10}  values\n", "column", "missing");
    for column in columns {
        let missing = format!("{:>10}", grouped(column.missing as usize));
        let missing = if column.missing > 0 { paint.bold(&missing) } else { paint.dim(&missing) };
        let values = match (&column.numbers, column.grams, column.categories) {
            (Some(numbers), _, _) => figures(numbers),
            (None, Some(grams), _) => format!("texts, of at most {grams} words, pairs of words and parts of words"),
            (None, None, categories) => {
                let count = categories.unwrap_or(0);
                let shown = counted(&column.frequent);
                let more = if count > shown.len() { ", …" } else { "" };
                format!("{count} texts: {}{more}", shown.join(", "))
            }
        };
        let name: String = column.name.chars().take(width).collect();
        text.push_str(&format!("{name:<width$} {missing}  {values}\n"));
    }
    text + "\n"
}

/// Texts with how often they occur.
fn counted(texts: &[(String, u64)]) -> Vec<String> {
    texts.iter().map(|(text, count)| format!("{text} {}", grouped(*count as usize))).collect()
}

fn duplicates(found: &Inspection, paint: Paint) -> String {
    let duplicates = &found.duplicates;
    let count = |count: u64| grouped(count as usize);
    let across = format!("{} across parts", count(duplicates.across));
    let across = if duplicates.across > 0 { paint.red(&across) } else { across };
    let mut text = format!(
        "{:<12} {} within parts, {across}; {} of them to be learned otherwise\n",
        "duplicates",
        count(duplicates.within),
        count(duplicates.contradicting)
    );
    let examples = |examples: &[Duplicate], sign: &str, text: &mut String| {
        for Duplicate { first, again, contradicts } in examples {
            let otherwise = if *contradicts { paint.red(", otherwise") } else { String::new() };
            let ([a, b], [at, again]) = ([first.0.name(), again.0.name()], [&first.1, &again.1]);
            text.push_str(&format!("{:<12} {a} {at} {sign} {b} {again}{otherwise}\n", ""));
        }
    };
    examples(&duplicates.examples, "=", &mut text);
    if found.pixels.is_some() {
        let near = format!("{} across parts", count(duplicates.nearly_across));
        let near = if duplicates.nearly_across > 0 { paint.red(&near) } else { near };
        text.push_str(&format!("{:<12} {near}\n", "nearly same"));
        examples(&duplicates.near_examples, "≈", &mut text);
    }
    text
}

fn faults(found: &Inspection, paint: Paint) -> String {
    if found.fault_count == 0 {
        return format!("{:<12} {}\n", "faults", paint.green("none"));
    }
    let mut text = format!("{:<12} {}\n", "faults", paint.red(&grouped(found.fault_count as usize)));
    for kind in &found.fault_kinds {
        text.push_str(&format!("{:<12} {}: {}\n", "", places(kind), kind.problem));
    }
    let told: u64 = found.fault_kinds.iter().map(|kind| kind.count).sum();
    if told < found.fault_count {
        let more =
            format!("and {} of other kinds; --json lists them, as many as --max-faults says", found.fault_count - told);
        text.push_str(&format!("{:<12} {}\n", "", paint.dim(&more)));
    }
    text
}

/// Returns the first places of a kind of faults, and how many there are in all.
fn places(kind: &FaultKind) -> String {
    let of_file = |places: &[(String, Option<u64>)]| {
        let rows: Vec<String> = places.iter().filter_map(|(_, row)| row.map(|row| row.to_string())).collect();
        let file = &places[0].0;
        match rows.len() {
            0 => file.clone(),
            1 => format!("{file} row {}", rows[0]),
            _ => format!("{file} rows {}", rows.join(", ")),
        }
    };
    let shown: Vec<String> = kind.places.chunk_by(|a, b| a.0 == b.0).map(of_file).collect();
    let shown = shown.join(", ");
    match kind.count {
        1 => shown,
        count if count as usize > kind.places.len() => format!("{shown}, … ({} in all)", grouped(count as usize)),
        count => format!("{shown} ({count} in all)"),
    }
}

fn figures(figures: &Figures) -> String {
    let Figures { mean, deviation, least, greatest } = *figures;
    let [mean, least, greatest] =
        [mean, least, greatest].map(|value| resolved(value, deviation).unwrap_or_else(|| number(value)));
    format!("{mean} ± {}, from {least} to {greatest}", number(deviation))
}

/// A number with four significant digits, whole ones as they are.
fn number(value: f64) -> String {
    match value.abs() {
        size if size == 0.0 || (value.fract() == 0.0 && size < 1e9) => format!("{value:.0}"),
        size if !(1e-3..1e7).contains(&size) => format!("{value:.3e}"),
        size => format!("{value:.*}", (3 - size.log10().floor() as i32).max(0) as usize),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_of_faults_is_one_line() {
        let told = |count, all: &[(&str, Option<u64>)]| {
            let all = all.iter().map(|(file, row)| ((*file).to_owned(), *row)).collect();
            places(&FaultKind { problem: "bad".into(), count, places: all })
        };
        let some = [("a.csv", Some(3)), ("a.csv", Some(7)), ("b.png", None)];
        assert_eq!(told(1, &some[..1]), "a.csv row 3");
        assert_eq!(told(3, &some), "a.csv rows 3, 7, b.png (3 in all)");
        assert_eq!(told(1503, &some), format!("a.csv rows 3, 7, b.png, … ({} in all)", grouped(1503)));
    }

    #[test]
    fn numbers_have_four_digits() {
        for (value, text) in [
            (0.0, "0"),
            (255.0, "255"),
            (0.13066, "0.1307"),
            (-33.318, "-33.32"),
            (1234.5, "1234"),
            (1.5e9, "1.500e9"),
            (2.5e-5, "2.500e-5"),
        ] {
            assert_eq!(number(value), text);
        }
        let far = Figures { mean: 1e9, deviation: 0.5, least: 1e9 - 1.25, greatest: 1e9 + 1.0 };
        assert_eq!(figures(&far), "1000000000.000 ± 0.5000, from 999999998.750 to 1000000001.000");
    }
}
