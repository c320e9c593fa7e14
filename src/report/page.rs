//! The shell of a page: head, style, footer.

use super::markup::escape;
use super::palette::{classes, variables};

const PAGE_STYLE: &str = include_str!("page.css");
const CHART_STYLE: &str = include_str!("chart.css");

/// A page. It loads nothing and runs nothing, wherever it is opened.
#[derive(Debug)]
pub struct Page<'p> {
    /// The title, as text.
    pub title: &'p str,
    /// CSS of this page alone.
    pub style: &'p str,
    /// The content, as HTML.
    pub body: &'p str,
    /// The last line, as text.
    pub footer: &'p str,
}

impl Page<'_> {
    /// Returns the whole page.
    pub fn html(&self) -> String {
        format!(
            "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta http-equiv=\"content-security-policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; img-src data:\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>{}</title>\n\
             <style>\n{}{}{PAGE_STYLE}{CHART_STYLE}{}</style>\n\
             </head>\n<body>\n<main>\n{}\n<footer>{}</footer>\n</main>\n</body>\n</html>\n",
            escape(self.title),
            variables(),
            classes(),
            self.style,
            self.body,
            escape(self.footer)
        )
    }
}
