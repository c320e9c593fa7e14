//! The files of the console: our own modules and styles, without a framework and without a build step.
//!
//! They are embedded as they are and packed once. Every answer names their content (`etag`), and a browser asks again
//! before it uses what it has, so that the page and its files are never of two versions.

use std::io::Write;
use std::sync::LazyLock;

use axum::body::Body;
use axum::extract::Path;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use sha2::{Digest, Sha256};

use crate::api::compression::Encoding;
use crate::api::error::ApiError;
use crate::error::{Error, Result};
use crate::ids::quote;
use crate::report::switchable_variables;

/// Everything comes from this server, no script and no style stands in the page, and no script reads HTML from text.
pub(super) const POLICY: &str = "default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self'; \
     frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'";

/// The module that begins; it imports the others.
const FIRST_MODULE: &str = "main.js";

const SCRIPT: &str = "text/javascript; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";

/// A file as it is sent.
#[derive(Debug)]
struct File {
    name: &'static str,
    media: &'static str,
    plain: Sent,
    packed: Sent,
}

/// The bytes of an encoding, and the tag that names them.
#[derive(Debug)]
struct Sent {
    bytes: Bytes,
    tag: String,
}

impl File {
    fn new(name: &'static str, media: &'static str, text: &str) -> Self {
        let digest = Sha256::digest(text.as_bytes());
        let digest: String = digest.iter().take(12).map(|byte| format!("{byte:02x}")).collect();
        let plain = Sent { bytes: Bytes::copy_from_slice(text.as_bytes()), tag: format!("\"{digest}\"") };
        let packed = Sent { bytes: gzip(text.as_bytes()), tag: format!("\"{digest}-gzip\"") };
        Self { name, media, plain, packed }
    }
}

fn gzip(text: &[u8]) -> Bytes {
    let mut writer = GzEncoder::new(Vec::new(), Compression::best());
    // Memory takes every write.
    let packed = writer.write_all(text).and_then(|()| writer.finish());
    packed.unwrap_or_default().into()
}

/// Names modules with their texts. The names are also those of the files.
macro_rules! scripts {
    ($($name:literal),+ $(,)?) => { &[$(($name, include_str!($name))),+] };
}

/// The modules of the first view.
const FIRST_SCRIPTS: &[(&str, &str)] = scripts!(
    "answer.js",
    "api.js",
    "catalog.js",
    "dom.js",
    "feedback.js",
    "format.js",
    "generator.js",
    "inputs.js",
    "main.js",
    "pad.js",
    "snippets.js",
    "try.js",
);

/// The modules that are loaded when another view is chosen.
const MORE_SCRIPTS: &[(&str, &str)] =
    scripts!("chart.js", "models.js", "prometheus.js", "quality.js", "runs.js", "traffic.js", "watch.js");

static FILES: LazyLock<Vec<File>> = LazyLock::new(|| {
    let style = format!("{}{}", switchable_variables(), include_str!("console.css"));
    let others =
        [File::new("console.css", STYLE, &style), File::new("icon.svg", "image/svg+xml", include_str!("icon.svg"))];
    let scripts = FIRST_SCRIPTS.iter().chain(MORE_SCRIPTS).map(|(name, text)| File::new(name, SCRIPT, text));
    scripts.chain(others).collect()
});

/// Returns the tags for the head of a page. A browser loads the modules of the first view at once instead of one after
/// the other.
pub(super) fn head() -> String {
    let preload = |(name, _): &(&str, &str)| format!("<link rel=\"modulepreload\" href=\"/console/{name}\">\n");
    let preloads: String = FIRST_SCRIPTS.iter().map(preload).collect();
    format!(
        "<link rel=\"icon\" href=\"/console/icon.svg\">\n<link rel=\"stylesheet\" href=\"/console/console.css\">\n{preloads}\
         <script type=\"module\" src=\"/console/{FIRST_MODULE}\"></script>\n"
    )
}

