//! A convolution that is not ours, as many libraries have it: the windows of an image become the rows of a matrix (im2col),
//! and `ndarray` multiplies it with the weights. It is held to the definition; then a fault is put into it that nobody
//! sees by looking, and that no test with odd sizes finds.
//!
//! `cargo run -p kernels-testing --example im2col`

use kernels_testing::operators::Convolution;
use kernels_testing::{Fault, Layout, Pad, Problem, Problems, convolution};
use ndarray::{Array2, Array3, ArrayView3, ArrayView4, s};

/// Where the odd pixel of an odd padding goes.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Odd {
    /// Below and to the right: TensorFlow's `"same"`, which checkpoints were trained with.
    Behind,
    /// Above and to the left: a plausible fault. It makes no difference where the stride is 1 and the kernel odd, nor where
    /// the stride is 2 and the image odd.
    Before,
}

/// Padding before `len` pixels, and the length of the output: `ceil(len / stride)`.
fn same(len: usize, kernel: usize, stride: usize, odd: Odd) -> (usize, usize) {
    let out = len.div_ceil(stride);
    let total = ((out - 1) * stride + kernel).saturating_sub(len);
    (if odd == Odd::Behind { total / 2 } else { total.div_ceil(2) }, out)
}

/// The library's convolution: an image of channels, rows and columns; weights `[oc][ic][kh][kw]`; padding is "same".
fn conv2d(src: ArrayView3<'_, f32>, weights: ArrayView4<'_, f32>, stride: usize, odd: Odd) -> Array3<f32> {
    let (ic, h, w) = src.dim();
    let (oc, _, kh, kw) = weights.dim();
    let ((top, oh), (left, ow)) = (same(h, kh, stride, odd), same(w, kw, stride, odd));
    let mut padded = Array3::zeros((ic, top + h + kh, left + w + kw));
    padded.slice_mut(s![.., top..top + h, left..left + w]).assign(&src);
    let mut columns = Array2::zeros((oh * ow, ic * kh * kw));
    for (i, mut row) in columns.outer_iter_mut().enumerate() {
        let (y, x) = (i / ow * stride, i % ow * stride);
        let window = padded.slice(s![.., y..y + kh, x..x + kw]);
        row.iter_mut().zip(window).for_each(|(to, from)| *to = *from);
    }
    let weights = weights.to_shape((oc, ic * kh * kw)).expect("a matrix");
    weights.dot(&columns.t()).to_shape((oc, oh, ow)).expect("an image").into_owned()
}

/// What the library's convolution can do.
fn problems() -> Problems<Convolution> {
    convolution().kernels([[1, 1], [3, 3], [5, 5]]).strides([[1, 1], [2, 2]]).pads([Pad::Same])
}

/// Runs it on a problem and compares.
fn run(p: &Problem<Convolution>, odd: Odd) -> Result<(), Fault> {
    let (src, [kh, kw]) = (p.src_nchw(), p.kernel());
    let src = ArrayView3::from_shape((p.ic(), p.h(), p.w()), &src).expect("an image");
    let weights = ArrayView4::from_shape((p.oc(), p.ic(), kh, kw), p.weights()).expect("weights");
    let dst = conv2d(src, weights, p.stride()[0], odd);
    p.compare(&dst.iter().copied().collect::<Vec<f32>>(), Layout::Nchw)
}

fn main() {
    match problems().smallest_failure(500, |p| run(p, Odd::Behind)) {
        None => println!("500 problems: right in all of them"),
        Some((p, why)) => println!("wrong: {why}\nin {p:?}"),
    }
    match problems().smallest_failure(500, |p| run(p, Odd::Before)) {
        None => println!("with the odd pixel before the image: nothing was found"),
        Some((p, why)) => println!("with the odd pixel before the image: {why}\nin {p:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_right_one_passes() {
        problems().for_all(200, |p| run(p, Odd::Behind).unwrap());
    }

    #[test]
    fn the_fault_is_found_and_its_problem_is_small() {
        let (p, why) = problems().smallest_failure(200, |p| run(p, Odd::Before)).expect("a failure");
        assert!(p.ic() + p.oc() <= 8 && p.h() + p.w() <= 20, "{p:?}");
        assert!(why.contains("row 0, column 0 of"), "{why}");
        assert_eq!((p.stride(), p.padding().iter().sum::<usize>() % 2), ([2, 2], 1), "{p:?}");
        // Without proptest: problems of a seed.
        let wrong = problems().seeded(1).take(100).filter(|p| run(p, Odd::Before).is_err()).count();
        assert!((10..90).contains(&wrong), "{wrong} of 100 problems show it");
    }
}
