//! Image files in every format that is accepted, in every place that takes images; and what else is named.

use axum::body::Body;
use axum::http::Request;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use image::codecs::bmp::BmpEncoder;
use image::codecs::gif::GifEncoder;
use image::codecs::tiff::TiffEncoder;
use image::codecs::webp::WebPEncoder;
use image::metadata::Orientation;
use image::{DynamicImage, ExtendedColorType, Frame, GrayImage, ImageEncoder, RgbaImage};
use serde_json::{Value, json};
use weir::error::Error;
use weir::trainer::{DataOptions, DataSource};
use weir::transform::{ImageLimits, decode, size};

use crate::fixtures::{image_file, mnist, png_of_test_image};
use crate::support::{TestApp, bundled_models};

const LIMITS: ImageLimits = ImageLimits { max_pixels: 25_000_000 };

fn seven() -> &'static [u8] {
    crate::fixtures::pixels(&mnist().test, 0)
}

fn bmp(pixels: &[u8]) -> Vec<u8> {
    let mut file = Vec::new();
    BmpEncoder::new(&mut file).encode(pixels, 28, 28, ExtendedColorType::L8).unwrap();
    file
}

fn webp(width: u32, height: u32, pixels: &[u8], color: ExtendedColorType) -> Vec<u8> {
    let mut file = Vec::new();
    WebPEncoder::new_lossless(&mut file).write_image(pixels, width, height, color).unwrap();
    file
}

fn tiff(width: u32, height: u32, pixels: &[u8], color: ExtendedColorType) -> Vec<u8> {
    let mut file = std::io::Cursor::new(Vec::new());
    TiffEncoder::new(&mut file).write_image(pixels, width, height, color).unwrap();
    file.into_inner()
}

/// Frames of 28 × 28 pixels in grey.
fn gif<'a>(frames: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut file = Vec::new();
    let mut encoder = GifEncoder::new(&mut file);
    for pixels in frames {
        let rgba = pixels.iter().flat_map(|level| [*level, *level, *level, 255]).collect();
        encoder.encode_frame(Frame::new(RgbaImage::from_raw(28, 28, rgba).unwrap())).unwrap();
    }
    drop(encoder);
    file
}

/// Files of the seven in every format, each of which decodes to the very pixels of the PNG.
fn lossless() -> Vec<(&'static str, Vec<u8>)> {
    let black = [0u8; 784];
    vec![
        ("BMP", bmp(seven())),
        ("TIFF", tiff(28, 28, seven(), ExtendedColorType::L8)),
        ("WebP", webp(28, 28, seven(), ExtendedColorType::L8)),
        ("GIF", gif([seven()])),
        ("moving GIF", gif([seven(), &black, &black])),
        ("moving WebP", image_file("animated.webp")),
    ]
}

async fn answer(app: &TestApp, file: Vec<u8>) -> Value {
    let answer = app.post("/models/mnist-mlp/predict", "", file).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()["predictions"].clone()
}

#[tokio::test]
async fn files_of_every_kind_are_the_seven_that_they_show() {
    let app = TestApp::start().await;
    for (name, inverted) in [
        ("card-white.png", true),
        ("white-is-transparent.png", true),
        ("white-opaque.png", true),
        ("no-eoi.jpg", true),
        ("cmyk.jpg", true),
        ("ycck.jpg", true),
        ("progressive.jpg", true),
        ("progressive-grey.jpg", true),
        ("subsampled.jpg", true),
        ("seven.gif", true),
        ("seven.bmp", true),
        ("seven.webp", true),
        ("alpha.webp", true),
        ("animated.webp", false),
        ("turned.webp", true),
    ] {
        let found = answer(&app, image_file(name)).await;
        assert_eq!((&found[0]["label"], &found[0]["inverted"]), (&json!("7"), &json!(inverted)), "{name}");
    }
    let expected = answer(&app, image_file("white-opaque.png")).await;
    assert_eq!(answer(&app, image_file("white-is-transparent.png")).await, expected);
    let expected = answer(&app, png_of_test_image(0)).await;
    for (name, file) in lossless() {
        assert_eq!(answer(&app, file).await, expected, "{name}");
    }
    app.assert_unharmed().await;
}

