//! What a figure says when a reader points at one of its values: the exact value, its interval, how many observations
//! are behind it, and the run, trials and source revision that it comes from. Viewers of SVG and browsers show it as a tooltip, and screen readers read it.

use super::style::SCALE;
use crate::number::significant;
use crate::statistics::Estimate;
use maud::Render;
use std::collections::HashSet;
use std::fmt::Write;

/// A region of a drawing and its text.
pub struct Mark {
    /// Centre, in drawing units.
    pub at: (i32, i32),
    /// Half of its width and height, in drawing units.
    pub half: (i32, i32),
    /// What it says.
    pub text: String,
}

/// Where points of a curve come from: run, trials and source revision, in words.
#[derive(Clone, Debug, PartialEq)]
pub struct Origin {
    /// The coordinates of the point; None if all points of the curve come from the same trials.
    pub at: Option<(f64, f64)>,
    /// The words.
    pub text: String,
}

/// The origins of the points at these coordinates, one line each, as the last part of a mark's text; empty if none is known. Points of
/// many seeds at one place have one origin.
pub fn origins_at(origins: &[Origin], at: (f64, f64)) -> String {
    let found = origins.iter().filter(|origin| origin.at.is_none_or(|place| place == at));
    let mut seen = HashSet::new();
    let named = found.filter(|origin| !origin.text.is_empty() && seen.insert(&origin.text));
    named.map(|origin| format!("\n{}", origin.text)).collect()
}

/// Half the side of a mark around a point, in figure units.
const POINT: i32 = 6;

impl Mark {
    /// A mark around a point.
    pub fn point(at: (i32, i32), text: String) -> Mark {
        Mark { at, half: (POINT * SCALE, POINT * SCALE), text }
    }
}

/// A value with its interval in words, with five significant digits.
pub fn describe(e: &Estimate) -> String {
    let number = |v: f64| significant(v, 5);
    match e.count {
        0 | 1 => number(e.value),
        n => format!("{} (95% interval {} to {}, n = {n})", number(e.value), number(e.low), number(e.high)),
    }
}

/// Adds marks to a drawing. They are invisible, and no marker covers them.
pub fn with_marks(mut svg: String, marks: &[Mark]) -> String {
    let Some(end) = svg.rfind("</svg>") else { return svg };
    let mut regions = String::new();
    for Mark { at: (x, y), half: (width, height), text } in marks {
        let text = escaped(text);
        // Writing to a string cannot fail.
        let _ = writeln!(
            regions,
            "<rect x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" fill=\"none\" pointer-events=\"all\"><title>{text}</title></rect>",
            x - width,
            y - height,
            2 * width,
            2 * height,
        );
    }
    svg.insert_str(end, &regions);
    svg
}

/// A text as content of an XML element. XML has no way to write control characters.
fn escaped(text: &str) -> String {
    let bare = |c: char| (c.is_control() && c != '\n') || matches!(c, '\u{fffe}' | '\u{ffff}');
    text.replace(bare, " ").as_str().render().into_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_well_formed_and_say_what_is_behind_a_value() {
        let estimate = Estimate { value: 0.25, low: 0.2, high: 0.3, count: 3 };
        assert_eq!(describe(&estimate), "0.25000 (95% interval 0.20000 to 0.30000, n = 3)");
        assert_eq!(describe(&Estimate { count: 1, ..estimate }), "0.25000");
        let origins = [
            Origin { at: Some((1.0, 0.5)), text: "run e, trials a1, revision 0123".into() },
            Origin { at: Some((2.0, 0.5)), text: "run e, trials b2, revision 0123".into() },
        ];
        assert_eq!(origins_at(&origins, (2.0, 0.5)), "\nrun e, trials b2, revision 0123");
        assert_eq!(origins_at(&origins, (3.0, 0.5)), "");
        assert_eq!(origins_at(&[Origin { at: None, text: "all".into() }], (3.0, 0.5)), "\nall");
        let mark = Mark::point((100, 200), "a <b> & \"c\"\u{1}".into());
        let svg = with_marks("<svg xmlns=\"http://www.w3.org/2000/svg\"></svg>\n".into(), &[mark]);
        let document = resvg::usvg::roxmltree::Document::parse(&svg).expect("well-formed");
        let title = document.descendants().find(|node| node.has_tag_name("title")).expect("one");
        assert_eq!(title.text(), Some("a <b> & \"c\" "));
        assert_eq!(title.parent().and_then(|rect| rect.attribute("x")), Some("40"));
    }
}
