//! Completes an image transform: by its preset, the graph's input, and the defaults.

use serde::{Deserialize, Deserializer};

use super::image::{
    Colour, DrawingTransform, Fit, ImageTransform, Interpolation, Layout, PictureFit, PictureTransform, Polarity,
};
use super::spec::{FitName, ImageSpec, Numbers};
use super::{DType, Dim, TensorSpec};

/// The greatest width or height of an input.
const MAX_SIDE: u32 = 1 << 14;

impl<'de> Deserialize<'de> for ImageTransform {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        ImageSpec::deserialize(deserializer)?.resolve(None).map_err(serde::de::Error::custom)
    }
}

/// The dimensions of a graph's input, read as those of a picture.
#[derive(Default)]
struct Found {
    layout: Option<Layout>,
    channels: Option<usize>,
    width: Option<usize>,
    height: Option<usize>,
    dtype: Option<DType>,
}

impl ImageSpec {
    /// Completes the transform, by the input of a graph if it is known.
    ///
    /// # Errors
    /// A message that names the setting, what was expected and what it is.
    pub fn resolve(self, input: Option<&TensorSpec>) -> Result<ImageTransform, String> {
        let spec = match self.preset {
            Some(preset) => self.over(preset.spec()),
            None => self,
        };
        if spec.polarity.is_some() || spec.fit == Some(FitName::CentreOfMass) {
            return spec.drawing(input).map(ImageTransform::Drawing);
        }
        spec.picture(input).map(ImageTransform::Picture)
    }

    /// Returns this specification with the settings of another in the place of those that are missing.
    fn over(self, below: Self) -> Self {
        // Who names a rule does not want the other rule's settings.
        let rule = match self.fit {
            Some(fit) if below.fit != Some(fit) => Self::default(),
            _ => below.clone(),
        };
        let says_crop = self.crop_fraction.is_some() || self.shortest_side.is_some();
        Self {
            preset: self.preset,
            width: self.width.or(below.width),
            height: self.height.or(below.height),
            polarity: self.polarity.or(rule.polarity),
            colour: self.colour.or(below.colour),
            layout: self.layout.or(below.layout),
            dtype: self.dtype.or(below.dtype),
            fit: self.fit.or(below.fit),
            crop_fraction: if says_crop { self.crop_fraction } else { rule.crop_fraction },
            shortest_side: if says_crop { self.shortest_side } else { rule.shortest_side },
            padding: self.padding.or(rule.padding),
            interpolation: self.interpolation.or(below.interpolation),
            antialias: self.antialias.or(if self.interpolation.is_some() { None } else { below.antialias }),
            decode: self.decode.or(below.decode),
            background: self.background.or(below.background),
            scale: self.scale.or(below.scale),
            mean: self.mean.or(below.mean),
            std: self.std.or(below.std),
        }
    }

    fn drawing(self, input: Option<&TensorSpec>) -> Result<DrawingTransform, String> {
        let stray = [
            ("colour", self.colour.is_some_and(|colour| colour != Colour::Grey)),
            ("layout", self.layout.is_some()),
            ("dtype", self.dtype.is_some_and(|dtype| dtype != DType::Float32)),
            ("crop_fraction", self.crop_fraction.is_some()),
            ("shortest_side", self.shortest_side.is_some()),
            ("padding", self.padding.is_some()),
            ("interpolation", self.interpolation.is_some()),
            ("antialias", self.antialias.is_some()),
            ("decode", self.decode.is_some()),
            ("background", self.background.is_some()),
            ("scale", self.scale.is_some()),
            ("mean", self.mean.is_some()),
            ("std", self.std.is_some()),
        ];
        if let Some((name, _)) = stray.iter().find(|(_, is_set)| *is_set) {
            return Err(format!(
                "{name} is a setting of pictures, and \"polarity\" or \"centre_of_mass\" make this one of drawings, in grey pixels from 0 to 255"
            ));
        }
        let fit = match self.fit {
            Some(FitName::Stretch) => Fit::Stretch,
            Some(FitName::CentreOfMass) | None => Fit::CentreOfMass,
            Some(FitName::Crop | FitName::Letterbox) => {
                return Err("fit must be \"stretch\" or \"centre_of_mass\" for a drawing, which has a polarity".into());
            }
        };
        let found = Found::of(input, None, Some(Colour::Grey));
        let [width, height] = self.size(&found)?;
        Ok(DrawingTransform { width, height, polarity: self.polarity.unwrap_or(Polarity::LightOnDark), fit })
    }

