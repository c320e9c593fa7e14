//! A folder of pictures: `<class>/**`, or `<train, validation, test>/<class>/**`.

use std::fs::{self, File};
use std::io::Read as _;
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use super::collect::{Collector, Parts, Split, Target};
use super::faults::{Faults, unusable};
use super::picture::{self, Chosen, Pictures, SeenPictures};
use super::store::{Element, StoreWriter};
use super::{DataOptions, SampleKind};
use crate::error::Result;
use crate::repository::{PictureChoice, sha256_hex};
use crate::signature::{Fit, ImageTransform};
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
    pub(super) transform: ImageTransform,
    /// The SHA-256 of the list of all files with theirs.
    pub(super) sha256: String,
    /// What the files are like.
    pub(super) seen: SeenPictures,
}

/// Reads every picture, in the order of the paths.
///
/// # Errors
/// [`crate::error::Error::Data`] naming the file or folder and what is wrong with it.
pub(super) fn read(folder: &Path, options: &DataOptions, faults: &mut Faults) -> Result<Read> {
    let what = folder.display().to_string();
    let mut notes = Vec::new();
    let pictures = list(folder, faults, &mut notes)?;
    if pictures.is_empty() {
        return Err(unusable(
            &what,
            "holds no image files (PNG, JPEG, WebP, GIF, BMP or TIFF) in a folder for each class",
        ));
    }
    let is_photo = options.reading.transform == PictureChoice::Photo;
    let is_settled = options.known_image().is_some() || options.reading.image_size.is_some() && !is_photo;
    let size = |picture: &Picture| picture::size(&fs::read(&picture.path).ok()?);
    let sizes = if is_settled { Vec::new() } else { pictures.par_iter().filter_map(size).collect() };
    let chosen = Chosen::of(&sizes, options);
    let Chosen { size, fit, note } =
        chosen.ok_or_else(|| unusable(pictures[0].path.display(), "is damaged, as are all the other pictures"))?;
    let mut all = Pictures::new(options, size, Fit::Stretch, fit)?;
    let writer = StoreWriter::new(Element::Pixel, all.shape().iter().product(), &options.budget());
    let mut collector = Collector::new(writer, SampleKind::Images, all.shape());
    let mut sums = String::new();
    for some in pictures.chunks(AT_ONCE) {
        let read = |picture: &Picture| {
            let file = fs::read(&picture.path).map_err(|error| format!("cannot be read: {error}"))?;
            Ok((all.read(&file)?, sha256_hex(&file)))
        };
        let read: Vec<std::result::Result<_, String>> = some.par_iter().map(read).collect();
        for (picture, read) in some.iter().zip(read) {
            let file = picture.path.display().to_string();
            match read {
                Ok((pixels, sum)) => {
                    let name = picture.path.strip_prefix(folder).unwrap_or(&picture.path);
                    sums.push_str(&format!("{sum}  {}\n", name.display()));
                    collector.writer.pixels(&all.counted(pixels))?;
                    collector.file(file);
                    collector.sample(picture.split, 0, &Target::Class(&picture.class))?;
                }
                Err(problem) => faults.report(&file, None, problem)?,
            }
        }
    }
    all.settle(&mut collector)?;
    let mut parts = collector.finish(&what, options, &[], faults)?;
    notes.extend(note.into_iter().chain(all.note()));
    parts.notes.splice(0..0, notes);
    let seen = all.seen(&sizes);
    Ok(Read { parts, transform: all.transform(), sha256: sha256_hex(sums.as_bytes()), seen })
}

/// Returns true if there are folders that can be classes or parts.
pub(super) fn is_here(folder: &Path) -> bool {
    inside(folder, true).is_ok_and(|folders| !folders.is_empty())
}

fn list(folder: &Path, faults: &mut Faults, notes: &mut Vec<String>) -> Result<Vec<Picture>> {
    let mut folders = inside(folder, true)?;
    // A folder of one folder is no class, but what somebody packed.
    while let [only] = folders.as_slice()
        && inside(only, false)?.is_empty()
    {
        let inner = inside(only, true)?;
        if inner.is_empty() {
            break;
        }
        folders = inner;
    }
    let parts: Vec<Option<Split>> = folders.iter().map(|path| Split::named(&name(path))).collect();
    let (mut pictures, mut inner) = (Vec::new(), 0);
    let holds_classes = |path: &PathBuf| inside(path, false).is_ok_and(|files| files.is_empty()) && is_here(path);
    let train = folders.iter().zip(&parts).find(|(_, part)| **part == Some(Split::Train));
    // A folder with pictures of its own is a class, whatever it is called.
    if train.is_some_and(|(path, _)| holds_classes(path)) {
        for (path, part) in folders.iter().zip(parts) {
            let Some(split) = part else {
                return Err(unusable(path.display(), "lies beside \"train\", but is neither validation nor test"));
            };
            for class in inside(path, true)? {
                inner += add(&class, split, &mut pictures, faults)?;
            }
        }
    } else {
        for class in folders {
            inner += add(&class, Split::Train, &mut pictures, faults)?;
        }
    }
    if inner > 0 {
        notes.push(format!("{inner} pictures lie in folders inside those of the classes, and count to these"));
    }
    Ok(pictures)
}

/// Adds the pictures of one class, and returns how many lie in folders inside its own.
fn add(class: &Path, split: Split, pictures: &mut Vec<Picture>, faults: &mut Faults) -> Result<usize> {
    let (before, mut inner) = (pictures.len(), 0);
    let mut folders = vec![class.to_owned()];
    while let Some(folder) = folders.pop() {
        folders.extend(inside(&folder, true)?.into_iter().rev());
        for path in inside(&folder, false)? {
            match not_a_picture(&path) {
                None => {
                    inner += usize::from(folder != class);
                    pictures.push(Picture { split, class: name(class), path });
                }
                Some(problem) => faults.report(&path.display().to_string(), None, problem)?,
            }
        }
    }
    if pictures.len() == before {
        faults.report(&class.display().to_string(), None, format!("holds no {ACCEPTED} files"))?;
    }
    Ok(inner)
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

/// Files and folders that systems and programs leave behind.
const LEFT_BEHIND: [&str; 6] = ["thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r", "__macosx", "@eadir"];

/// The folders or else the files in a folder that are not hidden nor left behind by a system, sorted.
fn inside(folder: &Path, folders: bool) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).map_err(|error| unusable(folder.display(), error))?;
    let mut paths = Vec::new();
    for entry in entries {
        let path = entry.map_err(|error| unusable(folder.display(), error))?.path();
        let name = name(&path);
        let is_ours = !name.starts_with('.') && !LEFT_BEHIND.contains(&name.to_ascii_lowercase().as_str());
        if path.is_dir() == folders && is_ours {
            paths.push(path);
        }
    }
    paths.sort_unstable();
    Ok(paths)
}

fn name(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}
