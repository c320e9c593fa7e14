//! The frame of a chart as SVG: scales, grid, axes, lines. Colours are the page's own, by class, so
//! that a chart follows its light and dark.

use super::words::escape;

/// How a number becomes a length.
#[derive(Debug, Clone, Copy)]
pub(super) enum Scale {
    /// In proportion.
    Linear { low: f64, high: f64 },
    /// By its logarithm; what is below `low` is drawn at `low`.
    Log { low: f64, high: f64 },
}

impl Scale {
    /// Where a number is, 0 to 1 from `low` to `high`.
    fn share(self, value: f64) -> f64 {
        match self {
            Self::Linear { low, high } => (value - low) / (high - low),
            Self::Log { low, high } => (value.max(low) / low).ln() / (high / low).ln(),
        }
    }
}

/// A tick: where it is and what it says.
pub(super) type Tick = (f64, String);

/// A chart that is being drawn.
#[derive(Debug)]
pub(super) struct Frame {
    svg: String,
    width: f64,
    height: f64,
    x: Scale,
    y: Scale,
}

/// Margins around the area that is drawn in.
const LEFT: f64 = 58.0;
const RIGHT: f64 = 14.0;
const TOP: f64 = 12.0;
const BOTTOM: f64 = 46.0;
/// Half the width of the thickest line.
const EDGE: f64 = 2.0;

impl Frame {
    /// An empty frame of this size in units of SVG.
    pub(super) fn new(width: f64, height: f64, x: Scale, y: Scale) -> Self {
        Self { svg: String::new(), width, height, x, y }
    }

    pub(super) fn x(&self, value: f64) -> f64 {
        LEFT + self.x.share(value) * (self.width - LEFT - RIGHT)
    }

    pub(super) fn y(&self, value: f64) -> f64 {
        self.height - BOTTOM - self.y.share(value) * (self.height - TOP - BOTTOM)
    }

    /// Adds an element.
    pub(super) fn push(&mut self, element: &str) {
        self.svg.push_str(element);
        self.svg.push('\n');
    }

    /// The grid with its ticks and the names of the axes.
    pub(super) fn grid(&mut self, x_ticks: &[Tick], y_ticks: &[Tick], x_name: &str, y_name: &str) {
        let (bottom, right) = (self.height - BOTTOM, self.width - RIGHT);
        for (value, text) in y_ticks {
            let y = self.y(*value);
            self.push(&format!(
                r#"<line class="grid" x1="{LEFT}" x2="{right:.1}" y1="{y:.1}" y2="{y:.1}"/><text class="tick" x="{:.1}" y="{:.1}" text-anchor="end">{}</text>"#,
                LEFT - 8.0,
                y + 4.0,
                escape(text)
            ));
        }
        for (value, text) in x_ticks {
            let x = self.x(*value);
            self.push(&format!(
                r#"<line class="grid" x1="{x:.1}" x2="{x:.1}" y1="{TOP}" y2="{bottom:.1}"/><text class="tick" x="{x:.1}" y="{:.1}" text-anchor="middle">{}</text>"#,
                bottom + 18.0,
                escape(text)
            ));
        }
        let (middle_x, middle_y) = ((LEFT + right) / 2.0, (TOP + bottom) / 2.0);
        self.push(&format!(
            r#"<text class="axis" x="{middle_x:.1}" y="{:.1}" text-anchor="middle">{}</text><text class="axis" transform="translate(13 {middle_y:.1}) rotate(-90)" text-anchor="middle">{}</text>"#,
            self.height - 8.0,
            escape(x_name),
            escape(y_name)
        ));
    }

    /// A line through points, cut off at the edges of the area; `title` is what a pointer on it shows.
    pub(super) fn line(&mut self, class: &str, title: &str, points: impl IntoIterator<Item = [f64; 2]>) {
        let points: Vec<String> =
            points.into_iter().map(|[x, y]| format!("{:.1},{:.1}", self.x(x), self.y(y))).collect();
        // A little more than the area, so that a line along an edge keeps its width.
        let (x, y) = (LEFT - EDGE, TOP - EDGE);
        let (width, height) = (self.width - LEFT - RIGHT + 2.0 * EDGE, self.height - TOP - BOTTOM + 2.0 * EDGE);
        let area = format!(r#"x="{x}" y="{y}" width="{width}" height="{height}" viewBox="{x} {y} {width} {height}""#);
        self.push(&format!(
            r#"<svg {area}><polyline class="{class}" points="{}"><title>{}</title></polyline></svg>"#,
            points.join(" "),
            escape(title)
        ));
    }

    /// The finished chart; `description` is read to those who cannot see it.
    pub(super) fn finish(self, description: &str) -> String {
        format!(
            "<svg viewBox=\"0 0 {} {}\" role=\"img\" aria-label=\"{}\">\n{}</svg>",
            self.width,
            self.height,
            escape(description),
            self.svg
        )
    }
}

/// About `count` round ticks from `low` to `high`, with as many decimals as they need.
pub(super) fn ticks(low: f64, high: f64, count: usize) -> Vec<Tick> {
    let raw = (high - low) / count.max(1) as f64;
    if raw.is_nan() || raw <= 0.0 || !raw.is_finite() {
        return Vec::new();
    }
    let power = 10f64.powf(raw.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].map(|nice| nice * power).into_iter().find(|step| *step >= raw).unwrap_or(raw);
    let decimals = (-step.log10().floor()).max(0.0) as usize;
    let first = (low / step - 1e-9).ceil() as i64;
    let last = (high / step + 1e-9).floor() as i64;
    (first..=last).map(|index| index as f64 * step).map(|value| (value, format!("{value:.decimals$}"))).collect()
}

/// Ticks of shares, in per cent.
pub(super) fn percent_ticks(low: f64, high: f64, count: usize) -> Vec<Tick> {
    ticks(low * 100.0, high * 100.0, count)
        .into_iter()
        .map(|(value, text)| (value / 100.0, format!("{text} %")))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_inside() {
        let texts = |low, high| ticks(low, high, 5).into_iter().map(|tick| tick.1).collect::<Vec<_>>();
        assert_eq!(texts(0.0, 1.0), ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]);
        assert_eq!(texts(0.9, 1.0), ["0.90", "0.92", "0.94", "0.96", "0.98", "1.00"]);
        assert_eq!(texts(1.0, 12.0), ["5", "10"]);
        assert!(texts(1.0, 1.0).is_empty() && texts(f64::NAN, 1.0).is_empty() && texts(0.0, f64::INFINITY).is_empty());
    }

    #[test]
    fn a_logarithmic_scale_draws_zero_at_its_lower_end() {
        let frame =
            Frame::new(200.0, 100.0, Scale::Log { low: 1e-4, high: 1.0 }, Scale::Linear { low: 0.0, high: 1.0 });
        assert_eq!((frame.x(0.0), frame.x(1e-4)), (LEFT, LEFT));
        assert!((frame.x(1e-2) - (frame.x(1.0) + LEFT) / 2.0).abs() < 1e-9);
        assert!(frame.y(1.0) < frame.y(0.0));
    }
}
