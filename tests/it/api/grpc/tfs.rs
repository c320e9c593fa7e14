//! TensorFlow Serving.

use prost::Message;
use tonic::{Code, Request};
use weir::api::grpc::pb::tensorflow::serving::model_service_client::ModelServiceClient;
use weir::api::grpc::pb::tensorflow::serving::prediction_service_client::PredictionServiceClient;
use weir::api::grpc::pb::tensorflow::serving::{
    ClassificationRequest, Classifications, ExampleList, GetModelMetadataRequest, GetModelStatusRequest, InferenceTask,
    Input, ModelConfig, ModelConfigList, ModelServerConfig, ModelSpec, MultiInferenceRequest, PredictRequest,
    RegressionRequest, ReloadConfigRequest, SignatureDefMap, inference_result, input, model_server_config, model_spec,
    model_version_status,
};
use weir::api::grpc::pb::tensorflow::tensor_shape_proto::Dim;
use weir::api::grpc::pb::tensorflow::{
    BytesList, Example, Feature, Features, FloatList, TensorProto, TensorShapeProto, feature,
};

use super::{calls, le_bytes};
use crate::fixtures::{add_bare_model, bare_model, half_plus_two, mnist, png_of_test_image};
use crate::support::TestApp;

pub(crate) const FLOAT: i32 = 1;
const STRING: i32 = 7;

pub(crate) fn predictions(app: &TestApp) -> PredictionServiceClient<weir::api::grpc::Services> {
    PredictionServiceClient::new(app.services.clone())
}

fn spec(name: &str) -> Option<ModelSpec> {
    Some(ModelSpec { name: name.into(), ..ModelSpec::default() })
}

pub(crate) fn tensor(dtype: i32, dims: &[i64]) -> TensorProto {
    let dim = dims.iter().map(|size| Dim { size: *size, name: String::new() }).collect();
    let tensor_shape = Some(TensorShapeProto { dim, unknown_rank: false });
    TensorProto { dtype, tensor_shape, ..TensorProto::default() }
}

pub(crate) fn predict(model: &str, input: &str, tensor: TensorProto) -> PredictRequest {
    PredictRequest { model_spec: spec(model), inputs: [(input.to_owned(), tensor)].into(), output_filter: vec![] }
}

/// Test images as one tensor of numbers.
fn pixels(count: usize) -> Vec<f32> {
    (0..count).flat_map(|index| crate::fixtures::pixels(&mnist().test, index)).map(|pixel| f32::from(*pixel)).collect()
}

fn example(kind: feature::Kind) -> Example {
    let feature = [("image".to_owned(), Feature { kind: Some(kind) })].into();
    Example { features: Some(Features { feature }) }
}

fn example_list(examples: Vec<Example>) -> Option<Input> {
    Some(Input { kind: Some(input::Kind::ExampleList(ExampleList { examples })) })
}

fn favourite(classes: &Classifications) -> &str {
    &classes.classes.iter().max_by(|a, b| a.score.total_cmp(&b.score)).unwrap().label
}

#[tokio::test]
async fn predict_takes_numbers_typed_and_packed_and_images() {
    let app = TestApp::start().await;
    let mut client = predictions(&app);
    let shape = [2, 1, 28, 28];
    let typed = TensorProto { float_val: pixels(2), ..tensor(FLOAT, &shape) };
    let packed = TensorProto { tensor_content: le_bytes(&pixels(2)).into(), ..tensor(FLOAT, &shape) };
    let images = (0..2).map(|index| png_of_test_image(index).into()).collect();
    let images = TensorProto { string_val: images, ..tensor(STRING, &[2]) };
    for tensor in [typed, packed, images] {
        let response = client.predict(predict("mnist-mlp", "image", tensor)).await.unwrap().into_inner();
        let spec = response.model_spec.unwrap();
        assert_eq!((spec.name.as_str(), spec.signature_name.as_str()), ("mnist-mlp", "serving_default"));
        assert_eq!(spec.version_choice, Some(model_spec::VersionChoice::Version(1)));
        let probabilities = &response.outputs["probabilities"];
        assert_eq!(
            probabilities.tensor_shape.as_ref().unwrap().dim.iter().map(|dim| dim.size).collect::<Vec<_>>(),
            [2, 10]
        );
        let largest = |row: &[f32]| (0..10).max_by(|a, b| row[*a].total_cmp(&row[*b])).unwrap();
        assert_eq!(probabilities.float_val.chunks(10).map(largest).collect::<Vec<_>>(), [7, 2]);
        assert!(response.outputs.contains_key("logits"));
    }
    let mut filtered =
        predict("mnist-mlp", "image", TensorProto { float_val: pixels(1), ..tensor(FLOAT, &[1, 1, 28, 28]) });
    filtered.output_filter = vec!["logits".into()];
    let response = client.predict(filtered).await.unwrap().into_inner();
    assert_eq!(response.outputs.keys().collect::<Vec<_>>(), ["logits"]);
    assert_eq!(calls(&app, "tfserving", "ok"), 4.0);
}

