//! The address for gRPC.

use std::net::SocketAddr;
use std::str::FromStr;

use serde::Deserialize;

use crate::ids::{InvalidName, quote};

/// The address for gRPC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum GrpcListen {
    /// This address by default: if it is taken, the server starts without gRPC.
    IfFree(SocketAddr),
    /// This address, because a setting names it.
    At(SocketAddr),
    /// The port of HTTP, shared with it.
    Same,
    /// None: gRPC is off.
    Off,
}

impl Default for GrpcListen {
    fn default() -> Self {
        Self::IfFree(SocketAddr::from(([127, 0, 0, 1], 9000)))
    }
}

impl FromStr for GrpcListen {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        match text {
            "off" => Ok(Self::Off),
            "same" => Ok(Self::Same),
            address => address.parse().map(Self::At).map_err(|_| InvalidName {
                what: "address for gRPC",
                expected: "an address as 127.0.0.1:9000, same or off",
                got: quote(text),
            }),
        }
    }
}

impl TryFrom<String> for GrpcListen {
    type Error = InvalidName;

    fn try_from(text: String) -> Result<Self, InvalidName> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_or_a_word_says_where() {
        assert_eq!("off".parse::<GrpcListen>().unwrap(), GrpcListen::Off);
        assert_eq!("same".parse::<GrpcListen>().unwrap(), GrpcListen::Same);
        assert_eq!("[::]:1".parse::<GrpcListen>().unwrap(), GrpcListen::At("[::]:1".parse().unwrap()));
        for bad in ["", "9000", "localhost:9000", "Off", "127.0.0.1"] {
            assert!(bad.parse::<GrpcListen>().is_err(), "{bad}");
        }
    }
}
