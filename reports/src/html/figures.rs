//! Where each figure of a page stands: drawn in it, packed, or in a file alone. A page of many datasets would otherwise
//! be many megabytes of drawings.

use super::embedded::packed;
use crate::Drawn;
use crate::figure::style::Column;
use maud::{Markup, PreEscaped, html};

/// Bytes of drawings that stand in the page as they are.
const PLAIN: usize = 600_000;

/// The part of the room for drawings that is theirs. The rest is for packed drawings, of which nobody sees one without the
/// script of the page.
const PART: f64 = 0.6;

/// Whether the page itself has a figure.
enum Shown {
    /// As an element.
    Plain,
    /// Deflated, in base64.
    Packed(String),
    /// In its files.
    Left,
}

/// The figures of a page with their places.
pub struct Figures<'a>(Vec<(&'a Drawn, Shown)>);

impl<'a> Figures<'a> {
    /// Finds the places in a room of so many bytes: the figures that come first in each section have room first.
    pub fn new(figures: &'a [Drawn], room: usize) -> Figures<'a> {
        let mut order: Vec<(usize, usize)> = Vec::new();
        let mut before: Vec<(Option<&str>, usize)> = Vec::new();
        for (at, figure) in figures.iter().enumerate() {
            let of = figure.dataset.as_deref();
            match before.iter_mut().find(|(name, _)| *name == of) {
                Some((_, rank)) => *rank += 1,
                None => before.push((of, 0)),
            }
            let rank = before.iter().find(|(name, _)| *name == of).map_or(0, |(_, rank)| *rank);
            order.push((rank, at));
        }
        order.sort_unstable();
        let mut places: Vec<Shown> = figures.iter().map(|_| Shown::Left).collect();
        let most = PLAIN.min((PART * room as f64) as usize);
        let (mut plain, mut small) = (0, 0);
        for (_, at) in order {
            let svg = figures[at].page_svg();
            if plain + svg.len() <= most {
                plain += svg.len();
                places[at] = Shown::Plain;
            } else if small < room - most {
                let text = packed(named(&figures[at]).as_bytes());
                if small + text.len() <= room - most {
                    small += text.len();
                    places[at] = Shown::Packed(text);
                }
            }
        }
        Figures(figures.iter().zip(places).collect())
    }

    /// The figures about a dataset, or about all datasets together. `files` are the formats of figures in files.
    pub fn about(&self, dataset: Option<&str>, files: &[&str]) -> Markup {
        html! {
            div.figures {
                @for (figure, shown) in self.0.iter().filter(|(figure, _)| figure.dataset.as_deref() == dataset) {
                    figure.drawn.single[figure.shown == Column::Single].double[figure.shown == Column::Double] {
                        @match shown {
                            Shown::Plain => { div.tools {} div.zoom aria-labelledby=(id(figure)) { (PreEscaped(named(figure))) } }
                            Shown::Packed(text) => {
                                div.tools {}
                                div.zoom aria-labelledby=(id(figure)) { p.hint { "This figure is unpacked when it comes into view." } }
                                script.packed type="text/plain" { (PreEscaped(text)) }
                            }
                            Shown::Left => p.hint { "This figure is left out, so that the page stays small." },
                        }
                        figcaption {
                            span id=(id(figure)) { (figure.caption) }
                            @if !files.is_empty() { (downloads(figure, files)) }
                        }
                    }
                }
            }
        }
    }
}

/// The links to the files of a figure.
fn downloads(figure: &Drawn, files: &[&str]) -> Markup {
    html! {
        span.files {
            @for (i, (column, _)) in figure.widths.iter().enumerate() {
                @if i > 0 { " · " }
                @if *column == Column::Single { "One column: " } @else { "Two columns: " }
                @for (i, file) in files.iter().enumerate() {
                    @if i > 0 { ", " }
                    a href=(format!("figures/{}.{file}", figure.file(*column))) { (file.to_uppercase()) }
                }
            }
        }
    }
}

/// Id of the caption.
fn id(figure: &Drawn) -> String {
    format!("figure-{}", figure.name)
}

/// The drawing with the name that screen readers say.
fn named(figure: &Drawn) -> String {
    let name = format!("<svg role=\"img\" aria-labelledby=\"{}\" ", id(figure));
    figure.page_svg().replacen("<svg ", &name, 1)
}
