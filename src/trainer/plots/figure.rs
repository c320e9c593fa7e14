//! One chart of lines and dots over an axis that may be logarithmic.

use plotters::prelude::*;

use super::{GRID, INK, failed};
use crate::error::Result;

/// What is drawn.
#[derive(Debug)]
pub(in crate::trainer) struct Figure<'f> {
    pub(in crate::trainer) title: &'f str,
    pub(in crate::trainer) x_label: &'f str,
    /// Whether x grows by factors; then it must be above 0.
    pub(in crate::trainer) log_x: bool,
    pub(in crate::trainer) series: Vec<Series<'f>>,
}

/// Points of one colour.
#[derive(Debug)]
pub(in crate::trainer) struct Series<'f> {
    pub(in crate::trainer) name: &'f str,
    pub(in crate::trainer) color: RGBColor,
    /// Dots rather than a line.
    pub(in crate::trainer) dots: bool,
    /// (x, y); what is not finite is left out.
    pub(in crate::trainer) points: Vec<(f64, f64)>,
}

impl Figure<'_> {
    /// The chart as SVG. The y axis shows what is below `top`, if that is given.
    ///
    /// # Errors
    /// [`Error::Internal`](crate::error::Error::Internal) when it cannot be drawn.
    pub(in crate::trainer) fn svg(&self, top: Option<f64>) -> Result<String> {
        let place = |x: f64| if self.log_x { x.log10() } else { x };
        let shown = |series: &Series<'_>| {
            let points = series.points.iter().map(|&(x, y)| (place(x), y));
            points
                .filter(|(x, y)| x.is_finite() && y.is_finite() && top.is_none_or(|top| *y <= top))
                .collect::<Vec<_>>()
        };
        let all: Vec<Vec<(f64, f64)>> = self.series.iter().map(shown).collect();
        let range = |of: fn(&(f64, f64)) -> f64| {
            let values = || all.iter().flatten().map(of);
            let (low, high) = (values().fold(f64::INFINITY, f64::min), values().fold(f64::NEG_INFINITY, f64::max));
            let (low, high) = if low <= high { (low, high) } else { (0.0, 1.0) };
            let margin = ((high - low) * 0.05).max(1e-4);
            low - margin..high + margin
        };
        let mut svg = String::new();
        {
            let root = SVGBackend::with_string(&mut svg, (720, 420)).into_drawing_area();
            root.fill(&WHITE).map_err(failed)?;
            let mut chart = ChartBuilder::on(&root)
                .margin(16)
                .caption(self.title, ("sans-serif", 18).into_font().color(&INK))
                .x_label_area_size(40)
                .y_label_area_size(64)
                .build_cartesian_2d(range(|point| point.0), range(|point| point.1))
                .map_err(failed)?;
            chart
                .configure_mesh()
                .x_desc(self.x_label)
                .x_label_formatter(&|x| if self.log_x { format!("{:.1e}", 10f64.powf(*x)) } else { format!("{x:.0}") })
                .y_label_formatter(&|y| format!("{y:.3}"))
                .axis_style(INK)
                .bold_line_style(GRID)
                .light_line_style(TRANSPARENT)
                .label_style(("sans-serif", 12).into_font().color(&INK))
                .draw()
                .map_err(failed)?;
            for (series, points) in self.series.iter().zip(&all) {
                let color = series.color;
                let drawn = if series.dots {
                    let dots = points.iter().map(|&point| Circle::new(point, 4, color.filled()));
                    chart.draw_series(dots).map_err(failed)?
                } else {
                    chart.draw_series(LineSeries::new(points.iter().copied(), color.stroke_width(2))).map_err(failed)?
                };
                drawn.label(series.name).legend(move |(x, y)| Circle::new((x + 9, y), 4, color.filled()));
            }
            chart
                .configure_series_labels()
                .background_style(WHITE.mix(0.8))
                .label_font(("sans-serif", 12).into_font().color(&INK))
                .draw()
                .map_err(failed)?;
            root.present().map_err(failed)?;
        }
        Ok(svg)
    }
}
