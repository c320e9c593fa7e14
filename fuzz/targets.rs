//! The parsers that are fuzzed, each with its seeds.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::body::Body;
use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt as _, Full};
use jiff::Timestamp;
use prost::Message as _;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tower::ServiceExt as _;
use weir::api::grpc::pb::inference::InferTensorContents;
use weir::external::External;
use weir::keys::{KeySet, Token};
use weir::repository::{AliasStore, Files, Manifest, ModelSettings, Storage};
use weir::signature::ImageTransform;
use weir::signing::{Place, Statement, TrustedKeys};
use weir::tensor::Data;
use weir::trainer::{DataOptions, DataSource};
use weir::transform::{
    ImageLimits, PolarityChoice, append_image, decode_picture, effort, foreign_kind, pixels_at_most, size,
};

use crate::api::grpc::{ask, le_bytes};
use crate::fixtures::{add_bare_model, half_plus_two, png_of_test_image, small_data};
use crate::support::{TestApp, bundled_models, copy_folder, shipped_models};

/// What became of an input, in words; an error is a fault of Weir.
type Outcome = Result<String, String>;

/// Gives an input to a parser.
type Run = dyn FnMut(&[u8]) -> Outcome;

/// A parser.
pub(super) struct Target {
    pub(super) name: &'static str,
    pub(super) seeds: Vec<Vec<u8>>,
    /// Texts that mean something to it.
    pub(super) words: &'static [&'static str],
    pub(super) run: Box<Run>,
}

impl Target {
    fn new(name: &'static str, seeds: Vec<Vec<u8>>, run: impl FnMut(&[u8]) -> Outcome + 'static) -> Self {
        Self { name, seeds, words: &[], run: Box::new(run) }
    }

    fn with(self, words: &'static [&'static str]) -> Self {
        Self { words, ..self }
    }
}

/// Returns all targets.
pub(super) fn targets() -> Vec<Target> {
    let served = Arc::new(Served::start());
    let mut all = vec![images(), manifest(), settings(), config(), aliases(), keys(), jwks(), token()];
    all.extend([signature(), trusted_keys(), graph()]);
    all.extend([idx(), table("csv"), table("jsonl"), table("parquet")]);
    all.extend([predict(&served), form(&served), oip(&served), oip_binary(&served), tfs(&served), feedback(&served)]);
    all.push(protobuf(&served));
    all
}

fn in_words<T, E: ToString>(read: Result<T, E>) -> Outcome {
    Ok(read.map_or_else(|error| error.to_string(), |_| "read".to_owned()))
}

/// Returns the files of a folder of the repository that end so.
fn files(folder: &str, ending: &str) -> Vec<Vec<u8>> {
    let listed = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)).unwrap();
    let mut paths: Vec<PathBuf> = listed.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.iter().filter(|path| path.to_string_lossy().ends_with(ending)).map(|path| fs::read(path).unwrap()).collect()
}

/// Returns a folder in memory, where there is one: a file system on a disk is slower than most parsers.
fn folder() -> TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { TempDir::new_in(memory).unwrap() } else { TempDir::new().unwrap() }
}

fn texts(texts: &[&str]) -> Vec<Vec<u8>> {
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}

fn images() -> Target {
    let limits = ImageLimits { max_pixels: 1 << 18 };
    let scaled = json!({"width": 3, "height": 2, "decode": "scaled"});
    let scaled: ImageTransform = serde_json::from_value(scaled).unwrap();
    let seeds =
        [files("tests/fixtures/images", ""), files("tests/fixtures/pillow", ".png"), vec![png_of_test_image(0)]];
    Target::new("images", seeds.concat(), move |input| {
        let kind = foreign_kind(input);
        let (few, effort, size) = (pixels_at_most(input, 100), effort(input, limits), size(input, limits));
        let picture = decode_picture(input, limits, [255; 3]);
        let mut elements = Data::Float32(Vec::new());
        let is_scaled = append_image(input, &scaled, limits, PolarityChoice::Auto, &mut elements).is_ok();
        Ok(match picture {
            Ok(_) => format!("decoded; {few} {} {is_scaled}", effort > 0),
            Err(error) => format!("{error} {kind:?} {} {is_scaled}", size.is_ok()),
        })
    })
    .with(&[
        "IHDR", "IDAT", "iCCP", "zTXt", "tRNS", "PLTE", "acTL", "JFIF", "Exif\0\0", "RIFF", "WEBP", "VP8X", "ALPH",
        "GIF89a", "II*\0", "MM\0*", "BM",
    ])
}

