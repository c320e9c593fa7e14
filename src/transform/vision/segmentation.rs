//! From the output of a segmenter to a class for each pixel of the sent picture.
//!
//! Scores are interpolated between the centres of pixels and the greatest wins, as `post_process_semantic_segmentation`
//! of Hugging Face's transformers does (bilinear, corners not aligned); class maps are taken from the nearest pixel.

use super::outputs::{Fault, GraphOutputs, SampleOutput};
use crate::signature::{Layout, MaskForm, MaskInterpolation, ScoreKind, SegmentationAnswer};
use crate::transform::geometry::Geometry;

/// The class of pixels that have none: those that the model did not see, and those it calls so itself.
pub const NO_CLASS: u8 = u8::MAX;

/// A class for each pixel of a picture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClassMap {
    /// Pixels in a row.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// The class of each pixel, row by row; [`NO_CLASS`] where there is none.
    pub classes: Vec<u8>,
}

impl ClassMap {
    /// Returns the classes that occur, and the number of pixels of each, the lowest class first.
    pub fn areas(&self) -> Vec<(u8, u64)> {
        let mut pixels = [0u64; 256];
        for class in &self.classes {
            pixels[usize::from(*class)] += 1;
        }
        (0..=NO_CLASS).zip(pixels).filter(|(_, pixels)| *pixels > 0).collect()
    }

    /// Returns classes and how many pixels each lasts, row by row through the whole picture.
    pub fn run_lengths(&self) -> Vec<(u8, u64)> {
        let runs = self.classes.chunk_by(|a, b| a == b);
        runs.map(|run| (run[0], run.len() as u64)).collect()
    }
}

/// The reading of a segmenter's output.
#[derive(Debug, Clone, PartialEq)]
pub struct Segmenter {
    output: usize,
    kind: Kind,
    interpolation: MaskInterpolation,
    form: MaskForm,
    said: String,
}

/// The content of the output.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    /// The class of each pixel.
    Classes,
    /// A score for each class and pixel.
    Scores(Layout),
    /// One score for each pixel, from which on it is class 1.
    Single(f32),
}

impl Segmenter {
    /// Resolves an answer against the outputs of a graph.
    ///
    /// # Errors
    /// A sentence that says what was found, and what to write.
    pub fn resolve(answer: &SegmentationAnswer, outputs: GraphOutputs<'_>) -> Result<Self, String> {
        if let Some(problem) = answer.problem() {
            return Err(problem);
        }
        let (output, is_named) = match &answer.output {
            Some(name) => (outputs.named(name)?, true),
            None => {
                let is_map = |output: &usize| outputs.is_number(*output) && outputs.dims::<2>(*output).is_some();
                let is_scores = |output: &usize| outputs.is_number(*output) && outputs.dims::<3>(*output).is_some();
                let found = (0..outputs.len()).find(is_scores).or_else(|| (0..outputs.len()).find(is_map));
                let none = || format!("no output is a class map or its scores; there are: {}", outputs.text());
                (found.ok_or_else(none)?, false)
            }
        };
        let (kind, what) = kind_of(answer, outputs, output)?;
        let interpolation = match (kind, answer.interpolation) {
            (Kind::Classes, Some(MaskInterpolation::Bilinear)) => {
                return Err("classes cannot be interpolated; leave interpolation out or say \"nearest\"".into());
            }
            (Kind::Classes, _) => MaskInterpolation::Nearest,
            (Kind::Scores(_) | Kind::Single(_), given) => given.unwrap_or(MaskInterpolation::Bilinear),
        };
        let way = match interpolation {
            MaskInterpolation::Nearest => "the nearest pixel's class",
            MaskInterpolation::Bilinear => "scores interpolated",
        };
        let why = if is_named { "as [answer] says" } else { "the first that can be" };
        let said = format!("output \"{}\" ({why}) is {what}; {way}", outputs.spec(output).name);
        Ok(Self { output, kind, interpolation, form: answer.mask.unwrap_or_default(), said })
    }

    /// Returns the sentence that says what is read how, and what of it was guessed.
    pub fn said(&self) -> &str {
        &self.said
    }

    /// Returns the form of the class map for requests that ask for none.
    pub fn form(&self) -> MaskForm {
        self.form
    }

