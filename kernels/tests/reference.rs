//! The definitions themselves, by numbers worked out by hand and by TensorFlow's and PyTorch's documentation.
#![cfg(feature = "std")]

use kernels::Window;
use kernels::reference::{self, Planar};
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
        let window = Window::new(kernel).stride(stride).padding(Padding::Same);
        let found = reference::output_shape(window, Shape::new(1, len, len), 1);
        assert_eq!(found, Shape::new(1, out, out), "{len} pixels, kernel {kernel}, stride {stride}");
        let found = [0, 1].map(|axis| reference::padding(window, len, axis));
        assert_eq!(found, [[before, after]; 2], "{len} pixels, kernel {kernel}, stride {stride}");
    }
}

/// `floor((len + before + after - kernel) / stride) + 1`, as PyTorch has it.
#[test]
fn padding_by_sides_is_per_side() {
    let padding = Padding::Sides { top: 1, bottom: 0, left: 2, right: 3 };
    let window = Window::new(5).stride(2).padding(padding);
    assert_eq!(reference::output_shape(window, Shape::new(1, 9, 9), 4), Shape::new(4, 3, 5));
    assert_eq!([0, 1].map(|axis| reference::padding(window, 9, axis)), [[1, 0], [2, 3]]);
    assert_eq!(reference::output_shape(window, Shape::new(1, 3, 1), 4), Shape::new(4, 0, 1));
}

/// Rows and columns each by their own numbers: PyTorch's formula, `dilation * (kernel - 1) + 1` in place of `kernel`.
#[test]
fn windows_of_two_sides() {
    let padding = Padding::Sides { top: 1, bottom: 1, left: 0, right: 0 };
    let window = Window { kernel: [3, 2], stride: [2, 1], dilation: [1, 3], padding, ceil: false };
    let src = Planar::from_fn(Shape::new(1, 4, 5), |_, y, x| (10 * y + x) as f64);
    assert_eq!(reference::output_shape(window, src.shape, 1), Shape::new(1, 2, 2));
    // The taps of the left column add up the image, those of the right one, three columns on, count a thousandfold.
    let weights = [1.0, 1000.0, 1.0, 1000.0, 1.0, 1000.0];
    let expected = image([[16_010.0, 18_012.0], [69_060.0, 72_063.0]]);
    assert_eq!(reference::depthwise(&src, window, &weights, None), expected);
    assert_eq!(reference::max_pool(&src, window).data, [13.0, 14.0, 33.0, 34.0]);
    assert_eq!(reference::average_pool(&src, window, false).data, [6.5, 7.5, 21.5, 22.5]);
    assert_eq!(reference::average_pool(&src, window, true).data, [26.0 / 6.0, 5.0, 21.5, 22.5]);
    // "same" of a dilated window: two columns before, two behind, as for a window of five.
    let same = Window { dilation: [1, 2], ..Window::new(3).padding(Padding::Same) };
    assert_eq!([0, 1].map(|axis| reference::padding(same, 9, axis)), [[1, 1], [2, 2]]);
    assert_eq!(reference::output_shape(same, src.shape, 1), src.shape);
}

/// One definition where two hold.
#[test]
fn groups_of_all_kinds_agree() {
    let src = Planar::from_fn(Shape::new(6, 5, 4), |c, y, x| ((7 * c + 5 * y + 3 * x) % 11) as f64 - 5.0);
    let weights = |n: usize| (0..n).map(|i| (i * 5 % 13) as f32 - 6.0).collect::<Vec<f32>>();
    let window =
        Window { kernel: [2, 3], stride: [1, 2], dilation: [2, 1], padding: Padding::Same, ceil: false };
    let bias = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0, 11.0, 12.0];
    // One output per channel, and two.
    for oc in [6, 12] {
        let (weights, bias) = (weights(oc * 6), Some(&bias[..oc]));
        let grouped = reference::convolution(&src, window, 6, &weights, bias);
        assert_eq!(reference::depthwise(&src, window, &weights, bias), grouped);
    }
    for groups in [1, 2, 3, 6] {
        let (weights, bias) = (weights(12 * 6 / groups), Some(&bias[..]));
        let grouped = reference::convolution(&src, Window::new(1), groups, &weights, bias);
        assert_eq!(reference::pointwise(&src, groups, &weights, bias), grouped);
    }
    // The second of two groups alone.
    let (all, second) = (weights(4 * 3 * 6), Planar::new(Shape::new(3, 5, 4), &src.data[3 * 20..]));
    let grouped = reference::convolution(&src, window, 2, &all, None);
    let alone = reference::convolution(&second, window, 1, &all[2 * 3 * 6..], None);
    assert_eq!(grouped.data[grouped.data.len() / 2..], alone.data);
}

