//! What is measured besides guidelines and networks: single layers, and one thing varied at a time.

use super::layer::Layer;
use super::networks;

/// Sides of the image.
pub(crate) const SIZES: [usize; 6] = [128, 160, 192, 224, 256, 320];

/// Images per run.
pub(crate) const BATCHES: [usize; 5] = [1, 2, 4, 8, 16];

/// Channels around 58, the half of a 1.0x network's first stage.
pub(crate) const CHANNELS: std::ops::RangeInclusive<usize> = 48..=64;

/// Thread counts up to `cores`: powers of two, and all of them.
pub(crate) fn threads(cores: usize) -> Vec<usize> {
    let mut counts: Vec<usize> =
        std::iter::successors(Some(1), |n| Some(n * 2)).take_while(|n| *n < cores).collect();
    counts.push(cores);
    counts
}

/// The layers of all ShuffleNetV2s, those of equal shape once.
pub(crate) fn layers() -> Vec<Layer> {
    let mut distinct: Vec<Layer> = Vec::new();
    for (width, work) in networks::shufflenets() {
        for layer in work.layers() {
            if distinct.iter().all(|known| known.id() != layer.id()) {
                distinct.push(Layer { width: width.to_owned(), ..layer });
            }
        }
    }
    distinct
}

/// The two layers of the channel sweep on a 28x28 map, with their names.
pub(crate) fn channel_layers(channels: usize) -> [(&'static str, Layer); 2] {
    let of = |kernel: usize, groups: usize| Layer {
        ih: 28,
        iw: 28,
        ic: channels,
        oc: channels,
        kernel,
        stride: 1,
        groups,
        ..Layer::default()
    };
    [("1x1", of(1, 1)), ("depthwise", of(3, channels))]
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::graph::{Class, Passes};

    #[test]
    fn thread_counts_end_with_all() {
        assert_eq!(threads(1), [1]);
        assert_eq!(threads(2), [1, 2]);
        assert_eq!(threads(6), [1, 2, 4, 6]);
    }

    #[test]
    fn layers_are_distinct_and_of_every_class() {
        let layers = layers();
        assert_eq!(layers.len(), 58);
        for class in [Class::Pointwise, Class::Depthwise, Class::Dense, Class::Linear] {
            assert!(layers.iter().any(|layer| layer.class() == class), "{class:?}");
        }
        for layer in layers {
            assert_eq!(layer.work().graph.layers(Passes::All)[0].class, layer.class(), "{layer:?}");
        }
    }
}
