//! Photos: colour is kept, training and serving make the same tensor of a file, and what is published answers to it as
//! the evaluation did.

use std::io::Cursor;

use image::codecs::jpeg::JpegEncoder;
use image::{DynamicImage, ImageFormat, RgbImage};
use weir::repository::{ColourChoice, FitChoice, PictureChoice, ReadSettings, VersionFiles};
use weir::signature::{Colour, Decoding, ImageTransform};
use weir::tensor::Data;
use weir::trainer::{
    Augment, DataOptions, DataSource, Regime, TaskOptions, TaskReport, evaluate_version, preset, read_for,
};
use weir::transform::{ImageLimits, PolarityChoice, append_image, decode_picture};

use super::data::Workshop;
use crate::fixtures::{image_file, mnist, small_data};
use crate::support::TestApp;

const LIMITS: ImageLimits = ImageLimits { max_pixels: 1 << 22 };

/// Numbers that seem random, from 0 to 255.
fn noise(seed: usize) -> impl FnMut() -> u8 {
    let mut state = seed as u64 * 7919 + 12345;
    move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    }
}

/// A picture of noise whose tint is red or blue, at the same luma.
fn tinted(red: bool, [width, height]: [u32; 2], seed: usize) -> RgbImage {
    let mut noise = noise(seed);
    RgbImage::from_fn(width, height, |_, _| {
        let luma = f32::from(noise()) / 4.0 + 90.0;
        let tint = if red { [60.0, -30.56, 0.0] } else { [0.0, -11.65, 60.0] };
        image::Rgb(tint.map(|tint| (luma + tint).round() as u8))
    })
}

fn file(picture: &RgbImage, format: ImageFormat) -> Vec<u8> {
    let mut file = Cursor::new(Vec::new());
    if format == ImageFormat::Jpeg {
        JpegEncoder::new_with_quality(&mut file, 95).encode_image(picture).unwrap();
    } else {
        DynamicImage::ImageRgb8(picture.clone()).write_to(&mut file, format).unwrap();
    }
    file.into_inner()
}

/// Photos of two classes, which only their colours tell, in several sizes and formats.
pub(crate) fn write_tinted(shop: &Workshop, count: usize) {
    for index in 0..count {
        let (format, ending) = [(ImageFormat::Jpeg, "jpg"), (ImageFormat::Png, "png")][index / 2 % 2];
        let size = [[16, 16], [20, 16], [16, 24]][index % 3];
        let class = ["blue", "red"][index % 2];
        shop.write(&format!("tints/{class}/{index}.{ending}"), file(&tinted(index % 2 == 1, size, index), format));
    }
}

fn with(change: impl FnOnce(&mut ReadSettings)) -> TaskOptions {
    let mut reading = ReadSettings::default();
    change(&mut reading);
    TaskOptions { data: DataOptions { reading, ..DataOptions::default() }, ..TaskOptions::default() }
}

fn accuracy(report: &TaskReport) -> f64 {
    let TaskReport::Classification(report) = report else { panic!("classes are learned") };
    report.full.evaluation.summary.accuracy
}

