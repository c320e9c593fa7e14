//! ONNX Runtime beside the built-in engine: the same signatures, the same numbers, every type.
//!
//! These tests need the library, which `WEIR_ONNXRUNTIME` names in the environment (beside
//! `ORT_DISABLE_TELEMETRY=1`); without it they say so and pass.

mod arguments;
mod converters;
mod demands;
mod endless;
mod ml;
mod served;
mod shapes;
mod values;

use std::path::PathBuf;

use half::{bf16, f16};
use serde_json::json;
use weir::app::StopReason;
use weir::engine::{EngineKind, Engines, Plan};
use weir::signature::{Batching, DType};
use weir::tensor::{Data, Tensor};

use crate::fixtures::{
    Edge, bare_model, constant, half_plus_two, model, nan_on_minus_one, node, onnx, panics_on_seven, png_of_test_image,
    slow,
};
use crate::support::{TestApp, bundled_models};

const FLOAT: i32 = 1;

/// The library of ONNX Runtime, or a word that there is none.
pub(crate) fn onnxruntime() -> Option<PathBuf> {
    let library = std::env::var_os("WEIR_ONNXRUNTIME").map(PathBuf::from);
    match library {
        Some(library) => {
            assert!(std::env::var_os("ORT_DISABLE_TELEMETRY").is_some(), "set ORT_DISABLE_TELEMETRY=1 with it");
            Some(library)
        }
        None => {
            eprintln!("not tested: WEIR_ONNXRUNTIME names no library of ONNX Runtime");
            None
        }
    }
}

/// The model in both engines.
fn both(library: PathBuf, onnx: &[u8]) -> [Plan; 2] {
    let engines = Engines::new(Some(library));
    [EngineKind::Tract, EngineKind::OnnxRuntime].map(|engine| engines.load(engine, onnx).unwrap())
}

fn run(plan: &Plan, inputs: &[Tensor]) -> Vec<Tensor> {
    plan.session().unwrap().run(inputs).unwrap()
}

/// A graph that Det is all of, which the built-in engine does not know.
pub(crate) fn only_in_onnxruntime() -> Vec<u8> {
    onnx(&[2, 2], vec![node("Det", &["x"], "y")], Vec::new())
}

#[test]
fn the_bundled_model_answers_alike_in_both() {
    let Some(library) = onnxruntime() else { return };
    let onnx = std::fs::read(bundled_models().join("mnist-mlp/1/model.onnx")).unwrap();
    let [tract, ort] = both(library, &onnx);
    assert_eq!(tract.signature(), ort.signature());
    assert_eq!((tract.engine().name(), ort.engine().name()), ("tract", "onnxruntime"));
    for batch in [0, 1, 7, 64] {
        let shape = tract.signature().inputs[0].sample_shape().unwrap();
        let shape: Vec<usize> = std::iter::once(batch).chain(shape).collect();
        let pixels = (0..shape.iter().product()).map(|pixel: usize| (pixel * 37 % 256) as f32).collect();
        let input = [Tensor::new(shape, pixels).unwrap()];
        for (a, b) in run(&tract, &input).iter().zip(run(&ort, &input)) {
            assert_eq!(a.shape(), b.shape());
            let (a, b) = (a.floats().unwrap(), b.floats().unwrap());
            assert!(a.iter().zip(b).all(|(a, b)| (a - b).abs() <= 1e-4 * a.abs().max(1.0)), "batch {batch}");
        }
    }
}

#[test]
fn signatures_are_alike_in_both() {
    let Some(library) = onnxruntime() else { return };
    let negated = |inputs: &[Edge<'_>]| {
        let names: Vec<String> = (0..inputs.len()).map(|index| format!("y{index}")).collect();
        let nodes = inputs.iter().zip(&names).map(|((name, ..), output)| node("Neg", &[name], output)).collect();
        let outputs: Vec<Edge<'_>> =
            inputs.iter().zip(&names).map(|((_, dtype, dims), name)| (name.as_str(), *dtype, *dims)).collect();
        model(inputs, &outputs, nodes, Vec::new(), 18)
    };
    let shapes: [&[&[&str]]; 9] = [
        &[&["batch", "3"]],
        &[&["?", "3"]],
        &[&["batch", "sequence"]],
        &[&["8", "3"]],
        &[&["batch", "3"], &["batch"]],
        &[&["batch", "3"], &["?", "2"]],
        &[&["a", "3"], &["b", "3"]],
        &[&[]],
        &[&["batch", "3"], &[]],
    ];
    for shapes in shapes {
        let inputs: Vec<Edge<'_>> =
            ["a", "b"].iter().zip(shapes).map(|(name, dims)| (*name, FLOAT, Some(*dims))).collect();
        let [tract, ort] = both(library.clone(), &negated(&inputs));
        assert_eq!(tract.signature(), ort.signature(), "{shapes:?}");
    }
    for file in [half_plus_two(), nan_on_minus_one(), panics_on_seven(), slow()] {
        let [tract, ort] = both(library.clone(), &file);
        assert_eq!(tract.signature(), ort.signature());
    }
}