    fn picture(self, input: Option<&TensorSpec>) -> Result<PictureTransform, String> {
        let found = Found::of(input, self.layout, self.colour);
        if let (Some(input), Some(colour), None) = (input, self.colour, found.channels)
            && matches!(input.sample_dims(), dims @ [_, _, _] if dims.iter().all(|dim| !dim.is_open()))
        {
            let (channels, shape) = (colour.channels(), input.shape_text());
            return Err(format!(
                "colour is of {channels} channels, and the graph's input {shape} has no such dimension at either end"
            ));
        }
        let colour = self.colour.unwrap_or(if found.channels == Some(1) { Colour::Grey } else { Colour::Rgb });
        let [width, height] = self.size(&found)?;
        let dtype = self.dtype.or(found.dtype).unwrap_or(DType::Float32);
        if !matches!(dtype, DType::Float32 | DType::Float16 | DType::Uint8) {
            return Err(format!("dtype must be float32, float16 or uint8 for a picture, it is {dtype}"));
        }
        let interpolation = self.interpolation.unwrap_or(Interpolation::Bilinear);
        let channels = colour.channels();
        let transform = PictureTransform {
            width,
            height,
            colour,
            layout: self.layout.or(found.layout).unwrap_or(Layout::Nchw),
            dtype,
            fit: self.fit([width, height])?,
            interpolation,
            antialias: self.antialias.unwrap_or(interpolation != Interpolation::Nearest),
            decode: self.decode.unwrap_or_default(),
            background: self.background.unwrap_or([255; 3]),
            scale: self.scale.unwrap_or(1.0),
            mean: numbers(self.mean, "mean", 0.0, channels)?,
            std: numbers(self.std, "std", 1.0, channels)?,
        };
        let is_number = |number: &f64| number.is_finite();
        if !is_number(&transform.scale) || transform.scale == 0.0 {
            return Err(format!("scale must be a number other than 0, it is {}", transform.scale));
        }
        if !transform.mean.iter().all(is_number) || !transform.std.iter().all(|std| is_number(std) && *std != 0.0) {
            return Err("mean must be of finite numbers, and std of such other than 0".into());
        }
        let is_plain = transform.scale == 1.0 && transform.mean.iter().all(|mean| *mean == 0.0);
        if dtype == DType::Uint8 && !(is_plain && transform.std.iter().all(|std| *std == 1.0)) {
            return Err("an input of uint8 takes pixels as they are: scale, mean and std do not apply".into());
        }
        Ok(transform)
    }

    /// Returns width and height, said or found in the graph.
    fn size(&self, found: &Found) -> Result<[u32; 2], String> {
        let side = |name: &str, said: Option<u32>, found: Option<usize>| match (said, found) {
            (Some(said), Some(found)) if said as usize != found => {
                Err(format!("{name} is {said}, and the graph's input has {found}"))
            }
            (Some(side), _) if (1..=MAX_SIDE).contains(&side) => Ok(side),
            (None, Some(side)) if (1..=MAX_SIDE as usize).contains(&side) => Ok(side as u32),
            (Some(side), _) => Err(format!("{name} must be from 1 to {MAX_SIDE}, it is {side}")),
            (None, _) => Err(format!("{name} is missing: the graph does not fix it, so say it here")),
        };
        Ok([side("width", self.width, found.width)?, side("height", self.height, found.height)?])
    }

