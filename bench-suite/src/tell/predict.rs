//! Models of latency, judged by their error on networks that they were not fitted to.

use super::stats::{TwoTerm, kendall, pearson, spearman};

/// What a model may know of a network, and the time that it should tell.
#[derive(Clone, Debug)]
pub(crate) struct Known<'a> {
    pub(crate) family: &'a str,
    pub(crate) macs: f64,
    pub(crate) bytes: f64,
    /// Multiply-adds and bytes of each layer; empty where they are not known.
    pub(crate) steps: Vec<[f64; 2]>,
    pub(crate) seconds: f64,
}

/// A form of model; its factors come from a fit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Model {
    /// `time = macs / rate`.
    Macs,
    /// `time = bytes / bandwidth`.
    Bytes,
    /// `time = macs / rate + bytes / bandwidth`.
    Sum,
    /// `time = sum over layers of max(macs, ridge * bytes) / rate`, the ridge fitted too.
    Roofline,
    /// The same with a ridge that is known: multiply-adds per byte.
    RooflineAt(f64),
}

/// A fitted model.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Fitted {
    Sum(TwoTerm),
    Roofline { ridge: f64, per_mac: f64 },
}

/// How good a model is.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Judged {
    pub(crate) fitted: Fitted,
    /// Mean absolute relative errors: of the networks that it was fitted to,
    pub(crate) inside: f64,
    /// of each network when all others were fitted to,
    pub(crate) left_out: f64,
    /// and of each family of networks when all others were fitted to.
    pub(crate) family_left_out: f64,
    /// The relative error of each network when its family was left out.
    pub(crate) errors: Vec<f64>,
    /// Pearson's, Spearman's and Kendall's correlation of what it tells with the time.
    pub(crate) correlations: [Option<f64>; 3],
}

/// Ridges that are tried, in multiply-adds per byte: as MobileNetV4 swept them, and below, where CPUs lie.
pub(crate) fn ridges() -> impl Iterator<Item = f64> {
    (0..=96).map(|i| 0.03 * (500.0_f64 / 0.03).powf(f64::from(i) / 96.0))
}

