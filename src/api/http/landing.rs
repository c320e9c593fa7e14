//! `/`: a plain page that says what is loaded and how to ask it, without a script or an outside resource; and where the
//! console is on, the page that it begins in.

use axum::extract::{Request, State};
use axum::response::{Html, IntoResponse, Response};
use http::{HeaderMap, HeaderValue, Method, header};

use super::console;
use crate::api::access::Rule;
use crate::api::error::ApiError;
use crate::api::exchange::Arrival;
use crate::api::peer::Link;
use crate::api::state::ApiState;
use crate::error::Error;
use crate::repository::{ClassificationQuality, Manifest, Quality, ReconstructionQuality, RegressionQuality};
use crate::serving::{Catalog, LiveQuality, LossKind, ModelEntry, Servable, State as VersionState, VersionEntry};
use crate::stats::Summary;

/// Stands where nothing is known.
const NOTHING: &str = "—";

const TEMPLATE: &str = include_str!("landing.html");
const STYLE: &str = include_str!("landing.css");

/// Without the console the page's own style is allowed by `unsafe-inline` for styles alone; scripts are not.
const PLAIN_POLICY: &str =
    "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// Answers the page: the console where it is on, and what is loaded for a browser that runs no script.
///
/// # Errors
/// Those of [`Access::admit`](crate::api::access::Access::admit) for a caller. With the console, one who may not read gets
/// the page without the models.
pub(super) async fn page(State(state): State<ApiState>, request: Request) -> std::result::Result<Response, ApiError> {
    let (headers, peer) = (request.headers(), Arrival::of(request.extensions()).peer);
    let link = request.extensions().get::<Link>();
    let admitted = state.access().admit(|| Rule::http(&Method::GET, "/models", false), headers, peer, link);
    let has_console = state.settings().console;
    let (policy, head) = if has_console {
        (console::POLICY, console::head())
    } else {
        (PLAIN_POLICY, format!("<style>\n{STYLE}</style>\n"))
    };
    let (about, rows) = match admitted {
        Ok(_) => (about(&state), rows(&state.predictor().catalog())),
        Err(Error::Unauthenticated(_) | Error::Forbidden(_)) if has_console => {
            ("This server asks for a key.".into(), row("The models are shown to those who may read."))
        }
        Err(error) => return Err(error.into()),
    };
    let page = TEMPLATE.replace("{{head}}", &head).replace("{{host}}", host(headers));
    let page = page.replace("{{state}}", &about).replace("{{rows}}", &rows);
    let headers = [
        (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy)),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    Ok((HeaderMap::from_iter(headers), Html(page)).into_response())
}

fn about(state: &ApiState) -> String {
    let catalog = state.predictor().catalog();
    let model = catalog.default_model().map_or_else(|| NOTHING.to_owned(), |name| escape(name.as_str()));
    let (version, uptime) = (env!("CARGO_PKG_VERSION"), uptime(state.uptime().as_secs()));
    format!("Version {version}, up for {uptime}. Default model: <strong>{model}</strong>.")
}

/// The host that the browser asked for, for the command to copy; only if it looks like one.
fn host(headers: &HeaderMap) -> &str {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b':' | b'-' | b'[' | b']');
    let given = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    given.filter(|host| host.bytes().all(legal)).unwrap_or("127.0.0.1:8080")
}

fn rows(catalog: &Catalog) -> String {
    let of_model = |name: &str, model: &ModelEntry| {
        model.versions.iter().rev().map(|(version, entry)| version_row(name, version.0, entry)).collect::<String>()
    };
    let rows: String = catalog.models().iter().map(|(name, model)| of_model(name.as_str(), model)).collect();
    if rows.is_empty() {
        return row(
            "No model yet. Train one with <code>weir train mnist-mlp</code>, or put a <code>model.onnx</code> into \
                    <code>models/&lt;name&gt;/1/</code>.",
        );
    }
    rows
}

/// Returns a row of one cell.
fn row(html: &str) -> String {
    format!("<tr><td colspan=\"6\">{html}</td></tr>")
}

fn version_row(name: &str, version: u64, entry: &VersionEntry) -> String {
    let (class, state) = match entry.state {
        VersionState::Available => ("available", "available"),
        VersionState::Start | VersionState::Loading => ("loading", "loading"),
        VersionState::Unloading => ("loading", "unloading"),
        VersionState::End => ("end", "not loaded"),
    };
    let servable = entry.servable.as_deref();
    let manifest = servable.and_then(|servable| servable.manifest.as_ref());
    let (test, live) = (manifest.and_then(test_quality), servable.and_then(Servable::live_quality));
    let (test, live) = (quality(test), quality(live));
    let cost = servable.map(|servable| format!("{:.1} µs", servable.tuning().single().as_nanos() as f64 / 1e3));
    let cost = cost.unwrap_or_else(|| NOTHING.to_owned());
    let about = manifest.map(|manifest| manifest.description.as_str()).or(entry.reason.as_deref()).unwrap_or_default();
    format!(
        "<tr><td><a href=\"/models/{name}\">{name}</a><small>{}</small></td><td>{version}</td>\
         <td><span class=\"{class}\">{state}</span></td><td>{test}</td><td>{live}</td><td>{cost}</td></tr>",
        escape(about)
    )
}

/// Returns the quality on data that was never used for any choice, if the manifest has it.
fn test_quality(manifest: &Manifest) -> Option<LiveQuality> {
    let (samples, loss, loss_of, accuracy) = match manifest.metrics.as_ref()? {
        Quality::Classification(ClassificationQuality { test, .. }) => {
            let Summary { samples, loss, accuracy } = test.as_ref()?.summary;
            (samples, loss, LossKind::CrossEntropy, Some(accuracy))
        }
        Quality::Regression(RegressionQuality { test, .. }) => {
            (test.samples, test.mean_squared_error(), LossKind::SquaredError, None)
        }
        Quality::Reconstruction(ReconstructionQuality { test, .. }) => {
            let test = test.as_ref()?;
            (test.samples, test.mean_score, LossKind::Score, None)
        }
    };
    Some(LiveQuality { samples, loss, loss_of, accuracy })
}

/// Accuracy, with the loss below it; or the score of what has no accuracy.
fn quality(quality: Option<LiveQuality>) -> String {
    match quality {
        Some(LiveQuality { loss, accuracy: Some(accuracy), .. }) => {
            format!("{:.2} %<small>loss {loss:.4}</small>", accuracy * 100.0)
        }
        Some(LiveQuality { loss, loss_of: LossKind::SquaredError, .. }) => {
            format!("± {:.4}<small>root mean squared error</small>", loss.sqrt())
        }
        Some(LiveQuality { loss, .. }) => format!("{loss:.1} nats<small>mean score</small>"),
        None => NOTHING.to_owned(),
    }
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
