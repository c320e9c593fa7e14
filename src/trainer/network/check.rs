//! What passes must give: gradients that finite differences confirm, the same on any number of threads.

use super::*;
use crate::layers::Encoding;
use crate::trainer::batches::Batch;
use crate::trainer::learner::Pass;

/// The sum of the cross-entropies of logits, which become the gradient of their mean.
fn cross_entropy(logits: &mut [f32], labels: &[u32]) -> f64 {
    let (classes, scale) = (logits.len() / labels.len(), 1.0 / labels.len() as f32);
    let mut loss_sum = 0.0;
    for (row, label) in logits.chunks_exact_mut(classes).zip(labels) {
        let greatest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let truth = row[*label as usize] - greatest;
        row.iter_mut().for_each(|value| *value = (*value - greatest).exp());
        let sum: f32 = row.iter().sum();
        loss_sum += f64::from(sum.ln() - truth);
        row.iter_mut().for_each(|value| *value *= scale / sum);
        row[*label as usize] -= scale;
    }
    loss_sum
}

/// A pass of a network that is trained as a classifier.
fn pass(network: &mut Network, batch: Batch) -> Pass {
    let input = PassInput { rows: batch.rows(), values: batch.inputs, masks: batch.dropout };
    let mut loss_sum = 0.0;
    let gradients = network.pass_through(input, false, |logits| {
        loss_sum = cross_entropy(logits, &batch.labels);
        Ok(())
    });
    Pass { loss_sum, correct: None, gradients: gradients.unwrap().parameters }
}

fn small() -> Architecture {
    Architecture {
        input: vec![1, 2, 3],
        layers: vec![
            LayerSpec::Rescale { scale: 0.5 },
            LayerSpec::Flatten,
            LayerSpec::Dense { units: 5 },
            LayerSpec::Relu,
            LayerSpec::Dropout { rate: 0.5 },
            LayerSpec::Dense { units: 6 },
            LayerSpec::Silu,
            LayerSpec::Dense { units: 4 },
        ],
    }
}

fn batch() -> Batch {
    let pixels = (0..18).map(|i| ((i * 7) % 11) as f32 / 3.0 - 1.0).collect();
    Batch {
        inputs: pixels,
        labels: vec![0, 3, 2],
        dropout: vec![(0..15).map(|i| if i % 3 == 0 { 0.0 } else { 2.0 }).collect()],
        ..Batch::default()
    }
}

fn maps() -> Architecture {
    let conv = |channels, kernel, stride, padding, groups, bias| LayerSpec::Conv2d {
        channels,
        kernel,
        stride,
        padding,
        groups,
        bias,
    };
    Architecture {
        input: vec![2, 9, 8],
        layers: vec![
            LayerSpec::Rescale { scale: 0.5 },
            conv(4, 3, 1, 1, 1, true),
            LayerSpec::Relu,
            LayerSpec::MaxPool { size: 2, stride: 2 },
            conv(6, 3, 2, 1, 2, false),
            LayerSpec::BatchNorm,
            LayerSpec::Relu,
            conv(6, 2, 1, 1, 6, true),
            LayerSpec::GroupNorm { groups: 3 },
            LayerSpec::Silu,
            LayerSpec::BatchNorm,
            LayerSpec::AveragePool { size: 2, stride: 1 },
            LayerSpec::Dropout { rate: 0.5 },
            LayerSpec::GlobalAveragePool,
            LayerSpec::Relu,
            LayerSpec::Flatten,
            LayerSpec::Dense { units: 5 },
            LayerSpec::Relu,
            LayerSpec::Dropout { rate: 0.5 },
            LayerSpec::Dense { units: 3 },
        ],
    }
}

fn sequence(cell: LayerSpec) -> Architecture {
    Architecture {
        input: vec![1, 5, 4],
        layers: vec![
            LayerSpec::BatchNorm,
            LayerSpec::Rows,
            cell,
            LayerSpec::Dropout { rate: 0.5 },
            LayerSpec::Dense { units: 3 },
        ],
    }
}

