//! Whole texts → settings, warnings and refusals.

use serde_json::json;

use super::*;
use crate::config::VersionPolicy;
use crate::repository::settings::ModelSettings;
use crate::signature::{Batching, DType, Dim, Signature, TensorSpec};
use crate::tensor::Tensor;

fn read(text: &str) -> std::result::Result<ModelSettings, String> {
    parse("m", text).map(|(tables, triton)| ModelSettings::over(None, tables, triton))
}

fn config(text: &str) -> ModelConfig {
    read(text).unwrap_or_else(|problem| panic!("{problem} in {text}")).triton.unwrap().config.clone()
}

fn warnings(text: &str) -> Vec<String> {
    read(text).unwrap_or_else(|problem| panic!("{problem} in {text}")).triton.unwrap().warnings.clone()
}

/// The image classifier of Triton's quick start, in its own habits of writing.
const DENSENET: &str = r#"
name: "m"
platform: "onnxruntime_onnx"
max_batch_size : 0
input [
  {
    name: "data_0"
    data_type: TYPE_FP32
    format: FORMAT_NCHW
    dims: [ 3, 224, 224 ]
    reshape { shape: [ 1, 3, 224, 224 ] }
  }
]
output [
  {
    name: "fc6_1"
    data_type: TYPE_FP32
    dims: [ 1000 ]
    reshape { shape: [ 1, 1000, 1, 1 ] }
    label_filename: "densenet_labels.txt"
  }
]
"#;

fn spec(name: &str, dims: &[&str]) -> TensorSpec {
    let dim = |dim: &&str| dim.parse().map_or_else(|_| Dim::Symbol((*dim).into()), Dim::Fixed);
    TensorSpec { name: name.into(), dtype: DType::Float32, shape: dims.iter().map(dim).collect() }
}

fn graph(inputs: &[TensorSpec], outputs: &[TensorSpec]) -> Signature {
    Signature { inputs: inputs.to_vec(), outputs: outputs.to_vec() }
}

#[test]
fn every_setting_reaches_its_table() {
    let settings = read(
        r#"
        backend: "tract"  max_batch_size: 8
        version_policy { specific { versions: [1, 3] } }
        dynamic_batching {
            preferred_batch_size: [8, 4]  max_queue_delay_microseconds: 250
            priority_levels: 3  default_priority_level: 2
            default_queue_policy { default_timeout_microseconds: 5000  max_queue_size: 7 }
        }
        instance_group [ { count: 2 kind: KIND_CPU }, { count: 9 passive: true }, { } ]
        response_cache { enable: true }
        "#,
    )
    .unwrap();
    assert_eq!(settings.triton.as_ref().unwrap().warnings, [] as [String; 0]);
    assert_eq!(settings.versions.as_ref().unwrap().policy.to_string(), "specific:1,3");
    assert_eq!(settings.engine.as_ref().unwrap().kind, Some(crate::config::EngineChoice::Tract));
    let mut server = crate::config::ServeOptions::default().resolve().unwrap().serving.scheduling;
    let model = settings.scheduling_over(&server);
    assert_eq!((model.max_batch_size, model.preferred_batch_sizes.as_slice()), (Some(8), &[4, 8][..]));
    assert_eq!((model.max_queue_delay.as_micros(), model.across_requests), (250, true));
    assert_eq!((model.default_priority, model.queue_capacity, model.concurrency), (2, 7, Some(3)));
    assert_eq!(model.timeout.map(|timeout| timeout.as_micros()), Some(5000));
    assert_eq!(model.cache_bytes, 16 << 20);
    server.cache_bytes = 5;
    assert_eq!(settings.scheduling_over(&server).cache_bytes, 5);
    let off = read("response_cache { enable: false }").unwrap();
    assert_eq!(off.scheduling_over(&server).cache_bytes, 0);
}

#[test]
fn silence_means_what_it_means_in_triton() {
    let server = crate::config::ServeOptions::default().resolve().unwrap().serving.scheduling;
    let settings = read("max_batch_size: 8").unwrap();
    assert_eq!(settings.versions.as_ref().unwrap().policy, VersionPolicy::Latest(1));
    let model = settings.scheduling_over(&server);
    assert_eq!((model.max_batch_size, model.across_requests), (Some(8), false), "no dynamic_batching");
    assert!(read("max_batch_size: 8 dynamic_batching {}").unwrap().scheduling_over(&server).across_requests);
    assert_eq!(read("").unwrap().scheduling_over(&server), server, "nothing said: completed and measured");
    assert!(!read(DENSENET).unwrap().scheduling_over(&server).across_requests);
}

