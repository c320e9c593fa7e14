//! Image files as clients really send them and as attackers make them.
//!
//! The numbers in comments are those of the test catalogue. PNG files that no encoder at hand would
//! write are put together here, chunk by chunk (PNG specification, section 5).

use std::io::{Cursor, Write};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flate2::Compression;
use flate2::write::ZlibEncoder;
use image::codecs::jpeg::JpegEncoder;
use image::codecs::png::PngEncoder;
use image::metadata::Orientation;
use image::{DynamicImage, ExtendedColorType, GrayImage, ImageEncoder};
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use serde_json::{Value, json};

use super::image_formats::unneeded;
use crate::fixtures::{image_file, mnist, png, png_of_test_image};
use crate::support::{TestApp, bundled_models};

const SIGNATURE: &[u8] = b"\x89PNG\r\n\x1a\n";

fn seven() -> &'static [u8] {
    crate::fixtures::pixels(&mnist().test, 0)
}

fn jpeg(width: u32, height: u32, pixels: &[u8], color: ExtendedColorType) -> Vec<u8> {
    let mut file = Vec::new();
    JpegEncoder::new_with_quality(&mut file, 100).write_image(pixels, width, height, color).unwrap();
    file
}

fn png_of(pixels: &[u8], color: ExtendedColorType) -> Vec<u8> {
    let mut file = Cursor::new(Vec::new());
    PngEncoder::new(&mut file).write_image(pixels, 28, 28, color).unwrap();
    file.into_inner()
}

/// Each pixel of the seven as other bytes.
fn mapped<const N: usize>(bytes: impl Fn(u8) -> [u8; N]) -> Vec<u8> {
    seven().iter().flat_map(|level| bytes(*level)).collect()
}

fn chunk(kind: &[u8; 4], data: &[u8]) -> Vec<u8> {
    let mut crc = flate2::Crc::new();
    crc.update(kind);
    crc.update(data);
    [&(data.len() as u32).to_be_bytes(), &kind[..], data, &crc.sum().to_be_bytes()].concat()
}

fn header(width: u32, height: u32, depth: u8, color: u8, interlaced: bool) -> Vec<u8> {
    let data = [&width.to_be_bytes()[..], &height.to_be_bytes(), &[depth, color, 0, 0, u8::from(interlaced)]].concat();
    [SIGNATURE, &chunk(b"IHDR", &data)].concat()
}

/// Rows, each behind a filter type of none, compressed.
fn packed<'a>(rows: impl Iterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
    for row in rows {
        encoder.write_all(&[&[0], row].concat()).unwrap();
    }
    encoder.finish().unwrap()
}

fn built(header: Vec<u8>, before: &[u8], data: &[u8]) -> Vec<u8> {
    [header, before.to_vec(), chunk(b"IDAT", data), chunk(b"IEND", &[])].concat()
}

/// The seven in the seven passes of Adam7: x start, y start, x step, y step.
fn interlaced() -> Vec<u8> {
    const PASSES: [[usize; 4]; 7] =
        [[0, 0, 8, 8], [4, 0, 8, 8], [0, 4, 4, 8], [2, 0, 4, 4], [0, 2, 2, 4], [1, 0, 2, 2], [0, 1, 1, 2]];
    let mut rows: Vec<Vec<u8>> = Vec::new();
    for [left, top, across, down] in PASSES {
        for y in (top..28).step_by(down) {
            rows.push((left..28).step_by(across).map(|x| seven()[y * 28 + x]).collect());
        }
    }
    built(header(28, 28, 8, 0, true), &[], &packed(rows.iter().map(Vec::as_slice)))
}

/// An EXIF block that says nothing but the orientation.
fn exif(orientation: u16) -> Vec<u8> {
    let [high, low] = orientation.to_be_bytes();
    [b"MM\0\x2a\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01".as_slice(), &[high, low, 0, 0, 0, 0, 0, 0]].concat()
}

/// A JPEG file with another marker segment behind its first marker.
fn with_segment(file: &[u8], marker: u8, data: &[u8]) -> Vec<u8> {
    let length = (data.len() as u16 + 2).to_be_bytes();
    [&file[..2], &[0xff, marker], &length, data, &file[2..]].concat()
}

