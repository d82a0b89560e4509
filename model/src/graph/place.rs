//! In which lane of which buffer each channel lies: why shuffle, split and concatenation move nothing.
//!
//! No image size is needed, so weights are packed once for all sizes. In four steps:
//!
//! 1. **Names.** Every channel that is computed gets a number. A renaming node ([`Op::Concat`], [`Op::Channels`],
//!    [`Op::Shuffle`]) is a list of the numbers of its inputs.
//! 2. **Pieces.** Values that are read together share a piece of memory: their parts are computed side by side and the
//!    concatenation is there already.
//! 3. **Lanes.** Where an operator can write its channels in any order (a 1x1 convolution permutes the columns of its
//!    weights), they are sorted by who will read them. In a ShuffleNetV2 a unit reads half of what the unit before it
//!    wrote, a quarter of the one before that, and so on; sorted, those are whole cache lines. Elsewhere lanes stay
//!    lanes.
//! 4. **Blocks.** Every value gets whole blocks of its piece, in the order of writing.
//!
//! An operator that cannot read what it finds (channels out of order, or lanes that its neighbour needs) gets a
//! [`Step`] before it that gathers them.

use super::fuse::{Form, Layer};
use super::{Graph, Op, Value};
use crate::Error;
use kernels::{BLOCK, ChannelOrder};
use std::collections::HashMap;

/// How many readers of a channel are told apart: lists stay short, whatever a file says.
const MAX_READERS: usize = 16;

/// Where everything lies.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) steps: Vec<Step>,
    pub(crate) pieces: Vec<Piece>,
    pub(crate) inputs: Vec<Input>,
    pub(crate) outputs: Vec<Place>,
}

/// One operator, or the gathering of what it reads.
#[derive(Debug)]
pub(crate) struct Step {
    pub(crate) layer: usize,
    pub(crate) gather: bool,
    pub(crate) reads: Vec<Place>,
    pub(crate) write: Place,
}

/// Some blocks of a piece, and where a value's channels lie in them.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Place {
    pub(crate) piece: usize,
    /// The first block.
    pub(crate) block: usize,
    /// How many slots from there on.
    pub(crate) slots: usize,
    pub(crate) order: ChannelOrder,
    /// The node whose map size it has.
    pub(crate) node: usize,
}

/// Memory that values share, from the first step that writes it up to the one that no longer reads it.
#[derive(Debug)]
pub(crate) struct Piece {
    pub(crate) blocks: usize,
    /// The node whose map size it has.
    pub(crate) node: usize,
    pub(crate) from: usize,
    pub(crate) until: usize,
}

/// What the network is given.
#[derive(Debug)]
pub(crate) struct Input {
    /// Whether it is read as a planar image; else in blocks.
    pub(crate) planar: bool,
    /// Whether nothing else lies in its piece, so that it can be read where the caller has it.
    pub(crate) alone: bool,
    pub(crate) place: Place,
}

/// How an operator must find the channels that it reads.
#[derive(Clone, Copy, PartialEq)]
enum Need {
    /// Anywhere.
    Any,
    /// Each in a lane of its own.
    Distinct,
    /// Channel `c` in lane `c`.
    InOrder,
}

impl Form {
    fn need(self) -> Need {
        match self {
            Self::Depthwise | Self::LayerNorm | Self::Add | Self::Mul => Need::Distinct,
            Self::Stem | Self::Linear => Need::InOrder,
            _ => Need::Any,
        }
    }
}

