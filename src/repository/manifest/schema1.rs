//! Manifests of schema 1, which told the task of figures and golden examples by which of their fields were there.

use serde::Deserialize;
use serde::de::Error as _;
use serde_json::{Error, Value};

use super::{
    ClassificationQuality, Example, Golden, GoldenAnswer, GoldenReconstruction, MANIFEST_SCHEMA, Manifest, Quality,
    ReconstructionQuality, RegressionQuality,
};
use crate::signature::Task;
use crate::stats::{Evaluation, LikelihoodEvaluation, ReferenceScores, Summary};

#[derive(Default, Deserialize)]
struct Metrics {
    training: Option<Summary>,
    validation: Option<Summary>,
    test: Option<Evaluation>,
    likelihood: Option<LikelihoodEvaluation>,
    scores: Option<ReferenceScores>,
    regression: Option<RegressionQuality>,
}

#[derive(Deserialize)]
struct Example1 {
    #[serde(default)]
    image: String,
    #[serde(default)]
    features: Vec<Option<f32>>,
    #[serde(default)]
    probabilities: Vec<f32>,
    value: Option<f32>,
    reconstruction: Option<GoldenReconstruction>,
}

/// Reads a manifest of schema 1 as one of [`MANIFEST_SCHEMA`].
///
/// # Errors
/// Those of JSON, and one that names a golden example without an answer.
pub(super) fn parse(bytes: &[u8]) -> Result<Manifest, Error> {
    let mut document: Value = serde_json::from_slice(bytes)?;
    let mut take = |field: &str| document.as_object_mut().and_then(|fields| fields.remove(field));
    let metrics = take("metrics").map(serde_json::from_value).transpose()?.unwrap_or_default();
    let golden: Vec<Example1> = take("golden").map(serde_json::from_value).transpose()?.unwrap_or_default();
    let mut manifest: Manifest = serde_json::from_value(document)?;
    let task = manifest.transform.output.task();
    manifest.manifest_schema = MANIFEST_SCHEMA;
    manifest.metrics = quality(task, metrics);
    for (index, example) in golden.into_iter().enumerate() {
        let missing = || Error::custom(format!("golden example {index} has no answer for the task {task}"));
        manifest.golden.push(converted(task, example).ok_or_else(missing)?);
    }
    Ok(manifest)
}

fn quality(task: Task, metrics: Metrics) -> Option<Quality> {
    let Metrics { training, validation, test, likelihood, scores, regression } = metrics;
    match task {
        Task::Classification if training.is_none() && validation.is_none() && test.is_none() => None,
        Task::Classification => Some(Quality::Classification(ClassificationQuality { training, validation, test })),
        Task::Regression => regression.map(Quality::Regression),
        Task::Reconstruction if likelihood.is_none() && scores.is_none() => None,
        Task::Reconstruction => Some(Quality::Reconstruction(ReconstructionQuality { test: likelihood, scores })),
        Task::Raw => None,
    }
}

