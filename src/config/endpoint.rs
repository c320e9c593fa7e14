//! An address that this server sends things to.

use crate::error::Error;

/// A URL of plain HTTP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Host and port as the URL has them.
    pub authority: String,
    /// What to connect to: host and port.
    pub address: String,
    /// Path and query.
    pub path: String,
}

impl Endpoint {
    /// Reads the URL that a setting names.
    ///
    /// # Errors
    /// [`Error::Config`] naming the setting. The message does not repeat the URL, which may hold a secret.
    pub fn parse(setting: &str, url: &str) -> Result<Self, Error> {
        let refuse = |problem: &str| Error::Config { setting: setting.to_owned(), problem: problem.to_owned() };
        if url.starts_with("https://") {
            return Err(refuse(
                "https is not spoken; name a proxy on this machine (http://127.0.0.1:PORT/…) that adds TLS",
            ));
        }
        let rest = url.strip_prefix("http://").ok_or_else(|| refuse("expected http://HOST[:PORT][/PATH]"))?;
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
            return Err(refuse("expected http://HOST[:PORT][/PATH]"));
        }
        let parsed: Option<http::uri::Authority> = authority.parse().ok();
        let address = match parsed.as_ref().and_then(http::uri::Authority::port_u16) {
            Some(_) => authority.to_owned(),
            None if authority.contains(':') && !authority.ends_with(']') => {
                return Err(refuse("the port is not a number from 0 to 65535"));
            }
            None => format!("{authority}:80"),
        };
        Ok(Self { authority: authority.to_owned(), address, path })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_of_plain_http_are_taken() {
        for (url, address, path) in [
            ("http://h", "h:80", "/"),
            ("http://h:8080/a/b?c=d#e", "h:8080", "/a/b?c=d"),
            ("http://[::1]:9/x", "[::1]:9", "/x"),
            ("http://[::1]", "[::1]:80", "/"),
            ("http://h?x=1", "h:80", "/?x=1"),
        ] {
            let endpoint = Endpoint::parse("s", url).unwrap();
            assert_eq!((endpoint.address.as_str(), endpoint.path.as_str()), (address, path), "{url}");
        }
        for bad in [
            "",
            "h:80",
            "http://",
            "http:///x",
            "ftp://h",
            "https://h",
            "http://u:p@h/",
            "http://h:99999/",
            "http://h:x/",
            "http://a b/",
            "http://h/a b",
        ] {
            let problem = Endpoint::parse("alarm-webhook", bad).unwrap_err().to_string();
            assert!(problem.contains("alarm-webhook"), "{bad}: {problem}");
        }
        let problem = Endpoint::parse("s", "https://h/secret").unwrap_err().to_string();
        assert!(problem.contains("proxy") && !problem.contains("secret"), "{problem}");
    }
}
