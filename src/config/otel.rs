//! The settings of traces, by the names that OpenTelemetry gives them.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::Endpoint;
use crate::error::{Error, Result};

/// The environment variables whose names begin with `OTEL_`.
pub type OtelVariables = BTreeMap<String, String>;

/// Settings of traces.
#[derive(Clone, PartialEq)]
pub struct TraceSettings {
    /// Where spans are sent.
    pub endpoint: Endpoint,
    /// Headers that go with them, as for access.
    pub headers: Vec<(String, String)>,
    /// The file with the authorities that vouch for the receiver, where it is `https`, and the variable that names it.
    pub certificate: Option<(&'static str, PathBuf)>,
    /// Attributes of the process, `service.name` among them.
    pub resource: Vec<(String, String)>,
    /// Which requests are traced.
    pub sampler: Sampler,
}

impl std::fmt::Debug for TraceSettings {
    /// Leaves the headers out, which may hold secrets.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (address, sampler) = (&self.endpoint.address, &self.sampler);
        f.debug_struct("TraceSettings").field("address", address).field("sampler", sampler).finish()
    }
}

/// The choice of requests.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sampler {
    /// Do as the caller does, where it says whether it records the trace.
    pub follows_parent: bool,
    /// The share of the other requests, 0 to 1.
    pub share: f64,
}

const SAMPLER: &str = "OTEL_TRACES_SAMPLER";
const PROTOCOLS: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"];

const CERTIFICATES: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE", "OTEL_EXPORTER_OTLP_CERTIFICATE"];

impl TraceSettings {
    /// Reads the settings; `None` unless an address is named and traces are not switched off.
    ///
    /// # Errors
    /// [`Error::Config`] naming the variable.
    pub fn read(variables: &OtelVariables) -> Result<Option<Self>> {
        // As the specification wants it, an empty variable is none.
        let get = |name: &str| variables.get(name).map(|value| value.trim()).filter(|value| !value.is_empty());
        let is_off = get("OTEL_SDK_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true"));
        if is_off || get("OTEL_TRACES_EXPORTER") == Some("none") {
            return Ok(None);
        }
        let (whole, base) = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT");
        let endpoint = match (get(whole), get(base)) {
            (Some(url), _) => Endpoint::parse(whole, url)?,
            (None, Some(url)) => Endpoint::parse(base, &format!("{}/v1/traces", url.trim_end_matches('/')))?,
            (None, None) => return Ok(None),
        };
        if let Some((name, protocol)) = PROTOCOLS.iter().find_map(|name| Some((name, get(name)?)))
            && protocol != "http/protobuf"
        {
            return Err(refuse(name, format!("only http/protobuf is spoken, got {protocol:?}")));
        }
        let mut resource = pairs("OTEL_RESOURCE_ATTRIBUTES", get("OTEL_RESOURCE_ATTRIBUTES"))?;
        if let Some(name) = get("OTEL_SERVICE_NAME") {
            resource.retain(|(key, _)| key != "service.name");
            resource.push(("service.name".into(), name.into()));
        }
        if !resource.iter().any(|(key, _)| key == "service.name") {
            resource.push(("service.name".into(), "weir".into()));
        }
        resource.push(("service.version".into(), env!("CARGO_PKG_VERSION").into()));
        let header_names = ["OTEL_EXPORTER_OTLP_TRACES_HEADERS", "OTEL_EXPORTER_OTLP_HEADERS"];
        let headers = header_names.iter().find_map(|name| Some((name, get(name)?)));
        let headers = headers.map(|(name, value)| pairs(name, Some(value))).transpose()?.unwrap_or_default();
        let certificate = CERTIFICATES.iter().find_map(|name| Some((*name, PathBuf::from(get(name)?))));
        Ok(Some(Self {
            endpoint,
            headers,
            certificate,
            resource,
            sampler: sampler(get(SAMPLER), get("OTEL_TRACES_SAMPLER_ARG"))?,
        }))
    }
}

fn refuse(setting: &str, problem: String) -> Error {
    Error::Config { setting: setting.into(), problem }
}

fn sampler(name: Option<&str>, argument: Option<&str>) -> Result<Sampler> {
    let name = name.unwrap_or("parentbased_always_on");
    let (follows_parent, own) = match name.strip_prefix("parentbased_") {
        Some(own) => (true, own),
        None => (false, name),
    };
    let share = match own {
        "always_on" => 1.0,
        "always_off" => 0.0,
        "traceidratio" => {
            let share = argument.unwrap_or("1").parse().ok().filter(|share| (0.0..=1.0).contains(share));
            share.ok_or_else(|| refuse("OTEL_TRACES_SAMPLER_ARG", "expected a share from 0 to 1".into()))?
        }
        _ => {
            let known = "always_on, always_off or traceidratio, each also behind parentbased_";
            return Err(refuse(SAMPLER, format!("expected {known}, got {name:?}")));
        }
    };
    Ok(Sampler { follows_parent, share })
}

