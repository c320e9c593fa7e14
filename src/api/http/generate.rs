//! `POST /models/{model}/generate`: images that the decoder of an autoencoder makes.

use std::time::Instant;

use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderValue, header};

use super::generate_types::{GenerateAnswer, GenerateBody, GeneratedImage};
use super::predict_input::{check_hints, header_hints};
use super::predict_types::{Binary, PredictFailure, PredictHeaders, Timings};
use crate::api::body::read_body_for_part;
use crate::api::context::request_context;
use crate::api::error::ApiError;
use crate::api::offload::off_reactor;
use crate::api::state::ApiState;
use crate::error::{Error, Result};
use crate::ids::{ModelRef, RequestId, VersionSpec};
use crate::serving::{Generator, Part, Protocol, Servable};
use crate::tensor::Tensor;
use crate::transform::Picture;

/// The cost of encoding one image, in bytes of other work: about a tenth of a millisecond for 100 of MNIST's.
const ENCODING_FACTOR: usize = 8;

/// Make images
///
/// The decoder of a variational autoencoder turns codes into images. The codes are those of the request, or
/// drawn from the standard normal distribution by its seed: the same seed gives the same images, and the
/// first ones do not depend on how many are asked for. An empty body asks for one image of seed 0.
/// The version is found as for `/predict`. With `Accept: image/png` the answer is one picture: the image, or
/// a contact sheet if there are several.
#[utoipa::path(
    post, path = "/models/{model}/generate", tag = "predict",
    params(("model" = String, Path, description = "The name of the model", example = "mnist-vae"), PredictHeaders),
    request_body(description = "Which images", content = GenerateBody),
    responses(
        (status = 200, description = "The images, in order", content(
            (GenerateAnswer<'static> = "application/json"), (Binary = "image/png")
        )),
        PredictFailure
    )
)]
pub(super) async fn generate_model(
    State(state): State<ApiState>,
    Path(model): Path<String>,
    request: Request,
) -> std::result::Result<Response, ApiError> {
    let target = ModelRef { name: Some(model.parse()?), version: VersionSpec::Latest };
    Ok(generate(&state, &target, request).await?)
}

/// Make images with one version of a model, by number or alias
///
/// Body and answer are as of `/models/{model}/generate`.
#[utoipa::path(
    post, path = "/models/{model}/versions/{version}/generate", tag = "predict",
    params(
        ("model" = String, Path, description = "The name of the model", example = "mnist-vae"),
        ("version" = String, Path, description = "The version, a positive integer, or an alias", example = "1"),
        PredictHeaders
    ),
    request_body(description = "Which images", content = GenerateBody),
    responses(
        (status = 200, description = "The images, in order", content(
            (GenerateAnswer<'static> = "application/json"), (Binary = "image/png")
        )),
        PredictFailure
    )
)]
pub(super) async fn generate_version(
    State(state): State<ApiState>,
    Path((model, version)): Path<(String, String)>,
    request: Request,
) -> std::result::Result<Response, ApiError> {
    let target = ModelRef { name: Some(model.parse()?), version: version.parse()? };
    Ok(generate(&state, &target, request).await?)
}

async fn generate(state: &ApiState, target: &ModelRef, request: Request) -> Result<Response> {
    let start = Instant::now();
    let context = request_context(Protocol::Weir, request.headers(), request.extensions());
    let servable = state.predictor().resolve(target)?;
    let generator = servable.generator().ok_or_else(|| {
        Error::InvalidInput(format!("model \"{}\" makes no images; only a variational autoencoder does", servable.name))
    })?;
    let (parts, body) = request.into_parts();
    let body = read_body_for_part(state, &context, &servable, Part::Decoder, &parts.headers, body).await?;
    let wanted = GenerateBody::read(&body.bytes)?;
    drop(body);
    let hints = check_hints(header_hints(&parts.headers)?, wanted.priority, wanted.timeout_ms)?;
    let codes = codes(&wanted, generator, state.settings().max_samples)?;
    let count = codes.len() / generator.latent();
    let context = context.with_hints(hints);
    let inputs = Tensor::new(vec![count, generator.latent()], codes.clone())?;
    let inference = state.predictor().generate(&context, &servable, inputs).await?;
    let answering = Instant::now();
    let pictures = generator.pictures(&inference.outputs)?;
    let bytes = pictures.iter().map(|picture| picture.pixels.len()).sum::<usize>() * ENCODING_FACTOR;
    let response = if wants_picture(&parts.headers) {
        let sheet = off_reactor(bytes, move || one_picture(pictures).png()).await?;
        respond("image/png", sheet)
    } else {
        let encode =
            move || pictures.iter().map(|picture| Ok(STANDARD.encode(picture.png()?))).collect::<Result<Vec<_>>>();
        let images = off_reactor(bytes, encode).await?;
        let codes = codes.chunks_exact(generator.latent());
        let images = images.into_iter().zip(codes).map(|(image, latent)| GeneratedImage { image, latent }).collect();
        let timings = Timings::new(inference.stages, start.elapsed());
        json(&context.request_id, &servable, images, timings)?
    };
    generator.decoder().encoded(answering.elapsed());
    Ok(response)
}

