//! The keys of a running server, read again whenever their file changes.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use http::{HeaderMap, HeaderName, header};
use jiff::Timestamp;
use prometheus::IntCounter;
use tokio::sync::watch;

use super::issuers::{self, Issuers};
use crate::api::watched::{Watched, look_repeatedly};
use crate::error::{Error, Result};
use crate::ids::quote;
use crate::keys::{Key, Keys, Token, digest_of_secret};

const X_API_KEY: HeaderName = HeaderName::from_static("x-api-key");

/// The keys of a running server.
#[derive(Debug)]
pub struct KeyRing {
    path: PathBuf,
    keys: ArcSwap<Keys>,
    issuers: Issuers,
    watched: Watched,
    failures: IntCounter,
}

impl KeyRing {
    /// Reads a file of keys. `failures` counts later states of it that cannot be read, and `jwks_failures` public keys of
    /// issuers that cannot be had.
    ///
    /// # Errors
    /// [`Error::Config`] naming the key or issuer at fault.
    pub fn open(path: &Path, failures: IntCounter, jwks_failures: IntCounter) -> Result<Self> {
        let watched = Watched::new([path]);
        let keys = Keys::read(path)?;
        if keys.is_empty() {
            tracing::warn!("the file of keys holds none: nobody can ask; `weir keys new` makes one");
        }
        let issuers = Issuers::open(keys.issuers(), jwks_failures)?;
        Ok(Self { path: path.to_owned(), keys: ArcSwap::from_pointee(keys), issuers, watched, failures })
    }

    /// Reads the file again if it is another one now. One that cannot be read leaves the keys as they are: a
    /// slip in an editor must not lock everybody out.
    pub fn look(&self) {
        let read = || {
            let keys = Keys::read(&self.path)?;
            self.issuers.replace(keys.issuers())?;
            tracing::info!(keys = keys.len(), issuers = keys.issuers().len(), "the file of keys was read again");
            self.keys.store(Arc::new(keys));
            Ok::<(), Error>(())
        };
        if let Some(error) = self.watched.if_changed(read) {
            self.failures.inc();
            tracing::error!(%error, "the file of keys cannot be used; the keys stay as they were");
        }
        self.issuers.look();
    }

    /// Returns true if this is the secret of a key that is in the file as it was last read.
    pub fn knows(&self, secret: &str) -> bool {
        self.keys.load().find(secret.as_bytes()).is_some()
    }

    /// Looks at the files again and again, and fetches the public keys of issuers, until `closed` turns true.
    pub async fn keep(self: Arc<Self>, closed: watch::Receiver<bool>) {
        tokio::join!(look_repeatedly(self.clone(), Self::look, closed.clone()), self.issuers.keep(closed));
    }

    /// Returns the key that a request shows, or the rights of the token that it shows instead; `None` if it shows none.
    ///
    /// # Errors
    /// [`Error::Unauthenticated`] for a key that is not in the file or has expired, or a token that is not believed;
    /// [`Error::Malformed`] for more than one key; as for tokens [`Issuers::rights`].
    pub(super) fn shown(&self, headers: &HeaderMap) -> Result<Option<Arc<Key>>> {
        let Some(secret) = secret(headers)? else { return Ok(None) };
        let keys = self.keys.load();
        let digest = digest_of_secret(secret);
        let Some(key) = keys.find_digest(&digest) else {
            return self.token(secret, digest, !keys.issuers().is_empty()).map(Some);
        };
        if key.has_expired(Timestamp::now()) {
            return Err(Error::Unauthenticated("this key has expired".into()));
        }
        Ok(Some(key.clone()))
    }

    /// Returns the rights of a token: as they were found before, while nothing that they follow from has changed, or else
    /// by its signature and claims.
    fn token(&self, shown: &[u8], digest: [u8; 32], has_issuers: bool) -> Result<Arc<Key>> {
        let now = Timestamp::now();
        if let Some(key) = self.issuers.remembered(&digest, now) {
            return Ok(key);
        }
        match if has_issuers { Token::read(shown) } else { None } {
            Some(Ok(token)) => self.issuers.rights(&token, digest, now),
            Some(Err(refusal)) => Err(issuers::refused(refusal)),
            None => Err(Error::Unauthenticated("this key is not known here".into())),
        }
    }