fn manifest() -> Target {
    let own = fs::read(shipped_models().join("mnist-mlp/1/manifest.json")).unwrap();
    let seeds = [files("tests/fixtures/manifests_of_schema_1", ".json"), vec![own]].concat();
    Target::new("manifest", seeds, |input| in_words(Manifest::parse(input))).with(&[
        "\"manifest_schema\"",
        "\"golden\"",
        "\"task\"",
        "\"files\"",
        "\"transform\"",
        "\"labels\"",
        "\"reference\"",
    ])
}

/// Reads a file in the folder of a model, whose name is fixed.
fn beside_versions(file: &'static str) -> impl FnMut(&[u8]) -> Outcome {
    let folder = folder();
    move |input| {
        fs::write(folder.path().join(file), input).unwrap();
        in_words(ModelSettings::read(&"m".parse().unwrap(), &Files::from(folder.path())))
    }
}

fn settings() -> Target {
    let seeds = texts(&[
        "default = false\nlabels = [\"a\", \"b\"]\n[versions]\npolicy = \"latest\"\ncount = 2\n[engine]\nkind = \"tract\"\n",
        "[batching]\nmax_batch_size = 16\npreferred_batch_sizes = [4, 8]\nmax_queue_delay_microseconds = 100\n[scheduling]\nweight = 1.0\nconcurrency = 2\n[cache]\nmax_bytes = 1000000\n",
        "labels_file = \"labels.txt\"\n[image]\npreset = \"imagenet\"\nwidth = 224\n[answer]\nkind = \"classes\"\n",
    ]);
    Target::new("model.toml", seeds, beside_versions("model.toml"))
        .with(&["[image]", "[text]", "[answer]", "[[", "mean", "std", "preset", "guard"])
}

fn config() -> Target {
    let seeds = texts(&[
        "name: \"m\"\nbackend: \"onnxruntime\"\nmax_batch_size: 16\ninput [ { name: \"x\" data_type: TYPE_FP32 dims: [ 1, 28, 28 ] } ]\noutput [ { name: \"y\" data_type: TYPE_FP32 dims: [ 10 ] label_filename: \"l.txt\" } ]\n",
        "version_policy { latest { num_versions: 1 } }\ndynamic_batching { preferred_batch_size: [ 4, 8 ] max_queue_delay_microseconds: 100 }\ninstance_group [ { count: 2 kind: KIND_CPU } ]\nresponse_cache { enable: true }\n",
        "input { name: 'a' reshape { shape: [ ] } dims: -1 } parameters { key: \"k\" value { string_value: \"v\\n\\x41\\101\" } } # end\nmodel_warmup [ { name: \"w\" batch_size: 1 inputs { key: \"x\" value { data_type: TYPE_FP32 dims: 1 zero_data: true } } } ]",
    ]);
    Target::new("config.pbtxt", seeds, beside_versions("config.pbtxt")).with(&[
        "dims: [",
        "data_type: TYPE_STRING",
        "reshape {",
        "<",
        ">",
        "0x",
        "'",
        "inf",
    ])
}

fn aliases() -> Target {
    let folder = folder();
    fs::create_dir(folder.path().join("m")).unwrap();
    let store = AliasStore::new(&Storage::from(folder.path()), &folder.path().join("state"));
    store
        .update(&"m".parse().unwrap(), |aliases| aliases.point(&"stable".parse().unwrap(), weir::ids::Version(1), None))
        .unwrap();
    let file = folder.path().join("m").join(weir::repository::ALIASES_FILE);
    let seeds = vec![fs::read(&file).unwrap()];
    Target::new("aliases", seeds, move |input| {
        let _kept = &folder;
        fs::write(&file, input).unwrap();
        in_words(store.read(&"m".parse().unwrap()))
    })
}

fn keys() -> Target {
    let digest = "a".repeat(64);
    let seeds = texts(&[
        &format!(
            "[[key]]\nname = \"shop\"\nsha256 = \"{digest}\"\nscopes = [\"predict\", \"read\"]\nmodels = [\"mnist-*\"]\nexpires = 2027-06-30T00:00:00Z\nper_second = 50\nburst = 100\nconcurrency = 8\n"
        ),
        "[[key]]\nname = \"c\"\ncertificate = \"URI:spiffe://example.org/shop\"\nscopes = [\"admin\"]\n",
        "[[issuer]]\nname = \"corp\"\nissuer = \"https://i.example\"\naudience = [\"weir\"]\njwks = \"k.json\"\nleeway_seconds = 5\nalgorithms = [\"RS256\"]\n[[issuer.rule]]\nclaim = \"groups\"\nvalue = \"x\"\nscopes = [\"predict\"]\nmodels_claim = \"m\"\n",
    ]);
    Target::new("keys", seeds, |input| match std::str::from_utf8(input) {
        Ok(text) => in_words(weir::keys::parse(text, Path::new("/etc"))),
        Err(_) => Ok("no text".into()),
    })
    .with(&["[[key]]", "[[issuer]]", "[[issuer.rule]]", "discover = true", "\"*\"", "DNS:", "CN:"])
}

