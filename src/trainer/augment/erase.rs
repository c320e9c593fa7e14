//! Random erasing (Zhong et al. 2020, "Random Erasing Data Augmentation", algorithm 1): a rectangle anywhere in the
//! image becomes noise.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

/// The smallest part of an image that is erased.
pub(super) const SMALLEST_AREA: f32 = 0.02;

/// The flattest rectangle, height over width; the steepest one is its inverse.
const FLATTEST: f32 = 0.3;

/// Tries to find a rectangle that fits; after them the image stays.
const TRIES: usize = 20;

/// Fills a rectangle of at most this part of the image, `width` values a row, with values from 0 to 255; the same one in
/// each of the channels.
pub(super) fn erase(rng: &mut ChaCha8Rng, image: &mut [f32], [channels, width]: [usize; 2], largest_area: f32) {
    let plane = image.len() / channels;
    let height = plane / width;
    for _ in 0..TRIES {
        let area = rng.random_range(SMALLEST_AREA..=largest_area) * plane as f32;
        let ratio = rng.random_range(FLATTEST..=1.0 / FLATTEST);
        let (tall, wide) = ((area * ratio).sqrt().round() as usize, (area / ratio).sqrt().round() as usize);
        if tall == 0 || wide == 0 || tall > height || wide > width {
            continue;
        }
        let (top, left) = (rng.random_range(0..=height - tall), rng.random_range(0..=width - wide));
        let rows = image.chunks_exact_mut(plane).flat_map(|plane| plane.chunks_exact_mut(width).skip(top).take(tall));
        for row in rows {
            row[left..left + wide].iter_mut().for_each(|pixel| *pixel = rng.random_range(0.0f32..=255.0).floor());
        }
        return;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::trainer::random::keyed_rng;

    proptest! {
        #[test]
        fn what_is_erased_is_a_rectangle_of_the_wanted_size(
            (width, height) in (1usize..40, 1usize..40), largest in SMALLEST_AREA..0.9f32, index: u64,
        ) {
            let mut image = vec![-1.0f32; width * height];
            erase(&mut keyed_rng(0, "augment", 0, index), &mut image, [1, width], largest);
            let erased: Vec<usize> = (0..image.len()).filter(|&at| image[at] >= 0.0).collect();
            let span = |places: Vec<usize>| places.iter().max().zip(places.iter().min()).map_or(0, |(most, least)| most - least + 1);
            let tall = span(erased.iter().map(|at| at / width).collect());
            let wide = span(erased.iter().map(|at| at % width).collect());
            prop_assert_eq!(erased.len(), tall * wide, "it has no holes");
            // Sides are rounded to whole pixels.
            let most = largest * image.len() as f32;
            prop_assert!(erased.len() as f32 <= most + (tall + wide) as f32 / 2.0 + 0.25);
            prop_assert!(image.iter().all(|pixel| *pixel == -1.0 || (0.0..=255.0).contains(pixel)));
        }
    }
}
