//! Arrays of any memory layout, into the blocked layout and out of it.

use kernels::{ChannelOrder, Error, Shape, Tensor, ndarray as adapter};
use ndarray::{Array3, ArrayView3, s};

fn array(c: usize, h: usize, w: usize) -> Array3<f32> {
    Array3::from_shape_fn((c, h, w), |(c, y, x)| (c * 10_000 + y * 100 + x) as f32)
}

/// The same (channel, row, column) numbers in several memory layouts.
fn in_every_layout(c: usize, h: usize, w: usize, mut check: impl FnMut(ArrayView3<'_, f32>)) {
    let planar = array(c, h, w);
    check(planar.view());
    let interleaved = planar.view().permuted_axes([1, 2, 0]).as_standard_layout().into_owned();
    check(interleaved.view().permuted_axes([2, 0, 1]));
    let columns_first = planar.view().permuted_axes([0, 2, 1]).as_standard_layout().into_owned();
    check(columns_first.view().permuted_axes([0, 2, 1]));
    let mut backwards = planar.slice(s![..;-1, ..;-1, ..;-1]).as_standard_layout().into_owned();
    backwards.invert_axis(ndarray::Axis(0));
    backwards.invert_axis(ndarray::Axis(1));
    backwards.invert_axis(ndarray::Axis(2));
    check(backwards.view());
    let mut spread = Array3::from_elem((2 * c, h + 3, 3 * w), f32::NAN);
    spread.slice_mut(s![..;2, 1..h + 1, ..;3]).assign(&planar);
    check(spread.slice(s![..;2, 1..h + 1, ..;3]));
}

#[test]
fn an_array_is_read_and_written_whatever_its_strides() {
    for (c, h, w) in [(1, 1, 1), (3, 5, 4), (16, 3, 3), (17, 2, 7), (58, 4, 4)] {
        in_every_layout(c, h, w, |src| {
            let tensor = Tensor::from_array(src).expect("a valid shape");
            for ((c, y, x), &value) in src.indexed_iter() {
                assert_eq!(tensor.view().get(c, y, x), value);
            }
            assert_eq!(tensor.to_array(), src);
            let order = ChannelOrder::from_slots((0..c as u32).rev().collect());
            in_every_layout(c, h, w, |like| {
                // `to_owned` keeps the layout where the array is dense.
                let mut dst = like.to_owned();
                adapter::to_array(tensor.view(), &order, dst.view_mut());
                assert_eq!(dst, src.slice(s![..;-1, .., ..]));
            });
        });
    }
}

#[test]
fn a_part_of_an_array_is_written_and_the_rest_left_alone() {
    let tensor = Tensor::from_array(array(5, 3, 4).view()).expect("a valid shape");
    let mut whole = Array3::from_elem((7, 3, 8), -1.0);
    adapter::to_array(tensor.view(), &ChannelOrder::identity(5), whole.slice_mut(s![1..6, .., ..;2]));
    for ((c, y, x), &found) in whole.indexed_iter() {
        let inside = (1..6).contains(&c) && x % 2 == 0;
        assert_eq!(found, if inside { tensor.view().get(c - 1, y, x / 2) } else { -1.0 });
    }
}

#[test]
fn an_empty_array_is_refused() {
    let error = Tensor::from_array(Array3::zeros((4, 0, 3)).view()).unwrap_err();
    assert!(matches!(error, Error::Invalid { .. }), "{error}");
}

#[test]
#[should_panic(expected = "array of [4, 3, 2] into 4x2x3")]
fn another_shape_is_refused() {
    adapter::from_array(Array3::zeros((4, 3, 2)).view(), Tensor::zeros(Shape::new(4, 2, 3)).view_mut());
}

#[test]
#[should_panic(expected = "4 channels in 9 slots of 4x2x3 into an array of [4, 2, 3]")]
fn an_order_beyond_the_slots_is_refused() {
    let order = ChannelOrder::from_slots(vec![0, 1, 2, 8]);
    let mut dst = Array3::zeros((4, 2, 3));
    adapter::to_array(Tensor::zeros(Shape::new(4, 2, 3)).view(), &order, dst.view_mut());
}