    /// Returns the entry that names the holder of a client certificate; `None` if none does.
    ///
    /// # Errors
    /// [`Error::Unauthenticated`] for an entry that has expired.
    pub(super) fn named(&self, principal: &str) -> Result<Option<Arc<Key>>> {
        let keys = self.keys.load();
        let Some(key) = keys.find_principal(principal) else { return Ok(None) };
        if key.has_expired(Timestamp::now()) {
            let name = quote(&key.name);
            return Err(Error::Unauthenticated(format!("the entry {name} for this client certificate has expired")));
        }
        Ok(Some(key.clone()))
    }
}

/// Returns the secret that a request shows.
fn secret(headers: &HeaderMap) -> Result<Option<&[u8]>> {
    let mut all = headers.get_all(header::AUTHORIZATION).iter().chain(headers.get_all(X_API_KEY).iter());
    let Some(first) = all.next() else { return Ok(None) };
    if all.next().is_some() {
        return Err(Error::Malformed("the request shows more than one key; send one".into()));
    }
    if !headers.contains_key(header::AUTHORIZATION) {
        return Ok(Some(first.as_bytes()));
    }
    let value = first.as_bytes();
    match value.split_at_checked(7) {
        Some((scheme, secret)) if scheme.eq_ignore_ascii_case(b"bearer ") => Ok(Some(secret.trim_ascii())),
        _ => Err(Error::Unauthenticated("the header Authorization must say \"Bearer KEY\"".into())),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::keys::Secret;

    fn entry(name: &str, secret: &Secret, more: &str) -> String {
        format!("[[key]]\nname = \"{name}\"\nsha256 = \"{}\"\nscopes = [\"read\"]\n{more}\n", secret.sha256)
    }

    fn headers(named: &[(HeaderName, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in named {
            headers.append(name, value.parse().unwrap());
        }
        headers
    }

    #[test]
    fn one_key_is_shown_in_one_of_two_headers() {
        let read = |named: &[(HeaderName, &str)]| secret(&headers(named)).map(|shown| shown.map(<[u8]>::to_vec));
        assert_eq!(read(&[]).unwrap(), None);
        assert_eq!(read(&[(X_API_KEY, "k")]).unwrap().unwrap(), b"k");
        assert_eq!(read(&[(header::AUTHORIZATION, "bEARER  k ")]).unwrap().unwrap(), b"k");
        for scheme in ["Basic azo=", "k", "Bearer", ""] {
            let refused = read(&[(header::AUTHORIZATION, scheme)]);
            assert!(matches!(refused, Err(Error::Unauthenticated(_))), "{scheme}");
        }
        for two in [
            [(X_API_KEY, "k"), (X_API_KEY, "k")],
            [(X_API_KEY, "k"), (header::AUTHORIZATION, "Bearer k")],
            [(header::AUTHORIZATION, "Bearer k"), (header::AUTHORIZATION, "Bearer k")],
        ] {
            assert!(matches!(read(&two), Err(Error::Malformed(_))));
        }
    }

    #[test]
    fn a_changed_file_counts_at_the_next_look_and_a_broken_one_does_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys.toml");
        let (one, two, old) = (Secret::new(), Secret::new(), Secret::new());
        let write = |text: String| {
            // As editors and Kubernetes do: another file takes the place.
            fs::write(folder.path().join("new"), text).unwrap();
            fs::rename(folder.path().join("new"), &path).unwrap();
        };
        write(entry("one", &one, "") + &entry("old", &old, "expires = 2020-01-01T00:00:00Z"));
        let failures = IntCounter::new("failures", "Failures.").unwrap();
        let ring = KeyRing::open(&path, failures.clone(), failures.clone()).unwrap();
        let shown = |secret: &Secret| ring.shown(&headers(&[(X_API_KEY, &secret.text)]));
        assert_eq!(shown(&one).unwrap().unwrap().name, "one");
        assert!(matches!(shown(&two), Err(Error::Unauthenticated(text)) if text.contains("not known")));
        assert!(matches!(shown(&old), Err(Error::Unauthenticated(text)) if text.contains("expired")));
        write(entry("two", &two, ""));
        assert!(shown(&two).is_err(), "nobody looked yet");
        ring.look();
        assert!(shown(&one).is_err());
        assert_eq!(shown(&two).unwrap().unwrap().name, "two");
        for broken in ["[[key]]".to_owned(), "\u{0}".to_owned()] {
            write(broken);
            ring.look();
            ring.look();
        }
        fs::remove_file(&path).unwrap();
        ring.look();
        assert_eq!(shown(&two).unwrap().unwrap().name, "two");
        assert_eq!(failures.get(), 3);
    }
}
