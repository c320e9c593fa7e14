//! `weir licenses`: what the program is made of, and by whose leave.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;

use crate::error::{Error, Result};

/// The list of everything that is linked in, with its licence.
const LIST: &str = "THIRD-PARTY.txt";
/// The bill of materials.
const SBOM: &str = "sbom.cdx.json";

/// Prints the licences of everything that is linked in, or the bill of materials. The image carries both.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  docker run --rm weir licenses
  docker run --rm weir licenses --sbom > sbom.cdx.json

The texts of the licences are beside the list, in third-party.tar.gz. A program that was built by cargo alone carries none
of this; the Dockerfile makes it from Cargo.lock.")]
pub(super) struct LicensesArgs {
    /// Print the bill of materials, CycloneDX in JSON
    #[arg(long)]
    sbom: bool,
    /// The folder with the lists [default: licenses, beside the program]
    #[arg(long, value_name = "DIR")]
    folder: Option<PathBuf>,
}

pub(super) fn run(args: &LicensesArgs) -> Result<ExitCode> {
    let beside = || std::env::current_exe().ok().and_then(|program| Some(program.parent()?.join("licenses")));
    let folder = args.folder.clone().or_else(beside).unwrap_or_else(|| PathBuf::from("licenses"));
    super::print(&read(&folder, if args.sbom { SBOM } else { LIST })?)?;
    Ok(ExitCode::SUCCESS)
}

fn read(folder: &Path, name: &str) -> Result<String> {
    let path = folder.join(name);
    std::fs::read_to_string(&path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => Error::NotFound(format!(
            "{} is not there: this program was built without it. The image has it (docker run --rm IMAGE licenses); in the \
             sources `cargo tree --edges normal --prefix none --format '{{p}} {{l}}'` lists the same, and deny.toml says which \
             licences may be linked in",
            path.display()
        )),
        _ => Error::io("read", path)(error),
    })
}
