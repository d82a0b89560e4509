//! ShuffleNetV2 in its three published wirings: what it is made of, what its tensors are called, and how it runs.

mod architecture;
mod config;
mod named;
mod recognise;
mod wiring;

pub use architecture::{backbone, graph};
pub use config::{Config, WIDTHS};
pub use named::{Synthetic, Weights};
pub use recognise::{Choice, Chosen, Found, find};
pub use wiring::Wiring;

use crate::Error;
use crate::graph::{Cost, Layer, Passes, Program, Workspace};
use crate::images::Images;
use kernels::{Isa, Parallel};
use named::Named;

/// A ShuffleNetV2 with its weights folded, permuted and packed for one instruction set. Shared by threads as it is; what
/// one inference needs of its own is in a [`Workspace`].
///
/// ```no_run
/// use kernels::{Isa, Serial, softmax};
/// use model::preprocess::{Picture, Recipe};
/// use model::weights::Checkpoint;
/// use model::{Images, Network};
///
/// let checkpoint = Checkpoint::open("shufflenetv2_x1-5666bf0f80.pth".as_ref())?;
/// let network = Network::load(&checkpoint, Isa::best())?;
/// let mut workspace = network.workspace(); // one per thread that runs the network
/// let image = Recipe::torchvision(256).apply(&Picture::open("dog.jpg".as_ref())?);
/// let mut logits = vec![0.0; network.config().outputs()];
/// network.run(&Serial, Images::nchw(&image, 1, 224, 224), &mut workspace, &mut logits);
/// softmax(&mut logits);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Network {
    config: Config,
    program: Program,
}

impl Network {
    /// Builds the network that `config` describes from `weights`, for `isa`.
    ///
    /// # Errors
    /// Where the configuration contradicts itself, a tensor is missing or shaped otherwise, or the instruction set is
    /// not available.
    pub fn new(config: &Config, weights: &dyn Weights, isa: Isa) -> Result<Self, Error> {
        let head_bias = weights.shape(config.wiring.head_bias()).is_some();
        let (graph, sites) = architecture::describe(config, head_bias)?;
        let tensors = Named { weights, wiring: config.wiring, sites };
        let program = Program::build(&graph, &tensors, isa, Passes::All)?;
        Ok(Self { config: config.clone(), program })
    }

    /// Finds the network among `weights` and builds it.
    ///
    /// # Errors
    /// As [`find`] and [`Network::new`].
    pub fn load(weights: &dyn Weights, isa: Isa) -> Result<Self, Error> {
        let found = find(weights, &Choice::default())?;
        Self::new(&found.config, &found.weights, isa)
    }

    /// What the network is.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// What it was packed for.
    pub fn isa(&self) -> Isa {
        self.program.isa()
    }

    /// What runs.
    pub fn program(&self) -> &Program {
        &self.program
    }

    /// Every layer, in the order in which they run.
    pub fn layers(&self) -> &[Layer] {
        self.program.layers()
    }

    /// The cost of every layer for an image of `h` x `w`, in the order of [`layers`](Self::layers).
    ///
    /// # Panics
    /// Where the image is smaller than 32x32, or its maps do not fit into memory.
    pub fn costs(&self, h: usize, w: usize) -> Vec<Cost> {
        check(h, w);
        self.program.costs(h, w).unwrap_or_else(|error| panic!("{error}"))
    }

    /// An empty workspace; it grows on the first run and is then reused without allocation as long as images, batch and
    /// threads do not grow.
    pub fn workspace(&self) -> Workspace {
        self.program.workspace()
    }

    /// Computes the logits of every image, [`Config::outputs`] numbers each, one image after the other.
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
        check(images.h, images.w);
        self.program.run(parallel, &[images], workspace, &mut [logits]);
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
        check(images.h, images.w);
        self.program.observe(parallel, &[images.image(0, 3)], workspace, after);
    }
}

fn check(h: usize, w: usize) {
    let least = Images::MIN_SIDE;
    assert!(h >= least && w >= least, "images of {h}x{w}: at least {least}x{least}");
}
