//! A look at every row of a table, from which it is found out what its columns are.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::cells::Cell;
use super::files::TableFile;
use super::seen::Seen;
use super::sequences::SeenSequences;
use crate::error::{Error, Result};
use crate::repository::{PictureChoice, ReadSettings};
use crate::signature::ImageTransform;
use crate::trainer::dataset::collect::Split;
use crate::trainer::dataset::faults::{Faults, unusable};
use crate::trainer::dataset::picture;

/// The columns of a table while it is found out what they are.
pub(super) struct Look<'a> {
    pub(super) columns: &'a [String],
    pub(super) settings: &'a ReadSettings,
    pub(super) seen: Vec<Seen>,
    /// The columns to learn from.
    pub(super) features: Vec<usize>,
    /// The column whose cells are the names of picture files, and their folder.
    pub(super) named: Option<(usize, PathBuf)>,
    /// Width and height of the pictures.
    pub(super) sizes: Vec<(u32, u32)>,
    pub(super) notes: Vec<String>,
    /// The transform of pictures, if it is known.
    pub(super) image: Option<Arc<ImageTransform>>,
}

/// Returns the column that holds names of picture files, by the first row, and the folder in which they are.
pub(super) fn named_pictures(files: &[TableFile]) -> Option<(usize, PathBuf)> {
    let folder = files[0].path.parent()?;
    let mut found = None;
    let stop = || Error::Config { setting: String::new(), problem: String::new() };
    // The first row ends the pass.
    let _first = files[0].table.each(&mut Faults::listed(0), &mut |_, cells, _| {
        let is_picture =
            |cell: &Cell<'_>| matches!(cell, Cell::Text(text) if is_picture_name(text) && folder.join(text).is_file());
        found = cells.iter().position(is_picture);
        Err(stop())
    });
    found.map(|column| (column, folder.to_owned()))
}

fn is_picture_name(text: &str) -> bool {
    let extension = Path::new(text).extension().map(|extension| extension.to_string_lossy().to_ascii_lowercase());
    matches!(extension.as_deref(), Some("png" | "jpg" | "jpeg" | "webp" | "gif" | "bmp" | "tif" | "tiff"))
}

impl Look<'_> {
    /// Looks at every row.
    pub(super) fn look(
        &mut self,
        files: &[TableFile],
        target: Option<usize>,
        sequences: &mut Option<SeenSequences>,
    ) -> Result<()> {
        let mut rows = 0u64;
        // Faults are reported in the second pass; if there is no second, the first of them is the reason.
        let mut passed_over = Faults::listed(1);
        for file in files {
            self.seen.iter_mut().for_each(Seen::begin_file);
            file.table.each(&mut passed_over, &mut |_, cells, _| {
                rows += 1;
                if let Some(seen) = sequences {
                    seen.add_of(cells);
                }
                for (index, (seen, cell)) in self.seen.iter_mut().zip(cells).enumerate() {
                    seen.add(cell, Some(index) == target, &mut self.sizes);
                }
                if let Some((column, folder)) = &self.named
                    && let Cell::Text(name) = cells[*column]
                    && (self.settings.image_size.is_none() || self.settings.transform == PictureChoice::Photo)
                {
                    self.sizes.extend(fs::read(folder.join(name)).ok().and_then(|file| picture::size(&file)));
                }
                Ok(())
            })?;
        }
        match passed_over.list() {
            _ if rows > 0 => Ok(()),
            [] => Err(unusable(files[0].path.display(), "holds no rows")),
            [first, ..] => Err(first.clone().into_error()),
        }
    }

    /// Returns the column that says what rows are for.
    pub(super) fn split(&self, target: Option<usize>) -> Option<usize> {
        let is_split = |index: &usize| {
            let names = self.seen[*index].names.list();
            self.columns[*index].eq_ignore_ascii_case("split")
                && !names.is_empty()
                && names.iter().all(|name| Split::named(name).is_some())
        };
        (0..self.columns.len()).find(is_split).filter(|split| Some(*split) != target)
    }
}
