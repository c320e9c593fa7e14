//! The networks of `cnn` and `cnn-tiny`: residual ones (He et al. 2016) for photos of any size.
//!
//! Photos are made smaller by strided convolutions until their longer side has at most [`LARGEST`] pixels, so that a large
//! photo costs little more than a small one. Stages follow, each at half the size and twice the channels of the one
//! before, each with a residual block, until the maps are small. Their means are what the classes are told by.

use super::Sizes;
use crate::layers::{Architecture, LayerSpec};

/// The longer side of the maps that the first stage begins with, in pixels.
const LARGEST: usize = 40;

/// Maps whose longer side is no larger than this are not halved again.
const SMALLEST: usize = 4;

/// More channels than this cost more than they help.
const MOST_CHANNELS: usize = 128;

/// Samples below which a network gets half the channels: it learns them by heart all the same.
const FEW: usize = 2000;

pub(super) fn photo_cnn(sizes: &Sizes) -> Architecture {
    residual(sizes, if sizes.samples < FEW { 12 } else { 16 }, 0.1)
}

pub(super) fn photo_tiny(sizes: &Sizes) -> Architecture {
    residual(sizes, 6, 0.0)
}

/// A network whose first maps have so many channels.
fn residual(sizes: &Sizes, channels: usize, dropout: f32) -> Architecture {
    let mut layers = vec![LayerSpec::Rescale { scale: 1.0 / 255.0 }];
    let mut side = sizes.height.max(sizes.width);
    let mut strides = Vec::new();
    while side > LARGEST {
        // The first step may be a large one, as nothing was computed at the full size yet.
        let stride = if strides.is_empty() && side > 3 * LARGEST { 4 } else { 2 };
        strides.push(stride);
        side = side.div_ceil(stride);
    }
    if strides.is_empty() {
        strides.push(1);
    }
    for stride in strides {
        layers.extend(convolution(channels, if stride > 2 { 7 } else { 3 }, stride));
        layers.push(LayerSpec::Relu);
    }
    let mut wide = channels * 3 / 2;
    while side > SMALLEST {
        side = side.div_ceil(2);
        layers.extend(convolution(wide, 3, 2));
        layers.push(LayerSpec::Relu);
        layers.extend(convolution(wide, 3, 1));
        layers.push(LayerSpec::Relu);
        layers.extend(convolution(wide, 3, 1));
        layers.extend([LayerSpec::Add { back: 6 }, LayerSpec::Relu]);
        wide = (wide * 2).min(MOST_CHANNELS);
    }
    layers.push(LayerSpec::GlobalAveragePool);
    if dropout > 0.0 {
        layers.push(LayerSpec::Dropout { rate: dropout });
    }
    layers.push(LayerSpec::Dense { units: sizes.outputs });
    Architecture { input: sizes.input(), layers }
}

/// A convolution with a norm, which becomes part of it in the exported graph.
fn convolution(channels: usize, kernel: usize, stride: usize) -> [LayerSpec; 2] {
    let conv = LayerSpec::Conv2d { channels, kernel, stride, padding: kernel / 2, groups: 1, bias: false };
    [conv, LayerSpec::BatchNorm]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sizes(channels: usize, height: usize, width: usize) -> Sizes {
        Sizes { channels, height, width, outputs: 10, samples: 50_000 }
    }

    #[test]
    fn photos_of_any_size_have_a_network_of_about_the_same_cost() {
        for (height, width) in
            [(1, 1), (5, 9), (16, 16), (28, 28), (64, 48), (128, 171), (224, 224), (512, 512), (512, 16)]
        {
            for (channels, make) in [(1, photo_cnn as fn(&Sizes) -> Architecture), (3, photo_cnn), (3, photo_tiny)] {
                let network = make(&sizes(channels, height, width));
                assert_eq!(network.output().unwrap(), [10], "{height} x {width}");
                let cost = network.multiply_adds().unwrap();
                assert!(cost < 80_000_000, "{height} x {width}: {cost}");
            }
        }
    }

    #[test]
    fn blocks_add_what_they_began_with() {
        let network = photo_cnn(&sizes(1, 28, 28));
        let plan = network.plan().unwrap();
        let added: Vec<&str> = plan
            .iter()
            .enumerate()
            .filter_map(|(at, layer)| match layer.spec {
                LayerSpec::Add { back } => Some(plan[at - back].spec.name()),
                _ => None,
            })
            .collect();
        assert_eq!(added, ["relu"; 3]);
        assert!(photo_tiny(&sizes(1, 28, 28)).multiply_adds().unwrap() * 5 < network.multiply_adds().unwrap());
        let few = photo_cnn(&Sizes { samples: 100, ..sizes(1, 28, 28) });
        assert!(few.parameters().unwrap() < network.parameters().unwrap());
    }
}
