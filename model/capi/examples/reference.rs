//! What `shufflenet.c` is compared with: writes a checkpoint with made-up weights (of 0.5x, or the width that is named), runs
//! it from Rust on the same images, and prints the likeliest class and its logit for each.

use kernels::{Isa, Serial};
use model::weights::save_safetensors;
use model::{Config, Images, Network, Synthetic, Weights, Wiring};
use std::error::Error;

const SIDE: usize = 64;

fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::args_os().nth(1).ok_or("usage: reference CHECKPOINT.safetensors [WIDTH]")?;
    let width = std::env::args().nth(2);
    let config = Config::published(width.as_deref().unwrap_or("0.5"), Wiring::Torchvision)?;
    let weights = Synthetic::new(&config)?;
    let mut tensors = Vec::new();
    for name in weights.names() {
        let (shape, values) = (weights.shape(&name).unwrap_or_default(), weights.read(&name)?);
        tensors.push((name, shape, values));
    }
    save_safetensors(
        path.as_ref(),
        tensors.iter().map(|(name, shape, values)| (&**name, &**shape, &**values)),
    )?;

    let network = Network::new(&config, &weights, Isa::from_env()?)?;
    let images: Vec<f32> =
        (0..2 * 3 * SIDE * SIDE).map(|i| (i * 7919 % 2003) as f32 / 1001.5 - 1.0).collect();
    let mut logits = vec![0.0; 2 * config.classes];
    network.run(&Serial, Images::nchw(&images, 2, SIDE, SIDE), &mut network.workspace(), &mut logits);
    for (image, logits) in logits.chunks_exact(config.classes).enumerate() {
        let (class, logit) =
            logits.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1)).ok_or("there are no classes")?;
        println!("image {image}: class {class}, logit {logit:.1}");
    }
    Ok(())
}
