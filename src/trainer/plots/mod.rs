//! Plots as SVG: the curves of a run, the confusion matrix of an evaluation, and figures of one chart.

mod figure;

use plotters::prelude::*;

pub(super) use self::figure::{Figure, Series};
use super::fit::EpochReport;
use crate::error::{Error, Result};
use crate::stats::Evaluation;

pub(super) const TRAINING: RGBColor = RGBColor(0x1f, 0x6f, 0xb4);
pub(super) const VALIDATION: RGBColor = RGBColor(0xd9, 0x5f, 0x02);
pub(super) const PALE: RGBColor = RGBColor(0xb8, 0xc4, 0xd0);
const INK: RGBColor = RGBColor(0x22, 0x2b, 0x35);
const GRID: RGBColor = RGBColor(0xe3, 0xe7, 0xeb);

/// Loss, and if there is one the accuracy, by epoch, training and validation.
pub(super) fn curves(history: &[EpochReport]) -> Result<String> {
    let (unit, has_accuracy) = (EpochReport::loss_unit(history), history.iter().any(|epoch| epoch.accuracy.is_some()));
    let mut svg = String::new();
    {
        let width = if has_accuracy { 960 } else { 480 };
        let root = SVGBackend::with_string(&mut svg, (width, 400)).into_drawing_area();
        root.fill(&WHITE).map_err(failed)?;
        let (left, right) = root.split_horizontally(480);
        let point = |value: &dyn Fn(&EpochReport) -> Option<f64>| {
            history.iter().filter_map(|report| Some((report.epoch as f64, value(report)?))).collect::<Vec<_>>()
        };
        let loss = [point(&|report| Some(report.loss)), point(&|report| report.validation.map(|v| v.loss))];
        let accuracy = [point(&|report| report.accuracy), point(&|report| report.validation.and_then(|v| v.accuracy))];
        chart(&left, &format!("loss ({unit})"), &loss)?;
        if has_accuracy {
            chart(&right, "accuracy", &accuracy)?;
        }
        root.present().map_err(failed)?;
    }
    Ok(svg)
}

type Area<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;

fn chart(area: &Area<'_>, title: &str, lines: &[Vec<(f64, f64)>; 2]) -> Result<()> {
    let points = || lines.iter().flatten();
    let last = points().map(|point| point.0).fold(1.0, f64::max);
    let low = points().map(|point| point.1).fold(f64::INFINITY, f64::min);
    let high = points().map(|point| point.1).fold(f64::NEG_INFINITY, f64::max);
    let (low, high) = if low.is_finite() { (low, high) } else { (0.0, 1.0) };
    let margin = ((high - low) * 0.08).max(1e-4);
    let mut chart = ChartBuilder::on(area)
        .margin(16)
        .caption(title, ("sans-serif", 18).into_font().color(&INK))
        .x_label_area_size(36)
        .y_label_area_size(56)
        .build_cartesian_2d(0.9..last + 0.1, low - margin..high + margin)
        .map_err(failed)?;
    chart
        .configure_mesh()
        .x_desc("epoch")
        .x_labels(last.min(10.0) as usize)
        .x_label_formatter(&|epoch| format!("{epoch:.0}"))
        .y_label_formatter(&|value| format!("{value:.3}"))
        .axis_style(INK)
        .bold_line_style(GRID)
        .light_line_style(TRANSPARENT)
        .label_style(("sans-serif", 12).into_font().color(&INK))
        .draw()
        .map_err(failed)?;
    for (line, (name, color)) in lines.iter().zip([("training (dropout on)", TRAINING), ("validation", VALIDATION)]) {
        if line.is_empty() {
            continue;
        }
        chart
            .draw_series(LineSeries::new(line.iter().copied(), color.stroke_width(2)).point_size(3))
            .map_err(failed)?
            .label(name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], color.stroke_width(2)));
    }
    chart
        .configure_series_labels()
        .background_style(WHITE.mix(0.8))
        .label_font(("sans-serif", 12).into_font().color(&INK))
        .draw()
        .map_err(failed)
}

/// The confusion matrix with a count in every cell; mistakes are shaded on a scale of their own,
/// since the diagonal outweighs them by far.
pub(super) fn confusion(labels: &[String], evaluation: &Evaluation) -> Result<String> {
    const CELL: i32 = 52;
    const MARGIN: i32 = 96;
    let classes = evaluation.confusion.len();
    let side = (MARGIN + CELL * classes as i32 + 24) as u32;
    let worst = evaluation
        .confusion
        .iter()
        .enumerate()
        .flat_map(|(truth, row)| {
            row.iter().enumerate().map(move |(guess, count)| if truth == guess { 0 } else { *count })
        })
        .max();
    let mut svg = String::new();
    {
        let root = SVGBackend::with_string(&mut svg, (side, side)).into_drawing_area();
        root.fill(&WHITE).map_err(failed)?;
        let text = |size: i32| {
            use plotters::style::text_anchor::{HPos, Pos, VPos};
            TextStyle::from(("sans-serif", size).into_font()).color(&INK).pos(Pos::new(HPos::Center, VPos::Center))
        };
        let middle = |index: usize| MARGIN + CELL * index as i32 + CELL / 2;
        for (truth, row) in evaluation.confusion.iter().enumerate() {
            let total = row.iter().sum::<u64>().max(1) as f64;
            for (guess, count) in row.iter().enumerate() {
                let strength = if truth == guess {
                    *count as f64 / total
                } else {
                    *count as f64 / worst.unwrap_or(0).max(1) as f64
                };
                let color = if truth == guess { TRAINING.mix(0.75 * strength) } else { VALIDATION.mix(0.6 * strength) };
                let (x, y) = (MARGIN + CELL * guess as i32, MARGIN + CELL * truth as i32);
                root.draw(&Rectangle::new([(x, y), (x + CELL - 2, y + CELL - 2)], color.filled())).map_err(failed)?;
                if *count > 0 {
                    root.draw(&Text::new(count.to_string(), (middle(guess), middle(truth)), text(14)))
                        .map_err(failed)?;
                }
            }
            let name = labels.get(truth).cloned().unwrap_or_else(|| truth.to_string());
            root.draw(&Text::new(name.clone(), (MARGIN - 20, middle(truth)), text(14))).map_err(failed)?;
            root.draw(&Text::new(name, (middle(truth), MARGIN - 18), text(14))).map_err(failed)?;
        }
        let centre = MARGIN + CELL * classes as i32 / 2;
        root.draw(&Text::new("predicted", (centre, 40), text(16))).map_err(failed)?;
        root.draw(&Text::new("true", (36, centre), text(16))).map_err(failed)?;
        root.present().map_err(failed)?;
    }
    Ok(svg)
}

fn failed(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::internal("a plot could not be drawn", error.to_string())
}