/// A batch of so many samples for a network.
fn batch_for(network: &Network, rows: usize) -> Batch {
    let elements: usize = network.architecture.input.iter().product();
    let first = &network.architecture.layers[0];
    let is_of_tokens = matches!(first, LayerSpec::Embedding { .. } | LayerSpec::EmbeddingBag { .. });
    let number = |i: usize| match is_of_tokens {
        true => ((i * 7919) % 9) as f32,
        false => ((i * 7919) % 1009) as f32 / 250.0 - 2.0,
    };
    let mask = |(elements, _): (usize, f32)| (0..elements * rows).map(|i| if i % 3 == 0 { 0.0 } else { 1.5 }).collect();
    let classes = network.architecture.output().unwrap()[0];
    Batch {
        inputs: (0..rows * elements).map(number).collect(),
        labels: (0..rows).map(|row| (row * 5 % classes) as u32).collect(),
        dropout: network.dropout().into_iter().map(mask).collect(),
        ..Batch::default()
    }
}

/// The gradients that central differences, step 2e-3, do not confirm to 1e-3 and 2 %, which is the
/// differences' own error with 32-bit losses; and how many there are in all.
fn unconfirmed(architecture: &Architecture, rows: usize, seed: u64) -> (Vec<String>, usize) {
    unconfirmed_of(&Network::new(architecture, seed).unwrap(), rows)
}

/// The same of a network that is there.
fn unconfirmed_of(network: &Network, rows: usize) -> (Vec<String>, usize) {
    let pass = pass(&mut network.clone(), batch_for(network, rows));
    let (mut checked, mut wrong) = (0, Vec::new());
    for (index, gradient) in pass.gradients.iter().enumerate() {
        for (element, analytic) in gradient.iter().enumerate() {
            let moved = |by: f32| {
                let mut moved = network.clone();
                moved.parameters[index].values[element] += by;
                mean_loss(&moved, batch_for(network, rows))
            };
            let numeric = (moved(2e-3) - moved(-2e-3)) / 4e-3;
            checked += 1;
            if (numeric - f64::from(*analytic)).abs() > 1e-3 + 0.02 * numeric.abs() {
                wrong.push(format!("{}[{element}]: {numeric} {analytic}", network.parameters[index].name));
            }
        }
    }
    (wrong, checked)
}

#[test]
fn gradients_on_maps_agree_with_finite_differences() {
    let mut smooth = maps();
    smooth.layers.retain(|layer| !matches!(layer, LayerSpec::Relu | LayerSpec::MaxPool { .. }));
    // One block that is not full, and one full and one not.
    for rows in [5, crate::simd::lanes() + 3] {
        let (wrong, _) = unconfirmed(&smooth, rows, 3);
        assert!(wrong.is_empty(), "{wrong:?}");
    }
    // A step over the edge of a Relu, or from one maximum to another, is no derivative: of networks with
    // such layers one gradient in 25 may be off, and one network in four may have a unit that sits on
    // an edge. One wrong factor in a layer makes most of every network wrong.
    let sound = (3..7).filter(|seed| {
        let (wrong, checked) = unconfirmed(&maps(), 5, *seed);
        wrong.len() * 25 <= checked
    });
    assert!(sound.count() >= 3);
}

/// Two residual connections, one of which begins at a normalisation whose Relu comes after, and one within the other.
fn residual() -> Architecture {
    let conv = |channels| LayerSpec::Conv2d { channels, kernel: 3, stride: 1, padding: 1, groups: 1, bias: false };
    Architecture {
        input: vec![2, 4, 5],
        layers: vec![
            LayerSpec::Rescale { scale: 0.5 },
            conv(3),
            LayerSpec::BatchNorm,
            LayerSpec::Silu,
            conv(3),
            LayerSpec::BatchNorm,
            LayerSpec::Add { back: 3 },
            LayerSpec::Relu,
            conv(3),
            LayerSpec::Add { back: 2 },
            LayerSpec::Dropout { rate: 0.5 },
            LayerSpec::Add { back: 7 },
            LayerSpec::GlobalAveragePool,
            LayerSpec::Dense { units: 3 },
        ],
    }
}

