//! A graph packed for one instruction set, and how it runs. All calls of the kernels' operators are here.

use super::arena::{Arena, Key, Layout, Piece, Workspace};
use super::cost::Cost;
use super::fuse::{Form, Layer, Passes, fuse};
use super::place::{self, Entry, Place, place};
use super::{Conv, Graph, Op, Parameters, Tensors};
use crate::Error;
use crate::images::{Images, Input};
use kernels::{
    Activation, Affine, AveragePool, ChannelOrder, Convolution, Depthwise, Head, Isa, Linear, Materialize,
    MaxPool, Parallel, Pointwise, Serial, Shape, View, ViewMut, layout, team,
};
use std::ops::Range;
use std::sync::Arc;

/// A network with its weights folded, permuted and packed. Shared by threads as it is; what one inference needs of its
/// own is in a [`Workspace`].
#[derive(Debug)]
pub struct Program {
    isa: Isa,
    graph: Graph,
    layers: Vec<Layer>,
    steps: Vec<Step>,
    pieces: Vec<place::Piece>,
    inputs: Vec<Entry>,
    outputs: Vec<(Span, ChannelOrder)>,
    /// What tells this program's layouts from others'.
    token: Arc<()>,
}

/// One call of an operator.
#[derive(Debug)]
struct Step {
    kernel: Kernel,
    layer: usize,
    src: Span,
    /// What is added.
    term: Option<Span>,
    dst: Span,
}

/// Slots of a piece, from a block on.
#[derive(Clone, Copy, Debug)]
struct Span {
    piece: usize,
    block: usize,
    slots: usize,
    /// The node whose map size it has.
    node: usize,
    /// Which input this is, if it is one.
    input: Option<usize>,
}

#[derive(Debug)]
enum Kernel {
    Stem(Convolution, MaxPool),
    Planar(Convolution),
    Convolution(Convolution),
    Pointwise(Pointwise),
    Depthwise(Depthwise),
    MaxPool(MaxPool),
    AveragePool(AveragePool),
    Upsample,
    Add(Isa, Activation),
    Activate(Isa, Activation),
    Affine(Affine),
    Gather(Materialize),
    GlobalAverage(Isa),
    Linear(Linear),
    Head(Head),
}

/// A value that a network was asked for.
#[derive(Debug)]
pub struct Output<'a> {
    /// The slots in which it lies.
    pub view: View<'a>,
    /// In which of them each channel lies.
    pub order: &'a ChannelOrder,
}

impl Program {
    /// Packs `graph` for `isa`.
    ///
    /// # Errors
    /// Where the graph has no node, numbers are missing or shaped otherwise, or the kernels have no such operator.
    pub fn build(graph: &Graph, tensors: &dyn Tensors, isa: Isa, passes: Passes) -> Result<Self, Error> {
        if graph.outputs().is_empty() {
            return Err(Error::Config("the network has no output".into()));
        }
        let layers = fuse(graph, passes);
        let place::Plan { steps, pieces, inputs, outputs } = place(graph, &layers, 1)?;
        let span = |place: &Place| {
            let input = inputs.iter().position(|input| input.alone && input.place.piece == place.piece);
            let &Place { piece, block, node, .. } = place;
            Span { piece, block, slots: place.order.width(), node, input }
        };
        let steps = steps.iter().map(|step| {
            let planar = |place: &Place| inputs.iter().any(|i| i.planar && i.place.piece == place.piece);
            let packer = Packer { graph, tensors, isa, planar: planar(&step.reads[0]) };
            Ok(Step {
                kernel: packer.kernel(&layers[step.layer], step)?,
                layer: step.layer,
                src: span(&step.reads[0]),
                term: step.reads.get(1).map(span),
                dst: span(&step.write),
            })
        });
        let steps = steps.collect::<Result<_, Error>>()?;
        let outputs = outputs.into_iter().map(|place| (span(&place), place.order)).collect();
        Ok(Self { isa, graph: graph.clone(), layers, steps, pieces, inputs, outputs, token: Arc::new(()) })
    }

    /// What it was packed for.
    pub fn isa(&self) -> Isa {
        self.isa
    }

    /// What it was made from.
    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    /// What runs, in this order.
    pub fn layers(&self) -> &[Layer] {
        &self.layers
    }

    /// What each layer costs for an image of `h` x `w`.
    ///
    /// # Errors
    /// Where the network cannot run on such an image.
    pub fn costs(&self, h: usize, w: usize) -> Result<Vec<Cost>, Error> {
        self.graph.costs(&self.layers, h, w)
    }

