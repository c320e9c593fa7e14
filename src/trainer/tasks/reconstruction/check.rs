//! What passes must give: gradients that finite differences confirm, through the drawn code and both networks.

use super::*;
use crate::layers::LayerSpec;

fn small() -> Autoencoder {
    let encoder = Architecture {
        input: vec![1, 2, 3],
        layers: vec![
            LayerSpec::Rescale { scale: 1.0 / 255.0 },
            LayerSpec::Flatten,
            LayerSpec::Dense { units: 5 },
            LayerSpec::Dropout { rate: 0.5 },
            LayerSpec::Dense { units: 4 },
        ],
    };
    Autoencoder::new(&encoder, &decoder(2, 6), 3).unwrap()
}

fn decoder(latent: usize, pixels: usize) -> Architecture {
    let layers =
        vec![LayerSpec::Dense { units: 7 }, LayerSpec::Dropout { rate: 0.5 }, LayerSpec::Dense { units: pixels }];
    Architecture { input: vec![latent], layers }
}

/// Maps on both sides, which the decoder makes of what is flat and enlarges.
fn on_maps() -> Autoencoder {
    let conv = |channels| LayerSpec::Conv2d { channels, kernel: 3, stride: 1, padding: 1, groups: 1, bias: true };
    let encoder = Architecture {
        input: vec![1, 4, 2],
        layers: vec![
            LayerSpec::Rescale { scale: 1.0 / 255.0 },
            conv(4),
            LayerSpec::GroupNorm { groups: 2 },
            LayerSpec::Silu,
            LayerSpec::Flatten,
            LayerSpec::Dense { units: 4 },
        ],
    };
    let decoder = Architecture {
        input: vec![2],
        layers: vec![
            LayerSpec::Dense { units: 5 },
            LayerSpec::Silu,
            LayerSpec::Dropout { rate: 0.5 },
            LayerSpec::Dense { units: 8 },
            LayerSpec::Silu,
            LayerSpec::Unflatten { channels: 4, height: 2, width: 1 },
            LayerSpec::BatchNorm,
            LayerSpec::Dropout { rate: 0.5 },
            conv(4),
            LayerSpec::PixelShuffle { factor: 2 },
        ],
    };
    Autoencoder::new(&encoder, &decoder, 3).unwrap()
}

/// Four images; each pixel, mask and number of a code has a value of its own.
fn batch(autoencoder: &Autoencoder) -> Batch {
    let mask = |(elements, _): (usize, f32)| (0..4 * elements).map(|i| if i % 3 == 0 { 0.0 } else { 2.0 }).collect();
    let mut noise = Vec::new();
    standard_normal(&mut keyed_rng(1, "noise", 0, 0), 4 * autoencoder.latent(), &mut noise);
    let pixels: usize = autoencoder.encoder().architecture().input.iter().product();
    Batch {
        inputs: (0..4 * pixels).map(|i| if (i * 7) % 11 < 5 { 255.0 } else { 0.0 }).collect(),
        labels: vec![0; 4],
        dropout: autoencoder.networks().into_iter().flat_map(Network::dropout).map(mask).collect(),
        noise,
        ..Batch::default()
    }
}

#[test]
fn gradients_agree_with_finite_differences() {
    for (mut autoencoder, arrays) in [(small(), 8), (on_maps(), 14)] {
        // Away from zero biases, so that none of them is where only its sign matters.
        let parameters = autoencoder.networks_mut().into_iter().flat_map(Network::parameters_mut);
        for (index, array) in parameters.enumerate() {
            array.values.iter_mut().enumerate().for_each(|(i, value)| *value += ((i + index) % 5) as f32 * 0.1 - 0.2);
        }
        let pass = autoencoder.clone().pass(batch(&autoencoder)).unwrap();
        assert_eq!(pass.gradients.len(), arrays);
        for (index, gradient) in pass.gradients.iter().enumerate() {
            for (element, analytic) in gradient.iter().enumerate() {
                let moved = |by: f32| {
                    let mut moved = autoencoder.clone();
                    let mut parameters = moved.networks_mut().into_iter().flat_map(Network::parameters_mut);
                    parameters.nth(index).unwrap().values[element] += by;
                    moved.pass(batch(&autoencoder)).unwrap().loss_sum / 4.0
                };
                let numeric = (moved(5e-3) - moved(-5e-3)) / 1e-2;
                let name = &autoencoder.trained()[index].name;
                let tolerance = 2e-3 + 0.01 * numeric.abs();
                assert!((numeric - f64::from(*analytic)).abs() < tolerance, "{name}[{element}]: {numeric} {analytic}");
            }
        }
    }
}

#[test]
fn a_code_that_is_the_prior_costs_nothing() {
    let posterior = Posterior { latent: 3 };
    assert_eq!(posterior.divergences(&[0.0; 12]).collect::<Vec<_>>(), [0.0, 0.0]);
    assert_eq!(posterior.sample(&[0.0; 6], &[1.0, -2.0, 0.5]), [1.0, -2.0, 0.5]);
    // One component of mean 1 and variance e²: ½ (1 + e² − 1 − 2).
    let divergence = Posterior { latent: 1 }.divergences(&[1.0, 2.0]).next().unwrap();
    assert!((divergence - 0.5 * (2f64.exp() - 2.0)).abs() < 1e-9);
}

#[test]
fn encoder_and_decoder_draw_weights_of_their_own() {
    let decoder_alone = Network::part(&decoder(2, 6), 3, 0, "decoder.").unwrap();
    let autoencoder = small();
    assert_ne!(autoencoder.decoder().parameters(), decoder_alone.parameters());
    assert_eq!(autoencoder.trained()[0].name, "encoder.dense_1.weight");
    assert_eq!(autoencoder.trained()[4].name, "decoder.dense_1.weight");
}

#[test]
fn networks_that_do_not_fit_are_refused() {
    let encoder =
        |units| Architecture { input: vec![1, 2, 3], layers: vec![LayerSpec::Flatten, LayerSpec::Dense { units }] };
    let two_dimensions =
        Architecture { input: vec![1, 2], layers: vec![LayerSpec::Flatten, LayerSpec::Dense { units: 6 }] };
    let conv = LayerSpec::Conv2d { channels: 6, kernel: 1, stride: 1, padding: 0, groups: 1, bias: true };
    let unflatten = LayerSpec::Unflatten { channels: 2, height: 1, width: 1 };
    let no_dense = Architecture { input: vec![2], layers: vec![unflatten, conv, LayerSpec::Flatten] };
    for (encoder, decoder, problem) in [
        (encoder(5), decoder(2, 6), "does not give mean and log variance of 2"),
        (encoder(4), decoder(2, 5), "must give 6 logits"),
        (encoder(4), two_dimensions, "one dimension"),
        (encoder(4), no_dense, "begin with a dense layer"),
    ] {
        let refused = Autoencoder::new(&encoder, &decoder, 0).unwrap_err().to_string();
        assert!(refused.contains(problem), "{refused}");
    }
}
