//! How well a minimum is known, and what may be said of ratios of minima.
//!
//! A disturbance only ever makes a run slower, so the minimum over the rounds is the estimate of what the machine can do.
//! How well it is known is told by the rounds themselves: many random halves of them are drawn, and an estimate is made
//! from each. Things that were timed in the same rounds lose the same rounds, so what disturbed both cancels in
//! their ratio. The interval reaches, to both sides, as far as 95 % of the halves lie away from the value: where half of the
//! rounds miss a minimum by so much, all of them may still miss the undisturbed time by as much. It is rather too
//! wide than too narrow, and never narrower than [`FLOOR`], since from one run of the program to the next, code and data
//! lie elsewhere in memory.

/// Rounds that it takes to say how well something is known.
pub(crate) const MIN_ROUNDS: usize = 6;

/// Halves that are drawn.
const HALVES: usize = 400;

/// The least half-width of an interval, relative to the value.
pub(crate) const FLOOR: f64 = 0.01;

/// Differences smaller than this are none.
pub(crate) const SAME: f64 = 0.03;

/// A value, and what halves of the rounds would have said instead.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Estimate {
    pub(crate) value: f64,
    /// Empty where there were too few rounds.
    halves: Vec<f64>,
}

/// What a ratio of times says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    Slower,
    Faster,
    Same,
    /// The interval leaves several of them possible.
    NotApart,
}

impl Estimate {
    /// The least of some samples, at least one.
    pub(crate) fn minimum(samples: &[f64]) -> Self {
        let least = |of: &mut dyn Iterator<Item = f64>| of.fold(f64::INFINITY, f64::min);
        let halves = if samples.len() < MIN_ROUNDS { vec![] } else { halves(samples.len()) };
        Self {
            value: least(&mut samples.iter().copied()),
            halves: halves.iter().map(|half| least(&mut half.iter().map(|&i| samples[i]))).collect(),
        }
    }

    /// What some of the halves say; empty where there were too few rounds.
    pub(crate) fn some_halves(&self, count: usize) -> &[f64] {
        &self.halves[..count.min(self.halves.len())]
    }

    pub(crate) fn over(&self, other: &Self) -> Self {
        let halves = self.halves.iter().zip(&other.halves).map(|(a, b)| a / b).collect();
        Self { value: self.value / other.value, halves }
    }

    pub(crate) fn map(&self, f: impl Fn(f64) -> f64) -> Self {
        Self { value: f(self.value), halves: self.halves.iter().map(|half| f(*half)).collect() }
    }

    /// The geometric mean; none where there is nothing, or nothing finite.
    pub(crate) fn mean<'a>(of: impl IntoIterator<Item = &'a Self>) -> Option<Self> {
        let of: Vec<&Self> = of.into_iter().collect();
        let known = of.iter().map(|estimate| estimate.halves.len()).min()?;
        let mean = |value: &dyn Fn(&Self) -> f64| {
            (of.iter().map(|estimate| value(estimate).ln()).sum::<f64>() / of.len() as f64).exp()
        };
        let value = mean(&|estimate| estimate.value);
        let halves = (0..known).map(|i| mean(&|estimate| estimate.halves[i])).collect();
        value.is_finite().then_some(Self { value, halves })
    }

    /// From where to where the value may lie; none where there were too few rounds.
    pub(crate) fn interval(&self) -> Option<[f64; 2]> {
        let mut away: Vec<f64> = self.halves.iter().map(|half| (half / self.value).ln().abs()).collect();
        away.sort_by(f64::total_cmp);
        let farthest = away.get((0.95 * (away.len() as f64 - 1.0)).round() as usize)?.exp().max(1.0 + FLOOR);
        Some([self.value / farthest, self.value * farthest])
    }

    /// What it says as a ratio of times.
    pub(crate) fn told(&self) -> Told {
        match self.interval() {
            Some([low, _]) if low > 1.0 + SAME => Told::Slower,
            Some([_, high]) if high < 1.0 - SAME => Told::Faster,
            Some([low, high]) if low > 1.0 - SAME && high < 1.0 + SAME => Told::Same,
            _ => Told::NotApart,
        }
    }

    /// `1.31x (1.28 to 1.35)`.
    pub(crate) fn times(&self) -> String {
        let range = self.range().map_or(String::new(), |range| format!(" ({range})"));
        format!("{:.2}x{range}", self.value)
    }

    /// `1.28 to 1.35`.
    pub(crate) fn range(&self) -> Option<String> {
        self.interval().map(|[low, high]| format!("{low:.2} to {high:.2}"))
    }
}