#[test]
fn what_has_no_effect_is_named_once() {
    for (text, expected) in [
        ("frobnicate { a: 1 }\nfrobnicate { a: 2 }", "frobnicate (line 1) is not known"),
        ("max_batch_sise: 8", "max_batch_sise (line 1) is not known"),
        ("\noptimization { execution_accelerators { gpu_execution_accelerator : [ { name : \"tensorrt\" } ] } }", {
            "optimization (line 2) has no effect: each engine"
        }),
        ("metric_tags { key: \"a\" value: \"b\" }", "metric_tags (line 1) has no effect"),
        ("instance_group { kind: KIND_GPU gpus: [0, 1] }", "instance_group.gpus (line 1) has no effect"),
        ("instance_group { kind: KIND_GPU }", "instance_group.kind KIND_GPU has no effect"),
        ("instance_group { rate_limiter { priority: 2 } }", "instance_group.rate_limiter (line 1) has no effect"),
        ("parameters { key: \"intra_op_thread_count\" value: { string_value: \"2\" } }", {
            "parameters \"intra_op_thread_count\" have no effect"
        }),
        ("model_metrics { }", "model_metrics (line 1) has no effect"),
        ("dynamic_batching { preserve_ordering: true }", "preserve_ordering (line 1) has no effect"),
        ("dynamic_batching { default_queue_policy { timeout_action: DELAY } }", "timeout_action DELAY has no effect"),
        ("dynamic_batching { priority_queue_policy { key: 1 value: {} } }", "priority_queue_policy (line 1)"),
        ("input { name: \"x\" data_type: TYPE_FP32 dims: 1 } dynamic_batching { }", "max_batch_size is 0"),
    ] {
        let warnings = warnings(text);
        assert!(warnings.iter().filter(|warning| warning.contains(expected)).count() == 1, "{text}: {warnings:?}");
    }
    assert!(warnings("input { name: \"x\" data_type: TYPE_FP32 dims: 1 optional: false }").is_empty());
    let many: String = (0..100).map(|index| format!("unknown_{index}: 1\n")).collect();
    let warnings = warnings(&many);
    assert_eq!((warnings.len(), warnings[32].as_str()), (33, "and 68 more"));
}

