//! Pictures of an evaluation for TensorBoard, which shows no SVG: drawn by pixels, with digits of
//! three by five pixels. Classes are shown by their numbers.

use image::ExtendedColorType;

use super::report::ClassificationReport;
use crate::error::Result;
use crate::report::{Color, Theme};
use crate::trainer::dataset::Dataset;
use crate::trainer::images::{encode, pixels};

/// Red, green and blue.
type Rgb = [u8; 3];
const PAPER: Rgb = Color::Card.rgb(Theme::Light);
const INK: Rgb = Color::Ink.rgb(Theme::Light);
const RIGHT: Rgb = Color::Blue.rgb(Theme::Light);
const WRONG: Rgb = Color::Orange.rgb(Theme::Light);

/// Pixels of a picture for each pixel of a digit.
const ZOOM: usize = 2;
/// A digit and the gap after it.
const DIGIT_WIDTH: usize = 4 * ZOOM;
const DIGIT_HEIGHT: usize = 5 * ZOOM;
/// Above this many classes, cells of the confusion matrix are too small for numbers.
const MAX_NUMBERED: usize = 20;
/// Mistakes in a row.
const COLUMNS: usize = 8;

/// Rows of the digits 0 to 9 and of `>`, the left pixel in the highest of three bits.
const GLYPHS: [[u8; 5]; 11] = [
    [7, 5, 5, 5, 7],
    [2, 6, 2, 2, 7],
    [7, 1, 7, 4, 7],
    [7, 1, 3, 1, 7],
    [5, 5, 7, 1, 1],
    [7, 4, 7, 1, 7],
    [7, 4, 7, 5, 7],
    [7, 1, 2, 2, 2],
    [7, 5, 7, 5, 7],
    [7, 5, 7, 1, 7],
    [4, 2, 1, 2, 4],
];

/// A picture in colour.
#[derive(Debug)]
pub(super) struct Picture {
    width: usize,
    height: usize,
    pixels: Vec<u8>,
}

impl Picture {
    fn new(width: usize, height: usize) -> Self {
        Self { width, height, pixels: PAPER.repeat(width * height) }
    }

    pub(super) fn width(&self) -> usize {
        self.width
    }

    pub(super) fn height(&self) -> usize {
        self.height
    }

    /// Returns the picture as a PNG file.
    ///
    /// # Errors
    /// As [`encode`].
    pub(super) fn png(&self) -> Result<Vec<u8>> {
        encode(&self.pixels, self.width, self.height, ExtendedColorType::Rgb8)
    }

    /// Fills a rectangle, or what of it is inside.
    fn fill(&mut self, (x, y): (usize, usize), (width, height): (usize, usize), color: Rgb) {
        for row in y..(y + height).min(self.height) {
            for column in x..(x + width).min(self.width) {
                self.pixels[(row * self.width + column) * 3..][..3].copy_from_slice(&color);
            }
        }
    }

    /// Writes digits and `>` around a centre.
    fn write(&mut self, (x, y): (usize, usize), text: &str, color: Rgb) {
        let left = x.saturating_sub(text.len() * DIGIT_WIDTH / 2);
        let top = y.saturating_sub(DIGIT_HEIGHT / 2);
        for (index, byte) in text.bytes().enumerate() {
            let glyph = GLYPHS[if byte.is_ascii_digit() { usize::from(byte - b'0') } else { 10 }];
            for (row, bits) in glyph.iter().enumerate() {
                for column in (0..3).filter(|column| bits >> (2 - column) & 1 == 1) {
                    let at = (left + index * DIGIT_WIDTH + column * ZOOM, top + row * ZOOM);
                    self.fill(at, (ZOOM, ZOOM), color);
                }
            }
        }
    }
}