#[tokio::test(flavor = "multi_thread")]
async fn what_only_colour_tells_is_learned_and_a_posted_photo_is_answered_as_the_evaluation_did() {
    let shop = Workshop::of("cnn-tiny");
    write_tinted(&shop, 240);
    let outcome = shop.train("tints", 5, TaskOptions::default()).unwrap();
    assert!(accuracy(&outcome.report) > 0.99, "{}", accuracy(&outcome.report));
    let (_, folder) = outcome.published.unwrap();
    let manifest = VersionFiles::read(&folder, 1 << 30).unwrap().manifest.unwrap();
    let Some(ImageTransform::Picture(transform)) = &manifest.transform.image else { panic!("photos") };
    assert_eq!((transform.colour, transform.width, transform.height), (Colour::Rgb, 16, 16));
    assert_eq!(manifest.signature.inputs[0].sample_shape().unwrap(), [3, 16, 16]);
    let page = std::fs::read_to_string(outcome.run.join("report.html")).unwrap();
    assert!(page.contains("<html"), "there is a report");

    let data = read_for(&folder, &shop.path("tints"), DataOptions::default()).unwrap();
    let evaluated = evaluate_version(&folder, 1 << 30, &data.test).unwrap();
    let app = TestApp::with(&shop.path("models"), |_| {}).await;
    for index in 0..data.test.len() {
        let (path, _) = data.test.origin(index);
        let kind = if path.ends_with("jpg") { "image/jpeg" } else { "image/png" };
        let answer = app.post("/models/mine/predict", kind, std::fs::read(path).unwrap()).await;
        let best = &answer.json()["predictions"][0];
        let expected = evaluated.predictions.iter().nth(index).unwrap().1;
        let class = best["class"].as_u64().unwrap() as usize;
        assert!((best["confidence"].as_f64().unwrap() - f64::from(expected[class])).abs() < 1e-5, "{path}: {best}");
        assert!(expected.iter().all(|other| *other <= expected[class]), "{path}");
    }

    let grey = shop.train("tints", 5, with(|reading| reading.colour = ColourChoice::Grey)).unwrap();
    assert!((0.2..0.8).contains(&accuracy(&grey.report)), "grey is chance: {}", accuracy(&grey.report));
}

#[test]
fn training_and_serving_make_the_same_tensor_of_every_format() {
    let formats = [
        (ImageFormat::Png, "png"),
        (ImageFormat::Jpeg, "jpg"),
        (ImageFormat::WebP, "webp"),
        (ImageFormat::Gif, "gif"),
        (ImageFormat::Bmp, "bmp"),
        (ImageFormat::Tiff, "tiff"),
    ];
    let shop = Workshop::of("cnn");
    let mut csv = "path,label\n".to_owned();
    for (place, (format, ending)) in formats.into_iter().enumerate() {
        for index in 0..4 {
            let seed = place * 4 + index;
            let size = [[31, 17], [64, 48], [16, 40], [25, 25]][index];
            let name = format!("{}/{seed}.{ending}", ["a", "b"][index % 2]);
            shop.write(&format!("photos/{name}"), file(&tinted(index % 2 == 0, size, seed), format));
            csv.push_str(&format!("{name},{}\n", ["a", "b"][index % 2]));
        }
    }
    for (colour, fit) in [
        (ColourChoice::Auto, FitChoice::Crop),
        (ColourChoice::Grey, FitChoice::Stretch),
        (ColourChoice::Rgb, FitChoice::Letterbox),
    ] {
        let mut options = with(|reading| {
            reading.transform = PictureChoice::Photo;
            (reading.colour, reading.image_fit) = (colour, Some(fit));
        });
        for memory in [1 << 30, 0] {
            options.data.memory = memory;
            let source = DataSource::read(&shop.path("photos"), &options.data).unwrap();
            assert_eq!(source.train.is_spilled(), memory == 0);
            same_tensors(&source);
        }
    }
    shop.write("photos/list.csv", csv);
    let options = with(|reading| reading.transform = PictureChoice::Photo).data;
    let source = DataSource::read(&shop.path("photos/list.csv"), &options).unwrap();
    let folders = shop.path("photos");
    let image = source.image.clone().unwrap();
    for index in 0..source.train.len() {
        let row = source.train.origin(index).1.unwrap() as usize;
        let listed = std::fs::read_to_string(folders.join("list.csv")).unwrap();
        let name = listed.lines().nth(row).unwrap().split(',').next().unwrap().to_owned();
        let served = served(&std::fs::read(folders.join(&name)).unwrap(), &image);
        assert_eq!(source.train.inputs(index..index + 1).unwrap(), served, "{name}");
    }
}

