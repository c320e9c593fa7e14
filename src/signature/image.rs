//! The transform from an image file to a model's input: of drawings, and of pictures in general.
//!
//! [`super::ImageSpec`] is what somebody writes, with the rest left out; [`ImageTransform`] is what holds, with everything
//! in it. A manifest holds the latter, and is read by the same code.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{DType, Dim, TensorSpec};

/// The transform from an encoded image to the model's input.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[serde(untagged)]
pub enum ImageTransform {
    /// Of a drawing: its polarity is recognised, and it may be centred.
    Drawing(DrawingTransform),
    /// Of any picture.
    Picture(PictureTransform),
}

/// The transform from a drawing to the model's input: grey pixels from 0 to 255, row by row.
///
/// Scaling and normalisation beyond that are part of the graph.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = DrawingTransform)]
pub struct DrawingTransform {
    /// Width of the input in pixels.
    pub width: u32,
    /// Height of the input in pixels.
    pub height: u32,
    /// The polarity of the drawings that the model was trained on, or that it takes pictures as they are.
    pub polarity: Polarity,
    /// The rule for a drawing of another size.
    pub fit: Fit,
}

/// Which of the two is brighter, the drawing or its background; or neither, for pictures that are no drawings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Polarity {
    /// Bright strokes on a dark background, as in MNIST.
    LightOnDark,
    /// Dark strokes on a bright background, as ink on paper.
    DarkOnLight,
    /// Pictures are no drawings: black and white are never exchanged.
    AsIs,
}

/// The rule by which a drawing of another size is brought to the model's size. A drawing that already has it is never
/// touched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Fit {
    /// Scale both axes, ignoring the aspect ratio.
    Stretch,
    /// As MNIST was made: remove the background, crop to the strokes, scale them into the inner
    /// 20/28 of the frame and put their centre of mass in its middle.
    CentreOfMass,
}

/// The transform from a picture to the model's input: `(pixel * scale - mean) / std` for each channel.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct PictureTransform {
    /// Width of the input in pixels.
    pub width: u32,
    /// Height of the input in pixels.
    pub height: u32,
    /// The channels and their order.
    pub colour: Colour,
    /// The order of the dimensions.
    pub layout: Layout,
    /// The type of the elements: float32, float16 or uint8.
    pub dtype: DType,
    /// The rule for a picture of another size.
    #[serde(flatten)]
    pub fit: PictureFit,
    /// The kernel that resamples.
    pub interpolation: Interpolation,
    /// True if the kernel is widened when a picture shrinks.
    pub antialias: bool,
    /// The size at which JPEG files are decoded.
    pub decode: Decoding,
    /// The colour behind transparent parts: red, green, blue.
    pub background: [u8; 3],
    /// The factor of each pixel.
    pub scale: f64,
    /// What is subtracted afterwards, by channel of the input.
    pub mean: Vec<f64>,
    /// What the difference is divided by, by channel of the input.
    pub std: Vec<f64>,
}

/// The channels of a picture, and their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Colour {
    /// Red, green, blue.
    Rgb,
    /// Blue, green, red.
    Bgr,
    /// One channel of luma (ITU-R BT.601, as Pillow's mode L).
    #[serde(alias = "gray")]
    Grey,
}

impl Colour {
    /// Returns the number of channels.
    pub fn channels(self) -> usize {
        match self {
            Self::Rgb | Self::Bgr => 3,
            Self::Grey => 1,
        }
    }
}

/// The order of a picture's dimensions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Layout {
    /// Channels, rows, columns: PyTorch's.
    #[serde(alias = "NCHW")]
    Nchw,
    /// Rows, columns, channels: TensorFlow's.
    #[serde(alias = "NHWC")]
    Nhwc,
}

/// The rule by which a picture is brought to the model's size.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "fit", rename_all = "snake_case")]
pub enum PictureFit {
    /// Scale both axes, ignoring the aspect ratio.
    Stretch,
    /// Scale the picture until it covers more than the input, and take the middle.
    Crop {
        /// The share of the covered width and height that the input shows: 224 of 256 is 0.875.
        #[serde(skip_serializing_if = "Option::is_none")]
        crop_fraction: Option<f64>,
        /// The picture's shorter side after scaling, in place of a share.
        #[serde(skip_serializing_if = "Option::is_none")]
        shortest_side: Option<u32>,
    },
    /// Scale the picture until it fits, and pad around it.
    Letterbox {
        /// The colour of the padding: red, green, blue.
        padding: [u8; 3],
    },
}

