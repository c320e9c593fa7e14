//! What is seen of a column in the first of two passes.

use super::cells::{Cell, is_dash};
use super::familiar::Familiar;
use super::numbers::{Marks, Style, written};
use crate::signature::DateOrder;
use crate::trainer::dataset::names::Names;
use crate::trainer::dataset::picture;
use crate::transform::{days, grams};

/// A column of which this part of the cells is numbers is one of numbers; the others are faults.
const MOSTLY: f64 = 0.9;

/// Columns with more different texts are learned from by their words, or left out.
pub(super) const MAX_CATEGORIES: usize = 256;

/// The n-grams of a text that are learned from, at most: those of some forty words.
const MOST_GRAMS: usize = 256;

/// Rows from which on a column that counts them is taken for their index.
const COUNTED_ROWS: u64 = 20;

/// The ways in which dates and times are written.
const ORDERS: [DateOrder; 4] = [DateOrder::YearFirst, DateOrder::DayFirst, DateOrder::MonthFirst, DateOrder::Time];

/// Numbers that 32 bits tell apart between the least and the greatest of a column, at least.
const TOLD_APART: f64 = 10_000.0;

/// The whole numbers up to this one are told apart in 32 bits.
pub(super) const MOST_WHOLE: f64 = 16_777_216.0;

/// The statistics of a column.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) missing: u64,
    /// Cells that are numbers as programs write them.
    pub(super) numbers: u64,
    /// Of these, those with a fraction.
    fractions: u64,
    /// Cells that are other texts.
    pub(super) texts: u64,
    /// Of these, numbers with marks and a decimal point, with a decimal comma, or either.
    marked: [u64; 3],
    marks: Marks,
    marked_fractions: [bool; 2],
    /// The least and the greatest of them, with a decimal point and with a decimal comma.
    marked_spans: [(f64, f64); 2],
    /// Of the other texts, dates and times by the way they are written, in the order of [`ORDERS`].
    moments: [u64; 4],
    /// The first day of each.
    first_days: [f64; 4],
    /// True if a point or a dash is between the parts of dates that may begin with the day or the month.
    has_points: bool,
    /// Dashes, which are counted as neither.
    pub(super) dashes: u64,
    /// Pictures.
    pub(super) files: u64,
    /// Bytes that are no pictures.
    pub(super) binaries: u64,
    pub(super) lists: u64,
    low: f64,
    high: f64,
    /// The next number of a column that has counted by one from 0 or 1.
    next: Option<f64>,
    has_begun: bool,
    /// Different texts, one more than the limit at the most.
    pub(super) names: Names,
    /// An example of a text.
    example: Option<String>,
    /// The longest text.
    longest: String,
    /// Whether texts have words in common, once there are too many for categories.
    pub(super) familiar: Familiar,
}

impl Default for Seen {
    fn default() -> Self {
        Self {
            missing: 0,
            numbers: 0,
            fractions: 0,
            texts: 0,
            marked: [0; 3],
            marks: Marks::default(),
            marked_fractions: [false; 2],
            marked_spans: [(f64::INFINITY, f64::NEG_INFINITY); 2],
            moments: [0; 4],
            first_days: [f64::INFINITY; 4],
            has_points: false,
            dashes: 0,
            files: 0,
            binaries: 0,
            lists: 0,
            low: f64::INFINITY,
            high: f64::NEG_INFINITY,
            next: None,
            has_begun: false,
            names: Names::default(),
            example: None,
            longest: String::new(),
            familiar: Familiar::default(),
        }
    }
}

impl Seen {
    /// Another file begins, in which rows may be counted anew.
    pub(super) fn begin_file(&mut self) {
        if self.next.is_some() {
            (self.next, self.has_begun) = (None, false);
        }
    }

    pub(super) fn add(&mut self, cell: &Cell<'_>, is_target: bool, sizes: &mut Vec<(u32, u32)>) {
        match cell {
            Cell::Bytes(bytes) => {
                let size = picture::size(bytes);
                self.files += u64::from(size.is_some());
                self.binaries += u64::from(size.is_none());
                return sizes.extend(size);
            }
            Cell::Number(_) | Cell::Text(_) | Cell::Days(_) => {}
            Cell::List(_) => {
                self.lists += 1;
                return;
            }
            Cell::Missing => {
                self.missing += 1;
                return self.count(f64::NAN);
            }
            Cell::Broken(_) => return,
        }
        let number = cell.number();
        if let Cell::Text(text) = cell
            && text.len() > self.longest.len()
        {
            (**text).clone_into(&mut self.longest);
        }
        match (number, cell) {
            (Some(number), _) => self.number(number),
            (None, Cell::Text(text)) if is_dash(text) => {
                self.dashes += 1;
                return;
            }
            (None, Cell::Text(text)) => self.text(text),
            (None, Cell::Days(days)) => self.days(*days),
            (None, _) => return,
        }
        if (is_target || number.is_none())
            && self.names.len() <= MAX_CATEGORIES
            && let Some(text) = cell.text()
        {
            self.names.code(&text);
            if self.names.len() > MAX_CATEGORIES {
                self.familiar.begin(self.names.list());
            }
        }
    }

