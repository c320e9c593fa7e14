//! Forms (`multipart/form-data`): the parts that are files, among fields that are none of our business.

use axum::body::Body;
use axum::extract::multipart::MultipartError;
use axum::extract::{FromRequest, Multipart, Request};
use bytes::Bytes;
use http::HeaderMap;

use crate::error::{Error, Result};
use crate::ids::{quote, shortened};
use crate::transform::media_type;

/// The most parts of a form that are searched for one by name.
const MAX_PARTS: usize = 64;

/// The names of parts that a message repeats.
const MAX_LISTED: usize = 3;

/// A part of a form.
struct Part {
    name: String,
    /// Set if the client calls it a file: browsers leave the name empty where no file was chosen.
    has_file_name: bool,
    is_json: bool,
    bytes: Bytes,
}

impl Part {
    async fn read(part: axum::extract::multipart::Field<'_>) -> Result<Self> {
        Ok(Self {
            name: part.name().unwrap_or_default().to_owned(),
            has_file_name: part.file_name().is_some_and(|name| !name.is_empty()),
            is_json: part.content_type().is_some_and(|media| media.starts_with("application/json")),
            bytes: part.bytes().await.map_err(|error| malformed(&error))?,
        })
    }

    /// Returns true for a field of text, for JSON, and for the place of a file that was not chosen.
    fn is_no_file(&self) -> bool {
        let is_field = !self.has_file_name || self.is_json;
        is_field && media_type(&self.bytes).is_none() && str::from_utf8(&self.bytes).is_ok()
    }
}

/// Returns the files of a form in their order, and passes over what is no file.
///
/// # Errors
/// [`Error::Malformed`] for what is no form, [`Error::InvalidInput`] when there is no file in it, [`Error::TooLarge`]
/// when there are more than `max_files`.
pub(super) async fn files(headers: &HeaderMap, body: Bytes, max_files: usize) -> Result<Vec<Bytes>> {
    let mut form = open(headers, body).await?;
    let (mut files, mut passed) = (Vec::new(), Vec::new());
    while let Some(part) = form.next_field().await.map_err(|error| malformed(&error))? {
        let part = Part::read(part).await?;
        if part.is_no_file() {
            passed.push(part.name);
            continue;
        }
        if files.len() == max_files {
            let got = format!("at least {} images", max_files + 1);
            return Err(Error::TooLarge { what: "the batch", limit: max_files as u64, got });
        }
        files.push(part.bytes);
    }
    if files.is_empty() {
        let names: Vec<String> = passed.iter().take(MAX_LISTED).map(|name| quote(name)).collect();
        let got = match passed.len() {
            0 => "it has no part".to_owned(),
            count => format!("{count} parts are no files: {}", names.join(", ")),
        };
        return Err(Error::InvalidInput(format!("the form holds no image ({got}); send each as a file part")));
    }
    Ok(files)
}

/// Returns the first part of a form that has one of the names.
///
/// # Errors
/// [`Error::Malformed`] for what is no form, [`Error::InvalidInput`] when it has no such part.
pub(super) async fn part_named(headers: &HeaderMap, body: Bytes, names: &[&str]) -> Result<Bytes> {
    let mut form = open(headers, body).await?;
    for _ in 0..MAX_PARTS {
        let Some(part) = form.next_field().await.map_err(|error| malformed(&error))? else { break };
        if part.name().is_some_and(|name| names.contains(&name)) {
            return part.bytes().await.map_err(|error| malformed(&error));
        }
    }
    Err(Error::InvalidInput(format!("the form has no part \"{}\"", names.join("\" or \""))))
}

async fn open(headers: &HeaderMap, body: Bytes) -> Result<Multipart> {
    let mut request = Request::new(Body::from(body));
    *request.headers_mut() = headers.clone();
    let form = Multipart::from_request(request, &()).await;
    form.map_err(|rejection| unreadable(&rejection.body_text()))
}

fn malformed(error: &MultipartError) -> Error {
    unreadable(&error.body_text())
}

fn unreadable(problem: &str) -> Error {
    Error::Malformed(format!("the form cannot be read: {}", shortened(problem)))
}
