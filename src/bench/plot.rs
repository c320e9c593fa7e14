//! The plot of a run as SVG: a distribution or throughput on the left, percentile curves on the
//! right. Latencies are on a logarithmic scale, and so is the distance of a percentile from 100 %.

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::axis::{Axis, linear, milliseconds, percent, short, tick};
use super::latencies::{Bin, CurvePoint, Percentiles};
use crate::error::{Error, Result};

const BLUE: RGBColor = RGBColor(0x1f, 0x6f, 0xb4);
const ORANGE: RGBColor = RGBColor(0xd9, 0x5f, 0x02);
const RED: RGBColor = RGBColor(0xc0, 0x2b, 0x3a);
const INK: RGBColor = RGBColor(0x22, 0x2b, 0x35);
const PALE: RGBColor = RGBColor(0x6b, 0x77, 0x85);
const GRID: RGBColor = RGBColor(0xe3, 0xe7, 0xeb);
/// From a light load to a heavy one.
const LIGHT_TO_HEAVY: [(f64, f64, f64); 3] = [(120.0, 190.0, 230.0), (31.0, 111.0, 180.0), (110.0, 30.0, 90.0)];
/// More curves than this cannot be told apart; the first, the last and some between are drawn.
const MAX_CURVES: usize = 8;
/// Labels of loads that would be nearer than this, in pixels, are left out.
const LABEL_WIDTH: i32 = 48;
const LABEL_HEIGHT: i32 = 16;

/// A run to draw.
#[derive(Debug)]
pub struct Plot {
    /// What was measured.
    pub title: String,
    /// How.
    pub subtitle: String,
    /// The name of what [`PlotStep::throughput`] counts, such as `requests/s`.
    pub throughput_unit: &'static str,
    /// The name of what [`PlotStep::load`] says, such as `connections`.
    pub load_name: &'static str,
    /// Limits of latency as (quantile, milliseconds).
    pub limits: Vec<(f64, f64)>,
    /// The steps; those without answers are left out.
    pub steps: Vec<PlotStep>,
}

/// A step to draw.
#[derive(Debug)]
pub struct PlotStep {
    /// Its load, such as `32`.
    pub load: String,
    /// Its throughput.
    pub throughput: f64,
    /// Its percentiles.
    pub percentiles: Percentiles,
    /// Its percentile curve.
    pub curve: Vec<CurvePoint>,
    /// Its distribution.
    pub bins: Vec<Bin>,
}

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Chart<'a, 'b> = ChartContext<'a, SVGBackend<'b>, Cartesian2d<Axis, Axis>>;

/// Draws a run.
///
/// # Errors
/// [`Error::Internal`] when the drawing fails.
pub fn plot(plot: &Plot) -> Result<String> {
    let mut svg = String::new();
    {
        let root = SVGBackend::with_string(&mut svg, (1080, 480)).into_drawing_area();
        root.fill(&WHITE).map_err(failed)?;
        root.draw(&Text::new(plot.title.clone(), (24, 18), text(20, INK))).map_err(failed)?;
        root.draw(&Text::new(plot.subtitle.clone(), (24, 44), text(14, PALE))).map_err(failed)?;
        let (_, body) = root.split_vertically(64);
        let (left, right) = body.split_horizontally(540);
        match &plot.steps[..] {
            [] => {
                let nothing = Text::new("no answers", (440, 180), text(20, PALE));
                body.draw(&nothing).map_err(failed)?;
            }
            [only] => {
                distribution(&left, only)?;
                curves(&right, plot)?;
            }
            _ => {
                throughput(&left, plot)?;
                curves(&right, plot)?;
            }
        }
        root.present().map_err(failed)?;
    }
    Ok(svg)
}

/// How often each latency occurred.
fn distribution(area: &Area<'_>, step: &PlotStep) -> Result<()> {
    let total = step.bins.iter().map(|bin| bin.count).sum::<u64>().max(1) as f64;
    let share = |bin: &Bin| bin.count as f64 / total * 100.0;
    let tallest = step.bins.iter().map(share).fold(1.0, f64::max);
    let rows = step.percentiles;
    let mut chart = chart(area, "distribution", milliseconds(&[rows.min, rows.max]), linear(tallest * 1.14))?;
    describe(&mut chart, ("latency (ms)", &tick), ("% of answers", &|share| format!("{share}")))?;
    let bars = step.bins.iter().filter(|bin| bin.count > 0).map(|bin| {
        Rectangle::new([(bin.from_ms.log10(), 0.0), (bin.to_ms.log10(), share(bin))], BLUE.mix(0.55).filled())
    });
    chart.draw_series(bars).map_err(failed)?;
    for (name, value, color, height) in [("p50", rows.p50, INK, 1.12), ("p99", rows.p99, ORANGE, 1.06)] {
        let (x, top) = (value.log10(), tallest * height);
        chart.draw_series([PathElement::new([(x, 0.0), (x, top)], color.stroke_width(1))]).map_err(failed)?;
        // Beside its line, on the side where there is room.
        let (side, shift) = if chart.backend_coord(&(x, top)).0 > 470 { (HPos::Right, -4) } else { (HPos::Left, 4) };
        let style = text(13, color).pos(Pos::new(side, VPos::Top));
        let label = EmptyElement::at((x, top)) + Text::new(format!("{name} {}", short(value)), (shift, 0), style);
        chart.draw_series([label]).map_err(failed)?;
    }
    Ok(())
}

