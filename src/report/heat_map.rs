//! A confusion matrix as a heat map.

use super::chart::{Anchor, Drawing};
use super::markup::escape;
use super::numbers::percent;
use super::palette::Color;

/// Above this many classes, cells are too small for numbers.
const MAX_NUMBERED: usize = 20;
/// Longer labels are cut off beside the axes.
const LABEL_FITS: usize = 8;

/// The places of a heat map.
struct Layout {
    margin: f64,
    cell: f64,
    numbered: bool,
}

/// Draws a confusion matrix: a row for each true class, a column for each answer. Right answers and mistakes have a
/// scale each, since the diagonal outweighs the rest by far; that of mistakes grows with the square root.
pub fn heat_map(labels: &[String], matrix: &[Vec<u64>]) -> Drawing {
    let classes = matrix.len();
    let numbered = classes <= MAX_NUMBERED;
    let layout = Layout {
        margin: if numbered { 76.0 } else { 30.0 },
        cell: (520.0 / classes.max(1) as f64).clamp(2.5, 56.0),
        numbered,
    };
    let (margin, extent) = (layout.margin, layout.cell * classes as f64);
    let mistakes = matrix.iter().enumerate().flat_map(|(t, row)| row.iter().enumerate().filter(move |(p, _)| *p != t));
    let worst = mistakes.map(|(_, count)| *count).max().unwrap_or(0).max(1);
    let mut elements = format!(
        "<rect class=\"cell well\" x=\"{margin}\" y=\"{margin}\" width=\"{extent:.1}\" height=\"{extent:.1}\" rx=\"4\"/>\n"
    );
    for (truth, row) in matrix.iter().enumerate() {
        let total = row.iter().sum::<u64>();
        for (predicted, count) in row.iter().enumerate().filter(|(_, count)| **count > 0) {
            elements.push_str(&layout.cell(labels, [truth, predicted], *count, [total, worst]));
        }
        if numbered {
            elements.push_str(&layout.label(truth, &labels[truth]));
        }
    }
    let centre = margin + extent / 2.0;
    elements.push_str(&format!(
        "<text class=\"name soft\" x=\"{centre:.1}\" y=\"16\" text-anchor=\"middle\">taken for</text>\
         <text class=\"name soft\" transform=\"translate(16 {centre:.1}) rotate(-90)\" text-anchor=\"middle\">is</text>\n"
    ));
    let side = margin + extent + 4.0;
    Drawing { width: side, height: side, description: "confusion matrix".into(), elements }
}

impl Layout {
    /// Returns one cell; `total` are the samples of its true class, `worst` the most frequent mistake of all.
    fn cell(&self, labels: &[String], [truth, predicted]: [usize; 2], count: u64, [total, worst]: [u64; 2]) -> String {
        let Self { margin, cell, numbered } = *self;
        let (x, y) = (margin + cell * predicted as f64, margin + cell * truth as f64);
        let share = count as f64 / total.max(1) as f64;
        let right = truth == predicted;
        let strength = if right { 0.15 + 0.75 * share } else { 0.12 + 0.78 * (count as f64 / worst as f64).sqrt() };
        let title = format!(
            "{count} of {total} of class {} taken for {} ({})",
            labels[truth],
            labels[predicted],
            percent(share)
        );
        let mut element = format!(
            r#"<g><title>{}</title><rect class="cell {}" fill-opacity="{strength:.2}" x="{x:.1}" y="{y:.1}" width="{:.1}" height="{:.1}" rx="{}"/>"#,
            escape(&title),
            if right { Color::Blue } else { Color::Orange }.name(),
            cell - 1.0,
            cell - 1.0,
            if numbered { 3 } else { 0 }
        );
        if numbered {
            let ink = if strength > 0.6 { Color::Strong } else { Color::Ink };
            element.push_str(&format!(
                r#"<text class="count {}" x="{:.1}" y="{:.1}" text-anchor="middle">{count}</text>"#,
                ink.name(),
                x + cell / 2.0,
                y + cell / 2.0 + 4.5
            ));
        }
        element + "</g>\n"
    }

    /// Returns the name of a class beside its row and above its column.
    fn label(&self, class: usize, label: &str) -> String {
        let middle = self.margin + self.cell * (class as f64 + 0.5);
        let edge = self.margin - 10.0;
        let name = escape(&short(label));
        let text = |x: f64, y: f64, anchor: Anchor| {
            format!(r#"<text class="name ink" x="{x:.1}" y="{y:.1}" text-anchor="{}">{name}</text>"#, anchor.name())
        };
        text(edge, middle + 4.0, Anchor::End) + &text(middle, edge, Anchor::Middle) + "\n"
    }
}

/// Returns a label that fits beside an axis.
fn short(label: &str) -> String {
    if label.chars().count() <= LABEL_FITS {
        return label.to_owned();
    }
    label.chars().take(LABEL_FITS - 1).chain(['…']).collect()
}
