//! Messages compressed by gzip, inflated as they come: within the limit of a message and the memory of
//! all bodies, so that no small file that unfolds into gigabytes does any harm.

use std::io::{self, Write};

use bytes::{BufMut, BytesMut};
use flate2::write::GzDecoder;
use tonic::Status;

use super::error::too_large;
use crate::api::budget::Held;

/// A message under way of a call whose messages may be compressed.
#[derive(Debug)]
pub(super) enum Inflating {
    /// This one is not.
    Plain(Room),
    /// This one is.
    Gzip(Box<GzDecoder<Room>>),
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
    pub(super) fn new(is_compressed: bool, limit: usize) -> Self {
        let room = Room::new(limit);
        if is_compressed { Self::Gzip(Box::new(GzDecoder::new(room))) } else { Self::Plain(room) }
    }

    /// Takes a part of the message, and the memory that it unfolds into.
    ///
    /// # Errors
    /// The status for the caller: the message is no gzip, too large, or finds no memory left.
    pub(super) fn write(&mut self, part: &[u8], held: &mut Held) -> Result<(), Status> {
        let before = self.room().bytes.len();
        let written = match self {
            Self::Plain(room) => room.write_all(part),
            Self::Gzip(decoder) => decoder.write_all(part),
        };
        let room = self.room();
        held.grow(room.bytes.len() - before)?;
        written.map_err(|_| refusal(room))
    }

    /// Puts the whole message, as if it had come uncompressed, behind what is there.
    ///
    /// # Errors
    /// As [`Inflating::write`]; also when the compressed data breaks off.
    pub(super) fn finish(self, target: &mut BytesMut) -> Result<(), Status> {
        let room = match self {
            Self::Plain(room) => room,
            Self::Gzip(mut decoder) => match decoder.try_finish() {
                Ok(()) => std::mem::replace(decoder.get_mut(), Room::new(0)),
                Err(_) => return Err(refusal(decoder.get_ref())),
            },
        };
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
        }
    }
}

fn refusal(room: &Room) -> Status {
    if room.is_full {
        too_large("the inflated message", room.limit)
    } else {
        Status::invalid_argument("a compressed message cannot be inflated: expected gzip")
    }
}
