//! Who may use the admin API, until there are keys: by the address of the caller.

use axum::extract::FromRequestParts;
use http::request::Parts;
use http::{HeaderMap, header};

use crate::api::error::ApiError;
use crate::api::server::Peer;
use crate::api::state::ApiState;
use crate::config::Admin;
use crate::error::Error;

/// Proof that the caller may.
#[derive(Debug)]
pub(super) struct Administrator;

impl FromRequestParts<ApiState> for Administrator {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &ApiState) -> Result<Self, ApiError> {
        admit_administrator(state, parts.extensions.get::<Peer>(), &parts.headers)?;
        Ok(Self)
    }
}

/// Refuses who may not use the admin API, whatever protocol carries the request.
///
/// # Errors
/// [`Error::Forbidden`].
pub(in crate::api) fn admit_administrator(
    state: &ApiState,
    peer: Option<&Peer>,
    headers: &HeaderMap,
) -> Result<(), Error> {
    let forbidden = |why: &str| Err(Error::Forbidden(why.to_owned()));
    // A caller without an address is in this process.
    let near = peer.is_none_or(|peer| peer.0.ip().to_canonical().is_loopback());
    match state.settings().admin {
        Admin::Off => {
            return forbidden("the admin API is switched off; the setting --admin says who may use it");
        }
        Admin::Loopback if !near => {
            return forbidden(
                "the admin API answers callers on the server's own machine only; the setting --admin says who may use it",
            );
        }
        Admin::Loopback | Admin::All => {}
    }
    if !is_same_origin(headers, state.settings().admin) {
        return forbidden("the admin API takes no requests from the pages of other sites");
    }
    Ok(())
}

/// A browser on this machine would send what any page tells it to; it says which page that is. A
/// page under a foreign name that was made to resolve to the loopback is foreign all the same.
fn is_same_origin(headers: &HeaderMap, admin: Admin) -> bool {
    let Some(origin) = headers.get(header::ORIGIN) else { return true };
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let authority = origin.to_str().ok().and_then(|origin| origin.split_once("://")).map(|(_, authority)| authority);
    let name = host.map(|host| host.rsplit_once(':').map_or(host, |(name, _)| name)).unwrap_or_default();
    let near = matches!(name, "localhost" | "127.0.0.1" | "[::1]");
    authority.is_some() && authority == host && (near || admin == Admin::All)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_of_other_sites_are_told_apart() {
        let judge = |origin: Option<&str>, host: &str, admin| {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, host.parse().unwrap());
            if let Some(origin) = origin {
                headers.insert(header::ORIGIN, origin.parse().unwrap());
            }
            is_same_origin(&headers, admin)
        };
        assert!(judge(None, "127.0.0.1:8080", Admin::Loopback));
        assert!(judge(Some("http://localhost:8080"), "localhost:8080", Admin::Loopback));
        assert!(judge(Some("http://[::1]:8080"), "[::1]:8080", Admin::Loopback));
        assert!(judge(Some("https://weir.example"), "weir.example", Admin::All));
        for origin in ["http://evil.example", "null", "http://127.0.0.1:1"] {
            assert!(!judge(Some(origin), "127.0.0.1:8080", Admin::Loopback), "{origin}");
        }
        assert!(!judge(Some("http://evil.example:8080"), "evil.example:8080", Admin::Loopback), "rebound");
    }
}
