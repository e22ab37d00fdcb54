//! Writes SVG: just the shapes that the charts need.
//!
//! Colours are classes, so that one drawing suits a light and a dark page.

use std::fmt::Write as _;

/// Colours and fonts. Series are told apart by lightness as well as by hue.
const STYLE: &str = "\
text{font-family:system-ui,-apple-system,'Segoe UI',Helvetica,Arial,sans-serif;font-size:13px;fill:#24292f}
.title{font-size:17px;font-weight:600}
.subtitle,.tick,.axis-title{fill:#57606a}
.tick,.small{font-size:11.5px}
.strong{font-weight:600}
.page{fill:#ffffff}
.grid{stroke:#d8dee4;stroke-width:1}
.axis{stroke:#8c959f;stroke-width:1}
.range{stroke:#24292f;stroke-width:1.2;opacity:.65}
.limit{stroke:#cf222e;stroke-width:1.6;stroke-dasharray:5 3}
.limit-text{fill:#cf222e;font-size:11.5px}
.curve{fill:none;stroke-width:2.2;stroke-linejoin:round}
.f0{fill:#0b6bcb}.f1{fill:#8a97a6}.f2{fill:#d07a00}.f3{fill:#1a7f5a}.f4{fill:#8250df}
.s0{stroke:#0b6bcb}.s1{stroke:#8a97a6}.s2{stroke:#d07a00}.s3{stroke:#1a7f5a}.s4{stroke:#8250df}
.dot{fill:#24292f;opacity:.5}
@media (prefers-color-scheme:dark){
text{fill:#e6edf3}
.subtitle,.tick,.axis-title{fill:#9198a1}
.page{fill:#0d1117}
.grid{stroke:#30363d}
.axis{stroke:#6e7681}
.range{stroke:#e6edf3}
.dot{fill:#e6edf3}
.limit{stroke:#ff7b72}
.limit-text{fill:#ff7b72}
.f0{fill:#4493f8}.f2{fill:#e0a030}.f3{fill:#3fb98a}.f4{fill:#ab7df8}
.s0{stroke:#4493f8}.s2{stroke:#e0a030}.s3{stroke:#3fb98a}.s4{stroke:#ab7df8}
}
";

/// How many series have a colour of their own.
pub const COLOURS: usize = 5;

/// Which end of a text is at its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Anchor {
    /// The text begins there.
    Start,
    /// The text is centred there.
    Middle,
    /// The text ends there.
    End,
}

/// A drawing in the making. Coordinates are pixels from the upper left corner.
#[derive(Clone, Debug)]
pub struct Svg {
    width: f64,
    height: f64,
    body: String,
}

impl Svg {
    /// An empty drawing on a filled page.
    pub fn new(width: f64, height: f64) -> Self {
        let mut svg = Self { width, height, body: String::new() };
        svg.rect("page", 0.0, 0.0, width, height);
        svg
    }

    /// A text on one line; `y` is its base line.
    pub fn text(&mut self, class: &str, anchor: Anchor, x: f64, y: f64, text: &str) {
        let anchor = match anchor {
            Anchor::Start => "start",
            Anchor::Middle => "middle",
            Anchor::End => "end",
        };
        self.element(format_args!(
            "<text class=\"{class}\" text-anchor=\"{anchor}\" x=\"{}\" y=\"{}\">{}</text>",
            number(x),
            number(y),
            escaped(text)
        ));
    }

    /// A straight line.
    pub fn line(&mut self, class: &str, from: (f64, f64), to: (f64, f64)) {
        self.element(format_args!(
            "<line class=\"{class}\" x1=\"{}\" y1=\"{}\" x2=\"{}\" y2=\"{}\"/>",
            number(from.0),
            number(from.1),
            number(to.0),
            number(to.1)
        ));
    }

    /// A rectangle.
    pub fn rect(&mut self, class: &str, x: f64, y: f64, width: f64, height: f64) {
        self.element(format_args!(
            "<rect class=\"{class}\" x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\"/>",
            number(x),
            number(y),
            number(width.max(0.0)),
            number(height.max(0.0))
        ));
    }

    /// A dot.
    pub fn dot(&mut self, class: &str, x: f64, y: f64, radius: f64) {
        self.element(format_args!(
            "<circle class=\"{class}\" cx=\"{}\" cy=\"{}\" r=\"{}\"/>",
            number(x),
            number(y),
            number(radius)
        ));
    }

    /// A line through all points.
    pub fn curve(&mut self, class: &str, points: &[(f64, f64)]) {
        let points: Vec<String> =
            points.iter().map(|(x, y)| format!("{},{}", number(*x), number(*y))).collect();
        self.element(format_args!("<polyline class=\"{class}\" points=\"{}\"/>", points.join(" ")));
    }

    /// The finished file; `title` is read out to those who do not see it.
    pub fn finish(self, title: &str) -> String {
        let (width, height) = (number(self.width), number(self.height));
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
             viewBox=\"0 0 {width} {height}\" role=\"img\">\n<title>{}</title>\n<style>\n{STYLE}</style>\n{}</svg>\n",
            escaped(title),
            self.body
        )
    }

    fn element(&mut self, element: std::fmt::Arguments<'_>) {
        // Writing to a string does not fail.
        let _ = writeln!(self.body, "{element}");
    }
}

/// Tenths of a pixel are enough, and keep the files small and their differences readable.
fn number(value: f64) -> String {
    let text = format!("{value:.1}");
    match text.strip_suffix(".0") {
        Some("-0") => "0".to_owned(),
        Some(whole) => whole.to_owned(),
        None => text,
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_shapes_at_their_places() {
        let mut svg = Svg::new(100.0, 50.0);
        svg.rect("f0", 1.0, 2.0, 3.25, -1.0);
        svg.line("axis", (0.0, 1.0), (2.0, 3.0));
        svg.dot("dot", 4.0, 5.0, 1.5);
        svg.curve("curve s0", &[(0.0, 0.0), (1.0, 2.5)]);
        let text = svg.finish("A title");
        for part in [
            "viewBox=\"0 0 100 50\"",
            "<title>A title</title>",
            "<rect class=\"f0\" x=\"1\" y=\"2\" width=\"3.2\" height=\"0\"/>",
            "<line class=\"axis\" x1=\"0\" y1=\"1\" x2=\"2\" y2=\"3\"/>",
            "<circle class=\"dot\" cx=\"4\" cy=\"5\" r=\"1.5\"/>",
            "<polyline class=\"curve s0\" points=\"0,0 1,2.5\"/>",
        ] {
            assert!(text.contains(part), "no {part} in {text}");
        }
    }

    #[test]
    fn escapes_what_is_markup() {
        let mut svg = Svg::new(1.0, 1.0);
        svg.text("small", Anchor::End, 0.0, 0.0, "a <b> & \"c\"");
        assert!(svg.finish("<t>").contains(">a &lt;b&gt; &amp; &quot;c&quot;</text>"));
    }

    #[test]
    fn every_colour_is_defined_for_fills_and_lines() {
        for colour in 0..COLOURS {
            assert!(STYLE.contains(&format!(".f{colour}{{")) && STYLE.contains(&format!(".s{colour}{{")));
        }
    }

    #[test]
    fn numbers_have_no_superfluous_digits() {
        assert_eq!([number(3.0), number(0.25), number(-0.01)], ["3", "0.2", "0"]);
    }
}