#[test]
fn what_cannot_be_served_is_refused_by_name() {
    for (text, expected) in [
        ("platform: \"tensorrt_plan\"", "platform \"tensorrt_plan\" is not supported"),
        ("backend: \"python\"", "backend \"python\" is not supported"),
        ("name: \"other\"", "name must be that of the folder, \"m\", got \"other\""),
        ("\nsequence_batching { }", "line 2, column 1: sequence_batching is not supported"),
        ("ensemble_scheduling { step { model_name: \"a\" } }", "ensemble_scheduling is not supported"),
        ("batch_input { kind: BATCH_ELEMENT_COUNT }", "batch_input is not supported"),
        ("model_transaction_policy { decoupled: true }", "model_transaction_policy.decoupled is not supported"),
        ("model_repository_agents { agents { name: \"checksum\" } }", "model_repository_agents is not supported"),
        ("default_model_filename: \"../x.onnx\"", "default_model_filename must be the name of a file"),
        ("default_model_filename: \".hidden\"", "must be the name of a file"),
        ("max_batch_size: -1", "max_batch_size must be at least 0, got -1"),
        ("max_batch_size: 5000000000", "max_batch_size must be a whole number from -2147483648 to 2147483647"),
        ("max_batch_size: \"8\"", "max_batch_size must be a whole number from"),
        ("max_batch_size: 1 max_batch_size: 2", "max_batch_size is given twice"),
        ("max_batch_size { }", "got a message"),
        ("name: 3", "name must be a string in quotes, got 3"),
        ("input: 3", "input must be a message in { }, got 3"),
        ("version_policy { latest { } all { } }", "only one of latest and all can be set"),
        ("version_policy { latest { } }", "num_versions must be at least 1"),
        ("version_policy { specific { } }", "names no version"),
        ("version_policy { specific { versions: -1 } }", "must be at least 0, got -1"),
        ("input { data_type: TYPE_FP32 }", "an input has no name"),
        ("input { name: \"x\" dims: 1 }", "input \"x\" has no data_type"),
        ("input { name: \"x\" data_type: TYPE_FP8 }", "must be one of TYPE_INVALID, TYPE_BOOL"),
        ("output { name: \"y\" data_type: TYPE_FP32 dims: 0 }", "must be at least 1, or -1 for any size, got 0"),
        ("input { name: \"x\" data_type: 11 } input { name: \"x\" data_type: 11 }", "is listed twice"),
        ("input { name: \"x\" data_type: 11 dims: 4 reshape { shape: [2, 3] } }", "does not keep the number"),
        ("input { name: \"x\" data_type: 11 dims: [-1, -1] reshape { shape: [-1, -1, 1] } }", "one open dimension"),
        ("input { name: \"x\" data_type: 11 dims: -1 reshape { shape: 3 } }", "does not keep the number"),
        ("output { name: \"y\" data_type: 11 dims: 1 label_filename: \"a/b\" }", "label_filename must be the name"),
        ("max_batch_size: 4 dynamic_batching { preferred_batch_size: 8 }", "at most max_batch_size = 4, got 8"),
        ("max_batch_size: 4 dynamic_batching { preferred_batch_size: 0 }", "at least 1, got 0"),
        ("dynamic_batching { priority_levels: 10 default_priority_level: 1 }", "at most 9, got 10"),
        ("dynamic_batching { priority_levels: 3 }", "from 1 to priority_levels = 3, got 0"),
        ("dynamic_batching { default_priority_level: 1 }", "from 1 to priority_levels = 0, got 1"),
        ("instance_group { count: -1 }", "instance_group.count must be at least 0"),
        ("model_warmup { name: \"w\" batch_size: 2 }", "batch_size must be at most max_batch_size = 0, got 2"),
        ("max_batch_size: 4 model_warmup { name: \"w\" }", "batch_size must be at least 1"),
        ("model_warmup { name: \"w\" count: 1000000 }", "count must be at most 1000"),
        ("model_warmup { inputs { key: \"x\" value { zero_data: true random_data: true } } }", "only one of"),
        ("parameters { key: \"a\" value: { string_value: 3 } }", "parameters.string_value must be a string"),
        ("parameters { kee: \"a\" }", "entries of key and value"),
        ("max_batch_size 8", "line 1, column 16: expected \":\""),
    ] {
        let problem = read(text).expect_err(text);
        assert!(problem.contains(expected), "{text}: {problem}");
    }
}

#[test]
fn the_view_of_triton_s_image_classifier_hides_the_batch_of_one() {
    let graph = graph(&[spec("data_0", &["1", "3", "224", "224"])], &[spec("fc6_1", &["1", "1000", "1", "1"])]);
    let view = View::of(&config(DENSENET), &graph, &[]).unwrap();
    assert_eq!(view.batching, Batching::Whole);
    assert_eq!(view.signature, self::graph(&[spec("data_0", &["3", "224", "224"])], &[spec("fc6_1", &["1000"])]));
    let adapter = view.adapter.unwrap();
    let input = Tensor::zeros(DType::Float32, vec![3, 224, 224]).unwrap();
    assert_eq!(adapter.to_graph(vec![input]).unwrap()[0].shape(), [1, 3, 224, 224]);
    let output = Tensor::zeros(DType::Float32, vec![1, 1000, 1, 1]).unwrap();
    assert_eq!(adapter.to_client(vec![output]).unwrap()[0].shape(), [1000]);
}

