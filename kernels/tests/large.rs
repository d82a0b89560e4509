//! Sizes that pass 2^32, and on targets of 32 bits 2^31: an answer or a sentence, never an access out of bounds. On
//! `wasm32`, `ports/wasm.sh` runs this as it is shipped, optimised and without overflow checks.

mod common;

use common::*;
use kernels::{Convolution, Depthwise, Head, Padding, Pointwise, Shape, Tensor};
#[cfg(target_pointer_width = "32")]
use kernels::{MaxPool, Serial};
#[cfg(target_pointer_width = "64")]
use kernels::{View, ViewMut};

/// A map of one row, fewer than 2^32 elements, and a window whose padded taps lie more than that apart. Nothing of the maps
/// is touched, so the memory is never really had.
#[test]
#[cfg(all(target_pointer_width = "64", not(miri)))]
fn taps_beyond_two_to_the_32_panic() {
    let padding = |top| Padding::Sides { top, bottom: 6, left: 3, right: 3 };
    // With the window's first tap 6 rows above the image, or 3.
    for (w, top) in [(44_800_000, 6), (44_800_000, 3)] {
        let op = Convolution::builder(1, 1, 7, 2).padding(padding(top)).build(&[1.0; 49]).unwrap();
        let (from, to) = (Shape::new(1, 1, w), op.output_shape(1, w));
        let (src, mut dst) = (vec![0.0; from.len()], vec![0.0; to.len()]);
        let (src, dst) = (View::new(&src, from).unwrap(), ViewMut::new(&mut dst, to).unwrap());
        assert_panics("too large: what is read together lies 2^32", || op.run(src, dst));
    }
}

/// Products of three numbers that are 0 or 16 modulo 2^32, and so on 32 bits seem to fit a slice that is too short.
#[test]
#[cfg(target_pointer_width = "32")]
fn products_that_wrap_are_noticed() {
    let op =
        Convolution::builder(65_536, 1, 1, 2).padding(Padding::all(0)).build(&vec![1.0; 65_536]).unwrap();
    let mut dst = Tensor::zeros(op.output_shape(256, 256));
    assert_panics("a planar image of 65536x256x256 has not 0 elements", || {
        op.run_planar(&[], 256, 256, dst.view_mut());
    });

    let op = Convolution::builder(1, 1, 3, 1).build(&[1.0; 9]).unwrap();
    let pool = MaxPool::new(3, 2, Padding::all(1), kernels::Isa::best()).unwrap();
    let w = (1 << 28) + 1;
    assert_panics("does not fit into memory", || op.pooled_scratch(&Serial, 1, w));
    let mut dst = Tensor::zeros(Shape::new(1, 1, 1));
    assert_panics("a planar image of 1x1x268435457 has not 1 elements", || {
        op.run_planar_pooled(&Serial, &[0.0], 1, w, &pool, &mut [0.0; 48], dst.view_mut());
    });
    assert_panics("a planar image of 1x65536x65536 has not 0 elements", || {
        op.run_planar_pooled(&Serial, &[], 1 << 16, 1 << 16, &pool, &mut [0.0; 48], dst.view_mut());
    });

    // 2^16 times the same channel of 2^16 pixels: 2^32 elements.
    let order = kernels::ChannelOrder::from_slots(vec![0; 1 << 16]);
    let src = Tensor::zeros(Shape::new(1, 1 << 8, 1 << 8));
    assert_panics("into 0 elements", || kernels::layout::to_nchw(src.view(), &order, &mut []));
    assert_panics("into 0 elements", || kernels::layout::to_nhwc(src.view(), &order, &mut []));

    // A gigabyte of weights, which padded to whole registers would be four.
    let weights = vec![0.0; (1 << 28) + 1];
    let linear =
        kernels::Linear::new(weights.len(), 1, &weights, None, Default::default(), kernels::Isa::best());
    assert_eq!(linear.unwrap_err().to_string(), "weights: too many for memory");
    let conv = Convolution::builder(weights.len(), 1, 1, 1).build(&weights);
    assert_eq!(conv.unwrap_err().to_string(), "weights: too many for memory");
}

/// What does not fit into memory is never as long as a slice.
#[test]
fn sizes_do_not_wrap() {
    let half = 1 << (usize::BITS / 2);
    for shape in [Shape::new(1, half, half), Shape::new(usize::MAX, 4, 4), Shape::new(16, usize::MAX, 2)] {
        assert_eq!(shape.len(), usize::MAX, "{shape}");
        assert!(Tensor::from_nchw(&[], shape).is_err(), "{shape}");
        assert!(kernels::View::new(&[], shape).is_err(), "{shape}");
    }
}

/// Padding is added to whatever the caller says is the image's height.
#[test]
fn padded_sides_do_not_wrap() {
    let depthwise = Depthwise::builder(1, 3, 1).build(&[1.0; 9]).unwrap();
    let convolution = Convolution::builder(1, 1, 3, 1).build(&[1.0; 9]).unwrap();
    for (h, w) in [(usize::MAX, 1), (1, usize::MAX), (usize::MAX - 1, 1)] {
        assert_panics("image", || depthwise.output_shape(h, w));
        assert_panics("image", || convolution.output_shape(h, w));
    }
}

#[test]
fn scratch_of_a_head_does_not_wrap() {
    let head = Head::new(Pointwise::builder(1, 1).build(&[1.0]).unwrap(), 1, &[1.0], None).unwrap();
    let half = 1 << (usize::BITS / 2 - 1);
    for (h, w) in [(half, half), (usize::MAX, usize::MAX), (half / 8, half / 8)] {
        assert_panics("does not fit into memory", || head.scratch(h, w));
    }
}