#[test]
fn a_batch_that_the_graph_does_not_bear_is_one() {
    let Some(library) = onnxruntime() else { return };
    let nodes = vec![node("Add", &["x", "c"], "y")];
    let file = onnx(&[2], nodes, vec![constant("c", &[2, 2], &[1.0; 4])]);
    let plan = Engines::new(Some(library)).load(EngineKind::OnnxRuntime, &file).unwrap();
    // Rows do not come out as they went in, so nothing is batched.
    assert_eq!(plan.signature().batching(), Batching::Whole, "{:?}", plan.signature());
}

#[test]
fn every_type_goes_in_and_comes_out() {
    let Some(library) = onnxruntime() else { return };
    let halves = [0.5f32, -2.0, f32::INFINITY, 6.1e-5, 0.0, 1024.0];
    let tensors = [
        (9, Data::Bool(vec![true, false, true, true, false, false])),
        (2, Data::Uint8(vec![0, 1, 2, 3, 4, u8::MAX])),
        (4, Data::Uint16(vec![0, 1, 2, 3, 4, u16::MAX])),
        (12, Data::Uint32(vec![0, 1, 2, 3, 4, u32::MAX])),
        (13, Data::Uint64(vec![0, 1, 2, 3, 4, u64::MAX])),
        (3, Data::Int8(vec![0, 1, 2, 3, i8::MIN, i8::MAX])),
        (5, Data::Int16(vec![0, 1, 2, 3, i16::MIN, i16::MAX])),
        (6, Data::Int32(vec![0, 1, 2, 3, i32::MIN, i32::MAX])),
        (7, Data::Int64(vec![0, 1, 2, 3, i64::MIN, i64::MAX])),
        (10, Data::Float16(halves.map(f16::from_f32).to_vec())),
        (16, Data::Bfloat16(halves.map(bf16::from_f32).to_vec())),
        (1, Data::Float32(halves.to_vec())),
        (11, Data::Float64(halves.map(f64::from).to_vec())),
        (8, Data::String(["", "a", "ä€🦀", "\"", "\n", "long ".repeat(99).as_str()].map(String::from).to_vec())),
    ];
    let engines = Engines::new(Some(library));
    for (number, data) in tensors {
        let dims: Option<&[&str]> = Some(&["N", "3"]);
        let nodes = vec![node("Identity", &["x"], "y")];
        let file = model(&[("x", number, dims)], &[("y", number, dims)], nodes, Vec::new(), 18);
        let plan = engines.load(EngineKind::OnnxRuntime, &file).unwrap();
        let dtype = data.dtype();
        assert_eq!((plan.signature().inputs[0].dtype, plan.signature().outputs[0].dtype), (dtype, dtype));
        assert_eq!(plan.signature().batching(), Batching::Any);
        let mut session = plan.session().unwrap();
        let none = Tensor::zeros(dtype, vec![0, 3]).unwrap();
        for tensor in [Tensor::from_data(vec![2, 3], data).unwrap(), none] {
            assert_eq!(session.run(std::slice::from_ref(&tensor)).unwrap(), [tensor], "{dtype}");
        }
        if dtype == DType::String {
            let nul = Tensor::new(vec![1, 3], vec![String::new(), "\0".into(), String::new()]).unwrap();
            assert!(session.run(&[nul]).unwrap_err().to_string().contains("NUL"));
        }
    }
}

