//! The Open Inference Protocol beside inference: health, metadata, configuration, statistics,
//! repository, trace and log settings.

use serde_json::{Value, json};
use tempfile::TempDir;
use weir::serving::State;

use crate::fixtures::{
    add_bare_model, bare_model, half_plus_two, panics_on_seven, row_sums, scalar_plus_one, sum_and_difference,
};
use crate::support::{Answer, TestApp};

fn ask(numbers: &[f32]) -> Value {
    json!({"inputs": [{"name": "x", "shape": [numbers.len(), 1], "datatype": "FP32", "data": numbers}]})
}

async fn infer(app: &TestApp, numbers: &[f32]) -> Answer {
    app.post_json("/v2/models/m/infer", &ask(numbers)).await
}

/// Versions 1 and 2 of m, and a broken model.
async fn two_versions() -> TestApp {
    let models = TempDir::new().unwrap();
    add_bare_model(models.path(), "m", 1, &half_plus_two());
    add_bare_model(models.path(), "m", 2, &half_plus_two());
    add_bare_model(models.path(), "broken", 1, b"no graph");
    TestApp::with_temp(models, |_| {}).await
}

#[tokio::test]
async fn health_says_200_or_not() {
    let app = two_versions().await;
    for (path, body) in [
        ("/v2/health/live", json!({"live": true})),
        ("/v2/health/ready", json!({"ready": true})),
        ("/v2/models/m/ready", json!({"name": "m", "ready": true})),
        ("/v2/models/m/versions/2/ready", json!({"name": "m", "ready": true})),
    ] {
        let answer = app.get(path).await;
        assert_eq!((answer.status.as_u16(), answer.json()), (200, body), "{path}");
    }
    for (path, status) in [
        ("/v2/models/absent/ready", 404),
        ("/v2/models/m/versions/3/ready", 404),
        ("/v2/models/m/versions/x/ready", 404),
        ("/v2/models/broken/ready", 404),
        ("/v2/models/a%20b/ready", 400),
    ] {
        app.get(path).await.assert_oip_error(status);
    }
    app.state.health().drain();
    assert!(app.get("/v2/health/ready").await.assert_oip_error(503).contains("shutting down"));
    assert_eq!(app.get("/v2/health/live").await.status, 200);
    assert!(app.metric("weir_http_requests_total{outcome=\"200\",protocol=\"oip\"}") >= 5.0);
}

#[tokio::test]
async fn metadata_names_tensors_and_versions() {
    let app = two_versions().await;
    let server = app.get("/v2").await.json();
    assert_eq!((&server["name"], &server["version"]), (&json!("weir"), &json!(env!("CARGO_PKG_VERSION"))));
    let extensions = server["extensions"].as_array().unwrap();
    assert!(extensions.contains(&json!("statistics")) && extensions.contains(&json!("binary_tensor_data")));
    assert!(!extensions.contains(&json!("system_shared_memory")), "it is off");
    let tensor = |name: &str| json!({"name": name, "datatype": "FP32", "shape": [-1, 1]});
    let expected = json!({"name": "m", "versions": ["1", "2"], "platform": "onnx_onnxv1", "inputs": [tensor("x")], "outputs": [tensor("y")]});
    assert_eq!(app.get("/v2/models/m").await.json(), expected);
    assert_eq!(app.get("/v2/models/m/versions/1").await.json()["versions"], json!(["1"]));
    assert_eq!(app.get("/v2/models").await.json(), json!({"models": ["broken", "m"]}));
    app.get("/v2/models/absent").await.assert_oip_error(404);
    app.get("/v2/models/m/versions/7").await.assert_oip_error(404);
}