#[test]
fn dims_leave_the_batch_out_exactly_when_there_is_one() {
    let of = |text: &str, input: &[&str], output: &[&str]| {
        View::of(&config(text), &graph(&[spec("x", input)], &[spec("y", output)]), &[])
            .map_err(|error| error.to_string())
    };
    let tensors =
        "input { name: \"x\" data_type: TYPE_FP32 dims: [-1, 4] } output { name: \"y\" data_type: TYPE_FP32 dims: 2 }";
    let batched = format!("max_batch_size: 8 {tensors}");
    let view = of(&batched, &["a", "L", "4"], &["b", "2"]).unwrap();
    assert_eq!((view.batching, &view.adapter), (Batching::Any, &None));
    assert_eq!(view.signature, graph(&[spec("x", &["N", "L", "4"])], &[spec("y", &["N", "2"])]));
    let whole = of(tensors, &["L", "4"], &["2"]).unwrap();
    assert_eq!((whole.batching, whole.signature.inputs[0].shape_text().as_str()), (Batching::Whole, "[L, 4]"));
    for (text, input, output, expected) in [
        (
            batched.as_str(),
            &["L", "4"][..],
            &["b", "2"][..],
            "input \"x\" has shape [L, 4] in the graph, the configuration says [-1, -1, 4] (the batch and dims)",
        ),
        (
            &batched,
            &["3", "L", "4"],
            &["3", "2"],
            "max_batch_size is 8, so every tensor must begin with a batch dimension of any size; input \"x\" of the graph has shape [3, L, 4]",
        ),
        (&batched, &["N", "L", "5"], &["N", "2"], "input \"x\" has shape [N, L, 5]"),
        (
            &batched,
            &["N", "L", "4"],
            &["N", "3"],
            "output \"y\" has shape [N, 3] in the graph, the configuration says [-1, 2]",
        ),
        (tensors, &["N", "L", "4"], &["N", "2"], "the configuration says [-1, 4]"),
        (
            "input { name: \"z\" data_type: TYPE_FP32 dims: 4 }",
            &["4"],
            &["4"],
            "the graph has no input \"z\"; it has \"x\"",
        ),
        (
            "output { name: \"z\" data_type: TYPE_FP32 dims: 4 }",
            &["4"],
            &["4"],
            "the graph has no output \"z\"; it has \"y\"",
        ),
        (
            "input { name: \"x\" data_type: TYPE_INT64 dims: 4 }",
            &["4"],
            &["4"],
            "is of TYPE_FP32 in the graph, the configuration says TYPE_INT64",
        ),
    ] {
        let problem = of(text, input, output).expect_err(text);
        assert!(problem.contains(expected), "{text}: {problem}");
    }
}

#[test]
fn inputs_are_all_listed_or_none_and_outputs_are_picked() {
    let graph = graph(&[spec("a", &["N"]), spec("b", &["N"])], &[spec("y", &["N"]), spec("z", &["N", "2"])]);
    let one_input = config("input { name: \"a\" data_type: TYPE_FP32 dims: -1 }");
    let problem = View::of(&one_input, &graph, &[]).unwrap_err().to_string();
    assert!(problem.contains("input \"b\" of the graph is not listed"), "{problem}");
    let picked = config(
        "max_batch_size: 4 output [{ name: \"z\" data_type: TYPE_FP32 dims: 2 }, { name: \"y\" data_type: TYPE_FP32 dims: 1 reshape { shape: [] } }]",
    );
    let view = View::of(&picked, &graph, &[]).unwrap();
    let names: Vec<&str> = view.signature.outputs.iter().map(|spec| spec.name.as_str()).collect();
    assert_eq!((names, view.signature.outputs[1].shape_text()), (vec!["z", "y"], "[N, 1]".into()));
    let adapter = view.adapter.unwrap();
    let (y, z) = (Tensor::new(vec![3], vec![1f32; 3]), Tensor::new(vec![3, 2], vec![2f32; 6]));
    let given = adapter.to_client(vec![y.unwrap(), z.unwrap()]).unwrap();
    assert_eq!((given[0].shape(), given[1].shape()), (&[3, 2][..], &[3, 1][..]));
    assert_eq!((adapter.graph_output(0), adapter.graph_output(1)), (1, 0));
}

#[test]
fn one_open_dimension_takes_what_is_left() {
    let text =
        "max_batch_size: 4 input { name: \"x\" data_type: TYPE_FP32 dims: [-1, 6] reshape { shape: [2, -1, 3] } }";
    let view = View::of(&config(text), &graph(&[spec("x", &["N", "2", "L", "3"])], &[spec("y", &["N"])]), &[]).unwrap();
    assert_eq!(view.signature.inputs[0].shape_text(), "[N, x_0, 6]");
    let input = Tensor::new(vec![2, 5, 6], vec![0f32; 60]).unwrap();
    assert_eq!(view.adapter.unwrap().to_graph(vec![input]).unwrap()[0].shape(), [2, 2, 5, 3]);
}

