//! The worst mistakes as a gallery, with the images in the page itself.

use super::{ClassificationReport, ShownMistake};
use crate::report::{escape, image, percent};

/// Returns a figure for each mistake; empty without mistakes.
pub(super) fn gallery(report: &ClassificationReport) -> String {
    report.mistakes.iter().map(|mistake| figure(&report.labels, mistake)).collect::<Vec<_>>().join("\n")
}

fn figure(labels: &[String], mistake: &ShownMistake) -> String {
    let (is, said) = (escape(&labels[mistake.truth]), escape(&labels[mistake.predicted]));
    let picture = match mistake.png.as_slice() {
        [] => format!("<p>sample {}</p>", mistake.index),
        png => image(png, "a misclassified image"),
    };
    let confidence = percent(f64::from(mistake.confidence));
    format!(
        "<figure title=\"sample {}: {confidence} for {said}, {} for {is}\">{picture}\
         <figcaption><span class=\"is\">{is}</span><span class=\"as\">→</span><span class=\"said\">{said}</span><small>{confidence}</small></figcaption></figure>",
        mistake.index,
        percent(f64::from(mistake.truth_probability)),
    )
}
