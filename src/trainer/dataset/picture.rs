//! Encoded pictures → pixels of one size, by the code that serving uses.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::collect::Collector;
use super::options::DataOptions;
use crate::error::{Error, Result};
use crate::repository::{ColourChoice, FitChoice, PictureChoice, ReadSettings};
use crate::signature::{
    Colour, DType, DrawingTransform, Fit, ImageTransform, Interpolation, Layout, PictureFit, PictureTransform, Polarity,
};
use crate::transform::{
    ImageLimits, LevelTables, Luma, PolarityChoice, append_grey_levels, append_levels, decode, prepare, size as size_of,
};

/// Pixels that a picture may have: 64 million, more than cameras make.
const LIMITS: ImageLimits = ImageLimits { max_pixels: 1 << 26 };

/// The shorter side that photos are brought to unless their sizes or the settings say less or more. What is trained on
/// processors alone gets slow beyond it.
const SHORTER_SIDE: u32 = 128;

/// Photos have the same aspect ratio if this part of them differs from the commonest one by at most [`SAME_RATIO`].
const ALIKE: f64 = 0.95;
const SAME_RATIO: f64 = 0.02;

/// What was seen of the files of pictures while they were read.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SeenPictures {
    /// The number of pictures of each height and width.
    pub sizes: BTreeMap<[u32; 2], u64>,
    /// The number of those that have a pixel that is not grey; `None` if they were read in grey.
    pub coloured: Option<u64>,
    /// The number of all.
    pub count: u64,
}

/// The size that the pictures of a data set are brought to, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Chosen {
    /// Height and width.
    pub(super) size: [u32; 2],
    pub(super) fit: FitChoice,
    /// What was chosen, for people; nothing if it was asked for.
    pub(super) note: Option<String>,
}

impl Chosen {
    /// Chooses by what is asked for, or else by the widths and heights of the pictures; `None` without either.
    pub(super) fn of(sizes: &[(u32, u32)], options: &DataOptions) -> Option<Self> {
        let reading = &options.reading;
        if let Some(image) = options.known_image() {
            let size = reading.image_size.unwrap_or([image.height(), image.width()]);
            return Some(Self { size, fit: FitChoice::Stretch, note: None });
        }
        if reading.transform == PictureChoice::Photo {
            return Self::of_photos(sizes, reading);
        }
        let (size, note) = match (reading.image_size, commonest(sizes.iter().copied())) {
            (Some(size), _) => (size, None),
            (None, None) => return None,
            (None, Some((width, height))) => {
                let size = format!("{height}x{width}");
                let note = format!("pictures are brought to the commonest size, {size}; --image-size HxW says another");
                ([height, width], Some(note))
            }
        };
        Some(Self { size, fit: FitChoice::Stretch, note })
    }

    fn of_photos(sizes: &[(u32, u32)], reading: &ReadSettings) -> Option<Self> {
        let common = commonest(sizes.iter().copied());
        let ratio = |(width, height): (u32, u32)| f64::from(width) / f64::from(height);
        let is_alike = |other: f64| {
            let near = sizes.iter().filter(|size| (ratio(**size) / other - 1.0).abs() <= SAME_RATIO);
            near.count() as f64 >= ALIKE * sizes.len() as f64
        };
        let same_ratio = common.map(ratio).filter(|ratio| is_alike(*ratio));
        let asked_ratio = reading.image_size.map(|[height, width]| ratio((width, height)));
        let keeps = match (asked_ratio, same_ratio) {
            (Some(asked), Some(same)) => (asked / same - 1.0).abs() <= SAME_RATIO,
            (None, Some(_)) => true,
            (_, None) => false,
        };
        let fit = reading.image_fit.unwrap_or(if keeps { FitChoice::Stretch } else { FitChoice::Crop });
        let size = match (reading.image_size, common) {
            (Some(size), _) => size,
            (None, None) => return None,
            (None, Some((width, height))) if same_ratio.is_some() => shrunk([height, width]),
            (None, Some(_)) => [middle(sizes.iter().map(|(width, height)| *width.min(height))).min(SHORTER_SIDE); 2],
        };
        let is_of_size = sizes.iter().all(|(width, height)| [*height, *width] == size);
        let note = (!is_of_size && (reading.image_size.is_none() || reading.image_fit.is_none()))
            .then(|| said(sizes, size, fit));
        Some(Self { size, fit, note })
    }
}