/// Four colours are those that the same picture has in grey.
#[test]
fn inks_are_taken_as_adobe_writes_them() {
    let grey = decode(&image_file("no-eoi.jpg"), LIMITS).unwrap();
    let inks = decode(&image_file("cmyk.jpg"), LIMITS).unwrap();
    assert_eq!((inks.width, inks.height), (grey.width, grey.height));
    let differences = grey.pixels.iter().zip(&inks.pixels).map(|(a, b)| f64::from(a.abs_diff(*b)));
    assert!(differences.sum::<f64>() / (grey.pixels.len() as f64) < 2.0);
    let smaller = image::GrayImage::from_raw(grey.width, grey.height, grey.pixels).unwrap();
    let smaller = image::imageops::resize(&smaller, 56, 56, image::imageops::FilterType::Triangle);
    let converted = decode(&image_file("ycck.jpg"), LIMITS).unwrap();
    let differences = smaller.iter().zip(&converted.pixels).map(|(a, b)| f64::from(a.abs_diff(*b)));
    assert!(differences.sum::<f64>() / 3136.0 < 6.0);
}

#[test]
fn a_tiff_that_is_too_large_or_broken_is_refused() {
    let whole = tiff(28, 28, seven(), ExtendedColorType::L8);
    let small = ImageLimits { max_pixels: 783 };
    assert!(matches!(decode(&whole, small), Err(Error::TooLarge { .. })));
    let picture = decode(&whole, LIMITS).unwrap();
    for length in 8..whole.len() {
        match decode(&whole[..length], LIMITS) {
            Ok(found) => assert_eq!(found, picture, "{length}"),
            Err(error) => assert!(matches!(error, Error::InvalidInput(_)), "{length}: {error}"),
        }
    }
    // Whatever its fields claim, a file of a kilobyte takes no memory to speak of. Decoders may panic, which is caught.
    for place in 0..whole.len() {
        for value in [0, 1, 0x7f, 0xff] {
            let mut changed = whole.clone();
            changed[place] = value;
            drop(std::panic::catch_unwind(|| decode(&changed, LIMITS).is_ok()));
        }
    }
}

#[tokio::test]
async fn what_is_not_decoded_is_named() {
    let app = TestApp::start().await;
    let apple = [b"\x89PNG\r\n\x1a\n\0\0\0\x04CgBI".as_slice(), &[0; 40]].concat();
    for (file, words) in [
        (image_file("12bit-marker.jpg"), "a JPEG of 12 bits"),
        (image_file("arithmetic-marker.jpg"), "a JPEG with arithmetic coding"),
        (image_file("lossless-marker.jpg"), "a lossless JPEG"),
        (apple, "Apple's own variant"),
        (
            b"\0\0\0\x1cftypavif\0\0\0\0avifmif1".to_vec(),
            "this is an AVIF image; send PNG, JPEG, WebP, GIF, BMP or TIFF",
        ),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic".to_vec(), "a HEIC image"),
        (b"II*\0\x10\0\0\0CR\x02\0".to_vec(), "a camera's raw file"),
        (b"<svg xmlns=\"http://www.w3.org/2000/svg\"/>".to_vec(), "an SVG image"),
        (b"%PDF-1.7\n".to_vec(), "a PDF document"),
        (b"\0\0\x01\0\x01\0".to_vec(), "an ICO image"),
        (STANDARD.encode(png_of_test_image(0)).into_bytes(), "in base64"),
    ] {
        let text = STANDARD.encode(&file);
        for answer in [
            app.post("/predict", "application/octet-stream", file.clone()).await,
            app.post("/predict", "application/x-www-form-urlencoded", file.clone()).await,
            app.post("/predict", "image/heic", file.clone()).await,
            app.post_json("/predict", &json!({"images": [text]})).await,
        ] {
            let detail = answer.assert_problem(415);
            assert!(detail.contains(words), "{detail}");
        }
        let foreign = app.post("/predictions/mnist-mlp", "", file.clone()).await;
        assert!(foreign.status == 415 && foreign.text().contains(words), "{}", foreign.text());
        let tensor = json!({"name": "image", "shape": [1], "datatype": "BYTES", "data": [text]});
        let oip = app.post_json("/v2/models/mnist-mlp/infer", &json!({"inputs": [tensor]})).await;
        assert!(oip.status.is_client_error() && oip.text().contains(words), "{}", oip.text());
    }
    app.assert_unharmed().await;
}

