//! A candle model before and after its depthwise convolutions are replaced.
//!
//! ```text
//! cargo run --release --example mobilenet
//! ```

use candle_core::{Device, Module, Result, Tensor};
use kernels_candle::DepthwiseConv2d;
use std::time::Instant;

/// Channels in and out and stride of MobileNetV1's blocks behind the stem.
const BLOCKS: [(usize, usize, usize); 13] = [
    (32, 64, 1),
    (64, 128, 2),
    (128, 128, 1),
    (128, 256, 2),
    (256, 256, 1),
    (256, 512, 2),
    (512, 512, 1),
    (512, 512, 1),
    (512, 512, 1),
    (512, 512, 1),
    (512, 512, 1),
    (512, 1024, 2),
    (1024, 1024, 1),
];

/// Depthwise and 1x1 convolution, each with a bias and ReLU.
struct Block {
    depthwise: Box<dyn Module>,
    bias: Tensor,
    pointwise: Tensor,
    pointwise_bias: Tensor,
}

impl Block {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let x = self.depthwise.forward(x)?.broadcast_add(&self.bias)?.relu()?;
        x.conv2d(&self.pointwise, 0, 1, 1, 1)?.broadcast_add(&self.pointwise_bias)?.relu()
    }
}

/// The same weights for both: `candle` says whose depthwise convolution to use.
fn build(candle: bool) -> Result<Vec<Block>> {
    let device = Device::Cpu;
    let numbers = |shape: &[usize], fan_in: usize| {
        let bound = (6.0 / fan_in as f32).sqrt();
        let number = |i: usize| bound * ((i * 7919 % 2003) as f32 / 1001.5 - 1.0);
        Tensor::from_vec((0..shape.iter().product()).map(number).collect::<Vec<_>>(), shape, &device)
    };
    let block = |&(ic, oc, stride): &(usize, usize, usize)| {
        let weight = numbers(&[ic, 1, 3, 3], 9)?;
        let depthwise: Box<dyn Module> = if candle {
            Box::new(move |x: &Tensor| x.conv2d(&weight, 1, stride, 1, ic))
        } else {
            Box::new(DepthwiseConv2d::new(&weight, None, stride, 1)?)
        };
        Ok(Block {
            depthwise,
            bias: numbers(&[1, ic, 1, 1], 600)?,
            pointwise: numbers(&[oc, ic, 1, 1], ic)?,
            pointwise_bias: numbers(&[1, oc, 1, 1], 600)?,
        })
    };
    BLOCKS.iter().map(block).collect()
}

fn forward(blocks: &[Block], x: &Tensor) -> Result<Tensor> {
    blocks.iter().try_fold(x.clone(), |x, block| block.forward(&x))
}

/// The depthwise convolutions alone, each on a map of its size.
fn depthwise_only(blocks: &[Block], maps: &[Tensor]) -> Result<()> {
    blocks.iter().zip(maps).try_for_each(|(block, map)| block.depthwise.forward(map).map(drop))
}

fn fastest(rounds: usize, mut run: impl FnMut() -> Result<()>) -> Result<f64> {
    let mut fastest = f64::INFINITY;
    for _ in 0..rounds {
        let start = Instant::now();
        run()?;
        fastest = fastest.min(1e3 * start.elapsed().as_secs_f64());
    }
    Ok(fastest)
}

fn main() -> Result<()> {
    let (before, after) = (build(true)?, build(false)?);
    let image = Tensor::rand(-1f32, 1f32, (1, 32, 112, 112), &Device::Cpu)?;
    let (expected, found) = (forward(&before, &image)?, forward(&after, &image)?);
    let scale = expected.abs()?.max_all()?.to_scalar::<f32>()?;
    let difference = (expected - found)?.abs()?.max_all()?.to_scalar::<f32>()?;
    println!("greatest output {scale:.3}, greatest difference {difference:.1e}");
    assert!(scale > 0.1 && difference < 1e-4 * scale);

    let mut side = 112;
    let mut maps = Vec::new();
    for (ic, _, stride) in BLOCKS {
        maps.push(Tensor::rand(-1f32, 1f32, (1, ic, side, side), &Device::Cpu)?);
        side /= stride;
    }
    let rounds = if cfg!(test) { 1 } else { 20 };
    for (what, candle, kernels) in [
        (
            "13 depthwise convolutions",
            fastest(rounds, || depthwise_only(&before, &maps))?,
            fastest(rounds, || depthwise_only(&after, &maps))?,
        ),
        (
            "all of MobileNetV1 behind its stem",
            fastest(rounds, || forward(&before, &image).map(drop))?,
            fastest(rounds, || forward(&after, &image).map(drop))?,
        ),
    ] {
        println!(
            "{what}: candle {candle:.2} ms, with kernels {kernels:.2} ms: {:.1} times as fast",
            candle / kernels
        );
    }
    Ok(())
}

#[test]
fn the_model_computes_the_same() -> Result<()> {
    main()
}
