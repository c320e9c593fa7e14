//! `weir healthcheck`: the container's own health probe, since its image holds no curl.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use rustls::{ClientConnection, StreamOwned};

use super::trust;
use crate::error::{Error, Result};

/// Asks /readyz of the server on this machine.
#[derive(Debug, Args)]
pub(super) struct HealthcheckArgs {
    /// Address the server listens on; 0.0.0.0 and [::] mean this machine
    #[arg(long, env = "WEIR_HTTP", value_name = "ADDR", default_value = "127.0.0.1:8080")]
    http: SocketAddr,
    /// Address of the server's plain port for health and metrics, which is asked instead if there is one
    #[arg(long, env = "WEIR_OPS", value_name = "ADDR")]
    ops: Option<SocketAddr>,
    /// Speak TLS, whoever signed the certificate; follows from WEIR_TLS_CERT and WEIR_TLS_SELF_SIGNED where they are set
    #[arg(long)]
    tls: bool,
    /// Seconds to wait for each step
    #[arg(long, value_name = "S", default_value_t = 2.0, value_parser = parse_seconds)]
    timeout_seconds: f64,
}

pub(super) fn parse_seconds(text: &str) -> std::result::Result<f64, String> {
    let seconds: f64 = text.parse().map_err(|_| "expected a number".to_owned())?;
    if seconds > 0.0 && seconds <= 3600.0 { Ok(seconds) } else { Err("expected more than 0 and at most 3600".into()) }
}

pub(super) fn run(args: &HealthcheckArgs) -> Result<ExitCode> {
    let address = reachable(args.ops.unwrap_or(args.http));
    let speaks_tls = args.ops.is_none() && (args.tls || serves_tls());
    let unhealthy = |problem: String| Error::Config { setting: format!("server at {address}"), problem };
    let timeout = Duration::from_secs_f64(args.timeout_seconds);
    let status = connect(address, timeout).and_then(|stream| match speaks_tls {
        true => ask(&mut secure(stream, address)?, address),
        false => ask(&mut { stream }, address),
    });
    let status = status.map_err(|error| unhealthy(error.to_string()));
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

/// Returns true if the environment says that the server speaks TLS.
fn serves_tls() -> bool {
    std::env::var_os("WEIR_TLS_CERT").is_some()
        || std::env::var("WEIR_TLS_SELF_SIGNED").is_ok_and(|value| value == "true")
}

fn connect(address: SocketAddr, timeout: Duration) -> std::io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&address, timeout)?;
    stream.set_read_timeout(Some(timeout))?;
    stream.set_write_timeout(Some(timeout))?;
    Ok(stream)
}

fn secure(stream: TcpStream, address: SocketAddr) -> std::io::Result<StreamOwned<ClientConnection, TcpStream>> {
    let config = trust::anybody().map_err(std::io::Error::other)?;
    let connection = ClientConnection::new(config.into(), address.ip().into()).map_err(std::io::Error::other)?;
    Ok(StreamOwned::new(connection, stream))
}

/// Returns the status that `GET /readyz` gives.
fn ask(stream: &mut (impl Read + Write), address: SocketAddr) -> std::io::Result<u16> {
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
