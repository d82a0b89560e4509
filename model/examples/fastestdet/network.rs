//! The network: a ShuffleNetV2 backbone in Megvii's wiring, a pyramid of 5x5 depthwise convolutions, three heads.
//!
//! Nothing is moved for a shuffle or a split: a [`ChannelOrder`] says in which slot of its buffer each channel lies,
//! and the next convolution reads it there. Nothing is moved for a concat either: its parts are written into one
//! buffer to begin with.

use kernels::{
    Activation, AveragePool, BLOCK, ChannelOrder, Convolution, Depthwise, Isa, MaxPool, Padding, Pointwise,
    Serial, Shape, Tensor, View, ViewMut, layout, softmax, upsample_nearest_2x,
};
use model::weights::Checkpoint;
use std::error::Error;

/// Height and width of the image.
pub(crate) const SIDE: usize = 352;
/// Height and width of the grid of cells, each of which predicts one box.
pub(crate) const GRID: usize = SIDE / 16;
/// Classes of COCO.
pub(crate) const CLASSES: usize = 80;
/// Numbers per cell: objectness, four of the box, one per class.
pub(crate) const FIELDS: usize = 5 + CLASSES;

/// Channels of the pyramid and the heads.
const NECK: usize = 96;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// The trained network: shared by any number of threads, each of which has its own [`Activations`].
#[derive(Debug)]
pub(crate) struct FastestDet {
    stem: Convolution,
    max_pool: MaxPool,
    stages: [Stage; 3],
    average_pool: AveragePool,
    coarse: Pointwise,
    fine: Pointwise,
    /// Three chains of one, two and three 5x5 depthwise convolutions, such that each layer reads an earlier part of one
    /// buffer and the last three are the ends.
    chains: [(Depthwise, usize); 6],
    pyramid: Pointwise,
    neck: Pointwise,
    heads: [Head; 3],
    /// Where the heads' outputs lie: objectness, box, classes.
    order: ChannelOrder,
}

/// A unit of stride 2 and those of stride 1 behind it. They share one buffer: into its first blocks goes the
/// projection, into the blocks after it the first unit's branch, and so on.
#[derive(Debug)]
struct Stage {
    projection: (Depthwise, Pointwise),
    branches: Vec<Branch>,
    /// Blocks of one part of the buffer.
    part: usize,
    /// Where the channels of the stage's output lie.
    order: ChannelOrder,
}

/// 1x1 BN ReLU, 3x3 depthwise BN, 1x1 BN ReLU.
#[derive(Debug)]
struct Branch {
    first: Pointwise,
    depthwise: Depthwise,
    last: Pointwise,
}

/// 5x5 depthwise BN ReLU, 1x1 BN.
#[derive(Debug)]
struct Head {
    depthwise: Depthwise,
    last: Pointwise,
}

/// The memory of one running inference.
#[derive(Debug)]
pub(crate) struct Activations {
    /// A few rows of the stem at a time.
    stem: Vec<f32>,
    pooled: Tensor,
    inner: [Inner; 3],
    stage2: Tensor,
    /// Stage 3, and behind it stage 2 at half its size: what the first convolution of the pyramid reads.
    fine: Tensor,
    stage4: Tensor,
    small: Tensor,
    coarse: Tensor,
    /// The input of the chains, then the outputs of their layers.
    pyramid: Tensor,
    x: Tensor,
    y: Tensor,
    fields: Tensor,
    output: Vec<f32>,
}

/// What a stage needs besides its buffer.
#[derive(Debug)]
struct Inner {
    projection: Tensor,
    full: Tensor,
    half: [Tensor; 2],
}

/// A tensor of zeros of `parts` times the blocks that `channels` take.
fn blocks(parts: usize, channels: usize, side: usize) -> Tensor {
    Tensor::zeros(Shape::new(parts * channels.next_multiple_of(BLOCK), side, side))
}

