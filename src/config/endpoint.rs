//! An address that this server sends things to.

use crate::error::Error;

/// A URL of HTTP, plain or over TLS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Host and port as the URL has them.
    pub authority: String,
    /// What to connect to: host and port.
    pub address: String,
    /// Path and query.
    pub path: String,
    /// The name that the certificate of the other side must have; `None` over plain HTTP.
    pub secured: Option<String>,
}

impl Endpoint {
    /// Reads the URL that a setting names.
    ///
    /// # Errors
    /// [`Error::Config`] naming the setting. The message does not repeat the URL, which may hold a secret.
    pub fn parse(setting: &str, url: &str) -> Result<Self, Error> {
        let refuse = |problem: &str| Error::Config { setting: setting.to_owned(), problem: problem.to_owned() };
        let expected = "expected http://HOST[:PORT][/PATH] or https://HOST[:PORT][/PATH]";
        let (scheme, rest) = url.split_once("://").ok_or_else(|| refuse(expected))?;
        let is_secured = match scheme {
            "http" => false,
            "https" => true,
            _ => return Err(refuse(expected)),
        };
        let cut = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(cut);
        if authority.contains('@') {
            return Err(refuse("a user and password in the URL are not sent; leave them out"));
        }
        let path = path.split('#').next().unwrap_or_default();
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        let is_whole = http::uri::Authority::try_from(authority).is_ok_and(|authority| !authority.host().is_empty())
            && http::uri::PathAndQuery::try_from(path.as_str()).is_ok();
        if !is_whole {
            return Err(refuse(expected));
        }
        let parsed: Option<http::uri::Authority> = authority.parse().ok();
        let address = match parsed.as_ref().and_then(http::uri::Authority::port_u16) {
            Some(_) => authority.to_owned(),
            None if authority.contains(':') && !authority.ends_with(']') => {
                return Err(refuse("the port is not a number from 0 to 65535"));
            }
            None => format!("{authority}:{}", if is_secured { 443 } else { 80 }),
        };
        let host = parsed.as_ref().map_or(authority, http::uri::Authority::host);
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        Ok(Self { authority: authority.to_owned(), address, path, secured: is_secured.then_some(host) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_of_http_are_taken() {
        for (url, address, path, secured) in [
            ("http://h", "h:80", "/", None),
            ("http://h:8080/a/b?c=d#e", "h:8080", "/a/b?c=d", None),
            ("http://[::1]:9/x", "[::1]:9", "/x", None),
            ("http://[::1]", "[::1]:80", "/", None),
            ("http://h?x=1", "h:80", "/?x=1", None),
            ("https://h.example/x", "h.example:443", "/x", Some("h.example")),
            ("https://[::1]:9", "[::1]:9", "/", Some("::1")),
            ("https://127.0.0.1:8443", "127.0.0.1:8443", "/", Some("127.0.0.1")),
        ] {
            let endpoint = Endpoint::parse("s", url).unwrap();
            assert_eq!((endpoint.address.as_str(), endpoint.path.as_str()), (address, path), "{url}");
            assert_eq!(endpoint.secured.as_deref(), secured, "{url}");
        }
        for bad in [
            "",
            "h:80",
            "http://",
            "http:///x",
            "ftp://h",
            "https://",
            "https:///x",
            "http://u:p@h/",
            "http://h:99999/",
            "http://h:x/",
            "http://a b/",
            "http://h/a b",
        ] {
            let problem = Endpoint::parse("alarm-webhook", bad).unwrap_err().to_string();
            assert!(problem.contains("alarm-webhook"), "{bad}: {problem}");
        }
        let problem = Endpoint::parse("s", "https://u@h/secret").unwrap_err().to_string();
        assert!(problem.contains("password") && !problem.contains("secret"), "{problem}");
    }
}