#[test]
fn training_and_serving_decode_at_the_same_part_of_the_size() {
    let shop = Workshop::of("cnn");
    for index in 0..8 {
        let size = [[97, 131], [200, 64], [64, 64], [150, 150]][index % 4];
        let name = format!("photos/{}/{index}.jpg", ["a", "b"][index % 2]);
        shop.write(&name, file(&tinted(index % 2 == 0, size, index), ImageFormat::Jpeg));
    }
    for (colour, fit) in [(ColourChoice::Rgb, FitChoice::Crop), (ColourChoice::Grey, FitChoice::Letterbox)] {
        let read = |image_decode| {
            let options = with(|reading| {
                (reading.colour, reading.image_fit, reading.image_size) = (colour, Some(fit), Some([12, 15]));
                (reading.transform, reading.image_decode) = (PictureChoice::Photo, Some(image_decode));
            });
            DataSource::read(&shop.path("photos"), &options.data).unwrap()
        };
        let (full, scaled) = (read(Decoding::Full), read(Decoding::Scaled));
        same_tensors(&scaled);
        let inputs = |source: &DataSource| source.train.inputs(0..source.train.len()).unwrap();
        assert_ne!(inputs(&full), inputs(&scaled), "the setting is heeded");
        let image = serde_json::to_value(scaled.image.as_ref().unwrap()).unwrap();
        assert_eq!(image["decode"], "scaled", "the manifest says it");
    }
}

