//! How a file of comma-separated values is written: separator, lines before the table, header; found by its first rows.

use std::io::{self, Read};

use csv::{ByteRecord, ReaderBuilder};

use super::cells::{Cell, is_dash};
use super::numbers::written;

/// Separators that are tried, the likelier ones first.
const SEPARATORS: [u8; 4] = [b',', b';', b'\t', b'|'];

/// Rows that are looked at.
const ROWS: usize = 200;

/// Lines before a table, at most.
const MOST_BEFORE: usize = 20;

/// What is known of a file before it is looked at.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Said<'a> {
    pub(super) separator: Option<u8>,
    pub(super) quote: Option<u8>,
    pub(super) header: Option<bool>,
    pub(super) is_tsv: bool,
    /// Words for a missing value, beside the usual ones.
    pub(super) missing: &'a [String],
}

/// How a file is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Dialect {
    pub(super) separator: u8,
    pub(super) quote: u8,
    /// Records before the table.
    pub(super) before: usize,
    pub(super) has_header: bool,
    /// The first row: the header, if there is one.
    pub(super) first: ByteRecord,
    /// Notes on what was found.
    pub(super) notes: Vec<String>,
}

impl Dialect {
    /// Finds out how a file is written that begins so; `None` if it holds no row.
    pub(super) fn of(head: &[u8], said: Said<'_>) -> Option<Self> {
        let mut notes = Vec::new();
        let quote = said.quote.unwrap_or_else(|| likely_quote(head));
        if quote != b'"' && said.quote.is_none() {
            notes.push("cells are quoted by \"'\"; --quote '\"' says otherwise".into());
        }
        let excel = head.strip_prefix(b"sep=").and_then(|rest| rest.first()).filter(|_| said.separator.is_none());
        let separator = said.separator.or(excel.copied()).unwrap_or_else(|| likely_separator(head, quote, said.is_tsv));
        let usual = if said.is_tsv { b'\t' } else { b',' };
        if separator != usual && said.separator.is_none() {
            notes.push(format!("cells are separated by {}; --separator says another", separator_name(separator)));
        }
        let rows = rows(head, separator, quote);
        let before = usize::from(excel.is_some()).max(lines_before(&rows));
        if before > 0 && excel.is_none() {
            let text = String::from_utf8_lossy(rows[0].get(0).unwrap_or_default()).into_owned();
            let which = if before == 1 { "line before it is".into() } else { format!("{before} lines before it are") };
            notes.push(format!(
                "the table begins with the first row of several cells; the {which} left out ({})",
                crate::ids::quote(&text)
            ));
        }
        let (first, rest) = rows.get(before..)?.split_first()?;
        if first.iter().all(<[u8]>::is_empty) {
            return None;
        }
        let (is_header, note) = is_header(first, rest, said.missing);
        let has_header = said.header.unwrap_or(is_header);
        notes.extend(note.filter(|_| said.header.is_none()));
        Some(Self { separator, quote, before, has_header, first: first.clone(), notes })
    }
}

/// Returns a separator in words.
pub(super) fn separator_name(separator: u8) -> String {
    match separator {
        b'\t' => "tabs".into(),
        b' ' => "spaces".into(),
        other => format!("\"{}\"", other as char),
    }
}

/// Returns the mark that cells are quoted by: an apostrophe if each that begins a cell has one that ends a cell, and no cell
/// begins with the usual mark.
fn likely_quote(head: &[u8]) -> u8 {
    let is_end = |byte: Option<&u8>| byte.is_none_or(|byte| SEPARATORS.contains(byte) || b"\r\n".contains(byte));
    let count = |line: &[u8], mark: u8, beside: fn(usize) -> Option<usize>| {
        let at = |place: usize| beside(place).and_then(|beside| line.get(beside));
        line.iter().enumerate().filter(|(place, byte)| **byte == mark && is_end(at(*place))).count()
    };
    type Beside = fn(usize) -> Option<usize>;
    let (before, behind): (Beside, Beside) = (|place| place.checked_sub(1), |place| place.checked_add(1));
    if count(head, b'"', before) > 0 {
        return b'"';
    }
    // An apostrophe that is opened in one line and closed in another is no quote.
    let pairs = head.split(|byte| *byte == b'\n').map(|line| [count(line, b'\'', before), count(line, b'\'', behind)]);
    let pairs: Vec<[usize; 2]> = pairs.collect();
    let whole = pairs.len().saturating_sub(1).max(1);
    let is_quote = pairs.iter().any(|[opened, _]| *opened > 0)
        && pairs.iter().take(whole).all(|[opened, closed]| opened == closed);
    if is_quote { b'\'' } else { b'"' }
}