    /// Returns how many n-grams of each text are learned from.
    pub(super) fn grams(&self) -> usize {
        let mut count = 0;
        grams(&self.longest, |_| count += 1);
        count.clamp(1, MOST_GRAMS)
    }

    fn number(&mut self, number: f64) {
        self.numbers += 1;
        self.fractions += u64::from(number.fract() != 0.0);
        (self.low, self.high) = (self.low.min(number), self.high.max(number));
        self.count(number);
    }

    fn count(&mut self, number: f64) {
        let is_next = match self.next {
            Some(next) => number == next,
            None => !self.has_begun && (number == 0.0 || number == 1.0),
        };
        self.has_begun = true;
        self.next = is_next.then_some(number + 1.0);
    }

    fn text(&mut self, text: &str) {
        self.texts += 1;
        if self.example.is_none() {
            self.example = Some(text.to_owned());
        }
        if self.names.len() > MAX_CATEGORIES {
            self.familiar.add(text);
        }
        self.count(f64::NAN);
        if text.starts_with(|first: char| first.is_ascii_digit()) {
            self.moment(text);
        }
        let [point, comma] = [false, true].map(|comma| written(text, comma));
        let kind = match (point, comma) {
            (None, None) => return,
            (Some(_), None) => 0,
            (None, Some(_)) => 1,
            (Some(_), Some(_)) => 2,
        };
        self.marked[kind] += 1;
        for (place, found) in [point, comma].into_iter().enumerate() {
            let Some((number, marks)) = found else { continue };
            self.marked_fractions[place] |= number.fract() != 0.0;
            let (least, greatest) = self.marked_spans[place];
            self.marked_spans[place] = (least.min(number), greatest.max(number));
            self.marks.money |= marks.money;
            self.marks.percent |= marks.percent;
            self.marks.thousands |= marks.thousands;
        }
    }

    fn days(&mut self, day: f64) {
        self.texts += 1;
        self.moments[0] += 1;
        self.first_days[0] = self.first_days[0].min(day);
        self.count(f64::NAN);
    }

    fn moment(&mut self, text: &str) {
        for (place, order) in ORDERS.into_iter().enumerate() {
            if let Some(day) = days(text, order) {
                self.moments[place] += 1;
                self.first_days[place] = self.first_days[place].min(day);
            }
        }
        self.has_points |= !text.contains('/');
    }

    /// Returns how the dates of the column are written, and the day that counts as 0; `None` if it holds none.
    pub(super) fn order(&self) -> Option<(DateOrder, i32)> {
        let all = (self.numbers + self.texts) as f64;
        let most = *self.moments.iter().max()?;
        if most == 0 || most as f64 <= MOSTLY * all {
            return None;
        }
        let [_, day_first, month_first, _] = self.moments;
        let is_either = day_first == month_first && day_first == most;
        // Where both fit, a point is for the day in front, as in Europe, and a stroke for the month, as in America.
        let place = match is_either {
            true => {
                if self.has_points {
                    1
                } else {
                    2
                }
            }
            false => self.moments.iter().position(|count| *count == most)?,
        };
        let origin = if ORDERS[place] == DateOrder::Time { 0 } else { self.first_days[place].floor() as i32 };
        Some((ORDERS[place], origin))
    }

    /// Returns a note on how the dates of a column are read.
    pub(super) fn moment_note(&self, name: &str, order: DateOrder) -> String {
        let [_, day_first, month_first, _] = self.moments;
        let is_guess = day_first == month_first && [DateOrder::DayFirst, DateOrder::MonthFirst].contains(&order);
        let guess =
            if is_guess { "; the month and the day may be the other way round, which no row tells" } else { "" };
        format!(
            "column {name} is {}; learned from are the days and their phases in the year, the week and the day{guess}",
            order.words()
        )
    }

    /// Returns true if the column counts the rows.
    pub(super) fn counts_rows(&self) -> bool {
        self.next.is_some() && self.numbers >= COUNTED_ROWS
    }

    /// Returns how the numbers of the column are written; `None` if it is not one of numbers.
    pub(super) fn style(&self, decimal: Option<char>) -> Option<Style> {
        let all = (self.numbers + self.texts) as f64;
        let is_most = |count: u64| count > 0 && count as f64 > MOSTLY * all;
        let dashes = self.dashes > 0;
        let [point, comma, either] = self.marked;
        if decimal != Some(',') && is_most(self.numbers) {
            return Some(Style { comma: false, marked: false, dashes });
        }
        let by_point = self.numbers + point + either;
        let by_comma = self.numbers - self.fractions + comma + either;
        let is_comma = match decimal {
            Some(mark) => mark == ',',
            None => by_comma > by_point,
        };
        is_most(if is_comma { by_comma } else { by_point }).then_some(Style {
            comma: is_comma,
            marked: !is_comma,
            dashes,
        })
    }

