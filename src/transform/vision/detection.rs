//! From the outputs of a detector to boxes in the sent picture.
//!
//! Each layout is decoded as its authors publish it: YOLOv5's `non_max_suppression` (utils/general.py), Ultralytics'
//! `non_max_suppression` (utils/nms.py) for YOLOv8, YOLO11 and the end-to-end heads of YOLOv10 and YOLO26, torchvision's
//! `SSD.postprocess_detections`, the signature of TensorFlow's Object Detection API, and
//! `post_process_object_detection` of DETR and RT-DETR in Hugging Face's transformers. Boxes of the YOLO layouts are mapped by the ratio
//! before the padded picture's sizes were rounded, as Ultralytics' `scale_boxes` does; all others by the scale that the
//! picture really had. The two differ by less than a pixel of the input.

use super::detector::{Detector, Thresholds};
use super::outputs::{Fault, SampleOutput};
use super::suppression::{Candidate, Rule, suppress};
use crate::signature::{BoxForm, BoxUnit, DetectionLayout, ScoreKind};
use crate::transform::geometry::{Geometry, Rect};

/// A probability may be above 1 by this much, which rounding explains.
const ROUNDING: f32 = 1e-3;

/// A share of the input's size beyond which a coordinate must be in pixels.
const MOST_SHARE: f64 = 8.0;

/// A thing that was found.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Found {
    /// Its box in pixels of the sent picture.
    pub rect: Rect,
    /// Its class, as the graph counts them.
    pub class: usize,
    /// The confidence, 0 to 1.
    pub confidence: f32,
}

impl Detector {
    /// Returns the boxes in the outputs for one picture, most confident first. Boxes that lie outside the picture are
    /// left out, and others end at its edges.
    ///
    /// # Errors
    /// [`Fault`] for NaN, and for outputs that are not of the layout.
    pub fn detect(
        &self,
        outputs: &[SampleOutput<'_>],
        geometry: &Geometry,
        thresholds: Thresholds,
    ) -> Result<Vec<Found>, Fault> {
        let read = [Some(self.boxes), self.scores, self.classes, self.count];
        if read.iter().flatten().any(|output| outputs[*output].data.iter().any(|number| number.is_nan())) {
            return Err(Fault::NotFinite);
        }
        let decoding = Decoding { detector: self, outputs, input: geometry.input(), least: thresholds.confidence };
        let (candidates, most) = match self.layout {
            DetectionLayout::YoloV5 => (decoding.rows_with_objectness()?, usize::MAX),
            DetectionLayout::YoloV8 => (decoding.columns()?, usize::MAX),
            DetectionLayout::YoloV10 => (decoding.finished_rows()?, usize::MAX),
            DetectionLayout::Ssd => (decoding.classes_of_boxes(self.background)?.0, usize::MAX),
            DetectionLayout::Tensorflow | DetectionLayout::Torchvision => (decoding.lists()?, usize::MAX),
            DetectionLayout::Detr => (decoding.queries()?, usize::MAX),
            // The best of all pairs, as many as there are queries.
            DetectionLayout::RtDetr => decoding.classes_of_boxes(None)?,
        };
        let rule = Rule {
            iou: self.suppress.then_some(thresholds.iou),
            across_classes: self.across_classes,
            most: thresholds.most.min(most),
        };
        let geometry = match self.layout {
            DetectionLayout::YoloV5 | DetectionLayout::YoloV8 | DetectionLayout::YoloV10 => geometry.before_rounding(),
            DetectionLayout::Ssd
            | DetectionLayout::Tensorflow
            | DetectionLayout::Torchvision
            | DetectionLayout::Detr
            | DetectionLayout::RtDetr => *geometry,
        };
        let found = suppress(candidates, rule).into_iter().map(|Candidate { rect, class, confidence }| Found {
            rect: geometry.to_picture(rect),
            class,
            confidence: confidence.min(1.0),
        });
        Ok(found.filter(|found| found.rect.area() > 0.0).collect())
    }
}

/// Outputs under decoding.
struct Decoding<'a> {
    detector: &'a Detector,
    outputs: &'a [SampleOutput<'a>],
    /// Width and height of the model's input.
    input: [u32; 2],
    /// The confidence that a box must exceed.
    least: f32,
}

impl<'a> Decoding<'a> {
    fn rows_with_objectness(&self) -> Result<Vec<Candidate>, Fault> {
        let (output, [_, columns]) = self.table(self.detector.boxes)?;
        let classes = self.classes_in(columns, 5)?;
        let mut candidates = Vec::new();
        for row in output.rows(columns) {
            let (Some(numbers), objectness) = (row.first_chunk::<4>(), self.probability(row[4])?) else { continue };
            if objectness <= self.least {
                continue;
            }
            let (class, score) = best(&row[5..5 + classes]);
            let confidence = objectness * self.probability(score)?;
            self.push(&mut candidates, *numbers, class, confidence)?;
        }
        Ok(candidates)
    }