/// Returns what photos are brought to, for people.
fn said(sizes: &[(u32, u32)], [height, width]: [u32; 2], fit: FitChoice) -> String {
    let smallest = sizes.iter().min_by_key(|(width, height)| u64::from(*width) * u64::from(*height));
    let largest = sizes.iter().max_by_key(|(width, height)| u64::from(*width) * u64::from(*height));
    let of = |size: Option<&(u32, u32)>| size.map_or_else(String::new, |(width, height)| format!("{height}x{width}"));
    let how = match fit {
        FitChoice::Stretch => "are stretched to",
        FitChoice::Crop => "are scaled until they cover, and cut to the middle",
        FitChoice::Letterbox => "are scaled until they fit, and padded to",
    };
    format!(
        "photos from {} to {} {how} {height}x{width}; --image-size HxW and --image-fit say otherwise",
        of(smallest),
        of(largest)
    )
}

/// Returns a size whose shorter side is not beyond the limit, in its aspect ratio.
fn shrunk(size: [u32; 2]) -> [u32; 2] {
    let shorter = size[0].min(size[1]);
    if shorter <= SHORTER_SIDE {
        return size;
    }
    let factor = f64::from(SHORTER_SIDE) / f64::from(shorter);
    size.map(|side| (f64::from(side) * factor).round() as u32)
}

/// Returns the middle one of numbers, 1 without any.
fn middle(numbers: impl Iterator<Item = u32>) -> u32 {
    let mut numbers: Vec<u32> = numbers.collect();
    numbers.sort_unstable();
    numbers.get(numbers.len() / 2).copied().unwrap_or(1)
}

/// The pixels of a picture, channel by channel.
#[derive(Debug)]
pub(super) struct Pixels {
    pixels: Vec<u8>,
    /// True if black and white were exchanged.
    inverted: bool,
    /// True if a pixel is not grey.
    has_colour: bool,
}

/// Makes pixels of the pictures of a data set, and counts what it does.
#[derive(Debug)]
pub(super) struct Pictures {
    transform: ImageTransform,
    choice: PictureChoice,
    /// True if the transform was known before the data were.
    is_known: bool,
    /// True if photos are kept in colour until it is known whether there is any.
    finds_colour: bool,
    count: usize,
    inverted: usize,
    coloured: usize,
}

impl Pictures {
    /// Prepares to bring pictures to this height and width, in training as in serving. `drawn` is the rule for drawings
    /// of another size, `fit` that for photos.
    ///
    /// # Errors
    /// [`Error::Config`] for colours that are asked of drawings.
    pub(super) fn new(options: &DataOptions, [height, width]: [u32; 2], drawn: Fit, fit: FitChoice) -> Result<Self> {
        let reading = &options.reading;
        let known = options.known_image();
        let is_known = known.is_some();
        let drawing = |polarity, fit| ImageTransform::Drawing(DrawingTransform { width, height, polarity, fit });
        let transform = match (known, reading.transform) {
            (Some(ImageTransform::Drawing(drawing)), _) => {
                ImageTransform::Drawing(DrawingTransform { width, height, ..drawing })
            }
            // Of arrays the size is theirs, and not that of the model.
            (Some(picture @ ImageTransform::Picture(_)), _) if reading.image_size.is_none() => picture,
            (Some(ImageTransform::Picture(picture)), _) => {
                ImageTransform::Picture(PictureTransform { width, height, ..picture })
            }
            (None, PictureChoice::Photo) => ImageTransform::Picture(photo([height, width], fit, reading)),
            (None, PictureChoice::Drawing) => drawing(Polarity::LightOnDark, drawn),
            (None, PictureChoice::AsIs | PictureChoice::Auto) => drawing(Polarity::AsIs, Fit::Stretch),
        };
        if !is_known && transform.drawing().is_some() {
            let asked = [
                ("colour", reading.colour == ColourChoice::Rgb),
                ("image-fit", reading.image_fit.is_some()),
                ("image-decode", reading.image_decode.is_some()),
            ];
            if let Some((setting, _)) = asked.into_iter().find(|(_, is_asked)| *is_asked) {
                let problem = "is for photos, and these pictures are read in grey; add --transform photo".into();
                return Err(Error::Config { setting: setting.into(), problem });
            }
        }
        let finds_colour =
            !is_known && reading.transform == PictureChoice::Photo && reading.colour == ColourChoice::Auto;
        let choice = reading.transform;
        Ok(Self { transform, choice, is_known, finds_colour, count: 0, inverted: 0, coloured: 0 })
    }

