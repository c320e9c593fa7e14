//! Dates and times in tables: elapsed days and phases, in the exported graph as in training.

use std::fmt::Write as _;

use weir::repository::VersionFiles;
use weir::signature::{ColumnKind, DateOrder};
use weir::trainer::{DataOptions, TaskOptions, TaskReport, inspect};

use super::data::Workshop;
use crate::support::TestApp;

/// The date so many days after 1970-01-01, of the year 2024: day and month.
fn of_2024(day: usize) -> (usize, usize) {
    let mut rest = day;
    for (month, length) in [31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31].into_iter().enumerate() {
        if rest < length {
            return (rest + 1, month + 1);
        }
        rest -= length;
    }
    unreachable!("a day of the year")
}

/// Days of 2024, written by `form`; at weekends somebody is at home. The year began on a Monday.
fn days_at_home(form: impl Fn(usize, usize) -> String) -> String {
    let mut csv = "when,label\n".to_owned();
    for index in 0..360 {
        let day = index * 37 % 360;
        let (date, month) = of_2024(day);
        writeln!(csv, "{},{}", form(date, month), if day % 7 >= 5 { "home" } else { "away" }).unwrap();
    }
    csv
}

#[tokio::test(flavor = "multi_thread")]
async fn a_weekday_is_learned_from_dates_and_served_by_date() {
    let shop = Workshop::of("dense");
    shop.write("days.csv", days_at_home(|day, month| format!("2024-{month:02}-{day:02}")));
    let outcome = shop.train("days.csv", 40, TaskOptions::default()).unwrap();
    let TaskReport::Classification(report) = &outcome.report else { panic!("classes are learned") };
    assert!(report.full.evaluation.summary.accuracy > 0.95, "{:?}", report.full.evaluation.summary);
    let manifest = VersionFiles::read(&outcome.published.unwrap().1, 1 << 30).unwrap().manifest.unwrap();
    let kind = ColumnKind::Moment { order: DateOrder::YearFirst, origin: 19_723 };
    assert_eq!(manifest.transform.columns[0].kind, kind);

    let app = TestApp::with(&shop.path("models"), |_| {}).await;
    let ask = async |body: &str| app.post("/models/mine/predict", "application/json", body.to_owned()).await;
    let answer = ask(r#"{"instances": [{"when": "2024-06-01"}, ["2024-06-02T00:00"], {"when": "2024-06-05"}]}"#).await;
    assert_eq!(answer.labels(), ["home", "home", "away"]);
    for bad in [r#"{"instances": [{"when": "1.6.2024"}]}"#, r#"{"instances": [{"when": 19875}]}"#] {
        let refused = ask(bad).await;
        assert!(
            refused.status.is_client_error() && refused.text().contains("a date, as 2024-01-31"),
            "{}",
            refused.text()
        );
    }
}

#[test]
fn every_way_to_write_a_date_is_found_and_said() {
    let form = |words: &str, form: fn(usize, usize) -> String| {
        let shop = Workshop::of("dense");
        shop.write("days.csv", days_at_home(form));
        let found = inspect(&shop.path("days.csv"), &DataOptions::default(), 1).unwrap();
        assert!(found.notes.iter().any(|note| note.contains(words)), "{words}: {:?}", found.notes);
        assert_eq!((found.columns[0].numbers.unwrap().least, found.fault_count), (0.0, 0));
    };
    form("the day first", |day, month| format!("{day}.{month}.2024"));
    form("the month first", |day, month| format!("{month:02}/{day:02}/2024"));
    form("a date, as 2024-01-31", |day, month| format!("2024/{month}/{day}"));
    form("a time of day", |day, month| format!("{}:{:02}", day % 24, month - 1));
    form("which no row tells", |day, month| format!("{}/{}/2024", day % 12 + 1, month % 12 + 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn numbers_far_from_zero_are_told_apart_in_training_and_serving() {
    // Seconds since 1970, the neighbours of a hundred million, and metres of a grid of the earth to a centimetre.
    for (first, step, steps) in [(1_700_000_000.0, 1.0, 64), (100_000_000.0, 1.0, 2), (5_800_000.0, 0.01, 100)] {
        let shop = Workshop::of("dense");
        let place = |index: usize| first + step * index as f64;
        let row = |index: usize| {
            let at = index * 37 % steps;
            format!("{},{}\n", place(at), if at < steps / 2 { "early" } else { "late" })
        };
        shop.write("a.csv", format!("place,label\n{}", (0..300).map(row).collect::<String>()));
        let outcome = shop.train("a.csv", 20, TaskOptions::default()).unwrap();
        let TaskReport::Classification(report) = &outcome.report else { panic!("classes are learned") };
        assert!(report.full.evaluation.summary.accuracy > 0.9, "{:?}", report.full.evaluation.summary);
        let app = TestApp::with(&shop.path("models"), |_| {}).await;
        let body = format!(r#"{{"instances": [{{"place": {first}}}, [{}]]}}"#, place(steps - 1));
        let answer = app.post("/models/mine/predict", "application/json", body).await;
        assert_eq!(answer.labels(), ["early", "late"], "{first}");
    }
}