async fn predictions(app: &TestApp, file: Vec<u8>) -> Value {
    let answer = app.post("/predict", "", file).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()["predictions"].clone()
}

/// 15, 26: only images of some formats, and never a look at what a document refers to.
#[tokio::test]
async fn other_formats_are_refused() {
    let app = TestApp::start().await;
    let svg = b"<?xml version=\"1.0\"?><!DOCTYPE svg [<!ENTITY x SYSTEM \"file:///etc/passwd\">]>\
        <svg xmlns:xlink=\"l\"><image xlink:href=\"http://127.0.0.1/\"/>&x;</svg>";
    for (what, body, status) in [
        ("nothing", &b""[..], 422),
        ("a byte", b"\x89", 415),
        ("a byte of JPEG", b"\xff", 415),
        ("text", b"seven", 415),
        ("HTML", b"<!doctype html><img src=x>", 415),
        ("SVG", svg, 415),
        ("PDF", b"%PDF-1.7\n", 415),
        ("GIF without a frame", b"GIF89a\x01\0\x01\0\0\0\0;", 422),
        ("TIFF, little endian", b"II*\0\x08\0\0\0", 422),
        ("TIFF, big endian", b"MM\0*\0\0\0\x08", 422),
        ("a piece of WebP", b"RIFF\x1a\0\0\0WEBPVP8L", 422),
        ("a piece of BMP", b"BM\x46\0\0\0", 415),
        ("ICO", b"\0\0\x01\0\x01\0", 415),
        ("HEIC", b"\0\0\0\x18ftypheic", 415),
        ("AVIF", b"\0\0\0\x1cftypavif", 415),
        ("EXR", b"\x76\x2f\x31\x01", 415),
        ("ZIP", b"PK\x03\x04", 415),
        ("PNG with other line ends", b"\x89PNG\n\x1a\n", 415),
        ("the mark of a JPEG alone", b"\xff\xd8", 415),
        ("JPEG 2000", b"\xff\x4f\xff\x51", 415),
    ] {
        for content_type in ["image/png", "application/octet-stream", ""] {
            let answer = app.post("/predict", content_type, body).await;
            assert_eq!(answer.status, status, "{what}: {}", answer.text());
            answer.assert_problem(status);
        }
        let encoded = app.post_json("/predict", &json!({"images": [STANDARD.encode(body)]})).await;
        assert_eq!(encoded.status, status, "{what}: {}", encoded.text());
    }
    app.assert_unharmed().await;
}

/// 16: half a picture is no picture, wherever it breaks off.
#[tokio::test]
async fn a_file_cut_off_anywhere_is_refused() {
    let app = TestApp::start().await;
    let grey = jpeg(28, 28, seven(), ExtendedColorType::L8);
    let colour = jpeg(28, 28, &mapped(|level| [level; 3]), ExtendedColorType::Rgb8);
    let tagged = with_segment(&grey, 0xe1, &[b"Exif\0\0".as_slice(), &exif(1)].concat());
    for file in [png_of_test_image(0), interlaced(), grey, colour, tagged] {
        assert_eq!(predictions(&app, file.clone()).await[0]["label"], "7");
        let unneeded = unneeded(&app, &file).await;
        // The last chunk, and of the one before it the checksum, and the checksum of the compressed data.
        let expected = if file.starts_with(SIGNATURE) { 16..=21 } else { 2..=2 };
        assert!(expected.contains(&unneeded), "{unneeded} of {}", file.len());
    }
    app.assert_unharmed().await;
}

