//! Summaries of raw samples, correlation, and the two-term cost model.

use serde::{Deserialize, Serialize};

/// What a set of samples says. All in the unit of the samples.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Summary {
    pub(crate) n: usize,
    /// Smallest sample: the machine undisturbed.
    pub(crate) min: f64,
    pub(crate) median: f64,
    pub(crate) p90: f64,
    pub(crate) p99: f64,
}

impl Summary {
    /// Summarises `samples`; `None` if there are none, or if one is not a finite number.
    pub(crate) fn of(samples: &[f64]) -> Option<Self> {
        if samples.is_empty() || samples.iter().any(|s| !s.is_finite()) {
            return None;
        }
        let mut sorted = samples.to_vec();
        sorted.sort_by(f64::total_cmp);
        Some(Self {
            n: sorted.len(),
            min: sorted[0],
            median: quantile(&sorted, 0.5),
            p90: quantile(&sorted, 0.9),
            p99: quantile(&sorted, 0.99),
        })
    }
}

/// The `q`-quantile of sorted samples, interpolated between neighbours.
pub(crate) fn quantile(sorted: &[f64], q: f64) -> f64 {
    let at = q * (sorted.len() - 1) as f64;
    let below = sorted[at.floor() as usize];
    let above = sorted[at.ceil() as usize];
    below + (above - below) * at.fract()
}

/// Pearson's correlation of two equally long series; `None` where it is not defined.
pub(crate) fn pearson(x: &[f64], y: &[f64]) -> Option<f64> {
    if x.len() != y.len() || x.len() < 2 {
        return None;
    }
    let n = x.len() as f64;
    let (mean_x, mean_y) = (x.iter().sum::<f64>() / n, y.iter().sum::<f64>() / n);
    let (mut xx, mut yy, mut xy) = (0.0, 0.0, 0.0);
    for (a, b) in x.iter().zip(y) {
        let (a, b) = (a - mean_x, b - mean_y);
        xx += a * a;
        yy += b * b;
        xy += a * b;
    }
    let r = xy / (xx * yy).sqrt();
    r.is_finite().then_some(r)
}

/// Spearman's rank correlation: Pearson's over ranks, ties sharing their mean rank.
pub(crate) fn spearman(x: &[f64], y: &[f64]) -> Option<f64> {
    pearson(&ranks(x), &ranks(y))
}

/// Kendall's rank correlation (tau b, which allows for ties): of all pairs, those in the same order less those in opposite
/// orders.
pub(crate) fn kendall(x: &[f64], y: &[f64]) -> Option<f64> {
    if x.len() != y.len() {
        return None;
    }
    let (mut sum, mut untied_x, mut untied_y) = (0.0, 0.0, 0.0);
    for i in 0..x.len() {
        for j in 0..i {
            let sign = |of: &[f64]| of[i].partial_cmp(&of[j]).map_or(0.0, |order| f64::from(order as i8));
            let (a, b) = (sign(x), sign(y));
            sum += a * b;
            untied_x += a * a;
            untied_y += b * b;
        }
    }
    let tau = sum / f64::sqrt(untied_x * untied_y);
    tau.is_finite().then_some(tau)
}

fn ranks(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&a, &b| values[a].total_cmp(&values[b]));
    let mut ranks = vec![0.0; values.len()];
    let mut start = 0;
    while start < order.len() {
        let tied = order[start..].iter().take_while(|&&i| values[i] == values[order[start]]).count();
        let mean = start as f64 + (tied - 1) as f64 / 2.0;
        for &i in &order[start..start + tied] {
            ranks[i] = mean;
        }
        start += tied;
    }
    ranks
}

/// `time = per_a * a + per_b * b`, neither factor negative.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct TwoTerm {
    pub(crate) per_a: f64,
    pub(crate) per_b: f64,
}

