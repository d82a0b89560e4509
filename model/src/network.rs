//! ShuffleNetV2 (Ma et al., ECCV 2018, arXiv 1807.11164): Table 5, built from the units of Figure 3.

use crate::Error;
use crate::config::Config;
use crate::layers::{Kind, Layer};
use crate::plan::{Arena, Images, Layout, Plan, Workspace};
use crate::source::{Conv, ConvShape, Kernel, Weights};
use crate::unit::{Inner, Main, Projection, StageOrders, Unit, filled, fresh};
use crate::wiring::{Part, Site};
use kernels::{
    Activation, ChannelOrder, Convolution, Depthwise, Head, Isa, MaxPool, Parallel, Pointwise, Serial, Shape,
    team,
};

/// A network with its weights folded, permuted and packed for one instruction set. Shared by threads as it is; what
/// one inference needs of its own is in a [`Workspace`].
///
/// ```no_run
/// use kernels::{Isa, Serial, softmax};
/// use model::photo::{Picture, Recipe};
/// use model::weights::Checkpoint;
/// use model::{Images, Network};
///
/// let checkpoint = Checkpoint::open("shufflenetv2_x1-5666bf0f80.pth".as_ref())?;
/// let network = Network::load(&checkpoint, Isa::best())?;
/// let mut workspace = network.workspace(); // one per thread that runs the network
/// let image = Recipe::torchvision(256).apply(&Picture::open("dog.jpg".as_ref())?);
/// let mut logits = vec![0.0; network.config().classes];
/// network.run(&Serial, Images::nchw(&image, 1, 224, 224), &mut workspace, &mut logits);
/// softmax(&mut logits);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Network {
    config: Config,
    isa: Isa,
    pub(crate) conv1: Convolution,
    pub(crate) max_pool: MaxPool,
    pub(crate) stages: Vec<Stage>,
    pub(crate) head: Head,
    layers: Vec<Layer>,
}

/// A stage: its units, and the map that they write.
#[derive(Debug)]
pub(crate) struct Stage {
    pub(crate) units: Vec<Unit>,
    /// Blocks of the map.
    pub(crate) blocks: usize,
}

impl Network {
    /// Builds the network that `config` describes from `weights`, for `isa`.
    ///
    /// # Errors
    /// Where the configuration contradicts itself, a tensor is missing or shaped otherwise, or the instruction set is
    /// not available.
    pub fn new(config: &Config, weights: &dyn Weights, isa: Isa) -> Result<Self, Error> {
        let mut builder = Builder { config, weights, isa, layers: Vec::new() };
        let [c1, .., c5] = config.stage_channels;
        let conv1 = builder.conv1(c1)?;
        let max_pool = builder.max_pool()?;
        let mut x = ChannelOrder::identity(c1);
        let mut stages = Vec::new();
        let mut index = 0;
        for stage in 0..3 {
            let (built, order) = builder.stage(stage, &mut index, &x)?;
            stages.push(built);
            x = order;
        }
        let conv5 = builder.pointwise(Site::Conv5, "conv5".into(), &x, c5, None)?;
        let head = builder.head(conv5, config.classes)?;
        let layers = builder.layers;
        Ok(Self { config: config.clone(), isa, conv1, max_pool, stages, head, layers })
    }

    /// Recognises what `weights` are and builds that network.
    ///
    /// # Errors
    /// As [`Config::recognise`] and [`Network::new`].
    pub fn load(weights: &dyn Weights, isa: Isa) -> Result<Self, Error> {
        Self::new(&Config::recognise(weights)?, weights, isa)
    }

    /// What the network is.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// What it was packed for.
    pub fn isa(&self) -> Isa {
        self.isa
    }

    /// Every layer, in the order in which they run.
    pub fn layers(&self) -> &[Layer] {
        &self.layers
    }