/// 16: nor is a file that ends as it should and lacks rows.
#[tokio::test]
async fn a_file_with_missing_rows_is_refused() {
    let app = TestApp::start().await;
    let data = packed(seven().chunks(28));
    let head = || header(28, 28, 8, 0, false);
    for (what, file) in [
        ("half of the compressed data", built(head(), &[], &data[..data.len() / 2])),
        ("half of the rows", built(head(), &[], &packed(seven()[..28 * 14].chunks(28)))),
        ("no data", built(head(), &[], &[])),
        ("no data chunk", [head(), chunk(b"IEND", &[])].concat()),
        ("no header", [SIGNATURE, &chunk(b"IDAT", &data), &chunk(b"IEND", &[])].concat()),
        ("a wrong checksum", [head(), vec![0, 0, 0, 1], b"IDATx0000".to_vec(), chunk(b"IEND", &[])].concat()),
        ("no width", built(header(0, 28, 8, 0, false), &[], &data)),
        ("a depth there is not", built(header(28, 28, 3, 0, false), &[], &data)),
    ] {
        let answer = app.post("/predict", "", file).await;
        assert!(matches!(answer.status.as_u16(), 415 | 422), "{what}: {}", answer.text());
    }
    app.assert_unharmed().await;
}

/// 17: the size is judged before a pixel is allocated.
#[tokio::test]
async fn a_small_file_of_a_huge_picture_is_too_large() {
    let app = TestApp::start().await;
    let mut frame = jpeg(28, 28, seven(), ExtendedColorType::L8);
    let size = frame.windows(2).position(|pair| pair == [0xff, 0xc0]).unwrap() + 5;
    frame[size..size + 4].copy_from_slice(&[0xff, 0xff, 0xff, 0xff]);
    let data = packed(std::iter::once(&[0u8; 4096][..]));
    for (what, file) in [
        ("grey", built(header(50_000, 50_000, 8, 0, false), &[], &data)),
        ("16-bit RGBA", built(header(50_000, 50_000, 16, 6, true), &[], &data)),
        ("one row", built(header(25_000_001, 1, 1, 0, false), &[], &data)),
        ("one column", built(header(1, 0x7fff_ffff, 8, 2, false), &[], &data)),
        ("a JPEG", frame),
    ] {
        assert!(file.len() < 1000, "{what}");
        let detail = app.post("/predict", "", file).await.assert_problem(413);
        assert!(detail.contains("25000000"), "{what}: {detail}");
    }
    let tight = TestApp::with(&bundled_models(), |options| options.max_image_pixels = Some(784)).await;
    assert_eq!(tight.post("/predict", "", png_of_test_image(0)).await.labels(), ["7"]);
    tight.post("/predict", "", png(28, 29, &[0; 28 * 29])).await.assert_problem(413);
    app.assert_unharmed().await;
}

/// 20: of an animated PNG the first frame counts, and no other is looked at.
#[tokio::test]
async fn an_animation_is_its_first_frame() {
    let app = TestApp::start().await;
    let control = |sequence: u32, left: u32| {
        let numbers = [sequence, 28, 28, left, 0].map(u32::to_be_bytes).concat();
        chunk(b"fcTL", &[&numbers[..], &[0, 1, 0, 10, 0, 0]].concat())
    };
    let first = packed(seven().chunks(28));
    let mut frames = Vec::new();
    for frame in 1..10_000u32 {
        // Frames that are too far right, with data that is none, would fail if they were read.
        frames.extend(control(frame * 2 - 1, 1_000_000));
        frames.extend(chunk(b"fdAT", &[&(frame * 2).to_be_bytes()[..], b"junk"].concat()));
    }
    let count = chunk(b"acTL", &[10_000u32.to_be_bytes(), [0; 4]].concat());
    let file = [header(28, 28, 8, 0, false), count, control(0, 0), chunk(b"IDAT", &first), frames, chunk(b"IEND", &[])]
        .concat();
    assert_eq!(predictions(&app, file).await, predictions(&app, png_of_test_image(0)).await);
    app.assert_unharmed().await;
}

