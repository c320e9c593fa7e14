//! Bodies in gzip and deflate (a zlib stream), both ways. The unpacked size of a request's body is bounded.
//!
//! tower-http's `DecompressionLayer` and `CompressionLayer` do this on the threads that answer connections,
//! count nothing towards the memory of all bodies, and send answers without their length.

use std::io::{self, Read, Write};

use bytes::Bytes;
use flate2::Compression;
use flate2::read::{MultiGzDecoder, ZlibDecoder};
use flate2::write::{GzEncoder, ZlibEncoder};
use http::{HeaderMap, HeaderValue, header};

use super::budget::Held;
use crate::error::{Error, Result};
use crate::ids::quote;

/// The encoding of a packed body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Encoding {
    /// RFC 1952.
    Gzip,
    /// RFC 1950, which HTTP calls deflate.
    Deflate,
}

/// An answer shorter than this is not worth packing.
const WORTH_BYTES: usize = 1024;

/// Unpacked bytes are taken out of the budget in pieces of this size.
const PIECE: usize = 64 * 1024;

impl Encoding {
    /// Returns the encoding of a request's body.
    ///
    /// # Errors
    /// [`Error::UnsupportedMedia`] for any other encoding.
    pub(super) fn of_request(headers: &HeaderMap) -> Result<Option<Self>> {
        let mut values = headers.get_all(header::CONTENT_ENCODING).iter();
        let Some(value) = values.next() else { return Ok(None) };
        let named = value.as_bytes().trim_ascii();
        match Self::named(named) {
            _ if values.next().is_some() => {
                Err(Error::UnsupportedMedia("there must be one content-encoding, got several".into()))
            }
            Some(encoding) => Ok(Some(encoding)),
            None if named.eq_ignore_ascii_case(b"identity") => Ok(None),
            None => Err(Error::UnsupportedMedia(format!(
                "the content-encoding must be gzip or deflate, got {}",
                quote(&String::from_utf8_lossy(named))
            ))),
        }
    }

    /// Returns the encoding of a name, which may be in any case (RFC 9110, section 8.4.1).
    fn named(name: &[u8]) -> Option<Self> {
        let is = |other: &[u8]| name.eq_ignore_ascii_case(other);
        if is(b"gzip") || is(b"x-gzip") {
            Some(Self::Gzip)
        } else if is(b"deflate") {
            Some(Self::Deflate)
        } else {
            None
        }
    }

    /// Returns the encoding that the caller wants for an answer of this size.
    pub(super) fn of_answer(headers: &HeaderMap, bytes: usize) -> Option<Self> {
        if bytes < WORTH_BYTES {
            return None;
        }
        let accepted = headers.get(header::ACCEPT_ENCODING)?.to_str().ok()?;
        accepted.split(',').find_map(|choice| {
            let mut parts = choice.split(';').map(str::trim);
            let encoding = Self::named(parts.next()?.as_bytes())?;
            let is_refused = parts.any(|part| part.strip_prefix("q=").is_some_and(|q| q.parse() == Ok(0.0f32)));
            (!is_refused).then_some(encoding)
        })
    }

    /// The value of the header `content-encoding`.
    pub(super) fn header(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Self::Gzip => "gzip",
            Self::Deflate => "deflate",
        })
    }

    /// Unpacks a body of at most `limit` bytes, which count towards the budget as they appear.
    ///
    /// # Errors
    /// [`Error::Malformed`] when it is damaged, [`Error::TooLarge`], [`Error::Overloaded`].
    pub(super) fn unpack(self, packed: &[u8], limit: usize, held: &mut Held) -> Result<Bytes> {
        let mut reader: Box<dyn Read + '_> = match self {
            Self::Gzip => Box::new(MultiGzDecoder::new(packed)),
            Self::Deflate => Box::new(ZlibDecoder::new(packed)),
        };
        let mut unpacked = Vec::new();
        loop {
            let before = unpacked.len();
            let read = reader.by_ref().take(PIECE as u64).read_to_end(&mut unpacked);
            read.map_err(|_| Error::Malformed(format!("the body is not {self:?} data, or damaged")))?;
            let more = unpacked.len() - before;
            if unpacked.len() > limit {
                return Err(Error::TooLarge {
                    what: "the unpacked request body",
                    limit: limit as u64,
                    got: "more".into(),
                });
            }
            held.grow(more)?;
            if more == 0 {
                return Ok(unpacked.into());
            }
        }
    }

    /// Packs an answer.
    ///
    /// # Errors
    /// [`Error::Internal`], which memory gives no reason for.
    pub(super) fn pack(self, body: &[u8]) -> Result<Vec<u8>> {
        let pack = || -> io::Result<Vec<u8>> {
            let out = Vec::with_capacity(body.len() / 2);
            match self {
                Self::Gzip => {
                    let mut writer = GzEncoder::new(out, Compression::fast());
                    writer.write_all(body)?;
                    writer.finish()
                }
                Self::Deflate => {
                    let mut writer = ZlibEncoder::new(out, Compression::fast());
                    writer.write_all(body)?;
                    writer.finish()
                }
            }
        };
        pack().map_err(|error| Error::internal("the answer could not be packed", error))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::budget::ByteBudget;
    use super::*;

    fn unpack(encoding: Encoding, packed: &[u8], limit: usize, budget: usize) -> Result<Bytes> {
        encoding.unpack(packed, limit, &mut Arc::new(ByteBudget::new(budget)).open())
    }

    #[test]
    fn what_was_packed_comes_back() {
        let body: Vec<u8> = (0..200_000u32).map(|number| (number % 251) as u8).collect();
        for encoding in [Encoding::Gzip, Encoding::Deflate] {
            let packed = encoding.pack(&body).unwrap();
            assert!(packed.len() < body.len() / 10);
            assert_eq!(unpack(encoding, &packed, body.len(), body.len()).unwrap(), body);
            let refused = |limit, budget| unpack(encoding, &packed, limit, budget).unwrap_err();
            assert!(matches!(refused(body.len() - 1, usize::MAX), Error::TooLarge { .. }));
            assert!(matches!(refused(usize::MAX, body.len() - 1), Error::Overloaded { .. }));
            assert!(unpack(encoding, &packed[..packed.len() / 2], usize::MAX, usize::MAX).is_err());
            assert!(unpack(encoding, b"\x1f\x8bnonsense", usize::MAX, usize::MAX).is_err());
            assert_eq!(unpack(encoding, &encoding.pack(b"").unwrap(), 0, 0).unwrap(), "");
        }
    }

    #[test]
    fn an_answer_is_packed_if_the_caller_wants_it_and_it_is_worth_it() {
        let choose = |accepted: &str, bytes| {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT_ENCODING, accepted.parse().unwrap());
            Encoding::of_answer(&headers, bytes)
        };
        assert_eq!(choose("br, gzip, deflate", 5000), Some(Encoding::Gzip));
        assert_eq!(choose("deflate;q=0.5", 5000), Some(Encoding::Deflate));
        assert_eq!(choose("br, X-GZip", 5000), Some(Encoding::Gzip));
        assert_eq!(choose("gzip;q=0, identity", 5000), None);
        assert_eq!(choose("gzip", 100), None);
        assert_eq!(Encoding::of_answer(&HeaderMap::new(), 5000), None);
    }
}
