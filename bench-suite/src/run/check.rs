//! Nothing is timed whose answer was not held against its twin's, every node by `kernels::reference` in `f64`.

use kernels::reference::Planar;
use kernels::{Isa, Parallel, Serial, Shape, Tensor};
use model::graph::{
    Class, Graph, Input, Node, Op, Parameters, Program, Random, Tensors, Value, Workspace, twin, uniform,
};
use model::{Error, Images};

use crate::work::Work;

/// The largest error accepted, relative to the largest output: hundreds of sums in `f32`, one after the other. A channel that
/// is taken for another makes one that is a hundred times as large.
const TOLERANCE: f64 = 2e-4;

/// Pixels of the map at which networks of 1x1 convolutions are checked.
const PROBES: usize = 6;

/// What everything is run with.
const NUMBERS: &Random = &Random { seed: 0 };

/// Work that was packed, and whose answer was found right.
pub(crate) struct Ready {
    pub(crate) id: String,
    pub(crate) work: Work,
    pub(crate) program: Program,
}

impl Ready {
    /// Packs, and checks at full size where that is asked for or costs little, else with the same weights on an image of
    /// a quarter of the side.
    pub(crate) fn new(id: String, work: Work, isa: Isa, full_size: bool) -> Result<Self, String> {
        let program = Program::build(&work.graph, NUMBERS, isa, work.passes);
        let program = program.map_err(|e| format!("{id}: {e}"))?;
        let small = !full_size && work.h.min(work.w) > 28 && !pixels_are_independent(&work.graph);
        let (h, w) = (work.h / 4, work.w / 4);
        // Not every network works at another size.
        let sized = |node: &Node| matches!(node.op, Op::Input { size: Some(_), .. });
        let any_size = !work.graph.nodes().iter().any(sized) && work.graph.shapes(h, w).is_ok();
        let small = small && any_size;
        let checked = if small { work.sized(h, w) } else { work.clone() };
        check(&checked, NUMBERS, &program).map_err(|e| format!("{id}: {e}"))?;
        Ok(Self { id, work, program })
    }

    /// Everything that a run needs.
    pub(crate) fn runner(&self) -> Runner<'_> {
        self.runner_at((self.work.h, self.work.w), 1)
    }

    /// The same for another size and a batch.
    pub(crate) fn runner_at(&self, (h, w): (usize, usize), batch: usize) -> Runner<'_> {
        let work = self.work.sized(h, w);
        let outputs = if batch > 1 { batch * work.output().c * work.output().pixels() } else { 0 };
        Runner {
            program: &self.program,
            image: image(&work, batch),
            size: (h, w),
            batch,
            blocked: (!reads_planar(&self.program)).then(|| tensor(&work)),
            workspace: self.program.workspace(),
            outputs: vec![0.0; outputs],
        }
    }
}

/// A program with its input and memory.
pub(crate) struct Runner<'a> {
    program: &'a Program,
    image: Vec<f32>,
    size: (usize, usize),
    batch: usize,
    /// The image as all but dense convolutions read it.
    blocked: Option<Tensor>,
    workspace: Workspace,
    outputs: Vec<f32>,
}

impl Runner<'_> {
    /// One image without copying its output, or a batch.
    pub(crate) fn run(&mut self, parallel: &dyn Parallel) {
        if self.batch == 1 {
            return self.observe(parallel, &mut |_| ());
        }
        let images = Images::nchw(&self.image, self.batch, self.size.0, self.size.1);
        self.program.run(parallel, &[images], &mut self.workspace, &mut [&mut self.outputs]);
    }

    /// One image; `after` learns of every layer that ends.
    pub(crate) fn observe(&mut self, parallel: &dyn Parallel, after: &mut (dyn FnMut(usize) + Send)) {
        let input = match &self.blocked {
            Some(tensor) => Input::Blocked(tensor.view()),
            None => Input::Planar { data: &self.image, h: self.size.0, w: self.size.1 },
        };
        self.program.observe(parallel, &[input], &mut self.workspace, after);
    }
}

fn reads_planar(program: &Program) -> bool {
    matches!(program.layers()[0].class, Class::Stem | Class::Dense)
}

/// A batch of images on which a graph is checked and timed.
fn image(work: &Work, batch: usize) -> Vec<f32> {
    let values = uniform(0x1AAE, batch * work.channels() * work.h * work.w);
    values.into_iter().map(|value| 2.0 * value - 1.0).collect()
}

fn tensor(work: &Work) -> Tensor {
    let shape = Shape::new(work.channels(), work.h, work.w);
    Tensor::from_nchw(&image(work, 1), shape).expect("an image of this shape")
}

