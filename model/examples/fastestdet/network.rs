//! The network: a ShuffleNetV2 backbone in Megvii's wiring, a pyramid of 5x5 depthwise convolutions, three heads.

use kernels::{Activation, Isa, Serial, Window, layout, softmax};
use model::graph::{Conv, Graph, Input, Op, Parameters, Passes, Program, Tensors, Value, Workspace};
use model::weights::Checkpoint;
use model::{Config, Error, Wiring, shufflenet};

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

/// Output channels of the stages.
const STAGES: [usize; 3] = [48, 96, 192];

/// The network, its convolutions called as in the checkpoint.
pub(crate) fn graph() -> Result<Graph, Error> {
    let mut g = Graph::new();
    let image = g.named("image", Op::Input { channels: 3, size: None }, &[])?;
    let config = Config {
        stage_channels: [24, STAGES[0], STAGES[1], STAGES[2], 0],
        classes: 0,
        ..Config::published("0.5", Wiring::Megvii)?
    };
    let [stage2, stage3, stage4] = shufflenet::backbone(&mut g, &config, image)?;

    // The concat of all stages that the pyramid begins with is never formed. Upsampling commutes with a 1x1 convolution,
    // so the columns of stage 4 are applied before it, to a quarter of the pixels, and added.
    let window = Window::new(3).stride(2).pad(1);
    let pooled = g.push(Op::AveragePool { window, count_pad: true }, &[stage2])?;
    let fine = g.push(Op::Concat, &[pooled, stage3])?;
    let fine = g.named("fine", Conv::new(NECK, Window::new(1)).bias(), &[fine])?;
    let coarse = g.named("coarse", Conv::new(NECK, Window::new(1)), &[stage4])?;
    let coarse = g.push(Op::upsample(2), &[coarse])?;
    let x = g.push(Op::Add(Activation::Relu), &[fine, coarse])?;

    // Chains of one, two and three convolutions.
    let mut ends = Vec::new();
    for (name, indices) in [("S1", &[0][..]), ("S2", &[0, 3]), ("S3", &[0, 3, 6])] {
        let chain = |end, index| depthwise(&mut g, &format!("SPP.{name}.{index}"), end);
        ends.push(indices.iter().try_fold(x, chain)?);
    }
    let all = g.push(Op::Concat, &ends)?;
    let all = g.named("SPP.output.0", Conv::new(NECK, Window::new(1)).batch_norm(), &[all])?;
    let x = g.push(Op::Add(Activation::Relu), &[all, x])?;
    let neck = Conv::new(NECK, Window::new(1)).batch_norm().activation(Activation::Relu);
    let x = g.named("detect_head.conv1x1.conv1x1.0", neck, &[x])?;

    let mut fields = Vec::new();
    for (name, oc) in [("obj", 1), ("reg", 4), ("cls", CLASSES)] {
        let prefix = format!("detect_head.{name}_layers.conv5x5");
        let y = depthwise(&mut g, &format!("{prefix}.0"), x)?;
        fields.push(g.named(&format!("{prefix}.3"), Conv::new(oc, Window::new(1)).batch_norm(), &[y])?);
    }
    g.push(Op::Concat, &fields)?;
    Ok(g)
}

/// 5x5 depthwise BN ReLU.
fn depthwise(g: &mut Graph, name: &str, x: Value) -> Result<Value, Error> {
    g.named(
        name,
        Conv::new(NECK, Window::new(5).pad(2)).groups(NECK).batch_norm().activation(Activation::Relu),
        &[x],
    )
}

/// The trained network: shared by any number of threads, each of which has its own [`Activations`].
#[derive(Debug)]
pub(crate) struct FastestDet(Program);

/// The memory of one running inference.
#[derive(Debug)]
pub(crate) struct Activations {
    workspace: Workspace,
    output: Vec<f32>,
}

impl FastestDet {
    /// Reads and packs the weights.
    pub(crate) fn new(checkpoint: &Checkpoint, isa: Isa) -> Result<Self, Error> {
        Ok(Self(Program::build(&graph()?, &Folded(checkpoint), isa, Passes::All)?))
    }

    /// Memory for one inference at a time.
    pub(crate) fn activations(&self) -> Activations {
        Activations { workspace: self.0.workspace(), output: vec![0.0; GRID * GRID * FIELDS] }
    }