/// 21: a file of four colours without tables is damaged, and a second frame does no harm.
#[tokio::test]
async fn damaged_cmyk_is_refused() {
    let app = TestApp::start().await;
    let frame = |marker: u8| {
        [&[0xff, marker, 0, 20, 8, 0, 28, 0, 28, 4][..], &[1, 0x11, 0, 2, 0x11, 0, 3, 0x11, 0, 4, 0x11, 0]].concat()
    };
    for marker in [0xc0, 0xc1, 0xc2] {
        for transform in [0, 2] {
            let bare = [&[0xff, 0xd8][..], &frame(marker), &[0xff, 0xda, 0, 2, 0, 0xff, 0xd9]].concat();
            let file = with_segment(&bare, 0xee, &[b"Adobe\0\x64\0\0\0\0".as_slice(), &[transform]].concat());
            app.post("/predict", "", file).await.assert_problem(422);
        }
    }
    let grey = jpeg(28, 28, seven(), ExtendedColorType::L8);
    let twice = [&grey[..grey.len() - 2], &frame(0xc0), &[0xff, 0xd9]].concat();
    assert!(app.post("/predict", "", twice).await.status.as_u16() < 500);
    app.assert_unharmed().await;
}

/// 22: one picture, in every kind of pixel, is one answer.
#[tokio::test]
async fn every_kind_of_pixel_gives_the_same_answer() {
    let app = TestApp::start().await;
    let expected = predictions(&app, png_of_test_image(0)).await;
    let indices = || packed(seven().chunks(28));
    let rows = |bytes: usize| {
        let repeated: Vec<u8> = seven().iter().flat_map(|level| std::iter::repeat_n(*level, bytes)).collect();
        packed(repeated.chunks(28 * bytes))
    };
    let greys: Vec<u8> = (0..=255u8).flat_map(|level| [level; 3]).collect();
    let whites = [255; 768];
    let fading: Vec<u8> = (0..=255).collect();
    let palette = |colors: &[u8], alphas: &[u8]| {
        let before =
            [chunk(b"PLTE", colors), if alphas.is_empty() { Vec::new() } else { chunk(b"tRNS", alphas) }].concat();
        built(header(28, 28, 8, 3, false), &before, &indices())
    };
    for (what, file) in [
        ("grey and alpha", png_of(&mapped(|level| [level, 255]), ExtendedColorType::La8)),
        ("RGB", png_of(&mapped(|level| [level; 3]), ExtendedColorType::Rgb8)),
        ("RGBA", png_of(&mapped(|level| [level, level, level, 255]), ExtendedColorType::Rgba8)),
        ("16-bit grey", png_of(&mapped(|level| [level; 2]), ExtendedColorType::L16)),
        ("16-bit RGB", png_of(&mapped(|level| [level; 6]), ExtendedColorType::Rgb16)),
        ("palette", palette(&greys, &[])),
        ("palette, opaque", palette(&greys, &[255; 256])),
        ("palette, the black background transparent", palette(&greys, &[0])),
        ("palette, white that fades", palette(&whites, &fading)),
        ("white that fades", png_of(&mapped(|level| [255, level]), ExtendedColorType::La8)),
        ("grey, black transparent", built(header(28, 28, 8, 0, false), &chunk(b"tRNS", &[0, 0]), &indices())),
        ("RGB, black transparent", built(header(28, 28, 8, 2, false), &chunk(b"tRNS", &[0; 6]), &rows(3))),
        ("16-bit grey, black transparent", built(header(28, 28, 16, 0, false), &chunk(b"tRNS", &[0; 2]), &rows(2))),
        ("16-bit grey that fades", png_of(&mapped(|level| [255, 255, level, level]), ExtendedColorType::La16)),
        (
            "16-bit white that fades",
            png_of(&mapped(|level| [255, 255, 255, 255, 255, 255, level, level]), ExtendedColorType::Rgba16),
        ),
        ("interlaced", interlaced()),
    ] {
        assert_eq!(predictions(&app, file).await, expected, "{what}");
    }
    // Black on transparent is laid on white, and found out to be dark on light.
    let black = predictions(&app, png_of(&mapped(|level| [0, 0, 0, level]), ExtendedColorType::Rgba8)).await;
    assert_eq!((&black[0]["top_k"], &black[0]["inverted"]), (&expected[0]["top_k"], &json!(true)));
    for (pixels, color) in
        [(mapped(|level| [level]), ExtendedColorType::L8), (mapped(|level| [level; 3]), ExtendedColorType::Rgb8)]
    {
        assert_eq!(predictions(&app, jpeg(28, 28, &pixels, color)).await[0]["label"], "7");
    }
    app.assert_unharmed().await;
}