    fn columns(&self) -> Result<Vec<Candidate>, Fault> {
        let (output, [rows, boxes]) = self.table(self.detector.boxes)?;
        let classes = self.classes_in(rows, 4)?;
        if boxes == 0 {
            return Ok(Vec::new());
        }
        let row = |row: usize| &output.data[row * boxes..(row + 1) * boxes];
        let (mut scores, mut best) = (row(4).to_vec(), vec![0; boxes]);
        for class in 1..classes {
            for ((score, best), other) in scores.iter_mut().zip(&mut best).zip(row(4 + class)) {
                if *other > *score {
                    (*score, *best) = (*other, class);
                }
            }
        }
        let mut candidates = Vec::new();
        for (place, (score, class)) in scores.into_iter().zip(best).enumerate() {
            let confidence = self.probability(score)?;
            let numbers = [0, 1, 2, 3].map(|part| row(part)[place]);
            self.push(&mut candidates, numbers, class, confidence)?;
        }
        Ok(candidates)
    }

    fn finished_rows(&self) -> Result<Vec<Candidate>, Fault> {
        let (output, [_, columns]) = self.table(self.detector.boxes)?;
        if columns < 6 {
            return Err(self.misfit("rows of box, score and class", output));
        }
        let mut candidates = Vec::new();
        for row in output.rows(columns) {
            let Some([left, top, right, bottom, score, class]) = row.first_chunk::<6>() else { continue };
            let confidence = self.probability(*score)?;
            self.push(&mut candidates, [*left, *top, *right, *bottom], class_of(*class), confidence)?;
        }
        Ok(candidates)
    }

    /// Returns every class of every box that is likely enough, and the number of boxes.
    fn classes_of_boxes(&self, background: Option<usize>) -> Result<(Vec<Candidate>, usize), Fault> {
        let (boxes, scores, classes) = self.boxes_and_scores()?;
        let mut candidates = Vec::new();
        let mut shares = vec![0.0; classes];
        for (numbers, row) in boxes.rows(4).zip(scores.rows(classes)) {
            let Some(numbers) = numbers.first_chunk::<4>() else { continue };
            let row = match self.detector.score_kind {
                ScoreKind::Softmax => softmax(row, &mut shares),
                ScoreKind::Probabilities | ScoreKind::Sigmoid => row,
            };
            for (class, score) in row.iter().enumerate().filter(|(class, _)| Some(*class) != background) {
                let confidence = match self.detector.score_kind {
                    ScoreKind::Softmax => *score,
                    ScoreKind::Probabilities | ScoreKind::Sigmoid => self.probability(*score)?,
                };
                self.push(&mut candidates, *numbers, class, confidence)?;
            }
        }
        Ok((candidates, boxes.data.len() / 4))
    }

    /// Returns the best class of each query but "no object", which is the last.
    fn queries(&self) -> Result<Vec<Candidate>, Fault> {
        let (boxes, scores, classes) = self.boxes_and_scores()?;
        let mut candidates = Vec::new();
        let mut shares = vec![0.0; classes];
        for (numbers, row) in boxes.rows(4).zip(scores.rows(classes)) {
            let Some(numbers) = numbers.first_chunk::<4>() else { continue };
            let is_softmax = self.detector.score_kind == ScoreKind::Softmax;
            let row = if is_softmax { softmax(row, &mut shares) } else { row };
            let (class, score) = best(&row[..classes - 1]);
            let confidence = if is_softmax { score } else { self.probability(score)? };
            self.push(&mut candidates, *numbers, class, confidence)?;
        }
        Ok(candidates)
    }

    /// Returns what lists of boxes, scores and classes hold, as far as they count.
    fn lists(&self) -> Result<Vec<Candidate>, Fault> {
        let (boxes, [count, columns]) = self.table(self.detector.boxes)?;
        let list = |output: Option<usize>| {
            let list = output.map(|output| self.outputs[output].data).unwrap_or_default();
            if list.len() == count { Ok(list) } else { Err(self.misfit("as many scores and classes as boxes", boxes)) }
        };
        let (scores, classes) = (list(self.detector.scores)?, list(self.detector.classes)?);
        if columns != 4 {
            return Err(self.misfit("boxes of four numbers", boxes));
        }
        let counted = self.detector.count.and_then(|output| self.outputs[output].data.first());
        let count = counted.map_or(count, |counted| class_of(*counted).min(count));
        let mut candidates = Vec::new();
        for ((numbers, score), class) in boxes.rows(4).zip(scores).zip(classes).take(count) {
            let Some(numbers) = numbers.first_chunk::<4>() else { continue };
            let confidence = self.probability(*score)?;
            self.push(&mut candidates, *numbers, class_of(*class), confidence)?;
        }
        Ok(candidates)
    }

