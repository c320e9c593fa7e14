//! Limits of requests: sizes, pieces, flags, compression, time.

use std::convert::Infallible;
use std::io::Write;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};
use futures_util::StreamExt;
use http::{HeaderMap, Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt, Full, StreamBody};
use prost::Message;
use tonic::{Code, Status};
use tower::ServiceExt;
use weir::api::grpc::pb::inference::ModelInferResponse;

use super::{classes, digits};
use crate::support::{TestApp, bundled_models};

const INFER: &str = "/inference.GRPCInferenceService/ModelInfer";

/// A message as it lies in a body.
fn framed(flag: u8, message: &[u8]) -> Vec<u8> {
    [&[flag][..], &(message.len() as u32).to_be_bytes(), message].concat()
}

fn request(path: &str, encoding: Option<&str>) -> http::request::Builder {
    let mut request = Request::post(path).header("content-type", "application/grpc").header("te", "trailers");
    if let Some(encoding) = encoding {
        request = request.header("grpc-encoding", encoding);
    }
    request
}

/// Sends bytes in pieces, and reads how that ended and the message that came back.
async fn send(app: &TestApp, path: &str, encoding: Option<&str>, pieces: Vec<Bytes>) -> (Status, Vec<u8>) {
    let frames = futures_util::stream::iter(pieces).map(|piece| Ok::<_, Infallible>(Frame::data(piece)));
    let request = request(path, encoding).body(StreamBody::new(frames)).unwrap();
    ended(app.services.clone().oneshot(request).await.unwrap()).await
}

