//! The body of a prediction: a file as it is, a form with the part `data`, or JSON.

use std::borrow::Cow;
use std::fmt;

use axum::body::Body;
use axum::extract::{FromRequest, Multipart, Request};
use bytes::Bytes;
use http::{HeaderMap, header};
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::api::body::{Buffered, read_body_for};
use crate::api::http::predict_input::{first_visible, header_hints, raw_input};
use crate::api::http::tfs::{Gathered, Item, Layout, json_error};
use crate::api::offload::off_reactor;
use crate::api::state::ApiState;
use crate::error::{Error, Result};
use crate::serving::{Input, RequestContext, RequestHints, Servable};
use crate::signature::{Batching, Signature, TensorSpec};
use crate::transform::{Accepts, Nested, with_words};

/// The names under which TorchServe's handlers look for the input.
const NAMES: [&str; 2] = ["data", "body"];

/// Parts of a form that are looked at.
const MAX_PARTS: usize = 64;

/// What is asked.
#[derive(Debug)]
pub(super) struct Question {
    pub(super) input: Input,
    pub(super) hints: RequestHints,
    /// Whether it is one sample by itself, and not a list of some.
    pub(super) is_one: bool,
}

/// Reads the body. The second part keeps its share of the memory budget.
///
/// # Errors
/// Whatever is wrong with the body.
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
        true => part(&parts.headers, body.bytes.clone()).await?,
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
            let read = move || read_json(&data, servable.signature(), servable.image_transform().is_some());
            off_reactor(body.bytes.len(), read).await?
        }
        Kind::Raw => {
            let input = raw_input(&data, servable)?;
            let is_one = servable.samples(&input) == 1;
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

/// What the input is: its bytes decide, and between numbers and JSON the content type.
fn kind(headers: &HeaderMap, data: &[u8], servable: &Servable) -> Kind {
    let is_image = data.starts_with(b"\x89PNG") || data.starts_with(b"\xff\xd8");
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

/// The part of a form that holds the input.
async fn part(headers: &HeaderMap, body: Bytes) -> Result<Bytes> {
    let malformed = |what: String| Error::Malformed(format!("the form cannot be read: {what}"));
    let mut request = Request::new(Body::from(body));
    *request.headers_mut() = headers.clone();
    let mut form = Multipart::from_request(request, &()).await.map_err(|rejection| malformed(rejection.body_text()))?;
    for _ in 0..MAX_PARTS {
        let Some(part) = form.next_field().await.map_err(|error| malformed(error.body_text()))? else { break };
        if part.name().is_some_and(|name| NAMES.contains(&name)) {
            return part.bytes().await.map_err(|error| malformed(error.body_text()));
        }
    }
    Err(Error::InvalidInput("the form has no part \"data\"".into()))
}

/// One sample, or a list of some; and which of the two.
fn read_json(body: &[u8], signature: &Signature, takes_images: bool) -> Result<(Input, bool)> {
    let gathered = with_words(body, |json, words| {
        let accepts = Accepts { words, base64: true, files: takes_images, text_files: takes_images };
        let mut reader = serde_json::Deserializer::from_slice(json);
        let mut gathered = Gathered::new(signature, accepts, Layout::Columns);
        Envelope { gathered: &mut gathered, signature }.deserialize(&mut reader)?;
        reader.end().map(|()| gathered)
    });
    let mut nested = gathered.map_err(|error| json_error(&error))?.into_nested();
    if let [only] = nested.as_mut_slice()
        && let Some(files) = only.take_files()
    {
        return Ok((Input::Images(files), only.shape().is_empty()));
    }
    let is_whole = signature.batching() == Batching::Whole;
    let sample_of = |spec: &TensorSpec| if is_whole { spec.shape.clone() } else { spec.sample_dims().to_vec() };
    let is_one =
        is_whole || nested.iter().zip(&signature.inputs).all(|(nested, spec)| nested.is_sample(&sample_of(spec)));
    let tensor = |(nested, spec): (Nested, &TensorSpec)| {
        let what = format!("input \"{}\"", spec.name);
        match (is_whole, is_one) {
            (true, _) => nested.into_whole(&what, &spec.shape),
            (false, true) => nested.alone().into_samples(&what, spec.sample_dims()),
            (false, false) => nested.into_samples(&what, spec.sample_dims()),
        }
    };
    let tensors = nested.into_iter().zip(&signature.inputs).map(tensor).collect::<Result<_>>()?;
    Ok((Input::Tensors(tensors), is_one))
}

/// Reads the input as it is, or under the names that TorchServe's handlers know.
struct Envelope<'g, 'a> {
    gathered: &'g mut Gathered<'a>,
    signature: &'a Signature,
}

impl<'g, 'a> Envelope<'g, 'a> {
    fn item(self) -> Item<'g, 'a> {
        self.gathered.item()
    }
}

impl<'de> DeserializeSeed<'de> for Envelope<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> std::result::Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Envelope<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a sample, a list of samples, or an object with \"data\"")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<(), A::Error> {
        let first = map.next_key::<Cow<'de, str>>()?;
        let is_envelope =
            |name: &str| NAMES.contains(&name) && !self.signature.inputs.iter().any(|spec| spec.name == name);
        if !first.as_deref().is_some_and(is_envelope) {
            return self.item().object(first, map);
        }
        map.next_value_seed(self.item())?;
        while map.next_key::<IgnoredAny>()?.is_some() {
            map.next_value::<IgnoredAny>()?;
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> std::result::Result<(), A::Error> {
        self.item().visit_seq(list)
    }

    fn visit_bool<E: serde::de::Error>(self, value: bool) -> std::result::Result<(), E> {
        self.item().visit_bool(value)
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> std::result::Result<(), E> {
        self.item().visit_f64(value)
    }

    fn visit_i64<E: serde::de::Error>(self, value: i64) -> std::result::Result<(), E> {
        self.item().visit_i64(value)
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> std::result::Result<(), E> {
        self.item().visit_u64(value)
    }

    fn visit_str<E: serde::de::Error>(self, value: &str) -> std::result::Result<(), E> {
        self.item().visit_str(value)
    }
}
