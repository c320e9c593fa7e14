//! What was acknowledged is there after every kind of end, and predictions go on when nothing can be kept.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::fixtures::{bare_model, half_plus_two};
use crate::support::{TestApp, until};

/// `weir serve` as a process of its own.
struct Server {
    child: Child,
    address: String,
}

impl Server {
    /// Starts it; a limit to the size of its files is in KiB.
    fn start(models: &Path, state: &Path, file_limit: Option<u64>) -> Self {
        let limit = file_limit.map_or_else(|| "unlimited".to_owned(), |limit| (limit * 2).to_string());
        let script = format!("trap '' XFSZ; ulimit -f {limit}; exec \"$0\" \"$@\"");
        let mut child = Command::new("sh")
            .args(["-c", &script, env!("CARGO_BIN_EXE_weir"), "serve", "--http", "127.0.0.1:0", "--grpc", "off"])
            .args([
                "--tune",
                "false",
                "--check-models",
                "false",
                "--log-format",
                "json",
                "--probe-interval-seconds",
                "0",
            ])
            .args([Path::new("--models"), models, Path::new("--state-dir"), state])
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut lines = lines.map(Result::unwrap);
        let address = lines
            .find_map(|line| {
                let log: Value = serde_json::from_str(&line).ok()?;
                log["address"].as_str().or(log["fields"]["address"].as_str()).map(str::to_owned)
            })
            .expect("it says where it listens");
        // Whatever else it says is read, so that it never waits.
        std::thread::spawn(move || lines.for_each(drop));
        let server = Self { child, address };
        while server.get("/readyz").is_none_or(|(status, _)| status != 200) {
            std::thread::yield_now();
        }
        server
    }

    fn get(&self, path: &str) -> Option<(u16, Value)> {
        self.exchange("GET", path, "")
    }

    /// Status and body; `None` if it went away.
    fn exchange(&self, method: &str, path: &str, body: &str) -> Option<(u16, Value)> {
        Self::receive(self.send(method, path, body)?)
    }

    fn send(&self, method: &str, path: &str, body: &str) -> Option<TcpStream> {
        let mut stream = TcpStream::connect(&self.address).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let length = body.len();
        let head =
            format!("{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n");
        stream.write_all((head + body).as_bytes()).ok()?;
        Some(stream)
    }

    fn receive(mut stream: TcpStream) -> Option<(u16, Value)> {
        let mut answer = Vec::new();
        std::io::Read::read_to_end(&mut stream, &mut answer).ok()?;
        let text = String::from_utf8(answer).ok()?;
        let status = text.get(9..12)?.parse().ok()?;
        let (_, body) = text.split_once("\r\n\r\n")?;
        Some((status, serde_json::from_str(body).unwrap_or(Value::Null)))
    }

