//! The look of everything that Weir draws: one page shell, one kit of charts, one palette for light and dark.
//!
//! A chart is made once and used twice: inside a page, whose colours it takes, and as an SVG file of its own, which
//! brings them along. Neither a page nor a file runs a script or loads anything. What is shown, and in which words, is
//! up to the trainer, the load generator and the server.

mod axis;
mod chart;
mod figure;
mod heat_map;
mod markup;
mod numbers;
mod page;
mod palette;
mod subject;

pub use axis::{Axis, Scale, Tick, decade_ticks, percent_ticks, span, ticks};
pub use chart::{Anchor, Chart, Drawing, Stroke};
pub use figure::{Figure, Panel};
pub use heat_map::heat_map;
pub use markup::{columns, escape, headline, image, section};
pub use numbers::{percent, resolved, short, significant};
pub use page::Page;
pub use palette::{Color, SHADES, Theme, switchable_variables};
pub use subject::{Document, Subject};