#[tokio::test]
async fn the_last_number_stands_for_those_that_are_missing() {
    let app = TestApp::with_temp(bare_model("half", &half_plus_two()), |_| {}).await;
    let some = TensorProto { float_val: vec![2.0, 4.0], ..tensor(FLOAT, &[4, 1]) };
    let response = predictions(&app).predict(predict("half", "x", some)).await.unwrap().into_inner();
    assert_eq!(response.outputs["y"].float_val, [3.0, 4.0, 4.0, 4.0]);
}

#[tokio::test]
async fn classify_and_regress_read_examples() {
    let app = TestApp::start().await;
    let mut client = predictions(&app);
    let numbers = example(feature::Kind::FloatList(FloatList { value: pixels(1) }));
    let image = example(feature::Kind::BytesList(BytesList { value: vec![png_of_test_image(1).into()] }));
    for (example, label) in [(numbers.clone(), "7"), (image, "2")] {
        let request = ClassificationRequest { model_spec: spec("mnist-mlp"), input: example_list(vec![example]) };
        let result = client.classify(request).await.unwrap().into_inner().result.unwrap();
        assert_eq!(result.classifications[0].classes.len(), 10);
        assert_eq!(favourite(&result.classifications[0]), label);
    }
    let regress = RegressionRequest { model_spec: spec("mnist-mlp"), input: example_list(vec![numbers.clone()]) };
    assert_eq!(client.regress(regress).await.unwrap_err().code(), Code::InvalidArgument);
    let task = |method: &str| InferenceTask { model_spec: spec("mnist-mlp"), method_name: method.into() };
    let several = MultiInferenceRequest {
        tasks: vec![task("tensorflow/serving/classify"), task("tensorflow/serving/classify")],
        input: example_list(vec![numbers.clone()]),
    };
    let results = client.multi_inference(several.clone()).await.unwrap().into_inner().results;
    assert_eq!(results.len(), 2);
    let Some(inference_result::Result::ClassificationResult(result)) = &results[1].result else {
        panic!("{results:?}")
    };
    assert_eq!(favourite(&result.classifications[0]), "7");
    let unknown = MultiInferenceRequest { tasks: vec![task("other")], ..several.clone() };
    assert_eq!(client.multi_inference(unknown).await.unwrap_err().code(), Code::Unimplemented);
    let none = MultiInferenceRequest { tasks: vec![], ..several };
    assert_eq!(client.multi_inference(none).await.unwrap_err().code(), Code::InvalidArgument);
}

#[tokio::test]
async fn regress_answers_one_number_for_each_example() {
    let app = TestApp::with_temp(bare_model("half", &half_plus_two()), |_| {}).await;
    let feature = |number: f32| {
        let kind = Some(feature::Kind::FloatList(FloatList { value: vec![number] }));
        Example { features: Some(Features { feature: [("x".to_owned(), Feature { kind })].into() }) }
    };
    let input = example_list(vec![feature(2.0), feature(6.0)]);
    let request = RegressionRequest { model_spec: spec("half"), input };
    let result = predictions(&app).regress(request).await.unwrap().into_inner().result.unwrap();
    assert_eq!(result.regressions.iter().map(|regression| regression.value).collect::<Vec<_>>(), [3.0, 5.0]);
}

#[tokio::test]
async fn metadata_is_the_signature() {
    let app = TestApp::start().await;
    let ask = |fields: &[&str]| GetModelMetadataRequest {
        model_spec: spec("mnist-mlp"),
        metadata_field: fields.iter().map(|field| (*field).to_owned()).collect(),
    };
    let mut client = predictions(&app);
    let response = client.get_model_metadata(ask(&["signature_def"])).await.unwrap().into_inner();
    let any = &response.metadata["signature_def"];
    assert_eq!(any.type_url, "type.googleapis.com/tensorflow.serving.SignatureDefMap");
    let map = SignatureDefMap::decode(&any.value[..]).unwrap();
    let signature = &map.signature_def["serving_default"];
    assert_eq!(
        (signature.inputs["image"].dtype, signature.method_name.as_str()),
        (FLOAT, "tensorflow/serving/predict")
    );
    let dims = &signature.inputs["image"].tensor_shape.as_ref().unwrap().dim;
    assert_eq!(dims.iter().map(|dim| dim.size).collect::<Vec<_>>(), [-1, 1, 28, 28]);
    for fields in [&[][..], &["other"]] {
        assert_eq!(client.get_model_metadata(ask(fields)).await.unwrap_err().code(), Code::InvalidArgument);
    }
}

