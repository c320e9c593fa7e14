//! Turns a request to `/predict` into the input of a model. The first bytes of the body decide its kind.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::Request;
use bytes::Bytes;
use http::{HeaderMap, header};

use super::form;
use super::predict_body::{Expected, Instances, JsonBody};
use super::predict_types::{DEFAULT_TOP_K, PRIORITY_HEADER, PredictQuery, TIMEOUT_HEADER};
use crate::api::body::{Buffered, read_body_for};
use crate::api::json::{decode_base64, without_mark};
use crate::api::offload::off_reactor;
use crate::api::state::ApiState;
use crate::error::{Error, Result};
use crate::ids::quote;
use crate::serving::{DEFAULT_PRIORITY, Doubts, Input, Options, RequestContext, RequestHints, Servable};
use crate::signature::{Batching, Dim};
use crate::tensor::{Data, Tensor};
use crate::transform::text::Text;
use crate::transform::{ACCEPTED, PolarityChoice, foreign_kind, media_type};

/// The question of a request.
pub(super) struct Question {
    pub(super) input: Input,
    pub(super) options: Options,
    pub(super) hints: RequestHints,
    /// The rows or sequences as they came, where an observer wants them.
    pub(super) rows: Option<Arc<Vec<Bytes>>>,
    /// The body's share of the memory budget; dropped once the input has been used.
    pub(super) held: Buffered,
}

/// Reads and parses the body.
///
/// # Errors
/// An error for each way in which the body can be wrong.
pub(super) async fn read_question(
    state: &ApiState,
    context: &RequestContext,
    servable: &Arc<Servable>,
    query: PredictQuery,
    request: Request,
) -> Result<Question> {
    let (parts, body) = request.into_parts();
    let body = read_body_for(state, context, servable, &parts.headers, body).await?;
    let max_samples = state.settings().max_samples;
    let mut stated = Stated::of_headers(&parts.headers)?;
    let (mut top_k, mut polarity, mut rows) = (None, None, None);
    let mut vision = query.vision()?;
    vision.draws |= query.draw.is_none() && wants_png(&parts.headers);
    let (bytes, model) = (body.bytes.clone(), servable.clone());
    let input = match content(&parts.headers, &body.bytes, servable.expects_texts())? {
        Content::Text => Input::Texts(vec![plain_text(&bytes)?]),
        Content::Form => Input::Images(form::files(&parts.headers, bytes, max_samples).await?),
        Content::Json => {
            let wants_places = state.predictor().keeps_inputs(servable);
            let json = off_reactor(bytes.len(), move || read_json(&bytes, &model, max_samples, wants_places)).await?;
            (top_k, polarity) = (json.top_k, json.polarity);
            stated = Stated {
                priority: json.stated.priority.or(stated.priority),
                timeout_ms: json.stated.timeout_ms.or(stated.timeout_ms),
            };
            let slices = |places: Vec<Range<usize>>| places.into_iter().map(|place| body.bytes.slice(place)).collect();
            rows = (!json.places.is_empty()).then(|| Arc::new(slices(json.places)));
            json.input
        }
        Content::Image => Input::Images(vec![bytes]),
        Content::Raw => match off_reactor(bytes.len(), move || raw_input(&bytes, &model)).await {
            // Most likely a file of an unknown kind.
            Err(_) if servable.image_transform().is_some() => return Err(unknown_content(&parts.headers, &body.bytes)),
            input => input?,
        },
    };
    let top_k = top_k.or(query.top_k).map_or(Ok(DEFAULT_TOP_K), check_top_k)?;
    let doubts = Doubts {
        anomaly: query.anomaly.unwrap_or(false),
        set_level: query.set_level.map(|level| check_share("set_level", level)).transpose()?,
        error_rate: query.error_rate.map(|rate| check_share("error_rate", rate)).transpose()?,
    };
    let options = Options { top_k, polarity: polarity.or(query.polarity).unwrap_or_default(), doubts, vision };
    servable.check_options(&input, &options)?;
    Ok(Question { input, options, hints: stated.checked()?, rows, held: body })
}

/// Returns true if a request accepts PNG files, and neither JSON nor whatever comes.
pub(super) fn wants_png(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let media = |range: &str| range.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let all: Vec<String> = accepted.flat_map(|value| value.split(',')).map(media).collect();
    let names = |media: &str| all.iter().any(|accepted| accepted == media);
    names("image/png") && !names("application/json") && !names("application/*") && !names("*/*")
}

/// Returns the time that the headers of a request let its answer take.
///
/// # Errors
/// [`Error::Malformed`] for what is no number of milliseconds.
pub(super) fn timeout_of(headers: &HeaderMap) -> Result<Option<Duration>> {
    Stated::of_headers(headers)?.timeout_ms.map(check_timeout).transpose()
}

