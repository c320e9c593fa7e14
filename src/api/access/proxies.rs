//! The address of a client behind a proxy.

use std::net::IpAddr;
use std::sync::Arc;

use crate::api::peer::Peer;
use crate::config::Network;
use http::{HeaderMap, HeaderName};

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED: HeaderName = HeaderName::from_static("forwarded");

/// The networks of proxies whose word is taken.
#[derive(Debug, Clone, Default)]
pub(super) struct Proxies(Arc<[Network]>);

impl Proxies {
    pub(super) fn new(networks: &[Network]) -> Self {
        Self(networks.into())
    }

    /// Returns the address of the client. Of a connection from a trusted proxy that is the last address in
    /// `X-Forwarded-For` that no trusted proxy has; whatever stands before it, anybody can have written.
    pub(super) fn client(&self, peer: Peer, headers: &HeaderMap) -> Peer {
        if !self.trusts(peer.ip()) {
            return peer;
        }
        let mut client = peer;
        let lines = headers.get_all(X_FORWARDED_FOR).iter().collect::<Vec<_>>();
        for line in lines.into_iter().rev() {
            for address in line.to_str().unwrap_or_default().rsplit(',') {
                // What cannot be read ends the chain: it is the word of nobody.
                let Some(address) = address_of(address.trim()) else { return client };
                client = Peer::told((address, 0).into());
                if !self.trusts(client.ip()) {
                    return client;
                }
            }
        }
        client
    }

    fn trusts(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(address))
    }
}

/// Returns true if a proxy says that it passes a request on.
pub(super) fn is_forwarded(headers: &HeaderMap) -> bool {
    headers.contains_key(X_FORWARDED_FOR) || headers.contains_key(FORWARDED)
}

/// Returns the address in an entry of the header, which some proxies write with a port.
fn address_of(text: &str) -> Option<IpAddr> {
    let bare = || text.parse::<IpAddr>().ok();
    let with_port = || text.parse::<std::net::SocketAddr>().ok().map(|address| address.ip());
    let in_brackets = || text.strip_prefix('[')?.strip_suffix(']')?.parse::<IpAddr>().ok();
    bare().or_else(with_port).or_else(in_brackets)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_address_that_is_no_proxys_is_the_clients() {
        let proxies = Proxies::new(&["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()]);
        let client = |peer: &str, lines: &[&str]| {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(X_FORWARDED_FOR, line.parse().unwrap());
            }
            let peer = Peer::new((peer.parse::<IpAddr>().unwrap(), 1).into());
            proxies.client(peer, &headers).ip().to_string()
        };
        assert_eq!(client("192.0.2.1", &["198.51.100.7"]), "192.0.2.1", "no proxy");
        assert_eq!(client("10.0.0.1", &[]), "10.0.0.1", "a proxy that says nothing");
        assert_eq!(client("10.0.0.1", &["198.51.100.7"]), "198.51.100.7");
        assert_eq!(client("::ffff:10.0.0.1", &["198.51.100.7"]), "198.51.100.7");
        assert_eq!(client("10.0.0.1", &["127.0.0.1, 198.51.100.7, 10.9.9.9"]), "198.51.100.7", "forged before it");
        assert_eq!(client("10.0.0.1", &["127.0.0.1", "198.51.100.7", "fd00::1"]), "198.51.100.7");
        assert_eq!(client("10.0.0.1", &["198.51.100.7:4711"]), "198.51.100.7");
        assert_eq!(client("10.0.0.1", &["[2001:db8::1]:80"]), "2001:db8::1");
        assert_eq!(client("10.0.0.1", &["[2001:db8::1]"]), "2001:db8::1");
        assert_eq!(client("10.0.0.1", &["198.51.100.7, unknown"]), "10.0.0.1");
        assert_eq!(client("10.0.0.1", &["10.0.0.2, 10.0.0.3"]), "10.0.0.2", "all trusted: the farthest");
    }
}
