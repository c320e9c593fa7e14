//! Compressed messages, inflated as they come: within the limit of a message and the memory of
//! all bodies, so that a small message that inflates to gigabytes does no harm.

use std::io::{self, Write};

use bytes::{BufMut, BytesMut};
use flate2::write::{GzDecoder, ZlibDecoder};
use tonic::Status;

use super::error::too_large;
use crate::api::budget::Held;

/// The compression that a call may use for its messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Compression {
    /// RFC 1952.
    Gzip,
    /// RFC 1950, which gRPC calls deflate, as HTTP does.
    Deflate,
}

impl Compression {
    /// The names that a call may state.
    pub(super) const NAMES: &str = "identity,gzip,deflate";

    fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Deflate => "deflate",
        }
    }
}

/// A message under way of a call whose messages may be compressed.
#[derive(Debug)]
pub(super) enum Inflating {
    /// Not compressed.
    Plain(Room),
    /// Compressed by gzip.
    Gzip(Box<GzDecoder<Room>>),
    /// Compressed by deflate, in the format of zlib.
    Deflate(Box<ZlibDecoder<Room>>),
}

/// The bytes inflated so far, within a limit.
#[derive(Debug)]
pub(super) struct Room {
    bytes: Vec<u8>,
    limit: usize,
    is_full: bool,
}

impl Room {
    fn new(limit: usize) -> Self {
        Self { bytes: Vec::new(), limit, is_full: false }
    }
}

impl Write for Room {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.len() > self.limit - self.bytes.len() {
            self.is_full = true;
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Inflating {
    /// Expects a message that inflates to no more than `limit` bytes.
    pub(super) fn new(compression: Option<Compression>, limit: usize) -> Self {
        let room = Room::new(limit);
        match compression {
            None => Self::Plain(room),
            Some(Compression::Gzip) => Self::Gzip(Box::new(GzDecoder::new(room))),
            Some(Compression::Deflate) => Self::Deflate(Box::new(ZlibDecoder::new(room))),
        }
    }

    /// Takes a part of the message, and memory for what it inflates to.
    ///
    /// # Errors
    /// The status for the caller: the message is not compressed as stated, too large, or finds no memory left.
    pub(super) fn write(&mut self, part: &[u8], held: &mut Held) -> Result<(), Status> {
        let before = self.room().bytes.len();
        let written = match self {
            Self::Plain(room) => room.write_all(part),
            Self::Gzip(decoder) => decoder.write_all(part),
            Self::Deflate(decoder) => decoder.write_all(part),
        };
        held.grow(self.room().bytes.len() - before)?;
        written.map_err(|_| self.refusal())
    }

    /// Puts the whole message, as if it had come uncompressed, behind what is there.
    ///
    /// # Errors
    /// As [`Inflating::write`]; also when the compressed data breaks off.
    pub(super) fn finish(mut self, target: &mut BytesMut) -> Result<(), Status> {
        let is_whole = match &mut self {
            Self::Plain(_) => true,
            Self::Gzip(decoder) => decoder.try_finish().is_ok(),
            // Its end is only told by the byte behind it, which it does not take.
            Self::Deflate(decoder) => matches!(decoder.write(&[0]), Ok(0)),
        };
        if !is_whole {
            return Err(self.refusal());
        }
        let room = self.room();
        let length = u32::try_from(room.bytes.len()).map_err(|_| too_large("the inflated message", room.limit))?;
        target.put_u8(0);
        target.put_u32(length);
        target.extend_from_slice(&room.bytes);
        Ok(())
    }

    fn room(&self) -> &Room {
        match self {
            Self::Plain(room) => room,
            Self::Gzip(decoder) => decoder.get_ref(),
            Self::Deflate(decoder) => decoder.get_ref(),
        }
    }

    fn refusal(&self) -> Status {
        let expected = match self {
            _ if self.room().is_full => return too_large("the inflated message", self.room().limit),
            Self::Deflate(_) => Compression::Deflate,
            Self::Plain(_) | Self::Gzip(_) => Compression::Gzip,
        };
        Status::invalid_argument(format!("a compressed message cannot be inflated: expected {}", expected.name()))
    }
}
