//! Networks that get pages of their own.

use std::path::{Path, PathBuf};

use kernels::Isa;
use model::graph::{Class, Graph, Op};
use model::onnx;

use super::Work;
use super::layer::Layer;
use super::networks::{self, Network};
use super::step::Step;

/// What families of networks that are not the paper's are called.
const FAMILY: &str = "given";

/// A graph as a network of the report: `id` is how its measurements are called, `label` what people call it.
///
/// # Errors
/// One line: where it does not have one input, or cannot work on images of `h` x `w`.
pub(crate) fn network(
    id: &str,
    label: &str,
    graph: Graph,
    (h, w): (usize, usize),
) -> Result<Network, String> {
    let inputs = graph.nodes().iter().filter(|node| matches!(node.op, Op::Input { .. })).count();
    if inputs != 1 || !matches!(graph.nodes()[0].op, Op::Input { .. }) {
        return Err(format!("expected a network of one input, found {inputs}"));
    }
    graph.shapes(h, w).map_err(|e| format!("an image of {h} x {w}: {e}"))?;
    let work = Work::new(graph, h, w);
    if work.cost().macs == 0 {
        return Err("expected convolutions or fully connected layers, found none".into());
    }
    Ok(Network {
        id: id.to_owned(),
        family: FAMILY.to_owned(),
        label: label.to_owned(),
        params: work.cost().params,
        paper: None,
        steps: work.steps(),
        work,
    })
}

/// What was asked for.
#[derive(Clone, Debug)]
pub(crate) enum Asked {
    /// One of the paper's networks.
    Named(Box<Network>),
    /// A file.
    File(PathBuf),
}

/// A file's name, or that of one of the paper's networks.
///
/// # Errors
/// As [`named`].
pub(crate) fn asked(text: &str) -> Result<Asked, String> {
    if Path::new(text).extension().is_some_and(|extension| extension.eq_ignore_ascii_case("onnx")) {
        return Ok(Asked::File(text.into()));
    }
    named(text)
        .map(|network| Asked::Named(Box::new(network)))
        .map_err(|e| format!("expected a file *.onnx or {e}"))
}

/// All that was asked for, files read. `size` is the height and width of images where a file leaves them open.
///
/// # Errors
/// One line, naming the file.
pub(crate) fn read(asked: &[Asked], size: usize) -> Result<Vec<Network>, String> {
    let read = |(i, asked): (usize, &Asked)| match asked {
        Asked::Named(network) => Ok((**network).clone()),
        Asked::File(path) => {
            let named = |what: String| format!("{}: {what}", path.display());
            let model = onnx::Model::open(path).map_err(|e| match e {
                // It names the file.
                e @ onnx::OnnxError::Io { .. } => e.to_string(),
                e => named(e.to_string()),
            })?;
            let size = model.inputs().first().and_then(|input| input.size).unwrap_or((size, size));
            let label = path.file_stem().map_or_else(String::new, |stem| stem.to_string_lossy().into_owned());
            network(&format!("given/{}", i + 1), &label, model.graph().clone(), size).map_err(named)
        }
    };
    asked.iter().enumerate().map(read).collect()
}

/// One of the paper's networks, by the name that its measurements have: `mobilenet_v2_1.0`.
///
/// # Errors
/// One line that lists all names.
pub(crate) fn named(name: &str) -> Result<Network, String> {
    let known = networks::all();
    let names: Vec<&str> = known.iter().filter_map(|network| network.id.strip_prefix("net/")).collect();
    let message = format!("one of {}; found {name:?}", names.join(", "));
    known.into_iter().find(|network| network.id.strip_prefix("net/") == Some(name)).ok_or(message)
}

/// The layer of a step by itself, where its shape tells all of it: a convolution padded by half its window, or a fully
/// connected layer.
pub(crate) fn alone(work: &Work, step: &Step) -> Option<Layer> {
    let first =
        |layer: &Layer| step.name == layer.name || step.name.starts_with(&format!("{} + ", layer.name));
    let layer = work.layers().find(|layer| first(layer) && layer.oc == step.output[0])?;
    let known = [Class::Pointwise, Class::Depthwise, Class::Dense, Class::Linear].contains(&layer.class());
    // Padding, dilation and windows that are not square are not told by it; then its costs differ.
    let same = known && layer.class().name() == step.class && layer.work().cost().macs == step.macs;
    same.then_some(layer)
}

