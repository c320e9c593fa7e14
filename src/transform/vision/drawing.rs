//! Draws an answer on the picture that was sent.

use super::segmentation::{ClassMap, NO_CLASS};
use super::{font, palette};
use crate::transform::geometry::Rect;
use crate::transform::raster::Raster;

/// The share of a mask's colour in a pixel, of 256.
const MASK_SHARE: u32 = 140;

/// The part of a picture's shorter side that a frame is thick, and that a pixel of the font is wide.
const FRAME_PART: u32 = 250;
const FONT_PART: u32 = 300;

/// The most characters of a label that are drawn.
const MAX_CHARACTERS: usize = 40;

/// A box to draw, with its words.
#[derive(Debug, Clone, PartialEq)]
pub struct Frame {
    /// The box in pixels of the picture.
    pub rect: Rect,
    /// The class, which decides the colour.
    pub class: usize,
    /// The words above it.
    pub words: String,
}

impl Raster {
    /// Draws boxes with their words, the first on top.
    #[must_use]
    pub fn with_frames(self, frames: &[Frame]) -> Self {
        let mut picture = self.into_colour();
        let shorter = picture.width.min(picture.height);
        let thickness = (shorter / FRAME_PART).clamp(1, 12);
        for frame in frames.iter().rev() {
            let colour = palette::colour(frame.class);
            let edge = |edge: f64, end: u32| edge.round().clamp(0.0, f64::from(end)) as u32;
            let [left, right] = [frame.rect.left, frame.rect.right].map(|at| edge(at, picture.width));
            let [top, bottom] = [frame.rect.top, frame.rect.bottom].map(|at| edge(at, picture.height));
            let right = right.max(left + 1);
            let bottom = bottom.max(top + 1);
            let inner = (left.saturating_add(thickness), top.saturating_add(thickness));
            picture.fill([left, top, right, inner.1.min(bottom)], colour);
            picture.fill([left, bottom.saturating_sub(thickness).max(top), right, bottom], colour);
            picture.fill([left, top, inner.0.min(right), bottom], colour);
            picture.fill([right.saturating_sub(thickness).max(left), top, right, bottom], colour);
            picture.label([left, top], &frame.words, colour);
        }
        picture
    }

    /// Lays a mask over the picture. `is_clear` tells the classes that stay as they are, besides pixels without one.
    #[must_use]
    pub fn with_mask(self, map: &ClassMap, is_clear: impl Fn(u8) -> bool) -> Self {
        let mut picture = self.into_colour();
        let colours: Vec<Option<[u8; 3]>> = (0..=NO_CLASS)
            .map(|class| (class != NO_CLASS && !is_clear(class)).then(|| palette::colour(class.into())))
            .collect();
        for (pixel, class) in picture.pixels.as_chunks_mut::<3>().0.iter_mut().zip(&map.classes) {
            let Some(colour) = colours[usize::from(*class)] else { continue };
            for (value, tint) in pixel.iter_mut().zip(colour) {
                *value = ((u32::from(*value) * (256 - MASK_SHARE) + u32::from(tint) * MASK_SHARE) >> 8) as u8;
            }
        }
        picture
    }

    /// Writes words on paper of a colour, above a point if there is room, and moved left where they would not fit.
    fn label(&mut self, [left, top]: [u32; 2], words: &str, paper: [u8; 3]) {
        let scale = (self.width.min(self.height) / FONT_PART).clamp(1, 8);
        let characters: Vec<char> = words.chars().take(MAX_CHARACTERS).collect();
        if characters.is_empty() {
            return;
        }
        let cell = (font::WIDTH as u32 + 1) * scale;
        let (width, height) = (characters.len() as u32 * cell + scale, (font::HEIGHT as u32 + 2) * scale);
        let left = left.min(self.width.saturating_sub(width));
        let top = top.checked_sub(height).unwrap_or(top).min(self.height.saturating_sub(height));
        self.fill([left, top, left + width, top + height], paper);
        let ink = palette::ink_on(paper);
        for (place, character) in (0u32..).zip(characters) {
            for (row, bits) in (0u32..).zip(font::glyph(character)) {
                for column in
                    (0..font::WIDTH as u32).filter(|column| bits >> (font::WIDTH as u32 - 1 - column) & 1 == 1)
                {
                    let x = left + scale + place * cell + column * scale;
                    let y = top + scale + row * scale;
                    self.fill([x, y, x + scale, y + scale], ink);
                }
            }
        }
    }

