//! How long it takes to bring an image into the blocked layout and out of it, beside a plain copy of as many bytes.
//!
//! ```text
//! cargo run --release -p kernels --example layout
//! ```

use kernels::{ChannelOrder, Shape, Tensor, layout};
use std::hint::black_box;
use std::time::Instant;

/// The fastest of many runs, in microseconds.
fn fastest(rounds: usize, mut run: impl FnMut()) -> f64 {
    let mut fastest = f64::INFINITY;
    for _ in 0..rounds {
        let start = Instant::now();
        run();
        fastest = fastest.min(1e6 * start.elapsed().as_secs_f64());
    }
    fastest
}

fn main() {
    let rounds = if cfg!(test) { 1 } else { 2000 };
    println!(
        "{:>14} {:>9} {:>9} {:>9} {:>9} {:>9}",
        "us", "copy", "from NCHW", "to NCHW", "from NHWC", "to NHWC"
    );
    for shape in
        [(3, 224, 224), (24, 56, 56), (116, 28, 28), (64, 32, 32), (232, 14, 14), (58, 28, 28), (464, 7, 7)]
    {
        let shape = Shape::new(shape.0, shape.1, shape.2);
        let image: Vec<f32> = (0..shape.elements()).map(|i| (i % 8191) as f32).collect();
        let order = ChannelOrder::identity(shape.c);
        let (mut tensor, mut back) = (Tensor::zeros(shape), image.clone());
        let copy = fastest(rounds, || black_box(&mut back).copy_from_slice(black_box(&image)));
        let times = [
            copy,
            fastest(rounds, || layout::from_nchw(black_box(&image), tensor.view_mut())),
            fastest(rounds, || layout::to_nchw(tensor.view(), &order, black_box(&mut back))),
            fastest(rounds, || layout::from_nhwc(black_box(&image), tensor.view_mut())),
            fastest(rounds, || layout::to_nhwc(tensor.view(), &order, black_box(&mut back))),
        ];
        assert!(back == image, "{shape}: there and back");
        let times: Vec<String> = times.iter().map(|time| format!("{time:9.2}")).collect();
        println!("{:>14} {}", shape.to_string(), times.join(" "));
    }
}

#[test]
fn there_and_back() {
    main();
}
