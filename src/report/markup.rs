//! Pieces of HTML that every page is made of.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Returns text for HTML and SVG: no label or path can begin an element or leave an attribute.
pub fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
    }
    escaped
}

/// Returns a section with its heading, a sentence that explains it (or none), and its content as HTML.
pub fn section(heading: &str, lead: &str, content: &str) -> String {
    let lead = if lead.is_empty() { String::new() } else { format!("<p class=\"lead\">{}</p>", escape(lead)) };
    format!("<section><h2>{}</h2>{lead}{content}</section>", escape(heading))
}

/// Returns two columns, or one if there is no other, each with a heading over its content as HTML.
pub fn columns<'c>(columns: impl IntoIterator<Item = (&'c str, String)>) -> String {
    let column = |(heading, content): (&str, String)| format!("<div><h3>{}</h3>{content}</div>", escape(heading));
    format!("<div class=\"two\">{}</div>", columns.into_iter().map(column).collect::<String>())
}

/// Returns the section at the top of a page: one figure in large type, HTML below it, and the other figures as
/// (name, value).
pub fn headline((value, name): (&str, &str), below: &str, figures: &[(String, String)]) -> String {
    let tile =
        |(name, value): &(String, String)| format!("<div><b>{}</b><span>{}</span></div>", escape(value), escape(name));
    let tiles: String = figures.iter().map(tile).collect();
    format!(
        "<section class=\"head\"><div class=\"hero\"><b>{}</b><span>{}</span>{below}</div><div class=\"tiles\">{tiles}</div></section>",
        escape(value),
        escape(name)
    )
}

/// Returns an image that is part of the page.
pub fn image(png: &[u8], description: &str) -> String {
    format!("<img alt=\"{}\" src=\"data:image/png;base64,{}\">", escape(description), STANDARD.encode(png))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_a_text_is_markup() {
        assert_eq!(escape("<b a='\"'>&"), "&lt;b a=&#39;&quot;&#39;&gt;&amp;");
        let all = [
            section("<h>", "<l>", ""),
            columns([("<c>", String::new())]),
            headline(("<v>", "<n>"), "", &[("<a>".into(), "<b>".into())]),
            image(&[], "<i>"),
        ]
        .concat();
        for text in ["<h>", "<l>", "<c>", "<v>", "<n>", "<a>", "<b><", "<i>"] {
            assert!(!all.contains(text), "{text} in {all}");
        }
    }
}