fn fixtures() -> Value {
    serde_json::from_str(include_str!("../src/keys/token_fixtures.json")).unwrap()
}

fn jwks() -> Target {
    let seeds = vec![fixtures()["jwks"].to_string().into_bytes()];
    Target::new("jwks", seeds, |input| in_words(KeySet::parse(input)))
        .with(&["\"kty\"", "\"EC\"", "\"RSA\"", "\"OKP\"", "\"use\"", "AAAA"])
}

fn token() -> Target {
    let all = fixtures();
    let keys = KeySet::parse(all["jwks"].to_string().as_bytes()).unwrap();
    let text = "[[issuer]]\nname = \"corp\"\nissuer = \"https://login.example.org\"\naudience = [\"weir\"]\njwks = \"k\"\n[[issuer.rule]]\nscopes = [\"read\"]";
    let issuer = weir::keys::parse(text, Path::new("")).unwrap().issuers.remove(0);
    let seeds: Vec<Vec<u8>> =
        all["tokens"].as_object().unwrap().values().map(|token| token.as_str().unwrap().into()).collect();
    let genuine: Vec<Vec<u8>> =
        ["RS256", "ES256", "EdDSA"].map(|name| all["tokens"][name].as_str().unwrap().into()).to_vec();
    let now = Timestamp::from_second(1_800_000_000).unwrap();
    Target::new("token", seeds, move |input| match Token::read(input) {
        None => Ok("no token".into()),
        Some(Err(refusal)) => Ok(format!("{refusal:?}")),
        Some(Ok(token)) => match token.verify(&issuer, &keys, now) {
            Ok(_) if !genuine.iter().any(|token| token == input) => {
                Err("a token was believed that nobody signed".into())
            }
            verified => Ok(format!("{:?}", verified.map(|key| key.name))),
        },
    })
    .with(&[".", "eyJhbGciOiJub25lIn0", "=="])
}

fn signature() -> Target {
    let trusted = TrustedKeys::parse(include_str!("../src/signing/minisign.pub")).unwrap();
    let seed = include_bytes!("../src/signing/minisign.minisig").to_vec();
    let place = Place { model: "digits".parse().unwrap(), version: weir::ids::Version(1) };
    let signed = |text: &[u8]| {
        text.iter()
            .skip_while(|byte| **byte != b'\n')
            .copied()
            .filter(|byte| !byte.is_ascii_whitespace())
            .collect::<Vec<u8>>()
    };
    let genuine = signed(&seed);
    Target::new("signature", vec![seed], move |input| {
        let statement = Statement { file: "manifest.json", bytes: b"{\"model\": \"digits\"}\n" };
        match trusted.verify(statement, &place, input) {
            // The first line is nobody's, and neither is what comes after the fourth.
            Ok(_) if !signed(input).starts_with(&genuine) => Err("a signature holds that nobody made".into()),
            verified => in_words(verified),
        }
    })
    .with(&["trusted comment: ", "untrusted comment: ", "weir model=", " version="])
}

fn trusted_keys() -> Target {
    let seed = include_bytes!("../src/signing/minisign.pub").to_vec();
    Target::new("public keys", vec![seed], |input| match std::str::from_utf8(input) {
        Ok(text) => in_words(TrustedKeys::parse(text)),
        Err(_) => Ok("no text".into()),
    })
    .with(&["untrusted comment:", "RW", "# "])
}

fn graph() -> Target {
    let seeds =
        [vec![half_plus_two()], files("tests/fixtures/loops", ".onnx"), files("tests/fixtures/converters", ".onnx")];
    Target::new("external", seeds.concat(), |input| in_words(External::of(input)))
        .with(&["location", "offset", "length", "checksum"])
}

fn idx() -> Target {
    let folder = small_data(12, 4);
    let file = folder.path().join("train-images-idx3-ubyte");
    Target::new("idx", vec![fs::read(&file).unwrap()], move |input| {
        fs::write(&file, input).unwrap();
        in_words(DataSource::read(folder.path(), &DataOptions::default()))
    })
}

