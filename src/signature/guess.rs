//! Guesses the lines of `model.toml` that a vision graph needs, each with its reason. A guess is shown, never obeyed.

use super::answer::scored_classes;
use super::facts::{GraphFacts, Step};
use super::{DType, Dim, Signature, TensorSpec};
use crate::ids::quote;

/// The lines that a graph's `model.toml` may begin with.
#[derive(Debug, Clone, PartialEq)]
pub struct Guess {
    /// The lines in order: those without a table first, then table by table.
    pub lines: Vec<Line>,
}

/// A line of `model.toml`.
#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    /// The table; empty for a setting of the model.
    pub table: &'static str,
    /// Key and value.
    pub text: String,
    /// The reason, in words.
    pub why: String,
    /// Whether it holds as it is.
    pub standing: Standing,
}

/// Whether a line of `model.toml` holds as it is; one that does not is written as a comment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It does.
    Holds,
    /// It does once somebody has made a file.
    NeedsFile,
    /// It is another choice than the default.
    Choice,
}

/// The numbers that a graph takes for pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Range {
    /// 0 to 255.
    Levels,
    /// 0 to 1.
    Shares,
}

/// A graph's input, read as a picture.
struct Picture {
    channels: usize,
    height: Option<usize>,
    width: Option<usize>,
    channels_last: bool,
    dtype: DType,
}

impl Guess {
    /// Returns the lines for a graph whose only input has the shape of a picture: four dimensions, of which one, the
    /// second or the last, is 1 or 3.
    pub fn of(graph: &Signature, facts: &GraphFacts) -> Option<Self> {
        let [input] = graph.inputs.as_slice() else { return None };
        let picture = Picture::of(input)?;
        let mut guess = Self { lines: Vec::new() };
        guess.labels(graph, facts);
        guess.image(&picture, graph, facts);
        guess.answer(graph, facts);
        Some(guess)
    }

    /// Returns a `model.toml` with the reasons as comments.
    pub fn toml(&self) -> String {
        let mut text = String::new();
        let mut table = "";
        for line in &self.lines {
            if line.table != table {
                table = line.table;
                text.push_str(&if table.is_empty() { "\n".to_owned() } else { format!("\n[{table}]\n") });
            }
            text.push_str(&format!("# {}\n", line.why));
            if !line.text.is_empty() {
                text.push_str(&format!("{}{}\n", if line.standing == Standing::Holds { "" } else { "# " }, line.text));
            }
        }
        text.trim_start().to_owned()
    }

    /// Returns the lines without their reasons, each with its table in front; one that needs a file first is a comment, so that
    /// all of them together hold as they are. Other choices are left out.
    pub fn short(&self) -> Vec<String> {
        let line = |line: &Line| match line.table {
            _ if line.standing == Standing::NeedsFile => format!("# {} (once there is such a file)", line.text),
            "" => line.text.clone(),
            table => format!("{table}.{}", line.text),
        };
        let is_needed = |line: &&Line| !line.text.is_empty() && line.standing != Standing::Choice;
        self.lines.iter().filter(is_needed).map(line).collect()
    }

    fn add(&mut self, table: &'static str, text: impl Into<String>, why: impl Into<String>) {
        self.lines.push(Line { table, text: text.into(), why: why.into(), standing: Standing::Holds });
    }

    fn labels(&mut self, graph: &Signature, facts: &GraphFacts) {
        let classes = graph.outputs.iter().find_map(scored_classes);
        match (facts.class_names().len(), classes) {
            // Of vectors and boxes these are no classes.
            (0, Some(_)) if seen(graph, facts).is_some() => {}
            (0, Some(classes)) => self.lines.push(Line {
                table: "",
                text: "labels_file = \"labels.txt\"".into(),
                why: format!(
                    "{classes} classes, and the graph names none: a file beside this one, one name a line, in order"
                ),
                standing: Standing::NeedsFile,
            }),
            (0, None) => {}
            (names, _) => self.add("", "", format!("{names} class names are in the graph's metadata, and are used")),
        }
    }

