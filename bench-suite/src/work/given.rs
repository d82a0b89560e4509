//! Networks that get pages of their own.

use kernels::Isa;
use model::graph::{Class, Graph, Op};

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
#[cfg_attr(not(test), expect(dead_code, reason = "the command line has no way yet to give a graph"))]
pub(crate) fn network(
    id: &str,
    label: &str,
    graph: Graph,
    (h, w): (usize, usize),
) -> Result<Network, String> {
    let inputs = graph.nodes().iter().filter(|node| matches!(node.op, Op::Input { .. })).count();
    if inputs != 1 || !matches!(graph.nodes()[0].op, Op::Input { .. }) {
        return Err(format!("{label}: expected a network of one input, found {inputs}"));
    }
    graph.shapes(h, w).map_err(|e| format!("{label}: an image of {h} x {w}: {e}"))?;
    let work = Work::new(graph, h, w);
    if work.cost().macs == 0 {
        return Err(format!("{label}: expected convolutions or fully connected layers, found none"));
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

/// One of the paper's networks, by the name that its measurements have: `mobilenet_v2_1.0`.
///
/// # Errors
/// One line that lists all names.
pub(crate) fn named(name: &str) -> Result<Network, String> {
    let known = networks::all();
    let names: Vec<&str> = known.iter().filter_map(|network| network.id.strip_prefix("net/")).collect();
    let message = format!("expected one of {}, found {name:?}", names.join(", "));
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
        assert_eq!(error, "mine: expected a network of one input, found 2");
        let (empty, _) = Draft::new(3);
        assert!(super::network("given/1", "mine", empty.0, (8, 8)).unwrap_err().contains("found none"));
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
