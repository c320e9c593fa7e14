//! An image transform as somebody writes it: a preset, changes to it, and the rest left to the graph.

use serde::Deserialize;

use super::DType;
use super::image::{Colour, Decoding, Interpolation, Layout, Polarity};

/// The table `[image]` of `model.toml`, and the image transform of a manifest. What is left out comes from the preset,
/// then from the graph, then from the defaults.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImageSpec {
    /// The preset that the other settings change.
    pub preset: Option<Preset>,
    /// Width of the input in pixels.
    pub width: Option<u32>,
    /// Height of the input in pixels.
    pub height: Option<u32>,
    /// The polarity of drawings.
    pub polarity: Option<Polarity>,
    /// The channels and their order.
    #[serde(alias = "color")]
    pub colour: Option<Colour>,
    /// The order of the dimensions.
    pub layout: Option<Layout>,
    /// The type of the elements.
    pub dtype: Option<DType>,
    /// The rule for another size.
    pub fit: Option<FitName>,
    /// The share of the covered width and height that the input shows.
    pub crop_fraction: Option<f64>,
    /// The picture's shorter side after scaling.
    pub shortest_side: Option<u32>,
    /// The colour of the padding.
    pub padding: Option<[u8; 3]>,
    /// The kernel that resamples.
    pub interpolation: Option<Interpolation>,
    /// True if the kernel is widened when a picture shrinks.
    pub antialias: Option<bool>,
    /// The size at which JPEG files are decoded.
    pub decode: Option<Decoding>,
    /// The colour behind transparent parts.
    pub background: Option<[u8; 3]>,
    /// The factor of each pixel.
    pub scale: Option<f64>,
    /// What is subtracted afterwards.
    pub mean: Option<Numbers>,
    /// What the difference is divided by.
    pub std: Option<Numbers>,
}

/// The name of a rule for another size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FitName {
    /// Scale both axes.
    Stretch,
    /// Cover, and take the middle.
    Crop,
    /// Fit, and pad.
    Letterbox,
    /// Centre a drawing as MNIST was made.
    #[serde(alias = "center_of_mass")]
    CentreOfMass,
}

/// A number for all channels, or one for each.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(untagged, expecting = "expected a number, or a list with a number for each channel")]
pub enum Numbers {
    /// Of all channels.
    All(f64),
    /// Of each channel.
    Each(Vec<f64>),
}

/// An image transform by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Preset {
    /// Networks for ImageNet's classes from PyTorch: torchvision's `ImageClassification` with `resize_size=256` and
    /// `crop_size=224`.
    Imagenet,
    /// Networks of Keras with `preprocess_input` of mode "tf", -1 to 1: MobileNet, Inception, Xception.
    ImagenetTf,
    /// Networks of Keras with `preprocess_input` of mode "caffe", blue first without the mean: VGG, ResNet50.
    ImagenetCaffe,
    /// CLIP's image encoders, as `clip.load` of OpenAI prepares pictures.
    Clip,
    /// Ultralytics' detectors (`LetterBox`).
    Yolo,
    /// Drawings in MNIST's likeness.
    Mnist,
}

impl Preset {
    /// Every preset.
    pub const ALL: [Self; 6] =
        [Self::Imagenet, Self::ImagenetTf, Self::ImagenetCaffe, Self::Clip, Self::Yolo, Self::Mnist];

    /// Returns the name in `model.toml`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Imagenet => "imagenet",
            Self::ImagenetTf => "imagenet-tf",
            Self::ImagenetCaffe => "imagenet-caffe",
            Self::Clip => "clip",
            Self::Yolo => "yolo",
            Self::Mnist => "mnist",
        }
    }
}
