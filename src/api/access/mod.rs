//! Access: who a caller is and what they may do. HTTP and gRPC both ask here, each time naming the
//! action, so that there is one table of rules for all protocols.
//!
//! A server with a file of keys asks for a key before it routes a request, and reads what the request needs
//! from [`Rule`]. One without tells callers apart by their address. No request header is logged, so nothing
//! here needs tower-http's `SensitiveHeadersLayer`.

mod caller;
mod issuers;
mod limits;
mod proxies;
mod ring;
mod rules;
mod slots;
mod who;

use std::sync::Arc;

use http::HeaderMap;

pub(super) use caller::Caller;
pub use ring::KeyRing;
pub(super) use rules::Rule;
pub(super) use slots::Slot;

use caller::{Page, for_model};
use limits::Limits;
use proxies::Proxies;
use rules::Model;

use super::peer::{Link, Peer};
use crate::config::{Callers, HttpConfig};
use crate::error::{Error, Result};
use crate::ids::printable;
use crate::keys::{Key, Scope, permits};

/// An action that is not open to everybody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    /// Change the versions that serve or the aliases that point to them.
    ChangeModels,
    /// Read the trail of such changes.
    ReadAudit,
    /// See training runs.
    ReadRuns,
    /// Change what is traced or logged.
    ChangeSettings,
    /// Say that an alarm is known.
    AcknowledgeAlarms,
    /// Say what was right about a prediction.
    SendFeedback,
    /// See what is kept about a prediction, or erase it.
    UsePredictions,
    /// See captured inputs, and choose among them.
    UseInputs,
    /// Register shared memory of this machine, list it, or name it in a request.
    UseSharedMemory,
}

/// The rules of this server; cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Access {
    admin: Callers,
    feedback: Callers,
    /// The scopes of callers without a key, where there are keys.
    anonymous: Arc<[Scope]>,
    keys: Option<Arc<KeyRing>>,
    limits: Arc<Limits>,
    proxies: Proxies,
}

/// A request that may go on.
#[derive(Debug, Default)]
pub(super) struct Admitted {
    /// The key of the caller.
    pub(super) key: Option<Arc<Key>>,
    /// The request's place among those of the caller that are under way, where these are limited.
    pub(super) slot: Option<Slot>,
}

impl Access {
    pub(super) fn new(http: &HttpConfig, keys: Option<Arc<KeyRing>>) -> Self {
        Self {
            admin: http.admin,
            feedback: http.feedback,
            anonymous: http.anonymous.clone().into(),
            keys,
            limits: Arc::new(Limits::new(http.rate, http.caller_concurrency)),
            proxies: Proxies::new(&http.trusted_proxies),
        }
    }

    /// Returns the client behind a connection: its other end, or whom a trusted proxy there names.
    pub(super) fn client(&self, peer: Option<Peer>, headers: &HeaderMap) -> Option<Peer> {
        peer.map(|peer| self.proxies.client(peer, headers))
    }