#[test]
fn several_tensors_scalars_and_failures_are_told_apart() {
    let Some(library) = onnxruntime() else { return };
    let nodes = vec![node("Mul", &["x", "factor"], "scaled"), node("Add", &["x", "b"], "sum")];
    let file = model(
        &[("x", FLOAT, Some(&["N", "2"])), ("b", FLOAT, Some(&["N", "2"])), ("factor", FLOAT, Some(&[]))],
        &[("scaled", FLOAT, None), ("sum", FLOAT, None)],
        nodes,
        Vec::new(),
        18,
    );
    let [tract, ort] = both(library.clone(), &file);
    assert_eq!(tract.signature(), ort.signature());
    let inputs = [
        Tensor::new(vec![2, 2], vec![1.0f32, 2.0, 3.0, 4.0]).unwrap(),
        Tensor::new(vec![2, 2], vec![10.0f32; 4]).unwrap(),
        Tensor::new(vec![], vec![0.5f32]).unwrap(),
    ];
    assert_eq!(run(&tract, &inputs), run(&ort, &inputs));
    let mut session = ort.session().unwrap();
    assert!(session.run(&inputs[..1]).is_err(), "inputs are missing");
    let wrong = [inputs[0].clone(), inputs[1].slice_rows(0..0), inputs[2].clone()];
    assert!(session.run(&wrong).is_err(), "shapes differ");
    assert_eq!(session.run(&inputs).unwrap(), run(&tract, &inputs), "the session is unharmed");
    let [_, gather] = both(library, &panics_on_seven());
    let mut session = gather.session().unwrap();
    let at = |index: f32| [Tensor::new(vec![1, 1], vec![index]).unwrap()];
    assert!(session.run(&at(7.0)).is_err(), "ONNX Runtime checks the index");
    assert_eq!(session.run(&at(3.0)).unwrap()[0].floats().unwrap(), [3.0]);
}

#[test]
fn threads_have_sessions_of_their_own() {
    let Some(library) = onnxruntime() else { return };
    let [_, plan] = both(library, &half_plus_two());
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let plan = &plan;
            scope.spawn(move || {
                let mut session = plan.session().unwrap();
                for round in 0..100 {
                    let x = (thread * 1000 + round) as f32;
                    let outputs = session.run(&[Tensor::new(vec![1, 1], vec![x]).unwrap()]).unwrap();
                    assert_eq!(outputs[0].floats().unwrap(), [x / 2.0 + 2.0]);
                }
            });
        }
    });
}

#[test]
fn a_library_that_is_not_there_is_an_error_that_says_what_to_do() {
    let folder = tempfile::TempDir::new().unwrap();
    let absent = Engines::new(Some(folder.path().join("absent.so")));
    for error in [absent.onnxruntime().map(drop), absent.load(EngineKind::OnnxRuntime, &half_plus_two()).map(drop)] {
        let message = error.unwrap_err().to_string();
        assert!(message.contains("onnxruntime") && message.contains("names no file"), "{message}");
    }
    assert!(absent.load(EngineKind::Tract, &half_plus_two()).is_ok(), "tract goes on");
}

#[tokio::test]
async fn what_tract_cannot_run_ends_and_says_how_to_give_the_other_engine() {
    let models = bare_model("det", &only_in_onnxruntime());
    let app =
        TestApp::with_temp(models, |options| options.onnxruntime = Some("/nowhere/libonnxruntime.so".into())).await;
    let version = app.get("/models/det").await.json()["versions"][0].clone();
    assert_eq!(version["state"], "END");
    let reason = version["reason"].as_str().unwrap();
    assert!(reason.contains("tract cannot run it") && reason.contains("Det"), "{reason}");
    assert!(reason.contains("ONNX Runtime: the setting names no file"), "{reason}");
    assert!(!reason.contains("/nowhere"), "{reason}");
}

#[tokio::test]
async fn what_tract_cannot_run_is_served_by_the_other_engine() {
    let Some(library) = onnxruntime() else { return };
    let models = bare_model("det", &only_in_onnxruntime());
    crate::fixtures::add_bare_model(models.path(), "half", 1, &half_plus_two());
    let app = TestApp::with_temp(models, |options| options.onnxruntime = Some(library)).await;
    let det = app.get("/models/det").await.json();
    assert_eq!(
        (&det["versions"][0]["state"], &det["versions"][0]["tuning"]["engine"]),
        (&json!("AVAILABLE"), &json!("onnxruntime")),
        "{det}"
    );
    assert_eq!(app.get("/models/half").await.json()["versions"][0]["tuning"]["engine"], "tract");
    let body = json!({"instances": [[[-1.0, 0.0], [0.0, 2.0]], [[2.0, 0.0], [0.0, 2.0]]]});
    let answer = app.post_json("/models/det/predict", &body).await.json();
    assert_eq!(answer["predictions"], json!([{"outputs": {"y": [-2.0]}}, {"outputs": {"y": [4.0]}}]));
}