    /// Returns channels, rows and columns of the pictures.
    pub(super) fn shape(&self) -> [usize; 3] {
        let channels = match &self.transform {
            ImageTransform::Drawing(_) => 1,
            ImageTransform::Picture(picture) => picture.colour.channels(),
        };
        [channels, self.transform.height() as usize, self.transform.width() as usize]
    }

    /// Returns the pixels of a picture file, or why there are none.
    pub(super) fn read(&self, file: &[u8]) -> std::result::Result<Pixels, String> {
        if file.is_empty() {
            return Err("is empty".into());
        }
        let work = || match &self.transform {
            ImageTransform::Drawing(drawing) => {
                let prepared = prepare(decode(file, LIMITS)?, drawing, PolarityChoice::Auto)?;
                Ok(Pixels { pixels: prepared.pixels, inverted: prepared.inverted, has_colour: false })
            }
            ImageTransform::Picture(picture) => {
                let mut pixels = Vec::with_capacity(self.shape().iter().product());
                let has_colour = append_levels(file, picture, LIMITS, &mut pixels)?;
                Ok(Pixels { pixels, inverted: false, has_colour })
            }
        };
        // Decoders are known to panic on hostile files.
        match catch_unwind(AssertUnwindSafe(work)) {
            Ok(Ok(pixels)) => Ok(pixels),
            Ok(Err(error)) => Err(Error::to_string(&error)),
            Err(_) => Err("the image is damaged and cannot be decoded".into()),
        }
    }

    /// Prepares grey pixels of a height and width, as serving does with a picture of them. Those of drawings have the size
    /// of the transform.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] for a shape that cannot be brought to the size of a model.
    pub(super) fn drawn(&self, pixels: Vec<u8>, [height, width]: [usize; 2]) -> Result<Pixels> {
        let picture = Luma { width: width as u32, height: height as u32, pixels };
        match &self.transform {
            ImageTransform::Drawing(DrawingTransform { polarity: Polarity::AsIs, .. }) => {
                Ok(Pixels { pixels: picture.pixels, inverted: false, has_colour: false })
            }
            ImageTransform::Drawing(drawing) => {
                let prepared = prepare(picture, drawing, PolarityChoice::Auto)?;
                Ok(Pixels { pixels: prepared.pixels, inverted: prepared.inverted, has_colour: false })
            }
            ImageTransform::Picture(transform) => {
                let mut pixels = Vec::new();
                append_grey_levels(picture, transform, &mut pixels)?;
                Ok(Pixels { pixels, inverted: false, has_colour: false })
            }
        }
    }

    /// Takes a picture into account, and returns its pixels.
    pub(super) fn counted(&mut self, picture: Pixels) -> Vec<u8> {
        self.count += 1;
        self.inverted += usize::from(picture.inverted);
        self.coloured += usize::from(picture.has_colour);
        picture.pixels
    }

