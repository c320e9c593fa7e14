//! Finds and loads the library of ONNX Runtime, once per process.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use ort::environment::Environment;
use ort::logging::LogLevel;
use ort::session::Session;

use crate::engine::contain::{contain, unusable};
use crate::engine::faults;
use crate::error::{Error, Result};

/// The loaded library.
#[derive(Debug)]
pub(super) struct Library {
    pub(super) environment: Environment,
    pub(super) version: String,
}

impl Library {
    /// Loads a model into a session that computes on the calling thread alone.
    pub(super) fn session(&self, onnx: &[u8]) -> Result<Session> {
        let make = || -> ort::Result<Session> {
            Session::builder(&self.environment)?
                .with_intra_threads(1)?
                .with_inter_threads(1)?
                .with_parallel_execution(false)?
                // A memory pattern would be kept for each shape ever seen.
                .with_memory_pattern(false)?
                // Never the library's own format, whose reader trusts the file.
                .with_config_entry("session.load_model_format", "ONNX")?
                .commit_from_memory(onnx)
        };
        make().map_err(|error| unusable(faults::words(error.message())))
    }
}

/// The variable that turns ONNX Runtime's reports to its maker off. The operator may set it to either value,
/// but it must be set.
const TELEMETRY: &str = "ORT_DISABLE_TELEMETRY";

static LIBRARY: OnceLock<Library> = OnceLock::new();
static OPENING: Mutex<()> = Mutex::new(());

/// Returns the library that `setting` names, or else the one that `ORT_DYLIB_PATH` names, or else the
/// one beside the program. A process loads only one library: later calls that find any file return it.
pub(super) fn open(setting: Option<&Path>) -> Result<&'static Library> {
    // A static program has no loader: its dlopen fails or crashes.
    if cfg!(target_feature = "crt-static") {
        return Err(refuse(
            "this build of Weir is linked statically and cannot load a library; use the build or image that includes ONNX Runtime",
        ));
    }
    let file = find(setting)?;
    // Builds of 1.29 and later start to report during set-up, before any call could stop them. Only this
    // variable does.
    if std::env::var_os(TELEMETRY).is_none() {
        return Err(refuse("set ORT_DISABLE_TELEMETRY=1 in the environment to keep it from reporting to its maker"));
    }
    let _one_at_a_time = OPENING.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(library) = LIBRARY.get() {
        return Ok(library);
    }
    let library = contain(|| load(&file)).map_err(|_| refuse("its library crashed while it was loaded"))??;
    tracing::info!(version = library.version, file = %file.display(), "ONNX Runtime found");
    Ok(LIBRARY.get_or_init(|| library))
}

/// Finds the file of the library; see [`open`].
pub(super) fn find(setting: Option<&Path>) -> Result<PathBuf> {
    let named = setting
        .map(Path::to_owned)
        .or_else(|| std::env::var_os("ORT_DYLIB_PATH").filter(|path| !path.is_empty()).map(PathBuf::from));
    let Some(named) = named else {
        return beside_the_program().ok_or_else(|| {
            refuse("its library was not found; name it with --onnxruntime FILE or put libonnxruntime.so beside weir")
        });
    };
    // ort panics on some relative paths.
    std::fs::canonicalize(&named).ok().filter(|path| path.is_file()).ok_or_else(|| {
        tracing::warn!(file = %named.display(), "no library of ONNX Runtime at this path");
        refuse("the setting names no file")
    })
}

fn beside_the_program() -> Option<PathBuf> {
    let program = std::env::current_exe().ok()?;
    let folder = program.parent()?;
    let entries = std::fs::read_dir(folder).ok()?.flatten();
    let library = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        (name.starts_with("libonnxruntime.so") || name == "libonnxruntime.dylib") && path.is_file()
    };
    entries.map(|entry| entry.path()).filter(library).max()
}

fn load(file: &Path) -> Result<Library> {
    let builder = ort::init_from(file).map_err(|error| {
        tracing::warn!(%error, "ONNX Runtime cannot be loaded");
        match error {
            ort::LoadDynamicError::BadVersion { version_str, .. } => {
                refuse(&format!("version {version_str} is too old, 1.{} or newer is needed", ort::MINOR_VERSION))
            }
            ort::LoadDynamicError::Dlopen { .. } => refuse("the file is not a library that this program can load"),
            _ => refuse("the file is not a library of ONNX Runtime"),
        }
    })?;
    let environment = builder
        .with_name("weir")
        .with_telemetry(false)
        .with_logger(Arc::new(|level: LogLevel, _: &str, _: &str, _: &str, message: &str| match level {
            LogLevel::Fatal | LogLevel::Error => tracing::warn!(message, "ONNX Runtime"),
            _ => tracing::debug!(message, "ONNX Runtime"),
        }))
        .build()
        .map_err(|error| refuse(error.message()))?;
    environment.set_log_level(LogLevel::Warning);
    Ok(Library { environment, version: version(file, ort::util::probe(file)) })
}

/// Returns the version. The library knows only its minor number; its file name often has all of it.
fn version(file: &Path, minor: Option<u32>) -> String {
    let short = minor.map_or_else(|| "unknown".to_owned(), |minor| format!("1.{minor}"));
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    match name.split_once(".so.") {
        Some((_, full)) if full.starts_with(&format!("{short}.")) => full.to_owned(),
        _ => short,
    }
}

fn refuse(problem: &str) -> Error {
    Error::Config { setting: "onnxruntime".into(), problem: format!("ONNX Runtime: {problem}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_the_librarys_and_its_files_if_they_agree() {
        let version = |name: &str, minor| version(Path::new(name), minor);
        assert_eq!(version("libonnxruntime.so.1.32.0", Some(32)), "1.32.0");
        assert_eq!(version("libonnxruntime.so.1.30.0", Some(32)), "1.32");
        assert_eq!(version("libonnxruntime.so", Some(32)), "1.32");
        assert_eq!(version("libonnxruntime.so.1", None), "unknown");
    }

    #[test]
    fn a_file_that_is_not_a_library_is_refused_without_a_panic() {
        let folder = tempfile::tempdir().expect("a folder");
        let text = folder.path().join("libonnxruntime.so");
        std::fs::write(&text, "hello").expect("written");
        for (file, expected) in [(folder.path().join("absent"), "names no file"), (text, "not a library")] {
            let error = find(Some(&file)).and_then(|file| load(&file)).map(drop).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
            assert!(!error.contains('/'), "{error}");
        }
    }
}
