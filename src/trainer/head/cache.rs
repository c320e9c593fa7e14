//! Features on disk, by the content of what they were made of.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::error::{Error, Result};
use crate::ids::hexadecimal;
use crate::trainer::dataset::Dataset;

/// The beginning of a file, before the number of features of a sample and the features.
const MAGIC: &[u8; 8] = b"WEIRFEA1";

/// The place of the features of some samples.
#[derive(Debug)]
pub(super) struct Place {
    path: PathBuf,
    samples: usize,
}

impl Place {
    /// Returns the place for these samples by a graph and what else features depend on: its name is the SHA-256 of all.
    ///
    /// # Errors
    /// As [`Dataset::inputs`].
    pub(super) fn of(folder: &Path, [onnx, more]: [&[u8]; 2], data: &Dataset) -> Result<Self> {
        let mut hash = Sha256::new_with_prefix(MAGIC);
        hash.update((onnx.len() as u64).to_le_bytes());
        hash.update(onnx);
        hash.update(more);
        for index in 0..data.len() {
            let Some(text) = data.text(index)? else { break };
            hash.update((text.len() as u64).to_le_bytes());
            hash.update(text);
        }
        // Of texts the elements are places in a list of this data set alone.
        for range in data.chunks(256).filter(|_| !data.is_texts()) {
            for element in data.inputs(range)? {
                hash.update(element.to_le_bytes());
            }
        }
        Ok(Self { path: folder.join(hexadecimal(&hash.finalize())), samples: data.len() })
    }

    /// Returns the number of features and the features, if they are there and whole.
    pub(super) fn read(&self) -> Option<(usize, Vec<f32>)> {
        let bytes = fs::read(&self.path).ok()?;
        let rest = bytes.strip_prefix(MAGIC)?;
        let (width, rest) = rest.split_first_chunk::<4>()?;
        let width = usize::try_from(u32::from_le_bytes(*width)).ok()?;
        let (floats, beyond) = rest.as_chunks::<4>();
        let is_whole = beyond.is_empty() && width.checked_mul(self.samples) == Some(floats.len()) && width > 0;
        is_whole.then(|| (width, floats.iter().map(|float| f32::from_le_bytes(*float)).collect()))
    }

    /// Writes features, whole or not at all.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub(super) fn write(&self, width: usize, features: &[f32]) -> Result<()> {
        let folder = self.path.parent().unwrap_or(&self.path);
        fs::create_dir_all(folder).map_err(Error::io("create", folder))?;
        let mut file = tempfile::NamedTempFile::new_in(folder).map_err(Error::io("create", folder))?;
        let mut bytes = MAGIC.to_vec();
        bytes.extend(u32::try_from(width).unwrap_or(u32::MAX).to_le_bytes());
        bytes.extend(features.iter().flat_map(|feature| feature.to_le_bytes()));
        file.write_all(&bytes).map_err(Error::io("write", &self.path))?;
        file.persist(&self.path).map_err(|error| Error::io("write", &self.path)(error.error))?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn features_come_back_for_the_same_samples_and_graph_alone() {
        let folder = tempfile::TempDir::new().unwrap();
        let data = Dataset::images(2, 1, vec![1, 2, 3, 4], vec![0, 1], 2);
        let place = Place::of(folder.path(), [b"graph", b""], &data).unwrap();
        assert_eq!(place.read(), None);
        place.write(3, &[0.5; 6]).unwrap();
        assert_eq!(Place::of(folder.path(), [b"graph", b""], &data).unwrap().read(), Some((3, vec![0.5; 6])));
        assert_eq!(Place::of(folder.path(), [b"other", b""], &data).unwrap().read(), None);
        let others = Dataset::images(2, 1, vec![1, 2, 3, 5], vec![0, 1], 2);
        assert_eq!(Place::of(folder.path(), [b"graph", b""], &others).unwrap().read(), None);
        let whole = fs::read(&place.path).unwrap();
        fs::write(&place.path, &whole[..whole.len() - 1]).unwrap();
        assert_eq!(place.read(), None, "a file that breaks off is none");
    }
}
