use super::*;
use crate::ids::Version;
use crate::stats::Predictions;

/// Images of one pixel, and a classifier that is wrong about one in four.
fn sample(classes: usize, per_class: usize, label: impl Fn(usize) -> String) -> ClassificationReport {
    let pixels = (0..classes * per_class).map(|index| index as u8).collect();
    let labels = (0..classes * per_class).map(|index| (index % classes) as u32).collect();
    let data = Dataset::images(1, 1, pixels, labels, classes);
    let mut predictions = Predictions::new(classes);
    for index in 0..data.len() {
        let mut row = vec![0.1 / classes as f32; classes];
        row[(index + usize::from(index % 4 == 3)) % classes] += 0.9 - (index % 7) as f32 / 20.0;
        predictions.push(index % classes, &row);
    }
    let subject = Subject::new("digits", Some(Version(3)), "tract", "test images of <data>".into());
    let labels: Vec<String> = (0..classes).map(label).collect();
    ClassificationReport::new(subject, &labels, &predictions, &data).unwrap()
}

#[test]
fn a_page_needs_nothing_else_and_runs_nothing() {
    let page = sample(5, 20, |class| class.to_string()).html().unwrap();
    for outside in ["http", "src=\"/", "url(", "<script", "<link", "@import", "javascript:", "onload"] {
        let found = page.match_indices(outside).map(|(at, _)| &page[at..(at + 30).min(page.len())]).collect::<Vec<_>>();
        assert!(found.iter().all(|text| text.starts_with("http-equiv")), "{outside}: {found:?}");
    }
    assert!(page.contains("default-src 'none'") && page.contains("prefers-color-scheme: dark"));
    for (open, close) in
        [("<section", "</section>"), ("<svg", "</svg>"), ("<div", "</div>"), ("<g>", "</g>"), ("<ul", "</ul>")]
    {
        assert_eq!(page.matches(open).count(), page.matches(close).count(), "{open}");
    }
    assert!(!page.contains("NaN") && !page.contains("inf"), "every coordinate is a number");
    assert_eq!(page.matches("<figure").count(), 25, "one in four of a hundred is wrong");
    assert_eq!(page.matches("data:image/png;base64,iVBOR").count(), 25);
}

#[test]
fn labels_from_outside_stay_text() {
    let hostile = |class: usize| format!("<img src=x onerror=alert({class})>|\"'&\n");
    let report = sample(3, 8, hostile);
    let page = report.html().unwrap();
    assert!(!page.contains("<img src=x") && !page.contains("<data>"));
    assert!(page.contains("&lt;img src=x onerror=alert(1)&gt;"));
    let markdown = report.markdown();
    let row = markdown.lines().find(|line| line.starts_with("| <img src=x onerror=alert(1)>")).unwrap();
    assert_eq!(row.replace("\\|", "").matches('|').count(), 8, "a label does not end a cell: {row}");
}

#[test]
fn json_holds_the_figures_at_the_top_and_the_mistakes_without_images() {
    let report = sample(5, 20, |class| class.to_string());
    let json: serde_json::Value = serde_json::from_str(&report.json().unwrap()).unwrap();
    assert_eq!((&json["model"], &json["version"], &json["engine"]), (&"digits".into(), &3.into(), &"tract".into()));
    assert_eq!(json["samples"], 100);
    assert_eq!(json["accuracy"], 0.75);
    assert!(json["accuracy_interval"]["low"].as_f64().unwrap() < 0.75);
    assert_eq!(json["classes"][0]["support"], 20);
    assert_eq!(json["mistakes"].as_array().unwrap().len(), 25);
    assert_eq!(json["mistakes"][0].get("png"), None);
    assert!(json["curves"][0]["roc"]["area"].as_f64().unwrap() > 0.5);
}

#[test]
fn any_number_of_classes_and_no_samples_at_all_make_a_page() {
    for (classes, per_class) in [(2, 1), (2, 0), (40, 3), (256, 1)] {
        let page = sample(classes, per_class, |class| class.to_string()).html().unwrap();
        assert!(page.ends_with("</html>\n") && !page.contains("NaN") && !page.contains("inf,"), "{classes}");
        assert!(page.len() < 3_000_000, "{classes}: {}", page.len());
    }
}
