//! Line charts of curves over training steps, as inline SVG.

use plotters::prelude::*;

use super::Curve;
use crate::{Fault, Result};

const SIZE: (u32, u32) = (760, 280);
const COLOURS: [RGBColor; 6] = [
    RGBColor(31, 111, 178),
    RGBColor(214, 93, 14),
    RGBColor(46, 139, 87),
    RGBColor(140, 80, 160),
    RGBColor(180, 40, 60),
    RGBColor(90, 90, 90),
];

/// Draws `curves` over one pair of axes; the vertical axis starts at zero.
///
/// # Errors
/// An internal fault when the drawing library refuses.
pub(super) fn lines(curves: &[Curve], vertical: &str) -> Result<String> {
    let points = || curves.iter().flat_map(|curve| &curve.points).filter(|(_, value)| value.is_finite());
    let last_step = points().map(|(step, _)| *step).max().unwrap_or(1).max(2);
    let top = points().map(|(_, value)| *value).fold(0.0, f64::max);
    let top = if top > 0.0 { top * 1.05 } else { 1.0 };
    let mut svg = String::new();
    draw(&mut svg, curves, vertical, last_step, top).map_err(|error| Fault::internal(format!("cannot draw a chart: {error}")))?;
    Ok(svg)
}

fn draw(svg: &mut String, curves: &[Curve], vertical: &str, last_step: u64, top: f64) -> Result<(), Box<dyn std::error::Error>> {
    let area = SVGBackend::with_string(svg, SIZE).into_drawing_area();
    area.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&area)
        .margin(12)
        .x_label_area_size(36)
        .y_label_area_size(64)
        .build_cartesian_2d(1u64..last_step, 0.0..top)?;
    chart
        .configure_mesh()
        .light_line_style(WHITE)
        .bold_line_style(RGBColor(232, 232, 232))
        .axis_style(RGBColor(120, 120, 120))
        .x_desc("training step")
        .y_desc(vertical)
        .y_label_formatter(&|value| number(*value))
        .draw()?;
    for (curve, colour) in curves.iter().zip(COLOURS.iter().cycle()) {
        let finite = curve.points.iter().copied().filter(|(_, value)| value.is_finite());
        chart
            .draw_series(LineSeries::new(finite, colour.stroke_width(2)))?
            .label(curve.name.as_str())
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], colour.stroke_width(2)));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperRight)
        .background_style(WHITE.mix(0.85))
        .border_style(RGBColor(210, 210, 210))
        .draw()?;
    area.present()?;
    Ok(())
}

/// Few digits, whatever the size: learning rates and losses share this axis format.
fn number(value: f64) -> String {
    if value != 0.0 && value.abs() < 1e-3 { format!("{value:.1e}") } else { format!("{}", (value * 1e4).round() / 1e4) }
}
