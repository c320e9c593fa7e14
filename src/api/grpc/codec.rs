//! Protocol buffers in and out. Unlike tonic's own codec this one counts the fields of a message
//! before anything is allocated for them, and blames the caller for what cannot be read.

use std::marker::PhantomData;

use bytes::Buf;
use prost::Message;
use tonic::Status;
use tonic::codec::{DecodeBuf, EncodeBuf};

use super::fields;

/// Encodes `Out` and decodes `In`.
#[derive(Debug, Clone)]
pub(super) struct Codec<Out, In>(PhantomData<(Out, In)>);

/// Writes messages.
#[derive(Debug)]
pub(super) struct Encoder<M>(PhantomData<M>);

/// Reads messages.
#[derive(Debug)]
pub(super) struct Decoder<M>(PhantomData<M>);

impl<Out, In> Default for Codec<Out, In> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<Out: Message + 'static, In: Message + Default + 'static> tonic::codec::Codec for Codec<Out, In> {
    type Encode = Out;
    type Decode = In;
    type Encoder = Encoder<Out>;
    type Decoder = Decoder<In>;

    fn encoder(&mut self) -> Encoder<Out> {
        Encoder(PhantomData)
    }

    fn decoder(&mut self) -> Decoder<In> {
        Decoder(PhantomData)
    }
}

impl<M: Message> tonic::codec::Encoder for Encoder<M> {
    type Item = M;
    type Error = Status;

    fn encode(&mut self, message: M, target: &mut EncodeBuf<'_>) -> Result<(), Status> {
        message.encode(target).map_err(|_| Status::internal("the answer could not be written"))
    }
}

impl<M: Message + Default + 'static> tonic::codec::Decoder for Decoder<M> {
    type Item = M;
    type Error = Status;

    fn decode(&mut self, source: &mut DecodeBuf<'_>) -> Result<Option<M>, Status> {
        if !fields::are_few::<M>(source.chunk()) {
            return Err(Status::invalid_argument(format!(
                "the message has too many fields: the limit is {}; raw bytes hold any number of elements in one",
                fields::MAX_FIELDS
            )));
        }
        let message = M::decode(source);
        message.map(Some).map_err(|error| Status::invalid_argument(format!("the message cannot be read: {error}")))
    }
}
