//! The messages of parsers, made short: they repeat what a file holds, however long that is.

use crate::ids::printable;

/// The most characters of a parser's message.
const MAX_CHARS: usize = 200;

/// Returns what is wrong with a JSON document, and where.
pub(super) fn of_json(error: &serde_json::Error) -> String {
    let (text, place) = (error.to_string(), format!(" at line {} column {}", error.line(), error.column()));
    match text.strip_suffix(&place) {
        Some(said) => format!("{}{place}", printable(said, MAX_CHARS)),
        None => printable(&text, MAX_CHARS),
    }
}

/// Returns what is wrong with a TOML document, and where.
pub(super) fn of_toml(error: &toml::de::Error, document: &str) -> String {
    let said = printable(error.message(), MAX_CHARS);
    match error.span().and_then(|span| document.get(..span.start)) {
        Some(before) => {
            let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
            format!("line {}, column {column}: {said}", before.matches('\n').count() + 1)
        }
        None => said,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Settings {
        #[serde(rename = "default")]
        _default: bool,
    }

    #[test]
    fn messages_are_short_and_say_where() {
        let long = "x".repeat(100_000);
        let document = format!("default = true\n{long} = 1");
        let error = toml::from_str::<Settings>(&document).unwrap_err();
        let said = of_toml(&error, &document);
        assert!(said.starts_with("line 2, column 1: unknown field") && said.len() < 300, "{said}");
        let error = serde_json::from_str::<bool>(&format!("\n\"{long}\"")).unwrap_err();
        let said = of_json(&error);
        assert!(said.ends_with(" at line 2 column 100002") && said.len() < 300, "{said}");
    }
}
