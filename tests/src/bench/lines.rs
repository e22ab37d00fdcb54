//! A chart of curves, each with its name at its end.

use super::{
    scale::{Scale, Spacing, written},
    statistics::{Sample, as_f64},
    svg::{Anchor, COLOURS, Svg},
};

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 420.0;
const LEFT: f64 = 70.0;
const TOP: f64 = 90.0;
const RIGHT: f64 = 178.0;
const BOTTOM: f64 = 58.0;
/// Least distance between two names.
const LABEL: f64 = 15.0;

/// A chart of curves.
#[derive(Clone, Debug)]
pub struct Lines {
    /// What is shown.
    pub title: String,
    /// How it was measured, or how to read it.
    pub subtitle: String,
    /// The quantity of the horizontal axis, with its unit.
    pub x_axis: String,
    /// How it is spread.
    pub x_spacing: Spacing,
    /// The quantity of the vertical axis, with its unit.
    pub y_axis: String,
    /// The curves.
    pub series: Vec<Series>,
    /// Values of the vertical axis that should not be exceeded, and what to write there.
    pub y_limits: Vec<(f64, String)>,
    /// Values of the horizontal axis to mark, and what to write there.
    pub x_limits: Vec<(f64, String)>,
    /// Where the horizontal axis ends, when a few far points would make the rest unreadable.
    pub x_end: Option<f64>,
}

/// A curve.
#[derive(Clone, Debug)]
pub struct Series {
    /// What was measured.
    pub label: String,
    /// Which colour.
    pub colour: usize,
    /// Its points, from the left.
    pub points: Vec<Point>,
}

/// A point of a curve.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// On the horizontal axis.
    pub x: f64,
    /// On the vertical axis.
    pub y: f64,
    /// Smallest and largest result of the runs.
    pub range: Option<(f64, f64)>,
}

impl Point {
    /// The median of a sample, with its range.
    pub fn of(x: f64, sample: &Sample) -> Self {
        Self { x, y: sample.median(), range: Some((sample.min(), sample.max())) }
    }
}

impl Series {
    /// The share of a sample's results, in per cent, that are at most as large as the value on the horizontal axis.
    pub fn distribution(label: impl Into<String>, colour: usize, sample: &Sample) -> Self {
        let mut sorted = sample.results().to_vec();
        sorted.sort_by(f64::total_cmp);
        let share = |count: usize| 100.0 * as_f64(count) / as_f64(sorted.len());
        let point = |x: f64, y: f64| Point { x, y, range: None };
        let steps = sorted
            .iter()
            .enumerate()
            .flat_map(|(place, x)| [point(*x, share(place)), point(*x, share(place + 1))]);
        Self { label: label.into(), colour, points: steps.collect() }
    }
}

impl Lines {
    /// Draws it.
    pub fn draw(&self) -> String {
        let (right, bottom) = (WIDTH - RIGHT, HEIGHT - BOTTOM);
        let points = || self.series.iter().flat_map(|series| &series.points);
        let limits = |limits: &[(f64, String)]| limits.iter().map(|limit| limit.0).collect::<Vec<_>>();
        let end = self.x_end.unwrap_or(f64::INFINITY);
        let xs = points().map(|point| point.x.min(end)).chain(limits(&self.x_limits));
        let ys = points().map(|point| point.y).chain(limits(&self.y_limits));
        let x_scale = Scale::of(self.x_spacing, xs, LEFT, right);
        let y_scale = Scale::of(Spacing::Linear, ys, bottom, TOP);

        let mut svg = Svg::new(WIDTH, HEIGHT);
        svg.text("title", Anchor::Start, 16.0, 27.0, &self.title);
        svg.text("subtitle", Anchor::Start, 16.0, 47.0, &self.subtitle);
        svg.text("axis-title", Anchor::Start, 16.0, TOP - 13.0, &self.y_axis);
        svg.text("axis-title", Anchor::Middle, f64::midpoint(LEFT, right), HEIGHT - 16.0, &self.x_axis);
        for tick in y_scale.ticks() {
            let y = y_scale.place(tick);
            svg.line("grid", (LEFT, y), (right, y));
            svg.text("tick", Anchor::End, LEFT - 8.0, y + 4.0, &written(tick));
        }
        for tick in x_scale.ticks() {
            let x = x_scale.place(tick);
            svg.line("axis", (x, bottom), (x, bottom + 4.0));
            svg.text("tick", Anchor::Middle, x, bottom + 18.0, &written(tick));
        }
        svg.line("axis", (LEFT, bottom), (right, bottom));
        for (value, text) in &self.y_limits {
            let y = y_scale.place(*value);
            svg.line("limit", (LEFT, y), (right, y));
            svg.text("limit-text", Anchor::Start, LEFT + 6.0, y - 5.0, text);
        }
        // Each text a line lower than the last one, so that close ones do not cover each other.
        let mut y = bottom - LABEL * as_f64(self.x_limits.len());
        for (value, text) in &self.x_limits {
            let x = x_scale.place(*value);
            svg.line("limit", (x, TOP), (x, bottom));
            svg.text("limit-text", Anchor::Start, x + 5.0, y, text);
            y += LABEL;
        }
        for series in &self.series {
            series.draw(&mut svg, &x_scale, &y_scale);
        }
        self.name_series(&mut svg, &y_scale, right, bottom);
        svg.finish(&self.title)
    }

