//! Two networks with a common trunk, run by several threads at once: every weight is in memory once.
//!
//! An operator is built once and runs through `&self`; what a running inference writes to belongs to its thread. So the
//! networks hold the trunk in an [`Arc`], and threads hold references to the networks.
//!
//! ```text
//! cargo run --release -p kernels --example shared_weights
//! ```

use kernels::Window;
use kernels::{
    Activation, Convolution, Depthwise, Error, GlobalAverage, Image, Linear, Pointwise, Shape, Tensor,
};
use std::sync::Arc;
use std::thread;

const SIDE: usize = 64;
const WIDTH: usize = 40;

/// The common part: an image to features.
struct Trunk {
    stem: Convolution,
    depthwise: Depthwise,
    pointwise: Pointwise,
    mean: GlobalAverage,
}

/// The trunk and a head of its own.
struct Network {
    trunk: Arc<Trunk>,
    head: Linear,
}

/// Memory of one thread.
struct Activations {
    stem: Tensor,
    filtered: Tensor,
    features: Tensor,
    mean: [f32; WIDTH],
}

impl Trunk {
    fn new() -> Result<Self, Error> {
        let window = Window::new(3).stride(2).pad(1);
        Ok(Self {
            stem: Convolution::builder(3, 24, window)
                .activation(Activation::Relu)
                .build(&weights(24 * 27))?,
            depthwise: Depthwise::builder(24, window).build(&weights(24 * 9))?,
            pointwise: Pointwise::builder(24, WIDTH)
                .activation(Activation::Relu)
                .build(&weights(WIDTH * 24))?,
            mean: GlobalAverage::builder().build()?,
        })
    }
}

impl Network {
    fn new(trunk: &Arc<Trunk>, outputs: usize) -> Result<Self, Error> {
        let head = Linear::builder(WIDTH, outputs).build(&weights(outputs * WIDTH))?;
        Ok(Self { trunk: Arc::clone(trunk), head })
    }

    fn run(&self, image: &[f32], activations: &mut Activations) -> Vec<f32> {
        let Activations { stem, filtered, features, mean } = activations;
        let image = Image::planar(image, Shape::new(3, SIDE, SIDE)).expect("a picture");
        self.trunk.stem.run(image, stem.view_mut());
        self.trunk.depthwise.run(stem.view(), filtered.view_mut());
        self.trunk.pointwise.run(filtered.view(), features.view_mut());
        self.trunk.mean.run(features.view(), mean);
        let mut output = vec![0.0; self.head.oc()];
        self.head.run(mean, &mut output);
        output
    }
}

impl Activations {
    fn new() -> Self {
        Self {
            stem: Tensor::zeros(Shape::new(24, SIDE / 2, SIDE / 2)),
            filtered: Tensor::zeros(Shape::new(24, SIDE / 4, SIDE / 4)),
            features: Tensor::zeros(Shape::new(WIDTH, SIDE / 4, SIDE / 4)),
            mean: [0.0; WIDTH],
        }
    }
}

/// Made-up weights.
fn weights(len: usize) -> Vec<f32> {
    (0..len).map(|i| ((i * 37 % 101) as f32 - 50.0) / 200.0).collect()
}

/// A different picture for every `index`.
fn image(index: usize) -> Vec<f32> {
    (0..3 * SIDE * SIDE).map(|i| ((i * (index + 7)) % 255) as f32 / 255.0).collect()
}

/// The outputs of both networks for `images` pictures, computed by `threads` threads, in the pictures' order.
fn run_all(networks: &[Network; 2], threads: usize, images: usize) -> Vec<[Vec<f32>; 2]> {
    let mut outputs = vec![[Vec::new(), Vec::new()]; images];
    let each = images.div_ceil(threads);
    thread::scope(|scope| {
        for (thread, outputs) in outputs.chunks_mut(each).enumerate() {
            scope.spawn(move || {
                let mut activations = Activations::new();
                for (i, output) in outputs.iter_mut().enumerate() {
                    let image = image(thread * each + i);
                    *output = networks.each_ref().map(|network| network.run(&image, &mut activations));
                }
            });
        }
    });
    outputs
}

fn main() -> Result<(), Error> {
    let trunk = Arc::new(Trunk::new()?);
    let networks = [Network::new(&trunk, 10)?, Network::new(&trunk, 2)?];
    let alone = run_all(&networks, 1, 24);
    for threads in [2, 4, 8] {
        assert!(run_all(&networks, threads, 24) == alone, "the outputs depend on the threads");
    }
    println!("{} pictures, two networks, 1, 2, 4 and 8 threads: the same bits", alone.len());
    Ok(())
}

#[test]
fn networks_and_threads_share_one_trunk() -> Result<(), Error> {
    main()?;
    let trunk = Arc::new(Trunk::new()?);
    let networks = [Network::new(&trunk, 10)?, Network::new(&trunk, 2)?];
    assert_eq!(Arc::strong_count(&trunk), 3);
    let outputs = run_all(&networks, 2, 4);
    assert_eq!(outputs[0].each_ref().map(Vec::len), [10, 2]);
    // Unlike pictures give unlike outputs, none of them empty of meaning.
    assert!(
        outputs[0] != outputs[1] && outputs.iter().flatten().flatten().all(|x| x.is_finite() && *x != 0.0)
    );
    Ok(())
}
