//! API keys as a file has them: who may do what.
//!
//! The file is TOML and holds the SHA-256 of each key, never the key:
//!
//! ```toml
//! [[key]]
//! name = "web shop"
//! sha256 = "…64 hexadecimal digits…"
//! scopes = ["predict", "feedback"]
//! expires = 2027-06-30T00:00:00Z   # optional
//! ```
//!
//! `models = ["mnist-*", "prices"]` limits a key to the models with these names; a name may end in `*`.
//! `per_second = 50` and `burst = 100` limit its requests, and `concurrency = 8` those under way at the same time,
//! in place of the limits that the server has for everybody.
//! `[[issuer]]` names an issuer of tokens, whose holders need no key here ([`Issuer`]).
//! `certificate = "URI:spiffe://example.org/shop"` names the holder of a client certificate, who then needs no secret.

mod edit;
mod issuer;
mod jwks;
mod limits;
mod rate;
mod token;

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::num::NonZeroU32;
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

pub use self::edit::{Table, with_key, without_key};
pub use self::issuer::{Grant, Issuer, Jwks};
pub use self::jwks::{Algorithm, KeySet, Unverified};
pub use self::rate::Rate;
pub use self::token::{Refusal, Token};

use self::issuer::IssuerEntry;
use self::limits::{check_models, rate_of};
use crate::error::{Error, Result};
use crate::ids::{hexadecimal, quote};

/// How every key begins, so that scanners of repositories find one that leaked.
const PREFIX: &str = "weir_";
/// Random bytes of a key.
const KEY_BYTES: usize = 32;
/// The largest file of keys that is read: 10,000 keys and more.
const MAX_FILE_BYTES: u64 = 4 << 20;
const MAX_NAME_CHARS: usize = 100;
/// The beginnings of the names that certificates have, in the words of OpenSSL.
const PRINCIPALS: [&str; 3] = ["URI:", "DNS:", "CN:"];
/// The longest name of a certificate.
const MAX_PRINCIPAL_CHARS: usize = 512;

/// What a key, or a caller without one, may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// Ask models, and read what models there are.
    Predict,
    /// Say what was right about predictions; see and erase what is kept of them.
    Feedback,
    /// Read what models there are and how good they are, and see the pages.
    Read,
    /// Scrape the metrics.
    Metrics,
    /// Everything.
    Admin,
}

impl Scope {
    /// All scopes, weakest first.
    pub const ALL: [Self; 5] = [Self::Predict, Self::Feedback, Self::Read, Self::Metrics, Self::Admin];

    /// Returns the name that files and settings have for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Predict => "predict",
            Self::Feedback => "feedback",
            Self::Read => "read",
            Self::Metrics => "metrics",
            Self::Admin => "admin",
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Scope {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let found = Self::ALL.into_iter().find(|scope| scope.name() == text);
        found.ok_or_else(|| format!("expected {}, got {}", Self::ALL.map(Self::name).join(", "), quote(text)))
    }
}

/// Returns true if somebody with these scopes may do what `wanted` names.
pub fn permits(scopes: &[Scope], wanted: Scope) -> bool {
    scopes.contains(&wanted)
        || scopes.contains(&Scope::Admin)
        || (wanted == Scope::Read && scopes.contains(&Scope::Predict))
}

/// A key, without its secret.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Key {
    /// The name by which people know it.
    pub name: String,
    /// The SHA-256 of the secret, if there is one.
    pub sha256: Option<[u8; 32]>,
    /// The holder of a client certificate who needs no secret: `URI:…`, `DNS:…` or `CN:…`.
    pub certificate: Option<String>,
    /// What it may do.
    pub scopes: Vec<Scope>,
    /// The models that it is for, each a name or the beginning of names and `*`; `None` for all.
    pub models: Option<Vec<String>>,
    /// The moment from which it is refused.
    pub expires: Option<Timestamp>,
    /// The limit of its requests; `None` for that of everybody.
    pub rate: Option<Rate>,
    /// The most of its requests at the same time; `None` for that of everybody.
    pub concurrency: Option<NonZeroU32>,
    /// The scopes that each rule of a token has given, with the models that they are for, if there is a limit to models.
    /// They are among `scopes` and `models`. None of a key of the file, all of whose scopes are for all of its models.
    pub rights: Vec<Rights>,
    /// Set if it is no key of the file, but what a token of an issuer says.
    pub is_token: bool,
}