    /// Writes each name where its curve ends, moved apart where curves end close together.
    fn name_series(&self, svg: &mut Svg, y_scale: &Scale, right: f64, bottom: f64) {
        let mut ends: Vec<(f64, &Series)> = self
            .series
            .iter()
            .filter_map(|series| Some((y_scale.place(series.points.last()?.y), series)))
            .collect();
        ends.sort_by(|a, b| a.0.total_cmp(&b.0));
        // From below, so that the lowest name stays above the axis.
        let mut floor = bottom;
        for (y, series) in ends.iter().rev() {
            let y = y.min(floor);
            floor = y - LABEL;
            svg.dot(&format!("f{}", series.colour % COLOURS), right + 10.0, y, 4.0);
            svg.text("", Anchor::Start, right + 19.0, y + 4.5, &series.label);
        }
    }
}

impl Series {
    fn draw(&self, svg: &mut Svg, x_scale: &Scale, y_scale: &Scale) {
        let colour = self.colour % COLOURS;
        let places: Vec<(f64, f64)> =
            self.points.iter().map(|point| (x_scale.clipped(point.x), y_scale.place(point.y))).collect();
        svg.curve(&format!("curve s{colour}"), &places);
        for (point, (x, y)) in self.points.iter().zip(&places) {
            let Some((low, high)) = point.range else { continue };
            svg.line("range", (*x, y_scale.place(low)), (*x, y_scale.place(high).max(TOP)));
            svg.dot(&format!("f{colour}"), *x, *y, 3.6);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart(series: Vec<Series>) -> String {
        Lines {
            title: "Growth".to_owned(),
            subtitle: "how it grows".to_owned(),
            x_axis: "peers".to_owned(),
            x_spacing: Spacing::Logarithmic,
            y_axis: "ns".to_owned(),
            series,
            y_limits: vec![(45.0, "aim ≤ 45 ns".to_owned())],
            x_limits: Vec::new(),
            x_end: None,
        }
        .draw()
    }

    fn flat(label: &str, y: f64) -> Series {
        let points = [10.0, 1000.0].map(|x| Point { x, y, range: Some((y - 1.0, y + 1.0)) });
        Series { label: label.to_owned(), colour: 0, points: points.to_vec() }
    }

    #[test]
    fn shows_titles_names_and_the_limit() {
        let chart = chart(vec![flat("hit", 40.0), flat("miss", 250.0)]);
        for text in ["Growth", "how it grows", ">peers<", ">ns<", ">hit<", ">miss<", "aim ≤ 45 ns", ">1,000<"]
        {
            assert!(chart.contains(text), "no {text} in {chart}");
        }
        assert_eq!(chart.matches("<polyline").count(), 2);
    }

    #[test]
    fn names_of_curves_that_end_together_do_not_cover_each_other() {
        let chart = chart(vec![flat("one", 100.0), flat("two", 100.5), flat("three", 99.0)]);
        let mut places: Vec<f64> = chart
            .lines()
            .filter(|line| [">one<", ">two<", ">three<"].iter().any(|name| line.contains(name)))
            .map(|line| line.split(" y=\"").nth(1).unwrap().split('"').next().unwrap().parse().unwrap())
            .collect();
        places.sort_by(f64::total_cmp);
        assert!(places.windows(2).all(|pair| pair[1] - pair[0] >= LABEL - 0.2), "{places:?}");
    }

    #[test]
    fn a_distribution_ends_at_a_hundred_per_cent() {
        let sample = Sample::new(vec![3.0, 1.0, 2.0, 2.0]).unwrap();
        let series = Series::distribution("all", 0, &sample);
        let last = series.points.last().unwrap();
        let at = |x, y| Point { x, y, range: None };
        assert_eq!((series.points[0], *last), (at(1.0, 0.0), at(3.0, 100.0)));
        assert!(series.points.windows(2).all(|pair| pair[0].x <= pair[1].x && pair[0].y <= pair[1].y));
    }
}
