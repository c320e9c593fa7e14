//! `weir sign`: who vouches for a version.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{ArgGroup, Args};
use jiff::Timestamp;
use serde_json::json;

use crate::error::{Error, Result};
use crate::ids::{ModelName, Version};
use crate::repository::{MANIFEST_FILE, Sealed, Storage, check_seal, scan, seal};
use crate::signing::{SIGNATURE_SUFFIX, SecretKey, TrustedKeys};

/// Signs a version, so that servers with --trusted-keys load it.
#[derive(Debug, Args)]
#[command(
    group(ArgGroup::new("action").required(true).args(["new_key", "key", "check"])),
    after_help = "Examples:
  weir sign --new-key release.key --name 'release 2026'
  weir sign mnist-mlp --key release.key            the newest version in models/
  weir sign mnist-mlp@1 --key release.key
  weir sign mnist-mlp@1 --check release.key.pub    the signature, and every file that it covers
  weir serve --trusted-keys release.key.pub

A signature covers the manifest, which has the SHA-256 of every file of the version, and the place (model and version):
a copy elsewhere needs a signature of its own. A version without a manifest gets SHA256SUMS, as sha256sum writes it.
minisign verifies the same: minisign -V -p release.key.pub -m models/mnist-mlp/1/manifest.json
The secret key is a plain file: whoever reads it can sign. docs/signing.md says more."
)]
pub(super) struct SignArgs {
    /// The model, and a version of it [default: the newest]
    #[arg(value_name = "MODEL[@VERSION]", value_parser = parse_target, required_unless_present = "new_key", conflicts_with = "new_key")]
    target: Option<Target>,
    /// The repository
    #[arg(long, env = "WEIR_MODELS", value_name = "DIR", default_value = "models")]
    models: PathBuf,
    /// Sign with this key
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// Check the signature by these public keys, and all files
    #[arg(long, value_name = "FILE")]
    check: Option<PathBuf>,
    /// Make a key: FILE is secret, FILE.pub is for --trusted-keys
    #[arg(long, value_name = "FILE")]
    new_key: Option<PathBuf>,
    /// With --new-key: a name, which servers show
    #[arg(long, value_name = "NAME", requires = "new_key")]
    name: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// A model, and a version of it.
#[derive(Debug, Clone)]
struct Target {
    model: ModelName,
    version: Option<Version>,
}

fn parse_target(text: &str) -> std::result::Result<Target, String> {
    let (model, version) = text.split_once('@').map_or((text, None), |(model, version)| (model, Some(version)));
    let model = model.parse().map_err(|error: crate::ids::InvalidName| error.to_string())?;
    let version = version.map(str::parse).transpose().map_err(|error: crate::ids::InvalidName| error.to_string())?;
    Ok(Target { model, version })
}

pub(super) fn run(args: &SignArgs) -> Result<ExitCode> {
    let text = match (&args.new_key, &args.target) {
        (Some(file), _) => new_key(file, args.name.as_deref(), args.json)?,
        (None, Some(target)) => {
            let folder = folder_of(&args.models, target)?;
            match (&args.key, &args.check) {
                (Some(key), _) => sign(&folder, key, args.json)?,
                (None, Some(keys)) => check(&folder, keys, args.json)?,
                (None, None) => String::new(),
            }
        }
        (None, None) => String::new(),
    };
    super::print(&text)?;
    Ok(ExitCode::SUCCESS)
}

fn new_key(file: &Path, name: Option<&str>, as_json: bool) -> Result<String> {
    let (key, text) = SecretKey::generate()?;
    let public = match name {
        Some(name) => key.public().called(name)?,
        None => key.public(),
    };
    let beside = PathBuf::from(format!("{}.pub", file.display()));
    // Neither takes the place of another: a key that is gone can sign nothing again.
    write_new(&beside, 0o644, &public.text())?;
    if let Err(error) = write_new(file, 0o600, &text) {
        drop(std::fs::remove_file(&beside));
        return Err(error);
    }
    let (line, id) = (public.line(), public.id().to_string());
    Ok(match as_json {
        true => format!("{}\n", json!({"secret": file, "public": beside, "id": id, "key": line})),
        false => format!(
            "{}: the secret key; keep it away from servers\n{}: the public key, for weir serve --trusted-keys\n{line}\n",
            file.display(),
            beside.display()
        ),
    })
}

fn write_new(file: &Path, mode: u32, text: &str) -> Result<()> {
    let opened = OpenOptions::new().write(true).create_new(true).mode(mode).open(file);
    let mut opened = opened.map_err(Error::io("create", file))?;
    opened.write_all(text.as_bytes()).and_then(|()| opened.sync_all()).map_err(Error::io("write", file))
}

/// Returns the folder of a version.
fn folder_of(models: &Path, target: &Target) -> Result<PathBuf> {
    let Target { model, version } = target;
    let found = scan(&Storage::from(models))?;
    let mut own = found.versions.into_iter().filter(|found| found.name == *model).peekable();
    if own.peek().is_none() {
        return Err(Error::ModelNotFound { name: model.clone() });
    }
    match version {
        None => own.last().map(|found| found.files.folder().to_owned()),
        Some(version) => own.find(|found| found.version == *version).map(|found| found.files.folder().to_owned()),
    }
    .ok_or_else(|| Error::VersionNotFound { name: model.clone(), version: version.unwrap_or(Version(0)) })
}

fn sign(folder: &Path, key: &Path, as_json: bool) -> Result<String> {
    let key = SecretKey::read(key)?;
    let sealed = seal(folder, &key, Timestamp::now())?;
    Ok(told(folder, &sealed, "signed", &key.public().id().to_string(), as_json))
}

fn check(folder: &Path, keys: &Path, as_json: bool) -> Result<String> {
    let (key, sealed) = check_seal(folder, &TrustedKeys::read(keys)?)?;
    let by = if as_json { key.id().to_string() } else { format!("{} ({})", key.id(), key.name()) };
    Ok(told(folder, &sealed, "checked", &by, as_json))
}

fn told(folder: &Path, sealed: &Sealed, done: &str, key: &str, as_json: bool) -> String {
    let Sealed { statement, covered, outside } = sealed;
    let signature = folder.join(format!("{statement}{SIGNATURE_SUFFIX}"));
    if as_json {
        let all = json!({"signature": signature, "key": key, "covered": covered, "outside": outside});
        return format!("{all}\n");
    }
    let (place, files) = (folder.display(), covered.len());
    let mut text = format!("{done} {place}: {statement} and {files} files, by the key {key}\n");
    if !outside.is_empty() {
        let why = if *statement == MANIFEST_FILE { "the manifest does not list them" } else { "they came later" };
        text += &format!("not covered: {} ({why})\n", outside.join(", "));
    }
    text
}