    /// Visits every convolution of `config` with the shape of its weights.
    pub(crate) fn each_site(config: &Config, mut visit: impl FnMut(Site, ConvShape)) -> Result<(), Error> {
        let [c1, .., c5] = config.stage_channels;
        let shape = |oc, ic, kernel| ConvShape { oc, ic, kernel };
        visit(Site::Conv1, shape(c1, 3, Kernel::Dense(3)));
        let (mut ic, mut index) = (c1, 0);
        for stage in 0..3 {
            for unit in 0..config.stage_repeats[stage] {
                let branches = config.branches(stage, unit, ic)?;
                let site = |part| Site::Unit { stage, unit, index, part };
                let mut passed = branches.proj;
                let mut read = ic;
                if unit == 0 {
                    visit(site(Part::ProjDepthwise), shape(ic, 1, Kernel::Depthwise(3)));
                    visit(site(Part::ProjPointwise), shape(branches.proj, ic, Kernel::Dense(1)));
                } else {
                    passed = ic / 2;
                    read = ic - passed;
                }
                visit(site(Part::MainExpand), shape(branches.mid, read, Kernel::Dense(1)));
                visit(site(Part::MainDepthwise), shape(branches.mid, 1, Kernel::Depthwise(3)));
                visit(site(Part::MainPointwise), shape(branches.main, branches.mid, Kernel::Dense(1)));
                ic = passed + branches.main;
                index += 1;
            }
        }
        visit(Site::Conv5, shape(c5, ic, Kernel::Dense(1)));
        visit(Site::Fc, shape(config.classes, c5, Kernel::Linear));
        Ok(())
    }

    /// An empty workspace; it grows on the first run and is then reused without allocation as long as images, batch and
    /// threads do not grow.
    pub fn workspace(&self) -> Workspace {
        Workspace::default()
    }

    /// Computes the logits of every image, `classes` numbers each, one image after the other.
    ///
    /// With threads, whole images run side by side as long as there are enough of them, and the rest are cut within
    /// their layers. The logits of an image do not depend on the threads or on its place in the batch, to the last bit.
    ///
    /// # Panics
    /// Where `images` are smaller than 32x32 or their data of the wrong length, or `logits` of the wrong length.
    pub fn run(
        &self,
        parallel: &dyn Parallel,
        images: Images<'_>,
        workspace: &mut Workspace,
        logits: &mut [f32],
    ) {
        let classes = self.config.classes;
        images.check();
        assert!(
            logits.len() == images.n * classes,
            "{} logits for {} images of {classes} classes",
            logits.len(),
            images.n
        );
        let plan = Plan::new(self, images.h, images.w);
        let lanes = parallel.threads().min(images.n).max(1);
        let together = if lanes > 1 { images.n / lanes } else { 0 };
        let scratch = self.conv1.pooled_scratch(parallel, images.h, images.w);
        workspace.prepare(&plan, lanes, scratch, together * classes);
        if together > 0 {
            let arenas = workspace.arenas();
            parallel.for_each(lanes, &|lane| {
                let mut arena = arenas[lane].lock().unwrap_or_else(|poisoned| poisoned.into_inner());
                for i in 0..together {
                    let mut run = Run::silent(&Serial);
                    self.forward(&mut run, &plan, images, lane * together + i, &mut arena);
                    arena.keep(i, classes);
                }
            });
            for (lane, chunk) in logits.chunks_mut(together * classes).take(lanes).enumerate() {
                chunk.copy_from_slice(workspace.arena(lane).kept(together * classes));
            }
        }
        for (image, chunk) in logits.chunks_mut(classes).enumerate().skip(lanes * together) {
            let arena = workspace.arena(0);
            team(parallel, |parallel| {
                self.forward(&mut Run::silent(parallel), &plan, images, image, arena);
            });
            chunk.copy_from_slice(arena.logits(classes));
        }
    }

    /// Runs the first image alone and calls `after` with the index of each layer (in [`layers`](Self::layers)) as it
    /// ends: what a profile is made of.
    ///
    /// # Panics
    /// As [`run`](Self::run).
    pub fn observe(
        &self,
        parallel: &dyn Parallel,
        images: Images<'_>,
        workspace: &mut Workspace,
        after: &mut (dyn FnMut(usize) + Send),
    ) {
        images.check();
        let plan = Plan::new(self, images.h, images.w);
        let scratch = self.conv1.pooled_scratch(parallel, images.h, images.w);
        workspace.prepare(&plan, 1, scratch, 0);
        let arena = workspace.arena(0);
        team(parallel, |parallel| {
            let mut run = Run { parallel, layer: 0, after: Some(after) };
            self.forward(&mut run, &plan, images, 0, arena);
        });
    }