#[test]
fn convolutions_by_hand() {
    let src = image([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0], [7.0, 8.0, 9.0]]);
    let weights = [1.0, 10.0, 100.0, 0.0, 1000.0, 0.0, 0.0, 0.0, 0.5];
    let window = Window::new(3).stride(2).pad(1);
    // Upper left: 1000 * 1 + 0.5 * 5; lower right: 1 * 5 + 10 * 6 + 1000 * 9; each with a bias of 3.
    let expected = image([[1005.5, 3003.0], [7543.0, 9068.0]]);
    assert_eq!(reference::depthwise(&src, window, &weights, Some(&[3.0])), expected);
    assert_eq!(reference::convolution(&src, window, 1, &weights, Some(&[3.0])), expected);

    // Two inputs, one output; the second input only adds its middle tap.
    let two = Planar::new(Shape::new(2, 3, 3), &[src.data.clone(), src.data.clone()].concat());
    let mut both = weights.to_vec();
    both.extend([0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0]);
    let expected = image([[1003.5, 3003.0], [7547.0, 9074.0]]);
    assert_eq!(reference::convolution(&two, window, 1, &both, None), expected);
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
    let window = Window::new(2).stride(2).padding(Padding::Same);
    let max = reference::max_pool(&src, window);
    assert_eq!(max.data[..3], [5.0, 6.0, 8.0]);
    assert!(max.data[3].is_nan());
    assert_eq!(reference::average_pool(&src, window, false).data[..3], [3.0, 4.5, 7.5]);
    assert_eq!(reference::average_pool(&src, window, true).data[..3], [3.0, 2.25, 3.75]);
    let two = Planar::new(Shape::new(2, 1, 2), &[1.0, 2.0, 3.0, 5.0]);
    assert_eq!(reference::global_average(&two), [1.5, 4.0]);
    let both = image([[1.0, 2.0], [3.0, 6.0]]);
    let resize =
        |to, interpolation, coordinates| reference::resize(&both, to, interpolation, coordinates).data;
    use kernels::Coordinates::{AlignCorners, Asymmetric, HalfPixel};
    use kernels::Interpolation::{Bilinear, Nearest};
    assert_eq!(resize((2, 4), Nearest, Asymmetric), [1.0, 1.0, 2.0, 2.0, 3.0, 3.0, 6.0, 6.0]);
    assert_eq!(resize((1, 4), Bilinear, HalfPixel), [2.0, 2.5, 3.5, 4.0]);
    assert_eq!(resize((2, 3), Bilinear, AlignCorners), [1.0, 1.5, 2.0, 3.0, 4.5, 6.0]);
    assert_eq!(resize((1, 4), Bilinear, Asymmetric), [1.0, 1.5, 2.0, 2.0]);
    assert_eq!(reference::add(&both, &image([[10.0]])).data, [11.0, 12.0, 13.0, 16.0]);
    assert_eq!(reference::mul(&both, &both).data, [1.0, 4.0, 9.0, 36.0]);
    let gate = Planar::new(Shape::new(2, 1, 1), &[2.0, -1.0]);
    assert_eq!(reference::mul(&two, &gate).data, [2.0, 4.0, -3.0, -5.0]);
    assert_eq!(reference::prelu(&gate, &[0.5, 0.25]).data, [2.0, -0.25]);
    assert_eq!(reference::layer_norm(&gate, &[1.0, 2.0], &[0.5, 0.0], 0.0).data, [1.5, -2.0]);
    // Of five columns, the second window of three with stride 3 hangs over; of three, none would begin inside.
    let hanging = Window::new(3).stride(3).ceil(true);
    let five = image([[1.0, 2.0, 3.0, 4.0, 6.0], [0.0; 5], [0.0; 5]]);
    assert_eq!(reference::max_pool(&five, hanging).data, [3.0, 6.0]);
    assert_eq!(reference::average_pool(&five, hanging, true).data, [6.0 / 9.0, 10.0 / 6.0]);
    assert_eq!(reference::output_shape(hanging.pad(1), Shape::new(1, 3, 5), 1), Shape::new(1, 2, 2));
    assert_eq!(reference::output_shape(hanging, Shape::new(1, 3, 3), 1), Shape::new(1, 1, 1));
    // Three taps, two apart: each pixel adds [1, 10, 100] at twice its place, less one.
    let up = Window { kernel: [1, 3], stride: [1, 2], ..Window::new(1) };
    let up = up.padding(Padding::Sides { top: 0, bottom: 0, left: 1, right: 1 });
    let row = image([[1.0, 2.0]]);
    let transposed =
        |more| reference::transposed(&row, up, [0, more], 1, &[1.0, 10.0, 100.0], Some(&[0.5])).data;
    assert_eq!(transposed(0), [10.5, 102.5, 20.5]);
    assert_eq!(transposed(1), [10.5, 102.5, 20.5, 200.5]);
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
