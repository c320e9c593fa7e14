//! The body of a prediction: a file as it is, a form with the part `data`, or JSON.

use axum::extract::Request;
use http::{HeaderMap, header};

use crate::api::body::{Buffered, read_body_for};
use crate::api::http::form::part_named;
use crate::api::http::predict_input::{first_visible, header_hints, raw_input};
use crate::api::json::{Accepts, Cursor, Inputs, Layout, Nested, column, parse_error};
use crate::api::offload::off_reactor;
use crate::api::state::ApiState;
use crate::error::{Error, Result};
use crate::serving::{Input, NamedInputs, RequestContext, RequestHints, Servable};
use crate::signature::Batching;
use crate::tensor::Tensor;
use crate::transform::media_type;

/// The names under which TorchServe's handlers look for the input.
const NAMES: [&str; 2] = ["data", "body"];

/// The question of a request.
#[derive(Debug)]
pub(super) struct Question {
    pub(super) input: Input,
    pub(super) hints: RequestHints,
    /// True for one sample by itself, false for a list of samples.
    pub(super) is_one: bool,
}

/// Reads the body. The second part keeps its share of the memory budget.
///
/// # Errors
/// An error for each way in which the body can be wrong.
pub(super) async fn read_question(
    state: &ApiState,
    context: &RequestContext,
    servable: &std::sync::Arc<Servable>,
    request: Request,
) -> Result<(Question, Buffered)> {
    let (parts, body) = request.into_parts();
    let hints = header_hints(&parts.headers)?;
    let body = read_body_for(state, context, servable, &parts.headers, body).await?;
    let data = match is_form(&parts.headers) {
        true => part_named(&parts.headers, body.bytes.clone(), &NAMES).await?,
        false => body.bytes.clone(),
    };
    if data.is_empty() {
        return Err(Error::InvalidInput(
            "the request holds no input: send an image, JSON, or a form with a part \"data\"".into(),
        ));
    }
    let (input, is_one) = match kind(&parts.headers, &data, servable) {
        Kind::Image => (Input::Images(vec![data]), true),
        Kind::Json => {
            let servable = servable.clone();
            let read = move || read_json(&data, &servable.named_inputs(), servable.image_transform().is_some());
            off_reactor(body.bytes.len(), read).await?
        }
        Kind::Raw => {
            let input = raw_input(&data, servable)?;
            let is_one = servable.rows(&input) == 1;
            (input, is_one)
        }
    };
    Ok((Question { input, hints, is_one }, body))
}

enum Kind {
    Image,
    Json,
    Raw,
}

/// Returns the kind of an input. Its bytes decide, and between numbers and JSON the content type.
fn kind(headers: &HeaderMap, data: &[u8], servable: &Servable) -> Kind {
    let is_image = media_type(data).is_some();
    let is_raw = declares(headers, "application/octet-stream");
    let is_json = declares(headers, "application/json") || matches!(first_visible(data), Some(b'{' | b'[' | b'"'));
    match servable.image_transform() {
        _ if is_image => Kind::Image,
        _ if is_json && !is_raw => Kind::Json,
        // A file of another kind is refused by its first bytes.
        Some(_) if !is_raw => Kind::Image,
        _ => Kind::Raw,
    }
}

fn declares(headers: &HeaderMap, media: &str) -> bool {
    let declared = headers.get(header::CONTENT_TYPE).map_or(&b""[..], |value| value.as_bytes());
    declared.get(..media.len()).is_some_and(|start| start.eq_ignore_ascii_case(media.as_bytes()))
}

fn is_form(headers: &HeaderMap) -> bool {
    declares(headers, "multipart/form-data")
}