/// Holds a program against its twin. Where no pixel depends on another, a few spread over the map are enough.
fn check(work: &Work, tensors: &dyn Tensors, program: &Program) -> Result<(), String> {
    let (image, shape) = (image(work, 1), Shape::new(work.channels(), work.h, work.w));
    let mut found: Vec<Vec<f32>> =
        work.outputs().into_iter().map(|shape| vec![0.0; shape.c * shape.pixels()]).collect();
    let images = Images::nchw(&image, 1, work.h, work.w);
    let mut outputs: Vec<&mut [f32]> = found.iter_mut().map(Vec::as_mut_slice).collect();
    program.run(&Serial, &[images], &mut program.workspace(), &mut outputs);
    let truth = |shape: Shape, image: &[f32]| {
        twin::run(&work.graph, tensors, &[Planar::new(shape, image)]).map_err(|e| e.to_string())
    };
    let expected = if pixels_are_independent(&work.graph) {
        let last = shape.pixels() - 1;
        let probes: Vec<usize> = (0..PROBES).map(|i| i * last / (PROBES - 1)).collect();
        let pick = |planar: &[f32]| -> Vec<f32> {
            let channels = planar.chunks(last + 1);
            channels.flat_map(|channel| probes.iter().map(|&probe| channel[probe])).collect()
        };
        found.iter_mut().for_each(|map| *map = pick(map));
        truth(Shape::new(shape.c, 1, PROBES), &pick(&image))?
    } else {
        truth(shape, &image)?
    };
    for (found, expected) in found.iter().zip(&expected) {
        let error = twin::deviation(found, &expected.data);
        // What is no number is no right answer either.
        if !error.is_finite() || error > TOLERANCE {
            return Err(format!(
                "differs from the reference by {error:.1e} of the largest output (accepted: {TOLERANCE:.0e})"
            ));
        }
    }
    Ok(())
}

/// Whether a few pixels of the input make the same pixels of the output.
fn pixels_are_independent(graph: &Graph) -> bool {
    graph.nodes().iter().all(|node| match &node.op {
        Op::Conv(conv) => conv.window.kernel == [1, 1] && conv.window.stride == [1, 1],
        Op::Input { size, .. } => size.is_none(),
        Op::Add(_) | Op::Activate(_) | Op::Affine(_) => true,
        Op::Concat | Op::Channels(_) | Op::Shuffle(_) | Op::Copy => true,
        _ => false,
    })
}

/// Numbers in memory, as those of a file that was read, so that packing them can be timed.
pub(crate) struct Drawn(Vec<Parameters<'static>>);

impl Drawn {
    pub(crate) fn new(graph: &Graph) -> Self {
        let of = |value: Value| match graph.weights(value)[..] {
            [] => Parameters::default(),
            _ => NUMBERS.of(graph, value).unwrap_or_default(),
        };
        Self(graph.values().map(of).collect())
    }
}

impl Tensors for Drawn {
    fn of(&self, _: &Graph, value: Value) -> Result<Parameters<'_>, Error> {
        Ok(self.0[value.index()].clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::work::{guidelines, networks, sweeps};

    fn agree(name: &str, work: &Work) {
        for isa in Isa::available() {
            Ready::new(name.to_owned(), work.clone(), isa, true).unwrap_or_else(|e| panic!("{isa}: {e}"));
        }
    }

    /// Small images: the same layers, with borders and odd sizes.
    #[test]
    fn networks_agree_with_their_twins() {
        for network in networks::all() {
            agree(&network.id, &network.work.sized(49, 64));
        }
    }

    #[test]
    fn experiments_agree_with_their_twins() {
        for experiment in guidelines::all() {
            // The narrowest column of each kind has all the structure.
            for column in experiment.columns.iter().filter(|c| c.cases[0].work.channels() <= 128) {
                for case in &column.cases {
                    agree(&experiment.case_id(column, case), &case.work.sized(13, 9));
                }
            }
        }
    }

    #[test]
    fn single_layers_keep_their_costs_and_agree_with_their_twins() {
        let some = sweeps::layers().into_iter().filter(|l| l.work().cost().macs < 3_000_000).step_by(7);
        let swept = [48, 57, 63].into_iter().flat_map(sweeps::channel_layers).map(|(_, layer)| layer);
        for layer in some.chain(swept) {
            agree(&layer.id(), &layer.work());
        }
    }

    #[test]
    fn a_wrong_answer_is_noticed() {
        let work = networks::all()[0].work.sized(32, 32);
        let program = Program::build(&work.graph, NUMBERS, Isa::best(), work.passes).unwrap();
        let mut wrong = Drawn::new(&work.graph);
        check(&work, &wrong, &program).unwrap();
        let fc = wrong.0.last_mut().unwrap();
        fc.bias.as_mut().unwrap().to_mut()[3] += 0.01;
        assert!(check(&work, &wrong, &program).is_err());
    }

    #[test]
    fn a_batch_is_run_whole() {
        let work = networks::all()[0].work.sized(32, 32);
        let ready = Ready::new("net".into(), work, Isa::best(), true).unwrap();
        let mut runner = ready.runner_at((32, 40), 3);
        runner.run(&Serial);
        assert!(runner.outputs.chunks(1000).all(|logits| logits.iter().any(|x| *x != 0.0)));
    }
}
