//! The two units of Figure 3: (c) stride 1, (d) stride 2.

use crate::network::Run;
use kernels::{ChannelOrder, Depthwise, Pointwise, Shape, View, ViewMut};

/// The main branch: 1x1 BN ReLU, 3x3 depthwise BN, 1x1 BN ReLU.
#[derive(Debug)]
pub(crate) struct Main {
    pub(crate) expand: Pointwise,
    pub(crate) depthwise: Depthwise,
    pub(crate) pointwise: Pointwise,
}

/// The projection of a stride-2 unit: 3x3 depthwise BN, 1x1 BN ReLU.
#[derive(Debug)]
pub(crate) struct Projection {
    pub(crate) depthwise: Depthwise,
    pub(crate) pointwise: Pointwise,
}

/// A unit, and the blocks of its stage's map that it writes. Split, concatenation and shuffle are not here: they are
/// in the orders that the convolutions read through.
#[derive(Debug)]
pub(crate) struct Unit {
    /// Of a stride-2 unit; writes the stage's first blocks.
    pub(crate) projection: Option<Projection>,
    pub(crate) main: Main,
    /// First block that the main branch writes, and how many.
    pub(crate) block: usize,
    pub(crate) blocks: usize,
}

/// Two maps for what lives only within a unit.
pub(crate) struct Inner<'a> {
    pub(crate) expanded: &'a mut [f32],
    pub(crate) filtered: &'a mut [f32],
}

impl Main {
    pub(crate) fn forward(&self, run: &mut Run<'_>, src: View<'_>, inner: &mut Inner<'_>, dst: ViewMut<'_>) {
        let Shape { h, w, .. } = src.shape();
        let expanded = Shape::new(self.expand.oc(), h, w);
        let filtered = self.depthwise.output_shape(h, w);
        run.layer(|parallel| self.expand.run_with(parallel, src, None, fresh(inner.expanded, expanded)));
        run.layer(|parallel| {
            let src = filled(inner.expanded, expanded);
            self.depthwise.run_with(parallel, src, fresh(inner.filtered, filtered));
        });
        run.layer(|parallel| self.pointwise.run_with(parallel, filled(inner.filtered, filtered), None, dst));
    }
}

impl Projection {
    pub(crate) fn forward(&self, run: &mut Run<'_>, src: View<'_>, inner: &mut Inner<'_>, dst: ViewMut<'_>) {
        let Shape { h, w, .. } = src.shape();
        let filtered = self.depthwise.output_shape(h, w);
        run.layer(|parallel| self.depthwise.run_with(parallel, src, fresh(inner.filtered, filtered)));
        run.layer(|parallel| self.pointwise.run_with(parallel, filled(inner.filtered, filtered), None, dst));
    }
}

impl Unit {
    /// Figure 3 (d): from the stage before into this stage's map.
    pub(crate) fn forward_stride_2(
        &self,
        run: &mut Run<'_>,
        src: View<'_>,
        inner: &mut Inner<'_>,
        mut map: ViewMut<'_>,
    ) {
        if let Some(projection) = &self.projection {
            projection.forward(run, src, inner, map.reborrow().blocks(0..self.block));
        }
        self.main.forward(run, src, inner, map.blocks(self.block..self.block + self.blocks));
    }

    /// Figure 3 (c): from the units before it in the same map.
    pub(crate) fn forward_stride_1(&self, run: &mut Run<'_>, inner: &mut Inner<'_>, map: ViewMut<'_>) {
        let (before, after) = map.split_at_block(self.block);
        self.main.forward(run, before, inner, after.blocks(0..self.blocks));
    }
}

/// A map to be written, at the head of a buffer.
pub(crate) fn fresh(buffer: &mut [f32], shape: Shape) -> ViewMut<'_> {
    ViewMut::new(&mut buffer[..shape.len()], shape).expect("the slice was cut to the shape")
}

/// A map that was written.
pub(crate) fn filled(buffer: &[f32], shape: Shape) -> View<'_> {
    View::new(&buffer[..shape.len()], shape).expect("the slice was cut to the shape")
}

/// Where the channels of a stage lie in its map, unit by unit; worked out before any weight is packed.
///
/// Every unit writes a tensor of its own, so no channel ever moves; what passes a unit by stays where it is. Within a
/// tensor, channels are sorted by the unit that will read them: half are read by the next unit, a quarter by the one
/// after, and so on, so that a unit reads whole cache lines although it needs a fraction of each tensor.
#[derive(Debug)]
pub(crate) struct StageOrders {
    /// What each unit's main branch reads, from the second unit on.
    pub(crate) reads: Vec<ChannelOrder>,
    /// Where each tensor's channels lie within it: the projection's, then each unit's.
    pub(crate) lanes: Vec<ChannelOrder>,
    /// First block of each tensor, and the number of all blocks.
    pub(crate) blocks: Vec<usize>,
    /// The stage's output.
    pub(crate) output: ChannelOrder,
}

impl StageOrders {
    /// Plays the stage through with orders alone. `tensors` are the channels of the projection and of each unit's main
    /// branch; `split` and `join` are the wiring's.
    pub(crate) fn new(
        tensors: &[usize],
        split: impl Fn(&ChannelOrder) -> Result<(ChannelOrder, ChannelOrder), kernels::Error>,
        join: impl Fn(&ChannelOrder, &ChannelOrder) -> Result<ChannelOrder, kernels::Error>,
    ) -> Result<Self, kernels::Error> {
        let mut blocks = vec![0];
        for channels in tensors {
            blocks.push(blocks[blocks.len() - 1] + channels.div_ceil(kernels::BLOCK));
        }
        let tensor = |t: usize| ChannelOrder::identity(tensors[t]).after_blocks(blocks[t]);
        let mut x = join(&tensor(0), &tensor(1))?;
        let mut reads = Vec::new();
        for t in 2..tensors.len() {
            let (passed, read) = split(&x)?;
            reads.push(read);
            x = join(&passed, &tensor(t))?;
        }

        // When each slot is read; the last reader is the next stage.
        let slots = blocks[tensors.len()] * kernels::BLOCK;
        let mut read_at = vec![reads.len(); slots];
        for (unit, read) in reads.iter().enumerate() {
            for &slot in read.slots() {
                read_at[slot as usize] = unit;
            }
        }
        let mut place: Vec<u32> = (0..slots as u32).collect();
        let mut lanes = Vec::new();
        for (t, &channels) in tensors.iter().enumerate() {
            let first = blocks[t] * kernels::BLOCK;
            let mut sorted: Vec<usize> = (0..channels).collect();
            sorted.sort_by_key(|c| read_at[first + c]);
            let mut lane_of = vec![0; channels];
            for (lane, channel) in sorted.into_iter().enumerate() {
                lane_of[channel] = lane as u32;
                place[first + channel] = (first + lane) as u32;
            }
            lanes.push(ChannelOrder::from_slots(lane_of));
        }
        let place = ChannelOrder::from_slots(place);
        let reads = reads.iter().map(|read| place.select(read)).collect::<Result<_, _>>()?;
        Ok(Self { reads, lanes, blocks, output: place.select(&x)? })
    }
}
