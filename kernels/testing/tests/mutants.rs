//! A convolution as plain loops in `f32` passes; with any of these faults it is found out, and told where.

use kernels::Activation;
use kernels_testing::operators::Convolution;
use kernels_testing::{Data, Layout, Pad, Problem, Problems, convolution};

#[derive(Clone, Copy, Debug, PartialEq)]
enum Bug {
    None,
    /// Channels come in eights; those left over are forgotten.
    TailOfChannels,
    /// The last column is computed once too often: twice into the sum.
    LastColumnTwice,
    AddsToDestination,
    PadsTopByLeft,
    /// The odd pixel of TensorFlow's `"same"` comes first.
    OddPixelFirst,
    StridesSwapped,
    DilationIgnored,
    GroupsIgnored,
    BiasBehindActivation,
    ResidualBehindActivation,
    VarianceNotRooted,
    ReluDropsNan,
    SumsInHalfPrecision,
    OneProductLeftOut,
    KernelTransposed,
}

fn conv(p: &Problem<Convolution>, layout: Layout, bug: Bug, dst: &mut [f32]) {
    let src = if layout == Layout::Nchw { p.src_nchw() } else { p.src_nhwc() };
    let residual = if layout == Layout::Nchw { p.residual_nchw() } else { p.residual_nhwc() };
    let ([kh, kw], [mut sh, mut sw], [mut dh, mut dw]) = (p.kernel(), p.stride(), p.dilation());
    let ([mut top, bottom, mut left, right], bias) = (p.padding(), p.bias_or_zeros());
    let (group_ic, group_oc) = (p.ic() / p.groups(), p.oc() / p.groups());
    match bug {
        Bug::PadsTopByLeft => top = left,
        Bug::OddPixelFirst => (top, left) = (top.max(bottom), left.max(right)),
        Bug::StridesSwapped => (sh, sw) = (sw, sh),
        Bug::DilationIgnored => (dh, dw) = (1, 1),
        _ => {}
    }
    for (o, bias) in bias.into_iter().enumerate() {
        if bug == Bug::TailOfChannels && o >= p.oc() / 8 * 8 {
            continue;
        }
        let first = if bug == Bug::GroupsIgnored { 0 } else { o / group_oc * group_ic };
        for (oy, ox) in (0..p.oh()).flat_map(|oy| (0..p.ow()).map(move |ox| (oy, ox))) {
            let i = layout.index(p.dst_shape(), o, oy, ox);
            let mut sum = if bug == Bug::BiasBehindActivation { 0.0 } else { bias };
            for (c, y, x) in (0..group_ic).flat_map(|c| (0..kh * kw).map(move |tap| (c, tap / kw, tap % kw)))
            {
                if bug == Bug::OneProductLeftOut && (c, y, x) == (group_ic - 1, kh - 1, kw - 1) {
                    continue;
                }
                let (iy, ix) = (oy * sh + y * dh, ox * sw + x * dw);
                if (top..top + p.h()).contains(&iy) && (left..left + p.w()).contains(&ix) {
                    let at = layout.index(p.src_shape(), first + c, iy - top, ix - left);
                    let (y, x) = if bug == Bug::KernelTransposed { (x % kh, y % kw) } else { (y, x) };
                    sum += src[at] * p.weights()[((o * group_ic + c) * kh + y) * kw + x];
                }
                if bug == Bug::SumsInHalfPrecision {
                    sum = f32::from_bits(sum.to_bits() & !0x1fff);
                }
            }
            if let Some(bn) = p.batch_norm() {
                let variance = bn.variance[o] + bn.eps;
                let deviation = if bug == Bug::VarianceNotRooted { variance } else { variance.sqrt() };
                sum = (sum - bn.mean[o]) / deviation * bn.gamma[o] + bn.beta[o];
            }
            let added = residual.as_ref().map_or(0.0, |residual| residual[i]);
            if bug != Bug::ResidualBehindActivation {
                sum += added;
            }
            sum = match p.activation() {
                Activation::Relu if bug == Bug::ReluDropsNan => sum.max(0.0),
                activation => activation.apply(sum.into()) as f32,
            };
            if bug == Bug::ResidualBehindActivation {
                sum += added;
            }
            if bug == Bug::BiasBehindActivation {
                sum += bias;
            }
            if bug == Bug::LastColumnTwice && ox + 1 == p.ow() && !p.ow().is_multiple_of(4) {
                sum += sum;
            }
            dst[i] = if bug == Bug::AddsToDestination { dst[i] + sum } else { sum };
        }
    }
}