#[test]
fn gradients_of_residual_connections_agree_with_finite_differences() {
    let mut smooth = residual();
    smooth.layers[7] = LayerSpec::Silu;
    for rows in [5, crate::simd::lanes() + 3] {
        let (wrong, checked) = unconfirmed(&smooth, rows, 3);
        assert!(wrong.is_empty(), "{wrong:?}");
        assert_eq!(checked, smooth.parameters().unwrap());
    }
    let mut of_the_input = smooth;
    of_the_input
        .layers
        .insert(4, LayerSpec::Conv2d { channels: 2, kernel: 1, stride: 1, padding: 0, groups: 1, bias: true });
    of_the_input.layers.insert(5, LayerSpec::Add { back: 5 });
    of_the_input.layers[8] = LayerSpec::Add { back: 5 };
    let (wrong, _) = unconfirmed(&of_the_input, 5, 3);
    assert!(wrong.is_empty(), "{wrong:?}");
}

#[test]
fn a_residual_network_learns_what_it_answers() {
    // The running statistics after many equal batches are the batch's, so both ways give the same.
    let mut network = Network::new(&residual(), 3).unwrap();
    let batch = batch_for(&network, crate::simd::lanes() + 3);
    let mut logits = Vec::new();
    for _ in 0..200 {
        let masks = network.dropout().iter().map(|(elements, _)| vec![1.0; elements * batch.rows()]).collect();
        let input = PassInput { values: batch.inputs.clone(), rows: batch.rows(), masks };
        let keep = |outputs: &mut [f32]| {
            logits = outputs.to_vec();
            Ok(())
        };
        network.pass_through(input, false, keep).unwrap();
    }
    let found = network.logits(&batch.inputs).unwrap();
    for (one, other) in logits.iter().zip(&found) {
        assert!((one - other).abs() < 0.02 * (1.0 + one.abs()), "{one} {other}");
    }
}

#[test]
fn dense_layers_may_be_before_maps_and_not_among_them() {
    let conv = |channels| LayerSpec::Conv2d { channels, kernel: 3, stride: 1, padding: 1, groups: 1, bias: false };
    let mut network = Architecture {
        input: vec![3],
        layers: vec![
            LayerSpec::Dense { units: 6 },
            LayerSpec::Silu,
            LayerSpec::Dropout { rate: 0.5 },
            LayerSpec::Dense { units: 8 },
            LayerSpec::Silu,
            LayerSpec::Unflatten { channels: 2, height: 2, width: 2 },
            LayerSpec::BatchNorm,
            conv(8),
            LayerSpec::Dropout { rate: 0.5 },
            LayerSpec::PixelShuffle { factor: 2 },
            LayerSpec::Silu,
            conv(2),
            LayerSpec::Flatten,
            LayerSpec::Dropout { rate: 0.5 },
            LayerSpec::Dense { units: 3 },
        ],
    };
    for rows in [5, crate::simd::lanes() + 3] {
        let (wrong, checked) = unconfirmed(&network, rows, 3);
        assert!(wrong.is_empty(), "{wrong:?}");
        assert_eq!(checked, network.parameters().unwrap());
    }
    let again = [LayerSpec::Unflatten { channels: 3, height: 1, width: 1 }, conv(1)];
    network.layers.extend(again);
    let refused = Network::new(&network, 3).unwrap_err().to_string();
    assert!(refused.contains("layers[14] (dense)") && refused.contains("between"), "{refused}");
}

#[test]
fn gradients_of_recurrent_layers_agree_with_finite_differences() {
    // The batch norm before it shows that the gradient of the input is right too.
    for cell in [LayerSpec::lstm(6), LayerSpec::gru(6)] {
        for rows in [5, crate::simd::lanes() + 3] {
            let (wrong, _) = unconfirmed(&sequence(cell.clone()), rows, 3);
            assert!(wrong.is_empty(), "{wrong:?}");
        }
    }
}

/// A recurrent layer with its settings.
fn recurrent(is_lstm: bool, units: usize, bidirectional: bool, all_steps: bool) -> LayerSpec {
    match is_lstm {
        true => LayerSpec::Lstm { units, bidirectional, all_steps },
        false => LayerSpec::Gru { units, bidirectional, all_steps },
    }
}

#[test]
fn gradients_of_stacked_and_bidirectional_layers_agree_with_finite_differences() {
    for is_lstm in [true, false] {
        for [first_is_both, second_is_both] in [[false, false], [true, false], [true, true], [false, true]] {
            let mut network = sequence(recurrent(is_lstm, 3, first_is_both, true));
            network.layers.insert(3, recurrent(!is_lstm, 2, second_is_both, false));
            for rows in [5, crate::simd::lanes() + 3] {
                let (wrong, _) = unconfirmed(&network, rows, 3);
                assert!(wrong.is_empty(), "{wrong:?}");
            }
        }
        // Tokens, whose padding is in front and has no gradient.
        let layers =
            [recurrent(is_lstm, 3, true, true), recurrent(is_lstm, 2, true, false), LayerSpec::Dense { units: 3 }];
        let (wrong, _) = unconfirmed(&of_tokens(&layers), 7, 3);
        assert!(wrong.is_empty(), "{wrong:?}");
    }
}