/// Scopes, and the models that they are for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rights {
    /// The permitted actions.
    pub scopes: Vec<Scope>,
    /// The models, each a name or the beginning of names and `*`.
    pub models: Vec<String>,
}

impl Key {
    /// Returns its name as messages have it, with what it is.
    pub fn called(&self) -> String {
        format!("the {} {}", if self.is_token { "token" } else { "key" }, quote(&self.name))
    }

    /// Returns true if the key is for a model of this name. Which models, may depend on the scope that is wanted.
    pub fn is_for(&self, model: &str, wanted: Scope) -> bool {
        let matches = |pattern: &String| match pattern.strip_suffix('*') {
            Some(beginning) => model.starts_with(beginning),
            None => model == pattern,
        };
        let fits = |models: &Vec<String>| models.iter().any(matches);
        let by_one = |rights: &Rights| permits(&rights.scopes, wanted) && fits(&rights.models);
        // The other scopes are about no model.
        let is_about_models = matches!(wanted, Scope::Predict | Scope::Read) && !self.rights.is_empty();
        self.models.as_ref().is_none_or(fits) && (!is_about_models || self.rights.iter().any(by_one))
    }

    /// Returns what tells the holder of the key from others: the digest of the secret, or else of the certificate's name.
    pub fn identity(&self) -> [u8; 32] {
        let digest = || Sha256::digest(self.certificate.as_deref().unwrap_or(&self.name)).into();
        self.sha256.unwrap_or_else(digest)
    }

    /// Returns true if the key has expired at a moment.
    pub fn has_expired(&self, now: Timestamp) -> bool {
        self.expires.is_some_and(|expires| now >= expires)
    }
}

/// The keys of a file, found by their secrets or by the names of certificates.
#[derive(Debug, Default)]
pub struct Keys {
    by_digest: HashMap<[u8; 32], Arc<Key>>,
    by_principal: HashMap<String, Arc<Key>>,
    count: usize,
    issuers: Vec<Issuer>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    key: Vec<Entry>,
    #[serde(default)]
    issuer: Vec<IssuerEntry>,
}

/// The content of a file of keys, in its order.
#[derive(Debug, Default)]
pub struct Content {
    /// The keys.
    pub keys: Vec<Key>,
    /// The issuers of tokens.
    pub issuers: Vec<Issuer>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: String,
    sha256: Option<String>,
    certificate: Option<String>,
    scopes: Vec<Scope>,
    models: Option<Vec<String>>,
    expires: Option<toml::value::Datetime>,
    per_second: Option<f64>,
    burst: Option<u32>,
    concurrency: Option<NonZeroU32>,
}

impl Keys {
    /// Reads a file of keys.
    ///
    /// # Errors
    /// [`Error::Config`] naming the key at fault.
    pub fn read(path: &Path) -> Result<Self> {
        let folder = path.parent().unwrap_or(Path::new(""));
        let Content { keys, issuers } = parse(&text_of(path)?, folder)?;
        let keys: Vec<Arc<Key>> = keys.into_iter().map(Arc::new).collect();
        let by_digest = keys.iter().filter_map(|key| Some((key.sha256?, key.clone()))).collect();
        let by_principal = keys.iter().filter_map(|key| Some((key.certificate.clone()?, key.clone()))).collect();
        Ok(Self { by_digest, by_principal, count: keys.len(), issuers })
    }