    fn table(&self, output: usize) -> Result<(SampleOutput<'a>, [usize; 2]), Fault> {
        let output = self.outputs[output];
        let dims = output.dims::<2>().ok_or_else(|| self.misfit("two dimensions for each picture", output))?;
        Ok((output, dims))
    }

    fn boxes_and_scores(&self) -> Result<(SampleOutput<'a>, SampleOutput<'a>, usize), Fault> {
        let (boxes, [count, columns]) = self.table(self.detector.boxes)?;
        let (scores, [rows, classes]) = self.table(self.detector.scores.unwrap_or(self.detector.boxes))?;
        if columns != 4 || rows != count || classes < 2 {
            return Err(self.misfit("boxes of four numbers, and as many rows of at least two scores", boxes));
        }
        Ok((boxes, scores, classes))
    }

    /// Returns the number of classes in so many columns after the first `before`.
    fn classes_in(&self, columns: usize, before: usize) -> Result<usize, Fault> {
        let there = columns.saturating_sub(before);
        match self.detector.class_count.unwrap_or(there) {
            classes if (1..=there).contains(&classes) => Ok(classes),
            _ => Err(self.misfit("a box and a score for each class", self.outputs[self.detector.boxes])),
        }
    }

    /// Returns a score as a probability.
    fn probability(&self, score: f32) -> Result<f32, Fault> {
        match self.detector.score_kind {
            ScoreKind::Sigmoid => Ok(1.0 / (1.0 + (-score).exp())),
            _ if score > 1.0 + ROUNDING => Err(Fault::Misfit(format!(
                "a score is {score}, so scores are no probabilities; say scores = \"sigmoid\" or \"softmax\" in [answer]"
            ))),
            _ => Ok(score),
        }
    }

    /// Adds a box if its confidence suffices.
    fn push(&self, to: &mut Vec<Candidate>, numbers: [f32; 4], class: usize, confidence: f32) -> Result<(), Fault> {
        if confidence > self.least {
            to.push(Candidate { rect: self.rect(numbers)?, class, confidence });
        }
        Ok(())
    }

    /// Returns a box in pixels of the input.
    fn rect(&self, numbers: [f32; 4]) -> Result<Rect, Fault> {
        let [a, b, c, d] = numbers.map(f64::from);
        let rect = match self.detector.form {
            BoxForm::Xyxy => Rect::new(a, b, c, d),
            BoxForm::Yxyx => Rect::new(b, a, d, c),
            BoxForm::Cxcywh => Rect::centred(a, b, c, d),
        };
        if !rect.is_finite() {
            return Err(Fault::NotFinite);
        }
        match self.detector.unit {
            BoxUnit::Pixels => Ok(rect),
            BoxUnit::Normalised => {
                if numbers.iter().any(|number| f64::from(number.abs()) > MOST_SHARE) {
                    return Err(Fault::Misfit(format!(
                        "a box is {numbers:?}, which are no shares of the input; say box_unit = \"pixels\" in [answer]"
                    )));
                }
                let [width, height] = self.input.map(f64::from);
                Ok(Rect::new(rect.left * width, rect.top * height, rect.right * width, rect.bottom * height))
            }
        }
    }

    fn misfit(&self, expected: &str, got: SampleOutput<'_>) -> Fault {
        let layout = self.detector.layout.name();
        Fault::Misfit(format!(
            "layout {layout} expects {expected}, got an output of {:?}; say another layout in [answer]",
            got.shape
        ))
    }
}

/// Returns the place of the largest score, the first of equal ones, and the score.
fn best(scores: &[f32]) -> (usize, f32) {
    scores.iter().enumerate().fold(
        (0, f32::NEG_INFINITY),
        |best, (class, score)| {
            if *score > best.1 { (class, *score) } else { best }
        },
    )
}

/// Returns the distribution of logits.
fn softmax<'a>(logits: &[f32], shares: &'a mut [f32]) -> &'a [f32] {
    let largest = best(logits).1;
    let mut sum = 0.0;
    for (share, logit) in shares.iter_mut().zip(logits) {
        *share = (logit - largest).exp();
        sum += *share;
    }
    shares.iter_mut().for_each(|share| *share /= sum);
    shares
}

/// Returns a whole number that came as a float; conversion saturates.
fn class_of(number: f32) -> usize {
    number.round() as usize
}

#[cfg(test)]
#[path = "detection_tests.rs"]
mod tests;