/// What more load costs.
fn throughput(area: &Area<'_>, plot: &Plot) -> Result<()> {
    let values: Vec<f64> = plot.steps.iter().flat_map(|step| [step.percentiles.p50, step.percentiles.p99]).collect();
    let most = plot.steps.iter().map(|step| step.throughput).fold(1e-9, f64::max);
    let mut chart = chart(area, "throughput and latency", linear(most * 1.08), milliseconds(&values))?;
    describe(&mut chart, (plot.throughput_unit, &|count| short(*count)), ("latency (ms)", &tick))?;
    type Pick = fn(&Percentiles) -> f64;
    let lines: [(&str, RGBColor, Pick); 2] =
        [("p50", BLUE, |rows: &Percentiles| rows.p50), ("p99", ORANGE, |rows: &Percentiles| rows.p99)];
    for (name, color, pick) in lines {
        let points: Vec<_> = plot.steps.iter().map(|step| (step.throughput, pick(&step.percentiles).log10())).collect();
        let line = LineSeries::new(points.iter().copied(), color.stroke_width(2));
        chart
            .draw_series(line)
            .map_err(failed)?
            .label(name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], color.stroke_width(2)));
        chart.draw_series(points.iter().map(|point| Circle::new(*point, 4, color.filled()))).map_err(failed)?;
    }
    let mut labelled: Vec<(i32, i32)> = Vec::new();
    for step in &plot.steps {
        let place = (step.throughput, step.percentiles.p99.log10());
        let (x, y) = chart.backend_coord(&place);
        if labelled.iter().any(|(left, top)| (x - left).abs() < LABEL_WIDTH && (y - top).abs() < LABEL_HEIGHT) {
            continue;
        }
        labelled.push((x, y));
        let style = text(12, INK).pos(Pos::new(HPos::Center, VPos::Center));
        let label = EmptyElement::at(place) + Text::new(step.load.clone(), (0, -14), style);
        chart.draw_series([label]).map_err(failed)?;
    }
    legend(&mut chart, SeriesLabelPosition::UpperLeft)
}

/// Percentile curves, with the limits of the service level.
fn curves(area: &Area<'_>, plot: &Plot) -> Result<()> {
    let place = |quantile: f64| -(1.0 - quantile.min(1.0 - 1e-9)).log10();
    // The smallest latency is infinitely rare; a line from it would say nothing.
    let drawn = |step: &PlotStep| step.curve.len().min(2).saturating_sub(1)..step.curve.len();
    let points = |step: &PlotStep| {
        let point = |point: &CurvePoint| (place(point.quantile), point.ms.log10());
        step.curve[drawn(step)].iter().map(point).collect::<Vec<_>>()
    };
    let last = plot.steps.iter().flat_map(&points).map(|point| point.0).fold(1.0, f64::max);
    let mut values: Vec<f64> = plot.steps.iter().flat_map(&points).map(|point| 10f64.powf(point.1)).collect();
    let largest = values.iter().copied().fold(0.0, f64::max);
    let limits = || plot.limits.iter().filter(|(_, limit)| *limit < largest * 10.0);
    values.extend(limits().map(|(_, limit)| *limit));
    let end = last * 1.04;
    let decades = (0..=end as usize).map(|decade| decade as f64).collect();
    let mut chart = chart(area, "percentiles", Axis::new(0.0, end, decades), milliseconds(&values))?;
    describe(&mut chart, ("share of answers that are not slower", &percent), ("latency (ms)", &tick))?;
    let drawn = chosen(plot.steps.len());
    for (order, index) in drawn.iter().enumerate() {
        let step = &plot.steps[*index];
        let color = if plot.steps.len() == 1 { BLUE } else { shade(order, drawn.len()) };
        let line = LineSeries::new(points(step), color.stroke_width(2));
        let series = chart.draw_series(line).map_err(failed)?;
        if plot.steps.len() > 1 {
            series
                .label(format!("{} {}", plot.load_name, step.load))
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], color.stroke_width(2)));
        }
    }
    for (quantile, limit) in limits() {
        let (x, y) = (place(*quantile).min(last), limit.log10());
        chart.draw_series(DashedLineSeries::new([(0.0, y), (x, y)], 6, 4, RED.stroke_width(1))).map_err(failed)?;
        let name = format!("limit p{} {} ms", short(quantile * 100.0), short(*limit));
        let label = EmptyElement::at((x, y)) + Cross::new((0, 0), 5, RED.stroke_width(2));
        chart.draw_series([label]).map_err(failed)?;
        let label = EmptyElement::at((0.0, y)) + Text::new(name, (6, -16), text(12, RED));
        chart.draw_series([label]).map_err(failed)?;
    }
    if plot.steps.len() > 1 { legend(&mut chart, SeriesLabelPosition::LowerRight) } else { Ok(()) }
}

