//! Issuers of tokens as the file of keys has them: whose word is taken, and what it permits.
//!
//! ```toml
//! [[issuer]]
//! name = "corp"
//! issuer = "https://login.example.org"
//! audience = ["weir"]
//! jwks = "https://login.example.org/keys"   # or a file; left out: found by OpenID Connect Discovery
//! [[issuer.rule]]
//! claim = "groups"
//! value = "data-science"
//! scopes = ["predict"]
//! models = ["mnist-*"]
//! ```

use std::num::NonZeroU32;
use std::path::{Path, PathBuf};

use jiff::SignedDuration;
use serde::Deserialize;

use super::jwks::Algorithm;
use super::limits::{check_models, rate_of};
use super::{MAX_NAME_CHARS, Rate, Scope, refuse};
use crate::error::Result;
use crate::ids::quote;

/// The difference of clocks that is forgiven unless the file says otherwise.
const LEEWAY_SECONDS: u32 = 60;
/// The greatest difference of clocks that may be forgiven.
const MAX_LEEWAY_SECONDS: u32 = 600;

/// An issuer of tokens.
#[derive(Debug, Clone, PartialEq)]
pub struct Issuer {
    /// The name by which people know it: in the log, and before the subject in the audit trail.
    pub name: String,
    /// The claim `iss` of its tokens.
    pub issuer: String,
    /// The names of this server, of which `aud` must have one.
    pub audience: Vec<String>,
    /// The place of its public keys.
    pub jwks: Jwks,
    /// The authorities that vouch for the issuer's server, if those of the system do not.
    pub ca: Option<PathBuf>,
    /// The algorithms that its tokens may be signed by.
    pub algorithms: Vec<Algorithm>,
    /// The difference of clocks that is forgiven.
    pub leeway: SignedDuration,
    /// The rights of its tokens; those of all rules that fit add up.
    pub rules: Vec<Grant>,
}

/// The place of the public keys of an issuer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Jwks {
    /// A file.
    File(PathBuf),
    /// A URL.
    Url(String),
    /// The URL of a document that names the URL (OpenID Connect Discovery).
    Discovered(String),
}

/// Where an issuer's discovery document is, below its own URL.
const DISCOVERY_PATH: &str = "/.well-known/openid-configuration";

impl Issuer {
    /// Returns the URL of the public keys that a discovery document names.
    ///
    /// # Errors
    /// In words, when it is no such document, is another issuer's, or names an address that others could answer for.
    pub fn discovered(&self, document: &[u8]) -> std::result::Result<String, String> {
        let Discovery { issuer, jwks_uri } = serde_json::from_slice(document)
            .map_err(|error| format!("expected a discovery document with \"issuer\" and \"jwks_uri\": {error}"))?;
        if issuer != self.issuer {
            let (expected, got) = (quote(&self.issuer), quote(&issuer));
            return Err(format!("the discovery document is of the issuer {got}; expected {expected}"));
        }
        match (url(&jwks_uri), jwks_uri.starts_with("https://") || self.issuer.starts_with("http://")) {
            (true, true) => Ok(jwks_uri),
            _ => Err(format!("\"jwks_uri\" of the discovery document: expected https://…, got {}", quote(&jwks_uri))),
        }
    }
}

#[derive(Deserialize)]
struct Discovery {
    issuer: String,
    jwks_uri: String,
}

/// A rule: the rights that tokens have in which a claim has a value.
#[derive(Debug, Clone, PartialEq)]
pub struct Grant {
    /// The claim, and a value that it has or contains; `None` for all tokens.
    pub when: Option<(String, String)>,
    /// The rights.
    pub scopes: Vec<Scope>,
    /// The models that `predict` and `read` are for; `None` for all.
    pub models: Option<Vec<String>>,
    /// The claim with further models.
    pub models_claim: Option<String>,
    /// The limit of the subject's requests; `None` for that of everybody.
    pub rate: Option<Rate>,
    /// The most of the subject's requests at the same time; `None` for that of everybody.
    pub concurrency: Option<NonZeroU32>,
}

/// An issuer as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct IssuerEntry {
    name: String,
    issuer: String,
    audience: Vec<String>,
    jwks: Option<String>,
    discover: Option<bool>,
    ca: Option<PathBuf>,
    algorithms: Option<Vec<Algorithm>>,
    leeway_seconds: Option<u32>,
    #[serde(default)]
    rule: Vec<GrantEntry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct GrantEntry {
    claim: Option<String>,
    value: Option<String>,
    scopes: Vec<Scope>,
    models: Option<Vec<String>>,
    models_claim: Option<String>,
    per_second: Option<f64>,
    burst: Option<u32>,
    concurrency: Option<NonZeroU32>,
}

