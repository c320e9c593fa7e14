//! The requests to send: checked and prepared once, then sent many times.

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST, HeaderName, HeaderValue};
use http::uri::{PathAndQuery, Scheme};
use http::{HeaderMap, Method, Request, Uri};
use http_body_util::Full;

use crate::error::{Error, Result};
use crate::transform::media_type;

/// The image that is posted to `/predict` when no body is given: a handwritten 7.
pub const BUNDLED_DIGIT: &[u8] = include_bytes!("digit-7.png");

/// The largest number of different bodies.
pub const MAX_BODIES: usize = 10_000;

/// A request as the command line states it.
#[derive(Debug, Clone, Default)]
pub struct TargetOptions {
    /// `http://host[:port][/path][?query]`; the scheme may be left out.
    pub url: String,
    /// The method [default: POST with a body, else GET].
    pub method: Option<Method>,
    /// Further headers as `name: value`.
    pub headers: Vec<String>,
    /// Bodies, sent in turn. Without any, a path that ends in `/predict` gets [`BUNDLED_DIGIT`].
    pub bodies: Vec<Bytes>,
    /// The content type of the bodies [default: inferred from the bytes of each].
    pub content_type: Option<String>,
}

/// A server and the requests for it.
#[derive(Debug, Clone)]
pub struct Target {
    host: String,
    port: u16,
    url: String,
    method: Method,
    path: Uri,
    variants: Vec<(HeaderMap, Bytes)>,
}

impl Target {
    /// Checks and prepares the requests.
    ///
    /// # Errors
    /// [`Error::Config`] naming the option, the expected value and the given one.
    pub fn new(options: TargetOptions) -> Result<Self> {
        let uri = parse_url(&options.url)?;
        let authority = uri.authority().map_or("", |authority| authority.as_str());
        let path = uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
        let mut common = HeaderMap::new();
        common.insert(HOST, HeaderValue::from_str(authority).map_err(|_| refuse("URL", "has no host"))?);
        for header in &options.headers {
            let (name, value) = parse_header(header)?;
            if name == HOST || name == CONTENT_TYPE {
                common.insert(name, value);
            } else {
                common.append(name, value);
            }
        }
        let mut bodies = options.bodies;
        let is_get = options.method.as_ref().is_some_and(|method| method == Method::GET || method == Method::HEAD);
        if bodies.is_empty() && !is_get && path.path().trim_end_matches('/').ends_with("/predict") {
            bodies.push(Bytes::from_static(BUNDLED_DIGIT));
        }
        if bodies.len() > MAX_BODIES {
            return Err(refuse("--body", &format!("is given {} times; the limit is {MAX_BODIES}", bodies.len())));
        }
        let method = options.method.unwrap_or(if bodies.is_empty() { Method::GET } else { Method::POST });
        let content_type = options
            .content_type
            .map(|text| HeaderValue::from_str(&text).map_err(|_| refuse("--content-type", "is not a header value")))
            .transpose()?;
        let variant = |body: Bytes| {
            let mut headers = common.clone();
            match &content_type {
                Some(value) => drop(headers.insert(CONTENT_TYPE, value.clone())),
                None if !headers.contains_key(CONTENT_TYPE) => {
                    headers.insert(CONTENT_TYPE, HeaderValue::from_static(guess(&body)));
                }
                None => {}
            }
            (headers, body)
        };
        let variants = match bodies.is_empty() {
            true => vec![(common.clone(), Bytes::new())],
            false => bodies.into_iter().map(variant).collect(),
        };
        Ok(Self {
            host: uri.host().unwrap_or_default().trim_matches(['[', ']']).to_owned(),
            port: uri.port_u16().unwrap_or(80),
            url: format!("http://{authority}{path}"),
            method,
            path: Uri::from(path),
            variants,
        })
    }

    /// Returns the host to connect to, without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Returns the port to connect to.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Returns the whole URL.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Returns the method.
    pub fn method(&self) -> &Method {
        &self.method
    }

    /// Returns the number of different requests, which are sent in turn.
    pub fn variants(&self) -> usize {
        self.variants.len()
    }

    /// Returns the content type of the first body and the size of all bodies in bytes; `None` without a body.
    pub fn body(&self) -> Option<(&str, usize)> {
        let kind = self.variants[0].0.get(CONTENT_TYPE)?.to_str().unwrap_or_default();
        Some((kind, self.variants.iter().map(|(_, body)| body.len()).sum()))
    }

    /// Returns the request of this turn and the size of its body in bytes.
    pub(super) fn request(&self, turn: usize) -> (Request<Full<Bytes>>, u64) {
        let (headers, body) = &self.variants[turn % self.variants.len()];
        let mut request = Request::new(Full::new(body.clone()));
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.path.clone();
        *request.headers_mut() = headers.clone();
        (request, body.len() as u64)
    }
}