/// The scheduling hints that a request states, as it states them.
struct Stated {
    priority: Option<u64>,
    timeout_ms: Option<u64>,
}

impl Stated {
    fn of_headers(headers: &HeaderMap) -> Result<Self> {
        let number = |name: &'static str| {
            let Some(value) = headers.get(name) else { return Ok(None) };
            let number = value.to_str().ok().and_then(|text| text.parse().ok());
            number.map(Some).ok_or_else(|| {
                let got = quote(&String::from_utf8_lossy(value.as_bytes()));
                Error::Malformed(format!("the header {name} must be a whole number, got {got}"))
            })
        };
        Ok(Self { priority: number(PRIORITY_HEADER)?, timeout_ms: number(TIMEOUT_HEADER)? })
    }

    fn checked(&self) -> Result<RequestHints> {
        Ok(RequestHints {
            priority: self.priority.map_or(Ok(DEFAULT_PRIORITY), check_priority)?,
            timeout: self.timeout_ms.map(check_timeout).transpose()?,
        })
    }
}

/// Returns the scheduling hints in the headers of a request.
///
/// # Errors
/// [`Error::Malformed`] naming the header.
pub(super) fn header_hints(headers: &HeaderMap) -> Result<RequestHints> {
    Stated::of_headers(headers)?.checked()
}

/// Returns the hints of a request whose body may state others than its headers, and goes first.
///
/// # Errors
/// [`Error::Malformed`] naming what is out of range.
pub(super) fn check_hints(hints: RequestHints, priority: Option<u64>, timeout_ms: Option<u64>) -> Result<RequestHints> {
    Ok(RequestHints {
        priority: priority.map_or(Ok(hints.priority), check_priority)?,
        timeout: timeout_ms.map_or(Ok(hints.timeout), |milliseconds| check_timeout(milliseconds).map(Some))?,
    })
}

fn check_priority(priority: u64) -> Result<u8> {
    match u8::try_from(priority) {
        Ok(priority @ 1..=9) => Ok(priority),
        _ => Err(Error::Malformed(format!("the priority must be from 1 (first) to 9 (last), got {priority}"))),
    }
}

fn check_timeout(milliseconds: u64) -> Result<Duration> {
    match milliseconds {
        0 => Err(Error::Malformed("the timeout must be at least 1 ms, got 0".into())),
        _ => Ok(Duration::from_millis(milliseconds)),
    }
}

fn check_share(name: &str, share: f64) -> Result<f64> {
    if share > 0.0 && share < 1.0 {
        Ok(share)
    } else {
        Err(Error::Malformed(format!("\"{name}\" must be above 0 and below 1, got {share}")))
    }
}

fn check_top_k(top_k: u16) -> Result<usize> {
    if (1..=1000).contains(&top_k) {
        Ok(usize::from(top_k))
    } else {
        Err(Error::Malformed(format!("\"top_k\" must be from 1 to 1000, got {top_k}")))
    }
}

/// Returns a body as one text.
///
/// # Errors
/// [`Error::InvalidInput`] when it is not UTF-8.
pub(super) fn plain_text(body: &[u8]) -> Result<Text> {
    let text = std::str::from_utf8(without_mark(body));
    let text =
        text.map_err(|error| Error::InvalidInput(format!("the text is not UTF-8 at byte {}", error.valid_up_to())))?;
    Ok(text.to_owned().into())
}

enum Content {
    Form,
    Text,
    Json,
    Image,
    Raw,
}

fn content(headers: &HeaderMap, body: &[u8], expects_texts: bool) -> Result<Content> {
    let declared = headers.get(header::CONTENT_TYPE).map_or(&b""[..], |value| value.as_bytes());
    let is =
        |media: &str| declared.len() >= media.len() && declared[..media.len()].eq_ignore_ascii_case(media.as_bytes());
    let looks_like_json = first_visible(body) == Some(b'{');
    if is("multipart/form-data") {
        Ok(Content::Form)
    } else if body.is_empty() {
        Err(Error::InvalidInput(format!("the request has no body; send a {ACCEPTED} file, a form with files, or JSON")))
    } else if expects_texts && is("text/plain") {
        Ok(Content::Text)
    } else if media_type(body).is_some() {
        Ok(Content::Image)
    } else if is("application/octet-stream") {
        Ok(Content::Raw)
    } else if is("application/json") || looks_like_json {
        Ok(Content::Json)
    } else {
        Err(unknown_content(headers, body))
    }
}

fn unknown_content(headers: &HeaderMap, body: &[u8]) -> Error {
    if let Some(kind) = foreign_kind(body) {
        return Error::UnsupportedMedia(format!("this is {kind}; send {ACCEPTED}, JSON, or a form with files"));
    }
    let declared = headers.get(header::CONTENT_TYPE).map(|value| quote(&String::from_utf8_lossy(value.as_bytes())));
    Error::UnsupportedMedia(format!(
        "the body is neither {ACCEPTED}, nor JSON, nor a form (content-type: {}); it is judged by its first bytes",
        declared.as_deref().unwrap_or("none")
    ))
}