/// The states that networks of one direction each give for a sequence, forward and from its end.
fn by_hand(both: &Network, is_lstm: bool, sequence: &[f32]) -> Vec<f32> {
    let one_way = |direction: usize, sequence: &[f32]| {
        let architecture = Architecture {
            input: vec![1, sequence.len() / 2, 2],
            layers: vec![LayerSpec::Rows, recurrent(is_lstm, 3, false, false)],
        };
        let mut network = Network::new(&architecture, 1).unwrap();
        for (to, from) in network.parameters.iter_mut().zip(&both.parameters[3 * direction..]) {
            to.values.clone_from(&from.values);
        }
        network.logits(sequence).unwrap()
    };
    let reversed: Vec<f32> = sequence.chunks_exact(2).rev().flatten().copied().collect();
    [one_way(0, sequence), one_way(1, &reversed)].concat()
}

#[test]
fn both_directions_are_two_layers_on_what_is_not_padding() {
    for is_lstm in [true, false] {
        let network = |all_steps| {
            let layers = vec![LayerSpec::Rows, recurrent(is_lstm, 3, true, all_steps)];
            let mut network = Network::new(&Architecture { input: vec![1, 6, 2], layers }, 3).unwrap();
            // Biases of zero would leave the states of a sequence of zeros at zero.
            for bias in network.parameters.iter_mut().skip(2).step_by(3) {
                bias.values.iter_mut().zip(1_u8..).for_each(|(value, place)| *value += f32::from(place) / 20.0);
            }
            network
        };
        let (last, all) = (network(false), network(true));
        let sequence: Vec<f32> = (0..12).map(|i| ((i * 7919) % 23) as f32 / 11.0 - 1.0).collect();
        for padding in 0..6 {
            let mut padded = vec![0.0; 12];
            padded[2 * padding..].copy_from_slice(&sequence[2 * padding..]);
            let expected = by_hand(&last, is_lstm, &sequence[2 * padding..]);
            let near = |found: &[f32], expected: &[f32]| found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-6);
            assert!(near(&last.logits(&padded).unwrap(), &expected), "{padding} steps of padding");
            // Of all steps: nothing where padding is, the same at both ends, and in between what is read up to there.
            let steps = all.logits(&padded).unwrap();
            assert!(steps[..6 * padding].iter().all(|state| *state == 0.0));
            let (first, end) = (&steps[6 * padding..][..6], &steps[30..]);
            assert!(near(&[&end[..3], &first[3..]].concat(), &expected));
            for step in padding..6 {
                let before = by_hand(&all, is_lstm, &sequence[2 * padding..2 * step + 2]);
                let behind = by_hand(&all, is_lstm, &sequence[2 * step..]);
                assert!(near(&steps[6 * step..][..6], &[&before[..3], &behind[3..]].concat()), "step {step}");
            }
        }
        let nothing = last.logits(&[0.0; 12]).unwrap();
        assert!(nothing.iter().any(|state| *state != 0.0), "a sequence of zeros is read");
    }
}

/// A network that looks tokens up.
fn of_tokens(rest: &[LayerSpec]) -> Architecture {
    let first = LayerSpec::Embedding { tokens: 7, units: 3 };
    Architecture { input: vec![5], layers: std::iter::once(first).chain(rest.iter().cloned()).collect() }
}

#[test]
fn gradients_of_an_embedding_agree_with_finite_differences() {
    let lstm = [LayerSpec::lstm(6), LayerSpec::Dropout { rate: 0.5 }, LayerSpec::Dense { units: 3 }];
    let dropped = [LayerSpec::Dropout { rate: 0.5 }, LayerSpec::gru(4), LayerSpec::Dense { units: 3 }];
    for layers in [&lstm[..], &dropped, &[LayerSpec::Flatten, LayerSpec::Dense { units: 3 }]] {
        // The numbers of a batch that are no tokens are looked up as the unknown one.
        for rows in [5, crate::simd::lanes() + 3] {
            let (wrong, checked) = unconfirmed(&of_tokens(layers), rows, 3);
            assert!(wrong.is_empty() && checked > 21, "{wrong:?}");
        }
    }
}