async fn ended(response: Response<tonic::body::Body>) -> (Status, Vec<u8>) {
    let head = response.headers().clone();
    let body = response.into_body().collect().await.unwrap();
    let trailers: HeaderMap = body.trailers().cloned().unwrap_or(head);
    let status = Status::from_header_map(&trailers).unwrap_or_else(|| panic!("no status in {trailers:?}"));
    (status, body.to_bytes().to_vec())
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn deflate(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[tokio::test]
async fn a_message_is_read_in_whatever_pieces_it_comes() {
    let app = TestApp::start().await;
    let message = digits(2).encode_to_vec();
    let plain = framed(0, &message);
    let (gzipped, deflated) = (framed(1, &gzip(&message)), framed(1, &deflate(&message)));
    for (encoding, bytes) in [
        (None, &plain),
        (Some("identity"), &plain),
        (Some("gzip"), &plain),
        (Some("gzip"), &gzipped),
        (Some("deflate"), &plain),
        (Some("deflate"), &deflated),
    ] {
        for size in [1, 3, 4, 5, 6, 1000, bytes.len()] {
            let pieces = bytes.chunks(size).map(Bytes::copy_from_slice).collect();
            let (status, body) = send(&app, INFER, encoding, pieces).await;
            assert_eq!(status.code(), Code::Ok, "{encoding:?} {size}: {status}");
            assert_eq!(classes(&ModelInferResponse::decode(&body[5..]).unwrap()), [7, 2]);
        }
    }
}

#[tokio::test]
async fn what_is_no_message_is_refused_and_harms_nothing() {
    let app = TestApp::with(&bundled_models(), |options| options.max_body_bytes = Some(100_000)).await;
    let message = digits(1).encode_to_vec();
    let (bomb, other_bomb) = (gzip(&vec![0; 200_000]), deflate(&vec![0; 200_000]));
    assert!(bomb.len() < 1000 && other_bomb.len() < 1000);
    let deflated = deflate(&message);
    for (what, encoding, body, code) in [
        ("nothing", None, vec![], Code::InvalidArgument),
        ("half a header", None, vec![0, 0, 0], Code::InvalidArgument),
        ("half a message", None, framed(0, &message)[..100].to_vec(), Code::InvalidArgument),
        ("two messages", None, framed(0, &message).repeat(2), Code::InvalidArgument),
        ("a strange flag", None, framed(7, &message), Code::InvalidArgument),
        ("compressed, nobody says how", None, framed(1, &gzip(&message)), Code::InvalidArgument),
        ("another compression", Some("br"), framed(1, &message), Code::Unimplemented),
        ("no gzip", Some("gzip"), framed(1, &message), Code::InvalidArgument),
        ("half a gzip", Some("gzip"), framed(1, &gzip(&message)[..50]), Code::InvalidArgument),
        ("no deflate", Some("deflate"), framed(1, &gzip(&message)), Code::InvalidArgument),
        ("half a deflate", Some("deflate"), framed(1, &deflated[..50]), Code::InvalidArgument),
        (
            "a deflate but for its last byte",
            Some("deflate"),
            framed(1, &deflated[..deflated.len() - 1]),
            Code::InvalidArgument,
        ),
        ("a byte behind a deflate", Some("deflate"), framed(1, &[&deflated[..], b"!"].concat()), Code::InvalidArgument),
        ("deflate that is empty", Some("deflate"), framed(1, b""), Code::InvalidArgument),
        ("unfolds too far as well", Some("deflate"), framed(1, &other_bomb), Code::ResourceExhausted),
        ("no protocol buffer", None, framed(0, &[0xff; 50]), Code::InvalidArgument),
        ("too long by its header", None, vec![0, 0xff, 0xff, 0xff, 0xff], Code::ResourceExhausted),
        ("too long by a byte", None, framed(0, &vec![0; 100_001]), Code::ResourceExhausted),
        ("unfolds too far", Some("gzip"), framed(1, &bomb), Code::ResourceExhausted),
    ] {
        let (status, _) = send(&app, INFER, encoding, vec![body.into()]).await;
        assert_eq!(status.code(), code, "{what}: {status}");
    }
    let (status, _) = send(&app, "/inference.GRPCInferenceService/Nothing", None, vec![]).await;
    assert_eq!((status.code(), status.message().contains("reflection")), (Code::Unimplemented, true));
    let (status, _) = send(&app, "/nowhere/Nothing", None, vec![]).await;
    assert_eq!((status.code(), status.message().contains("/nowhere/Nothing")), (Code::Unimplemented, true));
    app.assert_unharmed().await;
}

/// Two bytes can stand for an input that takes hundreds in memory.
#[tokio::test]
async fn fields_are_counted_before_they_take_memory() {
    let app = TestApp::start().await;
    let empties = [0x2a, 0].repeat(200_000);
    let (status, _) = send(&app, INFER, None, vec![framed(0, &empties).into()]).await;
    assert_eq!(status.code(), Code::InvalidArgument);
    assert!(status.message().contains("too many fields"), "{status}");
}

#[tokio::test]
async fn all_bodies_together_have_a_budget() {
    let app = TestApp::with(&bundled_models(), |options| {
        options.max_body_bytes = Some(100_000);
        options.max_buffered_bytes = Some(100_000);
    })
    .await;
    // A head that announces as much as there is, and nothing after it: held as long as the call lasts.
    let (sender, pieces) = tokio::sync::mpsc::channel::<Bytes>(1);
    let frames = futures_util::stream::unfold(pieces, async |mut pieces| {
        Some((Ok::<_, Infallible>(Frame::data(pieces.recv().await?)), pieces))
    });
    let call = app.services.clone().oneshot(request(INFER, None).body(StreamBody::new(Box::pin(frames))).unwrap());
    let call = tokio::spawn(call);
    sender.send(vec![0, 0, 1, 0x86, 0xa0].into()).await.unwrap();
    // Taken once the second piece fits into the channel.
    sender.send(vec![0].into()).await.unwrap();
    sender.send(vec![0].into()).await.unwrap();
    let body = framed(0, &digits(1).encode_to_vec());
    let (status, _) = send(&app, INFER, None, vec![body.clone().into()]).await;
    assert_eq!(status.code(), Code::Unavailable, "{status}");
    drop(sender);
    assert_eq!(ended(call.await.unwrap().unwrap()).await.0.code(), Code::InvalidArgument);
    assert_eq!(send(&app, INFER, None, vec![body.into()]).await.0.code(), Code::Ok);
}

#[tokio::test]
async fn a_client_that_does_not_send_is_cut_off() {
    let app = TestApp::with(&bundled_models(), |options| options.body_timeout_seconds = Some(0.05)).await;
    for begun in [&[][..], &[0, 0], &[0, 0, 0, 0, 9, 1, 2]] {
        let frames = futures_util::stream::iter([Ok::<_, Infallible>(Frame::data(Bytes::copy_from_slice(begun)))]);
        let frames = frames.chain(futures_util::stream::pending());
        let request = request(INFER, None).body(StreamBody::new(frames)).unwrap();
        let (status, _) = ended(app.services.clone().oneshot(request).await.unwrap()).await;
        assert_eq!(status.code(), Code::DeadlineExceeded, "{begun:?}: {status}");
        assert!(status.message().contains("did not arrive"), "{status}");
    }
}

#[tokio::test]
async fn who_does_not_speak_grpc_is_told_so() {
    let app = TestApp::start().await;
    for content_type in ["", "application/json", "application/grpc-web", "application/grpcx"] {
        let mut request = Request::post(INFER);
        if !content_type.is_empty() {
            request = request.header("content-type", content_type);
        }
        let response = app.services.clone().oneshot(request.body(Full::new(Bytes::new())).unwrap()).await.unwrap();
        assert_eq!(response.status(), 415, "{content_type}");
    }
}
