//! A chart in the making: lines, dots, bars and their legend over two axes.

use super::axis::Axis;
use super::markup::escape;
use super::palette::Color;

/// Margins around the area that is drawn in.
const LEFT: f64 = 58.0;
const RIGHT: f64 = 14.0;
const TOP: f64 = 12.0;
const BOTTOM: f64 = 46.0;
/// Half the width of the thickest line.
const EDGE: f64 = 2.0;
/// The height of a row of the legend.
const LEGEND_ROW: f64 = 20.0;
/// The mark of a legend with the gap behind it, and the gap behind its text.
const LEGEND_MARK: f64 = 27.0;
const LEGEND_GAP: f64 = 18.0;

/// The stroke of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stroke {
    /// Whole.
    Solid,
    /// In dashes.
    Dashed,
    /// In dots.
    Dotted,
    /// Whole, thin and pale: one of many.
    Faint,
    /// Thin and dashed: no measurement, but what to compare with.
    Guide,
}

impl Stroke {
    fn class(self) -> &'static str {
        match self {
            Self::Solid => "stroke",
            Self::Dashed => "stroke dashed",
            Self::Dotted => "stroke dotted",
            Self::Faint => "stroke faint",
            Self::Guide => "stroke guide",
        }
    }
}

/// The side of its point that a text is written from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Anchor {
    /// The text begins at the point.
    Start,
    /// The text is centred on the point.
    Middle,
    /// The text ends at the point.
    End,
}

impl Anchor {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Middle => "middle",
            Self::End => "end",
        }
    }
}

/// A finished drawing: SVG elements, and the size of the area that they fill.
#[derive(Debug)]
pub struct Drawing {
    pub(super) width: f64,
    pub(super) height: f64,
    pub(super) description: String,
    pub(super) elements: String,
}

impl Drawing {
    /// Returns it as an element of a page, as wide as there is room, in the page's colours.
    pub fn embedded(&self) -> String {
        let Self { width, height, description, elements } = self;
        format!(
            "<svg class=\"chart\" viewBox=\"0 0 {width:.0} {height:.0}\" role=\"img\" aria-label=\"{}\">\n{elements}</svg>",
            escape(description)
        )
    }
}

/// A chart that is being drawn.
#[derive(Debug)]
pub struct Chart {
    elements: String,
    width: f64,
    height: f64,
    x: Axis,
    y: Axis,
    legend: Vec<Key>,
}

/// An entry of the legend.
#[derive(Debug)]
struct Key {
    color: Color,
    class: &'static str,
    text: String,
}

impl Chart {
    /// An empty chart of the usual size.
    pub fn new(x: Axis, y: Axis) -> Self {
        Self::sized(480.0, 340.0, x, y)
    }

    /// An empty chart of this size in units of SVG.
    pub fn sized(width: f64, height: f64, x: Axis, y: Axis) -> Self {
        let mut chart = Self { elements: String::new(), width, height, x, y, legend: Vec::new() };
        chart.grid();
        chart
    }

    /// Returns the horizontal place of a number.
    pub fn x(&self, value: f64) -> f64 {
        LEFT + self.x.scale.share(value) * (self.width - LEFT - RIGHT)
    }

    /// Returns the vertical place of a number.
    pub fn y(&self, value: f64) -> f64 {
        self.height - BOTTOM - self.y.scale.share(value) * (self.height - TOP - BOTTOM)
    }

