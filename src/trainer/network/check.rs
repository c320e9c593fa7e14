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
    let network = Network::new(architecture, seed).unwrap();
    let pass = pass(&mut network.clone(), batch_for(&network, rows));
    let (mut checked, mut wrong) = (0, Vec::new());
    for (index, gradient) in pass.gradients.iter().enumerate() {
        for (element, analytic) in gradient.iter().enumerate() {
            let moved = |by: f32| {
                let mut moved = network.clone();
                moved.parameters[index].values[element] += by;
                mean_loss(&moved, batch_for(&network, rows))
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
    for cell in [LayerSpec::Lstm { units: 6 }, LayerSpec::Gru { units: 6 }] {
        for rows in [5, crate::simd::lanes() + 3] {
            let (wrong, _) = unconfirmed(&sequence(cell.clone()), rows, 3);
            assert!(wrong.is_empty(), "{wrong:?}");
        }
    }
}

/// A network that looks tokens up.
fn of_tokens(rest: &[LayerSpec]) -> Architecture {
    let first = LayerSpec::Embedding { tokens: 7, units: 3 };
    Architecture { input: vec![5], layers: std::iter::once(first).chain(rest.iter().cloned()).collect() }
}

#[test]
fn gradients_of_an_embedding_agree_with_finite_differences() {
    let lstm = [LayerSpec::Lstm { units: 6 }, LayerSpec::Dropout { rate: 0.5 }, LayerSpec::Dense { units: 3 }];
    let dropped = [LayerSpec::Dropout { rate: 0.5 }, LayerSpec::Gru { units: 4 }, LayerSpec::Dense { units: 3 }];
    for layers in [&lstm[..], &dropped, &[LayerSpec::Flatten, LayerSpec::Dense { units: 3 }]] {
        // The numbers of a batch that are no tokens are looked up as the unknown one.
        for rows in [5, crate::simd::lanes() + 3] {
            let (wrong, checked) = unconfirmed(&of_tokens(layers), rows, 3);
            assert!(wrong.is_empty() && checked > 21, "{wrong:?}");
        }
    }
}

#[test]
fn gradients_of_a_bag_of_tokens_agree_with_finite_differences_and_padding_has_none() {
    let first = LayerSpec::EmbeddingBag { tokens: 9, units: 3 };
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
fn rows_of_tokens_that_a_batch_does_not_have_are_not_moved() {
    let network = Network::new(&of_tokens(&[LayerSpec::Gru { units: 4 }, LayerSpec::Dense { units: 3 }]), 3).unwrap();
    let batch = Batch { inputs: [6.0, 2.0, 0.0, 0.0, 2.0].repeat(40), labels: vec![1; 40], ..Batch::default() };
    let gradients = pass(&mut network.clone(), batch).gradients;
    let is_moved: Vec<bool> = gradients[0].chunks_exact(3).map(|row| row.iter().any(|number| *number != 0.0)).collect();
    assert_eq!(is_moved, [true, false, true, false, false, false, true]);
}

#[test]
fn a_standardised_sequence_is_what_its_numbers_say() {
    let standardize = LayerSpec::Standardize { mean: vec![2.0, -1.0], deviation: vec![4.0, 0.5] };
    let layers = vec![standardize, LayerSpec::Lstm { units: 5 }, LayerSpec::Dense { units: 3 }];
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
    for architecture in [maps(), of_tokens(&[LayerSpec::Lstm { units: 6 }, LayerSpec::Dense { units: 3 }])] {
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
