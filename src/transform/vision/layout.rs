//! A detector's outputs told apart by their names and shapes, the number of labels and the exporter's metadata.

use super::outputs::GraphOutputs;
use crate::signature::{DetectionAnswer, DetectionLayout};

/// The rows above which a table of six columns is no list of finished boxes: end-to-end heads give 300.
const MOST_FINISHED: usize = 1000;

/// The queries of DETR as published; its successors have more.
const DETR_QUERIES: usize = 100;

/// The outputs that make up a layout.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Parts {
    pub(super) boxes: usize,
    pub(super) scores: Option<usize>,
    pub(super) classes: Option<usize>,
    pub(super) count: Option<usize>,
}

impl Parts {
    fn table(boxes: usize) -> Self {
        Self { boxes, scores: None, classes: None, count: None }
    }
}

/// The traces by which a layout is told.
pub(super) struct Guess<'a> {
    pub(super) outputs: GraphOutputs<'a>,
    pub(super) metadata: &'a [(String, String)],
    pub(super) labels: usize,
}

impl Guess<'_> {
    /// Returns the layout, and the reason for it.
    ///
    /// # Errors
    /// A sentence with the outputs, and what to write.
    pub(super) fn layout(&self) -> Result<(DetectionLayout, String), String> {
        let outputs = self.outputs;
        if outputs.like(&["detection_boxes"]).is_some() && outputs.like(&["detection_classes"]).is_some() {
            return Ok((DetectionLayout::Tensorflow, "guessed from the names of the outputs".into()));
        }
        let found = Tables::of(outputs);
        if let (Some(boxes), Some(scores)) = (found.boxes, found.scores) {
            let names = [boxes, scores].map(|output| outputs.spec(output).name.as_str());
            // RF-DETR calls them so.
            let is_detr = names[0] == "pred_boxes"
                || ["logits", "pred_logits"].contains(&names[1])
                || names == ["dets", "labels"];
            return Ok(if is_detr {
                self.detr(scores)
            } else {
                (DetectionLayout::Ssd, "guessed from the shapes".into())
            });
        }
        if found.boxes.is_some() && found.lists >= 2 {
            return Ok((DetectionLayout::Torchvision, "guessed from the shapes".into()));
        }
        found.wide.and_then(|output| self.yolo(output)).ok_or_else(|| {
            format!(
                "the layout of the detector cannot be told from its outputs: {}; say layout = \"yolov5\", \"yolov8\", \"yolov10\", \"ssd\", \"tensorflow\", \"torchvision\", \"detr\" or \"rt_detr\" in [answer]",
                outputs.text()
            )
        })
    }

    /// Tells DETR, which has a class more than labels, from its successors.
    fn detr(&self, scores: usize) -> (DetectionLayout, String) {
        let dims = self.outputs.dims::<2>(scores);
        let (queries, columns) = dims.map_or((None, None), |[queries, columns]| (queries, columns));
        if self.labels > 0 && columns == Some(self.labels + 1) {
            return (DetectionLayout::Detr, "guessed: it has one class more than labels".into());
        }
        if self.labels > 0 && columns == Some(self.labels) {
            return (DetectionLayout::RtDetr, "guessed: it has as many classes as labels".into());
        }
        match queries {
            Some(DETR_QUERIES) => (DetectionLayout::Detr, "guessed from its 100 queries".into()),
            _ => (DetectionLayout::RtDetr, "guessed from its number of queries, which is not DETR's".into()),
        }
    }

    fn yolo(&self, output: usize) -> Option<(DetectionLayout, String)> {
        let [rows, columns] = self.outputs.dims::<2>(output)?;
        let says = |key: &str, word: &str| self.metadata.iter().any(|(name, text)| name == key && text.contains(word));
        let shape = self.outputs.spec(output).shape_text();
        let by_shape = |layout| Some((layout, format!("guessed from the shape {shape}")));
        let is_of_labels = |size: Option<usize>, before: usize| self.labels > 0 && size == Some(self.labels + before);
        match (rows, columns) {
            (_, Some(6)) if says("end2end", "True") || says("args", "'end2end': True") => {
                Some((DetectionLayout::YoloV10, "by the exporter's metadata".into()))
            }
            (Some(rows), Some(6)) if rows <= MOST_FINISHED => by_shape(DetectionLayout::YoloV10),
            (None, Some(6)) if self.labels != 1 => by_shape(DetectionLayout::YoloV10),
            (rows, _) if is_of_labels(rows, 4) => by_shape(DetectionLayout::YoloV8),
            (_, columns) if is_of_labels(columns, 5) => by_shape(DetectionLayout::YoloV5),
            (Some(rows @ 5..), Some(columns)) if rows < columns => by_shape(DetectionLayout::YoloV8),
            (Some(rows), Some(columns @ 6..)) if columns < rows => by_shape(DetectionLayout::YoloV5),
            (Some(5..), None) => by_shape(DetectionLayout::YoloV8),
            (None, Some(6..)) => by_shape(DetectionLayout::YoloV5),
            _ => None,
        }
    }

    /// Returns the outputs that a layout reads.
    ///
    /// # Errors
    /// A sentence that names the one that is missing.
    pub(super) fn parts(&self, layout: DetectionLayout, answer: &DetectionAnswer) -> Result<Parts, String> {
        let outputs = self.outputs;
        let found = Tables::of(outputs);
        let named = |name: &Option<String>| name.as_deref().map(|name| outputs.named(name)).transpose();
        let (boxes, scores) = (named(&answer.boxes_output)?, named(&answer.scores_output)?);
        let (classes, count) = (named(&answer.classes_output)?, named(&answer.count_output)?);
        let need = |what: &str, output: Option<usize>| {
            let layout = layout.name();
            output.ok_or_else(|| {
                format!(
                    "layout {layout} needs an output of {what}; there are: {}; name it by {what}_output in [answer]",
                    outputs.text()
                )
            })
        };
        match layout {
            DetectionLayout::YoloV5 | DetectionLayout::YoloV8 | DetectionLayout::YoloV10 => {
                Ok(Parts::table(need("boxes", boxes.or(found.wide))?))
            }
            DetectionLayout::Ssd | DetectionLayout::Detr | DetectionLayout::RtDetr => Ok(Parts {
                boxes: need("boxes", boxes.or(found.boxes))?,
                scores: Some(need("scores", scores.or(found.scores))?),
                classes: None,
                count: None,
            }),
            DetectionLayout::Tensorflow | DetectionLayout::Torchvision => {
                let scores = scores.or_else(|| outputs.like(&["detection_scores", "scores", "conf"]));
                let classes = classes.or_else(|| outputs.like(&["detection_classes", "labels", "classes"]));
                let boxes = boxes.or_else(|| outputs.like(&["detection_boxes"])).or(found.boxes);
                Ok(Parts {
                    boxes: need("boxes", boxes)?,
                    scores: Some(need("scores", scores)?),
                    classes: Some(need("classes", classes)?),
                    count: count.or_else(|| outputs.like(&["num_detections", "num_dets"])),
                })
            }
        }
    }

    /// Returns the number of classes in a table of boxes and scores if labels tell that other columns follow, as masks
    /// and key points do.
    ///
    /// # Errors
    /// A sentence when there are more labels than columns.
    pub(super) fn classes_of_columns(&self, layout: DetectionLayout, output: usize) -> Result<Option<usize>, String> {
        let dims = self.outputs.dims::<2>(output);
        let there = match (layout, dims) {
            (DetectionLayout::YoloV5, Some([_, Some(columns)])) => columns.saturating_sub(5),
            (DetectionLayout::YoloV8, Some([Some(rows), _])) => rows.saturating_sub(4),
            _ => return Ok(None),
        };
        match self.labels {
            0 => Ok(None),
            labels if labels <= there => Ok((labels < there).then_some(labels)),
            labels => Err(format!("{labels} labels for the {there} scores of {}", self.outputs.text())),
        }
    }
}

