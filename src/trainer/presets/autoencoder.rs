//! The two networks of `mnist-vae`.

use super::Sizes;
use crate::layers::{Architecture, LayerSpec};

/// Numbers of a code of `mnist-vae`; training leaves about half of them unused.
const LATENT: usize = 40;

pub(super) fn encoder(sizes: &Sizes) -> Architecture {
    let conv = |channels| LayerSpec::Conv2d { channels, kernel: 3, stride: 2, padding: 1, groups: 1, bias: true };
    Architecture {
        input: sizes.input(),
        layers: vec![
            LayerSpec::Rescale { scale: 1.0 / 255.0 },
            conv(16),
            LayerSpec::Silu,
            conv(32),
            LayerSpec::Silu,
            LayerSpec::Flatten,
            LayerSpec::Dense { units: 256 },
            LayerSpec::Silu,
            LayerSpec::Dense { units: 2 * LATENT },
        ],
    }
}

/// A dense layer makes small maps, which two convolutions enlarge by 2 each; images whose size is odd, or twice an
/// odd number, are enlarged less often. Two numbers for each pixel are what it starts from in any case.
pub(super) fn decoder(height: usize, width: usize) -> Architecture {
    let factor = |by: usize| -> usize { if height.is_multiple_of(by) && width.is_multiple_of(by) { 2 } else { 1 } };
    let (last, first) = (factor(2), factor(4));
    let (start, middle) = (2 * (first * last).pow(2), 4 * last.pow(2));
    let [small_height, small_width] = [height, width].map(|size| size / (first * last));
    let enlarged = |channels: usize, factor: usize| {
        let channels = channels * factor.pow(2);
        let conv = LayerSpec::Conv2d { channels, kernel: 3, stride: 1, padding: 1, groups: 1, bias: true };
        std::iter::once(conv).chain((factor > 1).then_some(LayerSpec::PixelShuffle { factor }))
    };
    let mut layers = vec![
        LayerSpec::Dense { units: 256 },
        LayerSpec::Silu,
        LayerSpec::Dense { units: 2 * height * width },
        LayerSpec::Silu,
        LayerSpec::Unflatten { channels: start, height: small_height, width: small_width },
    ];
    layers.extend(enlarged(middle, first));
    layers.push(LayerSpec::Silu);
    layers.extend(enlarged(1, last));
    Architecture { input: vec![LATENT], layers }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_decoder_gives_images_of_any_size() {
        for (height, width, start) in [(28, 28, 32), (12, 16, 32), (6, 8, 8), (4, 6, 8), (7, 8, 2), (1, 1, 2)] {
            let decoder = decoder(height, width);
            assert_eq!(decoder.output().unwrap(), [1, height, width]);
            assert_eq!(decoder.plan().unwrap()[4].output[0], start);
        }
    }
}