#[tokio::test]
async fn every_place_for_images_knows_every_format() {
    let app = TestApp::start().await;
    let form = |name: &str, file: &[u8]| {
        let head = format!("--b\r\ncontent-disposition: form-data; name=\"{name}\"; filename=\"f\"\r\n\r\n");
        [head.as_bytes(), file, b"\r\n--b--\r\n"].concat()
    };
    let multipart = "multipart/form-data; boundary=b";
    for (format, file) in lossless() {
        let text = STANDARD.encode(&file);
        for content_type in ["", "image/webp", "text/plain", "application/json", "application/octet-stream"] {
            let answer = app.post("/predict", content_type, file.clone()).await;
            assert_eq!(answer.labels(), ["7"], "{format} as {content_type}");
        }
        assert_eq!(app.post("/predict", multipart, form("image", &file)).await.labels(), ["7"], "{format}");
        assert_eq!(app.post_json("/predict", &json!({"images": [text]})).await.labels(), ["7"], "{format}");
        for answer in [
            app.post("/predictions/mnist-mlp", "", file.clone()).await,
            app.post("/predictions/mnist-mlp", multipart, form("data", &file)).await,
            app.post_json("/predictions/mnist-mlp", &json!({"data": text})).await,
        ] {
            assert!(answer.text().starts_with("{\n  \"7\":"), "{format}: {}", answer.text());
        }
        let tensor = json!({"name": "image", "shape": [1], "datatype": "BYTES", "data": [text]});
        let wanted = json!([{"name": "probabilities", "parameters": {"classification": 1}}]);
        let oip = app.post_json("/v2/models/mnist-mlp/infer", &json!({"inputs": [tensor], "outputs": wanted})).await;
        assert!(oip.text().contains(":7:7"), "{format}: {}", oip.text());
        let tfs = app.post_json("/v1/models/mnist-mlp:predict", &json!({"instances": [{"b64": text}]})).await;
        assert_eq!(tfs.status, 200, "{format}: {}", tfs.text());
        let raw = Request::post("/v2/models/mnist-mlp/infer").header("inference-header-content-length", "0");
        assert_eq!(app.send(raw.body(Body::from(file)).unwrap()).await.status, 200, "{format}");
    }
    app.assert_unharmed().await;
}

#[test]
fn folders_of_pictures_hold_every_format_whatever_the_names() {
    let root = tempfile::TempDir::new().unwrap();
    let (digits, other) = (root.path().join("digits/seven"), root.path().join("digits/none"));
    std::fs::create_dir_all(&digits).unwrap();
    std::fs::create_dir_all(&other).unwrap();
    for (place, (_, file)) in lossless().into_iter().enumerate() {
        let extension = ["bmp", "tif", "WEBP", "gif", "dib", ""][place];
        std::fs::write(digits.join(format!("{place}.{extension}")), file).unwrap();
    }
    for place in 0..6 {
        std::fs::write(other.join(format!("{place}.png")), png_of_test_image(1)).unwrap();
    }
    let data = DataSource::read(&root.path().join("digits"), &DataOptions::default()).unwrap();
    let held_out = data.validation.as_ref().map_or(0, |part| part.len());
    let all = data.train.len() + held_out + data.test.len();
    assert_eq!((all, data.train.width, data.train.height), (12, 28, 28));
    let classes: Vec<_> = data.train.labels().iter().map(|label| data.labels[*label as usize].clone()).collect();
    for (index, class) in classes.iter().enumerate() {
        assert_eq!(data.train.image(index).unwrap() == seven(), class == "seven", "{index}");
    }
    std::fs::write(digits.join("a.heic"), b"\0\0\0\x18ftypheic\0\0\0\0mif1heic").unwrap();
    let error = DataSource::read(&root.path().join("digits"), &DataOptions::default()).unwrap_err().to_string();
    assert!(error.contains("a.heic") && error.contains("is a HEIC image, and not PNG, JPEG"), "{error}");
}