/// The outputs that could be parts of a detector's answer.
#[derive(Debug, Clone, Copy, Default)]
struct Tables {
    /// `[N, 4]`
    boxes: Option<usize>,
    /// `[N, C]`
    scores: Option<usize>,
    /// A table wide enough for boxes and scores.
    wide: Option<usize>,
    /// `[N]`
    lists: usize,
}

impl Tables {
    fn of(outputs: GraphOutputs<'_>) -> Self {
        let mut found = Self::default();
        let tables: Vec<(usize, [Option<usize>; 2])> = (0..outputs.len())
            .filter(|output| outputs.is_number(*output))
            .filter_map(|output| Some((output, outputs.dims::<2>(output)?)))
            .collect();
        let is_called_boxes = |output: usize| {
            let name = outputs.spec(output).name.to_ascii_lowercase();
            name.contains("box") || name.contains("loc")
        };
        let of_four = || tables.iter().filter(|(_, dims)| dims[1] == Some(4)).map(|(output, _)| *output);
        // Four classes look like boxes, but are not called so.
        found.boxes = of_four().find(|output| is_called_boxes(*output)).or_else(|| of_four().next());
        let rows = |output: usize| tables.iter().find(|(other, _)| *other == output).and_then(|(_, dims)| dims[0]);
        found.scores = found.boxes.and_then(|boxes| {
            let fits = |(output, dims): &&(usize, [Option<usize>; 2])| {
                *output != boxes && dims[0] == rows(boxes) && dims[1].is_some_and(|columns| columns >= 2)
            };
            tables.iter().find(fits).map(|(output, _)| *output)
        });
        let is_wide =
            |dims: &[Option<usize>; 2]| dims[0].is_none_or(|size| size >= 5) || dims[1].is_none_or(|size| size >= 6);
        found.wide = tables.iter().find(|(_, dims)| is_wide(dims) && dims[1] != Some(4)).map(|(output, _)| *output);
        let is_list = |output: &usize| {
            outputs.is_number(*output) && Some(*output) != found.boxes && outputs.dims::<1>(*output).is_some()
        };
        found.lists = (0..outputs.len()).filter(is_list).count();
        found
    }
}