    fn image(&mut self, picture: &Picture, graph: &Signature, facts: &GraphFacts) {
        const TABLE: &str = "image";
        let range = range_of(&facts.opening);
        let is_ultralytics = facts.text("author") == Some("Ultralytics") || facts.text("imgsz").is_some();
        let is_tensorflow =
            picture.channels_last || facts.producer.starts_with("tf") || facts.producer.contains("keras");
        let embeds = graph.outputs.iter().any(|output| matches!(&*output.name, "image_embeds" | "image_features"));
        let mut default_side = 224;
        if picture.dtype == DType::Uint8 || range == Some(Range::Levels) {
            let why = if picture.dtype == DType::Uint8 {
                "is of uint8"
            } else {
                "is normalised within the graph, from 0 to 255"
            };
            self.add(
                TABLE,
                "fit = \"crop\"",
                format!("the input {why}: pixels as they are; \"stretch\" and \"letterbox\" are other rules"),
            );
        } else if is_ultralytics && facts.text("task") == Some("classify") {
            self.add(TABLE, "fit = \"crop\"", "Ultralytics wrote the file, for classes: the middle of the picture");
            self.add(TABLE, "scale = 0.00392156862745098", "pixels from 0 to 1");
        } else if is_ultralytics {
            default_side = 640;
            self.add(TABLE, "preset = \"yolo\"", "Ultralytics wrote the file (metadata): padded, pixels from 0 to 1");
        } else if has_cells(graph) {
            let why = "the output has boxes for the cells of YOLO's grids: padded, pixels from 0 to 1";
            self.add(TABLE, "preset = \"yolo\"", why);
        } else if range == Some(Range::Shares) {
            let why = "the middle of the picture; \"stretch\" and \"letterbox\" are other rules";
            self.add(TABLE, "fit = \"crop\"", why);
            self.add(TABLE, "scale = 0.00392156862745098", "the graph normalises pixels from 0 to 1 itself");
        } else if embeds && picture.channels == 3 {
            self.add(TABLE, "preset = \"clip\"", "the output is called an image's embedding, as CLIP's");
        } else if picture.channels == 1 && (picture.height, picture.width) == (Some(28), Some(28)) {
            self.add(TABLE, "preset = \"mnist\"", "28 × 28 grey pixels are usually drawings as MNIST's, from 0 to 255");
        } else if picture.channels == 1 {
            let why = "nothing says how grey pixels are scaled; 0 to 1 is usual: check it";
            self.add(TABLE, "scale = 0.00392156862745098", why);
        } else if is_tensorflow {
            let why =
                "colours from TensorFlow or Keras are usually -1 to 1; imagenet-caffe is Keras' other way: check it";
            self.add(TABLE, "preset = \"imagenet-tf\"", why);
        } else {
            let why =
                "nothing in the graph says how pixels are scaled; this is what most PyTorch networks take: check it";
            self.add(TABLE, "preset = \"imagenet\"", why);
        }
        self.decoding(TABLE);
        if picture.width.is_none() || picture.height.is_none() {
            let [height, width] = facts.text("imgsz").and_then(sides).unwrap_or([default_side; 2]);
            self.add(TABLE, format!("width = {width}"), "the graph leaves the size open");
            self.add(TABLE, format!("height = {height}"), "the same");
        }
    }

    /// Adds the other choice of decoding, which drawings do not have.
    fn decoding(&mut self, table: &'static str) {
        if !self.lines.iter().any(|line| line.text == "preset = \"mnist\"") {
            self.lines.push(Line {
                table,
                text: "decode = \"scaled\"".into(),
                why: "large JPEG files are decoded faster at a part of their size, as Pillow's draft does".into(),
                standing: Standing::Choice,
            });
        }
    }

