//! Tokens: JSON Web Tokens (RFC 7519), signed (RFC 7515), of an issuer that the file of keys names.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};

use super::issuer::{Grant, Issuer};
use super::jwks::{Algorithm, KeySet, Unverified};
use super::limits::is_pattern;
use super::{Key, Rights, Scope};
use crate::ids::{printable, quote};

/// The longest token: those of issuers have one or two thousand bytes.
const MAX_TOKEN_BYTES: usize = 8 << 10;
/// The longest name of a subject.
const MAX_SUBJECT_CHARS: usize = 256;
/// The most models that a rule takes from a claim.
const MAX_MODELS: usize = 100;

/// A token that was read and not verified yet.
#[derive(Debug)]
pub struct Token<'a> {
    head: Head,
    claims: Map<String, Value>,
    signed: &'a [u8],
    signature: Vec<u8>,
}

#[derive(Debug, Deserialize)]
struct Head {
    alg: String,
    kid: Option<String>,
    /// Extensions that must be understood; none is.
    crit: Option<Value>,
}

/// The meaning of a text in a claim.
#[derive(Debug, Clone, Copy)]
enum Form {
    /// Several values, between which spaces stand.
    Words,
    /// One value.
    Whole,
}

/// The reason why a token is not taken, in words for the caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// Its key is not among those of the issuer, which may have changed them.
    UnknownKey(String),
    /// Nothing that it says is believed.
    NotBelieved(String),
    /// It is believed, and permits nothing.
    NoRights(String),
}

impl<'a> Token<'a> {
    /// Reads what a caller shows; `None` if it does not look like a token.
    pub fn read(shown: &'a [u8]) -> Option<std::result::Result<Self, Refusal>> {
        if shown.iter().filter(|byte| **byte == b'.').count() != 2 {
            return None;
        }
        if shown.len() > MAX_TOKEN_BYTES {
            let got = shown.len();
            return Some(Err(not_believed(&format!("has {got} bytes; at most {MAX_TOKEN_BYTES} are read"))));
        }
        let read = Self::parts(shown);
        Some(read.ok_or_else(|| not_believed("cannot be read: expected a signed JSON Web Token")))
    }

    fn parts(shown: &'a [u8]) -> Option<Self> {
        let mut dots = shown.iter().enumerate().filter(|(_, byte)| **byte == b'.').map(|(at, _)| at);
        let (first, second) = (dots.next()?, dots.next()?);
        let decode = |part: &[u8]| URL_SAFE_NO_PAD.decode(part).ok();
        let head = serde_json::from_slice(&decode(&shown[..first])?).ok()?;
        let claims = serde_json::from_slice(&decode(&shown[first + 1..second])?).ok()?;
        Some(Self { head, claims, signed: &shown[..second], signature: decode(&shown[second + 1..])? })
    }

    /// Returns whom it claims to come from.
    pub fn issuer(&self) -> Option<&str> {
        self.claims.get("iss")?.as_str()
    }

    /// Returns its subject's rights, once the signature and everything else was found right.
    ///
    /// # Errors
    /// [`Refusal`].
    pub fn verify(&self, issuer: &Issuer, keys: &KeySet, now: Timestamp) -> std::result::Result<Key, Refusal> {
        let allowed = issuer.algorithms.iter().find(|algorithm| algorithm.name() == self.head.alg);
        let Some(algorithm) = allowed else {
            let names: Vec<&str> = issuer.algorithms.iter().copied().map(Algorithm::name).collect();
            return Err(not_believed(&format!(
                "is signed by {}; expected {}",
                quote(&self.head.alg),
                names.join(", ")
            )));
        };
        if self.head.crit.is_some() {
            return Err(not_believed("has \"crit\", which names extensions that are not known here"));
        }
        let kid = self.head.kid.as_deref();
        match keys.verify(*algorithm, kid, self.signed, &self.signature) {
            Ok(()) => {}
            Err(Unverified::WrongSignature) => {
                return Err(not_believed("has a signature that is not the issuer's"));
            }
            Err(Unverified::NoKey) => {
                let named =
                    kid.map_or_else(|| "without \"kid\"".to_owned(), |kid| format!("of \"kid\" {}", quote(kid)));
                let name = algorithm.name();
                return Err(Refusal::UnknownKey(format!(
                    "the token is signed by a key {named} for {name}, which is not among the issuer's"
                )));
            }
        }
        let expires = self.check_times(issuer.leeway, now)?;
        self.check_audience(&issuer.audience)?;
        let subject = self.claims.get("sub").and_then(Value::as_str).filter(|subject| !subject.is_empty());
        let subject = subject.ok_or_else(|| not_believed("has no \"sub\", which says whose it is"))?;
        if subject.chars().count() > MAX_SUBJECT_CHARS {
            return Err(not_believed(&format!("has a \"sub\" of more than {MAX_SUBJECT_CHARS} characters")));
        }
        if subject.chars().any(char::is_control) {
            return Err(not_believed("has a \"sub\" with control characters"));
        }
        self.rights(issuer, subject, expires)
    }

