//! A small JSON document in the state folder, replaced as a whole.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{Error, Result};
use crate::files;

/// A larger document is a mistake.
const MAX_BYTES: u64 = 64 << 20;

/// A document that outlives the process.
#[derive(Debug, Clone)]
pub struct StateFile(PathBuf);

impl StateFile {
    /// Names a document; nothing is read or written yet.
    pub fn new(folder: &Path, name: &str) -> Self {
        Self(folder.join(name))
    }

    /// Returns what was written last; `None` if nothing was. A file that cannot be read as this type is set aside with
    /// the suffix `.unreadable`, and the log says so.
    pub fn read<T: DeserializeOwned>(&self) -> Option<T> {
        let bytes = match files::read(&self.0, MAX_BYTES) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return None,
            Err(error) => {
                tracing::warn!(path = %self.0.display(), %error, "a file of the state folder cannot be read");
                return None;
            }
        };
        match serde_json::from_slice(&bytes) {
            Ok(value) => Some(value),
            Err(error) => {
                let aside = self.0.with_extension("json.unreadable");
                tracing::error!(path = %self.0.display(), %error, "a file of the state folder is damaged; it is set aside");
                // What cannot be renamed is overwritten by the next document.
                fs::rename(&self.0, aside).ok();
                None
            }
        }
    }

    /// Replaces the document; after a crash it is the old one or the new one.
    ///
    /// # Errors
    /// [`Error::Io`] when the folder cannot be written.
    pub fn write(&self, value: &impl Serialize) -> Result<()> {
        let bytes =
            serde_json::to_vec(value).map_err(|error| Error::internal("a state file could not be written", error))?;
        files::replace(&self.0, &bytes).map_err(Error::io("write", &self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_is_replaced_whole_and_a_damaged_one_is_set_aside() {
        let folder = tempfile::TempDir::new().unwrap();
        let file = StateFile::new(&folder.path().join("state"), "x.json");
        assert_eq!(file.read::<Vec<u32>>(), None);
        file.write(&[1u32, 2]).unwrap();
        file.write(&[3u32]).unwrap();
        assert_eq!(file.read::<Vec<u32>>(), Some(vec![3]));
        fs::write(folder.path().join("state/x.json"), "[3,").unwrap();
        assert_eq!(file.read::<Vec<u32>>(), None);
        assert_eq!(fs::read_to_string(folder.path().join("state/x.json.unreadable")).unwrap(), "[3,");
        file.write(&[4u32]).unwrap();
        assert_eq!(file.read::<Vec<u32>>(), Some(vec![4]));
    }
}