/// The same layer at widths around its own: whole vectors of this instruction set, and eights, of output channels (of both,
/// where it is depthwise). Its own is among them.
pub(crate) fn widths(layer: &Layer, isa: Isa) -> Vec<Layer> {
    let (oc, lanes) = (layer.oc, isa.lanes());
    let down = |unit: usize| oc / unit * unit;
    let mut widths =
        vec![down(lanes), down(8), oc, down(8) + 8, down(lanes) + lanes, down(lanes) + 2 * lanes];
    widths.sort_unstable();
    widths.dedup();
    let of = |oc: usize| match layer.class() {
        Class::Depthwise => Layer { ic: oc, oc, groups: oc, ..layer.clone() },
        _ => Layer { oc, ..layer.clone() },
    };
    let fits = |oc: &usize| *oc > 0 && (layer.class() == Class::Depthwise || oc.is_multiple_of(layer.groups));
    widths.into_iter().filter(fits).map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::work::Draft;
    use kernels::Activation;

    #[test]
    fn a_graph_becomes_a_network() {
        let (mut draft, image) = Draft::new(3);
        let x = draft.conv(image, 24, (3, 2), 1, Activation::Relu);
        draft.depthwise(x, 1, Activation::None);
        let network = network("given/1", "mine", draft.0.clone(), (32, 48)).unwrap();
        let classes: Vec<&str> = network.steps.iter().map(|step| step.class.as_str()).collect();
        assert_eq!((classes, network.paper), (vec!["dense", "depthwise"], None));
        assert_eq!(network.steps[0].output, [24, 16, 24]);
        draft.push(Op::Input { channels: 3, size: None }, &[]);
        let error = super::network("given/1", "mine", draft.0, (32, 48)).unwrap_err();
        assert_eq!(error, "expected a network of one input, found 2");
        let (empty, _) = Draft::new(3);
        assert!(super::network("given/1", "mine", empty.0, (8, 8)).unwrap_err().contains("found none"));
    }

    #[test]
    fn files_are_told_from_names() {
        assert!(matches!(asked("some/where/net.ONNX"), Ok(Asked::File(_))));
        assert!(matches!(asked("mobilenet_v1_0.25"), Ok(Asked::Named(_))));
        assert!(asked("net.onn").unwrap_err().starts_with("expected a file *.onnx or one of"));
        let missing = read(&[Asked::File("no/such.onnx".into())], 224).unwrap_err();
        assert!(missing.starts_with("no/such.onnx: ") && missing.lines().count() == 1, "{missing}");
    }

    /// A field of a protobuf message that has a length.
    fn field(number: u8, content: &[u8]) -> Vec<u8> {
        assert!(content.len() < 128);
        [&[number << 3 | 2, content.len() as u8], content].concat()
    }

    /// A file with one 1x1 convolution from three to eight channels, for images of 32 x 48.
    fn file() -> Vec<u8> {
        let map = |name: &str, dims: [u8; 4]| {
            let dims = dims.map(|dim| field(1, &[1 << 3, dim])).concat();
            let tensor = [&[1 << 3, 1][..], &field(2, &dims)].concat();
            [field(1, name.as_bytes()), field(2, &field(1, &tensor))].concat()
        };
        let node =
            [field(1, b"x"), field(1, b"w"), field(2, b"y"), field(3, b"conv"), field(4, b"Conv")].concat();
        let weights = [0x3f80_0000_u32.to_le_bytes(); 24].concat();
        let dims: Vec<u8> = [8, 3, 1, 1].into_iter().flat_map(|dim| [1 << 3, dim]).collect();
        let tensor = [&dims[..], &[2 << 3, 1], &field(8, b"w")].concat();
        // The values are the last field; its length fits one byte.
        let tensor = [tensor, field(9, &weights)].concat();
        let long = |number: u8, content: &[u8]| {
            let length = [(content.len() & 127 | 128) as u8, (content.len() >> 7) as u8];
            [&[number << 3 | 2][..], &length, content].concat()
        };
        let graph = [
            field(1, &node),
            field(2, b"g"),
            long(5, &tensor),
            field(11, &map("x", [1, 3, 32, 48])),
            field(12, &map("y", [1, 8, 32, 48])),
        ];
        [&[1 << 3, 8][..], &long(7, &graph.concat()), &field(8, &[2 << 3, 17])].concat()
    }

    #[test]
    fn a_file_becomes_a_network() {
        let path = std::env::temp_dir().join(format!("bench-suite-{}.onnx", std::process::id()));
        std::fs::write(&path, file()).unwrap();
        let networks = read(&[Asked::File(path.clone())], 224).unwrap();
        std::fs::remove_file(&path).unwrap();
        let [network] = &networks[..] else { panic!("{networks:?}") };
        assert_eq!((network.id.as_str(), network.family.as_str()), ("given/1", "given"));
        // The file says its size.
        assert_eq!((network.work.h, network.work.w, network.work.cost().macs), (32, 48, 24 * 32 * 48));
        assert_eq!((network.steps[0].input, network.steps[0].output), ([3, 32, 48], [8, 32, 48]));
    }

    #[test]
    fn names_are_those_of_measurements() {
        assert_eq!(named("mobilenet_v2_1.0").unwrap().label, "1.0");
        let error = named("resnet").unwrap_err();
        assert!(error.contains("shufflenet_v2_0.5") && error.ends_with("found \"resnet\""), "{error}");
    }

    #[test]
    fn steps_are_found_by_themselves_and_swept() {
        let network = named("shufflenet_v2_1.0").unwrap();
        let alone: Vec<Layer> = network.steps.iter().filter_map(|step| alone(&network.work, step)).collect();
        // All but the stem and the head, which are several layers in one.
        assert_eq!(alone.len(), network.steps.len() - 2);
        let of = |layer: &Layer, isa| widths(layer, isa).iter().map(|l| l.oc).collect::<Vec<_>>();
        let (pointwise, depthwise) = (&alone[2], &alone[3]);
        assert_eq!((pointwise.oc, depthwise.oc, depthwise.class()), (58, 58, Class::Depthwise));
        for isa in Isa::available() {
            let expected: &[usize] = match isa.lanes() {
                16 => &[48, 56, 58, 64, 80],
                8 => &[56, 58, 64, 72],
                _ => &[56, 58, 60, 64],
            };
            assert_eq!(of(pointwise, isa), expected);
            assert_eq!(of(depthwise, isa), expected);
            assert!(widths(depthwise, isa).iter().all(|l| l.ic == l.oc && l.groups == l.oc));
        }
    }
}