/// Files of every kind of pixels: what is turned, clear, of four colours, of a palette, of 16 bits, or moves.
fn other_kinds() -> Vec<(&'static str, Vec<u8>)> {
    let mut noise = noise(99);
    let clear =
        image::RgbaImage::from_fn(21, 17, |x, y| image::Rgba([noise(), noise(), (x * 12) as u8, (y * 15) as u8]));
    let deep = image::ImageBuffer::from_fn(19, 23, |_, _| {
        image::Rgb([noise(), noise(), noise()].map(|v| u16::from(v) * 255 + 7))
    });
    let written = |picture: DynamicImage, format| {
        let mut file = Cursor::new(Vec::new());
        picture.write_to(&mut file, format).unwrap();
        file.into_inner()
    };
    let (clear, deep) = (DynamicImage::ImageRgba8(clear), DynamicImage::ImageRgb16(deep));
    let mut kinds = vec![
        ("clear.png", written(clear.clone(), ImageFormat::Png)),
        ("clear.webp", written(clear.clone(), ImageFormat::WebP)),
        ("clear.tiff", written(clear.clone(), ImageFormat::Tiff)),
        ("clear.gif", written(clear.clone(), ImageFormat::Gif)),
        ("grey-clear.png", written(DynamicImage::ImageLumaA8(clear.to_luma_alpha8()), ImageFormat::Png)),
        ("deep.png", written(deep.clone(), ImageFormat::Png)),
        ("deep.tiff", written(deep.clone(), ImageFormat::Tiff)),
        ("grey-deep.png", written(DynamicImage::ImageLuma16(deep.to_luma16()), ImageFormat::Png)),
    ];
    let named =
        ["cmyk.jpg", "ycck.jpg", "progressive.jpg", "subsampled.jpg", "no-eoi.jpg", "animated.webp", "turned.webp"];
    kinds
        .extend(named.into_iter().chain(["alpha.webp", "seven.gif", "seven.bmp"]).map(|name| (name, image_file(name))));
    for orientation in 1..=8 {
        let plain = file(&tinted(true, [24, 16], orientation.into()), ImageFormat::Jpeg);
        let exif =
            [b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0".as_slice(), &[orientation, 0, 0, 0, 0, 0, 0, 0]];
        let exif = exif.concat();
        let segment = [&[0xff, 0xe1][..], &(exif.len() as u16 + 2).to_be_bytes(), &exif].concat();
        let name =
            ["", "1.jpg", "2.jpg", "3.jpg", "4.jpg", "5.jpg", "6.jpg", "7.jpg", "8.jpg"][usize::from(orientation)];
        kinds.push((name, [&plain[..2], &segment, &plain[2..]].concat()));
    }
    kinds
}

#[test]
fn training_and_serving_make_the_same_tensor_of_every_kind_of_pixels() {
    let shop = Workshop::of("cnn");
    for (place, (name, file)) in other_kinds().into_iter().enumerate() {
        shop.write(&format!("kinds/{}/{name}", ["a", "b"][place % 2]), file);
    }
    for colour in [ColourChoice::Rgb, ColourChoice::Grey] {
        for fit in [FitChoice::Crop, FitChoice::Letterbox, FitChoice::Stretch] {
            let options = with(|reading| {
                reading.transform = PictureChoice::Photo;
                (reading.colour, reading.image_fit, reading.image_size) = (colour, Some(fit), Some([20, 24]));
            });
            let source = DataSource::read(&shop.path("kinds"), &options.data).unwrap();
            assert_eq!(source.train.len() + source.test.len(), other_kinds().len());
            same_tensors(&source);
        }
    }
    let options = with(|reading| reading.transform = PictureChoice::Drawing);
    same_tensors(&DataSource::read(&shop.path("kinds"), &options.data).unwrap());
}

/// What serving makes of a file.
fn served(file: &[u8], image: &ImageTransform) -> Vec<f32> {
    let mut data = Data::Float32(Vec::new());
    append_image(file, image, LIMITS, PolarityChoice::Auto, &mut data).unwrap();
    let Data::Float32(elements) = data else { panic!("32-bit floats") };
    elements
}

fn same_tensors(source: &DataSource) {
    let image = source.image.as_ref().unwrap();
    for part in [&source.train, &source.test] {
        for index in 0..part.len() {
            let (path, _) = part.origin(index);
            let served = served(&std::fs::read(path).unwrap(), image);
            assert_eq!(part.inputs(index..index + 1).unwrap(), served, "{path}");
        }
    }
}

#[test]
fn photos_without_colour_are_grey_and_it_is_said() {
    let shop = Workshop::of("cnn");
    for index in 0..12 {
        let mut noise = noise(index);
        let grey = RgbImage::from_fn(18, 16, |_, _| image::Rgb([noise(); 3]));
        let (format, ending) = [(ImageFormat::Jpeg, "jpg"), (ImageFormat::Png, "png")][index % 2];
        shop.write(&format!("grey/{}/{index}.{ending}", ["a", "b"][index / 2 % 2]), file(&grey, format));
    }
    let options = with(|reading| reading.transform = PictureChoice::Photo).data;
    for memory in [1 << 30, 100] {
        let source = DataSource::read(&shop.path("grey"), &DataOptions { memory, ..options.clone() }).unwrap();
        assert_eq!((source.train.channels, source.train.width, source.train.height), (1, 18, 16));
        assert!(source.notes.iter().any(|note| note.contains("no photo has colour")), "{:?}", source.notes);
        same_tensors(&source);
    }
    let options = with(|reading| {
        (reading.transform, reading.colour) = (PictureChoice::Photo, ColourChoice::Rgb);
    });
    assert_eq!(DataSource::read(&shop.path("grey"), &options.data).unwrap().train.channels, 3);
}

#[test]
fn an_inspection_shows_sizes_colours_near_duplicates_and_a_sheet() {
    let shop = Workshop::of("cnn");
    for index in 0..24 {
        let (part, class) = (["train", "test"][index / 12], ["blue", "red"][index % 2]);
        // The first test picture is the first training picture, compressed.
        let seed = if index == 12 { 0 } else { index };
        let format = if index == 12 { ImageFormat::Jpeg } else { ImageFormat::Png };
        let size = [[40, 32], [32, 32]][index % 2];
        shop.write(&format!("parted/{part}/{class}/{index}.img"), file(&tinted(index % 2 == 1, size, seed), format));
    }
    let found = weir::trainer::inspect(&shop.path("parted"), &DataOptions::default(), 10).unwrap();
    let pictures = found.pictures.unwrap();
    assert_eq!((pictures.coloured, pictures.pictures, pictures.different_sizes), (Some(24), 24, 2));
    assert_eq!(pictures.sizes, [([32, 32], 12), ([32, 40], 12)]);
    assert_eq!((found.shape, found.duplicates.across), (vec![32, 32, 3], 0));
    assert_eq!(found.duplicates.nearly_across, 1, "{:?}", found.duplicates.near_examples);
    assert!(found.duplicates.near_examples[0].again.1.ends_with("12.img"));
    let sheet = decode_picture(&found.contact_sheet.unwrap(), LIMITS, [255; 3]).unwrap();
    assert_eq!((sheet.width, sheet.height, sheet.channels), (6 * 35 + 3, 2 * 35 + 3, 3));
    assert!(sheet.pixels.chunks_exact(3).any(|pixel| pixel[0] != pixel[2]), "it is in colour");
}

#[test]
fn idx_files_are_photos_too_and_drawings_stay_drawings() {
    let folder = small_data(60, 20);
    let options = with(|reading| reading.transform = PictureChoice::Photo).data;
    let source = DataSource::read(folder.path(), &options).unwrap();
    assert!(matches!(&source.image, Some(ImageTransform::Picture(picture)) if picture.colour == Colour::Grey));
    assert_eq!(source.train.inputs(0..60).unwrap(), mnist().train.inputs(0..60).unwrap());
    let shop = Workshop::of("mnist-cnn");
    std::fs::create_dir(shop.path("digits")).unwrap();
    for entry in std::fs::read_dir(folder.path()).unwrap() {
        let path = entry.unwrap().path();
        std::fs::copy(&path, shop.path("digits").join(path.file_name().unwrap())).unwrap();
    }
    let refused = shop.train("digits", 1, with(|reading| reading.colour = ColourChoice::Rgb)).unwrap_err().to_string();
    assert!(refused.contains("colour") && refused.contains("--transform photo"), "{refused}");
}

#[test]
fn augmentations_of_photos_leave_the_evaluation_alone() {
    let shop = Workshop::of("cnn-tiny");
    write_tinted(&shop, 60);
    let regime = |augment, cutmix| Regime { augment, cutmix, ..preset("cnn-tiny").unwrap().regime };
    let strong = Augment {
        flip_probability: 0.5,
        crop_area: 0.4,
        jitter: 0.3,
        erase_probability: 0.5,
        ..Augment::moves(5.0, 1.0, 0.1)
    };
    let bytes = |augment, cutmix| {
        let mut request = shop.request("tints", 1, TaskOptions::default());
        request.fit.regime = regime(augment, cutmix);
        let run = weir::trainer::RunDir::create(&shop.path("runs"), "cnn-tiny", None).unwrap();
        let outcome = weir::trainer::train(&request, &run, false, &mut |_, _| {}, &mut super::data::Quiet).unwrap();
        let folder = outcome.published.unwrap().1;
        let data = read_for(&folder, &shop.path("tints"), DataOptions::default()).unwrap();
        let evaluated = evaluate_version(&folder, 1 << 30, &data.test).unwrap();
        let TaskReport::Classification(report) = outcome.report else { panic!("classes are learned") };
        assert_eq!(evaluated.predictions.evaluate(), report.full.evaluation);
        std::fs::read(folder.join("model.onnx")).unwrap()
    };
    let seeded = bytes(strong, 1.0);
    assert_eq!(seeded, bytes(strong, 1.0), "the same seed gives the same model");
    assert_ne!(seeded, bytes(Augment::NONE, 0.0));
}
