//! From an output to a picture: of image-to-image models.

use super::outputs::{Fault, GraphOutputs, SampleOutput};
use crate::signature::{Layout, PaintedAnswer};
use crate::transform::geometry::Geometry;
use crate::transform::raster::Raster;

/// The reading of an output as a picture.
#[derive(Debug, Clone, PartialEq)]
pub struct Painter {
    output: usize,
    layout: Layout,
    range: [f32; 2],
    bgr: bool,
    said: String,
}

impl Painter {
    /// Resolves an answer against the outputs of a graph.
    ///
    /// # Errors
    /// A sentence that says what was found, and what to write.
    pub fn resolve(answer: &PaintedAnswer, outputs: GraphOutputs<'_>) -> Result<Self, String> {
        if let Some(problem) = answer.problem() {
            return Err(problem);
        }
        let can_be = |output: usize| outputs.is_number(output) && layout_of(outputs, output).is_some();
        let output = match &answer.output {
            Some(name) => outputs.named(name)?,
            None => (0..outputs.len())
                .find(|output| can_be(*output))
                .ok_or_else(|| format!("no output is a picture of 1 or 3 channels; there are: {}", outputs.text()))?,
        };
        let spec = outputs.spec(output);
        let guessed = layout_of(outputs, output).filter(|_| outputs.is_number(output));
        let guessed = guessed.ok_or_else(|| {
            format!("output \"{}\" {} is no picture of 1 or 3 channels", spec.name, spec.shape_text())
        })?;
        let layout = answer.layout.unwrap_or(guessed);
        let range = answer.range.unwrap_or(if spec.dtype.is_float() { [0.0, 1.0] } else { [0.0, 255.0] });
        let name = match layout {
            Layout::Nchw => "nchw",
            Layout::Nhwc => "nhwc",
        };
        let why = if answer.range.is_some() { "as [answer] says" } else { "by its element type" };
        let said = format!(
            "output \"{}\" is a picture, {name}, black at {} and white at {} ({why})",
            spec.name, range[0], range[1]
        );
        Ok(Self { output, layout, range, bgr: answer.bgr, said })
    }

    /// Returns the sentence that says what is read how, and what of it was guessed.
    pub fn said(&self) -> &str {
        &self.said
    }

