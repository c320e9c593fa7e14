//! Version folders: what is loaded from them, and what is refused.

mod triton_repository;
mod versions;
