//! The definitions themselves, by numbers worked out by hand and by TensorFlow's and PyTorch's documentation.
#![cfg(feature = "std")]

use kernels::reference::{self, Planar, Window};
use kernels::{BatchNorm, ChannelOrder, Padding, Shape};

/// `rows` of a single channel.
fn image<const H: usize, const W: usize>(rows: [[f64; W]; H]) -> Planar {
    Planar::new(Shape::new(1, H, W), rows.as_flattened())
}

/// Each line: input length, kernel, stride; output length, padding before and after, of TensorFlow's `"SAME"`.
#[test]
fn same_padding_is_tensorflows() {
    for (len, kernel, stride, out, before, after) in [
        (224, 3, 2, 112, 0, 1),
        (112, 3, 2, 56, 0, 1),
        (7, 3, 2, 4, 1, 1),
        (7, 3, 1, 7, 1, 1),
        (8, 5, 1, 8, 2, 2),
        (8, 5, 2, 4, 1, 2),
        (9, 5, 2, 5, 2, 2),
        (8, 2, 1, 8, 0, 1),
        (8, 2, 2, 4, 0, 0),
        (9, 2, 2, 5, 0, 1),
        (9, 1, 2, 5, 0, 0),
        (1, 7, 2, 1, 3, 3),
        (2, 7, 2, 1, 2, 3),
    ] {
        let window = Window { kernel, stride, padding: Padding::Same };
        for rows in [true, false] {
            let found = (window.count(len, rows), window.padding(len, rows));
            assert_eq!(found, (out, (before, after)), "{len} pixels, kernel {kernel}, stride {stride}");
        }
    }
}

/// `floor((len + before + after - kernel) / stride) + 1`, as PyTorch has it.
#[test]
fn padding_by_sides_is_per_side() {
    let padding = Padding::Sides { top: 1, bottom: 0, left: 2, right: 3 };
    let window = Window { kernel: 5, stride: 2, padding };
    assert_eq!(window.output_shape(Shape::new(1, 9, 9), 4), Shape::new(4, 3, 5));
    assert_eq!((window.padding(9, true), window.padding(9, false)), ((1, 0), (2, 3)));
    assert_eq!(window.output_shape(Shape::new(1, 3, 1), 4), Shape::new(4, 0, 1));
}

#[test]
fn convolutions_by_hand() {
    let src = image([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0], [7.0, 8.0, 9.0]]);
    let weights = [1.0, 10.0, 100.0, 0.0, 1000.0, 0.0, 0.0, 0.0, 0.5];
    let window = Window { kernel: 3, stride: 2, padding: Padding::all(1) };
    // Upper left: 1000 * 1 + 0.5 * 5; lower right: 1 * 5 + 10 * 6 + 1000 * 9; each with a bias of 3.
    let expected = image([[1005.5, 3003.0], [7543.0, 9068.0]]);
    assert_eq!(reference::depthwise(&src, window, &weights, Some(&[3.0])), expected);
    assert_eq!(reference::convolution(&src, window, &weights, Some(&[3.0])), expected);

    // Two inputs, one output; the second input only adds its middle tap.
    let two = Planar::new(Shape::new(2, 3, 3), &[src.data.clone(), src.data.clone()].concat());
    let mut both = weights.to_vec();
    both.extend([0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0]);
    let expected = image([[1003.5, 3003.0], [7547.0, 9074.0]]);
    assert_eq!(reference::convolution(&two, window, &both, None), expected);
}

#[test]
fn pointwise_by_hand() {
    let src = Planar::new(Shape::new(4, 1, 2), &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]);
    let weights = [1.0, 10.0, 100.0, 1000.0, 0.0, 0.0, 0.0, 1.0];
    let dense = reference::pointwise(&src, 1, &weights, Some(&[0.5, 0.0]));
    assert_eq!(dense.data, [7531.5, 8642.5, 7.0, 8.0]);
    // Two groups of two channels, each to two.
    let grouped = reference::pointwise(&src, 2, &weights, None);
    assert_eq!(grouped.data, [31.0, 42.0, 3100.0, 4200.0, 0.0, 0.0, 7.0, 8.0]);
    assert_eq!(reference::linear(&[1.0, 2.0, 3.0, 4.0], &weights, Some(&[0.5, -1.0])), [4321.5, 3.0]);
}

#[test]
fn the_others_by_hand() {
    let src = image([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0], [7.0, 8.0, f64::NAN]]);
    let window = Window { kernel: 2, stride: 2, padding: Padding::Same };
    let max = reference::max_pool(&src, window);
    assert_eq!(max.data[..3], [5.0, 6.0, 8.0]);
    assert!(max.data[3].is_nan());
    assert_eq!(reference::average_pool(&src, window, false).data[..3], [3.0, 4.5, 7.5]);
    assert_eq!(reference::average_pool(&src, window, true).data[..3], [3.0, 2.25, 3.75]);
    let two = Planar::new(Shape::new(2, 1, 2), &[1.0, 2.0, 3.0, 5.0]);
    assert_eq!(reference::global_average(&two), [1.5, 4.0]);
    assert_eq!(
        reference::upsample_nearest_2x(&image([[1.0, 2.0]])).data,
        [1.0, 1.0, 2.0, 2.0, 1.0, 1.0, 2.0, 2.0]
    );
    assert_eq!(reference::affine(&two, &[2.0, 3.0], &[1.0, -1.0]).data, [3.0, 5.0, 8.0, 14.0]);
    let (gamma, beta, mean, variance) = ([2.0, 1.0], [0.0, 1.0], [1.0, 3.0], [3.0, 0.0]);
    let batch_norm = BatchNorm { gamma: &gamma, beta: &beta, mean: &mean, variance: &variance, eps: 1.0 };
    assert_eq!(reference::batch_norm(&two, &batch_norm).data, [0.0, 1.0, 1.0, 3.0]);
    let six = Planar::new(Shape::new(6, 1, 1), &[0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
    assert_eq!(reference::shuffle(&six, 2).data, [0.0, 3.0, 1.0, 4.0, 2.0, 5.0]);
    let order = ChannelOrder::from_slots(vec![5, 0, 0]);
    assert_eq!(reference::gather(&six, &order).data, [5.0, 0.0, 0.0]);
    let [half, rest] = [1.0 / (1.0 + 1f64.exp()), 1f64.exp() / (1.0 + 1f64.exp())];
    for (found, expected) in reference::softmax(&[1000.0, 1001.0]).into_iter().zip([half, rest]) {
        assert!((found - expected).abs() < 1e-15, "{found} and {expected}");
    }
}
