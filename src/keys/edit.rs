//! Changes of a file of keys that leave the rest as it was written.

use std::num::NonZeroU32;
use std::path::Path;

use serde::Serialize;

use super::{Content, Scope, parse, refuse};
use crate::error::Result;
use crate::ids::quote;

/// A key as the file has it: one `[[key]]` table.
#[derive(Debug, Serialize)]
pub struct Table<'a> {
    /// The name.
    pub name: &'a str,
    /// The digest in hexadecimal.
    pub sha256: &'a str,
    /// The scopes.
    pub scopes: &'a [Scope],
    /// The models, if it is for some only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub models: Option<&'a [String]>,
    /// The moment from which it is refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires: Option<toml::value::Datetime>,
    /// The requests that it may send in a second, if it has a limit of its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub per_second: Option<f64>,
    /// The requests that it may send at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub burst: Option<u32>,
    /// The requests that it may have under way at the same time, if it has a limit of its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub concurrency: Option<NonZeroU32>,
}

/// Returns the text of a file with one more key. What was there stays as it was written, comments too.
///
/// # Errors
/// [`crate::error::Error::Config`] when the result would not be a file of keys.
pub fn with_key(text: &str, key: &Table<'_>) -> Result<String> {
    let table = toml::to_string(key).map_err(|error| refuse(error.to_string()))?;
    let gap = if text.is_empty() || text.ends_with("\n\n") { "" } else { "\n" };
    let end = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
    let joined = format!("{text}{end}{gap}{HEADER}\n{table}");
    read(&joined)?;
    Ok(joined)
}

const HEADER: &str = "[[key]]";
/// The lines at which another entry begins.
const HEADERS: [&str; 2] = [HEADER, "[[issuer]]"];

fn read(text: &str) -> Result<Content> {
    parse(text, Path::new(""))
}

/// Returns the text of a file without the key of this name. The other keys stay as they were written.
///
/// # Errors
/// [`crate::error::Error::Config`] when there is no such key, or its lines cannot be told from others.
pub fn without_key(text: &str, name: &str) -> Result<String> {
    let before = read(text)?;
    if !before.keys.iter().any(|key| key.name == name) {
        let names: Vec<String> = before.keys.iter().map(|key| quote(&key.name)).collect();
        let names = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
        return Err(refuse(format!("no key is called {}; there are: {names}", quote(name))));
    }
    let mut blocks = vec![String::new()];
    for line in text.split_inclusive('\n') {
        if HEADERS.iter().any(|header| line.trim_start().starts_with(header)) {
            blocks.push(String::new());
        }
        if let Some(block) = blocks.last_mut() {
            block.push_str(line);
        }
    }
    let is_it = |block: &String| read(block).is_ok_and(|block| block.keys.iter().any(|key| key.name == name));
    let kept: String = blocks.iter().filter(|block| !is_it(block)).map(String::as_str).collect();
    let expected = before.keys.iter().filter(|key| key.name != name);
    match read(&kept) {
        Ok(after) if after.keys.iter().eq(expected) && after.issuers == before.issuers => Ok(kept),
        _ => Err(refuse(format!("the lines of {} cannot be told from others; remove them by hand", quote(name)))),
    }
}