/// The kernel that resamples a picture, after Pillow's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Interpolation {
    /// The nearest pixel; with antialiasing the mean of an area (Pillow's BOX).
    Nearest,
    /// A triangle.
    Bilinear,
    /// Keys' cubic with a = -0.5.
    Bicubic,
    /// Lanczos' windowed sinc of three lobes.
    Lanczos,
}

/// The size at which a JPEG file is decoded. Files of other formats have one size alone.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ValueEnum, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Decoding {
    /// The full size, as Pillow decodes
    #[default]
    Full,
    /// A half, a quarter or an eighth, the least that the input does not exceed, as Pillow's draft: faster
    Scaled,
}

impl ImageTransform {
    /// Returns the width of the input in pixels.
    pub fn width(&self) -> u32 {
        match self {
            Self::Drawing(drawing) => drawing.width,
            Self::Picture(picture) => picture.width,
        }
    }

    /// Returns the height of the input in pixels.
    pub fn height(&self) -> u32 {
        match self {
            Self::Drawing(drawing) => drawing.height,
            Self::Picture(picture) => picture.height,
        }
    }

    /// Returns the element type of the input.
    pub fn dtype(&self) -> DType {
        match self {
            Self::Drawing(_) => DType::Float32,
            Self::Picture(picture) => picture.dtype,
        }
    }

    /// Returns the transform if it is one of drawings.
    pub fn drawing(&self) -> Option<&DrawingTransform> {
        match self {
            Self::Drawing(drawing) => Some(drawing),
            Self::Picture(_) => None,
        }
    }

    /// Returns true if its pictures fill samples of an input.
    pub fn fills(&self, input: &TensorSpec) -> bool {
        let dims = input.sample_dims();
        let is = |sizes: &[usize]| {
            let fits = |(dim, size): (&Dim, &usize)| dim.is_open() || *dim == Dim::Fixed(*size);
            dims.len() == sizes.len() && dims.iter().zip(sizes).all(fits)
        };
        let [width, height] = [self.width() as usize, self.height() as usize];
        input.dtype == self.dtype()
            && width * height > 0
            && match self {
                Self::Drawing(_) => {
                    input.sample_shape().is_some_and(|shape| shape.iter().product::<usize>() == width * height)
                }
                Self::Picture(picture) if picture.colour == Colour::Grey => {
                    is(&picture.shape()) || is(&[height, width]) || is(&[height * width])
                }
                Self::Picture(picture) => is(&picture.shape()),
            }
    }

    /// Returns the shape of a sample of an input that its pictures fill: the input's, with the picture's sizes where it is
    /// open.
    pub fn sample_shape(&self, input: &TensorSpec) -> Vec<usize> {
        let dims = input.sample_dims();
        let [width, height] = [self.width() as usize, self.height() as usize];
        let sizes = match (self, dims.len()) {
            (Self::Picture(picture), 3) => picture.shape().to_vec(),
            (Self::Picture(_), 2) => vec![height, width],
            (Self::Picture(_), _) => vec![height * width],
            (Self::Drawing(_), _) => return input.sample_shape().unwrap_or_default(),
        };
        let size = |(dim, size): (&Dim, usize)| if let Dim::Fixed(fixed) = dim { *fixed } else { size };
        dims.iter().zip(sizes).map(size).collect()
    }

    /// Returns the picture's size and colour in words: `224 × 224 rgb pixels`.
    pub fn text(&self) -> String {
        let colour = match self {
            Self::Drawing(_) => "grey",
            Self::Picture(picture) => match picture.colour {
                Colour::Rgb => "rgb",
                Colour::Bgr => "bgr",
                Colour::Grey => "grey",
            },
        };
        format!("{} × {} {colour} pixels of {}", self.width(), self.height(), self.dtype())
    }
}

impl PictureTransform {
    /// Returns the shape of a sample.
    pub fn shape(&self) -> [usize; 3] {
        let (width, height, channels) = (self.width as usize, self.height as usize, self.colour.channels());
        match self.layout {
            Layout::Nchw => [channels, height, width],
            Layout::Nhwc => [height, width, channels],
        }
    }
}

impl From<DrawingTransform> for ImageTransform {
    fn from(drawing: DrawingTransform) -> Self {
        Self::Drawing(drawing)
    }
}