/// A part of a picture is no picture, but what comes behind it may be missing.
#[tokio::test]
async fn a_file_without_its_last_pixels_is_refused() {
    let app = TestApp::start().await;
    let mut files = lossless();
    files.extend(["seven.webp", "alpha.webp", "turned.webp", "seven.gif"].map(|name| (name, image_file(name))));
    files.extend(["progressive.jpg", "progressive-grey.jpg", "subsampled.jpg"].map(|name| (name, image_file(name))));
    for (name, file) in files {
        let unneeded = unneeded(&app, &file).await;
        if name.ends_with(".jpg") {
            assert_eq!(unneeded, 2, "{name} needs no end marker");
        } else {
            // Further frames, or a picture's last codes and the end of the file.
            assert!(unneeded <= 8 || name.starts_with("moving"), "{name}: {unneeded} of {}", file.len());
        }
    }
    app.assert_unharmed().await;
}

/// Returns how many bytes may be missing at the end of a file without a change of its answer. A file with fewer is
/// refused.
pub(super) async fn unneeded(app: &TestApp, file: &[u8]) -> usize {
    let expected = answer(app, file.to_vec()).await;
    let mut whole = file.len();
    for length in (0..file.len()).rev() {
        let answer = app.post("/models/mnist-mlp/predict", "", file[..length].to_vec()).await;
        if answer.status == 200 {
            assert_eq!((&answer.json()["predictions"], whole), (&expected, length + 1), "{length} of {}", file.len());
            whole = length;
        } else {
            assert!(matches!(answer.status.as_u16(), 415 | 422), "{length} of {}: {}", file.len(), answer.text());
        }
    }
    file.len() - whole
}