    /// Table 5, top to bottom.
    fn forward(&self, run: &mut Run<'_>, plan: &Plan, images: Images<'_>, index: usize, arena: &mut Arena) {
        let Arena { planar, maps, expanded, filtered, logits, .. } = arena;
        let (h, w) = (images.h, images.w);
        let image = &images.data[index * 3 * h * w..][..3 * h * w];
        let image = match images.layout {
            Layout::Nchw => image,
            Layout::Nhwc => {
                let planar = &mut planar.as_mut_slice()[..3 * h * w];
                for (pixel, rgb) in image.chunks_exact(3).enumerate() {
                    for (channel, &value) in rgb.iter().enumerate() {
                        planar[channel * h * w + pixel] = value;
                    }
                }
                planar
            }
        };
        let inner = &mut Inner { expanded: expanded.as_mut_slice(), filtered: filtered.as_mut_slice() };
        let [even, odd] = maps;
        let (mut src, mut dst) = (even, odd);

        run.layer(|parallel| {
            let dst = fresh(src.as_mut_slice(), plan.max_pool);
            self.conv1.run_planar_pooled(parallel, image, h, w, &self.max_pool, inner.expanded, dst);
        });
        let mut shape = plan.max_pool;
        for (stage, &map) in self.stages.iter().zip(&plan.stages) {
            let (first, others) = stage.units.split_first().expect("a stage has a unit");
            first.forward_stride_2(run, filled(src.as_slice(), shape), inner, fresh(dst.as_mut_slice(), map));
            for unit in others {
                unit.forward_stride_1(run, inner, fresh(dst.as_mut_slice(), map));
            }
            shape = map;
            (src, dst) = (dst, src);
        }
        run.layer(|parallel| {
            let logits = &mut logits.as_mut_slice()[..self.config.classes];
            self.head.run_with(parallel, filled(src.as_slice(), shape), inner.expanded, logits);
        });
    }
}

/// Threads, and who wants to know when a layer ends.
pub(crate) struct Run<'a> {
    parallel: &'a dyn Parallel,
    layer: usize,
    after: Option<&'a mut dyn FnMut(usize)>,
}

impl<'a> Run<'a> {
    fn silent(parallel: &'a dyn Parallel) -> Self {
        Self { parallel, layer: 0, after: None }
    }

    pub(crate) fn layer(&mut self, work: impl FnOnce(&dyn Parallel)) {
        work(self.parallel);
        if let Some(after) = &mut self.after {
            after(self.layer);
        }
        self.layer += 1;
    }
}

/// Reads weights and packs operators, noting each as a layer.
struct Builder<'a> {
    config: &'a Config,
    weights: &'a dyn Weights,
    isa: Isa,
    layers: Vec<Layer>,
}

