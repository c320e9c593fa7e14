//! The yardstick for `benches/serving.py`: a bare axum application in the same kind of process as
//! `weir serve` (runtime, allocator, HTTP/1 over hyper), but without limits, metrics or a model.
//!
//! `/predict` echoes the body: what HTTP alone costs. `/decode` also decodes the PNG: what every
//! server of images pays before its model runs.

use std::error::Error;
use std::hint::black_box;
use std::io::{Cursor, Write};

use axum::Router;
use axum::body::Bytes;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use image::codecs::png::PngDecoder;
use image::{ImageDecoder, ImageResult};
use tokio::net::TcpListener;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const USAGE: &str = "usage: echo PORT (0 for any free one); see benches/README.md";

fn main() -> Result<(), Box<dyn Error>> {
    // `cargo bench` starts every bench without a port, and means no harm.
    let Some(port) = std::env::args().nth(1).and_then(|argument| argument.parse().ok()) else {
        writeln!(std::io::stdout(), "{USAGE}")?;
        return Ok(());
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(serve(port))
}

async fn serve(port: u16) -> Result<(), Box<dyn Error>> {
    let router = Router::new().route("/predict", post(echo)).route("/decode", post(decode));
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    writeln!(std::io::stdout(), "listening on {}", listener.local_addr()?)?;
    loop {
        let (stream, _) = listener.accept().await?;
        // A socket that refuses is about to fail anyway.
        drop(stream.set_nodelay(true));
        let service = TowerToHyperService::new(router.clone());
        // A client that goes away is no failure.
        tokio::spawn(async move { http1::Builder::new().serve_connection(TokioIo::new(stream), service).await.ok() });
    }
}

async fn echo(body: Bytes) -> Bytes {
    body
}

async fn decode(body: Bytes) -> Response {
    match pixels(&body) {
        Ok(pixels) => {
            black_box(pixels);
            ([(header::CONTENT_TYPE, "application/json")], r#"{"decoded":true}"#).into_response()
        }
        Err(error) => (StatusCode::UNPROCESSABLE_ENTITY, error.to_string()).into_response(),
    }
}

fn pixels(png: &[u8]) -> ImageResult<Vec<u8>> {
    let decoder = PngDecoder::new(Cursor::new(png))?;
    let mut pixels = vec![0; decoder.total_bytes() as usize];
    decoder.read_image(&mut pixels)?;
    Ok(pixels)
}