impl TwoTerm {
    /// The fit with the smallest sum of squared *relative* errors: a small network counts as much as a
    /// large one. `None` if there are fewer than two points or a time is not positive.
    pub(crate) fn fit(a: &[f64], b: &[f64], time: &[f64]) -> Option<Self> {
        let n = time.len();
        if n < 2 || a.len() != n || b.len() != n || time.iter().any(|t| !t.is_finite() || *t <= 0.0) {
            return None;
        }
        // Dividing each equation by its time turns absolute errors into relative ones; the target is 1.
        let (mut aa, mut bb, mut ab, mut sa, mut sb) = (0.0, 0.0, 0.0, 0.0, 0.0);
        for i in 0..n {
            let (x, y) = (a[i] / time[i], b[i] / time[i]);
            aa += x * x;
            bb += y * y;
            ab += x * y;
            sa += x;
            sb += y;
        }
        let determinant = aa * bb - ab * ab;
        let free =
            Self { per_a: (sa * bb - sb * ab) / determinant, per_b: (sb * aa - sa * ab) / determinant };
        // With two unknowns the constrained optimum is the free one if it is feasible, or lies on an axis.
        let only_a = Self { per_a: sa / aa, per_b: 0.0 };
        let only_b = Self { per_a: 0.0, per_b: sb / bb };
        let error =
            |m: &Self| -> f64 { (0..n).map(|i| (m.predict(a[i], b[i]) / time[i] - 1.0).powi(2)).sum() };
        [free, only_a, only_b]
            .into_iter()
            .filter(|m| m.per_a.is_finite() && m.per_b.is_finite() && m.per_a >= 0.0 && m.per_b >= 0.0)
            .min_by(|x, y| error(x).total_cmp(&error(y)))
    }

    pub(crate) fn predict(&self, a: f64, b: f64) -> f64 {
        self.per_a * a + self.per_b * b
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_interpolate() {
        let summary = Summary::of(&[4.0, 1.0, 3.0, 2.0, 5.0]).unwrap();
        assert_eq!((summary.n, summary.min, summary.median), (5, 1.0, 3.0));
        assert!((summary.p90 - 4.6).abs() < 1e-12);
        assert!((summary.p99 - 4.96).abs() < 1e-12);
    }

    #[test]
    fn no_summary_of_nothing_or_nan() {
        assert_eq!(Summary::of(&[]), None);
        assert_eq!(Summary::of(&[1.0, f64::NAN]), None);
    }

    #[test]
    fn correlations() {
        let x = [1.0, 2.0, 3.0, 4.0];
        assert!((pearson(&x, &[2.0, 4.0, 6.0, 8.0]).unwrap() - 1.0).abs() < 1e-12);
        assert!((pearson(&x, &[1.0, 3.0, 2.0, 4.0]).unwrap() - 0.8).abs() < 1e-12);
        assert_eq!(pearson(&x, &[1.0; 4]), None);
        assert_eq!(pearson(&x, &[1.0; 3]), None);
        // Monotone but curved: ranks agree fully, values do not.
        assert!((spearman(&x, &[1.0, 10.0, 100.0, 1000.0]).unwrap() - 1.0).abs() < 1e-12);
        // One of six pairs is turned round; a tie counts for neither side.
        assert!((kendall(&x, &[1.0, 3.0, 2.0, 4.0]).unwrap() - 4.0 / 6.0).abs() < 1e-12);
        assert!((kendall(&x, &[1.0, 2.0, 2.0, 3.0]).unwrap() - 5.0 / f64::sqrt(30.0)).abs() < 1e-12);
        assert_eq!(kendall(&x, &[1.0; 4]), None);
        assert_eq!(ranks(&[5.0, 1.0, 5.0, 0.0]), [2.5, 1.0, 2.5, 0.0]);
    }

    #[test]
    fn two_terms_are_recovered() {
        let a = [1.0, 2.0, 5.0, 9.0];
        let b = [4.0, 1.0, 7.0, 2.0];
        let time: Vec<f64> = a.iter().zip(&b).map(|(a, b)| 3.0 * a + 0.5 * b).collect();
        let model = TwoTerm::fit(&a, &b, &time).unwrap();
        assert!((model.per_a - 3.0).abs() < 1e-9 && (model.per_b - 0.5).abs() < 1e-9);
    }

    #[test]
    fn no_negative_factor() {
        // The free fit would be 2a - b; the best allowed one leaves b out.
        let a = [3.0, 4.0, 5.0];
        let b = [1.0, 2.0, 1.0];
        let time: Vec<f64> = a.iter().zip(&b).map(|(a, b)| 2.0 * a - b).collect();
        let model = TwoTerm::fit(&a, &b, &time).unwrap();
        assert_eq!(model.per_b, 0.0);
        assert!(model.per_a > 0.0);
        assert_eq!(TwoTerm::fit(&[1.0], &[1.0], &[1.0]), None);
        assert_eq!(TwoTerm::fit(&a, &b, &[0.0; 3]), None);
        // Proportional costs: the two cannot be told apart, but the prediction can still be right.
        let model = TwoTerm::fit(&[1.0, 2.0], &[2.0, 4.0], &[3.0, 6.0]).unwrap();
        assert!((model.predict(1.0, 2.0) - 3.0).abs() < 1e-9);
    }
}