#[tokio::test]
async fn the_configuration_is_triton_s() {
    let models = TempDir::new().unwrap();
    add_bare_model(models.path(), "m", 1, &sum_and_difference());
    add_bare_model(models.path(), "scalar", 1, &scalar_plus_one());
    add_bare_model(models.path(), "open", 1, &row_sums());
    let settings = "[batching]\nmax_batch_size = 16\npreferred_batch_sizes = [8]\nmax_queue_delay_microseconds = 100\n[cache]\nmax_bytes = 1000";
    std::fs::write(models.path().join("m/model.toml"), settings).unwrap();
    let app = TestApp::with_temp(models, |_| {}).await;
    let config = app.get("/v2/models/m/config").await.json();
    assert_eq!((&config["name"], &config["max_batch_size"]), (&json!("m"), &json!(16)));
    assert_eq!(config["input"][0]["name"], "a");
    assert_eq!((&config["input"][0]["data_type"], &config["input"][0]["dims"]), (&json!("TYPE_INT64"), &json!([2])));
    assert_eq!(config["dynamic_batching"]["preferred_batch_size"], json!([8]));
    assert_eq!(config["dynamic_batching"]["max_queue_delay_microseconds"], 100);
    assert_eq!(config["response_cache"], json!({"enable": true}));
    assert_eq!(config["instance_group"][0]["kind"], "KIND_CPU");
    for absent in ["sequence_batching", "ensemble_scheduling"] {
        assert!(config.get(absent).is_none(), "{absent}");
    }
    let scalar = app.get("/v2/models/scalar/versions/1/config").await.json();
    assert_eq!((&scalar["max_batch_size"], &scalar["input"][0]["dims"]), (&json!(0), &json!([])));
    assert!(scalar.get("dynamic_batching").is_none());
    assert_eq!(app.get("/v2/models/open/config").await.json()["input"][0]["dims"], json!([-1]));
}

#[tokio::test]
async fn statistics_add_up() {
    let models = bare_model("m", &panics_on_seven());
    let app = TestApp::with_temp(models, |options| options.cache_bytes = Some(100_000)).await;
    let statistics = async || app.get("/v2/models/m/versions/1/stats").await.json()["model_stats"][0].clone();
    let fresh = statistics().await;
    assert_eq!(
        (&fresh["inference_count"], &fresh["execution_count"]),
        (&json!(0), &json!(0)),
        "golden runs and warm-up"
    );
    for part in
        ["success", "fail", "queue", "compute_input", "compute_infer", "compute_output", "cache_hit", "cache_miss"]
    {
        for figure in ["count", "ns"] {
            assert_eq!(fresh["inference_stats"][part][figure], json!(0), "{part} {figure}");
        }
    }
    assert_eq!(infer(&app, &[1.0, 2.0, 3.0]).await.status, 200);
    assert_eq!(infer(&app, &[1.0]).await.status, 200);
    assert_eq!(infer(&app, &[1.0]).await.status, 200);
    assert_eq!(infer(&app, &[7.0]).await.status, 400);
    infer(&app, &[0.0; 300]).await.assert_oip_error(413);
    let now = statistics().await;
    let count = |part: &str| now["inference_stats"][part]["count"].as_u64().unwrap();
    assert_eq!((&now["name"], &now["version"]), (&json!("m"), &json!("1")));
    assert_eq!((&now["inference_count"], &now["execution_count"]), (&json!(4), &json!(2)), "{now}");
    assert_eq!((count("success"), count("fail"), count("queue")), (3, 2, 3));
    assert_eq!((count("compute_input"), count("compute_infer"), count("compute_output")), (2, 2, 2));
    assert_eq!((count("cache_hit"), count("cache_miss")), (1, 3));
    for part in ["success", "fail", "compute_infer", "compute_output"] {
        assert!(now["inference_stats"][part]["ns"].as_u64().unwrap() > 0, "{part}");
    }
    let sizes: Vec<u64> =
        now["batch_stats"].as_array().unwrap().iter().map(|run| run["batch_size"].as_u64().unwrap()).collect();
    assert_eq!(sizes, [1, 3]);
    assert_eq!(now["batch_stats"][1]["compute_infer"]["count"], 1);
    assert!(now["last_inference"].as_u64().unwrap() > 1_600_000_000_000);
    assert_eq!(app.get("/v2/models/stats").await.json()["model_stats"].as_array().unwrap().len(), 1);
    assert_eq!(app.get("/v2/models/m/stats").await.json()["model_stats"], json!([now]));
    app.get("/v2/models/absent/stats").await.assert_oip_error(404);
}