    /// Paints a rectangle, as much of it as lies within the picture.
    fn fill(&mut self, [left, top, right, bottom]: [u32; 4], colour: [u8; 3]) {
        let (left, right) = (left.min(self.width) as usize, right.min(self.width) as usize);
        let row = self.width as usize * 3;
        for y in top.min(self.height)..bottom.min(self.height) {
            let start = y as usize * row;
            if left < right {
                let pixels = &mut self.pixels[start + left * 3..start + right * 3];
                pixels.as_chunks_mut::<3>().0.fill(colour);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grey(width: u32, height: u32) -> Raster {
        Raster { width, height, channels: 1, pixels: vec![100; (width * height) as usize] }
    }

    fn at(picture: &Raster, x: u32, y: u32) -> [u8; 3] {
        let place = (y * picture.width + x) as usize * 3;
        picture.pixels[place..place + 3].try_into().unwrap()
    }

    fn frame(rect: Rect, class: usize, words: &str) -> Frame {
        Frame { rect, class, words: words.into() }
    }

    #[test]
    fn a_box_is_a_frame_in_the_colour_of_its_class() {
        let picture = grey(80, 60).with_frames(&[frame(Rect::new(10.0, 20.0, 50.0, 40.0), 3, "")]);
        let colour = palette::colour(3);
        for (x, y) in [(10, 20), (49, 20), (10, 39), (49, 39), (30, 20), (10, 30)] {
            assert_eq!(at(&picture, x, y), colour, "{x} {y}");
        }
        for (x, y) in [(9, 20), (50, 20), (11, 21), (30, 30), (10, 40)] {
            assert_eq!(at(&picture, x, y), [100; 3], "{x} {y}");
        }
    }

    #[test]
    fn words_stand_above_a_box_and_within_the_picture() {
        let picture = grey(80, 60).with_frames(&[frame(Rect::new(10.0, 20.0, 50.0, 40.0), 0, "L")]);
        let (paper, ink) = (palette::colour(0), palette::ink_on(palette::colour(0)));
        // Seven rows of a stem, and the foot of the letter in the last.
        assert_eq!([at(&picture, 11, 12), at(&picture, 11, 18), at(&picture, 15, 18)], [ink; 3]);
        assert_eq!([at(&picture, 10, 11), at(&picture, 13, 14)], [paper; 2]);
        let corner = grey(80, 60).with_frames(&[frame(Rect::new(70.0, 0.0, 80.0, 5.0), 0, "cat 0.98")]);
        assert_eq!(at(&corner, 80 - 49, 0), paper);
        let tiny = grey(3, 2).with_frames(&[frame(Rect::new(0.0, 0.0, 3.0, 2.0), 1, "a long label \u{1f600}")]);
        assert_eq!((tiny.width, tiny.height, tiny.pixels.len()), (3, 2, 18));
    }

    #[test]
    fn boxes_of_any_place_are_drawn_or_left_out() {
        for edge in [-1e9, -1.0, 0.0, 4.0, 1e9, f64::NAN] {
            let picture = grey(5, 4).with_frames(&[frame(Rect::new(edge, edge, edge, edge), 300, "x")]);
            assert_eq!(picture.pixels.len(), 60);
        }
    }

    #[test]
    fn a_mask_tints_all_but_what_is_clear() {
        let map = ClassMap { width: 3, height: 1, classes: vec![0, 1, NO_CLASS] };
        let picture = grey(3, 1).with_mask(&map, |class| class == 0);
        let [red, ..] = palette::colour(1);
        let tinted = ((100 * 116 + u32::from(red) * 140) >> 8) as u8;
        assert_eq!([at(&picture, 0, 0), at(&picture, 2, 0)], [[100; 3]; 2]);
        assert_eq!(at(&picture, 1, 0)[0], tinted);
    }
}