impl IssuerEntry {
    /// Returns the place of the public keys: the one that is written, or else what the issuer's own URL leads to.
    fn jwks(&self, folder: &Path) -> std::result::Result<Jwks, &'static str> {
        match (&self.jwks, self.discover) {
            (Some(_), Some(true)) => Err("expected \"jwks\", or \"discover = true\", which finds it, and not both"),
            (Some(jwks), _) => place(jwks, folder).ok_or(
                "jwks: expected a file, or https://…; http:// only to this machine, as others could change what it says",
            ),
            (None, Some(false)) => Err("expected \"jwks\", a file or a URL, where \"discover\" is false"),
            (None, _) if url(&self.issuer) => {
                Ok(Jwks::Discovered(format!("{}{DISCOVERY_PATH}", self.issuer.trim_end_matches('/'))))
            }
            (None, _) => Err("expected \"jwks\", a file or a URL: it can be found by itself only for an issuer with https://…"),
        }
    }

    /// Checks what is written. Files are looked for in `folder`.
    pub(super) fn read(self, folder: &Path) -> Result<Issuer> {
        let called = quote(&self.name);
        let wrong = |problem: &str| refuse(format!("issuer {called}: {problem}"));
        let chars = self.name.chars().count();
        if chars == 0 || chars > MAX_NAME_CHARS || self.name.chars().any(|c| c.is_control() || c == ':') {
            return Err(wrong(&format!(
                "expected a name of 1 to {MAX_NAME_CHARS} printable characters without a colon"
            )));
        }
        if self.issuer.is_empty() {
            return Err(wrong("issuer: expected what its tokens have as \"iss\""));
        }
        if self.audience.is_empty() || self.audience.iter().any(String::is_empty) {
            return Err(wrong("audience: expected at least one name, which its tokens have in \"aud\""));
        }
        let jwks = self.jwks(folder).map_err(wrong)?;
        let algorithms = self.algorithms.unwrap_or_else(|| Algorithm::ALL.to_vec());
        if algorithms.is_empty() {
            let names = Algorithm::ALL.map(Algorithm::name).join(", ");
            return Err(wrong(&format!("algorithms: expected at least one of {names}")));
        }
        let leeway = self.leeway_seconds.unwrap_or(LEEWAY_SECONDS);
        if leeway > MAX_LEEWAY_SECONDS {
            return Err(wrong(&format!("leeway_seconds: expected 0 to {MAX_LEEWAY_SECONDS}, got {leeway}")));
        }
        if self.rule.is_empty() {
            return Err(wrong(
                "expected at least one [[issuer.rule]] with \"scopes\": without one its tokens permit nothing",
            ));
        }
        let rules = self.rule.into_iter().enumerate();
        let rules =
            rules.map(|(index, rule)| rule.read().map_err(|problem| wrong(&format!("rule {}: {problem}", index + 1))));
        Ok(Issuer {
            rules: rules.collect::<Result<_>>()?,
            name: self.name,
            issuer: self.issuer,
            audience: self.audience,
            jwks,
            ca: self.ca.map(|ca| folder.join(ca)),
            algorithms,
            leeway: SignedDuration::from_secs(leeway.into()),
        })
    }
}

impl GrantEntry {
    fn read(self) -> std::result::Result<Grant, String> {
        if self.scopes.is_empty() {
            return Err("expected at least one scope".into());
        }
        let when = match (self.claim, self.value) {
            (Some(claim), Some(value)) if !claim.is_empty() && !value.is_empty() => Some((claim, value)),
            (None, None) => None,
            _ => return Err("expected \"claim\" and \"value\", or neither, for all tokens of the issuer".into()),
        };
        let is_limited = self.models.is_some() || self.models_claim.is_some();
        check_models(&self.scopes, is_limited, self.models.as_deref())?;
        let rate = rate_of(self.per_second, self.burst)?;
        let Self { scopes, models, models_claim, concurrency, .. } = self;
        Ok(Grant { when, scopes, models, models_claim, rate, concurrency })
    }
}

/// Returns the place that is written; `None` for a URL that anybody on the way could answer.
fn place(text: &str, folder: &Path) -> Option<Jwks> {
    match text.contains("://") {
        true => url(text).then(|| Jwks::Url(text.to_owned())),
        false => (!text.is_empty()).then(|| Jwks::File(folder.join(text))),
    }
}

/// Returns true for a URL that nobody on the way can answer: over TLS, or of this machine.
fn url(text: &str) -> bool {
    let is_here = |rest: &str| {
        let host = rest.split(['/', '?']).next().unwrap_or_default();
        let host = host.rsplit_once(':').map_or(host, |(host, _)| host);
        matches!(host, "localhost" | "127.0.0.1" | "[::1]")
    };
    match text.split_once("://") {
        Some(("https", _)) => true,
        Some(("http", rest)) => is_here(rest),
        Some(_) | None => false,
    }
}