    /// Admits a request by its head. Its key is the one that it shows, or else the one that names the holder of the client
    /// certificate. Without a file of keys everybody is admitted as far as the limits of callers allow, and
    /// [`Self::permit`] decides; without limits either, no rule is looked up.
    ///
    /// # Errors
    /// [`Error::Unauthenticated`] when a key is needed and none that is valid is shown; [`Error::Forbidden`] when
    /// the key is for something else; [`Error::Malformed`] for more than one key; [`Error::RateLimited`];
    /// [`Error::TooManyAtOnce`].
    pub(super) fn admit<'a>(
        &self,
        rule: impl FnOnce() -> Rule<'a>,
        headers: &HeaderMap,
        client: Option<Peer>,
        link: Option<&Link>,
    ) -> Result<Admitted> {
        if self.keys.is_none() && !self.limits.is_for_everybody() {
            return Ok(Admitted::default());
        }
        // What needs no scope has no limit either: an orchestrator that asks for health is no caller.
        let Rule { scope: Some(scope), model } = rule() else { return Ok(Admitted::default()) };
        let principal = link.and_then(|link| link.principal.as_deref());
        let key = match &self.keys {
            Some(ring) => shown(ring, principal, headers).and_then(|key| self.known(key, principal, scope, model)),
            None => Ok(None),
        };
        // Whoever is refused takes from the bucket of the address.
        let known = key.as_ref().ok().and_then(|key| key.as_deref());
        let slot = self.limits.take(known, client)?;
        key.map(|key| Admitted { key, slot })
    }

    /// Returns the key of a request, if it is good for a scope and a model; `None` if there is none, and needs to be none.
    fn known(
        &self,
        key: Option<Arc<Key>>,
        principal: Option<&str>,
        scope: Scope,
        model: Model<'_>,
    ) -> Result<Option<Arc<Key>>> {
        let Some(key) = key else {
            if permits(&self.anonymous, scope) {
                return Ok(None);
            }
            return Err(unknown(principal, scope));
        };
        if !permits(&key.scopes, scope) {
            let (called, has) = (key.called(), key.scopes.iter().map(|scope| scope.name()).collect::<Vec<_>>());
            let has = has.join(", ");
            return Err(Error::Forbidden(format!("{called} has the scope {has}; this needs {scope}")));
        }
        match model {
            Model::Named(model) => for_model(&key, model, scope)?,
            // The other scopes are about no model.
            Model::None if key.models.is_some() && matches!(scope, Scope::Predict | Scope::Read) => {
                let called = key.called();
                return Err(Error::Forbidden(format!(
                    "{called} is for some models only, and the path names none; ask /models/{{model}}/predict"
                )));
            }
            Model::None | Model::InMessage => {}
        }
        Ok(Some(key))
    }

    /// Permits an action to a caller: to one with a key by its scopes, to others by their address.
    ///
    /// # Errors
    /// [`Error::Forbidden`] with the reason and the setting that decides.
    pub(super) fn permit(&self, caller: &Caller, action: Action) -> Result<()> {
        let (callers, what, setting, scope) = match action {
            Action::ChangeModels
            | Action::ReadAudit
            | Action::ChangeSettings
            | Action::AcknowledgeAlarms
            | Action::UseSharedMemory => (self.admin, "the admin API", "--admin", Scope::Admin),
            Action::ReadRuns => (self.admin, "the list of training runs", "--admin", Scope::Admin),
            Action::UseInputs => (self.admin, "captured inputs", "--admin", Scope::Admin),
            Action::SendFeedback => (self.feedback, "feedback", "--feedback", Scope::Feedback),
            Action::UsePredictions => (self.feedback, "the record of predictions", "--feedback", Scope::Feedback),
        };
        match &caller.key {
            Some(key) if callers != Callers::Off => {
                let refused = || Error::Forbidden(format!("{} lacks the scope {scope}", key.called()));
                if permits(&key.scopes, scope) { Ok(()) } else { Err(refused()) }
            }
            _ => permit(callers, what, setting, caller),
        }
    }
}

/// Returns the key that a request shows, or else the one that names the holder of the client certificate.
///
/// # Errors
/// [`Error::Forbidden`] for the page of another site: a browser shows its certificate for any page, as it never does
/// with a key. Otherwise as [`KeyRing::shown`].
fn shown(ring: &KeyRing, principal: Option<&str>, headers: &HeaderMap) -> Result<Option<Arc<Key>>> {
    let shown = ring.shown(headers)?;
    let (None, Some(principal)) = (&shown, principal) else { return Ok(shown) };
    let named = ring.named(principal)?;
    if named.is_some() && Page::of(headers) == Page::Foreign {
        return Err(Error::Forbidden("a client certificate does not stand for the pages of other sites".into()));
    }
    Ok(named)
}

/// Returns the error for a caller without a key.
fn unknown(principal: Option<&str>, scope: Scope) -> Error {
    let needed = "this server asks for a key: send \"Authorization: Bearer KEY\" or \"x-api-key: KEY\"";
    let also = match principal {
        // The whole of it, since it goes into the file of keys.
        Some(principal) => format!("; no key names the client certificate of {}", printable(principal, 512)),
        None => String::new(),
    };
    Error::Unauthenticated(format!("{needed} with the scope {scope}{also}"))
}

