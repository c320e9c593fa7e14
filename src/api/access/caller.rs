//! The caller, as far as access depends on it.

use std::sync::Arc;

use http::{HeaderMap, header};

use crate::api::peer::Peer;
use crate::error::{Error, Result};
use crate::ids::quote;
use crate::keys::Key;

/// The party at the other end of a request.
#[derive(Debug, Clone)]
pub(in crate::api) struct Caller {
    /// The key that the request shows.
    pub(super) key: Option<Arc<Key>>,
    /// On this machine, or in this process.
    pub(super) is_local: bool,
    pub(super) page: Page,
}

/// The web page that made a browser send the request. A browser on this machine sends what any page tells
/// it to, and says which page that is.
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
        Self { key, is_local: peer.is_none_or(|peer| peer.ip().is_loopback()), page: Page::of(headers) }
    }

    /// Permits a request for a model, which the message names and not the path.
    ///
    /// # Errors
    /// [`Error::Forbidden`] when the key is for other models.
    pub(in crate::api) fn may_ask(&self, model: &str) -> Result<()> {
        self.key.as_ref().map_or(Ok(()), |key| for_model(key, model))
    }
}

impl Page {
    fn of(headers: &HeaderMap) -> Self {
        let Some(origin) = headers.get(header::ORIGIN) else { return Self::None };
        let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
        let authority = origin.to_str().ok().and_then(|origin| Some(origin.split_once("://")?.1));
        let name = host.map(|host| host.rsplit_once(':').map_or(host, |(name, _)| name)).unwrap_or_default();
        if authority.is_none() || authority != host {
            Self::Foreign
        } else if matches!(name, "localhost" | "127.0.0.1" | "[::1]") {
            Self::Local
        } else {
            Self::Named
        }
    }
}

/// Permits a request for a model to the holder of a key.
pub(super) fn for_model(key: &Key, model: &str) -> Result<()> {
    let refused = || Error::Forbidden(format!("the key {} is not for the model {}", quote(&key.name), quote(model)));
    if key.is_for(model) { Ok(()) } else { Err(refused()) }
}
