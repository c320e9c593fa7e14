//! `/`: a plain page that says what is loaded and how to ask it. No script, no outside resource.

use axum::extract::State;
use axum::response::{Html, IntoResponse, Response};
use http::header;

use crate::api::state::ApiState;
use crate::serving::{Catalog, ModelEntry, State as VersionState, VersionEntry};

const TEMPLATE: &str = include_str!("landing.html");

/// The page's own style is allowed by hash-free `unsafe-inline` for styles alone; scripts are not.
const POLICY: &str =
    "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

pub(super) async fn page(State(state): State<ApiState>) -> Response {
    let catalog = state.predictor().catalog();
    let default_model = catalog.default_model().map_or_else(|| "—".to_owned(), |name| escape(name.as_str()));
    let page = TEMPLATE
        .replace("{{version}}", env!("CARGO_PKG_VERSION"))
        .replace("{{uptime}}", &uptime(state.uptime().as_secs()))
        .replace("{{default_model}}", &default_model)
        .replace("{{rows}}", &rows(&catalog));
    ([(header::CONTENT_SECURITY_POLICY, POLICY)], Html(page)).into_response()
}

fn rows(catalog: &Catalog) -> String {
    let row = |name: &str, model: &ModelEntry| {
        model.versions.iter().rev().map(|(version, entry)| version_row(name, version.0, entry)).collect::<String>()
    };
    let rows: String = catalog.models().iter().map(|(name, model)| row(name.as_str(), model)).collect();
    if rows.is_empty() {
        return "<tr><td colspan=\"6\">No model yet. Train one with <code>weir train mnist-mlp</code>, or put a \
                <code>model.onnx</code> into <code>models/&lt;name&gt;/1/</code>, and start again.</td></tr>"
            .into();
    }
    rows
}

fn version_row(name: &str, version: u64, entry: &VersionEntry) -> String {
    let (class, state) = match entry.state {
        VersionState::Available => ("available", "available"),
        VersionState::Start | VersionState::Loading => ("loading", "loading"),
        VersionState::End => ("end", "cannot serve"),
    };
    let manifest = entry.servable.as_ref().and_then(|servable| servable.manifest.as_ref());
    let test = manifest.and_then(|manifest| manifest.metrics.test.as_ref());
    let accuracy = test.map_or_else(|| "—".to_owned(), |test| format!("{:.2} %", test.summary.accuracy * 100.0));
    let loss = test.map_or_else(|| "—".to_owned(), |test| format!("{:.4}", test.summary.loss));
    let cost = entry
        .servable
        .as_ref()
        .map_or_else(|| "—".to_owned(), |servable| format!("{:.1} µs", servable.cost.as_nanos() as f64 / 1e3));
    let about = manifest.map(|manifest| manifest.description.as_str()).or(entry.reason.as_deref()).unwrap_or_default();
    format!(
        "<tr><td><a href=\"/models/{name}\">{name}</a><small>{}</small></td><td>{version}</td>\
         <td><span class=\"{class}\">{state}</span></td><td>{accuracy}</td><td>{loss}</td><td>{cost}</td></tr>",
        escape(about)
    )
}

fn uptime(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min", seconds / 60),
        3600..86_400 => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
        _ => format!("{} d {} h", seconds / 86_400, seconds % 86_400 / 3600),
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;").replace('\'', "&#39;")
}