fn table(format: &'static str) -> Target {
    let rows = |row: fn(usize) -> String| (0..30).map(row).collect::<String>();
    let seeds = match format {
        "csv" => texts(&[
            &format!("a,b,label\n{}", rows(|at| format!("{at},{}.5,{}\n", at * 3, ["x", "y"][at % 2]))),
            &format!(
                "\u{feff}when;text;target\r\n{}",
                rows(|at| format!("2024-01-{:02};\"a \"\"b\"\";{},5\r\n", at % 28 + 1, at))
            ),
        ]),
        "jsonl" => {
            texts(&[&rows(|at| format!("{{\"a\": {at}, \"b\": [1, 2], \"s\": \"t\", \"label\": \"{}\"}}\n", at % 2))])
        }
        _ => files("tests/fixtures/tables", ".parquet"),
    };
    let folder = folder();
    let file = folder.path().join(format!("data.{format}"));
    Target::new(format, seeds, move |input| {
        let _kept = &folder;
        fs::write(&file, input).unwrap();
        in_words(DataSource::read(&file, &DataOptions::default()))
    })
    .with(&[",", ";", "\t", "\"", "\r\n", "2024-02-30", "1,5", "PAR1"])
}

/// A server, and a runtime to ask it on.
struct Served {
    runtime: Runtime,
    app: TestApp,
}

impl Served {
    fn start() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let models = TempDir::new().unwrap();
        copy_folder(&bundled_models().join("mnist-mlp"), &models.path().join("mnist-mlp"));
        add_bare_model(models.path(), "half", 1, &half_plus_two());
        let app = runtime
            .block_on(TestApp::with_temp(models, |options| options.default_model = Some("mnist-mlp".parse().unwrap())));
        Self { runtime, app }
    }

    /// Posts an input over HTTP. An answer that blames the server is a fault.
    fn post(&self, path: &str, headers: &[(&str, String)], input: &[u8]) -> Outcome {
        let mut request = Request::post(path);
        for (name, value) in headers {
            request = request.header(*name, value);
        }
        let answer = self.runtime.block_on(self.app.send(request.body(Body::from(input.to_vec())).unwrap()));
        let (status, text) = (answer.status.as_u16(), answer.text());
        let said: Option<Value> = serde_json::from_str(&text).ok();
        let said =
            said.as_ref().and_then(|said| said.get("detail").or_else(|| said.get("error"))).and_then(Value::as_str);
        match status {
            200..=499 | 501 => Ok(format!("{status} {}", said.unwrap_or_default())),
            _ => Err(format!("was answered by {status} {text}")),
        }
    }
}

fn body(served: &Arc<Served>, path: &'static str, content_type: &'static str) -> impl FnMut(&[u8]) -> Outcome + use<> {
    let served = served.clone();
    move |input| served.post(path, &[("content-type", content_type.to_owned())], input)
}

const JSON: &str = "application/json";

fn predict(served: &Arc<Served>) -> Target {
    let pixels = vec![0; 784];
    let seeds = [
        json!({"instances": [pixels], "id": "x"}),
        json!({"images": ["iVBORw0KGgo="]}),
        json!({"instances": [[[[0.5]]]]}),
        json!({"inputs": {"image": [pixels]}, "options": {"top": 3}}),
    ];
    let seeds = seeds.map(|seed| seed.to_string().into_bytes()).to_vec();
    Target::new("predict", seeds, body(served, "/predict", JSON)).with(&[
        "\"instances\"",
        "\"images\"",
        "\"inputs\"",
        "[[[",
        "0.1",
        "\"b64\"",
    ])
}

fn form(served: &Arc<Served>) -> Target {
    let head =
        b"--b\r\ncontent-disposition: form-data; name=\"image\"; filename=\"0.png\"\r\ncontent-type: image/png\r\n\r\n";
    let seed = [&head[..], &png_of_test_image(0), b"\r\n--b--\r\n"].concat();
    Target::new("form", vec![seed], body(served, "/predict", "multipart/form-data; boundary=b")).with(&[
        "--b",
        "--b--",
        "\r\n\r\n",
        "content-disposition:",
        "filename*=utf-8''",
        "name=",
    ])
}

