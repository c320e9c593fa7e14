//! What a loop must keep to: a run stopped anywhere goes on to the same bits, and ends when it should.

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::layers::{Architecture, LayerSpec};
use crate::trainer::augment::Augment;
use crate::trainer::progress::{Snapshot, StepReport};
use crate::trainer::schedule::Schedule;
use crate::trainer::tasks::classification::Classifier;

/// Grey squares of 8 × 8 pixels, bright in one of three thirds, with noise: easy, but not for the first steps.
fn data(samples: usize) -> Dataset {
    let labels: Vec<u32> = (0..samples as u32).map(|index| index % 3).collect();
    let pixel = |index: usize, at: usize| {
        let noise = (index * 7919 + at * 104_729) % 97;
        let bright = at % 8 / 3 == labels[index] as usize;
        (noise + if bright { 120 } else { 0 }) as u8
    };
    let pixels =
        (0..samples).flat_map(|index| (0..64).map(move |at| (index, at))).map(|(i, at)| pixel(i, at)).collect();
    Dataset::images(8, 8, pixels, labels, 3)
}

/// A dense, a convolutional and a recurrent network, each with all that has a state.
fn networks() -> [Architecture; 3] {
    let rescale = LayerSpec::Rescale { scale: 1.0 / 255.0 };
    let dense = |units| LayerSpec::Dense { units };
    let conv = LayerSpec::Conv2d { channels: 4, kernel: 3, stride: 1, padding: 0, groups: 1, bias: false };
    let of = |layers| Architecture { input: vec![1, 8, 8], layers };
    [
        of(vec![
            rescale.clone(),
            LayerSpec::Flatten,
            dense(6),
            LayerSpec::Relu,
            LayerSpec::Dropout { rate: 0.2 },
            dense(3),
        ]),
        of(vec![
            rescale.clone(),
            conv,
            LayerSpec::BatchNorm,
            LayerSpec::Relu,
            LayerSpec::GlobalAveragePool,
            LayerSpec::Dropout { rate: 0.2 },
            dense(3),
        ]),
        of(vec![rescale, LayerSpec::Rows, LayerSpec::lstm(5), dense(3)]),
    ]
}

/// Stops after so many steps.
struct Steps(usize);

impl Watch for Steps {
    fn step(&mut self, _: &StepReport) -> bool {
        self.0 = self.0.saturating_sub(1);
        self.0 > 0
    }

    fn epoch(&mut self, _: &EpochReport) -> Result<()> {
        Ok(())
    }
}

fn settings(optimizer: Optimizer, regime: Regime) -> FitSettings {
    FitSettings { epochs: 4, batch_size: 10, seed: 9, regime, optimizer }
}

fn begin(architecture: &Architecture, settings: &FitSettings) -> FitState<Classifier> {
    FitState::new(Classifier::new(architecture, settings.seed).unwrap(), settings)
}

/// Fits, through a file and in a new state at every one of these steps.
fn fitted(architecture: &Architecture, settings: &FitSettings, stops: &[usize]) -> FitState<Classifier> {
    let (train, validation) = data(66).split_off(18, settings.seed).unwrap();
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("state.safetensors");
    let mut state = begin(architecture, settings);
    for stop in stops {
        if fit(&mut state, &train, &validation, settings, &mut Steps(*stop)).unwrap() {
            break;
        }
        Checkpoint::save(&state, &file).unwrap();
        state = begin(architecture, settings);
        Checkpoint::load(&mut state, &file).unwrap();
    }
    assert!(fit(&mut state, &train, &validation, settings, &mut Steps(usize::MAX)).unwrap());
    state
}

fn bits(state: &FitState<Classifier>) -> Vec<u32> {
    let average = state.average.iter().flat_map(|average| &average.arrays);
    let arrays = state.model.network().arrays().chain(average).flat_map(|array| &array.values);
    arrays.chain(state.slots.iter().flatten().flatten()).map(|value| value.to_bits()).collect()
}

fn losses(state: &FitState<Classifier>) -> Vec<u64> {
    state.history().iter().map(|epoch| epoch.judged_loss().to_bits()).collect()
}

fn optimizers() -> impl Strategy<Value = Optimizer> {
    prop_oneof![
        Just(Optimizer::adam(0.02)),
        Just(Optimizer::adamw(0.02, 0.1)),
        Just(Optimizer::sgd(0.1, 0.0)),
        Just(Optimizer::sgd(0.1, 0.9)),
        Just(Optimizer::Sgd { learning_rate: 0.1, momentum: 0.8, nesterov: false, weight_decay: 1e-3 }),
    ]
}

