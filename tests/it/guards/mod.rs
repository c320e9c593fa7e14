//! Rules that the source code itself must keep.

mod functions;
mod layers;
mod source;
mod words;
