//! The body of a prediction: a file as it is, a form with the part `data`, or JSON.

use axum::extract::Request;
use http::{HeaderMap, header};

use crate::api::body::{Buffered, read_body_for};
use crate::api::http::form::part_named;
use crate::api::http::predict_input::{first_visible, header_hints, plain_text, raw_input};
use crate::api::json::{
    Accepts, Cursor, Inputs, Layout, Nested, column, is_list_of_texts, is_text, parse_error, read_text, read_texts,
};
use crate::api::offload::off_reactor;
use crate::api::state::ApiState;
use crate::error::{Error, Result};
use crate::ids::quote;
use crate::serving::{Input, NamedInputs, RequestContext, RequestHints, Servable};
use crate::signature::Batching;
use crate::tensor::Tensor;
use crate::transform::media_type;
use crate::transform::text::Text;

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
        Kind::Text => (Input::Texts(vec![plain_text(&data)?]), true),
        Kind::Json => {
            let (servable, most) = (servable.clone(), servable.sample_limit(state.settings().max_samples));
            let read = move || {
                let names = servable.named_inputs();
                match read_texts_of(&data, &servable, most).map_err(parse_error)? {
                    Some((texts, is_one)) => Ok((Input::Texts(texts), is_one)),
                    None => read_json(&data, &names, servable.image_transform().is_some()),
                }
            };
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
    Text,
    Json,
    Raw,
}

/// Returns the kind of an input. Its bytes decide, and between numbers and JSON the content type.
fn kind(headers: &HeaderMap, data: &[u8], servable: &Servable) -> Kind {
    let is_image = media_type(data).is_some();
    let is_raw = declares(headers, "application/octet-stream");
    let is_json = declares(headers, "application/json") || matches!(first_visible(data), Some(b'{' | b'[' | b'"'));
    match servable.image_transform() {
        _ if servable.expects_texts() && declares(headers, "text/plain") => Kind::Text,
        _ if servable.texts().is_some() && !is_raw && !is_json => Kind::Text,
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

/// Reads one text or a list of texts, as they are or under the names that TorchServe's handlers know; returns true for
/// one. `None` if the model takes no texts, or the body holds tensors.
fn read_texts_of(body: &[u8], servable: &Servable, most: usize) -> Result<Option<(Vec<Text>, bool)>> {
    if !servable.expects_texts() {
        return Ok(None);
    }
    let mut cursor = Cursor::with_words(body);
    cursor.peek();
    if cursor.first_key().is_some_and(|name| NAMES.contains(&name.as_ref())) {
        let (mut texts, mut is_first) = (None, true);
        cursor.object(|cursor, key| {
            if std::mem::replace(&mut is_first, false) {
                texts = texts_at(cursor, most)?;
                if texts.is_some() {
                    return Ok(());
                }
            }
            if texts.is_some() {
                let key = quote(key);
                return Err(cursor.fault(format_args!(
                    "there is no key {key} beside a text; a pair is sent as {{\"text\": …, \"pair\": …}}"
                )));
            }
            cursor.skip()
        })?;
        cursor.end()?;
        return Ok(texts);
    }
    let texts = texts_at(&mut cursor, most)?;
    if texts.is_some() {
        cursor.end()?;
    }
    Ok(texts)
}

/// Reads one text or a list of them, if that is what comes.
fn texts_at(cursor: &mut Cursor<'_>, most: usize) -> Result<Option<(Vec<Text>, bool)>> {
    if is_list_of_texts(cursor) {
        let texts = read_texts(cursor, most)?;
        if texts.count > most {
            return Err(cursor.fault(format_args!("there are {} texts, and a request may bring {most}", texts.count)));
        }
        return Ok(Some((texts.kept, false)));
    }
    if is_text(cursor) {
        return Ok(Some((vec![read_text(cursor)?], true)));
    }
    Ok(None)
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