    /// Returns the class of each pixel of the sent picture.
    ///
    /// # Errors
    /// [`Fault`] for NaN, and for outputs that are not as said.
    pub fn segment(&self, outputs: &[SampleOutput<'_>], geometry: &Geometry) -> Result<ClassMap, Fault> {
        let output = outputs[self.output];
        if output.data.iter().any(|number| number.is_nan()) {
            return Err(Fault::NotFinite);
        }
        let plane = Plane::of(self.kind, output)?;
        let [width, height] = geometry.picture();
        let axes = [0, 1].map(|axis| samples(geometry, axis, plane.size[axis], self.interpolation));
        let mut classes = Vec::with_capacity(width as usize * height as usize);
        for row in &axes[1] {
            match row {
                None => classes.resize(classes.len() + width as usize, NO_CLASS),
                Some(row) => classes.extend(axes[0].iter().map(|column| match column {
                    None => NO_CLASS,
                    Some(column) => plane.class_between(*column, *row),
                })),
            }
        }
        Ok(ClassMap { width, height, classes })
    }
}

/// Returns the kind of an output, and the kind in words.
fn kind_of(answer: &SegmentationAnswer, outputs: GraphOutputs<'_>, output: usize) -> Result<(Kind, String), String> {
    let spec = outputs.spec(output);
    let shape = spec.shape_text();
    let single = || match (answer.scores, answer.threshold.unwrap_or(0.5)) {
        (Some(ScoreKind::Probabilities), threshold) => {
            Ok((Kind::Single(threshold), "one probability a pixel".to_owned()))
        }
        // The logit of the threshold.
        (Some(ScoreKind::Sigmoid), threshold) => {
            Ok((Kind::Single((threshold / (1.0 - threshold)).ln()), "one logit a pixel".to_owned()))
        }
        (Some(ScoreKind::Softmax) | None, _) => Err(format!(
            "output \"{}\" {shape} is one score a pixel; say scores = \"sigmoid\" in [answer] if it is a logit, or \"probabilities\"",
            spec.name
        )),
    };
    let three = outputs.dims::<3>(output);
    let is_single = outputs.dims::<2>(output).is_some() || matches!(three, Some([Some(1), _, _] | [_, _, Some(1)]));
    match (is_single, three) {
        (true, _) if !spec.dtype.is_float() => Ok((Kind::Classes, "a class map".to_owned())),
        (true, _) => single(),
        (false, Some([first, _, last])) => {
            let (order, why) = order_of(answer.layout, first, last);
            let name = match order {
                Layout::Nchw => "nchw",
                Layout::Nhwc => "nhwc",
            };
            Ok((Kind::Scores(order), format!("a score for each class and pixel, {name} ({why})")))
        }
        (false, None) => Err(format!("output \"{}\" {shape} is neither a class map nor scores of classes", spec.name)),
    }
}

/// Returns the order of dimensions, and why: classes are fewer than rows and columns.
fn order_of(given: Option<Layout>, first: Option<usize>, last: Option<usize>) -> (Layout, &'static str) {
    match (given, first, last) {
        (Some(order), _, _) => (order, "as [answer] says"),
        (None, Some(first), Some(last)) if last < first => (Layout::Nhwc, "guessed: the last dimension is the least"),
        (None, None, Some(_)) => (Layout::Nhwc, "guessed: the last dimension is fixed"),
        (None, _, _) => (Layout::Nchw, "guessed from the shape"),
    }
}

/// The samples on either side of a pixel's centre, and the weight of the second.
type Between = (usize, usize, f32);

/// Returns for each pixel of the picture along an axis the samples of the output around it; `None` where the model did
/// not see the picture.
fn samples(geometry: &Geometry, axis: usize, size: usize, interpolation: MaskInterpolation) -> Vec<Option<Between>> {
    let [scale, input] = [size as f64 / f64::from(geometry.input()[axis]), f64::from(geometry.input()[axis])];
    let shown = geometry.shown();
    let (begin, end) = if axis == 0 { (shown.left, shown.right) } else { (shown.top, shown.bottom) };
    // Samples that show padding alone tell nothing of the picture.
    let last = (((end * scale).ceil() as usize).max(1) - 1).min(size - 1);
    let first = ((begin * scale).floor() as usize).min(last);
    let sample = |pixel: u32| {
        let centre = f64::from(pixel) + 0.5;
        let at = geometry.point_to_input([centre, centre])[axis];
        if !(0.0..input).contains(&at) {
            return None;
        }
        let at = at * scale;
        if interpolation == MaskInterpolation::Nearest {
            let nearest = (at as usize).clamp(first, last);
            return Some((nearest, nearest, 0.0));
        }
        let at = (at - 0.5).clamp(first as f64, last as f64);
        let below = at as usize;
        Some((below, (below + 1).min(last), (at - below as f64) as f32))
    };
    (0..geometry.picture()[axis]).map(sample).collect()
}

/// The scores of an output, or its classes.
struct Plane<'a> {
    data: &'a [f32],
    /// Width and height.
    size: [usize; 2],
    classes: usize,
    /// The distance between neighbours: classes, columns, rows.
    strides: [usize; 3],
    /// The best class of each sample.
    best: Vec<u8>,
    /// Of a single score: that from which on a pixel is class 1.
    threshold: Option<f32>,
}

