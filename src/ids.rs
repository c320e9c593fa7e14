//! Names and identifiers, which are parsed once at the edge and trusted afterwards.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// A name or version that cannot be one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} is not valid: expected {expected}, got {got}")]
pub struct InvalidName {
    /// The kind of name.
    pub what: &'static str,
    /// The names that are valid.
    pub expected: &'static str,
    /// The text that was given, quoted for messages.
    pub got: String,
}

type Result<T> = std::result::Result<T, InvalidName>;

/// The name of a model: 1 to 255 of `A-Z a-z 0-9 . _ -`, starting with a letter or digit.
///
/// The alphabet excludes path separators, `..`, escapes and look-alikes, so a name is safe as a folder name, a
/// metric label and a URL segment.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ModelName(String);

impl ModelName {
    /// The longest name that a file system takes for a folder.
    const MAX_BYTES: usize = 255;

    /// Returns the name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ModelName {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self> {
        let bytes = text.as_bytes();
        let legal = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
        let starts_well = bytes.first().is_some_and(u8::is_ascii_alphanumeric);
        if starts_well && bytes.len() <= Self::MAX_BYTES && bytes.iter().all(legal) {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidName {
                what: "model name",
                expected: "1 to 255 of A-Z a-z 0-9 . _ - starting with a letter or digit",
                got: quote(text),
            })
        }
    }
}

impl TryFrom<String> for ModelName {
    type Error = InvalidName;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<ModelName> for String {
    fn from(name: ModelName) -> Self {
        name.0
    }
}

impl fmt::Display for ModelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The version of a model: an integer from 0, written without sign or leading zeros.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Version(pub u64);

impl FromStr for Version {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self> {
        match Self::of_folder(text) {
            Some(version) if text == "0" || !text.starts_with('0') => Ok(version),
            _ => Err(InvalidName {
                what: "model version",
                expected: "an integer from 0 without leading zeros",
                got: quote(text),
            }),
        }
    }
}

impl Version {
    /// Returns the version that a folder of this name is, which may have leading zeros.
    pub fn of_folder(name: &str) -> Option<Self> {
        let is_number = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_digit());
        name.parse().ok().filter(|_| is_number).map(Self)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A movable name for a version, such as `stable`. It has the alphabet of [`ModelName`], at most 64 characters, and
/// starts with a letter, so that it cannot be mistaken for a version.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct AliasName(String);

impl AliasName {
    const MAX_BYTES: usize = 64;

    /// The alias that answers requests without a version, if it exists.
    pub const STABLE: &'static str = "stable";

    /// Returns the name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for AliasName {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self> {
        match text.parse::<ModelName>() {
            Ok(name)
                if text.starts_with(|first: char| first.is_ascii_alphabetic()) && text.len() <= Self::MAX_BYTES =>
            {
                Ok(Self(name.0))
            }
            _ => Err(InvalidName {
                what: "alias",
                expected: "1 to 64 of A-Z a-z 0-9 . _ - starting with a letter",
                got: quote(text),
            }),
        }
    }
}

impl TryFrom<String> for AliasName {
    type Error = InvalidName;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<AliasName> for String {
    fn from(name: AliasName) -> Self {
        name.0
    }
}

impl std::borrow::Borrow<str> for AliasName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for AliasName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The version of a model that a request asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VersionSpec {
    /// The version that the alias `stable` points to, or without that alias the newest available one.
    Latest,
    /// A version by its number.
    Specific(Version),
    /// The version that an alias points to.
    Alias(AliasName),
}

impl FromStr for VersionSpec {
    type Err = InvalidName;

    /// Parses a text that starts with a letter as an alias, `-1` as the latest version, as Triton's clients write it,
    /// and any other text as a version.
    fn from_str(text: &str) -> Result<Self> {
        match text.parse::<AliasName>() {
            Ok(alias) => Ok(Self::Alias(alias)),
            Err(_) if text == "-1" => Ok(Self::Latest),
            Err(_) => text.parse().map(Self::Specific),
        }
    }
}

/// The model and version that a request asks for.
#[derive(Debug, Clone)]
pub struct ModelRef {
    /// The model; `None` for the default model of the server.
    pub name: Option<ModelName>,
    /// The version.
    pub version: VersionSpec,
}

/// The identifier of a request: that of the caller, if it is 1 to 64 of `A-Z a-z 0-9 . _ : -`, or a new UUIDv7
/// (RFC 9562), which sorts by time. Clones share the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestId {
    text: Arc<str>,
    /// Set if this process made the identifier.
    made: Option<uuid::Uuid>,
}

impl RequestId {
    const MAX_BYTES: usize = 64;

    /// Creates a new identifier.
    pub fn generate() -> Self {
        let mut text = [0; uuid::fmt::Hyphenated::LENGTH];
        let made = uuid::Uuid::now_v7();
        Self { text: made.hyphenated().encode_lower(&mut text)[..].into(), made: Some(made) }
    }

    /// Returns the identifier of the caller if it is safe to repeat in headers, bodies and logs.
    pub fn from_client(bytes: &[u8]) -> Option<Self> {
        let legal = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b':' | b'-');
        let usable = (1..=Self::MAX_BYTES).contains(&bytes.len()) && bytes.iter().all(legal);
        usable.then(|| Self { text: String::from_utf8_lossy(bytes).into(), made: None })
    }