fn permit(callers: Callers, what: &str, setting: &str, caller: &Caller) -> Result<()> {
    let forbidden = |reason: &str| Err(Error::Forbidden(format!("{what} {reason}")));
    match callers {
        Callers::Off => {
            return forbidden(&format!("is switched off; the setting {setting} says who may use it"));
        }
        Callers::Loopback if !caller.is_local() => {
            return forbidden(&format!(
                "is taken from callers on the server's own machine only; the setting {setting} says who may use it"
            ));
        }
        Callers::Loopback | Callers::All => {}
    }
    match (caller.page, callers) {
        (Page::None | Page::Local, _) | (Page::Named, Callers::All) => Ok(()),
        (Page::Named | Page::Foreign, _) => forbidden("takes no requests from the pages of other sites"),
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, header};

    use super::*;

    fn is_permitted(admin: Callers, peer: Option<&str>, host: &str, origin: Option<&str>) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, host.parse().unwrap());
        if let Some(origin) = origin {
            headers.insert(header::ORIGIN, origin.parse().unwrap());
        }
        is_permitted_with(admin, peer, &headers)
    }

    fn is_permitted_with(admin: Callers, peer: Option<&str>, headers: &HeaderMap) -> bool {
        let peer = peer.map(|address| Peer::new(address.parse().unwrap()));
        let access = Access {
            admin,
            feedback: Callers::Off,
            anonymous: [].into(),
            keys: None,
            limits: Arc::new(Limits::new(None, None)),
            proxies: Proxies::default(),
        };
        let permitted = access.permit(&Caller::new(peer, None, headers), Action::ChangeModels);
        assert!(permitted.is_ok() || matches!(permitted, Err(Error::Forbidden(_))));
        permitted.is_ok()
    }

    #[test]
    fn the_setting_says_which_addresses_may() {
        for (peer, loopback) in [
            (None, true),
            (Some("127.0.0.1:5"), true),
            (Some("[::1]:5"), true),
            (Some("[::ffff:127.0.0.1]:5"), true),
            (Some("192.0.2.1:5"), false),
            (Some("[::ffff:192.0.2.1]:5"), false),
        ] {
            assert_eq!(is_permitted(Callers::Loopback, peer, "x", None), loopback, "{peer:?}");
            assert!(is_permitted(Callers::All, peer, "x", None), "{peer:?}");
            assert!(!is_permitted(Callers::Off, peer, "x", None), "{peer:?}");
        }
    }

    #[test]
    fn pages_of_other_sites_are_told_apart() {
        let judge = |origin: Option<&str>, host: &str, admin| is_permitted(admin, None, host, origin);
        assert!(judge(None, "127.0.0.1:8080", Callers::Loopback));
        assert!(judge(Some("http://localhost:8080"), "localhost:8080", Callers::Loopback));
        assert!(judge(Some("http://[::1]:8080"), "[::1]:8080", Callers::Loopback));
        assert!(judge(Some("https://weir.example"), "weir.example", Callers::All));
        for origin in ["http://evil.example", "null", "http://127.0.0.1:1"] {
            assert!(!judge(Some(origin), "127.0.0.1:8080", Callers::Loopback), "{origin}");
            assert!(!judge(Some(origin), "127.0.0.1:8080", Callers::All), "{origin}");
        }
        assert!(!judge(Some("http://evil.example:8080"), "evil.example:8080", Callers::Loopback), "rebound");
    }

    #[test]
    fn browsers_that_name_no_origin_are_told_apart_by_the_site() {
        let judge = |named: &[(&'static str, &str)], admin| {
            let mut headers = HeaderMap::new();
            for (name, value) in named {
                headers.append(*name, value.parse().unwrap());
            }
            is_permitted_with(admin, Some("127.0.0.1:5"), &headers)
        };
        let asked = |host, site| [("host", host), ("sec-fetch-site", site)];
        for site in ["same-origin", "none"] {
            assert!(judge(&asked("localhost:8080", site), Callers::Loopback), "{site}");
            assert!(!judge(&asked("evil.example:8080", site), Callers::Loopback), "{site}: rebound");
            assert!(judge(&asked("weir.example", site), Callers::All), "{site}");
        }
        for site in ["cross-site", "same-site", ""] {
            assert!(!judge(&asked("localhost:8080", site), Callers::Loopback), "{site}");
            assert!(!judge(&asked("localhost:8080", site), Callers::All), "{site}");
        }
        let own = ("origin", "http://localhost:8080");
        assert!(judge(&[("host", "localhost:8080"), own], Callers::Loopback));
        for forwarded in ["x-forwarded-for", "forwarded"] {
            assert!(!judge(&[(forwarded, "for=127.0.0.1")], Callers::Loopback), "a proxy on this machine");
            assert!(judge(&[(forwarded, "for=127.0.0.1")], Callers::All));
        }
        for twice in [own, ("host", "localhost:8080"), ("sec-fetch-site", "none")] {
            let named = [("host", "localhost:8080"), own, ("sec-fetch-site", "none"), twice];
            assert!(!judge(&named, Callers::All), "{twice:?}");
        }
    }
}
