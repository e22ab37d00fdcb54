//! A chart of horizontal bars: the median of every measurement, a dot for each run, and the aim where there is one.

use super::{
    scale::{Scale, Spacing, written},
    statistics::Sample,
    svg::{Anchor, COLOURS, Svg},
};

const WIDTH: f64 = 760.0;
const TOP: f64 = 64.0;
const ROW: f64 = 38.0;
const BAR: f64 = 18.0;
const BOTTOM: f64 = 52.0;
/// Room for the values behind the longest bar.
const RIGHT: f64 = 190.0;
/// Width of a character of the labels, about.
const CHARACTER: f64 = 7.0;

/// A chart of bars.
#[derive(Clone, Debug)]
pub struct Bars {
    /// What is shown.
    pub title: String,
    /// How it was measured, or how to read it.
    pub subtitle: String,
    /// The quantity of the axis, with its unit.
    pub axis: String,
    /// The bars, from above.
    pub rows: Vec<Row>,
}

/// A bar.
#[derive(Clone, Debug)]
pub struct Row {
    /// What was measured.
    pub label: String,
    /// The runs.
    pub sample: Sample,
    /// Which colour: rows of one kind share one.
    pub colour: usize,
    /// Where the bar should end, and what to write there.
    pub limit: Option<(f64, String)>,
}

impl Row {
    /// A bar without a limit.
    pub fn new(label: impl Into<String>, sample: Sample, colour: usize) -> Self {
        Self { label: label.into(), sample, colour, limit: None }
    }

    /// The bar with a limit drawn across it.
    #[must_use]
    pub fn with_limit(mut self, value: f64, text: impl Into<String>) -> Self {
        self.limit = Some((value, text.into()));
        self
    }
}

impl Bars {
    /// Draws it.
    pub fn draw(&self) -> String {
        let longest = self.rows.iter().map(|row| row.label.chars().count()).max().unwrap_or(0);
        let left = 24.0 + CHARACTER * super::statistics::as_f64(longest);
        let bottom = TOP + ROW * super::statistics::as_f64(self.rows.len());
        let values = self.rows.iter().flat_map(|row| {
            let limit = row.limit.as_ref().map_or(0.0, |(value, _)| *value);
            [row.sample.median(), row.sample.quantile(0.9), limit]
        });
        let scale = Scale::of(Spacing::Linear, values, left, WIDTH - RIGHT);
        let mut svg = Svg::new(WIDTH, bottom + BOTTOM);
        svg.text("title", Anchor::Start, 16.0, 27.0, &self.title);
        svg.text("subtitle", Anchor::Start, 16.0, 47.0, &self.subtitle);
        for tick in scale.ticks() {
            let x = scale.place(tick);
            svg.line("grid", (x, TOP), (x, bottom));
            svg.text("tick", Anchor::Middle, x, bottom + 16.0, &written(tick));
        }
        let middle = f64::midpoint(left, WIDTH - RIGHT);
        svg.text("axis-title", Anchor::Middle, middle, bottom + 37.0, &self.axis);
        let mut top = TOP;
        for row in &self.rows {
            row.draw(&mut svg, &scale, left, top);
            top += ROW;
        }
        svg.line("axis", (left, TOP), (left, bottom));
        svg.finish(&self.title)
    }
}

impl Row {
    fn draw(&self, svg: &mut Svg, scale: &Scale, left: f64, top: f64) {
        let middle = top + ROW / 2.0;
        let sample = &self.sample;
        let end = scale.place(sample.median());
        svg.text("", Anchor::End, left - 8.0, middle + 4.5, &self.label);
        svg.rect(&format!("f{}", self.colour % COLOURS), left, middle - BAR / 2.0, end - left, BAR);
        let most = scale.place(sample.max()).min(WIDTH - RIGHT + 6.0);
        let mut after = end;
        if sample.runs() > 1 {
            svg.line("range", (scale.place(sample.min()), middle), (most, middle));
            for result in sample.results() {
                let x = scale.place(*result);
                // A disturbed run may be far outside; the table has it.
                if x <= WIDTH - RIGHT + 6.0 {
                    svg.dot("dot", x, middle, 2.2);
                }
            }
            after = end.max(most);
        }
        if let Some((limit, text)) = &self.limit {
            let x = scale.place(*limit);
            svg.line("limit", (x, top + 3.0), (x, top + ROW - 3.0));
            after = after.max(x);
            let value = written(sample.median());
            svg.text("strong", Anchor::Start, after + 10.0, middle + 4.5, &value);
            let x = after + 18.0 + CHARACTER * super::statistics::as_f64(value.len()) * 1.1;
            svg.text("limit-text", Anchor::Start, x, middle + 4.5, text);
        } else {
            svg.text("strong", Anchor::Start, after + 10.0, middle + 4.5, &written(sample.median()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart() -> String {
        let sample = |results: &[f64]| Sample::new(results.to_vec()).unwrap();
        Bars {
            title: "Cost".to_owned(),
            subtitle: "less is better".to_owned(),
            axis: "ns per packet".to_owned(),
            rows: vec![
                Row::new("hit", sample(&[40.0, 41.0, 44.0]), 0).with_limit(45.0, "aim ≤ 45"),
                Row::new("miss & fill", sample(&[250.0]), 1),
            ],
        }
        .draw()
    }

    #[test]
    fn shows_titles_labels_values_and_the_limit() {
        let chart = chart();
        for text in ["Cost", "less is better", "ns per packet", "hit", "miss &amp; fill", ">41<", ">250<"] {
            assert!(chart.contains(text), "no {text} in {chart}");
        }
        assert!(chart.contains("class=\"limit\"") && chart.contains("aim ≤ 45"));
    }

    #[test]
    fn has_a_dot_for_each_run_of_a_row_that_was_repeated() {
        assert_eq!(chart().matches("<circle").count(), 3);
    }

    #[test]
    fn a_longer_bar_is_a_larger_value() {
        let chart = chart();
        let widths: Vec<f64> = chart
            .lines()
            .filter(|line| line.starts_with("<rect class=\"f"))
            .map(|line| line.split("width=\"").nth(1).unwrap().split('"').next().unwrap().parse().unwrap())
            .collect();
        assert_eq!(widths.len(), 2);
        assert!((widths[1] / widths[0] - 250.0 / 41.0).abs() < 0.05, "{widths:?}");
    }
}