impl Builder<'_> {
    fn read(&self, site: Site, oc: usize, ic: usize, kernel: Kernel) -> Result<Conv, Error> {
        Conv::read(self.weights, self.config.wiring, site, ConvShape { oc, ic, kernel })
    }

    /// 3x3 stride 2, BN (not in Keras), ReLU.
    fn conv1(&mut self, oc: usize) -> Result<Convolution, Error> {
        let conv = self.read(Site::Conv1, oc, 3, Kernel::Dense(3))?;
        let mut builder = Convolution::builder(3, oc, 3, 2)
            .padding(self.config.wiring.padding())
            .activation(Activation::Relu)
            .isa(self.isa);
        if let Some(batch_norm) = conv.batch_norm() {
            builder = builder.batch_norm(batch_norm);
        }
        self.layers.push(Layer::convolution("conv1 + max_pool".into(), Kind::Stem, 3, oc, 3, 2));
        builder.build(&conv.weights).map_err(|source| refused("conv1", source))
    }

    /// 3x3 stride 2.
    fn max_pool(&mut self) -> Result<MaxPool, Error> {
        let padding = self.config.wiring.padding();
        MaxPool::new(3, 2, padding, self.isa).map_err(|source| refused("max_pool", source))
    }

    /// One unit of stride 2, then units of stride 1.
    fn stage(
        &mut self,
        stage: usize,
        index: &mut usize,
        x: &ChannelOrder,
    ) -> Result<(Stage, ChannelOrder), Error> {
        let repeats = self.config.stage_repeats[stage];
        let wiring = self.config.wiring;
        let label = |unit: usize, branch: &str| format!("stage{}.{unit}.{branch}", stage + 2);
        if repeats == 0 {
            return Err(Error::Config(format!("stage {}: at least one unit", stage + 2)));
        }
        let first = self.config.branches(stage, 0, x.channels())?;
        let mut tensors = vec![first.proj, first.main];
        let mut channels = first.proj + first.main;
        for unit in 1..repeats {
            let branches = self.config.branches(stage, unit, channels)?;
            tensors.push(branches.main);
            channels = channels / 2 + branches.main;
        }
        let orders =
            StageOrders::new(&tensors, |x| wiring.split(x), |passed, main| wiring.join(passed, main))
                .map_err(|source| refused(&format!("stage {}", stage + 2), source))?;

        let mut units = Vec::new();
        for unit in 0..repeats {
            let site = |part| Site::Unit { stage, unit, index: *index, part };
            let stride = if unit == 0 { 2 } else { 1 };
            let read = if unit == 0 { x } else { &orders.reads[unit - 1] };
            let branches = self.config.branches(stage, unit, x.channels())?;
            let projection = if unit == 0 {
                let depthwise = self.depthwise(site(Part::ProjDepthwise), label(unit, "proj.dw"), x, 2)?;
                let pointwise = self.pointwise(
                    site(Part::ProjPointwise),
                    label(unit, "proj.pw"),
                    depthwise.output_order(),
                    branches.proj,
                    Some(&orders.lanes[0]),
                )?;
                Some(Projection { depthwise, pointwise })
            } else {
                None
            };
            let expand =
                self.pointwise(site(Part::MainExpand), label(unit, "main.pw1"), read, branches.mid, None)?;
            if unit == 0 {
                // The first 1x1 of a stride-2 unit still runs on the large map.
                self.layers.last_mut().expect("just pushed").before_stride = true;
            }
            let identity = ChannelOrder::identity(branches.mid);
            let depthwise =
                self.depthwise(site(Part::MainDepthwise), label(unit, "main.dw"), &identity, stride)?;
            let tensor = unit + 1;
            let pointwise = self.pointwise(
                site(Part::MainPointwise),
                label(unit, "main.pw2"),
                depthwise.output_order(),
                tensors[tensor],
                Some(&orders.lanes[tensor]),
            )?;
            let main = Main { expand, depthwise, pointwise };
            let block = orders.blocks[tensor];
            units.push(Unit { projection, main, block, blocks: orders.blocks[tensor + 1] - block });
            *index += 1;
        }
        Ok((Stage { units, blocks: orders.blocks[tensors.len()] }, orders.output))
    }

    /// 1x1, BN (not in Keras's conv5), ReLU.
    fn pointwise(
        &mut self,
        site: Site,
        label: String,
        read: &ChannelOrder,
        oc: usize,
        write: Option<&ChannelOrder>,
    ) -> Result<Pointwise, Error> {
        let ic = read.channels();
        let conv = self.read(site, oc, ic, Kernel::Dense(1))?;
        let mut builder =
            Pointwise::builder(ic, oc).activation(Activation::Relu).input_order(read).isa(self.isa);
        if let Some(write) = write {
            builder = builder.output_order(write);
        }
        if let Some(bias) = &conv.bias {
            builder = builder.bias(bias);
        }
        if let Some(batch_norm) = conv.batch_norm() {
            builder = builder.batch_norm(batch_norm);
        }
        let built = builder.build(&conv.weights).map_err(|source| refused(&label, source))?;
        self.layers.push(Layer::convolution(label, Kind::Pointwise, ic, oc, 1, 1));
        Ok(built)
    }

    /// 3x3 depthwise, BN, no activation.
    fn depthwise(
        &mut self,
        site: Site,
        label: String,
        read: &ChannelOrder,
        stride: usize,
    ) -> Result<Depthwise, Error> {
        let channels = read.channels();
        let conv = self.read(site, channels, 1, Kernel::Depthwise(3))?;
        let mut builder = Depthwise::builder(channels, 3, stride)
            .padding(self.config.wiring.padding())
            .input_order(read)
            .isa(self.isa);
        if let Some(bias) = &conv.bias {
            builder = builder.bias(bias);
        }
        if let Some(batch_norm) = conv.batch_norm() {
            builder = builder.batch_norm(batch_norm);
        }
        let built = builder.build(&conv.weights).map_err(|source| refused(&label, source))?;
        self.layers.push(Layer::convolution(label, Kind::Depthwise, channels, channels, 3, stride));
        Ok(built)
    }

    /// Global average and fully connected layer behind conv5.
    fn head(&mut self, conv5: Pointwise, classes: usize) -> Result<Head, Error> {
        let fc = self.read(Site::Fc, classes, conv5.oc(), Kernel::Linear)?;
        // The three run as one.
        self.layers.pop();
        let mut layer = Layer::convolution("conv5 + pool + fc".into(), Kind::Head, conv5.ic(), classes, 1, 1);
        layer.inner = conv5.oc();
        self.layers.push(layer);
        Head::new(conv5, classes, &fc.weights, fc.bias.as_deref()).map_err(|source| refused("fc", source))
    }
}

fn refused(layer: &str, source: kernels::Error) -> Error {
    Error::Kernel { layer: layer.to_owned(), source }
}

/// The shape of a map of `blocks` whole blocks.
pub(crate) fn whole_blocks(blocks: usize, h: usize, w: usize) -> Shape {
    Shape::new(blocks * kernels::BLOCK, h, w)
}