/// 23: a picture that says it lies on its side is turned; nonsense about its side is ignored.
#[tokio::test]
async fn exif_orientation_is_applied() {
    let app = TestApp::start().await;
    let expected = predictions(&app, png_of_test_image(0)).await;
    for value in 1..=8u8 {
        let orientation = Orientation::from_exif(value).unwrap();
        let inverse = match orientation {
            Orientation::Rotate90 => Orientation::Rotate270,
            Orientation::Rotate270 => Orientation::Rotate90,
            itself => itself,
        };
        let mut turned = DynamicImage::from(GrayImage::from_raw(28, 28, seven().to_vec()).unwrap());
        turned.apply_orientation(inverse);
        let pixels = turned.into_bytes();
        let block = exif(value.into());
        let lossless = built(header(28, 28, 8, 0, false), &chunk(b"eXIf", &block), &packed(pixels.chunks(28)));
        assert_eq!(predictions(&app, lossless).await, expected, "PNG, {value}");
        let lossy =
            with_segment(&jpeg(28, 28, &pixels, ExtendedColorType::L8), 0xe1, &[b"Exif\0\0", &block[..]].concat());
        assert_eq!(predictions(&app, lossy).await[0]["label"], "7", "JPEG, {value}");
    }
    for block in
        [&b""[..], b"MM", b"II*\0\xff\xff\xff\xff", &exif(0), &exif(9), &exif(65535), &[0xff; 300], &exif(6)[..20]]
    {
        let file = with_segment(&jpeg(28, 28, seven(), ExtendedColorType::L8), 0xe1, &[b"Exif\0\0", block].concat());
        assert_eq!(predictions(&app, file).await[0]["label"], "7", "{block:?}");
        let file = built(header(28, 28, 8, 0, false), &chunk(b"eXIf", block), &packed(seven().chunks(28)));
        assert_eq!(predictions(&app, file).await, expected, "{block:?}");
    }
    app.assert_unharmed().await;
}

/// 27: bytes decide; names and declared types do not, and nothing is sniffed on the way back.
#[tokio::test]
async fn a_file_is_what_its_bytes_are() {
    let app = TestApp::start().await;
    let expected = predictions(&app, png_of_test_image(0)).await;
    let archive = [&png_of_test_image(0)[..], b"PK\x03\x04 and so on <script>alert(1)</script>"].concat();
    for content_type in ["image/png", "image/jpeg", "text/html", "application/json", "image/svg+xml", "nonsense"] {
        let answer = app.post("/predict", content_type, archive.clone()).await;
        assert_eq!(answer.json()["predictions"], expected, "{content_type}");
        assert_eq!(
            (&answer.headers["content-type"], &answer.headers["x-content-type-options"]),
            (&"application/json".parse().unwrap(), &"nosniff".parse().unwrap())
        );
    }
    for (liar, status) in [(&b"GIF89a/*"[..], 413), (b"<svg>\x89PNG\r\n\x1a\n", 415), (b"\0\x89PNG\r\n\x1a\n", 415)] {
        app.post("/predict", "image/png", [liar, &png_of_test_image(0)].concat()).await.assert_problem(status);
    }
    app.assert_unharmed().await;
}

/// A batch is as good as its worst image, which is named; too many are refused before one is decoded.
#[tokio::test]
async fn a_bad_image_in_a_batch_is_named() {
    let app = TestApp::with(&bundled_models(), |options| options.max_samples = Some(3)).await;
    let good = png_of_test_image(0);
    let huge = built(header(50_000, 50_000, 8, 0, false), &[], &[]);
    let form = |files: &[&[u8]]| {
        let part = |file: &&[u8]| {
            [b"--b\r\ncontent-disposition: form-data; name=\"i\"; filename=\"i\"\r\n\r\n", *file, b"\r\n"].concat()
        };
        [files.iter().flat_map(part).collect::<Vec<_>>(), b"--b--\r\n".to_vec()].concat()
    };
    for (bad, status) in [(&good[..good.len() / 2], 422), (b"8BPS\0\x01", 415), (&huge, 413), (b"", 422)] {
        let files = [&good[..], &good, bad];
        let encoded: Vec<_> = files.iter().map(|file| STANDARD.encode(file)).collect();
        for answer in [
            app.post_json("/predict", &json!({"images": encoded})).await,
            app.post("/predict", "multipart/form-data; boundary=b", form(&files)).await,
        ] {
            let detail = answer.assert_problem(status);
            assert!(detail.contains("image 2"), "{detail}");
        }
    }
    let four = [&good[..]; 4];
    app.post_json("/predict", &json!({"images": four.map(|file| STANDARD.encode(file))})).await.assert_problem(413);
    app.post("/predict", "multipart/form-data; boundary=b", form(&four)).await.assert_problem(413);
    assert_eq!(
        app.post("/predict", "multipart/form-data; boundary=b", form(&four[..3])).await.labels(),
        ["7", "7", "7"]
    );
    app.assert_unharmed().await;
}

