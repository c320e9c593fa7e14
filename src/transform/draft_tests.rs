//! JPEG files decoded at a part of their size, byte for byte as Pillow does it (`tests/conformance/pillow_drafts.py`).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use image::codecs::jpeg::JpegEncoder;
use image::metadata::Orientation;
use image::{ExtendedColorType, ImageEncoder};
use proptest::prelude::*;
use serde::Deserialize;

use super::decode::{ImageLimits, decode_picture};
use super::image::{ImageFacts, PolarityChoice, append_image};
use super::jpeg::scaled::{Head, Refusal, Scale, decode};
use super::raster::Raster;
use crate::error::{Error, Result};
use crate::signature::ImageSpec;
use crate::tensor::Data;

const LIMITS: ImageLimits = ImageLimits { max_pixels: 1 << 20 };

#[derive(Deserialize)]
struct Line {
    name: String,
    file: String,
    drafts: Vec<Draft>,
    inputs: Vec<Input>,
}

#[derive(Deserialize)]
struct Draft {
    scale: u32,
    size: [u32; 2],
    pixels: String,
}

#[derive(Deserialize)]
struct Input {
    image: ImageSpec,
    pixels: String,
}

fn lines() -> Vec<Line> {
    let text = include_str!("../../tests/fixtures/pillow/drafts.jsonl");
    let lines: Vec<Line> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 14);
    lines
}

fn bytes(text: &str) -> Vec<u8> {
    STANDARD.decode(text).unwrap()
}

const SCALES: [(u32, Scale); 3] = [(2, Scale::Half), (4, Scale::Quarter), (8, Scale::Eighth)];

fn scale_of(times: u32) -> Scale {
    SCALES.into_iter().find(|(known, _)| *known == times).unwrap().1
}

fn prepared(file: &[u8], spec: &ImageSpec, limits: ImageLimits) -> Result<(Data, ImageFacts)> {
    let transform = spec.clone().resolve(None).unwrap();
    let mut elements = Data::with_capacity(transform.dtype(), 0);
    let facts = append_image(file, &transform, limits, PolarityChoice::Auto, &mut elements)?;
    Ok((elements, facts))
}

fn spec(decode: &str) -> ImageSpec {
    toml::from_str(&format!("width = 8\nheight = 8\ndtype = \"uint8\"\ndecode = \"{decode}\"")).unwrap()
}

#[test]
fn every_scale_gives_the_pixels_of_pillow() {
    for line in lines() {
        for Draft { scale, size, pixels } in line.drafts {
            let found = decode(&bytes(&line.file), scale_of(scale)).unwrap();
            assert_eq!([found.width, found.height], size, "{} / {scale}", line.name);
            assert_eq!(found.pixels, bytes(&pixels), "{} / {scale}", line.name);
        }
    }
}

#[test]
fn inputs_are_those_of_pillow_and_the_picture_keeps_its_place() {
    for line in lines() {
        let file = bytes(&line.file);
        for Input { image, pixels } in line.inputs {
            let (found, facts) = prepared(&file, &image, LIMITS).unwrap();
            assert_eq!(found, Data::Uint8(bytes(&pixels)), "{} {image:?}", line.name);
            let full = ImageSpec { decode: None, ..image };
            let (in_full, facts_in_full) = prepared(&file, &full, LIMITS).unwrap();
            assert_ne!(found, in_full, "{}", line.name);
            assert_eq!(facts, facts_in_full, "{}", line.name);
        }
    }
}

#[test]
fn what_has_no_other_size_is_decoded_in_full() {
    let cmyk: &[u8] = include_bytes!("../../tests/fixtures/images/cmyk.jpg");
    let ycck: &[u8] = include_bytes!("../../tests/fixtures/images/ycck.jpg");
    let png: &[u8] = include_bytes!("../../tests/fixtures/pillow/wide.png");
    for file in [cmyk, ycck, png] {
        assert_eq!(prepared(file, &spec("scaled"), LIMITS).unwrap(), prepared(file, &spec("full"), LIMITS).unwrap());
    }
    assert_eq!(decode(cmyk, Scale::Half), Err(Refusal::Unscalable));
    // A picture that is less than twice as large as its input.
    let line = &lines()[0];
    let near: ImageSpec = toml::from_str("width = 23\nheight = 19\ndecode = \"scaled\"").unwrap();
    let full = ImageSpec { decode: None, ..near.clone() };
    let file = bytes(&line.file);
    assert_eq!(prepared(&file, &near, LIMITS).unwrap(), prepared(&file, &full, LIMITS).unwrap());
}

