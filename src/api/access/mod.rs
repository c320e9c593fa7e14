//! Access: who a caller is and what they may do. HTTP and gRPC both ask here, each time naming the
//! action, so that there is one table of rules for all protocols.
//!
//! Today's callers are told apart by their address alone. No request header is logged, so nothing here
//! needs tower-http's `SensitiveHeadersLayer`.

mod caller;

pub(super) use caller::Caller;

use caller::Page;

use crate::config::Callers;
use crate::error::{Error, Result};

/// An action that is not open to everybody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    /// Change the versions that serve or the aliases that point to them.
    ChangeModels,
    /// Read the trail of such changes.
    ReadAudit,
    /// Change what is traced or logged.
    ChangeSettings,
    /// Say that an alarm is known.
    AcknowledgeAlarms,
    /// Say what was right about a prediction.
    SendFeedback,
    /// See what is kept about a prediction, or erase it.
    UsePredictions,
    /// Register shared memory of this machine, list it, or name it in a request.
    UseSharedMemory,
}

/// The rules of this server.
#[derive(Debug, Clone, Copy)]
pub(super) struct Access {
    admin: Callers,
    feedback: Callers,
}

impl Access {
    pub(super) fn new(admin: Callers, feedback: Callers) -> Self {
        Self { admin, feedback }
    }

    /// Permits an action to a caller.
    ///
    /// # Errors
    /// [`Error::Forbidden`] with the reason and the setting that decides.
    pub(super) fn permit(self, caller: Caller, action: Action) -> Result<()> {
        match action {
            Action::ChangeModels
            | Action::ReadAudit
            | Action::ChangeSettings
            | Action::AcknowledgeAlarms
            | Action::UseSharedMemory => permit(self.admin, "the admin API", "--admin", caller),
            Action::SendFeedback => permit(self.feedback, "feedback", "--feedback", caller),
            Action::UsePredictions => permit(self.feedback, "the record of predictions", "--feedback", caller),
        }
    }
}

fn permit(callers: Callers, what: &str, setting: &str, caller: Caller) -> Result<()> {
    let forbidden = |reason: &str| Err(Error::Forbidden(format!("{what} {reason}")));
    match callers {
        Callers::Off => {
            return forbidden(&format!("is switched off; the setting {setting} says who may use it"));
        }
        Callers::Loopback if !caller.is_local => {
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
    use crate::api::peer::Peer;

    fn is_permitted(admin: Callers, peer: Option<&str>, host: &str, origin: Option<&str>) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, host.parse().unwrap());
        if let Some(origin) = origin {
            headers.insert(header::ORIGIN, origin.parse().unwrap());
        }
        let peer = peer.map(|address| Peer::new(address.parse().unwrap()));
        let permitted = Access::new(admin, Callers::Off).permit(Caller::new(peer, &headers), Action::ChangeModels);
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
}