/// The polarity of the body wins over the query's; each is one of three words.
#[tokio::test]
async fn polarity_may_be_said_in_the_query_or_the_body() {
    let app = TestApp::start().await;
    let negative = png(28, 28, &mapped(|level| [255 - level]));
    let body = |polarity: &str| json!({"images": [STANDARD.encode(&negative)], "polarity": polarity});
    for (query, in_body, inverted) in [
        ("", "auto", true),
        ("?polarity=auto", "dark_on_light", true),
        ("?polarity=dark_on_light", "light_on_dark", false),
        ("?polarity=light_on_dark", "dark_on_light", true),
        ("?polarity=light_on_dark&top_k=1", "auto", true),
    ] {
        let answer = app.post_json(&format!("/predict{query}"), &body(in_body)).await.json();
        assert_eq!(answer["predictions"][0]["inverted"], inverted, "{query} {in_body}");
    }
    for query in [
        "polarity=",
        "polarity=AUTO",
        "polarity=auto&polarity=auto",
        "polarity=dark-on-light",
        "Polarity=auto",
        "polarity[]=auto",
    ] {
        app.post(&format!("/predict?{query}"), "", negative.clone()).await.assert_problem(400);
    }
    app.assert_unharmed().await;
}

/// Whatever becomes of a file on its way, its sender is told what is wrong, or gets an answer. PROPTEST_CASES asks for
/// more files.
#[test]
fn a_mutated_file_is_never_a_server_error() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let app = runtime.block_on(TestApp::start());
    let colour = jpeg(28, 28, &mapped(|level| [level, 255 - level, 7]), ExtendedColorType::Rgb8);
    let mut files = vec![png_of_test_image(0), interlaced(), jpeg(28, 28, seven(), ExtendedColorType::L8), colour];
    files.extend(
        ["progressive.jpg", "subsampled.jpg", "ycck.jpg", "seven.gif", "seven.bmp", "seven.webp"].map(image_file),
    );
    files.extend(["alpha.webp", "animated.webp", "turned.webp"].map(image_file));
    let change = (any::<prop::sample::Index>(), 0..5u8, any::<u8>());
    let strategy = (0..files.len(), prop::collection::vec(change, 1..9));
    let cases = Config::default().cases.max(1000);
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    let outcome = runner.run(&strategy, |(file, changes)| {
        let mut bytes = files[file].clone();
        for (at, how, value) in changes {
            // Headers are where lengths and sizes are.
            let within = if how == 4 { bytes.len().min(64) } else { bytes.len() };
            let at = at.index(within);
            match how {
                0 | 4 => bytes[at] = value,
                1 => bytes[at] ^= 1 << (value % 8),
                2 => bytes.insert(at, value),
                _ => drop(bytes.splice(at..(at + usize::from(value)).min(bytes.len()), [])),
            }
            if bytes.is_empty() {
                bytes.push(value);
            }
        }
        let answer = runtime.block_on(app.post("/predict", "", bytes));
        prop_assert!(
            matches!(answer.status.as_u16(), 200 | 400 | 413 | 415 | 422),
            "{}: {}",
            answer.status,
            answer.text()
        );
        Ok(())
    });
    outcome.unwrap_or_else(|failure| panic!("{failure}"));
    runtime.block_on(app.assert_unharmed());
}