#[test]
fn gradients_of_convolutions_along_steps_agree_with_finite_differences() {
    let conv = |channels, kernel, stride, padding, bias| LayerSpec::Conv1d { channels, kernel, stride, padding, bias };
    let layers = [
        LayerSpec::Series,
        conv(4, 3, 1, 1, false),
        LayerSpec::GroupNorm { groups: 2 },
        LayerSpec::Silu,
        conv(3, 2, 2, 0, true),
        LayerSpec::GlobalAveragePool,
        LayerSpec::Dense { units: 3 },
    ];
    for rows in [5, crate::simd::lanes() + 3] {
        let (wrong, checked) = unconfirmed(&of_tokens(&layers), rows, 3);
        assert!(wrong.is_empty(), "{wrong:?}");
        assert_eq!(checked, 7 * 3 + 4 * 3 * 3 + 8 + 3 * 4 * 2 + 3 + 4 * 3);
    }
}

#[test]
fn gradients_of_a_bag_of_tokens_agree_with_finite_differences_and_padding_has_none() {
    let first = LayerSpec::EmbeddingBag { tokens: 9, units: 3, weighted: false };
    let layers = vec![first, LayerSpec::Dropout { rate: 0.5 }, LayerSpec::Dense { units: 3 }];
    let network = Architecture { input: vec![5], layers };
    let (wrong, checked) = unconfirmed(&network, 7, 3);
    assert!(wrong.is_empty(), "{wrong:?}");
    assert_eq!(checked, 27 + 12);
    let network = Network::new(&network, 3).unwrap();
    let [all, some] = [&[0.0, 0.0, 4.0, 2.0, 4.0], &[4.0, 4.0, 2.0, 0.0, 0.0]].map(|tokens| network.logits(tokens));
    assert!(all.unwrap().iter().zip(some.unwrap()).all(|(a, b)| (a - b).abs() < 1e-6), "in any order");
    assert!(network.logits(&[0.0; 5]).unwrap().iter().all(|logit| logit.is_finite()), "of padding alone");
}

#[test]
fn gradients_of_a_weighted_bag_agree_with_finite_differences() {
    let first = LayerSpec::EmbeddingBag { tokens: 9, units: 3, weighted: true };
    let layers = vec![first, LayerSpec::Dropout { rate: 0.5 }, LayerSpec::Dense { units: 3 }];
    let network = Architecture { input: vec![5], layers };
    let rarities: Vec<f32> = (0..9).map(|token| 1.0 + token as f32 / 4.0).collect();
    let (wrong, checked) = unconfirmed_of(&weighted(&network, &rarities), 7);
    assert!(wrong.is_empty(), "{wrong:?}");
    assert_eq!(checked, 27 + 12);
}

/// A network whose first layer is a bag that weights tokens so.
fn weighted(architecture: &Architecture, rarities: &[f32]) -> Network {
    let mut network = Network::new(architecture, 3).unwrap();
    network.set_rarities(rarities);
    network
}

#[test]
fn a_weighted_bag_is_a_sum_of_rows_over_the_length_of_the_weights() {
    let first = LayerSpec::EmbeddingBag { tokens: 4, units: 2, weighted: true };
    let network = Architecture { input: vec![3], layers: vec![first] };
    let mut network = weighted(&network, &[9.0, 1.0, 3.0, 4.0]);
    network.parameters[0].values = vec![7.0, 7.0, 1.0, 0.0, 1.0, 0.0, 0.0, 1.0];
    let near = |tokens: &[f32], expected: [f32; 2]| {
        let found = network.logits(tokens).unwrap();
        assert!(found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-6), "{tokens:?}: {found:?}");
    };
    near(&[0.0, 2.0, 3.0], [3.0 / 5.0, 4.0 / 5.0]);
    near(&[3.0, 0.0, 2.0], [3.0 / 5.0, 4.0 / 5.0]);
    near(&[3.0, 3.0, 2.0], [3.0 / 41f32.sqrt(), 8.0 / 41f32.sqrt()]);
    near(&[0.0, 0.0, 0.0], [0.0, 0.0]);
    near(&[0.0, 0.0, f32::NAN], [1.0, 0.0]);
}