#[tokio::test]
async fn the_index_says_what_is_there_and_how_it_is() {
    let app = two_versions().await;
    let index = app.post("/v2/repository/index", "", "").await.json();
    let ready = |version: &str| json!({"name": "m", "version": version, "state": "READY"});
    assert_eq!(index.as_array().unwrap()[1..], [ready("1"), ready("2")]);
    assert_eq!((&index[0]["name"], &index[0]["state"]), (&json!("broken"), &json!("UNAVAILABLE")));
    assert!(index[0]["reason"].as_str().is_some_and(|reason| !reason.is_empty()));
    let only = app.post_json("/v2/repository/index", &json!({"ready": true})).await.json();
    assert_eq!(only, json!([ready("1"), ready("2")]));
    app.post_json("/v2/repository/index", &json!({"ready": 1})).await.assert_oip_error(400);
    app.post("/v2/repository/index", "", "[]").await.assert_oip_error(400);
}

#[tokio::test]
async fn models_are_unloaded_and_loaded_with_a_configuration() {
    let app = TestApp::with_temp(bare_model("m", &half_plus_two()), |_| {}).await;
    let unload = json!({"parameters": {"unload_dependents": false}});
    let answer = app.post_json("/v2/repository/models/m/unload", &unload).await;
    assert_eq!((answer.status.as_u16(), answer.body.len()), (200, 0), "{}", answer.text());
    assert_eq!(app.version_state("m", 1).unwrap().0, State::End);
    infer(&app, &[1.0]).await.assert_oip_error(404);
    let answer = app.post_json("/v2/repository/models/m/load", &json!({})).await;
    assert_eq!((answer.status.as_u16(), answer.body.len()), (200, 0), "{}", answer.text());
    assert_eq!(infer(&app, &[1.0]).await.status, 200);
    let config = |config: Value| json!({"parameters": {"config": config.to_string()}});
    let whole = app.get("/v2/models/m/config").await.json();
    assert_eq!(app.post_json("/v2/repository/models/m/load", &config(whole)).await.status, 200);
    let override_ =
        config(json!({"max_batch_size": 3, "response_cache": {"enable": true}, "instance_group": [{"count": 1}]}));
    assert_eq!(app.post_json("/v2/repository/models/m/load", &override_).await.status, 200);
    let changed = app.get("/v2/models/m/config").await.json();
    assert_eq!((&changed["max_batch_size"], &changed["instance_group"][0]["count"]), (&json!(3), &json!(1)));
    assert_eq!(changed["response_cache"], json!({"enable": true}));
    app.refresh().await;
    assert_eq!(app.get("/v2/models/m/config").await.json()["max_batch_size"], 3, "a look changes nothing");
    assert_eq!(app.post_json("/v2/repository/models/m/load", &json!({})).await.status, 200);
    assert_eq!(app.get("/v2/models/m/config").await.json()["max_batch_size"], 256, "the next load forgets it");
    for (parameters, words) in [
        (json!({"config": "no json"}), "config"),
        (json!({"config": 7}), "config"),
        (json!({"config": json!({"sequence_batching": {"direct": {"x": 1}}}).to_string()}), "sequence_batching"),
        (json!({"file:1/model.onnx": "AAAA"}), "file:1/model.onnx"),
        (json!({"other": true}), "other"),
    ] {
        let answer = app.post_json("/v2/repository/models/m/load", &json!({"parameters": parameters})).await;
        assert!(answer.assert_oip_error(400).contains(words), "{parameters}: {}", answer.text());
    }
    app.post_json("/v2/repository/models/absent/load", &json!({})).await.assert_oip_error(404);
    app.post_json("/v2/repository/models/absent/unload", &json!({})).await.assert_oip_error(404);
    let trail = app.get("/audit").await.json();
    assert_eq!(trail["entries"][0]["action"], "unload");
    assert_eq!(trail["entries"][2]["outcome"], "done");
}