/// Returns true if a text ends inside a quoted field, and true if a quoted field goes on behind its closing quote, as the
/// reader of records takes quotes: one inside a field that does not begin with it is text.
pub(super) fn quoting(text: impl Read, separator: u8, quote: u8) -> io::Result<(bool, bool)> {
    enum Place {
        Begin,
        Plain,
        Quoted,
        Closed,
    }
    let (mut place, mut goes_on) = (Place::Begin, false);
    for byte in io::BufReader::new(text).bytes() {
        let byte = byte?;
        let is_end = byte == separator || byte == b'\n' || byte == b'\r';
        place = match place {
            Place::Quoted if byte == quote => Place::Closed,
            Place::Quoted => Place::Quoted,
            Place::Closed if byte == quote => Place::Quoted,
            Place::Begin if byte == quote => Place::Quoted,
            _ if is_end => Place::Begin,
            Place::Closed => {
                goes_on = true;
                Place::Plain
            }
            _ => Place::Plain,
        };
    }
    Ok((matches!(place, Place::Quoted), goes_on))
}

fn rows(head: &[u8], separator: u8, quote: u8) -> Vec<ByteRecord> {
    let mut reader = ReaderBuilder::new();
    let reader = reader.delimiter(separator).quote(quote).has_headers(false).flexible(true).from_reader(head);
    reader.into_byte_records().map_while(Result::ok).take(ROWS).collect()
}

/// Returns the commonest number of cells, above 1, and the share of rows that have it.
fn commonest_width(rows: &[ByteRecord]) -> (usize, f64) {
    let mut widths: Vec<usize> = rows.iter().map(ByteRecord::len).filter(|width| *width > 1).collect();
    widths.sort_unstable();
    let runs = widths.chunk_by(|a, b| a == b).map(|run| (run.len(), run[0]));
    let (count, width) = runs.max_by_key(|(count, width)| (*count, *width)).unwrap_or((0, 1));
    (width, count as f64 / rows.len().max(1) as f64)
}

/// Returns the separator by which most rows have the same number of cells, more than one.
fn likely_separator(head: &[u8], quote: u8, is_tsv: bool) -> u8 {
    let usual = if is_tsv { b'\t' } else { b',' };
    // A cell that goes on behind its closing quote was parted wrongly, unless no separator parts the file better.
    let goes_on = |separator: u8| quoting(head, separator, quote).is_ok_and(|(_, goes_on)| goes_on);
    let fits = |separator: u8| commonest_width(&rows(head, separator, quote)).1 > 0.5;
    let is_clean = SEPARATORS.iter().any(|separator| fits(*separator) && !goes_on(*separator));
    let share = |separator: u8| {
        let rows = rows(head, separator, quote);
        let share = if is_clean && goes_on(separator) { 0.0 } else { commonest_width(&rows).1 };
        (share, separator != b',' && holds_decimal_commas(&rows))
    };
    let mut best = (usual, share(usual).0);
    for separator in SEPARATORS {
        let (share, has_decimals) = share(separator);
        // A usual separator that fits is not given up for one that fits a little better, but for one that leaves numbers with
        // a decimal comma in every row, as the comma would part these.
        if share > 0.5 && (share > best.1 || has_decimals && share == best.1) {
            best = (separator, share);
        }
    }
    best.0
}

/// Returns true if nearly all rows have a number with a decimal comma.
fn holds_decimal_commas(rows: &[ByteRecord]) -> bool {
    let is_decimal = |cell: &[u8]| {
        let text = std::str::from_utf8(cell).unwrap_or_default().trim();
        text.contains(',') && written(text, true).is_some_and(|(number, _)| number.fract() != 0.0)
    };
    let count = rows.iter().filter(|row| row.iter().any(is_decimal)).count();
    count > 0 && count * 10 > rows.len() * 9
}

/// Returns the number of rows of one cell before those of several.
fn lines_before(rows: &[ByteRecord]) -> usize {
    let (width, share) = commonest_width(rows);
    let before = rows.iter().take_while(|row| row.len() == 1).count();
    let begins = rows.get(before).is_some_and(|row| row.len() == width);
    if width > 1 && share > 0.5 && begins && before <= MOST_BEFORE { before } else { 0 }
}