    /// Returns the key with this secret.
    ///
    /// It is looked up by its digest: the time that takes says nothing about the secrets of others.
    pub fn find(&self, secret: &[u8]) -> Option<&Arc<Key>> {
        self.find_digest(&digest_of_secret(secret))
    }

    /// Returns the key whose secret has this digest.
    pub fn find_digest(&self, digest: &[u8; 32]) -> Option<&Arc<Key>> {
        self.by_digest.get(digest)
    }

    /// Returns the key of the holder of a client certificate: `URI:…`, `DNS:…` or `CN:…`.
    pub fn find_principal(&self, principal: &str) -> Option<&Arc<Key>> {
        self.by_principal.get(principal)
    }

    /// Returns the number of keys.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Returns true if there are none, and no issuer of tokens either.
    pub fn is_empty(&self) -> bool {
        self.count == 0 && self.issuers.is_empty()
    }

    /// Returns the issuers of tokens.
    pub fn issuers(&self) -> &[Issuer] {
        &self.issuers
    }
}

/// Returns the digest by which a secret, or a token, is known.
pub fn digest_of_secret(secret: &[u8]) -> [u8; 32] {
    Sha256::digest(secret).into()
}

/// Returns the text of a file of keys.
///
/// # Errors
/// [`Error::Config`] when it cannot be read or is too large.
pub fn text_of(path: &Path) -> Result<String> {
    let unreadable = |error: std::io::Error| refuse(format!("the file cannot be read: {error}"));
    let metadata = std::fs::metadata(path).map_err(unreadable)?;
    if !metadata.is_file() {
        return Err(refuse("expected a plain file".into()));
    }
    if metadata.len() > MAX_FILE_BYTES {
        return Err(refuse(format!("the file has {} bytes; at most {MAX_FILE_BYTES} are read", metadata.len())));
    }
    std::fs::read_to_string(path).map_err(unreadable)
}

/// Reads the text of a file of keys. The files that it names are looked for in `folder`.
///
/// # Errors
/// [`Error::Config`] naming the key or issuer at fault.
pub fn parse(text: &str, folder: &Path) -> Result<Content> {
    // The parser's longer message quotes the line, which may hold a secret that was pasted there.
    let file: File = toml::from_str(text).map_err(|error| {
        let line = error.span().map(|span| text[..span.start].matches('\n').count() + 1);
        let place = line.map_or_else(String::new, |line| format!("line {line}: "));
        refuse(format!("{place}{}", error.message()))
    })?;
    let keys: Vec<Key> = file.key.into_iter().map(key).collect::<Result<_>>()?;
    let (mut names, mut digests, mut principals) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
    for key in &keys {
        let name = &key.name;
        if names.insert(name, ()).is_some() {
            return Err(refuse(format!("two keys are called {}", quote(name))));
        }
        let same = |other: &String, what| refuse(format!("{} and {} have the same {what}", quote(other), quote(name)));
        if let Some(other) = key.sha256.and_then(|digest| digests.insert(digest, name)) {
            return Err(same(other, "secret"));
        }
        if let Some(other) = key.certificate.as_ref().and_then(|principal| principals.insert(principal, name)) {
            return Err(same(other, "certificate"));
        }
    }
    let issuers: Vec<Issuer> = file.issuer.into_iter().map(|issuer| issuer.read(folder)).collect::<Result<_>>()?;
    let (mut names, mut claimed) = (BTreeMap::new(), BTreeMap::new());
    for issuer in &issuers {
        if names.insert(&issuer.name, ()).is_some() {
            return Err(refuse(format!("two issuers are called {}", quote(&issuer.name))));
        }
        if let Some(other) = claimed.insert(&issuer.issuer, &issuer.name) {
            let (one, two) = (quote(other), quote(&issuer.name));
            return Err(refuse(format!("{one} and {two} are the same issuer")));
        }
    }
    Ok(Content { keys, issuers })
}