impl Model {
    /// The factors with the smallest sum of squared relative errors. `None` where nothing can be fitted.
    fn fit(self, known: &[&Known<'_>]) -> Option<Fitted> {
        let of = |f: fn(&Known<'_>) -> f64| known.iter().map(|k| f(k)).collect::<Vec<f64>>();
        let (macs, bytes, seconds) = (of(|k| k.macs), of(|k| k.bytes), of(|k| k.seconds));
        let none = vec![0.0; known.len()];
        match self {
            Self::Macs => TwoTerm::fit(&macs, &none, &seconds).map(Fitted::Sum),
            Self::Bytes => TwoTerm::fit(&none, &bytes, &seconds).map(Fitted::Sum),
            Self::Sum => TwoTerm::fit(&macs, &bytes, &seconds).map(Fitted::Sum),
            Self::RooflineAt(ridge) => {
                if known.iter().any(|k| k.steps.is_empty()) {
                    return None;
                }
                let work: Vec<f64> = known.iter().map(|k| bounded(k, ridge)).collect();
                let per_mac = TwoTerm::fit(&work, &none, &seconds)?.per_a;
                Some(Fitted::Roofline { ridge, per_mac })
            }
            Self::Roofline => {
                let error = |fitted: &Fitted| known.iter().map(|k| fitted.error(k).powi(2)).sum::<f64>();
                let fits = ridges().filter_map(|ridge| Self::RooflineAt(ridge).fit(known));
                fits.min_by(|a, b| error(a).total_cmp(&error(b)))
            }
        }
    }

    /// The relative error of each network when its family was left out. `None` where nothing can be fitted then.
    pub(crate) fn family_errors(self, known: &[Known<'_>]) -> Option<Vec<f64>> {
        let mut fits: Vec<(&str, Fitted)> = Vec::new();
        for Known { family, .. } in known {
            if fits.iter().all(|(of, _)| of != family) {
                let rest: Vec<&Known<'_>> = known.iter().filter(|k| k.family != *family).collect();
                fits.push((family, self.fit(&rest)?));
            }
        }
        let error = |k: &Known<'_>| Some(fits.iter().find(|(of, _)| *of == k.family)?.1.error(k));
        known.iter().map(error).collect()
    }

    /// Fits it to all, and judges it by what it was not fitted to. `None` where there is too little for that.
    pub(crate) fn judge(self, known: &[Known<'_>]) -> Option<Judged> {
        let all: Vec<&Known<'_>> = known.iter().collect();
        let fitted = self.fit(&all)?;
        let without = |i: usize| {
            let rest = all.iter().enumerate().filter(|(j, _)| *j != i);
            Some(self.fit(&rest.map(|(_, k)| *k).collect::<Vec<_>>())?.error(&known[i]))
        };
        let each: Option<Vec<f64>> = (0..known.len()).map(without).collect();
        let errors = self.family_errors(known)?;
        let told: Vec<f64> = known.iter().map(|k| fitted.predict(k)).collect();
        let seconds: Vec<f64> = known.iter().map(|k| k.seconds).collect();
        Some(Judged {
            fitted,
            inside: mean(&known.iter().map(|k| fitted.error(k)).collect::<Vec<_>>()),
            left_out: mean(&each?),
            family_left_out: mean(&errors),
            errors,
            correlations: [pearson, spearman, kendall].map(|correlation| correlation(&told, &seconds)),
        })
    }
}

/// Mean absolute.
pub(crate) fn mean(errors: &[f64]) -> f64 {
    errors.iter().map(|e| e.abs()).sum::<f64>() / errors.len() as f64
}

/// Multiply-adds that take as long as the layers do, each bound by arithmetic or by memory.
fn bounded(known: &Known<'_>, ridge: f64) -> f64 {
    known.steps.iter().map(|[macs, bytes]| macs.max(ridge * bytes)).sum()
}

impl Fitted {
    fn predict(&self, known: &Known<'_>) -> f64 {
        match self {
            Self::Sum(model) => model.predict(known.macs, known.bytes),
            Self::Roofline { ridge, per_mac } => per_mac * bounded(known, *ridge),
        }
    }

    /// Relative.
    fn error(&self, known: &Known<'_>) -> f64 {
        self.predict(known) / known.seconds - 1.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Three families whose time is `seconds` of their layers.
    fn networks(seconds: impl Fn(&[[f64; 2]]) -> f64) -> Vec<Known<'static>> {
        let family = |(i, family): (usize, &'static str)| {
            let seconds = &seconds;
            (1..4).map(move |n| {
                // One kind of layer has many multiply-adds, the other many bytes.
                let steps = vec![[90.0 * n as f64, 10.0 + i as f64], [n as f64, (20 * n + 7 * i) as f64]];
                let sum = |which: usize| steps.iter().map(|step: &[f64; 2]| step[which]).sum();
                Known { family, macs: sum(0), bytes: sum(1), seconds: seconds(&steps), steps }
            })
        };
        ["a", "b", "c"].into_iter().enumerate().flat_map(family).collect()
    }

    #[test]
    fn the_right_model_is_found_right() {
        let ridge = ridges().nth(40).unwrap();
        let roofline = networks(|steps| steps.iter().map(|[m, b]| 2.0 * m.max(ridge * b)).sum());
        let judged = Model::Roofline.judge(&roofline).unwrap();
        assert_eq!(judged.fitted, Fitted::Roofline { ridge, per_mac: 2.0 });
        assert!(judged.family_left_out < 1e-9 && judged.correlations[2] == Some(1.0), "{judged:?}");
        for other in [Model::Macs, Model::Bytes, Model::Sum, Model::RooflineAt(0.1 * ridge)] {
            assert!(other.judge(&roofline).unwrap().family_left_out > 0.01, "{other:?}");
        }
        let sum = networks(|steps| steps.iter().map(|[m, b]| 3.0 * m + 5.0 * b).sum());
        assert!(Model::Sum.judge(&sum).unwrap().left_out < 1e-9);
        assert!(Model::Macs.judge(&sum).unwrap().left_out > 0.01);
    }

    /// A family that behaves as no other does is missed, though it can be fitted.
    #[test]
    fn what_was_left_out_is_what_counts() {
        let mut known = networks(|steps| steps.iter().map(|[m, _]| m).sum());
        known.iter_mut().filter(|k| k.family == "c").for_each(|k| k.seconds *= 2.0);
        let judged = Model::Macs.judge(&known).unwrap();
        assert!(judged.family_left_out > judged.left_out && judged.left_out > judged.inside, "{judged:?}");
        // Half of the time is told for c from a and b.
        assert!((judged.errors[8] + 0.5).abs() < 1e-9);
    }

    #[test]
    fn too_little_is_not_judged() {
        let mut known = networks(|_| 1.0);
        known[0].steps.clear();
        assert_eq!(Model::Roofline.judge(&known), None);
        known.truncate(3);
        // Nothing is left to fit to without the only family.
        assert_eq!(Model::Macs.judge(&known), None);
        assert_eq!(Model::Macs.judge(&[]), None);
    }
}