/// The cells of a column below the first row.
struct Below<'a> {
    cells: Vec<&'a str>,
    is_numeric: bool,
}

impl<'a> Below<'a> {
    fn of(rows: &'a [ByteRecord], column: usize, missing: &[String]) -> Self {
        let cells = rows.iter().filter_map(|row| std::str::from_utf8(row.get(column)?).ok()).map(str::trim);
        let cells: Vec<&str> = cells.filter(|cell| !is_nothing(cell, missing)).collect();
        let numbers = cells.iter().filter(|cell| is_number(cell)).count();
        Self { is_numeric: numbers > 0 && numbers * 10 > cells.len() * 9, cells }
    }

    /// Returns true if a number is outside of all that are here.
    fn excludes(&self, number: f64) -> bool {
        let numbers = || self.cells.iter().filter_map(|cell| cell.parse::<f64>().ok());
        numbers().all(|other| other < number) || numbers().all(|other| other > number)
    }
}

/// Returns true for a cell that stands for a missing value.
fn is_nothing(cell: &str, missing: &[String]) -> bool {
    Cell::of_text(cell, missing) == Cell::Missing || is_dash(cell)
}

fn is_number(cell: &str) -> bool {
    cell.parse::<f64>().is_ok() || written(cell, true).is_some() || written(cell, false).is_some()
}