fn chart<'a, 'b>(area: &'a Area<'b>, title: &str, x: Axis, y: Axis) -> Result<Chart<'a, 'b>> {
    ChartBuilder::on(area)
        .margin(16)
        .caption(title, text(16, INK))
        .x_label_area_size(44)
        .y_label_area_size(60)
        .build_cartesian_2d(x, y)
        .map_err(failed)
}

type Labels<'a> = (&'a str, &'a dyn Fn(&f64) -> String);

fn describe(chart: &mut Chart<'_, '_>, x: Labels<'_>, y: Labels<'_>) -> Result<()> {
    chart
        .configure_mesh()
        .x_desc(x.0)
        .x_label_formatter(x.1)
        .y_desc(y.0)
        .y_label_formatter(y.1)
        .axis_style(INK)
        .bold_line_style(GRID)
        .light_line_style(TRANSPARENT)
        .label_style(text(13, INK))
        .axis_desc_style(text(14, PALE))
        .draw()
        .map_err(failed)
}

fn legend<'a, 'b: 'a>(chart: &mut Chart<'a, 'b>, position: SeriesLabelPosition) -> Result<()> {
    chart
        .configure_series_labels()
        .position(position)
        .background_style(WHITE.mix(0.85))
        .border_style(GRID)
        .label_font(text(13, INK))
        .draw()
        .map_err(failed)
}

/// Which of so many curves are drawn.
fn chosen(count: usize) -> Vec<usize> {
    let drawn = count.min(MAX_CURVES);
    (0..drawn).map(|index| if drawn < 2 { 0 } else { index * (count - 1) / (drawn - 1) }).collect()
}

fn shade(index: usize, of: usize) -> RGBColor {
    let place = index as f64 / (of.max(2) - 1) as f64 * 2.0;
    let (a, b) = (LIGHT_TO_HEAVY[place as usize], LIGHT_TO_HEAVY[(place as usize + 1).min(2)]);
    let blend = |a: f64, b: f64| (a + (b - a) * place.fract()) as u8;
    RGBColor(blend(a.0, b.0), blend(a.1, b.1), blend(a.2, b.2))
}

fn text(size: i32, color: RGBColor) -> TextStyle<'static> {
    ("sans-serif", size).into_font().color(&color)
}

fn failed(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::internal("a plot could not be drawn", error.to_string())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::latencies::Latencies;
    use super::*;

    fn step(load: usize, micros: impl Iterator<Item = u64>) -> PlotStep {
        let mut latencies = Latencies::new().unwrap();
        micros.for_each(|value| latencies.record(Duration::from_micros(value)));
        PlotStep {
            load: load.to_string(),
            throughput: 100.0 * load as f64,
            percentiles: latencies.percentiles().unwrap(),
            curve: latencies.curve(),
            bins: latencies.bins(40),
        }
    }

    fn draw(steps: Vec<PlotStep>) -> String {
        let limits = vec![(0.99, 5.0), (1.0, 6.0), (0.5, 1e9)];
        let title = "a & b < c".to_owned();
        plot(&Plot {
            title,
            subtitle: String::new(),
            throughput_unit: "requests/s",
            load_name: "connections",
            limits,
            steps,
        })
        .unwrap()
    }

    #[test]
    fn any_number_of_steps_is_drawn_without_a_number_that_is_none() {
        for count in [0, 1, 2, 30] {
            let svg = draw((1..=count).map(|load| step(load, (0..2000).map(|n| n * load as u64 % 7001))).collect());
            assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"));
            assert!(!svg.contains("NaN") && !svg.contains("inf") && svg.contains("a &amp; b &lt; c"));
        }
        // One value, and the smallest one.
        for value in [0, 1, 3_600_000_000] {
            assert!(draw(vec![step(1, std::iter::once(value))]).contains("percentiles"));
        }
    }

    #[test]
    fn the_first_and_the_last_curve_are_always_drawn() {
        assert_eq!(chosen(1), [0]);
        assert_eq!(chosen(3), [0, 1, 2]);
        let many = chosen(100);
        assert_eq!((many.len(), many[0], many[MAX_CURVES - 1]), (MAX_CURVES, 0, 99));
    }
}