fn key(entry: Entry) -> Result<Key> {
    let name = quote(&entry.name);
    let wrong = |problem: &str| refuse(format!("key {name}: {problem}"));
    let chars = entry.name.chars().count();
    if chars == 0 || chars > MAX_NAME_CHARS || entry.name.chars().any(char::is_control) {
        return Err(wrong(&format!("expected a name of 1 to {MAX_NAME_CHARS} printable characters")));
    }
    let digest = |hex: &String| digest_of(hex).ok_or_else(|| wrong("sha256: expected 64 hexadecimal digits"));
    let sha256 = entry.sha256.as_ref().map(digest).transpose()?;
    let principal = |text: &String| {
        principal_of(text).ok_or_else(|| wrong("certificate: expected a name such as URI:spiffe://…, DNS:… or CN:…"))
    };
    let certificate = entry.certificate.as_ref().map(principal).transpose()?;
    if sha256.is_none() && certificate.is_none() {
        return Err(wrong("expected sha256, or certificate, or both"));
    }
    if entry.scopes.is_empty() {
        return Err(wrong("expected at least one scope"));
    }
    check_models(&entry.scopes, entry.models.is_some(), entry.models.as_deref()).map_err(|problem| wrong(&problem))?;
    let moment = |date: toml::value::Datetime| {
        let text = date.to_string();
        text.parse::<Timestamp>().map_err(|_| {
            wrong(&format!("expires: expected a moment such as 2027-06-30T00:00:00Z, with its offset, got {text}"))
        })
    };
    let expires = entry.expires.map(moment).transpose()?;
    let rate = rate_of(entry.per_second, entry.burst).map_err(|problem| wrong(&problem))?;
    let Entry { name, scopes, models, concurrency, .. } = entry;
    let rights = Vec::new();
    Ok(Key { name, sha256, certificate, scopes, models, expires, rate, concurrency, rights, is_token: false })
}

/// Returns the name of a certificate's holder as it is compared: a DNS name in lower case. `None` if it is none.
pub fn principal_of(text: &str) -> Option<String> {
    let (kind, name) = PRINCIPALS.into_iter().find_map(|kind| Some((kind, text.strip_prefix(kind)?)))?;
    let is_fit = !name.is_empty() && text.chars().count() <= MAX_PRINCIPAL_CHARS && !name.chars().any(char::is_control);
    is_fit.then(|| if kind == "DNS:" { format!("{kind}{}", name.to_ascii_lowercase()) } else { text.to_owned() })
}

fn digest_of(hex: &str) -> Option<[u8; 32]> {
    let digits: Option<Vec<u8>> =
        hex.chars().map(|digit| digit.to_digit(16).and_then(|digit| u8::try_from(digit).ok())).collect();
    let bytes: Vec<u8> = digits?.chunks(2).map(|pair| pair.iter().fold(0, |byte, digit| byte << 4 | digit)).collect();
    if hex.len() == 64 { bytes.try_into().ok() } else { None }
}

fn refuse(problem: String) -> Error {
    Error::Config { setting: "keys".into(), problem }
}

/// A new secret, and its digest in hexadecimal. The secret is shown once and kept nowhere.
#[derive(Debug)]
pub struct Secret {
    /// What the caller sends.
    pub text: String,
    /// What the file keeps.
    pub sha256: String,
}

impl Secret {
    /// Returns a secret of 256 random bits.
    pub fn new() -> Self {
        let text = format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(rand::random::<[u8; KEY_BYTES]>()));
        let sha256 = hexadecimal(&Sha256::digest(text.as_bytes()));
        Self { text, sha256 }
    }
}

impl Default for Secret {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(name: &str, secret: &Secret, more: &str) -> String {
        format!("[[key]]\nname = {name:?}\nsha256 = \"{}\"\n{more}\n", secret.sha256)
    }

    fn parse(text: &str) -> Result<Vec<Key>> {
        super::parse(text, Path::new("")).map(|content| content.keys)
    }