/// EXIF in the chunk of an extended WebP.
#[test]
fn a_webp_that_lies_on_its_side_is_turned() {
    let chunk =
        |kind: &[u8], data: &[u8]| [kind, &(data.len() as u32).to_le_bytes(), data, &[0][..data.len() % 2]].concat();
    for value in 1..=8u8 {
        let orientation = Orientation::from_exif(value).unwrap();
        let inverse = match orientation {
            Orientation::Rotate90 => Orientation::Rotate270,
            Orientation::Rotate270 => Orientation::Rotate90,
            itself => itself,
        };
        let upright = GrayImage::from_fn(40, 28, |x, y| image::Luma([(x * 5 + y) as u8]));
        let mut turned = DynamicImage::from(upright.clone());
        turned.apply_orientation(inverse);
        let plain = webp(turned.width(), turned.height(), turned.as_bytes(), ExtendedColorType::L8);
        let sides = [turned.width(), turned.height()].map(|side| (side - 1).to_le_bytes());
        let header = [&[8, 0, 0, 0][..], &sides[0][..3], &sides[1][..3]].concat();
        let exif =
            [b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0".as_slice(), &[value, 0, 0, 0, 0, 0, 0, 0]].concat();
        let chunks = [chunk(b"VP8X", &header), plain[12..].to_vec(), chunk(b"EXIF", &exif)].concat();
        let file = [b"RIFF", &(chunks.len() as u32 + 4).to_le_bytes()[..], b"WEBP", &chunks].concat();
        let picture = decode(&file, LIMITS).unwrap();
        assert_eq!((picture.width, picture.height, &picture.pixels), (40, 28, upright.as_raw()), "{value}");
        assert_eq!(size(&file, LIMITS).unwrap(), (40, 28), "{value}");
    }
}

/// The size is judged before a pixel is allocated, and no length in a file is believed.
#[tokio::test]
async fn small_files_of_huge_pictures_are_refused() {
    let app = TestApp::start().await;
    let with = |file: &[u8], at: usize, bytes: &[u8]| {
        let mut changed = file.to_vec();
        changed[at..at + bytes.len()].copy_from_slice(bytes);
        changed
    };
    let (gif, bmp) = (gif([seven()]), bmp(seven()));
    let extended = |chunk: &[u8], sides: [u8; 6]| {
        let chunks = [b"VP8X\x0a\0\0\0\x0a\0\0\0", &sides[..], chunk].concat();
        [b"RIFF", &(chunks.len() as u32 + 4).to_le_bytes()[..], b"WEBP", &chunks].concat()
    };
    let lossless = webp(28, 28, seven(), ExtendedColorType::L8);
    // A block of 65,535 × 65,535 pixels in a picture of 28 × 28.
    let descriptor = gif.windows(10).position(|block| block[0] == 0x2c && block[5..9] == [28, 0, 28, 0]).unwrap();
    let compressed = |kind: u8| with(&with(&bmp, 30, &[kind]), 14 + 8, &[28, 0, 0, 0]);
    for (what, file, statuses) in [
        ("the screen of a GIF", with(&gif, 6, &[0xff; 4]), [413; 2]),
        ("a GIF without a size", with(&gif, 6, &[0; 4]), [422; 2]),
        ("a frame of a GIF", with(&gif, descriptor + 5, &[0xff; 4]), [422; 2]),
        ("a BMP", with(&bmp, 18, &[0x50, 0xc3, 0, 0, 0x50, 0xc3, 0, 0]), [413; 2]),
        ("a BMP upside down", with(&bmp, 18, &[0x50, 0xc3, 0, 0, 0xb0, 0x3c, 0xff, 0xff]), [413; 2]),
        ("a BMP of too few rows", with(&bmp, 22, &[200, 0, 0, 0]), [422; 2]),
        ("pixels behind the end of a BMP", with(&bmp, 10, &[0xff; 4]), [422; 2]),
        ("run lengths that are none", compressed(1), [200, 422]),
        ("a JPEG in a BMP", compressed(4), [415, 422]),
        ("a WebP", with(&lossless, 21, &[0xfe, 0xbf, 0xff, 0x0f]), [413; 2]),
        ("the canvas of a WebP", extended(&lossless[12..], [0xff; 6]), [413, 422]),
        ("a block of a WebP", extended(b"EXIF\xff\xff\xff\x7f", [27, 0, 0, 27, 0, 0]), [422; 2]),
        ("a WebP without pixels", extended(b"", [27, 0, 0, 27, 0, 0]), [422; 2]),
    ] {
        assert!(file.len() < 3000, "{what}");
        let answer = app.post("/predict", "", file).await;
        assert!(statuses.contains(&answer.status.as_u16()), "{what}: {} {}", answer.status, answer.text());
    }
    // One pixel column more than the limit, in each format.
    let tight = TestApp::with(&bundled_models(), |options| options.max_image_pixels = Some(784)).await;
    for file in
        [with(&gif, 6, &[29, 0, 28, 0]), with(&bmp, 18, &[29, 0, 0, 0]), webp(29, 28, &[0; 812], ExtendedColorType::L8)]
    {
        tight.post("/predict", "", file).await.assert_problem(413);
    }
    assert_eq!(tight.post("/predict", "", webp(28, 28, seven(), ExtendedColorType::L8)).await.labels(), ["7"]);
    app.assert_unharmed().await;
}

#[tokio::test]
async fn of_many_frames_one_is_read() {
    let app = TestApp::start().await;
    let black = [0u8; 784];
    let one = gif([seven()]);
    let two = gif([seven(), &black]);
    // The second frame, without the end of the file.
    let frame = &two[one.len() - 1..two.len() - 1];
    let file = [&one[..one.len() - 1], &frame.repeat(5000), b";"].concat();
    assert_eq!(answer(&app, file).await, answer(&app, png_of_test_image(0)).await);
    app.assert_unharmed().await;
}