/// The confusion matrix: a row for each true class, a column for each predicted one.
pub(super) fn confusion(matrix: &[Vec<u64>]) -> Picture {
    let numbered = matrix.len() <= MAX_NUMBERED;
    let digits = matrix.iter().flatten().max().map_or(1, |count| count.to_string().len());
    let cell = if numbered { ((digits + 1) * DIGIT_WIDTH).max(28) } else { 5 };
    let margin = if numbered { cell } else { 0 };
    let side = margin + matrix.len() * cell;
    let mut picture = Picture::new(side, side);
    let mistakes = matrix.iter().enumerate().flat_map(|(t, row)| row.iter().enumerate().filter(move |(p, _)| *p != t));
    let worst = mistakes.map(|(_, count)| *count).max().unwrap_or(0).max(1) as f64;
    for (truth, row) in matrix.iter().enumerate() {
        let total = row.iter().sum::<u64>().max(1) as f64;
        for (predicted, count) in row.iter().enumerate().filter(|(_, count)| **count > 0) {
            let (color, strength) = match truth == predicted {
                true => (RIGHT, 0.15 + 0.85 * *count as f64 / total),
                false => (WRONG, 0.12 + 0.78 * (*count as f64 / worst).sqrt()),
            };
            let corner = (margin + predicted * cell, margin + truth * cell);
            picture.fill(corner, (cell - 1, cell - 1), mix(color, strength));
            if numbered {
                let ink = if strength > 0.7 { PAPER } else { INK };
                picture.write((corner.0 + cell / 2, corner.1 + cell / 2), &count.to_string(), ink);
            }
        }
        if numbered {
            let middle = margin + truth * cell + cell / 2;
            picture.write((margin / 2, middle), &truth.to_string(), INK);
            picture.write((middle, margin / 2), &truth.to_string(), INK);
        }
    }
    picture
}

/// A colour on paper, 0 to 1 strong.
fn mix(color: Rgb, strength: f64) -> Rgb {
    std::array::from_fn(|part| {
        (f64::from(color[part]) * strength + f64::from(PAPER[part]) * (1.0 - strength)).round() as u8
    })
}

/// The worst mistakes with truth and answer below each.
///
/// # Errors
/// As [`Dataset::image`].
pub(super) fn mistakes(report: &ClassificationReport, data: &Dataset) -> Result<Picture> {
    // Small images twice as large.
    let zoom = (56 / data.width.max(data.height).max(1)).max(1);
    let tile = (data.width * zoom + 6, data.height * zoom + DIGIT_HEIGHT + 12);
    let rows = report.mistakes.len().div_ceil(COLUMNS);
    let mut picture = Picture::new(tile.0 * COLUMNS.min(report.mistakes.len()), tile.1 * rows);
    for (place, mistake) in report.mistakes.iter().enumerate() {
        let corner = (place % COLUMNS * tile.0 + 3, place / COLUMNS * tile.1 + 3);
        let pixels = pixels(data, mistake.index)?;
        for (index, pixel) in pixels.chunks_exact(data.channels).enumerate() {
            let at = (corner.0 + index % data.width * zoom, corner.1 + index / data.width * zoom);
            picture.fill(
                at,
                (zoom, zoom),
                if let &[red, green, blue] = pixel { [red, green, blue] } else { [pixel[0]; 3] },
            );
        }
        let caption = (corner.0 + data.width * zoom / 2, corner.1 + data.height * zoom + 3 + DIGIT_HEIGHT / 2);
        picture.write(caption, &format!("{}>{}", mistake.truth, mistake.predicted), INK);
    }
    Ok(picture)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_diagonal_is_blue_mistakes_are_orange_and_nothing_is_paper() {
        let picture = confusion(&[vec![9, 1], vec![0, 10]]);
        let cell = picture.width() / 3;
        let at = |x: usize, y: usize| &picture.pixels[(y * picture.width + x) * 3..][..3];
        assert_eq!(at(2 * cell + 2, 2 * cell + 2), RIGHT, "all of the second class is right");
        let wrong = at(2 * cell + 2, cell + 2);
        assert!(wrong[0] > wrong[2] && wrong != PAPER, "{wrong:?}");
        assert_eq!(at(cell + 2, 2 * cell + 2), PAPER);
        let png = picture.png().unwrap();
        assert_eq!((&png[1..4], &png[16..20]), (&b"PNG"[..], &(picture.width() as u32).to_be_bytes()[..]));
    }

    #[test]
    fn any_number_of_classes_makes_a_picture() {
        for classes in [0, 1, 21, 256] {
            let picture = confusion(&vec![vec![3; classes]; classes]);
            assert!(picture.width() < 2000 && picture.pixels.len() == picture.width * picture.height * 3);
        }
    }
}
