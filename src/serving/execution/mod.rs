//! Running a graph: sessions, inline and queued requests, the response cache, and what is measured of them.

pub(crate) mod cache;
pub(crate) mod inline;
pub(crate) mod request;
pub(crate) mod sessions;
pub(crate) mod statistics;
pub(crate) mod tuning;
pub(crate) mod work;