    /// Returns true if numbers that are written so have fractions.
    pub(super) fn has_fractions(&self, style: Style) -> bool {
        if style.comma {
            self.marked_fractions[1]
        } else {
            self.fractions > 0 || style.marked && self.marked_fractions[0]
        }
    }

    /// Returns true if all are whole numbers from 0 to 255.
    pub(super) fn is_pixel(&self) -> bool {
        self.texts == 0 && self.numbers > 0 && self.fractions == 0 && self.low >= 0.0 && self.high <= 255.0
    }

    /// Returns a number near all of the column, if 32 bits do not tell its numbers apart.
    pub(super) fn origin(&self, style: Style) -> Option<i64> {
        let (least, greatest) = self.span(style);
        let is_exact = !self.has_fractions(style) && least.abs().max(greatest.abs()) <= MOST_WHOLE;
        let middle = (least / 2.0 + greatest / 2.0).round();
        (is_crowded((least, greatest)) && !is_exact && middle.abs() < 9e18).then_some(middle as i64)
    }

    /// Returns the least and the greatest number of the column.
    fn span(&self, style: Style) -> (f64, f64) {
        if !style.comma && !style.marked {
            return (self.low, self.high);
        }
        let (least, greatest) = self.marked_spans[usize::from(style.comma)];
        (self.low.min(least), self.high.max(greatest))
    }

    /// Returns notes on how the cells of a column of numbers are read, which is learned from or, as the target, itself.
    pub(super) fn number_notes(&self, name: &str, style: Style, is_target: bool) -> Vec<String> {
        let mut notes = Vec::new();
        let Marks { money, percent, thousands } = self.marks;
        if style.comma && self.texts > 0 {
            notes.push(format!("column {name} holds numbers with a decimal comma; --decimal . says otherwise"));
        } else if style.marked && self.marked[2] > 0 && thousands && self.marked[0] == 0 {
            notes.push(format!(
                "column {name} holds numbers in which a comma marks thousands; --decimal , takes it for the decimal mark"
            ));
        }
        if (style.comma || style.marked) && (money || percent) {
            let what = if percent {
                "per cent, of which 15 % is the number 15"
            } else {
                "amounts of money, of which the number is taken"
            };
            notes.push(format!("column {name} holds {what}"));
        }
        if style.dashes {
            notes.push(format!("column {name}: {} dashes stand for missing numbers", self.dashes));
        }
        let (least, greatest) = self.span(style);
        let instead = match self.origin(style).filter(|_| !is_target) {
            Some(origin) => Some(format!("what is learned from is their difference from {origin}")),
            None => (is_target && is_crowded((least, greatest)))
                .then(|| "their difference from their mean is learned, and the answers have 64 bits".into()),
        };
        notes.extend(instead.map(|instead| {
            format!(
                "column {name}: numbers of this size ({least} to {greatest}) are hardly told apart in the 32 bits of a network; {instead}"
            )
        }));
        notes
    }

    /// Returns a note on a column of texts of which many are numbers.
    pub(super) fn mixture(&self, name: &str) -> Option<String> {
        let part = self.numbers as f64 / (self.numbers + self.texts).max(1) as f64;
        let example = self.example.as_deref().map(crate::ids::quote).unwrap_or_default();
        (part > 0.5).then(|| {
            format!(
                "column {name} is read as texts, as {:.0} % of its values are no numbers (the first is {example}); --missing \
                 WORD says that a word stands for a missing number",
                (1.0 - part) * 100.0
            )
        })
    }
}

/// Returns true if 32 bits have few numbers between these two.
pub(super) fn is_crowded((least, greatest): (f64, f64)) -> bool {
    let step = least.abs().max(greatest.abs()) * f64::from(f32::EPSILON) / 2.0;
    greatest > least && greatest - least < TOLD_APART * step
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_shifted_where_32_bits_lose_what_the_file_says() {
        for (cells, expected) in [
            (["1700000000", "1700000064"], Some(1_700_000_032)),
            (["100000000", "100000001"], Some(100_000_001)),
            (["5800000.25", "5800999.75"], Some(5_800_500)),
            (["5800000,25", "5800999,75"], Some(5_800_500)),
            (["-5800000.25", "-5800999.75"], Some(-5_800_500)),
            (["1700000000000000000", "1700000003600000000"], Some(1_700_000_001_800_000_000)),
            (["10000000", "10000050"], None),
            (["1600000000", "1700000000"], None),
            (["0.1", "0.1001"], None),
            (["7", "7"], None),
        ] {
            let mut seen = Seen::default();
            cells.iter().for_each(|cell| seen.add(&Cell::of_text(cell, &[]), true, &mut Vec::new()));
            assert_eq!(seen.origin(seen.style(None).unwrap()), expected, "{cells:?}");
        }
    }
}