    /// An empty workspace.
    pub fn workspace(&self) -> Workspace {
        Workspace::default()
    }

    /// Whether images of `h` x `w` can be run: [`run`](Self::run) panics where they cannot.
    ///
    /// # Errors
    /// Where a node cannot work at this size, or the maps do not fit into memory.
    pub fn check(&self, h: usize, w: usize) -> Result<(), Error> {
        self.lay_out(&mut Layout::default(), &Serial, (h, w), 0)
    }

    /// Computes the outputs of every image of a batch, in the order of [`Graph::outputs`]; each is an array of image,
    /// channel, row and column.
    ///
    /// With threads, whole images run side by side as long as there are enough of them, and the rest are cut within
    /// their layers. The outputs of an image do not depend on the threads or on its place in the batch, to the last bit.
    ///
    /// # Panics
    /// Where there are not as many inputs and outputs as the graph has, or one of them has another number of elements
    /// than the batch asks for, and where [`check`](Self::check) fails.
    pub fn run(
        &self,
        parallel: &dyn Parallel,
        inputs: &[Images<'_>],
        workspace: &mut Workspace,
        outputs: &mut [&mut [f32]],
    ) {
        assert!(outputs.len() == self.outputs.len(), "{} outputs of {}", outputs.len(), self.outputs.len());
        let n = inputs.first().map_or(1, |images| images.n);
        assert!(inputs.iter().all(|images| images.n == n), "inputs of different batches");
        if n == 0 {
            return;
        }
        let image = |index: usize| {
            move |input: usize| {
                inputs[input].image(index, self.graph.nodes()[self.inputs[input].node].channels)
            }
        };
        self.prepare(&mut workspace.layout, parallel, inputs.len(), &image(0));
        let each = |output: usize| {
            let (span, order) = &self.outputs[output];
            order.channels() * workspace.layout.shapes[span.node].pixels()
        };
        let mut total = 0;
        for (output, out) in outputs.iter().enumerate() {
            let len = each(output);
            assert!(out.len() == n * len, "output {output}: {} numbers for {n} images of {len}", out.len());
            total += len;
        }
        let lanes = parallel.threads().min(n).max(1);
        let together = if lanes > 1 { n / lanes } else { 0 };
        workspace.grow(lanes, together * total);
        let Workspace { layout, arenas } = workspace;
        if together > 0 {
            let (layout, arenas) = (&*layout, &*arenas);
            parallel.for_each(lanes, &|lane| {
                let mut arena = arenas[lane].lock().unwrap_or_else(|poisoned| poisoned.into_inner());
                let Arena { memory, kept } = &mut *arena;
                for (i, mut kept) in kept.chunks_exact_mut(total).take(together).enumerate() {
                    self.forward(&Serial, layout, memory.as_mut_slice(), &image(lane * together + i), None);
                    for (span, order) in &self.outputs {
                        let len = order.channels() * layout.shapes[span.node].pixels();
                        let (out, rest) = kept.split_at_mut(len);
                        drain(layout, memory.as_slice(), span, order, out);
                        kept = rest;
                    }
                }
            });
        }
        for index in 0..n {
            let lane = if index < lanes * together { index / together } else { 0 };
            let arena = arenas[lane].get_mut().unwrap_or_else(|poisoned| poisoned.into_inner());
            let Arena { memory, kept } = arena;
            let alone = index >= lanes * together;
            if alone {
                let memory = memory.as_mut_slice();
                team(parallel, |parallel| self.forward(parallel, layout, memory, &image(index), None));
            }
            let mut from = (index % together.max(1)) * total;
            for (out, (span, order)) in outputs.iter_mut().zip(&self.outputs) {
                let len = order.channels() * layout.shapes[span.node].pixels();
                let out = &mut out[index * len..][..len];
                if alone {
                    drain(layout, memory.as_slice(), span, order, out);
                } else {
                    out.copy_from_slice(&kept[from..][..len]);
                    from += len;
                }
            }
        }
    }

    /// Runs one image, given input by input, and leaves its outputs where [`output`](Self::output) finds them; calls
    /// `after` with the index of each layer (in [`layers`](Self::layers)) as it ends: what a profile is made of.
    ///
    /// # Panics
    /// As [`run`](Self::run).
    pub fn observe(
        &self,
        parallel: &dyn Parallel,
        inputs: &[Input<'_>],
        workspace: &mut Workspace,
        after: &mut (dyn FnMut(usize) + Send),
    ) {
        let image = |input: usize| inputs[input];
        self.prepare(&mut workspace.layout, parallel, inputs.len(), &image);
        workspace.grow(1, 0);
        let Workspace { layout, arenas } = workspace;
        let arena = arenas[0].get_mut().unwrap_or_else(|poisoned| poisoned.into_inner());
        let memory = arena.memory.as_mut_slice();
        team(parallel, |parallel| self.forward(parallel, layout, memory, &image, Some(after)));
    }

    /// An output of the image that [`observe`](Self::observe) ran last in this workspace.
    ///
    /// # Panics
    /// Where there is no such output, or the workspace was last used by another program.
    pub fn output<'a>(&'a self, workspace: &'a mut Workspace, index: usize) -> Output<'a> {
        let Workspace { layout, arenas } = workspace;
        let ours = layout.key.as_ref().is_some_and(|key| Arc::ptr_eq(&key.program, &self.token));
        assert!(ours, "the workspace holds no output of this program");
        let arena = arenas[0].get_mut().unwrap_or_else(|poisoned| poisoned.into_inner());
        let (span, order) = &self.outputs[index];
        Output { view: layout.view(arena.memory.as_slice(), span), order }
    }

    /// Sees to it that `layout` is one for these images.
    fn prepare<'a>(
        &self,
        layout: &mut Layout,
        parallel: &dyn Parallel,
        inputs: usize,
        image: &dyn Fn(usize) -> Input<'a>,
    ) {
        assert!(inputs == self.inputs.len(), "{inputs} inputs of {}", self.inputs.len());
        let mut open = None;
        let mut direct = 0;
        for (i, input) in self.inputs.iter().enumerate() {
            let Op::Input { channels, size } = self.graph.nodes()[input.node].op else { continue };
            let (image, found) = (image(i), image(i).size());
            let expected = size.unwrap_or_else(|| *open.get_or_insert(found));
            assert!(found == expected, "input {i}: images of {found:?} pixels, expected {expected:?}");
            if let Input::Blocked(view) = image {
                assert!(view.shape().c == channels, "input {i}: {} channels of {channels}", view.shape().c);
            }
            direct |= u64::from(i < 64 && input.direct(image).is_some()) << (i % 64);
        }
        let size = open.unwrap_or((1, 1));
        self.lay_out(layout, parallel, size, direct).unwrap_or_else(|error| panic!("{error}"));
    }

    fn lay_out(
        &self,
        layout: &mut Layout,
        parallel: &dyn Parallel,
        (h, w): (usize, usize),
        direct: u64,
    ) -> Result<(), Error> {
        let key = Key { program: self.token.clone(), h, w, threads: parallel.threads(), direct };
        if layout.key.as_ref() == Some(&key) {
            return Ok(());
        }
        layout.key = None;
        self.graph.shapes_into(h, w, &mut layout.shapes)?;
        let shapes = std::mem::take(&mut layout.shapes);
        let pieces = self.pieces.iter().enumerate().map(|(index, piece)| {
            let shape = shapes[piece.node];
            let alone = self.inputs.iter().position(|input| input.alone && input.place.piece == index);
            let len = match alone {
                Some(input) if input < 64 && direct >> input & 1 == 1 => 0,
                Some(input) if self.inputs[input].planar => shape.c * shape.pixels(),
                _ => piece.blocks.saturating_mul(shape.block_stride()),
            };
            Piece { len, from: piece.from, until: piece.until }
        });
        let placed = layout.place(pieces);
        let scratch = self.steps.iter().map(|step| {
            let Shape { h, w, .. } = shapes[step.src.node];
            match &step.kernel {
                Kernel::Stem(conv, _) => conv.pooled_scratch(parallel, h, w),
                Kernel::Head(head) => head.scratch(h, w),
                _ => 0,
            }
        });
        layout.scratch = layout.len;
        layout.len += scratch.max().unwrap_or(0);
        layout.shapes = shapes;
        placed?;
        layout.key = Some(key);
        Ok(())
    }

    /// Runs one image in `memory`.
    fn forward<'a>(
        &self,
        parallel: &dyn Parallel,
        layout: &Layout,
        memory: &mut [f32],
        image: &dyn Fn(usize) -> Input<'a>,
        mut after: Option<&mut (dyn FnMut(usize) + Send)>,
    ) {
        let (memory, scratch) = memory[..layout.len].split_at_mut(layout.scratch);
        for (i, input) in self.inputs.iter().enumerate() {
            let image = image(i);
            if i >= 64 || input.direct(image).is_none() {
                input.load(image, layout, memory);
            }
        }
        let direct =
            |span: &Span| span.input.filter(|i| *i < 64).and_then(|i| self.inputs[i].direct(image(i)));
        for (index, step) in self.steps.iter().enumerate() {
            let (to, shape) = layout.locate(&step.dst);
            let (left, rest) = memory.split_at_mut(to.start);
            let (dst, right) = rest.split_at_mut(to.len());
            let slice =
                |span: &Span, range: Range<usize>| match (direct(span), range.start.checked_sub(to.end)) {
                    (Some(data), _) => &data[..range.len()],
                    (None, Some(at)) => &right[at..at + range.len()],
                    (None, None) => &left[range],
                };
            let read = |span: &Span| {
                let (range, shape) = layout.locate(span);
                View::new(slice(span, range), shape).expect("laid out for this shape")
            };
            let planar = || {
                let Shape { c, h, w } = layout.shapes[step.src.node];
                let at = layout.at[step.src.piece];
                (slice(&step.src, at..at + c * h * w), h, w)
            };
            let numbers = |span: &Span| {
                let at = layout.locate(span).0.start;
                slice(span, at..at + span.slots)
            };
            let src = &step.src;
            match &step.kernel {
                Kernel::Stem(conv, pool) => {
                    let (image, h, w) = planar();
                    conv.run_planar_pooled(parallel, image, h, w, pool, scratch, fresh(dst, shape));
                }
                Kernel::Planar(op) => {
                    let (image, h, w) = planar();
                    op.run_planar_with(parallel, image, h, w, fresh(dst, shape));
                }
                Kernel::Convolution(op) => op.run_with(parallel, read(src), fresh(dst, shape)),
                Kernel::Pointwise(op) => {
                    op.run_with(parallel, read(src), step.term.as_ref().map(read), fresh(dst, shape));
                }
                Kernel::Depthwise(op) => op.run_with(parallel, read(src), fresh(dst, shape)),
                Kernel::MaxPool(op) => op.run_with(parallel, read(src), fresh(dst, shape)),
                Kernel::AveragePool(op) => op.run_with(parallel, read(src), fresh(dst, shape)),
                Kernel::Upsample => kernels::upsample_nearest_2x(read(src), fresh(dst, shape)),
                Kernel::Add(isa, activation) => {
                    let term = read(step.term.as_ref().expect("an addition has two terms"));
                    kernels::add_with(parallel, *isa, read(src), term, *activation, fresh(dst, shape));
                }
                Kernel::Activate(isa, activation) => {
                    kernels::activate_with(parallel, *isa, *activation, fresh(dst, shape));
                }
                Kernel::Affine(op) => op.run_in_place_with(parallel, fresh(dst, shape)),
                Kernel::Gather(op) => op.run_with(parallel, read(src), fresh(dst, shape)),
                Kernel::GlobalAverage(isa) => {
                    kernels::global_average(*isa, read(src), &mut dst[..shape.c]);
                }
                Kernel::Linear(op) => op.run_with(parallel, numbers(src), &mut dst[..shape.c]),
                Kernel::Head(op) => op.run_with(parallel, read(src), scratch, &mut dst[..shape.c]),
            }
            let last = self.steps.get(index + 1).is_none_or(|next| next.layer != step.layer);
            if let Some(after) = after.as_mut().filter(|_| last) {
                after(step.layer);
            }
        }
    }
}

