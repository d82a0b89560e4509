//! A graph packed for one instruction set, and how it runs. All calls of the kernels' operators are here.

use super::arena::{Arena, Key, Layout, Piece, Workspace};
use super::cost::Cost;
use super::fuse::{Form, Layer, Passes, fuse};
use super::place::{self, Place, place};
use super::{Conv, Graph, Op, Parameters, Tensors};
use crate::Error;
use crate::images::{Images, Input};
use kernels::{
    Activate, Add, Affine, AveragePool, ChannelOrder, Convolution, Depthwise, GlobalAverage, Head, Image,
    Isa, LayerNorm, Linear, Materialize, MaxPool, Mul, PRelu, Parallel, Pointwise, Resize, Serial, Shape,
    Source, Stem, Transposed, View, ViewMut, layout, team,
};
use std::fmt;
use std::sync::Arc;

/// A network with its weights folded, permuted and packed. Shared by threads as it is; what one inference needs of its
/// own is in a [`Workspace`].
#[derive(Debug)]
pub struct Program {
    isa: Isa,
    graph: Graph,
    layers: Vec<Layer>,
    steps: Vec<(place::Step, Operator)>,
    pieces: Vec<place::Piece>,
    inputs: Vec<place::Input>,
    outputs: Vec<Place>,
    /// What tells this program's layouts from others'.
    token: Arc<()>,
}

/// A packed operator.
struct Operator {
    #[expect(clippy::type_complexity, reason = "it is named nowhere else")]
    run: Box<dyn Fn(Call<'_>) -> Result<(), kernels::Error> + Send + Sync>,
    /// Elements that it needs for itself on so many threads, to read a value of this shape.
    scratch: Option<Box<Scratch>>,
}

type Scratch = dyn Fn(&dyn Parallel, Shape) -> Result<usize, kernels::Error> + Send + Sync;

impl Operator {
    fn new(
        run: impl Fn(Call<'_>) -> Result<(), kernels::Error> + Send + Sync + 'static,
    ) -> Result<Self, kernels::Error> {
        Ok(Self { run: Box::new(run), scratch: None })
    }
}

impl fmt::Debug for Operator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Operator")
    }
}

/// What an operator is called with.
struct Call<'a> {
    parallel: &'a dyn Parallel,
    /// What it reads: the source, and what is added to it or multiplied with it. Nothing where it overwrites its source.
    reads: [Option<Source<'a>>; 2],
    scratch: &'a mut [f32],
    dst: ViewMut<'a>,
}

impl<'a> Call<'a> {
    fn source(&self) -> Source<'a> {
        self.reads[0].expect("an operator that does not overwrite its source reads it")
    }

    fn view(&self, read: usize) -> Option<View<'a>> {
        match self.reads[read]? {
            Source::Tensor(view) => Some(view),
            _ => None,
        }
    }

    fn src(&self) -> View<'a> {
        self.view(0).expect("only dense convolutions read planar images")
    }
}

/// Numbers of channels by the slots in which a step finds them.
fn by_slot(step: &place::Step, values: &[f32]) -> Vec<f32> {
    let mut slots = vec![0.0; step.reads[0].slots];
    step.reads[0].order.slots().iter().zip(values).for_each(|(&slot, &value)| slots[slot as usize] = value);
    slots
}

