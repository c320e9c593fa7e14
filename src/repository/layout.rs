//! Which models and versions a repository folder holds.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::settings::ModelSettings;
use super::triton::WARMUP_FOLDER;
use crate::error::{Error, Result};
use crate::ids::{ModelName, Version, quote};

/// Models, and versions of each, that one scan looks at; the rest is reported and left out.
const MAX_ENTRIES: usize = 1000;

/// A version folder that holds a model file.
#[derive(Debug, Clone, PartialEq)]
pub struct FoundVersion {
    /// The model.
    pub name: ModelName,
    /// The version.
    pub version: Version,
    /// Its folder.
    pub path: PathBuf,
    /// What `model.toml` and `config.pbtxt` say; all defaults from [`scan`], which does not read them.
    pub settings: Arc<ModelSettings>,
}

/// A folder that looks like part of a repository and cannot be one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The path, relative to the repository.
    pub place: String,
    /// What is wrong with it.
    pub problem: String,
}

/// What a repository folder holds.
#[derive(Debug, Default)]
pub struct Scan {
    /// Versions, by name and then ascending number.
    pub versions: Vec<FoundVersion>,
    /// Models whose folder could be read, also those without a version.
    pub models: BTreeSet<ModelName>,
    /// Models whose folder could not be read.
    pub unreadable: BTreeSet<ModelName>,
    /// What was passed over, and why.
    pub problems: Vec<Problem>,
}

/// Lists the versions in a repository folder. Names beginning with a dot are staging areas and
/// other people's business; they are passed over silently.
///
/// # Errors
/// [`Error::Io`] when the folder itself cannot be read.
pub fn scan(root: &Path) -> Result<Scan> {
    let mut scan = Scan::default();
    for name in folders(root, "", &mut scan.problems)? {
        let place = quote(&name);
        let model = match name.parse::<ModelName>() {
            Ok(model) => model,
            Err(error) => {
                scan.problems.push(Problem { place, problem: error.to_string() });
                continue;
            }
        };
        match folders(&root.join(&name), model.as_str(), &mut scan.problems) {
            Ok(versions) => {
                scan_model(root, &model, &versions, &mut scan);
                scan.models.insert(model);
            }
            Err(error) => {
                scan.problems.push(Problem { place, problem: error.to_string() });
                scan.unreadable.insert(model);
            }
        }
    }
    scan.versions.sort_by(|a, b| (&a.name, a.version).cmp(&(&b.name, b.version)));
    Ok(scan)
}

fn scan_model(root: &Path, model: &ModelName, versions: &[String], scan: &mut Scan) {
    // Triton's place for the data of warm-up requests.
    for folder in versions.iter().filter(|folder| *folder != WARMUP_FOLDER) {
        let place = format!("{model}/{}", quote(folder));
        let path = root.join(model.as_str()).join(folder);
        match folder.parse::<Version>() {
            Ok(version) => {
                let settings = Arc::default();
                scan.versions.push(FoundVersion { name: model.clone(), version, path, settings });
            }
            Err(error) => scan.problems.push(Problem { place, problem: error.to_string() }),
        }
    }
}

/// The names of the true folders below `path`, sorted; links and files are reported or passed over.
fn folders(path: &Path, place: &str, problems: &mut Vec<Problem>) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(path).map_err(Error::io("read", path))? {
        let entry = entry.map_err(Error::io("read", path))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let kind = entry.file_type().map_err(Error::io("read", path))?;
        if name.starts_with('.') || kind.is_file() {
            continue;
        }
        if names.len() >= MAX_ENTRIES {
            problems.push(Problem {
                place: place.to_owned(),
                problem: format!("more than {MAX_ENTRIES} entries; the rest is ignored"),
            });
            break;
        }
        if kind.is_dir() {
            names.push(name);
        } else {
            let problem = "is a link or special file, not a folder".to_owned();
            problems.push(Problem { place: format!("{place}/{}", quote(&name)), problem });
        }
    }
    names.sort();
    Ok(names)
}