    fn problem(text: &str) -> String {
        parse(text).unwrap_err().to_string()
    }

    #[test]
    fn a_key_is_found_by_its_secret_alone() {
        let (one, two) = (Secret::new(), Secret::new());
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys.toml");
        let text = table("one", &one, "scopes = [\"predict\"]") + &table("two", &two, "scopes = [\"admin\"]");
        std::fs::write(&path, text).unwrap();
        let keys = Keys::read(&path).unwrap();
        assert_eq!(keys.len(), 2);
        assert_eq!(keys.find(one.text.as_bytes()).unwrap().name, "one");
        assert_eq!(keys.find(two.text.as_bytes()).unwrap().name, "two");
        for wrong in ["", "weir_", &one.sha256, &one.text[..one.text.len() - 1]] {
            assert!(keys.find(wrong.as_bytes()).is_none(), "{wrong}");
        }
        assert_ne!(one.text, two.text);
        assert!(one.text.starts_with("weir_") && one.text.len() == 48, "{}", one.text);
    }

    #[test]
    fn scopes_include_what_they_need() {
        use Scope::{Admin, Feedback, Metrics, Predict, Read};
        for (held, wanted) in [
            (Predict, vec![Predict, Read]),
            (Feedback, vec![Feedback]),
            (Read, vec![Read]),
            (Metrics, vec![Metrics]),
            (Admin, Scope::ALL.to_vec()),
        ] {
            for scope in Scope::ALL {
                assert_eq!(permits(&[held], scope), wanted.contains(&scope), "{held} for {scope}");
                assert!(!permits(&[], scope));
            }
        }
        assert_eq!("metrics".parse(), Ok(Metrics));
        assert!("root".parse::<Scope>().unwrap_err().contains("predict, feedback, read, metrics, admin"));
    }