    /// Draws the grid with its ticks and the names of the axes.
    fn grid(&mut self) {
        let (bottom, right) = (self.height - BOTTOM, self.width - RIGHT);
        for (value, text) in std::mem::take(&mut self.y.ticks) {
            let y = self.y(value);
            self.push(&format!(r#"<line class="grid" x1="{LEFT}" x2="{right:.1}" y1="{y:.1}" y2="{y:.1}"/>"#));
            self.text([LEFT - 8.0, y + 4.0], Anchor::End, Color::Soft, &text);
        }
        for (value, text) in std::mem::take(&mut self.x.ticks) {
            let x = self.x(value);
            self.push(&format!(r#"<line class="grid" x1="{x:.1}" x2="{x:.1}" y1="{TOP}" y2="{bottom:.1}"/>"#));
            self.text([x, bottom + 18.0], Anchor::Middle, Color::Soft, &text);
        }
        let (middle_x, middle_y) = ((LEFT + right) / 2.0, (TOP + bottom) / 2.0);
        let (x_name, y_name) = (escape(&self.x.name), escape(&self.y.name));
        self.push(&format!(
            r#"<text class="axis soft" x="{middle_x:.1}" y="{:.1}" text-anchor="middle">{x_name}</text><text class="axis soft" transform="translate(13 {middle_y:.1}) rotate(-90)" text-anchor="middle">{y_name}</text>"#,
            self.height - 8.0,
        ));
    }

    /// Draws a line through points, cut off at the edges of the area. A pointer on it shows `title`.
    pub fn line(
        &mut self,
        color: Color,
        stroke: Stroke,
        title: &str,
        points: impl IntoIterator<Item = [f64; 2]>,
    ) -> &mut Self {
        let points = points.into_iter().filter(|[x, y]| x.is_finite() && y.is_finite());
        let points: Vec<String> = points.map(|[x, y]| format!("{:.1},{:.1}", self.x(x), self.y(y))).collect();
        // A little more than the area, so that a line along an edge keeps its width.
        let (x, y) = (LEFT - EDGE, TOP - EDGE);
        let (width, height) = (self.width - LEFT - RIGHT + 2.0 * EDGE, self.height - TOP - BOTTOM + 2.0 * EDGE);
        let area = format!(r#"x="{x}" y="{y}" width="{width}" height="{height}" viewBox="{x} {y} {width} {height}""#);
        self.push(&format!(
            r#"<svg {area}><polyline class="{} {}" points="{}"><title>{}</title></polyline></svg>"#,
            stroke.class(),
            color.name(),
            points.join(" "),
            escape(title)
        ))
    }

    /// Draws a dot of this radius at each point.
    pub fn dots(&mut self, color: Color, radius: f64, points: impl IntoIterator<Item = [f64; 2]>) -> &mut Self {
        for [x, y] in points.into_iter().filter(|[x, y]| x.is_finite() && y.is_finite()) {
            let (x, y) = (self.x(x), self.y(y));
            self.push(&format!(r#"<circle class="dot {}" cx="{x:.1}" cy="{y:.1}" r="{radius}"/>"#, color.name()));
        }
        self
    }

    /// Draws a bar between two numbers of each axis, with this gap in units of SVG to the bars beside it. A pointer on
    /// it shows `title`.
    pub fn bar(&mut self, color: Color, [x, y]: [[f64; 2]; 2], gap: f64, title: &str) -> &mut Self {
        self.rectangle("bar", color, [x, y], gap, title)
    }

    /// Draws a paler area between two numbers of each axis, over what was drawn before.
    pub fn band(&mut self, color: Color, [x, y]: [[f64; 2]; 2], gap: f64, title: &str) -> &mut Self {
        self.rectangle("band", color, [x, y], gap, title)
    }

    fn rectangle(&mut self, class: &str, color: Color, [x, y]: [[f64; 2]; 2], gap: f64, title: &str) -> &mut Self {
        let ([left, right], [low, high]) = (x.map(|x| self.x(x)), y.map(|y| self.y(y)));
        self.push(&format!(
            r#"<rect class="{class} {}" x="{:.1}" y="{:.1}" width="{:.1}" height="{:.1}"><title>{}</title></rect>"#,
            color.name(),
            left + gap / 2.0,
            low.min(high),
            (right - left - gap).max(0.5),
            (low - high).abs(),
            escape(title)
        ))
    }

    /// Draws a vertical line between two numbers: the interval that a measurement lies in.
    pub fn whisker(&mut self, x: f64, [low, high]: [f64; 2]) -> &mut Self {
        let (x, low, high) = (self.x(x), self.y(low), self.y(high));
        self.push(&format!(r#"<line class="whisker ink" x1="{x:.1}" x2="{x:.1}" y1="{low:.1}" y2="{high:.1}"/>"#))
    }

    /// Writes a text at a place in units of SVG, as [`x`](Self::x) and [`y`](Self::y) give it.
    pub fn text(&mut self, [x, y]: [f64; 2], anchor: Anchor, color: Color, text: &str) -> &mut Self {
        self.push(&format!(
            r#"<text class="label {}" x="{x:.1}" y="{y:.1}" text-anchor="{}">{}</text>"#,
            color.name(),
            anchor.name(),
            escape(text)
        ))
    }

    /// Adds a line of this kind to the legend.
    pub fn key(&mut self, color: Color, stroke: Stroke, text: impl Into<String>) -> &mut Self {
        self.legend.push(Key { color, class: stroke.class(), text: text.into() });
        self
    }

    /// Adds an area to the legend, as a bar or a band is one.
    pub fn area_key(&mut self, color: Color, text: impl Into<String>) -> &mut Self {
        self.legend.push(Key { color, class: "band", text: text.into() });
        self
    }

    /// Adds a dot to the legend.
    pub fn dot_key(&mut self, color: Color, text: impl Into<String>) -> &mut Self {
        self.legend.push(Key { color, class: "dot", text: text.into() });
        self
    }

    fn push(&mut self, element: &str) -> &mut Self {
        self.elements.push_str(element);
        self.elements.push('\n');
        self
    }

    /// Returns the finished chart. The description is read to those who cannot see it.
    pub fn finish(mut self, description: &str) -> Drawing {
        let height = self.draw_legend();
        Drawing { width: self.width, height, description: description.to_owned(), elements: self.elements }
    }

    /// Draws the legend below the chart, in as many rows as it takes, and returns the height of both.
    fn draw_legend(&mut self) -> f64 {
        let (mut x, mut y) = (LEFT, self.height + 12.0);
        let legend = std::mem::take(&mut self.legend);
        for Key { color, class, text } in &legend {
            let width = LEGEND_MARK + text_width(text);
            if x > LEFT && x + width > self.width {
                (x, y) = (LEFT, y + LEGEND_ROW);
            }
            let (name, middle) = (color.name(), y - 4.0);
            let mark = match *class {
                "dot" => format!(r#"<circle class="dot {name}" cx="{:.1}" cy="{middle:.1}" r="4"/>"#, x + 10.0),
                "band" => format!(
                    r#"<rect class="band {name}" x="{:.1}" y="{:.1}" width="14" height="11"/>"#,
                    x + 3.0,
                    y - 10.0
                ),
                _ => format!(
                    r#"<line class="{class} {name}" x1="{x:.1}" x2="{:.1}" y1="{middle:.1}" y2="{middle:.1}"/>"#,
                    x + 20.0
                ),
            };
            self.push(&mark);
            self.text([x + LEGEND_MARK, y], Anchor::Start, Color::Ink, text);
            x += width + LEGEND_GAP;
        }
        if legend.is_empty() { self.height } else { y + 8.0 }
    }
}

/// Returns about the width of a text in units of SVG.
pub(super) fn text_width(text: &str) -> f64 {
    text.chars().count() as f64 * 6.6
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart() -> Chart {
        Chart::sized(200.0, 100.0, Axis::linear("a < b", 0.0, 1.0), Axis::linear("y", 0.0, 1.0))
    }

    #[test]
    fn numbers_grow_to_the_right_and_upwards() {
        let chart = chart();
        assert_eq!((chart.x(0.0), chart.x(1.0)), (LEFT, 200.0 - RIGHT));
        assert!(chart.y(1.0) < chart.y(0.0));
    }

    #[test]
    fn numbers_that_are_none_are_left_out_and_texts_stay_texts() {
        let mut chart = chart();
        chart.line(Color::Blue, Stroke::Solid, "<line>", [[0.0, f64::NAN], [0.5, 0.5], [f64::INFINITY, 0.0]]);
        chart.dots(Color::Orange, 3.0, [[0.5, f64::NAN], [1.0, 1.0]]);
        let svg = chart.finish("\"described\"").embedded();
        assert!(!svg.contains("NaN") && !svg.contains("inf"));
        assert_eq!(svg.matches("<circle").count(), 1);
        assert!(svg.contains("&lt;line&gt;") && svg.contains("a &lt; b") && svg.contains("&quot;described&quot;"));
    }

    #[test]
    fn a_legend_takes_the_rows_it_needs() {
        let height = |keys: usize| {
            let mut chart = chart();
            (0..keys).for_each(|key| {
                chart.key(Color::Shade(key as u8), Stroke::Solid, "a series");
            });
            chart.finish("").height
        };
        assert_eq!(height(0), 100.0);
        assert!(height(1) > 100.0 && height(2) > height(1));
    }
}