/// Everything that a convolution can be.
fn everything() -> Problems<Convolution> {
    convolution()
        .ic(1..=12)
        .oc(1..=20)
        .groups(1..=3)
        .kernels([[1, 1], [3, 3], [2, 3], [3, 1], [1, 5]])
        .strides([[1, 1], [2, 2], [1, 2], [3, 2]])
        .dilations([[1, 1], [2, 1], [1, 3]])
        .pads([Pad::Zero, Pad::Half, Pad::Even, Pad::Uneven, Pad::Same])
        .bias([false, true])
        .batch_norm([false, true])
        .residual([false, true])
        .activations([Activation::None, Activation::Relu, Activation::Relu6])
        .data([Data::Integers, Data::Reals, Data::With(f32::NAN), Data::With(f32::INFINITY)])
}

fn failure(bug: Bug, layout: Layout) -> Option<(Problem<Convolution>, String)> {
    everything().smallest_failure(400, |p| {
        let mut dst = p.guarded();
        conv(p, layout, bug, &mut dst);
        p.compare(&dst, layout)
    })
}

#[test]
fn what_is_right_passes() {
    for layout in [Layout::Nchw, Layout::Nhwc] {
        let found = failure(Bug::None, layout);
        assert!(found.is_none(), "{layout:?}: {found:?}");
    }
}

#[test]
fn every_bug_is_found_and_shrinks() {
    let bugs = [
        Bug::TailOfChannels,
        Bug::LastColumnTwice,
        Bug::AddsToDestination,
        Bug::PadsTopByLeft,
        Bug::OddPixelFirst,
        Bug::StridesSwapped,
        Bug::DilationIgnored,
        Bug::GroupsIgnored,
        Bug::BiasBehindActivation,
        Bug::ResidualBehindActivation,
        Bug::VarianceNotRooted,
        Bug::ReluDropsNan,
        Bug::SumsInHalfPrecision,
        Bug::OneProductLeftOut,
        Bug::KernelTransposed,
    ];
    for (i, bug) in bugs.into_iter().enumerate() {
        let (p, why) = failure(bug, [Layout::Nchw, Layout::Nhwc][i % 2]).unwrap_or_else(|| panic!("{bug:?}"));
        println!("{bug:?}: {why}\n{p:?}");
        // (In a smaller image, the only NaN lies elsewhere.)
        let most = if bug == Bug::ReluDropsNan { 2000 } else { 120 };
        let size = p.src_shape().c * p.src_shape().pixels() + p.oc();
        assert!(size <= most, "{bug:?} has not shrunk: {p:?}");
    }
}

/// What a failure says.
#[test]
fn a_failure_says_where() {
    let p = Problem::new(Convolution::pointwise(kernels::Shape::new(1, 2, 3), 20), Data::Integers, 5);
    let mut dst = p.guarded();
    conv(&p, Layout::Nchw, Bug::TailOfChannels, &mut dst);
    let why = p.compare(&dst, Layout::Nchw).unwrap_err().to_string();
    let expected = p.expected().unwrap().values.get(16, 0, 0);
    assert_eq!(
        why,
        format!(
            "channel 16, row 0, column 0 of 20x2x3: expected {expected}, found NaN; 24 of 120 elements differ, \
             all in channels 16 to 19, rows 0 to 1, columns 0 to 2; never written, or added to"
        )
    );
    let short = p.compare(&dst[..119], Layout::Nchw).unwrap_err();
    assert_eq!(short.to_string(), "119 elements, expected 120");
}

/// Weights in the order of PyTorch, of TensorFlow and of XNNPACK are the same weights.
#[test]
fn weights_of_every_order() {
    for p in everything().seeded(4).take(50) {
        let (hwio, ohwi, [kh, kw]) = (p.weights_hwio(), p.weights_ohwi(), p.kernel());
        let (oc, ic) = (p.oc(), p.ic() / p.groups());
        for (i, &weight) in p.weights().iter().enumerate() {
            let (o, c, y, x) = (i / (ic * kh * kw), i / (kh * kw) % ic, i / kw % kh, i % kw);
            assert_eq!(hwio[((y * kw + x) * ic + c) * oc + o], weight);
            assert_eq!(ohwi[((o * kh + y) * kw + x) * ic + c], weight);
        }
    }
}

/// A problem that was printed is the same problem again.
#[test]
fn a_problem_is_made_again_from_what_it_prints() {
    for p in everything().seeded(3).take(50) {
        let again = Problem::new(p.op().clone(), Data::Integers, 7);
        let once_more = Problem::new(p.op().clone(), Data::Integers, 7);
        assert_eq!(again.src(), once_more.src());
        assert_eq!(again.weights(), once_more.weights());
        assert!(format!("{again:?}").starts_with("Problem::new(Convolution { src: Shape {"), "{again:?}");
        assert!(format!("{again:?}").ends_with("Integers, 7)"), "{again:?}");
    }
    let [a, b] =
        [0; 2].map(|_| everything().seeded(9).take(20).map(|p| format!("{p:?}")).collect::<Vec<_>>());
    assert_eq!(a, b);
    let other: Vec<_> = everything().seeded(10).take(20).map(|p| format!("{p:?}")).collect();
    assert_ne!(a, other);
}
