//! Shapes, views and their parts.
#![cfg(feature = "std")]

mod common;

use common::*;
use kernels::{Affine, AveragePool, BLOCK, Buffer, Convolution, Depthwise, Linear, Materialize, MaxPool};
use kernels::{Pointwise, Shape, Tensor, View, ViewMut};
use kernels_testing::Random;

/// A tensor whose elements say where they lie.
fn numbered(shape: Shape) -> Vec<f32> {
    (0..shape.len()).map(|i| i as f32).collect()
}

/// Where the formula at the head of `view.rs` puts an element.
fn position(shape: Shape, c: usize, y: usize, x: usize) -> f32 {
    (c / 16 * shape.block_stride() + (y * shape.w + x) * 16 + c % 16) as f32
}

/// Fails where `view` is not the channels from `c0` on and the rows from `y0` on of `outer`.
fn assert_part(view: View<'_>, outer: Shape, c0: usize, y0: usize) {
    let Shape { c: channels, h, w } = view.shape();
    for (c, y, x) in [(0, 0, 0), (channels - 1, 0, w - 1), (0, h - 1, w / 2), (channels - 1, h - 1, w - 1)] {
        let expected = position(outer, c0 + c, y0 + y, x);
        assert_eq!(view.get(c, y, x), expected, "({c}, {y}, {x}) of {} of {outer}", view.shape());
    }
    assert_eq!(view.block_stride(), outer.block_stride());
    let elements = (view.shape().blocks() - 1) * outer.block_stride() + h * w * BLOCK;
    assert!(view.data().len() >= elements, "{} elements of {}", view.data().len(), view.shape());
}

proptest! {
    #![proptest_config(config(200))]
    #[test]
    fn parts_are_where_the_formula_puts_them(
        (c, h, w) in (CHANNELS, 1..=9usize, 1..=9usize), seed in any::<u64>(),
    ) {
        let shape = Shape::new(c, h, w);
        let rng = &mut Random::new(seed);
        let mut data = numbered(shape);
        let blocks = {
            let start = rng.below(shape.blocks());
            start..start + 1 + rng.below(shape.blocks() - start)
        };
        let rows = {
            let start = rng.below(h);
            start..start + 1 + rng.below(h - start)
        };
        let part = Shape {
            c: c.min(blocks.end * BLOCK) - blocks.start * BLOCK,
            h: rows.len(),
            w,
        };
        let view = View::new(&data, shape).unwrap();
        assert_part(view, shape, 0, 0);
        let (c0, y0) = (blocks.start * BLOCK, rows.start);
        for view in [view.blocks(blocks.clone()).rows(rows.clone()), view.rows(rows.clone()).blocks(blocks.clone())] {
            prop_assert_eq!(view.shape(), part);
            assert_part(view, shape, c0, y0);
            // The part's last element is the last of its slice, so that the slice proves what may be read.
            prop_assert_eq!(view.data().len(), (part.blocks() - 1) * shape.block_stride() + part.pixels() * BLOCK);
        }

        let mut view = ViewMut::new(&mut data, shape).unwrap();
        assert_part(view.as_view(), shape, 0, 0);
        let mut inner = view.reborrow().blocks(blocks.clone()).rows(rows.clone());
        prop_assert_eq!(inner.shape(), part);
        prop_assert_eq!(inner.block_stride(), shape.block_stride());
        assert_part(inner.as_view(), shape, c0, y0);
        prop_assert_eq!(inner.data_mut()[0], position(shape, c0, y0, 0));
        let inner = view.reborrow().rows(rows.clone()).blocks(blocks);
        assert_part(inner.as_view(), shape, c0, y0);

        if shape.blocks() > 1 {
            let at = 1 + rng.below(shape.blocks() - 1);
            let (before, after) = view.reborrow().split_at_block(at);
            prop_assert_eq!(before.shape(), Shape { c: at * BLOCK, ..shape });
            prop_assert_eq!(after.shape(), Shape { c: c - at * BLOCK, ..shape });
            assert_part(before, shape, 0, 0);
            assert_part(after.as_view(), shape, at * BLOCK, 0);
            let (before, after) = view.rows(rows).split_at_block(at);
            assert_part(before, shape, 0, y0);
            assert_part(after.as_view(), shape, at * BLOCK, y0);
        }
    }
}

#[test]
fn shapes_count() {
    for (shape, blocks, stride) in [
        (Shape::new(1, 1, 1), 1, 16),
        (Shape::new(16, 2, 2), 1, 80),
        (Shape::new(17, 3, 5), 2, 240),
        (Shape::new(130, 7, 8), 9, 912),
    ] {
        assert_eq!(shape.blocks(), blocks, "{shape}");
        assert_eq!(shape.block_stride(), stride, "{shape}");
        assert_eq!(shape.len(), blocks * stride, "{shape}");
        assert_eq!(shape.pixels(), shape.h * shape.w, "{shape}");
        assert!(!shape.is_empty());
    }
    assert!(Shape::new(0, 3, 3).is_empty());
    assert_eq!(Shape::new(3, 224, 192).to_string(), "3x224x192");
}

#[test]
fn buffers_are_zero_and_begin_on_a_cache_line() {
    for len in [0, 1, 15, 16, 17, 1000] {
        let mut buffer = Buffer::zeros(len);
        assert_eq!(buffer.as_slice().len(), len);
        assert!(buffer.as_slice().iter().all(|x| x.to_bits() == 0));
        assert!(buffer.as_slice().as_ptr().addr().is_multiple_of(64));
        buffer.as_mut_slice().fill(1.0);
        assert_eq!(buffer.clone().as_slice(), vec![1.0; len]);
        assert!(buffer.clone().as_slice().as_ptr().addr().is_multiple_of(64));
    }
    let tensor = Tensor::zeros(Shape::new(17, 3, 3));
    assert!(tensor.view().data().as_ptr().addr().is_multiple_of(64));
    assert!(tensor.view().data().iter().all(|x| x.to_bits() == 0));
}

/// Operators and tensors may be sent to, and shared between, threads.
#[test]
fn everything_is_send_and_sync() {
    fn check<T: Send + Sync>() {}
    check::<(Pointwise, Depthwise, Convolution, Linear, Affine, Materialize, MaxPool, AveragePool)>();
    check::<(Tensor, Buffer, View<'_>, ViewMut<'_>, kernels::ChannelOrder, kernels::Error)>();
}
