//! The issuers whose tokens are taken, with their public keys as they were last read.
//!
//! Files are looked at with the file of keys. URLs are asked by one task, at intervals and when a token names a key that is
//! not there; no request waits for an answer.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::{ArcSwap, ArcSwapOption};
use bytes::Bytes;
use futures_util::future::join_all;
use jiff::Timestamp;
use prometheus::IntCounter;
use quick_cache::sync::Cache;
use tokio::sync::watch;

use crate::api::watched::Watched;
use crate::config::Endpoint;
use crate::error::{Error, Result};
use crate::ids::quote;
use crate::keys::{Issuer, Jwks, Key, KeySet, Refusal, Token};
use crate::outbound::{Client, Destination};
use crate::trust::Trust;

/// The time after which public keys are fetched again.
const REFRESH: Duration = Duration::from_secs(600);
/// The shortest time between two fetches that tokens with unknown keys ask for.
const AGAIN: Duration = Duration::from_secs(30);
/// The time after the first fetch that failed; it doubles with each, up to half of the usual interval.
const FIRST_PAUSE: Duration = Duration::from_secs(2);
/// The time between two looks at what is due.
const LOOK: Duration = Duration::from_secs(1);
/// The largest file of public keys that is read.
const MAX_FILE_BYTES: u64 = 64 << 10;

/// The most tokens whose rights are remembered.
const MAX_REMEMBERED: usize = 4096;

/// All issuers.
pub(super) struct Issuers {
    all: ArcSwap<Vec<Arc<Known>>>,
    failures: IntCounter,
    /// The findings on tokens that are believed, by their digests; none on one that was refused.
    remembered: Cache<[u8; 32], Remembered>,
}

impl std::fmt::Debug for Issuers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let remembered = self.remembered.len();
        f.debug_struct("Issuers").field("all", &self.all).field("remembered", &remembered).finish_non_exhaustive()
    }
}

/// The rights of a token, and what they follow from. That these are the same objects still is what makes them hold: a
/// token that was verified while its issuer or the public keys changed is verified again.
#[derive(Debug, Clone)]
struct Remembered {
    key: Arc<Key>,
    known: Arc<Known>,
    keys: Arc<KeySet>,
}

#[derive(Debug)]
struct Known {
    issuer: Issuer,
    public: Arc<Public>,
}

/// The public keys of an issuer, which outlive a change of its rules.
#[derive(Debug)]
struct Public {
    keys: ArcSwapOption<KeySet>,
    source: Source,
    /// A token names a key that is not there.
    is_wanted: AtomicBool,
}

#[derive(Debug)]
enum Source {
    File(PathBuf, Watched),
    Url(Box<Remote>),
}

#[derive(Debug)]
struct Remote {
    asked: tokio::sync::Mutex<Asked>,
    due: Mutex<Due>,
}

/// The servers that are asked for public keys.
#[derive(Debug)]
struct Asked {
    /// For the discovery document, which names the URL of the keys.
    discovery: Option<Client>,
    /// For the keys, with their URL; `None` until it is discovered.
    keys: Option<(String, Client)>,
}

/// The moments at which public keys are fetched.
#[derive(Debug, Clone, Copy)]
struct Due {
    next: Instant,
    /// The last attempt.
    asked: Option<Instant>,
    failures: u32,
}

impl Due {
    fn at_once(now: Instant) -> Self {
        Self { next: now, asked: None, failures: 0 }
    }

    /// Returns true if it is time, which the attempt counts from.
    fn begin(&mut self, now: Instant, is_wanted: bool) -> bool {
        let may_again = self.asked.is_none_or(|asked| now >= asked + AGAIN);
        let is_due = now >= self.next || (is_wanted && may_again);
        if is_due {
            self.asked = Some(now);
        }
        is_due
    }

    fn end(&mut self, now: Instant, has_failed: bool) {
        self.failures = if has_failed { self.failures.saturating_add(1) } else { 0 };
        let pause = FIRST_PAUSE * 2_u32.saturating_pow(self.failures.saturating_sub(1).min(16));
        self.next = now + if has_failed { pause.min(REFRESH / 2) } else { REFRESH };
    }
}

impl Issuers {
    /// Begins with these issuers. `failures` counts public keys that could not be had.
    ///
    /// # Errors
    /// [`Error::Config`] when a file or an address of an issuer cannot be used.
    pub(super) fn open(issuers: &[Issuer], failures: IntCounter) -> Result<Self> {
        let all = issuers.iter().map(|issuer| Known::open(issuer).map(Arc::new)).collect::<Result<_>>()?;
        Ok(Self { all: ArcSwap::from_pointee(all), failures, remembered: Cache::new(MAX_REMEMBERED) })
    }

