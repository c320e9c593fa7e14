//! The decoding of a detector's outputs: what `[answer]` says, and for the rest what the layout's authors publish.

use super::layout::Guess;
use super::outputs::GraphOutputs;
use crate::signature::{BoxForm, BoxUnit, DetectionAnswer, DetectionLayout, ScoreKind};

/// The choices about which boxes are told.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Thresholds {
    /// Boxes of no more confidence are left out.
    pub confidence: f32,
    /// The overlap above which the less confident box of a class is left out.
    pub iou: f32,
    /// The most boxes.
    pub most: usize,
}

/// The decoding of a detector's outputs.
#[derive(Debug, Clone, PartialEq)]
pub struct Detector {
    pub(super) layout: DetectionLayout,
    pub(super) boxes: usize,
    pub(super) scores: Option<usize>,
    pub(super) classes: Option<usize>,
    pub(super) count: Option<usize>,
    pub(super) form: BoxForm,
    pub(super) unit: BoxUnit,
    pub(super) score_kind: ScoreKind,
    pub(super) suppress: bool,
    pub(super) across_classes: bool,
    /// The classes among a table's columns, where labels say so.
    pub(super) class_count: Option<usize>,
    pub(super) background: Option<usize>,
    first_label: usize,
    defaults: Thresholds,
    said: String,
}

/// The publishers' ways of one layout.
struct Published {
    form: BoxForm,
    unit: BoxUnit,
    scores: ScoreKind,
    suppress: bool,
    confidence: f32,
    iou: f32,
    most: usize,
}

impl Published {
    fn of(layout: DetectionLayout) -> Self {
        let yolo = Self {
            form: BoxForm::Cxcywh,
            unit: BoxUnit::Pixels,
            scores: ScoreKind::Probabilities,
            suppress: true,
            confidence: 0.25,
            iou: 0.45,
            most: 300,
        };
        let finished = Self { form: BoxForm::Xyxy, suppress: false, confidence: 0.5, ..yolo };
        match layout {
            DetectionLayout::YoloV5 => Self { most: 1000, ..yolo },
            DetectionLayout::YoloV8 => Self { iou: 0.7, ..yolo },
            DetectionLayout::YoloV10 => Self { confidence: 0.25, ..finished },
            DetectionLayout::Ssd => Self { unit: BoxUnit::Normalised, suppress: true, most: 200, ..finished },
            DetectionLayout::Tensorflow => Self { form: BoxForm::Yxyx, unit: BoxUnit::Normalised, ..finished },
            DetectionLayout::Torchvision => finished,
            DetectionLayout::Detr => {
                Self { form: BoxForm::Cxcywh, unit: BoxUnit::Normalised, scores: ScoreKind::Softmax, ..finished }
            }
            DetectionLayout::RtDetr => {
                Self { form: BoxForm::Cxcywh, unit: BoxUnit::Normalised, scores: ScoreKind::Sigmoid, ..finished }
            }
        }
    }
}

impl Detector {
    /// Resolves an answer against the outputs of a graph. `metadata` is the exporter's, and `labels` counts the names
    /// of classes.
    ///
    /// # Errors
    /// A sentence that says what was found, and what to write.
    pub fn resolve(
        answer: &DetectionAnswer,
        outputs: GraphOutputs<'_>,
        metadata: &[(String, String)],
        labels: usize,
    ) -> Result<Self, String> {
        if let Some(problem) = answer.problem() {
            return Err(problem);
        }
        let guess = Guess { outputs, metadata, labels };
        let (layout, why) = match answer.layout {
            Some(layout) => (layout, "as [answer] says".to_owned()),
            None => guess.layout()?,
        };
        let parts = guess.parts(layout, answer)?;
        let published = Published::of(layout);
        let scores = answer.scores.unwrap_or(published.scores);
        let score_columns = parts.scores.and_then(|scores| outputs.dims::<2>(scores)).and_then(|[_, columns]| columns);
        let names_background = score_columns.is_none_or(|columns| columns != labels + 1);
        let first_label = answer.first_label.unwrap_or(match layout {
            DetectionLayout::Tensorflow => 1,
            DetectionLayout::Ssd if !names_background => 1,
            _ => 0,
        });
        let mut detector = Self {
            layout,
            boxes: parts.boxes,
            scores: parts.scores,
            classes: parts.classes,
            count: parts.count,
            form: answer.box_form.unwrap_or(published.form),
            unit: answer.box_unit.unwrap_or(published.unit),
            score_kind: scores,
            suppress: answer.suppress.unwrap_or(published.suppress),
            across_classes: answer.across_classes,
            class_count: guess.classes_of_columns(layout, parts.boxes)?,
            background: (layout == DetectionLayout::Ssd).then_some(0),
            first_label,
            defaults: Thresholds {
                confidence: answer.confidence.unwrap_or(published.confidence),
                iou: answer.iou.unwrap_or(published.iou),
                most: answer.max_detections.unwrap_or(published.most),
            },
            said: String::new(),
        };
        detector.said = detector.words(outputs, &why);
        Ok(detector)
    }

    /// Returns the sentence that says what is read how, and what of it was guessed.
    pub fn said(&self) -> &str {
        &self.said
    }

    /// Returns the thresholds of requests that bring none.
    pub fn defaults(&self) -> Thresholds {
        self.defaults
    }

    /// Returns the place of a class among the labels.
    pub fn label_of(&self, class: usize) -> Option<usize> {
        class.checked_sub(self.first_label)
    }

    fn words(&self, outputs: GraphOutputs<'_>, why: &str) -> String {
        let name = |output: usize| format!("\"{}\"", outputs.spec(output).name);
        let further = [self.scores, self.classes, self.count];
        let read: Vec<String> = std::iter::once(self.boxes).chain(further.into_iter().flatten()).map(name).collect();
        let form = match self.form {
            BoxForm::Xyxy => "left, top, right, bottom",
            BoxForm::Yxyx => "top, left, bottom, right",
            BoxForm::Cxcywh => "centre, width, height",
        };
        let unit = match self.unit {
            BoxUnit::Pixels => "pixels",
            BoxUnit::Normalised => "shares of the input",
        };
        let scores = match self.score_kind {
            ScoreKind::Probabilities => "probabilities",
            ScoreKind::Softmax => "logits (softmax)",
            ScoreKind::Sigmoid => "logits (sigmoid)",
        };
        let Thresholds { confidence, iou, most } = self.defaults;
        let overlap = match (self.suppress, self.across_classes) {
            (false, _) => "overlapping boxes stay".to_owned(),
            (true, false) => format!("overlaps of one class above {iou} are suppressed"),
            (true, true) => format!("overlaps above {iou} are suppressed"),
        };
        let classes = self.class_count.map(|classes| format!(", {classes} classes by the labels")).unwrap_or_default();
        format!(
            "layout {} ({why}) of {}: boxes are {form} in {unit}, scores are {scores}{classes}, the first label names class {}; above confidence {confidence}, at most {most}, {overlap}",
            self.layout.name(),
            read.join(", "),
            self.first_label
        )
    }
}