/// A map to be written.
fn fresh(memory: &mut [f32], shape: Shape) -> ViewMut<'_> {
    ViewMut::new(memory, shape).expect("laid out for this shape")
}

/// Copies an output's channels, in order.
fn drain(layout: &Layout, memory: &[f32], span: &Span, order: &ChannelOrder, out: &mut [f32]) {
    let view = layout.view(memory, span);
    if view.shape().pixels() == 1 && order.is_identity() {
        out.copy_from_slice(&view.data()[..out.len()]);
    } else {
        layout::to_nchw(view, order, out);
    }
}

impl Layout {
    /// Where a span lies, and the shape of its slots.
    fn locate(&self, span: &Span) -> (Range<usize>, Shape) {
        let shape = Shape { c: span.slots, ..self.shapes[span.node] };
        let at = self.at[span.piece] + span.block * shape.block_stride();
        (at..at + shape.len(), shape)
    }

    fn view<'a>(&self, memory: &'a [f32], span: &Span) -> View<'a> {
        let (range, shape) = self.locate(span);
        View::new(&memory[range], shape).expect("laid out for this shape")
    }
}

impl Entry {
    /// An image that can be read as it is.
    fn direct<'a>(&self, image: Input<'a>) -> Option<&'a [f32]> {
        match image {
            Input::Planar { data, .. } if self.planar => Some(data),
            Input::Blocked(view) if self.alone && !self.planar => {
                (view.block_stride() == view.shape().block_stride()).then(|| view.data())
            }
            _ => None,
        }
    }

    /// Puts an image where the steps read it.
    fn load(&self, image: Input<'_>, layout: &Layout, memory: &mut [f32]) {
        let shape = layout.shapes[self.node];
        let at = layout.at[self.place.piece] + self.place.block * shape.block_stride();
        if self.planar {
            let dst = &mut memory[at..at + shape.c * shape.pixels()];
            match image {
                Input::Planar { data, .. } => dst.copy_from_slice(data),
                Input::Interleaved { data, .. } => {
                    for (pixel, values) in data.chunks_exact(shape.c).enumerate() {
                        for (channel, &value) in values.iter().enumerate() {
                            dst[channel * shape.pixels() + pixel] = value;
                        }
                    }
                }
                Input::Blocked(view) => layout::to_nchw(view, &self.place.order, dst),
            }
        } else {
            let dst = &mut memory[at..at + shape.len()];
            match image {
                Input::Planar { data, .. } => layout::from_nchw(data, fresh(dst, shape)),
                Input::Interleaved { data, .. } => layout::from_nhwc(data, fresh(dst, shape)),
                Input::Blocked(view) => {
                    let blocks = view.data().chunks(view.block_stride());
                    for (dst, src) in dst.chunks_exact_mut(shape.block_stride()).zip(blocks) {
                        let len = src.len().min(dst.len());
                        dst[..len].copy_from_slice(&src[..len]);
                    }
                }
            }
        }
    }
}