    /// Goes on with these issuers. One whose public keys are where they were keeps them, whatever else has changed.
    ///
    /// # Errors
    /// Those of [`Issuers::open`]; nothing changes then.
    pub(super) fn replace(&self, issuers: &[Issuer]) -> Result<()> {
        let before = self.all.load();
        let place = |issuer: &Issuer| (issuer.issuer.clone(), issuer.jwks.clone(), issuer.ca.clone());
        let same = |issuer: &Issuer| before.iter().find(|known| place(&known.issuer) == place(issuer));
        let known = |issuer: &Issuer| match same(issuer) {
            Some(known) => Ok(Arc::new(Known { issuer: issuer.clone(), public: known.public.clone() })),
            None => Known::open(issuer).map(Arc::new),
        };
        let all = issuers.iter().map(known).collect::<Result<_>>()?;
        self.all.store(Arc::new(all));
        self.remembered.clear();
        Ok(())
    }

    /// Returns the rights of a token that was verified before; `None` from its `exp` on, and once its issuer's entry or
    /// public keys have been read again.
    pub(super) fn remembered(&self, digest: &[u8; 32], now: Timestamp) -> Option<Arc<Key>> {
        let Remembered { key, known, keys } = self.remembered.get(digest)?;
        let is_current = self.all.load().iter().any(|current| Arc::ptr_eq(current, &known))
            && known.public.keys.load().as_ref().is_some_and(|current| Arc::ptr_eq(current, &keys));
        (is_current && !key.has_expired(now)).then_some(key)
    }

    /// Returns the rights of a token's subject, which are remembered by the token's digest, and notes if its key must be
    /// fetched.
    ///
    /// # Errors
    /// [`Error::Unauthenticated`] for a token that is not believed; [`Error::Forbidden`] for one that permits nothing;
    /// [`Error::NotReady`] while the issuer's public keys have not been had.
    pub(super) fn rights(&self, token: &Token<'_>, digest: [u8; 32], now: Timestamp) -> Result<Arc<Key>> {
        let all = self.all.load();
        let claimed = token.issuer().unwrap_or_default();
        let known = all.iter().find(|known| known.issuer.issuer == claimed).ok_or_else(|| {
            Error::Unauthenticated(format!(
                "the token has the \"iss\" {}, whose tokens are not taken here",
                quote(claimed)
            ))
        })?;
        let keys = known.public.keys.load();
        let Some(keys) = &*keys else {
            let reason = format!("the public keys of the issuer {} could not be had yet", quote(&known.issuer.name));
            return Err(Error::NotReady { reason });
        };
        let key = token.verify(&known.issuer, keys, now).map(Arc::new).map_err(|refusal| {
            if matches!(refusal, Refusal::UnknownKey(_)) {
                known.public.is_wanted.store(true, Ordering::Relaxed);
            }
            refused(refusal)
        })?;
        // In its leeway after "exp" a token is verified each time.
        if !key.has_expired(now) {
            let found = Remembered { key: key.clone(), known: known.clone(), keys: keys.clone() };
            self.remembered.insert(digest, found);
        }
        Ok(key)
    }

    /// Reads files of public keys that have changed. One that cannot be used leaves the keys as they are.
    pub(super) fn look(&self) {
        for known in self.all.load().iter() {
            let Source::File(path, watched) = &known.public.source else { continue };
            if let Some(problem) = watched.if_changed(|| read(path).map(|keys| known.take(keys))) {
                self.fail(known, &problem);
            }
        }
    }

    /// Fetches public keys again and again until `closed` turns true.
    pub(super) async fn keep(&self, mut closed: watch::Receiver<bool>) {
        let mut ticks = tokio::time::interval(LOOK);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                _ = closed.wait_for(|closed| *closed) => return,
            }
            tokio::select! {
                () = self.refresh(Instant::now()) => {}
                _ = closed.wait_for(|closed| *closed) => return,
            }
        }
    }

    /// Fetches what is due.
    async fn refresh(&self, now: Instant) {
        let all = self.all.load_full();
        join_all(all.iter().map(|known| self.refresh_one(known, now))).await;
    }

    async fn refresh_one(&self, known: &Known, now: Instant) {
        let Source::Url(remote) = &known.public.source else { return };
        let is_wanted = known.public.is_wanted.load(Ordering::Relaxed);
        let is_due = remote.due.lock().unwrap_or_else(PoisonError::into_inner).begin(now, is_wanted);
        if !is_due {
            return;
        }
        known.public.is_wanted.store(false, Ordering::Relaxed);
        let fetched = remote.fetch(&known.issuer).await;
        remote.due.lock().unwrap_or_else(PoisonError::into_inner).end(now, fetched.is_err());
        match fetched {
            Ok(keys) => known.take(keys),
            Err(problem) => self.fail(known, &problem),
        }
    }

    fn fail(&self, known: &Known, problem: &str) {
        self.failures.inc();
        let issuer = known.issuer.name.as_str();
        tracing::error!(issuer, problem, "the public keys of an issuer cannot be had; they stay as they were");
    }
}

