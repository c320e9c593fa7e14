//! A picture with the parts coloured that made an answer.

use crate::transform::raster::Raster;

/// The least width and height of the picture: small inputs are enlarged.
const LEAST_SIDE: usize = 224;
/// The share of colour over the strongest part.
const STRONGEST: f64 = 0.75;
/// Speaks for the answer: the palette's red, from which the eye tells the other one in print and when colours are mixed up.
const FOR: [f64; 3] = [214.0, 39.0, 40.0];
/// Speaks against it.
const AGAINST: [f64; 3] = [31.0, 119.0, 180.0];

/// Returns a picture of `height` rows of pixels of one or three channels in grey and on it the credit of each cell of a
/// grid: red speaks for the answer, blue against it, and the strongest is the most colourful. Values are stretched from
/// black to white.
pub fn heat_map(pixels: &[f32], [height, width]: [usize; 2], credits: &[f64], [rows, columns]: [usize; 2]) -> Raster {
    let (height, width) = (height.max(1), width.max(1));
    let channels = pixels.len() / (height * width);
    let finite = || pixels.iter().copied().filter(|value| value.is_finite());
    let (low, high) = finite().fold((f32::MAX, f32::MIN), |(low, high), value| (low.min(value), high.max(value)));
    let span = f64::from(high - low).max(f64::MIN_POSITIVE);
    let strongest = credits.iter().fold(f64::MIN_POSITIVE, |most, credit| most.max(credit.abs()));
    let zoom = LEAST_SIDE.div_ceil(height.min(width)).max(1);
    let mut colours = Vec::with_capacity(height * width * zoom * zoom * 3);
    for y in 0..height * zoom {
        for x in 0..width * zoom {
            let (row, column) = (y / zoom, x / zoom);
            let own = &pixels[(row * width + column) * channels..][..channels];
            let mean = own.iter().map(|value| f64::from(*value)).sum::<f64>() / channels.max(1) as f64;
            let grey = if mean.is_finite() { 255.0 * (mean - f64::from(low)) / span } else { 0.0 };
            let credit = credits[row * rows / height * columns + column * columns / width] / strongest;
            let (share, colour) = (STRONGEST * credit.abs(), if credit > 0.0 { FOR } else { AGAINST });
            // The conversion of floats to bytes saturates.
            colours.extend(colour.map(|tone| (tone * share + grey * (1.0 - share)).round() as u8));
        }
    }
    Raster { width: (width * zoom) as u32, height: (height * zoom) as u32, channels: 3, pixels: colours }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_speaks_for_the_answer_is_red_and_what_speaks_against_it_blue() {
        let pixels: Vec<f32> = (0..16).map(|pixel| pixel as f32 / 15.0).collect();
        let map = heat_map(&pixels, [4, 4], &[1.0, 0.0, 0.0, -0.5], [2, 2]);
        assert_eq!((map.width, map.height, map.channels), (224, 224, 3));
        let at = |x: usize, y: usize| &map.pixels[(y * 224 + x) * 3..][..3];
        assert!(at(0, 0)[0] > 150 && at(0, 0)[2] < 60, "{:?}", at(0, 0));
        assert!(at(223, 223)[2] > at(223, 223)[0], "{:?}", at(223, 223));
        let plain = at(223, 0);
        assert!(plain[0] == plain[1] && plain[1] == plain[2], "{plain:?}");
        let colour = heat_map(&[0.0, 0.5, 1.0, f32::NAN, 0.0, 0.0], [1, 2], &[0.0, 0.0], [1, 2]);
        assert_eq!(colour.pixels.len(), 224 * 448 * 3);
    }
}