/// Places every value. Channels of one reader begin at multiples of `granule` lanes: 1 where each is read by itself, 4
/// where an instruction reads four at a time.
pub(crate) fn place(graph: &Graph, layers: &[Layer], granule: usize) -> Result<Plan, Error> {
    let mut placer = Placer::new(graph, layers, granule)?;
    let mut inputs = Vec::new();
    let uses = graph.uses();
    for value in graph.inputs().filter(|value| uses[value.index()] > 0) {
        // Dense convolutions take a planar image as it comes, but not as what they add.
        let dense = layers.iter().all(|layer| {
            let takes = matches!(layer.form, Form::Convolution | Form::Stem);
            layer.reads(graph).skip(usize::from(takes)).all(|read| read != value)
        });
        let renamed = graph.nodes().iter().any(|node| node.inputs.contains(&value) && node.op.renames());
        let planar = dense && !renamed && !graph.outputs().contains(&value);
        let place = placer.write(value.index(), ChannelOrder::identity(graph.node(value).channels));
        inputs.push(Input { planar, alone: true, place });
    }
    for (index, layer) in layers.iter().enumerate() {
        placer.layer(index, layer);
    }
    let outputs: Vec<Place> = graph.outputs().iter().map(|value| placer.read(value.index())).collect();
    for output in &outputs {
        placer.pieces[output.piece].until = usize::MAX;
    }
    for input in &mut inputs {
        input.alone = placer.pieces[input.place.piece].blocks == input.place.blocks();
    }
    Ok(Plan { steps: placer.steps, pieces: placer.pieces, inputs, outputs })
}

impl Place {
    fn new(piece: usize, block: usize, order: ChannelOrder, node: usize) -> Self {
        Self { piece, block, slots: order.width(), order, node }
    }

    /// How many blocks it spans.
    fn blocks(&self) -> usize {
        self.slots.div_ceil(BLOCK)
    }
}

struct Placer<'a> {
    graph: &'a Graph,
    granule: usize,
    /// Per node, the numbers of its value's channels.
    numbers: Vec<ChannelOrder>,
    /// Per node, the one whose value it overwrites, if it does.
    overwrites: Vec<Option<usize>>,
    /// Per number, the node that computes the channel.
    owners: Vec<usize>,
    /// Per number, which of the `readers` its channel has.
    reader: Vec<usize>,
    /// Lists of layers that read the same channels.
    readers: Vec<Vec<usize>>,
    /// Per number, the slot of its piece in which the channel lies.
    slots: Vec<u32>,
    /// Per node, another one that lies in the same piece, or itself.
    shared: Vec<usize>,
    /// Per node that stands for others, their piece, once one of them is written.
    piece: Vec<Option<usize>>,
    /// Per node that is only there to be multiplied with a map: the map.
    gates: HashMap<usize, usize>,
    pieces: Vec<Piece>,
    steps: Vec<Step>,
}

impl<'a> Placer<'a> {
    /// Steps 1 and 2, and who reads what.
    fn new(graph: &'a Graph, layers: &[Layer], granule: usize) -> Result<Self, Error> {
        let nodes = graph.nodes();
        let uses = graph.uses();
        // Whoever reads all channels of a computed value that nobody else reads may overwrite it, if it can.
        let mut overwrites = vec![None; nodes.len()];
        for layer in layers.iter().filter(|layer| matches!(layer.form, Form::Activate | Form::Affine)) {
            let source = layer.reads(graph).next().map(Value::index).filter(|&source| {
                let op = &nodes[source].op;
                uses[source] == 1 && !op.renames() && !matches!(op, Op::Input { .. })
            });
            overwrites[layer.makes()] = source;
        }
        let mut numbers: Vec<ChannelOrder> = Vec::with_capacity(nodes.len());
        let mut owners = Vec::new();
        for (index, node) in nodes.iter().enumerate() {
            let inputs: Vec<_> = node.inputs.iter().map(|input| &numbers[input.index()]).collect();
            let own = match (&node.op, overwrites[index]) {
                (Op::Concat, _) => Ok(ChannelOrder::concat(&inputs)),
                (Op::Channels(range), _) => inputs[0].range(range.clone()),
                (Op::Shuffle(groups), _) => inputs[0].shuffle(*groups),
                (_, Some(source)) => Ok(numbers[source].clone()),
                (_, None) => {
                    let first = owners.len() as u32;
                    owners.resize(owners.len() + node.channels, index);
                    Ok(ChannelOrder::from_slots((first..owners.len() as u32).collect()))
                }
            };
            numbers.push(own.map_err(|source| Error::Kernel { layer: node.name.clone(), source })?);
        }

        let mut placer = Self {
            graph,
            granule,
            numbers,
            overwrites,
            reader: vec![0; owners.len()],
            readers: vec![Vec::new()],
            slots: vec![0; owners.len()],
            owners,
            shared: (0..nodes.len()).collect(),
            piece: vec![None; nodes.len()],
            gates: HashMap::new(),
            pieces: Vec::new(),
            steps: Vec::new(),
        };
        for (node, _) in nodes.iter().zip(&uses).filter(|&(_, &uses)| uses > 0) {
            if let (Op::Mul(_), &[map, gate]) = (&node.op, node.inputs.as_slice())
                && uses[gate.index()] == 1
            {
                placer.gates.insert(gate.index(), map.index());
            }
        }
        let outputs = graph.outputs().iter().map(|value| (layers.len(), *value));
        let reads = layers.iter().enumerate().flat_map(|(l, layer)| layer.reads(graph).map(move |v| (l, v)));
        for (layer, value) in reads.chain(outputs) {
            placer.note_reader(layer, value.index());
        }
        Ok(placer)
    }

