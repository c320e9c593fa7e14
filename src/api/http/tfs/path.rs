//! The paths below `/v1`: the verb is part of the last segment, so the router cannot tell them apart.

use http::Method;

use crate::api::tfs::{ModelSpec, Wanted};
use crate::error::{Error, Result};
use crate::ids::printable;

/// The verb of a request to a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verb {
    Predict,
    Classify,
    Regress,
    /// KServe's; TensorFlow Serving has none.
    Explain,
}

/// What a request asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Wish {
    Ask(Verb, ModelSpec),
    Status(ModelSpec),
    Metadata(ModelSpec),
    /// The names of all models, as KServe lists them.
    List,
}

/// Reads a path behind `/v1/`. Its fixed parts and the verb may be in any case.
///
/// # Errors
/// [`Error::Malformed`] as TensorFlow Serving says it.
pub(super) fn parse(method: &Method, path: &str) -> Result<Wish> {
    let malformed = || Error::Malformed(format!("Malformed request: {method} /v1/{}", printable(path, 120)));
    let (rest, verb) = match *method {
        Method::POST => {
            let (rest, verb) = path.rsplit_once(':').ok_or_else(malformed)?;
            (rest, Some(parse_verb(verb).ok_or_else(malformed)?))
        }
        Method::GET | Method::HEAD => (path, None),
        _ => return Err(malformed()),
    };
    let mut segments = rest.split('/');
    let is = |segment: Option<&str>, word: &str| segment.is_some_and(|segment| segment.eq_ignore_ascii_case(word));
    if !is(segments.next(), "models") || rest.contains(':') {
        return Err(malformed());
    }
    let Some(name) = segments.next() else {
        return if verb.is_none() { Ok(Wish::List) } else { Err(malformed()) };
    };
    let mut segment = segments.next();
    let wanted = if is(segment, "versions") {
        let wanted = version(segments.next().ok_or_else(malformed)?, malformed)?;
        segment = segments.next();
        wanted
    } else if is(segment, "labels") {
        let label = segments.next().filter(|label| !label.is_empty()).ok_or_else(malformed)?;
        segment = segments.next();
        Wanted::Label(label.to_owned())
    } else {
        Wanted::Latest
    };
    if name.is_empty() || segments.next().is_some() {
        return Err(malformed());
    }
    let spec = ModelSpec { name: name.to_owned(), wanted };
    match (verb, segment) {
        (Some(verb), None) => Ok(Wish::Ask(verb, spec)),
        (None, None) => Ok(Wish::Status(spec)),
        (None, segment) if is(segment, "metadata") => Ok(Wish::Metadata(spec)),
        _ => Err(malformed()),
    }
}

fn parse_verb(word: &str) -> Option<Verb> {
    const VERBS: [(&str, Verb); 4] = [
        ("predict", Verb::Predict),
        ("classify", Verb::Classify),
        ("regress", Verb::Regress),
        ("explain", Verb::Explain),
    ];
    VERBS.iter().find(|(name, _)| name.eq_ignore_ascii_case(word)).map(|(_, verb)| *verb)
}

fn version(digits: &str, malformed: impl Fn() -> Error) -> Result<Wanted> {
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(malformed());
    }
    // TensorFlow Serving's versions are signed 64-bit numbers.
    let number = digits.parse::<i64>().ok().and_then(|number| u64::try_from(number).ok());
    number
        .map(Wanted::Version)
        .ok_or_else(|| Error::Malformed(format!("Failed to convert version: {} to numeric.", printable(digits, 40))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(name: &str, wanted: Wanted) -> ModelSpec {
        ModelSpec { name: name.into(), wanted }
    }

    #[test]
    fn paths_are_read_in_any_case() {
        for (method, path, wish) in [
            (Method::POST, "models/m:predict", Wish::Ask(Verb::Predict, spec("m", Wanted::Latest))),
            (Method::POST, "Models/M:CLASSIFY", Wish::Ask(Verb::Classify, spec("M", Wanted::Latest))),
            (Method::POST, "models/m/versions/7:regress", Wish::Ask(Verb::Regress, spec("m", Wanted::Version(7)))),
            (Method::POST, "models/m/Versions/007:predict", Wish::Ask(Verb::Predict, spec("m", Wanted::Version(7)))),
            (Method::POST, "models/m/labels/x:predict", Wish::Ask(Verb::Predict, spec("m", Wanted::Label("x".into())))),
            (Method::POST, "models/m:explain", Wish::Ask(Verb::Explain, spec("m", Wanted::Latest))),
            (Method::GET, "models", Wish::List),
            (Method::GET, "models/m", Wish::Status(spec("m", Wanted::Latest))),
            (Method::GET, "models/m/versions/0", Wish::Status(spec("m", Wanted::Version(0)))),
            (Method::HEAD, "models/m/metadata", Wish::Metadata(spec("m", Wanted::Latest))),
            (Method::GET, "models/m/labels/x/METADATA", Wish::Metadata(spec("m", Wanted::Label("x".into())))),
            (Method::GET, "models/metadata", Wish::Status(spec("metadata", Wanted::Latest))),
        ] {
            assert_eq!(parse(&method, path).unwrap(), wish, "{method} {path}");
        }
    }

    #[test]
    fn any_other_path_is_malformed() {
        for (method, path) in [
            (Method::POST, ""),
            (Method::POST, "models"),
            (Method::POST, "models:predict"),
            (Method::POST, "models/:predict"),
            (Method::POST, "models/m"),
            (Method::POST, "models/m:forecast"),
            (Method::POST, "models/m:predict:predict"),
            (Method::POST, "models/m:predict/"),
            (Method::POST, "models/m/metadata:predict"),
            (Method::POST, "models/m/versions:predict"),
            (Method::POST, "models/m/versions/:predict"),
            (Method::POST, "models/m/versions/one:predict"),
            (Method::POST, "models/m/versions/-1:predict"),
            (Method::POST, "models/m/labels/:predict"),
            (Method::POST, "models/m/versions/1/labels/x:predict"),
            (Method::GET, "models/"),
            (Method::GET, "models/m/"),
            (Method::GET, "models/m:predict"),
            (Method::GET, "models/m/metadata/x"),
            (Method::GET, "model/m"),
            (Method::PUT, "models/m:predict"),
            (Method::DELETE, "models/m"),
        ] {
            let refused = parse(&method, path).unwrap_err().to_string();
            assert_eq!(refused, format!("Malformed request: {method} /v1/{path}"));
        }
        let refused = parse(&Method::GET, "models/m/versions/9223372036854775808").unwrap_err().to_string();
        assert_eq!(refused, "Failed to convert version: 9223372036854775808 to numeric.");
    }
}
