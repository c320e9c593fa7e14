//! The PROXY protocol, version 2, by which a proxy that passes on bytes says whose they are.
//!
//! <https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt>. The header is asked for on connections of trusted proxies
//! and read from nobody else, so that nobody can claim an address by it.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::io::{AsyncRead, AsyncReadExt};

/// The first bytes of a header.
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// The most bytes behind the fixed part: addresses and what proxies add to them. 536 fit into every first packet.
const MAX_BYTES: u16 = 2048;

/// Reads the header of a connection. Returns the address of the client; `None` for a connection of the proxy's own, as its
/// health checks are, and for one whose addresses are of another kind.
///
/// # Errors
/// [`io::ErrorKind::InvalidData`] for anything else than a header.
pub(super) async fn read_source(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<SocketAddr>> {
    let mut fixed = [0; 16];
    stream.read_exact(&mut fixed).await?;
    let length = u16::from_be_bytes([fixed[14], fixed[15]]);
    if fixed[..12] != SIGNATURE[..] {
        return Err(wrong("expected a header of the PROXY protocol, version 2"));
    }
    if length > MAX_BYTES {
        return Err(wrong("expected at most 2048 bytes of addresses and additions in a header of the PROXY protocol"));
    }
    let mut addresses = vec![0; usize::from(length)];
    stream.read_exact(&mut addresses).await?;
    match fixed[12] {
        0x20 => Ok(None),
        0x21 => source(fixed[13] >> 4, &addresses),
        _ => Err(wrong("expected version 2 of the PROXY protocol, and a command that is known")),
    }
}

fn source(family: u8, addresses: &[u8]) -> io::Result<Option<SocketAddr>> {
    const IPV4: u8 = 1;
    const IPV6: u8 = 2;
    let short = || wrong("the addresses of the PROXY protocol break off");
    // The source stands before the destination, and the ports behind both.
    let (address, port): (IpAddr, &[u8]) = match family {
        IPV4 => {
            let (source, rest) = addresses.split_first_chunk::<4>().ok_or_else(short)?;
            (Ipv4Addr::from(*source).into(), rest.get(4..8).ok_or_else(short)?)
        }
        IPV6 => {
            let (source, rest) = addresses.split_first_chunk::<16>().ok_or_else(short)?;
            (Ipv6Addr::from(*source).into(), rest.get(16..20).ok_or_else(short)?)
        }
        _ => return Ok(None),
    };
    Ok(Some((address, u16::from_be_bytes([port[0], port[1]])).into()))
}

fn wrong(problem: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, problem)
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read(bytes: &[u8]) -> io::Result<Option<SocketAddr>> {
        read_source(&mut &bytes[..]).await
    }

    fn header(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
        [&SIGNATURE[..], &[command, family], &length, rest].concat()
    }

    #[tokio::test]
    async fn the_source_is_read_and_nothing_behind_the_header() {
        let four = [198, 51, 100, 7, 10, 0, 0, 1, 0x12, 0x67, 0, 80];
        let six = [[0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7], [0; 16]].concat();
        let ports = [0x12, 0x67, 0, 80];
        let with_more = [&four[..], &[4, 0, 2, 9, 9]].concat();
        for (bytes, expected) in [
            (header(0x21, 0x11, &four), Some("198.51.100.7:4711")),
            (header(0x21, 0x11, &with_more), Some("198.51.100.7:4711")),
            (header(0x21, 0x21, &[&six[..], &ports].concat()), Some("[2001:db8::7]:4711")),
            (header(0x20, 0x00, &[]), None),
            (header(0x20, 0x11, &four), None),
            (header(0x21, 0x00, &[]), None),
            (header(0x21, 0x31, &[0; 216]), None),
        ] {
            let followed = [&bytes[..], b"GET / HTTP/1.1"].concat();
            let mut rest = &followed[..];
            let found = read_source(&mut rest).await.unwrap();
            assert_eq!(found.map(|address| address.to_string()).as_deref(), expected);
            assert_eq!(rest, b"GET / HTTP/1.1");
        }
    }

    #[tokio::test]
    async fn anything_else_is_no_header() {
        let four = [198, 51, 100, 7, 10, 0, 0, 1, 0x12, 0x67, 0, 80];
        let good = header(0x21, 0x11, &four);
        for length in 0..good.len() {
            assert!(read(&good[..length]).await.is_err(), "{length}");
        }
        for bad in [
            b"GET / HTTP/1.1\r\nhost: x\r\n\r\n".to_vec(),
            b"PROXY TCP4 198.51.100.7 10.0.0.1 4711 80\r\n".to_vec(),
            header(0x11, 0x11, &four),
            header(0x22, 0x11, &four),
            header(0x21, 0x11, &four[..11]),
            header(0x21, 0x21, &four),
            header(0x21, 0x11, &[0; 2049]),
        ] {
            assert_eq!(read(&bad).await.unwrap_err().kind(), io::ErrorKind::InvalidData);
        }
        let long = read(&header(0x21, 0x11, &[0; 2049])).await.unwrap_err().to_string();
        assert!(long.contains(&format!("at most {MAX_BYTES} bytes")), "{long}");
    }
}
