//! Photos of drawings: dark ink on paper, anywhere in the frame, under uneven light.

use std::io::Cursor;

use image::codecs::jpeg::JpegEncoder;
use image::{GrayImage, Luma, imageops};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::fixtures::{mnist, png};
use crate::support::TestApp;

/// Draws a test image with ink on paper the way a phone would see it.
fn photo(index: usize, rng: &mut ChaCha8Rng) -> GrayImage {
    let digit = GrayImage::from_raw(28, 28, crate::fixtures::pixels(&mnist().test, index).to_vec()).unwrap();
    let size = rng.random_range(90..220u32);
    let digit = imageops::resize(&digit, size, size, imageops::FilterType::CatmullRom);
    let (width, height) = (rng.random_range(320..500u32), rng.random_range(260..400u32));
    let (left, top) = (rng.random_range(10..width - size - 10), rng.random_range(10..height - size - 10));
    let (paper, across, down) =
        (rng.random_range(170.0..235.0f32), rng.random_range(-40.0..20.0f32), rng.random_range(-30.0..20.0f32));
    let ink = rng.random_range(0.15..0.4f32);
    GrayImage::from_fn(width, height, |x, y| {
        let light = paper + across * x as f32 / width as f32 + down * y as f32 / height as f32;
        let inside = (left..left + size).contains(&x) && (top..top + size).contains(&y);
        let cover = if inside { f32::from(digit.get_pixel(x - left, y - top).0[0]) / 255.0 } else { 0.0 };
        let noise = rng.random_range(-4.0..4.0f32);
        Luma([(light * (1.0 - cover * (1.0 - ink)) + noise).clamp(0.0, 255.0) as u8])
    })
}

fn jpeg(photo: &GrayImage) -> Vec<u8> {
    let mut file = Cursor::new(Vec::new());
    JpegEncoder::new_with_quality(&mut file, 85).encode_image(photo).unwrap();
    file.into_inner()
}

#[tokio::test(flavor = "multi_thread")]
async fn photos_of_ink_on_paper_are_read_like_the_originals() {
    let app = TestApp::start().await;
    let mut rng = ChaCha8Rng::seed_from_u64(11);
    let (mut right, mut right_negative, mut right_original) = (0, 0, 0);
    const PHOTOS: usize = 200;
    for index in 0..PHOTOS {
        let truth = [mnist().test.labels()[index].to_string()];
        let paper = photo(index, &mut rng);
        let answer = app.post("/predict", "image/jpeg", jpeg(&paper)).await;
        right += usize::from(answer.labels() == truth);
        assert_eq!(answer.json()["predictions"][0]["inverted"], true, "photo {index} has dark ink");
        let mut blackboard = paper;
        imageops::invert(&mut blackboard);
        let answer = app.post("/predict", "image/jpeg", jpeg(&blackboard)).await;
        right_negative += usize::from(answer.labels() == truth);
        assert_eq!(answer.json()["predictions"][0]["inverted"], false, "blackboard {index} has bright chalk");
        let original =
            app.post("/predict", "image/png", png(28, 28, crate::fixtures::pixels(&mnist().test, index))).await;
        right_original += usize::from(original.labels() == truth);
    }
    let least = PHOTOS * 95 / 100;
    assert!(
        right >= least && right_negative >= least,
        "{right}, {right_negative} of {PHOTOS}; {right_original} of the originals"
    );
}

#[tokio::test]
async fn an_empty_sheet_is_answered_and_not_an_error() {
    let app = TestApp::start().await;
    for level in [0, 128, 255] {
        for side in [1, 28, 300] {
            let sheet = vec![level; (side * side) as usize];
            let answer = app.post("/predict", "image/png", png(side, side, &sheet)).await;
            assert_eq!(answer.status, 200, "{level} {side}: {}", answer.text());
        }
    }
    for (width, height) in [(1, 500), (500, 1), (2, 3)] {
        let line = png(width, height, &vec![9; (width * height) as usize]);
        assert_eq!(app.post("/predict", "image/png", line).await.status, 200);
    }
}