/// The numbers of a vector to be written.
fn numbers_of<'a>(dst: &'a mut ViewMut<'_>) -> &'a mut [f32] {
    let slots = dst.shape().c;
    &mut dst.data_mut()[..slots]
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
        let packer = Packer { graph, tensors, isa };
        let pack = |step: place::Step| {
            let operator = packer.pack(&layers[step.layer], &step)?;
            Ok((step, operator))
        };
        let steps = steps.into_iter().map(pack).collect::<Result<_, Error>>()?;
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

    /// How many steps do nothing but bring channels to where a layer needs them.
    pub fn gathered(&self) -> usize {
        self.steps.iter().filter(|(step, _)| step.gather).count()
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
        self.lay_out(&mut Layout::default(), &Serial, (h, w))
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
        let n = inputs.first().map_or(1, |images| images.n);
        assert!(inputs.iter().all(|images| images.n == n), "inputs of different batches");
        assert!(outputs.len() == self.outputs.len(), "{} outputs of {}", outputs.len(), self.outputs.len());
        if n == 0 {
            return;
        }
        let image = |index: usize| {
            move |input: usize| inputs[input].image(index, self.inputs[input].place.order.channels())
        };
        self.prepare(&mut workspace.layout, parallel, inputs.len(), &image(0));
        let mut total = 0;
        for (i, (out, place)) in outputs.iter().zip(&self.outputs).enumerate() {
            let len = workspace.layout.numbers(place);
            assert!(out.len() == n * len, "output {i}: {} numbers for {n} images of {len}", out.len());
            total += len;
        }
        // So many images side by side, each lane so many together; the rest one after the other.
        let lanes = parallel.threads().min(n).max(1);
        let together = if lanes > 1 { n / lanes } else { 0 };
        let side_by_side = lanes * together;
        workspace.grow(lanes, (together + n - side_by_side) * total);
        let Workspace { layout, arenas } = workspace;
        if together > 0 {
            let (layout, arenas) = (&*layout, &*arenas);
            parallel.for_each(lanes, &|lane| {
                let mut arena = arenas[lane].lock().unwrap_or_else(|poisoned| poisoned.into_inner());
                for i in 0..together {
                    self.keep(&Serial, layout, &mut arena, i * total, &image(lane * together + i));
                }
            });
        }
        for index in side_by_side..n {
            let arena = arenas[0].get_mut().unwrap_or_else(|poisoned| poisoned.into_inner());
            let at = (together + index - side_by_side) * total;
            team(parallel, |parallel| self.keep(parallel, layout, arena, at, &image(index)));
        }
        for index in 0..n {
            let (lane, i) = match index < side_by_side {
                true => (index / together, index % together),
                false => (0, together + index - side_by_side),
            };
            let arena = arenas[lane].get_mut().unwrap_or_else(|poisoned| poisoned.into_inner());
            let mut kept = &arena.kept[i * total..];
            for out in outputs.iter_mut() {
                let len = out.len() / n;
                out[index * len..][..len].copy_from_slice(&kept[..len]);
                kept = &kept[len..];
            }
        }
    }

    /// Runs one image and keeps its outputs from `at` on.
    fn keep<'a>(
        &self,
        parallel: &dyn Parallel,
        layout: &Layout,
        arena: &mut Arena,
        at: usize,
        image: &dyn Fn(usize) -> Input<'a>,
    ) {
        let Arena { memory, kept } = arena;
        self.forward(parallel, layout, memory.as_mut_slice(), image, &mut |_| ());
        let mut kept = &mut kept[at..];
        for place in &self.outputs {
            let (out, rest) = kept.split_at_mut(layout.numbers(place));
            let view = layout.view(memory.as_slice(), place);
            if view.shape().pixels() == 1 && place.order.is_identity() {
                out.copy_from_slice(&view.data()[..out.len()]);
            } else {
                layout::to_nchw(view, &place.order, out);
            }
            kept = rest;
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
        let (layout, memory) = workspace.first();
        team(parallel, |parallel| self.forward(parallel, layout, memory, &image, after));
    }

    /// An output of the image that [`observe`](Self::observe) ran last in this workspace.
    ///
    /// # Panics
    /// Where there is no such output, or the workspace was last used by another program.
    pub fn output<'a>(&'a self, workspace: &'a mut Workspace, index: usize) -> Output<'a> {
        let ours = workspace.layout.key.as_ref().is_some_and(|key| Arc::ptr_eq(&key.program, &self.token));
        assert!(ours, "the workspace holds no output of this program");
        let (layout, memory) = workspace.first();
        let place = &self.outputs[index];
        Output { view: layout.view(memory, place), order: &place.order }
    }

    /// Checks the images, and sees to it that `layout` is one for them.
    fn prepare<'a>(
        &self,
        layout: &mut Layout,
        parallel: &dyn Parallel,
        inputs: usize,
        image: &dyn Fn(usize) -> Input<'a>,
    ) {
        assert!(inputs == self.inputs.len(), "{inputs} inputs of {}", self.inputs.len());
        let mut open = None;
        for (i, input) in self.inputs.iter().enumerate() {
            let Op::Input { channels, size } = self.graph.nodes()[input.place.node].op else { continue };
            let found = image(i).shape(channels);
            let (h, w) = size.unwrap_or_else(|| *open.get_or_insert((found.h, found.w)));
            let expected = Shape::new(channels, h, w);
            assert!(found == expected, "input {i}: an image of {found}, expected {expected}");
        }
        let size = open.unwrap_or((1, 1));
        self.lay_out(layout, parallel, size).unwrap_or_else(|error| panic!("{error}"));
    }

    fn lay_out(
        &self,
        layout: &mut Layout,
        parallel: &dyn Parallel,
        (h, w): (usize, usize),
    ) -> Result<(), Error> {
        let key = Key { program: self.token.clone(), h, w, threads: parallel.threads() };
        if layout.key.as_ref() == Some(&key) {
            return Ok(());
        }
        layout.key = None;
        self.graph.shapes_into(h, w, &mut layout.shapes)?;
        let shapes = std::mem::take(&mut layout.shapes);
        let planar =
            |piece: usize| self.inputs.iter().any(|input| input.planar && input.place.piece == piece);
        let placed = layout.place(self.pieces.iter().enumerate().map(|(i, piece)| {
            let &place::Piece { blocks, node, from, until } = piece;
            let shape: Shape = shapes[node];
            let len = if planar(i) { shape.elements() } else { blocks.saturating_mul(shape.block_stride()) };
            Piece { len, from, until }
        }));
        layout.scratch = layout.len;
        let scratch =
            self.steps.iter().try_fold(0, |most: usize, (step, operator)| match &operator.scratch {
                Some(scratch) => Ok(most.max(scratch(parallel, shapes[step.reads[0].node])?)),
                None => Ok(most),
            });
        layout.shapes = shapes;
        placed?;
        layout.len += scratch.map_err(|source| Error::Kernel { layer: "scratch".into(), source })?;
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
        after: &mut (dyn FnMut(usize) + Send),
    ) {
        let (memory, scratch) = memory[..layout.len].split_at_mut(layout.scratch);
        for (i, input) in self.inputs.iter().enumerate() {
            if input.direct(image(i)).is_none() {
                load(input, image(i), layout, memory);
            }
        }
        for (index, (step, operator)) in self.steps.iter().enumerate() {
            let done = self.call(step, operator, parallel, layout, memory, scratch, image);
            done.unwrap_or_else(|error| panic!("{}: {error}", self.layers[step.layer].name));
            if self.steps.get(index + 1).is_none_or(|(next, _)| next.layer != step.layer) {
                after(step.layer);
            }
        }
    }

    #[expect(clippy::too_many_arguments, reason = "a step, and all that it needs")]
    fn call<'a>(
        &self,
        step: &place::Step,
        operator: &Operator,
        parallel: &dyn Parallel,
        layout: &Layout,
        memory: &mut [f32],
        scratch: &mut [f32],
        image: &dyn Fn(usize) -> Input<'a>,
    ) -> Result<(), kernels::Error> {
        let (start, shape) = layout.locate(&step.write);
        let (left, rest) = memory.split_at_mut(start);
        let (dst, right) = rest.split_at_mut(shape.len());
        let end = start + dst.len();
        let read = |place: &Place| {
            let input = self.inputs.iter().position(|input| input.alone && input.place.piece == place.piece);
            // An image is read where the caller has it, if it can be.
            let direct = input.and_then(|i| self.inputs[i].direct(image(i)));
            let (from, shape) = layout.locate(place);
            let data = match (direct, from.checked_sub(end)) {
                (Some(data), _) => data,
                (None, Some(at)) => &right[at..],
                (None, None) => &left[from..],
            };
            match input.is_some_and(|i| self.inputs[i].planar) {
                true => Image::planar(&data[..shape.elements()], shape).map(Source::from),
                false => View::new(&data[..shape.len()], shape).map(Source::from),
            }
        };
        let source = Some(&step.reads[0])
            .filter(|place| (place.piece, place.block) != (step.write.piece, step.write.block));
        let reads = [source.map(read).transpose()?, step.reads.get(1).map(read).transpose()?];
        (operator.run)(Call { parallel, reads, scratch, dst: ViewMut::new(dst, shape)? })
    }
}