impl FastestDet {
    /// Reads and packs the weights.
    pub(crate) fn new(checkpoint: &Checkpoint, isa: Isa) -> Result<Self> {
        let weights = Weights { checkpoint, isa };
        let identity = ChannelOrder::identity;
        let stem = weights.folded("backbone.first_conv", 0, [24, 3, 3, 3])?;
        let stem = Convolution::builder(3, 24, 3, 2)
            .bias(&stem.bias)
            .activation(Activation::Relu)
            .isa(isa)
            .build(&stem.weights)?;

        let stage2 = Stage::new(&weights, "backbone.stage2", 4, &identity(24))?;
        let stage3 = Stage::new(&weights, "backbone.stage3", 8, &stage2.order)?;
        let stage4 = Stage::new(&weights, "backbone.stage4", 4, &stage3.order)?;

        // The concat of stages 2, 3 and 4 that the pyramid begins with is never formed. Upsampling commutes with a 1x1
        // convolution, so the columns of stage 4 are applied before it, to a quarter of the pixels, and added.
        let wide = weights.folded("SPP.Conv1x1.conv1x1", 0, [NECK, 48 + 96 + 192, 1, 1])?;
        let columns = |range: std::ops::Range<usize>| -> Vec<f32> {
            wide.weights.chunks_exact(336).flat_map(|row| &row[range.clone()]).copied().collect()
        };
        let coarse =
            Pointwise::builder(192, NECK).input_order(&stage4.order).isa(isa).build(&columns(144..336))?;
        let fine_order = ChannelOrder::concat(&[&stage2.order.after_blocks(stage3.blocks()), &stage3.order]);
        let fine = Pointwise::builder(48 + 96, NECK)
            .input_order(&fine_order)
            .bias(&wide.bias)
            .activation(Activation::Relu)
            .isa(isa)
            .build(&columns(0..144))?;

        // Part 0 of the buffer is the chains' input, layer `i` of these writes part `i + 1`.
        let chain = |name: &str, index, from| -> Result<(Depthwise, usize)> {
            Ok((weights.depthwise5x5(&format!("SPP.{name}"), index)?, from))
        };
        let chains = [
            chain("S2", 0, 0)?,
            chain("S3", 0, 0)?,
            chain("S3", 3, 2)?,
            chain("S1", 0, 0)?,
            chain("S2", 3, 1)?,
            chain("S3", 6, 3)?,
        ];
        let head = |name: &str, oc: usize| -> Result<Head> {
            let prefix = format!("detect_head.{name}.conv5x5");
            Ok(Head {
                depthwise: weights.depthwise5x5(&prefix, 0)?,
                last: weights.pointwise(&prefix, 3, &identity(NECK), oc, Activation::None)?,
            })
        };
        Ok(Self {
            stem,
            max_pool: MaxPool::new(3, 2, Padding::all(1), isa)?,
            stages: [stage2, stage3, stage4],
            average_pool: AveragePool::new(3, 2, Padding::all(1), true, isa)?,
            coarse,
            fine,
            chains,
            pyramid: weights.pointwise("SPP.output", 0, &identity(3 * NECK), NECK, Activation::Relu)?,
            neck: weights.pointwise(
                "detect_head.conv1x1.conv1x1",
                0,
                &identity(NECK),
                NECK,
                Activation::Relu,
            )?,
            heads: [head("obj_layers", 1)?, head("reg_layers", 4)?, head("cls_layers", CLASSES)?],
            order: ChannelOrder::concat(&[
                &identity(1),
                &identity(4).after_blocks(1),
                &identity(CLASSES).after_blocks(2),
            ]),
        })
    }

    /// Memory for one inference at a time.
    pub(crate) fn activations(&self) -> Activations {
        let [stage2, stage3, stage4] = &self.stages;
        Activations {
            stem: vec![0.0; self.stem.pooled_scratch(&Serial, SIDE, SIDE)],
            pooled: Tensor::zeros(Shape::new(24, SIDE / 4, SIDE / 4)),
            inner: [stage2.inner(SIDE / 4), stage3.inner(SIDE / 8), stage4.inner(SIDE / 16)],
            stage2: blocks(stage2.blocks(), BLOCK, SIDE / 8),
            fine: blocks(stage3.blocks() + stage2.blocks(), BLOCK, GRID),
            stage4: blocks(stage4.blocks(), BLOCK, SIDE / 32),
            small: blocks(1, NECK, SIDE / 32),
            coarse: blocks(1, NECK, GRID),
            pyramid: blocks(7, NECK, GRID),
            x: blocks(1, NECK, GRID),
            y: blocks(1, NECK, GRID),
            fields: blocks(7, BLOCK, GRID),
            output: vec![0.0; GRID * GRID * FIELDS],
        }
    }

