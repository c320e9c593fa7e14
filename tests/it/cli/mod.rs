//! The program itself: what it prints, where, and with which exit code.

mod database;

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Output, Stdio};

use tempfile::TempDir;

use crate::certificates::Authority;
use crate::fixtures::small_data;
use crate::support::{bundled_data, bundled_models};

fn weir(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_weir"));
    command.args(args).env_remove("WEIR_HTTP").env_remove("WEIR_MODELS").stdin(Stdio::null());
    command
}

pub(crate) fn output(args: &[&str]) -> Output {
    weir(args).output().unwrap()
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn a_graph_is_described_as_a_model_toml_with_reasons() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/vision/colours.onnx");
    let described = output(&["models", "describe", file]);
    let said = text(&described.stdout);
    assert!(described.status.success(), "{}", text(&described.stderr));
    for part in [
        "# colours.onnx, written by pytorch",
        "# input \"images\": float32 [N, 3, 32, 32]",
        "3 class names are in the graph's metadata",
        "\n[image]\n# nothing in the graph says how pixels are scaled",
        "\npreset = \"imagenet\"\n",
        "\n[answer]\n",
        "\nkind = \"classes\"\n",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    let json: serde_json::Value =
        serde_json::from_slice(&output(&["models", "describe", file, "--json"]).stdout).unwrap();
    assert_eq!(json["model_toml"][0], "image.preset = \"imagenet\"");
    let refused = output(&["models", "describe", concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")]);
    assert!(!refused.status.success() && text(&refused.stderr).contains("ONNX"), "{}", text(&refused.stderr));
}

#[test]
fn settings_that_an_older_file_lacks_are_named() {
    let folder = TempDir::new().unwrap();
    let today = text(&output(&["train", "dense", "--print-config"]).stdout);
    let older: Vec<&str> = today.lines().filter(|line| !line.starts_with("prefer_linear")).collect();
    let file = folder.path().join("args.toml");
    let said = |settings: &[&str], content: &str| {
        std::fs::write(&file, content).unwrap();
        let printed = output(&[&["train", "--print-config", "--config", file.to_str().unwrap()], settings].concat());
        assert!(printed.status.success(), "{}", text(&printed.stderr));
        text(&printed.stderr)
    };
    let note = said(&[], &older.join("\n"));
    assert!(note.contains("older Weir") && note.contains("as they are today: prefer_linear = true"), "{note}");
    assert_eq!(note.lines().count(), 1, "{note}");
    assert_eq!(said(&["--set", "prefer_linear=true"], &older.join("\n")), "");
    assert_eq!(said(&[], &today), "");
}

#[test]
fn help_teaches_and_usage_errors_exit_2() {
    let help = output(&["--help"]);
    assert!(help.status.success());
    assert!(text(&help.stdout).contains("weir train mnist-mlp"));
    for args in [
        &["serve"][..],
        &["train"],
        &["lr-find"],
        &["tune"],
        &["evaluate"],
        &["calibrate"],
        &["explain"],
        &["models"],
        &["feedback"],
        &["watch"],
        &["healthcheck"],
        &["sign"],
        &["licenses"],
        &["openapi"],
        &["bench", "http"],
        &["bench", "engine"],
    ] {
        let help = output(&[args, &["--help"]].concat());
        assert!(help.status.success() && help.stdout.len() > 60, "{args:?}");
    }
    for (args, hint) in [
        (&["train"][..], "<PRESET>"),
        (&["train", "no-such"], "mnist-mlp"),
        (&["train", "mnist-mlp", "--epochs", "0"], "at least 1"),
        (&["train", "mnist-mlp", "--learning-rate", "nan"], "learning-rate"),
        (&["train", "--resume", "/nowhere"], "not the directory"),
        (&["evaluate", "no-such"], "no model"),
        (&["serve", "--threads", "0"], "threads"),
        (&["serve", "--config", "/nowhere.toml"], "/nowhere.toml"),
        (&["serve", "--http", "elsewhere"], "elsewhere"),
    ] {
        let refused = output(args);
        let said = text(&refused.stderr);
        assert_eq!(refused.status.code(), Some(2), "{args:?}: {said}");
        assert!(said.contains(hint) && refused.stdout.is_empty(), "{args:?}: {said}");
        assert!(!said.contains('\x1b'), "no colour when piped: {said}");
    }
}

#[test]
fn data_errors_exit_3_and_divergence_exits_4() {
    let work = TempDir::new().unwrap();
    let path = |name: &str| work.path().join(name).display().to_string();
    let bad =
        output(&["train", "mnist-mlp", "--data", &path("none"), "--runs", &path("runs"), "--models", &path("models")]);
    assert_eq!(bad.status.code(), Some(3), "{}", text(&bad.stderr));
    let data = small_data(300, 100);
    let data = data.path().display().to_string();
    let args = [
        "train",
        "mnist-mlp",
        "--data",
        &data,
        "--validation",
        "0",
        "--learning-rate",
        "1e30",
        "--runs",
        &path("runs"),
        "--models",
        &path("models"),
    ];
    let diverged = output(&args);
    assert_eq!(diverged.status.code(), Some(4), "{}", text(&diverged.stderr));
}

#[test]
fn training_prints_a_summary_and_lines_and_json_for_machines() {
    let work = TempDir::new().unwrap();
    let data = small_data(500, 100);
    let path = |name: &str| work.path().join(name).display().to_string();
    let (data, runs, models) = (data.path().display().to_string(), path("runs"), path("models"));
    let base = [
        "train",
        "mnist-mlp",
        "--data",
        &data,
        "--validation",
        "50",
        "--runs",
        &runs,
        "--models",
        &models,
        "--epochs",
        "1",
    ];
    let run = output(&[&base[..], &["--name", "first", "--json"]].concat());
    let said = text(&run.stderr);
    assert!(run.status.success(), "{said}");
    for expected in ["101,770", "epoch 1/1", "test accuracy", "published version 1"] {
        assert!(said.contains(expected), "{expected} in {said}");
    }
    let json: serde_json::Value = serde_json::from_slice(&run.stdout).unwrap();
    assert!(json["accuracy"].as_f64().unwrap() > 0.2);
    let again = output(&[&base[..], &["--name", "first"]].concat());
    assert_eq!(again.status.code(), Some(2));
    assert!(text(&again.stderr).contains("never overwritten"));
    let quiet = output(&[&base[..], &["--quiet", "--no-publish"]].concat());
    assert!(quiet.status.success() && quiet.stderr.is_empty() && quiet.stdout.is_empty());
    let evaluated = output(&["evaluate", "mnist-mlp", "--models", &models, "--data", &data, "--importance", "2"]);
    assert!(text(&evaluated.stderr).contains("--importance is left out"), "{}", text(&evaluated.stderr));
    assert!(
        text(&evaluated.stdout).contains("to the last sample"),
        "{}{}",
        text(&evaluated.stdout),
        text(&evaluated.stderr)
    );
}

/// A child that does not outlive its test.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        // It may be gone already, and then there is nothing to end.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

impl Server {
    /// Starts a server on a free port, with a state folder of its own, and returns it with its address, once it says it
    /// is ready.
    fn start() -> (Self, String, TempDir) {
        let state = TempDir::new().unwrap();
        let (server, address) = Self::serving(&bundled_models(), state.path());
        (server, address, state)
    }

    fn serving(models: &std::path::Path, state: &std::path::Path) -> (Self, String) {
        Self::with(models, state, &[])
    }

    /// Starts one with further settings.
    fn with(models: &std::path::Path, state: &std::path::Path, settings: &[(&str, &str)]) -> (Self, String) {
        let models = models.display().to_string();
        let mut command =
            weir(&["serve", "--models", &models, "--http", "127.0.0.1:0", "--grpc", "off", "--grace-seconds", "0"]);
        command.env("WEIR_STATE_DIR", state).envs(settings.iter().copied());
        let mut server = Self(command.stderr(Stdio::piped()).spawn().unwrap());
        let mut address = None;
        for line in BufReader::new(server.0.stderr.take().unwrap()).lines() {
            let line: serde_json::Value = serde_json::from_str(&line.unwrap()).expect("logs are JSON when piped");
            if line["message"] == "listening" {
                address = line["address"].as_str().map(str::to_owned);
            }
            if line["message"].as_str().is_some_and(|message| message.starts_with("ready")) {
                return (server, address.unwrap());
            }
        }
        panic!("the server ended before it was ready");
    }

    fn signal(&self, signal: &str) {
        assert!(Command::new("kill").args([signal, &self.0.id().to_string()]).status().unwrap().success());
    }
}

#[test]
fn a_server_answers_its_healthcheck_outlives_a_hangup_and_leaves_cleanly_on_either_signal() {
    for signal in ["-TERM", "-INT"] {
        let (mut server, address, _state) = Server::start();
        server.signal("-HUP");
        let healthy = output(&["healthcheck", "--http", &address]);
        assert_eq!((healthy.status.code(), text(&healthy.stdout).as_str()), (Some(0), "ready\n"));
        server.signal(signal);
        assert_eq!(server.0.wait().unwrap().code(), Some(0));
        assert_eq!(output(&["healthcheck", "--http", &address]).status.code(), Some(1));
    }
}

#[test]
fn commands_reach_a_server_with_tls() {
    let (folder, authority) = (TempDir::new().unwrap(), Authority::new("ours"));
    let (certificate, key) = authority.server(2090).write(folder.path());
    let ca = folder.path().join("ca.pem");
    std::fs::write(&ca, authority.pem()).unwrap();
    let paths = [&certificate, &key, &ca].map(|path| path.display().to_string());
    let settings = [("WEIR_TLS_CERT", paths[0].as_str()), ("WEIR_TLS_KEY", &paths[1]), ("WEIR_OPS", "127.0.0.1:0")];
    let (_server, address) = Server::with(&bundled_models(), &folder.path().join("state"), &settings);
    let status = |command: &mut Command| command.output().unwrap().status.code();
    assert_eq!(status(&mut weir(&["healthcheck", "--http", &address, "--tls"])), Some(0));
    assert_eq!(status(weir(&["healthcheck", "--http", &address]).env("WEIR_TLS_CERT", &certificate)), Some(0));
    let plain = output(&["healthcheck", "--http", &address]);
    assert_eq!((plain.status.code(), text(&plain.stdout).contains("answered 400")), (Some(1), true));
    let port = address.rsplit_once(':').unwrap().1;
    let list = |host: &str, trusted: &std::path::Path| {
        let server = format!("https://{host}:{port}");
        weir(&["models", "list", "--server", &server]).env("SSL_CERT_FILE", trusted).output().unwrap()
    };
    for host in ["localhost", "127.0.0.1"] {
        let listed = list(host, &ca);
        assert!(text(&listed.stdout).contains("AVAILABLE"), "{}", text(&listed.stderr));
    }
    assert_eq!(list("localhost", &certificate).status.code(), Some(2), "nobody vouches for it");
    assert_eq!(list("localhost", &key).status.code(), Some(2), "a file without certificates");
}

#[test]
fn models_are_listed_and_changed_from_the_command_line() {
    let folder = tempfile::TempDir::new().unwrap();
    let models = folder.path().join("models");
    crate::support::copy_folder(&bundled_models().join("mnist-mlp/1"), &models.join("mnist-mlp/1"));
    let (_server, address) = Server::serving(&models, &folder.path().join("state"));
    let server = format!("http://{address}");
    let done = |args: &[&str]| {
        let output = output(&[&["models"][..], args, &["--server", &server]].concat());
        assert_eq!(output.status.code(), Some(0), "{args:?}: {}", text(&output.stderr));
        text(&output.stdout)
    };
    assert_eq!(done(&["promote", "mnist-mlp", "stable", "1", "--expected", "0"]), "mnist-mlp stable is version 1\n");
    let list = done(&["list"]);
    let row: Vec<&str> = list.lines().nth(1).unwrap().split_whitespace().collect();
    assert_eq!(row, ["mnist-mlp", "1", "AVAILABLE", "stable"], "{list}");
    assert_eq!(done(&["unload", "mnist-mlp"]), "mnist-mlp unloaded versions [1]\n");
    assert_eq!(done(&["load", "mnist-mlp", "1"]), "mnist-mlp serves versions [1]\n");
    let shown: serde_json::Value = serde_json::from_str(&done(&["show", "mnist-mlp", "--json"])).unwrap();
    assert_eq!(shown["default_version"], 1);
    for (args, expected) in [
        (&["promote", "mnist-mlp", "stable", "9"][..], "404"),
        (&["rollback", "mnist-mlp", "stable"], "409"),
        (&["show", "nobody"], "404"),
    ] {
        let refused = output(&[&["models"][..], args, &["--server", &server]].concat());
        assert_eq!(refused.status.code(), Some(1));
        assert!(text(&refused.stderr).contains(expected), "{}", text(&refused.stderr));
    }
    let offline = text(&output(&["models", "list", "--models", &models.display().to_string()]).stdout);
    assert!(offline.lines().nth(1).unwrap().contains("ON DISK"), "{offline}");
    assert_eq!(output(&["models", "list", "--server", "https://x"]).status.code(), Some(2));
}

#[test]
fn a_server_is_watched_and_its_answers_are_explained_from_the_command_line() {
    let folder = TempDir::new().unwrap();
    let models = folder.path().join("models");
    crate::support::copy_folder(&bundled_models().join("mnist-mlp/1"), &models.join("mnist-mlp/1"));
    let (_server, address) = Server::serving(&models, &folder.path().join("state"));
    let server = format!("http://{address}");
    let watched = output(&["watch", &server, "--every", "0.05", "--looks", "2", "--json"]);
    assert!(watched.status.success(), "{}", text(&watched.stderr));
    let looks: Vec<serde_json::Value> =
        text(&watched.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(looks.len(), 2);
    let row = &looks[1]["rows"][0];
    assert_eq!((&row["model"], &row["version"]), (&"mnist-mlp".into(), &1.into()), "{row}");
    let piped = text(&output(&["watch", &server, "--every", "0.05", "--looks", "1"]).stdout);
    assert!(piped.contains(" mnist-mlp@1 ") && !piped.contains('\x1b'), "{piped}");
    let other = text(&output(&["watch", &server, "--model", "other", "--every", "0.05", "--looks", "1"]).stdout);
    assert_eq!(other, "");
    assert_eq!(output(&["watch", "http://127.0.0.1:1", "--looks", "1"]).status.code(), Some(2));

    let seven = concat!(env!("CARGO_MANIFEST_DIR"), "/data/seven.png");
    let picture = folder.path().join("why.png").display().to_string();
    let explain = ["explain", "mnist-mlp", seven, "--server", &server];
    let told = output(&[&explain[..], &["--out", &picture]].concat());
    assert!(told.status.success(), "{}", text(&told.stderr));
    let words = text(&told.stdout);
    assert!(words.starts_with("mnist-mlp version 1: \"7\" 0.9") && words.contains("+100"), "{words}");
    assert!(words.ends_with('\n') && words.contains("of random orders"), "{words}");
    assert!(std::fs::read(&picture).unwrap().starts_with(b"\x89PNG"));
    let json: serde_json::Value = serde_json::from_slice(
        &output(&[&explain[..], &["--method", "rise", "--class", "1", "--json"]].concat()).stdout,
    )
    .unwrap();
    assert_eq!((&json["method"], &json["label"]), (&"rise".into(), &"1".into()));
    let refused = output(&[&explain[..], &["--class", "ten"]].concat());
    assert_eq!(refused.status.code(), Some(1));
    assert!(text(&refused.stderr).contains("ten"), "{}", text(&refused.stderr));
}

#[test]
fn a_port_in_use_is_one_clear_line_and_exit_2() {
    let (_server, address, _state) = Server::start();
    let models = bundled_models().display().to_string();
    let second = output(&["serve", "--models", &models, "--http", &address, "--grpc", "off"]);
    assert_eq!(second.status.code(), Some(2));
    assert!(text(&second.stderr).contains(&format!("cannot listen on {address}")), "{}", text(&second.stderr));
}

#[test]
fn a_missing_repository_is_one_clear_line() {
    let refused = output(&["serve", "--models", "/nowhere/models", "--http", "127.0.0.1:0", "--grpc", "off"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(text(&refused.stderr).contains("/nowhere/models"), "{}", text(&refused.stderr));
}

#[test]
fn the_metrics_of_a_running_job_can_be_scraped_and_ctrl_c_saves() {
    let work = TempDir::new().unwrap();
    let path = |name: &str| work.path().join(name).display().to_string();
    let data = bundled_data().display().to_string();
    let (runs, models) = (path("runs"), path("models"));
    let args = [
        "train",
        "mnist-mlp",
        "--data",
        &data,
        "--runs",
        &runs,
        "--models",
        &models,
        "--epochs",
        "1000",
        "--metrics-listen",
        "127.0.0.1:0",
    ];
    let mut job = Server(weir(&args).stderr(Stdio::piped()).spawn().unwrap());
    let mut lines = BufReader::new(job.0.stderr.take().unwrap()).lines().map(Result::unwrap);
    let listening = lines.by_ref().find(|line| line.contains("/metrics")).unwrap();
    let address = listening.split("http://").nth(1).unwrap().trim_end_matches("/metrics").to_owned();
    lines.by_ref().find(|line| line.starts_with("epoch 1/")).unwrap();
    let page = get(&address, "/metrics");
    for family in [
        "weir_training_epoch",
        "weir_training_steps_total",
        "weir_training_learning_rate",
        "weir_training_images_per_second",
    ] {
        assert!(page.contains(family), "{page}");
    }
    for source in ["training", "validation"] {
        assert!(page.contains(&format!("weir_training_loss{{model=\"mnist-mlp\",source=\"{source}\"}}")), "{page}");
    }
    job.signal("-INT");
    let last: Vec<String> = lines.collect();
    assert_eq!(job.0.wait().unwrap().code(), Some(130), "{last:?}");
    assert!(last.last().unwrap().contains("weir train --resume"), "{last:?}");
    assert!(work.path().join("runs/mnist-mlp/1/state.safetensors").is_file());
}

fn get(address: &str, path: &str) -> String {
    use std::io::Write as _;
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    stream.write_all(format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn a_server_without_a_repository_ends_before_it_says_that_it_listens() {
    let missing = std::env::temp_dir().join("no-such-repository").display().to_string();
    let ended = output(&["serve", "--models", &missing, "--http", "127.0.0.1:0", "--grpc", "off"]);
    let said = text(&ended.stderr) + &text(&ended.stdout);
    assert!(!ended.status.success() && said.contains("no-such-repository") && !said.contains("listening"), "{said}");
}

#[test]
fn a_version_is_signed_and_checked_from_the_command_line() {
    let folder = TempDir::new().unwrap();
    let at = |name: &str| folder.path().join(name).display().to_string();
    let models = at("models");
    crate::support::copy_folder(&bundled_models(), std::path::Path::new(&models));
    let (key, public) = (at("release.key"), at("release.key.pub"));
    let made = output(&["sign", "--new-key", &key, "--name", "release"]);
    let line = text(&std::fs::read(&public).unwrap()).lines().last().unwrap().to_owned();
    assert!(made.status.success() && text(&made.stdout).contains(&line), "{}", text(&made.stderr));
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&key).unwrap().permissions());
    assert_eq!(mode & 0o077, 0, "the secret key is its owner's alone");
    let again = output(&["sign", "--new-key", &key]);
    assert!(!again.status.success(), "a key never takes the place of another");
    let sign = |target: &str, what: &str, file: &str| output(&["sign", target, what, file, "--models", &models]);
    let unsigned = sign("mnist-mlp", "--check", &public);
    assert!(
        unsigned.status.code() == Some(1) && text(&unsigned.stderr).contains("not signed"),
        "{}",
        text(&unsigned.stderr)
    );
    let signed = sign("mnist-mlp", "--key", &key);
    assert!(text(&signed.stdout).starts_with("signed ") && signed.status.success(), "{}", text(&signed.stderr));
    let checked = sign("mnist-mlp@1", "--check", &public);
    assert!(text(&checked.stdout).contains("(release)"), "{}", text(&checked.stderr));
    for (target, hint, code) in
        [("mnist-mlp@9", "no version 9", 2), ("nobody", "no model is called", 2), ("a/b", "model", 2)]
    {
        let refused = sign(target, "--key", &key);
        let said = text(&refused.stderr);
        assert!(refused.status.code() == Some(code) && said.contains(hint), "{target}: {said}");
    }
    let wrong = sign("mnist-mlp", "--key", &public);
    assert!(wrong.status.code() == Some(2) && text(&wrong.stderr).contains("--new-key"), "{}", text(&wrong.stderr));
    std::fs::write(format!("{models}/mnist-mlp/1/probe.jsonl"), "").unwrap();
    let altered = sign("mnist-mlp", "--check", &public);
    assert!(!altered.status.success() && text(&altered.stderr).contains("probe.jsonl"), "{}", text(&altered.stderr));
}

#[test]
fn licences_are_printed_where_the_image_has_them_and_else_the_way_to_them() {
    let none = output(&["licenses"]);
    let said = text(&none.stderr);
    assert!(!none.status.success() && said.contains("The image has it"), "{said}");
    let folder = TempDir::new().unwrap();
    std::fs::write(folder.path().join("THIRD-PARTY.txt"), "ring-0.17: ISC\n").unwrap();
    std::fs::write(folder.path().join("sbom.cdx.json"), "{}").unwrap();
    let folder = folder.path().display().to_string();
    let of = |more: &[&str]| text(&output(&[&["licenses", "--folder", &folder], more].concat()).stdout);
    assert_eq!((of(&[]), of(&["--sbom"])), ("ring-0.17: ISC\n".into(), "{}".into()));
}