    #[test]
    fn models_are_named_whole_or_by_their_beginning() {
        let secret = Secret::new();
        let read = |models: &str| parse(&table("k", &secret, &format!("scopes = [\"predict\"]\nmodels = {models}")));
        let key = &read("[\"mnist-*\", \"prices\"]").unwrap()[0];
        for (model, expected) in
            [("mnist-mlp", true), ("mnist-", true), ("mnist", false), ("prices", true), ("prices2", false), ("", false)]
        {
            assert_eq!(key.is_for(model, Scope::Predict), expected, "{model}");
        }
        assert!(read("[\"*\"]").unwrap()[0].is_for("any", Scope::Read));
        for wrong in ["[]", "[\"a*b\"]", "[\"\"]", "[\"a**\"]"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_key_ends_at_its_moment() {
        let secret = Secret::new();
        let read = |expires: &str| parse(&table("k", &secret, &format!("scopes = [\"read\"]\nexpires = {expires}")));
        let key = &read("2027-01-01T00:00:00+01:00").unwrap()[0];
        let moment: Timestamp = "2026-12-31T23:00:00Z".parse().unwrap();
        assert!(key.has_expired(moment) && !key.has_expired(moment - jiff::SignedDuration::from_nanos(1)));
        for vague in ["2027-01-01", "2027-01-01T00:00:00", "00:00:00"] {
            assert!(read(vague).unwrap_err().to_string().contains("with its offset"), "{vague}");
        }
    }

    #[test]
    fn what_is_wrong_is_said_and_no_secret_repeated() {
        let secret = Secret::new();
        let good = table("k", &secret, "scopes = [\"read\"]");
        assert!(problem(&(good.clone() + &good)).contains("two keys are called \"k\""));
        assert!(problem(&(good.clone() + &good.replace("\"k\"", "\"l\""))).contains("the same secret"));
        assert!(problem(&good.replace("\"k\"", "\"\"")).contains("1 to 100"));
        assert!(problem(&good.replace("[\"read\"]", "[]")).contains("at least one scope"));
        assert!(problem(&good.replace("read", "root")).contains("line 4"));
        let pasted = good.replace(&secret.sha256, &secret.text);
        assert!(problem(&pasted).contains("64 hexadecimal digits") && !problem(&pasted).contains(&secret.text));
        let misspelt = format!("{good}secret = \"{}\"\n", secret.text);
        assert!(problem(&misspelt).contains("line 5") && !problem(&misspelt).contains(&secret.text));
        let whole = good.replace("[\"read\"]", "[\"metrics\"]\nmodels = [\"m\"]");
        assert!(problem(&whole).contains("metrics is about the whole server"));
        assert_eq!(parse("").unwrap(), []);
    }

    #[test]
    fn a_certificate_can_stand_in_for_a_secret() {
        let entry = |name: &str, certificate: &str| {
            format!("[[key]]\nname = {name:?}\ncertificate = {certificate:?}\nscopes = [\"read\"]\n")
        };
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys.toml");
        std::fs::write(&path, entry("shop", "URI:spiffe://a/Shop") + &entry("web", "DNS:Web.Example")).unwrap();
        let keys = Keys::read(&path).unwrap();
        let found = |principal: &str| keys.find_principal(principal).map(|key| key.name.clone());
        assert_eq!((keys.len(), keys.is_empty()), (2, false));
        assert_eq!(found("URI:spiffe://a/Shop").unwrap(), "shop");
        assert_eq!(found("DNS:web.example").unwrap(), "web");
        for other in ["URI:spiffe://a/shop", "CN:web.example", "CN:URI:spiffe://a/Shop", "web.example", ""] {
            assert_eq!(found(other), None, "{other}");
        }
        assert!(keys.find(b"").is_none());
        let twice = entry("a", "DNS:h.example") + &entry("b", "DNS:H.example");
        assert!(problem(&twice).contains("\"a\" and \"b\" have the same certificate"));
        for wrong in ["spiffe://a", "IP:127.0.0.1", "CN:", "dns:h"] {
            assert!(problem(&entry("k", wrong)).contains("such as URI:"), "{wrong}");
        }
        assert_eq!(principal_of("CN:a\u{7}"), None);
        assert!(problem("[[key]]\nname = \"k\"\nscopes = [\"read\"]").contains("sha256, or certificate"));
    }

    #[test]
    fn keys_come_and_go_and_the_rest_stays_as_written() {
        let (one, two) = (Secret::new(), Secret::new());
        let new = |name: &'static str, secret: &Secret, text: &str| {
            let scopes = [Scope::Predict];
            let key = Table {
                name,
                sha256: &secret.sha256,
                scopes: &scopes,
                models: None,
                expires: None,
                per_second: None,
                burst: None,
                concurrency: None,
            };
            with_key(text, &key)
        };
        let first = "# ours\n".to_owned() + &table("old", &Secret::new(), "scopes = [ 'read' ] # kept");
        let with_one = new("one", &one, &first).unwrap();
        assert!(with_one.starts_with(&first));
        let with_two = new("two", &two, &with_one).unwrap();
        assert!(new("two", &Secret::new(), &with_two).unwrap_err().to_string().contains("two keys are called"));
        let left = without_key(&with_two, "one").unwrap();
        let names: Vec<String> = parse(&left).unwrap().into_iter().map(|key| key.name).collect();
        assert_eq!(names, ["old", "two"]);
        assert!(left.starts_with(&first));
        assert!(without_key(&left, "one").unwrap_err().to_string().contains("there are: \"old\", \"two\""));
        let entry = |name: &str, secret: &Secret| {
            format!("{{ name = {name:?}, sha256 = \"{}\", scopes = [\"read\"] }}", secret.sha256)
        };
        let inline = format!("key = [{}, {}]", entry("k", &one), entry("l", &two));
        assert!(without_key(&inline, "k").is_err_and(|error| error.to_string().contains("by hand")));
    }
}