#[tokio::test]
async fn what_is_wrong_is_said_and_harms_nothing() {
    let app = TestApp::start().await;
    let mut client = predictions(&app);
    let good = || predict("mnist-mlp", "image", TensorProto { float_val: pixels(1), ..tensor(FLOAT, &[1, 1, 28, 28]) });
    let change = |change: fn(&mut PredictRequest)| {
        let mut request = good();
        change(&mut request);
        request
    };
    let version =
        |choice| Some(ModelSpec { name: "mnist-mlp".into(), version_choice: Some(choice), ..ModelSpec::default() });
    let mut labelled = good();
    labelled.model_spec = version(model_spec::VersionChoice::VersionLabel("nowhere".into()));
    let mut negative = good();
    negative.model_spec = version(model_spec::VersionChoice::Version(-1));
    let mut absent = good();
    absent.model_spec = version(model_spec::VersionChoice::Version(9));
    for (request, code) in [
        (change(|request| request.model_spec = None), Code::InvalidArgument),
        (change(|request| request.model_spec = spec("nobody")), Code::NotFound),
        (change(|request| request.model_spec.as_mut().unwrap().signature_name = "x".into()), Code::InvalidArgument),
        (change(|request| request.inputs.clear()), Code::InvalidArgument),
        (change(|request| drop(request.inputs.insert("more".into(), tensor(FLOAT, &[1])))), Code::InvalidArgument),
        (change(|request| request.output_filter = vec!["x".into()]), Code::InvalidArgument),
        (change(|request| request.output_filter = vec!["logits".into(); 2]), Code::InvalidArgument),
        (change(|request| request.inputs.get_mut("image").unwrap().dtype = 2), Code::InvalidArgument),
        (change(|request| request.inputs.get_mut("image").unwrap().dtype = 99), Code::InvalidArgument),
        (
            change(|request| drop(request.inputs.insert("image".into(), tensor(FLOAT, &[1 << 40])))),
            Code::InvalidArgument,
        ),
        (labelled, Code::InvalidArgument),
        (negative, Code::InvalidArgument),
        (absent, Code::NotFound),
    ] {
        let status = client.predict(request).await.unwrap_err();
        assert_eq!(status.code(), code, "{status}");
    }
    app.assert_unharmed().await;
}

fn config(names: &[&str], labels: &[(&str, i64)]) -> ReloadConfigRequest {
    let version_labels: std::collections::BTreeMap<String, i64> =
        labels.iter().map(|(label, version)| ((*label).to_owned(), *version)).collect();
    let one = |name: &&str| ModelConfig {
        name: (*name).into(),
        base_path: format!("/models/{name}"),
        model_platform: "tensorflow".into(),
        version_labels: version_labels.clone(),
        ..ModelConfig::default()
    };
    let list = ModelConfigList { config: names.iter().map(one).collect() };
    let config = Some(ModelServerConfig { config: Some(model_server_config::Config::ModelConfigList(list)) });
    ReloadConfigRequest { config, metric_names: vec![] }
}

#[tokio::test]
async fn a_configuration_says_what_is_loaded_and_what_labels_mean() {
    let models = bare_model("a", &half_plus_two());
    add_bare_model(models.path(), "a", 2, &half_plus_two());
    add_bare_model(models.path(), "b", 1, &half_plus_two());
    let app = TestApp::with_temp(models, |_| {}).await;
    let mut client = ModelServiceClient::new(app.services.clone());
    client.handle_reload_config_request(config(&["a"], &[("canary", 1)])).await.unwrap();
    let mut labelled = spec("a");
    labelled.as_mut().unwrap().version_choice = Some(model_spec::VersionChoice::VersionLabel("canary".into()));
    let status = client.get_model_status(GetModelStatusRequest { model_spec: labelled }).await.unwrap().into_inner();
    let available = model_version_status::State::Available;
    assert_eq!((status.model_version_status[0].version, status.model_version_status[0].state()), (1, available));
    let all = client.get_model_status(GetModelStatusRequest { model_spec: spec("a") }).await.unwrap().into_inner();
    assert_eq!(all.model_version_status.iter().map(|status| status.version).collect::<Vec<_>>(), [2, 1]);
    let gone = client.get_model_status(GetModelStatusRequest { model_spec: spec("b") }).await.unwrap().into_inner();
    assert_ne!(gone.model_version_status[0].state(), available);
    // What fails changes nothing.
    let failed = client.handle_reload_config_request(config(&["b", "nobody"], &[])).await.unwrap_err();
    assert_eq!(failed.code(), Code::NotFound);
    let still = client.get_model_status(GetModelStatusRequest { model_spec: spec("a") }).await.unwrap().into_inner();
    assert_eq!(still.model_version_status[0].state(), available);
}

#[tokio::test]
async fn a_configuration_is_for_administrators() {
    let app = TestApp::with(&crate::support::bundled_models(), |options| {
        options.admin = Some(weir::config::Callers::Off);
    })
    .await;
    let mut client = ModelServiceClient::new(app.services.clone());
    let refused = client.handle_reload_config_request(Request::new(config(&["mnist-mlp"], &[]))).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
}