    /// Runs the network on a planar BGR image of `SIDE` x `SIDE` and returns, for each cell of the grid, its
    /// [`FIELDS`] numbers.
    pub(crate) fn run<'a>(&self, image: &[f32], activations: &'a mut Activations) -> &'a [f32] {
        let Activations { stem, pooled, inner, stage2, fine, stage4, .. } = activations;
        let Activations { small, coarse, pyramid, x, y, fields, output, .. } = activations;
        let max_pool = &self.max_pool;
        self.stem.run_planar_pooled(&Serial, image, SIDE, SIDE, max_pool, stem, pooled.view_mut());
        let [first, second, third] = &self.stages;
        let (behind, both) = (second.blocks(), second.blocks() + first.blocks());
        first.run(pooled.view(), &mut inner[0], stage2.view_mut());
        self.average_pool.run(stage2.view(), fine.view_mut().blocks(behind..both));
        second.run(stage2.view(), &mut inner[1], fine.view_mut().blocks(0..behind));
        third.run(fine.view(), &mut inner[2], stage4.view_mut());

        self.coarse.run(stage4.view(), small.view_mut());
        upsample_nearest_2x(small.view(), coarse.view_mut());
        let part = |i: usize| i * NECK / BLOCK..(i + 1) * NECK / BLOCK;
        self.fine.run_add(fine.view(), coarse.view(), pyramid.view_mut().blocks(part(0)));
        for (i, (layer, from)) in self.chains.iter().enumerate() {
            let (done, rest) = pyramid.view_mut().split_at_block(part(i + 1).start);
            layer.run(done.blocks(part(*from)), rest.blocks(part(0)));
        }
        let ends = pyramid.view().blocks(part(4).start..part(6).end);
        self.pyramid.run_add(ends, pyramid.view().blocks(part(0)), x.view_mut());
        self.neck.run(x.view(), y.view_mut());

        for (head, blocks) in self.heads.iter().zip([0..1, 1..2, 2..7]) {
            head.depthwise.run(y.view(), x.view_mut());
            head.last.run(x.view(), fields.view_mut().blocks(blocks));
        }
        layout::to_nhwc(fields.view(), &self.order, output);
        for cell in output.chunks_exact_mut(FIELDS) {
            cell[0] = 1.0 / (1.0 + (-cell[0]).exp());
            softmax(&mut cell[5..]);
        }
        output
    }
}

impl Stage {
    fn new(weights: &Weights<'_>, name: &str, units: usize, input: &ChannelOrder) -> Result<Self> {
        let half = input.channels();
        let part = half.div_ceil(BLOCK);
        let own = |part_index| ChannelOrder::identity(half).after_blocks(part_index * part);

        let projection = format!("{name}.0.branch_proj");
        let depthwise = weights.depthwise3x3(&projection, 0, 2, input)?;
        let pointwise =
            weights.pointwise(&projection, 2, depthwise.output_order(), half, Activation::Relu)?;
        let mut branches = vec![Branch::new(weights, &format!("{name}.0"), 2, input)?];
        let mut order = ChannelOrder::concat(&[&own(0), &own(1)]);
        for i in 1..units {
            // Even channels pass, odd ones go through the branch: a shuffle into half as many groups as channels takes
            // the two apart.
            let (even, odd) = order.shuffle(half)?.split(half)?;
            branches.push(Branch::new(weights, &format!("{name}.{i}"), 1, &odd)?);
            order = ChannelOrder::concat(&[&even, &own(i + 1)]);
        }
        Ok(Self { projection: (depthwise, pointwise), branches, part, order })
    }

    /// Blocks of the stage's buffer.
    fn blocks(&self) -> usize {
        (1 + self.branches.len()) * self.part
    }

    fn inner(&self, side: usize) -> Inner {
        let part = |side| blocks(self.part, BLOCK, side);
        Inner {
            projection: Tensor::zeros(self.projection.0.output_shape(side, side)),
            full: part(side),
            half: [part(side / 2), part(side / 2)],
        }
    }

    fn run(&self, src: View<'_>, inner: &mut Inner, mut dst: ViewMut<'_>) {
        let Inner { projection, full, half: [before, behind] } = inner;
        self.projection.0.run(src, projection.view_mut());
        self.projection.1.run(projection.view(), dst.reborrow().blocks(0..self.part));
        for (i, branch) in self.branches.iter().enumerate() {
            let (done, rest) = dst.reborrow().split_at_block((i + 1) * self.part);
            let dst = rest.blocks(0..self.part);
            match i {
                0 => branch.run(src, full, behind, dst),
                _ => branch.run(done, before, behind, dst),
            }
        }
    }
}