    /// Asks for one prediction; its identifier.
    fn predict(&self) -> String {
        let (status, answer) = self.exchange("POST", "/predict", r#"{"instances": [[1.0]]}"#).unwrap();
        assert_eq!(status, 200, "predictions go on: {answer}");
        answer["request_id"].as_str().unwrap().to_owned()
    }

    fn judged(&self) -> u64 {
        let (status, answer) = self.get("/models/half/quality").unwrap();
        assert_eq!(status, 200, "{answer}");
        answer["versions"][0]["accuracy"]["judged"].as_u64().unwrap_or(0)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // SIGKILL; one that has ended already needs none.
        drop(self.child.kill());
        self.child.wait().unwrap();
    }
}

/// Kills the server while labels are on their way, over and over: every label that was acknowledged is there
/// afterwards, and none is there by half.
#[test]
fn what_was_acknowledged_survives_kill_9() {
    const ROUNDS: u64 = 12;
    let models = bare_model("half", &half_plus_two());
    let state = TempDir::new().unwrap();
    let (mut acknowledged, mut sent) = (0, 0);
    for round in 0..ROUNDS {
        let mut server = Server::start(models.path(), state.path(), None);
        let before = server.judged();
        assert!((acknowledged..=sent).contains(&before), "{acknowledged} <= {before} <= {sent}");
        let ids: Vec<String> = (0..40).map(|_| server.predict()).collect();
        for (index, id) in (0..).zip(&ids) {
            let body = json!({"request_id": id, "correct": true}).to_string();
            let stream = server.send("POST", "/feedback", &body).unwrap();
            sent += 1;
            let is_last = index == round * 3;
            if is_last {
                // At another moment of the work in each round.
                (0..round * 40).for_each(|_| std::thread::yield_now());
                server.child.kill().unwrap();
            }
            match Server::receive(stream) {
                Some((200, _)) => acknowledged += 1,
                Some((status, answer)) => panic!("{status} {answer}"),
                None => assert!(is_last),
            }
            if is_last {
                break;
            }
        }
    }
    let server = Server::start(models.path(), state.path(), None);
    let judged = server.judged();
    assert!((acknowledged..=sent).contains(&judged), "{acknowledged} <= {judged} <= {sent}");
    assert!(acknowledged > 40, "the test labels something: {acknowledged}");
}

#[test]
fn a_full_disk_costs_feedback_and_no_prediction_and_passes() {
    let models = bare_model("half", &half_plus_two());
    let state = TempDir::new().unwrap();
    let kept = {
        let server = Server::start(models.path(), state.path(), None);
        let id = server.predict();
        let body = json!({"request_id": id, "correct": true}).to_string();
        assert_eq!(server.exchange("POST", "/feedback", &body).unwrap().0, 200);
        server.judged()
    };
    let mut refused = 0;
    // At many sizes, so that every step of writing meets the limit.
    for limit in [4, 40, 100, 130] {
        let server = Server::start(models.path(), state.path(), Some(limit));
        for _ in 0..30 {
            let id = server.predict();
            let body = json!({"request_id": id, "correct": true}).to_string();
            match server.exchange("POST", "/feedback", &body).unwrap() {
                (200, _) => {}
                // Where even the prediction could not be written, it is not there to be labelled.
                (202, _) => {}
                (507 | 503, answer) => {
                    assert!(answer["detail"].as_str().unwrap().contains("nothing was kept"), "{answer}");
                    refused += 1;
                }
                (status, answer) => panic!("{status} {answer}"),
            }
        }
    }
    assert!(refused > 0);
    let server = Server::start(models.path(), state.path(), None);
    let id = server.predict();
    let body = json!({"request_id": id, "correct": true}).to_string();
    assert_eq!(server.exchange("POST", "/feedback", &body).unwrap().0, 200);
    assert!(server.judged() > kept, "what was kept is there, and more");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_file_is_set_aside_and_a_new_one_begins() {
    let models = bare_model("half", &half_plus_two());
    let state = TempDir::new().unwrap();
    {
        let server = Server::start(models.path(), state.path(), None);
        server.predict();
        assert_eq!(server.judged(), 0);
    }
    let file = std::fs::OpenOptions::new().write(true).open(state.path().join("weir.db")).unwrap();
    file.write_all_at(&[0xAA; 4096], 0).unwrap();
    // What the log of changes holds would mend it.
    drop(std::fs::remove_file(state.path().join("weir.db-wal")));
    let path = state.path().to_owned();
    let app = TestApp::with(models.path(), |options| options.state_dir = Some(path)).await;
    until("it begins anew", || {
        let names = std::fs::read_dir(state.path()).unwrap().map(|entry| entry.unwrap().file_name());
        names.into_iter().any(|name| name.to_string_lossy().starts_with("weir.db.corrupt-"))
    })
    .await;
    let request = axum::http::Request::post("/predict").body(r#"{"instances": [[1.0]]}"#.into()).unwrap();
    let answer = app.send(request).await;
    assert_eq!(answer.status, 200);
    let id = answer.json()["request_id"].clone();
    let said = |id: &Value| {
        let body = json!({"request_id": id, "correct": true}).to_string();
        app.send(axum::http::Request::post("/feedback").body(body.into()).unwrap())
    };
    let answer = said(&id).await;
    assert!([200, 202].contains(&answer.status.as_u16()), "{}", answer.text());
}

#[test]
fn a_second_process_on_the_folder_is_refused() {
    let models = bare_model("half", &half_plus_two());
    let state = TempDir::new().unwrap();
    let first = Server::start(models.path(), state.path(), None);
    let second = Command::new(env!("CARGO_BIN_EXE_weir"))
        .args(["serve", "--http", "127.0.0.1:0", "--grpc", "off"])
        .args([Path::new("--models"), models.path(), Path::new("--state-dir"), state.path()])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&second.stderr).into_owned();
    assert_eq!(second.status.code(), Some(2), "{said}");
    assert!(said.contains("another weir uses"), "{said}");
    first.predict();
}