fn schedules() -> impl Strategy<Value = Schedule> {
    prop_oneof![
        Just(Schedule::Constant),
        Just(Schedule::Step { every: 1, factor: 0.5 }),
        Just(Schedule::Exponential { factor: 0.7 }),
        Just(Schedule::Cosine { warmup: 0.2 }),
        Just(Schedule::OneCycle { rise: 0.4, start: 0.1, end: 0.01, dip: 0.1 }),
        Just(Schedule::Plateau { patience: 1, factor: 0.3, min_delta: 0.05, floor: 0.01 }),
    ]
}

fn regimes() -> impl Strategy<Value = Regime> {
    let switches = (any::<bool>(), 0usize..3, any::<bool>(), any::<bool>());
    let soft = (any::<bool>(), any::<bool>(), any::<bool>());
    (schedules(), switches, soft).prop_map(
        |(schedule, (keep_best, patience, clips, averages), (smooth, mix, augment))| {
            let or_off = |given: bool, value: f64| if given { value } else { 0.0 };
            let moved = Augment {
                shear_degrees: 5.0,
                elastic_alpha: 4.0,
                erase_probability: 0.3,
                ..Augment::moves(5.0, 1.0, 0.1)
            };
            Regime {
                keep_best,
                patience,
                min_delta: 0.01,
                clip_norm: or_off(clips, 0.5),
                ema_decay: or_off(averages, 0.9),
                label_smoothing: or_off(smooth, 0.1) as f32,
                mixup: or_off(mix, 0.3),
                cutmix: or_off(mix && smooth, 0.5),
                augment: if augment { moved } else { Augment::NONE },
                schedule,
                ..Regime::PLAIN
            }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn a_run_stopped_anywhere_goes_on_to_the_same_bits(
        network in 0usize..3, optimizer in optimizers(), regime in regimes(), stops in prop::collection::vec(1usize..9, 1..4),
    ) {
        let (architecture, settings) = (&networks()[network], settings(optimizer, regime));
        let (whole, stopped) = (fitted(architecture, &settings, &[]), fitted(architecture, &settings, &stops));
        prop_assert_eq!(losses(&whole), losses(&stopped));
        prop_assert_eq!((whole.best_epoch(), whole.ending()), (stopped.best_epoch(), stopped.ending()));
        prop_assert!(bits(&whole) == bits(&stopped), "{:?}", settings);
    }
}

#[test]
fn every_optimiser_learns_under_every_schedule() {
    let (train, validation) = data(150).split_off(30, 0).unwrap();
    let optimizers = [Optimizer::adam(0.02), Optimizer::adamw(0.02, 0.05), Optimizer::sgd(0.05, 0.9)];
    let schedules = Schedule::KINDS.map(|kind| toml::from_str::<Schedule>(&format!("kind = \"{kind}\"")).unwrap());
    for optimizer in optimizers {
        for schedule in schedules {
            let settings = FitSettings { epochs: 20, ..settings(optimizer, Regime { schedule, ..Regime::PLAIN }) };
            let mut state = begin(&networks()[0], &settings);
            fit(&mut state, &train, &validation, &settings, &mut Steps(usize::MAX)).unwrap();
            let last = state.history()[19].validation.unwrap();
            assert!(last.loss < 0.9, "{optimizer} {schedule:?}: {last:?}");
        }
    }
}

#[test]
fn training_ends_when_patience_does_with_the_best_weights() {
    let regime = Regime { patience: 2, ..Regime::PLAIN };
    let settings = FitSettings { epochs: 200, ..settings(Optimizer::adam(0.1), regime) };
    let (train, validation) = data(66).split_off(18, 0).unwrap();
    let mut state = begin(&networks()[0], &settings);
    assert!(fit(&mut state, &train, &validation, &settings, &mut Steps(usize::MAX)).unwrap());
    let (done, best) = (state.history().len(), state.best_epoch().unwrap());
    assert_eq!((state.ending(), done), (Some(Ending::OutOfPatience), best + 2));
    let kept = state.model.validate(&validation).unwrap();
    assert_eq!(kept, state.history()[best - 1].validation.unwrap(), "the weights are the best epoch's");
    assert!(fit(&mut state, &train, &validation, &settings, &mut Steps(1)).unwrap(), "and it stays at its end");
    assert_eq!(state.history().len(), done);
}

#[test]
fn an_epoch_is_chosen_by_enough_validation_samples_only() {
    let (train, validation) = data(66).split_off(18, 0).unwrap();
    for (keep_best_from, chooses) in [(18, true), (19, false)] {
        let regime = Regime { keep_best: true, keep_best_from, ..Regime::PLAIN };
        let settings = FitSettings { epochs: 60, ..settings(Optimizer::adam(0.1), regime) };
        let mut state = begin(&networks()[0], &settings);
        assert!(fit(&mut state, &train, &validation, &settings, &mut Steps(usize::MAX)).unwrap());
        let best = state.best_epoch();
        assert_eq!(best.is_some(), chooses, "18 samples, {keep_best_from} wanted");
        let taken = state.history()[best.unwrap_or(60) - 1].validation.unwrap();
        assert_eq!(state.model.validate(&validation).unwrap(), taken);
    }
}

#[test]
fn training_ends_when_time_does_after_the_step_under_way() {
    let regime = Regime { time_seconds: 1e-9, ..Regime::PLAIN };
    let settings = settings(Optimizer::adam(0.01), regime);
    let (train, validation) = data(66).split_off(18, 0).unwrap();
    let mut state = begin(&networks()[0], &settings);
    assert!(fit(&mut state, &train, &validation, &settings, &mut Steps(usize::MAX)).unwrap());
    assert_eq!((state.ending(), state.history().len(), state.cursor.steps_done), (Some(Ending::OutOfTime), 1, 1));
    assert!(state.history()[0].validation.is_some(), "what there is was judged");
}

#[test]
fn what_is_judged_and_given_is_the_average() {
    let plain = settings(Optimizer::sgd(0.05, 0.9), Regime::PLAIN);
    let regime = Regime { ema_decay: 0.9, ..Regime::PLAIN };
    let averaged = FitSettings { regime, ..plain.clone() };
    let (own, average) = (fitted(&networks()[1], &plain, &[]), fitted(&networks()[1], &averaged, &[]));
    let (_, validation) = data(66).split_off(18, plain.seed).unwrap();
    assert_eq!(own.slots, average.slots, "training goes on from the weights themselves");
    let judged = average.model.validate(&validation).unwrap();
    assert_eq!(Some(judged), average.history()[3].validation);
    assert_ne!(own.model.network().parameters(), average.model.network().parameters());
}

#[test]
fn a_state_is_saved_at_every_epoch_and_between() {
    struct Saves(Vec<u64>);
    impl Watch for Saves {
        fn step(&mut self, _: &StepReport) -> bool {
            true
        }
        fn epoch(&mut self, _: &EpochReport) -> Result<()> {
            Ok(())
        }
        fn save(&mut self, state: &dyn Snapshot) -> Result<()> {
            self.0.push(state.steps_done());
            Ok(())
        }
    }
    let settings =
        FitSettings { epochs: 2, ..settings(Optimizer::adam(0.01), Regime { save_every: 3, ..Regime::PLAIN }) };
    let mut saves = Saves(Vec::new());
    let mut state = begin(&networks()[0], &settings);
    fit(&mut state, &data(48), &data(0), &settings, &mut saves).unwrap();
    assert_eq!(saves.0, [3, 5, 6, 9, 10]);
}

#[test]
fn a_checkpoint_of_the_first_weir_is_read() {
    let settings = settings(Optimizer::adam(0.01), Regime::PLAIN);
    let (train, validation) = data(66).split_off(18, 0).unwrap();
    let mut state = begin(&networks()[0], &settings);
    fit(&mut state, &train, &validation, &settings, &mut Steps(7)).unwrap();
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("state.safetensors");
    Checkpoint::save(&state, &file).unwrap();
    // It wrote the place as JSON, under another name, and knew less of it.
    let bytes = std::fs::read(&file).unwrap();
    let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let mut header: serde_json::Value = serde_json::from_slice(&bytes[8..8 + length]).unwrap();
    let mut place = serde_json::to_value(&state.cursor).unwrap();
    place.as_object_mut().unwrap().remove("ending");
    header["__metadata__"] = serde_json::json!({ "weir.cursor": place.to_string() });
    let header = serde_json::to_vec(&header).unwrap();
    let old = [&(header.len() as u64).to_le_bytes()[..], &header, &bytes[8 + length..]].concat();
    std::fs::write(&file, old).unwrap();
    let mut read = begin(&networks()[0], &settings);
    Checkpoint::load(&mut read, &file).unwrap();
    assert_eq!((bits(&read), read.cursor.steps_done), (bits(&state), 7));
}