    fn answer(&mut self, graph: &Signature, facts: &GraphFacts) {
        const TABLE: &str = "answer";
        if let Some((kind, why)) = seen(graph, facts) {
            return self.add(TABLE, format!("kind = \"{kind}\""), why);
        }
        let scored: Vec<&TensorSpec> =
            graph.outputs.iter().filter(|output| scored_classes(output).is_some_and(|classes| classes > 1)).collect();
        // Of logits and what is made of them, the latter is meant.
        let is_final = |output: &&&TensorSpec| matches!(facts.closing_of(&output.name), Some("Sigmoid" | "Softmax"));
        let mut finals = scored.iter().filter(is_final);
        let (([only], ..) | (_, Some(only), None)) = (scored.as_slice(), finals.next(), finals.next()) else {
            let outputs = graph.outputs.iter();
            let outputs: Vec<String> =
                outputs.map(|output| format!("{} {}", quote(&output.name), output.shape_text())).collect();
            let kind = if scored.is_empty() { "no output holds" } else { "several outputs hold" };
            let why = format!("{kind} scores of classes, so answers are tensors: {}", outputs.join(", "));
            return self.add("", "", why);
        };
        let output = *only;
        if scored.len() > 1 {
            self.add(TABLE, format!("output = {:?}", output.name), "one of several outputs, and the last of its kind");
        }
        match facts.closing_of(&output.name) {
            Some("Sigmoid") => {
                self.add(TABLE, "kind = \"labels\"", "the output is of a Sigmoid: each label by itself");
                self.add(TABLE, "threshold = 0.5", "the confidence from which a label is one of the answer's");
            }
            Some("Softmax") => self.add(TABLE, "kind = \"classes\"", "the output is of a Softmax: probabilities"),
            _ => self.add(
                TABLE,
                "kind = \"classes\"",
                "the output is measured at loading: logits get a softmax, unless scores = \"probabilities\" is said",
            ),
        }
    }
}

impl Picture {
    fn of(input: &TensorSpec) -> Option<Self> {
        let dtype =
            Some(input.dtype).filter(|dtype| matches!(dtype, DType::Float32 | DType::Float16 | DType::Uint8))?;
        let size = |dim: &Dim| if let Dim::Fixed(size) = dim { Some(*size) } else { None };
        let [_, first, second, third] = input.shape.as_slice() else { return None };
        // Exporters that leave every dimension open name them.
        let channels = |dim: &Dim| match dim {
            Dim::Symbol(name) if name.contains("channel") => Some(3),
            dim => size(dim).filter(|channels| matches!(channels, 1 | 3)),
        };
        if let Some(channels) = channels(first) {
            return Some(Self { channels, height: size(second), width: size(third), channels_last: false, dtype });
        }
        let channels = channels(third)?;
        Some(Self { channels, height: size(first), width: size(second), channels_last: true, dtype })
    }
}

/// The pixels of a side that a cell of each of YOLO's grids covers.
const YOLO_CELLS: [usize; 3] = [8, 16, 32];

/// Returns true if the output has a box for each cell of YOLO's grids, as v8 and its successors have, or three, as v5.
fn has_cells(graph: &Signature) -> bool {
    let sample = |specs: &[TensorSpec]| specs.first().and_then(TensorSpec::sample_shape).unwrap_or_default();
    let (input, output) = (sample(&graph.inputs), sample(&graph.outputs));
    let ([3, height, width], [rows, columns]) = (input.as_slice(), output.as_slice()) else { return false };
    let cells: usize = YOLO_CELLS.iter().map(|side| (height / side) * (width / side)).sum();
    cells > 1 && ((*columns == cells && *rows > 4) || (*rows == 3 * cells && *columns > 5))
}

/// The part of an input's side that the side of a class map has at least.
const LEAST_PART: usize = 8;

/// Returns the kind of answer of a graph that does more than to classify, and the reason, where its words or its shapes
/// say so.
fn seen(graph: &Signature, facts: &GraphFacts) -> Option<(&'static str, &'static str)> {
    match facts.text("task") {
        Some("detect") => return Some(("detections", "the metadata says that it detects")),
        Some("segment" | "pose") => {
            return Some(("detections", "the metadata says so; masks and points are passed over"));
        }
        _ => {}
    }
    let is_called = |words: &[&str]| {
        graph.outputs.iter().any(|spec| words.iter().any(|word| spec.name.to_lowercase().contains(word)))
    };
    if is_called(&["box"]) && is_called(&["score", "logits", "label", "class"]) {
        return Some(("detections", "outputs are called boxes and scores"));
    }
    if has_cells(graph) {
        return Some(("detections", "the output has boxes for the cells of YOLO's grids"));
    }
    if is_called(&["image_embeds", "image_features", "embedding"]) {
        return Some(("embedding", "an output is called an embedding"));
    }
    let (input, output) = (graph.inputs.first()?.sample_shape()?, graph.outputs.first()?.sample_shape()?);
    match (input.as_slice(), output.as_slice()) {
        ([1 | 3, height, width], [2..=255, rows, columns])
            if rows * LEAST_PART >= *height && columns * LEAST_PART >= *width =>
        {
            Some(("segmentation", "the output has scores of classes for each pixel, or nearly"))
        }
        _ => None,
    }
}