/// Packs what one step needs.
struct Packer<'a> {
    graph: &'a Graph,
    tensors: &'a dyn Tensors,
    isa: Isa,
    /// Whether the source is a planar image.
    planar: bool,
}

/// Gives a convolution's builder what they all take.
macro_rules! dressed {
    ($builder:expr, $parameters:expr, $activation:expr, $isa:expr) => {{
        let mut builder = $builder.activation($activation).isa($isa);
        if let Some(bias) = &$parameters.bias {
            builder = builder.bias(bias);
        }
        if let Some(statistics) = &$parameters.batch_norm {
            builder = builder.batch_norm(statistics.batch_norm());
        }
        builder.build(&$parameters.weights)
    }};
}

impl Packer<'_> {
    /// The numbers of a node. A bias where the node has a batch normalisation is one that is folded already.
    fn parameters(&self, node: usize) -> Result<Parameters<'_>, Error> {
        let parameters = self.tensors.of(self.graph, self.graph.value(node))?;
        let shifted = match &self.graph.nodes()[node].op {
            Op::Conv(conv) => conv.bias || conv.batch_norm,
            Op::Linear(linear) => linear.bias,
            _ => true,
        };
        if shifted == (parameters.bias.is_some() || parameters.batch_norm.is_some()) {
            return Ok(parameters);
        }
        let why = if shifted { "has no bias" } else { "has a bias that it should not have" };
        Err(Error::Graph { node: self.graph.nodes()[node].name.clone(), why: why.into() })
    }

    fn kernel(&self, layer: &Layer, step: &place::Step) -> Result<Kernel, Error> {
        let refused = |source| Error::Kernel { layer: layer.name.clone(), source };
        if step.gather {
            return self.gather(&step.reads[0].order, &step.write.order).map_err(refused);
        }
        let (graph, isa) = (self.graph, self.isa);
        let (first, last) = (layer.nodes[0], layer.makes());
        let source = &step.reads[0].order;
        let activation = layer.activation(graph);
        let conv = |form: Form| -> Result<Kernel, Error> {
            let Op::Conv(conv) = &graph.nodes()[first].op else { unreachable!("{form:?} begins with one") };
            self.conv(form, conv, &self.parameters(first)?, step, activation).map_err(refused)
        };
        let pool = |node: usize| match &graph.nodes()[node].op {
            Op::MaxPool(window) => MaxPool::new(window.kernel, window.stride, window.padding, isa),
            _ => unreachable!("a node that pools"),
        };
        Ok(match layer.form {
            Form::Pointwise | Form::Depthwise | Form::Convolution => conv(layer.form)?,
            Form::Stem => match conv(Form::Convolution)? {
                Kernel::Planar(conv) => Kernel::Stem(conv, pool(last).map_err(refused)?),
                _ => unreachable!("a stem reads the planar image"),
            },
            Form::Head => {
                let Kernel::Pointwise(conv) = conv(Form::Pointwise)? else { unreachable!("it is one") };
                let Parameters { weights, bias, .. } = self.parameters(last)?;
                let classes = graph.nodes()[last].channels;
                Kernel::Head(Head::new(conv, classes, &weights, bias.as_deref()).map_err(refused)?)
            }
            Form::MaxPool => Kernel::MaxPool(pool(first).map_err(refused)?),
            Form::AveragePool => match &graph.nodes()[first].op {
                &Op::AveragePool { window, count_pad } => {
                    let op = AveragePool::new(window.kernel, window.stride, window.padding, count_pad, isa);
                    Kernel::AveragePool(op.map_err(refused)?)
                }
                _ => unreachable!("a node that pools"),
            },
            Form::Upsample => Kernel::Upsample,
            Form::Add => Kernel::Add(isa, activation),
            Form::Activate => Kernel::Activate(isa, activation),
            Form::Affine => {
                let Parameters { weights, bias, .. } = self.parameters(first)?;
                let by_slot = |values: &[f32]| {
                    let mut slots = vec![0.0; source.width()];
                    source
                        .slots()
                        .iter()
                        .zip(values)
                        .for_each(|(&slot, &value)| slots[slot as usize] = value);
                    slots
                };
                let (scale, shift) = (by_slot(&weights), by_slot(&bias.unwrap_or_default()));
                Kernel::Affine(Affine::new(&scale, &shift, activation, isa).map_err(refused)?)
            }
            Form::Copy => self.gather(source, &step.write.order).map_err(refused)?,
            Form::GlobalAverage => Kernel::GlobalAverage(isa),
            Form::Linear => {
                let Parameters { weights, bias, .. } = self.parameters(first)?;
                let (ic, oc) = (source.channels(), graph.nodes()[first].channels);
                let op = Linear::new(ic, oc, &weights, bias.as_deref(), activation, isa);
                Kernel::Linear(op.map_err(refused)?)
            }
        })
    }

    fn conv(
        &self,
        form: Form,
        conv: &Conv,
        parameters: &Parameters<'_>,
        step: &place::Step,
        activation: Activation,
    ) -> Result<Kernel, kernels::Error> {
        let (source, &Conv { oc, window, groups, .. }) = (&step.reads[0].order, conv);
        let ic = source.channels();
        Ok(match form {
            Form::Pointwise => {
                let mut builder = Pointwise::builder(ic, oc).groups(groups).input_order(source);
                if step.write.order.channels() == oc {
                    builder = builder.output_order(&step.write.order);
                }
                Kernel::Pointwise(dressed!(builder, parameters, activation, self.isa)?)
            }
            Form::Depthwise => {
                let builder = Depthwise::builder(oc, window.kernel, window.stride);
                let builder = builder.padding(window.padding).input_order(source);
                Kernel::Depthwise(dressed!(builder, parameters, activation, self.isa)?)
            }
            _ => {
                let builder = Convolution::builder(ic, oc, window.kernel, window.stride);
                let builder = builder.padding(window.padding);
                let op = dressed!(builder, parameters, activation, self.isa)?;
                if self.planar { Kernel::Planar(op) } else { Kernel::Convolution(op) }
            }
        })
    }

    /// A copy that brings every channel from its lane in `from` to its lane in `to`.
    fn gather(&self, from: &ChannelOrder, to: &ChannelOrder) -> Result<Kernel, kernels::Error> {
        // Lanes between the channels get some channel or other.
        let mut slots = vec![from.slots()[0]; to.width()];
        to.slots().iter().zip(from.slots()).for_each(|(&to, &from)| slots[to as usize] = from);
        Ok(Kernel::Gather(Materialize::new(&ChannelOrder::from_slots(slots), self.isa)?))
    }
}
