//! Version folders: what is loaded from them, and what is refused.

mod external;
mod links;
mod mutations;
mod places;
mod signed;
mod state_files;
mod triton_repository;
mod versions;