/// Returns the numbers that a graph takes, judged by its first arithmetic.
fn range_of(opening: &[Step]) -> Option<Range> {
    let first = opening.iter().find(|step| !matches!(step.operator.as_str(), "Cast" | "Transpose" | "Identity"))?;
    let largest = first.values.iter().map(|value| value.abs()).reduce(f32::max)?;
    match first.operator.as_str() {
        "Sub" | "Add" if largest > 2.0 => Some(Range::Levels),
        "Div" if largest > 20.0 => Some(Range::Levels),
        "Mul" if largest < 0.1 => Some(Range::Levels),
        "Sub" | "Add" | "Div" | "Mul" => Some(Range::Shares),
        _ => None,
    }
}

/// Returns the two numbers of a list, as in `[640, 480]`.
fn sides(text: &str) -> Option<[u32; 2]> {
    let mut numbers =
        text.trim().trim_matches(['[', ']', '(', ')']).split(',').map(|number| number.trim().parse().ok());
    let sides = [numbers.next()??, numbers.next()??];
    numbers.next().is_none().then_some(sides)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signature::{AnswerSpec, ImageSpec};

    fn graph(input: &[&str], outputs: &[&[&str]]) -> Signature {
        let dims = |dims: &[&str]| {
            dims.iter().map(|dim| dim.parse().map_or_else(|_| Dim::Symbol((*dim).into()), Dim::Fixed)).collect()
        };
        let spec = |name: &str, shape| TensorSpec { name: name.into(), dtype: DType::Float32, shape };
        Signature {
            inputs: vec![spec("x", dims(input))],
            outputs: outputs.iter().enumerate().map(|(at, shape)| spec(&format!("y{at}"), dims(shape))).collect(),
        }
    }

    fn short(graph: &Signature, facts: &GraphFacts) -> String {
        Guess::of(graph, facts).map(|guess| guess.short().join("; ")).unwrap_or_default()
    }

    #[derive(serde::Deserialize)]
    struct Tables {
        image: Option<ImageSpec>,
        answer: Option<AnswerSpec>,
    }

    #[test]
    fn three_lines_are_guessed_for_a_classifier() {
        let classes = graph(&["N", "3", "224", "224"], &[&["N", "1000"]]);
        let expected = "# labels_file = \"labels.txt\" (once there is such a file); image.preset = \"imagenet\"; answer.kind = \"classes\"";
        assert_eq!(short(&classes, &GraphFacts::default()), expected);
        let guess = Guess::of(&classes, &GraphFacts::default()).unwrap();
        assert!(guess.toml().contains("\n# decode = \"scaled\"\n"), "{}", guess.toml());
        for text in [guess.toml(), guess.short().join("\n")] {
            let tables: Tables = toml::from_str(&text).unwrap();
            assert!(tables.image.unwrap().resolve(Some(&classes.inputs[0])).is_ok());
            assert!(tables.answer.unwrap().output(&classes, 0).is_ok());
        }
    }

    #[test]
    fn what_the_graph_says_is_heeded() {
        let text = |pairs: &[(&str, &str)]| GraphFacts {
            metadata: pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
            ..GraphFacts::default()
        };
        let step = |operator: &str, values: &[f32]| GraphFacts {
            opening: vec![Step { operator: operator.into(), values: values.into() }],
            ..GraphFacts::default()
        };
        let nchw = graph(&["N", "3", "H", "W"], &[&["N", "84", "8400"]]);
        let yolo =
            text(&[("author", "Ultralytics"), ("task", "detect"), ("imgsz", "[480, 640]"), ("names", "{0: 'a'}")]);
        assert_eq!(
            short(&nchw, &yolo),
            "image.preset = \"yolo\"; image.width = 640; image.height = 480; answer.kind = \"detections\""
        );
        let classes = graph(&["1", "3", "8", "8"], &[&["1", "5"]]);
        assert!(short(&classes, &step("Sub", &[123.7, 116.3, 103.5])).contains("image.fit = \"crop\"; answer"));
        assert!(short(&classes, &step("Sub", &[0.485, 0.456, 0.406])).contains("image.scale = 0.0039"));
        assert!(short(&classes, &step("Div", &[255.0])).contains("image.fit = \"crop\"; answer"));
        let sigmoid = GraphFacts { closing: vec![("y0".into(), "Sigmoid".into())], ..GraphFacts::default() };
        assert!(short(&classes, &sigmoid).contains("answer.kind = \"labels\""));
        let nhwc = graph(&["N", "224", "224", "3"], &[&["N", "1000"]]);
        assert!(short(&nhwc, &GraphFacts::default()).contains("imagenet-tf"));
        let digits = graph(&["N", "1", "28", "28"], &[&["N", "10"]]);
        assert!(short(&digits, &GraphFacts::default()).contains("preset = \"mnist\""));
    }

    #[test]
    fn what_is_more_than_classes_is_told_by_words_and_shapes() {
        let named = |outputs: &[(&str, &[&str])]| {
            let mut made = graph(&["N", "3", "64", "64"], &outputs.iter().map(|(_, dims)| *dims).collect::<Vec<_>>());
            made.outputs.iter_mut().zip(outputs).for_each(|(spec, (name, _))| spec.name = (*name).to_owned());
            short(&made, &GraphFacts::default())
        };
        for (outputs, expected) in [
            (&[("logits", &["N", "100", "92"][..]), ("pred_boxes", &["N", "100", "4"])][..], Some("detections")),
            (&[("image_embeds", &["N", "512"])], Some("embedding")),
            (&[("output0", &["N", "7", "84"])], Some("detections")),
            (&[("output", &["N", "252", "8"])], Some("detections")),
            (&[("output", &["N", "84", "8"])], None),
            (&[("out", &["N", "21", "64", "64"])], Some("segmentation")),
            (&[("out", &["N", "21", "8", "8"])], Some("segmentation")),
            (&[("features", &["N", "21", "7", "7"])], None),
            (&[("features", &["N", "512", "64", "64"])], None),
        ] {
            let kind = expected.map(|kind| format!("answer.kind = \"{kind}\""));
            let told = named(outputs);
            assert_eq!(told.split("; ").find(|line| line.starts_with("answer")), kind.as_deref(), "{told}");
            assert!(!told.contains("labels_file"), "{told}");
            assert_eq!(told.contains("yolo"), outputs[0].0.starts_with("output") && expected.is_some(), "{told}");
        }
    }

    #[test]
    fn of_several_outputs_the_final_one_is_taken_and_else_none() {
        let both = graph(&["N", "1", "28", "28"], &[&["N", "10"], &["N", "10"]]);
        let facts = GraphFacts { closing: vec![("y1".into(), "Softmax".into())], ..GraphFacts::default() };
        assert!(short(&both, &facts).ends_with("answer.output = \"y1\"; answer.kind = \"classes\""));
        let text = Guess::of(&both, &GraphFacts::default()).unwrap().toml();
        assert!(text.contains("# several outputs hold scores"), "{text}");
        let tables: Tables = toml::from_str(&text).unwrap();
        assert!(tables.image.is_some() && tables.answer.is_none());
    }

    #[test]
    fn open_channels_are_known_by_their_name() {
        let open = graph(&["batch_size", "num_channels", "height", "width"], &[&["N", "1000"]]);
        let told = short(&open, &GraphFacts::default());
        assert!(told.contains("image.preset = \"imagenet\"; image.width = 224; image.height = 224"), "{told}");
        let tables: Tables = toml::from_str(&Guess::of(&open, &GraphFacts::default()).unwrap().toml()).unwrap();
        assert!(tables.image.unwrap().resolve(Some(&open.inputs[0])).is_ok());
        assert_eq!(Guess::of(&graph(&["a", "b", "c", "d"], &[&["N", "2"]]), &GraphFacts::default()), None);
    }

    #[test]
    fn what_is_no_picture_gets_no_guess() {
        for input in [&["N", "4"][..], &["N", "16", "8", "8"], &["N", "3"], &["N", "28", "28"]] {
            assert_eq!(Guess::of(&graph(input, &[&["N", "2"]]), &GraphFacts::default()), None);
        }
    }
}
