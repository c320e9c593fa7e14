//! The address at the other end of a connection, and how it is reached.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// The address at the other end of a connection.
#[derive(Debug, Clone, Copy)]
pub(super) struct Peer {
    address: SocketAddr,
    /// A proxy said so.
    is_told: bool,
}

impl Peer {
    pub(super) fn new(address: SocketAddr) -> Self {
        Self { address, is_told: false }
    }

    /// Returns the client whose connection a proxy passes on, by the word of that proxy.
    pub(super) fn told(address: SocketAddr) -> Self {
        Self { address, is_told: true }
    }

    /// Returns true if a proxy named it: such a client is not on this machine, wherever it says it is.
    pub(super) fn is_told(self) -> bool {
        self.is_told
    }

    /// Returns the address without the port; an IPv4 address mapped into IPv6 is given as IPv4.
    pub(super) fn ip(self) -> IpAddr {
        self.address.ip().to_canonical()
    }
}

/// A connection that requests come by; cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Link {
    /// Its other end.
    pub(super) peer: Peer,
    /// Set if it has TLS.
    pub(super) is_secured: bool,
    /// The name in the certificate that the other end showed, which has been verified.
    pub(super) principal: Option<Arc<str>>,
}

impl Link {
    /// Returns a connection without TLS.
    pub(super) fn plain(peer: Peer) -> Self {
        Self { peer, is_secured: false, principal: None }
    }
}
