//! `weir healthcheck`: the container's own health probe, since its image holds no curl.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use crate::error::{Error, Result};

/// Asks /readyz of the server on this machine.
#[derive(Debug, Args)]
pub(super) struct HealthcheckArgs {
    /// Address the server listens on; 0.0.0.0 and [::] mean this machine
    #[arg(long, env = "WEIR_HTTP", value_name = "ADDR", default_value = "127.0.0.1:8080")]
    http: SocketAddr,
    /// Seconds to wait for each step
    #[arg(long, value_name = "S", default_value_t = 2.0, value_parser = parse_seconds)]
    timeout_seconds: f64,
}

pub(super) fn parse_seconds(text: &str) -> std::result::Result<f64, String> {
    let seconds: f64 = text.parse().map_err(|_| "expected a number".to_owned())?;
    if seconds > 0.0 && seconds <= 3600.0 { Ok(seconds) } else { Err("expected more than 0 and at most 3600".into()) }
}

pub(super) fn run(args: &HealthcheckArgs) -> Result<ExitCode> {
    let address = reachable(args.http);
    let unhealthy = |problem: String| Error::Config { setting: format!("server at {address}"), problem };
    let status =
        ask(address, Duration::from_secs_f64(args.timeout_seconds)).map_err(|error| unhealthy(error.to_string()));
    match status {
        Ok(200) => {
            super::print("ready\n")?;
            Ok(ExitCode::SUCCESS)
        }
        Ok(status) => {
            super::print(&format!("not ready: /readyz answered {status}\n"))?;
            Ok(ExitCode::FAILURE)
        }
        Err(error) => {
            super::print(&format!("not ready: {error}\n"))?;
            Ok(ExitCode::FAILURE)
        }
    }
}

/// A server bound to every address is reached on the loopback.
fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}

/// The status that `GET /readyz` gives.
fn ask(address: SocketAddr, timeout: Duration) -> std::io::Result<u16> {
    let mut stream = TcpStream::connect_timeout(&address, timeout)?;
    stream.set_read_timeout(Some(timeout))?;
    stream.set_write_timeout(Some(timeout))?;
    stream.write_all(format!("GET /readyz HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n").as_bytes())?;
    // "HTTP/1.1 200"
    let mut head = [0; 12];
    stream.read_exact(&mut head)?;
    let status = std::str::from_utf8(&head)
        .ok()
        .and_then(|head| head.strip_prefix("HTTP/1.1 "))
        .and_then(|status| status.parse().ok());
    status.ok_or_else(|| std::io::Error::other("the answer is not HTTP"))
}