impl Known {
    fn open(issuer: &Issuer) -> Result<Self> {
        let (source, keys) = match &issuer.jwks {
            Jwks::File(path) => {
                let watched = Watched::new([path.as_path()]);
                let refuse = |problem| refuse(issuer, &format!("jwks: {problem}"));
                (Source::File(path.clone(), watched), Some(read(path).map_err(refuse)?))
            }
            Jwks::Url(url) | Jwks::Discovered(url) => (Source::Url(Box::new(Remote::new(issuer, url)?)), None),
        };
        let keys = ArcSwapOption::from_pointee(keys);
        let public = Arc::new(Public { keys, source, is_wanted: AtomicBool::new(false) });
        Ok(Self { issuer: issuer.clone(), public })
    }

    fn take(&self, keys: KeySet) {
        let is_first = self.public.keys.load().is_none();
        let (issuer, count) = (self.issuer.name.as_str(), keys.len());
        self.public.keys.store(Some(Arc::new(keys)));
        if is_first {
            tracing::info!(issuer, keys = count, "the public keys of an issuer were read");
        }
    }
}

impl Remote {
    fn new(issuer: &Issuer, url: &str) -> Result<Self> {
        let client = Client::new(destination(issuer, url)?);
        let asked = match issuer.jwks {
            Jwks::Discovered(_) => Asked { discovery: Some(client), keys: None },
            Jwks::Url(_) | Jwks::File(_) => Asked { discovery: None, keys: Some((url.to_owned(), client)) },
        };
        Ok(Self { asked: tokio::sync::Mutex::new(asked), due: Mutex::new(Due::at_once(Instant::now())) })
    }

    /// Fetches the public keys, after the document that says where they are, if there is one. What is fetched and the
    /// authorities of a new address are read away from the threads of the network.
    async fn fetch(&self, issuer: &Issuer) -> std::result::Result<KeySet, String> {
        let mut asked = self.asked.lock().await;
        if let Some(discovery) = &mut asked.discovery {
            let found = document(discovery).await.map_err(|problem| format!("discovery: {problem}"))?;
            let known = asked.keys.as_ref().map(|(url, _)| url.clone());
            let issuer = issuer.clone();
            let moved = move || {
                let url = issuer.discovered(&found)?;
                if known.as_ref() == Some(&url) {
                    return Ok(None);
                }
                let destination = destination(&issuer, &url).map_err(|error| error.to_string())?;
                Ok(Some((url, Client::new(destination))))
            };
            if let Some(moved) = off_network(moved).await? {
                asked.keys = Some(moved);
            }
        }
        let (_, client) = asked.keys.as_mut().ok_or("the URL of the keys is not known")?;
        let document = document(client).await?;
        off_network(move || KeySet::parse(&document)).await
    }
}

/// Does work on a thread that may block: a file on a network may take its time, and so may a long document.
async fn off_network<T: Send + 'static>(
    work: impl FnOnce() -> std::result::Result<T, String> + Send + 'static,
) -> std::result::Result<T, String> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|_| {
        Err("reading what was fetched failed by a fault of Weir, which the log tells more of".into())
    })
}

async fn document(client: &mut Client) -> std::result::Result<Bytes, String> {
    match client.get().await? {
        (200, document) => Ok(document),
        (status, _) => Err(format!("expected status 200, got {status}")),
    }
}

/// Returns the address of a URL, with the authorities that vouch for it.
fn destination(issuer: &Issuer, url: &str) -> Result<Destination> {
    let endpoint = Endpoint::parse("keys", url).map_err(|error| refuse(issuer, &format!("jwks: {error}")))?;
    let trust = match (&issuer.ca, &endpoint.secured) {
        (Some(ca), _) => Some(Trust::of_file("keys", ca)?),
        (None, Some(_)) => Some(Trust::of_system("keys")?),
        (None, None) => None,
    };
    Ok(Destination { endpoint, trust })
}