    /// Notes that a layer reads a node's value, whose channels so come to lie in one piece.
    fn note_reader(&mut self, layer: usize, node: usize) {
        let mut longer = HashMap::new();
        let mut before = None;
        for &number in self.numbers[node].clone().slots() {
            let (reader, owner) = (&mut self.reader[number as usize], self.owners[number as usize]);
            let known = &self.readers[*reader];
            if known.len() < MAX_READERS && known.last() != Some(&layer) {
                *reader = *longer.entry(*reader).or_insert_with(|| {
                    self.readers.push([&self.readers[*reader][..], &[layer]].concat());
                    self.readers.len() - 1
                });
            }
            if before != Some(owner) {
                self.share(before.unwrap_or(owner), owner);
                before = Some(owner);
            }
        }
    }

    /// The node that stands for all in a node's piece.
    fn root(&mut self, mut node: usize) -> usize {
        while self.shared[node] != node {
            self.shared[node] = self.shared[self.shared[node]];
            node = self.shared[node];
        }
        node
    }

    fn share(&mut self, a: usize, b: usize) {
        let (a, b) = (self.root(a), self.root(b));
        self.shared[a.max(b)] = a.min(b);
    }

    /// Step 3 where the lanes are free: channels sorted by their readers; those without a reader come last.
    fn sorted(&self, node: usize) -> ChannelOrder {
        let first = self.numbers[node].slot(0);
        let reader = &self.reader[first..][..self.graph.nodes()[node].channels];
        let mut channels: Vec<usize> = (0..reader.len()).collect();
        channels.sort_by_key(|&channel| (reader[channel] == 0, &self.readers[reader[channel]]));
        let (mut lanes, mut next) = (vec![0; reader.len()], 0usize);
        for (i, &channel) in channels.iter().enumerate() {
            if i > 0 && reader[channel] != reader[channels[i - 1]] {
                next = next.next_multiple_of(self.granule);
            }
            lanes[channel] = next as u32;
            next += 1;
        }
        ChannelOrder::from_slots(lanes)
    }

    /// Places a layer's value, and the operator behind whatever has to be gathered for it.
    fn layer(&mut self, index: usize, layer: &Layer) {
        let node = layer.makes();
        let mut reads: Vec<Place> = layer.reads(self.graph).map(|value| self.read(value.index())).collect();
        let source = reads[0].clone();
        let fits = match layer.form.need() {
            Need::Distinct => distinct(&source.order),
            Need::InOrder => source.order.is_identity(),
            Need::Any => true,
        };
        if !fits {
            reads[0] = self.gathered(index, &source, ChannelOrder::identity(source.order.channels()));
        }
        if let [source, term] = reads.as_slice() {
            // A term lies like the sum that it becomes part of.
            let wanted = match layer.form {
                // One channel for all.
                Form::Mul if term.order.channels() != source.order.channels() => ChannelOrder::identity(1),
                Form::Add | Form::Mul => source.order.clone(),
                _ if distinct(&term.order) => term.order.clone(),
                _ => ChannelOrder::identity(term.order.channels()),
            };
            if wanted != term.order {
                reads[1] = self.gathered(index, &term.clone(), wanted);
            }
        }
        let order = match (layer.form, reads.as_slice()) {
            (Form::Pointwise | Form::Convolution | Form::Transposed, [_]) => match self.gated(node) {
                Some(order) => order,
                None => self.sorted(node),
            },
            (Form::Pointwise | Form::Convolution | Form::Transposed, [_, term]) => term.order.clone(),
            (Form::Depthwise | Form::LayerNorm, [source]) => compacted(&source.order),
            (Form::Stem | Form::Linear | Form::Head | Form::Copy, _) => {
                ChannelOrder::identity(self.graph.nodes()[node].channels)
            }
            (_, reads) => reads[0].order.clone(),
        };
        let write = if self.overwrites[node].is_some() { source } else { self.write(node, order) };
        self.step(index, false, reads, write);
    }

