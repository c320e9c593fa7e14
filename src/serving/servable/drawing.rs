//! The sent picture with the answer drawn on it.

use std::panic::{AssertUnwindSafe, catch_unwind};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::Servable;
use super::input::{Input, Options};
use super::prediction::Prediction;
use super::vision::VisionAnswer;
use crate::error::{Error, Result};
use crate::signature::ImageTransform;
use crate::transform::vision::Frame;
use crate::transform::{Raster, Rect, decode_picture};

/// The colour behind transparent parts of a picture that is drawn on, unless the model's transform names another.
const PAPER: [u8; 3] = [255; 3];

impl Servable {
    /// Checks that the choices of a request are choices of this model.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] naming the choice that has no meaning.
    pub fn check_options(&self, input: &Input, options: &Options) -> Result<()> {
        let vision = options.vision;
        let answer = self.vision();
        let kind = answer.map_or("other things", VisionAnswer::kind);
        let refuse = |choice: &str, what: &str| {
            let name = &self.name;
            Err(Error::InvalidInput(format!("\"{choice}\" is for models that give {what}; \"{name}\" gives {kind}")))
        };
        let chosen = [
            ("confidence", vision.confidence.is_some()),
            ("iou", vision.iou.is_some()),
            ("max_detections", vision.max_detections.is_some()),
        ];
        if let Some((choice, _)) = chosen.iter().find(|(_, is_chosen)| *is_chosen)
            && !matches!(answer, Some(VisionAnswer::Detections(_)))
        {
            return refuse(choice, "detections");
        }
        if vision.mask.is_some() && !matches!(answer, Some(VisionAnswer::Segmentation(_))) {
            return refuse("mask", "segmentation");
        }
        if !vision.draws {
            return Ok(());
        }
        if matches!(answer, None | Some(VisionAnswer::Embedding(_))) {
            return refuse("draw", "detections, segmentation or an image");
        }
        match input {
            Input::Images(images) if images.len() == 1 => Ok(()),
            Input::Images(images) => Err(Error::InvalidInput(format!(
                "one picture is drawn at a time, got {}; ask without \"draw\" and without accept: image/png",
                images.len()
            ))),
            Input::Tensors(_) | Input::Texts(_) => {
                Err(Error::InvalidInput("only an image that was sent as a file is drawn on".into()))
            }
        }
    }

    /// Returns a PNG file of the sent picture with the answer drawn on it, or of the picture that the model made.
    ///
    /// # Errors
    /// As decoding; [`Error::Internal`] when the file cannot be made.
    pub fn draw(&self, image: &[u8], prediction: &Prediction) -> Result<Vec<u8>> {
        match prediction {
            Prediction::Painted(painted) => {
                let decoded = STANDARD.decode(&painted.image);
                decoded.map_err(|error| Error::internal("the picture could not be read back", error))
            }
            Prediction::Detected { detections } => {
                let frame = |found: &super::Detected| {
                    let [left, top, right, bottom] = found.rect.map(f64::from);
                    let words = format!("{} {:.2}", found.label, found.confidence);
                    Frame { rect: Rect::new(left, top, right, bottom), class: found.class, words }
                };
                let frames: Vec<Frame> = detections.iter().map(frame).collect();
                self.upright(image)?.with_frames(&frames).png()
            }
            Prediction::Segmented(segmented) => {
                let map = segmented.map.as_ref();
                let map = map.ok_or_else(|| Error::internal("the mask was not kept", "a request without \"draw\""))?;
                let first = self.labels().first().map(|label| label.to_lowercase());
                let is_background = first.is_none_or(|label| label.contains("background"));
                self.upright(image)?.with_mask(map, |class| class == 0 && is_background).png()
            }
            Prediction::Classified { .. }
            | Prediction::Labelled { .. }
            | Prediction::Reconstructed { .. }
            | Prediction::Number { .. }
            | Prediction::Embedded { .. }
            | Prediction::Spans { .. }
            | Prediction::Raw { .. } => {
                Err(Error::internal("the answer cannot be drawn", "an answer of another kind than the model's"))
            }
        }
    }

    /// Returns the picture as it was sent, turned upright.
    fn upright(&self, image: &[u8]) -> Result<Raster> {
        let background = match self.image_transform() {
            Some(ImageTransform::Picture(picture)) => picture.background,
            Some(ImageTransform::Drawing(_)) | None => PAPER,
        };
        let work = || decode_picture(image, self.transforms.image_limits, background);
        catch_unwind(AssertUnwindSafe(work))
            .unwrap_or_else(|_| Err(Error::InvalidInput("the image is damaged and cannot be decoded".into())))
    }
}
