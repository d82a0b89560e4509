//! From logits to probabilities.

/// Turns the logits of one image into probabilities, in place: their softmax, or the sigmoid of a single logit, which a
/// network trained to say yes or no has.
///
/// ```
/// let mut logits = [0.0, 0.0];
/// model::probabilities(&mut logits);
/// assert_eq!(logits, [0.5, 0.5]);
///
/// let mut logit = [f32::ln(3.0)];
/// model::probabilities(&mut logit);
/// assert!((logit[0] - 0.75).abs() < 1e-6);
/// ```
pub fn probabilities(logits: &mut [f32]) {
    match logits {
        [logit] => *logit = 1.0 / (1.0 + (-*logit).exp()),
        _ => kernels::softmax(logits),
    }
}
