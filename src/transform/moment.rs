//! Dates and times as people write them, as days.

use crate::signature::DateOrder;

/// Days of the months of a common year, before each.
const BEFORE: [i64; 12] = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334];

/// Returns the days from the beginning of 1970 in UTC to a date, with the part of the day that a time behind it says; of a
/// time alone the part of the day. `None` if the text is no such date.
pub fn days(text: &str, order: DateOrder) -> Option<f64> {
    let text = text.trim();
    if order == DateOrder::Time {
        return time(text);
    }
    let mut parts = [0i64; 3];
    let mut rest = text;
    let mut separator = None;
    for (index, part) in parts.iter_mut().enumerate() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let is_year = (index == 0) == (order == DateOrder::YearFirst)
            && (index != 1)
            && (index == 0 || order != DateOrder::YearFirst);
        let expected = if is_year { 4..=4 } else { 1..=2 };
        if !expected.contains(&digits) {
            return None;
        }
        *part = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        if index < 2 {
            let mark = rest.chars().next().filter(|mark| ['-', '/', '.'].contains(mark))?;
            if *separator.get_or_insert(mark) != mark {
                return None;
            }
            rest = &rest[1..];
        }
    }
    let [first, second, third] = parts;
    let (year, month, day) = match order {
        DateOrder::YearFirst => (first, second, third),
        DateOrder::DayFirst => (third, second, first),
        DateOrder::MonthFirst => (third, first, second),
        DateOrder::Time => return None,
    };
    let whole = of_date(year, month, day)? as f64;
    match rest.strip_prefix(['T', ' ']) {
        None if rest.is_empty() => Some(whole),
        None => None,
        Some(rest) => time(rest.trim_start()).map(|part| whole + part),
    }
}

/// Returns the days from 1970-01-01 to a date of the Gregorian calendar.
fn of_date(year: i64, month: i64, day: i64) -> Option<i64> {
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let place = usize::try_from(month - 1).ok().filter(|place| *place < 12)?;
    let leap_day = i64::from(is_leap && month > 2);
    let length = BEFORE.get(place + 1).map_or(31, |next| next - BEFORE[place]) + i64::from(is_leap && month == 2);
    if !(1..=length).contains(&day) {
        return None;
    }
    let years = year - 1;
    let before_year = years * 365 + years.div_euclid(4) - years.div_euclid(100) + years.div_euclid(400);
    // 719162 days lie between the first day of the year 1 and that of 1970.
    Some(before_year + BEFORE[place] + leap_day + day - 1 - 719_162)
}

/// Returns the part of the day that a time says, `HH:MM`, with seconds or not, behind them an offset to UTC or not.
fn time(text: &str) -> Option<f64> {
    let (clock, offset) = match text.strip_suffix(['Z', 'z']) {
        Some(clock) => (clock, 0.0),
        None => match text.rfind(['+', '-']) {
            Some(at) => (&text[..at], offset(&text[at..])?),
            None => (text, 0.0),
        },
    };
    let mut fields = clock.trim_end().split(':');
    let two = |field: &str| {
        let is_number = (1..=2).contains(&field.len()) && field.bytes().all(|byte| byte.is_ascii_digit());
        is_number.then(|| field.parse::<f64>().ok()).flatten()
    };
    let hours = two(fields.next()?).filter(|hours| *hours < 25.0)?;
    let minutes = two(fields.next()?).filter(|minutes| *minutes < 60.0)?;
    let seconds = match fields.next() {
        None => 0.0,
        Some(seconds) if seconds.starts_with(|first: char| first.is_ascii_digit()) => {
            seconds.parse::<f64>().ok().filter(|seconds| *seconds < 61.0)?
        }
        Some(_) => return None,
    };
    fields.next().is_none().then_some(hours / 24.0 + minutes / 1440.0 + seconds / 86_400.0 - offset)
}

/// Returns an offset to UTC, `+HH:MM`, as a part of the day.
fn offset(text: &str) -> Option<f64> {
    let digits: String = text[1..].chars().filter(|character| *character != ':').collect();
    let (hours, minutes) = match digits.len() {
        2 => (digits.as_str(), "0"),
        4 => digits.split_at(2),
        _ => return None,
    };
    let part = hours.parse::<f64>().ok()? / 24.0 + minutes.parse::<f64>().ok()? / 1440.0;
    Some(if text.starts_with('-') { -part } else { part })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_days_since_1970() {
        use DateOrder::{DayFirst, MonthFirst, Time, YearFirst};
        for (text, order, expected) in [
            ("1970-01-01", YearFirst, Some(0.0)),
            ("2024-02-29", YearFirst, Some(19_782.0)),
            ("2024/3/1", YearFirst, Some(19_783.0)),
            ("1969-12-31T12:00", YearFirst, Some(-0.5)),
            ("2000-01-01 06:00:00Z", YearFirst, Some(10_957.25)),
            ("2000-01-01T06:00:00.000+06:00", YearFirst, Some(10_957.0)),
            ("2000-01-01T06:00-0600", YearFirst, Some(10_957.5)),
            ("31.12.1999", DayFirst, Some(10_956.0)),
            ("12/31/1999", MonthFirst, Some(10_956.0)),
            ("18:00", Time, Some(0.75)),
            ("1:30:00", Time, Some(0.0625)),
            ("2023-02-29", YearFirst, None),
            ("31.12.1999", MonthFirst, None),
            ("31.12-1999", DayFirst, None),
            ("1.2.3", DayFirst, None),
            ("2024-01", YearFirst, None),
            ("2024-01-01x", YearFirst, None),
            ("25:61", Time, None),
            ("12", Time, None),
            ("192.168.1.1", YearFirst, None),
        ] {
            assert_eq!(days(text, order), expected, "{text}");
        }
    }
}