    /// Returns the identifier of a part of this request: this one, a point and the number of the part, or a new one where
    /// that would be too long.
    #[must_use]
    pub fn part(&self, number: u64) -> Self {
        let text = format!("{}.{number}", self.text);
        if text.len() > Self::MAX_BYTES { Self::generate() } else { Self { text: text.into(), made: None } }
    }

    /// Returns the identifier as text.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Returns the identifier as text that is shared, not copied.
    pub fn shared(&self) -> Arc<str> {
        self.text.clone()
    }

    /// Returns the UUIDv7 that this process made; `None` for an identifier of the caller, even if it looks like one.
    pub fn made(&self) -> Option<uuid::Uuid> {
        self.made
    }
}

/// Returns bytes as hexadecimal digits, in lower case.
pub fn hexadecimal(bytes: &[u8]) -> String {
    const DIGITS: [char; 16] = ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f'];
    bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]).map(|nibble| DIGITS[usize::from(nibble)]).collect()
}

/// Prepares a text from a client for a message: escapes and quotes it, and cuts it to 40 characters.
pub fn quote(text: &str) -> String {
    format!("\"{}\"", printable(text, 40))
}

/// Returns a message of another library, which may quote what a client sent, at a length that is fit for an answer:
/// each quoted value is cut to 40 characters, and the whole to 300.
pub fn shortened(message: &str) -> String {
    let mut short = String::new();
    let mut rest = message;
    while let Some(at) = rest.find(['"', '`']) {
        let (head, quoted) = rest.split_at(at + 1);
        let value = quoted.split(&head[at..]).next().unwrap_or_default();
        short.push_str(head);
        short.push_str(&cut(value, 40));
        rest = &quoted[value.len()..];
        // The mark that closes is left out when the message ends within the value.
        if let Some(behind) = rest.strip_prefix(&head[at..]) {
            short.push_str(&head[at..]);
            rest = behind;
        }
    }
    short.push_str(rest);
    cut(&short, 300)
}

fn cut(text: &str, max_chars: usize) -> String {
    match text.char_indices().nth(max_chars) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// Escapes a text from a client and cuts it to `max_chars` characters.
pub fn printable(text: &str, max_chars: usize) -> String {
    let short: String = text.chars().take(max_chars).collect();
    let dots = if short.len() < text.len() { "…" } else { "" };
    format!("{}{dots}", short.escape_debug())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_could_leave_their_folder_or_forge_output_are_refused() {
        for bad in ["", " ", ".", "..", "../x", "a/b", "a\\b", "%2e%2e", "a\0", "a b", "\u{202e}x", "é", "-x"] {
            assert!(bad.parse::<ModelName>().is_err(), "{bad:?}");
        }
        assert!("x".repeat(256).parse::<ModelName>().is_err());
        for good in ["mnist-mlp", "A.1_b", "0", &"x".repeat(255)] {
            assert_eq!(good.parse::<ModelName>().unwrap().as_str(), good);
        }
        assert!("x".repeat(64).parse::<AliasName>().is_ok() && "x".repeat(65).parse::<AliasName>().is_err());
    }

    #[test]
    fn versions_are_canonical_and_their_folders_may_have_zeros_before_them() {
        for bad in ["", "00", "01", "+1", "-1", "1.0", "1e3", " 1", "18446744073709551616"] {
            assert!(bad.parse::<Version>().is_err(), "{bad:?}");
        }
        assert_eq!("12".parse::<Version>().unwrap(), Version(12));
        assert_eq!("0".parse::<Version>().unwrap(), Version(0));
        for (folder, version) in [("0", 0), ("000", 0), ("001", 1), ("12", 12)] {
            assert_eq!(Version::of_folder(folder), Some(Version(version)));
        }
        for bad in ["", "+1", "-1", "1.0", "v1", " 1", "0x1", "18446744073709551616"] {
            assert_eq!(Version::of_folder(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn an_alias_never_reads_as_a_version() {
        assert_eq!("7".parse::<VersionSpec>().unwrap(), VersionSpec::Specific(Version(7)));
        assert_eq!("v7".parse::<VersionSpec>().unwrap(), VersionSpec::Alias("v7".parse().unwrap()));
        assert_eq!("-1".parse(), Ok(VersionSpec::Latest));
        for bad in ["", "07", "00", "-2", "-01", "1.0", "1e3", "../1", "a b"] {
            assert!(bad.parse::<VersionSpec>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn request_ids_from_clients_cannot_carry_control_characters() {
        assert!(RequestId::from_client(b"abc-1:2").is_some());
        for bad in [&b""[..], b"a b", b"a\r\nb", b"\x1b[31m", &[b'x'; 65]] {
            assert!(RequestId::from_client(bad).is_none());
        }
        assert_ne!(RequestId::generate(), RequestId::generate());
    }

    #[test]
    fn quoted_text_is_escaped_and_short() {
        assert_eq!(quote("a\r\n\x1b"), "\"a\\r\\n\\u{1b}\"");
        assert!(quote(&"x".repeat(1000)).chars().count() < 50);
    }
}
