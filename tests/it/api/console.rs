//! The console: its page, its files, and who may see what.

use std::io::Read;

use axum::body::Body;
use axum::http::{Method, Request, StatusCode};
use flate2::read::MultiGzDecoder;
use tempfile::TempDir;
use weir::keys::{Scope, Secret, Table, with_key};

use crate::support::{Answer, TestApp, bundled_models};

const MODULE: &str = "/console/main.js";

async fn ask(app: &TestApp, method: Method, path: &str, headers: &[(&str, &str)]) -> Answer {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    app.send(request.body(Body::empty()).unwrap()).await
}

fn header<'a>(answer: &'a Answer, name: &str) -> &'a str {
    answer.headers.get(name).map(|value| value.to_str().unwrap()).unwrap_or_default()
}

/// Returns the addresses that a page names in a kind of attribute.
fn named<'a>(page: &'a str, attribute: &str) -> Vec<&'a str> {
    page.split(&format!("{attribute}=\"")).skip(1).filter_map(|rest| rest.split('"').next()).collect()
}

#[tokio::test]
async fn a_browser_without_scripts_sees_what_is_loaded() {
    let app = TestApp::start().await;
    let answer = app.get("/").await;
    let page = answer.text();
    for shown in ["mnist-mlp", "available", "<form action=\"/predict\"", "curl --data-binary", "href=\"/docs/\""] {
        assert!(page.contains(shown), "{shown}: {page}");
    }
    assert!(!page.contains("{{") && !page.contains("<style") && !page.contains("style="), "{page}");
    assert_eq!(page.matches("<script").count(), 1);
    assert!(page.contains("<script type=\"module\" src=\"/console/main.js\"></script>"), "{page}");
    assert_eq!(header(&answer, "cache-control"), "no-store");
}

#[tokio::test]
async fn every_file_that_the_page_names_is_there_and_comes_from_here() {
    let app = TestApp::start().await;
    let page = app.get("/").await.text();
    let files: Vec<_> = named(&page, "href").into_iter().chain(named(&page, "src")).collect();
    let files: Vec<_> = files.into_iter().filter(|path| path.starts_with("/console/")).collect();
    assert!(files.len() > 10, "{files:?}");
    let mut packed = app.get("/").await.body.len();
    for path in files {
        let answer = ask(&app, Method::GET, path, &[("accept-encoding", "gzip")]).await;
        assert_eq!(answer.status, 200, "{path}");
        let media = match path.rsplit('.').next() {
            Some("js") => "text/javascript; charset=utf-8",
            Some("css") => "text/css; charset=utf-8",
            _ => "image/svg+xml",
        };
        assert_eq!(header(&answer, "content-type"), media, "{path}");
        assert_eq!(header(&answer, "content-encoding"), "gzip", "{path}");
        packed += if path.ends_with("main.js") { 0 } else { answer.body.len() };
    }
    assert!(packed < 45_000, "{packed}");
    app.get("/console/none.js").await.assert_problem(404);
    app.get("/console/..%2Fmod.rs").await.assert_problem(404);
}

#[tokio::test]
async fn a_file_that_the_browser_has_is_not_sent_again() {
    let app = TestApp::start().await;
    let plain = app.get(MODULE).await;
    let packed = ask(&app, Method::GET, MODULE, &[("accept-encoding", "br, gzip")]).await;
    let mut unpacked = String::new();
    MultiGzDecoder::new(&packed.body[..]).read_to_string(&mut unpacked).unwrap();
    assert_eq!(unpacked, plain.text());
    assert!(!plain.headers.contains_key("content-encoding"));
    let (tag, packed_tag) = (header(&plain, "etag"), header(&packed, "etag"));
    assert!(tag != packed_tag && tag.starts_with('"') && tag.len() > 20, "{tag} {packed_tag}");
    for (has, accepted, status) in [
        (tag, "identity", 304),
        (packed_tag, "gzip", 304),
        (&format!("\"other\", W/{packed_tag}"), "gzip", 304),
        ("*", "gzip", 304),
        ("\"other\"", "gzip", 200),
        (tag, "gzip", 200),
    ] {
        let headers = [("if-none-match", has), ("accept-encoding", accepted)];
        for method in [Method::GET, Method::HEAD] {
            let answer = ask(&app, method.clone(), MODULE, &headers).await;
            assert_eq!(answer.status, status, "{method} {has} {accepted}");
            assert_eq!(answer.body.is_empty(), status == 304 || method == Method::HEAD);
            assert_eq!((header(&answer, "cache-control"), header(&answer, "vary")), ("no-cache", "accept-encoding"));
            assert_eq!(header(&answer, "etag"), if accepted == "gzip" { packed_tag } else { tag });
        }
    }
}

