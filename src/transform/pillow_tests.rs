//! Pictures brought to size, byte for byte as Pillow does it (`tests/conformance/pillow_vectors.py`).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use super::decode::{ImageLimits, decode_picture};
use super::geometry::Geometry;
use super::image::{PolarityChoice, append_image};
use crate::signature::{DType, ImageSpec, ImageTransform};
use crate::tensor::Data;

const LIMITS: ImageLimits = ImageLimits { max_pixels: 1 << 20 };

#[derive(Deserialize)]
struct Vector {
    picture: String,
    image: ImageSpec,
    pixels: String,
}

fn picture(name: &str) -> &'static [u8] {
    match name {
        "wide" => include_bytes!("../../tests/fixtures/pillow/wide.png"),
        "tall" => include_bytes!("../../tests/fixtures/pillow/tall.png"),
        "small" => include_bytes!("../../tests/fixtures/pillow/small.png"),
        _ => include_bytes!("../../tests/fixtures/pillow/grey.png"),
    }
}

fn elements(file: &[u8], spec: ImageSpec) -> Data {
    let transform = spec.resolve(None).unwrap();
    let mut elements = Data::with_capacity(transform.dtype(), 0);
    append_image(file, &transform, LIMITS, PolarityChoice::Auto, &mut elements).unwrap();
    elements
}

#[test]
fn every_fit_and_interpolation_gives_the_pixels_of_pillow() {
    let vectors = include_str!("../../tests/fixtures/pillow/vectors.jsonl");
    let mut count = 0;
    for line in vectors.lines() {
        let vector: Vector = serde_json::from_str(line).unwrap();
        let expected = STANDARD.decode(vector.pixels).unwrap();
        let name = format!("{} {:?}", vector.picture, vector.image);
        assert_eq!(elements(picture(&vector.picture), vector.image), Data::Uint8(expected), "{name}");
        count += 1;
    }
    assert_eq!(count, 128);
}

#[test]
fn levels_are_scaled_by_channel_in_the_order_and_type_of_the_input() {
    let file = picture("wide");
    let source = decode_picture(file, LIMITS, [0; 3]).unwrap();
    let spec = |text: &str| -> ImageSpec { toml::from_str(&format!("width = 61\nheight = 23\n{text}")).unwrap() };
    let numbers = "scale = 0.5\nmean = [1.0, 2.0, 3.0]\nstd = [1.0, 4.0, 0.25]";
    let Data::Float32(planes) = elements(file, spec(&format!("colour = \"bgr\"\n{numbers}"))) else { panic!() };
    let Data::Float32(rows) = elements(file, spec(&format!("layout = \"nhwc\"\n{numbers}"))) else { panic!() };
    let Data::Float16(halves) = elements(file, spec(&format!("dtype = \"float16\"\n{numbers}"))) else { panic!() };
    let (mean, std) = ([1.0, 2.0, 3.0], [1.0, 4.0, 0.25]);
    let expected = |pixel: usize, from: usize, channel: usize| {
        ((f64::from(source.pixels[pixel * 3 + from]) * 0.5 - mean[channel]) / std[channel]) as f32
    };
    let count = 61 * 23;
    for pixel in [0, 1, 60, 61, 700, count - 1] {
        for channel in 0..3 {
            assert_eq!(planes[channel * count + pixel], expected(pixel, 2 - channel, channel));
            assert_eq!(rows[pixel * 3 + channel], expected(pixel, channel, channel));
            let half = half::f16::from_f32(expected(pixel, channel, channel));
            assert_eq!(halves[channel * count + pixel], half);
        }
    }
}

#[test]
fn a_transform_survives_the_manifest_and_gives_the_same_tensor() {
    let spec: ImageSpec = toml::from_str("preset = \"imagenet\"\nwidth = 20\nheight = 30").unwrap();
    let transform = spec.clone().resolve(None).unwrap();
    let json = serde_json::to_string(&transform).unwrap();
    let again: ImageTransform = serde_json::from_str(&json).unwrap();
    assert_eq!((&again, again.dtype()), (&transform, DType::Float32));
    let again: ImageSpec = serde_json::from_str(&json).unwrap();
    assert_eq!(elements(picture("tall"), spec), elements(picture("tall"), again));
}

#[test]
fn the_place_of_a_picture_in_the_input_is_known() {
    let placed = |fit: &str| {
        let transform = toml::from_str::<ImageSpec>(&format!("width = 12\nheight = 12\n{fit}")).unwrap();
        let transform = transform.resolve(None).unwrap();
        let mut elements = Data::with_capacity(DType::Float32, 0);
        append_image(picture("wide"), &transform, LIMITS, PolarityChoice::Auto, &mut elements).unwrap().geometry
    };
    let expected = |resized, corner| Some(Geometry::placed([61, 23], [12, 12], resized, corner));
    assert_eq!(placed("fit = \"stretch\""), expected([12, 12], [0, 0]));
    let padded = expected([12, 5], [0, 3]).map(|geometry| geometry.with_ratio(12.0 / 61.0));
    assert_eq!(placed("fit = \"letterbox\""), padded);
    // 17 * 61 / 23 is 45.09; (45 - 12) / 2 is 16.5, which is rounded to the even number.
    assert_eq!(placed("shortest_side = 17"), expected([45, 17], [-16, -2]));
}

#[test]
fn strips_are_refused_where_their_middle_would_be_endless() {
    let strip = |width, height| {
        let pixels = vec![7; width * height];
        super::picture::Picture { width, height, pixels }.png().unwrap()
    };
    let spec = |fit: &str| -> ImageTransform {
        toml::from_str::<ImageSpec>(&format!("width = 224\nheight = 224\nfit = \"{fit}\""))
            .unwrap()
            .resolve(None)
            .unwrap()
    };
    let read = |file: &[u8], fit| {
        let mut to = Data::with_capacity(DType::Float32, 0);
        append_image(file, &spec(fit), ImageLimits { max_pixels: 1 << 22 }, PolarityChoice::Auto, &mut to)
    };
    for fit in ["crop", "stretch", "letterbox"] {
        assert!(read(&strip(1, 1), fit).is_ok() && read(&strip(1, 3000), fit).is_ok(), "{fit}");
        assert!(read(&strip((1 << 20) + 1, 1), fit).is_err(), "{fit}");
    }
    assert!(read(&strip(100_000, 1), "letterbox").is_ok());
    assert!(read(&strip(100_000, 1), "crop").is_err());
}