    /// Runs the network on a planar BGR image of `SIDE` x `SIDE` and returns, for each cell of the grid, its
    /// [`FIELDS`] numbers.
    pub(crate) fn run<'a>(&self, image: &[f32], activations: &'a mut Activations) -> &'a [f32] {
        let Activations { workspace, output } = activations;
        let image = Input::Planar { data: image, h: SIDE, w: SIDE };
        self.0.observe(&Serial, &[image], workspace, &mut |_| ());
        let fields = self.0.output(workspace, 0);
        layout::to_nhwc(fields.view, fields.order, output);
        for cell in output.chunks_exact_mut(FIELDS) {
            cell[0] = 1.0 / (1.0 + (-cell[0]).exp());
            softmax(&mut cell[5..]);
        }
        output
    }
}

/// The checkpoint's convolutions, each with the batch normalisation behind it folded into it.
///
/// The kernels would fold it themselves, in `f64`. The published ONNX file was folded in `f32`, which over seventy
/// layers makes a difference of up to 7e-5; done in the same way, the weights are those of that file to the bit.
struct Folded<'a>(&'a Checkpoint);

/// What the backbone's convolutions are called here and there.
const SITES: [(&str, &str); 6] = [
    ("conv1", "first_conv.0"),
    ("proj.dw", "branch_proj.0"),
    ("proj.pw", "branch_proj.2"),
    ("main.pw1", "branch_main.0"),
    ("main.dw", "branch_main.3"),
    ("main.pw2", "branch_main.5"),
];

impl Tensors for Folded<'_> {
    fn of(&self, graph: &Graph, value: Value) -> Result<Parameters<'_>, Error> {
        let (name, shape) = (graph.node(value).name.as_str(), graph.weights(value));
        let wide = STAGES.iter().sum();
        let (weights, bias) = match name {
            "fine" | "coarse" => self.folded("SPP.Conv1x1.conv1x1.0", &[NECK, wide, 1, 1])?,
            _ => match SITES.iter().find_map(|(ours, theirs)| Some((name.strip_suffix(ours)?, theirs))) {
                Some((unit, theirs)) => self.folded(&format!("backbone.{unit}{theirs}"), &shape)?,
                None => self.folded(name, &shape)?,
            },
        };
        let columns = |range: std::ops::Range<usize>| -> Vec<f32> {
            weights.chunks_exact(wide).flat_map(|row| &row[range.clone()]).copied().collect()
        };
        let (weights, bias) = match name {
            "fine" => (columns(0..wide - STAGES[2]), Some(bias)),
            "coarse" => (columns(wide - STAGES[2]..wide), None),
            _ => (weights, Some(bias)),
        };
        Ok(Parameters { weights: weights.into(), bias: bias.map(Into::into), batch_norm: None })
    }
}

impl Folded<'_> {
    fn read(&self, name: &str, expected: &[usize]) -> Result<Vec<f32>, Error> {
        match self.0.shape(name) {
            Some(found) if found != expected => {
                let (tensor, expected, found) = (name.to_owned(), expected.to_vec(), found.to_vec());
                Err(Error::Shape { tensor, expected, found })
            }
            _ => Ok(self.0.read(name)?),
        }
    }

    /// Weights and bias of the convolution `prefix.index` with the batch normalisation `prefix.(index + 1)`.
    fn folded(&self, name: &str, shape: &[usize]) -> Result<(Vec<f32>, Vec<f32>), Error> {
        let mut weights = self.read(&format!("{name}.weight"), shape)?;
        let (prefix, index) = name.rsplit_once('.').expect("a module's name ends with its index");
        let next = 1 + index.parse::<usize>().expect("a number");
        let norm = |field: &str| self.read(&format!("{prefix}.{next}.{field}"), &shape[..1]);
        let (gamma, variance) = (norm("weight")?, norm("running_var")?);
        let scale: Vec<f32> =
            gamma.iter().zip(&variance).map(|(gamma, var)| gamma / (var + 1e-5).sqrt()).collect();
        let (beta, mean) = (norm("bias")?, norm("running_mean")?);
        let bias =
            beta.iter().zip(&mean).zip(&scale).map(|((beta, mean), scale)| beta - mean * scale).collect();
        for (row, scale) in weights.chunks_exact_mut(shape[1..].iter().product()).zip(scale) {
            row.iter_mut().for_each(|weight| *weight *= scale);
        }
        Ok((weights, bias))
    }
}