#[tokio::test]
async fn the_page_and_the_list_of_models_are_packed_for_those_who_accept_it() {
    let app = TestApp::start().await;
    for path in ["/", "/models"] {
        let (plain, packed) =
            (app.get(path).await, ask(&app, Method::GET, path, &[("accept-encoding", "br, gzip")]).await);
        assert_eq!((header(&plain, "vary"), header(&plain, "content-encoding")), ("accept-encoding", ""), "{path}");
        assert_eq!(header(&packed, "content-encoding"), "gzip", "{path}");
        assert_eq!(header(&packed, "content-length"), packed.body.len().to_string(), "{path}");
        assert!(packed.body.len() < plain.body.len(), "{path}: {}", packed.body.len());
        let mut unpacked = String::new();
        MultiGzDecoder::new(&packed.body[..]).read_to_string(&mut unpacked).unwrap();
        assert!(unpacked.contains("mnist-mlp") && plain.text().contains("mnist-mlp"), "{path}: {unpacked}");
    }
    app.get("/models/none").await.assert_problem(404);
}

#[tokio::test]
async fn head_says_how_long_the_answer_would_be() {
    let app = TestApp::start().await;
    for path in ["/", MODULE] {
        let (whole, head) = (app.get(path).await, ask(&app, Method::HEAD, path, &[]).await);
        assert_eq!((head.status, head.body.len()), (StatusCode::OK, 0), "{path}");
        assert_eq!(header(&head, "content-type"), header(&whole, "content-type"), "{path}");
        assert_eq!(header(&head, "content-length"), whole.body.len().to_string(), "{path}");
    }
}

#[tokio::test]
async fn every_page_says_what_it_may_load_and_who_may_frame_it() {
    let app = TestApp::start().await;
    for path in ["/", MODULE, "/console/console.css", "/docs/", "/docs/swagger-ui-bundle.js"] {
        let answer = app.get(path).await;
        let policy = header(&answer, "content-security-policy");
        for rule in ["default-src 'self'", "base-uri 'none'", "form-action 'self'", "frame-ancestors 'none'"] {
            assert!(policy.contains(rule), "{path}: {policy}");
        }
        assert!(!policy.contains("script-src") && !policy.contains('*'), "{path}: {policy}");
        let inline = policy.contains("unsafe-inline");
        assert_eq!(inline, path.starts_with("/docs/"), "{path}: {policy}");
        assert_eq!(header(&answer, "x-content-type-options"), "nosniff", "{path}");
    }
    let page = app.get("/").await;
    assert!(header(&page, "content-security-policy").contains("require-trusted-types-for 'script'"));
    assert_eq!(header(&page, "referrer-policy"), "no-referrer");
    assert_eq!(header(&app.get("/docs/").await, "referrer-policy"), "no-referrer");
}

#[tokio::test]
async fn without_the_console_the_page_runs_no_script() {
    let app = TestApp::with(&bundled_models(), |options| options.console = Some(false)).await;
    let answer = app.get("/").await;
    let page = answer.text();
    assert!(page.contains("mnist-mlp") && page.contains("available"), "{page}");
    assert!(!page.contains("{{") && !page.contains("<script") && !page.contains("/console/"), "{page}");
    assert!(header(&answer, "content-security-policy").contains("default-src 'none'"));
    app.get(MODULE).await.assert_problem(404);
}

#[tokio::test]
async fn a_server_with_keys_shows_the_page_and_hides_the_models() {
    let folder = TempDir::new().unwrap();
    let secret = Secret::new();
    let key = Table {
        name: "reader",
        sha256: &secret.sha256,
        scopes: &[Scope::Read],
        models: None,
        expires: None,
        per_second: None,
        burst: None,
        concurrency: None,
    };
    let file = folder.path().join("keys.toml");
    std::fs::write(&file, with_key("", &key).unwrap()).unwrap();
    let bearer = format!("Bearer {}", secret.text);
    for console in [true, false] {
        let app = TestApp::with(&bundled_models(), |options| {
            options.keys = Some(file.clone());
            options.console = Some(console);
        })
        .await;
        let anonymous = app.get("/").await;
        assert_eq!(anonymous.status, if console { 200 } else { 401 });
        assert!(!anonymous.text().contains("mnist-mlp"), "{}", anonymous.text());
        assert!(!anonymous.text().contains("Version 0"), "{}", anonymous.text());
        assert_eq!(app.get(MODULE).await.status, if console { 200 } else { 404 });
        let known = ask(&app, Method::GET, "/", &[("authorization", &bearer)]).await;
        assert!(known.text().contains("mnist-mlp"), "{}", known.text());
    }
}
