//! The worst mistakes as a contact sheet, with the images in the page itself.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::Report;
use super::words::{escape, percent};

/// A figure for each mistake; empty without mistakes.
pub(super) fn contact_sheet(report: &Report) -> String {
    let figure = |mistake: &super::ShownMistake| {
        let (is, said) = (escape(&report.labels[mistake.truth]), escape(&report.labels[mistake.predicted]));
        let picture = match mistake.png.as_slice() {
            [] => format!("<p>sample {}</p>", mistake.index),
            png => format!("<img alt=\"a mistaken image\" src=\"data:image/png;base64,{}\">", STANDARD.encode(png)),
        };
        format!(
            "<figure title=\"sample {}: {} sure that {said}, {} that {is}\">{picture}\
             <figcaption><span class=\"is\">{is}</span><span class=\"as\">→</span><span class=\"said\">{said}</span><small>{}</small></figcaption></figure>",
            mistake.index,
            percent(f64::from(mistake.confidence)),
            percent(f64::from(mistake.truth_probability)),
            percent(f64::from(mistake.confidence))
        )
    };
    report.mistakes.iter().map(figure).collect::<Vec<_>>().join("\n")
}