/// Reads `key=value,key=value`, whose values are percent-encoded.
fn pairs(setting: &str, text: Option<&str>) -> Result<Vec<(String, String)>> {
    let text = text.unwrap_or_default();
    let pair = |pair: &str| {
        let (key, value) = pair.split_once('=')?;
        let key = key.trim();
        Some((key.to_owned(), decoded(value.trim())?)).filter(|(key, _)| !key.is_empty())
    };
    let members = text.split(',').filter(|member| !member.trim().is_empty());
    // The values may be secrets.
    members.map(|member| pair(member).ok_or_else(|| refuse(setting, "expected key=value,key=value".into()))).collect()
}

fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, others)) = rest.split_first() {
        rest = others;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let (digits, others) = rest.split_at_checked(2)?;
        bytes.push(u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?);
        rest = others;
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<Option<TraceSettings>> {
        TraceSettings::read(&variables.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect())
    }

    const BASE: (&str, &str) = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318/");

    #[test]
    fn traces_are_off_until_an_address_is_named() {
        assert_eq!(read(&[]).unwrap(), None);
        assert_eq!(read(&[("OTEL_SERVICE_NAME", "x"), ("OTEL_EXPORTER_OTLP_ENDPOINT", " ")]).unwrap(), None);
        assert_eq!(read(&[BASE, ("OTEL_SDK_DISABLED", "TRUE")]).unwrap(), None);
        assert_eq!(read(&[BASE, ("OTEL_TRACES_EXPORTER", "none")]).unwrap(), None);
        let on = read(&[BASE]).unwrap().unwrap();
        assert_eq!((on.endpoint.address.as_str(), on.endpoint.path.as_str()), ("collector:4318", "/v1/traces"));
        assert_eq!(on.sampler, Sampler { follows_parent: true, share: 1.0 });
        assert_eq!(on.resource[0], ("service.name".into(), "weir".into()));
        let secured = [("OTEL_EXPORTER_OTLP_ENDPOINT", "https://c"), ("OTEL_EXPORTER_OTLP_CERTIFICATE", "/ca.pem")];
        let secured = read(&secured).unwrap().unwrap();
        assert_eq!(
            (secured.endpoint.secured.as_deref(), secured.certificate),
            (Some("c"), Some(("OTEL_EXPORTER_OTLP_CERTIFICATE", "/ca.pem".into())))
        );
        let whole = read(&[BASE, ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://c:1/t")]).unwrap().unwrap();
        assert_eq!(whole.endpoint.path, "/t");
    }

    #[test]
    fn names_attributes_headers_and_samplers_are_read_and_mistakes_named() {
        let on = read(&[
            BASE,
            ("OTEL_SERVICE_NAME", "digits"),
            ("OTEL_RESOURCE_ATTRIBUTES", "service.name=other, zone=a%20b%2Cc"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20x"),
            ("OTEL_TRACES_SAMPLER", "traceidratio"),
            ("OTEL_TRACES_SAMPLER_ARG", "0.25"),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"),
        ]);
        let on = on.unwrap().unwrap();
        let attribute = |key: &str| on.resource.iter().filter(|(name, _)| name == key).count();
        assert_eq!((attribute("service.name"), attribute("service.version")), (1, 1));
        assert!(
            on.resource.contains(&("zone".into(), "a b,c".into()))
                && on.resource.contains(&("service.name".into(), "digits".into()))
        );
        assert_eq!(on.headers, [("authorization".to_owned(), "Bearer x".to_owned())]);
        assert_eq!(on.sampler, Sampler { follows_parent: false, share: 0.25 });
        for bad in [
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
            ("OTEL_TRACES_SAMPLER", "sometimes"),
            ("OTEL_RESOURCE_ATTRIBUTES", "zone"),
            ("OTEL_RESOURCE_ATTRIBUTES", "zone=%4"),
            ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "grpc://c"),
        ] {
            let problem = read(&[BASE, bad]).unwrap_err().to_string();
            assert!(problem.contains(bad.0), "{problem}");
        }
        let ratio = [BASE, ("OTEL_TRACES_SAMPLER", "parentbased_traceidratio"), ("OTEL_TRACES_SAMPLER_ARG", "2")];
        assert!(read(&ratio).is_err());
    }
}
