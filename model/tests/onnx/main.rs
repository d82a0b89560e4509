//! Networks from `.onnx` files: every spelling of every pattern against formulas and against the graph's twin, files made
//! to do harm, and a folder of exported networks where there is one.

mod files;
mod hostile;
mod networks;
mod operators;
mod refusals;
mod shapes;
mod spellings;
mod tails;
mod writer;
mod zoo;

use kernels::reference::Planar;
use kernels::{Isa, Serial, Shape};
use model::graph::{Passes, twin};
use model::npy::Array;
use model::onnx::{Model, Network, OnnxError};
use writer::{Net, weights};

/// Numbers from -2 to 2, none equal to its neighbours.
fn numbers(len: usize) -> Vec<f32> {
    (0..len).map(|i| (i * 7919 % 4001) as f32 / 1000.0 - 2.0).collect()
}

fn array(shape: &[usize]) -> Array {
    Array { shape: shape.to_vec(), values: numbers(shape.iter().product()) }
}

/// Runs a network on one input, on every instruction set; each output must be within rounding of the others'.
fn run(net: &Net, input: &Array) -> Vec<Array> {
    let model = Model::from_bytes(&net.bytes()).unwrap_or_else(|error| panic!("{error}"));
    let run = |isa, passes| {
        let network = model.pack(isa, passes).unwrap_or_else(|error| panic!("{isa}: {error}"));
        network
            .run(&Serial, &[input], &mut network.workspace())
            .unwrap_or_else(|error| panic!("{isa}: {error}"))
    };
    let outputs = run(Isa::best(), Passes::All);
    for isa in Isa::available() {
        for passes in [Passes::All, Passes::None] {
            for (found, expected) in run(isa, passes).iter().zip(&outputs) {
                assert_eq!(found.shape, expected.shape);
                let expected: Vec<f64> = expected.values.iter().map(|&x| x.into()).collect();
                near(&found.values, &expected);
            }
        }
    }
    against_the_twin(&model, input);
    outputs
}

/// The graph's maps, as the program computes them, against those of `kernels::reference` in `f64`.
fn against_the_twin(model: &Model, input: &Array) {
    let &[n, c, h, w] = &input.shape[..] else { return };
    let graph = model.graph();
    if n == 0 || graph.inputs().count() != 1 || graph.node(graph.inputs().next().unwrap()).channels != c {
        return;
    }
    let program =
        model::graph::Program::build(graph, model, Isa::best(), Passes::All).expect("it was built before");
    let image = &input.values[..c * h * w];
    let truth = twin::run(graph, model, &[Planar::new(Shape::new(c, h, w), image)]).unwrap();
    let mut maps: Vec<Vec<f32>> = truth.iter().map(|map| vec![0.0; map.data.len()]).collect();
    let mut slices: Vec<&mut [f32]> = maps.iter_mut().map(Vec::as_mut_slice).collect();
    let images = model::Images::nchw(image, 1, h, w);
    program.run(&Serial, &[images], &mut program.workspace(), &mut slices);
    for (map, truth) in maps.iter().zip(&truth) {
        near(map, &truth.data);
    }
}

/// Numbers within rounding of what they should be, relative to the largest.
fn near(found: &[f32], expected: &[f64]) {
    assert_eq!(found.len(), expected.len());
    let largest = expected.iter().fold(1e-30f64, |m, x| m.max(x.abs()));
    for (i, (found, expected)) in found.iter().zip(expected).enumerate() {
        let error = (f64::from(*found) - expected).abs() / largest;
        assert!(error <= 1e-5, "element {i}: {found} instead of {expected}");
    }
}

/// The only refusal of a network.
fn refused(net: &Net) -> String {
    match Model::from_bytes(&net.bytes()) {
        Err(OnnxError::Refused(refusals)) if refusals.len() == 1 => refusals[0].to_string(),
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("it runs"),
    }
}

/// Why a file is no network.
fn invalid(bytes: &[u8]) -> String {
    match Network::from_bytes(bytes, Isa::best()) {
        Err(error @ OnnxError::Invalid(_)) => error.to_string(),
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("it runs"),
    }
}
