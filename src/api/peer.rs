//! The address at the other end of a connection.

use std::net::{IpAddr, SocketAddr};

/// The address at the other end of a connection.
#[derive(Debug, Clone, Copy)]
pub(super) struct Peer(SocketAddr);

impl Peer {
    pub(super) fn new(address: SocketAddr) -> Self {
        Self(address)
    }

    /// Returns the address without the port; an IPv4 address mapped into IPv6 is given as IPv4.
    pub(super) fn ip(self) -> IpAddr {
        self.0.ip().to_canonical()
    }
}
