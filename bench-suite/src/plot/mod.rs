//! Plots in the three forms the report needs: [`Xy`] (scatter, lines, roofline), [`Bars`] and
//! [`Stacked`].
//!
//! A plot is drawn for a width in CSS pixels, so that its text stays readable on a phone. Colours are
//! classes: inlined into a page they follow the page, as a file of its own a plot carries [`STYLE`]. Series
//! differ in the shape of their marks as well as in colour (Okabe and Ito's palette).

mod bars;
mod drawing;
mod scale;
pub(crate) mod svg;
pub(crate) mod tikz;
mod xy;

pub(crate) use bars::{Bar, Bars, Group, Row, Stacked};
pub(crate) use drawing::Drawing;
pub(crate) use scale::{Axis, grouped};
pub(crate) use svg::escape;
pub(crate) use xy::{Guide, Point, Series, Xy};

/// Rules for the classes used in plots; a page that inlines plots needs them once.
pub(crate) const STYLE: &str = "\
.plot{font:12px system-ui,-apple-system,'Segoe UI',Roboto,'Helvetica Neue',Arial,sans-serif;color:#1c2024}\
.plot text{fill:currentColor}.plot .axis{stroke:currentColor;stroke-width:1;opacity:.55;fill:none}\
.plot .grid{stroke:currentColor;stroke-width:1;opacity:.13}.plot .dim{opacity:.72}\
.plot .whisker{stroke:currentColor;stroke-width:1.4;fill:none}\
.plot .guide{stroke:currentColor;stroke-width:1;opacity:.4;stroke-dasharray:4 3;fill:none}\
.plot .roof{stroke:currentColor;stroke-width:1.6;opacity:.8;fill:none}\
.plot .line{fill:none;stroke-width:2;stroke-linejoin:round}.plot .bold{font-weight:600}\
.plot .mark{stroke:#fff;stroke-width:.8}.plot .halo{paint-order:stroke;stroke:#fff;stroke-width:3px;stroke-linejoin:round}\
.plot .paper{fill:#1c2024;stroke:#fff;stroke-width:1.2}.plot .hollow{fill:#fff;stroke:#1c2024;stroke-width:1.6}\
.f0{fill:#0072b2}.f1{fill:#d55e00}.f2{fill:#009e73}.f3{fill:#e69f00}.f4{fill:#cc79a7}.f5{fill:#56b4e9}.f6{fill:#8a8f98}\
.s0{stroke:#0072b2}.s1{stroke:#d55e00}.s2{stroke:#009e73}.s3{stroke:#e69f00}.s4{stroke:#cc79a7}.s5{stroke:#56b4e9}.s6{stroke:#8a8f98}\
.plot .on0,.plot .on1,.plot .on2{fill:#fff}.plot .on3,.plot .on4,.plot .on5,.plot .on6{fill:#111}\
@media (prefers-color-scheme:dark){.plot{color:#e4e7eb}.plot .mark{stroke:#15181c}.plot .halo{stroke:#15181c}\
.plot .paper{fill:#e4e7eb;stroke:#15181c}.plot .hollow{fill:#15181c;stroke:#e4e7eb}\
.f0{fill:#2f8fd0}.s0{stroke:#2f8fd0}.f1{fill:#e8702a}.s1{stroke:#e8702a}.f2{fill:#14b286}.s2{stroke:#14b286}}\
@media print{.plot{color:#000}.plot .mark,.plot .halo{stroke:#fff}}";

/// Number of colours; more series start over.
pub(crate) const COLOURS: usize = 7;

pub(crate) trait Plot {
    /// Draws for `width` CSS pixels.
    fn draw(&self, width: f64) -> Drawing;
}