#[tokio::test]
async fn who_may_change_things_says_the_setting() {
    let app = TestApp::with_temp(bare_model("m", &half_plus_two()), |options| {
        options.admin = Some(weir::config::Callers::Off);
        options.shared_memory = Some(true);
    })
    .await;
    for path in [
        "/v2/repository/models/m/load",
        "/v2/repository/models/m/unload",
        "/v2/logging",
        "/v2/trace/setting",
        "/v2/models/m/trace/setting",
        "/v2/systemsharedmemory/region/r/register",
        "/v2/systemsharedmemory/unregister",
    ] {
        app.post_json(path, &json!({})).await.assert_oip_error(403);
    }
    let region = json!({"shared_memory_region": "r", "shared_memory_byte_size": 4});
    let shared = json!({"inputs": [{"name": "x", "shape": [1, 1], "datatype": "FP32", "parameters": region}]});
    app.post_json("/v2/models/m/infer", &shared).await.assert_oip_error(403);
    assert_eq!(infer(&app, &[1.0]).await.status, 200);
    assert_eq!(app.get("/v2/logging").await.status, 200);
}

#[tokio::test]
async fn trace_settings_are_the_server_s_and_a_model_s() {
    let app = TestApp::with_temp(bare_model("m", &half_plus_two()), |_| {}).await;
    let default = json!({"trace_level": ["OFF"], "trace_rate": "1000", "trace_count": "-1", "log_frequency": "0", "trace_file": "", "trace_mode": "triton"});
    assert_eq!(app.get("/v2/trace/setting").await.json(), default);
    let change = json!({"trace_level": ["TIMESTAMPS"], "trace_rate": "1", "trace_count": "2"});
    let changed = app.post_json("/v2/models/m/trace/setting", &change).await.json();
    assert_eq!((&changed["trace_level"], &changed["trace_count"]), (&json!(["TIMESTAMPS"]), &json!("2")));
    assert_eq!(app.get("/v2/trace/setting").await.json(), default, "of the model alone");
    for _ in 0..4 {
        assert_eq!(infer(&app, &[1.0]).await.status, 200);
    }
    let cleared = json!({"trace_level": null, "trace_rate": null, "trace_count": null});
    assert_eq!(app.post_json("/v2/models/m/trace/setting", &cleared).await.json(), default);
    for (bad, words) in [
        (json!({"trace_rate": 5}), "trace_rate"),
        (json!({"trace_level": ["TENSORS"]}), "TENSORS"),
        (json!({"trace_file": "/tmp/x"}), "trace_file"),
        (json!({"unknown": "x"}), "unknown"),
        (json!([]), "cannot be read"),
    ] {
        assert!(app.post_json("/v2/trace/setting", &bad).await.assert_oip_error(400).contains(words), "{bad}");
    }
    app.get("/v2/models/absent/trace/setting").await.assert_oip_error(404);
}

#[tokio::test]
async fn log_settings_come_back_as_they_were_set() {
    let app = TestApp::with_temp(bare_model("m", &half_plus_two()), |_| {}).await;
    let all = |info: bool, verbose: u32| json!({"log_file": "", "log_info": info, "log_warning": true, "log_error": true, "log_verbose_level": verbose, "log_format": "ISO8601"});
    assert_eq!(app.get("/v2/logging").await.json(), all(true, 0));
    let change = json!({"log_info": false, "log_verbose_level": 1, "log_format": "ISO8601", "log_file": ""});
    assert_eq!(app.post_json("/v2/logging", &change).await.json(), all(false, 1));
    for bad in [
        json!({"log_info": "no"}),
        json!({"log_warnings": true}),
        json!({"log_verbose_level": -1}),
        json!({"log_file": "/tmp/x"}),
        json!({"log_format": "default"}),
        json!({"log_info": true, "log_error": 1}),
    ] {
        app.post_json("/v2/logging", &bad).await.assert_oip_error(400);
    }
    assert_eq!(app.get("/v2/logging").await.json(), all(false, 1), "all or nothing");
}
