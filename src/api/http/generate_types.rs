//! The bodies of `/generate`.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::predict_types::Timings;
use crate::api::json::without_mark;
use crate::error::{Error, Result};
use crate::ids::shortened;

/// The body of `/generate`: `latent`, or else `seed` and `count`.
#[derive(Debug, Default, PartialEq, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct GenerateBody {
    /// The seed of the random codes.
    #[schema(minimum = 0, default = 0, example = 7)]
    pub(super) seed: Option<u64>,
    /// The number of images.
    #[schema(minimum = 1, default = 1, example = 4)]
    pub(super) count: Option<usize>,
    /// Codes, one for each image, each of as many numbers as the model has.
    pub(super) latent: Option<Vec<Vec<f32>>>,
    /// The same as the header `x-timeout-ms`, which it overrides.
    #[schema(minimum = 1)]
    pub(super) timeout_ms: Option<u64>,
    /// The same as the header `x-priority`, which it overrides.
    #[schema(minimum = 1, maximum = 9)]
    pub(super) priority: Option<u64>,
}

impl GenerateBody {
    /// Reads a body; an empty one says nothing.
    ///
    /// # Errors
    /// [`Error::Malformed`] with the place and the fault.
    pub(super) fn read(body: &[u8]) -> Result<Self> {
        let body = without_mark(body);
        if body.iter().all(u8::is_ascii_whitespace) {
            return Ok(Self::default());
        }
        let parsed: Self = serde_json::from_slice(body).map_err(|error| {
            let problem = shortened(&error.to_string());
            Error::Malformed(format!(
                "the JSON body cannot be read: {problem}; expected {{\"seed\": 7, \"count\": 4}} or {{\"latent\": [[numbers], …]}}"
            ))
        })?;
        if parsed.latent.is_some() && (parsed.seed.is_some() || parsed.count.is_some()) {
            let exclude = "\"latent\" excludes \"seed\" and \"count\": codes that are given are not drawn";
            return Err(Error::Malformed(exclude.into()));
        }
        Ok(parsed)
    }
}

/// The answer of `/generate`.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct GenerateAnswer<'a> {
    /// The identifier of the request, as in the header `x-request-id`.
    pub(super) request_id: &'a str,
    /// The model that answered.
    pub(super) model: &'a str,
    /// The version that answered.
    pub(super) version: u64,
    /// In the order of the codes.
    pub(super) images: Vec<GeneratedImage<'a>>,
    /// Where the time went.
    pub(super) timings_ms: Timings,
}

/// An image and the code it was made of.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct GeneratedImage<'a> {
    /// A PNG file in base64.
    pub(super) image: String,
    /// The code.
    pub(super) latent: &'a [f32],
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_says_which_images_or_nothing() {
        assert_eq!(GenerateBody::read(b" \n").unwrap(), GenerateBody::default());
        let body = GenerateBody::read(br#"{"seed": 7, "count": 4}"#).unwrap();
        assert_eq!((body.seed, body.count), (Some(7), Some(4)));
        for wrong in
            [r#"{"seed": -1}"#, r#"{"sed": 1}"#, r#"{"latent": [1]}"#, "[]", "{", r#"{"latent": [], "count": 1}"#]
        {
            assert!(matches!(GenerateBody::read(wrong.as_bytes()), Err(Error::Malformed(_))), "{wrong}");
        }
    }
}