#[test]
fn the_scale_is_the_least_that_is_no_smaller_than_what_is_wanted() {
    let times = |size, wanted| {
        let scale = Scale::of(size, wanted)?;
        SCALES.into_iter().find(|(_, known)| *known == scale).map(|(times, _)| times)
    };
    for (size, wanted, expected) in [
        ([1920, 1080], [455, 256], Some(4)),
        ([1920, 1080], [240, 135], Some(8)),
        ([1920, 1080], [240, 136], Some(4)),
        ([1920, 1080], [960, 540], Some(2)),
        ([1920, 1080], [961, 540], None),
        ([1920, 1080], [1, 1080], None),
        ([65535, 65535], [1, 1], Some(8)),
        ([1, 1], [1 << 24, 1], None),
    ] {
        assert_eq!(times(size, wanted), expected, "{size:?} {wanted:?}");
    }
}

#[test]
fn too_many_pixels_are_refused_at_any_scale() {
    let file = bytes(&lines()[0].file);
    let refused = prepared(&file, &spec("scaled"), ImageLimits { max_pixels: 45 * 38 - 1 }).unwrap_err();
    assert!(matches!(refused, Error::TooLarge { .. }), "{refused}");
    assert!(prepared(&file, &spec("scaled"), ImageLimits { max_pixels: 45 * 38 }).is_ok());
}

#[test]
fn a_file_that_breaks_off_is_refused_also_where_it_was_closed_again() {
    for line in lines() {
        let file = bytes(&line.file);
        let start = file.windows(2).position(|pair| pair == [0xff, 0xda]).unwrap() + 2;
        for at in (start..file.len() - 40).step_by(7) {
            let closed = [&file[..at], &[0xff, 0xd9]].concat();
            for (_, scale) in SCALES {
                assert!(decode(&closed, scale).is_err(), "{} at {at}", line.name);
            }
            assert!(matches!(prepared(&file[..at], &spec("scaled"), LIMITS), Err(Error::InvalidInput(_))));
        }
    }
}

#[test]
fn a_single_scan_that_breaks_off_is_refused_and_not_decoded_in_full() {
    let mut files = 0;
    for line in lines() {
        let file = bytes(&line.file);
        let starts: Vec<usize> = (0..file.len()).filter(|at| file[*at..].starts_with(&[0xff, 0xda])).collect();
        let is_baseline = file.windows(2).any(|pair| pair == [0xff, 0xc0]);
        let ([start], true) = (starts.as_slice(), is_baseline) else { continue };
        files += 1;
        // Behind the header of the scan.
        for at in (start + 16..file.len() - 40).step_by(11) {
            let closed = [&file[..at], &[0xff, 0xd9]].concat();
            let refused = prepared(&closed, &spec("scaled"), LIMITS);
            assert!(matches!(refused, Err(Error::InvalidInput(_))), "{} at {at}: {refused:?}", line.name);
        }
    }
    assert!(files > 3, "{files}");
}

#[test]
fn what_follows_the_end_of_the_image_is_not_read() {
    for line in lines() {
        let file = bytes(&line.file);
        let start = file.windows(2).position(|pair| pair == [0xff, 0xda]).unwrap();
        let scans = file[start..file.len() - 2].repeat(200);
        let tails: [&[u8]; 4] = [&scans, &file, b"\xff\xc4\0\x05abc", b"\xff\xda\0\x03\0"];
        for (index, tail) in tails.into_iter().enumerate() {
            let longer = [&file, tail].concat();
            for (_, scale) in SCALES {
                assert_eq!(decode(&longer, scale), decode(&file, scale), "{} and {index}", line.name);
            }
            let [found, expected] = [&longer, &file].map(|file| prepared(file, &spec("scaled"), LIMITS).unwrap());
            assert_eq!(found, expected, "{} and {index}", line.name);
        }
    }
}

/// Returns a file without its segments of a marker, up to its first scan.
fn without(file: &[u8], marker: u8) -> Vec<u8> {
    let (mut kept, mut at) = (file[..2].to_vec(), 2);
    while file[at + 1] != 0xda {
        let end = at + 2 + usize::from(u16::from_be_bytes([file[at + 2], file[at + 3]]));
        if file[at + 1] != marker {
            kept.extend(&file[at..end]);
        }
        at = end;
    }
    kept.extend(&file[at..]);
    kept
}