fn json(id: &RequestId, servable: &Servable, images: Vec<GeneratedImage<'_>>, timings: Timings) -> Result<Response> {
    let body = serde_json::to_vec(&GenerateAnswer {
        request_id: id.as_str(),
        model: servable.name.as_str(),
        version: servable.version.0,
        images,
        timings_ms: timings,
    })
    .map_err(|error| Error::internal("the answer could not be written", error))?;
    Ok(respond("application/json", body))
}

fn respond(media_type: &'static str, body: Vec<u8>) -> Response {
    let mut response = Response::new(Body::from(body));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    response
}

/// The codes that a request means, row by row.
fn codes(wanted: &GenerateBody, generator: &Generator, max_samples: usize) -> Result<Vec<f32>> {
    let latent = generator.latent();
    let count = wanted.latent.as_ref().map_or(wanted.count.unwrap_or(1), Vec::len);
    if count == 0 {
        return Err(Error::InvalidInput(
            "no image is asked for; \"count\", or the list \"latent\", must be at least 1".into(),
        ));
    }
    if count > max_samples {
        return Err(Error::TooLarge { what: "the batch", limit: max_samples as u64, got: format!("{count} images") });
    }
    let Some(given) = &wanted.latent else { return Ok(generator.draw(wanted.seed.unwrap_or(0), count)) };
    if let Some((index, code)) = given.iter().enumerate().find(|(_, code)| code.len() != latent) {
        let problem = format!("latent[{index}] must be a code of {latent} numbers, got {}", code.len());
        return Err(Error::InvalidInput(problem));
    }
    let codes = given.concat();
    match codes.iter().position(|number| !number.is_finite()) {
        Some(at) => {
            let (index, number) = (at / latent, at % latent);
            Err(Error::InvalidInput(format!("latent[{index}][{number}] must be a finite 32-bit float")))
        }
        None => Ok(codes),
    }
}

/// The only picture, or all of them on one that is about square.
fn one_picture(mut pictures: Vec<Picture>) -> Picture {
    match pictures.len() {
        1 => pictures.swap_remove(0),
        count => Picture::contact_sheet(&pictures, (count as f64).sqrt().ceil() as usize),
    }
}

/// Returns true if a picture is wanted rather than JSON: of the media types that are accepted, the first one that is
/// known decides.
fn wants_picture(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let types = accepted.flat_map(|value| value.split(',')).filter_map(|range| range.split(';').next());
    let known = types
        .map(|media| media.trim().to_ascii_lowercase())
        .find(|media| matches!(media.as_str(), "image/png" | "image/*" | "application/json" | "application/*" | "*/*"));
    known.is_some_and(|media| media.starts_with("image/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_media_type_that_is_known_decides() {
        for (accept, picture) in [
            ("image/png", true),
            ("IMAGE/PNG; q=0.9, application/json", true),
            ("text/html, image/*", true),
            ("application/json, image/png", false),
            ("*/*", false),
            ("image/webp", false),
            ("", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT, HeaderValue::from_static(accept));
            assert_eq!(wants_picture(&headers), picture, "{accept}");
        }
        assert!(!wants_picture(&HeaderMap::new()));
    }
}