/// Reads one sample or a list of samples; returns true for one.
fn read_json(body: &[u8], names: &NamedInputs<'_>, takes_images: bool) -> Result<(Input, bool)> {
    let mut nested = read_inputs(body, names, takes_images).map_err(parse_error)?.into_nested();
    let is_whole = names.batching() == Batching::Whole;
    let mut files = None;
    if let Some(image) = nested.first_mut()
        && let Some(found) = image.as_mut().and_then(Nested::take_files)
    {
        files = Some((found, image.take().is_some_and(|image| image.shape().is_empty())));
    }
    let is_sample = |(place, nested): (usize, &Option<Nested>)| {
        let dims = names.specs()[place].sample_dims();
        names.is_shared(place) || nested.as_ref().is_none_or(|nested| nested.is_sample(dims))
    };
    let is_one = is_whole || nested.iter().enumerate().all(is_sample);
    let tensor = |(place, nested): (usize, Option<Nested>)| -> Result<Option<Tensor>> {
        let stacked =
            |nested: Nested| if is_one && !is_whole && !names.is_shared(place) { nested.alone() } else { nested };
        nested.map(|nested| column(stacked(nested), names, place)).transpose()
    };
    let tensors: Vec<Option<Tensor>> = nested.into_iter().enumerate().map(tensor).collect::<Result<_>>()?;
    match files {
        Some((files, is_one)) => Ok((names.images_alone(files, &tensors)?, is_one)),
        None => Ok((Input::Tensors(names.arranged(tensors)?), is_one)),
    }
}

/// Reads the inputs as they are, or under the names that TorchServe's handlers know.
fn read_inputs<'a>(body: &[u8], names: &NamedInputs<'a>, takes_images: bool) -> Result<Inputs<'a>> {
    let accepts = Accepts { base64: true, files: takes_images, text_files: takes_images };
    let mut inputs = Inputs::new(names.clone(), accepts, Layout::Columns);
    let mut cursor = Cursor::with_words(body);
    cursor.peek();
    let is_envelope = |name: &str| NAMES.contains(&name) && names.position(name).is_none();
    if cursor.first_key().is_some_and(|name| is_envelope(&name)) {
        let mut is_read = false;
        cursor.object(
            |cursor, _| if std::mem::replace(&mut is_read, true) { cursor.skip() } else { inputs.read(cursor) },
        )?;
    } else {
        inputs.read(&mut cursor)?;
    }
    cursor.end().map(|()| inputs)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signature::{DType, Dim, Signature, TensorSpec};

    #[test]
    fn words_and_bytes_are_read_with_or_without_an_envelope() {
        let shape = vec![Dim::Symbol("N".into()), Dim::Fixed(2)];
        let spec = TensorSpec { name: "x".into(), dtype: DType::Float32, shape };
        let signature = Signature { inputs: vec![spec], outputs: vec![] };
        let names = NamedInputs::new(&signature, 1, &[]);
        for (json, is_one) in [
            ("[NaN, 1]", true),
            ("[[NaN, 1], [-Infinity, 0]]", false),
            (r#"{"data": [1, 2], "other": NaN}"#, true),
            (r#" {"body": [[1, 2]]} "#, false),
            (r#"{"x": [1, 2]}"#, true),
        ] {
            assert_eq!(read_json(json.as_bytes(), &names, false).unwrap().1, is_one, "{json}");
        }
        for bad in ["[1, 1e39]", "[1, null]", "[1, 2]]", "{\"data\": [1, 2]", "[\"AAAA\"]", "{}", "[[[[[[[[[1]]]]]]]]]"]
        {
            assert!(read_json(bad.as_bytes(), &names, false).is_err(), "{bad}");
        }
        for (json, is_one) in [
            (r#""AAAA""#, true),
            (r#"{"b64": "AAAA"}"#, true),
            (r#"{"data": {"b64": "AAAA"}}"#, true),
            (r#"["AAAA", {"b64": "AAAA"}]"#, false),
        ] {
            let read = read_json(json.as_bytes(), &names, true).unwrap();
            assert!(matches!(read.0, Input::Images(_)) && read.1 == is_one, "{json}");
        }
    }
}