impl Branch {
    fn new(weights: &Weights<'_>, unit: &str, stride: usize, input: &ChannelOrder) -> Result<Self> {
        let (name, channels) = (format!("{unit}.branch_main"), input.channels());
        let same = ChannelOrder::identity(channels);
        Ok(Self {
            first: weights.pointwise(&name, 0, input, channels, Activation::Relu)?,
            depthwise: weights.depthwise3x3(&name, 3, stride, &same)?,
            last: weights.pointwise(&name, 5, &same, channels, Activation::Relu)?,
        })
    }

    fn run(&self, src: View<'_>, before: &mut Tensor, behind: &mut Tensor, dst: ViewMut<'_>) {
        self.first.run(src, before.view_mut());
        self.depthwise.run(before.view(), behind.view_mut());
        self.last.run(behind.view(), dst);
    }
}

/// The checkpoint, convolution by convolution.
struct Weights<'a> {
    checkpoint: &'a Checkpoint,
    isa: Isa,
}

/// A convolution that the batch normalisation behind it has been folded into.
struct Folded {
    weights: Vec<f32>,
    bias: Vec<f32>,
}

impl Weights<'_> {
    fn read(&self, name: &str, expected: &[usize]) -> Result<Vec<f32>> {
        match self.checkpoint.shape(name) {
            Some(found) if found != expected => {
                Err(format!("tensor {name}: expected shape {expected:?}, found {found:?}").into())
            }
            _ => Ok(self.checkpoint.read(name)?),
        }
    }

    /// The convolution `prefix.index` and the batch normalisation `prefix.(index + 1)`.
    ///
    /// The builders would fold it themselves, in `f64`. The published ONNX file was folded in `f32`, which over seventy
    /// layers makes a difference of up to 7e-5; done in the same way, the weights are those of that file to the bit.
    fn folded(&self, prefix: &str, index: usize, shape: [usize; 4]) -> Result<Folded> {
        let mut weights = self.read(&format!("{prefix}.{index}.weight"), &shape)?;
        let norm = |field: &str| self.read(&format!("{prefix}.{}.{field}", index + 1), &shape[..1]);
        let (gamma, variance) = (norm("weight")?, norm("running_var")?);
        let scale: Vec<f32> =
            gamma.iter().zip(&variance).map(|(gamma, var)| gamma / (var + 1e-5).sqrt()).collect();
        let (beta, mean) = (norm("bias")?, norm("running_mean")?);
        let bias =
            beta.iter().zip(&mean).zip(&scale).map(|((beta, mean), scale)| beta - mean * scale).collect();
        for (row, scale) in weights.chunks_exact_mut(shape[1..].iter().product()).zip(scale) {
            row.iter_mut().for_each(|weight| *weight *= scale);
        }
        Ok(Folded { weights, bias })
    }

    fn pointwise(
        &self,
        prefix: &str,
        index: usize,
        input: &ChannelOrder,
        oc: usize,
        activation: Activation,
    ) -> Result<Pointwise> {
        let layer = self.folded(prefix, index, [oc, input.channels(), 1, 1])?;
        let builder = Pointwise::builder(input.channels(), oc).input_order(input).activation(activation);
        Ok(builder.bias(&layer.bias).isa(self.isa).build(&layer.weights)?)
    }

    fn depthwise3x3(
        &self,
        prefix: &str,
        index: usize,
        stride: usize,
        input: &ChannelOrder,
    ) -> Result<Depthwise> {
        let layer = self.folded(prefix, index, [input.channels(), 1, 3, 3])?;
        let builder = Depthwise::builder(input.channels(), 3, stride).input_order(input);
        Ok(builder.bias(&layer.bias).isa(self.isa).build(&layer.weights)?)
    }

    fn depthwise5x5(&self, prefix: &str, index: usize) -> Result<Depthwise> {
        let layer = self.folded(prefix, index, [NECK, 1, 5, 5])?;
        let builder = Depthwise::builder(NECK, 5, 1).activation(Activation::Relu);
        Ok(builder.bias(&layer.bias).isa(self.isa).build(&layer.weights)?)
    }
}
