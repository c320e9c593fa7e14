//! The settings of the presets, after what published models are trained with.

use super::image::{Colour, Interpolation, Polarity};
use super::spec::{FitName, ImageSpec, Numbers, Preset};

impl Preset {
    /// Returns the settings of the preset.
    pub(super) fn spec(self) -> ImageSpec {
        let each = |numbers: [f64; 3]| Some(Numbers::Each(numbers.to_vec()));
        let rgb = ImageSpec { colour: Some(Colour::Rgb), ..ImageSpec::default() };
        match self {
            Self::Imagenet => ImageSpec {
                fit: Some(FitName::Crop),
                crop_fraction: Some(0.875),
                interpolation: Some(Interpolation::Bilinear),
                scale: Some(1.0 / 255.0),
                mean: each([0.485, 0.456, 0.406]),
                std: each([0.229, 0.224, 0.225]),
                ..rgb
            },
            Self::ImagenetTf => ImageSpec {
                fit: Some(FitName::Stretch),
                interpolation: Some(Interpolation::Bilinear),
                scale: Some(1.0 / 127.5),
                mean: Some(Numbers::All(1.0)),
                ..rgb
            },
            Self::ImagenetCaffe => ImageSpec {
                colour: Some(Colour::Bgr),
                fit: Some(FitName::Stretch),
                interpolation: Some(Interpolation::Bilinear),
                mean: each([103.939, 116.779, 123.68]),
                ..rgb
            },
            Self::Clip => ImageSpec {
                fit: Some(FitName::Crop),
                crop_fraction: Some(1.0),
                interpolation: Some(Interpolation::Bicubic),
                scale: Some(1.0 / 255.0),
                mean: each([0.481_454_66, 0.457_827_5, 0.408_210_73]),
                std: each([0.268_629_54, 0.261_302_58, 0.275_777_11]),
                ..rgb
            },
            Self::Yolo => ImageSpec {
                fit: Some(FitName::Letterbox),
                padding: Some([114; 3]),
                interpolation: Some(Interpolation::Bilinear),
                antialias: Some(false),
                scale: Some(1.0 / 255.0),
                ..rgb
            },
            Self::Mnist => ImageSpec {
                polarity: Some(Polarity::LightOnDark),
                fit: Some(FitName::CentreOfMass),
                ..ImageSpec::default()
            },
        }
    }
}
