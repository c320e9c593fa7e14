//! The three graphs of a variational autoencoder: encoder, decoder, and both with the score of an image.

use super::Autoencoder;
use crate::error::Result;
use crate::trainer::export::{Graph, INPUT, LOGITS, encode, float_value, integer, write_network};
use crate::trainer::network::Network;

/// The input of the whole graph beside the image: what the code is drawn with; zeros give its mean.
pub(super) const NOISE: &str = "noise";
/// The mean of the code.
pub(super) const MEAN: &str = "mean";
/// The logarithm of its variance.
pub(super) const LOG_VARIANCE: &str = "log_variance";
/// The input of the decoder.
const CODE: &str = "latent";
/// The output of the decoder: how probable it is that each pixel is on.
pub(super) const DECODED: &str = crate::repository::INTENSITIES;
/// The same of the whole graph.
pub(super) const RECONSTRUCTION: &str = "reconstruction";
/// −ELBO of each image in nats.
pub(super) const SCORE: &str = "score";

/// The files of an autoencoder.
#[derive(Debug)]
pub(super) struct Graphs {
    /// `image, noise` → `reconstruction, mean, log_variance, score`.
    pub(super) model: Vec<u8>,
    /// `image` → `mean, log_variance`.
    pub(super) encoder: Vec<u8>,
    /// `latent` → `logits, probabilities`.
    pub(super) decoder: Vec<u8>,
}

/// The bytes of the three files. The same autoencoder gives the same bytes.
///
/// # Errors
/// As [`crate::layers::Architecture::plan`].
pub(super) fn to_onnx(autoencoder: &Autoencoder, name: &str) -> Result<Graphs> {
    let (encoder, decoder, latent) = (autoencoder.encoder(), autoencoder.decoder(), autoencoder.latent());
    let image = encoder.architecture().input.clone();
    let codes = || vec![float_value(MEAN, &[latent]), float_value(LOG_VARIANCE, &[latent])];
    let mut graph = Graph::default();
    write_encoder(&mut graph, encoder, latent);
    let encoder_file = encode(graph, &format!("{name}-encoder"), vec![float_value(INPUT, &image)], codes());

    let mut graph = Graph::default();
    write_decoder(&mut graph, decoder, &image, CODE, DECODED);
    let outputs = vec![float_value(LOGITS, &image), float_value(DECODED, &image)];
    let decoder_file = encode(graph, &format!("{name}-decoder"), vec![float_value(CODE, &[latent])], outputs);

    let mut graph = Graph::default();
    write_encoder(&mut graph, encoder, latent);
    write_draw(&mut graph);
    write_decoder(&mut graph, decoder, &image, CODE, RECONSTRUCTION);
    write_score(&mut graph, image.len());
    let inputs = vec![float_value(INPUT, &image), float_value(NOISE, &[latent])];
    let mut outputs = vec![float_value(RECONSTRUCTION, &image)];
    outputs.extend(codes());
    outputs.push(float_value(SCORE, &[]));
    Ok(Graphs { model: encode(graph, name, inputs, outputs), encoder: encoder_file, decoder: decoder_file })
}

/// `image` → `mean, log_variance`, the two halves of what the network gives.
fn write_encoder(graph: &mut Graph, encoder: &Network, latent: usize) {
    const CODES: &str = "encoder.codes";
    write_network(graph, encoder, INPUT, CODES, "encoder.");
    let bounds = ["encoder.start", "encoder.middle", "encoder.end"];
    for (bound, at) in bounds.into_iter().zip([0, latent, 2 * latent]) {
        graph.integers_constant(bound, &[at as i64]);
    }
    graph.integers_constant("encoder.axis", &[1]);
    for (half, output) in [MEAN, LOG_VARIANCE].into_iter().enumerate() {
        graph.node("Slice", &[CODES, bounds[half], bounds[half + 1], "encoder.axis"], output, Vec::new());
    }
}

/// A code → `logits` in the shape of an image, and their sigmoid.
fn write_decoder(graph: &mut Graph, decoder: &Network, image: &[usize], code: &str, output: &str) {
    write_network(graph, decoder, code, "decoder.pixels", "decoder.");
    // The batch is what is left.
    let shape: Vec<i64> = std::iter::once(-1).chain(image.iter().map(|&size| size as i64)).collect();
    graph.integers_constant("decoder.shape", &shape);
    graph.node("Reshape", &["decoder.pixels", "decoder.shape"], LOGITS, Vec::new());
    graph.node("Sigmoid", &[LOGITS], output, Vec::new());
}

/// `mean, log_variance, noise` → a code: μ + e^(½ ln σ²)·ε.
fn write_draw(graph: &mut Graph) {
    graph.constant("half", &[], &[0.5]);
    graph.node("Mul", &[LOG_VARIANCE, "half"], "draw.log_deviation", Vec::new());
    graph.node("Exp", &["draw.log_deviation"], "draw.deviation", Vec::new());
    graph.node("Mul", &["draw.deviation", NOISE], "draw.offset", Vec::new());
    graph.node("Add", &[MEAN, "draw.offset"], CODE, Vec::new());
}

/// −ELBO: Σ softplus(x) − t·x over the pixels, t from 0 to 1, and ½ Σ μ² + σ² − 1 − ln σ² over the code.
/// Softplus is taken as max(x, 0) + softplus(−|x|), since e^x by itself overflows in some engines.
fn write_score(graph: &mut Graph, dimensions: usize) {
    graph.constant("score.white", &[], &[1.0 / 255.0]);
    graph.constant("score.one", &[], &[1.0]);
    let axes: Vec<i64> = (1..=dimensions as i64).collect();
    graph.integers_constant("score.pixel_axes", &axes);
    graph.integers_constant("score.code_axes", &[1]);
    let sum = |graph: &mut Graph, value: &str, axes: &str, output: &str| {
        graph.node("ReduceSum", &[value, axes], output, vec![integer("keepdims", 0)]);
    };
    graph.node("Mul", &[INPUT, "score.white"], "score.target", Vec::new());
    graph.node("Mul", &["score.target", LOGITS], "score.gain", Vec::new());
    graph.node("Relu", &[LOGITS], "score.positive", Vec::new());
    graph.node("Abs", &[LOGITS], "score.size", Vec::new());
    graph.node("Neg", &["score.size"], "score.negative", Vec::new());
    graph.node("Softplus", &["score.negative"], "score.rest", Vec::new());
    graph.node("Add", &["score.positive", "score.rest"], "score.softplus", Vec::new());
    graph.node("Sub", &["score.softplus", "score.gain"], "score.pixels", Vec::new());
    sum(graph, "score.pixels", "score.pixel_axes", "score.reconstruction");
    graph.node("Mul", &[MEAN, MEAN], "score.square", Vec::new());
    graph.node("Exp", &[LOG_VARIANCE], "score.variance", Vec::new());
    graph.node("Add", &["score.square", "score.variance"], "score.moment", Vec::new());
    graph.node("Sub", &["score.moment", LOG_VARIANCE], "score.terms", Vec::new());
    graph.node("Sub", &["score.terms", "score.one"], "score.divergences", Vec::new());
    sum(graph, "score.divergences", "score.code_axes", "score.twice");
    graph.node("Mul", &["score.twice", "half"], "score.divergence", Vec::new());
    graph.node("Add", &["score.reconstruction", "score.divergence"], SCORE, Vec::new());
}