#[test]
fn a_linear_path_is_blended_into_the_answer() {
    let column = |mean| Encoding::Standard { mean, deviation: 2.0, tells_missing: true, bent: None };
    let columns = vec![column(0.5), column(-1.0)];
    let layers = vec![
        LayerSpec::Encode { columns },
        LayerSpec::Dense { units: 5 },
        LayerSpec::Relu,
        LayerSpec::Recall,
        LayerSpec::Dense { units: 1 },
        LayerSpec::Destandardize { mean: 3.0, deviation: 2.0 },
    ];
    let mut network = Network::new(&Architecture { input: vec![2], layers }, 3).unwrap();
    assert_eq!(network.linear_columns(), Some(4));
    let rows = [2.5, -3.0, f32::NAN, -1.0];
    let before = network.logits(&rows).unwrap();
    let mut both = network.clone();
    network.blend_linear(&[2.0, -1.0, 10.0, 0.25], 0.5, 0.0);
    let line = network.logits(&rows).unwrap();
    assert_eq!(line, [2.0 + 1.0 + 0.5, 10.0 + 0.5], "before the last scale");
    both.blend_linear(&[2.0, -1.0, 10.0, 0.25], 0.5, 0.25);
    for ((found, before), line) in both.logits(&rows).unwrap().iter().zip(&before).zip(&line) {
        assert!((found - (0.25 * before + 0.75 * line)).abs() < 1e-5, "{found} {before} {line}");
    }
    let classes = Network::new(&small(), 3).unwrap();
    assert_eq!(classes.linear_columns(), None);
}

#[test]
fn gradients_beside_a_linear_path_agree_with_finite_differences() {
    let column = |mean| Encoding::Standard { mean, deviation: 2.0, tells_missing: true, bent: None };
    let network = Architecture {
        input: vec![2],
        layers: vec![
            LayerSpec::Encode { columns: vec![column(0.5), column(-1.0)] },
            LayerSpec::Dense { units: 5 },
            LayerSpec::Silu,
            LayerSpec::Dropout { rate: 0.5 },
            LayerSpec::Recall,
            LayerSpec::Dense { units: 3 },
        ],
    };
    let (wrong, checked) = unconfirmed(&network, 7, 3);
    assert!(wrong.is_empty(), "{wrong:?}");
    assert_eq!(checked, 5 * 5 + 3 * (5 + 4 + 1));
}

#[test]
fn gradients_of_columns_of_texts_beside_a_linear_path_agree_with_finite_differences() {
    let number = Encoding::Standard { mean: 0.5, deviation: 2.0, tells_missing: false, bent: None };
    let text = |grams| Encoding::Bag { grams, tokens: 4, units: 2 };
    let network = Architecture {
        input: vec![6],
        layers: vec![
            LayerSpec::Encode { columns: vec![text(3), number, text(2)] },
            LayerSpec::Dense { units: 5 },
            LayerSpec::Silu,
            LayerSpec::Recall,
            LayerSpec::Dense { units: 3 },
        ],
    };
    let (wrong, checked) = unconfirmed(&network, 7, 3);
    assert!(wrong.is_empty(), "{wrong:?}");
    assert_eq!(checked, 8 + 8 + 5 * (5 + 1) + 3 * (5 + 5 + 1));
}

#[test]
fn rows_of_tokens_that_a_batch_does_not_have_are_not_moved() {
    let network = Network::new(&of_tokens(&[LayerSpec::gru(4), LayerSpec::Dense { units: 3 }]), 3).unwrap();
    let batch = Batch { inputs: [6.0, 2.0, 0.0, 0.0, 2.0].repeat(40), labels: vec![1; 40], ..Batch::default() };
    let gradients = pass(&mut network.clone(), batch).gradients;
    let is_moved: Vec<bool> = gradients[0].chunks_exact(3).map(|row| row.iter().any(|number| *number != 0.0)).collect();
    assert_eq!(is_moved, [true, false, true, false, false, false, true]);
}

