//! A folder of pictures: `<class>/*`, or `<train, validation, test>/<class>/*`.

use std::fs::{self, File};
use std::io::Read as _;
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use super::collect::{Collector, Parts, Split, Target};
use super::faults::{Faults, unusable};
use super::store::{Element, StoreWriter};
use super::{SampleKind, picture};
use crate::error::Result;
use crate::repository::{ReadSettings, sha256_hex};
use crate::signature::DrawingTransform;
use crate::transform::{ACCEPTED, foreign_kind, media_type};

/// Pictures that are decoded at a time, on all threads.
const AT_ONCE: usize = 512;

/// The bytes that tell the kind of a file.
const HEAD: u64 = 1024;

/// One picture.
struct Picture {
    split: Split,
    class: String,
    path: PathBuf,
}

/// The result of reading.
pub(super) struct Read {
    pub(super) parts: Parts,
    pub(super) transform: DrawingTransform,
    /// The SHA-256 of the list of all files with theirs.
    pub(super) sha256: String,
}

/// Reads every picture, in the order of the paths.
///
/// # Errors
/// [`crate::error::Error::Data`] naming the file or folder and what is wrong with it.
pub(super) fn read(folder: &Path, settings: &ReadSettings, memory: u64, faults: &mut Faults) -> Result<Read> {
    let what = folder.display().to_string();
    let pictures = list(folder, faults)?;
    if pictures.is_empty() {
        return Err(unusable(
            &what,
            "holds no image files (PNG, JPEG, WebP, GIF, BMP or TIFF) in a folder for each class",
        ));
    }
    let (width, height) = match settings.image_size {
        Some([height, width]) => (width, height),
        None => {
            let size = |picture: &Picture| picture::size(&fs::read(&picture.path).ok()?);
            let sizes: Vec<_> = pictures.par_iter().filter_map(size).collect();
            let size = picture::commonest(sizes.into_iter());
            size.ok_or_else(|| unusable(pictures[0].path.display(), "is damaged, as are all the other pictures"))?
        }
    };
    let transform = picture::transform(width, height);
    let size = [height as usize, width as usize];
    let writer = StoreWriter::new(Element::Pixel, size[0] * size[1], memory);
    let mut collector = Collector::new(writer, SampleKind::Images, size);
    let mut sums = String::new();
    for some in pictures.chunks(AT_ONCE) {
        let read = |picture: &Picture| {
            let file = fs::read(&picture.path).map_err(|error| format!("cannot be read: {error}"))?;
            Ok((picture::pixels(&file, &transform)?, sha256_hex(&file)))
        };
        let read: Vec<std::result::Result<_, String>> = some.par_iter().map(read).collect();
        for (picture, read) in some.iter().zip(read) {
            let file = picture.path.display().to_string();
            match read {
                Ok((pixels, sum)) => {
                    let name = picture.path.strip_prefix(folder).unwrap_or(&picture.path);
                    sums.push_str(&format!("{sum}  {}\n", name.display()));
                    collector.writer.pixels(&pixels)?;
                    collector.file(file);
                    collector.sample(picture.split, 0, &Target::Class(&picture.class));
                }
                Err(problem) => faults.report(&file, None, problem)?,
            }
        }
    }
    let mut parts = collector.finish(&what, &[], faults)?;
    if settings.image_size.is_none() {
        parts.notes.push(format!(
            "pictures are brought to the commonest size, {height}x{width}; --image-size HxW says another"
        ));
    }
    Ok(Read { parts, transform, sha256: sha256_hex(sums.as_bytes()) })
}

/// Returns true if there are folders that can be classes or parts.
pub(super) fn is_here(folder: &Path) -> bool {
    fs::read_dir(folder).is_ok_and(|mut entries| entries.any(|entry| entry.is_ok_and(|entry| entry.path().is_dir())))
}

fn list(folder: &Path, faults: &mut Faults) -> Result<Vec<Picture>> {
    let folders = inside(folder, true)?;
    let parts: Vec<Option<Split>> = folders.iter().map(|path| Split::named(&name(path))).collect();
    let mut pictures = Vec::new();
    if parts.contains(&Some(Split::Train)) {
        for (path, part) in folders.iter().zip(parts) {
            let Some(split) = part else {
                return Err(unusable(path.display(), "lies beside \"train\", but is neither validation nor test"));
            };
            for class in inside(path, true)? {
                add(&class, split, &mut pictures, faults)?;
            }
        }
    } else {
        for class in folders {
            add(&class, Split::Train, &mut pictures, faults)?;
        }
    }
    Ok(pictures)
}

/// Adds the pictures of one class.
fn add(class: &Path, split: Split, pictures: &mut Vec<Picture>, faults: &mut Faults) -> Result<()> {
    let before = pictures.len();
    for path in inside(class, false)? {
        match not_a_picture(&path) {
            None => pictures.push(Picture { split, class: name(class), path }),
            Some(problem) => faults.report(&path.display().to_string(), None, problem)?,
        }
    }
    if pictures.len() == before {
        faults.report(&class.display().to_string(), None, format!("holds no {ACCEPTED} files"))?;
    }
    Ok(())
}

/// Returns why a file cannot be a picture, judged by its name, or by its first bytes if its name says nothing.
fn not_a_picture(path: &Path) -> Option<String> {
    let extension = path.extension().map(|extension| extension.to_string_lossy().to_ascii_lowercase());
    if matches!(extension.as_deref(), Some("png" | "jpg" | "jpeg" | "webp" | "gif" | "bmp" | "tif" | "tiff")) {
        return None;
    }
    let mut head = Vec::new();
    if let Err(error) = File::open(path).and_then(|file| file.take(HEAD).read_to_end(&mut head)) {
        return Some(format!("cannot be read: {error}"));
    }
    match foreign_kind(&head) {
        _ if media_type(&head).is_some() => None,
        Some(kind) => Some(format!("is {kind}, and not {ACCEPTED}")),
        None => Some(format!("is not {ACCEPTED}")),
    }
}

/// The folders or else the files in a folder that are not hidden, sorted.
fn inside(folder: &Path, folders: bool) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).map_err(|error| unusable(folder.display(), error))?;
    let mut paths = Vec::new();
    for entry in entries {
        let path = entry.map_err(|error| unusable(folder.display(), error))?.path();
        if path.is_dir() == folders && !name(&path).starts_with('.') {
            paths.push(path);
        }
    }
    paths.sort_unstable();
    Ok(paths)
}

fn name(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}