impl<'a> Plane<'a> {
    fn of(kind: Kind, output: SampleOutput<'a>) -> Result<Self, Fault> {
        let misfit = || Fault::Misfit(format!("the class map has the shape {:?}", output.shape));
        let (classes, height, width, strides) = match kind {
            Kind::Scores(Layout::Nchw) => {
                let [classes, height, width] = output.dims::<3>().ok_or_else(misfit)?;
                (classes, height, width, [width * height, 1, width])
            }
            Kind::Scores(Layout::Nhwc) => {
                let [height, width, classes] = output.dims::<3>().ok_or_else(misfit)?;
                (classes, height, width, [1, classes, width * classes])
            }
            Kind::Classes | Kind::Single(_) => {
                // A last dimension of 1 changes nothing.
                let shape = output.shape.strip_suffix(&[1]).filter(|shape| shape.len() >= 2).unwrap_or(output.shape);
                let [height, width] = SampleOutput { shape, ..output }.dims::<2>().ok_or_else(misfit)?;
                (1, height, width, [0, 1, width])
            }
        };
        if classes == 0 || width == 0 || height == 0 {
            return Err(misfit());
        }
        if classes > usize::from(NO_CLASS) {
            return Err(Fault::Misfit(format!("the class map has {classes} classes; at most {NO_CLASS} are told")));
        }
        let threshold = if let Kind::Single(threshold) = kind { Some(threshold) } else { None };
        let mut plane =
            Self { data: output.data, size: [width, height], classes, strides, best: Vec::new(), threshold };
        plane.best = match kind {
            Kind::Classes => plane.data.iter().map(|class| class_byte(*class)).collect::<Result<_, _>>()?,
            Kind::Scores(_) | Kind::Single(_) => {
                let places = (0..height).flat_map(|row| (0..width).map(move |column| (column, row)));
                places.map(|(column, row)| plane.class_between((column, column, 0.0), (row, row, 0.0))).collect()
            }
        };
        Ok(plane)
    }

    /// Returns the class of the greatest score between up to four samples.
    fn class_between(&self, (left, right, x): Between, (top, bottom, y): Between) -> u8 {
        let corners = [(left, top), (right, top), (left, bottom), (right, bottom)];
        if !self.best.is_empty() {
            let [first, others @ ..] = corners.map(|(column, row)| self.best[row * self.size[0] + column]);
            // A class that is the best at every corner is the best between them.
            if others.iter().all(|other| *other == first) {
                return first;
            }
        }
        let [class, column, row] = self.strides;
        let places = corners.map(|(x, y)| x * column + y * row);
        let score = |index: usize| {
            let [a, b, c, d] = places.map(|place| self.data[index * class + place]);
            let (above, below) = (a + (b - a) * x, c + (d - c) * x);
            above + (below - above) * y
        };
        if let Some(threshold) = self.threshold {
            return u8::from(score(0) >= threshold);
        }
        let mut best = (0, score(0));
        for index in 1..self.classes {
            let other = score(index);
            if other > best.1 {
                best = (index, other);
            }
        }
        best.0 as u8
    }
}

fn class_byte(class: f32) -> Result<u8, Fault> {
    let is_class = class.fract() == 0.0 && (0.0..=f32::from(NO_CLASS)).contains(&class);
    // Some mark pixels without a class by -1.
    match class {
        -1.0 => Ok(NO_CLASS),
        _ if is_class => Ok(class as u8),
        _ => Err(Fault::Misfit(format!("the class map holds {class}, which is no class from 0 to {NO_CLASS}"))),
    }
}

#[cfg(test)]
#[path = "segmentation_tests.rs"]
mod tests;