/// Puts an image where the steps read it.
fn load(input: &place::Input, image: Input<'_>, layout: &Layout, memory: &mut [f32]) {
    let (at, shape) = layout.locate(&input.place);
    if input.planar {
        let dst = &mut memory[at..at + shape.elements()];
        match image {
            Input::Planar { data, .. } => dst.copy_from_slice(data),
            Input::Interleaved { data, .. } => {
                for (pixel, values) in data.chunks_exact(shape.c).enumerate() {
                    for (channel, &value) in values.iter().enumerate() {
                        dst[channel * shape.pixels() + pixel] = value;
                    }
                }
            }
            Input::Blocked(view) => layout::to_nchw(view, &input.place.order, dst),
        }
        return;
    }
    let mut dst = ViewMut::new(&mut memory[at..at + shape.len()], shape).expect("laid out for this shape");
    match image {
        Input::Planar { data, .. } => layout::from_nchw(data, dst),
        Input::Interleaved { data, .. } => layout::from_nhwc(data, dst),
        Input::Blocked(view) => {
            let blocks = view.data().chunks(view.block_stride());
            for (dst, src) in dst.data_mut().chunks_mut(shape.block_stride()).zip(blocks) {
                let len = src.len().min(dst.len());
                dst[..len].copy_from_slice(&src[..len]);
            }
        }
    }
}