fn oip(served: &Arc<Served>) -> Target {
    let seeds = [
        json!({"id": "1", "inputs": [{"name": "x", "datatype": "FP32", "shape": [2, 1], "data": [1.0, 2.0]}], "outputs": [{"name": "y"}]}),
        json!({"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 1], "data": [[3]], "parameters": {"classification": 1}}]}),
    ];
    let seeds = seeds.map(|seed| seed.to_string().into_bytes()).to_vec();
    Target::new("oip", seeds, body(served, "/v2/models/half/infer", JSON)).with(&[
        "\"datatype\"",
        "FP64",
        "INT64",
        "BYTES",
        "BOOL",
        "\"shape\"",
        "binary_data_size",
        "shared_memory_region",
        "\"parameters\"",
    ])
}

/// The first two bytes are the length of the JSON.
fn oip_binary(served: &Arc<Served>) -> Target {
    let seed = |json: Value, bytes: &[u8]| {
        let json = json.to_string();
        [&(json.len() as u16).to_be_bytes()[..], json.as_bytes(), bytes].concat()
    };
    let input = |bytes: usize| json!({"name": "x", "datatype": "FP32", "shape": [bytes / 4, 1], "parameters": {"binary_data_size": bytes}});
    let seeds = vec![
        seed(json!({"inputs": [input(8)], "parameters": {"binary_data_output": true}}), &le_bytes(&[1.0, 2.0])),
        seed(
            json!({"inputs": [input(4)], "outputs": [{"name": "y", "parameters": {"binary_data": true}}]}),
            &le_bytes(&[1.0]),
        ),
    ];
    let served = served.clone();
    Target::new("oip binary", seeds, move |input| {
        let (length, rest) = input.split_at(input.len().min(2));
        let length = length.iter().fold(0_u16, |length, byte| length << 8 | u16::from(*byte));
        served.post("/v2/models/half/infer", &[("inference-header-content-length", length.to_string())], rest)
    })
    .with(&["binary_data_size", "binary_data_output", "BYTES", "\"shape\":[", "FP16"])
}

fn tfs(served: &Arc<Served>) -> Target {
    let seeds = [
        json!({"instances": [[1.0], [2.0]]}),
        json!({"inputs": {"x": [[1.0]]}, "signature_name": "serving_default"}),
        json!({"instances": [{"x": [5]}, {"x": {"b64": "AAAA"}}]}),
    ];
    let seeds = seeds.map(|seed| seed.to_string().into_bytes()).to_vec();
    Target::new("tfs", seeds, body(served, "/v1/models/half:predict", JSON)).with(&[
        "\"instances\"",
        "\"inputs\"",
        "\"b64\"",
        "signature_name",
        "[[",
    ])
}

fn feedback(served: &Arc<Served>) -> Target {
    let id = "0192f0c1-2b3c-7def-8123-456789abcdef-0";
    let line = json!({"prediction_id": id, "label": "7", "source": "people", "weight": 0.5}).to_string();
    let seeds = texts(&[&format!("{line}\n{line}\n"), &format!("{}\n", json!({"prediction_id": id, "value": 3.5}))]);
    Target::new("feedback", seeds, body(served, "/feedback", "application/x-ndjson")).with(&[
        "\n",
        "prediction_id",
        "\"label\"",
        "\"value\"",
        "\"receipt\"",
    ])
}

/// A message of gRPC, in its frame.
fn protobuf(served: &Arc<Served>) -> Target {
    let message = ask("half", "x", &[2, 1], &[1.0, 2.0]);
    let mut typed = message.clone();
    typed.raw_input_contents.clear();
    typed.inputs[0].contents =
        Some(InferTensorContents { fp32_contents: vec![1.0, 2.0], ..InferTensorContents::default() });
    let seeds = vec![message.encode_to_vec(), typed.encode_to_vec()];
    let served = served.clone();
    Target::new("protobuf", seeds, move |input| {
        let framed = [&[0][..], &(input.len() as u32).to_be_bytes(), input].concat();
        let request =
            Request::post("/inference.GRPCInferenceService/ModelInfer").header("content-type", "application/grpc");
        let request = request.header("te", "trailers").body(Full::new(Bytes::from(framed))).unwrap();
        served.runtime.block_on(async {
            let response = served.app.services.clone().oneshot(request).await.unwrap();
            let head = response.headers().clone();
            let body = response.into_body().collect().await.map_err(|error| error.to_string())?;
            let trailers = body.trailers().cloned().unwrap_or(head);
            let status = tonic::Status::from_header_map(&trailers).ok_or("there is no status")?;
            match status.code() {
                tonic::Code::Internal | tonic::Code::Unknown => Err(format!("was answered by {status:?}")),
                code => Ok(format!("{code:?} {}", status.message())),
            }
        })
    })
    .with(&["half", "FP32", "BYTES", "\u{a}", "\u{12}", "\u{1a}"])
}
