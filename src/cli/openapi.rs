//! `weir openapi`.

use std::process::ExitCode;

use crate::api;
use crate::error::{Error, Result};

pub(super) fn run() -> Result<ExitCode> {
    let text =
        api::openapi().to_pretty_json().map_err(|error| Error::internal("the document could not be written", error))?;
    super::print(&format!("{text}\n"))?;
    Ok(ExitCode::SUCCESS)
}
