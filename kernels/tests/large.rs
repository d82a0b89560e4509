//! Sizes that pass 2^32, and on targets of 32 bits 2^31: an answer or a sentence, never an access out of bounds. On
//! `wasm32`, `ports/wasm.sh` runs this as it is shipped, optimised and without overflow checks.
#![cfg(feature = "std")]

mod common;

use common::*;
use kernels::{
    Convolution, Depthwise, Head, Image, Padding, Pointwise, Shape, Tensor, View, ViewMut, Window,
};

/// A map of one row, fewer than 2^32 elements, and a window whose padded taps lie more than that apart. Nothing of the maps
/// is touched, so the memory is never really had.
#[test]
#[cfg(all(target_pointer_width = "64", not(miri)))]
fn taps_beyond_two_to_the_32_panic() {
    // With the window's first tap 6 rows above the image, or 3.
    for top in [6, 3] {
        let padding = Padding::Sides { top, bottom: 6, left: 3, right: 3 };
        let window = Window::new(7).stride(2).padding(padding);
        let op = Convolution::builder(1, 1, window).build(&[1.0; 49]).unwrap();
        let from = Shape::new(1, 1, 44_800_000);
        let (h, w) = window.output(from.h, from.w).unwrap();
        let to = Shape::new(1, h, w);
        let (src, mut dst) = (vec![0.0; from.len()], vec![0.0; to.len()]);
        let (src, dst) = (View::new(&src, from).unwrap(), ViewMut::new(&mut dst, to).unwrap());
        assert_panics("too large: what is read together lies 2^32 elements or more apart", || {
            op.run(src, dst)
        });
    }
}

/// The same without memory: shapes are refused, whether they come in blocks or in planes.
#[test]
#[cfg(target_pointer_width = "64")]
fn shapes_beyond_two_to_the_32_are_refused() {
    for (ic, window, w) in [
        // In blocks, six rows and six columns from the first tap to the last.
        (1, Window::new(7).pad(3), 44_739_241),
        // In planes, fifteen of them from the first channel to the last.
        (16, Window::new(1), 286_331_153),
    ] {
        let op = Convolution::builder(ic, 1, window).build(&vec![1.0; ic * window.taps()]).unwrap();
        op.try_output_shape(Shape::new(ic, 1, w)).unwrap();
        let error = op.try_output_shape(Shape::new(ic, 1, w + 1)).unwrap_err().to_string();
        assert!(error.contains("too large"), "{error}");
    }
    let op = Pointwise::builder(33, 1).build(&[1.0; 33]).unwrap();
    op.try_output_shape(Shape::new(33, 1, (1 << 27) - 1)).unwrap();
    let error = op.try_output_shape(Shape::new(33, 1, 1 << 27)).unwrap_err().to_string();
    assert!(error.contains("too large"), "{error}");
}

/// Products that are 0 or little modulo 2^32, and so on 32 bits seem to fit a slice that is too short.
#[test]
#[cfg(target_pointer_width = "32")]
fn products_that_wrap_are_noticed() {
    use kernels::{ChannelOrder, Linear, MaxPool, Stem};

    let refused = |image: Result<Image<'_>, kernels::Error>| image.unwrap_err().to_string();
    let shape = Shape::new(65_536, 256, 256);
    assert_eq!(refused(Image::planar(&[], shape)), "shape: 65536x256x256 does not fit into memory");
    let op = Convolution::builder(65_536, 1, Window::new(1).stride(2)).build(&vec![1.0; 65_536]).unwrap();
    op.try_output_shape(shape).unwrap_err();

    let window = Window::new(3).stride(2).pad(1);
    let conv = Convolution::builder(1, 1, Window::new(3).pad(1)).build(&[1.0; 9]).unwrap();
    let stem = Stem::builder(conv, MaxPool::builder(window).build().unwrap()).build().unwrap();
    for shape in [Shape::new(1, 1, (1 << 28) + 1), Shape::new(1, 1 << 16, 1 << 16)] {
        stem.try_scratch(shape).unwrap_err();
    }

    // 2^16 times the same channel of 2^16 pixels: 2^32 elements.
    let order = ChannelOrder::from_slots(vec![0; 1 << 16]);
    let src = Tensor::zeros(Shape::new(1, 1 << 8, 1 << 8));
    assert_panics("into 0 elements", || kernels::layout::to_nchw(src.view(), &order, &mut []));
    assert_panics("into 0 elements", || kernels::layout::to_nhwc(src.view(), &order, &mut []));

    // A gigabyte of weights, which padded to whole registers would be four.
    let weights = vec![0.0; (1 << 28) + 1];
    let error = Linear::builder(weights.len(), 1).build(&weights).unwrap_err();
    assert_eq!(error.to_string(), "weights: too many for memory");
    let error = Convolution::builder(weights.len(), 1, Window::new(1)).build(&weights).unwrap_err();
    assert_eq!(error.to_string(), "weights: too many for memory");
}

/// What does not fit into memory is never as long as a slice.
#[test]
fn sizes_do_not_wrap() {
    let half = 1 << (usize::BITS / 2);
    for shape in [Shape::new(1, half, half), Shape::new(usize::MAX, 4, 4), Shape::new(16, usize::MAX, 2)] {
        assert_eq!(shape.len(), usize::MAX, "{shape}");
        shape.try_len().unwrap_err();
        Tensor::from_nchw(&[], shape).unwrap_err();
        Image::planar(&[], shape).unwrap_err();
        View::new(&[], shape).unwrap_err();
        ViewMut::new(&mut [], shape).unwrap_err();
    }
}

/// Padding is added to whatever the caller says is the image's height.
#[test]
fn padded_sides_do_not_wrap() {
    for window in [Window::new(3).pad(1), Window::new(3).padding(Padding::Same)] {
        let depthwise = Depthwise::builder(1, window).build(&[1.0; 9]).unwrap();
        let convolution = Convolution::builder(1, 1, window).build(&[1.0; 9]).unwrap();
        for (h, w) in [(usize::MAX, 1), (1, usize::MAX), (usize::MAX - 1, 1)] {
            window.output(h, w).unwrap_err();
            depthwise.try_output_shape(Shape::new(1, h, w)).unwrap_err();
            convolution.try_output_shape(Shape::new(1, h, w)).unwrap_err();
        }
    }
}

#[test]
fn scratch_of_a_head_does_not_wrap() {
    let head = Head::builder(Pointwise::builder(1, 1).build(&[1.0]).unwrap(), 1).build(&[1.0]).unwrap();
    let half = 1 << (usize::BITS / 2 - 1);
    for (h, w) in [(half, half), (usize::MAX, usize::MAX), (half / 8, half / 8)] {
        let error = head.try_scratch(Shape::new(1, h, w)).unwrap_err().to_string();
        assert!(error.contains("memory"), "{error}");
    }
}
