//! Dashboards, rules and documents name only metrics that a server exports, and every metric is documented.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::fixtures::png_of_test_image;
use crate::support::TestApp;

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn files(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

/// The words of a text that may be names of metrics.
fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|sign: char| !(sign.is_ascii_alphanumeric() || sign == '_' || sign == ':'))
}

fn is_metric(word: &str) -> bool {
    let name = word.rsplit_once(':').map_or(word, |(_, name)| name);
    ["weir_", "process_"].iter().any(|prefix| name.starts_with(prefix)) || word.contains(":weir_")
}

/// The families that `src/metrics` declares, without those of training runs.
fn declared() -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for file in files("src/metrics").iter().filter(|file| !file.ends_with("training.rs")) {
        let code = std::fs::read_to_string(file).unwrap();
        let literals = code.split('"').skip(1).step_by(2);
        names.extend(literals.filter(|text| text.starts_with("weir_") && words(text).count() == 1).map(str::to_owned));
    }
    names
}

/// The queries of a dashboard, with their panels' titles.
fn queries(dashboard: &Value) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let panels = dashboard["panels"].as_array().unwrap();
    for panel in panels {
        for target in panel["targets"].as_array().into_iter().flatten() {
            found.push((panel["title"].as_str().unwrap().into(), target["expr"].as_str().unwrap().into()));
        }
    }
    for (list, text) in [("templating", "definition"), ("annotations", "expr")] {
        for entry in dashboard[list]["list"].as_array().unwrap() {
            found.push((entry["name"].as_str().unwrap().into(), entry[text].as_str().unwrap().into()));
        }
    }
    found
}

/// The names that the rules record.
fn recorded() -> BTreeSet<String> {
    let rules = read("deploy/prometheus/rules.yml");
    rules.lines().filter_map(|line| line.trim().strip_prefix("- record: ")).map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn dashboards_and_rules_query_what_is_exported() {
    let app = TestApp::start().await;
    let answer = app.post("/predict", "image/png", png_of_test_image(0)).await;
    let id = answer.headers["x-request-id"].to_str().unwrap();
    assert_eq!(app.post_json("/feedback", &json!({"request_id": id, "label": 7})).await.status, 200);
    let text = app.get("/metrics").await.text();
    let families: Vec<(&str, &str)> =
        text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' ')).collect();
    let live: BTreeSet<&str> = families.iter().map(|(name, _)| *name).collect();
    let (declared, recorded) = (declared(), recorded());
    let hidden: Vec<&&str> =
        live.iter().filter(|name| name.starts_with("weir_") && !declared.contains(**name)).collect();
    assert!(declared.len() > 40 && hidden.is_empty(), "not found in src/metrics: {hidden:?}");
    let is_known = |name: &str| {
        let of_histogram = ["_bucket", "_sum", "_count"]
            .iter()
            .any(|suffix| name.strip_suffix(suffix).is_some_and(|base| families.contains(&(base, "histogram"))));
        recorded.contains(name) || declared.contains(name) || live.contains(name) || of_histogram
    };
    let mut seen = 0;
    for file in files("deploy/grafana/dashboards") {
        let dashboard: Value = serde_json::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
        for (panel, query) in queries(&dashboard) {
            let unknown: Vec<&str> = words(&query).filter(|word| is_metric(word) && !is_known(word)).collect();
            assert!(unknown.is_empty(), "{}: {panel}: no such metric: {unknown:?}", file.display());
            seen += usize::from(words(&query).any(is_metric));
        }
    }
    assert!(seen > 50, "{seen} queries were read");
    for file in ["deploy/prometheus/rules.yml", "deploy/prometheus/rules_test.yml"] {
        let text = read(file);
        let code = text.lines().filter(|line| !line.trim_start().starts_with('#'));
        // A name of two families at once.
        let known_pattern = |word: &str| word == "weir_" || word == "weir_grpc";
        for word in code.flat_map(words).filter(|word| is_metric(word)) {
            assert!(is_known(word) || known_pattern(word), "{file}: no such metric: {word}");
        }
    }
}

#[test]
fn every_metric_is_documented_and_no_other() {
    let (declared, text) = (declared(), read("docs/metrics.md"));
    let documented: BTreeSet<&str> =
        words(&text).filter(|word| word.starts_with("weir_") && !word.ends_with('_')).collect();
    let missing: Vec<&String> = declared.iter().filter(|name| !documented.contains(name.as_str())).collect();
    assert!(missing.is_empty(), "docs/metrics.md lacks {missing:?}");
    let unknown: Vec<&&str> =
        documented.iter().filter(|name| !name.starts_with("weir_training_") && !declared.contains(**name)).collect();
    assert!(unknown.is_empty(), "docs/metrics.md has {unknown:?}, which nothing exports");
}

#[test]
fn every_alert_has_a_section_of_the_runbooks() {
    let (rules, runbooks) = (read("deploy/prometheus/rules.yml"), read("docs/runbooks.md"));
    let alerts: BTreeSet<&str> = rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    let sections: BTreeSet<&str> = runbooks
        .lines()
        .filter_map(|line| line.strip_prefix("## "))
        .filter(|title| title.starts_with("Weir"))
        .collect();
    assert_eq!(alerts, sections);
    for alert in alerts {
        let url = format!("runbook_url: docs/runbooks.md#{}", alert.to_lowercase());
        assert_eq!(rules.lines().filter(|line| line.trim() == url).count(), 1, "{url}");
    }
}
