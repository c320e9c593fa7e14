//! Networks of every family: what is exported is what was trained, in both engines, and a run that was
//! interrupted goes on to the same bytes.

use tempfile::TempDir;
use weir::engine::{EngineKind, Engines, Plan};
use weir::error::{Error, Result};
use weir::layers::{Architecture, LayerSpec};
use weir::tensor::Tensor;
use weir::trainer::{
    Classifier, DataOptions, DataSource, EpochReport, Family, FitSettings, FitState, Learns, Network, PRESETS, Preset,
    RunDir, Sizes, StepReport, TaskOptions, TrainRequest, Watch, fit, preset, to_onnx, train,
};

use crate::engine::onnxruntime;
use crate::fixtures::small_data;

/// Lets a run go on for so many steps.
struct Steps(usize);

impl Watch for Steps {
    fn step(&mut self, _: &StepReport) -> bool {
        self.0 -= 1;
        self.0 > 0
    }

    fn epoch(&mut self, _: &EpochReport) -> Result<()> {
        Ok(())
    }
}

fn settings(preset: &weir::trainer::Preset) -> FitSettings {
    let optimizer = preset.optimizer();
    FitSettings { epochs: 2, batch_size: 50, seed: 3, optimizer, regime: preset.regime }
}

/// Layers that no preset has: strides, padding, groups, a batch norm that no convolution can take in, norms by
/// groups, a scale in the middle, means of windows, and no dense layer at the end.
fn odd() -> Architecture {
    let conv = |channels, kernel, stride, padding, groups, bias| LayerSpec::Conv2d {
        channels,
        kernel,
        stride,
        padding,
        groups,
        bias,
    };
    Architecture {
        input: vec![1, 28, 28],
        layers: vec![
            LayerSpec::Rescale { scale: 1.0 / 255.0 },
            LayerSpec::BatchNorm,
            conv(6, 5, 2, 2, 1, true),
            LayerSpec::Dropout { rate: 0.1 },
            LayerSpec::BatchNorm,
            LayerSpec::Relu,
            LayerSpec::Rescale { scale: 2.0 },
            LayerSpec::AveragePool { size: 3, stride: 2 },
            conv(12, 3, 1, 1, 6, false),
            LayerSpec::Relu,
            LayerSpec::BatchNorm,
            LayerSpec::GroupNorm { groups: 4 },
            LayerSpec::Silu,
            LayerSpec::MaxPool { size: 2, stride: 1 },
            conv(10, 1, 1, 0, 1, true),
            LayerSpec::GroupNorm { groups: 1 },
            LayerSpec::BatchNorm,
            LayerSpec::GlobalAveragePool,
        ],
    }
}

/// A network after a few steps, so that no parameter and no statistic is what it was at first.
fn trained(architecture: &Architecture, settings: &FitSettings, data: &DataSource) -> Network {
    let mut state = FitState::new(Classifier::new(architecture, 3).unwrap(), settings);
    let (train, validation) = data.train.clone().split_off(50, 0).unwrap();
    fit(&mut state, &train, &validation, settings, &mut Steps(6)).unwrap();
    state.model.network().clone()
}

fn largest_difference(network: &Network, plan: &Plan, data: &DataSource) -> f64 {
    let logits = plan.signature().outputs.iter().position(|output| output.name == "logits").unwrap();
    let mut session = plan.session().unwrap();
    let mut largest: f64 = 0.0;
    for size in [1, 7, 64] {
        let pixels = data.test.inputs(0..size).unwrap();
        let shape = std::iter::once(size).chain(network.architecture().input.iter().copied()).collect();
        let served = session.run(&[Tensor::new(shape, pixels.clone()).unwrap()]).unwrap();
        let trained = network.logits(&pixels).unwrap();
        let served = served[logits].floats().unwrap();
        assert_eq!(served.len(), trained.len());
        for (a, b) in served.iter().zip(&trained) {
            largest = largest.max(f64::from((a - b).abs()));
            assert!(!a.is_nan() && !b.is_nan());
        }
    }
    largest
}

#[test]
fn every_family_is_served_as_it_was_trained_in_both_engines() {
    let data = DataSource::read(small_data(600, 100).path(), &DataOptions::default()).unwrap();
    let engines = Engines::new(onnxruntime());
    let learns = |preset: &&Preset| match preset.learns {
        Learns::Anything | Learns::Drawings | Learns::Photos => true,
        // Texts and features are no pictures; tests of their own learn from them.
        Learns::Texts | Learns::Features => false,
    };
    let classifiers = PRESETS.iter().filter(learns).filter(|preset| matches!(preset.family, Family::Network));
    let presets = classifiers.map(|preset| {
        (
            preset.name,
            (preset.architecture)(&Sizes { channels: 1, height: 28, width: 28, outputs: 10, samples: 1000 }),
            settings(preset),
        )
    });
    let cells = [LayerSpec::gru(20), LayerSpec::lstm(7)].map(|cell| Architecture {
        input: vec![1, 28, 28],
        layers: vec![
            LayerSpec::Rescale { scale: 1.0 / 255.0 },
            LayerSpec::Rows,
            cell,
            LayerSpec::Relu,
            LayerSpec::Dense { units: 10 },
        ],
    });
    let [gru, lstm] = cells;
    let others = [("odd", odd()), ("gru", gru), ("small-lstm", lstm)];
    let others = others.map(|(name, network)| (name, network, settings(preset("mnist-cnn").unwrap())));
    for (name, architecture, settings) in presets.chain(others) {
        let network = trained(&architecture, &settings, &data);
        let onnx = to_onnx(&network, name).unwrap();
        let mut kinds = vec![EngineKind::Tract];
        kinds.extend(onnxruntime().map(|_| EngineKind::OnnxRuntime));
        for kind in kinds {
            let plan = engines.load(kind, &onnx).unwrap();
            let difference = largest_difference(&network, &plan, &data);
            assert!(difference <= 1e-4, "{name} in {}: {difference}", kind.name());
        }
    }
}

#[test]
fn a_run_with_all_that_a_recipe_can_add_goes_on_to_the_same_bytes() {
    let (data, folder) = (small_data(600, 100), TempDir::new().unwrap());
    let preset = preset("mnist-tiny").unwrap();
    let request = TrainRequest {
        preset,
        data: data.path().to_owned(),
        validation: 50,
        train_samples: 0,
        fit: FitSettings { epochs: 3, ..settings(preset) },
        task: TaskOptions::default(),
        models: Some(folder.path().join("models")),
        tensorboard: false,
    };
    let run = || RunDir::create(&folder.path().join("runs"), preset.name, None).unwrap();
    let model = |folder: &std::path::Path| std::fs::read(folder.join("model.onnx")).unwrap();
    let whole = train(&request, &run(), false, &mut |_, _| {}, &mut Steps(usize::MAX)).unwrap();
    let whole = model(&whole.published.unwrap().1);
    // Eleven steps an epoch: in the first, at its end, in the last, when the best one lies behind.
    for stop_after in [3, 11, 12, 30] {
        let run = run();
        let stopped = train(&request, &run, false, &mut |_, _| {}, &mut Steps(stop_after));
        assert!(matches!(stopped, Err(Error::Interrupted { .. })), "{stopped:?}");
        let request = TrainRequest::of_run(&run).unwrap();
        let resumed = train(&request, &run, true, &mut |_, _| {}, &mut Steps(usize::MAX)).unwrap();
        assert!(model(&resumed.published.unwrap().1) == whole, "{stop_after}");
    }
}