/// The example with its answer for the task; `None` if it has none.
fn converted(task: Task, example: Example1) -> Option<Golden> {
    let Example1 { image, features, probabilities, value, reconstruction } = example;
    let answer = match task {
        Task::Classification if probabilities.is_empty() => return None,
        Task::Classification => GoldenAnswer::Classification { probabilities },
        Task::Regression => GoldenAnswer::Regression { value: f64::from(value?), tolerance: None },
        Task::Reconstruction => GoldenAnswer::Reconstruction(reconstruction?),
        Task::Raw => return None,
    };
    Some(Golden { input: Example::of_fields(image, features), answer })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bundled(model: &str) -> Vec<u8> {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/manifests_of_schema_1");
        std::fs::read(format!("{folder}/{model}.json")).unwrap()
    }

    /// The fields that a conversion must leave alone.
    fn rest(document: &Value) -> Value {
        let mut rest = document.clone();
        let fields = rest.as_object_mut().unwrap();
        fields.retain(|field, _| !["manifest_schema", "metrics", "golden"].contains(&field.as_str()));
        rest
    }

    #[test]
    fn bundled_manifests_keep_their_figures_and_examples() {
        for model in ["mnist-cnn", "mnist-lstm", "mnist-mlp", "mnist-vae"] {
            let before: Value = serde_json::from_slice(&bundled(model)).unwrap();
            let manifest = Manifest::parse(&bundled(model)).unwrap();
            let text = serde_json::to_string(&manifest).unwrap();
            assert_eq!(Manifest::parse(text.as_bytes()).unwrap(), manifest, "{model}");
            let after: Value = serde_json::from_str(&text).unwrap();
            assert_eq!((rest(&before), after["manifest_schema"].as_u64()), (rest(&after), Some(2)), "{model}");
            let is_autoencoder = model == "mnist-vae";
            let task = if is_autoencoder { "reconstruction" } else { "classification" };
            let mut figures = before["metrics"].clone();
            if is_autoencoder {
                let test = figures.as_object_mut().unwrap().remove("likelihood").unwrap();
                figures["test"] = test;
            }
            figures["task"] = task.into();
            assert_eq!(after["metrics"], figures, "{model}");
            let (old, new) = (before["golden"].as_array().unwrap(), after["golden"].as_array().unwrap());
            assert_eq!(old.len(), new.len(), "{model}");
            for (old, new) in old.iter().zip(new) {
                assert_eq!((&new["input"]["kind"], &new["input"]["png"]), (&"image".into(), &old["image"]), "{model}");
                assert_eq!(new["answer"]["task"], task, "{model}");
                match is_autoencoder {
                    true => assert_eq!(new["answer"]["code"], old["reconstruction"]["code"]),
                    false => assert_eq!(new["answer"]["probabilities"], old["probabilities"]),
                }
            }
        }
    }

    /// The manifest of a bundled model as one of another output, with these figures and examples.
    fn altered(output: &Value, metrics: Value, golden: Value) -> crate::error::Result<Manifest> {
        let mut document: Value = serde_json::from_slice(&bundled("mnist-mlp")).unwrap();
        document["transform"] = serde_json::json!({ "output": output });
        (document["metrics"], document["golden"]) = (metrics, golden);
        Manifest::parse(document.to_string().as_bytes())
    }

    #[test]
    fn rows_and_numbers_are_converted_and_what_contradicts_itself_is_refused() {
        let number = serde_json::json!({"kind": "regression", "value": "value"});
        let nothing = || Value::Object(serde_json::Map::new());
        let golden = serde_json::json!([{"features": [1.5, null], "value": 3.5}]);
        let manifest = altered(&number, nothing(), golden).unwrap();
        assert_eq!(manifest.metrics, None);
        let [Golden { input, answer }] = manifest.golden.as_slice() else { panic!("one example") };
        assert_eq!(*input, Example::Elements { values: vec![Some(1.5), None] });
        assert_eq!(*answer, GoldenAnswer::Regression { value: 3.5, tolerance: None });
        let refused = altered(&number, nothing(), serde_json::json!([{"features": [1.5], "probabilities": [1.0]}]));
        let refused = refused.unwrap_err().to_string();
        assert!(refused.contains("golden example 0 has no answer for the task regression"), "{refused}");

        let mut document: Value = serde_json::from_slice(&bundled("mnist-vae")).unwrap();
        document["transform"]["output"] = serde_json::json!({"kind": "raw"});
        document["golden"] = Value::Array(Vec::new());
        let raw = Manifest::parse(document.to_string().as_bytes()).unwrap();
        assert_eq!(raw.metrics, None, "nothing is known of the meaning of raw outputs");
        let mut other = serde_json::to_value(Manifest::parse(&bundled("mnist-mlp")).unwrap()).unwrap();
        other["metrics"] = serde_json::json!({"task": "reconstruction"});
        let refused = Manifest::parse(other.to_string().as_bytes()).unwrap_err().to_string();
        assert!(refused.contains("figures of a reconstruction model"), "{refused}");
    }
}
