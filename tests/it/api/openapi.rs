//! The committed document is the served one.

use std::io::Read;
use std::path::Path;

use axum::body::Body;
use flate2::read::MultiGzDecoder;
use http::Request;

use crate::support::TestApp;

/// After a change of the API: `cargo run -- openapi > openapi/openapi.json`.
#[tokio::test]
async fn the_committed_document_is_the_served_one() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("openapi/openapi.json");
    let committed: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let app = TestApp::start().await;
    let served = app.get("/openapi.json").await.json();
    assert_eq!(served, committed, "run `cargo run -- openapi > openapi/openapi.json` and look at the difference");
}

#[tokio::test]
async fn the_documentation_works_offline() {
    let app = TestApp::start().await;
    let page = app.get("/docs/").await;
    assert_eq!(page.status, 200);
    for outside in ["http://", "https://", "//cdn"] {
        assert!(!page.text().contains(outside), "{}", page.text());
    }
    for asset in ["/docs/swagger-ui-bundle.js", "/docs/swagger-ui.css", "/docs/swagger-initializer.js"] {
        assert_eq!(app.get(asset).await.status, 200, "{asset}");
    }
}

#[tokio::test]
async fn the_documentation_is_sent_compressed_to_those_who_accept_it() {
    let app = TestApp::start().await;
    let get = |accepted: &str| {
        let request = Request::get("/docs/swagger-ui.css").header("accept-encoding", accepted);
        app.send(request.body(Body::empty()).unwrap())
    };
    let (packed, plain) = (get("gzip, br").await, get("gzip;q=0").await);
    assert_eq!(packed.headers["content-encoding"], "gzip");
    assert!(!plain.headers.contains_key("content-encoding"), "{:?}", plain.headers);
    assert_eq!(plain.headers["vary"], "accept-encoding");
    let mut unpacked = String::new();
    MultiGzDecoder::new(&packed.body[..]).read_to_string(&mut unpacked).unwrap();
    assert_eq!(unpacked, plain.text());
    assert_eq!(unpacked, app.get("/docs/swagger-ui.css").await.text());
}
