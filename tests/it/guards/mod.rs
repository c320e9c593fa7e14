//! Rules that the source code itself must keep.

mod deployment;
mod functions;
mod layer_kinds;
mod layers;
mod sbom;
mod source;
mod unsafe_code;
mod words;