    /// Checks when it is good, and returns the end of that.
    fn check_times(&self, leeway: SignedDuration, now: Timestamp) -> std::result::Result<Timestamp, Refusal> {
        let expires =
            self.moment("exp")?.ok_or_else(|| not_believed("has no \"exp\", which says how long it is good"))?;
        if now >= expires.saturating_add(leeway).unwrap_or(expires) {
            return Err(not_believed(&format!("expired at {expires}")));
        }
        if let Some(begins) = self.moment("nbf")?
            && now < begins.saturating_sub(leeway).unwrap_or(begins)
        {
            return Err(not_believed(&format!("is good only from {begins} on")));
        }
        Ok(expires)
    }

    fn moment(&self, claim: &str) -> std::result::Result<Option<Timestamp>, Refusal> {
        let Some(value) = self.claims.get(claim) else { return Ok(None) };
        let seconds = value.as_f64().filter(|seconds| seconds.is_finite()).map(|seconds| seconds.floor() as i64);
        let moment = seconds.and_then(|seconds| Timestamp::from_second(seconds).ok());
        moment.map(Some).ok_or_else(|| not_believed(&format!("has {claim:?}; expected seconds since 1970")))
    }

    fn check_audience(&self, expected: &[String]) -> std::result::Result<(), Refusal> {
        let is_ours = |value: &Value| value.as_str().is_some_and(|name| expected.iter().any(|own| own == name));
        let fits = match self.claims.get("aud") {
            Some(Value::Array(names)) => names.iter().any(is_ours),
            Some(name) => is_ours(name),
            None => false,
        };
        if fits { Ok(()) } else { Err(not_believed("is for somebody else: its \"aud\" does not name this server")) }
    }

    /// Adds up the rights of all rules that fit. What two of them permit does not multiply out: a scope of one is not for the
    /// models of another.
    fn rights(&self, issuer: &Issuer, subject: &str, expires: Timestamp) -> std::result::Result<Key, Refusal> {
        let fitting: Vec<&Grant> = issuer.rules.iter().filter(|rule| self.fits(rule)).collect();
        let name = format!("{}:{subject}", issuer.name);
        if fitting.is_empty() {
            let called = printable(&name, 80);
            return Err(Refusal::NoRights(format!(
                "no rule of this server is for the claims of the token \"{called}\""
            )));
        }
        let scopes: Vec<Scope> =
            Scope::ALL.into_iter().filter(|scope| fitting.iter().any(|rule| rule.scopes.contains(scope))).collect();
        let own: Vec<Option<Vec<String>>> = fitting.iter().map(|rule| self.models(rule)).collect();
        // What is for all models does not widen what is for some, unless it is for the whole server.
        let is_limited = own.iter().any(Option::is_some) && !scopes.contains(&Scope::Admin);
        let models = is_limited.then(|| own.iter().flatten().flatten().cloned().collect::<Vec<String>>());
        let rights = models.iter().flat_map(|all| {
            let of = |rule: &Grant, own: &Option<Vec<String>>| Rights {
                scopes: rule.scopes.clone(),
                models: own.as_ref().unwrap_or(all).clone(),
            };
            fitting.iter().zip(&own).map(move |(rule, own)| of(rule, own))
        });
        let rights = rights.collect();
        let identity = Sha256::digest(format!("{}\0{subject}", issuer.issuer));
        Ok(Key {
            name,
            sha256: Some(identity.into()),
            certificate: None,
            scopes,
            models,
            rights,
            expires: Some(expires),
            rate: fitting.iter().find_map(|rule| rule.rate),
            concurrency: fitting.iter().find_map(|rule| rule.concurrency),
            is_token: true,
        })
    }

    fn fits(&self, rule: &Grant) -> bool {
        let Some((claim, value)) = &rule.when else { return true };
        // A text is one value, which may have spaces; these two are lists of words by their definition (RFC 8693).
        let form = if matches!(claim.as_str(), "scope" | "scp") { Form::Words } else { Form::Whole };
        self.values(claim, form).contains(&value.as_str())
    }

    /// Returns the models of a rule: its own, and those of the claim that it names; `None` if it is for all.
    fn models(&self, rule: &Grant) -> Option<Vec<String>> {
        if rule.models.is_none() && rule.models_claim.is_none() {
            return None;
        }
        let claimed = rule.models_claim.as_ref().map(|claim| self.values(claim, Form::Words)).unwrap_or_default();
        let claimed = claimed.into_iter().filter(|model| is_pattern(model)).map(str::to_owned).take(MAX_MODELS);
        Some(rule.models.iter().flatten().cloned().chain(claimed).collect())
    }

    /// Returns the values of a claim: of a text its words or itself, of a list its texts. Dots lead into objects, unless a
    /// claim has the whole name.
    fn values(&self, claim: &str, form: Form) -> Vec<&str> {
        let inside = || {
            let mut names = claim.split('.');
            let first = self.claims.get(names.next()?)?;
            names.try_fold(first, |value, name| value.get(name))
        };
        match self.claims.get(claim).or_else(inside) {
            Some(Value::String(text)) => match form {
                Form::Words => text.split_ascii_whitespace().collect(),
                Form::Whole => vec![text.as_str()],
            },
            Some(Value::Array(values)) => values.iter().filter_map(Value::as_str).collect(),
            _ => Vec::new(),
        }
    }
}

fn not_believed(problem: &str) -> Refusal {
    Refusal::NotBelieved(format!("the token {problem}"))
}

#[cfg(test)]
#[path = "token_tests.rs"]
mod tests;