/// Returns the error for a token that is refused.
pub(super) fn refused(refusal: Refusal) -> Error {
    match refusal {
        Refusal::UnknownKey(text) | Refusal::NotBelieved(text) => Error::Unauthenticated(text),
        Refusal::NoRights(text) => Error::Forbidden(text),
    }
}

/// Reads a file of public keys.
fn read(path: &PathBuf) -> std::result::Result<KeySet, String> {
    let unreadable = |error: std::io::Error| format!("the file cannot be read: {error}");
    let metadata = std::fs::metadata(path).map_err(unreadable)?;
    if !metadata.is_file() || metadata.len() > MAX_FILE_BYTES {
        return Err(format!("expected a plain file of at most {MAX_FILE_BYTES} bytes"));
    }
    KeySet::parse(&std::fs::read(path).map_err(unreadable)?)
}

fn refuse(issuer: &Issuer, problem: &str) -> Error {
    Error::Config { setting: "keys".into(), problem: format!("issuer {}: {problem}", quote(&issuer.name)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_fetched_at_intervals_with_pauses_and_when_one_is_missed() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut due = Due::at_once(start);
        assert!(due.begin(start, false), "the first at once");
        due.end(start, false);
        assert!(!due.begin(at(29), true), "not so soon again, however many ask");
        assert!(!due.begin(at(30), false) && due.begin(at(30), true));
        assert!(!due.begin(at(31), true), "while it is under way, and after it");
        due.end(at(31), true);
        assert!(!due.begin(at(32), false) && due.begin(at(33), false), "sooner after a failure");
        let mut now = 33;
        for pause in [4, 8, 16, 32, 64, 128, 256, 300, 300] {
            due.end(at(now), true);
            assert!(!due.begin(at(now + pause - 1), false), "{pause}");
            now += pause;
            assert!(due.begin(at(now), false), "{pause}");
        }
        due.end(at(now), false);
        assert!(!due.begin(at(now + 599), false) && due.begin(at(now + 600), false));
    }
    #[test]
    fn an_issuer_keeps_its_public_keys_when_only_its_rules_change() {
        let folder = tempfile::tempdir().unwrap();
        let fixtures: serde_json::Value = serde_json::from_str(include_str!("../../keys/token_fixtures.json")).unwrap();
        let (file, other) = (folder.path().join("jwks.json"), folder.path().join("other.json"));
        std::fs::write(&file, fixtures["jwks"].to_string()).unwrap();
        let issuers = |jwks: &str, more: &str| {
            let text = format!(
                "[[issuer]]\nname = \"corp\"\nissuer = \"https://i\"\naudience = [\"weir\"]\njwks = {jwks:?}\n{more}"
            );
            crate::keys::parse(&text, folder.path()).unwrap().issuers
        };
        let rule = "[[issuer.rule]]\nscopes = [\"read\"]";
        let failures = IntCounter::new("failures", "Failures.").unwrap();
        let known = Issuers::open(&issuers("jwks.json", rule), failures).unwrap();
        let public = || known.all.load()[0].public.clone();
        let first = public();
        assert!(first.keys.load().is_some());
        // Whoever would read the file again would find none.
        std::fs::remove_file(&file).unwrap();
        for more in [format!("leeway_seconds = 5\n{rule}"), rule.replace("read", "predict")] {
            let changed = issuers("jwks.json", &more);
            known.replace(&changed).unwrap();
            assert!(Arc::ptr_eq(&first, &public()), "{more}");
            assert_eq!(known.all.load()[0].issuer, changed[0], "the rules are the new ones");
        }
        assert!(known.replace(&issuers("other.json", rule)).is_err());
        assert!(Arc::ptr_eq(&first, &public()), "nothing changes then");
        std::fs::write(&other, fixtures["jwks"].to_string()).unwrap();
        known.replace(&issuers("other.json", rule)).unwrap();
        assert!(!Arc::ptr_eq(&first, &public()) && public().keys.load().is_some(), "keys of another place");
    }

    #[test]
    fn a_token_is_remembered_until_it_expires_or_what_it_follows_from_changes() {
        let fixtures: serde_json::Value = serde_json::from_str(include_str!("../../keys/token_fixtures.json")).unwrap();
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("jwks.json"), fixtures["jwks"].to_string()).unwrap();
        let text = "[[issuer]]\nname = \"corp\"\nissuer = \"https://login.example.org\"\naudience = [\"weir\"]\n\
                    jwks = \"jwks.json\"\n[[issuer.rule]]\nscopes = [\"read\"]";
        let entries = crate::keys::parse(text, folder.path()).unwrap().issuers;
        let issuers = Issuers::open(&entries, IntCounter::new("failures", "Failures.").unwrap()).unwrap();
        let at = |seconds| Timestamp::from_second(seconds).unwrap();
        let (now, exp) = (at(1_800_000_000), at(2_000_000_000));
        let ask = |name: &str, now| {
            let shown = fixtures["tokens"][name].as_str().unwrap();
            let digest = crate::keys::digest_of_secret(shown.as_bytes());
            let Some(Ok(token)) = Token::read(shown.as_bytes()) else { panic!("{name} is no token") };
            (digest, issuers.rights(&token, digest, now))
        };
        let (digest, first) = ask("RS256", now);
        let first = first.unwrap();
        assert!(issuers.remembered(&digest, now).is_some_and(|key| Arc::ptr_eq(&key, &first)));
        assert!(issuers.remembered(&digest, at(1_999_999_999)).is_some());
        assert!(issuers.remembered(&digest, exp).is_none(), "not a moment after \"exp\"");
        let (digest, good) = ask("ES256", at(2_000_000_030));
        assert!(good.is_ok() && issuers.remembered(&digest, now).is_none(), "in its leeway it is verified each time");
        let before = issuers.remembered.len();
        for name in ["HS256", "none", "RS512", "PS256"] {
            let (digest, refused) = ask(name, now);
            assert!(refused.is_err() && issuers.remembered(&digest, now).is_none(), "{name}");
        }
        assert_eq!(issuers.remembered.len(), before, "nothing that was refused takes a place");

        let (digest, _) = ask("RS256", now);
        let old = issuers.remembered.get(&digest).unwrap();
        issuers.replace(&entries).unwrap();
        assert!(issuers.remembered(&digest, now).is_none(), "the file was read again");
        issuers.remembered.insert(digest, old);
        assert!(
            issuers.remembered(&digest, now).is_none(),
            "who verified before that and enters after it enters nothing"
        );
        ask("RS256", now).1.unwrap();
        assert!(issuers.remembered(&digest, now).is_some());
        issuers.all.load()[0].take(KeySet::parse(fixtures["jwks"].to_string().as_bytes()).unwrap());
        assert!(issuers.remembered(&digest, now).is_none(), "the public keys were read again");
    }

    /// Answers each connection with a document, by its path, from a thread.
    fn serve(documents: Vec<(&'static str, String)>, listener: std::net::TcpListener) {
        use std::io::{Read as _, Write as _};
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(mut stream) = stream else { return };
                let mut request = vec![0; 4096];
                let read = stream.read(&mut request).unwrap_or(0);
                let text = String::from_utf8_lossy(&request[..read]).into_owned();
                let path = text.split(' ').nth(1).unwrap_or_default();
                let body = documents.iter().find(|(at, _)| *at == path).map_or("", |(_, body)| body.as_str());
                let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
                // A client that left needs no answer.
                drop(stream.write_all((head + body).as_bytes()));
            }
        });
    }

    #[test]
    fn what_is_fetched_is_read_away_from_the_threads_of_the_network() {
        let fixtures: serde_json::Value = serde_json::from_str(include_str!("../../keys/token_fixtures.json")).unwrap();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let discovery = serde_json::json!({"issuer": base, "jwks_uri": format!("{base}/jwks")}).to_string();
        serve(
            vec![("/.well-known/openid-configuration", discovery), ("/jwks", fixtures["jwks"].to_string())],
            listener,
        );
        let text = format!(
            "[[issuer]]\nname = \"corp\"\nissuer = \"{base}\"\naudience = [\"weir\"]\n[[issuer.rule]]\nscopes = [\"read\"]"
        );
        let entries = crate::keys::parse(&text, std::path::Path::new("")).unwrap().issuers;
        let failures = IntCounter::new("failures", "Failures.").unwrap();
        let issuers = Issuers::open(&entries, failures.clone()).unwrap();
        // Of this runtime only the threads that may block are threads of their own.
        let begun = Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let count = begun.clone();
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        runtime.enable_all().on_thread_start(move || _ = count.fetch_add(1, Ordering::SeqCst));
        let runtime = runtime.build().unwrap();
        runtime.block_on(issuers.refresh(Instant::now()));
        assert_eq!(failures.get(), 0);
        assert!(issuers.all.load()[0].public.keys.load().is_some());
        assert!(begun.load(Ordering::SeqCst) > 0);
    }
}
