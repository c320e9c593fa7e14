//! The caller, as far as access depends on it.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue, header};

use super::proxies::is_forwarded;
use crate::api::peer::Peer;
use crate::error::{Error, Result};
use crate::ids::quote;
use crate::keys::{Key, Scope};

/// Says from where a browser asks: <https://www.w3.org/TR/fetch-metadata/>.
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// The party at the other end of a request.
#[derive(Debug, Clone)]
pub(in crate::api) struct Caller {
    /// The key that the request shows.
    pub(super) key: Option<Arc<Key>>,
    /// The address that the request came from; `None` for one that this process makes itself.
    pub(super) address: Option<IpAddr>,
    /// A proxy says that it passes the request on.
    is_forwarded: bool,
    pub(super) page: Page,
}

/// The web page that made a browser send the request. A browser on this machine sends what any page tells
/// it to, and says which page that is by `Origin` or `Sec-Fetch-Site`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Page {
    /// None: the caller is no browser, or the user's own action.
    None,
    /// A page of this server, asked for under a name of the machine itself.
    Local,
    /// A page of this server under another name, which anybody can make resolve to this machine.
    Named,
    /// A page of another site.
    Foreign,
}

impl Caller {
    pub(in crate::api) fn new(peer: Option<Peer>, key: Option<Arc<Key>>, headers: &HeaderMap) -> Self {
        let told = peer.is_some_and(Peer::is_told);
        Self { key, address: peer.map(Peer::ip), is_forwarded: told || is_forwarded(headers), page: Page::of(headers) }
    }

    /// Returns true if the caller is on this machine, or in this process. Behind a proxy on this machine it is not.
    pub(super) fn is_local(&self) -> bool {
        self.address.is_none_or(|address| address.is_loopback() && !self.is_forwarded)
    }

    /// Permits a request of this scope for a model, which the message names and not the path.
    ///
    /// # Errors
    /// [`Error::Forbidden`] when the key is for other models.
    pub(in crate::api) fn may_ask(&self, model: &str, scope: Scope) -> Result<()> {
        self.key.as_ref().map_or(Ok(()), |key| for_model(key, model, scope))
    }
}

/// Names the caller, as the audit trail has it.
impl fmt::Display for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.key, self.address) {
            (Some(key), _) if key.is_token => write!(f, "token {}", key.name),
            (Some(key), _) => write!(f, "key {}", key.name),
            (None, Some(address)) => address.fmt(f),
            (None, None) => f.write_str("this process"),
        }
    }
}

impl Page {
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let is_repeated = |name| headers.get_all(name).iter().nth(1).is_some();
        if is_repeated(header::ORIGIN) || is_repeated(header::HOST) || is_repeated(SEC_FETCH_SITE) {
            return Self::Foreign;
        }
        let (origin, site) = (headers.get(header::ORIGIN), headers.get(SEC_FETCH_SITE));
        if origin.is_none() && site.is_none() {
            return Self::None;
        }
        let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
        let authority = |origin: &HeaderValue| Some(origin.to_str().ok()?.split_once("://")?.1.to_owned());
        let is_own = |origin: &HeaderValue| authority(origin).is_some_and(|authority| Some(&*authority) == host);
        // "none" is an address that the user typed.
        let is_from_here = |site: &HeaderValue| matches!(site.as_bytes(), b"same-origin" | b"none");
        let name = host.map(|host| host.rsplit_once(':').map_or(host, |(name, _)| name)).unwrap_or_default();
        if !origin.is_none_or(is_own) || !site.is_none_or(is_from_here) {
            Self::Foreign
        } else if matches!(name, "localhost" | "127.0.0.1" | "[::1]") {
            Self::Local
        } else {
            Self::Named
        }
    }
}

/// Permits a request of this scope for a model to the holder of a key.
pub(super) fn for_model(key: &Key, model: &str, scope: Scope) -> Result<()> {
    let refused = || Error::Forbidden(format!("{} is not for the model {} ({scope})", key.called(), quote(model)));
    if key.is_for(model, scope) { Ok(()) } else { Err(refused()) }
}