    /// Returns the picture in the outputs of a sample: the part that shows the sent picture, in the graph's resolution.
    ///
    /// # Errors
    /// [`Fault`] for NaN, and for an output that is not as said.
    pub fn paint(&self, outputs: &[SampleOutput<'_>], geometry: &Geometry) -> Result<Raster, Fault> {
        let output = outputs[self.output];
        let misfit = || Fault::Misfit(format!("the picture has the shape {:?}", output.shape));
        let dims = output.dims::<3>().ok_or_else(misfit)?;
        let (channels, [height, width], [channel, row, column]) = match (self.layout, dims) {
            (Layout::Nchw, [channels, height, width]) => (channels, [height, width], [height * width, width, 1]),
            (Layout::Nhwc, [height, width, channels]) => (channels, [height, width], [1, width * channels, channels]),
        };
        if !matches!(channels, 1 | 3) || width == 0 || height == 0 {
            return Err(misfit());
        }
        if output.data.iter().any(|value| value.is_nan()) {
            return Err(Fault::NotFinite);
        }
        let shown = geometry.shown();
        let part = |begin: f64, end: f64, of: u32, size: usize| {
            let scale = size as f64 / f64::from(of);
            let first = ((begin * scale).round() as usize).min(size - 1);
            first..((end * scale).round() as usize).clamp(first + 1, size)
        };
        let [across, down] = geometry.input();
        let (columns, rows) =
            (part(shown.left, shown.right, across, width), part(shown.top, shown.bottom, down, height));
        let [black, white] = self.range;
        // The conversion of floats to bytes saturates.
        let byte = |value: f32| ((value - black) / (white - black) * 255.0).round() as u8;
        let order: &[usize] = match (channels, self.bgr) {
            (1, _) => &[0],
            (_, false) => &[0, 1, 2],
            (_, true) => &[2, 1, 0],
        };
        let mut pixels = Vec::with_capacity(rows.len() * columns.len() * channels);
        for y in rows.clone() {
            for x in columns.clone() {
                pixels.extend(order.iter().map(|c| byte(output.data[c * channel + y * row + x * column])));
            }
        }
        Ok(Raster { width: columns.len() as u32, height: rows.len() as u32, channels, pixels })
    }
}

/// Returns the order of dimensions of an output that can be a picture.
fn layout_of(outputs: GraphOutputs<'_>, output: usize) -> Option<Layout> {
    let [first, _, last] = outputs.dims::<3>(output)?;
    let is_channels = |size: Option<usize>| matches!(size, Some(1 | 3));
    match (is_channels(first), is_channels(last)) {
        (true, _) => Some(Layout::Nchw),
        (false, true) => Some(Layout::Nhwc),
        (false, false) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signature::{DType, Dim, Signature, TensorSpec};

    fn resolved(dtype: DType, shape: &[usize], answer: &PaintedAnswer) -> Result<Painter, String> {
        let spec = |name: &str, dtype, shape: &[usize]| TensorSpec {
            name: name.into(),
            dtype,
            shape: shape.iter().map(|size| Dim::Fixed(*size)).collect(),
        };
        let outputs = vec![spec("score", DType::Float32, &[1, 7]), spec("y", dtype, shape)];
        let signature = Signature { inputs: vec![spec("x", DType::Float32, &[1, 3, 4, 4])], outputs };
        Painter::resolve(answer, GraphOutputs::new(&signature))
    }

    fn painted(painter: &Painter, shape: &[usize], data: &[f32], geometry: &Geometry) -> Result<Raster, Fault> {
        painter.paint(&[SampleOutput { shape: &[7], data: &[0.0; 7] }, SampleOutput { shape, data }], geometry)
    }

    #[test]
    fn values_become_bytes_by_their_range() {
        let geometry = Geometry::stretched([9, 9], [4, 4]);
        let planes = [0.0, 1.0, 0.5, 0.25, -1.0, 2.0];
        let painter = resolved(DType::Float32, &[1, 3, 1, 2], &PaintedAnswer::default()).unwrap();
        assert_eq!(painter.said(), "output \"y\" is a picture, nchw, black at 0 and white at 1 (by its element type)");
        let bitmap = painted(&painter, &[3, 1, 2], &planes, &geometry).unwrap();
        assert_eq!((bitmap.width, bitmap.height), (2, 1));
        assert_eq!(bitmap.pixels, [0, 128, 0, 255, 64, 255]);
        let signed = PaintedAnswer { range: Some([-1.0, 1.0]), bgr: true, ..PaintedAnswer::default() };
        let painter = resolved(DType::Float32, &[1, 3, 1, 2], &signed).unwrap();
        let bitmap = painted(&painter, &[3, 1, 2], &planes, &geometry).unwrap();
        assert_eq!(bitmap.pixels, [0, 191, 128, 255, 159, 255]);
        let painter = resolved(DType::Uint8, &[1, 2, 2, 3], &PaintedAnswer::default()).unwrap();
        let bytes: Vec<f32> = (0..12u8).map(f32::from).collect();
        let bitmap = painted(&painter, &[2, 2, 3], &bytes, &geometry).unwrap();
        assert_eq!(bitmap.pixels, (0..12).collect::<Vec<u8>>());
        assert_eq!(painted(&painter, &[2, 2, 3], &[f32::NAN; 12], &geometry), Err(Fault::NotFinite));
    }

    #[test]
    fn padding_is_cut_off_at_the_scale_of_the_output() {
        let painter = resolved(DType::Float32, &[1, 1, 8, 8], &PaintedAnswer::default()).unwrap();
        let rows: Vec<f32> = (0..64).map(|place| (place / 8) as f32 / 255.0).collect();
        let padded = Geometry::placed([40, 20], [4, 4], [4, 2], [0, 1]);
        let bitmap = painted(&painter, &[1, 8, 8], &rows, &padded).unwrap();
        assert_eq!((bitmap.width, bitmap.height, bitmap.channels), (8, 4, 1));
        assert_eq!(bitmap.pixels.iter().step_by(8).copied().collect::<Vec<u8>>(), [2, 3, 4, 5]);
    }

    #[test]
    fn an_output_that_is_no_picture_is_refused() {
        for shape in [&[1, 7][..], &[1, 2, 8, 8], &[1, 8, 8, 2]] {
            let refused = resolved(DType::Float32, shape, &PaintedAnswer::default()).unwrap_err();
            assert!(refused.contains("no output is a picture"), "{refused}");
        }
        let flat = PaintedAnswer { range: Some([1.0, 1.0]), ..PaintedAnswer::default() };
        assert!(resolved(DType::Float32, &[1, 3, 8, 8], &flat).unwrap_err().contains("two different numbers"));
    }
}