#[tokio::test]
async fn a_wish_for_an_engine_is_obeyed() {
    let Some(library) = onnxruntime() else { return };
    let app = TestApp::with(&bundled_models(), |options| {
        options.engine = Some(weir::config::EngineChoice::Onnxruntime);
        options.onnxruntime = Some(library);
    })
    .await;
    assert_eq!(app.post("/predict", "image/png", png_of_test_image(0)).await.labels(), ["7"]);
    assert_eq!(app.get("/models/mnist-mlp").await.json()["versions"][0]["tuning"]["engine"], "onnxruntime");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_other_engine_is_measured_when_it_agrees_and_a_choice_of_the_model_is_obeyed() {
    let Some(library) = onnxruntime() else { return };
    let models = bare_model("m", &half_plus_two());
    let state = tempfile::TempDir::new().unwrap();
    let auto = |options: &mut weir::config::ServeOptions| {
        options.tune = Some(true);
        options.onnxruntime = Some(library.clone());
        options.state_dir = Some(state.path().into());
    };
    let app = TestApp::with(models.path(), auto).await;
    let measured = || {
        let files = std::fs::read_dir(state.path().join("tuning")).into_iter().flatten();
        let names = files.map(|file| file.unwrap().file_name().to_string_lossy().into_owned());
        names.filter(|name| name.ends_with(".json") && name.contains("-onnxruntime-")).count()
    };
    crate::support::until("both engines are measured", || measured() == 1).await;
    let answer = app.post_json("/predict", &json!({"instances": [[4.0]]})).await.json();
    assert_eq!(answer["predictions"][0]["outputs"]["y"][0], 4.0);
    drop(app);
    std::fs::write(models.path().join("m/model.toml"), "[engine]\nkind = \"onnxruntime\"").unwrap();
    let app = TestApp::with(models.path(), auto).await;
    let version = app.get("/models/m").await.json()["versions"][0].clone();
    assert_eq!(version["tuning"]["engine"], "onnxruntime", "{version}");
    let answer = app.post_json("/predict", &json!({"instances": [[4.0]]})).await.json();
    assert_eq!(answer["predictions"][0]["outputs"]["y"][0], 4.0);
}

#[tokio::test]
#[cfg(target_arch = "x86_64")]
async fn where_the_engines_disagree_the_reference_answers_from_the_first_request_on() {
    let Some(library) = onnxruntime() else { return };
    // A number that no 32-bit integer holds: the built-in engine takes the nearest one, the reference the least.
    let to = |to: i64| [shapes::int("to", to)];
    let nodes = vec![
        node("Mul", &["x", "large"], "product"),
        shapes::with(node("Cast", &["product"], "integer"), &to(6)),
        shapes::with(node("Cast", &["integer"], "y"), &to(1)),
    ];
    let models = bare_model("m", &onnx(&[1], nodes, vec![constant("large", &[], &[1e20])]));
    let state = tempfile::TempDir::new().unwrap();
    let auto = |options: &mut weir::config::ServeOptions| {
        options.onnxruntime = Some(library.clone());
        options.state_dir = Some(state.path().into());
    };
    let least = |answer: &serde_json::Value| answer["predictions"][0]["outputs"]["y"][0].as_f64().map(|y| y as f32);
    for start in ["compared", "remembered"] {
        let app = TestApp::with(models.path(), auto).await;
        let answer = app.post_json("/predict", &json!({"instances": [[0.5]]})).await.json();
        assert_eq!(least(&answer), Some(i32::MIN as f32), "{start}: {answer}");
        let version = app.get("/models/m").await.json()["versions"][0].clone();
        assert_eq!(version["tuning"]["engine"], "onnxruntime", "{start}: {version}");
        // The next one takes over its state.
        app.stop(StopReason::Interrupt).await;
    }
    let alone = TestApp::with(models.path(), |options| options.engine = Some(weir::config::EngineChoice::Tract)).await;
    let answer = alone.post_json("/predict", &json!({"instances": [[0.5]]})).await.json();
    assert_ne!(least(&answer), Some(i32::MIN as f32), "they would agree: {answer}");
}
