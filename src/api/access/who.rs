//! The caller whose requests are counted.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::api::peer::Peer;
use crate::keys::Key;

/// The owner of a bucket, or of slots.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Who {
    /// The holder of the key with this digest.
    Key([u8; 32]),
    /// Everybody in a network.
    Network(IpAddr),
}

impl Who {
    /// Returns the holder of a key, or else the network at the other end; `None` in this process.
    pub(super) fn of(key: Option<&Key>, peer: Option<Peer>, is_crowded: bool) -> Option<Self> {
        match (key, peer) {
            (Some(key), _) => Some(Self::Key(key.identity())),
            (None, peer) => peer.map(|peer| Self::Network(network(peer.ip(), is_crowded))),
        }
    }
}

/// Returns the network whose members share a bucket: an address of IPv4, the 64 bits of IPv6 that a provider gives to
/// one customer; where there are too many of those, 16 bits of IPv4 and 32 of IPv6.
fn network(address: IpAddr, is_crowded: bool) -> IpAddr {
    match (address, is_crowded) {
        (IpAddr::V4(_), false) => address,
        (IpAddr::V4(address), true) => Ipv4Addr::from_bits(address.to_bits() & (!0 << 16)).into(),
        (IpAddr::V6(address), false) => Ipv6Addr::from_bits(address.to_bits() & (!0 << 64)).into(),
        (IpAddr::V6(address), true) => Ipv6Addr::from_bits(address.to_bits() & (!0 << 96)).into(),
    }
}
