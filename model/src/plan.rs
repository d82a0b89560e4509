//! Where every activation lives.
//!
//! ```text
//! expanded   rows of conv1, the main branch after its first 1x1, scratch of the head: one at a time
//! filtered   a branch after its depthwise convolution
//! maps[0]    max_pool, stage 3                                      a stage reads one map and writes the other
//! maps[1]    stage 2, stage 4
//! ```

use crate::network::{Network, whole_blocks};
use kernels::{Buffer, Shape};
use std::sync::Mutex;

/// In which order an image's numbers come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Layout {
    /// Image, channel, row, column: PyTorch's.
    #[default]
    Nchw,
    /// Image, row, column, channel: TensorFlow's.
    Nhwc,
}

/// A batch of images of three channels, preprocessed.
#[derive(Clone, Copy, Debug)]
pub struct Images<'a> {
    /// `n * 3 * h * w` numbers.
    pub data: &'a [f32],
    /// Images.
    pub n: usize,
    /// Rows, at least [`Images::MIN_SIDE`].
    pub h: usize,
    /// Columns, at least [`Images::MIN_SIDE`].
    pub w: usize,
    /// Their order.
    pub layout: Layout,
}

impl<'a> Images<'a> {
    /// The least height and width: the network halves the image five times.
    pub const MIN_SIDE: usize = 32;

    /// A batch in PyTorch's order.
    pub fn nchw(data: &'a [f32], n: usize, h: usize, w: usize) -> Self {
        Self { data, n, h, w, layout: Layout::Nchw }
    }

    pub(crate) fn check(&self) {
        let Self { n, h, w, .. } = *self;
        assert!(h >= Self::MIN_SIDE && w >= Self::MIN_SIDE, "images of {h}x{w}: at least 32x32");
        assert!(self.data.len() == n * 3 * h * w, "{} numbers for {n} images of 3x{h}x{w}", self.data.len());
    }
}

/// Shapes of every map for one size of image.
#[derive(Debug)]
pub(crate) struct Plan {
    planar: usize,
    pub(crate) max_pool: Shape,
    pub(crate) stages: [Shape; 3],
    expanded: usize,
    filtered: usize,
    classes: usize,
}

impl Plan {
    pub(crate) fn new(network: &Network, h: usize, w: usize) -> Self {
        let conv1 = network.conv1.output_shape(h, w);
        let max_pool = network.max_pool.output_shape(conv1);
        let (mut expanded, mut filtered) = (0, 0);
        let mut src = max_pool;
        let mut stages = [src; 3];
        for (stage, map) in network.stages.iter().zip(&mut stages) {
            let mut at = src;
            for unit in &stage.units {
                let main = unit.main.depthwise.output_shape(at.h, at.w);
                expanded = expanded.max(Shape::new(unit.main.expand.oc(), at.h, at.w).len());
                filtered = filtered.max(main.len());
                if let Some(projection) = &unit.projection {
                    filtered = filtered.max(projection.depthwise.output_shape(at.h, at.w).len());
                }
                at = main;
            }
            *map = whole_blocks(stage.blocks, at.h, at.w);
            src = *map;
        }
        expanded = expanded.max(network.head.scratch(src.h, src.w));
        let classes = network.config().classes;
        Self { planar: 3 * h * w, max_pool, stages, expanded, filtered, classes }
    }
}

/// What one inference writes to.
#[derive(Debug)]
pub(crate) struct Arena {
    pub(crate) planar: Buffer,
    pub(crate) maps: [Buffer; 2],
    pub(crate) expanded: Buffer,
    pub(crate) filtered: Buffer,
    pub(crate) logits: Buffer,
    kept: Buffer,
}

impl Arena {
    fn new() -> Self {
        let empty = || Buffer::zeros(0);
        Self {
            planar: empty(),
            maps: [empty(), empty()],
            expanded: empty(),
            filtered: empty(),
            logits: empty(),
            kept: empty(),
        }
    }

    fn prepare(&mut self, plan: &Plan, stem: usize, kept: usize) {
        let grow = |buffer: &mut Buffer, len: usize| {
            if buffer.as_slice().len() < len {
                *buffer = Buffer::zeros(len);
            }
        };
        grow(&mut self.planar, plan.planar);
        grow(&mut self.maps[0], plan.max_pool.len().max(plan.stages[1].len()));
        grow(&mut self.maps[1], plan.stages[0].len().max(plan.stages[2].len()));
        grow(&mut self.expanded, plan.expanded.max(stem));
        grow(&mut self.filtered, plan.filtered);
        grow(&mut self.logits, plan.classes);
        grow(&mut self.kept, kept);
    }

    pub(crate) fn logits(&self, classes: usize) -> &[f32] {
        &self.logits.as_slice()[..classes]
    }

    /// Puts the logits aside as those of the `i`-th image.
    pub(crate) fn keep(&mut self, i: usize, classes: usize) {
        self.kept.as_mut_slice()[i * classes..][..classes]
            .copy_from_slice(&self.logits.as_slice()[..classes]);
    }

    pub(crate) fn kept(&self, len: usize) -> &[f32] {
        &self.kept.as_slice()[..len]
    }
}

/// Memory of running inferences, the caller's: one arena per image that runs at the same time.
#[derive(Debug, Default)]
pub struct Workspace {
    arenas: Vec<Mutex<Arena>>,
}

impl Workspace {
    /// Grows to what the plan (and `stem`, the rows of conv1) needs; does not allocate where it already has it.
    pub(crate) fn prepare(&mut self, plan: &Plan, arenas: usize, stem: usize, kept: usize) {
        while self.arenas.len() < arenas {
            self.arenas.push(Mutex::new(Arena::new()));
        }
        for index in 0..arenas {
            self.arena(index).prepare(plan, stem, kept);
        }
    }

    pub(crate) fn arenas(&self) -> &[Mutex<Arena>] {
        &self.arenas
    }

    pub(crate) fn arena(&mut self, index: usize) -> &mut Arena {
        self.arenas[index].get_mut().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}