fn refuse(setting: &str, problem: &str) -> Error {
    Error::Config { setting: setting.into(), problem: problem.into() }
}

fn parse_url(text: &str) -> Result<Uri> {
    let refuse = |problem: &str| refuse("URL", &format!("\"{text}\" {problem}"));
    let whole = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
    let uri: Uri = whole.parse().map_err(|_| refuse("is not a URL; expected such as http://127.0.0.1:8080/predict"))?;
    if uri.scheme() != Some(&Scheme::HTTP) {
        return Err(refuse("is not http://; encrypted and other connections are not supported"));
    }
    if uri.host().is_none_or(str::is_empty) || uri.authority().is_some_and(|all| all.as_str().contains('@')) {
        return Err(refuse("must have a host and no user name"));
    }
    Ok(uri)
}

fn parse_header(text: &str) -> Result<(HeaderName, HeaderValue)> {
    let bad = || refuse("--header", &format!("\"{text}\" is not of the form 'name: value'"));
    let (name, value) = text.split_once(':').ok_or_else(bad)?;
    let name: HeaderName = name.trim().parse().map_err(|_| bad())?;
    if matches!(name.as_str(), "content-length" | "transfer-encoding") {
        return Err(refuse("--header", &format!("{name} follows from the body and cannot be set")));
    }
    Ok((name, HeaderValue::from_str(value.trim()).map_err(|_| bad())?))
}

/// Returns the content type that the first bytes suggest.
fn guess(body: &[u8]) -> &'static str {
    let first = body.iter().find(|byte| !byte.is_ascii_whitespace());
    media_type(body).unwrap_or(match first {
        Some(b'{' | b'[') => "application/json",
        _ => "application/octet-stream",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(url: &str, change: impl FnOnce(&mut TargetOptions)) -> Result<Target> {
        let mut options = TargetOptions { url: url.into(), ..TargetOptions::default() };
        change(&mut options);
        Target::new(options)
    }

    #[test]
    fn predict_gets_a_digit_and_other_paths_are_read() {
        let predict = target("http://localhost:8080/models/m/predict?top_k=2", |_| {}).unwrap();
        let (request, bytes) = predict.request(5);
        assert_eq!((request.method(), bytes), (&Method::POST, BUNDLED_DIGIT.len() as u64));
        assert_eq!(request.uri(), "/models/m/predict?top_k=2");
        assert_eq!(request.headers()[CONTENT_TYPE], "image/png");
        assert_eq!(request.headers()[HOST], "localhost:8080");
        let livez = target("127.0.0.1:8080/livez", |_| {}).unwrap();
        assert_eq!((livez.method(), livez.port(), livez.body()), (&Method::GET, 8080, None));
        assert_eq!(livez.url(), "http://127.0.0.1:8080/livez");
        let root = target("http://[::1]", |_| {}).unwrap();
        assert_eq!((root.host(), root.port(), root.url()), ("::1", 80, "http://[::1]/"));
        let read = target("http://h/predict", |options| options.method = Some(Method::GET)).unwrap();
        assert_eq!(read.body(), None);
    }

    #[test]
    fn bodies_take_turns_and_are_judged_by_their_bytes() {
        let bodies = [&b"\x89PNG\r\n\x1a\n"[..], b" {\"inputs\": []}", b"\xff\xd8\xff\xe0", b"words"];
        let target = target("http://h/x", |options| {
            options.bodies = bodies.iter().map(|body| Bytes::from_static(body)).collect();
            options.headers = vec!["X-Tag: a".into(), "x-tag: b".into()];
        })
        .unwrap();
        for (turn, kind) in
            ["image/png", "application/json", "image/jpeg", "application/octet-stream"].into_iter().enumerate()
        {
            for turn in [turn, turn + 4] {
                assert_eq!(target.request(turn).0.headers()[CONTENT_TYPE], kind);
            }
        }
        assert_eq!(target.request(0).0.headers().get_all("x-tag").iter().count(), 2);
        assert_eq!(target.method(), Method::POST);
    }

    #[test]
    fn what_cannot_be_sent_is_refused_with_a_reason() {
        for (url, header, hint) in [
            ("https://h/", None, "not http://"),
            ("ftp://h/", None, "not http://"),
            ("http://", None, "URL"),
            ("http://user@h/", None, "no user name"),
            ("http://h/ x", None, "is not a URL"),
            ("http://h/", Some("no colon"), "name: value"),
            ("http://h/", Some("content-length: 5"), "cannot be set"),
            ("http://h/", Some("bad name: x"), "name: value"),
        ] {
            let refused = target(url, |options| options.headers.extend(header.map(str::to_owned))).unwrap_err();
            assert!(refused.to_string().contains(hint), "{url} {header:?}: {refused}");
        }
    }
}