    fn fit(&self, size: [u32; 2]) -> Result<PictureFit, String> {
        let (crop_fraction, shortest_side) = (self.crop_fraction, self.shortest_side);
        let says_crop = crop_fraction.is_some() || shortest_side.is_some();
        let fit = match (self.fit, says_crop) {
            (Some(FitName::Crop), _) | (None, true) => {
                if crop_fraction.is_some() && shortest_side.is_some() {
                    return Err("crop_fraction and shortest_side exclude each other".into());
                }
                let fraction = crop_fraction.or(if shortest_side.is_some() { None } else { Some(1.0) });
                PictureFit::Crop { crop_fraction: fraction, shortest_side }
            }
            (_, true) => return Err("crop_fraction and shortest_side are settings of fit = \"crop\"".into()),
            (Some(FitName::Letterbox), _) => PictureFit::Letterbox { padding: self.padding.unwrap_or([0; 3]) },
            (Some(FitName::Stretch | FitName::CentreOfMass) | None, _) => PictureFit::Stretch,
        };
        if self.padding.is_some() && !matches!(fit, PictureFit::Letterbox { .. }) {
            return Err("padding is a setting of fit = \"letterbox\"".into());
        }
        if let Some(fraction) = crop_fraction.filter(|fraction| !(0.05..=1.0).contains(fraction)) {
            return Err(format!("crop_fraction must be from 0.05 to 1, it is {fraction}"));
        }
        let longest = size[0].max(size[1]);
        if let Some(side) = shortest_side.filter(|side| !(longest..=MAX_SIDE).contains(side)) {
            return Err(format!(
                "shortest_side must be from {longest}, the input's longer side, to {MAX_SIDE}, it is {side}"
            ));
        }
        Ok(fit)
    }
}

impl Found {
    /// Reads the dimensions of an input. Channels are the dimension of 1 or 3 at one end; of two such ends the first
    /// counts, unless the layout is said.
    fn of(input: Option<&TensorSpec>, layout: Option<Layout>, colour: Option<Colour>) -> Self {
        let Some(input) = input else { return Self::default() };
        let dtype = Some(input.dtype);
        let size = |dim: &Dim| if let Dim::Fixed(size) = dim { Some(*size) } else { None };
        let is_channels = |dim: &Dim| match (size(dim), colour) {
            (Some(channels), Some(colour)) => channels == colour.channels(),
            (Some(channels), None) => matches!(channels, 1 | 3),
            (None, _) => false,
        };
        match input.sample_dims() {
            [height, width] => Self { layout, channels: Some(1), width: size(width), height: size(height), dtype },
            [channels, height, width] if layout != Some(Layout::Nhwc) && is_channels(channels) => {
                let layout = Some(Layout::Nchw);
                Self { layout, channels: size(channels), width: size(width), height: size(height), dtype }
            }
            [height, width, channels] if layout != Some(Layout::Nchw) && is_channels(channels) => {
                let layout = Some(Layout::Nhwc);
                Self { layout, channels: size(channels), width: size(width), height: size(height), dtype }
            }
            _ => Self { layout, dtype, ..Self::default() },
        }
    }
}

