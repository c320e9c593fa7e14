//! A request to `/predict` → the input of a model: bytes decide what the body is.

use axum::body::Body;
use axum::extract::{FromRequest, Multipart, Request};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderMap, header};

use super::predict_types::{DEFAULT_TOP_K, PredictBody, PredictQuery};
use crate::api::body::{Buffered, read_body};
use crate::api::state::ApiState;
use crate::error::{Error, Result};
use crate::ids::quote;
use crate::serving::{Input, Options, Servable};
use crate::signature::DType;
use crate::transform::{Instances, instances_to_tensor};

/// Reads and parses the body. The third part keeps the body's share of the memory budget; drop it
/// when the input has been used up.
///
/// # Errors
/// Whatever is wrong with the body.
pub(super) async fn read_input(
    state: &ApiState,
    servable: &Servable,
    query: PredictQuery,
    request: Request,
) -> Result<(Input, Options, Buffered)> {
    let (parts, body) = request.into_parts();
    let body = read_body(state, &parts.headers, body).await?;
    let max_samples = state.settings().max_samples;
    let (input, top_k, polarity) = match content(&parts.headers, &body.bytes)? {
        Content::Form => (Input::Images(read_form(&parts.headers, body.bytes.clone(), max_samples).await?), None, None),
        Content::Json => {
            let json = parse_json(&body.bytes)?;
            let (top_k, polarity) = (json.top_k, json.polarity);
            (json_input(json, servable, max_samples)?, top_k, polarity)
        }
        Content::Image => (Input::Images(vec![body.bytes.clone()]), None, None),
    };
    let top_k = top_k.or(query.top_k).map_or(Ok(DEFAULT_TOP_K), check_top_k)?;
    let options = Options { top_k, polarity: polarity.or(query.polarity).unwrap_or_default() };
    Ok((input, options, body))
}

fn check_top_k(top_k: u16) -> Result<usize> {
    if (1..=1000).contains(&top_k) {
        Ok(usize::from(top_k))
    } else {
        Err(Error::Malformed(format!("\"top_k\" must be from 1 to 1000, got {top_k}")))
    }
}

enum Content {
    Form,
    Json,
    Image,
}

fn content(headers: &HeaderMap, body: &[u8]) -> Result<Content> {
    let declared = headers.get(header::CONTENT_TYPE).map_or(&b""[..], |value| value.as_bytes());
    let is =
        |media: &str| declared.len() >= media.len() && declared[..media.len()].eq_ignore_ascii_case(media.as_bytes());
    let looks_like_json = first_visible(body) == Some(b'{');
    if is("multipart/form-data") {
        Ok(Content::Form)
    } else if body.is_empty() {
        Err(Error::InvalidInput("the request has no body; send a PNG or JPEG file, a form with files, or JSON".into()))
    } else if body.starts_with(b"\x89PNG") || body.starts_with(b"\xff\xd8") {
        Ok(Content::Image)
    } else if is("application/json") || looks_like_json {
        Ok(Content::Json)
    } else {
        let declared = if declared.is_empty() { "none".to_owned() } else { quote(&String::from_utf8_lossy(declared)) };
        Err(Error::UnsupportedMedia(format!(
            "the body is neither a PNG or JPEG file, nor JSON, nor a form (content-type: {declared}); it is judged by its first bytes"
        )))
    }
}

fn first_visible(body: &[u8]) -> Option<u8> {
    body.iter().copied().find(|byte| !byte.is_ascii_whitespace())
}

fn parse_json(body: &[u8]) -> Result<PredictBody> {
    // A derived struct would take a list of its fields, too.
    if first_visible(body) != Some(b'{') {
        return Err(Error::Malformed("the JSON body cannot be read: expected an object".into()));
    }
    serde_json::from_slice(body).map_err(|error| {
        Error::Malformed(format!("the JSON body cannot be read: {error}; expected {{\"images\": [\"<base64>\", …]}} or {{\"instances\": [[numbers], …]}}"))
    })
}

fn json_input(body: PredictBody, servable: &Servable, max_samples: usize) -> Result<Input> {
    match (body.images, body.instances) {
        (Some(images), None) => {
            check_count(images.len(), max_samples)?;
            images
                .iter()
                .enumerate()
                .map(|(index, text)| decode_base64(index, text))
                .collect::<Result<_>>()
                .map(Input::Images)
        }
        (None, Some(instances)) => numbers_input(instances, servable),
        (Some(_), Some(_)) => {
            Err(Error::Malformed("\"images\" and \"instances\" exclude each other; send one of them".into()))
        }
        (None, None) => {
            Err(Error::Malformed("the JSON body has neither \"images\" nor \"instances\"; send one of them".into()))
        }
    }
}

fn numbers_input(instances: Instances, servable: &Servable) -> Result<Input> {
    match servable.signature().inputs.as_slice() {
        [input] if input.dtype == DType::Float32 => {
            let sample = input.sample_shape().ok_or_else(|| {
                Error::InvalidInput(format!("input \"{}\" has open dimensions {}", input.name, input.shape_text()))
            })?;
            Ok(Input::Tensors(vec![instances_to_tensor(instances, &sample)?]))
        }
        _ => Err(Error::InvalidInput("\"instances\" are numbers for a model of one float32 input".into())),
    }
}

fn decode_base64(index: usize, text: &str) -> Result<Bytes> {
    STANDARD.decode(text).map(Bytes::from).map_err(|error| {
        Error::Malformed(format!(
            "images[{index}] is not base64 with padding ({error}); URLs and data: URLs are not accepted"
        ))
    })
}

async fn read_form(headers: &HeaderMap, body: Bytes, max_samples: usize) -> Result<Vec<Bytes>> {
    let malformed = |what: String| Error::Malformed(format!("the form cannot be read: {what}"));
    let mut request = Request::new(Body::from(body));
    *request.headers_mut() = headers.clone();
    let mut form = Multipart::from_request(request, &()).await.map_err(|rejection| malformed(rejection.body_text()))?;
    let mut images = Vec::new();
    while let Some(part) = form.next_field().await.map_err(|error| malformed(error.body_text()))? {
        check_count(images.len() + 1, max_samples)?;
        images.push(part.bytes().await.map_err(|error| malformed(error.body_text()))?);
    }
    if images.is_empty() {
        return Err(Error::InvalidInput("the form holds no image; send each as a file part".into()));
    }
    Ok(images)
}

fn check_count(count: usize, max_samples: usize) -> Result<()> {
    if count > max_samples {
        return Err(Error::TooLarge {
            what: "the batch",
            limit: max_samples as u64,
            got: format!("at least {count} images"),
        });
    }
    Ok(())
}