#[test]
fn a_file_without_huffman_tables_is_left_to_the_decoder_of_the_full_size() {
    let file = bytes(&lines()[0].file);
    assert_eq!(without(&file, 0), file);
    let bare = without(&file, 0xc4);
    assert_ne!(bare, file);
    assert_eq!(decode(&bare, Scale::Half), Err(Refusal::Unscalable));
    let [scaled, full] = ["scaled", "full"].map(|decode| prepared(&bare, &spec(decode), LIMITS));
    assert_eq!(scaled.map_err(|error| error.to_string()), full.map_err(|error| error.to_string()));
}

#[test]
fn the_last_of_several_orientations_holds_at_any_size() {
    let exif = |orientation: u8| {
        let entry = [b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0".as_slice(), &[orientation, 0, 0, 0, 0, 0, 0, 0]];
        let segment = [b"Exif\0\0", entry.concat().as_slice()].concat();
        [&[0xff, 0xe1], &(segment.len() as u16 + 2).to_be_bytes()[..], &segment].concat()
    };
    let file = without(&bytes(&lines()[0].file), 0xe1);
    for (first, last, is_turned) in [(1, 6, true), (6, 1, false), (3, 8, true)] {
        let both = [&file[..2], &exif(first), &exif(last), &file[2..]].concat();
        let alone = [&file[..2], &exif(last), &file[2..]].concat();
        let [found, expected] = [&both, &alone].map(|file| prepared(file, &spec("scaled"), LIMITS).unwrap());
        assert_eq!(found, expected, "{first} {last}");
        assert_eq!(found.1, prepared(&both, &spec("full"), LIMITS).unwrap().1, "{first} {last}");
        let turned = Head::read(&both).unwrap().orientation != Orientation::NoTransforms;
        assert_eq!(turned, is_turned, "{first} {last}");
    }
}

/// Returns the means of squares of pixels.
fn means(picture: &Raster, times: u32) -> Vec<f64> {
    let (width, height) = (picture.width / times, picture.height / times);
    let mut means = Vec::new();
    for (y, x) in (0..height).flat_map(|y| (0..width).map(move |x| (y, x))) {
        for channel in 0..picture.channels {
            let level = |row: u32, column: u32| {
                let pixel = (y * times + row) * picture.width + x * times + column;
                f64::from(picture.pixels[pixel as usize * picture.channels + channel])
            };
            let sum: f64 = (0..times).flat_map(|row| (0..times).map(move |column| level(row, column))).sum();
            means.push(sum / f64::from(times * times));
        }
    }
    means
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_scaled_picture_is_the_mean_of_the_whole_one(
        blocks in (1u32..9, 1u32..9),
        quality in 50u8..=100,
        is_grey: bool,
        seed: u32,
    ) {
        let (width, height, channels) = (blocks.0 * 8, blocks.1 * 8, if is_grey { 1 } else { 3 });
        let mut state = seed | 1;
        // Noise around a middle level, which no pixel leaves far enough to be cut off.
        let pixels: Vec<u8> = (0..width * height * channels).map(|_| {
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            100 + (state % 56) as u8
        }).collect();
        let mut file = Vec::new();
        let colour = if is_grey { ExtendedColorType::L8 } else { ExtendedColorType::Rgb8 };
        JpegEncoder::new_with_quality(&mut file, quality).write_image(&pixels, width, height, colour).unwrap();
        let whole = decode_picture(&file, LIMITS, [255; 3]).unwrap();
        for (times, scale) in SCALES {
            let scaled = decode(&file, scale).unwrap();
            for (found, expected) in scaled.pixels.iter().zip(means(&whole, times)) {
                prop_assert!((f64::from(*found) - expected).abs() < 3.0, "{found} {expected} / {times}");
            }
        }
    }

    #[test]
    fn a_mutated_file_is_decoded_or_refused(
        line in 0usize..14,
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in proptest::option::of(any::<prop::sample::Index>()),
    ) {
        let mut file = bytes(&lines()[line].file);
        for (place, byte) in changes {
            let place = place.index(file.len());
            file[place] = byte;
        }
        if let Some(cut) = cut {
            file.truncate(cut.index(file.len()));
        }
        for (_, scale) in SCALES {
            if let Ok(picture) = decode(&file, scale) {
                prop_assert_eq!(picture.pixels.len(), picture.width as usize * picture.height as usize * picture.channels);
            }
        }
        if let Err(error) = prepared(&file, &spec("scaled"), LIMITS) {
            let is_senders =
                matches!(error, Error::InvalidInput(_) | Error::UnsupportedMedia(_) | Error::TooLarge { .. });
            prop_assert!(is_senders, "{error}");
        }
    }
}
