//! Colour jitter (Krizhevsky, Sutskever and Hinton 2012; Howard 2013): brightness, contrast and saturation are changed by
//! random factors.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

/// The share of red, green and blue in luma (ITU-R BT.601).
const LUMA: [f32; 3] = [0.299, 0.587, 0.114];

/// Changes an image, channel by channel, by factors of at most `1 ± amount`; values stay from 0 to 255. A grey one has no
/// saturation.
pub(super) fn jitter(rng: &mut ChaCha8Rng, image: &mut [f32], channels: usize, amount: f32) {
    let mut factor = || 1.0 + rng.random_range(-amount..=amount);
    let (brightness, contrast, saturation) = (factor(), factor(), factor());
    let within = |value: f32| value.clamp(0.0, 255.0);
    image.iter_mut().for_each(|value| *value = within(*value * brightness));
    let mean = image.iter().sum::<f32>() / image.len().max(1) as f32;
    image.iter_mut().for_each(|value| *value = within(mean + (*value - mean) * contrast));
    let plane = image.len() / channels;
    let (red, rest) = image.split_at_mut(plane);
    if channels == 3 {
        let (green, blue) = rest.split_at_mut(plane);
        for ((red, green), blue) in red.iter_mut().zip(green).zip(blue) {
            let luma = LUMA[0] * *red + LUMA[1] * *green + LUMA[2] * *blue;
            [red, green, blue].into_iter().for_each(|value| *value = within(luma + (*value - luma) * saturation));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trainer::random::keyed_rng;

    #[test]
    fn colours_change_together_and_grey_stays_grey() {
        let changed = |image: &[f32], channels, index| {
            let mut image = image.to_vec();
            jitter(&mut keyed_rng(3, "augment", 0, index), &mut image, channels, 0.4);
            image
        };
        let grey = [10.0, 200.0, 10.0, 200.0, 10.0, 200.0];
        let mut levels = std::collections::BTreeSet::new();
        for index in 0..50 {
            let image = changed(&grey, 3, index);
            assert!((image[0] - image[2]).abs() < 1e-3 && (image[1] - image[5]).abs() < 1e-3, "{image:?}");
            assert!(image.iter().all(|value| (0.0..=255.0).contains(value)) && image[0] <= image[1]);
            levels.insert(image[1] as i32);
        }
        assert!(levels.len() > 10, "{levels:?}");
        let red = changed(&[200.0, 200.0, 20.0, 20.0, 20.0, 20.0], 3, 1);
        assert!(red[0] > red[2] && red[0] > red[4]);
        assert_eq!(changed(&grey, 1, 7), changed(&grey, 1, 7));
    }
}