impl place::Input {
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
}

impl Layout {
    /// Where a place begins, and the shape of its slots.
    fn locate(&self, place: &Place) -> (usize, Shape) {
        let shape = Shape { c: place.slots, ..self.shapes[place.node] };
        (self.at[place.piece] + place.block * shape.block_stride(), shape)
    }

    fn view<'a>(&self, memory: &'a [f32], place: &Place) -> View<'a> {
        let (at, shape) = self.locate(place);
        View::new(&memory[at..at + shape.len()], shape).expect("laid out for this shape")
    }

    /// How many numbers a value has.
    fn numbers(&self, place: &Place) -> usize {
        place.order.channels() * self.shapes[place.node].pixels()
    }
}

/// Packs operators.
struct Packer<'a> {
    graph: &'a Graph,
    tensors: &'a dyn Tensors,
    isa: Isa,
}

/// Gives a convolution's builder what they all take, and builds.
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
            Op::Transposed(transposed) => transposed.bias || transposed.batch_norm,
            Op::Linear(linear) => linear.bias,
            Op::PRelu => false,
            _ => true,
        };
        if shifted == (parameters.bias.is_some() || parameters.batch_norm.is_some()) {
            return Ok(parameters);
        }
        let why = if shifted { "has no bias" } else { "has a bias that it should not have" };
        Err(Error::Graph { node: self.graph.nodes()[node].name.clone(), why: why.into() })
    }

    fn pack(&self, layer: &Layer, step: &place::Step) -> Result<Operator, Error> {
        let named = |source| Error::Kernel { layer: layer.name.clone(), source };
        if step.gather {
            return self.gather(step).map_err(named);
        }
        let weighted = |node: &usize| !self.graph.weights(self.graph.value(*node)).is_empty();
        let mut numbers = layer.nodes.iter().copied().filter(weighted).map(|node| self.parameters(node));
        match (layer.form, &self.graph.nodes()[layer.nodes[0]].op) {
            (Form::Head, Op::Conv(conv)) => self.head(layer, step, conv, &mut numbers),
            _ => self.operator(layer, step, &numbers.collect::<Result<Vec<_>, _>>()?).map_err(named),
        }
    }

    /// A 1x1 convolution, an average and a fully connected layer. The numbers of each are read when it is packed: of a small
    /// network, they are most.
    fn head<'b>(
        &self,
        layer: &Layer,
        step: &place::Step,
        conv: &Conv,
        numbers: &mut dyn Iterator<Item = Result<Parameters<'b>, Error>>,
    ) -> Result<Operator, Error> {
        let named = |source| Error::Kernel { layer: layer.name.clone(), source };
        let mut next = || numbers.next().expect("a head has weights twice");
        let source = &step.reads[0].order;
        let builder = Pointwise::builder(source.channels(), conv.oc).groups(conv.groups).input_order(source);
        let conv = {
            let numbers = next()?;
            dressed!(builder, numbers, layer.activation(self.graph), self.isa).map_err(named)?
        };
        let numbers = next()?;
        let mut builder = Head::builder(conv, self.graph.nodes()[layer.makes()].channels);
        if let Some(bias) = &numbers.bias {
            builder = builder.bias(bias);
        }
        let op = Arc::new(builder.build(&numbers.weights).map_err(named)?);
        let sized = op.clone();
        let operator = Operator::new(move |mut call| {
            let src = call.src();
            op.on(call.parallel).try_run(src, call.scratch, numbers_of(&mut call.dst))
        })
        .map_err(named)?;
        Ok(Operator { scratch: Some(Box::new(move |_, src| sized.try_scratch(src))), ..operator })
    }

    /// A copy that brings every channel from its lane to another.
    fn gather(&self, step: &place::Step) -> Result<Operator, kernels::Error> {
        let (from, to) = (step.reads[0].order.slots(), step.write.order.slots());
        // Lanes between the channels get some channel or other.
        let mut slots = vec![from[0]; step.write.slots];
        to.iter().zip(from).for_each(|(&to, &from)| slots[to as usize] = from);
        let op = Materialize::builder(&ChannelOrder::from_slots(slots)).isa(self.isa).build()?;
        Operator::new(move |call| op.on(call.parallel).try_run(call.src(), call.dst))
    }

    /// The operator of a layer; `numbers` are those of its nodes that have any.
    fn operator(
        &self,
        layer: &Layer,
        step: &place::Step,
        numbers: &[Parameters<'_>],
    ) -> Result<Operator, kernels::Error> {
        let (isa, activation) = (self.isa, layer.activation(self.graph));
        let nodes = self.graph.nodes();
        let (source, made) = (&step.reads[0].order, &nodes[layer.makes()]);
        let ic = source.channels();
        match (layer.form, &nodes[layer.nodes[0]].op) {
            (Form::Pointwise, Op::Conv(conv)) => {
                let builder = Pointwise::builder(ic, conv.oc).groups(conv.groups).input_order(source);
                let op = dressed!(builder.output_order(&step.write.order), numbers[0], activation, isa)?;
                Operator::new(move |call| match call.view(1) {
                    None => op.on(call.parallel).try_run(call.src(), call.dst),
                    Some(term) => op.on(call.parallel).residual(term).try_run(call.src(), call.dst),
                })
            }
            (Form::Depthwise, Op::Conv(conv)) => {
                let builder = Depthwise::builder(conv.oc, conv.window).input_order(source);
                let op = dressed!(builder, numbers[0], activation, isa)?;
                Operator::new(move |call| op.on(call.parallel).try_run(call.src(), call.dst))
            }
            (Form::Convolution | Form::Stem, Op::Conv(conv)) => {
                let builder = Convolution::builder(ic, conv.oc, conv.window).groups(conv.groups);
                // (What a stem makes is behind its pool.)
                let (builder, written) = (builder.input_order(source), &step.write.order);
                let op = dressed!(builder.output_order(written), numbers[0], activation, isa)?;
                let Op::MaxPool(window) = made.op else {
                    return Operator::new(move |call| match call.view(1) {
                        None => op.on(call.parallel).try_run(call.source(), call.dst),
                        Some(term) => op.on(call.parallel).residual(term).try_run(call.source(), call.dst),
                    });
                };
                let pool = MaxPool::builder(window).isa(isa).build()?;
                let op = Arc::new(Stem::builder(op, pool).build()?);
                let sized = op.clone();
                let operator = Operator::new(move |call| {
                    op.on(call.parallel).try_run(call.source(), call.scratch, call.dst)
                })?;
                Ok(Operator {
                    scratch: Some(Box::new(move |p, src| sized.on(p).try_scratch(src))),
                    ..operator
                })
            }
            (Form::MaxPool, &Op::MaxPool(window)) => {
                let op = MaxPool::builder(window).isa(isa).build()?;
                Operator::new(move |call| op.on(call.parallel).try_run(call.src(), call.dst))
            }
            (Form::AveragePool, &Op::AveragePool { window, count_pad }) => {
                let op = AveragePool::builder(window).count_include_pad(count_pad).isa(isa).build()?;
                Operator::new(move |call| op.on(call.parallel).try_run(call.src(), call.dst))
            }
            (Form::Transposed, Op::Transposed(transposed)) => {
                let builder = Transposed::builder(ic, transposed.oc, transposed.window)
                    .groups(transposed.groups)
                    .output_padding(transposed.output_padding)
                    .input_order(source)
                    .output_order(&step.write.order);
                let op = dressed!(builder, numbers[0], activation, isa)?;
                Operator::new(move |call| match call.view(1) {
                    None => op.on(call.parallel).try_run(call.src(), call.dst),
                    Some(term) => op.on(call.parallel).residual(term).try_run(call.src(), call.dst),
                })
            }
            (Form::Resize, &Op::Resize { interpolation, coordinates, .. }) => {
                let op = Resize::builder(interpolation).coordinates(coordinates).isa(isa).build()?;
                Operator::new(move |call| op.on(call.parallel).try_run(call.src(), call.dst))
            }
            (Form::Mul, _) => {
                let op = Mul::builder().activation(activation).isa(isa).build()?;
                Operator::new(move |call| {
                    let factor = call.view(1).expect("a product has two factors");
                    op.on(call.parallel).try_run(call.src(), factor, call.dst)
                })
            }
            (Form::LayerNorm, &Op::LayerNorm { eps }) => {
                let builder = LayerNorm::builder(ic).eps(eps).input_order(source).isa(isa);
                let op =
                    builder.build(&numbers[0].weights, numbers[0].bias.as_deref().unwrap_or_default())?;
                Operator::new(move |call| op.on(call.parallel).try_run(call.src(), call.dst))
            }
            (Form::PRelu, _) => {
                let op = PRelu::builder().isa(isa).build(&by_slot(step, &numbers[0].weights))?;
                Operator::new(move |call| op.on(call.parallel).try_run(call.src(), call.dst))
            }
            (Form::Add, _) => {
                let op = Add::builder().activation(activation).isa(isa).build()?;
                Operator::new(move |call| {
                    let term = call.view(1).expect("an addition has two terms");
                    op.on(call.parallel).try_run(call.src(), term, call.dst)
                })
            }
            (Form::Activate, _) => {
                let op = Activate::builder(activation).isa(isa).build()?;
                Operator::new(move |call| match call.view(0) {
                    Some(src) => op.on(call.parallel).try_run(src, call.dst),
                    None => op.on(call.parallel).try_run_in_place(call.dst),
                })
            }
            (Form::Affine, _) => {
                let shift = numbers[0].bias.as_deref().unwrap_or_default();
                let builder = Affine::builder(step.reads[0].slots).activation(activation).isa(isa);
                let op = builder.build(&by_slot(step, &numbers[0].weights), &by_slot(step, shift))?;
                Operator::new(move |call| match call.view(0) {
                    Some(src) => op.on(call.parallel).try_run(src, call.dst),
                    None => op.on(call.parallel).try_run_in_place(call.dst),
                })
            }
            (Form::Copy, _) => self.gather(step),
            (Form::GlobalAverage, _) => {
                let op = GlobalAverage::builder().isa(isa).build()?;
                Operator::new(move |mut call| {
                    op.on(call.parallel).try_run(call.src(), numbers_of(&mut call.dst))
                })
            }
            (Form::Linear, _) => {
                let op = dressed!(Linear::builder(ic, made.channels), numbers[0], activation, isa)?;
                Operator::new(move |mut call| {
                    op.on(call.parallel).try_run(&call.src().data()[..op.ic()], numbers_of(&mut call.dst))
                })
            }
            (form, op) => Err(kernels::Error::Mismatch(format!("no operator runs {op:?} as {form:?}"))),
        }
    }
}