    /// The order of a map that a node's value will be multiplied with, if that is all it is for: a gate is written in the
    /// lanes of what it gates.
    fn gated(&mut self, node: usize) -> Option<ChannelOrder> {
        // (It may be computed later.)
        let map = self.gates.get(&node).copied().filter(|&map| map < node)?;
        let order = self.read(map).order;
        (order.channels() == self.graph.nodes()[node].channels && distinct(&order)).then_some(order)
    }

    /// Notes a step, and that what it touches must live until then.
    fn step(&mut self, layer: usize, gather: bool, reads: Vec<Place>, write: Place) {
        for place in reads.iter().chain([&write]) {
            let piece = &mut self.pieces[place.piece];
            piece.until = piece.until.max(self.steps.len() + 1);
        }
        self.steps.push(Step { layer, gather, reads, write });
    }

    /// A copy of a value in memory of its own, its channels in the lanes of `order`.
    fn gathered(&mut self, layer: usize, source: &Place, order: ChannelOrder) -> Place {
        let place = Place::new(self.pieces.len(), 0, order, source.node);
        self.pieces.push(Piece {
            blocks: place.blocks(),
            node: source.node,
            from: self.steps.len(),
            until: 0,
        });
        self.step(layer, true, vec![source.clone()], place.clone());
        place
    }

    /// The blocks that hold a node's value, and its order within them.
    fn read(&mut self, node: usize) -> Place {
        let root = self.root(self.owners[self.numbers[node].slot(0)]);
        let piece = self.piece[root].expect("a value is written before it is read");
        let slots = self.numbers[node].slots().iter().map(|&number| self.slots[number as usize]);
        let block = slots.clone().min().map_or(0, |slot| slot / BLOCK as u32);
        let order = ChannelOrder::from_slots(slots.map(|slot| slot - block * BLOCK as u32).collect());
        Place::new(piece, block as usize, order, node)
    }

    /// Step 4: room for a node's own channels at the end of its piece, for the next step to write.
    fn write(&mut self, node: usize, order: ChannelOrder) -> Place {
        let root = self.root(node);
        let piece = *self.piece[root].get_or_insert_with(|| {
            self.pieces.push(Piece { blocks: 0, node, from: self.steps.len(), until: 0 });
            self.pieces.len() - 1
        });
        let place = Place::new(piece, self.pieces[piece].blocks, order, node);
        self.pieces[piece].blocks += place.blocks();
        self.settle(node, &place);
        place
    }

    /// Notes where a node's channels lie.
    fn settle(&mut self, node: usize, place: &Place) {
        for (channel, &slot) in place.order.slots().iter().enumerate() {
            self.slots[self.numbers[node].slot(channel)] = (place.block * BLOCK) as u32 + slot;
        }
    }
}

/// Whether no two channels lie in one lane.
fn distinct(order: &ChannelOrder) -> bool {
    let mut slots = order.slots().to_vec();
    slots.sort_unstable();
    slots.windows(2).all(|pair| pair[0] != pair[1])
}

/// The order behind a depthwise convolution: lanes stay lanes, and blocks that hold no channel are left out.
fn compacted(order: &ChannelOrder) -> ChannelOrder {
    let mut blocks: Vec<u32> = order.slots().iter().map(|slot| slot / BLOCK as u32).collect();
    blocks.sort_unstable();
    blocks.dedup();
    let lane = |&slot: &u32| {
        let block = blocks.partition_point(|&block| block < slot / BLOCK as u32);
        (block * BLOCK) as u32 + slot % BLOCK as u32
    };
    ChannelOrder::from_slots(order.slots().iter().map(lane).collect())
}

#[cfg(test)]
mod tests {
    use super::super::{Conv, Passes, fuse::fuse};
    use super::*;
    use crate::{Config, shufflenet};
    use kernels::{Activation, Window};