/// Returns true if a row holds the names of the columns, and a note where that is not obvious.
fn is_header(first: &ByteRecord, rest: &[ByteRecord], missing: &[String]) -> (bool, Option<String>) {
    let names: Vec<String> = first.iter().map(|name| String::from_utf8_lossy(name).trim().to_owned()).collect();
    let below: Vec<Below<'_>> = (0..names.len()).map(|column| Below::of(rest, column, missing)).collect();
    let shown = crate::ids::printable(&names.join(", "), 60);
    let no_header = |why: &str| {
        let note = format!(
            "there is no header, as the first row ({shown}) {why}; columns are called column0, column1, …; --header yes takes it for one"
        );
        (false, Some(note))
    };
    if names.iter().all(|name| is_number(name)) {
        let numbers: Vec<f64> = names.iter().filter_map(|name| name.parse().ok()).collect();
        let counts_up = numbers.len() > 1
            && numbers.len() == names.len()
            && numbers.windows(2).all(|pair| pair[1] - pair[0] == 1.0)
            && numbers[0].fract() == 0.0;
        let unlike = numbers.iter().zip(&below).filter(|(number, below)| below.excludes(**number)).count();
        let is_wide = names.len() > 2;
        let is_count = numbers.first() == Some(&0.0) && (is_wide || unlike > 0) || is_wide && unlike == names.len();
        if counts_up && is_count && !rest.is_empty() {
            return (
                true,
                Some(format!(
                    "the first row ({shown}) counts the columns and is taken for the header; --header no takes it for data"
                )),
            );
        }
        if below.iter().all(|below| !below.is_numeric) && !rest.is_empty() {
            return (true, None);
        }
        return no_header("holds numbers only");
    }
    let numeric = |column: &usize| below[*column].is_numeric;
    let numeric: Vec<usize> = (0..names.len()).filter(numeric).collect();
    let texts: Vec<usize> = (0..names.len()).filter(|column| !numeric.contains(column)).collect();
    let occurs = |column: &usize| below[*column].cells.contains(&names[*column].as_str());
    let is_like_numbers = |column: &usize| is_number(&names[*column]) || is_nothing(&names[*column], missing);
    let has_numbers = numeric.iter().any(|column| is_number(&names[*column]));
    let looks_like_numbers = has_numbers && numeric.iter().all(is_like_numbers);
    if looks_like_numbers && (texts.is_empty() || texts.iter().any(occurs))
        || numeric.is_empty() && texts.iter().all(occurs)
    {
        return no_header("is like those below it");
    }
    if looks_like_numbers {
        return (
            true,
            Some(format!(
                "the first row ({shown}) is taken for the header, though it looks like data; --header no takes it for data"
            )),
        );
    }
    (true, None)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Dialect {
        Dialect::of(text.as_bytes(), Said::default()).unwrap()
    }

    #[test]
    fn the_separator_is_the_one_that_makes_rows_alike() {
        for (text, separator) in [
            ("a,b\n1,2\n3,4\n", b','),
            ("a;b\n1,5;2,5\n3,5;4,5\n", b';'),
            ("a;b;label\n0,12;-0,66;no\n-0,1;-0,6;yes\n", b';'),
            ("a\tb\n1\t2,3\n", b'\t'),
            ("a|b\n1|2\n", b'|'),
            ("text,label\n\"a;b;c\",x\n\"d;e;f\",y\n", b','),
            ("sep=;\na;b\n1;2\n", b';'),
            ("one\n1\n2\n", b','),
            ("\"x\"|5,25|a\n\"y\"|6,75|b\n", b'|'),
            ("1,5;2,5\n3,5;4,25\n", b';'),
            ("1,5;2\n3,7;4\n", b';'),
            ("1,x;2\n3,y;4\n", b','),
        ] {
            assert_eq!(of(text).separator, separator, "{text}");
        }
        let said = Said { separator: Some(b'|'), ..Said::default() };
        assert_eq!(Dialect::of(b"a,b\n1,2\n", said).unwrap().first.len(), 1);
        assert!(Dialect::of(b"\n\n", Said::default()).is_none());
    }

    #[test]
    fn apostrophes_quote_cells_only_where_they_come_in_pairs() {
        for (text, quote) in [
            ("a,b\n'x,y',2\n", b'\''),
            ("'a';'b'\n'it''s';2\n", b'\''),
            ("a,b\nit's,2\n", b'"'),
            ("a,b\n'90s,2\n", b'"'),
            ("a,b\n\"x\",'y'\n", b'"'),
            ("a,b\nthe dogs',2\n", b'"'),
        ] {
            let found = of(text);
            let is_said = found.notes.iter().any(|note| note.contains("--quote"));
            assert_eq!((found.quote, is_said), (quote, quote != b'"'), "{text}");
        }
        let said = Said { quote: Some(b'"'), ..Said::default() };
        assert_eq!(&Dialect::of(b"a,b\n'x',2\n", said).unwrap().quote, &b'"');
    }

    #[test]
    fn lines_before_the_table_are_left_out_and_told() {
        let found = of("Sales of 2024\nsource: shop\na,b,c\n1,2,3\n4,5,6\n");
        assert_eq!((found.before, &found.first[0], found.has_header), (2, &b"a"[..], true));
        assert!(found.notes[0].contains("2 lines before it are left out"), "{:?}", found.notes);
        assert_eq!(of("sep=;\na;b\n1;2\n").before, 1);
        assert_eq!(of("a\n1\n2\n").before, 0);
    }

    #[test]
    fn a_header_is_told_from_data() {
        for (text, is_header, note) in [
            ("a,b\n1,2\n", true, ""),
            ("1,2\n3,4\n5,0\n", false, "numbers only"),
            ("0,1,2\n0.5,1.5,0\n0.1,0.2,1\n", true, "counts the columns"),
            ("0,1,2\n4,1,8\n0,3,1\n", true, "counts the columns"),
            ("2019,2020,2021\n5,6,7\n8,9,1\n", true, "counts the columns"),
            ("5,6,7\n1,9,9\n8,2,3\n", false, "numbers only"),
            ("0.126,-0.664,no\n-0.132,-0.613,no\n0.64,-1.6,yes\n", false, "like those below"),
            ("NA,-0.664,no\n-0.132,-0.613,no\n0.64,-1.6,yes\n", false, "like those below"),
            ("-,1\n3,4\n5,0\n", false, "like those below"),
            ("0.126,-0.664,maybe\n-0.132,-0.613,no\n0.64,-1.6,yes\n", true, "looks like data"),
            ("country,2019,2020\nde,5,6\nfr,7,8\n", true, "looks like data"),
            ("color,size\nred,small\nblue,large\n", true, ""),
            ("red,small\nred,small\nblue,large\n", false, "like those below"),
            ("name,age\nAnn,30\nBob,40\n", true, ""),
        ] {
            let found = of(text);
            assert_eq!(found.has_header, is_header, "{text}");
            assert_eq!(found.notes.is_empty(), note.is_empty(), "{:?}", found.notes);
            assert!(found.notes.iter().all(|found| found.contains(note)), "{:?}", found.notes);
        }
        let words = ["none".to_owned()];
        let said = Said { missing: &words, ..Said::default() };
        assert!(!Dialect::of(b"none,0.5,x\n0.2,0.1,x\n0.3,none,y\n", said).unwrap().has_header);
        let said = Said { header: Some(false), ..Said::default() };
        let found = Dialect::of(b"a,b\n1,2\n", said).unwrap();
        assert!(!found.has_header && found.notes.is_empty());
    }
}