fn numbers(given: Option<Numbers>, name: &str, default: f64, channels: usize) -> Result<Vec<f64>, String> {
    match given {
        None => Ok(vec![default; channels]),
        Some(Numbers::All(number)) => Ok(vec![number; channels]),
        Some(Numbers::Each(numbers)) if numbers.len() == channels => Ok(numbers),
        Some(Numbers::Each(numbers)) => {
            Err(format!("{name} must hold a number for each of {channels} channels, it holds {}", numbers.len()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(text: &str) -> ImageSpec {
        toml::from_str(text).unwrap()
    }

    fn input(dtype: DType, dims: &[&str]) -> TensorSpec {
        let dim = |dim: &&str| dim.parse().map_or_else(|_| Dim::Symbol((*dim).into()), Dim::Fixed);
        TensorSpec { name: "x".into(), dtype, shape: dims.iter().map(dim).collect() }
    }

    fn picture(text: &str, dims: &[&str]) -> PictureTransform {
        match spec(text).resolve(Some(&input(DType::Float32, dims))).unwrap() {
            ImageTransform::Picture(picture) => picture,
            ImageTransform::Drawing(drawing) => panic!("{drawing:?}"),
        }
    }

    #[test]
    fn the_graph_says_what_the_table_does_not() {
        let found = picture("preset = \"imagenet\"", &["N", "3", "224", "192"]);
        assert_eq!((found.width, found.height, found.layout, found.colour), (192, 224, Layout::Nchw, Colour::Rgb));
        let found = picture("", &["N", "32", "40", "1"]);
        assert_eq!((found.width, found.height, found.layout, found.colour), (40, 32, Layout::Nhwc, Colour::Grey));
        let found = picture("width = 64\nheight = 48", &["N", "3", "H", "W"]);
        assert_eq!((found.width, found.height, found.scale), (64, 48, 1.0));
        let wide = input(DType::Uint8, &["1", "3", "8", "3"]);
        let ImageTransform::Picture(found) = spec("layout = \"nhwc\"").resolve(Some(&wide)).unwrap() else { panic!() };
        assert_eq!((found.width, found.height, found.dtype), (8, 3, DType::Uint8));
    }

    #[test]
    fn a_drawing_is_told_by_its_polarity_and_written_as_ever() {
        let text = r#"{"width":28,"height":28,"polarity":"light_on_dark","fit":"centre_of_mass"}"#;
        let transform: ImageTransform = serde_json::from_str(text).unwrap();
        assert!(transform.drawing().is_some());
        assert_eq!(serde_json::to_string(&transform).unwrap(), text);
        let mnist = spec("preset = \"mnist\"").resolve(Some(&input(DType::Float32, &["N", "28", "28"]))).unwrap();
        assert_eq!(mnist, transform);
    }

    #[test]
    fn a_complete_transform_comes_back_from_a_manifest() {
        for text in [
            "preset = \"imagenet\"",
            "preset = \"imagenet-tf\"",
            "preset = \"imagenet-caffe\"",
            "preset = \"clip\"",
            "preset = \"yolo\"",
            "shortest_side = 256\ninterpolation = \"lanczos\"\nantialias = false",
            "preset = \"clip\"\ndecode = \"scaled\"",
        ] {
            let written = ImageTransform::Picture(picture(text, &["N", "3", "224", "224"]));
            let json = serde_json::to_string(&written).unwrap();
            assert_eq!(serde_json::from_str::<ImageTransform>(&json).unwrap(), written, "{json}");
        }
    }

    #[test]
    fn what_contradicts_itself_or_the_graph_is_refused() {
        let of = |text: &str, dims: &[&str]| spec(text).resolve(Some(&input(DType::Float32, dims))).unwrap_err();
        let square = &["N", "3", "224", "224"][..];
        for (text, dims, expected) in [
            ("width = 200", square, "width is 200, and the graph's input has 224"),
            ("", &["N", "3", "H", "W"][..], "width is missing"),
            ("crop_fraction = 1.5", square, "crop_fraction must be"),
            ("shortest_side = 100", square, "shortest_side must be from 224"),
            ("crop_fraction = 0.9\nshortest_side = 256", square, "exclude each other"),
            ("fit = \"stretch\"\ncrop_fraction = 0.9", square, "settings of fit = \"crop\""),
            ("padding = [1, 2, 3]", square, "setting of fit = \"letterbox\""),
            ("mean = [1.0, 2.0]", square, "each of 3 channels, it holds 2"),
            ("std = 0", square, "other than 0"),
            ("scale = 0.0", square, "other than 0"),
            ("dtype = \"uint8\"\nscale = 0.5", square, "takes pixels as they are"),
            ("dtype = \"int64\"", square, "float32, float16 or uint8"),
            ("polarity = \"light_on_dark\"\ndecode = \"full\"", &["N", "28", "28"], "decode is a setting of pictures"),
            ("polarity = \"light_on_dark\"\nmean = 0.5", &["N", "28", "28"], "mean is a setting of pictures"),
        ] {
            let problem = of(text, dims);
            assert!(problem.contains(expected), "{text}: {problem}");
        }
        assert!(toml::from_str::<ImageSpec>("meen = 1.0").is_err());
    }

    #[test]
    fn a_rule_that_is_named_drops_the_settings_of_the_presets() {
        let found = picture("preset = \"imagenet\"\nfit = \"stretch\"", &["N", "3", "8", "8"]);
        assert_eq!(found.fit, PictureFit::Stretch);
        let found = picture("preset = \"imagenet\"\nshortest_side = 232", &["N", "3", "224", "224"]);
        assert_eq!(found.fit, PictureFit::Crop { crop_fraction: None, shortest_side: Some(232) });
    }
}
