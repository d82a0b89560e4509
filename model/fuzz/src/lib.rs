//! What the targets for checkpoints share.

#[path = "../../tests/torch_files/mod.rs"]
mod torch_files;

use kernels::{Isa, Serial};
use model::weights::{Checkpoint, Format};
use model::{Choice, Config, Images, Network, Weights, Wiring, find};

/// A network as small as there can be: what seeds hold and edits start from.
///
/// # Panics
/// Never.
pub fn tiny(wiring: Wiring) -> Config {
    let mut config = Config::published("0.5", wiring).expect("a published width");
    config.stage_repeats = [2, 1, 1];
    config.stage_channels = [2, 4, 6, 8, 3];
    config.classes = 2;
    config
}

/// Opens a checkpoint, reads every tensor, and builds and runs the network that it may describe.
pub fn open(bytes: &[u8], wanted: &[Format]) {
    let len = bytes.len();
    let checkpoint = match Checkpoint::from_bytes(bytes.to_vec()) {
        Ok(checkpoint) if wanted.contains(&checkpoint.format()) => checkpoint,
        Ok(_) => return,
        Err(error) => return one_line(&error),
    };
    let mut values = 0;
    for name in checkpoint.names() {
        match checkpoint.read(name) {
            Ok(read) => {
                let shape = checkpoint.shape(name).expect("a tensor that was read has a shape");
                assert_eq!(read.len(), shape.iter().product::<usize>());
                values += read.len();
            }
            Err(error) => one_line(&error),
        }
    }
    assert!(values <= 4 * len + (1 << 20), "{values} values from {len} bytes");
    load(&checkpoint);
}

/// A checkpoint of PyTorch whose pickle this is; it has one storage.
pub fn in_zip(pickle: &[u8]) -> Vec<u8> {
    torch_files::zip(&[("a/data.pkl", pickle), ("a/data/0", &[0; 256])])
}

/// Builds the network that the weights describe, and runs it.
pub fn load(weights: &dyn Weights) {
    let average = Choice { key: Some("model".into()), ema: true };
    if let Ok(found) = find(weights, &average) {
        assert!(found.key.starts_with("model"));
    }
    let found = match find(weights, &Choice::default()) {
        Ok(found) => found,
        Err(error) => return one_line(&error),
    };
    for note in &found.notes {
        assert!(!note.contains('\n') && note.len() < 4000, "{note}");
    }
    // Whatever was found is there, and of the shape that was promised.
    for name in found.weights.names() {
        let shape = found.weights.shape(&name).expect("a tensor of that name");
        match found.weights.read(&name) {
            Ok(values) => assert_eq!(values.len(), shape.iter().product::<usize>(), "{name}"),
            Err(error) => one_line(&error),
        }
    }
    match Network::new(&found.config, &found.weights, Isa::best()) {
        Ok(network) => {
            let image: Vec<f32> = (0..3 * 32 * 32).map(|i| (i % 7) as f32 - 3.0).collect();
            let mut logits = vec![0.0; network.config().outputs()];
            network.run(&Serial, Images::nchw(&image, 1, 32, 32), &mut network.workspace(), &mut logits);
        }
        Err(error) => one_line(&error),
    }
}

/// An error is one line of bounded length.
///
/// # Panics
/// Where it is not.
pub fn one_line(error: &dyn std::error::Error) {
    let text = error.to_string();
    assert!(!text.contains('\n') && text.len() < 4000, "{text}");
}
