//! An SVG file of its own: a title and one drawing or several side by side.

use super::chart::Drawing;
use super::markup::escape;
use super::palette::{Theme, classes, resolved};

const CHART_STYLE: &str = include_str!("chart.css");

/// Space around everything, and between drawings.
const MARGIN: f64 = 20.0;
/// The height of a title, of a subtitle and of the name of a panel.
const TITLE: f64 = 30.0;
const SUBTITLE: f64 = 24.0;
const PANEL: f64 = 30.0;

/// A drawing with its name; the name may be empty.
#[derive(Debug)]
pub struct Panel {
    name: String,
    drawing: Drawing,
}

/// A figure in the making.
#[derive(Debug)]
pub struct Figure {
    title: String,
    subtitle: String,
    panels: Vec<Panel>,
}

impl Figure {
    /// A figure without a drawing; the subtitle may be empty.
    pub fn new(title: &str, subtitle: &str) -> Self {
        Self { title: title.to_owned(), subtitle: subtitle.to_owned(), panels: Vec::new() }
    }

    /// Adds a drawing to the right of those before.
    pub fn with(mut self, name: &str, drawing: Drawing) -> Self {
        self.panels.push(Panel { name: name.to_owned(), drawing });
        self
    }

    /// Returns the SVG file. It follows the light or dark theme of whoever shows it, where that is known.
    pub fn svg(&self) -> String {
        let named = self.panels.iter().any(|panel| !panel.name.is_empty());
        let mut top = MARGIN;
        let mut elements = String::new();
        for (text, class, height) in [(&self.title, "title ink", TITLE), (&self.subtitle, "subtitle soft", SUBTITLE)] {
            if !text.is_empty() {
                let y = top + height - 12.0;
                elements
                    .push_str(&format!("<text class=\"{class}\" x=\"{MARGIN}\" y=\"{y}\">{}</text>\n", escape(text)));
                top += height;
            }
        }
        let (mut left, mut bottom) = (MARGIN, top);
        for Panel { name, drawing } in &self.panels {
            let mut y = top;
            if named {
                let x = left + drawing.width / 2.0;
                elements.push_str(&format!(
                    "<text class=\"panel ink\" x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>\n",
                    y + PANEL - 10.0,
                    escape(name)
                ));
                y += PANEL;
            }
            elements.push_str(&format!(
                "<g transform=\"translate({left:.1} {y:.1})\" role=\"img\" aria-label=\"{}\">\n{}</g>\n",
                escape(&drawing.description),
                drawing.elements
            ));
            left += drawing.width + MARGIN;
            bottom = bottom.max(y + drawing.height);
        }
        let (width, height) = (left.max(MARGIN + 480.0).ceil(), (bottom + MARGIN).ceil());
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\">\n\
             <style>\n{}</style>\n<rect class=\"paper\" width=\"100%\" height=\"100%\"/>\n{elements}</svg>\n",
            style()
        )
    }
}

/// Returns the style of a file: its colours for light paper, and for dark where that is asked for.
fn style() -> String {
    let css =
        format!("svg {{ font-family: sans-serif; }}\n.paper {{ fill: var(--card); }}\n{}{CHART_STYLE}", classes());
    let (light, dark) = (resolved(&css, Theme::Light), resolved(&css, Theme::Dark));
    let changed: String =
        dark.lines().zip(light.lines()).filter(|(d, l)| d != l).map(|(d, _)| format!("{d}\n")).collect();
    format!("{light}@media (prefers-color-scheme: dark) {{\n{changed}}}\n")
}

#[cfg(test)]
mod tests {
    use super::super::{Axis, Chart, Color, Stroke};
    use super::*;

    #[test]
    fn a_file_brings_its_own_colors_for_light_and_dark() {
        let chart = || {
            let mut chart = Chart::new(Axis::linear("x", 0.0, 1.0), Axis::linear("y", 0.0, 1.0));
            chart.line(Color::Blue, Stroke::Solid, "", [[0.0, 0.0], [1.0, 1.0]]);
            chart.finish("a line")
        };
        let svg = Figure::new("a & b < c", "").with("left", chart()).with("right", chart()).svg();
        assert!(svg.starts_with("<svg xmlns") && svg.ends_with("</svg>\n"));
        assert!(
            svg.contains("a &amp; b &lt; c") && svg.contains("prefers-color-scheme: dark") && !svg.contains("var(")
        );
        assert_eq!(svg.matches("<svg").count(), svg.matches("</svg>").count());
        assert!(Figure::new("nothing", "at all").svg().contains("nothing"));
    }
}
