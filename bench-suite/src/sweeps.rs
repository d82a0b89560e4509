//! What is measured besides guidelines and networks: single layers, and one thing varied at a time.

use kernels::{Activation, Shape};

use crate::graph::{Graph, Op};
use crate::layer::{Kind, Layer, SHUFFLENET_V2, shufflenet_v2};

/// Widths of ShuffleNetV2 that the sweeps use.
pub const WIDTHS: [&str; 4] = ["0.5", "1.0", "1.5", "2.0"];

/// Sides of the image.
pub const SIZES: [usize; 6] = [128, 160, 192, 224, 256, 320];

/// Images per run.
pub const BATCHES: [usize; 5] = [1, 2, 4, 8, 16];

/// Channels around 58, the half of a 1.0x network's first stage.
pub const CHANNELS: std::ops::RangeInclusive<usize> = 48..=64;

/// Thread counts up to `cores`: powers of two, and all of them.
pub fn threads(cores: usize) -> Vec<usize> {
    let mut counts: Vec<usize> =
        std::iter::successors(Some(1), |n| Some(n * 2)).take_while(|n| *n < cores).collect();
    counts.push(cores);
    counts
}

/// The id under which a layer's samples are kept: its shape, since equal layers cost the same.
pub fn layer_id(layer: &Layer) -> String {
    let Layer { ih, iw, ic, oc, kernel, stride, groups, .. } = layer;
    format!("layer/{ic}-{oc}/{ih}x{iw}/k{kernel}s{stride}g{groups}")
}

/// Every layer of every width, with the width.
pub fn layers() -> impl Iterator<Item = (&'static str, Layer)> {
    SHUFFLENET_V2
        .into_iter()
        .flat_map(|(width, text)| shufflenet_v2(text).into_iter().map(move |l| (width, l)))
}

/// A graph of one layer.
pub fn single(layer: &Layer) -> Graph {
    let [ih, iw, ic, oc, kernel, stride, groups] =
        [layer.ih, layer.iw, layer.ic, layer.oc, layer.kernel, layer.stride, layer.groups]
            .map(|n| n as usize);
    let mut graph = Graph::new(Shape::new(ic, ih, iw));
    if layer.kind() == Kind::Linear {
        graph.push(Op::Linear { oc, bias: true }, &[0]);
    } else {
        // As in the networks: no activation behind a depthwise convolution.
        let activation = if layer.kind() == Kind::Depthwise { Activation::None } else { Activation::Relu };
        graph.conv(0, oc, kernel, stride, groups, activation);
    }
    graph
}

/// The two layers of the channel sweep on a 28x28 map, with their names.
pub fn channel_layers(channels: usize) -> [(&'static str, Layer); 2] {
    let c = channels as u64;
    let pointwise = Layer::pointwise(28, 28, c, c, 1);
    [("1x1", pointwise.clone()), ("depthwise", Layer { kernel: 3, groups: c, ..pointwise })]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Engine;
    use crate::twin::Truth;
    use crate::weights::Weights;
    use kernels::Isa;

    #[test]
    fn thread_counts_end_with_all() {
        assert_eq!(threads(1), [1]);
        assert_eq!(threads(2), [1, 2]);
        assert_eq!(threads(6), [1, 2, 4, 6]);
    }

    #[test]
    fn single_layers_keep_their_costs_and_agree_with_their_twins() {
        let some = layers().filter(|(_, l)| l.macs() < 3_000_000).step_by(7).map(|(_, l)| l);
        let swept = [48, 57, 63].into_iter().flat_map(channel_layers).map(|(_, layer)| layer);
        for layer in some.chain(swept) {
            let graph = single(&layer);
            assert_eq!((graph.macs(), graph.mac_bytes()), (layer.macs(), layer.mac_bytes()), "{layer:?}");
            let weights = Weights::random(&graph);
            let engine = Engine::new(&graph, &weights, Isa::best()).unwrap();
            Truth::of(&graph, &weights).check(&graph, &engine).unwrap_or_else(|e| panic!("{layer:?}: {e}"));
        }
    }
}