pub(super) fn first_visible(body: &[u8]) -> Option<u8> {
    without_mark(body).iter().copied().find(|byte| !byte.is_ascii_whitespace())
}

/// The question of a JSON body.
struct JsonQuestion {
    input: Input,
    top_k: Option<u16>,
    polarity: Option<PolarityChoice>,
    stated: Stated,
    /// The places of rows or sequences in the body, if they are wanted.
    places: Vec<Range<usize>>,
}

fn read_json(body: &[u8], servable: &Servable, max_samples: usize, wants_places: bool) -> Result<JsonQuestion> {
    let instances = match (servable.sequences(), servable.columns()) {
        (Some(encoder), _) => Instances::Sequences(encoder),
        (None, []) if servable.expects_texts() => Instances::Texts,
        (None, []) => Instances::Elements,
        (None, columns) => Instances::Rows(columns),
    };
    let most = servable.sample_limit(max_samples);
    let names = servable.named_inputs();
    let expected = Expected { names: &names, instances, most, wants_places };
    let mut json = JsonBody::read(body, expected)?;
    let (top_k, polarity) = (json.top_k, json.polarity);
    let stated = Stated { priority: json.priority, timeout_ms: json.timeout_ms };
    let places = std::mem::take(&mut json.places);
    Ok(JsonQuestion { input: json_input(json, servable, max_samples)?, top_k, polarity, stated, places })
}

fn json_input(mut body: JsonBody<'_>, servable: &Servable, max_samples: usize) -> Result<Input> {
    if body.is_ambiguous() {
        let exclude = "\"images\", \"instances\", \"inputs\" and \"text\" exclude each other; send one of them";
        return Err(Error::Malformed(exclude.into()));
    }
    if let Some(images) = body.images.take() {
        check_count(images.len(), "images", max_samples)?;
        let decode = |(index, text): (usize, &Cow<'_, str>)| decode_image(index, text);
        return images.iter().enumerate().map(decode).collect::<Result<_>>().map(Input::Images);
    }
    check_count(body.rows(), "instances", servable.sample_limit(max_samples))?;
    body.into_input(&servable.named_inputs())?.ok_or_else(|| {
        Error::Malformed(
            "the JSON body has neither \"images\" nor \"instances\" nor \"inputs\" nor \"text\"; send one of them"
                .into(),
        )
    })
}

/// Returns the elements of a model's only input, which lie in the body as in memory on most machines: little-endian,
/// row by row.
pub(super) fn raw_input(body: &[u8], servable: &Servable) -> Result<Input> {
    let signature = servable.signature();
    let misfit = |why: String| Error::InvalidInput(format!("the model takes no raw bytes: {why}; send JSON"));
    let Some(input) = servable.named_inputs().only() else {
        return Err(misfit(format!("it has {} inputs", signature.inputs.len())));
    };
    let element = input.dtype.bytes().ok_or_else(|| misfit("its input is of strings".into()))?;
    let (dims, is_batched) = match signature.batching() {
        Batching::Whole => (input.shape.as_slice(), false),
        Batching::Any | Batching::Fixed(_) => (input.sample_dims(), true),
    };
    let sizes = dims.iter().map(|dim| if let Dim::Fixed(size) = dim { Some(*size) } else { None });
    let mut shape = sizes.collect::<Option<Vec<usize>>>().ok_or_else(|| misfit("its shape is open".into()))?;
    let bytes = shape.iter().product::<usize>() * element;
    if bytes == 0 || !body.len().is_multiple_of(bytes) || (!is_batched && body.len() != bytes) {
        return Err(Error::InvalidInput(format!(
            "a sample of input \"{}\" is {bytes} bytes ({} of {}), got {} bytes",
            input.name,
            input.shape_text(),
            input.dtype,
            body.len()
        )));
    }
    if is_batched {
        shape.insert(0, body.len() / bytes);
    }
    let tensor = Tensor::from_data(shape, Data::from_le_bytes(input.dtype, body))?;
    servable.named_inputs().check_differences(&tensor)?;
    Ok(Input::Tensors(vec![tensor]))
}

fn decode_image(index: usize, text: &str) -> Result<Bytes> {
    decode_base64(text).map(Bytes::from).map_err(|problem| {
        let got = quote(text);
        Error::Malformed(format!(
            "images[{index}] is not base64 ({problem}), got {got}; what is elsewhere is not fetched"
        ))
    })
}

fn check_count(count: usize, what: &str, max_samples: usize) -> Result<()> {
    if count > max_samples {
        return Err(Error::TooLarge {
            what: "the batch",
            limit: max_samples as u64,
            got: format!("at least {count} {what}"),
        });
    }
    Ok(())
}