#[test]
fn a_standardised_sequence_is_what_its_numbers_say() {
    let standardize = LayerSpec::Standardize { mean: vec![2.0, -1.0], deviation: vec![4.0, 0.5] };
    let layers = vec![standardize, LayerSpec::lstm(5), LayerSpec::Dense { units: 3 }];
    let standardized = Network::new(&Architecture { input: vec![3, 2], layers }, 3).unwrap();
    let mut plain = standardized.clone();
    plain.layers[0].spec = LayerSpec::Standardize { mean: vec![0.0; 2], deviation: vec![1.0; 2] };
    let raw = [6.0, f32::NAN, f32::NAN, 0.0, 0.0, -1.5];
    assert_eq!(standardized.logits(&raw).unwrap(), plain.logits(&[1.0, 0.0, 0.0, 2.0, -0.5, -1.0]).unwrap());
    let loss = |network: &Network, pixels: &[f32]| {
        let batch = Batch { inputs: pixels.to_vec(), labels: vec![1], ..Batch::default() };
        pass(&mut network.clone(), batch).loss_sum
    };
    assert_eq!(loss(&standardized, &raw), loss(&plain, &[1.0, 0.0, 0.0, 2.0, -0.5, -1.0]));
}

#[test]
fn gradients_do_not_depend_on_threads() {
    for architecture in [maps(), of_tokens(&[LayerSpec::lstm(6), LayerSpec::Dense { units: 3 }])] {
        let network = Network::new(&architecture, 3).unwrap();
        let gradients = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| pass(&mut network.clone(), batch_for(&network, 70)).gradients)
        };
        let one = gradients(1);
        assert!((2..5).all(|threads| gradients(threads) == one));
    }
}

#[test]
fn running_statistics_come_to_what_batches_show() {
    let mut network = Network::new(&maps(), 3).unwrap();
    let batch = |network: &Network| {
        let mut batch = batch_for(network, 40);
        batch.dropout.iter_mut().for_each(|mask| mask.fill(1.0));
        batch
    };
    for _ in 0..200 {
        let next = batch(&network);
        pass(&mut network, next);
    }
    // A pass takes the loss by the statistics of its batch, which is the only one there was.
    let trained = mean_loss(&network, batch(&network));
    let Batch { inputs: pixels, labels, .. } = batch(&network);
    let mut logits = network.logits(&pixels).unwrap();
    let loss_sum = cross_entropy(&mut logits, &labels);
    let evaluated = loss_sum / labels.len() as f64;
    assert!((trained - evaluated).abs() < 0.02 * trained, "{trained} {evaluated}");
}

fn mean_loss(network: &Network, batch: Batch) -> f64 {
    let rows = batch.rows() as f64;
    pass(&mut network.clone(), batch).loss_sum / rows
}

/// Central differences, step 1e-2: their own error is some 1e-4 in 32-bit floats.
#[test]
fn gradients_agree_with_finite_differences() {
    let network = Network::new(&small(), 3).unwrap();
    let pass = pass(&mut network.clone(), batch());
    for (index, gradient) in pass.gradients.iter().enumerate() {
        for (element, analytic) in gradient.iter().enumerate() {
            let moved = |by: f32| {
                let mut moved = network.clone();
                moved.parameters[index].values[element] += by;
                mean_loss(&moved, batch())
            };
            let numeric = (moved(1e-2) - moved(-1e-2)) / 2e-2;
            let name = &network.parameters[index].name;
            assert!((numeric - f64::from(*analytic)).abs() < 2e-3, "{name}[{element}]: {numeric} {analytic}");
        }
    }
}

#[test]
fn a_pass_leaves_the_parameters_as_they_were() {
    let network = Network::new(&small(), 3).unwrap();
    let mut used = network.clone();
    pass(&mut used, batch());
    assert_eq!(used.parameters, network.parameters);
    assert_eq!(network.parameters.iter().map(|p| p.values.len()).sum::<usize>(), small().parameters().unwrap());
}

#[test]
fn the_same_seed_gives_the_same_weights_within_glorot_s_limit() {
    let (a, b, c) =
        (Network::new(&small(), 1).unwrap(), Network::new(&small(), 1).unwrap(), Network::new(&small(), 2).unwrap());
    assert_eq!(a.parameters, b.parameters);
    assert_ne!(a.parameters, c.parameters);
    assert!(a.parameters[0].values.iter().all(|value| value.abs() <= (6.0f32 / 11.0).sqrt()));
}
