//! Working on arrays of the crate `ndarray`: an interleaved photo in, a map of edges out.
//!
//! ```text
//! cargo run --release -p kernels --features ndarray --example ndarray
//! ```

use kernels::{Activation, Depthwise, Error, Pointwise, Tensor, Window};
use ndarray::{Array2, Array3, ArrayView3, Axis, s};

/// Brightness changes of a (row, column, channel) photo: Sobel's two filters per colour, rectified and summed.
fn edges(photo: ArrayView3<'_, f32>) -> Result<Array2<f32>, Error> {
    let (h, w, channels) = photo.dim();
    let sobel = [-1.0, 0.0, 1.0, -2.0, 0.0, 2.0, -1.0, 0.0, 1.0];
    // Every filter and its negative, so that rectified they add up to an absolute value; for both directions.
    let turned: [f32; 9] = std::array::from_fn(|i| sobel[i % 3 * 3 + i / 3]);
    let filters = [sobel, sobel.map(|x| -x), turned, turned.map(|x| -x)].concat();

    // A depthwise convolution has one filter per channel: four copies of each colour.
    let copies = Pointwise::builder(channels, 4 * channels).build(
        Array2::<f32>::from_shape_fn((4 * channels, channels), |(o, i)| f32::from(o / 4 == i))
            .as_slice()
            .expect("standard layout"),
    )?;
    let filter = Depthwise::builder(4 * channels, Window::new(3).pad(1))
        .activation(Activation::Relu)
        .build(&filters.repeat(channels))?;

    // No copy is made to bring the axes into order: the array is read where it lies.
    let src = Tensor::from_array(photo.permuted_axes([2, 0, 1]))?;
    let shape = kernels::Shape::new(4 * channels, h, w);
    let (mut copied, mut filtered) = (Tensor::zeros(shape), Tensor::zeros(shape));
    copies.run(src.view(), copied.view_mut());
    filter.run(copied.view(), filtered.view_mut());
    Ok(filtered.to_array().sum_axis(Axis(0)))
}

fn main() -> Result<(), Error> {
    // A bright square on a dark ground, and the part of the photo around it: a view with strides of its own.
    let mut photo = Array3::zeros((40, 60, 3));
    photo.slice_mut(s![15..25, 25..35, ..]).fill(1.0);
    let edges = edges(photo.slice(s![10..30, 20..40, ..]))?;
    for row in edges.rows() {
        println!("{}", row.iter().map(|&x| if x > 0.0 { '#' } else { '.' }).collect::<String>());
    }
    // Inside the square and far from it nothing changes; at its side, four for each of three colours.
    assert_eq!((edges[[9, 9]], edges[[2, 2]], edges[[9, 5]]), (0.0, 0.0, 12.0));
    Ok(())
}

#[test]
fn the_square_has_four_sides() -> Result<(), Error> {
    main()
}