/// Answers a file, or that the caller has it already.
///
/// # Errors
/// [`Error::NotFound`] for any other name.
pub(super) async fn file(Path(name): Path<String>, headers: HeaderMap) -> std::result::Result<Response, ApiError> {
    let unknown = || Error::NotFound(format!("the console has no file {}", quote(&name)));
    let file = FILES.iter().find(|file| file.name == name).ok_or_else(unknown)?;
    Ok(answer(file, &headers)?)
}

fn answer(file: &File, headers: &HeaderMap) -> Result<Response> {
    let encoding = Encoding::of_answer(headers, usize::MAX).filter(|encoding| *encoding == Encoding::Gzip);
    let sent = if encoding.is_some() { &file.packed } else { &file.plain };
    let tag = HeaderValue::from_str(&sent.tag).map_err(|error| Error::internal("a tag is no header", error))?;
    let fixed: [(HeaderName, HeaderValue); 4] = [
        (header::ETAG, tag),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
        (header::VARY, HeaderValue::from_static("accept-encoding")),
        (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY)),
    ];
    if has(headers, &sent.tag) {
        return Ok((StatusCode::NOT_MODIFIED, HeaderMap::from_iter(fixed)).into_response());
    }
    let mut response = (HeaderMap::from_iter(fixed), Body::from(sent.bytes.clone())).into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(file.media));
    if let Some(encoding) = encoding {
        response.headers_mut().insert(header::CONTENT_ENCODING, encoding.header());
    }
    Ok(response)
}

/// Returns true if the caller says that it has what the tag names (RFC 9110, section 13.1.2).
fn has(headers: &HeaderMap, tag: &str) -> bool {
    let lists = headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|list| list.to_str().ok());
    let mut known = lists.flat_map(|list| list.split(',')).map(str::trim);
    known.any(|known| known == "*" || known.strip_prefix("W/").unwrap_or(known) == tag)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn scripts() -> impl Iterator<Item = &'static (&'static str, &'static str)> {
        FIRST_SCRIPTS.iter().chain(MORE_SCRIPTS)
    }

    #[test]
    fn every_file_that_is_imported_is_embedded_and_no_other() {
        let known: BTreeSet<&str> = scripts().map(|(name, _)| *name).collect();
        let mut imported = BTreeSet::from([FIRST_MODULE]);
        for (name, text) in scripts() {
            for line in text.lines().filter(|line| line.starts_with("import ") || line.contains("import(")) {
                let from = line.split_once("\"./").and_then(|(_, rest)| rest.split_once('"'));
                imported.insert(from.unwrap_or_else(|| panic!("{name}: {line}")).0);
            }
        }
        assert_eq!(imported, known);
    }

    #[test]
    fn no_module_reads_html_from_text_or_goes_elsewhere() {
        for (name, text) in scripts() {
            for bad in ["innerHTML", "outerHTML", "insertAdjacent", "document.write", "eval(", "new Function"] {
                assert!(!text.contains(bad), "{name}: {bad}");
            }
            // The name of a kind of elements is an address that nobody asks.
            let elsewhere =
                text.lines().find(|line| line.contains("://") && !line.contains("http://www.w3.org/2000/svg"));
            assert_eq!(elsewhere, None, "{name}");
        }
    }

    #[test]
    fn a_tag_is_known_in_a_list_as_weak_and_as_any() {
        for (sent, expected) in [
            ("\"a\"", true),
            ("W/\"a\"", true),
            ("\"b\", \"a\"", true),
            ("*", true),
            ("\"b\"", false),
            ("a", false),
            ("\"a-gzip\"", false),
        ] {
            let headers = HeaderMap::from_iter([(header::IF_NONE_MATCH, HeaderValue::from_str(sent).unwrap())]);
            assert_eq!(has(&headers, "\"a\""), expected, "{sent}");
        }
    }
}