    /// Settles whether pictures are grey, once all were counted, and says what the collector needs to know.
    ///
    /// # Errors
    /// As [`Collector::keep_first_channel`].
    pub(super) fn settle(&mut self, collector: &mut Collector) -> Result<()> {
        if let ImageTransform::Picture(picture) = &mut self.transform
            && self.finds_colour
            && self.coloured == 0
        {
            // Of grey pixels every channel is the luma.
            picture.colour = Colour::Grey;
            picture.mean.truncate(1);
            picture.std.truncate(1);
            collector.keep_first_channel()?;
        }
        collector.levels(self.levels());
        Ok(())
    }

    /// Returns the tables that make elements of the pixels; none if the pixels are the elements.
    pub(super) fn levels(&self) -> Option<LevelTables> {
        match &self.transform {
            ImageTransform::Drawing(_) => None,
            ImageTransform::Picture(picture) => LevelTables::of(picture),
        }
    }

    /// Returns what was done, for people.
    pub(super) fn note(&self) -> Option<String> {
        let Self { count, inverted, coloured, .. } = self;
        match (&self.transform, self.choice) {
            (ImageTransform::Picture(_), _) if self.finds_colour && *coloured == 0 => {
                Some("no photo has colour: one channel of grey is learned from; --colour rgb keeps three".into())
            }
            (ImageTransform::Picture(_), _) if self.finds_colour => Some(format!(
                "{coloured} of {count} photos have colour: red, green and blue are learned from; --colour grey says otherwise"
            )),
            (ImageTransform::Picture(_), _) => None,
            (ImageTransform::Drawing(drawing), choice) => match (drawing.polarity, choice) {
                (Polarity::AsIs, PictureChoice::Auto) if !self.is_known => Some(
                    "pictures are taken as they are; the presets mnist-… and --transform drawing exchange black and white \
                     in those that seem dark on bright"
                        .into(),
                ),
                (Polarity::AsIs, _) => None,
                (Polarity::LightOnDark | Polarity::DarkOnLight, _) if self.is_known => Some(format!(
                    "the network takes drawings: black and white were exchanged in {inverted} of {count}"
                )),
                (Polarity::LightOnDark | Polarity::DarkOnLight, _) => Some(format!(
                    "pictures are drawings: black and white were exchanged in {inverted} of {count}; --transform as-is \
                     takes them as they are"
                )),
            },
        }
    }

    /// Returns what was seen of pictures of these widths and heights.
    pub(super) fn seen(&self, sizes: &[(u32, u32)]) -> SeenPictures {
        let coloured = self.transform.drawing().is_none().then_some(self.coloured as u64);
        let mut seen = SeenPictures { coloured, count: self.count as u64, ..SeenPictures::default() };
        for (width, height) in sizes {
            *seen.sizes.entry([*height, *width]).or_default() += 1;
        }
        seen
    }

    /// Returns the transform, for serving.
    pub(super) fn transform(self) -> ImageTransform {
        self.transform
    }
}

/// Returns the transform of photos. Pixels stay 0 to 255, as scaling is the network's first layer.
fn photo([height, width]: [u32; 2], fit: FitChoice, reading: &ReadSettings) -> PictureTransform {
    let colour = if reading.colour == ColourChoice::Grey { Colour::Grey } else { Colour::Rgb };
    PictureTransform {
        width,
        height,
        colour,
        layout: Layout::Nchw,
        dtype: DType::Float32,
        fit: match fit {
            FitChoice::Stretch => PictureFit::Stretch,
            FitChoice::Crop => PictureFit::Crop { crop_fraction: Some(1.0), shortest_side: None },
            FitChoice::Letterbox => PictureFit::Letterbox { padding: [0; 3] },
        },
        interpolation: Interpolation::Bilinear,
        antialias: true,
        decode: reading.image_decode.unwrap_or_default(),
        background: [255; 3],
        scale: 1.0,
        mean: vec![0.0; colour.channels()],
        std: vec![1.0; colour.channels()],
    }
}

