//! The parts of a vision model's answer.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use utoipa::ToSchema;

use crate::error::Result;
use crate::signature::MaskForm;
use crate::transform::vision::{ClassMap, Found, NO_CLASS};

/// A thing that a detector found.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Detected {
    /// Left, top, right and bottom edge in pixels of the sent picture, turned upright; of tensors, in pixels of the
    /// input.
    #[serde(rename = "box")]
    pub rect: [f32; 4],
    /// The index of the class, as the graph counts them.
    pub class: usize,
    /// Its label.
    pub label: String,
    /// The confidence, 0 to 1.
    pub confidence: f32,
}

impl Detected {
    pub(super) fn new(found: &Found, label: String) -> Self {
        let rect = found.rect;
        Self {
            rect: [rect.left, rect.top, rect.right, rect.bottom].map(|edge| edge as f32),
            class: found.class,
            label,
            confidence: found.confidence,
        }
    }
}

/// A class for each pixel of the sent picture, turned upright.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Segmented {
    /// Width of the map in pixels.
    pub width: u32,
    /// Height of the map in pixels.
    pub height: u32,
    /// The map as a PNG file with a palette, in base64: its pixels are classes, and 255 where there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mask: Option<String>,
    /// The map as classes and how many pixels they last, row by row; 255 where there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<Vec<u64>>>)]
    pub run_lengths: Option<Vec<(u8, u64)>>,
    /// The classes that occur, the lowest first.
    pub classes: Vec<ClassArea>,
    /// Pixels without a class: cropped away before the model, or said to be none by it.
    #[serde(skip_serializing_if = "is_zero")]
    pub unclassified_pixels: u64,
    /// The map itself, where it is to be drawn.
    #[serde(skip)]
    pub(super) map: Option<ClassMap>,
}

/// The area of a class.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct ClassArea {
    /// The index of the class.
    pub class: usize,
    /// Its label.
    pub label: String,
    /// The pixels of this class.
    pub pixels: u64,
    /// Their share of all pixels, 0 to 1.
    pub share: f64,
}

impl Segmented {
    /// Tells a class map in a form. One that is to be drawn is kept instead.
    ///
    /// # Errors
    /// [`crate::error::Error::Internal`] when no PNG file can be made of it.
    pub(super) fn new(map: ClassMap, form: MaskForm, labels: &[String], is_drawn: bool) -> Result<Self> {
        let all = map.classes.len().max(1) as f64;
        let areas = map.areas();
        let area = |(class, pixels): &(u8, u64)| {
            let class = usize::from(*class);
            let label = labels.get(class).cloned().unwrap_or_else(|| class.to_string());
            ClassArea { class, label, pixels: *pixels, share: *pixels as f64 / all }
        };
        let classes = areas.iter().filter(|(class, _)| *class != NO_CLASS).map(area).collect();
        let unclassified_pixels = areas.iter().find(|(class, _)| *class == NO_CLASS).map_or(0, |(_, pixels)| *pixels);
        let (mask, run_lengths) = match form {
            _ if is_drawn => (None, None),
            MaskForm::Png => (Some(STANDARD.encode(map.png()?)), None),
            MaskForm::RunLengths => (None, Some(map.run_lengths())),
        };
        let (width, height) = (map.width, map.height);
        let map = is_drawn.then_some(map);
        Ok(Self { width, height, mask, run_lengths, classes, unclassified_pixels, map })
    }
}

impl Segmented {
    /// Returns about how many bytes the answer takes in JSON.
    pub(super) fn json_bytes(&self) -> usize {
        let mask = self.mask.as_ref().map_or(0, String::len);
        let runs = self.run_lengths.as_ref().map_or(0, |runs| 10 * runs.len());
        128 + mask + runs + 96 * self.classes.len()
    }
}

/// A picture that a model made.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Painted {
    /// The picture: a PNG file in base64.
    pub image: String,
    /// Its width in pixels.
    pub width: u32,
    /// Its height in pixels.
    pub height: u32,
}

fn is_zero(pixels: &u64) -> bool {
    *pixels == 0
}