#[test]
fn the_configuration_is_printed_as_triton_prints_it() {
    let name = "m".parse().unwrap();
    let server = crate::config::ServeOptions::default().resolve().unwrap().serving.scheduling;
    let signature = graph(&[spec("x", &["N", "4"])], &[spec("y", &["N", "2"])]);
    let served = Served {
        name: &name,
        signature: &signature,
        shares_runs: true,
        max_samples: 256,
        settings: &server,
        joins: true,
        concurrency: 2,
        model_file: "model.onnx",
    };
    let tensor = |name: &str, size: i64| json!({"name": name, "data_type": "TYPE_FP32", "dims": [size], "is_shape_tensor": false, "is_non_linear_format_io": false});
    let (mut input, mut output) = (tensor("x", 4), tensor("y", 2));
    for (key, value) in
        [("format", json!("FORMAT_NONE")), ("allow_ragged_batch", json!(false)), ("optional", json!(false))]
    {
        input[key] = value;
    }
    output["label_filename"] = json!("");
    let batching = json!({
        "preferred_batch_size": [], "max_queue_delay_microseconds": 0, "preserve_ordering": false,
        "priority_levels": 9, "default_priority_level": 5, "priority_queue_policy": {},
    });
    let mut expected = json!({
        "name": "m", "platform": "onnxruntime_onnx", "backend": "onnxruntime", "runtime": "",
        "max_batch_size": 256, "input": [input], "output": [output], "batch_input": [], "batch_output": [],
        "dynamic_batching": batching, "default_model_filename": "model.onnx",
        "instance_group": [{"name": "m_0", "kind": "KIND_CPU", "count": 2, "gpus": [], "secondary_devices": [],
                            "profile": [], "passive": false, "host_policy": ""}],
        "cc_model_filenames": {}, "metric_tags": {}, "parameters": {}, "model_warmup": [],
    });
    let printed = |given: Option<&ModelConfig>| serde_json::to_value(ModelConfig::completed(given, served)).unwrap();
    assert_eq!(printed(None), expected);
    let given = config(
        r#"max_batch_size: 8 parameters { key: "k" value { string_value: "v" } }
           model_warmup { name: "w" batch_size: 1 inputs { key: "x" value { data_type: TYPE_FP32 dims: 4 zero_data: true } } }"#,
    );
    expected.as_object_mut().unwrap().remove("dynamic_batching");
    expected["version_policy"] = json!({"latest": {"num_versions": 1}});
    expected["max_batch_size"] = json!(8);
    expected["parameters"] = json!({"k": {"string_value": "v"}});
    let input = json!({"data_type": "TYPE_FP32", "dims": [4], "zero_data": true});
    expected["model_warmup"] = json!([{"name": "w", "batch_size": 1, "inputs": {"x": input}, "count": 0}]);
    assert_eq!(printed(Some(&given)), expected);
}

#[test]
fn data_types_are_numbered_and_named_as_in_triton() {
    for (index, name) in DataType::NAMES.iter().enumerate() {
        let parsed: DataType = serde_json::from_value(json!(name)).unwrap();
        assert_eq!((parsed as usize, parsed.name()), (index, *name));
        assert!(parsed.dtype().is_none_or(|dtype| DataType::from(dtype) == parsed));
    }
}

#[test]
fn model_toml_wins_table_by_table_and_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let model = folder.path().join("m");
    std::fs::create_dir(&model).unwrap();
    std::fs::write(model.join(CONFIG_FILE), "max_batch_size: 8 dynamic_batching {} instance_group { count: 3 }")
        .unwrap();
    std::fs::write(model.join("model.toml"), "[batching]\nmax_batch_size = 2\n").unwrap();
    let settings = ModelSettings::read(&"m".parse().unwrap(), &Files::from(&model)).unwrap();
    let server = crate::config::ServeOptions::default().resolve().unwrap().serving.scheduling;
    let both = settings.scheduling_over(&server);
    assert_eq!((both.max_batch_size, both.concurrency), (Some(2), Some(3)));
    let note = settings.warnings().unwrap();
    assert_eq!(note, "config.pbtxt: model.toml is there as well and wins table by table: batching");
    std::fs::write(model.join(CONFIG_FILE), [0xff, 0xfe]).unwrap();
    assert!(
        ModelSettings::read(&"m".parse().unwrap(), &Files::from(&model)).unwrap_err().to_string().contains("not UTF-8")
    );
    std::fs::write(model.join(CONFIG_FILE), vec![b' '; (1 << 20) + 1]).unwrap();
    assert!(
        ModelSettings::read(&"m".parse().unwrap(), &Files::from(&model))
            .unwrap_err()
            .to_string()
            .contains("larger than the limit")
    );
}