/// Width and height by the header; `None` if that is damaged.
pub(super) fn size(file: &[u8]) -> Option<(u32, u32)> {
    catch_unwind(|| size_of(file, LIMITS).ok()).ok().flatten()
}

/// The commonest of sizes, and the smaller one of equals.
fn commonest(sizes: impl Iterator<Item = (u32, u32)>) -> Option<(u32, u32)> {
    let mut counts: BTreeMap<(u32, u32), usize> = BTreeMap::new();
    sizes.for_each(|size| *counts.entry(size).or_default() += 1);
    counts.into_iter().rev().max_by_key(|(_, count)| *count).map(|(size, _)| size)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signature::Decoding;

    #[test]
    fn the_commonest_size_is_taken_and_the_smaller_of_equals() {
        let of = |sizes: &[(u32, u32)]| commonest(sizes.iter().copied());
        assert_eq!(of(&[(9, 9), (8, 8), (9, 9), (7, 7)]), Some((9, 9)));
        assert_eq!(of(&[(9, 9), (8, 8)]), Some((8, 8)));
        assert_eq!(of(&[]), None);
    }

    #[test]
    fn photos_keep_a_common_ratio_and_are_cropped_otherwise() {
        let chosen = |sizes: &[(u32, u32)], image_size, image_fit| {
            let reading =
                ReadSettings { transform: PictureChoice::Photo, image_size, image_fit, ..ReadSettings::default() };
            let options = DataOptions { reading, ..DataOptions::default() };
            Chosen::of(sizes, &options).map(|chosen| (chosen.size, chosen.fit, chosen.note.is_some()))
        };
        use FitChoice::{Crop, Letterbox, Stretch};
        assert_eq!(chosen(&[], None, None), None);
        assert_eq!(chosen(&[(28, 28); 3], None, None), Some(([28, 28], Stretch, false)));
        assert_eq!(chosen(&[(640, 480); 3], None, None), Some(([128, 171], Stretch, true)));
        assert_eq!(chosen(&[(640, 480), (320, 240), (640, 480)], None, None), Some(([128, 171], Stretch, true)));
        assert_eq!(chosen(&[(640, 480), (480, 640), (100, 90)], None, None), Some(([128, 128], Crop, true)));
        assert_eq!(chosen(&[(60, 40), (40, 50), (100, 90)], None, None), Some(([40, 40], Crop, true)));
        assert_eq!(chosen(&[(640, 480); 3], Some([96, 128]), None), Some(([96, 128], Stretch, true)));
        assert_eq!(chosen(&[(640, 480); 3], Some([96, 96]), None), Some(([96, 96], Crop, true)));
        assert_eq!(chosen(&[(640, 480); 3], Some([96, 96]), Some(Letterbox)), Some(([96, 96], Letterbox, false)));
    }

    #[test]
    fn what_is_no_picture_is_said_to_be_none() {
        let pictures = Pictures::new(&DataOptions::default(), [8, 8], Fit::Stretch, FitChoice::Stretch).unwrap();
        assert_eq!(pictures.transform.drawing().map(|drawing| drawing.polarity), Some(Polarity::AsIs));
        for bad in [&b""[..], b"hello", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0"] {
            assert!(pictures.read(bad).is_err());
            assert_eq!(size(bad), None);
        }
    }

    #[test]
    fn colours_are_not_asked_of_drawings() {
        let asked = |change: fn(&mut ReadSettings)| {
            let mut options = DataOptions::default();
            change(&mut options.reading);
            options
        };
        for options in [
            asked(|reading| reading.colour = ColourChoice::Rgb),
            asked(|reading| reading.image_fit = Some(FitChoice::Crop)),
            asked(|reading| reading.image_decode = Some(Decoding::Full)),
        ] {
            let refused = Pictures::new(&options, [8, 8], Fit::Stretch, FitChoice::Stretch).unwrap_err().to_string();
            assert!(refused.contains("--transform photo"), "{refused}");
        }
    }
}