    /// 64-bit FNV-1a of the slots.
    fn hash<'a>(orders: impl IntoIterator<Item = &'a ChannelOrder>) -> u64 {
        let slots = orders.into_iter().flat_map(ChannelOrder::slots).copied();
        slots
            .flat_map(u32::to_le_bytes)
            .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3))
    }

    /// A stage as the recording describes it.
    fn stage(plan: &Plan, layers: &[Layer], stage: usize, units: usize) -> String {
        let step = |name: &str| {
            plan.steps.iter().find(|step| layers[step.layer].name == name).unwrap_or_else(|| panic!("{name}"))
        };
        let of = |unit: usize, part: &str| step(&format!("stage{stage}.{unit}.{part}"));
        let writes: Vec<&Place> = [&of(0, "proj.pw").write]
            .into_iter()
            .chain((0..units).map(|unit| &of(unit, "main.pw2").write))
            .collect();
        let in_piece = |step: &Step| step.reads[0].order.after_blocks(step.reads[0].block);
        let reads: Vec<ChannelOrder> = (1..units).map(|unit| in_piece(of(unit, "main.pw1"))).collect();
        let next = format!("stage{}.0.main.pw1", stage + 1);
        let output = in_piece(if stage == 4 { step("conv5 + pool + fc") } else { step(&next) });
        let mut blocks: Vec<String> = writes.iter().map(|write| write.block.to_string()).collect();
        blocks.push(plan.pieces[writes[0].piece].blocks.to_string());
        let lanes = hash(writes.iter().map(|write| &write.order));
        format!("{} {lanes:016x} {:016x} {:016x}", blocks.join(","), hash(&reads), hash([&output]))
    }

    #[test]
    fn shufflenets_lie_as_recorded() {
        let recorded = include_str!("../../tests/recorded/orders.txt");
        let mut stages = 0;
        for line in recorded.lines().filter(|line| !line.starts_with('#')) {
            let [wiring, width, name, expected] =
                line.splitn(4, ' ').collect::<Vec<_>>().try_into().expect("four fields");
            let config = Config::published(width, wiring.parse().unwrap()).unwrap();
            let graph = shufflenet::graph(&config).unwrap();
            let layers = fuse(&graph, Passes::All);
            let plan = place(&graph, &layers, 1).unwrap();
            let number: usize = name["stage".len()..].parse().unwrap();
            let units = config.stage_repeats[number - 2];
            assert_eq!(stage(&plan, &layers, number, units), expected, "{wiring} {width} {name}");
            assert!(plan.steps.iter().all(|step| !step.gather), "{wiring} {width}: nothing is copied");
            stages += 1;
        }
        assert_eq!(stages, 36);
    }

    /// A 1x1 convolution whose channels go to two readers, every third to the first of them.
    #[test]
    fn channels_of_one_reader_begin_at_a_granule() {
        let mut graph = Graph::new();
        let x = graph.push(Op::Input { channels: 8, size: None }, &[]).unwrap();
        let x = graph.push(Conv::new(15, Window::new(1)), &[x]).unwrap();
        let shuffled = graph.push(Op::Shuffle(3), &[x]).unwrap();
        let (a, b) = graph.split(shuffled, 5).unwrap();
        let a = graph.push(Conv::new(4, Window::new(1)), &[a]).unwrap();
        let b = graph.push(Conv::new(4, Window::new(1)), &[b]).unwrap();
        graph.push(Op::Add(Activation::None), &[a, b]).unwrap();
        let layers = fuse(&graph, Passes::All);
        for (granule, second) in [(1, 5), (4, 8), (16, 16)] {
            let plan = place(&graph, &layers, granule).unwrap();
            let lanes = |layer: usize| {
                let mut lanes = plan.steps.iter().find(|step| step.layer == layer).unwrap().reads[0]
                    .order
                    .slots()
                    .to_vec();
                lanes.sort_unstable();
                lanes
            };
            assert_eq!(lanes(1), [0, 1, 2, 3, 4], "{granule}");
            let places: Vec<u32> = (second..second + 10).collect();
            let block = plan.steps[2].reads[0].block as u32 * BLOCK as u32;
            assert_eq!(lanes(2).iter().map(|lane| lane + block).collect::<Vec<_>>(), places, "{granule}");
        }
    }
}
