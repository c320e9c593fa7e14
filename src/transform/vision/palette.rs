//! Colours of classes: the same class has the same colour in every picture.

use super::segmentation::NO_CLASS;

/// The colours of the first classes, told apart on photos. The rest follow by turning the hue.
const FIRST: [[u8; 3]; 10] = [
    [0x1f, 0x8f, 0xe5],
    [0xf0, 0x6a, 0x1e],
    [0x1f, 0xb5, 0x8a],
    [0xd6, 0x2f, 0x4b],
    [0xa5, 0x5a, 0xc4],
    [0xf2, 0xc1, 0x2e],
    [0x2b, 0xc4, 0xd8],
    [0x8c, 0xb3, 0x3c],
    [0xe8, 0x5c, 0xa9],
    [0x8a, 0x6d, 0x4f],
];

/// The part of a turn from one hue to the next, the golden ratio's, by which no two soon come close.
const TURN: f64 = 0.618_033_988_749_895;

/// Returns the colour of a class: red, green, blue.
pub(super) fn colour(class: usize) -> [u8; 3] {
    FIRST.get(class).copied().unwrap_or_else(|| {
        let hue = (class as f64 * TURN).fract() * 6.0;
        let light = if class.is_multiple_of(2) { 230.0 } else { 165.0 };
        // The distances of the three channels on the circle of hues, from 0 to 1.
        let channel = |at: f64| {
            let distance = (hue - at).rem_euclid(6.0);
            let share = (2.0 - distance.min(6.0 - distance)).clamp(0.0, 1.0);
            (light * (0.2 + 0.8 * share)).round() as u8
        };
        [channel(0.0), channel(2.0), channel(4.0)]
    })
}

/// Returns black or white, whichever is read better on a colour (WCAG 2, relative luminance).
pub(super) fn ink_on(paper: [u8; 3]) -> [u8; 3] {
    let linear = |part: u8| match f64::from(part) / 255.0 {
        low if low <= 0.04045 => low / 12.92,
        high => ((high + 0.055) / 1.055).powf(2.4),
    };
    let [red, green, blue] = paper.map(linear);
    let luminance = 0.2126 * red + 0.7152 * green + 0.0722 * blue;
    if (luminance + 0.05) * (luminance + 0.05) > 1.05 * 0.05 { [0; 3] } else { [255; 3] }
}

/// Returns the colours of all classes that a mask can hold; what has no class is black.
pub(super) fn of_mask() -> Vec<[u8; 3]> {
    let colours = (0..=NO_CLASS).map(|class| if class == NO_CLASS { [0; 3] } else { colour(class.into()) });
    colours.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_differ_and_their_ink_can_be_read() {
        let colours = of_mask();
        let different: std::collections::BTreeSet<_> = colours.iter().collect();
        assert!(different.len() > 240, "{}", different.len());
        for pair in colours.windows(2).take(100) {
            let distance: u32 = pair[0].iter().zip(pair[1]).map(|(a, b)| u32::from(a.abs_diff(b))).sum();
            assert!(distance > 60, "{pair:?}");
        }
        assert_eq!([ink_on([255, 255, 0]), ink_on([0, 0, 120])], [[0; 3], [255; 3]]);
    }
}
