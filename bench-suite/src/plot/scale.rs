//! Axes: from values to pixels, and where the ticks go.

/// How values are spread along an axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scale {
    /// Equal steps, from zero.
    Linear,
    /// Equal steps that fit the values closely, not from zero.
    Close,
    /// Equal ratios.
    Log,
}

/// An axis with its title and the values it has to hold.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Axis {
    /// What is shown, with its unit.
    pub(crate) title: String,
    /// How it is spread.
    pub(crate) scale: Scale,
}

impl Axis {
    /// An axis from zero.
    pub(crate) fn linear(title: impl Into<String>) -> Self {
        Self { title: title.into(), scale: Scale::Linear }
    }

    /// An axis that fits its values.
    pub(crate) fn close(title: impl Into<String>) -> Self {
        Self { title: title.into(), scale: Scale::Close }
    }

    /// A logarithmic axis.
    pub(crate) fn log(title: impl Into<String>) -> Self {
        Self { title: title.into(), scale: Scale::Log }
    }
}

/// A value with the text of its tick; minor ticks have none.
pub(super) type Tick = (f64, String);

/// The values an axis spans, mapped onto pixels `from..to`.
#[derive(Clone, Debug)]
pub(super) struct Range {
    scale: Scale,
    pub(super) low: f64,
    pub(super) high: f64,
    from: f64,
    to: f64,
}

impl Range {
    /// Spans `values` (those that the scale can show) with a margin.
    pub(super) fn over(scale: Scale, values: impl Iterator<Item = f64>, from: f64, to: f64) -> Self {
        let fits = |v: &f64| v.is_finite() && (scale != Scale::Log || *v > 0.0);
        let (mut low, mut high) =
            values.filter(fits).fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| (l.min(v), h.max(v)));
        if low > high {
            (low, high) = (1.0, 2.0);
        }
        match scale {
            Scale::Linear => (low, high) = (low.min(0.0), if high > 0.0 { high * 1.08 } else { 1.0 }),
            Scale::Close => {
                let margin = ((high - low) * 0.08).max(high.abs() * 1e-3).max(1e-9);
                (low, high) = (low - margin, high + margin);
            }
            Scale::Log => {
                let margin = (high / low).powf(0.08).max(1.15);
                (low, high) = (low / margin, high * margin);
            }
        }
        Self { scale, low, high, from, to }
    }

    /// Where a value lies, in pixels.
    pub(super) fn at(&self, value: f64) -> f64 {
        let share = match self.scale {
            Scale::Log => (value.max(f64::MIN_POSITIVE) / self.low).ln() / (self.high / self.low).ln(),
            _ => (value - self.low) / (self.high - self.low),
        };
        self.from + share * (self.to - self.from)
    }

    /// Ticks inside the range, about one for each `spacing` pixels.
    pub(super) fn ticks(&self, spacing: f64) -> Vec<Tick> {
        let wanted = ((self.to - self.from).abs() / spacing).max(2.0);
        match self.scale {
            Scale::Log => self.log_ticks(wanted),
            _ => self.linear_ticks(wanted),
        }
    }

    fn linear_ticks(&self, wanted: f64) -> Vec<Tick> {
        let rough = (self.high - self.low) / wanted;
        let power = 10f64.powf(rough.log10().floor());
        let step =
            [1.0, 2.0, 5.0, 10.0].map(|m| m * power).into_iter().find(|s| *s >= rough).unwrap_or(rough);
        let digits = (-step.log10().floor()).clamp(0.0, 9.0) as usize;
        let first = (self.low / step - 1e-9).ceil() as i64;
        let last = (self.high / step + 1e-9).floor() as i64;
        (first..=last).map(|i| i as f64 * step).map(|v| (v, grouped(&format!("{v:.digits$}")))).collect()
    }

    fn log_ticks(&self, wanted: f64) -> Vec<Tick> {
        let decades = (self.high / self.low).log10();
        let labelled: &[u32] = match wanted / decades {
            d if d >= 8.0 => &[1, 2, 3, 4, 5, 7],
            d if d >= 3.0 => &[1, 2, 5],
            _ => &[1],
        };
        let (first, last) = (self.low.log10().floor() as i32, self.high.log10().floor() as i32);
        let mut ticks = Vec::new();
        for exponent in first..=last {
            for digit in 1..10 {
                let value = f64::from(digit) * 10f64.powi(exponent);
                if value >= self.low && value <= self.high {
                    let text = if labelled.contains(&digit) { plain(value) } else { String::new() };
                    ticks.push((value, text));
                }
            }
        }
        ticks
    }
}

/// A number without trailing zeros, thousands set apart.
fn plain(value: f64) -> String {
    let digits = (-value.log10().floor()).clamp(0.0, 9.0) as usize;
    grouped(&format!("{value:.digits$}"))
}

/// Sets thousands apart by a narrow space, from 10 000 up.
pub(crate) fn grouped(number: &str) -> String {
    let (sign, rest) = number.strip_prefix('-').map_or(("", number), |rest| ("\u{2212}", rest));
    let (whole, fraction) = rest.split_once('.').map_or((rest, None), |(w, f)| (w, Some(f)));
    let mut text = String::from(sign);
    for (i, digit) in whole.chars().enumerate() {
        if i > 0 && whole.len() > 4 && (whole.len() - i).is_multiple_of(3) {
            text.push('\u{202f}');
        }
        text.push(digit);
    }
    if let Some(fraction) = fraction {
        text.push('.');
        text.push_str(fraction);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(range: &Range, spacing: f64) -> Vec<String> {
        range.ticks(spacing).into_iter().map(|t| t.1).filter(|t| !t.is_empty()).collect()
    }

    #[test]
    fn linear_axes_start_at_zero() {
        let range = Range::over(Scale::Linear, [3.0, 9.0].into_iter(), 0.0, 100.0);
        assert_eq!(range.at(0.0), 0.0);
        assert_eq!(labels(&range, 20.0), ["0", "2", "4", "6", "8"]);
        let small = Range::over(Scale::Linear, [0.012].into_iter(), 0.0, 100.0);
        assert_eq!(labels(&small, 33.0), ["0.000", "0.005", "0.010"]);
    }

    #[test]
    fn log_axes_are_even_in_ratios() {
        let range = Range::over(Scale::Log, [1.0, 100.0, 0.0, f64::NAN].into_iter(), 0.0, 300.0);
        let step = range.at(10.0) - range.at(1.0);
        assert!((range.at(100.0) - range.at(10.0) - step).abs() < 1e-9);
        assert_eq!(labels(&range, 100.0), ["1", "10", "100"]);
        assert_eq!(labels(&range, 30.0), ["1", "2", "5", "10", "20", "50", "100"]);
    }

    #[test]
    fn no_values_still_make_an_axis() {
        for scale in [Scale::Linear, Scale::Close, Scale::Log] {
            let range = Range::over(scale, std::iter::empty(), 10.0, 90.0);
            assert!(range.ticks(20.0).iter().all(|(v, _)| (10.0..=90.0).contains(&range.at(*v))));
        }
    }

    #[test]
    fn thousands_are_set_apart() {
        assert_eq!(grouped("1234567.5"), "1\u{202f}234\u{202f}567.5");
        assert_eq!(grouped("1234"), "1234");
        assert_eq!(grouped("-12345"), "\u{2212}12\u{202f}345");
    }
}