/// Random halves of `0..n`, rounded up; the same ones for the same `n`.
fn halves(n: usize) -> Vec<Vec<usize>> {
    // Marsaglia's xorshift; a fixed seed, since a page should say the same whenever it is made.
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut below = |bound: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % bound as u64) as usize
    };
    let mut order: Vec<usize> = (0..n).collect();
    let mut half = || {
        for i in 0..n.div_ceil(2) {
            order.swap(i, i + below(n - i));
        }
        order[..n.div_ceil(2)].to_vec()
    };
    (0..HALVES).map(|_| half()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Samples of one round after the other; every third is disturbed.
    fn noisy(least: f64, jitter: f64) -> Vec<f64> {
        let share = |i: u32| f64::from(i * 37 % 20) / 20.0;
        (0..20).map(|i| least * (1.0 + jitter * share(i)) * if i % 3 == 0 { 1.5 } else { 1.0 }).collect()
    }

    #[test]
    fn halves_are_halves() {
        for half in halves(7) {
            let mut distinct = half.clone();
            distinct.sort_unstable();
            distinct.dedup();
            assert_eq!((half.len(), distinct.len()), (4, 4));
            assert!(distinct.iter().all(|i| *i < 7));
        }
        assert_eq!(halves(9), halves(9));
    }

    #[test]
    fn intervals_hold_the_value_and_grow_with_noise() {
        let width = |jitter: f64| {
            let estimate = Estimate::minimum(&noisy(1.0, jitter));
            let [low, high] = estimate.interval().unwrap();
            assert!(low <= estimate.value && estimate.value <= high);
            high - low
        };
        assert!(width(0.001) < width(0.1) && width(0.1) < width(0.5));
        assert!(width(0.0) >= 1.99 * FLOOR);
    }

    #[test]
    fn what_slows_both_in_the_same_rounds_cancels() {
        let one = noisy(1.0, 0.5);
        let twice: Vec<f64> = one.iter().map(|t| 2.0 * t).collect();
        let ratio = Estimate::minimum(&twice).over(&Estimate::minimum(&one));
        let [low, high] = ratio.interval().unwrap();
        assert!((low - 2.0 / 1.01).abs() < 1e-9 && (high - 2.02).abs() < 1e-9, "{low} {high}");
        assert_eq!(ratio.told(), Told::Slower);
        assert_eq!(ratio.map(|r| 1.0 / r).told(), Told::Faster);
        assert_eq!(ratio.times(), "2.00x (1.98 to 2.02)");
    }

    #[test]
    fn differences_inside_their_interval_are_not_told_apart() {
        let quiet = |least: f64| Estimate::minimum(&noisy(least, 0.001));
        assert_eq!(quiet(1.0).over(&quiet(1.0)).told(), Told::Same);
        assert_eq!(quiet(1.1).over(&quiet(1.0)).told(), Told::Slower);
        // The same ten percent in rounds that differ by as much again, each in its own way.
        let mut other = noisy(1.1, 0.8);
        other.reverse();
        assert_eq!(
            Estimate::minimum(&other).over(&Estimate::minimum(&noisy(1.0, 0.8))).told(),
            Told::NotApart
        );
        // Five rounds say nothing.
        let few = Estimate::minimum(&[1.0; 5]);
        assert_eq!((few.interval(), few.told()), (None, Told::NotApart));
    }

    #[test]
    fn means_are_of_the_same_halves() {
        let [a, b] = [2.0, 8.0].map(|least| Estimate::minimum(&noisy(least, 0.3)));
        let mean = Estimate::mean([&a, &b]).unwrap();
        assert!((mean.value - (a.value * b.value).sqrt()).abs() < 1e-9);
        assert_eq!(mean.halves.len(), HALVES);
        assert_eq!(Estimate::mean([]), None);
    }
}
