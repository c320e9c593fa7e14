//! A port of its own, and the port of HTTP.

use http::{Request, Uri};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tonic::body::Body;
use tower::ServiceExt;
use weir::api::Shutdown;
use weir::api::grpc::pb::inference::grpc_inference_service_client::GrpcInferenceServiceClient;
use weir::app::StopReason;
use weir::config::GrpcListen;

use super::{Wire, classes, connect, digits};
use crate::support::{TestApp, bundled_models};

fn client(wire: Wire) -> GrpcInferenceServiceClient<Wire> {
    GrpcInferenceServiceClient::with_origin(wire, Uri::from_static("http://localhost"))
}

async fn talk(addr: std::net::SocketAddr, words: &[u8]) -> String {
    let mut stream = TcpStream::connect(addr).await.unwrap();
    drop(stream.write_all(words).await);
    let mut answer = Vec::new();
    drop(stream.read_to_end(&mut answer).await);
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn a_port_of_its_own_speaks_grpc_and_nothing_else() {
    let app = TestApp::with(&bundled_models(), |options| options.header_timeout_seconds = Some(0.2)).await;
    let mut client = client(connect(app.grpc_addr).await);
    assert_eq!(classes(&client.model_infer(digits(2)).await.unwrap().into_inner()), [7, 2]);
    assert_eq!(app.metric("weir_grpc_connections"), 1.0);
    let told = talk(app.grpc_addr, b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await;
    assert!(told.starts_with("HTTP/1.1 400") && told.contains("gRPC"), "{told}");
    for silent in [&b""[..], b"PRI * HTTP", b"\x16\x03\x01"] {
        assert_eq!(talk(app.grpc_addr, silent).await, "");
    }
    assert_eq!(app.stop(StopReason::Interrupt).await, Shutdown::Clean);
}

#[tokio::test]
async fn the_port_of_http_speaks_http2_but_no_grpc() {
    let app = TestApp::start().await;
    let wire = connect(app.addr).await;
    let image = http_body_util::Full::new(crate::fixtures::png_of_test_image(0).into());
    let predict = Request::post("http://localhost/predict").body(Body::new(image)).unwrap();
    let answer = wire.clone().oneshot(predict).await.unwrap();
    assert_eq!((answer.status().as_u16(), answer.version()), (200, http::Version::HTTP_2));
    let refused = client(wire.clone()).model_infer(digits(1)).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::Unimplemented);
    assert!(refused.message().contains("gRPC has a port of its own"), "{refused}");
    drop(wire);
    assert_eq!(app.stop(StopReason::Interrupt).await, Shutdown::Clean);
}

#[tokio::test]
async fn the_port_of_http_speaks_grpc_when_asked() {
    let app = TestApp::with(&bundled_models(), |options| {
        options.grpc = Some(GrpcListen::Same);
        options.header_timeout_seconds = Some(0.2);
    })
    .await;
    let wire = connect(app.addr).await;
    assert_eq!(classes(&client(wire.clone()).model_infer(digits(2)).await.unwrap().into_inner()), [7, 2]);
    let over_http2 = Request::get("http://localhost/livez").body(Body::empty()).unwrap();
    assert_eq!(wire.oneshot(over_http2).await.unwrap().status(), 200);
    let over_http1 = talk(app.addr, b"GET /livez HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await;
    assert!(over_http1.starts_with("HTTP/1.1 200"), "{over_http1}");
    // A method that begins as HTTP/2 does.
    let other = talk(app.addr, b"PROPFIND / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await;
    assert!(other.starts_with("HTTP/1.1 405"), "{other}");
    assert_eq!(talk(app.addr, b"PRI * HT").await, "", "cut off");
    assert_eq!(app.stop(StopReason::Interrupt).await, Shutdown::Clean);
}
