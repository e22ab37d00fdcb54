//! Where a value is on an axis, and which values are written at it.

/// How values are spread over an axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spacing {
    /// Equal differences are equally far apart; the axis starts at zero.
    Linear,
    /// Equal ratios are equally far apart.
    Logarithmic,
}

/// An axis: values between `from` and `to` lie between the pixels `start` and `end`.
#[derive(Clone, Copy, Debug)]
pub struct Scale {
    spacing: Spacing,
    from: f64,
    to: f64,
    start: f64,
    end: f64,
}

impl Scale {
    /// An axis that shows all of `values`, with a little room at its upper end.
    pub fn of(spacing: Spacing, values: impl IntoIterator<Item = f64>, start: f64, end: f64) -> Self {
        let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
        for value in values {
            low = low.min(value);
            high = high.max(value);
        }
        let (from, to) = match spacing {
            _ if !high.is_finite() || high <= 0.0 => {
                (if spacing == Spacing::Linear { 0.0 } else { 1.0 }, 10.0)
            }
            Spacing::Linear => {
                let step = step(high);
                (0.0, (high / step).ceil() * step)
            }
            Spacing::Logarithmic => {
                let low = if low > 0.0 { low } else { high / 1000.0 };
                (low, if high > low { high } else { low * 10.0 })
            }
        };
        Self { spacing, from, to, start, end }
    }

    /// The pixel of `value`.
    pub fn place(&self, value: f64) -> f64 {
        let share = match self.spacing {
            Spacing::Linear => (value - self.from) / (self.to - self.from),
            Spacing::Logarithmic => {
                (value.max(self.from * 0.5).ln() - self.from.ln()) / (self.to.ln() - self.from.ln())
            }
        };
        self.start + (self.end - self.start) * share
    }

    /// The pixel of `value`, or the end of the axis when it is beyond.
    pub fn clipped(&self, value: f64) -> f64 {
        self.place(value.min(self.to))
    }

    /// Values to write at the axis: round ones, at most about eight.
    pub fn ticks(&self) -> Vec<f64> {
        match self.spacing {
            Spacing::Linear => {
                let step = step(self.to);
                (0..=20).map(|n| f64::from(n) * step).take_while(|tick| *tick <= self.to * 1.0001).collect()
            }
            Spacing::Logarithmic => {
                let decades = (self.to / self.from).log10();
                let within = if decades < 1.5 { &[1.0, 2.0, 5.0][..] } else { &[1.0] };
                (-6..=9)
                    .flat_map(|power| within.iter().map(move |digit| digit * 10_f64.powi(power)))
                    .filter(|tick| *tick >= self.from * 0.999 && *tick <= self.to * 1.001)
                    .collect()
            }
        }
    }
}

/// A round distance between ticks that gives four to eight of them up to `high`.
fn step(high: f64) -> f64 {
    let magnitude = 10_f64.powf((high / 4.0).log10().floor());
    [5.0, 2.0, 1.0]
        .into_iter()
        .map(|digit| digit * magnitude)
        .find(|step| high / step >= 3.9)
        .unwrap_or(magnitude)
}

/// A value as it is written: three digits that mean something, thousands set apart.
pub fn written(value: f64) -> String {
    let size = value.abs();
    if size >= 1000.0 {
        let whole = format!("{value:.0}");
        let (sign, digits) = whole.strip_prefix('-').map_or(("", whole.as_str()), |digits| ("-", digits));
        let mut text = String::from(sign);
        for (place, digit) in digits.chars().enumerate() {
            if place > 0 && (digits.len() - place).is_multiple_of(3) {
                text.push(',');
            }
            text.push(digit);
        }
        return text;
    }
    let text = match size {
        _ if size >= 100.0 => format!("{value:.0}"),
        _ if size >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    };
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_linear_axis_starts_at_zero_and_shows_the_largest_value() {
        let scale = Scale::of(Spacing::Linear, [3.0, 41.0], 100.0, 200.0);
        assert!((scale.place(0.0) - 100.0).abs() < 1e-9);
        assert!(scale.place(41.0) <= 200.0);
        assert!(scale.ticks().len() >= 4 && scale.ticks().len() <= 11, "{:?}", scale.ticks());
    }

    #[test]
    fn a_logarithmic_axis_has_its_decades_equally_far_apart() {
        let scale = Scale::of(Spacing::Logarithmic, [10.0, 100_000.0], 0.0, 400.0);
        assert_eq!(scale.ticks(), [10.0, 100.0, 1000.0, 10_000.0, 100_000.0]);
        assert!((scale.place(100.0) - 100.0).abs() < 1e-6 && (scale.place(10_000.0) - 300.0).abs() < 1e-6);
    }

    #[test]
    fn every_tick_is_on_the_axis() {
        for high in [0.07, 1.0, 4.6, 45.0, 99.0, 280.0, 12_345.0] {
            let scale = Scale::of(Spacing::Linear, [high], 0.0, 100.0);
            let places: Vec<f64> = scale.ticks().iter().map(|tick| scale.place(*tick)).collect();
            assert!(places.iter().all(|place| (-0.1..=100.1).contains(place)), "{high}: {places:?}");
        }
    }

    #[test]
    fn nothing_to_show_is_no_reason_to_fail() {
        let scale = Scale::of(Spacing::Linear, [], 0.0, 100.0);
        assert!(scale.place(5.0).is_finite());
        assert!(Scale::of(Spacing::Logarithmic, [0.0, 5.0], 0.0, 100.0).place(0.0).is_finite());
    }

    #[test]
    fn numbers_are_written_with_the_digits_that_mean_something() {
        let all = [0.0, 0.834, 4.5, 41.27, 280.4, 9_600.0, 1_234_567.0].map(written);
        assert_eq!(all, ["0", "0.83", "4.5", "41.3", "280", "9,600", "1,234,567"]);
    }
}
